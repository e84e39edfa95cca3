//! The thread that answers.
use super::answer::{self, Answer};
use super::session::{self, Sessions};
use super::{cron, debug, files, probe, sockets, threads};
use crate::own_thread;
use alloc::vec::Vec;
use coracle_control::{LifeRequest, Message, Request};
use coracle_core::errno::Errno;
use coracle_core::events;
use coracle_core::ipc::poll::{Events, wait_until};
use coracle_core::mm::fault::Refused;
use coracle_core::task::debug as debugging;
use coracle_core::task::later;
use coracle_core::task::process;
use coracle_core::task::signal::{MAX_SIGNAL, SigInfo, send_to_process};
use coracle_core::task::thread::Work;
use coracle_devices::capture;
use coracle_hal::frame::FRAME_SIZE;
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicBool, Ordering::SeqCst};
use coracle_image::Access;
use coracle_linux::trace;
use coracle_net as net;
use coracle_system::drivers::console::{self, Channel, Server};

/// Starts the thread when it is needed.
struct Starter {
    access: Once<Access>,
    is_started: AtomicBool,
}

static STARTER: Starter = Starter { access: Once::new(), is_started: AtomicBool::new(false) };

/// Has requests answered from now on, as far as `access` allows. `core`: processes that crash wait for their core dump; `debug`: the
/// program waits for a debugger.
pub fn start(access: Access, (core, debug): (bool, bool)) {
    STARTER.access.call_once(|| access);
    debugging::listen(&debug::NEWS);
    if core && access != Access::None {
        debugging::want_cores();
    }
    if debug && access == Access::Full {
        debugging::want_start();
    }
    if let Some(channel) = console::control() {
        channel.serve_by(&STARTER);
    }
}

/// Whether requests are answered.
pub fn is_open() -> bool {
    let is_allowed = STARTER.access.get().is_some_and(|access| *access != Access::None);
    is_allowed && console::control().is_some()
}

impl Server for Starter {
    fn requested(&self, channel: &Channel) {
        if self.access.get().is_none_or(|access| *access == Access::None) {
            refuse_all(channel, Errno::PERM);
        } else if !self.is_started.swap(true, SeqCst)
            && let Err(error) = start_thread()
        {
            // The next request tries again.
            self.is_started.store(false, SeqCst);
            refuse_all(channel, error);
        }
    }
}

#[inline(never)]
fn start_thread() -> Result<(), Errno> {
    own_thread::start(b"control", Work::CONTROL)
}

fn refuse_all(channel: &Channel, error: Errno) {
    while let Some(request) = channel.next_request() {
        if let Some(Message::Request { id, .. }) = Message::parse(&request) {
            channel.refuse(id, error);
        }
    }
}

/// What the thread does.
pub fn main() -> ! {
    let Some(channel) = console::control() else { unreachable!("only requests start this thread") };
    let mut sessions = Sessions::new();
    loop {
        wait_until(channel.asked(), Events::IN, &mut || {
            channel.has_request() || session::has_rung() || debug::NEWS.is_new()
        });
        debug::tell();
        if let Some(request) = channel.next_request() {
            serve(channel, request, &mut sessions);
        }
        sessions.ring(channel);
        later::settle();
    }
}

fn serve(channel: &Channel, message: Vec<u8>, sessions: &mut Sessions) {
    let Some(Message::Request { id, request }) = Message::parse(&message) else { return };
    let result = if !request.only_reads() && !is_full() {
        Err(Errno::PERM)
    } else if let Request::Session { .. } = request {
        return sessions.serve(channel, message);
    } else {
        Answer::new(channel, id).and_then(|mut answer| {
            let is_whole = answer_with(id, request, &mut answer)?;
            answer.flush()?;
            Ok(is_whole)
        })
    };
    if result != Ok(false) {
        answer::end(channel, id, result.map(|_| ()));
    }
}

/// Whether requests may change things.
pub fn is_full() -> bool {
    STARTER.access.get() == Some(&Access::Full)
}

/// Whether programs may be started beside the main one, which need what that was started with.
pub fn remembers() -> bool {
    is_full()
}

/// Answers a request. `Ok(false)`: the end of the answer comes later. Not inlined: the stack that it takes is not taken while a session
/// starts a program.
#[inline(never)]
fn answer_with(id: u32, request: Request, answer: &mut Answer) -> Result<bool, Errno> {
    match request {
        Request::Read(path) => files::read(path, answer),
        Request::List(path) => files::list(path, answer),
        Request::Link(path) => files::link(path, answer),
        Request::Memory { pid, address, len } => memory(pid, address, len, answer),
        Request::Threads => threads::all(answer),
        Request::Sockets => sockets::all(answer),
        Request::TraceStart { pid, stack, choice } => trace::start(pid, stack, choice).inspect_err(|error| {
            // What it has of memory by then.
            if *error != Errno::BUSY {
                trace::stop();
            }
        }),
        Request::TraceFetch => trace::fetch(answer),
        Request::Signal { pid, signal } => send_signal(pid, signal),
        Request::Crash => crash(),
        Request::TraceStop => {
            trace::stop();
            Ok(())
        }
        Request::Life(LifeRequest::Probe { port, path }) => probe::begin(port, path),
        Request::Life(LifeRequest::ProbeResult) => probe::result(answer),
        Request::Life(LifeRequest::Cron) => cron::tell(answer),
        Request::EventsStart(bits) => events::start(bits),
        Request::EventsFetch => events::fetch(|bytes| answer.push(bytes)),
        Request::EventsStop => {
            events::stop();
            Ok(())
        }
        Request::CaptureStart { links, snap_len, filter } => net::start_capture(links, snap_len, filter),
        Request::CaptureFetch => capture::fetch(|records| answer.push(records)),
        Request::CaptureStop => {
            net::stop_capture();
            Ok(())
        }
        Request::Debug(request) => return debug::answer(id, request, answer),
        // The command that runs this guest answers those about the machine.
        _ => Err(Errno::NOSYS),
    }?;
    Ok(true)
}

/// Crashes the kernel, so that it can be seen what is said and done then.
#[inline(never)]
fn crash() -> ! {
    panic!("`coracle crash` asked for it")
}

/// Sends a process a signal. EINVAL, ESRCH.
fn send_signal(pid: u32, number: u32) -> Result<(), Errno> {
    if !(1..=MAX_SIGNAL).contains(&number) {
        return Err(Errno::INVAL);
    }
    let process = i32::try_from(pid).ok().and_then(process::by_pid).ok_or(Errno::SRCH)?;
    send_to_process(&process, SigInfo::kernel(number));
    Ok(())
}

/// What is there of `len` bytes of a process's memory. ESRCH; EFAULT at the first page that is not there.
fn memory(pid: u32, address: u64, len: u32, answer: &mut Answer) -> Result<(), Errno> {
    let process = i32::try_from(pid).ok().and_then(process::by_pid).ok_or(Errno::SRCH)?;
    let memory = process.memory();
    let mut address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    let mut left = len as usize;
    while left > 0 {
        let in_page = FRAME_SIZE - address % FRAME_SIZE;
        let read = answer.fill(left.min(in_page), |bytes| match memory.read(address, bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(Refused::OutOfMemory) => Err(Errno::NOMEM),
            Err(_) => Err(Errno::FAULT),
        });
        match read {
            Ok(done) => {
                left -= done;
                address = address.checked_add(done).ok_or(Errno::FAULT)?;
            }
            Err(error) => {
                answer.flush()?;
                return Err(error);
            }
        }
    }
    Ok(())
}
