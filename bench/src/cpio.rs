//! Writes an initramfs: a cpio archive in the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst
//! of Linux).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

const S_IFDIR: u32 = 0o040000;
const S_IFREG: u32 = 0o100000;
const S_IFLNK: u32 = 0o120000;

/// An archive being written, in memory.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    seen: BTreeSet<String>,
    inode: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.inode += 1;
        let fields = [self.inode, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Adds a directory and those above it.
    pub fn directory(&mut self, path: &str) {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/').chain(std::iter::once((path.len(), ""))) {
            let part = &path[..at];
            if !part.is_empty() && self.seen.insert(part.to_owned()) {
                self.entry(part, S_IFDIR | 0o755, &[]);
            }
        }
    }

    /// Adds bytes as a file.
    pub fn bytes(&mut self, path: &str, permissions: u32, data: &[u8]) {
        let path = path.trim_matches('/');
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        if self.seen.insert(path.to_owned()) {
            self.entry(path, S_IFREG | permissions, data);
        }
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        let path = path.trim_matches('/');
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        if self.seen.insert(path.to_owned()) {
            self.entry(path, S_IFLNK | 0o777, target.as_bytes());
        }
    }

    /// Adds a file of the host (links followed), or a directory with all that is in it.
    pub fn host(&mut self, host: &Path, guest: &str) -> Result<()> {
        let meta = fs::metadata(host).with_context(|| format!("cannot read {}", host.display()))?;
        if meta.is_dir() {
            self.directory(guest);
            let mut names: Vec<_> = fs::read_dir(host)?.collect::<Result<_, _>>()?;
            names.sort_by_key(|entry| entry.file_name());
            for entry in names {
                let name = entry.file_name();
                // A dangling link is left out.
                if entry.path().exists() {
                    self.host(&entry.path(), &format!("{guest}/{}", name.to_string_lossy()))?;
                }
            }
            return Ok(());
        }
        let data = fs::read(host).with_context(|| format!("cannot read {}", host.display()))?;
        self.bytes(guest, meta.permissions().mode() & 0o777, &data);
        Ok(())
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_the_directories_above_a_file_once_and_ends_in_a_trailer() {
        let mut archive = Archive::default();
        archive.bytes("/a/b/file", 0o644, b"hello");
        archive.symlink("a/b/link", "file");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).expect("plain text");
        assert_eq!(text.matches("070701").count(), 5);
        let position = |name: &str| text.find(name).unwrap_or_else(|| panic!("no {name:?}"));
        assert!(position("a\0") < position("a/b\0") && position("a/b\0") < position("a/b/file\0"));
        // Name size, then the padding to four bytes, then the data.
        let file = position("a/b/file");
        assert_eq!(&text[file - 16..file - 8], "00000009");
        assert!(text[file..].starts_with("a/b/file\0\0hello\0\0\0"));
        assert!(text.contains("TRAILER!!!"));
    }
}
