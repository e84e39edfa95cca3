//! Requests of other commands for a guest: taken on a socket of the user's, handed on over the control port, and answered.
//!
//! The socket speaks the protocol of the port (the crate `coracle-control`). What a connection does not read yet is kept for it: as
//! much as it has asked for.
//!
//! A guest keeps few requests that it has not looked at. So a connection waits while there are [`MOST_AT_ONCE`] of which the guest
//! has said nothing yet; those that wait in the guest, for a program or a stream, don't count.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use coracle_control::{
    Debug, HEADER_BYTES, LONGEST_FROM_GUEST, LONGEST_TO_GUEST, Message, PIECE_BYTES, REQUESTS_SINCE, Request,
    SessionRequest, ToGuest, TreeChange, VERSION,
};
use rustix::io::Errno;

use super::machine::Machine;
use super::stop::Guest;
use crate::error::Result;
use crate::instances::{self, Claim};

/// Requests that a guest has at a time, below those that it keeps.
const MOST_AT_ONCE: usize = 12;

/// In place of the version of a guest that has ended.
const ENDED: u16 = u16::MAX;

/// The connections that wait for an answer.
struct Asker {
    /// Its number for the request.
    id: u32,
    /// Messages for it. Closed if the connection is.
    to: Sender<Vec<u8>>,
    /// The guest has begun to answer.
    is_taken: bool,
}

/// What a connection holds in the guest.
struct Held {
    /// The number under which it does.
    session: u32,
    /// It may hold something.
    is_used: bool,
    /// Paths that are to be removed.
    remove: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Waiting {
    askers: HashMap<u32, Asker>,
    /// Of these, those that the guest has said nothing of.
    untaken: usize,
    last_id: u32,
    /// Connections that there were.
    connections: u32,
    /// The connection that traces system calls, whose end ends the trace.
    tracer: Option<u32>,
    /// The same for events.
    watcher: Option<u32>,
    /// The connection that captures packets, whose end ends that.
    capturer: Option<u32>,
    /// The connections that debug processes, whose end lets these go on: by the process.
    debuggers: HashMap<u32, u32>,
}

/// Hands requests on, and answers back.
#[derive(Default)]
pub struct Switchboard {
    waiting: Mutex<Waiting>,
    /// Some may be asked that waited.
    room: Condvar,
    /// The version that the guest speaks; 0: it has not said yet.
    version: AtomicU16,
    /// The guest's machine, once it runs.
    machine: OnceLock<Machine>,
}

/// The socket of the guest that has this name, which is removed at the end.
pub struct Socket(Arc<Claim>);

impl Drop for Socket {
    fn drop(&mut self) {
        if let Ok(path) = self.0.name().and_then(|name| instances::socket_path(&name)) {
            // Without it there is nothing left to do.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Switchboard {
    /// Takes requests for `guest`, which has this name, from now on.
    pub fn listen(self: &Arc<Self>, claim: &Arc<Claim>, guest: &Arc<Guest>) -> Result<Socket> {
        let listener = instances::listen(&claim.name()?)?;
        let (this, guest) = (Arc::clone(self), Arc::clone(guest));
        thread::spawn(move || this.accept(&listener, &guest));
        Ok(Socket(Arc::clone(claim)))
    }

    /// A connection to `guest` for this command itself.
    pub fn connect(self: &Arc<Self>, guest: &Arc<Guest>) -> std::io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let (this, guest) = (Arc::clone(self), Arc::clone(guest));
        thread::spawn(move || this.serve(theirs, &guest));
        Ok(ours)
    }

    /// The guest answers nothing any more: what waits for answers hears that.
    pub fn end(&self) {
        self.version.store(ENDED, Ordering::SeqCst);
        let askers = {
            let mut waiting = self.waiting();
            waiting.untaken = 0;
            std::mem::take(&mut waiting.askers)
        };
        self.room.notify_all();
        askers.into_values().for_each(|asker| answer(asker.id, &asker.to, Some(Errno::SHUTDOWN)));
    }

    fn accept(self: Arc<Self>, listener: &UnixListener, guest: &Arc<Guest>) {
        for connection in listener.incoming() {
            let Ok(connection) = connection else { continue };
            let (this, guest) = (Arc::clone(&self), Arc::clone(guest));
            thread::spawn(move || this.serve(connection, &guest));
        }
    }

    /// Serves a connection until it is closed.
    fn serve(&self, mut connection: UnixStream, guest: &Guest) {
        let Ok(mut other) = connection.try_clone() else { return };
        let (to, messages) = channel::<Vec<u8>>();
        // A thread of its own, so that a slow reader delays no other.
        thread::spawn(move || messages.iter().all(|message| other.write_all(&message).is_ok()));
        let _ = to.send(encoded(Message::Hello(VERSION)));
        let own = {
            let mut waiting = self.waiting();
            waiting.connections = waiting.connections.wrapping_add(1);
            waiting.connections
        };
        let (mut reader, mut buffer) = (ToGuest::new(), vec![0; 16 << 10]);
        let mut held = Held { session: own, is_used: false, remove: Vec::new() };
        while let Ok(length @ 1..) = connection.read(&mut buffer) {
            reader.take(&buffer[..length], |message| {
                if let Message::Request { id, request } = message {
                    match request {
                        Request::Debug(debug) if !self.may_debug(own, debug) => {
                            answer(id, &to, Some(Errno::BUSY));
                        }
                        Request::TraceStart { .. } if !self.begins_trace(own) => {
                            answer(id, &to, Some(Errno::BUSY));
                        }
                        Request::CaptureStart { .. } if !self.begins_capture(own) => {
                            answer(id, &to, Some(Errno::BUSY));
                        }
                        Request::Session { request: SessionRequest::RemoveLater { path }, .. } => {
                            held.remove.push(path.to_vec());
                            answer(id, &to, None);
                        }
                        Request::Session { request, .. } => {
                            held.is_used = true;
                            self.ask(id, Request::Session { session: own, request }, &to, guest);
                        }
                        Request::EventsStart(_) if !self.begins_events(own) => {
                            answer(id, &to, Some(Errno::BUSY));
                        }
                        request => match self.of_machine(own, &request) {
                            Some(answer) => tell(id, &to, &answer),
                            None => self.ask(id, request, &to, guest),
                        },
                    }
                }
            });
        }
        let debugged: Vec<u32> = {
            let mut waiting = self.waiting();
            waiting.debuggers.extract_if(|_, debugger| *debugger == own).map(|(pid, _)| pid).collect()
        };
        for pid in debugged {
            self.ask(0, Request::Debug(Debug::Detach { pid }), &to, guest);
        }
        if held.is_used {
            self.end_session(held, &to, guest);
        }
        if self.waiting().tracer == Some(own) {
            self.ask(0, Request::TraceStop, &to, guest);
            self.waiting().tracer = None;
        }
        if self.waiting().watcher == Some(own) {
            self.ask(0, Request::EventsStop, &to, guest);
            self.waiting().watcher = None;
        }
        if self.waiting().capturer == Some(own) {
            self.ask(0, Request::CaptureStop, &to, guest);
            self.waiting().capturer = None;
        }
        if let Some(machine) = self.machine.get() {
            machine.left(own);
        }
    }

    /// The guest's machine runs: requests for it are answered from now on.
    pub fn set_machine(&self, machine: Machine) {
        // There is one machine for a command.
        let _ = self.machine.set(machine);
    }

    /// The answer to a request that is for the machine.
    fn of_machine(&self, connection: u32, request: &Request<'_>) -> Option<Result<Vec<u8>, Errno>> {
        self.machine.get()?.answer(connection, request)
    }

    /// As [`Switchboard::begins_trace`], for events.
    fn begins_events(&self, connection: u32) -> bool {
        *self.waiting().watcher.get_or_insert(connection) == connection
    }

    /// Ends what a connection holds in the guest.
    fn end_session(&self, held: Held, to: &Sender<Vec<u8>>, guest: &Guest) {
        let ask = |request| self.ask(0, Request::Session { session: held.session, request }, to, guest);
        ask(SessionRequest::End);
        for path in held.remove.iter().rev() {
            // One of the two is what it is.
            for change in [TreeChange::Remove, TreeChange::RemoveDirectory] {
                ask(SessionRequest::Tree { change, mode: 0, path });
            }
        }
    }

    /// Whether a connection may ask for this: one debugs a process at a time.
    fn may_debug(&self, connection: u32, request: Debug<'_>) -> bool {
        let debuggers = &mut self.waiting().debuggers;
        match request {
            Debug::Attach { pid } => *debuggers.entry(pid).or_insert(connection) == connection,
            Debug::Detach { pid } => {
                let is_own = debuggers.get(&pid).is_none_or(|debugger| *debugger == connection);
                if is_own {
                    debuggers.remove(&pid);
                }
                is_own
            }
            _ => true,
        }
    }

    /// Whether a connection may trace: one does at a time.
    fn begins_trace(&self, connection: u32) -> bool {
        *self.waiting().tracer.get_or_insert(connection) == connection
    }

    /// Whether a connection may capture packets: one does at a time.
    fn begins_capture(&self, connection: u32) -> bool {
        *self.waiting().capturer.get_or_insert(connection) == connection
    }

    /// Hands a request on.
    fn ask(&self, id: u32, request: Request<'_>, to: &Sender<Vec<u8>>, guest: &Guest) {
        let refuse = |error| answer(id, to, Some(error));
        match self.version.load(Ordering::SeqCst) {
            0 => return refuse(Errno::AGAIN),
            ENDED => return refuse(Errno::SHUTDOWN),
            version if version < REQUESTS_SINCE => return refuse(Errno::NOSYS),
            _ => {}
        }
        let is_full = |waiting: &mut Waiting| waiting.untaken >= MOST_AT_ONCE;
        let mut waiting =
            self.room.wait_while(self.waiting(), is_full).unwrap_or_else(PoisonError::into_inner);
        if self.version.load(Ordering::SeqCst) == ENDED {
            return refuse(Errno::SHUTDOWN);
        }
        waiting.untaken += 1;
        waiting.last_id = waiting.last_id.wrapping_add(1);
        let own = waiting.last_id;
        waiting.askers.insert(own, Asker { id, to: to.clone(), is_taken: false });
        drop(waiting);
        guest.say(Message::Request { id: own, request });
    }

    /// Makes a request of this command's own, and waits for the answer, for so long at most.
    ///
    /// # Errors
    /// The guest's; ETIMEDOUT; EAGAIN and ENOSYS as for any request.
    pub fn request(&self, request: Request<'_>, guest: &Guest, time: Duration) -> Result<Vec<u8>, Errno> {
        let (to, messages) = channel();
        let until = Instant::now() + time;
        self.ask(0, request, &to, guest);
        let mut answer = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = messages.recv_timeout(left).map_err(|_| Errno::TIMEDOUT)?;
            match Message::parse(&message) {
                Some(Message::Piece { bytes, .. }) => answer.extend_from_slice(bytes),
                Some(Message::End { error: 0, .. }) => return Ok(answer),
                Some(Message::End { error, .. }) => return Err(Errno::from_raw_os_error(error.into())),
                _ => {}
            }
        }
    }

    /// Takes what the guest says.
    pub fn take(&self, message: Message<'_>) {
        match message {
            Message::Hello(version) => self.version.store(version, Ordering::SeqCst),
            Message::Piece { id, bytes } => {
                let mut waiting = self.waiting();
                let Some(asker) = waiting.askers.get_mut(&id) else { return };
                // As in `answer`.
                let _ = asker.to.send(encoded(Message::Piece { id: asker.id, bytes }));
                if !std::mem::replace(&mut asker.is_taken, true) {
                    self.has_room(&mut waiting);
                }
            }
            Message::End { id, error } => {
                let mut waiting = self.waiting();
                let Some(asker) = waiting.askers.remove(&id) else { return };
                // As in `answer`.
                let _ = asker.to.send(encoded(Message::End { id: asker.id, error }));
                if !asker.is_taken {
                    self.has_room(&mut waiting);
                }
            }
            // `guest` has taken it.
            Message::Log { .. } => {}
            // Only commands say these.
            Message::Signal(_) | Message::Window(_) | Message::ShareGone(_) | Message::Request { .. } => {}
        }
    }

    /// The guest has taken a request.
    fn has_room(&self, waiting: &mut Waiting) {
        waiting.untaken = waiting.untaken.saturating_sub(1);
        self.room.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a whole answer.
fn tell(id: u32, to: &Sender<Vec<u8>>, result: &Result<Vec<u8>, Errno>) {
    for bytes in result.iter().flat_map(|bytes| bytes.chunks(PIECE_BYTES)) {
        // As in `answer`.
        let _ = to.send(encoded(Message::Piece { id, bytes }));
    }
    answer(id, to, result.as_ref().err().copied());
}

/// Ends the answer to a request.
fn answer(id: u32, to: &Sender<Vec<u8>>, error: Option<Errno>) {
    let error = error.map_or(0, |error| error.raw_os_error().unsigned_abs() as u16);
    // A connection that is closed wants no answer.
    let _ = to.send(encoded(Message::End { id, error }));
}

/// A message as it is sent. All that this module sends were read before, or are short.
pub fn encoded(message: Message<'_>) -> Vec<u8> {
    let mut buffer = [0; HEADER_BYTES
        + if LONGEST_FROM_GUEST > LONGEST_TO_GUEST { LONGEST_FROM_GUEST } else { LONGEST_TO_GUEST }];
    message.encode(&mut buffer).map(<[u8]>::to_vec).unwrap_or_default()
}
