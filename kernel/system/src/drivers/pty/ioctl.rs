//! What of ioctl(2) the two ends have in common (ioctl_tty(2)).
use super::pair::{Pty, append};
use crate::drivers::console::arguments::{
    read_int, read_user, read_window, window_bytes, write_int, write_user,
};
use coracle_control::Window;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::ipc::poll::Events;
use coracle_core::task::pid_space;
use coracle_core::task::terminal::Device as _;
use coracle_tty::{TERMIOS_BYTES, Termios};
use linux_raw_sys::general as abi;
use linux_raw_sys::ioctl as n;

/// The number of the line discipline that there is.
const N_TTY: i32 = 0;

/// The end at which an ioctl(2) was called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Master,
    Slave {
        /// It was opened for reading.
        is_readable: bool,
    },
}

impl Pty {
    fn set_termios(&self, termios: Termios, flush: bool) {
        let extended = |termios: &Termios| termios.local & abi::EXTPROC != 0;
        {
            let mut state = self.state.lock();
            let old = state.discipline.termios();
            if flush {
                state.flush_input();
            }
            state.discipline.set_termios(termios);
            let flow = termios.has_usual_flow_control();
            if flow != old.has_usual_flow_control() {
                let status = if flow { abi::TIOCPKT_DOSTOP } else { abi::TIOCPKT_NOSTOP };
                state.packet.note(status, abi::TIOCPKT_DOSTOP | abi::TIOCPKT_NOSTOP);
            }
            if extended(&old) || extended(&termios) {
                state.packet.note(abi::TIOCPKT_IOCTL, 0);
            }
            // Where nothing starts output again, it goes on.
            if termios.input & abi::IXON == 0 && old.input & abi::IXON != 0 {
                state.set_stopped(false);
            }
        }
        self.changed();
    }

    /// Wakes the users of both ends: bytes may have come or gone.
    fn changed(&self) {
        self.slave.notify(Events::IN | Events::OUT);
        self.master.notify(Events::IN | Events::OUT | Events::PRI);
    }

    /// The size of the window is this from now on; the group in the foreground hears of a change by SIGWINCH.
    pub(super) fn set_window(&self, window: Window) {
        let changed = core::mem::replace(&mut self.state.lock().window, window) != window;
        if changed {
            self.control().signal(abi::SIGWINCH);
        }
    }

    /// What of ioctl(2) the two ends have in common (ioctl_tty(2)). A master answers for its slave where it has no state of
    /// its own, as on Linux.
    pub(super) fn ioctl(&self, end: End, command: u32, argument: usize) -> SysResult {
        let of_master = end == End::Master;
        let control = self.control();
        // The slave's terminal alone can be that of the caller.
        let check = || if of_master { Ok(()) } else { control.check(abi::SIGTTOU) };
        match command {
            n::TCGETS => {
                let termios = self.state.lock().discipline.termios();
                write_user(argument, &termios.encode())
            }
            n::TCSETS | n::TCSETSW | n::TCSETSF => {
                control.check(abi::SIGTTOU)?;
                let mut bytes = [0; TERMIOS_BYTES];
                read_user(argument, &mut bytes)?;
                let mut termios = Termios::decode(&bytes);
                // There is no wire whose bytes could have another form (Linux's `pty_set_termios`).
                termios.control &= !(abi::CSIZE | abi::PARENB);
                termios.control |= abi::CS8 | abi::CREAD;
                self.set_termios(termios, command == n::TCSETSF);
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
            n::TIOCGPGRP | n::TIOCGSID if !of_master && !control.is_of_caller() => Err(Errno::NOTTY),
            n::TIOCGPGRP => write_int(argument, pid_space::seen(control.group())),
            n::TIOCGSID if control.session() == 0 => Err(Errno::NOTTY),
            n::TIOCGSID => write_int(argument, pid_space::seen(control.session())),
            n::TIOCSPGRP => {
                control.set_group(read_int(argument)?)?;
                Ok(0)
            }
            n::TIOCSCTTY => {
                let is_readable = matches!(end, End::Master | End::Slave { is_readable: true });
                control.acquire(is_readable, argument == 1)?;
                Ok(0)
            }
            n::TIOCNOTTY if of_master => Err(Errno::NOTTY),
            n::TIOCNOTTY => {
                control.give_up()?;
                Ok(0)
            }
            n::TIOCEXCL | n::TIOCNXCL => {
                if !of_master {
                    self.state.lock().exclusive = command == n::TIOCEXCL;
                }
                Ok(0)
            }
            n::TIOCGEXCL => {
                let exclusive = !of_master && self.state.lock().exclusive;
                write_int(argument, exclusive.into())
            }
            n::TCFLSH => {
                check()?;
                self.flush(of_master, argument)?;
                Ok(0)
            }
            n::TCXONC => {
                check()?;
                self.flow(of_master, argument)?;
                Ok(0)
            }
            // Output has been sent when write(2) returns, and there is no line to break.
            n::TCSBRK | n::TCSBRKP | n::TIOCSBRK | n::TIOCCBRK => check().map(|()| 0),
            n::TIOCOUTQ => write_int(argument, 0),
            n::TIOCGETD => write_int(argument, N_TTY),
            n::TIOCSETD => {
                check()?;
                let known = read_int(argument)? == N_TTY;
                if known { Ok(0) } else { Err(Errno::INVAL) }
            }
            n::TIOCGDEV => write_int(argument, self.number() as i32),
            n::TIOCSTI if !of_master => {
                if !control.is_of_caller() {
                    check_capability(capability::SYS_ADMIN)?;
                }
                let mut byte = [0];
                read_user(argument, &mut byte)?;
                self.simulate_input(byte[0]);
                Ok(0)
            }
            _ => Err(Errno::NOTTY),
        }
    }

    /// TIOCSTI: a byte comes as if the master had written it; it is lost if there is no room.
    fn simulate_input(&self, byte: u8) {
        let signal = {
            let mut state = self.state.lock();
            let signal = if state.discipline.has_room() { state.put_input(byte) } else { None };
            state.pass_echo();
            signal
        };
        if let Some(signal) = signal {
            self.signal(signal);
        }
        self.changed();
    }

    /// tcflush(3): throws away what waits to be read at an end, or what was written there and not read at the other. EINVAL.
    fn flush(&self, of_master: bool, which: usize) -> Result<(), Errno> {
        let (input, output) = match u32::try_from(which) {
            Ok(abi::TCIFLUSH) => (true, false),
            Ok(abi::TCOFLUSH) => (false, true),
            Ok(abi::TCIOFLUSH) => (true, true),
            _ => return Err(Errno::INVAL),
        };
        {
            let mut state = self.state.lock();
            let (slave_input, slave_output) = if of_master { (output, input) } else { (input, output) };
            if slave_input {
                state.flush_input();
            }
            if slave_output {
                state.output.clear();
                if !of_master {
                    state.packet.note(abi::TIOCPKT_FLUSHWRITE, 0);
                }
            }
        }
        self.changed();
        Ok(())
    }

    /// tcflow(3). EINVAL.
    fn flow(&self, of_master: bool, action: usize) -> Result<(), Errno> {
        {
            let mut state = self.state.lock();
            match u32::try_from(action) {
                Ok(stop @ (abi::TCOOFF | abi::TCOON)) if of_master => {
                    state.master_stopped = stop == abi::TCOOFF;
                }
                Ok(stop @ (abi::TCOOFF | abi::TCOON)) => {
                    state.set_stopped(stop == abi::TCOOFF);
                }
                Ok(stop @ (abi::TCIOFF | abi::TCION)) => {
                    let byte = state.discipline.termios().flow_character(stop == abi::TCIOFF);
                    // A master has no characters for it.
                    if let Some(byte) = byte.filter(|_| !of_master) {
                        append(&mut state.output, &[byte]);
                    }
                }
                _ => return Err(Errno::INVAL),
            }
        }
        self.changed();
        Ok(())
    }
}
