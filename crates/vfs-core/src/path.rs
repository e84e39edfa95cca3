//! Path resolution (path_resolution(7)) over any tree of directories.
use alloc::borrow::Cow;
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;

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
    /// ENOMEM.
    NoMemory,
}

impl From<NoMemory> for PathError {
    fn from(_: NoMemory) -> PathError {
        PathError::NoMemory
    }
}

/// What a found node is to path resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// Where a symbolic link leads.
pub enum Target<N> {
    /// To a path.
    Path(Vec<u8>),
    /// Straight to a node, whatever its path (/proc/self/fd/3).
    Node(N, Step),
}

/// Walks over a tree: it is in one directory at a time.
pub trait Walker {
    /// A file, directory or link that was found.
    type Node;
    /// What can go wrong.
    type Error: From<PathError>;
    /// The entry `name` (never empty, `.` or `..`) of the current directory; `None` if there is none.
    fn child(&mut self, name: &[u8]) -> Result<Option<(Self::Node, Step)>, Self::Error>;
    /// Where a link leads.
    fn target(&mut self, link: &Self::Node) -> Result<Target<Self::Node>, Self::Error>;
    /// Goes into a directory.
    fn enter(&mut self, directory: Self::Node);
    /// Goes to the root, by the path itself or by that of a link.
    fn enter_root(&mut self, by_link: bool) -> Result<(), Self::Error>;
    /// Moves to `..`. In the top directory it returns false instead.
    fn enter_parent(&mut self) -> Result<bool, Self::Error>;
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

/// What was found at the end of a path.
pub enum Found<N> {
    /// The last component isn't there.
    Nothing,
    /// This, in the current directory of the walker, or reached by a link that jumps.
    Node(N, Step),
    /// The current directory of the walker itself: the path ended in `/`-only, `.` or `..`.
    Here,
}

/// Where a path leads.
pub struct Resolved<'p, N> {
    /// The last component; empty if it doesn't name what was found.
    pub name: Cow<'p, [u8]>,
    /// What it names.
    pub found: Found<N>,
    /// The path ends in a slash, so that only a directory will do.
    pub slash: bool,
}

/// Walks `path` from the current directory of `walker`, or from the root if it is absolute; leaves `walker` in the directory of
/// the last component.
pub fn resolve<'p, W: Walker>(
    walker: &mut W,
    path: &'p [u8],
    follow: Follow,
    limits: Limits,
) -> Result<Resolved<'p, W::Node>, W::Error> {
    if path.is_empty() {
        return Err(PathError::NotFound.into());
    }
    let mut links = 0;
    match walk(walker, path, follow, limits, &mut links)? {
        Walk::End(end) => Ok(Resolved { name: Cow::Borrowed(end.name), found: end.found, slash: end.slash }),
        Walk::Link(mut next) => loop {
            match walk(walker, &next, follow, limits, &mut links)? {
                Walk::End(end) => {
                    return Ok(Resolved {
                        name: Cow::Owned(end.name.try_to_vec().map_err(PathError::from)?),
                        found: end.found,
                        slash: end.slash,
                    });
                }
                Walk::Link(further) => next = further,
            }
        },
    }
}

struct End<'p, N> {
    name: &'p [u8],
    found: Found<N>,
    slash: bool,
}

enum Walk<'p, N> {
    End(End<'p, N>),
    /// A link was met: its target, with the rest of the path behind it.
    Link(Vec<u8>),
}

/// Walks as far as the path's own components lead.
fn walk<'p, W: Walker>(
    walker: &mut W,
    path: &'p [u8],
    follow: Follow,
    limits: Limits,
    links: &mut usize,
) -> Result<Walk<'p, W::Node>, W::Error> {
    let mut rest = path;
    if rest[0] == b'/' {
        if limits.beneath {
            return Err(PathError::Escapes.into());
        }
        walker.enter_root(*links != 0)?;
    }
    loop {
        rest = skip_slashes(rest);
        if rest.is_empty() {
            return Ok(Walk::End(End { name: &[], found: Found::Here, slash: true }));
        }
        let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let slash = !after.is_empty();
        let last = !slash || skip_slashes(after).is_empty();
        if name.len() > NAME_MAX {
            return Err(PathError::NameTooLong.into());
        }
        if name == b"." || name == b".." {
            if name.len() == 2 && !walker.enter_parent()? && limits.beneath {
                return Err(PathError::Escapes.into());
            }
            if last {
                return Ok(Walk::End(End { name: &[], found: Found::Here, slash }));
            }
            rest = after;
            continue;
        }
        let Some((node, step)) = walker.child(name)? else {
            if last {
                return Ok(Walk::End(End { name, found: Found::Nothing, slash }));
            }
            return Err(PathError::NotFound.into());
        };
        if step == Step::Directory && !last {
            walker.enter(node);
            rest = after;
            continue;
        }
        let follows = match follow {
            _ if !last => true,
            Follow::Always => true,
            Follow::IfSlash => slash,
            Follow::Never => false,
        };
        if step == Step::Link && follows {
            *links += 1;
            if limits.no_links || *links > MAX_LINKS {
                return Err(PathError::Loop.into());
            }
            match walker.target(&node)? {
                Target::Path(target) if target.is_empty() => return Err(PathError::NotFound.into()),
                Target::Path(mut next) => {
                    next.try_extend_from_slice(after).map_err(PathError::from)?;
                    return Ok(Walk::Link(next));
                }
                Target::Node(..) if limits.no_jumps || limits.beneath => return Err(PathError::Loop.into()),
                Target::Node(node, step) if last => {
                    if slash && step != Step::Directory {
                        return Err(PathError::NotDirectory.into());
                    }
                    return Ok(Walk::End(End { name: &[], found: Found::Node(node, step), slash }));
                }
                Target::Node(node, Step::Directory) => {
                    walker.enter(node);
                    rest = after;
                }
                Target::Node(..) => return Err(PathError::NotDirectory.into()),
            }
            continue;
        }
        if !last || (slash && step != Step::Directory) {
            return Err(PathError::NotDirectory.into());
        }
        return Ok(Walk::End(End { name, found: Found::Node(node, step), slash }));
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

    /// What each path is: a directory, a link's target, or nothing for a file. Nodes are absolute paths without a final slash
    /// ("" is the root).
    struct Paths(BTreeMap<&'static str, Option<&'static str>>);

    /// Stands at a path.
    struct At {
        tree: Paths,
        top: String,
        path: String,
    }

    impl At {
        fn step(&self, node: &str) -> Step {
            match self.tree.0.get(node) {
                Some(Some("")) => Step::Other,
                Some(Some(_)) => Step::Link,
                _ => Step::Directory,
            }
        }
    }

    impl Walker for At {
        type Node = String;
        type Error = PathError;
        fn child(&mut self, name: &[u8]) -> Result<Option<(String, Step)>, PathError> {
            let path = std::format!("{}/{}", self.path, core::str::from_utf8(name).unwrap());
            Ok(self.tree.0.contains_key(path.as_str()).then(|| (path.clone(), self.step(&path))))
        }
        fn target(&mut self, link: &String) -> Result<Target<String>, PathError> {
            let target = self.tree.0[link.as_str()].unwrap();
            Ok(match target.strip_prefix('>') {
                Some(jump) => Target::Node(jump.to_string(), self.step(jump)),
                None => Target::Path(target.as_bytes().to_vec()),
            })
        }
        fn enter(&mut self, directory: String) {
            self.path = directory;
        }
        fn enter_root(&mut self, _by_link: bool) -> Result<(), PathError> {
            self.path = String::new();
            Ok(())
        }
        fn enter_parent(&mut self) -> Result<bool, PathError> {
            if self.path == self.top {
                return Ok(false);
            }
            self.path = self.path.rsplit_once('/').map(|(parent, _)| parent.to_string()).unwrap_or_default();
            Ok(true)
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

    fn walk_in(
        top: &str,
        path: &str,
        follow: Follow,
        limits: Limits,
    ) -> Result<(String, String, bool), PathError> {
        let mut at = At { tree: tree(), top: top.to_string(), path: "/a".to_string() };
        let r = resolve(&mut at, path.as_bytes(), follow, limits)?;
        let node = match r.found {
            Found::Nothing => "-".to_string(),
            Found::Node(node, _) => node,
            Found::Here => at.path,
        };
        Ok((node, String::from_utf8(r.name.to_vec()).unwrap(), r.slash))
    }

    fn walk(path: &str, follow: Follow) -> Result<(String, String, bool), PathError> {
        walk_in("", path, follow, Limits::default())
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
            assert_eq!(walk_in("/a", path, Follow::Always, limits), Err(PathError::Escapes), "{path}");
        }
    }
}
