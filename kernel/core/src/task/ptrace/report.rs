//! What wait(2) tells a tracer.
use super::trace::{tell_parent, traced_by};
use crate::task::process::{self, ExitStatus, Process};
use crate::task::thread::Thread;
use crate::task::usage::Usage;
use crate::task::wait::{Report, Which};
use alloc::sync::Arc;
use coracle_hal::sync::atomic::Ordering::*;
use linux_raw_sys::general as abi;

/// The end of a thread that was traced.
pub struct Ended {
    /// Its id.
    pub pid: i32,
    /// The same as the tracer sees it.
    pub seen: i32,
    /// The real user id of its process.
    pub uid: u32,
    /// Its process group.
    group: i32,
    status: ExitStatus,
    usage: Usage,
    /// It was a process, whose parent is to be told.
    pub keeps: bool,
}

impl Ended {
    /// That of a thread of `process`, which `tracer` traces.
    pub fn new(tracer: &Process, pid: i32, process: &Process, status: ExitStatus, keeps: bool) -> Ended {
        let (uid, group) = (process.user(), process.group.load(Relaxed));
        Ended { pid, seen: tracer.sees(pid), uid, group, status, usage: Usage::of_process(process), keeps }
    }
    /// CLD_* and si_status.
    pub fn code(&self) -> (i32, i32) {
        self.status.child_code()
    }
    fn report(&self) -> Report {
        let (code, status) = self.code();
        let wait_status = self.status.wait_status();
        Report { pid: self.seen, uid: self.uid, code, status, wait_status, usage: self.usage }
    }
}

/// What a tracer finds of the threads that it traces.
pub enum Found {
    /// None is among those that are waited for.
    None,
    /// Some are, and nothing is to be told.
    Nothing,
    /// This.
    Report(Report),
}

fn is_meant(which: Which, id: i32, group: i32) -> bool {
    match which {
        Which::Any => true,
        Which::Pid(pid) => pid == id,
        Which::Group(wanted) => wanted == group,
    }
}

/// Looks at the threads that `tracer` traces. Stops are told whether they are asked for or not.
///
/// The list of threads is locked first, as where one moves from it to those that have ended: it is always in one of the two.
pub fn look(tracer: &Process, which: Which, options: u32) -> Found {
    let keep = options & abi::WNOWAIT != 0;
    let mut any = false;
    let tracees = tracer.debug.tracees.lock();
    if options & abi::WEXITED != 0 {
        let mut ended = tracer.debug.ended.lock();
        if let Some(at) = ended.iter().position(|one| is_meant(which, one.pid, one.group))
            && let Some(one) = ended.get(at)
        {
            let (report, pid, keeps) = (one.report(), one.pid, one.keeps);
            if !keep {
                ended.remove(at);
                drop(ended);
                drop(tracees);
                if keeps && let Some(process) = process::by_pid(pid) {
                    tell_parent(&process);
                }
            }
            return Found::Report(report);
        }
    }
    for &id in tracees.iter() {
        let thread = traced_by(tracer, id);
        // One that has ended is the first of its process, of which others go on.
        let process =
            thread.as_ref().map_or_else(|| process::by_pid(id), |thread| Some(thread.process.clone()));
        let Some(process) = process.filter(|one| is_meant(which, id, one.group.load(Relaxed))) else {
            continue;
        };
        any = true;
        if let Some(status) = thread.and_then(|thread| stop_of(&thread, keep)) {
            return Found::Report(Report {
                pid: tracer.sees(id),
                uid: process.user(),
                code: abi::CLD_TRAPPED as i32,
                status,
                wait_status: status << 8 | 0x7f,
                usage: Usage::of_process(&process),
            });
        }
    }
    if any { Found::Nothing } else { Found::None }
}

fn stop_of(thread: &Arc<Thread>, keep: bool) -> Option<i32> {
    let mut state = thread.debug.traced.state.lock();
    let stop = state.stop.filter(|_| !state.is_reported)?;
    state.is_reported = !keep;
    Some(stop.status as i32)
}
