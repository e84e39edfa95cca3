//! Volumes: the file systems that the command line has mounted before the program starts, on disks, of the host, and in memory.
use alloc::string::String;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::context::FsContext;
use coracle_core::fs::inode::NewNode;
use coracle_core::fs::mount::{self, MountFlags, NewMount, Place};
use coracle_core::fs::walk::{self, Bounds, Follow};
use coracle_core::power;
use coracle_fallible::Lossy;
use coracle_fallible::prelude::*;
use coracle_fs::block::registry::{self, Entry};
use coracle_fs::ext4;
use coracle_fs::memory::{MemoryFs, Options};
use coracle_fs::remote;
use coracle_image::archive::Config;
use coracle_image::cmdline::{CommandLine, Share, Tmpfs, Volume};
use coracle_system::root;
use core::fmt::{self, Display};
use linux_raw_sys::general::MS_RDONLY;

/// Permissions of the directories that are made for volumes.
const DIRECTORY_MODE: u32 = 0o755;

/// Why a volume can't be mounted.
enum Failure {
    NoDisk,
    NoPlace(Errno),
    NotMounted(Errno),
    ReadOnly,
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoDisk => f.write_str("no disk has this serial number"),
            Failure::NoPlace(error) => write!(f, "its directory can't be made (error {})", error.number()),
            Failure::NotMounted(Errno::INVAL) => f.write_str("there is no ext4 file system on the disk"),
            Failure::NotMounted(error) => {
                write!(f, "the file system can't be mounted (error {})", error.number())
            }
            Failure::ReadOnly => {
                f.write_str("the file system can only be read (`:ro` behind the path accepts that)")
            }
        }
    }
}

/// Adds the directories in memory that the image names, where the command line has nothing for them. ENOMEM.
#[inline(never)]
pub fn add_those_of_image(settings: &mut CommandLine, config: &Config) -> Result<(), Errno> {
    for (path, options) in config.tmpfs() {
        let is_taken = settings.volumes.iter().any(|volume| volume.path == path)
            || settings.shares.iter().any(|share| share.path == path);
        // In the order of paths.
        let at = settings.tmpfs.iter().position(|tmpfs| tmpfs.path.as_slice() >= path);
        let at = at.unwrap_or(settings.tmpfs.len());
        if is_taken || settings.tmpfs.get(at).is_some_and(|tmpfs| tmpfs.path == path) {
            continue;
        }
        let new = Tmpfs { path: path.try_to_vec()?, options: options.try_to_vec()? };
        settings.tmpfs.try_insert(at, new)?;
    }
    Ok(())
}

/// Mounts all volumes. If one can't be, the machine ends: a program that writes elsewhere instead would lose its data. Waits for
/// the disks.
#[inline(never)]
pub fn mount(settings: &CommandLine) {
    // What lies in another comes after it: the lists are in that order.
    let mut volumes = settings.volumes.iter().peekable();
    let mut shares = settings.shares.iter().peekable();
    let mut in_memory = settings.tmpfs.iter().peekable();
    loop {
        let next = [
            volumes.peek().map(|volume| &volume.path),
            shares.peek().map(|share| &share.path),
            in_memory.peek().map(|tmpfs| &tmpfs.path),
        ];
        let Some(path) = next.into_iter().flatten().min() else { return };
        if let Some(volume) = volumes.next_if(|volume| volume.path == *path) {
            mount_volume(volume);
        } else if let Some(share) = shares.next_if(|share| share.path == *path) {
            mount_share(share);
        } else if let Some(tmpfs) = in_memory.next() {
            mount_tmpfs(tmpfs);
        }
    }
}

/// Mounts a volume. If it can't be, the machine ends.
fn mount_volume(volume: &Volume) {
    if let Err(why) = mount_one(volume) {
        let (serial, path) = (String::from_utf8_lossy(&volume.serial), String::from_utf8_lossy(&volume.path));
        log!("the volume {serial} can't be mounted at {path}: {why}");
        power::off(power::KERNEL_FAILED);
    }
}

/// Mounts a directory of the host. If it can't be, the machine ends.
fn mount_share(share: &Share) {
    let mounted = directory(&share.path).and_then(|at| {
        let (flags, rest) = MountFlags::split(&share.options)?;
        let kind = remote::session::kind_of(&share.tag).ok_or(Errno::NOENT)?;
        remote::mount::mount(kind.as_bytes(), share.tag.try_to_vec()?, at, flags, &rest)
    });
    if let Err(error) = mounted {
        let error = error.number();
        log!("the host's directory can't be mounted at {} (error {error})", Lossy(&share.path));
        power::off(power::KERNEL_FAILED);
    }
}

/// Puts a volume over the files of the image.
fn put_over_image(entry: &'static Entry) -> Result<(), Failure> {
    let (root, is_read_only) = ext4::volume::mount(entry, false).map_err(Failure::NotMounted)?;
    if is_read_only {
        return Err(Failure::ReadOnly);
    }
    root::attach_volume(&root).map_err(Failure::NoPlace)
}

/// Mounts a file system in memory. If it can't be, the machine ends.
fn mount_tmpfs(tmpfs: &Tmpfs) {
    let mounted = directory(&tmpfs.path).and_then(|at| {
        let (flags, rest) = MountFlags::split(&tmpfs.options)?;
        let root = MemoryFs::with_options(&Options::parse(&rest)?)?;
        let source = b"tmpfs".as_slice().try_to_vec()?;
        mount::mount(at, NewMount { root, kind: "tmpfs", source, flags, file_system: None })
    });
    if let Err(error) = mounted {
        log!("no file system in memory can be mounted at {} (error {})", Lossy(&tmpfs.path), error.number());
        power::off(power::KERNEL_FAILED);
    }
}

fn mount_one(volume: &Volume) -> Result<(), Failure> {
    let entry = find(&volume.serial).ok_or(Failure::NoDisk)?;
    if volume.path == b"/" {
        return put_over_image(entry);
    }
    let place = directory(&volume.path).map_err(Failure::NoPlace)?;
    let flags = MountFlags::new(if volume.read_only { MS_RDONLY } else { 0 });
    let source = source(entry).map_err(Failure::NotMounted)?;
    let is_read_only = ext4::mount::mount(entry, source, place, flags).map_err(|error| match error {
        Errno::ACCES => Failure::ReadOnly,
        error => Failure::NotMounted(error),
    })?;
    if is_read_only && !volume.read_only { Err(Failure::ReadOnly) } else { Ok(()) }
}

/// The disk with a serial number.
fn find(serial: &[u8]) -> Option<&'static Entry> {
    let has_serial = |entry: &&Entry| {
        entry.partition.is_none() && entry.serial.get().is_some_and(|found| found.as_bytes() == serial)
    };
    (0..).map_while(registry::nth).find(has_serial)
}

/// What /proc/mounts shows.
fn source(entry: &Entry) -> Result<Vec<u8>, Errno> {
    let mut path = Vec::new();
    path.try_extend_from_slice(b"/dev/")?;
    path.try_extend_from_slice(entry.name.as_str().as_bytes())?;
    Ok(path)
}

/// The directory of that absolute path, which is made with all above it if need be.
fn directory(path: &[u8]) -> Result<Place, Errno> {
    let context = FsContext::new();
    let ends = (1..=path.len()).filter(|&end| end == path.len() || path[end] == b'/');
    for end in ends {
        let found = walk::resolve(&context, None, &path[..end], Follow::Always, Bounds::default())?;
        if found.node.is_none() {
            found.directory.inode.create(&found.name, NewNode::Directory, DIRECTORY_MODE)?;
        }
    }
    let place = walk::find(&context, None, path, Follow::Always)?;
    if place.path.inode.is_directory() { Ok(place) } else { Err(Errno::NOTDIR) }
}
