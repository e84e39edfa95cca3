//! What the two ends of a pseudo-terminal share.
use super::devpts::{Attributes, Instance};
use super::slave::Slave;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use coracle_control::Window;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::fs::file::File;
use coracle_core::fs::mount::Place;
use coracle_core::fs::pty_limit::Counted;
use coracle_core::fs::stat::device_number;
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::long_call;
use coracle_core::task::terminal::{Control, Device};
use coracle_fallible::prelude::*;
use coracle_fallible::{filled, try_arc};
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicU32, Ordering};
use coracle_tty::{INPUT_MAX, LineDiscipline, Signal};
use linux_raw_sys::general as abi;

/// Major number of the slaves (Linux's devices.txt, "Unix98 PTY slaves").
pub const SLAVE_MAJOR: u32 = 136;
/// Bytes of output that wait for the master before writers of the slave do (Linux's `tty_buffer_set_limit` of a pty).
const OUTPUT_MAX: usize = 8192;
/// What comes on top of them: echo, and the last byte that was written, which may become a tab's width.
const ECHO_MAX: usize = 1024;

/// Bytes of a write(2) that are taken at a time.
const CHUNK: usize = 1024;

/// A pseudo-terminal.
pub struct Pty {
    index: AtomicU32,
    /// The file system that it is in.
    pub(super) instance: Arc<Instance>,
    /// Owner and mode of the slave.
    pub(super) attributes: Mutex<Attributes>,
    pub(super) state: Mutex<State>,
    /// Announces to the master's users.
    pub(super) master: PollSource,
    /// Announces to the slave's users.
    pub(super) slave: PollSource,
    /// How often the slave was hung up: descriptors opened before the last time are dead.
    hang_ups: AtomicU32,
    control: Once<Arc<Control>>,
    _counted: Counted,
}

/// Packet mode: the master learns what the slave's programs do (ioctl_tty(2), TIOCPKT).
#[derive(Default)]
pub(super) struct Packet {
    pub(super) is_on: bool,
    /// TIOCPKT_* that the master has not read yet.
    pub(super) status: u8,
}

pub(super) struct State {
    pub(super) discipline: LineDiscipline,
    /// On the way to the master.
    pub(super) output: VecDeque<u8>,
    /// Echo that is not in the output yet.
    held: VecDeque<u8>,
    pub(super) packet: Packet,
    pub(super) window: Window,
    /// TIOCSPTLCK: the slave can't be opened.
    locked: bool,
    /// TIOCEXCL.
    pub(super) exclusive: bool,
    /// tcflow(3) of the master has stopped what it writes.
    pub(super) master_stopped: bool,
    /// Descriptions of the slave.
    slaves: usize,
    /// There were some, and there are none.
    slaves_gone: bool,
    master_gone: bool,
}

impl State {
    /// Whether bytes may join the output.
    pub(super) fn output_has_room(&self) -> bool {
        self.output.len() < OUTPUT_MAX && !self.discipline.is_stopped()
    }

    /// Writes a byte of a program.
    pub(super) fn put_output(&mut self, byte: u8) {
        let output = &mut self.output;
        self.discipline.output(byte, |bytes| append(output, bytes));
    }

    /// Echo follows the output, unless that is stopped: at the end of a write of the master, so that a signal takes back what
    /// was typed before it, and when the master has read.
    pub(super) fn pass_echo(&mut self) {
        if !self.discipline.is_stopped() {
            append_all(&mut self.output, &mut self.held);
        }
    }

    /// Whether bytes may join the input.
    pub(super) fn input_has_room(&self) -> bool {
        self.discipline.has_room() && !self.master_stopped
    }

    /// Takes a byte that the master wrote.
    pub(super) fn put_input(&mut self, byte: u8) -> Option<Signal> {
        let State { discipline, held, packet, .. } = self;
        let was_stopped = discipline.is_stopped();
        let before = held.len();
        let signal = discipline.input(byte, |bytes| append(held, bytes));
        if signal.is_some() && discipline.termios().local & abi::NOFLSH == 0 {
            held.drain(..before);
            packet.note(abi::TIOCPKT_FLUSHREAD, 0);
        }
        packet.note_flow(was_stopped, discipline.is_stopped());
        signal
    }

    /// Stops or starts the output.
    pub(super) fn set_stopped(&mut self, stopped: bool) {
        let was = self.discipline.is_stopped();
        self.discipline.set_stopped(stopped);
        self.pass_echo();
        self.packet.note_flow(was, stopped);
    }

    /// Throws away what the slave has not read.
    pub(super) fn flush_input(&mut self) {
        self.discipline.flush();
        self.packet.note(abi::TIOCPKT_FLUSHREAD, 0);
    }

    /// Whether there were users of the slave, and are none.
    pub(super) fn slaves_gone(&self) -> bool {
        self.slaves_gone
    }

    /// Whether the master is closed.
    pub(super) fn master_gone(&self) -> bool {
        self.master_gone
    }
}

impl Packet {
    /// The master is to read this status, in place of another.
    pub(super) fn note(&mut self, status: u32, instead_of: u32) {
        if self.is_on {
            self.status = self.status & !(instead_of as u8) | status as u8;
        }
    }

    fn note_flow(&mut self, was_stopped: bool, stopped: bool) {
        match (was_stopped, stopped) {
            (false, true) => self.note(abi::TIOCPKT_STOP, abi::TIOCPKT_START),
            (true, false) => self.note(abi::TIOCPKT_START, abi::TIOCPKT_STOP),
            _ => {}
        }
    }
}

/// Adds bytes, or as many as there is room for.
pub(super) fn append(queue: &mut VecDeque<u8>, bytes: &[u8]) {
    for byte in bytes.iter().take(queue.capacity() - queue.len()) {
        queue.push_back_reserved(*byte);
    }
}

fn append_all(queue: &mut VecDeque<u8>, held: &mut VecDeque<u8>) {
    while queue.len() < queue.capacity()
        && let Some(byte) = held.pop_front()
    {
        queue.push_back_reserved(byte);
    }
}

impl Pty {
    /// A new one, locked. ENOMEM; ENOSPC if there are too many.
    pub(super) fn new(instance: Arc<Instance>, attributes: Attributes) -> Result<Arc<Pty>, Errno> {
        let counted = Counted::new()?;
        let (mut output, mut held) = (VecDeque::new(), VecDeque::new());
        output.make_room_for(OUTPUT_MAX + ECHO_MAX)?;
        held.make_room_for(ECHO_MAX)?;
        let state = State {
            discipline: LineDiscipline::pseudo_terminal()?,
            output,
            held,
            packet: Packet::default(),
            window: Window::default(),
            locked: true,
            exclusive: false,
            master_stopped: false,
            slaves: 0,
            slaves_gone: false,
            master_gone: false,
        };
        let pty = try_arc(Pty {
            index: AtomicU32::new(0),
            instance,
            attributes: Mutex::new(attributes),
            state: Mutex::new(state),
            master: PollSource::new(),
            slave: PollSource::new(),
            hang_ups: AtomicU32::new(0),
            control: Once::new(),
            _counted: counted,
        })?;
        let device: Weak<Pty> = Arc::downgrade(&pty);
        let control = Control::new(device)?;
        pty.control.call_once(|| control);
        Ok(pty)
    }

    /// Its number in its file system.
    pub(super) fn index(&self) -> u32 {
        self.index.load(Ordering::Relaxed)
    }

    /// Gives it its number. Called once, before any other has the pair.
    pub(super) fn set_index(&self, index: u32) {
        self.index.store(index, Ordering::Relaxed);
    }

    /// What controls sessions.
    pub(super) fn control(&self) -> &Arc<Control> {
        // Set before any other has the pair.
        self.control.get().expect("a pseudo-terminal is made with its control")
    }

    /// How often the slave was hung up.
    pub(super) fn hang_ups(&self) -> u32 {
        self.hang_ups.load(Ordering::SeqCst)
    }

    /// Opens the slave. EIO while it is locked or when the master is gone, EBUSY if it is opened exclusively.
    pub(super) fn open_slave(self: &Arc<Self>, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
        let is_readable = flags & abi::O_ACCMODE != abi::O_WRONLY;
        let hang_ups = self.hang_ups();
        let is_exclusive = {
            let state = self.state.lock();
            if state.master_gone || state.locked {
                return Err(Errno::IO);
            }
            state.exclusive
        };
        if is_exclusive {
            check_capability(capability::SYS_ADMIN).map_err(|_| Errno::BUSY)?;
        }
        let slave = try_arc(Slave::new(self.clone(), place, is_readable, hang_ups));
        let slave = slave.inspect_err(|_| self.slave_closed())?;
        if is_readable && flags & abi::O_NOCTTY == 0 {
            self.control().opened();
        }
        Ok(slave)
    }

    /// Counts a description of the slave.
    pub(super) fn slave_opened(&self) {
        let mut state = self.state.lock();
        state.slaves += 1;
        state.slaves_gone = false;
    }

    /// A description of the slave is closed: after the last, the master reads no more.
    pub(super) fn slave_closed(&self) {
        {
            let mut state = self.state.lock();
            state.slaves -= 1;
            state.slaves_gone = state.slaves == 0;
            if !state.slaves_gone {
                return;
            }
            state.exclusive = false;
        }
        self.master.notify(Events::IN | Events::HUP);
    }

    /// The master is closed: the pair is gone from its file system, and the slave is hung up.
    pub(super) fn master_closed(&self) {
        self.state.lock().master_gone = true;
        self.instance.remove(self.index());
        self.hang_up();
    }

    /// Sends the signals that input has asked for to the group in the foreground.
    pub(super) fn signal(&self, signal: Signal) {
        self.control().signal(match signal {
            Signal::Interrupt => abi::SIGINT,
            Signal::Quit => abi::SIGQUIT,
            Signal::Stop => abi::SIGTSTP,
        });
    }

    /// TIOCSPTLCK.
    pub(super) fn set_locked(&self, locked: bool) {
        self.state.lock().locked = locked;
    }

    /// TIOCGPTLCK.
    pub(super) fn is_locked(&self) -> bool {
        self.state.lock().locked
    }

    /// TIOCPKT.
    pub(super) fn set_packet_mode(&self, on: bool) {
        let mut state = self.state.lock();
        if on && !state.packet.is_on {
            state.packet.status = 0;
        }
        state.packet.is_on = on;
    }
}

impl Device for Pty {
    fn number(&self) -> u64 {
        device_number(SLAVE_MAJOR, self.index())
    }

    fn open(&self, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
        let this = self.instance.find(self.index()).ok_or(Errno::IO)?;
        this.open_slave(place, flags)
    }

    fn hang_up(&self) {
        self.hang_ups.fetch_add(1, Ordering::SeqCst);
        self.state.lock().discipline.flush();
        self.control().hang_up();
        self.slave.notify(Events::IN | Events::OUT | Events::HUP | Events::ERR);
        self.master.notify(Events::OUT);
    }
}

/// The most bytes that a read of the slave takes at a time.
pub(super) const READ_MAX: usize = INPUT_MAX;

/// write(2) to either end: takes the bytes of `src` in pieces and hands them to `put`, which takes as many as there is room for
/// (EAGAIN: none); `source` announces room.
pub(super) fn write_through(
    src: &mut UserBuf,
    nonblock: bool,
    source: &PollSource,
    put: &mut impl FnMut(&[u8]) -> SysResult,
) -> SysResult {
    let mut chunk = filled(0, src.remaining().min(CHUNK))?;
    let mut done = 0;
    while src.remaining() > 0 {
        let len = match src.take(&mut chunk) {
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
            Ok(len) => len,
        };
        let mut left = &chunk[..len];
        while !left.is_empty() {
            let put = block_on_events(source, Events::OUT, nonblock, None, || put(left));
            match put {
                Ok(count) => {
                    done += count;
                    left = &left[count..];
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            }
        }
        if src.remaining() > 0 && long_call::pause_unless_interrupted().is_err() {
            break;
        }
    }
    Ok(done)
}
