//! What `-v` takes: `NAME:/path`, `./disk.img:/path`, and `:ro` behind either.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use super::place::Source;
use crate::bytes;

/// A volume, and the directory of the guest where it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Where it is on the host.
    pub source: Source,
    /// An absolute path of the guest, without a slash at its end, `.` or `..`.
    pub path: OsString,
    /// Nothing may be changed.
    pub read_only: bool,
}

impl Spec {
    /// Reads what `-v` takes.
    ///
    /// # Errors
    /// What is wrong with it, and how it is written.
    pub fn parse(text: &OsStr) -> Result<Self, String> {
        const FORM: &str = "a volume is written NAME:/path or ./disk.img:/path, with :ro behind it if it must not be changed";
        let (text, read_only) = match text.as_bytes() {
            [start @ .., b':', b'r', b'o'] => (OsStr::from_bytes(start), true),
            [start @ .., b':', b'r', b'w'] => (OsStr::from_bytes(start), false),
            _ => (text, false),
        };
        let Some((source, path)) = bytes::split_once(text, b':') else { return Err(FORM.to_owned()) };
        if source.is_empty() || !path.as_bytes().starts_with(b"/") {
            return Err(format!("{FORM}; the guest's path begins with a slash"));
        }
        let mut clean = PathBuf::from("/");
        for component in Path::new(path).components() {
            match component {
                Component::RootDir => {}
                Component::Normal(name) => clean.push(name),
                _ => return Err("the guest's path of a volume has no `..`".to_owned()),
            }
        }
        if clean == Path::new("/") {
            return Err("a volume can't be the guest's root: give it a directory, such as /data".to_owned());
        }
        Ok(Spec { source: Source::parse(source)?, path: clean.into_os_string(), read_only })
    }
}

impl std::str::FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(OsStr::new(text))
    }
}

/// The path as the kernel's command line takes it.
pub fn path_bytes(path: &OsStr) -> Vec<u8> {
    path.to_owned().into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_write_them() {
        let read = |text: &str| text.parse::<Spec>();
        let spec = read("pgdata:/var/lib//postgresql/").unwrap();
        assert_eq!(
            spec,
            Spec {
                source: Source::Named("pgdata".to_owned()),
                path: "/var/lib/postgresql".into(),
                read_only: false
            }
        );
        let spec = read("./a b.img:/data:ro").unwrap();
        assert_eq!((spec.source, spec.read_only), (Source::File("./a b.img".into()), true));
        assert_eq!(read("/x/y:/z:rw").unwrap().source, Source::File("/x/y".into()));
        for wrong in
            ["data", "data:", "data:relative", ":/data", "data:/", "data:/a/../b", "a b:/data", "-x:/data"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
