//! `coracle volume check`.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use coracle_ext4::{FileSystem, ROOT};

use super::file;
use super::place::Source;
use crate::error::{Error, Result, cannot, note};
use crate::output;

/// Checks a volume that nothing else uses: replays its journal, and then has e2fsck(8) look at everything. Without e2fsck every
/// structure is read, whose checksums say whether it is whole.
///
/// # Errors
/// If something is wrong with it.
pub fn check(source: &Source, path: &Path, file: &File) -> Result<()> {
    let again = file.try_clone().map_err(|error| cannot("read", path, &error))?;
    let mut fs = file::mount(source, again, false)?;
    if let Some(tool) = e2fsck() {
        fs.unmount().map_err(|error| file::damaged(source, error))?;
        let done = Command::new(tool).arg("-fn").arg(path).output();
        let done = done.map_err(|error| cannot("start", Path::new(tool), &error))?;
        let text = String::from_utf8_lossy(&done.stdout);
        if !done.status.success() {
            return Err(Error::new(format!("the volume `{source}` is damaged"))
                .why(text)
                .help(format!("`e2fsck -f {}` mends what can be mended", path.display())));
        }
        return output::line(text.lines().last().unwrap_or("clean"));
    }
    let found = walk(&mut fs);
    fs.unmount().map_err(|error| file::damaged(source, error))?;
    let Walked { files, bytes } = found.map_err(|error| file::damaged(source, error))?;
    note(
        "e2fsck is not installed (package e2fsprogs): every structure was read, but not compared with all others",
    );
    output::line(format_args!(
        "{files} files and directories with {} of content: no damage found",
        crate::size::Size(bytes)
    ))
}

/// What `e2fsck` is called, if it is installed: a directory for root's tools need not be in PATH.
fn e2fsck() -> Option<&'static str> {
    ["e2fsck", "/usr/sbin/e2fsck", "/sbin/e2fsck"]
        .into_iter()
        .find(|tool| Command::new(tool).arg("-V").output().is_ok_and(|done| done.status.success()))
}

#[derive(Default)]
struct Walked {
    files: u64,
    bytes: u64,
}

/// Reads all directories, inodes and maps of blocks.
fn walk(fs: &mut FileSystem) -> coracle_ext4::Result<Walked> {
    let mut walked = Walked::default();
    let mut directories = vec![ROOT];
    while let Some(directory) = directories.pop() {
        let mut entries = Vec::new();
        fs.read_directory(directory, 0, &mut |entry| {
            if entry.name != b"." && entry.name != b".." {
                entries.push(entry.inode);
            }
            true
        })?;
        for inode in entries {
            let attributes = fs.attributes(inode)?;
            walked.files += 1;
            match u32::from(attributes.mode) & libc::S_IFMT {
                libc::S_IFDIR => directories.push(inode),
                libc::S_IFREG => {
                    walked.bytes += attributes.size;
                    let mut block = 0;
                    let blocks = attributes.size.div_ceil(fs.block_bytes().into());
                    while u64::from(block) < blocks {
                        block += fs.map(inode, block, u32::MAX)?.count.max(1);
                    }
                }
                _ => {}
            }
            let names = fs.xattr_names(inode)?;
            for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
                fs.xattr(inode, name)?;
            }
        }
    }
    Ok(walked)
}
