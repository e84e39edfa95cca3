//! The master: what a person and a screen would be to the slave.
use super::devpts::Instance;
use super::ioctl::End;
use super::pair::{Pty, write_through};
use crate::drivers::console::arguments::{read_int, write_int};
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::{File, OpenFile};
use coracle_core::fs::mount::{Path, Place};
use coracle_core::fs::signal_io::Announces;
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::mm::user_buf::UserBuf;
use coracle_fallible::try_arc;
use core::any::Any;
use linux_raw_sys::general as abi;
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::ioctl as n;

/// The open master.
pub(super) struct Master {
    pty: Arc<Pty>,
    place: Place,
    /// The root of the file system with the slave, as it is mounted beside the master.
    directory: Path,
}

/// Opens /dev/ptmx: makes a pseudo-terminal in the file system whose root is `directory`. ENOSPC, ENOMEM.
pub(super) fn open(instance: &Arc<Instance>, directory: Path, place: Place) -> Result<Arc<dyn File>, Errno> {
    let pty = instance.add()?;
    match try_arc(Master { pty: pty.clone(), place, directory }) {
        Ok(master) => Ok(master),
        Err(error) => {
            pty.master_closed();
            Err(error.into())
        }
    }
}

impl Master {
    /// The pair.
    pub(super) fn pty(&self) -> &Arc<Pty> {
        &self.pty
    }

    /// Opens the slave, whatever its path means to a program.
    pub(super) fn open_slave(&self, flags: u32) -> Result<Arc<OpenFile>, Errno> {
        let place = self.pty.instance.place(&self.directory, self.pty.index())?;
        let file = self.pty.open_slave(place, flags)?;
        OpenFile::new(file, flags & !(abi::O_NOCTTY | abi::O_CLOEXEC))
    }

    /// TIOCGPTPEER: opens the slave, whatever its path means to the program.
    fn open_peer(&self, flags: u32) -> SysResult {
        let open = self.open_slave(flags)?;
        let close_on_exec = flags & abi::O_CLOEXEC != 0;
        coracle_core::this::with(|thread| thread.process.descriptors.insert(open, close_on_exec, 0))
            .map(|fd| fd as usize)
    }

    /// Takes as many bytes as there is room for; EAGAIN if there is none.
    fn put(&self, bytes: &[u8]) -> SysResult {
        let mut count = 0;
        let mut signal = None;
        {
            let mut state = self.pty.state.lock();
            // A signal is sent before what was typed after it is read.
            while count < bytes.len() && signal.is_none() && state.input_has_room() {
                signal = state.put_input(bytes[count]);
                count += 1;
            }
            state.pass_echo();
        }
        if count == 0 {
            return Err(Errno::AGAIN);
        }
        if let Some(signal) = signal {
            self.pty.signal(signal);
        }
        // Output may go on, and what is echoed comes back.
        self.pty.slave.notify(Events::IN | Events::OUT);
        self.pty.master.notify(Events::IN | Events::PRI);
        Ok(count)
    }

    /// Copies what waits to the program. EAGAIN if nothing does, EIO if the slave is closed.
    fn take(&self, dst: &mut UserBuf) -> SysResult {
        let before = dst.done();
        {
            let mut state = self.pty.state.lock();
            if state.packet.is_on {
                // The status, or 0 before data (TIOCPKT_DATA).
                let header = core::mem::take(&mut state.packet.status);
                let wants_data = header == 0;
                if wants_data && state.output.is_empty() {
                    return Err(if state.slaves_gone() { Errno::IO } else { Errno::AGAIN });
                }
                if dst.put_nofault(&[header]) == 0 {
                    state.packet.status = header;
                    return Ok(0);
                }
                if !wants_data {
                    return Ok(1);
                }
            }
            while dst.remaining() > 0 && !state.output.is_empty() {
                let piece = state.output.as_slices().0;
                let wanted = piece.len().min(dst.remaining());
                let copied = dst.put_nofault(&piece[..wanted]);
                state.output.drain(..copied);
                if copied < wanted {
                    break;
                }
            }
            state.pass_echo();
            if dst.done() == before && !dst.is_stuck() {
                return Err(if state.slaves_gone() { Errno::IO } else { Errno::AGAIN });
            }
        }
        self.pty.slave.notify(Events::OUT);
        Ok(dst.done() - before)
    }
}

impl File for Master {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        loop {
            let mask = Events::IN | Events::PRI;
            match block_on_events(&self.pty.master, mask, nonblock, None, || self.take(dst))? {
                // A page of the program's isn't there: nothing was taken.
                0 => dst.resolve()?,
                done => return Ok(done),
            }
        }
    }

    fn write(&self, src: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        write_through(src, nonblock, &self.pty.master, &mut |bytes| self.put(bytes))
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.place.path.inode.metadata().stat())
    }

    fn readiness(&self) -> Events {
        let state = self.pty.state.lock();
        let mut events = Events::empty();
        if !state.output.is_empty() {
            events |= Events::IN;
        }
        if state.packet.is_on && state.packet.status != 0 {
            events |= Events::IN | Events::PRI;
        }
        if state.input_has_room() {
            events |= Events::OUT;
        }
        if state.slaves_gone() {
            events |= Events::HUP;
        }
        events.with_normal()
    }

    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.pty.master)
    }

    fn announces(&self) -> Announces {
        Announces::Yes
    }

    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        match command {
            n::TIOCGPTN => write_int(argument, self.pty.index() as i32),
            n::TIOCSPTLCK => {
                self.pty.set_locked(read_int(argument)? != 0);
                Ok(0)
            }
            n::TIOCGPTLCK => write_int(argument, self.pty.is_locked().into()),
            n::TIOCPKT => {
                self.pty.set_packet_mode(read_int(argument)? != 0);
                Ok(0)
            }
            n::TIOCGPKT => {
                let on = self.pty.state.lock().packet.is_on;
                write_int(argument, on.into())
            }
            n::TIOCGPTPEER => self.open_peer(argument as u32),
            n::TIOCSIG => match argument as u32 {
                signal @ (abi::SIGINT | abi::SIGQUIT | abi::SIGTSTP) => {
                    self.pty.control().signal(signal);
                    Ok(0)
                }
                _ => Err(Errno::INVAL),
            },
            n::FIONREAD => {
                let waiting = self.pty.state.lock().output.len();
                write_int(argument, waiting as i32)
            }
            _ => self.pty.ioctl(End::Master, command, argument),
        }
    }

    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn closed(&self) {
        self.pty.master_closed();
    }
}
