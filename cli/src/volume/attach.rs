//! Getting volumes ready for a guest.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coracle_ext4::{FileSystem, Options, ROOT};
use coracle_image::User;
use coracle_image::cmdline::Volume;

use super::file::{self, DEFAULT_SIZE};
use super::place::Source;
use super::spec::{Spec, path_bytes};
use super::{disk::FileDisk, holder};
use crate::error::{Error, Result, cannot, note};
use crate::size::Size;

/// What a guest is to have.
#[derive(Debug)]
pub struct Wish<'a> {
    /// The volumes.
    pub specs: &'a [Spec],
    /// Bytes of those that are made, if an option says.
    pub size: Option<Size>,
    /// The owner of what is made.
    pub user: User,
    /// Nothing is said of what is made.
    pub quiet: bool,
}

/// A volume that is ready, and locked as long as this lives.
#[derive(Debug)]
pub struct Attached {
    /// The file.
    pub file: PathBuf,
    /// Locked; QEMU inherits it.
    pub lock: Option<File>,
    /// What the kernel mounts: the serial number of the disk, the directory, and whether it can be written.
    pub volume: Volume,
}

/// Makes the volumes that are missing, and locks all. `dry_run`: nothing is made or locked.
///
/// # Errors
/// If one is in use, is no ext4, or can't be made.
pub fn attach(wish: &Wish<'_>, dry_run: bool) -> Result<Vec<Attached>> {
    let mut specs: Vec<&Spec> = wish.specs.iter().collect();
    // What lies in another comes after it.
    specs.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some(pair) = specs.windows(2).find(|pair| pair[0].path == pair[1].path) {
        return Err(Error::new(format!("two volumes are to be at {}", pair[0].path.display()))
            .help("give each a directory of its own"));
    }
    let mut attached = Vec::new();
    for (index, spec) in specs.into_iter().enumerate() {
        let file = spec.source.file()?;
        let is_twice = |other: &Attached| {
            !(other.volume.read_only && spec.read_only)
                && file.canonicalize().is_ok_and(|file| file == other.file)
        };
        if attached.iter().any(is_twice) {
            return Err(Error::new(format!("the volume `{}` is given twice", spec.source))
                .why("it can be mounted at one directory, unless it is only read")
                .help("give one of the directories a volume of its own"));
        }
        let lock = if dry_run { None } else { Some(prepare(spec, &file, wish)?) };
        // Relative paths would be QEMU's as well, but not those of a guest in the background.
        let file = file.canonicalize().unwrap_or(file);
        let serial = format!("volume{index}").into_bytes();
        let volume = Volume { serial, path: path_bytes(&spec.path), read_only: spec.read_only };
        attached.push(Attached { file, lock, volume });
    }
    Ok(attached)
}

/// Opens and locks a volume, which holds a file system that can be mounted afterwards.
fn prepare(spec: &Spec, path: &Path, wish: &Wish<'_>) -> Result<File> {
    let Spec { source, read_only, .. } = spec;
    match (source, path.metadata()) {
        (Source::Named(name), Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            if *read_only {
                return Err(Error::new(format!("there is no volume `{name}`"))
                    .why("one that is only read is not made")
                    .help("`coracle volume ls` lists those that there are"));
            }
            let size = wish.size.unwrap_or(DEFAULT_SIZE);
            if file::create(name, size, |made| file::format(source, made, wish.user))? && !wish.quiet {
                note(format_args!("made the volume `{name}` of {size} ({})", path.display()));
            }
        }
        (Source::File(_), Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(cannot("use", path, &error).help(format!(
                "make a directory there to be shared, or a volume with `truncate -s 1G {}`, or give the volume a name without a slash, which is made when it is first used",
                path.display()
            )));
        }
        (_, Ok(meta)) if meta.is_dir() => {
            return Err(Error::new(format!("`{}` is a directory", path.display()))
                .why("the root's volume is an ext4 file system")
                .help("give it a name, or a file: --root-volume ./root.img"));
        }
        (_, Err(error)) => return Err(cannot("use", path, &error)),
        (_, Ok(_)) => {}
    }
    let lock = holder::open(source, path, *read_only)?;
    let fail = |error: std::io::Error| cannot("read", path, &error);
    let disk = FileDisk::new(lock.try_clone().map_err(fail)?, *read_only).map_err(fail)?;
    let is_ext4 = coracle_ext4::probe(&disk).map_err(|error| file::damaged(source, error))?;
    if !is_ext4 {
        if *read_only || !file::is_blank(&lock, path)? {
            return Err(file::damaged(source, coracle_ext4::Error::NotExt4));
        }
        file::format(source, &lock, wish.user)?;
        if !wish.quiet {
            note(format_args!("made a file system in `{}`", path.display()));
        }
    }
    if *read_only {
        replay(source, path, &lock)?
    } else {
        give(source, path, &lock, wish.user)?
    }
    Ok(lock)
}

/// Has what a guest left in the journal arrive in its place: a disk that can't be written is mounted without a journal to replay.
fn replay(source: &Source, path: &Path, lock: &File) -> Result<()> {
    match look(lock, path)? {
        Ok(_) => Ok(()),
        Err(coracle_ext4::Error::ReadOnly) => {
            holder::lock(source, lock, false)?;
            let file = File::options().read(true).write(true).open(path);
            let mut fs = file::mount(source, file.map_err(|error| cannot("write", path, &error))?, false)?;
            fs.unmount().map_err(|error| file::damaged(source, error))?;
            holder::lock(source, lock, true)
        }
        Err(error) => Err(file::damaged(source, error)),
    }
}

/// Mounts a volume in order to look at it: [`coracle_ext4::Error::ReadOnly`] if the journal has to be replayed.
fn look(lock: &File, path: &Path) -> Result<coracle_ext4::Result<FileSystem>> {
    let fail = |error: std::io::Error| cannot("read", path, &error);
    let disk = FileDisk::new(lock.try_clone().map_err(fail)?, true).map_err(fail)?;
    let options = Options { read_only: true, now: file::now(), ..Options::default() };
    Ok(FileSystem::mount(Arc::new(disk), &options))
}

/// Makes the program's user the owner of the root of an empty volume, which that user could not write to otherwise.
fn give(source: &Source, path: &Path, lock: &File, user: User) -> Result<()> {
    let fail = |error| file::damaged(source, error);
    let mut fs = match look(lock, path)? {
        Ok(fs) => fs,
        // A guest was killed, so its program had the volume already; the next guest replays the journal.
        Err(coracle_ext4::Error::ReadOnly) => return Ok(()),
        Err(error) => return Err(fail(error)),
    };
    let root = fs.attributes(ROOT).map_err(fail)?;
    let mut is_empty = true;
    fs.read_directory(ROOT, 0, &mut |entry| {
        is_empty &= [b".".as_slice(), b"..", b"lost+found"].contains(&entry.name);
        is_empty
    })
    .map_err(fail)?;
    if !is_empty || (root.uid, root.gid) != (User::ROOT.uid, User::ROOT.gid) || user == User::ROOT {
        return Ok(());
    }
    drop(fs);
    let file = lock.try_clone().map_err(|error| cannot("write", path, &error))?;
    let mut fs = file::mount(source, file, false)?;
    file::set_owner(&mut fs, user).and_then(|()| fs.unmount()).map_err(fail)
}
