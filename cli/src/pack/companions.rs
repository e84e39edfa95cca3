//! Files that a program reads though no ELF file names them as a library: time zones and certificate authorities. They come
//! along when the program, its interpreter or a library has the code that reads them.
//!
//! Code in a shared library is recognised by what its users import: libc has `localtime`, but only a program that calls it
//! reads a time zone. Code that is linked statically is recognised by the path that it has in it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use object::read::ReadCache;

use super::elf;

/// Files that come along.
pub struct Companion {
    /// What they are, for people.
    pub name: &'static str,
    /// Where they are on Linux systems, those that exist.
    pub paths: &'static [&'static str],
    /// Functions that read them.
    functions: &'static [&'static str],
    /// Paths that programs which read them by themselves hold.
    words: &'static [&'static str],
}

/// All of them.
pub const COMPANIONS: [Companion; 2] = [
    Companion {
        name: "time zones",
        // tzset(3)
        paths: &["/usr/share/zoneinfo"],
        functions: &["localtime", "localtime_r", "mktime", "timelocal", "tzset", "tzalloc"],
        words: &["/usr/share/zoneinfo"],
    },
    Companion {
        name: "certificates",
        // SSL_CTX_load_verify_locations(3ssl), update-ca-certificates(8), update-ca-trust(8); Alpine's is `cert.pem`.
        paths: &[
            "/etc/ssl/certs",
            "/etc/ssl/cert.pem",
            "/etc/ssl/openssl.cnf",
            "/usr/lib/ssl",
            "/etc/pki/tls/certs",
            "/etc/pki/tls/cert.pem",
            "/etc/pki/ca-trust/extracted",
        ],
        functions: &[
            "SSL_CTX_set_default_verify_paths",
            "SSL_CTX_set_default_verify_dir",
            "SSL_CTX_set_default_verify_file",
            "SSL_CTX_set_default_verify_store",
            "X509_STORE_set_default_paths",
            "X509_STORE_set_default_paths_ex",
            "X509_get_default_cert_dir",
            "X509_get_default_cert_file",
            "gnutls_certificate_set_x509_system_trust",
            "gnutls_x509_trust_list_add_system_trust",
        ],
        words: &["/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/pki/tls/cert"],
    },
];

impl Companion {
    /// Whether the ELF file reads these files, or has a library read them.
    fn is_read_by(&self, file: &File) -> bool {
        let (mut imports, mut defines) = (false, false);
        elf::dynamic_symbols(&ReadCache::new(file), |name, defined| {
            if self.functions.iter().any(|function| function.as_bytes() == name) {
                imports |= !defined;
                defines |= defined;
            }
        });
        // The library that has the functions reads nothing until they are called.
        !defines && (imports || holds(file, self.words).unwrap_or(false))
    }
}

/// The companions that one of the ELF files reads.
pub fn of_files<'p>(paths: impl Iterator<Item = &'p Path>) -> Vec<&'static Companion> {
    let mut wanted = BTreeSet::new();
    for file in paths.filter_map(|path| File::open(path).ok()) {
        for (index, companion) in COMPANIONS.iter().enumerate() {
            if !wanted.contains(&index) && companion.is_read_by(&file) {
                wanted.insert(index);
            }
        }
    }
    wanted.into_iter().map(|index| &COMPANIONS[index]).collect()
}

/// Whether the file has one of the words in it.
fn holds(mut file: &File, words: &[&str]) -> io::Result<bool> {
    /// Bytes that are looked at together.
    const PIECE: usize = 64 << 10;
    // A word may lie across the border of two pieces, so the end of one is looked at again with the next.
    let overlap = words.iter().map(|word| word.len()).max().unwrap_or(0);
    let mut piece = vec![0; overlap + PIECE];
    let mut kept = 0;
    io::Seek::rewind(&mut file)?;
    loop {
        let length = kept + file.read(&mut piece[kept..])?;
        if length == kept {
            return Ok(false);
        }
        if words.iter().any(|word| contains(&piece[..length], word.as_bytes())) {
            return Ok(true);
        }
        kept = length.min(overlap);
        piece.copy_within(length - kept..length, 0);
    }
}

/// Whether the bytes have these in them.
fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    let Some((&first, rest)) = wanted.split_first() else { return true };
    bytes.iter().enumerate().any(|(at, &byte)| byte == first && bytes[at + 1..].starts_with(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn paths_in_static_programs() {
        assert!(
            contains(b"xx/etc/ssl/certs/y", b"/etc/ssl/certs")
                && !contains(b"/etc/ssl/cert", b"/etc/ssl/certs")
        );
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"not even ELF, but /usr/share/zoneinfo/").unwrap();
        assert!(COMPANIONS[0].is_read_by(&file) && !COMPANIONS[1].is_read_by(&file));
    }

    #[test]
    fn a_word_across_the_border_of_two_pieces() {
        for length in (64 << 10) - 40..(64 << 10) + 40 {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&[&vec![b'/'; length], &b"/etc/ssl/certs"[..], &[0; 100]].concat()).unwrap();
            assert!(
                holds(&file, &["/etc/pki", "/etc/ssl/certs"]).unwrap()
                    && !holds(&file, &["/etc/pki"]).unwrap()
            );
        }
    }

    #[test]
    fn a_library_that_is_read_for_others_reads_nothing_itself() {
        let libc = File::open("/lib/x86_64-linux-gnu/libc.so.6");
        if let Ok(file) = libc {
            assert!(holds(&file, &["/usr/share/zoneinfo"]).unwrap() && !COMPANIONS[0].is_read_by(&file));
        }
    }
}
