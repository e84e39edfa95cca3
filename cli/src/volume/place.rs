//! Where volumes lie on the host.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::bytes;
use crate::error::{Error, Result, cannot};
use crate::instances;

/// What stands behind the name of a named volume's file.
const SUFFIX: &str = "ext4";

/// A volume as the user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// By its name.
    Named(String),
    /// By its file: what has a slash in it.
    File(PathBuf),
}

impl Source {
    /// Reads a name or a path.
    ///
    /// # Errors
    /// If it is neither.
    pub fn parse(text: &OsStr) -> Result<Self, String> {
        if bytes::is_path(text) {
            return Ok(Source::File(text.into()));
        }
        let name = text.to_str().ok_or("the name of a volume is ASCII")?;
        let name = instances::name(name).map_err(|why| format!("{why}; a file is given as ./{name}"))?;
        Ok(Source::Named(name))
    }

    /// Its file, which need not be there.
    ///
    /// # Errors
    /// If no directory is known for named volumes.
    pub fn file(&self) -> Result<PathBuf> {
        match self {
            Source::Named(name) => Ok(directory()?.join(format!("{name}.{SUFFIX}"))),
            Source::File(path) => Ok(path.clone()),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Named(name) => f.write_str(name),
            Source::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The directory of named volumes (XDG Base Directory Specification, `XDG_DATA_HOME`).
fn directory() -> Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    let data = data.ok_or_else(|| {
        Error::new("there is no place for named volumes")
            .why("neither XDG_DATA_HOME nor HOME names a directory")
            .help("set one of them, or give a file: -v ./data.img:/path")
    })?;
    Ok(data.join("coracle/volumes"))
}

/// Makes the directory of named volumes, where no other user may look.
///
/// # Errors
/// If it can't be made.
pub fn make_directory() -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let path = directory()?;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|error| cannot("make the directory", &path, &error))
}

/// The names of all volumes, sorted.
///
/// # Errors
/// If their directory can't be read.
pub fn names() -> Result<Vec<String>> {
    let path = directory()?;
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot("read", &path, &error)),
    };
    let name = |path: &Path| {
        let name = path.file_stem()?.to_str()?;
        (path.extension()? == SUFFIX && instances::name(name).is_ok()).then(|| name.to_owned())
    };
    let mut names: Vec<_> = entries.flatten().filter_map(|entry| name(&entry.path())).collect();
    names.sort();
    Ok(names)
}
