//! Secrets, as `coracle run` passes them to the kernel: separate from the image and from the command line, in an item of QEMU's
//! fw_cfg device.
//!
//! Each secret is the length of the name (32 bits, little-endian), the length of the value, the name and the value.

use crate::format::get_u32;

/// The name of the item.
pub const ITEM: &str = "opt/org.coracle/secrets";
/// Bytes before a name.
const HEAD_LEN: usize = 8;

/// The bytes of the item. Values may hold anything.
#[cfg(feature = "write")]
pub fn encode<'s>(secrets: impl Iterator<Item = (&'s [u8], &'s [u8])>) -> alloc::vec::Vec<u8> {
    let mut out = alloc::vec::Vec::new();
    for (name, value) in secrets {
        for part in [name, value] {
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        }
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
    out
}

/// Whether this can be the name of a secret, which is a file's: letters, digits, `-`, `_` and `.`, not at its beginning.
pub fn is_name(name: &[u8]) -> bool {
    /// The longest name of a file (`NAME_MAX` of Linux).
    const LONGEST: usize = 255;
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=LONGEST).contains(&name.len()) && name.iter().all(fits) && !name.starts_with(b".")
}

/// Names and values in the bytes of an item; ends at the first that does not fit or has a name that no file can have.
#[derive(Clone, Copy, Debug)]
pub struct Secrets<'a> {
    rest: &'a [u8],
}

impl<'a> Secrets<'a> {
    /// Those in these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Secrets { rest: bytes }
    }
}

impl<'a> Iterator for Secrets<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let name_len = usize::try_from(get_u32(self.rest, 0)?).ok()?;
        let value_len = usize::try_from(get_u32(self.rest, 4)?).ok()?;
        let (name, rest) = self.rest.get(HEAD_LEN..)?.split_at_checked(name_len)?;
        let (value, rest) = rest.split_at_checked(value_len)?;
        self.rest = rest;
        is_name(name).then_some((name, value))
    }
}

#[cfg(all(test, feature = "write"))]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn what_is_encoded_comes_back() {
        let secrets = [(&b"a"[..], &b""[..]), (b"db.password-2", b"\0\n\xff"), (b"_x", b"value")];
        let bytes = encode(secrets.into_iter());
        assert_eq!(Secrets::new(&bytes).collect::<Vec<_>>(), secrets);
        for end in 0..bytes.len() {
            assert!(Secrets::new(&bytes[..end]).count() < secrets.len());
        }
    }

    #[test]
    fn names_that_no_file_has() {
        for wrong in [&b""[..], b".", b"..", b"a/b", b".hidden", b"a b", &[b'x'; 256]] {
            assert!(!is_name(wrong));
            assert_eq!(Secrets::new(&encode([(wrong, &b"v"[..])].into_iter())).next(), None);
        }
        assert_eq!(Secrets::new(&[0xff; 64]).next(), None);
    }
}
