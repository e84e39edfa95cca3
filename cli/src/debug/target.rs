//! The process as the server of the remote protocol sees it (the crate `gdbstub`).

use std::collections::HashMap;
use std::os::fd::AsFd as _;

use coracle_control::{Debug, DebugEvent, Request, Resume, debug_event as event, resume_flag};
use gdbstub::common::{Signal, Tid};
use gdbstub::conn::ConnectionExt as _;
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::stub::run_blocking::{BlockingEventLoop, Event, WaitForStopReasonError};
use gdbstub::target::ext::auxv::{Auxv, AuxvOps};
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwWatchpoint, HwWatchpointOps, SwBreakpoint, SwBreakpointOps, WatchKind,
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
use super::mirror::Mirror;
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
}

impl Process {
    /// A process that was attached to.
    ///
    /// # Errors
    /// If the guest does not answer.
    pub fn new(mut session: Session, mirror: Mirror) -> Result<Process> {
        let path = format!("/proc/{}/auxv", session.pid);
        let auxv = session.client.ask(coracle_control::Request::Read(path.as_bytes()))?.unwrap_or_default();
        let mut process = Process { session, mirror, wishes: Vec::new(), auxv, open: HashMap::new() };
        process.mirror.fill(&mut process.session)?;
        Ok(process)
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
        let state = self.session.state(tid.get() as u64);
        // A thread that has ended has none.
        *packet = state.map_err(|_| TargetError::Errno(libc::ESRCH as u8))?.packet();
        Ok(())
    }

    fn write_registers(&mut self, packet: &Packet, tid: Tid) -> TargetResult<(), Self> {
        refused(self.session.set_registers(tid.get() as u64, packet), ())
    }

    fn read_addrs(&mut self, start: u64, data: &mut [u8], _: Tid) -> TargetResult<usize, Self> {
        let bytes = self.session.read(start, data.len()).map_err(TargetError::Fatal)?;
        data[..bytes.len()].copy_from_slice(&bytes);
        if bytes.is_empty() { Err(TargetError::Errno(libc::EFAULT as u8)) } else { Ok(bytes.len()) }
    }

    fn write_addrs(&mut self, start: u64, data: &[u8], _: Tid) -> TargetResult<(), Self> {
        refused(self.session.write(start, data), ())
    }

    fn list_active_threads(&mut self, each: &mut dyn FnMut(Tid)) -> Result<()> {
        let tids = self.session.threads.iter().map(|thread| thread.record.tid as usize);
        tids.filter_map(Tid::new).for_each(each);
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
        let thread = self.session.threads.iter().find(|thread| thread.record.tid == tid.get() as u64);
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
        self.session.resume(&std::mem::take(&mut self.wishes))
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

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl Process {
    fn breakpoint(&mut self, address: u64, set: bool) -> TargetResult<bool, Self> {
        let request = Debug::Breakpoint { pid: self.session.pid, address, set };
        self.session.ask(request).map_err(TargetError::Fatal)
    }

    fn watchpoint(&mut self, address: u64, len: u64, kind: WatchKind, set: bool) -> TargetResult<bool, Self> {
        let reads = kind != WatchKind::Write;
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
            let (is_asked, has_stopped) = {
                let mut both = [
                    PollFd::from_borrowed_fd(gdb.0.as_fd(), PollFlags::IN),
                    PollFd::from_borrowed_fd(process.session.bell.as_fd(), PollFlags::IN),
                ];
                match poll(&mut both, None) {
                    Ok(_) => {}
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(error) => return Err(WaitForStopReasonError::Connection(error.into())),
                }
                (!both[0].revents().is_empty(), !both[1].revents().is_empty())
            };
            if has_stopped {
                let event = take_event(process).map_err(WaitForStopReasonError::Target)?;
                return Ok(Event::TargetStopped(event));
            }
            if is_asked {
                let byte = gdb.read().map_err(WaitForStopReasonError::Connection)?;
                return Ok(Event::IncomingData(byte));
            }
        }
    }

    fn on_interrupt(process: &mut Process) -> Result<Option<Self::StopReason>> {
        let pid = process.session.pid;
        process.session.ask(Debug::Stop { pid })?;
        take_event(process).map(Some)
    }
}

fn take_event(process: &mut Process) -> Result<MultiThreadStopReason<u64>> {
    let event = process.session.event()?;
    // One byte an event.
    let _ = std::io::Read::read(&mut process.session.bell, &mut [0]);
    process.stop_reason(event)
}
