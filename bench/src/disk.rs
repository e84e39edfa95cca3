//! A disk beside a program: an ext4 file system that is made anew for each start, mounted at [`AT`] in both guests.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::tools;

/// Where the guests mount it.
pub const AT: &str = "/data";
/// The user whom files belong to that a server wants which refuses to be root: Debian's `nobody`.
const NOBODY: u32 = 65534;

/// What is on a disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Size of the file system in MiB.
    pub mib: u32,
    /// The directory on this machine whose files it begins with.
    pub content: PathBuf,
}

impl Disk {
    /// Writes the disk's image to `file`, as `mkfs.ext4` makes it.
    pub fn make(&self, file: &Path) -> Result<()> {
        let _ = fs::remove_file(file);
        tools::run(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-d"])
                .arg(&self.content)
                .arg(file)
                .arg(format!("{}M", self.mib)),
        )?;
        Ok(())
    }

    /// The user and group that the files belong to.
    pub fn owner(&self) -> Result<(u32, u32)> {
        let status =
            fs::metadata(&self.content).with_context(|| format!("cannot read {}", self.content.display()))?;
        Ok((status.uid(), status.gid()))
    }
}

/// A directory with one file of this many MiB.
pub fn file(directory: PathBuf, mib: usize) -> Result<PathBuf> {
    let file = directory.join("file");
    fs::create_dir_all(&directory)?;
    // No block is like another, and none is a hole.
    let words = (0..mib << 17).map(|word| (word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    fs::write(&file, words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())?;
    Ok(directory)
}

/// A directory with nothing in it.
pub fn empty(directory: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// A directory with a new cluster of PostgreSQL, made by `initdb` as a user who is not root.
pub fn cluster(directory: PathBuf, initdb: &Path) -> Result<PathBuf> {
    let data = directory.join("cluster");
    if data.join("PG_VERSION").exists() {
        return Ok(directory);
    }
    fs::create_dir_all(&directory)?;
    let mut command = Command::new("setpriv");
    if fs::metadata(&directory)?.uid() == 0 {
        std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY))?;
        command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
    }
    // initdb looks for its own directory by the one it is started in.
    command.current_dir("/").arg(initdb).arg("-D").arg(&data);
    tools::run(command.args(["-U", "postgres", "-A", "trust", "--no-locale", "-E", "UTF8"]))?;
    fs::write(data.join("pg_hba.conf"), "host all all 0.0.0.0/0 trust\nlocal all all trust\n")?;
    Ok(directory)
}
