//! The terminal (termios(3), ioctl_tty(2)), over the serial port or a port of a virtio console.
use super::arguments::{read_user, read_window, window_bytes, write_user};
use super::tap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_control::Window;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::fs::signal_io::Announces;
use coracle_core::fs::stat::{Metadata, device_number};
use coracle_core::ipc::poll::{Events, PollSource, block_on};
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::signal::{SigInfo, send_to_group};
use coracle_core::task::terminal::check_background;
use coracle_core::task::{long_call, pid_space, process};
use coracle_core::this;
use coracle_devices::virtio::port::Port;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, filled};
use coracle_hal::io::dma::PacketBuffer;
use coracle_hal::irq::Irq;
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::Ordering;
use coracle_tty::{LineDiscipline, Signal, TERMIOS_BYTES, Termios};
use core::any::Any;
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::ioctl as n;

/// Where bytes go and come from.
pub enum Line {
    /// The first serial port. Its other end carries a file or a pipe, or is a terminal that edits lines itself.
    Serial {
        /// Its interrupt, if there is a port at all.
        irq: Option<Irq>,
    },
    /// A virtio console of which no more is known than of a serial port.
    Plain(Arc<Port>),
    /// A terminal that passes on each key.
    Terminal(Arc<Port>),
    /// A terminal that is only written to.
    Screen(Arc<Port>),
}

/// The terminal. There is at most one: `/dev/console`, `/dev/tty`, and the standard streams that have no port of their own.
pub struct Terminal {
    line: Line,
    state: Mutex<State>,
    /// Held for a whole piece of a write to the serial port, so that those of two threads don't mix.
    writing: Mutex<()>,
    source: PollSource,
    /// What stat(2) says of /dev/console: ttyname(3) looks for the terminal by that.
    node: Once<Stat>,
}

struct State {
    discipline: LineDiscipline,
    window: Window,
    /// The session that the terminal controls.
    session: i32,
    /// Foreground process group, once one was set.
    group: Option<i32>,
    /// The end of the input has been read: of a line that carries a file or a pipe it comes once, and nothing after it; a
    /// terminal may be hung up.
    ended: bool,
}

/// Bytes copied from the program at a time.
const CHUNK: usize = 1024;
/// Mode of the device node: a character device, rw for its owner, w for its group.
const MODE: u32 = linux_raw_sys::general::S_IFCHR | 0o620;
/// Device number 5:1, /dev/console (Linux's devices.txt).
const DEVICE: u64 = device_number(5, 1);
/// The group that is in the foreground until a shell says otherwise: that of the image's program.
const FIRST_PROCESS: i32 = 1;

impl Terminal {
    /// The terminal at `line`, of this size.
    pub fn new(line: Line, window: Window) -> Arc<Terminal> {
        let discipline = match &line {
            Line::Serial { .. } | Line::Plain(_) => LineDiscipline::line(),
            Line::Terminal(_) => LineDiscipline::terminal(),
            Line::Screen(_) => LineDiscipline::default(),
        };
        Arc::new(Terminal {
            line,
            state: Mutex::new(State {
                discipline,
                window,
                session: FIRST_PROCESS,
                group: None,
                ended: false,
            }),
            writing: Mutex::new(()),
            source: PollSource::new(),
            node: Once::new(),
        })
    }

    /// Says what stat(2) gives: the device node's.
    pub fn set_node(&self, node: Stat) {
        self.node.call_once(|| node);
    }

    /// The port, if it is not the serial one.
    pub fn port(&self) -> Option<&Port> {
        match &self.line {
            Line::Serial { .. } => None,
            Line::Plain(port) | Line::Terminal(port) | Line::Screen(port) => Some(port),
        }
    }

    /// Whether the serial port has something to say.
    #[inline]
    pub fn interrupted(&self) -> bool {
        matches!(&self.line, Line::Serial { irq } if irq.as_ref().is_some_and(Irq::is_pending))
    }

    /// Takes what has come, and wakes those that wait for the device.
    pub fn poll(&self) {
        self.take_input();
        if self.port().is_some() {
            self.source.notify(Events::OUT | Events::WRNORM);
        }
    }

    /// The terminal has this size from now on; the program hears of a change by SIGWINCH.
    pub fn set_window(&self, window: Window) {
        let changed = core::mem::replace(&mut self.state.lock().window, window) != window;
        if changed {
            self.send(linux_raw_sys::general::SIGWINCH);
        }
    }

    /// Writes bytes as they are if that takes no waiting.
    fn echo(&self, bytes: &[u8]) {
        match self.port() {
            None => coracle_hal::console::write(bytes),
            Some(port) => port.write_if_room(bytes),
        }
    }

    /// Writes all bytes as they are.
    fn put(&self, bytes: &[u8], nonblock: bool) -> SysResult {
        match self.port() {
            None => {
                let _writing = self.writing.lock();
                coracle_hal::console::write(bytes);
                Ok(bytes.len())
            }
            Some(port) => port.write(&mut UserBuf::kernel_in(bytes), nonblock),
        }
    }

    /// Moves what the device has into the line discipline.
    fn take_input(&self) {
        const _: () = assert!(PacketBuffer::SIZE <= coracle_tty::PIECE_MAX);
        let mut signal = None;
        let readable = {
            let mut state = self.state.lock();
            let discipline = &mut state.discipline;
            // What there is no room for stays with the device; the next read fetches it.
            let mut take = |bytes: &[u8]| {
                for byte in bytes {
                    signal = discipline.input(*byte, |echo| self.echo(echo)).or(signal);
                }
                discipline.has_room()
            };
            let mut room = take(&[]);
            match &self.line {
                Line::Serial { irq } => {
                    if let Some(irq) = irq {
                        irq.take_pending();
                    }
                    while room && let Some(byte) = coracle_hal::console::read_byte() {
                        room = take(&[byte]);
                    }
                }
                Line::Plain(port) | Line::Terminal(port) => {
                    // Looked at first: what came before the end is in the queue by then.
                    let hung_up = port.is_hung_up();
                    port.take_input(room, take);
                    state.ended |= hung_up && state.discipline.has_room();
                }
                Line::Screen(_) => state.ended = true,
            }
            state.ended || state.discipline.readable()
        };
        if let Some(signal) = signal {
            self.signal(signal);
        }
        if readable {
            self.source.notify(Events::IN | Events::RDNORM);
        }
    }

    fn signal(&self, signal: Signal) {
        let number = match signal {
            Signal::Interrupt => linux_raw_sys::general::SIGINT,
            Signal::Quit => linux_raw_sys::general::SIGQUIT,
            Signal::Stop => linux_raw_sys::general::SIGTSTP,
        };
        self.send(number);
    }

    /// Sends a signal to the foreground process group.
    fn send(&self, number: u32) {
        let group = self.state.lock().group.unwrap_or(FIRST_PROCESS);
        // A group that is gone needs no signal.
        let _ = send_to_group(group, SigInfo::kernel(number));
    }

    /// Whether the caller may read (SIGTTIN), or write or change the terminal (SIGTTOU): a process in the background of the
    /// session that the terminal controls gets the signal with its group, and its call begins anew when it goes on. EIO if
    /// nothing could let it go on, or, for SIGTTIN, if it does not take the signal (POSIX.1-2017, section 11.1.4; Linux's
    /// `__tty_check_change()`).
    fn check_foreground(&self, signal: u32) -> Result<(), Errno> {
        if !matches!(self.line, Line::Terminal(_)) {
            return Ok(());
        }
        let (session, foreground) = {
            let state = self.state.lock();
            (state.session, state.group)
        };
        let foreground = foreground
            .or_else(|| process::by_pid(FIRST_PROCESS).map(|first| first.group.load(Ordering::Relaxed)));
        let own = coracle_core::this::with(|thread| thread.process.session.load(Ordering::Relaxed));
        match foreground {
            Some(foreground) if own == session => check_background(foreground, signal),
            _ => Ok(()),
        }
    }

    fn set_termios(&self, argument: usize, flush: bool) -> SysResult {
        self.check_foreground(linux_raw_sys::general::SIGTTOU)?;
        let mut bytes = [0; TERMIOS_BYTES];
        read_user(argument, &mut bytes)?;
        let mut state = self.state.lock();
        if flush {
            state.discipline.flush();
        }
        state.discipline.set_termios(Termios::decode(&bytes));
        Ok(0)
    }
}

impl File for Terminal {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        self.check_foreground(linux_raw_sys::general::SIGTTIN)?;
        let wait = self.state.lock().discipline.wait();
        let deadline = match wait {
            Some((0, None)) => Some(0),
            Some((0, Some(time))) => Some(coracle_hal::time::now_ns() + time),
            _ => None,
        };
        let bytes = block_on(&self.source, nonblock, deadline, || {
            self.take_input();
            let mut state = self.state.lock();
            let mut bytes = filled(0, state.discipline.available().min(dst.remaining()))?;
            let read = state.discipline.read(&mut bytes);
            if !matches!(self.line, Line::Terminal(_)) {
                // An empty line of canonical input is the end of the file.
                state.ended |= wait.is_none() && read == Some(0);
            }
            if read.is_some() || state.ended { Ok(bytes) } else { Err(Errno::AGAIN) }
        });
        match bytes {
            Ok(bytes) => dst.put(&bytes),
            // VMIN of 0: no input in time is a read of nothing.
            Err(Errno::AGAIN) if wait.is_some() => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn write(&self, src: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if self.state.lock().discipline.termios().local & linux_raw_sys::general::TOSTOP != 0 {
            self.check_foreground(linux_raw_sys::general::SIGTTOU)?;
        }
        let crlf = linux_raw_sys::general::OPOST | linux_raw_sys::general::ONLCR;
        let is_tapped = tap::is_tapped();
        if !is_tapped
            && self.state.lock().discipline.termios().output & crlf != crlf
            && let Some(port) = self.port()
        {
            return port.write(src, nonblock);
        }
        let mut chunk = filled(0, src.remaining().min(CHUNK))?;
        // Each byte may become two; a port takes that much in one step.
        let mut expanded = Vec::new();
        expanded.make_room(2 * chunk.len())?;
        let mut done = 0;
        loop {
            let len = match src.take(&mut chunk) {
                Ok(0) => return Ok(done),
                Ok(len) => len,
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error),
            };
            let output = self.state.lock().discipline.termios().output;
            expanded.clear();
            for byte in &chunk[..len] {
                if *byte == b'\n' && output & crlf == crlf {
                    expanded.push_reserved(b'\r');
                }
                expanded.push_reserved(*byte);
            }
            match self.put(&expanded, nonblock) {
                Ok(_) => {
                    done += len;
                    if is_tapped {
                        tap::tell(&chunk[..len]);
                    }
                }
                Err(_) if done > 0 => return Ok(done),
                // As Linux has it of a terminal that was hung up.
                Err(Errno::PIPE) => return Err(Errno::IO),
                Err(error) => return Err(error),
            }
            // A serial port takes its bytes one by one.
            if src.remaining() > 0 && long_call::pause_unless_interrupted().is_err() {
                return Ok(done);
            }
        }
    }

    fn stat(&self) -> Result<Stat, Errno> {
        let nameless = || Metadata { mode: MODE, rdev: DEVICE, links: 1, ..Metadata::default() }.stat();
        Ok(self.node.get().copied().unwrap_or_else(nameless))
    }

    fn readiness(&self) -> Events {
        self.take_input();
        let mut events = Events::empty();
        if self.port().is_none_or(Port::has_room) {
            events |= Events::OUT | Events::WRNORM;
        }
        let state = self.state.lock();
        if state.ended || state.discipline.readable() {
            events |= Events::IN | Events::RDNORM;
        }
        events
    }

    fn announces(&self) -> Announces {
        Announces::ToGroup(self.state.lock().group.unwrap_or(FIRST_PROCESS))
    }

    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.source)
    }

    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        match command {
            n::TCGETS => write_user(argument, &self.state.lock().discipline.termios().encode()),
            n::TCSETS | n::TCSETSW => self.set_termios(argument, false),
            n::TCSETSF => self.set_termios(argument, true),
            n::TCFLSH => {
                // 0: input, 1: output, 2: both (tcflush(3)).
                if argument != 1 {
                    self.state.lock().discipline.flush();
                }
                Ok(0)
            }
            n::TIOCGWINSZ => {
                let window = self.state.lock().window;
                write_user(argument, &window_bytes(window))
            }
            n::TIOCSWINSZ => {
                self.set_window(read_window(argument)?);
                Ok(0)
            }
            n::TIOCGPGRP => {
                let group = self.state.lock().group;
                let group =
                    group.unwrap_or_else(|| this::with(|me| me.process.group.load(Ordering::Relaxed)));
                write_user(argument, &pid_space::seen(group).to_le_bytes())
            }
            n::TIOCSPGRP => {
                let mut group = [0; 4];
                read_user(argument, &mut group)?;
                self.check_foreground(linux_raw_sys::general::SIGTTOU)?;
                let group = pid_space::named(i32::from_le_bytes(group)).ok_or(Errno::SRCH)?;
                self.state.lock().group = Some(group);
                Ok(0)
            }
            n::TIOCSCTTY => {
                let me = this::with(|thread| thread.process.clone());
                // A process that leads no session has the terminal by the one it is in.
                if me.session.load(Ordering::Relaxed) == me.pid {
                    let mut state = self.state.lock();
                    state.session = me.pid;
                    state.group = Some(me.group.load(Ordering::Relaxed));
                }
                Ok(0)
            }
            n::TIOCGSID => {
                let session = this::with(|me| me.process.session.load(Ordering::Relaxed));
                write_user(argument, &pid_space::seen(session).to_le_bytes())
            }
            n::FIONREAD => {
                self.take_input();
                let available = self.state.lock().discipline.waiting() as i32;
                write_user(argument, &available.to_le_bytes())
            }
            n::TIOCOUTQ => write_user(argument, &0i32.to_le_bytes()),
            // Output is with the device when write(2) returns, and there is no flow to control.
            n::TCSBRK | n::TCSBRKP | n::TCXONC | n::TIOCNOTTY | n::TIOCEXCL | n::TIOCNXCL => Ok(0),
            _ => Err(Errno::NOTTY),
        }
    }

    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"/dev/console")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
