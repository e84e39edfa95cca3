//! The process as the server of the remote protocol sees it (the crate `gdbstub`).
//!
//! It stops in two ways. The guest's kernel holds the threads of the process, for what happens in the program; the machine runs on. At a
//! place of the kernel the machine stands still ([`Kernel`]), and the guest can't be asked for anything until it goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::AsFd as _;

use coracle_control::{Debug, DebugEvent, Request, Resume, debug_event as event, resume_flag};
use gdbstub::common::{Signal, Tid};
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::stub::run_blocking::{BlockingEventLoop, Event, WaitForStopReasonError};
use gdbstub::target::ext::auxv::{Auxv, AuxvOps};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint,
    SwBreakpointOps, WatchKind,
};
use gdbstub::target::ext::host_io::{
    HostIo, HostIoClose, HostIoCloseOps, HostIoErrno, HostIoError, HostIoOpen, HostIoOpenFlags,
    HostIoOpenMode, HostIoOpenOps, HostIoOps, HostIoPread, HostIoPreadOps, HostIoResult,
};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{Target, TargetError, TargetResult};
use rustix::event::{PollFd, PollFlags, poll};

use super::arch::{Packet, X86_64};
use super::connection::Stream;
use super::kernel::{EXECUTION, KERNEL_HALF, Kernel, Met};
use super::mirror::Mirror;
use super::qemu::Place;
use super::session::Session;
use super::signals;
use crate::error::{Error, Result};

/// An attached process, and what it is to do next.
pub struct Process {
    /// The process.
    pub session: Session,
    /// The files that gdb looks at.
    mirror: Mirror,
    wishes: Vec<Resume>,
    auxv: Vec<u8>,
    /// Files of /proc that gdb has open, by their numbers.
    open: HashMap<u32, Vec<u8>>,
    /// The kernel, which gdb may stop as well.
    pub kernel: Kernel,
    /// Breakpoints in the program: those that gdb wants, and those that the guest has, with the bytes that they replace. They differ
    /// while the machine stands still.
    wanted: BTreeSet<u64>,
    set: BTreeMap<u64, Vec<u8>>,
}

impl Process {
    /// A process that was attached to.
    ///
    /// # Errors
    /// If the guest does not answer.
    pub fn new(mut session: Session, mirror: Mirror, kernel: Kernel) -> Result<Process> {
        let path = format!("/proc/{}/auxv", session.pid);
        let auxv = session.client.ask(coracle_control::Request::Read(path.as_bytes()))?.unwrap_or_default();
        let mut process = Process {
            session,
            mirror,
            wishes: Vec::new(),
            auxv,
            open: HashMap::new(),
            kernel,
            wanted: BTreeSet::new(),
            set: BTreeMap::new(),
        };
        process.mirror.fill(&mut process.session)?;
        Ok(process)
    }

    /// Takes everything of gdb's out of the guest, and lets it go on.
    pub fn leave(&mut self) {
        self.kernel.leave();
        self.session.detach();
    }

    /// What is told of the kernel.
    fn met(&self, met: &Met) -> MultiThreadStopReason<u64> {
        let tid = usize::try_from(met.tid).ok().and_then(Tid::new).unwrap_or(Tid::MIN);
        match met.watched {
            Some(addr) => MultiThreadStopReason::Watch { tid, kind: WatchKind::Write, addr },
            None if met.is_step => MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGTRAP },
            None => MultiThreadStopReason::SwBreak(tid),
        }
    }

    fn stop_reason(&mut self, event: DebugEvent) -> Result<MultiThreadStopReason<u64>> {
        let own = usize::try_from(event.tid).ok().and_then(Tid::new);
        let first = self.session.threads.first().map_or(1, |thread| thread.record.tid);
        let tid = own.or(usize::try_from(first).ok().and_then(Tid::new)).unwrap_or(Tid::MIN);
        if event.kind != event::EXITED {
            // Before gdb looks for the files of libraries that were loaded meanwhile.
            self.mirror.fill(&mut self.session)?;
        }
        let number = event.number as u8;
        Ok(match event.kind {
            event::BREAKPOINT => MultiThreadStopReason::SwBreak(tid),
            event::WATCHPOINT => {
                MultiThreadStopReason::Watch { tid, kind: WatchKind::Write, addr: event.address }
            }
            event::SIGNAL => MultiThreadStopReason::SignalWithThread { tid, signal: signals::to_gdb(number) },
            event::STOPPED => MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGINT },
            // The status of wait(2): the low bits are the signal, else the next are the status of exit(2).
            event::EXITED => match event.number & 0x7f {
                0 => MultiThreadStopReason::Exited((event.number >> 8) as u8),
                signal => MultiThreadStopReason::Terminated(signals::to_gdb(signal as u8)),
            },
            _ => MultiThreadStopReason::SignalWithThread { tid, signal: Signal::SIGTRAP },
        })
    }
}

/// Errors that the debugger is told are no reason to end; those of the connection to the guest are.
fn refused<T>(done: Result<bool>, value: T) -> TargetResult<T, Process> {
    match done {
        Ok(true) => Ok(value),
        Ok(false) => Err(TargetError::Errno(libc::EFAULT as u8)),
        Err(error) => Err(TargetError::Fatal(error)),
    }
}

/// A part of what gdb reads piece by piece.
fn part(all: &[u8], offset: u64, length: usize, buffer: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|offset| all.get(offset..)).unwrap_or_default();
    let len = rest.len().min(length).min(buffer.len());
    buffer[..len].copy_from_slice(&rest[..len]);
    len
}

impl Target for Process {
    type Arch = X86_64;
    type Error = Error;

    fn base_ops(&mut self) -> BaseOps<'_, X86_64, Error> {
        BaseOps::MultiThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_auxv(&mut self) -> Option<AuxvOps<'_, Self>> {
        Some(self)
    }

    fn support_host_io(&mut self) -> Option<HostIoOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Process {
    fn read_registers(&mut self, packet: &mut Packet, tid: Tid) -> TargetResult<(), Self> {
        if self.kernel.is_halted() {
            let state = self.kernel.state(tid.get() as u64).map_err(TargetError::Fatal)?;
            *packet = state.ok_or(TargetError::Errno(libc::ESRCH as u8))?.packet();
            return Ok(());
        }
        let state = self.session.state(tid.get() as u64);
        // A thread that has ended has none.
        *packet = state.map_err(|_| TargetError::Errno(libc::ESRCH as u8))?.packet();
        Ok(())
    }

    fn write_registers(&mut self, packet: &Packet, tid: Tid) -> TargetResult<(), Self> {
        let tid = tid.get() as u64;
        if self.kernel.is_halted() {
            return refused(self.kernel.set_registers(tid, packet), ());
        }
        refused(self.session.set_registers(tid, packet), ())
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8], _: Tid) -> TargetResult<usize, Self> {
        let bytes = match self.kernel.is_halted() {
            true => self.read_still(start, data.len()),
            false => self.session.read(start, data.len()),
        };
        let bytes = bytes.map_err(TargetError::Fatal)?;
        data[..bytes.len()].copy_from_slice(&bytes);
        if bytes.is_empty() { Err(TargetError::Errno(libc::EFAULT as u8)) } else { Ok(bytes.len()) }
    }

    fn write_addrs(&mut self, start: u64, data: &[u8], _: Tid) -> TargetResult<(), Self> {
        if self.kernel.is_halted() {
            return refused(self.kernel.write(start, data), ());
        }
        refused(self.session.write(start, data), ())
    }

    fn list_active_threads(&mut self, each: &mut dyn FnMut(Tid)) -> Result<()> {
        let tids: Vec<u64> = match self.kernel.is_halted() {
            true => self.kernel.threads.iter().map(|thread| thread.tid).collect(),
            false => self.session.threads.iter().map(|thread| thread.record.tid).collect(),
        };
        tids.into_iter().filter_map(|tid| Tid::new(tid as usize)).for_each(each);
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl ThreadExtraInfo for Process {
    fn thread_extra_info(&self, tid: Tid, buffer: &mut [u8]) -> Result<usize> {
        let tid = tid.get() as u64;
        if self.kernel.is_halted() {
            let thread = self.kernel.threads.iter().find(|thread| thread.tid == tid);
            return Ok(part(thread.map_or("", |thread| &thread.name).as_bytes(), 0, usize::MAX, buffer));
        }
        let thread = self.session.threads.iter().find(|thread| thread.record.tid == tid);
        Ok(part(thread.map_or("", |thread| &thread.name).as_bytes(), 0, usize::MAX, buffer))
    }
}

impl Process {
    fn wish(&mut self, tid: Tid, flags: u16, signal: Option<Signal>) {
        let tid = u32::try_from(tid.get()).unwrap_or_default();
        let signal = signal.map_or(0, signals::from_gdb).into();
        self.wishes.push(Resume { tid, flags, signal });
    }
}

impl MultiThreadResume for Process {
    fn resume(&mut self) -> Result<()> {
        let wishes = std::mem::take(&mut self.wishes);
        if self.kernel.is_halted() {
            let step = wishes.iter().find(|wish| wish.flags & resume_flag::STEP != 0);
            return self.kernel.resume(step.map(|wish| wish.tid.into()));
        }
        // The machine stands still until the kernel has its breakpoints, so that the program comes by none of them before.
        let is_still = self.kernel.prepare()?;
        self.session.resume(&wishes, is_still)?;
        if is_still { self.kernel.resume(None) } else { Ok(()) }
    }

    fn clear_resume_actions(&mut self) -> Result<()> {
        self.wishes.clear();
        Ok(())
    }

    fn set_resume_action_continue(&mut self, tid: Tid, signal: Option<Signal>) -> Result<()> {
        self.wish(tid, 0, signal);
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for Process {
    fn set_resume_action_step(&mut self, tid: Tid, signal: Option<Signal>) -> Result<()> {
        self.wish(tid, resume_flag::STEP, signal);
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Process {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<()> {
        self.wishes.push(Resume { tid: 0, flags: resume_flag::HOLD, signal: 0 });
        Ok(())
    }
}

impl Breakpoints for Process {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl Process {
    fn breakpoint(&mut self, address: u64, set: bool) -> TargetResult<bool, Self> {
        let place = Place { kind: EXECUTION, address, len: 1 };
        if address >= KERNEL_HALF {
            return Ok(self.kernel.want(place, set));
        }
        match set {
            true => self.wanted.insert(address),
            false => self.wanted.remove(&address),
        };
        if self.kernel.is_halted() {
            // The guest can't be told. One that it does not have is QEMU's meanwhile; one that it has in vain is passed.
            let is_late = set && !self.set.contains_key(&address);
            return Ok(self.kernel.want(place, is_late));
        }
        self.kernel.want(place, false);
        self.tell(address, set).map_err(TargetError::Fatal)
    }

    fn tell(&mut self, address: u64, set: bool) -> Result<bool> {
        /// Bytes of the instruction that makes a breakpoint.
        const BREAKPOINT_BYTES: usize = 1;
        if set && !self.set.contains_key(&address) && self.kernel.is_there() {
            let original = self.session.read(address, BREAKPOINT_BYTES)?;
            self.set.insert(address, original);
        }
        let done = self.session.ask(Debug::Breakpoint { pid: self.session.pid, address, set })?;
        if !done || !set {
            self.set.remove(&address);
        }
        Ok(done)
    }

    /// Takes breakpoints out of the guest that gdb has removed while the machine stood still.
    fn tidy(&mut self) -> Result<()> {
        let left: Vec<u64> =
            self.set.keys().copied().filter(|address| !self.wanted.contains(address)).collect();
        left.into_iter().try_for_each(|address| self.tell(address, false).map(|_| ()))
    }

    /// Memory while the machine stands still, as the program has it: without breakpoints.
    fn read_still(&mut self, start: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = self.kernel.read(start, len)?;
        for (address, original) in self.set.range(start..start.saturating_add(len as u64)) {
            for (number, byte) in original.iter().enumerate() {
                let at = (address + number as u64).checked_sub(start).and_then(|at| usize::try_from(at).ok());
                if let Some(place) = at.and_then(|at| bytes.get_mut(at)) {
                    *place = *byte;
                }
            }
        }
        Ok(bytes)
    }

    fn watchpoint(&mut self, address: u64, len: u64, kind: WatchKind, set: bool) -> TargetResult<bool, Self> {
        let reads = kind != WatchKind::Write;
        if address >= KERNEL_HALF || self.kernel.is_halted() {
            // QEMU's kinds, of packet `Z`.
            const WRITES: u8 = 2;
            const BOTH: u8 = 4;
            let kind = if reads { BOTH } else { WRITES };
            return Ok(self.kernel.want(Place { kind, address, len }, set));
        }
        let len = u16::try_from(len).unwrap_or_default();
        let request = Debug::Watchpoint { pid: self.session.pid, address, len, reads, set };
        self.session.ask(request).map_err(TargetError::Fatal)
    }
}

impl SwBreakpoint for Process {
    fn add_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.breakpoint(address, true)
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.breakpoint(address, false)
    }
}

/// They are the same.
impl HwBreakpoint for Process {
    fn add_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.breakpoint(address, true)
    }

    fn remove_hw_breakpoint(&mut self, address: u64, _: usize) -> TargetResult<bool, Self> {
        self.breakpoint(address, false)
    }
}

impl HwWatchpoint for Process {
    fn add_hw_watchpoint(&mut self, address: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        self.watchpoint(address, len, kind, true)
    }

    fn remove_hw_watchpoint(&mut self, address: u64, len: u64, kind: WatchKind) -> TargetResult<bool, Self> {
        self.watchpoint(address, len, kind, false)
    }
}

impl Auxv for Process {
    fn get_auxv(&self, offset: u64, length: usize, buffer: &mut [u8]) -> TargetResult<usize, Self> {
        Ok(part(&self.auxv, offset, length, buffer))
    }
}

/// Files of the guest: those of /proc, which gdb reads for `info proc` and to find the vDSO.
impl HostIo for Process {
    fn support_open(&mut self) -> Option<HostIoOpenOps<'_, Self>> {
        Some(self)
    }

    fn support_close(&mut self) -> Option<HostIoCloseOps<'_, Self>> {
        Some(self)
    }

    fn support_pread(&mut self) -> Option<HostIoPreadOps<'_, Self>> {
        Some(self)
    }
}

impl HostIoOpen for Process {
    fn open(&mut self, path: &[u8], _: HostIoOpenFlags, _: HostIoOpenMode) -> HostIoResult<u32, Self> {
        if self.kernel.is_halted() {
            return Err(HostIoError::Errno(HostIoErrno::EBUSY));
        }
        let answer = self.session.client.ask(Request::Read(path)).map_err(HostIoError::Fatal)?;
        let bytes = answer.map_err(|_| HostIoError::Errno(HostIoErrno::ENOENT))?;
        let number = (0..).find(|number| !self.open.contains_key(number)).unwrap_or_default();
        self.open.insert(number, bytes);
        Ok(number)
    }
}

impl HostIoClose for Process {
    fn close(&mut self, number: u32) -> HostIoResult<(), Self> {
        self.open.remove(&number).map(|_| ()).ok_or(HostIoError::Errno(HostIoErrno::EBADF))
    }
}

impl HostIoPread for Process {
    fn pread(
        &mut self,
        number: u32,
        count: usize,
        offset: u64,
        buffer: &mut [u8],
    ) -> HostIoResult<usize, Self> {
        let file = self.open.get(&number).ok_or(HostIoError::Errno(HostIoErrno::EBADF))?;
        Ok(part(file, offset, count, buffer))
    }
}

/// Waits for the process and for gdb.
pub enum Loop {}

impl BlockingEventLoop for Loop {
    type Target = Process;
    type Connection = Stream;
    type StopReason = MultiThreadStopReason<u64>;

    fn wait_for_stop_reason(
        process: &mut Process,
        gdb: &mut Stream,
    ) -> std::result::Result<Event<Self::StopReason>, WaitForStopReasonError<Error, std::io::Error>> {
        loop {
            let (is_asked, has_stopped, is_met) = {
                let mut all = vec![
                    PollFd::from_borrowed_fd(gdb.as_fd(), PollFlags::IN),
                    PollFd::from_borrowed_fd(process.session.bell.as_fd(), PollFlags::IN),
                ];
                all.extend(process.kernel.bell().map(|bell| PollFd::from_borrowed_fd(bell, PollFlags::IN)));
                match poll(&mut all, None) {
                    Ok(_) => {}
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(error) => return Err(WaitForStopReasonError::Connection(error.into())),
                }
                let is_ready = |number: usize| all.get(number).is_some_and(|one| !one.revents().is_empty());
                (is_ready(0), is_ready(1), is_ready(2))
            };
            // The kernel first: a stopped guest does not answer.
            if is_met {
                match process.kernel.stopped() {
                    Ok(Some(met)) => return Ok(Event::TargetStopped(process.met(&met))),
                    Ok(None) => {}
                    // The guest has ended, which the process's event says.
                    Err(_) => process.kernel.forget(),
                }
                continue;
            }
            if has_stopped {
                match take_event(process).map_err(WaitForStopReasonError::Target)? {
                    Some(event) => return Ok(Event::TargetStopped(event)),
                    None => continue,
                }
            }
            if is_asked && let Some(byte) = gdb.hear().map_err(WaitForStopReasonError::Connection)? {
                return Ok(Event::IncomingData(byte));
            }
        }
    }

    fn on_interrupt(process: &mut Process) -> Result<Option<Self::StopReason>> {
        if let Some(met) = process.kernel.silence()? {
            return Ok(Some(process.met(&met)));
        }
        let pid = process.session.pid;
        process.session.ask(Debug::Stop { pid })?;
        take_event(process)
    }
}

/// The event that the process has stopped for, or what the kernel has met meanwhile. `None`: a breakpoint that gdb wants no more.
fn take_event(process: &mut Process) -> Result<Option<MultiThreadStopReason<u64>>> {
    match process.kernel.silence() {
        Ok(None) => {}
        Ok(Some(met)) => return Ok(Some(process.met(&met))),
        Err(_) => process.kernel.forget(),
    }
    let event = process.session.event()?;
    // One byte an event.
    let _ = std::io::Read::read(&mut process.session.bell, &mut [0]);
    if event.kind != event::EXITED {
        process.tidy()?;
    }
    if event.kind == event::BREAKPOINT
        && let Some(at) = process.session.state(event.tid)?.register("rip")
        && !process.wanted.contains(&at)
    {
        process.resume()?;
        return Ok(None);
    }
    process.stop_reason(event).map(Some)
}
