//! `syslog=udp://HOST:PORT` or `tcp://`: the guest itself sends its program's lines, and messages to /dev/log, to a syslog server (RFC 5424 over RFC 5426
//! or RFC 6587).
//!
//! Lines are put into a queue of bounded size, which a thread empties. What finds no room is dropped, and a message says how much. Before the machine
//! is switched off, the queue is given some time.
use super::resolve::resolve;
use super::socket::{Connected, pause};
use crate::own_thread;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::lock::Mutex;
use coracle_core::task::thread::Work;
use coracle_core::task::{later, sched, uts};
use coracle_core::time::clock::{self, SECOND_NS};
use coracle_fallible::Text;
use coracle_fallible::prelude::*;
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use coracle_hal::time::now_ns;
use coracle_image::SyslogServer;
use coracle_syslog::{Head, Lines, code, number_of, read};
use coracle_system::drivers::console::tap;
use core::net::IpAddr;
use linux_raw_sys::net as n;

/// Bytes of messages that wait at most.
const QUEUE_BYTES: usize = 256 << 10;
/// The longest text of a message.
const TEXT_BYTES: usize = 8 << 10;
/// How long a server may take to accept a connection or bytes; and how long the end of the machine waits for it.
const PATIENCE_NS: u64 = 5 * SECOND_NS;
/// Pauses after a server could not be reached: twice as long each time.
const FIRST_PAUSE_NS: u64 = SECOND_NS;
const LONGEST_PAUSE_NS: u64 = 64 * SECOND_NS;

static TARGET: Once<Target> = Once::new();
static LINES: Mutex<Lines> = Mutex::new(Lines::new());
static QUEUE: Mutex<Queue> = Mutex::new(Queue { messages: VecDeque::new(), bytes: 0, lost: 0 });
/// Something was put into the queue, or the machine is ending.
static CAME: PollSource = PollSource::new();
static IS_ENDING: AtomicBool = AtomicBool::new(false);
static IS_DONE: AtomicBool = AtomicBool::new(false);
/// Messages that were taken from the queue and are not sent yet.
static IN_HAND: AtomicUsize = AtomicUsize::new(0);

struct Target {
    server: SyslogServer,
    /// What lines of the program are marked with.
    tag: Vec<u8>,
}

struct Queue {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Messages for which there was no room since the last that was told.
    lost: u64,
}

impl Queue {
    fn push(&mut self, message: Vec<u8>) -> Result<(), Errno> {
        if self.bytes + message.len() > QUEUE_BYTES {
            return Err(Errno::NOBUFS);
        }
        let len = message.len();
        self.messages.try_push_back(message)?;
        self.bytes += len;
        Ok(())
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }
}

/// Sends lines to this server from now on, those of the program with this tag. ENOMEM.
pub fn start(server: SyslogServer, tag: &[u8]) -> Result<(), Errno> {
    let tag = tag.try_to_vec()?;
    let thread = own_thread::make(b"syslog", Work::SYSLOG)?;
    TARGET.call_once(|| Target { server, tag });
    tap::tap();
    own_thread::run(thread);
    Ok(())
}

coracle_system::give_tap!(take_output);

/// Takes what the program writes to the console.
fn take_output(bytes: &[u8]) {
    LINES.lock().take(bytes, put_line);
}

fn put_line(line: &[u8]) {
    let Some(target) = TARGET.get() else { return };
    put(number_of(code::DAEMON, code::INFO), &target.tag, None, "stdout", line);
}

/// Takes a message to /dev/log of process `pid`; false if none are sent.
pub fn take_message(message: &[u8], pid: u32) -> bool {
    let Some(target) = TARGET.get() else { return false };
    let message = read(message, pid);
    let tag = if message.tag.is_empty() { &target.tag } else { message.tag };
    put(message.priority, tag, message.pid, "syslog", message.text);
    true
}

fn put(priority: u8, app: &[u8], pid: Option<u32>, id: &str, text: &[u8]) {
    let written = || -> Result<Vec<u8>, Errno> {
        let host = uts::hostname();
        let head = Head { priority, time_ns: clock::realtime_ns(), host: &host, app, pid, id };
        let mut message = Text::new();
        write!(message, "{head}")?;
        let start = message.len();
        message.push(&text[..text.len().min(TEXT_BYTES)])?;
        let mut message = message.into_bytes();
        // Zeros would end it for some servers, and a message is one line.
        message[start..].iter_mut().filter(|byte| matches!(byte, 0 | b'\n')).for_each(|byte| *byte = b' ');
        Ok(message)
    };
    let written = written();
    let mut queue = QUEUE.lock();
    if written.and_then(|message| queue.push(message)).is_err() {
        queue.lost += 1;
    }
    drop(queue);
    CAME.notify(Events::IN);
}

/// What the thread does.
pub fn main() -> ! {
    let target = TARGET.wait();
    let mut connection: Option<Connected> = None;
    loop {
        later::settle();
        let next = block_on_events(&CAME, Events::IN, false, None, || {
            let mut queue = QUEUE.lock();
            match queue.pop() {
                Some(message) => {
                    IN_HAND.store(1, SeqCst);
                    Ok((message, core::mem::take(&mut queue.lost)))
                }
                None if IS_ENDING.load(SeqCst) => Err(Errno::PIPE),
                None => Err(Errno::AGAIN),
            }
        });
        match next {
            Ok((message, lost)) => {
                send(target, &mut connection, &message);
                if lost > 0 {
                    tell_loss(lost);
                }
            }
            Err(Errno::PIPE) => {
                if let Some(connection) = connection.take() {
                    end(target, &connection);
                }
                IS_DONE.store(true, SeqCst);
                pause(u64::MAX);
            }
            Err(_) => {}
        }
        IN_HAND.store(0, SeqCst);
    }
}

fn tell_loss(lost: u64) {
    let mut text = Text::new();
    if writeln!(text, "{lost} lines were lost: the syslog server does not take them as fast").is_ok() {
        put(
            number_of(code::DAEMON, code::WARNING),
            b"kernel",
            None,
            "kernel",
            text.as_bytes().trim_ascii_end(),
        );
    }
}

/// Sends a message, however long that takes.
fn send(target: &Target, connection: &mut Option<Connected>, message: &[u8]) {
    let mut next_pause_ns = FIRST_PAUSE_NS;
    loop {
        let sent = try_send(target, connection, message);
        let Err(error) = sent else { return };
        *connection = None;
        if next_pause_ns == FIRST_PAUSE_NS {
            info!("syslog: {} can't be reached (error {})", target.server, error.number());
        }
        pause(next_pause_ns);
        next_pause_ns = (next_pause_ns * 2).min(LONGEST_PAUSE_NS);
    }
}

fn try_send(target: &Target, connection: &mut Option<Connected>, message: &[u8]) -> Result<(), Errno> {
    let is_stream = target.server.is_stream;
    let connection = match connection {
        Some(connection) => connection,
        none => {
            let address: IpAddr = resolve(&target.server.peer.host)?;
            let kind = if is_stream { n::SOCK_STREAM } else { n::SOCK_DGRAM };
            none.insert(Connected::new(kind, address, target.server.peer.port, now_ns() + PATIENCE_NS)?)
        }
    };
    let until_ns = now_ns() + PATIENCE_NS;
    if !is_stream {
        return connection.send(message, until_ns);
    }
    // A server that closed the connection would take the next bytes, and never see them.
    connection.check_open()?;
    // The length stands in front (RFC 6587, section 3.4.1).
    let mut counted = Text::new();
    write!(counted, "{} ", message.len())?;
    counted.push(message)?;
    connection.send(counted.as_bytes(), until_ns)
}

/// What was sent is to arrive before the machine ends.
fn end(target: &Target, connection: &Connected) {
    /// How long a datagram may wait for the address of its next hop.
    const DATAGRAM_NS: u64 = 100_000_000;
    if target.server.is_stream {
        // The server closes its side when it has all.
        let _ = connection.end(now_ns() + PATIENCE_NS);
    } else {
        pause(DATAGRAM_NS);
    }
}

/// Gives the queue some time, before the machine is switched off.
pub fn drain() {
    const LOOK_EVERY_NS: u64 = 5_000_000;
    if TARGET.get().is_none() {
        return;
    }
    LINES.lock().end(put_line);
    IS_ENDING.store(true, SeqCst);
    CAME.notify(Events::IN);
    let until_ns = now_ns() + PATIENCE_NS;
    while !IS_DONE.load(SeqCst) && now_ns() < until_ns {
        sched::park_aside(Some(now_ns() + LOOK_EVERY_NS));
    }
    if !IS_DONE.load(SeqCst) {
        let left = QUEUE.lock().messages.len() + IN_HAND.load(SeqCst);
        log!("syslog: {left} messages were not sent");
    }
}
