//! What `-v` takes: `NAME:/path`, `./disk.img:/path`, `./directory:/path`, and options such as `:ro` behind any.

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
    /// An absolute path of the guest, without a slash at its end, `.` or `..`; `/` for what is changed in the image's files.
    pub path: OsString,
    /// Nothing may be changed.
    pub read_only: bool,
    /// How long the guest believes what it knows of a directory of the host: `none`, `auto` or `always`.
    pub cache: Option<String>,
    /// A directory of the host is shared by virtio-fs, and not by 9P.
    pub by_virtiofs: bool,
}

/// What may stand behind `cache=`.
const CACHES: [&str; 3] = ["none", "auto", "always"];

/// The options of a volume.
#[derive(Default)]
struct Options {
    read_only: bool,
    cache: Option<String>,
    by_virtiofs: bool,
}

/// Takes the options off the end of a volume, if what stands there is nothing else.
fn options(text: &OsStr) -> (&OsStr, Options) {
    let bytes = text.as_bytes();
    let at = bytes.iter().rposition(|&byte| byte == b':');
    let read = at.and_then(|at| {
        let mut options = Options::default();
        for word in std::str::from_utf8(&bytes[at + 1..]).ok()?.split(',') {
            match (word, word.strip_prefix("cache=")) {
                ("ro", _) => options.read_only = true,
                ("rw", _) => options.read_only = false,
                ("virtiofs", _) => options.by_virtiofs = true,
                ("9p", _) => options.by_virtiofs = false,
                (_, Some(kind)) if CACHES.contains(&kind) => options.cache = Some(kind.to_owned()),
                _ => return None,
            }
        }
        Some((OsStr::from_bytes(&bytes[..at]), options))
    });
    read.unwrap_or((text, Options::default()))
}

impl Spec {
    /// A volume that takes what is changed in the image's files.
    pub fn root(source: Source) -> Self {
        Spec { source, path: "/".into(), read_only: false, cache: None, by_virtiofs: false }
    }

    /// Reads what `-v` takes.
    ///
    /// # Errors
    /// What is wrong with it, and how it is written.
    pub fn parse(text: &OsStr) -> Result<Self, String> {
        const FORM: &str = "a volume is written NAME:/path, ./disk.img:/path or ./directory:/path, with :ro behind it if it must not be changed";
        let (text, Options { read_only, cache, by_virtiofs }) = options(text);
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
            return Err("a volume has a directory of the guest, such as /data; with --root-volume it takes what is changed in the \
                 image's files"
                .to_owned());
        }
        Ok(Spec {
            source: Source::parse(source)?,
            path: clean.into_os_string(),
            read_only,
            cache,
            by_virtiofs,
        })
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
                read_only: false,
                cache: None,
                by_virtiofs: false
            }
        );
        let spec = read("./a b.img:/data:ro").unwrap();
        assert_eq!((spec.source, spec.read_only), (Source::File("./a b.img".into()), true));
        assert_eq!(read("/x/y:/z:rw").unwrap().source, Source::File("/x/y".into()));
        let spec = read("./d:/data:cache=none,ro").unwrap();
        assert_eq!((spec.path, spec.cache, spec.read_only), ("/data".into(), Some("none".to_owned()), true));
        let spec = read("./d:/data:virtiofs,cache=always").unwrap();
        assert_eq!(
            (spec.path, spec.cache, spec.by_virtiofs),
            ("/data".into(), Some("always".to_owned()), true)
        );
        assert!(!read("./d:/data:9p").unwrap().by_virtiofs);
        assert_eq!(read("./d:/a:b").unwrap().path, "/a:b");
        for wrong in
            ["data", "data:", "data:relative", ":/data", "data:/", "data:/a/../b", "a b:/data", "-x:/data"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
