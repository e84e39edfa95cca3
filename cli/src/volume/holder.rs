//! Whether a volume is in use, and by which guest.
//!
//! A guest's command locks the files of its volumes (flock(2)): alone if it may write, else with others that only read. QEMU inherits
//! the lock, which therefore lasts as long as either of them runs, and no longer.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::place::Source;
use crate::error::{Error, Result, cannot};
use crate::instances;

/// Opens the file of a volume and locks it as long as the result is open.
///
/// # Errors
/// If it can't be opened, or another guest or command uses it in a way that does not go with this one.
pub fn open(source: &Source, path: &Path, read_only: bool) -> Result<File> {
    let file = File::options().read(true).write(!read_only).open(path);
    let file = file.map_err(|error| cannot(if read_only { "read" } else { "write" }, path, &error))?;
    lock(source, &file, read_only)?;
    Ok(file)
}

/// Locks an open volume, or changes its lock.
///
/// # Errors
/// If another guest or command uses it in a way that does not go with this one.
pub fn lock(source: &Source, file: &File, read_only: bool) -> Result<()> {
    let how = match read_only {
        true => FlockOperation::NonBlockingLockShared,
        false => FlockOperation::NonBlockingLockExclusive,
    };
    match flock(file, how) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(in_use(source, file, read_only)),
        Err(error) => Err(Error::new(format!("the volume `{source}` can't be locked")).why(error)),
    }
}

fn in_use(source: &Source, file: &File, read_only: bool) -> Error {
    let (who, stop) = match holder(file) {
        Some(Holder::Guest(name)) => (format!("the guest `{name}`"), Some(name)),
        Some(Holder::Process(pid)) => (format!("process {pid}"), None),
        None => ("another process".to_owned(), None),
    };
    let error = Error::new(format!("the volume `{source}` is in use")).why(match read_only {
        true => format!("{who} may write to it"),
        false => format!("{who} uses it, and a volume that is written to belongs to one guest"),
    });
    match stop {
        Some(name) => error.help(format!("end it with `coracle stop {name}`, or use another volume")),
        None => error.help("end that guest first, or use another volume"),
    }
}

/// The user of a volume.
#[derive(Debug)]
pub enum Holder {
    /// A guest that has a name.
    Guest(String),
    /// The process of another.
    Process(i32),
}

/// The process that has locked a file, if /proc/locks (proc(5)) shows it.
pub fn holder(file: &File) -> Option<Holder> {
    /// Where the process and the file are among a line's words: `1: FLOCK ADVISORY WRITE 812 fe:00:4711 0 EOF`.
    const PROCESS: usize = 4;
    const FILE: usize = 5;
    let meta = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let of_file = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let process = locks.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_ours = words.get(1) == Some(&"FLOCK") && words.get(FILE) == Some(&of_file.as_str());
        words.get(PROCESS).filter(|_| is_ours)?.parse::<i32>().ok()
    })?;
    match instances::of_process(process) {
        Some(name) => Some(Holder::Guest(name)),
        // Of another container, which this one can't see.
        None if process <= 0 => None,
        None => Some(Holder::Process(process)),
    }
}
