//! Controlling terminals and job control (credentials(7), "Sessions"; ioctl_tty(2); POSIX.1-2017, sections 11.1.3 and
//! 11.1.4).
//!
//! A process knows its controlling terminal, and a terminal the session that it controls and the process group in the
//! foreground. No lock is held while a signal is sent.
use super::orphans::is_orphaned;
use super::pid_space;
use super::process::{self, Process};
use super::signal::{IGNORE, SigInfo, bit, send_to_group, send_to_process};
use crate::errno::Errno;
use crate::fs::access::{capability, check_capability};
use crate::fs::file::File;
use crate::fs::mount::Place;
use crate::lock::Mutex;
use alloc::sync::{Arc, Weak};
use coracle_fallible::{NoMemory, try_arc};
use coracle_hal::sync::atomic::{AtomicI32, Ordering::Relaxed};
use linux_raw_sys::general as abi;

/// The device behind a controlling terminal.
pub trait Device: Send + Sync {
    /// Its number, for /proc/PID/stat.
    fn number(&self) -> u64;
    /// Opens it by /dev/tty, at `place`, with the flags of open(2).
    fn open(&self, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno>;
    /// Hangs up: no descriptor that is open reads or writes any more (vhangup(2)).
    fn hang_up(&self);
}

/// A process's part.
#[derive(Default)]
pub struct Controlled {
    /// The controlling terminal.
    terminal: Mutex<Option<Arc<Control>>>,
    /// Of a session's leader whose terminal was hung up: the group that was in the foreground; 0: none. It is hung up when
    /// the leader ends.
    former_group: AtomicI32,
}

/// A terminal's part.
pub struct Control {
    device: Weak<dyn Device>,
    seat: Mutex<Seat>,
}

/// The session that a terminal controls, and the group in the foreground; 0: none.
#[derive(Clone, Copy, Default)]
struct Seat {
    session: i32,
    group: i32,
}

impl Controlled {
    /// The controlling terminal.
    pub fn terminal(&self) -> Option<Arc<Control>> {
        self.terminal.lock().clone()
    }

    /// Whether it is this one.
    fn is(&self, control: &Arc<Control>) -> bool {
        self.terminal.lock().as_ref().is_some_and(|own| Arc::ptr_eq(own, control))
    }

    /// Sets it, or takes it away.
    fn set(&self, control: Option<Arc<Control>>) {
        let old = core::mem::replace(&mut *self.terminal.lock(), control);
        drop(old);
    }

    /// A child has that of its parent (fork(2)).
    pub fn inherit(&self, from: &Controlled) {
        self.set(from.terminal());
    }

    /// A new session has none (setsid(2)).
    pub fn leave(&self) {
        self.set(None);
    }
}

/// The processes of a session.
fn of_session(session: i32) -> impl Iterator<Item = Arc<Process>> {
    process::all().filter(move |process| process.session.load(Relaxed) == session)
}

/// A group that is gone needs no signal.
fn signal_group(group: i32, signal: u32) {
    if group != 0 {
        let _ = send_to_group(group, SigInfo::kernel(signal));
    }
}

fn leads_session(process: &Process) -> bool {
    process.session.load(Relaxed) == process.pid
}

/// The running process and its group.
fn caller() -> (Arc<Process>, i32) {
    crate::this::with(|thread| (thread.process.clone(), thread.process.group.load(Relaxed)))
}

/// The leader of a session ends: the group in the foreground is hung up, and no process of the session has a controlling
/// terminal any more (_exit(2), POSIX.1-2017, "Consequences of Process Termination"; Linux's `disassociate_ctty`).
pub fn process_ended(process: &Process) {
    if !leads_session(process) {
        return;
    }
    match process.controlled.terminal() {
        Some(control) => {
            control.signal(abi::SIGHUP);
            control.release(process.pid);
        }
        None => {
            let group = process.controlled.former_group.swap(0, Relaxed);
            signal_group(group, abi::SIGHUP);
            signal_group(group, abi::SIGCONT);
        }
    }
}

/// vhangup(2): hangs up the controlling terminal of the running process, if it has one.
pub fn hang_up_own() {
    let (me, _) = caller();
    if let Some(device) = me.controlled.terminal().and_then(|control| control.device.upgrade()) {
        device.hang_up();
    }
}

/// Opens the controlling terminal of the running process (tty(4)): `None` if it has none.
pub fn open_own(place: Place, flags: u32) -> Option<Result<Arc<dyn File>, Errno>> {
    let (me, _) = caller();
    let control = me.controlled.terminal()?;
    Some(control.device.upgrade().ok_or(Errno::IO).and_then(|device| device.open(place, flags)))
}

impl Control {
    /// That of a new terminal. ENOMEM.
    pub fn new(device: Weak<dyn Device>) -> Result<Arc<Control>, NoMemory> {
        try_arc(Control { device, seat: Mutex::new(Seat::default()) })
    }

    /// The device number; 0 if the device is gone.
    pub fn number(&self) -> u64 {
        self.device.upgrade().map_or(0, |device| device.number())
    }

    /// The process group in the foreground; 0: none.
    pub fn group(&self) -> i32 {
        self.seat.lock().group
    }

    /// The session that it controls; 0: none.
    pub fn session(&self) -> i32 {
        self.seat.lock().session
    }

    /// Whether it controls the running process.
    pub fn is_of_caller(self: &Arc<Self>) -> bool {
        caller().0.controlled.is(self)
    }

    /// Sends a signal to the group in the foreground.
    pub fn signal(&self, signal: u32) {
        signal_group(self.group(), signal);
    }

    /// Whether the running process may read (SIGTTIN), or write or change the terminal (SIGTTOU): see [`check_background`].
    /// Any process may for which it is not the controlling terminal.
    pub fn check(self: &Arc<Self>, signal: u32) -> Result<(), Errno> {
        let group = self.group();
        if group == 0 || !self.is_of_caller() { Ok(()) } else { check_background(group, signal) }
    }

    fn set(self: &Arc<Self>, leader: &Process, group: i32) -> bool {
        {
            let mut seat = self.seat.lock();
            if seat.session != 0 {
                return false;
            }
            *seat = Seat { session: leader.pid, group };
        }
        leader.controlled.set(Some(self.clone()));
        leader.controlled.former_group.store(0, Relaxed);
        true
    }

    /// Makes a new terminal the controlling one of the session that `leader`, which has not run yet, leads.
    pub fn give_to(self: &Arc<Self>, leader: &Process) {
        self.set(leader, leader.group.load(Relaxed));
    }

    /// The terminal was opened for reading, without O_NOCTTY: it becomes the controlling terminal of a session's leader that
    /// has none, if it controls no session (open(2)).
    pub fn opened(self: &Arc<Self>) {
        let (me, group) = caller();
        if leads_session(&me) && me.controlled.terminal().is_none() {
            self.set(&me, group);
        }
    }

    /// TIOCSCTTY: makes it the controlling terminal of the running process. `steal`: from the session that has it. EPERM as
    /// ioctl_tty(2) says.
    pub fn acquire(self: &Arc<Self>, is_readable: bool, steal: bool) -> Result<(), Errno> {
        let (me, group) = caller();
        let leads = leads_session(&me);
        if leads && self.session() == me.pid {
            return Ok(());
        }
        if !leads || me.controlled.terminal().is_some() {
            return Err(Errno::PERM);
        }
        let session = self.session();
        if session != 0 {
            if !steal {
                return Err(Errno::PERM);
            }
            check_capability(capability::SYS_ADMIN)?;
            self.release(session);
        }
        if !is_readable {
            check_capability(capability::SYS_ADMIN)?;
        }
        if self.set(&me, group) { Ok(()) } else { Err(Errno::PERM) }
    }

    /// TIOCNOTTY: the running process gives its controlling terminal up, and with the leader the whole session does, whose
    /// group in the foreground gets SIGHUP and SIGCONT. ENOTTY if this isn't its controlling terminal.
    pub fn give_up(self: &Arc<Self>) -> Result<(), Errno> {
        let (me, _) = caller();
        if !me.controlled.is(self) {
            return Err(Errno::NOTTY);
        }
        if leads_session(&me) {
            let group = self.group();
            signal_group(group, abi::SIGHUP);
            signal_group(group, abi::SIGCONT);
            self.release(me.pid);
        }
        me.controlled.set(None);
        Ok(())
    }

    /// It controls `session` no longer.
    fn release(self: &Arc<Self>, session: i32) {
        {
            let mut seat = self.seat.lock();
            if seat.session == session {
                *seat = Seat::default();
            }
        }
        for process in of_session(session).filter(|process| process.controlled.is(self)) {
            process.controlled.set(None);
        }
    }

    /// TIOCSPGRP: puts a process group of the caller's session into the foreground. ENOTTY, EINVAL, ESRCH, EPERM as
    /// tcsetpgrp(3) says, and those of [`Control::check`].
    pub fn set_group(self: &Arc<Self>, group: i32) -> Result<(), Errno> {
        self.check(abi::SIGTTOU).map_err(|error| if error == Errno::IO { Errno::NOTTY } else { error })?;
        let (me, _) = caller();
        let session = me.session.load(Relaxed);
        if !me.controlled.is(self) || self.session() != session {
            return Err(Errno::NOTTY);
        }
        if group < 0 {
            return Err(Errno::INVAL);
        }
        let group = pid_space::named(group).ok_or(Errno::SRCH)?;
        let member = process::of_group(group).next().ok_or(Errno::SRCH)?;
        if member.session.load(Relaxed) != session {
            return Err(Errno::PERM);
        }
        let mut seat = self.seat.lock();
        if seat.session == session {
            seat.group = group;
        }
        Ok(())
    }

    /// The terminal is hung up: it controls no session any more, whose leader gets SIGHUP and SIGCONT (Linux's
    /// `__tty_hangup`).
    pub fn hang_up(self: &Arc<Self>) {
        let seat = core::mem::take(&mut *self.seat.lock());
        if seat.session == 0 {
            return;
        }
        for process in of_session(seat.session).filter(|process| process.controlled.is(self)) {
            process.controlled.set(None);
            if leads_session(&process) {
                process.controlled.former_group.store(seat.group, Relaxed);
                send_to_process(&process, SigInfo::kernel(abi::SIGHUP));
                send_to_process(&process, SigInfo::kernel(abi::SIGCONT));
            }
        }
    }
}

/// Whether the running process, whose controlling terminal it is, may read (SIGTTIN), or write or change the terminal
/// (SIGTTOU) while `foreground` is the group in the foreground: a process of another group gets the signal with its group, and
/// its call begins anew when it goes on. EIO if nothing could let it go on, or, for SIGTTIN, if it does not take the signal
/// (POSIX.1-2017, section 11.1.4; Linux's `__tty_check_change`).
pub fn check_background(foreground: i32, signal: u32) -> Result<(), Errno> {
    let (refused, group) = crate::this::with(|thread| {
        let refused = thread.process.signals.lock().action(signal).handler == IGNORE
            || thread.signals.lock().mask & bit(signal) != 0;
        (refused, thread.process.group.load(Relaxed))
    });
    match refused {
        _ if group == foreground => Ok(()),
        true if signal == abi::SIGTTOU => Ok(()),
        true => Err(Errno::IO),
        false if is_orphaned(group) => Err(Errno::IO),
        false => {
            send_to_group(group, SigInfo::kernel(signal))?;
            Err(Errno::RESTARTSYS)
        }
    }
}
