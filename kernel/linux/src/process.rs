//! Processes: making, replacing, ending and awaiting them.
use super::call::Call;
use super::file::any_file;
use super::signal::{check_signal, check_target, queued_info};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::arch::machine;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::fs::open::{open_executable_at, open_executable_place};
use coracle_core::fs::walk::Follow;
use coracle_core::mm::user;
use coracle_core::task::clone::{self, Request};
use coracle_core::task::pid_space;
use coracle_core::task::process::{self, ExitStatus, Process};
use coracle_core::task::signal::{self, SIGINFO_LEN, SigInfo};
use coracle_core::task::usage::Usage;
use coracle_core::task::wait::{self, Which};
use coracle_core::task::{exec, exit, long_call, ptrace, terminal};
use coracle_core::time::clock::to_timeval;
use coracle_fallible::prelude::*;
use coracle_fallible::text;
use coracle_hal::paging;
use coracle_hal::sync::atomic::Ordering::*;
use coracle_loader::Strings;
use linux_raw_sys::general as abi;

/// Longest argument or variable (Linux's MAX_ARG_STRLEN: 32 pages).
const MAX_ARGUMENT: usize = 32 * 4096;
/// The signal in the low byte of clone(2)'s flags.
const CSIGNAL: u64 = 0xff;
/// What clone3(2) knows: all flags of clone(2) but those in the place of the signal, and two of its own.
const CLONE3_FLAGS: u64 =
    0xffff_ff80 & !(abi::CLONE_DETACHED as u64) | abi::CLONE_CLEAR_SIGHAND | abi::CLONE_INTO_CGROUP;
/// sizeof(struct clone_args), first and latest version known.
const CLONE_ARGS_MIN: usize = 64;
const CLONE_ARGS_WORDS: usize = 11;
/// Ids that `set_tid` may choose: one for each level of pid namespaces (Linux's MAX_PID_NS_LEVEL).
const MAX_SET_TID: u64 = 32;
/// sizeof(struct rusage).
pub const RUSAGE_WORDS: usize = 18;

/// fork(2).
pub fn fork(call: &Call) -> SysResult {
    let request = Request { exit_signal: abi::SIGCHLD, ..Request::default() };
    clone::clone(call.thread(), &call.registers(), request, &[]).map(|pid| pid as usize)
}

/// vfork(2).
pub fn vfork(call: &Call) -> SysResult {
    let flags = u64::from(abi::CLONE_VM | abi::CLONE_VFORK);
    let request = Request { flags, exit_signal: abi::SIGCHLD, ..Request::default() };
    clone::clone(call.thread(), &call.registers(), request, &[]).map(|pid| pid as usize)
}

/// clone(2).
pub fn clone(call: &Call) -> SysResult {
    let flags = call.raw(0);
    let request = Request {
        flags: flags & !CSIGNAL & u64::from(u32::MAX),
        exit_signal: (flags & CSIGNAL) as u32,
        stack: call.usize(1),
        parent_tid: call.usize(2),
        child_tid: call.usize(machine::CLONE_CHILD_TID),
        tls: call.raw(machine::CLONE_TLS),
        // clone(2) puts the descriptor where it would put the parent's tid.
        pidfd: call.usize(2),
    };
    clone::clone(call.thread(), &call.registers(), request, &[]).map(|id| id as usize)
}

/// clone3(2). Cgroups are refused.
pub fn clone3(call: &Call) -> SysResult {
    let (addr, size) = (call.usize(0), call.usize(1));
    if size < CLONE_ARGS_MIN {
        return Err(Errno::INVAL);
    }
    if size > 4096 {
        return Err(Errno::TOOBIG);
    }
    let mut words = [0u64; CLONE_ARGS_WORDS];
    for (i, word) in words.iter_mut().enumerate().take(size / 8) {
        *word = user::read_u64(addr + i * 8)?;
    }
    // What we don't know must be zero.
    user::check_zero(addr + CLONE_ARGS_WORDS * 8, size.saturating_sub(CLONE_ARGS_WORDS * 8))?;
    let [flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, _] =
        words;
    let in_user_half = |end: u64| end <= paging::USER_END as u64;
    if (set_tid == 0) != (set_tid_size == 0)
        || set_tid_size > MAX_SET_TID
        || (stack == 0) != (stack_size == 0)
        || !stack.checked_add(stack_size).is_some_and(in_user_half)
        || (flags & u64::from(abi::CLONE_THREAD | abi::CLONE_PARENT) != 0 && exit_signal != 0)
        || exit_signal > u64::from(signal::MAX_SIGNAL)
        || flags & !CLONE3_FLAGS != 0
    {
        return Err(Errno::INVAL);
    }
    let mut ids = [0; MAX_SET_TID as usize];
    let ids = &mut ids[..set_tid_size as usize];
    for (index, id) in ids.iter_mut().enumerate() {
        *id = user::read_u32(set_tid as usize + index * size_of::<i32>())? as i32;
    }
    let request = Request {
        flags,
        exit_signal: exit_signal as u32,
        stack: (stack + stack_size) as usize,
        parent_tid: parent_tid as usize,
        child_tid: child_tid as usize,
        tls,
        pidfd: pidfd as usize,
    };
    clone::clone(call.thread(), &call.registers(), request, ids).map(|id| id as usize)
}

/// The strings that the array at `addr` points to. E2BIG if they and the pointers to them take more than `limit` bytes,
/// or one of them more than [`MAX_ARGUMENT`].
fn read_strings(mut addr: usize, limit: u64) -> Result<Strings, Errno> {
    let mut strings = Strings::new();
    if addr == 0 {
        return Ok(strings);
    }
    loop {
        let at = user::read_u64(addr)? as usize;
        if at == 0 {
            return Ok(strings);
        }
        long_call::pause_unless_killed()?;
        let len = user::string_length(at, MAX_ARGUMENT, Errno::TOOBIG)?;
        let taken = strings.as_bytes().len() + len + 1 + (strings.len() + 1) * size_of::<usize>();
        if taken as u64 > limit {
            return Err(Errno::TOOBIG);
        }
        strings.push_with(len, |place| user::read(place, at))?;
        addr = addr.wrapping_add(8);
    }
}

/// execve(2).
pub fn execve(call: &Call) -> SysResult {
    let path = user::read_path(call.usize(0))?;
    execute(call, path, None, false, 1)
}

/// execveat(2).
pub fn execveat(call: &Call) -> SysResult {
    let path = user::read_path(call.usize(1))?;
    let (directory, flags) = (call.i32(0), call.u32(4));
    if flags & !(abi::AT_EMPTY_PATH | abi::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::INVAL);
    }
    let process = &call.thread().process;
    let is_from_here = path.starts_with(b"/") || directory == abi::AT_FDCWD && !path.is_empty();
    let follow = if flags & abi::AT_SYMLINK_NOFOLLOW != 0 { Follow::IfSlash } else { Follow::Always };
    let file = if path.is_empty() {
        if flags & abi::AT_EMPTY_PATH == 0 {
            return Err(Errno::NOENT);
        }
        let open = process.descriptors.get(directory)?;
        match open.file.place() {
            // Opened anew: the descriptor may be a mere place (open(2), O_PATH), or for writing.
            Some(place) => open_executable_place(place.clone())?,
            None => {
                let mode = open.file.stat()?.st_mode;
                if mode & abi::S_IFMT != abi::S_IFREG || mode & 0o111 == 0 {
                    return Err(Errno::ACCES);
                }
                open
            }
        }
    } else if is_from_here {
        open_executable_at(&process.fs, None, &path, follow)?
    } else {
        let start = process.descriptors.get(directory)?;
        let place = start.file.place().ok_or(Errno::NOTDIR)?;
        open_executable_at(&process.fs, Some(&place.path), &path, follow)?
    };
    if is_from_here {
        return execute(call, path, Some(file), false, 2);
    }
    let mut name = text(format_args!("/dev/fd/{directory}"))?.into_bytes();
    if !path.is_empty() {
        name.try_push(b'/')?;
        name.try_extend_from_slice(&path)?;
    }
    // The interpreter of a script would not find it by a descriptor that is closed by then.
    let is_hidden = process.descriptors.is_close_on_exec(directory)?;
    execute(call, name, Some(file), is_hidden, 2)
}

fn execute(
    call: &Call,
    path: Vec<u8>,
    file: Option<Arc<coracle_core::fs::file::OpenFile>>,
    is_hidden: bool,
    first_argument: usize,
) -> SysResult {
    let limit = exec::arguments_limit(call.thread().process.limits.soft(abi::RLIMIT_STACK));
    let mut arguments = read_strings(call.usize(first_argument), limit)?;
    let environment = read_strings(call.usize(first_argument + 1), limit)?;
    if arguments.is_empty() {
        arguments.push(b"")?;
    }
    let process = &call.thread().process;
    let credentials = process.credentials.lock().ids();
    let no_new_privileges = process.no_new_privileges.load(Relaxed) || ptrace::keeps_rights(call.thread());
    let request =
        exec::Request { path, file, is_hidden, arguments, environment, credentials, no_new_privileges };
    call.set_registers(exec::replace(call.thread(), request)?);
    Ok(0)
}

/// exit(2): this thread.
pub fn exit(call: &Call) -> SysResult {
    exit::exit_thread(call.thread(), &call.registers(), ExitStatus::Exited(call.raw(0) as u8))
}

/// exit_group(2): all threads.
pub fn exit_group(call: &Call) -> SysResult {
    exit::exit_group(call.thread(), &call.registers(), ExitStatus::Exited(call.raw(0) as u8))
}

/// A `struct rusage`.
pub fn rusage(usage: &Usage) -> [u64; RUSAGE_WORDS] {
    /// Words of it: largest resident set, minor faults, voluntary and involuntary switches.
    const MAX_RESIDENT: usize = 4;
    const MINOR_FAULTS: usize = 8;
    const SWITCHES: usize = 16;
    let mut words = [0; RUSAGE_WORDS];
    words[..2].copy_from_slice(&to_timeval(usage.cpu_ns));
    words[MAX_RESIDENT] = usage.resident_kib;
    words[MINOR_FAULTS] = usage.faults;
    words[SWITCHES..].copy_from_slice(&usage.switches);
    words
}

/// wait4(2).
pub fn wait4(call: &Call) -> SysResult {
    let (pid, options) = (call.i32(0), call.u32(2));
    let known =
        abi::WNOHANG | abi::WUNTRACED | abi::WCONTINUED | abi::__WNOTHREAD | abi::__WALL | abi::__WCLONE;
    if options & !known != 0 {
        return Err(Errno::INVAL);
    }
    let process = &call.thread().process;
    let which = match pid {
        -1 => Which::Any,
        0 => Which::Group(process.group.load(Relaxed)),
        1.. => Which::Pid(pid_space::named(pid).ok_or(Errno::CHILD)?),
        i32::MIN => return Err(Errno::SRCH),
        _ => Which::Group(pid_space::named(-pid).ok_or(Errno::CHILD)?),
    };
    let wanted = abi::WEXITED
        | (options & (abi::WNOHANG | abi::WUNTRACED | abi::WCONTINUED | abi::__WALL | abi::__WCLONE));
    let Some(report) = wait::wait(process, which, wanted)? else { return Ok(0) };
    if call.usize(1) != 0 {
        user::write_u32(call.usize(1), report.wait_status as u32)?;
    }
    if call.usize(3) != 0 {
        user::write_words(call.usize(3), &rusage(&report.usage))?;
    }
    Ok(report.pid as usize)
}

/// waitid(2).
pub fn waitid(call: &Call) -> SysResult {
    let (kind, id, options) = (call.u32(0), call.i32(1), call.u32(3));
    let what = abi::WEXITED | abi::WSTOPPED | abi::WCONTINUED;
    if options & what == 0
        || options & !(what | abi::WNOHANG | abi::WNOWAIT | abi::__WALL | abi::__WCLONE | abi::__WNOTHREAD)
            != 0
    {
        return Err(Errno::INVAL);
    }
    let process = &call.thread().process;
    let which = match kind {
        abi::P_ALL => Which::Any,
        abi::P_PID if id > 0 => Which::Pid(pid_space::named(id).ok_or(Errno::CHILD)?),
        abi::P_PGID if id == 0 => Which::Group(process.group.load(Relaxed)),
        abi::P_PGID if id > 0 => Which::Group(pid_space::named(id).ok_or(Errno::CHILD)?),
        abi::P_PIDFD if id >= 0 => Which::Pid(coracle_core::ipc::pidfd::pid_of(process, id)?),
        _ => return Err(Errno::INVAL),
    };
    // A descriptor with O_NONBLOCK waits for nothing, and says so (pidfd_open(2)).
    let nonblock = kind == abi::P_PIDFD && any_file(call, 1)?.nonblock() && options & abi::WNOHANG == 0;
    let report = wait::wait(process, which, if nonblock { options | abi::WNOHANG } else { options })?;
    if nonblock && report.is_none() {
        return Err(Errno::AGAIN);
    }
    if call.usize(2) != 0 {
        let bytes = match &report {
            Some(report) => SigInfo::child(report.code, report.pid, report.uid, report.status).to_bytes(),
            None => [0; SIGINFO_LEN],
        };
        user::write(call.usize(2), &bytes)?;
    }
    if let (Some(report), true) = (report, call.usize(4) != 0) {
        user::write_words(call.usize(4), &rusage(&report.usage))?;
    }
    Ok(0)
}

/// getpid(2).
pub fn getpid(call: &Call) -> SysResult {
    Ok(call.thread().process.own_pid() as usize)
}

/// getppid(2).
pub fn getppid(call: &Call) -> SysResult {
    Ok(call.thread().process.seen_parent() as usize)
}

fn process_or_self(call: &Call, pid: i32) -> Result<Arc<Process>, Errno> {
    match pid {
        0 => Ok(call.thread().process.clone()),
        _ => pid_space::process_of(pid).ok_or(Errno::SRCH),
    }
}

/// setpgid(2).
pub fn setpgid(call: &Call) -> SysResult {
    let target = process_or_self(call, call.i32(0))?;
    if call.i32(0) != 0 && pid_space::named(call.i32(0)) != Some(target.pid) {
        // A thread of it, which Linux finds, but wants to lead its process here.
        return Err(Errno::INVAL);
    }
    let group = match call.i32(1) {
        0 => target.pid,
        group if group < 0 => return Err(Errno::INVAL),
        group => pid_space::named(group).ok_or(Errno::PERM)?,
    };
    let me = &call.thread().process;
    let child = target.parent().is_some_and(|parent| Arc::ptr_eq(&parent, me));
    if !child && !Arc::ptr_eq(&target, me) {
        return Err(Errno::SRCH);
    }
    let session = me.session.load(Relaxed);
    if target.session.load(Relaxed) == target.pid || target.session.load(Relaxed) != session {
        return Err(Errno::PERM);
    }
    let mut members = process::of_group(group);
    if group != target.pid && !members.any(|member| member.session.load(Relaxed) == session) {
        return Err(Errno::PERM);
    }
    target.group.store(group, Relaxed);
    Ok(0)
}

/// getpgid(2).
pub fn getpgid(call: &Call) -> SysResult {
    Ok(pid_space::seen(process_or_self(call, call.i32(0))?.group.load(Relaxed)) as usize)
}

/// getpgrp(2).
pub fn getpgrp(call: &Call) -> SysResult {
    Ok(pid_space::seen(call.thread().process.group.load(Relaxed)) as usize)
}

/// setsid(2).
pub fn setsid(call: &Call) -> SysResult {
    let me = &call.thread().process;
    if process::of_group(me.pid).next().is_some() {
        return Err(Errno::PERM);
    }
    me.session.store(me.pid, Relaxed);
    me.controlled.leave();
    me.group.store(me.pid, Relaxed);
    Ok(me.own_pid() as usize)
}

/// vhangup(2): hangs up the controlling terminal, if it is a pseudo-terminal.
pub fn vhangup(_call: &Call) -> SysResult {
    check_capability(capability::SYS_TTY_CONFIG)?;
    terminal::hang_up_own();
    Ok(0)
}

/// getsid(2).
pub fn getsid(call: &Call) -> SysResult {
    Ok(pid_space::seen(process_or_self(call, call.i32(0))?.session.load(Relaxed)) as usize)
}

/// pidfd_open(2).
pub fn pidfd_open(call: &Call) -> SysResult {
    if call.u32(1) & !abi::O_NONBLOCK != 0 || call.i32(0) <= 0 {
        return Err(Errno::INVAL);
    }
    let target = pid_space::process(call.i32(0)).ok_or(Errno::SRCH)?;
    coracle_core::ipc::pidfd::open(call.thread(), &target, call.u32(1)).map(|fd| fd as usize)
}

/// pidfd_send_signal(2).
pub fn pidfd_send_signal(call: &Call) -> SysResult {
    let me = &call.thread().process;
    if call.u32(3) != 0 {
        return Err(Errno::INVAL);
    }
    let target = coracle_core::ipc::pidfd::signalled(me, call.i32(0))?;
    let seen = me.sees(target.pid);
    if seen == 0 {
        return Err(Errno::INVAL);
    }
    let number = check_signal(call.i32(1))?;
    let info = match call.usize(2) {
        0 => SigInfo::user(number, signal::SI_USER, target.sees(me.pid), me.credentials.lock().uid[0]),
        // The number comes first in it.
        at if user::read_u32(at)? != number => return Err(Errno::INVAL),
        at => queued_info(call, number, at, seen)?,
    };
    check_target(call, &target, number)?;
    if number != 0 && !target.dead.load(Relaxed) {
        signal::send_to_process(&target, info).check()?;
    }
    Ok(0)
}
