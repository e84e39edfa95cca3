//! Sockets that are reached from each other's inboxes alone: two that were sent to each other and closed, say. No descriptor
//! leads to them any more, and none can; they are closed then, as on Linux (net/unix/garbage.c).
//!
//! `coracle_in_flight` finds them. A socket in flight is looked at when a reference to it ends that is not a message's: with a
//! descriptor, with a call that used it, or with a descriptor that another message closed. What is not in flight costs its closer
//! nothing. Descriptors are put into inboxes and taken out under one lock ([`Moving`]), so that a look sees each once; a
//! program that has a descriptor can only add to its references.
use super::in_flight::InFlight;
use super::socket::{Role, UnixSocket};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::fs::file::OpenFile;
use coracle_core::lock::Mutex;
use coracle_core::task::thread::{Thread, Work};
use coracle_fallible::NoMemory;
use coracle_hal::sync::MutexGuard;
use coracle_hal::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use coracle_in_flight::Graph;

/// Sockets in flight, by their address.
static GRAPH: Mutex<Graph<Weak<OpenFile>>> = Mutex::new(Graph::new());

/// How many there are.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The address of a socket, as a name for it. That of a socket in flight is no other's; of one that has ended, a look finds
/// nothing, or another socket that it does not harm.
pub type Key = usize;

/// While this is held, descriptors may be put into inboxes and taken out. It is taken before the lock of a socket.
pub(super) struct Moving(MutexGuard<'static, Graph<Weak<OpenFile>>>);

impl Moving {
    /// Waits for others, and for a look.
    pub(super) fn begin() -> Moving {
        Moving(GRAPH.lock())
    }
    /// `files` come into the inbox of `holder`. Returns one that nothing else refers to, if there is any: its sender
    /// closed it meanwhile, so it is to be looked at.
    ///
    /// # Errors
    /// [`NoMemory`]; none has come.
    pub(super) fn add(&mut self, files: &[Arc<OpenFile>], holder: Key) -> Result<Option<Key>, NoMemory> {
        let mut suspect = None;
        for (index, file) in files.iter().enumerate() {
            let Some(socket) = as_socket(file) else { continue };
            match self.0.add(socket.key(), holder, || Arc::downgrade(file)) {
                Ok(references) if references == Arc::strong_count(file) => suspect = Some(socket.key()),
                Ok(_) => {}
                Err(error) => {
                    self.remove(&files[..index], holder);
                    return Err(error);
                }
            }
            socket.in_flight.store(true, Relaxed);
        }
        COUNT.store(self.0.len(), Relaxed);
        Ok(suspect)
    }
    /// `files`, which were added, leave the inbox of `holder`.
    pub(super) fn remove(&mut self, files: &[Arc<OpenFile>], holder: Key) {
        for socket in files.iter().filter_map(|file| as_socket(file)) {
            if self.0.remove(socket.key(), holder).is_some() {
                socket.in_flight.store(false, Relaxed);
            }
        }
        COUNT.store(self.0.len(), Relaxed);
    }
}

fn as_socket(file: &OpenFile) -> Option<&UnixSocket> {
    file.file.as_any().downcast_ref()
}

/// Whether something else than messages refers to a socket, to which they have so many references.
fn is_held(file: &Weak<OpenFile>, messages: usize) -> bool {
    file.strong_count() > messages
}

/// The socket that `file` leads to, if it is in flight: it is to be looked at when the caller has let go of `file`.
#[inline]
pub fn suspect(file: &OpenFile) -> Option<Key> {
    if COUNT.load(Relaxed) == 0 { None } else { suspect_among_some(file) }
}

#[cold]
#[inline(never)]
fn suspect_among_some(file: &OpenFile) -> Option<Key> {
    as_socket(file).filter(|socket| socket.in_flight.load(Relaxed)).map(UnixSocket::key)
}

coracle_core::give_let_go!(let_go);

/// Lets go of `file`, which may have been the last way to a socket in flight.
#[inline]
pub fn let_go(file: Arc<OpenFile>) {
    let suspect = suspect(&file);
    drop(file);
    if let Some(suspect) = suspect {
        look(suspect);
    }
}

/// Looks whether a socket can still be reached, and closes what can't be.
#[cold]
#[inline(never)]
pub fn look(suspect: Key) {
    close_inboxes(find(suspect));
}

/// Closes all that can't be reached, if looks have left that open.
#[cold]
pub(super) fn settle() {
    let unreachable = GRAPH.lock().settle(is_held).unwrap_or_default();
    close_inboxes(unreachable);
}

fn close_inboxes(sockets: Vec<Key>) {
    let mut list = InFlight::default();
    take_inboxes(sockets, &mut list);
}

/// Looks whether a socket can still be reached. Returns those that can't be; none where memory is short.
#[cold]
#[inline(never)]
pub(super) fn find(suspect: Key) -> Vec<Key> {
    GRAPH.lock().look(suspect, is_held).unwrap_or_default()
}

/// Takes the descriptors out of the inboxes of sockets that can't be reached, so that nothing else does, onto a list of those to be
/// closed.
#[inline(always)]
pub(super) fn take_inboxes(sockets: Vec<Key>, list: &mut InFlight) {
    for key in sockets {
        // Without the lock: to let go of a file may be to close it.
        if let Some(file) = file_of(key) {
            empty(&file, list);
        }
    }
}

#[inline(never)]
fn file_of(socket: Key) -> Option<Arc<OpenFile>> {
    GRAPH.lock().get(socket).and_then(Weak::upgrade)
}

#[inline(never)]
fn empty(file: &OpenFile, list: &mut InFlight) {
    let Some(socket) = as_socket(file) else { return };
    let mut state = socket.state.lock();
    state.inbox.take_rights(list);
    // What was sent before accept(2) lies with the listener.
    if let Role::Listening { queue, .. } = &state.role {
        queue.iter().for_each(|waiting| waiting.state.lock().inbox.take_rights(list));
    }
}

/// Has the running thread look at a socket in flight when its call is over: the call has a reference, and may be the last
/// that has, if the descriptor was closed meanwhile.
#[cold]
#[inline(never)]
pub(super) fn look_after_call(socket: Key) {
    coracle_core::this::with(|thread| {
        thread.suspect.store(socket, Relaxed);
        thread.work().set(Work::COLLECT);
    });
}

/// The call of a thread that had a socket in flight is over.
#[cold]
pub fn after_call(thread: &Thread) {
    thread.work().clear(Work::COLLECT);
    look(thread.suspect.load(Relaxed));
}
