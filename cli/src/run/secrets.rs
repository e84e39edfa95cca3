//! `--secret NAME[=FILE]`: what only the program may know. Secrets reach the guest by QEMU's fw_cfg device, from a
//! file in memory, so that they are neither in the image nor in a list of processes nor on the kernel's command line.

use std::path::PathBuf;

use super::memory_file::MemoryFile;
use crate::error::{self, Error, Result};

/// Collects the secrets; `None` if there are none.
///
/// # Errors
/// If a file cannot be read, or a variable is not set.
pub fn collect(secrets: &[(String, Option<PathBuf>)]) -> Result<Option<MemoryFile>> {
    if secrets.is_empty() {
        return Ok(None);
    }
    let mut values: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for (name, file) in secrets {
        if values.iter().any(|(other, _)| *other == name.as_bytes()) {
            return Err(Error::new(format!("the secret `{name}` is given twice")));
        }
        values.push((name.as_bytes(), value(name, file.as_ref())?));
    }
    let bytes = coracle_image::secrets::encode(values.iter().map(|(name, value)| (*name, value.as_slice())));
    if bytes.len() > MOST_BYTES {
        return Err(Error::new("the secrets are too large")
            .why(format!("they take {} bytes, and {MOST_BYTES} fit", bytes.len()))
            .help("add large files to the image with --add"));
    }
    MemoryFile::new("secrets", &bytes).map(Some)
}

/// As many bytes as the kernel takes.
const MOST_BYTES: usize = 1 << 20;

fn value(name: &str, file: Option<&PathBuf>) -> Result<Vec<u8>> {
    match file {
        Some(path) => error::read(path),
        None => match std::env::var_os(name) {
            Some(value) => Ok(value.into_encoded_bytes()),
            None => Err(Error::new(format!("the secret `{name}` has no value"))
                .why(format!("there is no environment variable `{name}`"))
                .help(format!("set it, or name a file: --secret {name}=FILE"))),
        },
    }
}
