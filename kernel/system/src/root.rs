//! The tree of files that the first program finds.
use super::{proc, sys};
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::context::FsContext;
use coracle_core::fs::file::OpenFile;
use coracle_core::fs::inode::{Inode, NewNode};
use coracle_core::fs::mount::{self, MountFlags, NewMount, Path, Place};
use coracle_core::fs::names_changed;
use coracle_core::fs::open::open;
use coracle_core::fs::walk::{self, Bounds, Follow};
use coracle_fallible::Text;
use coracle_fallible::prelude::*;
use coracle_fs::dev;
use coracle_fs::memory::MemoryFs;
use coracle_fs::overlay::Overlay;
use coracle_fs::synthetic::{Made, Piece};
use coracle_hal::checksum::crc32c;
use coracle_hal::once::Once;
use coracle_image::archive::Archive;
use linux_raw_sys::general::O_RDONLY;

static NAMELESS: Once<Arc<MemoryFs>> = Once::new();

/// Mounts the files of the image at the root, and what a Linux system has beside them. Called once, before the first
/// process is made. Without an image the root is empty. `is_lasting`: a volume is put over the files of the image later
/// ([`attach_volume`]).
#[inline(never)]
pub fn init(archive: Option<Archive<'static>>, is_lasting: bool) -> Result<(), Errno> {
    let root: Arc<dyn Inode> = match archive {
        Some(archive) if is_lasting => {
            Overlay::over(MemoryFs::of_image(archive)?, archive.tree_identity(crc32c))?
        }
        Some(archive) => MemoryFs::of_image(archive)?,
        None => MemoryFs::empty(0o755)?,
    };
    mount::set_root(root.clone(), "overlay")?;
    attach(b"dev", 0o755, dev::filesystem()?, "devtmpfs")?;
    attach(b"proc", 0o555, proc::filesystem(None)?, "proc")?;
    attach(b"sys", 0o555, sys::filesystem()?, "sysfs")?;
    let cgroup = walk::find(&FsContext::new(), None, b"/sys/fs/cgroup", Follow::Always)?;
    mount_new(cgroup, sys::cgroup::filesystem()?, "cgroup2")?;
    // Files that the image has in these must stay to be seen; the root is writable itself then.
    for (name, mode) in [(b"tmp".as_slice(), 0o1777), (b"run", 0o755)] {
        if is_free(name)? {
            attach(name, mode, MemoryFs::empty(mode)?, "tmpfs")?;
        }
    }
    attach_resolver()
}

/// Puts the volume with this root over the files of the image. EINVAL if the root was not made for that; ENOSPC, EIO, EROFS.
pub fn attach_volume(volume: &Arc<dyn Inode>) -> Result<(), Errno> {
    let root = mount::root().inode;
    Overlay::attach(root.as_any().downcast_ref().ok_or(Errno::INVAL)?, volume)?;
    names_changed();
    Ok(())
}

/// Puts the name servers that the network tells of in place of the image's /etc/resolv.conf: asked for when it is read.
fn attach_resolver() -> Result<(), Errno> {
    let context = FsContext::new();
    let path = b"/etc/resolv.conf";
    let of_image = match open(&context, None, path, O_RDONLY, 0, Bounds::default()) {
        Ok(file) => file,
        // An image without one asks for no names.
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    let place = of_image.file.place().ok_or(Errno::IO)?.clone();
    let resolver = proc::made_file(Resolver { of_image })?;
    mount_new(place, resolver, "proc")
}

/// /etc/resolv.conf.
struct Resolver {
    /// The file of that name in the image.
    of_image: Arc<OpenFile>,
}

impl Made for Resolver {
    fn piece(&self, _from: u64, text: &mut Text) -> Piece {
        if !coracle_net::resolv_conf(text)? {
            text.push(&self.of_image.file.read_all()?)?;
        }
        Ok(None)
    }
}

/// Whether the root has no directory of this name, or an empty one.
fn is_free(name: &[u8]) -> Result<bool, Errno> {
    match mount::root().inode.lookup(name)? {
        Some(inode) if inode.is_directory() => {
            let mut is_empty = true;
            inode.list(0, &mut |_| {
                is_empty = false;
                false
            })?;
            Ok(is_empty)
        }
        Some(_) => Ok(false),
        None => Ok(true),
    }
}

/// Mounts `filesystem` over the directory `name` of the root, which is made if the image has none.
fn attach(name: &[u8], mode: u32, filesystem: Arc<dyn Inode>, kind: &'static str) -> Result<(), Errno> {
    let root = mount::root();
    let inode = match root.inode.lookup(name)? {
        Some(inode) if inode.is_directory() => inode,
        // A link, as /run may be one in an image: what it leads to is found at its own path.
        Some(_) => return Ok(()),
        None => root.inode.create(name, NewNode::Directory, mode)?,
    };
    let path = Path { mount: root.mount, inode };
    mount_new(Place { path, name: None }, filesystem, kind)
}

fn mount_new(at: Place, root: Arc<dyn Inode>, kind: &'static str) -> Result<(), Errno> {
    let source = kind.as_bytes().try_to_vec()?;
    mount::mount(at, NewMount { root, kind, source, flags: MountFlags::new(0), file_system: None })
}

/// The file system of files that never had a name (memfd_create(2)).
/// ENOMEM, the first time.
pub fn nameless_fs() -> Result<&'static Arc<MemoryFs>, Errno> {
    if let Some(fs) = NAMELESS.get() {
        return Ok(fs);
    }
    let new = MemoryFs::empty(0o700)?;
    Ok(NAMELESS.call_once(|| new.fs().clone()))
}
