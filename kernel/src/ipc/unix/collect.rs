//! Sockets that are reached from each other's inboxes alone: two that were sent to each other and closed, say. No descriptor
//! leads to them any more, and none can. As on Linux (net/unix/garbage.c) they are looked for when descriptors are
//! closed, and what is in flight to them is closed.
//!
//! A socket has a holder outside of inboxes if its open file has more references than lie in inboxes. What is in the
//! inbox of a socket with a holder can be received, and so on. Descriptors are put into inboxes and taken out under one
//! lock ([`Moving`]), so that a search sees each once; a program that has a descriptor can only add to its references.
use super::in_flight::InFlight;
use super::socket::UnixSocket;
use crate::fs::file::OpenFile;
use crate::heap_sort::heap_sort;
use crate::lock::Mutex;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use spin::MutexGuard;

/// Sockets that may have sockets in their inboxes.
static HOLDERS: Mutex<Holders> = Mutex::new(Holders { list: Vec::new(), closed: 0 });

struct Holders {
    list: Vec<Weak<UnixSocket>>,
    /// Descriptors and sockets closed since the last search.
    closed: usize,
}

/// How many are in that list.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A search looks at every holder: there is one for every so many parts of them that descriptors were closed.
const SHARE: usize = 4;

/// While this is held, descriptors may be put into inboxes and taken out. It is taken before the lock of a socket.
pub(super) struct Moving(MutexGuard<'static, Holders>);

impl Moving {
    /// Waits for others, and for a search.
    pub(super) fn begin() -> Moving {
        Moving(HOLDERS.lock())
    }
    /// `holder`, which isn't known as one yet, gets a socket into its inbox.
    pub(super) fn add(&mut self, holder: &Weak<UnixSocket>) -> Result<(), NoMemory> {
        self.0.list.try_push(holder.clone())?;
        COUNT.store(self.0.list.len(), Relaxed);
        Ok(())
    }
}

/// Whether a descriptor leads to a socket of this family.
pub(super) fn leads_to_socket(file: &OpenFile) -> bool {
    file.file.as_any().is::<UnixSocket>()
}

/// A socket in an inbox.
struct Edge {
    /// The index of the socket whose inbox it is.
    holder: usize,
    /// The open file, and the socket that it leads to: to be compared only.
    file: *const OpenFile,
    socket: *const UnixSocket,
    references: usize,
}

/// Descriptors were closed: closes the sockets that can't be reached any more, if it is time to look for some.
#[inline]
pub fn after_close() {
    if COUNT.load(Relaxed) > 0 {
        collect();
    }
}

#[cold]
fn collect() {
    let garbage = {
        let mut holders = HOLDERS.lock();
        holders.closed += 1;
        if holders.closed < holders.list.len() / SHARE {
            return;
        }
        holders.closed = 0;
        let garbage = search(&mut holders.list);
        COUNT.store(holders.list.len(), Relaxed);
        garbage
    };
    // Closing them takes the locks.
    drop(garbage);
}

/// What is in the inboxes of sockets that can't be reached; nothing if memory is short.
fn search(holders: &mut Vec<Weak<UnixSocket>>) -> Option<(InFlight, Vec<Arc<UnixSocket>>)> {
    let mut sockets: Vec<Arc<UnixSocket>> = Vec::new();
    sockets.try_extend(holders.iter().filter_map(Weak::upgrade)).ok()?;
    heap_sort(&mut sockets, Arc::as_ptr);
    sockets.dedup_by(|a, b| Arc::ptr_eq(a, b));

    let mut edges: Vec<Edge> = Vec::new();
    for (holder, socket) in sockets.iter().enumerate() {
        let mut state = socket.state.lock();
        let mut is_holder = false;
        for file in state.inbox.iter().flat_map(|message| message.rights.files()) {
            let Some(to) = file.file.as_any().downcast_ref::<UnixSocket>() else { continue };
            is_holder = true;
            let edge =
                Edge { holder, file: Arc::as_ptr(file), socket: to, references: Arc::strong_count(file) };
            edges.try_push(edge).ok()?;
        }
        state.holds_sockets = is_holder;
    }
    // Those that hold none any more are forgotten; the lock keeps the others from becoming holders meanwhile.
    holders.retain(|holder| holder.upgrade().is_some_and(|socket| socket.state.lock().holds_sockets));

    // The sockets in flight of which something outside of inboxes knows.
    heap_sort(&mut edges, |edge| (edge.socket, edge.file));
    let mut reached: Vec<bool> = Vec::new();
    let mut pending: Vec<usize> = Vec::new();
    for (index, socket) in sockets.iter().enumerate() {
        let to_it = in_flight(&edges, Arc::as_ptr(socket));
        let known = to_it.is_empty()
            || to_it
                .chunk_by(|a, b| a.file == b.file)
                .any(|same| same.iter().any(|edge| edge.references != same.len()));
        reached.try_push(known).ok()?;
        if known {
            pending.try_push(index).ok()?;
        }
    }
    // What can be received from these, and so on.
    heap_sort(&mut edges, |edge| edge.holder);
    while let Some(index) = pending.pop() {
        let first = edges.partition_point(|edge| edge.holder < index);
        for edge in edges[first..].iter().take_while(|edge| edge.holder == index) {
            if let Ok(index) = sockets.binary_search_by_key(&edge.socket, Arc::as_ptr)
                && !core::mem::replace(&mut reached[index], true)
            {
                pending.try_push(index).ok()?;
            }
        }
    }
    let mut garbage = InFlight::default();
    for (socket, _) in sockets.iter().zip(&reached).filter(|(_, reached)| !**reached) {
        socket.state.lock().inbox.take_rights(&mut garbage);
    }
    // The sockets are let go of without the lock, too.
    Some((garbage, sockets))
}

/// The edges to a socket, of all that are sorted by socket.
fn in_flight(edges: &[Edge], socket: *const UnixSocket) -> &[Edge] {
    let first = edges.partition_point(|edge| edge.socket < socket);
    let rest = &edges[first..];
    &rest[..rest.partition_point(|edge| edge.socket == socket)]
}
