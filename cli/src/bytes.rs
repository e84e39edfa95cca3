//! Strings of the operating system: arguments, variables and file names of Linux are bytes, in UTF-8 or not.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// What stands before and after the first `separator`; `None` without one.
pub fn split_once(text: &OsStr, separator: u8) -> Option<(&OsStr, &OsStr)> {
    let at = text.as_bytes().iter().position(|&byte| byte == separator)?;
    Some(around(text, at))
}

/// What stands before and after the last `separator`; `None` without one.
pub fn rsplit_once(text: &OsStr, separator: u8) -> Option<(&OsStr, &OsStr)> {
    let at = text.as_bytes().iter().rposition(|&byte| byte == separator)?;
    Some(around(text, at))
}

fn around(text: &OsStr, at: usize) -> (&OsStr, &OsStr) {
    let (before, after) = text.as_bytes().split_at(at);
    (OsStr::from_bytes(before), OsStr::from_bytes(&after[1..]))
}

/// Whether a program or a library is named by its path, and not by a name to be looked up.
pub fn is_path(name: &OsStr) -> bool {
    name.as_bytes().contains(&b'/')
}

/// The parts between `separators` that are not empty.
pub fn parts<'t>(text: &'t OsStr, separators: &'t [u8]) -> impl Iterator<Item = &'t OsStr> {
    let parts = text.as_bytes().split(|byte| separators.contains(byte));
    parts.filter(|part| !part.is_empty()).map(OsStr::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_value_are_split() {
        let text = OsStr::from_bytes(b"\xff=\xfe=\xfd");
        let pair = |one: &'static [u8], other: &'static [u8]| {
            Some((OsStr::from_bytes(one), OsStr::from_bytes(other)))
        };
        assert_eq!(split_once(text, b'='), pair(b"\xff", b"\xfe=\xfd"));
        assert_eq!(rsplit_once(text, b'='), pair(b"\xff=\xfe", b"\xfd"));
        assert_eq!(split_once(OsStr::new("a="), b'='), pair(b"a", b""));
        assert_eq!(split_once(text, b':'), None);
        assert!(is_path(OsStr::from_bytes(b"./\xff")) && !is_path(text));
        assert_eq!(parts(OsStr::new(":a:;b"), b":;").collect::<Vec<_>>(), ["a", "b"]);
    }
}
