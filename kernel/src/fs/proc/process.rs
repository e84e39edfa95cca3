//! /proc/PID and /proc/PID/task/TID.
use super::root::net_directory;
use super::system::ticks;
use crate::errno::Errno;
use crate::fs::file::File;
use crate::fs::inode::Link;
use crate::fs::mount::{self, Place};
use crate::fs::synthetic::{Directory, Item, Kind, Listed, Table, TakeName, Text, list_numbers};
use crate::fs::walk::{self, Follow};
use crate::task::process::Process;
use crate::task::signal::{Charge, DEFAULT, IGNORE, MAX_SIGNAL};
use crate::task::thread::Thread;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_hal::fail;
use coracle_hal::frame::FRAME_SIZE;
use coracle_hal::paging::Prot;
use core::fmt::Write;
use core::sync::atomic::Ordering::Relaxed;
use linux_raw_sys::general::{O_CLOEXEC, O_RDONLY, RLIMIT_SIGPENDING, S_IFDIR, S_IFLNK, S_IFREG};

/// Whom the files are about: a process, or one thread of it.
#[derive(Clone)]
pub struct Subject {
    pub process: Arc<Process>,
    pub thread: Option<Arc<Thread>>,
}

impl Subject {
    fn id(&self) -> i32 {
        self.thread.as_ref().map_or(self.process.pid, |thread| thread.tid)
    }
    /// The thread, or the process's first.
    fn main(&self) -> Option<Arc<Thread>> {
        self.thread.clone().or_else(|| self.process.threads.lock().first().cloned())
    }
    fn name(&self) -> String {
        self.main().map(|thread| thread.name_text()).unwrap_or_default()
    }
    fn state(&self) -> (char, &'static str) {
        let dead = self.process.dead.load(Relaxed);
        let stopped = self.process.stopped.load(Relaxed) != 0;
        let asleep = self.main().is_none_or(|thread| thread.sched.is_parked());
        match (dead, stopped, asleep) {
            (true, ..) => ('Z', "zombie"),
            (_, true, _) => ('T', "stopped"),
            (_, _, true) => ('S', "sleeping"),
            _ => ('R', "running"),
        }
    }
}

/// The directory of a process or thread.
pub fn directory(subject: Subject) -> Box<dyn Directory> {
    Box::new(Owned(Listed { table: FILES, context: subject }))
}

/// What a process has, and a thread has not (proc(5)). Without this, threads would be found below their threads without an
/// end, and a directory holds those above it.
const OF_PROCESSES: &[&[u8]] = &[b"task", b"timerslack_ns"];

/// The same, which belongs to whom the process runs as (proc(5), /proc/pid).
struct Owned(Listed<Subject>);

impl Owned {
    fn has(&self, name: &[u8]) -> bool {
        let is_hidden = name == FAIL_NTH.as_bytes() && !fail::is_enabled();
        !is_hidden && (self.0.context.thread.is_none() || !OF_PROCESSES.contains(&name))
    }
}

impl Directory for Owned {
    fn lookup(&self, name: &[u8]) -> Option<Kind> {
        if self.has(name) { self.0.lookup(name) } else { None }
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        self.0.list(from, &mut |after, name, kind| !self.has(name) || take(after, name, kind))
    }
    fn owner(&self) -> Option<(u32, u32)> {
        /// Place of the effective ids.
        const EFFECTIVE: usize = 1;
        let ids = self.0.context.process.credentials.lock();
        Some((ids.uid[EFFECTIVE], ids.gid[EFFECTIVE]))
    }
}

/// There only where allocations can be made to fail (`fail-alloc=` of the kernel command line).
const FAIL_NTH: &str = "fail-nth";

static FILES: Table<Subject> = &[
    ("auxv", Item::Text(auxv)),
    ("cgroup", Item::Text(|_| b"0::/\n".to_vec())),
    ("cmdline", Item::Text(|s| s.process.program.lock().arguments.as_bytes().to_vec())),
    ("comm", Item::Setting(|s| format!("{}\n", s.name()).into_bytes(), set_comm)),
    ("cwd", Item::Link(|s| Ok(Link::Place(s.process.fs.directory())))),
    ("environ", Item::Text(|s| s.process.program.lock().environment.as_bytes().to_vec())),
    ("exe", Item::Link(executable)),
    (FAIL_NTH, Item::Setting(fail_nth, set_fail_nth)),
    ("fd", Item::Dynamic(|s| Box::new(Descriptors { process: s.process.clone(), links: true }))),
    ("fdinfo", Item::Dynamic(|s| Box::new(Descriptors { process: s.process.clone(), links: false }))),
    (
        "io",
        Item::Text(|_| {
            b"rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n".to_vec()
        }),
    ),
    ("limits", Item::Text(limits)),
    ("loginuid", Item::Setting(|_| b"4294967295".to_vec(), |_, _| Ok(()))),
    ("maps", Item::Pieces(|s, from, text| maps(s, from, text, false))),
    ("mountinfo", Item::Text(|_| mountinfo())),
    ("mounts", Item::Text(|_| mounts())),
    ("net", Item::Dynamic(|_| net_directory())),
    ("oom_adj", Item::Setting(|_| b"0\n".to_vec(), |_, _| Ok(()))),
    ("oom_score", Item::Text(|_| b"0\n".to_vec())),
    ("oom_score_adj", Item::Setting(|_| b"0\n".to_vec(), |_, _| Ok(()))),
    ("personality", Item::Text(|s| format!("{:08x}\n", s.process.personality.load(Relaxed)).into_bytes())),
    ("root", Item::Link(|s| Ok(Link::Place(s.process.fs.root())))),
    ("setgroups", Item::Text(|_| b"allow\n".to_vec())),
    ("uid_map", Item::Text(|_| b"         0          0 4294967295\n".to_vec())),
    ("gid_map", Item::Text(|_| b"         0          0 4294967295\n".to_vec())),
    ("smaps", Item::Pieces(|s, from, text| maps(s, from, text, true))),
    ("smaps_rollup", Item::Text(smaps_rollup)),
    ("stat", Item::Text(stat)),
    ("statm", Item::Text(statm)),
    ("status", Item::Text(status)),
    ("task", Item::Dynamic(|s| Box::new(Tasks { process: s.process.clone() }))),
    ("timerslack_ns", Item::Setting(|_| b"50000\n".to_vec(), |_, _| Ok(()))),
    ("wchan", Item::Text(|_| b"0".to_vec())),
];

fn auxv(subject: &Subject) -> Vec<u8> {
    let program = subject.process.program.lock();
    program.auxv.iter().flat_map(|(kind, value)| [kind.to_le_bytes(), value.to_le_bytes()].concat()).collect()
}

/// After Linux's fault injection (Documentation/fault-injection): how many allocations of the thread are left to the one that
/// fails; 0: it has failed, or none is to.
fn fail_nth(_: &Subject) -> Vec<u8> {
    format!("{}\n", fail::left()).into_bytes()
}

/// Makes the n-th allocation fail that the writing thread makes from now: EINVAL if it is no number.
fn set_fail_nth(_: &Subject, text: &[u8]) -> Result<(), Errno> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::INVAL)?;
    fail::nth_of_thread(text.trim().parse().map_err(|_| Errno::INVAL)?);
    Ok(())
}

fn set_comm(subject: &Subject, name: &[u8]) -> Result<(), Errno> {
    let name = name.strip_suffix(b"\n").unwrap_or(name);
    subject.main().ok_or(Errno::SRCH)?.set_name(name);
    Ok(())
}

fn executable(subject: &Subject) -> Result<Link, Errno> {
    let path = subject.process.program.lock().path.clone();
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    match walk::find(&subject.process.fs, None, path.as_bytes(), Follow::Always) {
        Ok(place) => Ok(Link::File(crate::fs::open::open_place(place, O_RDONLY, false)?.file.clone())),
        Err(_) => Ok(Link::Path(path.into_bytes())),
    }
}

fn limits(subject: &Subject) -> Vec<u8> {
    const NAMES: [(&str, &str); 16] = [
        ("Max cpu time", "seconds"),
        ("Max file size", "bytes"),
        ("Max data size", "bytes"),
        ("Max stack size", "bytes"),
        ("Max core file size", "bytes"),
        ("Max resident set", "bytes"),
        ("Max processes", "processes"),
        ("Max open files", "files"),
        ("Max locked memory", "bytes"),
        ("Max address space", "bytes"),
        ("Max file locks", "locks"),
        ("Max pending signals", "signals"),
        ("Max msgqueue size", "bytes"),
        ("Max nice priority", ""),
        ("Max realtime priority", ""),
        ("Max realtime timeout", "us"),
    ];
    let mut text = format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    let show = |value: u64| if value == u64::MAX { String::from("unlimited") } else { format!("{value}") };
    for (resource, (name, unit)) in NAMES.into_iter().enumerate() {
        let (soft, hard) = subject.process.limits.get(resource as u32).unwrap_or((u64::MAX, u64::MAX));
        let _ = writeln!(text, "{name:<25} {:<20} {:<20} {unit:<10}", show(soft), show(hard));
    }
    text.into_bytes()
}

/// The line, or with `details` the lines, of the region at or after the address `from`; returns its end.
fn maps(subject: &Subject, from: u64, text: &mut Text, details: bool) -> Option<u64> {
    /// Column that the path begins in.
    const PATH_COLUMN: usize = 73;
    let region = subject.process.memory().region_from(from as usize)?;
    let has = |right: Prot, letter: char| if region.prot.contains(right) { letter } else { '-' };
    let identity =
        region.file.as_ref().and_then(|file| file.stat().ok()).map(|stat| (stat.st_dev, stat.st_ino));
    let (device, inode) = identity.unwrap_or((0, 0));
    let (major, minor) = crate::fs::stat::split_device(device);
    let line = format!(
        "{:08x}-{:08x} {}{}{}{} {:08x} {major:02x}:{minor:02x} {inode} ",
        region.range.start,
        region.range.end,
        has(Prot::READ, 'r'),
        has(Prot::WRITE, 'w'),
        has(Prot::EXEC, 'x'),
        if region.shared { 's' } else { 'p' },
        region.offset,
    );
    let _ = if region.name.is_empty() {
        writeln!(text, "{line}")
    } else {
        writeln!(text, "{line:<PATH_COLUMN$}{}", region.name)
    };
    if details {
        let size = region.range.len() / 1024;
        let _ = writeln!(
            text,
            "Size:           {size:>8} kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n\
             Rss:            {size:>8} kB\nPss:            {size:>8} kB\nShared_Clean:          0 kB\n\
             Shared_Dirty:          0 kB\nPrivate_Clean:         0 kB\nPrivate_Dirty:  {size:>8} kB\n\
             Swap:                  0 kB\nVmFlags: rd"
        );
    }
    Some(region.range.end as u64)
}

fn smaps_rollup(subject: &Subject) -> Vec<u8> {
    let (_, resident) = subject.process.memory().sizes();
    let kb = resident / 1024;
    format!(
        "00010000-7ffffffff000 ---p 00000000 00:00 0                          [rollup]\nRss:            {kb:>8} kB\n\
         Pss:            {kb:>8} kB\nPrivate_Dirty:  {kb:>8} kB\nSwap:                  0 kB\n"
    )
    .into_bytes()
}

fn mounts() -> Vec<u8> {
    let mut text = String::new();
    for mount in mount::all() {
        let at = mount_point(&mount);
        let access = if mount.read_only { "ro" } else { "rw" };
        let _ = writeln!(text, "{} {at} {} {access},relatime 0 0", mount.source, mount.kind);
    }
    text.into_bytes()
}

fn mount_point(mount: &mount::Mount) -> String {
    match &mount.at {
        None => String::from("/"),
        Some(at) => {
            let path = Place { path: at.clone(), name: None }.to_bytes();
            // Blanks are written as octal (proc(5)).
            String::from_utf8_lossy(&path).replace(' ', "\\040")
        }
    }
}

fn mountinfo() -> Vec<u8> {
    let mut text = String::new();
    for mount in mount::all() {
        let parent = mount.at.as_ref().map_or(0, |at| at.mount.id);
        let (major, minor) = crate::fs::stat::split_device(mount.root.identity().0);
        let at = mount_point(&mount);
        let access = if mount.read_only { "ro" } else { "rw" };
        let _ = writeln!(
            text,
            "{} {parent} {major}:{minor} / {at} {access},relatime - {} {} {access}",
            mount.id, mount.kind, mount.source
        );
    }
    text.into_bytes()
}

fn stat(subject: &Subject) -> Vec<u8> {
    let process = &subject.process;
    let (mapped, resident) = process.memory().sizes();
    let threads = process.threads.lock().len();
    let cpu = ticks(match &subject.thread {
        Some(thread) => crate::task::sched::cpu_time_ns(thread),
        None => process.cpu_time_ns(),
    });
    let children = ticks(process.children_ns.load(Relaxed));
    let stack = process.program.lock().stack_start;
    let nice = subject.main().map_or(0, |thread| thread.nice.load(Relaxed));
    format!(
        "{} ({}) {} {} {} {} 0 -1 4194304 {} 0 0 0 {cpu} 0 {children} 0 {} {nice} {threads} 0 {} {mapped} {} \
         18446744073709551615 0 0 {stack} 0 0 0 0 0 0 0 0 0 17 {} 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
        subject.id(),
        subject.name(),
        subject.state().0,
        process.parent_pid(),
        process.group.load(Relaxed),
        process.session.load(Relaxed),
        process.faults.load(Relaxed),
        20 + nice,
        ticks(process.start_ns()),
        resident / FRAME_SIZE,
        subject.main().map_or(0, |thread| thread.sched.last_cpu()),
    )
    .into_bytes()
}

fn statm(subject: &Subject) -> Vec<u8> {
    let (mapped, resident) = subject.process.memory().sizes();
    let (mapped, resident) = (mapped / FRAME_SIZE, resident / FRAME_SIZE);
    format!("{mapped} {resident} 0 0 0 {resident} 0\n").into_bytes()
}

fn status(subject: &Subject) -> Vec<u8> {
    let process = &subject.process;
    let (mapped, resident) = process.memory().sizes();
    let (mapped, resident) = (mapped / 1024, resident / 1024);
    let (letter, state) = subject.state();
    let Ok(credentials) = process.credentials.lock().try_clone() else { return Vec::new() };
    let ids = |ids: [u32; 4]| format!("{}\t{}\t{}\t{}", ids[0], ids[1], ids[2], ids[3]);
    let groups: String = credentials.groups.iter().map(|group| format!("{group} ")).collect();
    let (shared_pending, ignored, caught) = {
        let signals = process.signals.lock();
        let (mut ignored, mut caught) = (0u64, 0u64);
        for signal in 1..=MAX_SIGNAL {
            match signals.action(signal).handler {
                IGNORE => ignored |= 1 << (signal - 1),
                DEFAULT => {}
                _ => caught |= 1 << (signal - 1),
            }
        }
        (signals.pending.set(), ignored, caught)
    };
    let (pending, blocked) = subject.main().map_or((0, 0), |thread| {
        let own = thread.signals.lock();
        (own.pending.set(), own.mask)
    });
    let cpus = coracle_hal::cpu::count();
    let [effective, permitted, inheritable] = credentials.capabilities;
    format!(
        "Name:\t{name}\nUmask:\t{umask:04o}\nState:\t{letter} ({state})\nTgid:\t{tgid}\nNgid:\t0\nPid:\t{id}\nPPid:\t{ppid}\n\
         TracerPid:\t0\nUid:\t{uid}\nGid:\t{gid}\nFDSize:\t{fds}\nGroups:\t{groups}\nVmPeak:\t{mapped:>8} kB\n\
         VmSize:\t{mapped:>8} kB\nVmLck:\t       0 kB\nVmPin:\t       0 kB\nVmHWM:\t{resident:>8} kB\n\
         VmRSS:\t{resident:>8} kB\nRssAnon:\t{resident:>8} kB\nRssFile:\t       0 kB\nRssShmem:\t       0 kB\n\
         VmData:\t{mapped:>8} kB\nVmStk:\t     132 kB\nVmExe:\t       0 kB\nVmLib:\t       0 kB\nVmPTE:\t       0 kB\n\
         VmSwap:\t       0 kB\nThreads:\t{threads}\nSigQ:\t{queued}/{queue_limit}\nSigPnd:\t{pending:016x}\n\
         ShdPnd:\t{shared_pending:016x}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n\
         CapInh:\t{inheritable:016x}\nCapPrm:\t{permitted:016x}\nCapEff:\t{effective:016x}\nCapBnd:\t{permitted:016x}\n\
         CapAmb:\t0000000000000000\nNoNewPrivs:\t{privs}\nSeccomp:\t0\nSeccomp_filters:\t0\n\
         Cpus_allowed:\t{mask:x}\nCpus_allowed_list:\t{list}\nMems_allowed:\t1\nMems_allowed_list:\t0\n\
         voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n",
        name = subject.name(),
        umask = process.fs.umask(),
        queued = Charge::waiting(process),
        queue_limit = process.limits.soft(RLIMIT_SIGPENDING),
        tgid = process.pid,
        id = subject.id(),
        ppid = process.parent_pid(),
        uid = ids(credentials.uid),
        gid = ids(credentials.gid),
        fds = process.descriptors.len().next_multiple_of(64),
        threads = process.threads.lock().len(),
        privs = u8::from(process.no_new_privileges.load(Relaxed)),
        mask = u64::MAX >> (64 - cpus.min(64)),
        list = if cpus == 1 { String::from("0") } else { format!("0-{}", cpus - 1) },
    )
    .into_bytes()
}

/// /proc/PID/fd and /proc/PID/fdinfo.
struct Descriptors {
    process: Arc<Process>,
    links: bool,
}

impl Directory for Descriptors {
    fn lookup(&self, name: &[u8]) -> Option<Kind> {
        let fd: i32 = core::str::from_utf8(name).ok()?.parse().ok()?;
        let open = self.process.descriptors.get(fd).ok()?;
        if !self.links {
            let close_on_exec = self.process.descriptors.is_close_on_exec(fd).ok()?;
            return Some(Kind::File(
                Box::new(move || {
                    let flags = open.flags() | if close_on_exec { O_CLOEXEC } else { 0 };
                    let position = *open.position.lock();
                    let inode = open.file.stat().map_or(0, |stat| stat.st_ino);
                    format!("pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t1\nino:\t{inode}\n").into_bytes()
                }),
                None,
            ));
        }
        Some(Kind::Link(Box::new(move || {
            let file: &Arc<dyn File> = &open.file;
            match file.place() {
                Some(place) if place.path.inode.is_directory() => Ok(Link::Place(place.path)),
                _ => Ok(Link::File(file.clone())),
            }
        })))
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        let kind = if self.links { S_IFLNK } else { S_IFREG };
        list_numbers(from, "", kind, take, |fd| self.process.descriptors.next_from(fd));
        Ok(())
    }
}

/// /proc/PID/task.
struct Tasks {
    process: Arc<Process>,
}

impl Directory for Tasks {
    fn lookup(&self, name: &[u8]) -> Option<Kind> {
        let tid: i32 = core::str::from_utf8(name).ok()?.parse().ok()?;
        let thread = self.process.threads.lock().iter().find(|thread| thread.tid == tid).cloned()?;
        Some(Kind::Directory(directory(Subject { process: self.process.clone(), thread: Some(thread) })))
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        let mut tids = Vec::new();
        {
            let threads = self.process.threads.lock();
            tids.try_reserve(threads.len()).map_err(|_| Errno::NOMEM)?;
            tids.extend(threads.iter().map(|thread| thread.tid));
        }
        crate::heap_sort::heap_sort(&mut tids, |&tid| tid);
        list_numbers(from, "", S_IFDIR, take, |tid| {
            tids.get(tids.partition_point(|&other| other < tid)).copied()
        });
        Ok(())
    }
}
