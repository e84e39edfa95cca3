//! The slave: a terminal (termios(3), n_tty of Linux).
use super::ioctl::End;
use super::pair::{Pty, READ_MAX, write_through};
use crate::drivers::console::arguments::write_int;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::fs::mount::Place;
use coracle_core::fs::signal_io::Announces;
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::mm::user_buf::UserBuf;
use coracle_fallible::filled;
use core::any::Any;
use linux_raw_sys::general::{SIGTTIN, SIGTTOU, TOSTOP, stat as Stat};
use linux_raw_sys::ioctl as n;

/// An open slave.
pub(super) struct Slave {
    pty: Arc<Pty>,
    place: Place,
    /// It was opened for reading.
    is_readable: bool,
    /// How often the slave had been hung up when it was opened.
    hang_ups: u32,
}

impl Slave {
    /// Counted at the pair until it is closed.
    pub(super) fn new(pty: Arc<Pty>, place: Place, is_readable: bool, hang_ups: u32) -> Slave {
        pty.slave_opened();
        Slave { pty, place, is_readable, hang_ups }
    }

    fn is_hung_up(&self) -> bool {
        self.pty.hang_ups() != self.hang_ups
    }

    /// Takes what one read gives now; EAGAIN if that is nothing. `None`: it is hung up.
    fn take(&self, most: usize) -> Result<Option<alloc::vec::Vec<u8>>, Errno> {
        let bytes = {
            let mut state = self.pty.state.lock();
            // A reader that waits learns of the master's end by an error (n_tty_read of Linux).
            if state.master_gone() {
                return Err(Errno::IO);
            }
            if self.is_hung_up() {
                return Ok(None);
            }
            let mut bytes = filled(0, state.discipline.available().min(most))?;
            state.discipline.read(&mut bytes).ok_or(Errno::AGAIN)?;
            bytes
        };
        self.pty.master.notify(Events::OUT);
        Ok(Some(bytes))
    }
}

impl File for Slave {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if dst.remaining() == 0 || self.is_hung_up() {
            return Ok(0);
        }
        self.pty.control().check(SIGTTIN)?;
        let wait = self.pty.state.lock().discipline.wait();
        // The fewest bytes, the time for the first, and that for each further one (termios(3), "Noncanonical mode").
        let (fewest, mut time_ns, between_ns) = match wait {
            None => (1, None, None),
            Some((0, time_ns)) => (1, Some(time_ns.unwrap_or(0)), None),
            Some((fewest, time_ns)) => (fewest.min(dst.remaining()), None, time_ns),
        };
        let mut done = 0;
        loop {
            let deadline_ns = time_ns.map(|time_ns| coracle_hal::time::now_ns() + time_ns);
            let most = dst.remaining().min(READ_MAX);
            let at_once = nonblock || time_ns == Some(0);
            let taken =
                block_on_events(&self.pty.slave, Events::IN, at_once, deadline_ns, || self.take(most));
            match taken {
                Ok(Some(bytes)) if !bytes.is_empty() => {
                    dst.put(&bytes)?;
                    done += bytes.len();
                    if wait.is_none() || done >= fewest || dst.remaining() == 0 {
                        return Ok(done);
                    }
                }
                // A hang-up, or the end of the file.
                Ok(_) => return Ok(done),
                Err(_) if done > 0 => return Ok(done),
                // No input in time.
                Err(Errno::AGAIN) if time_ns.is_some_and(|time_ns| time_ns == 0 || !nonblock) => {
                    return Ok(0);
                }
                Err(error) => return Err(error),
            }
            time_ns = between_ns;
        }
    }

    fn write(&self, src: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if self.is_hung_up() {
            return Err(Errno::IO);
        }
        if self.pty.state.lock().discipline.termios().local & TOSTOP != 0 {
            self.pty.control().check(SIGTTOU)?;
        }
        write_through(src, nonblock, &self.pty.slave, &mut |bytes| self.put(bytes))
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.place.path.inode.metadata().stat())
    }

    fn readiness(&self) -> Events {
        let state = self.pty.state.lock();
        if self.is_hung_up() {
            return Events::IN | Events::OUT | Events::ERR | Events::HUP;
        }
        let mut events = Events::empty();
        if state.discipline.readable() {
            events |= Events::IN;
        }
        if state.output_has_room() {
            events |= Events::OUT;
        }
        events.with_normal()
    }

    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.pty.slave)
    }

    fn announces(&self) -> Announces {
        match self.pty.control().group() {
            0 => Announces::Yes,
            group => Announces::ToGroup(group),
        }
    }

    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        if self.is_hung_up() {
            return Err(if command == n::TIOCSPGRP { Errno::NOTTY } else { Errno::IO });
        }
        match command {
            n::FIONREAD => {
                let waiting = self.pty.state.lock().discipline.waiting();
                write_int(argument, waiting as i32)
            }
            _ => self.pty.ioctl(End::Slave { is_readable: self.is_readable }, command, argument),
        }
    }

    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn closed(&self) {
        self.pty.slave_closed();
    }
}

impl Slave {
    /// Writes as many bytes as there is room for; EAGAIN if there is none, EIO if it is hung up.
    fn put(&self, bytes: &[u8]) -> SysResult {
        let count = {
            let mut state = self.pty.state.lock();
            if self.is_hung_up() {
                return Err(Errno::IO);
            }
            let mut count = 0;
            while count < bytes.len() && state.output_has_room() {
                state.put_output(bytes[count]);
                count += 1;
            }
            count
        };
        if count == 0 {
            return Err(Errno::AGAIN);
        }
        self.pty.master.notify(Events::IN);
        Ok(count)
    }
}
