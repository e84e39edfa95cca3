//! The console: where the program's standard streams go, over the serial port or a virtio console.
use super::virtio::console::VirtioConsole;
use crate::errno::{Errno, SysResult};
use crate::fs::file::File;
use crate::fs::stat::{Metadata, device_number};
use crate::ipc::poll::{Events, PollSource, block_on};
use crate::mm::user_buf::UserBuf;
use crate::syscall::call::Call;
use crate::task::signal::{SigInfo, send_to_group};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_hal::irq::Irq;
use coracle_tty::{LineDiscipline, Signal, TERMIOS_BYTES, Termios};
use core::any::Any;
use core::sync::atomic::Ordering;
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::ioctl as n;
use spin::{Mutex, Once};

/// Where bytes go and come from.
enum Line {
    Serial { irq: Option<Irq> },
    Virtio(Box<VirtioConsole>),
}

/// The console. There is one; `/dev/console`, `/dev/tty` and the standard streams are this file.
pub struct Console {
    line: Line,
    state: Mutex<State>,
    /// Held for a whole write, so that the lines of two threads don't mix.
    writing: Mutex<()>,
    source: PollSource,
}

struct State {
    discipline: LineDiscipline,
    /// Rows, columns, and the same in pixels (`struct winsize`).
    window: [u8; WINSIZE_BYTES],
    /// Foreground process group, once one was set.
    group: Option<i32>,
    /// The end of the input has been read. Whoever feeds the console sends it once, and nothing after it, so that it
    /// stays at its end, as a file or a closed pipe does.
    ended: bool,
}

/// Size of `struct winsize`.
const WINSIZE_BYTES: usize = 8;
/// Bytes copied from the program at a time.
const CHUNK: usize = 512;
/// Mode of the device node: a character device, rw for its owner, w for its group.
const MODE: u32 = linux_raw_sys::general::S_IFCHR | 0o620;
/// Device number 5:1, /dev/console (Linux's devices.txt).
const DEVICE: u64 = device_number(5, 1);
/// The group that is in the foreground until a shell says otherwise: that of the image's program.
const FIRST_PROCESS: i32 = 1;

static CONSOLE: Once<Arc<Console>> = Once::new();

/// Makes the virtio console the one in use. Does nothing once the console was used.
pub fn use_virtio(device: VirtioConsole) {
    CONSOLE.call_once(|| Console::new(Line::Virtio(Box::new(device))));
}

/// The console; the serial port, if nothing else was chosen.
pub fn get() -> &'static Arc<Console> {
    CONSOLE.call_once(|| Console::new(Line::Serial { irq: coracle_hal::console::enable_receive_interrupt() }))
}

/// Takes input that has come. Cheap if none has.
#[inline]
pub fn poll() {
    if let Some(console) = CONSOLE.get()
        && console.interrupted()
    {
        console.take_input();
    }
}

/// Before a sleep: true if input has come.
pub fn arm() -> bool {
    CONSOLE.get().is_some_and(|console| console.interrupted())
}

/// Whether all that was written has left the machine.
pub fn is_drained() -> bool {
    match CONSOLE.get().map(|console| &console.line) {
        Some(Line::Virtio(device)) => device.is_drained(),
        Some(Line::Serial { .. }) | None => true,
    }
}

impl Console {
    fn new(line: Line) -> Arc<Console> {
        crate::log::input_ready();
        let state = State {
            discipline: LineDiscipline::default(),
            window: [0; WINSIZE_BYTES],
            group: None,
            ended: false,
        };
        Arc::new(Console {
            line,
            state: Mutex::new(state),
            writing: Mutex::new(()),
            source: PollSource::new(),
        })
    }

    #[inline]
    fn interrupted(&self) -> bool {
        match &self.line {
            Line::Serial { irq } => irq.as_ref().is_some_and(Irq::is_pending),
            Line::Virtio(device) => device.interrupted(),
        }
    }

    /// Writes bytes as they are.
    fn put(&self, bytes: &[u8]) {
        match &self.line {
            Line::Serial { .. } => coracle_hal::console::write(bytes),
            Line::Virtio(device) => device.write(bytes),
        }
    }

    /// Moves what the device has into the line discipline.
    fn take_input(&self) {
        let mut signal = None;
        let readable = {
            let mut state = self.state.lock();
            let discipline = &mut state.discipline;
            // What there is no room for stays with the device; the next read fetches it.
            let mut take = |bytes: &[u8]| {
                for byte in bytes {
                    signal = discipline.input(*byte, |echo| self.put(echo)).or(signal);
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
                Line::Virtio(device) => device.take_input(room, take),
            }
            state.discipline.readable()
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
        let group = self.state.lock().group.unwrap_or(FIRST_PROCESS);
        // A group that is gone needs no signal.
        let _ = send_to_group(group, SigInfo::kernel(number));
    }

    fn set_termios(&self, argument: usize, flush: bool) -> SysResult {
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

/// Copies a whole structure from the program.
fn read_user(address: usize, dst: &mut [u8]) -> Result<(), Errno> {
    let len = dst.len();
    if UserBuf::user(address, len).take(dst)? < len { Err(Errno::FAULT) } else { Ok(()) }
}

/// Copies a whole structure to the program.
fn write_user(address: usize, src: &[u8]) -> SysResult {
    if UserBuf::user(address, src.len()).put(src)? < src.len() { Err(Errno::FAULT) } else { Ok(0) }
}

impl File for Console {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let wait = self.state.lock().discipline.wait();
        let deadline = match wait {
            Some((0, None)) => Some(0),
            Some((0, Some(time))) => Some(coracle_hal::time::now_ns() + time),
            _ => None,
        };
        let bytes = block_on(&self.source, nonblock, deadline, || {
            self.take_input();
            let mut state = self.state.lock();
            let bytes = state.discipline.read(dst.remaining());
            // An empty line of canonical input is the end of the file.
            state.ended |= wait.is_none() && bytes.as_ref().is_some_and(Vec::is_empty);
            bytes.or_else(|| state.ended.then(Vec::new)).ok_or(Errno::AGAIN)
        });
        match bytes {
            Ok(bytes) => dst.put(&bytes),
            // VMIN of 0: no input in time is a read of nothing.
            Err(Errno::AGAIN) if wait.is_some() => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn write(&self, src: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        let mut chunk = [0; CHUNK];
        loop {
            let len = match src.take(&mut chunk) {
                Ok(0) => return Ok(src.done()),
                Ok(len) => len,
                Err(_) if src.done() > 0 => return Ok(src.done()),
                Err(error) => return Err(error),
            };
            let output = self.state.lock().discipline.termios().output;
            let _writing = self.writing.lock();
            let crlf = linux_raw_sys::general::OPOST | linux_raw_sys::general::ONLCR;
            if output & crlf == crlf {
                for line in chunk[..len].split_inclusive(|byte| *byte == b'\n') {
                    match line.strip_suffix(b"\n") {
                        Some(text) => {
                            self.put(text);
                            self.put(b"\r\n");
                        }
                        None => self.put(line),
                    }
                }
            } else {
                self.put(&chunk[..len]);
            }
        }
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(Metadata { mode: MODE, rdev: DEVICE, links: 1, ..Metadata::default() }.stat())
    }

    fn readiness(&self) -> Events {
        self.take_input();
        let mut events = Events::OUT | Events::WRNORM;
        let state = self.state.lock();
        if state.ended || state.discipline.readable() {
            events |= Events::IN | Events::RDNORM;
        }
        events
    }

    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.source)
    }

    fn ioctl(&self, call: &Call, command: u32, argument: usize) -> SysResult {
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
            n::TIOCGWINSZ => write_user(argument, &self.state.lock().window),
            n::TIOCSWINSZ => {
                let mut window = [0; WINSIZE_BYTES];
                read_user(argument, &mut window)?;
                self.state.lock().window = window;
                Ok(0)
            }
            n::TIOCGPGRP => {
                let group = self.state.lock().group;
                let group = group.unwrap_or_else(|| call.thread().process.group.load(Ordering::Relaxed));
                write_user(argument, &group.to_le_bytes())
            }
            n::TIOCSPGRP => {
                let mut group = [0; 4];
                read_user(argument, &mut group)?;
                self.state.lock().group = Some(i32::from_le_bytes(group));
                Ok(0)
            }
            n::TIOCGSID => {
                write_user(argument, &call.thread().process.session.load(Ordering::Relaxed).to_le_bytes())
            }
            n::FIONREAD => {
                self.take_input();
                let available = self.state.lock().discipline.available() as i32;
                write_user(argument, &available.to_le_bytes())
            }
            n::TIOCOUTQ => write_user(argument, &0i32.to_le_bytes()),
            // Output is out when write(2) returns, there is no flow to control, and the terminal is ours already.
            n::TCSBRK | n::TCSBRKP | n::TCXONC | n::TIOCSCTTY | n::TIOCNOTTY | n::TIOCEXCL | n::TIOCNXCL => {
                Ok(0)
            }
            _ => Err(Errno::NOTTY),
        }
    }

    fn path(&self) -> String {
        String::from("/dev/console")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
