//! /proc/PID and /proc/PID/task/TID.
use super::descriptors::{Descriptors, Tasks};
use super::ids;
use super::map_files::MapFiles;
use super::maps::{maps, smaps_rollup};
use super::memory;
use super::mounts::{mountinfo, mounts, mountstats};
use super::namespaces::NAMESPACES;
use super::root::net_directory;
use super::status::{limits, sched, schedstat, stat, statm, status};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::arch::registers;
use coracle_core::errno::Errno;
use coracle_core::fs::access::{capability, check_capability};
use coracle_core::fs::inode::Link;
use coracle_core::task::credentials::machine_id;
use coracle_core::task::look_into;
use coracle_core::task::oom;
use coracle_core::task::pid_space::PidSpace;
use coracle_core::task::process::{self as tasks, Process, Program};
use coracle_core::task::thread::{Thread, ThreadName};
use coracle_core::task::user_space::Kind as IdKind;
use coracle_core::this;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_box};
use coracle_fs::synthetic::{Directory, Item, Kind, Listed, Piece, Table, TakeName};
use coracle_hal::fail;
use coracle_hal::sync::atomic::Ordering::Relaxed;

/// Whom the files are about: a process, or one thread of it.
#[derive(Clone)]
pub struct Subject {
    pub process: Arc<Process>,
    pub thread: Option<Arc<Thread>>,
    /// The PID namespace whose numbers they show; `None` is the first.
    pub space: Option<Arc<PidSpace>>,
}

impl Subject {
    pub(super) fn id(&self) -> i32 {
        self.seen(self.thread.as_ref().map_or(self.process.pid, |thread| thread.tid()))
    }
    /// The number that the files show of what is `machine` on the machine; 0 for what is not in their namespace.
    pub(super) fn seen(&self, machine: i32) -> i32 {
        self.space.as_ref().map_or(machine, |space| space.inside(machine))
    }
    /// EACCES unless the running program may look into the process.
    pub(super) fn check(&self) -> Result<(), Errno> {
        look_into::check(&self.process).map_err(|_| Errno::ACCES)
    }
    pub(super) fn program(&self) -> Arc<Program> {
        self.process.program.lock().clone()
    }
    /// The thread, or the process's first.
    pub(super) fn main(&self) -> Option<Arc<Thread>> {
        self.thread.clone().or_else(|| self.process.threads.lock().first().cloned())
    }
    /// The thread's name, or that of the process's first, which is kept when it has ended.
    pub(super) fn name(&self) -> ThreadName {
        self.thread.as_ref().map_or_else(|| self.process.name(), |thread| thread.name())
    }
    pub(super) fn state(&self) -> (char, &'static str) {
        let dead = self.process.dead.load(Relaxed);
        let stopped = self.process.stopped.load(Relaxed) != 0;
        let asleep = self.main().is_none_or(|thread| thread.sched.is_parked());
        let traced = self.main().is_some_and(|thread| thread.debug.traced.is_stopped());
        match (dead, stopped, asleep) {
            (true, ..) => ('Z', "zombie"),
            _ if traced => ('t', "tracing stop"),
            (_, true, _) => ('T', "stopped"),
            (_, _, true) => ('S', "sleeping"),
            _ => ('R', "running"),
        }
    }
}

/// The directory of a process or thread. ENOMEM.
pub fn directory(subject: Subject) -> Result<Box<dyn Directory>, NoMemory> {
    Ok(try_box(Owned(Listed { table: FILES, context: subject }))?)
}

/// What a process has, and a thread has not (proc(5)). Without this, threads would be found below their threads without an
/// end, and a directory holds those above it.
const OF_PROCESSES: &[&[u8]] = &[b"map_files", b"mountstats", b"task", b"timerslack_ns"];
/// What a thread has, and a process has not.
const OF_THREADS: &[&[u8]] = &[b"children"];

/// The same, which belongs to whom the process runs as (proc(5), /proc/pid).
struct Owned(Listed<Subject>);

impl Owned {
    fn has(&self, name: &[u8]) -> bool {
        let is_hidden = name == FAIL_NTH.as_bytes() && !fail::is_enabled();
        let of_others = if self.0.context.thread.is_some() { OF_PROCESSES } else { OF_THREADS };
        !is_hidden && !of_others.contains(&name)
    }
    /// Whether the process is over, and was waited for: then there is nothing in its directory any more.
    fn is_gone(&self) -> bool {
        let process = &self.0.context.process;
        tasks::by_pid(process.pid).is_none_or(|found| !Arc::ptr_eq(&found, process))
    }
}

impl Directory for Owned {
    fn lookup(&self, name: &[u8]) -> Result<Option<Kind>, Errno> {
        // As Linux's proc_pid_permission().
        if self.is_gone() {
            return Err(Errno::SRCH);
        }
        if self.has(name) { self.0.lookup(name) } else { Ok(None) }
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        if self.is_gone() {
            return Err(Errno::NOENT);
        }
        self.0.list(from, &mut |after, name, kind| !self.has(name) || take(after, name, kind))
    }
    fn owner(&self) -> Option<(u32, u32)> {
        /// Place of the effective ids.
        const EFFECTIVE: usize = 1;
        let ids = self.0.context.process.credentials.lock();
        Some((ids.uid[EFFECTIVE], ids.gid[EFFECTIVE]))
    }
    /// Of a process that others may not look into they belong to root (proc(5), /proc/pid).
    fn owner_of(&self, name: &[u8]) -> Option<(u32, u32)> {
        /// Directories that everybody may search.
        const OPEN: &[&[u8]] = &[b"task", b"net", b"attr"];
        /// SUID_DUMP_USER of prctl(2).
        const YES: u32 = 1;
        let is_closed = self.0.context.process.dumpable.load(Relaxed) != YES && !OPEN.contains(&name);
        is_closed.then_some((0, 0))
    }
    fn process(&self) -> Option<Arc<Process>> {
        self.0.context.thread.is_none().then(|| self.0.context.process.clone())
    }
}

/// There only where allocations can be made to fail (`fail-alloc=` of the kernel command line).
const FAIL_NTH: &str = "fail-nth";

// What follows makes directories of tables. `xtask stack` knows these functions by how their names begin.

fn directory_of_descriptors(subject: &Subject) -> Result<Box<dyn Directory>, NoMemory> {
    Ok(try_box(Descriptors { subject: subject.clone(), links: true })?)
}

fn directory_of_descriptions(subject: &Subject) -> Result<Box<dyn Directory>, NoMemory> {
    Ok(try_box(Descriptors { subject: subject.clone(), links: false })?)
}

fn directory_of_network(_: &Subject) -> Result<Box<dyn Directory>, NoMemory> {
    net_directory()
}

fn directory_of_mappings(subject: &Subject) -> Result<Box<dyn Directory>, NoMemory> {
    Ok(try_box(MapFiles(subject.clone()))?)
}

fn directory_of_threads(subject: &Subject) -> Result<Box<dyn Directory>, NoMemory> {
    Ok(try_box(Tasks(subject.clone()))?)
}

static FILES: Table<Subject> = &[
    // There is no module of security that has any.
    ("attr", Item::Directory(&[("current", Item::Pieces(|_, _, _| Err(Errno::INVAL)))])),
    ("auxv", Item::Pieces(auxv)),
    ("cgroup", Item::Fixed("0::/\n")),
    ("children", Item::Text(children)),
    ("cmdline", Item::Text(|s, text| text.push(s.program().arguments.as_bytes()))),
    ("comm", Item::Setting(comm, set_comm)),
    (
        "coredump_filter",
        Item::Setting(
            |s, text| writeln!(text, "{:08x}", s.process.dump_filter.load(Relaxed)),
            set_coredump_filter,
        ),
    ),
    ("cpuset", Item::Fixed("/\n")),
    ("cwd", Item::Link(|s| s.check().map(|()| Link::Place(s.process.fs.directory())))),
    ("environ", Item::Pieces(environment)),
    ("exe", Item::Link(executable)),
    (FAIL_NTH, Item::Setting(fail_nth, set_fail_nth)),
    ("fd", Item::Dynamic(directory_of_descriptors)),
    ("fdinfo", Item::Dynamic(directory_of_descriptions)),
    (
        "io",
        Item::Fixed(
            "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n",
        ),
    ),
    ("limits", Item::Text(limits)),
    ("loginuid", Item::Setting(login_user, set_login_user)),
    ("map_files", Item::Dynamic(directory_of_mappings)),
    ("maps", Item::Pieces(|s, from, text| s.check().and_then(|()| maps(s, from, text, false)))),
    ("mem", Item::Opened(|s, place| memory::open(s, place, false))),
    ("mountinfo", Item::Text(mountinfo)),
    ("mounts", Item::Text(mounts)),
    ("mountstats", Item::Text(mountstats)),
    ("net", Item::Dynamic(directory_of_network)),
    ("ns", Item::Directory(NAMESPACES)),
    ("numa_maps", Item::Pieces(|s, from, text| s.check().and_then(|()| memory::numa_maps(s, from, text)))),
    ("oom_adj", Item::Setting(|s, text| writeln!(text, "{}", s.process.oom.old_adjustment()), set_oom_adj)),
    ("oom_score", Item::Text(oom_score)),
    (
        "oom_score_adj",
        Item::Setting(|s, text| writeln!(text, "{}", s.process.oom.adjustment()), set_oom_score_adj),
    ),
    ("pagemap", Item::Opened(|s, place| memory::open(s, place, true))),
    ("personality", Item::Text(|s, text| writeln!(text, "{:08x}", s.process.personality.load(Relaxed)))),
    ("root", Item::Link(|s| s.check().map(|()| Link::Place(s.process.fs.root())))),
    ("sched", Item::Text(sched)),
    ("schedstat", Item::Text(schedstat)),
    ("sessionid", Item::Text(|s, text| write!(text, "{}", s.process.login.session()))),
    ("setgroups", Item::Setting(ids::groups, ids::set_groups)),
    ("uid_map", Item::Setting(ids::users_map, ids::set_users_map)),
    ("gid_map", Item::Setting(ids::groups_map, ids::set_groups_map)),
    ("smaps", Item::Pieces(|s, from, text| s.check().and_then(|()| maps(s, from, text, true)))),
    ("smaps_rollup", Item::Pieces(rollup)),
    ("stat", Item::Text(stat)),
    ("statm", Item::Text(statm)),
    ("status", Item::Text(status)),
    ("syscall", Item::Pieces(system_call)),
    ("task", Item::Dynamic(directory_of_threads)),
    ("timens_offsets", Item::Setting(ids::time_offsets, ids::set_time_offsets)),
    ("timerslack_ns", Item::Setting(timer_slack, set_timer_slack)),
    ("wchan", Item::Fixed("0")),
];

/// The number that a program writes; EINVAL if it is none.
fn number<T: core::str::FromStr>(text: &[u8]) -> Result<T, Errno> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::INVAL)?;
    text.trim().parse().map_err(|_| Errno::INVAL)
}

fn may_exceed() -> bool {
    check_capability(capability::SYS_RESOURCE).is_ok()
}

/// What core dumps have (core(5)); a number as C writes it.
fn set_coredump_filter(subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    /// Bits that mean something.
    const ALL: u32 = 0x1ff;
    let text = core::str::from_utf8(text).map_err(|_| Errno::INVAL)?.trim();
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    let filter = u32::from_str_radix(digits, radix).map_err(|_| Errno::INVAL)?;
    subject.process.dump_filter.store(filter & ALL, Relaxed);
    Ok(())
}

fn set_oom_score_adj(subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    subject.process.oom.set(number(text)?, may_exceed())
}

fn set_oom_adj(subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    subject.process.oom.set_old(number(text)?, may_exceed())
}

fn login_user(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    let user = subject.process.login.user();
    let shown = |user| this::with(|thread| thread.process.credentials.lock().shown(IdKind::User, user));
    write!(text, "{}", user.map_or(u32::MAX, shown))
}

/// As Linux has it (`proc_loginuid_write()`): a program sets its own alone, and what is set already only with CAP_AUDIT_CONTROL.
/// EPERM; EINVAL: it is no number, or no user of the user namespace.
fn set_login_user(subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    if !this::with(|thread| Arc::ptr_eq(&thread.process, &subject.process)) {
        return Err(Errno::PERM);
    }
    let user = match number(text)? {
        u32::MAX => None,
        user => Some(machine_id(IdKind::User, user)?),
    };
    if subject.process.login.user().is_some() {
        check_capability(capability::AUDIT_CONTROL)?;
    }
    subject.process.login.set(user);
    Ok(())
}

/// The children of a process, which are all its first thread's.
fn children(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    let process = &subject.process;
    if subject.thread.as_ref().is_none_or(|thread| thread.tid() != process.pid) {
        return Ok(());
    }
    // No lock of another process may be taken with that of the family.
    let mut pids = Vec::new();
    {
        let family = process.family.lock();
        family.children().try_for_each(|child| pids.try_push(child.pid))?;
    }
    let seen = pids.into_iter().map(|pid| subject.seen(pid)).filter(|pid| *pid != 0);
    seen.into_iter().try_for_each(|pid| write!(text, "{pid} "))
}

fn oom_score(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    writeln!(text, "{}", oom::score(&subject.process))
}

fn timer_slack(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    let slack = subject.main().map_or(0, |thread| thread.sched.timer_slack_ns[0].load(Relaxed));
    writeln!(text, "{slack}")
}

/// 0 sets the one that the thread began with (proc(5), PR_SET_TIMERSLACK of prctl(2)).
fn set_timer_slack(subject: &Subject, text: &[u8]) -> Result<(), Errno> {
    let thread = subject.main().ok_or(Errno::SRCH)?;
    let [current, default] = &thread.sched.timer_slack_ns;
    let slack: u64 = number(text)?;
    current.store(if slack == 0 { default.load(Relaxed) } else { slack }, Relaxed);
    Ok(())
}

fn auxv(subject: &Subject, _from: u64, text: &mut Text) -> Piece {
    subject.check()?;
    let program = subject.program();
    let mut words = program.auxv.iter().flat_map(|(kind, value)| [kind, value]);
    words.try_for_each(|word| text.push(&word.to_le_bytes()))?;
    Ok(None)
}

/// The call that a thread sleeps in, or that reads this: its number, arguments, stack pointer and where it goes on; -1 and the latter two if
/// it sleeps in none (proc_pid_syscall(5)). EPERM unless the running program may look into the process.
fn system_call(subject: &Subject, _from: u64, text: &mut Text) -> Piece {
    look_into::check(&subject.process)?;
    let thread = subject.main().ok_or(Errno::SRCH)?;
    let stays = || thread.sched.is_parked() || this::with(|me| Arc::ptr_eq(me, &thread));
    // Of one that was woken meanwhile they may be a mixture.
    let registers = if stays() { thread.task.look_at_registers().filter(|_| stays()) } else { None };
    let Some(registers) = registers else {
        text.push(b"running\n")?;
        return Ok(None);
    };
    if registers::is_in_call(&registers) {
        write!(text, "{}", registers.call_number())?;
        registers.arguments().iter().try_for_each(|argument| write!(text, " {argument:#x}"))?;
    } else {
        text.push(b"-1")?;
    }
    writeln!(text, " {:#x} {:#x}", registers::sp(&registers), registers.return_address())?;
    Ok(None)
}

fn rollup(subject: &Subject, _from: u64, text: &mut Text) -> Piece {
    subject.check()?;
    smaps_rollup(subject, text)?;
    Ok(None)
}

fn environment(subject: &Subject, _from: u64, text: &mut Text) -> Piece {
    subject.check()?;
    text.push(subject.program().environment.as_bytes())?;
    Ok(None)
}

/// After Linux's fault injection (Documentation/fault-injection): how many allocations of the thread are left to the one that
/// fails; 0: it has failed, or none is to.
fn fail_nth(_: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    writeln!(text, "{}", fail::left())
}

/// Makes the n-th allocation fail that the writing thread makes from now: EINVAL if it is no number.
fn set_fail_nth(_: &Subject, text: &[u8]) -> Result<(), Errno> {
    fail::nth_of_thread(number(text)?);
    Ok(())
}

fn comm(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    text.push(subject.name().as_bytes())?;
    text.push(b"\n")
}

fn set_comm(subject: &Subject, name: &[u8]) -> Result<(), Errno> {
    let name = name.strip_suffix(b"\n").unwrap_or(name);
    subject.main().ok_or(Errno::SRCH)?.set_name(name);
    Ok(())
}

/// The file that is executed, whatever its path leads to by now.
fn executable(subject: &Subject) -> Result<Link, Errno> {
    subject.check()?;
    subject.program().file.clone().map(Link::File).ok_or(Errno::NOENT)
}
