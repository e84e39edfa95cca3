//! What is known of the files of a server.
use super::caching::Caching;
use super::node::Node;
use super::server::{Attributes, Handle, Server};
use crate::cache::pool;
use crate::memory::next_device;
use crate::recent::Recent;
use crate::{p9, virtiofs};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::Events;
use coracle_core::lock::Mutex;
use coracle_core::sleeping::Sleeping;
use coracle_devices::virtio::share::Share;
use coracle_fallible::prelude::*;
use coracle_fallible::try_box;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use coracle_sorted_map::SortedMap;

/// The files of a server.
pub struct Session {
    pub(super) server: &'static dyn Server,
    /// Protocol and root are agreed on.
    is_started: Sleeping<bool>,
    /// The server's number of the root.
    root: AtomicU64,
    /// st_dev of its files.
    pub(super) number: u64,
    /// The nodes that there are, by the server's numbers of files.
    nodes: Mutex<SortedMap<u64, Weak<Node>>>,
    /// Those that were used lately, in a ring, and the next place in it.
    recent: Recent<Node>,
    /// Nodes with pages that the server does not have.
    dirty: Mutex<Vec<Arc<Node>>>,
    caching: AtomicU8,
    is_mounted: AtomicBool,
}

/// Those of the shares that were found.
static SESSIONS: Mutex<Vec<&'static Session>> = Mutex::new(Vec::new());

/// Adds a device, at boot. ENOMEM.
pub fn add(device: Share) -> Result<&'static Share, Errno> {
    let device: &'static Share = Box::leak(try_box(device)?);
    let server = if device.is_9p() { p9::server(device)? } else { virtiofs::server(device)? };
    let session: &'static Session = Box::leak(try_box(Session {
        server,
        is_started: Sleeping::new(try_box(false)?),
        root: AtomicU64::new(0),
        number: next_device(),
        nodes: Mutex::new(SortedMap::new()),
        recent: Recent::new(),
        dirty: Mutex::new(Vec::new()),
        caching: AtomicU8::new(Caching::Auto as u8),
        is_mounted: AtomicBool::new(false),
    })?);
    SESSIONS.lock().try_push(session)?;
    Ok(device)
}

/// Whether there are any.
pub fn is_empty() -> bool {
    SESSIONS.lock().is_empty()
}

fn nth(index: usize) -> Option<&'static Session> {
    SESSIONS.lock().get(index).copied()
}

fn by_tag(tag: &[u8]) -> Option<&'static Session> {
    SESSIONS.lock().iter().find(|session| session.device().name() == tag).copied()
}

/// Nothing serves the device with a mount tag any more. Does not wait.
pub fn abandon(tag: &[u8]) {
    if let Some(session) = by_tag(tag) {
        session.device().abandon();
    }
}

/// The type of the file system with a mount tag.
pub fn kind_of(tag: &[u8]) -> Option<&'static str> {
    by_tag(tag).map(|session| session.server.kind().name)
}

/// Writes back what was written by mappings. Waits; hold no lock.
pub fn sync_all() {
    let mut index = 0;
    while let Some(session) = nth(index) {
        index += 1;
        if let Err(error) = session.sync() {
            log!("what was written to a shared directory is lost (error {})", error.number());
        }
        session.settle();
    }
}

/// Whether there is something that a server does not have, or know.
pub fn has_changes() -> bool {
    let has = |session: &&Session| !session.dirty.lock().is_empty() || session.server.carrier().has_gone();
    SESSIONS.lock().iter().any(has)
}

/// Starts the talk with the server of a mount tag, if there is none yet, and takes it for a mount. Returns the root. Waits.
///
/// # Errors
/// ENOENT if no device has this tag for this type of file system, EBUSY if it is mounted, EPROTO if the server speaks another version; ENOMEM,
/// and the server's.
pub fn attach(kind: &[u8], tag: &[u8], caching: Caching) -> Result<Arc<Node>, Errno> {
    let is_kind = |session: &&Session| session.server.kind().name.as_bytes() == kind;
    let session = by_tag(tag).filter(is_kind).ok_or(Errno::NOENT)?;
    let mut is_started = session.is_started.lock();
    if !*is_started {
        session.server.start()?;
        *is_started = true;
    }
    drop(is_started);
    if session.is_mounted.swap(true, Ordering::AcqRel) {
        return Err(Errno::BUSY);
    }
    session.caching.store(caching as u8, Ordering::Release);
    let root = session.root();
    if root.is_err() {
        session.is_mounted.store(false, Ordering::Release);
    }
    root
}

impl Session {
    /// How long what the server said is believed.
    pub fn caching(&self) -> Caching {
        Caching::of(self.caching.load(Ordering::Relaxed))
    }

    fn device(&self) -> &'static Share {
        self.server.carrier().device()
    }

    /// Tells the server of handles that are of no use any more, as far as there is room. Does not wait.
    pub fn settle(&self) {
        self.server.carrier().settle();
    }

    fn root(&'static self) -> Result<Arc<Node>, Errno> {
        let (handle, attributes) = self.server.root()?;
        let root = self.node(handle, &attributes, None)?;
        self.root.store(root.number(), Ordering::Release);
        Ok(root)
    }

    /// Whether a node is the root.
    pub(super) fn is_root(&self, node: &Node) -> bool {
        node.number() == self.root.load(Ordering::Acquire)
    }

    /// It is mounted no longer.
    pub(super) fn unmount(&self) -> Result<(), Errno> {
        let synced = self.sync();
        self.recent.clear();
        self.settle();
        self.is_mounted.store(false, Ordering::Release);
        synced
    }

    /// The node of a file. `place`: the directory and the name by which it was found.
    pub fn node(
        &'static self,
        handle: Arc<Handle>,
        attributes: &Attributes,
        place: Option<(&Node, &[u8])>,
    ) -> Result<Arc<Node>, Errno> {
        let number = attributes.number;
        let mut new = None;
        loop {
            if let Some(node) = self.known(number)
                && node.take_anew(&handle, attributes)
            {
                node.note_place(place);
                return Ok(node);
            }
            let node = match new.take() {
                Some(node) => node,
                None => Node::new(self, handle.clone(), *attributes)?,
            };
            // Another thread may have found it at the same time: all have the same node, and its pages.
            if self.add_unless_known(number, &node)? {
                node.note_place(place);
                self.recent.note(&node);
                return Ok(node);
            }
            new = Some(node);
        }
    }

    /// Has a node be known by the number of its file, unless another is. ENOMEM.
    fn add_unless_known(&self, number: u64, node: &Arc<Node>) -> Result<bool, Errno> {
        let mut nodes = self.nodes.lock();
        if nodes.get(&number).is_some_and(|known| known.strong_count() > 0) {
            return Ok(false);
        }
        nodes.insert(number, Arc::downgrade(node))?;
        Ok(true)
    }

    /// The node of a file that is known.
    pub fn known(&self, number: u64) -> Option<Arc<Node>> {
        self.nodes.lock().get(&number).and_then(Weak::upgrade)
    }

    /// A node lost its last name: it stays no longer than it is used.
    pub(super) fn forget(&self, node: &Node) {
        drop(self.recent.remove(|other| core::ptr::eq(other, node)));
        self.dropped(node);
    }

    /// A node is gone, or another may have its number.
    pub(super) fn dropped(&self, node: &Node) {
        let mut nodes = self.nodes.lock();
        let is_it = |known: &Weak<Node>| core::ptr::eq(known.as_ptr(), node);
        if nodes.get(&node.number()).is_some_and(is_it) {
            nodes.remove(&node.number());
        }
    }

    /// Notes that a node has pages that the server does not have. ENOMEM.
    pub(super) fn note_dirty(&self, node: &Arc<Node>) -> Result<(), Errno> {
        self.dirty.lock().try_push(node.clone())?;
        pool::DIRTIED.notify(Events::IN);
        Ok(())
    }

    /// Writes back what was written by mappings. Waits; hold no lock.
    pub fn sync(&self) -> Result<(), Errno> {
        let dirty = core::mem::take(&mut *self.dirty.lock());
        let mut result = Ok(());
        for node in dirty {
            result = result.and(node.write_back_listed());
        }
        result
    }
}
