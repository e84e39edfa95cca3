//! The directory tree that is the guest's `/`: this machine's own, of which an image gets what its program needs, or the one of `--root`,
//! which an image gets as a whole.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result, cannot};

/// As many links as Linux follows (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;

/// The tree.
#[derive(Clone, Debug, Default)]
pub struct Root {
    /// Its directory, all links followed; this machine's `/` if there is none.
    directory: Option<PathBuf>,
}

impl Root {
    /// The tree below a directory, or this machine's.
    ///
    /// # Errors
    /// If it is no directory that can be read.
    pub fn new(directory: Option<&Path>) -> Result<Root> {
        let Some(given) = directory else { return Ok(Root::default()) };
        let fail = |error: std::io::Error| cannot("use", given, &error);
        let found = given.canonicalize().map_err(fail)?;
        if !found.is_dir() {
            return Err(Error::new(format!("`{}` cannot be the guest's root", given.display()))
                .why("it is not a directory")
                .help(
                    "give a directory with a Linux system below it, as debootstrap(8) and containers have it",
                ));
        }
        Ok(Root { directory: Some(found).filter(|found| found != Path::new("/")) })
    }

    /// The directory, if it is not this machine's `/`.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Where the file at an absolute path of the tree is on this machine; links lead to other files of the tree. `None` if there is no such.
    pub fn locate(&self, path: &Path) -> Option<PathBuf> {
        let Some(directory) = &self.directory else { return path.exists().then(|| path.to_owned()) };
        self.resolve(path).map(|inside| directory.join(inside.strip_prefix("/").unwrap_or(&inside)))
    }

    /// A path with all links followed; `None` if it leads nowhere.
    pub fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let Some(directory) = &self.directory else { return path.canonicalize().ok() };
        let (mut rest, mut inside, mut links) = (names(path), PathBuf::new(), 0);
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                inside.pop();
                continue;
            }
            let next = inside.join(&name);
            let meta = fs::symlink_metadata(directory.join(&next)).ok()?;
            if !meta.is_symlink() {
                inside = next;
                continue;
            }
            links += 1;
            let target = fs::read_link(directory.join(&next)).ok().filter(|_| links <= MOST_LINKS)?;
            if target.is_absolute() {
                inside = PathBuf::new();
            }
            names(&target).into_iter().rev().for_each(|name| rest.push_front(name));
        }
        Some(Path::new("/").join(inside))
    }
}

/// The names in a path, `..` among them.
pub fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside() {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        fs::create_dir_all(at("usr/lib/deep")).unwrap();
        fs::write(at("usr/lib/libx.so.1"), b"").unwrap();
        symlink("usr/lib", at("lib")).unwrap();
        symlink("/lib/libx.so.1", at("usr/lib/deep/absolute")).unwrap();
        symlink("../../../../../../../usr/lib/libx.so.1", at("usr/lib/deep/upwards")).unwrap();
        symlink("ring", at("ring")).unwrap();
        symlink("/etc/passwd", at("outside")).unwrap();
        let root = Root::new(Some(place.path())).unwrap();
        let real = place.path().canonicalize().unwrap().join("usr/lib/libx.so.1");
        for path in ["/lib/libx.so.1", "/lib/deep/absolute", "/lib/deep/upwards", "/../lib/../lib/libx.so.1"]
        {
            assert_eq!(root.locate(Path::new(path)).as_ref(), Some(&real), "{path}");
            assert_eq!(root.resolve(Path::new(path)).unwrap(), Path::new("/usr/lib/libx.so.1"));
        }
        for path in ["/ring", "/outside", "/none"] {
            assert_eq!(root.locate(Path::new(path)), None, "{path}");
        }
        assert!(Root::new(Some(&real)).is_err() && Root::new(Some(&at("none"))).is_err());
        assert_eq!(Root::new(Some(Path::new("/"))).unwrap().directory(), None);
    }
}
