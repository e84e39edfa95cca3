//! Copies of volumes, which keep the holes of sparse files, and other sizes.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{SeekFrom, seek};

use super::place::Source;
use crate::error::{Error, Result, cannot};
use crate::size::Size;

/// Copies a file of so many bytes into another, which is as long and empty.
///
/// # Errors
/// If one can't be read or the other not be written.
pub fn copy(from: (&File, &Path), to: (&File, &Path)) -> Result<()> {
    const PIECE: usize = 1 << 20;
    let read = |error: std::io::Error| cannot("read", from.1, &error);
    let mut bytes = vec![0; PIECE];
    let mut at = 0;
    loop {
        at = match seek(from.0, SeekFrom::Data(at)) {
            Ok(at) => at,
            Err(rustix::io::Errno::NXIO) => return Ok(()),
            // A file system that knows no holes.
            Err(_) => at,
        };
        match from.0.read_at(&mut bytes, at).map_err(read)? {
            0 => return Ok(()),
            len => {
                to.0.write_all_at(&bytes[..len], at).map_err(|error| cannot("write", to.1, &error))?;
                at += len as u64;
            }
        }
    }
}

/// Makes a volume that nothing else uses larger or smaller, by resize2fs(8).
///
/// # Errors
/// If its content does not fit, or the tools are not installed.
pub fn resize(source: &Source, path: &Path, file: &File, size: Size) -> Result<()> {
    let fail = |error: std::io::Error| cannot("write", path, &error);
    let before = file.metadata().map_err(fail)?.len();
    // A larger file system needs the place first, a smaller one gives it back last.
    if size.0 > before {
        file.set_len(size.0).map_err(fail)?;
    }
    let done = run("e2fsck", &["-f", "-y"], path, None)
        .and_then(|()| run("resize2fs", &[], path, Some(format!("{}K", size.0 / 1024))));
    if done.is_err() && size.0 > before {
        file.set_len(before).map_err(fail)?;
    }
    done.map_err(|error| error.help(format!("the volume `{source}` is as it was")))?;
    if size.0 < before {
        file.set_len(size.0).map_err(fail)?;
    }
    file.sync_all().map_err(fail)
}

/// Runs a tool of e2fsprogs on a file.
fn run(name: &str, options: &[&str], path: &Path, last: Option<String>) -> Result<()> {
    /// The highest status with which e2fsck has mended what it found (e2fsck(8)).
    const MENDED: i32 = 1;
    let start = |tool: String| Command::new(tool).args(options).arg(path).args(&last).output();
    let done = start(name.to_owned()).or_else(|_| start(format!("/usr/sbin/{name}")));
    let done = done.map_err(|_| {
        Error::new(format!("{name} is not installed"))
            .why("it is what changes the size of an ext4 file system")
            .help("install the package e2fsprogs")
    })?;
    let most = if name == "e2fsck" { MENDED } else { 0 };
    if done.status.code().is_some_and(|status| status <= most) {
        return Ok(());
    }
    let text = [done.stdout, done.stderr].concat();
    Err(Error::new(format!("{name} failed")).why(String::from_utf8_lossy(&text)))
}
