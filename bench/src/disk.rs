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

/// What is on a disk at first.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing.
    Empty,
    /// A file, `file`, of so many MiB.
    File(usize),
    /// A cluster of PostgreSQL in `cluster`, which this program makes.
    Cluster(PathBuf),
}

/// A disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Size of the file system in MiB.
    pub mib: u32,
    /// What is on it.
    pub content: Content,
    /// The directory on this machine where that is kept.
    pub directory: PathBuf,
}

impl Disk {
    /// Writes the disk's image to `file`, as `mkfs.ext4` makes it.
    pub fn make(&self, file: &Path) -> Result<()> {
        self.fill()?;
        let _ = fs::remove_file(file);
        tools::run(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-d"])
                .arg(&self.directory)
                .arg(file)
                .arg(format!("{}M", self.mib)),
        )?;
        Ok(())
    }

    /// The user and group that the files belong to.
    pub fn owner(&self) -> Result<(u32, u32)> {
        self.fill()?;
        let status = fs::metadata(&self.directory)
            .with_context(|| format!("cannot read {}", self.directory.display()))?;
        Ok((status.uid(), status.gid()))
    }

    /// Makes what is not there yet.
    fn fill(&self) -> Result<()> {
        fs::create_dir_all(&self.directory)?;
        match &self.content {
            Content::Empty => Ok(()),
            Content::File(mib) => {
                // No block is like another, and none is a hole.
                let words = (0..mib << 17).map(|word| (word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let file = self.directory.join("file");
                Ok(fs::write(file, words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())?)
            }
            Content::Cluster(initdb) => self.make_cluster(initdb),
        }
    }

    /// `initdb` refuses root.
    fn make_cluster(&self, initdb: &Path) -> Result<()> {
        let data = self.directory.join("cluster");
        if data.join("PG_VERSION").exists() {
            return Ok(());
        }
        let mut command = Command::new("setpriv");
        if fs::metadata(&self.directory)?.uid() == 0 {
            std::os::unix::fs::chown(&self.directory, Some(NOBODY), Some(NOBODY))?;
            command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
        }
        // It looks for its own directory by the one it is started in.
        command.current_dir("/").arg(initdb).arg("-D").arg(&data);
        tools::run(command.args(["-U", "postgres", "-A", "trust", "--no-locale", "-E", "UTF8"]))?;
        Ok(fs::write(data.join("pg_hba.conf"), "host all all 0.0.0.0/0 trust\nlocal all all trust\n")?)
    }
}
