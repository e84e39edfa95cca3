//! Making volumes, and seeing whether a file is one.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use coracle_block::Disk;
use coracle_ext4::{Changes, FileSystem, Format, Options, ROOT, Time};
use coracle_image::User;
use rustix::fs::{CWD, RenameFlags, SeekFrom, renameat_with, seek};

use super::disk::FileDisk;
use super::place::{self, Source};
use crate::error::{Error, Result, cannot};
use crate::size::{MIB, Size};

/// Bytes of a new volume, of which the file takes those that are written.
pub const DEFAULT_SIZE: Size = Size(16 << 30);
/// The smallest volume, which holds a journal and little more.
const LEAST: Size = Size(8 * MIB);
/// The longest label of ext4.
const LABEL_BYTES: usize = 16;
/// The directory that e2fsck makes when it needs it. Programs as PostgreSQL want their data directory empty at first.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// The time.
pub fn now() -> Time {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: i64::try_from(now.as_secs()).unwrap_or(0), nanoseconds: now.subsec_nanos() }
}

/// An error of the file system of a volume.
pub fn damaged(source: &Source, error: coracle_ext4::Error) -> Error {
    let what = Error::new(format!("the volume `{source}` can't be used")).why(error);
    match error {
        coracle_ext4::Error::Corrupt(_) => what.help(format!("`coracle volume check {source}` says what is wrong")),
        coracle_ext4::Error::NotExt4 => {
            what.help("only ext4 is supported; an image that holds nothing but zeroes is formatted when it is first used")
        }
        _ => what,
    }
}

/// Mounts the file system of a volume that nothing else uses.
///
/// # Errors
/// If there is no ext4 that can be used.
pub fn mount(source: &Source, file: File, read_only: bool) -> Result<FileSystem> {
    let disk = FileDisk::new(file, read_only)
        .map_err(|error| cannot("read", &source.file().unwrap_or_default(), &error))?;
    let options = Options { read_only, now: now(), ..Options::default() };
    FileSystem::mount(Arc::new(disk), &options).map_err(|error| damaged(source, error))
}

/// Makes an ext4 file system in a file, whose root belongs to `owner`.
///
/// # Errors
/// If the file is too small or can't be written.
pub fn format(source: &Source, file: &File, owner: User) -> Result<()> {
    let read = |error| cannot("read", &source.file().unwrap_or_default(), &error);
    let size = Size(file.metadata().map_err(read)?.len());
    if size < LEAST {
        return Err(
            Error::new(format!("a volume of {size} is too small")).help(format!("the least is {LEAST}"))
        );
    }
    let label = source.to_string().into_bytes();
    let label = match source {
        Source::Named(_) => &label[..label.len().min(LABEL_BYTES)],
        Source::File(_) => &[],
    };
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::new(file.try_clone().map_err(read)?, false).map_err(read)?);
    let how = Format { label, uuid: random_uuid()?, hash_seed: random()?, now: now() };
    coracle_ext4::format(&disk, &how)
        .and_then(|()| {
            let mut fs = FileSystem::mount(disk, &Options { now: now(), ..Options::default() })?;
            fs.rmdir(ROOT, LOST_AND_FOUND, now()).and_then(|number| fs.evict(number, now()))?;
            set_owner(&mut fs, owner)?;
            fs.unmount()
        })
        .map_err(|error| {
            let what = Error::new(format!("the volume `{source}` can't be made"));
            match rustix::fs::fstatvfs(file) {
                Ok(there) if there.f_bavail == 0 => what
                    .why("the file system of this machine that is to hold it is full")
                    .help("free some space there"),
                _ => what.why(error),
            }
        })
}

/// Gives the root directory to a user.
pub fn set_owner(fs: &mut FileSystem, owner: User) -> coracle_ext4::Result<()> {
    let changes = Changes { uid: Some(owner.uid), gid: Some(owner.gid), ..Changes::default() };
    fs.set_attributes(ROOT, &changes)
}

/// Makes a named volume with what `fill` puts into its file. Half of one is never seen; false if it is there already.
///
/// # Errors
/// If the file can't be written, or those of `fill`.
pub fn create(name: &str, size: Size, fill: impl FnOnce(&File) -> Result<()>) -> Result<bool> {
    place::make_directory()?;
    let path = Source::Named(name.to_owned()).file()?;
    let fail = |error: std::io::Error| cannot("write", &path, &error);
    let unfinished = path.with_extension(format!("new-{}", std::process::id()));
    let file =
        File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
    let made = file.map_err(fail).and_then(|file| {
        file.set_len(size.0).map_err(fail)?;
        fill(&file)?;
        file.sync_all().map_err(fail)?;
        match renameat_with(CWD, &unfinished, CWD, &path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(error) => Err(fail(error.into())),
        }
    });
    if !matches!(made, Ok(true)) {
        // What is left of it is of no use.
        let _ = fs::remove_file(&unfinished);
    } else if let Some(directory) = path.parent() {
        // The name lasts as well.
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(fail)?;
    }
    made
}

/// Whether a file holds nothing but zeroes.
///
/// # Errors
/// If it can't be read.
pub fn is_blank(file: &File, path: &Path) -> Result<bool> {
    use std::os::unix::fs::FileExt as _;
    const PIECE: usize = 1 << 16;
    let fail = |error: std::io::Error| cannot("read", path, &error);
    let mut bytes = vec![0; PIECE];
    let mut at = 0;
    loop {
        // Holes are not read.
        at = match seek(file, SeekFrom::Data(at)) {
            Ok(at) => at,
            Err(rustix::io::Errno::NXIO) => return Ok(true),
            // A file system that knows no holes.
            Err(_) => at,
        };
        match file.read_at(&mut bytes, at).map_err(fail)? {
            0 => return Ok(true),
            len if bytes[..len].iter().any(|&byte| byte != 0) => return Ok(false),
            len => at += len as u64,
        }
    }
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let path = Path::new("/dev/urandom");
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map(|()| bytes).map_err(|error| cannot("read", path, &error))
}

/// A random UUID (RFC 9562, section 5.4).
fn random_uuid() -> Result<[u8; 16]> {
    let mut uuid = random()?;
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    Ok(uuid)
}
