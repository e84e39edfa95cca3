//! Path resolution (path_resolution(7)) over any tree of directories.
use alloc::vec::Vec;

/// Longest name of one component, NAME_MAX.
pub const NAME_MAX: usize = 255;
/// Longest path with its final zero, PATH_MAX.
pub const PATH_MAX: usize = 4096;
/// Symbolic links followed in one resolution, MAXSYMLINKS.
pub const MAX_LINKS: usize = 40;

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// ENOENT.
    NotFound,
    /// ENOTDIR.
    NotDirectory,
    /// ELOOP.
    Loop,
    /// ENAMETOOLONG.
    NameTooLong,
    /// EXDEV: [`Limits::beneath`] and the path leaves its start.
    Escapes,
}

/// What a node is to path resolution.
pub enum Step<N> {
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Link(Vec<u8>),
    /// A link that leads straight to a node, whatever its path (/proc/self/fd/3).
    Jump(N),
    /// Anything else.
    Other,
}

/// A tree to be walked.
pub trait Tree {
    /// A file, directory or link.
    type Node: Clone;
    /// What can go wrong.
    type Error: From<PathError>;
    /// The entry `name` (never empty, `.` or `..`) of a directory; `None` if there is none.
    fn lookup(&self, directory: &Self::Node, name: &[u8]) -> Result<Option<Self::Node>, Self::Error>;
    /// `..` of a directory.
    fn parent(&self, directory: &Self::Node) -> Self::Node;
    /// What the node is. `follow` is false when a link would not be followed: its target is not needed.
    fn step(&self, node: &Self::Node, follow: bool) -> Result<Step<Self::Node>, Self::Error>;
    /// Whether two nodes are the same directory.
    fn same(&self, a: &Self::Node, b: &Self::Node) -> bool;
}

/// Whether a link at the end of the path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// As stat(2) does.
    Always,
    /// Only if a slash comes after it, as lstat(2) does.
    IfSlash,
    /// Never, as unlink(2), mkdir(2) and rename(2) do.
    Never,
}

/// Limits of a resolution (openat2(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// RESOLVE_BENEATH: leaving the start is an error.
    pub beneath: bool,
    /// RESOLVE_NO_SYMLINKS.
    pub no_links: bool,
    /// RESOLVE_NO_MAGICLINKS.
    pub no_jumps: bool,
}

/// Where a path leads.
pub struct Resolved<N> {
    /// The directory that holds the last component.
    pub directory: N,
    /// The last component; empty if the path ends in `/`-only, `.`, `..` or a jump.
    pub name: Vec<u8>,
    /// What it names, if that exists.
    pub node: Option<N>,
    /// The path ends in a slash, so that only a directory will do.
    pub slash: bool,
}

/// Walks `path` from `start` (or from `root` if it is absolute). `..` of `root` is `root`.
pub fn resolve<T: Tree>(
    tree: &T,
    root: &T::Node,
    start: &T::Node,
    path: &[u8],
    follow: Follow,
    limits: Limits,
) -> Result<Resolved<T::Node>, T::Error> {
    let mut at = start.clone();
    // What is still to be walked: first the caller's path, later link targets with the rest behind them.
    let mut owned: Vec<u8>;
    let mut rest = path;
    let mut links = 0;
    if rest.is_empty() {
        return Err(PathError::NotFound.into());
    }
    if rest[0] == b'/' {
        if limits.beneath {
            return Err(PathError::Escapes.into());
        }
        at = root.clone();
    }
    loop {
        rest = skip_slashes(rest);
        if rest.is_empty() {
            return Ok(Resolved { directory: at.clone(), name: Vec::new(), node: Some(at), slash: true });
        }
        let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let slash = !after.is_empty();
        let last = skip_slashes(after).is_empty();
        if name.len() > NAME_MAX {
            return Err(PathError::NameTooLong.into());
        }
        if name == b"." || name == b".." {
            if name == b".." {
                let top = if limits.beneath { start } else { root };
                if !tree.same(&at, top) {
                    at = tree.parent(&at);
                } else if limits.beneath {
                    return Err(PathError::Escapes.into());
                }
            }
            if last {
                return Ok(Resolved { directory: at.clone(), name: Vec::new(), node: Some(at), slash });
            }
            rest = after;
            continue;
        }
        let Some(node) = tree.lookup(&at, name)? else {
            if last {
                return Ok(Resolved { directory: at, name: name.to_vec(), node: None, slash });
            }
            return Err(PathError::NotFound.into());
        };
        let follows = match follow {
            _ if !last => true,
            Follow::Always => true,
            Follow::IfSlash => slash,
            Follow::Never => false,
        };
        match tree.step(&node, follows)? {
            Step::Link(target) if follows => {
                links += 1;
                if limits.no_links || links > MAX_LINKS {
                    return Err(PathError::Loop.into());
                }
                if target.is_empty() {
                    return Err(PathError::NotFound.into());
                }
                if target[0] == b'/' {
                    if limits.beneath {
                        return Err(PathError::Escapes.into());
                    }
                    at = root.clone();
                }
                let mut next = target;
                next.extend_from_slice(after);
                owned = next;
                rest = &owned;
            }
            Step::Jump(target) if follows => {
                links += 1;
                if limits.no_links || limits.no_jumps || limits.beneath || links > MAX_LINKS {
                    return Err(PathError::Loop.into());
                }
                if last {
                    return Ok(Resolved { directory: at, name: Vec::new(), node: Some(target), slash });
                }
                at = target;
                if !matches!(tree.step(&at, false)?, Step::Directory) {
                    return Err(PathError::NotDirectory.into());
                }
                rest = after;
            }
            kind => {
                let directory = matches!(kind, Step::Directory);
                if last {
                    if slash && !directory {
                        return Err(PathError::NotDirectory.into());
                    }
                    return Ok(Resolved { directory: at, name: name.to_vec(), node: Some(node), slash });
                }
                if !directory {
                    return Err(PathError::NotDirectory.into());
                }
                at = node;
                rest = after;
            }
        }
    }
}

fn skip_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    &path[end..]
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeMap;
    use std::string::String;
    use std::string::ToString;

    /// Nodes are absolute paths without a final slash ("" is the root).
    struct Paths(BTreeMap<&'static str, Option<&'static str>>);

    impl Tree for Paths {
        type Node = String;
        type Error = PathError;
        fn lookup(&self, directory: &String, name: &[u8]) -> Result<Option<String>, PathError> {
            let path = std::format!("{directory}/{}", core::str::from_utf8(name).unwrap());
            Ok(self.0.contains_key(path.as_str()).then_some(path))
        }
        fn parent(&self, directory: &String) -> String {
            directory.rsplit_once('/').map(|(parent, _)| parent.to_string()).unwrap_or_default()
        }
        fn step(&self, node: &String, _: bool) -> Result<Step<String>, PathError> {
            Ok(match self.0.get(node.as_str()) {
                Some(Some("")) => Step::Other,
                Some(Some(jump)) if jump.starts_with('>') => Step::Jump(jump[1..].to_string()),
                Some(Some(target)) => Step::Link(target.as_bytes().to_vec()),
                _ => Step::Directory,
            })
        }
        fn same(&self, a: &String, b: &String) -> bool {
            a == b
        }
    }

    fn tree() -> Paths {
        Paths(BTreeMap::from([
            ("/a", None),
            ("/a/b", None),
            ("/a/b/f", Some("")),
            ("/a/up", Some("../a/b")),
            ("/a/abs", Some("/a/b/f")),
            ("/a/loop", Some("loop")),
            ("/a/gone", Some("/none/where")),
            ("/a/new", Some("b/new")),
            ("/j", Some(">/a/b")),
        ]))
    }

    fn walk(path: &str, follow: Follow) -> Result<(String, String, bool), PathError> {
        let r =
            resolve(&tree(), &String::new(), &"/a".to_string(), path.as_bytes(), follow, Limits::default())?;
        Ok((r.node.unwrap_or_else(|| "-".to_string()), String::from_utf8(r.name).unwrap(), r.slash))
    }

    #[test]
    fn follows_and_stops() {
        let ok = |node: &str, name: &str, slash| Ok((node.to_string(), name.to_string(), slash));
        assert_eq!(walk("b/f", Follow::Always), ok("/a/b/f", "f", false));
        assert_eq!(walk("/a//b/./f", Follow::Always), ok("/a/b/f", "f", false));
        assert_eq!(walk("up/f", Follow::Never), ok("/a/b/f", "f", false));
        assert_eq!(walk("abs", Follow::Always), ok("/a/b/f", "f", false));
        assert_eq!(walk("abs", Follow::IfSlash), ok("/a/abs", "abs", false));
        assert_eq!(walk("up/", Follow::IfSlash), ok("/a/b", "b", true));
        assert_eq!(walk("up/", Follow::Never), Err(PathError::NotDirectory));
        assert_eq!(walk("new", Follow::Always), ok("-", "new", false));
        assert_eq!(walk("../../../a", Follow::Always), ok("/a", "a", false));
        assert_eq!(walk("b/..", Follow::Always), ok("/a", "", false));
        assert_eq!(walk("/", Follow::Always), ok("", "", true));
        assert_eq!(walk("/j/f", Follow::Always), ok("/a/b/f", "f", false));
        assert_eq!(walk("missing/", Follow::Always), ok("-", "missing", true));
    }

    #[test]
    fn refuses() {
        assert_eq!(walk("", Follow::Always), Err(PathError::NotFound));
        assert_eq!(walk("loop", Follow::Always), Err(PathError::Loop));
        assert_eq!(walk("gone", Follow::Always), Err(PathError::NotFound));
        assert_eq!(walk("b/f/", Follow::Always), Err(PathError::NotDirectory));
        assert_eq!(walk("b/f/x", Follow::Always), Err(PathError::NotDirectory));
        assert_eq!(walk("none/x", Follow::Always), Err(PathError::NotFound));
        assert_eq!(walk(&"n".repeat(256), Follow::Always), Err(PathError::NameTooLong));
    }

    #[test]
    fn stays_beneath() {
        let limits = Limits { beneath: true, ..Limits::default() };
        for path in ["/a/b", "..", "b/../..", "abs"] {
            let result =
                resolve(&tree(), &String::new(), &"/a".to_string(), path.as_bytes(), Follow::Always, limits);
            assert_eq!(result.err(), Some(PathError::Escapes), "{path}");
        }
    }
}
