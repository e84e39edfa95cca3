//! What connections hold: programs that they have started, and open files (`coracle_control::SessionRequest`).
//!
//! All of it belongs to the thread that answers. A request that would wait for a stream or a process is put aside with a bell at
//! what it waits for, and tried again when that has rung; so none waits for another.
use super::answer::{self, Answer};
use super::launch::{self, Launch};
use super::tree;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_control::{Message, READ_MOST, Request, STAGE_MOST, SessionRequest, Started, exec_flag};
use coracle_core::errno::Errno;
use coracle_core::fs::file::OpenFile;
use coracle_core::fs::open::open;
use coracle_core::fs::walk::Bounds;
use coracle_core::ipc::pipe::Pipe;
use coracle_core::ipc::poll::{Events, Observer, PollSource};
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::SocketAddress;
use coracle_core::task::process::{ExitStatus, Process};
use coracle_core::task::signal::{SigInfo, send_to_group};
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_hal::sync::atomic::{AtomicBool, Ordering::SeqCst};
use coracle_image::User;
use coracle_loader::Strings;
use coracle_sorted_map::SortedMap;
use coracle_system::drivers::console::{self, Channel};
use coracle_system::drivers::pty::{self, Terminal};
use coracle_system::socket::socket;
use core::net::{Ipv4Addr, SocketAddrV4};
use linux_raw_sys::general::{O_NOCTTY, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY, SIGCONT, SIGHUP};
use linux_raw_sys::net::{AF_INET, SHUT_WR, SOCK_STREAM};

/// Handles that there are at most, and requests that wait.
const MOST: usize = 4096;

/// A bell has rung since the thread looked.
static RUNG: AtomicBool = AtomicBool::new(false);

/// Whether a request that waits is to be tried again.
pub fn has_rung() -> bool {
    RUNG.load(SeqCst)
}

/// Rings when what a request waits for has changed.
struct Bell(AtomicBool);

impl Observer for Bell {
    fn notify(&self, _events: Events) {
        self.0.store(true, SeqCst);
        RUNG.store(true, SeqCst);
        if let Some(channel) = console::control() {
            channel.asked().notify(Events::IN);
        }
    }
}

/// What a handle stands for.
#[derive(Clone)]
enum Held {
    File(Arc<OpenFile>),
    Process(Arc<Process>),
}

impl Held {
    /// Where changes are announced.
    fn source(&self) -> Option<&PollSource> {
        match self {
            Held::File(open) => open.file.poll_source(),
            Held::Process(process) => Some(&process.exit_source),
        }
    }
}

/// A session and a handle in it.
type Key = (u32, u32);

/// A request that waits.
struct Waiting {
    id: u32,
    key: Key,
    /// The whole message.
    message: Vec<u8>,
    held: Held,
    bell: Arc<Bell>,
    /// It ends where it would wait.
    poked: bool,
    subscription: u64,
}

/// What all connections hold.
pub struct Sessions {
    held: SortedMap<Key, Held>,
    last: u32,
    staged: SortedMap<u32, Vec<u8>>,
    waiting: Vec<Waiting>,
}

/// The handle that a request may wait for, and the events that end that.
fn waits_for(request: &SessionRequest) -> Option<(u32, Events)> {
    match *request {
        SessionRequest::Read { handle, now: false, .. } => Some((handle, Events::IN)),
        SessionRequest::Write { handle, .. } => Some((handle, Events::OUT)),
        SessionRequest::Wait { handle } => Some((handle, Events::IN)),
        _ => None,
    }
}

impl Sessions {
    /// Nothing is held.
    pub const fn new() -> Sessions {
        Sessions { held: SortedMap::new(), last: 0, staged: SortedMap::new(), waiting: Vec::new() }
    }

    /// Answers a request of a session, which is a whole message, at once or when it has waited.
    pub fn serve(&mut self, channel: &Channel, message: Vec<u8>) {
        let Some(Message::Request { id, request: Request::Session { session, request } }) =
            Message::parse(&message)
        else {
            return;
        };
        let result = self.attempt(channel, id, session, &request);
        let outcome = match (result, waits_for(&request)) {
            (Err(Errno::AGAIN), Some((handle, events))) => {
                self.put_aside(channel, id, (session, handle), events, message)
            }
            (result, _) => result.map(|()| true),
        };
        match outcome {
            Ok(false) => {}
            Ok(true) => answer::end(channel, id, Ok(())),
            Err(error) => answer::end(channel, id, Err(error)),
        }
    }

    /// Tries those again whose bells have rung.
    pub fn ring(&mut self, channel: &Channel) {
        if !RUNG.swap(false, SeqCst) {
            return;
        }
        let mut index = 0;
        while let Some(waiting) = self.waiting.get(index) {
            let rung = waiting.bell.0.swap(false, SeqCst);
            if !rung || !self.retry(channel, index) {
                index += 1;
            }
        }
    }

    /// Tries the request at this place again. Whether it is done, and no longer there.
    fn retry(&mut self, channel: &Channel, index: usize) -> bool {
        let message = core::mem::take(&mut self.waiting[index].message);
        let result = match Message::parse(&message) {
            Some(Message::Request { id, request: Request::Session { session, request } }) => {
                self.attempt(channel, id, session, &request)
            }
            _ => Err(Errno::INVAL),
        };
        if result == Err(Errno::AGAIN) && !self.waiting[index].poked {
            self.waiting[index].message = message;
            return false;
        }
        let Waiting { id, held, subscription, .. } = self.waiting.swap_remove(index);
        if let Some(source) = held.source() {
            source.unsubscribe(subscription);
        }
        answer::end(channel, id, result);
        true
    }

    /// Keeps a request until what it waits for changes; false. EAGAIN if that says nothing; ENOMEM, EMFILE.
    fn put_aside(
        &mut self,
        channel: &Channel,
        id: u32,
        key: Key,
        events: Events,
        message: Vec<u8>,
    ) -> Result<bool, Errno> {
        let held = self.held.get(&key).ok_or(Errno::BADF)?.clone();
        if self.waiting.len() >= MOST {
            return Err(Errno::MFILE);
        }
        self.waiting.make_room(1)?;
        // What has changed before the bell hung there is found by trying once more.
        let bell = try_arc(Bell(AtomicBool::new(true)))?;
        RUNG.store(true, SeqCst);
        let source = held.source().ok_or(Errno::AGAIN)?;
        let subscription = source.subscribe(bell.clone(), events)?;
        // An empty piece: the request has been taken, and others may follow.
        let taken = Answer::new(channel, id).and_then(|mut answer| answer.flush());
        self.waiting.push_reserved(Waiting { id, key, message, held, bell, poked: false, subscription });
        taken.map(|()| false)
    }

    /// Has requests tried again that wait for what `concerns` says: it is not held any more.
    fn wake(&self, concerns: impl Fn(Key) -> bool) {
        for waiting in self.waiting.iter().filter(|waiting| concerns(waiting.key)) {
            waiting.bell.notify(Events::HUP);
        }
    }

    /// Makes an attempt at a request. EAGAIN if it has to wait.
    fn attempt(
        &mut self,
        channel: &Channel,
        id: u32,
        session: u32,
        request: &SessionRequest,
    ) -> Result<(), Errno> {
        let mut answer = Answer::new(channel, id)?;
        if let SessionRequest::Exec { .. } = request {
            let started = self.exec(session, request)?;
            answer.push(&started.encode())?;
        } else {
            self.answer(session, request, &mut answer)?;
        }
        answer.flush()
    }

    /// Answers any but [`SessionRequest::Exec`]. Not inlined: the stack that it takes is not taken while a program is loaded.
    #[inline(never)]
    fn answer(&mut self, session: u32, request: &SessionRequest, answer: &mut Answer) -> Result<(), Errno> {
        let context = coracle_core::this::with(|me| me.process.fs.clone());
        match *request {
            SessionRequest::Defaults => return tell_defaults(answer),
            SessionRequest::Stage(bytes) => {
                let staged = self.staged.get_or_insert_with(session, Vec::new)?;
                if staged.len() + bytes.len() > STAGE_MOST {
                    return Err(Errno::TOOBIG);
                }
                staged.try_extend_from_slice(bytes)?;
            }
            SessionRequest::Exec { .. } => return Err(Errno::INVAL),
            SessionRequest::Open { flags, mode, path } => {
                let flags = flags | O_NONBLOCK | O_NOCTTY;
                let open = open(&context, None, path, flags, mode & 0o7777, Bounds::default())?;
                let handle = self.hold(session, Held::File(open))?;
                answer.push(&handle.to_le_bytes())?;
            }
            SessionRequest::Read { handle, offset, len, .. } => {
                return read(&*self.file(session, handle)?, offset, (len as usize).min(READ_MOST), answer);
            }
            SessionRequest::Write { handle, offset, bytes } => {
                let open = self.file(session, handle)?;
                open.check_writable()?;
                let done = open.file.write(&mut UserBuf::kernel_in(bytes), offset, true)?;
                answer.push(&(done as u32).to_le_bytes())?;
            }
            SessionRequest::Close { handle, half: true } => {
                let open = self.file(session, handle)?;
                open.file.as_socket().ok_or(Errno::NOTSOCK)?.shutdown(SHUT_WR)?;
            }
            SessionRequest::Close { handle, half: false } => {
                let closed = self.held.remove(&(session, handle)).ok_or(Errno::BADF)?;
                self.wake(|key| key == (session, handle));
                drop(closed);
            }
            SessionRequest::Wait { handle } => {
                let Some(Held::Process(process)) = self.held.get(&(session, handle)) else {
                    return Err(Errno::BADF);
                };
                if !process.dead.load(SeqCst) {
                    return Err(Errno::AGAIN);
                }
                let status = process.exiting.lock().map_or(0, ExitStatus::wait_status);
                answer.push(&status.to_le_bytes())?;
            }
            SessionRequest::Resize { handle, window } => pty::resize(&*self.file(session, handle)?, window)?,
            SessionRequest::Attributes { follow, path } => tree::attributes(&context, path, follow, answer)?,
            SessionRequest::Tree { change, mode, path } => tree::change(&context, change, mode, path)?,
            SessionRequest::Connect { port } => {
                let open = OpenFile::new(socket(AF_INET, SOCK_STREAM, 0)?, O_RDWR | O_NONBLOCK)?;
                let address = SocketAddress::Inet(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
                match open.file.as_socket().ok_or(Errno::NOTSOCK)?.connect(&address, true) {
                    Ok(()) | Err(Errno::INPROGRESS) => {}
                    Err(error) => return Err(error),
                }
                let handle = self.hold(session, Held::File(open))?;
                answer.push(&handle.to_le_bytes())?;
            }
            SessionRequest::End => self.end(session),
            SessionRequest::Poke { handle } => {
                for waiting in self.waiting.iter_mut().filter(|waiting| waiting.key == (session, handle)) {
                    waiting.poked = true;
                    waiting.bell.notify(Events::HUP);
                }
            }
            SessionRequest::RemoveLater { .. } => return Err(Errno::NOSYS),
        }
        Ok(())
    }

    /// Gives a thing a handle. EMFILE, ENOMEM.
    fn hold(&mut self, session: u32, held: Held) -> Result<u32, Errno> {
        if self.held.len() >= MOST {
            return Err(Errno::MFILE);
        }
        self.last = self.last.wrapping_add(1).max(1);
        self.held.insert((session, self.last), held)?;
        Ok(self.last)
    }

    fn file(&self, session: u32, handle: u32) -> Result<Arc<OpenFile>, Errno> {
        match self.held.get(&(session, handle)) {
            Some(Held::File(open)) => Ok(open.clone()),
            _ => Err(Errno::BADF),
        }
    }

    /// Starts the program that is staged.
    fn exec(&mut self, session: u32, request: &SessionRequest) -> Result<Started, Errno> {
        let context = &coracle_core::this::with(|me| me.process.fs.clone());
        let SessionRequest::Exec { flags, uid, gid, arguments: count, window, groups } = *request else {
            return Err(Errno::INVAL);
        };
        let staged = self.staged.remove(&session).ok_or(Errno::INVAL)?;
        let mut strings = staged
            .split_inclusive(|&byte| byte == 0)
            .map(|string| string.strip_suffix(b"\0").unwrap_or(string));
        let (Some(path), Some(directory)) = (strings.next(), strings.next()) else {
            return Err(Errno::INVAL);
        };
        let mut arguments = Strings::new();
        strings.by_ref().take(count as usize).try_for_each(|string| arguments.push(string))?;
        let mut environment = Strings::new();
        strings.try_for_each(|string| environment.push(string))?;
        let user = User { uid, gid };
        let groups = groups.as_chunks().0.iter().map(|group| u32::from_le_bytes(*group)).try_collect_vec()?;
        let has = |flag| flags & flag != 0;
        let terminal =
            if has(exec_flag::TERMINAL) { Some(Terminal::new(context, window, user)?) } else { None };
        let mut started = Started::default();
        let streams = match &terminal {
            Some(terminal) => {
                started.input = self.hold(session, Held::File(terminal.master.clone()))?;
                started.output = started.input;
                [(); 3].map(|()| Some(terminal.slave.clone()))
            }
            None => {
                let null = open(context, None, b"/dev/null", O_RDWR, 0, Bounds::default())?;
                let mut streams = [(); 3].map(|()| Some(null.clone()));
                let handles = [&mut started.input, &mut started.output, &mut started.error];
                for (place, (stream, handle)) in streams.iter_mut().zip(handles).enumerate() {
                    if has(if place == 0 { exec_flag::INPUT } else { exec_flag::OUTPUT }) {
                        let (theirs, own) = pipe(place != 0)?;
                        *stream = Some(theirs);
                        *handle = self.hold(session, Held::File(own))?;
                    }
                }
                streams
            }
        };
        let launch = Launch {
            path: path.try_to_vec()?,
            directory,
            arguments,
            environment,
            user,
            groups,
            streams,
            terminal: terminal.as_ref(),
        };
        let process = launch::start(launch).inspect_err(|_| {
            for handle in [started.input, started.output, started.error] {
                self.held.remove(&(session, handle));
            }
        })?;
        started.pid = process.pid as u32;
        started.process =
            self.hold(session, Held::Process(process.clone())).inspect_err(|_| hang_up(&process))?;
        Ok(started)
    }

    /// The first handle of a session.
    fn first(&self, session: u32) -> Option<Key> {
        self.held.iter_from(&(session, 0)).next().map(|(key, _)| *key).filter(|key| key.0 == session)
    }

    /// Ends a session.
    fn end(&mut self, session: u32) {
        self.staged.remove(&session);
        while let Some(key) = self.first(session) {
            match self.held.remove(&key) {
                Some(Held::Process(process)) => hang_up(&process),
                Some(Held::File(_)) | None => {}
            }
        }
        self.wake(|key| key.0 == session);
    }
}

/// The group of a program whose connection is gone gets SIGHUP, as that of a terminal that is closed, and goes on if it was stopped.
fn hang_up(process: &Process) {
    if !process.dead.load(SeqCst) {
        for signal in [SIGHUP, SIGCONT] {
            // One that has just ended needs none.
            let _ = send_to_group(process.pid, SigInfo::kernel(signal));
        }
    }
}

/// A pipe: the program's end, to be written to or read, and the session's.
fn pipe(written: bool) -> Result<(Arc<OpenFile>, Arc<OpenFile>), Errno> {
    let (reader, writer) = Pipe::pair()?;
    let (theirs, own) = if written { (0, O_NONBLOCK) } else { (O_NONBLOCK, 0) };
    let writer = OpenFile::new(writer, O_WRONLY | theirs)?;
    let reader = OpenFile::new(reader, O_RDONLY | own)?;
    Ok(if written { (writer, reader) } else { (reader, writer) })
}

/// Answers with what can be read at once, `len` bytes at most. EAGAIN if nothing can.
fn read(open: &OpenFile, offset: u64, len: usize, answer: &mut Answer) -> Result<(), Errno> {
    open.check_readable()?;
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        match answer.fill(len - done, |place| open.file.read(&mut UserBuf::kernel_out(place), at, true)) {
            Ok(0) => break,
            Ok(more) => done += more,
            // What was read comes first.
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn tell_defaults(answer: &mut Answer) -> Result<(), Errno> {
    let defaults = launch::defaults().ok_or(Errno::NOMEM)?;
    answer.push(&defaults.user.uid.to_le_bytes())?;
    answer.push(&defaults.user.gid.to_le_bytes())?;
    answer.push(&defaults.directory)?;
    answer.push(b"\0")?;
    answer.push(defaults.environment.as_bytes())
}
