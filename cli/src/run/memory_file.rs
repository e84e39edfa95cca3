//! Files for QEMU that are in memory only (memfd_create(2)): they have no name on this machine that another user could open,
//! and are gone with the last process that holds them, however that ends.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::error::{Error, Result};

/// A file in memory that programs started from here inherit.
#[derive(Debug)]
pub struct MemoryFile(File);

impl MemoryFile {
    /// A file with this content, which nothing changes from now on. The name is shown in /proc only.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn new(name: &str, content: &[u8]) -> Result<Self> {
        Self::written(name, |mut file| file.write_all(content).map_err(|error| cannot_keep(name, &error)))
    }

    /// The same, with the content that `write` writes.
    ///
    /// # Errors
    /// As [`MemoryFile::new`], and the errors of `write`.
    pub fn written(name: &str, write: impl FnOnce(&File) -> Result<()>) -> Result<Self> {
        let fail = |error: rustix::io::Errno| cannot_keep(name, &error.into());
        let file = File::from(memfd_create(name, MemfdFlags::ALLOW_SEALING).map_err(fail)?);
        write(&file)?;
        // Not F_SEAL_WRITE: it waits for pages that the host's kernel holds for a moment, and fails with EBUSY where that takes
        // long. There are no writable mappings yet, so that sealing future ones is as good.
        let seals = SealFlags::FUTURE_WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&file, seals).map_err(fail)?;
        Ok(MemoryFile(file))
    }

    /// The path by which this process and those it starts open the file.
    pub fn path(&self) -> PathBuf {
        format!("/dev/fd/{}", self.0.as_raw_fd()).into()
    }
}

fn cannot_keep(name: &str, error: &std::io::Error) -> Error {
    Error::new(format!("cannot keep `{name}` in memory")).why(error)
}
