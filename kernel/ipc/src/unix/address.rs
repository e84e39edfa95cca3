//! Names of AF_UNIX sockets: bound paths and abstract names.
use super::socket::UnixSocket;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::access;
use coracle_core::fs::inode::{Inode, NewNode, give_to_caller};
use coracle_core::fs::notify;
use coracle_core::fs::walk::{self, Bounds, Follow};
use coracle_core::lock::Mutex;
use coracle_core::net::socket::UnixName;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::{AtomicU32, Ordering};
use coracle_sorted_map::SortedMap;
use core::fmt::Write as _;
use linux_raw_sys::general::{S_IFMT, S_IFSOCK};

/// Names that autobind has (unix(7): five hexadecimal digits).
const AUTOBIND_NAMES: u32 = 1 << 20;

/// What a name stands for: the node that a path leads to, or the abstract name itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Device and inode number.
    Node(u64, u64),
    /// Number of the network namespace, and the name without its leading zero.
    Abstract(u32, UnixName),
}

static BOUND: Mutex<SortedMap<Key, Weak<UnixSocket>>> = Mutex::new(SortedMap::new());

/// Gives `socket` a name; what it is called then, and the key to release it by. EADDRINUSE.
pub fn bind(socket: &Arc<UnixSocket>, name: &UnixName) -> Result<(UnixName, Key), Errno> {
    match &name[..] {
        [] => loop {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed) % AUTOBIND_NAMES;
            let mut name = UnixName::new();
            // Six bytes fit.
            let _ = name.push(0).map(|()| write!(name, "{number:05x}"));
            match register(abstract_key(socket.net, &name[1..])?, socket) {
                Ok(key) => return Ok((name, key)),
                Err(Errno::ADDRINUSE) => {}
                Err(error) => return Err(error),
            }
        },
        [0, rest @ ..] => Ok((name.clone(), register(abstract_key(socket.net, rest)?, socket)?)),
        path => {
            let process = coracle_core::this::with(|thread| thread.process.clone());
            let context = &process.fs;
            let found = walk::resolve(context, None, path, Follow::Never, Bounds::default())?;
            if found.node.is_some() || found.name.is_empty() {
                return Err(Errno::ADDRINUSE);
            }
            access::check_add(&found.directory)?;
            let mode = socket.mode.load(Ordering::Relaxed) & !context.umask();
            let made = found.directory.inode.create(&found.name, NewNode::Special(S_IFSOCK, 0), mode);
            let node = made.map_err(|error| if error == Errno::EXIST { Errno::ADDRINUSE } else { error })?;
            give_to_caller(&node)?;
            notify::created(&found.directory, &found.name, &node);
            Ok((name.clone(), register_node(&node, socket)?))
        }
    }
}

fn abstract_key(net: u32, name: &[u8]) -> Result<Key, Errno> {
    UnixName::from_slice(name).map(|name| Key::Abstract(net, name)).map_err(|_| Errno::INVAL)
}

/// Has `socket` found by way of a node.
pub fn register_node(node: &Arc<dyn Inode>, socket: &Arc<UnixSocket>) -> Result<Key, Errno> {
    let (device, inode) = node.identity();
    register(Key::Node(device, inode), socket)
}

fn register(key: Key, socket: &Arc<UnixSocket>) -> Result<Key, Errno> {
    let mut bound = BOUND.lock();
    if bound.get(&key).is_some_and(|old| old.strong_count() > 0) {
        return Err(Errno::ADDRINUSE);
    }
    bound.insert(key.clone(), Arc::downgrade(socket))?;
    Ok(key)
}

/// The socket of that name is gone.
pub fn release(key: &Key) {
    BOUND.lock().remove(key);
}

/// The socket that has this name, an abstract one in the network namespace of this number: ENOENT and the like if the path leads nowhere, ECONNREFUSED if nobody is there.
pub fn find(net: u32, name: &[u8]) -> Result<Arc<UnixSocket>, Errno> {
    let key = match name {
        [] => return Err(Errno::INVAL),
        [0, rest @ ..] => abstract_key(net, rest)?,
        path => {
            let process = coracle_core::this::with(|thread| thread.process.clone());
            let place = walk::find(&process.fs, None, path, Follow::Always)?;
            if place.path.inode.mode() & S_IFMT != S_IFSOCK {
                return Err(Errno::CONNREFUSED);
            }
            access::check(&*place.path.inode, access::WRITE)?;
            let (device, inode) = place.path.inode.identity();
            Key::Node(device, inode)
        }
    };
    BOUND.lock().get(&key).and_then(Weak::upgrade).ok_or(Errno::CONNREFUSED)
}

/// The sockets that have names. ENOMEM.
pub fn bound() -> Result<Vec<Arc<UnixSocket>>, NoMemory> {
    BOUND.lock().values().filter_map(Weak::upgrade).try_collect_vec()
}
