//! `--exclude GLOB`: files to leave out of added directories.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use glob::{MatchOptions, Pattern};

use crate::error::{Error, Result};

/// `*` and `?` stop at a slash, as in a shell; `**` does not. Names that begin with a dot are names like others.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// Patterns, each with whether a file matched it.
#[derive(Debug, Default)]
pub struct Exclude(Vec<(Pattern, Cell<bool>)>);

impl Exclude {
    /// Reads patterns. One without a slash means a name in any directory, one with a slash a path below the directory that
    /// is added, one that begins with a slash a path of the host.
    ///
    /// # Errors
    /// If one of them is no pattern.
    pub fn new(patterns: &[OsString]) -> Result<Self> {
        let read = |text: &OsString| {
            let text = text.to_string_lossy();
            let pattern = Pattern::new(text.trim_end_matches('/')).map_err(|error| {
                Error::new(format!("`{text}` is not a pattern for --exclude"))
                    .why(error)
                    .help("`*` stands for any part of a name, `?` for a character, `[a-z]` for one of several, `**` for directories")
            })?;
            Ok((pattern, Cell::new(false)))
        };
        patterns.iter().map(read).collect::<Result<_>>().map(Exclude)
    }

    /// Whether a file is left out: `host` is its path on the host, `below` the path from the directory that is added. Bytes
    /// that are not UTF-8 count as one character, in patterns as in names.
    pub fn matches(&self, host: &Path, below: &Path) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let (host, path) = (host.to_string_lossy(), below.to_string_lossy());
        let name = below.file_name().map(OsStr::to_string_lossy);
        let matches = |pattern: &Pattern| {
            let text = pattern.as_str();
            if text.starts_with('/') {
                pattern.matches_with(&host, OPTIONS)
            } else if text.contains('/') {
                pattern.matches_with(&path, OPTIONS)
            } else {
                name.as_ref().is_some_and(|name| pattern.matches_with(name, OPTIONS))
            }
        };
        self.0.iter().filter(|(pattern, _)| matches(pattern)).inspect(|(_, used)| used.set(true)).count() > 0
    }

    /// Patterns that matched nothing.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, used)| !used.get()).map(|(pattern, _)| pattern.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn names_paths_and_directories() {
        let matches = |pattern: &str, below: &str| {
            let exclude = Exclude::new(&[pattern.into()]).unwrap();
            let host = Path::new("/opt/app").join(below);
            let matches = exclude.matches(&host, Path::new(below));
            assert_eq!(exclude.unused().next().is_none(), matches);
            matches
        };
        assert!(
            matches("*.pyc", "a/b/x.pyc")
                && matches(".git", "sub/.git")
                && matches("__pycache__/", "a/__pycache__")
        );
        assert!(matches("docs/*.md", "docs/x.md") && !matches("docs/*.md", "docs/deep/x.md"));
        assert!(matches("docs/**/*.md", "docs/deep/x.md") && !matches("docs/*.md", "sub/docs/x.md"));
        assert!(matches("/opt/app/x", "x") && !matches("/opt/app/x", "y/x"));
        let odd = Path::new(OsStr::from_bytes(b"a/x\xff.pyc"));
        for pattern in ["*.pyc", "x?.pyc", "a/*", "/opt/a/*.pyc"] {
            assert!(
                Exclude::new(&[pattern.into()]).unwrap().matches(&Path::new("/opt").join(odd), odd),
                "{pattern}"
            );
        }
        let bytes = OsStr::from_bytes(b"x\xff.pyc").to_owned();
        assert!(Exclude::new(&[bytes]).unwrap().matches(odd, odd));
        assert!(matches("*", ".hidden") && !matches("*.py", "x.pyc"));
        assert!(Exclude::new(&["[a".into()]).is_err());
    }
}
