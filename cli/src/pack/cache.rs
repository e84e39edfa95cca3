//! `/etc/ld.so.cache`, from which glibc's dynamic linker learns where libraries are: read on the host, written for the
//! image. The layout is `struct cache_file_new` of glibc's `sysdeps/generic/dl-cache.h`.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::arch::Arch;

/// What the file begins with.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// What older files begin with; the present layout follows their table.
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
/// Bytes of an old file's header and of one of its entries.
const OLD_HEADER_LEN: usize = 16;
const OLD_ENTRY_LEN: usize = 12;
/// Bytes of the header and of one entry.
const HEADER_LEN: usize = 48;
const ENTRY_LEN: usize = 24;
/// Offset of the number of entries.
const COUNT: usize = 20;
/// `cache_file_new_flags_endian_little`
const LITTLE_ENDIAN: u8 = 2;

/// The libraries of a cache: names, and the paths they lead to, best first.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    entries: Vec<(OsString, PathBuf)>,
}

impl Cache {
    /// Reads a cache. What is damaged or for other architectures is left out, as the dynamic linker does.
    pub fn parse(file: &[u8], arch: Arch) -> Self {
        Cache { entries: Self::read(file, arch).unwrap_or_default() }
    }

    fn read(file: &[u8], arch: Arch) -> Option<Vec<(OsString, PathBuf)>> {
        let number = |bytes: &[u8], at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let file = if file.starts_with(OLD_MAGIC) {
            let count = number(file, OLD_HEADER_LEN - 4)? as usize;
            let end = count.checked_mul(OLD_ENTRY_LEN)?.checked_add(OLD_HEADER_LEN)?;
            file.get(end.next_multiple_of(8)..)?
        } else {
            file
        };
        if !file.starts_with(MAGIC) {
            return None;
        }
        let string = |offset: u32| {
            let rest = file.get(offset as usize..)?;
            let end = rest.iter().position(|&byte| byte == 0)?;
            Some(OsString::from_vec(rest[..end].to_vec()))
        };
        let table = file.get(HEADER_LEN..)?;
        let count = number(file, COUNT)? as usize;
        Some(
            table
                .chunks_exact(ENTRY_LEN)
                .take(count)
                .filter_map(|entry| {
                    let hwcap = u64::from_le_bytes(*entry.get(16..)?.first_chunk()?);
                    // Variants for newer CPUs are left out: the guest's CPU may not be one.
                    let usable = number(entry, 0)? == arch.cache_flags() && hwcap == 0;
                    usable.then(|| Some((string(number(entry, 4)?)?, string(number(entry, 8)?)?.into())))?
                })
                .collect(),
        )
    }

    /// Where the library is.
    pub fn lookup(&self, name: &OsStr) -> impl Iterator<Item = &PathBuf> {
        self.entries.iter().filter(move |(known, _)| known == name).map(|(_, path)| path)
    }

    /// Adds a library, unless its name is known already.
    pub fn insert(&mut self, name: &OsStr, path: PathBuf) {
        if self.lookup(name).next().is_none() {
            self.entries.push((name.to_owned(), path));
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of the file.
    pub fn to_bytes(&self, arch: Arch) -> Vec<u8> {
        let mut entries: Vec<(&OsStr, &Path)> =
            self.entries.iter().map(|(name, path)| (name.as_os_str(), path.as_path())).collect();
        // The dynamic linker searches for the middle of a descending list.
        entries.sort_by(|a, b| compare(b.0, a.0));
        let strings_start = HEADER_LEN + entries.len() * ENTRY_LEN;
        let (mut table, mut strings) = (Vec::new(), Vec::new());
        for (name, path) in &entries {
            table.extend_from_slice(&arch.cache_flags().to_le_bytes());
            for text in [*name, path.as_os_str()] {
                table.extend_from_slice(&((strings_start + strings.len()) as u32).to_le_bytes());
                strings.extend_from_slice(text.as_bytes());
                strings.push(0);
            }
            table.extend_from_slice(&[0; 12]);
        }
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        file.extend_from_slice(&(strings.len() as u32).to_le_bytes());
        file.push(LITTLE_ENDIAN);
        file.resize(HEADER_LEN, 0);
        file.extend_from_slice(&table);
        file.extend_from_slice(&strings);
        file
    }
}

/// glibc's `_dl_cache_libcmp`: numbers within names are compared as numbers, other bytes as `char`, which has a sign.
fn compare(a: &OsStr, b: &OsStr) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    let split = |text: &[u8]| {
        let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        let digits = std::str::from_utf8(&text[..end]).unwrap_or_default().trim_start_matches('0').to_owned();
        (digits, end)
    };
    loop {
        match (a.first(), b.first()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(x), Some(y)) => match (x.is_ascii_digit(), y.is_ascii_digit()) {
                (true, true) => {
                    let ((x, x_end), (y, y_end)) = (split(a), split(b));
                    let order = x.len().cmp(&y.len()).then_with(|| x.cmp(&y));
                    if order.is_ne() {
                        return order;
                    }
                    (a, b) = (&a[x_end..], &b[y_end..]);
                }
                (true, false) => return Ordering::Greater,
                (false, true) => return Ordering::Less,
                (false, false) if x == y => (a, b) = (&a[1..], &b[1..]),
                (false, false) => return x.cast_signed().cmp(&y.cast_signed()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut cache = Cache::default();
        for name in ["libc.so.6", "libfoo.so.10", "libfoo.so.9", "libfoo-2.so"] {
            cache.insert(OsStr::new(name), format!("/lib/{name}").into());
        }
        let bytes = cache.to_bytes(Arch::Aarch64);
        let read = Cache::parse(&bytes, Arch::Aarch64);
        assert!(Cache::parse(&bytes, Arch::X86_64).is_empty());
        assert_eq!(read.lookup(OsStr::new("libfoo.so.9")).next(), Some(&PathBuf::from("/lib/libfoo.so.9")));
        let names: Vec<&OsStr> = read.entries.iter().map(|(name, _)| name.as_os_str()).collect();
        assert!(names.is_sorted_by(|a, b| compare(a, b).is_gt()), "{names:?}");
        assert!(
            names.iter().position(|n| *n == "libfoo.so.10") < names.iter().position(|n| *n == "libfoo.so.9")
        );
    }

    #[test]
    fn damaged_caches_are_empty() {
        assert!(Cache::parse(b"", Arch::X86_64).is_empty());
        assert!(Cache::parse(MAGIC, Arch::X86_64).is_empty());
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&[0xff; 200]);
        assert!(Cache::parse(&file, Arch::X86_64).is_empty());
        let mut old = OLD_MAGIC.to_vec();
        old.resize(OLD_HEADER_LEN, 0xff);
        assert!(Cache::parse(&old, Arch::X86_64).is_empty());
    }
}
