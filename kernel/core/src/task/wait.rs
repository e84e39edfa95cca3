//! Waiting for children (wait4(2), waitid(2)).
use super::family::Family;
use super::process::{self, ExitStatus, Process};
use super::ptrace::{self, Found};
use super::usage::Usage;
use crate::errno::Errno;
use crate::ipc::poll::block_on;
use alloc::sync::Arc;
use coracle_hal::cpu;
use coracle_hal::sync::atomic::Ordering::*;
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
    /// Its pid, as the waiting process sees it.
    pub pid: i32,
    /// Its real user id.
    pub uid: u32,
    /// CLD_*.
    pub code: i32,
    /// Exit status or signal, as si_status tells it.
    pub status: i32,
    /// The same as wait4(2) tells it.
    pub wait_status: i32,
    /// What it and its own children have used.
    pub usage: Usage,
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
    let traced = match ptrace::look(parent, which, options) {
        Found::Report(report) => return Ok(Look::Found(report)),
        Found::Nothing => true,
        Found::None => false,
    };
    match look_at_children(parent, which, options) {
        Err(Errno::CHILD) if traced => Ok(Look::Nothing),
        looked => looked,
    }
}

fn look_at_children(parent: &Arc<Process>, which: Which, options: u32) -> Result<Look, Errno> {
    let mut family = parent.family.lock();
    if let Which::Pid(pid) = which {
        let child =
            process::by_pid(pid).filter(|child| parent.has_child(child) && is_of_kind(child, options));
        let child = child.ok_or(Errno::CHILD)?;
        return Ok(look_at(parent, &mut family, &child, options).unwrap_or(Look::Nothing));
    }
    let mut any = false;
    for child in family.children() {
        if matches!(which, Which::Group(group) if child.group.load(Relaxed) != group)
            || !is_of_kind(&child, options)
        {
            continue;
        }
        any = true;
        if let Some(found) = look_at(parent, &mut family, &child, options) {
            return Ok(found);
        }
        // Those that have ended come first.
        if options & (abi::WSTOPPED | abi::WCONTINUED) == 0 && !child.dead.load(Acquire) {
            break;
        }
    }
    if any { Ok(Look::Nothing) } else { Err(Errno::CHILD) }
}

/// Whether a wait with these options is about such children: those whose end is told by another signal than SIGCHLD are
/// others (wait(2), "Linux notes").
fn is_of_kind(child: &Process, options: u32) -> bool {
    let special = child.exit_signal.load(Relaxed) != abi::SIGCHLD;
    options & abi::__WALL != 0 || special == (options & abi::__WCLONE != 0)
}

/// What a child of `parent`, whose family is locked, has done of what `options` ask for.
fn look_at(parent: &Process, family: &mut Family, child: &Arc<Process>, options: u32) -> Option<Look> {
    let keep = options & abi::WNOWAIT != 0;
    if child.debug.is_kept.load(SeqCst) {
        return None;
    }
    if options & abi::WEXITED != 0 && child.dead.load(Acquire) {
        if !child.told.load(Acquire) {
            return Some(Look::Soon);
        }
        let report = ended(parent, child);
        if !keep && family.remove(child) {
            parent.children.lock().add(&report.usage);
            process::forget(child.pid);
        }
        return Some(Look::Found(report));
    }
    if child.debug.leader_tracer.load(SeqCst) == parent.pid {
        // It is told of as of a thread that is traced.
        return None;
    }
    let mut change = child.stop_report.lock();
    let (code, status) = (*change)?;
    let stopped = code == abi::CLD_STOPPED as i32;
    if options & if stopped { abi::WSTOPPED } else { abi::WCONTINUED } == 0 {
        return None;
    }
    if !keep {
        *change = None;
    }
    // wait(2)'s encodings of "stopped" and "continued".
    let wait_status = if stopped { status << 8 | 0x7f } else { 0xffff };
    Some(Look::Found(Report { code, status, wait_status, ..ended(parent, child) }))
}

fn ended(parent: &Process, child: &Arc<Process>) -> Report {
    let status = child.exiting.lock().unwrap_or(ExitStatus::Exited(0));
    let (code, value) = status.child_code();
    let mut usage = Usage::of_process(child);
    usage.add(&child.children.lock());
    Report {
        pid: parent.sees(child.pid),
        uid: child.credentials.lock().uid[0],
        code,
        status: value,
        wait_status: status.wait_status(),
        usage,
    }
}
