//! What /proc/PID says of a process in figures: stat, statm, status, limits.
use super::process::Subject;
use super::system::ticks;
use crate::sys::cpu_range;
use coracle_core::task::signal::{Charge, DEFAULT, IGNORE, MAX_SIGNAL};
use coracle_core::task::time_space::{BOOTTIME, shown};
use coracle_core::task::user_space::Kind;
use coracle_fallible::{NoMemory, Text};
use coracle_hal::frame::FRAME_SIZE;
use coracle_hal::sync::atomic::Ordering::Relaxed;
use core::fmt;
use linux_raw_sys::general::RLIMIT_SIGPENDING;

/// A limit as it is shown.
struct Limit(u64);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.0 == u64::MAX { f.pad("unlimited") } else { self.0.fmt(f) }
    }
}

/// Real, effective, saved and file system id.
struct Ids([u32; 4]);

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [real, effective, saved, file_system] = self.0;
        write!(f, "{real}\t{effective}\t{saved}\t{file_system}")
    }
}

/// Width of the last column of /proc/PID/limits.
const UNIT_WIDTH: usize = 10;

pub(super) fn limits(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
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
    writeln!(text, "{:<25} {:<20} {:<20} {:<UNIT_WIDTH$}", "Limit", "Soft Limit", "Hard Limit", "Units")?;
    for (resource, (name, unit)) in NAMES.into_iter().enumerate() {
        let (soft, hard) = subject.process.limits.get(resource as u32).unwrap_or((u64::MAX, u64::MAX));
        // A limit without a unit has a shorter line, by which pam_limits(8) finds that there is none.
        let width = if unit.is_empty() { 0 } else { UNIT_WIDTH };
        writeln!(text, "{name:<25} {:<20} {:<20} {unit:<width$}", Limit(soft), Limit(hard))?;
    }
    Ok(())
}

pub(super) fn stat(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    let process = &subject.process;
    let (mapped, resident) = process.memory().sizes();
    let threads = process.threads.lock().len();
    let cpu = ticks(match &subject.thread {
        Some(thread) => coracle_core::task::sched::cpu_time_ns(thread),
        None => process.cpu_time_ns(),
    });
    let children = ticks(process.children.lock().cpu_ns);
    let stack = process.program.lock().stack_start;
    let nice = subject.main().map_or(0, |thread| thread.scheduling().nice);
    let terminal = process.controlled.terminal();
    // A process without a terminal has none in its foreground.
    let (terminal, foreground) = terminal.map_or((0, -1), |it| (it.number(), subject.seen(it.group())));
    write!(text, "{} (", subject.id())?;
    text.push(subject.name().as_bytes())?;
    writeln!(
        text,
        ") {} {} {} {} {terminal} {foreground} 4194304 {} 0 0 0 {cpu} 0 {children} 0 {} {nice} {threads} 0 {} {mapped} {} \
         18446744073709551615 0 0 {stack} 0 0 0 0 0 0 0 0 0 17 {} 0 0 0 0 0 0 0 0 0 0 0 0 0",
        subject.state().0,
        subject.seen(process.parent_pid()),
        subject.seen(process.group.load(Relaxed)),
        subject.seen(process.session.load(Relaxed)),
        process.faults.load(Relaxed),
        20 + nice,
        ticks(shown(BOOTTIME, process.start_ns())),
        resident / FRAME_SIZE,
        subject.main().map_or(0, |thread| thread.sched.last_cpu()),
    )
}

/// The numbers of what is `machine` on the machine in the namespace that the files show, and in each one between that and the process's own.
pub(super) fn numbers(subject: &Subject, machine: i32, text: &mut Text) -> Result<(), NoMemory> {
    let own = subject.process.pid_space();
    let shown = subject.space.as_ref().map_or(0, |space| space.level());
    for level in shown..=own.map_or(0, |space| space.level()) {
        let space = own.and_then(|own| own.outwards().find(|space| space.level() == level));
        write!(text, "\t{}", space.map_or(machine, |space| space.inside(machine)))?;
    }
    Ok(())
}

/// The nanoseconds that a thread has run, those that it has waited for a CPU, which are not measured, and how often it was given one.
pub(super) fn schedstat(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    let Some(thread) = subject.main() else { return text.push(b"0 0 0\n") };
    let times: u64 = thread.sched.switches.iter().map(|count| count.load(Relaxed)).sum();
    writeln!(text, "{} 0 {times}", coracle_core::task::sched::cpu_time_ns(&thread))
}

/// How the thread is scheduled (proc_pid_sched(5)), in milliseconds and counts.
pub(super) fn sched(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    text.push(subject.name().as_bytes())?;
    let threads = subject.process.threads.lock().len();
    writeln!(text, " ({}, #threads: {threads})\n{:-<67}", subject.id(), "")?;
    let Some(thread) = subject.main() else { return Ok(()) };
    let run_ns = coracle_core::task::sched::cpu_time_ns(&thread);
    let scheduling = thread.scheduling();
    let [voluntary, involuntary] = [0, 1].map(|which| thread.sched.switches[which].load(Relaxed));
    let start_ns = subject.process.start_ns();
    for (name, ns) in [("se.exec_start", start_ns), ("se.sum_exec_runtime", run_ns)] {
        writeln!(text, "{name:<45}:{:>14}.{:06}", ns / 1_000_000, ns % 1_000_000)?;
    }
    for (name, count) in [
        ("nr_switches", voluntary + involuntary),
        ("nr_voluntary_switches", voluntary),
        ("nr_involuntary_switches", involuntary),
        ("policy", scheduling.policy.into()),
        (
            "prio",
            (if scheduling.priority > 0 { 99 - scheduling.priority as i32 } else { 120 + scheduling.nice })
                as u64,
        ),
    ] {
        writeln!(text, "{name:<45}:{count:>21}")?;
    }
    Ok(())
}

pub(super) fn statm(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    let (mapped, resident) = subject.process.memory().sizes();
    let (mapped, resident) = (mapped / FRAME_SIZE, resident / FRAME_SIZE);
    writeln!(text, "{mapped} {resident} 0 0 0 {resident} 0")
}

pub(super) fn status(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    let process = &subject.process;
    let (mapped, resident) = process.memory().sizes();
    let (mapped, resident) = (mapped / 1024, resident / 1024);
    let (letter, state) = subject.state();
    let credentials = process.credentials.lock().try_clone()?;
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
    let main = subject.main();
    let (pending, blocked) = main.as_ref().map_or((0, 0), |thread| {
        let own = thread.signals.lock();
        (own.pending.set(), own.mask)
    });
    let cpus = coracle_hal::cpu::count();
    let sets = credentials.capabilities;
    let reader = coracle_core::this::with(|thread| thread.process.credentials.lock().ids());
    write!(text, "Name:\t")?;
    text.push(subject.name().as_bytes())?;
    let fds = process.descriptors.len().next_multiple_of(64);
    write!(
        text,
        "\nUmask:\t{umask:04o}\nState:\t{letter} ({state})\nTgid:\t{tgid}\nNgid:\t0\nPid:\t{id}\nPPid:\t{ppid}\n\
         TracerPid:\t{tracer}\nUid:\t{uid}\nGid:\t{gid}\nFDSize:\t{fds}\nGroups:\t",
        umask = process.fs.umask(),
        tgid = subject.seen(process.pid),
        id = subject.id(),
        tracer = main.as_ref().map_or(0, |thread| subject.seen(thread.debug.traced.tracer.load(Relaxed))),
        ppid = subject.seen(process.parent_pid()),
        uid = Ids(credentials.uid.map(|id| reader.shown(Kind::User, id))),
        gid = Ids(credentials.gid.map(|id| reader.shown(Kind::Group, id))),
    )?;
    let mut groups = credentials.groups.iter().map(|&group| reader.shown(Kind::Group, group));
    groups.try_for_each(|group| write!(text, "{group} "))?;
    let id = subject.thread.as_ref().map_or(process.pid, |thread| thread.tid());
    let (group, session) = (process.group.load(Relaxed), process.session.load(Relaxed));
    for (name, machine) in [("NStgid", process.pid), ("NSpid", id), ("NSpgid", group), ("NSsid", session)] {
        write!(text, "\n{name}:")?;
        numbers(subject, machine, text)?;
    }
    write!(
        text,
        "\nKthread:\t0\nVmPeak:\t{mapped:>8} kB\n\
         VmSize:\t{mapped:>8} kB\nVmLck:\t{locked:>8} kB\nVmPin:\t       0 kB\nVmHWM:\t{resident:>8} kB\n\
         VmRSS:\t{resident:>8} kB\nRssAnon:\t{resident:>8} kB\nRssFile:\t       0 kB\nRssShmem:\t       0 kB\n\
         VmData:\t{mapped:>8} kB\nVmStk:\t     132 kB\nVmExe:\t       0 kB\nVmLib:\t       0 kB\nVmPTE:\t       0 kB\n\
         VmSwap:\t       0 kB\nThreads:\t{threads}\nSigQ:\t{queued}/{queue_limit}\nSigPnd:\t{pending:016x}\n\
         ShdPnd:\t{shared_pending:016x}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n\
         CapInh:\t{inheritable:016x}\nCapPrm:\t{permitted:016x}\nCapEff:\t{effective:016x}\nCapBnd:\t{bounding:016x}\n\
         CapAmb:\t{ambient:016x}\nNoNewPrivs:\t{privs}\nSeccomp:\t{seccomp}\nSeccomp_filters:\t{filters}\n\
         Cpus_allowed:\t{mask:x}\nCpus_allowed_list:\t",
        locked = process.memory().locked_bytes() / 1024,
        inheritable = sets.inheritable,
        permitted = sets.permitted,
        effective = sets.effective,
        bounding = sets.bounding,
        ambient = sets.ambient,
        queued = Charge::waiting(process),
        queue_limit = process.limits.soft(RLIMIT_SIGPENDING),
        threads = process.threads.lock().len(),
        privs = u8::from(process.no_new_privileges.load(Relaxed)),
        mask = u64::MAX >> (64 - cpus.min(64)),
        seccomp = main.as_ref().map_or(0, |thread| thread.filters.mode()),
        filters = main.as_ref().and_then(|thread| thread.filters.get()).map_or(0, |all| all.len()),
    )?;
    cpu_range(text)?;
    write!(
        text,
        "Mems_allowed:\t1\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n",
    )
}
