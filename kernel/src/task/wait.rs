//! Waiting for children (wait4(2), waitid(2)).
use super::process::{self, ExitStatus, Process};
use crate::errno::Errno;
use crate::ipc::poll::block_on;
use alloc::sync::Arc;
use coracle_hal::cpu;
use core::sync::atomic::Ordering::*;
use linux_raw_sys::general as abi;

/// Which children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Any.
    Any,
    /// The one with this pid.
    Pid(i32),
    /// Those of this group.
    Group(i32),
}

/// What a child did.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Its pid.
    pub pid: i32,
    /// Its real user id.
    pub uid: u32,
    /// CLD_*.
    pub code: i32,
    /// Exit status or signal, as si_status tells it.
    pub status: i32,
    /// The same as wait4(2) tells it.
    pub wait_status: i32,
    /// CPU time it and its own children used, nanoseconds.
    pub cpu_ns: u64,
}

/// Waits until a child does one of what `options` (WEXITED, WSTOPPED, WCONTINUED, WNOHANG, WNOWAIT) asks for. `None`:
/// nothing yet, and WNOHANG. ECHILD, ERESTARTSYS.
pub fn wait(parent: &Arc<Process>, which: Which, options: u32) -> Result<Option<Report>, Errno> {
    let no_hang = options & abi::WNOHANG != 0;
    let found = block_on(&parent.child_events, no_hang, None, || {
        loop {
            match look(parent, which, options)? {
                Look::Found(report) => break Ok(report),
                Look::Nothing => break Err(Errno::AGAIN),
                // Another CPU is in the middle of it.
                Look::Soon => cpu::relax(),
            }
        }
    });
    match found {
        Ok(report) => Ok(Some(report)),
        Err(Errno::AGAIN) if no_hang => Ok(None),
        Err(error) => Err(error),
    }
}

/// What looking at the children gave.
enum Look {
    Found(Report),
    Nothing,
    /// One has ended, but its parent has not been sent the signal yet, which must be pending when the wait is over.
    Soon,
}

fn look(parent: &Arc<Process>, which: Which, options: u32) -> Result<Look, Errno> {
    let keep = options & abi::WNOWAIT != 0;
    let mut family = parent.family.lock();
    let mut any = false;
    for index in 0..family.children.len() {
        let child = &family.children[index];
        let matches = match which {
            Which::Any => true,
            Which::Pid(pid) => child.pid == pid,
            Which::Group(group) => child.group.load(Relaxed) == group,
        };
        // Children whose end is told by another signal are others (wait(2), "Linux notes").
        let special = child.exit_signal.load(Relaxed) != abi::SIGCHLD;
        let of_kind = options & abi::__WALL != 0 || special == (options & abi::__WCLONE != 0);
        if !matches || !of_kind {
            continue;
        }
        any = true;
        if options & abi::WEXITED != 0 && child.dead.load(Acquire) {
            if !child.told.load(Acquire) {
                return Ok(Look::Soon);
            }
            let report = ended(child);
            if !keep {
                let child = family.children.remove(index);
                drop(family);
                parent.children_ns.fetch_add(report.cpu_ns, Relaxed);
                process::forget(child.pid);
            }
            return Ok(Look::Found(report));
        }
        let mut change = child.stop_report.lock();
        if let Some((code, status)) = *change {
            let stopped = code == abi::CLD_STOPPED as i32;
            let wanted = if stopped { abi::WSTOPPED } else { abi::WCONTINUED };
            if options & wanted != 0 {
                if !keep {
                    *change = None;
                }
                // wait(2)'s encodings of "stopped" and "continued".
                let wait_status = if stopped { status << 8 | 0x7f } else { 0xffff };
                return Ok(Look::Found(Report { code, status, wait_status, ..ended(child) }));
            }
        }
    }
    if any { Ok(Look::Nothing) } else { Err(Errno::CHILD) }
}

fn ended(child: &Arc<Process>) -> Report {
    let status = child.exiting.lock().unwrap_or(ExitStatus::Exited(0));
    let (code, value) = match status {
        ExitStatus::Exited(status) => (abi::CLD_EXITED, i32::from(status)),
        ExitStatus::Killed(signal, false) => (abi::CLD_KILLED, signal as i32),
        ExitStatus::Killed(signal, true) => (abi::CLD_DUMPED, signal as i32),
    };
    Report {
        pid: child.pid,
        uid: child.credentials.lock().uid[0],
        code: code as i32,
        status: value,
        wait_status: status.wait_status(),
        cpu_ns: child.cpu_time_ns() + child.children_ns.load(Relaxed),
    }
}
