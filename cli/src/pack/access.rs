//! Whether the guest's user may reach a file of the image: said when the image is built, since in the guest the program would
//! only fail (path_resolution(7)).

use std::collections::VecDeque;
use std::fmt;

use coracle_image::User;
use coracle_image::write::{Meta, Node, Tree};

/// Permission bits of one class of users (inode(7)).
pub const READ: u32 = 4;
pub const EXECUTE: u32 = 1;
/// As many links as Linux follows (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;

/// What keeps a user from a file.
#[derive(Debug)]
pub struct Obstacle {
    /// The file or directory whose permissions do.
    path: String,
    meta: Meta,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Meta { permissions, uid, gid, .. } = self.meta;
        write!(f, "`{}` belongs to {uid}:{gid} and has mode {permissions:04o}", self.path)
    }
}

/// What keeps `user` from using the file at `path` in a way (`READ`, `EXECUTE`), if it is there and something does.
pub fn obstacle(tree: &Tree<'_>, path: &[u8], user: User, wanted: u32) -> Option<Obstacle> {
    let mut obstacle = None;
    walk(tree, path, &mut |path, node, is_last| {
        let needed = if is_last { wanted } else { EXECUTE };
        if obstacle.is_none() && !may(user, node.meta(), needed) {
            obstacle =
                Some(Obstacle { path: String::from_utf8_lossy(path).into_owned(), meta: *node.meta() });
        }
    });
    obstacle
}

/// What a path leads to, all links followed; `None` if that is nothing.
pub fn find<'t, 'd>(tree: &'t Tree<'d>, path: &[u8]) -> Option<&'t Node<'d>> {
    walk(tree, path, &mut |_, _, _| {})
}

/// Follows a path to its end. Calls `pass` with the path of each directory on the way, and with that of the end: the last flag
/// says which it is.
fn walk<'t, 'd>(
    tree: &'t Tree<'d>,
    path: &[u8],
    pass: &mut impl FnMut(&[u8], &Node<'d>, bool),
) -> Option<&'t Node<'d>> {
    let split = |path: &[u8]| -> Vec<Vec<u8>> {
        path.split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty() && *name != b".")
            .map(<[u8]>::to_vec)
            .collect()
    };
    let absolute = |names: &[Vec<u8>]| [&b"/"[..], &names.join(&b'/')].concat();
    let mut rest: VecDeque<Vec<u8>> = split(path).into();
    let mut here: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == b".." {
            here.pop();
            continue;
        }
        here.push(name);
        let path = absolute(&here);
        match tree.get(&path)? {
            Node::Symlink(_, target) => {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                if target.starts_with(b"/") {
                    here.clear();
                } else {
                    here.pop();
                }
                split(target).into_iter().rev().for_each(|name| rest.push_front(name));
            }
            node => pass(&path, node, rest.is_empty()),
        }
    }
    tree.get(&absolute(&here))
}

/// Whether the permissions of a file let a user do something. Root may do all that anybody may (capabilities(7)).
fn may(user: User, meta: &Meta, wanted: u32) -> bool {
    let class = if user.uid == User::ROOT.uid {
        return wanted == READ || meta.permissions & 0o111 != 0;
    } else if user.uid == meta.uid {
        meta.permissions >> 6
    } else if user.gid == meta.gid {
        meta.permissions >> 3
    } else {
        meta.permissions
    };
    class & wanted == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_obstacle_on_the_way_is_named() {
        let mut tree = Tree::new();
        let owned = |permissions, uid| Meta { uid, ..Meta::root(permissions) };
        let file = |permissions, uid| Node::File(owned(permissions, uid), b"x".to_vec().into());
        tree.insert(b"/shut", Node::Directory(owned(0o700, 5), Default::default())).unwrap();
        tree.insert(b"/shut/lib", file(0o644, 5)).unwrap();
        tree.insert(b"/open/lib", file(0o640, 5)).unwrap();
        tree.insert(b"/link", Node::Symlink(Meta::root(0o777), b"open/../shut".to_vec())).unwrap();
        let (user, owner) = (User { uid: 1000, gid: 1000 }, User { uid: 5, gid: 5 });
        let found = |path: &str, user, wanted| {
            obstacle(&tree, path.as_bytes(), user, wanted).map(|obstacle| obstacle.path)
        };
        assert_eq!(found("/shut/lib", user, READ).as_deref(), Some("/shut"));
        assert_eq!(found("/link/lib", user, READ).as_deref(), Some("/shut"));
        assert_eq!(found("/open/lib", user, READ).as_deref(), Some("/open/lib"));
        assert_eq!(found("/open/lib", User { gid: 0, ..user }, READ), None);
        for path in ["/shut/lib", "/open/lib", "/link/lib"] {
            assert_eq!(found(path, owner, READ), None);
            assert_eq!(found(path, User::ROOT, READ), None);
        }
        assert_eq!(found("/open/lib", User::ROOT, EXECUTE).as_deref(), Some("/open/lib"));
        assert_eq!(found("/missing", user, READ), None);
        let is_directory =
            |path: &str| find(&tree, path.as_bytes()).map(|node| matches!(node, Node::Directory(..)));
        for (path, expected) in [
            ("/", Some(true)),
            ("/link", Some(true)),
            ("/link/../open/.", Some(true)),
            ("/link/lib", Some(false)),
            ("/link/lib/x", None),
            ("/missing", None),
        ] {
            assert_eq!(is_directory(path), expected, "{path}");
        }
    }
}
