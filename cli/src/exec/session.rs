//! A connection to a guest that holds things there: programs, streams, open files. Many requests wait on it at a time.

use std::collections::{HashMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use coracle_control::{FromGuest, Message, READ_MOST, Request, SessionRequest, WRITE_MOST};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::instances;
use crate::observe::silent;
use crate::run::encoded;

/// How long a guest may say nothing of a request while a program is being started. It answers at once unless it is stopped, or stuck in
/// its kernel.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the guest says of a request.
enum Said {
    Piece(Vec<u8>),
    End(u16),
}

#[derive(Default)]
struct Calls {
    last_id: u32,
    /// Where answers go; `None` once the connection is lost.
    waiting: HashMap<u32, Sender<Said>>,
    is_lost: bool,
}

/// A connection. Its end ends what it holds in the guest.
pub struct Session {
    name: String,
    /// A message is written whole before the next.
    stream: Mutex<UnixStream>,
    calls: Arc<Mutex<Calls>>,
    /// Waits as long as the guest takes.
    is_patient: AtomicBool,
}

/// An answer, or the guest's error for it.
pub type Answer = std::result::Result<Vec<u8>, Errno>;

impl Session {
    /// Connects to the guest of this name.
    ///
    /// # Errors
    /// If there is none, or it is not to be changed from outside.
    pub fn connect(name: &str) -> Result<Session> {
        let stream = instances::connect(name)?;
        let fail = |error: std::io::Error| Error::new("cannot talk to the guest").why(error);
        let from = stream.try_clone().map_err(fail)?;
        let calls = Arc::new(Mutex::new(Calls::default()));
        let own = Arc::clone(&calls);
        thread::spawn(move || listen(from, &own));
        Ok(Session {
            name: name.to_owned(),
            stream: Mutex::new(stream),
            calls,
            is_patient: AtomicBool::new(false),
        })
    }

    /// The guest's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From now on the guest may take its time, as one that is paused does.
    pub fn be_patient(&self) {
        self.is_patient.store(true, Ordering::SeqCst);
    }

    /// Asks about what the connection holds, and waits for the answer.
    ///
    /// # Errors
    /// If the guest has ended, says nothing, or forbids it.
    pub fn call(&self, request: SessionRequest<'_>) -> Result<Answer> {
        let waits = matches!(
            request,
            SessionRequest::Read { .. } | SessionRequest::Write { .. } | SessionRequest::Wait { .. }
        );
        self.ask_for(Request::Session { session: 0, request }, waits)
    }

    /// Asks anything.
    ///
    /// # Errors
    /// See [`Session::call`].
    pub fn ask(&self, request: Request<'_>) -> Result<Answer> {
        self.ask_for(request, false)
    }

    fn ask_for(&self, request: Request<'_>, waits: bool) -> Result<Answer> {
        let said = self.send(request)?;
        self.wait_for(&said, waits)
    }

    /// Waits for an answer. `waits`: the guest may take its time once it has taken the request.
    fn wait_for(&self, said: &Receiver<Said>, waits: bool) -> Result<Answer> {
        let (mut bytes, mut is_patient) = (Vec::new(), self.is_patient.load(Ordering::SeqCst));
        loop {
            let next = match is_patient {
                true => said.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => said.recv_timeout(PATIENCE),
            };
            match next {
                Ok(Said::Piece(piece)) => {
                    bytes.extend_from_slice(&piece);
                    is_patient |= waits;
                }
                Ok(Said::End(0)) => return Ok(Ok(bytes)),
                Ok(Said::End(error)) => return self.refused(Errno::from_raw_os_error(error.into())),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(silent(&self.name, PATIENCE));
                }
            }
        }
    }

    /// Sends a request; what is said of it comes there.
    fn send(&self, request: Request<'_>) -> Result<Receiver<Said>> {
        let (to, said) = channel();
        let id = {
            let mut calls = lock(&self.calls);
            if calls.is_lost {
                return Err(self.ended());
            }
            calls.last_id = calls.last_id.wrapping_add(1);
            let id = calls.last_id;
            calls.waiting.insert(id, to);
            id
        };
        let message = encoded(Message::Request { id, request });
        if message.is_empty() {
            lock(&self.calls).waiting.remove(&id);
            return Err(Error::new("the request is too long"));
        }
        lock(&self.stream).write_all(&message).map_err(|_| self.ended())?;
        Ok(said)
    }

    /// The guest does not do it.
    fn refused(&self, error: Errno) -> Result<Answer> {
        match error {
            Errno::PERM => Err(Error::new(format!("`{}` allows no changes from outside", self.name))
                .why("its image, or the command that runs it, forbids them")
                .help("run it with `--control full`; an image that is built with less stays so")),
            Errno::NOSYS => Err(Error::new(format!("`{}` does not know the request", self.name))
                .why("the kernel in its image is older than this command")
                .help("build the image anew")),
            error => Ok(Err(error)),
        }
    }

    fn ended(&self) -> Error {
        Error::new(format!("`{}` has ended", self.name))
    }

    /// Reads from a stream or file; empty at the end.
    ///
    /// # Errors
    /// See [`Session::call`].
    pub fn read(&self, handle: u32, offset: u64, now: bool) -> Result<Answer> {
        let len = u32::try_from(READ_MOST).unwrap_or(u32::MAX);
        self.call(SessionRequest::Read { handle, offset, len, now })
    }

    /// Writes all bytes to a stream, or to a place of a file.
    ///
    /// # Errors
    /// See [`Session::call`].
    pub fn write(&self, handle: u32, offset: u64, bytes: &[u8]) -> Result<std::result::Result<(), Errno>> {
        let mut done = 0;
        while done < bytes.len() {
            let part = &bytes[done..bytes.len().min(done + WRITE_MOST)];
            let request = SessionRequest::Write { handle, offset: offset + done as u64, bytes: part };
            match self.call(request)? {
                Ok(count) => {
                    done += count.first_chunk().map_or(0, |count| u32::from_le_bytes(*count)) as usize
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Writes bytes to a place of a file, several requests at a time.
    ///
    /// # Errors
    /// See [`Session::call`].
    pub fn write_file(
        &self,
        handle: u32,
        offset: u64,
        bytes: &[u8],
    ) -> Result<std::result::Result<(), Errno>> {
        /// Requests that are under way at a time.
        const AHEAD: usize = 8;
        let (mut under_way, mut result) = (VecDeque::new(), Ok(()));
        let mut take = |(said, len): (Receiver<Said>, usize)| -> Result<()> {
            match self.wait_for(&said, true)? {
                Ok(count)
                    if count.first_chunk().map_or(0, |count| u32::from_le_bytes(*count)) as usize == len => {}
                Ok(_) => result = Err(Errno::NOSPC),
                Err(error) => result = Err(error),
            }
            Ok(())
        };
        for (number, part) in bytes.chunks(WRITE_MOST).enumerate() {
            let request =
                SessionRequest::Write { handle, offset: offset + (number * WRITE_MOST) as u64, bytes: part };
            under_way.push_back((self.send(Request::Session { session: 0, request })?, part.len()));
            if under_way.len() == AHEAD
                && let Some(first) = under_way.pop_front()
            {
                take(first)?;
            }
        }
        under_way.into_iter().try_for_each(take)?;
        Ok(result)
    }

    /// Opens a file by open(2)'s flags and mode; returns its handle.
    ///
    /// # Errors
    /// See [`Session::call`].
    pub fn open(&self, flags: u32, mode: u32, path: &[u8]) -> Result<std::result::Result<u32, Errno>> {
        let answer = self.call(SessionRequest::Open { flags, mode, path })?;
        Ok(answer.map(|bytes| bytes.first_chunk().map_or(0, |handle| u32::from_le_bytes(*handle))))
    }

    /// Has a file or an empty directory removed when the connection ends.
    ///
    /// # Errors
    /// See [`Session::call`].
    pub fn remove_later(&self, path: &[u8]) -> Result<()> {
        self.call(SessionRequest::RemoveLater { path }).map(|_| ())
    }

    /// The contents of a file of the guest; `None` if it can't be read.
    ///
    /// # Errors
    /// See [`Session::call`].
    pub fn file(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.ask(Request::Read(path.as_bytes()))?.ok())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The thread that listens has it, too.
        let _ = lock(&self.stream).shutdown(Shutdown::Both);
    }
}

/// Hands answers to those that wait for them, until the connection ends.
fn listen(mut from: UnixStream, calls: &Mutex<Calls>) {
    let (mut reader, mut buffer) = (FromGuest::new(), vec![0; 64 << 10]);
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        reader.take(&buffer[..length], |message| match message {
            Message::Piece { id, bytes } => {
                if let Some(to) = lock(calls).waiting.get(&id) {
                    // It may not wait any more.
                    let _ = to.send(Said::Piece(bytes.to_vec()));
                }
            }
            Message::End { id, error } => {
                if let Some(to) = lock(calls).waiting.remove(&id) {
                    // As above.
                    let _ = to.send(Said::End(error));
                }
            }
            _ => {}
        });
    }
    let mut calls = lock(calls);
    calls.is_lost = true;
    calls.waiting.clear();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
