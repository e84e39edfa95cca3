//! What /proc tells about the machine and the kernel.
use coracle_core::arch;
use coracle_core::fs::stat::split_device;
use coracle_core::task::time_space::{BOOTTIME, machine, shown};
use coracle_core::task::{process, run_queue, sched};
use coracle_fallible::{NoMemory, Text};
use coracle_fs::block::registry;
use coracle_fs::cache::pool;
use coracle_hal::frame::{self, FRAME_SIZE};
use coracle_hal::{boot, cpu, time};
use core::fmt;

/// The release that programs are told: the Linux whose calls we speak.
pub const RELEASE: &str = "6.1.0-coracle";
/// The kernel's version string (uname(2)).
pub const VERSION: &str = concat!("#1 SMP Coracle ", env!("CARGO_PKG_VERSION"));
/// Clock ticks of a second in /proc (USER_HZ).
pub const TICKS_PER_SECOND: u64 = 100;
const NS_PER_TICK: u64 = 1_000_000_000 / TICKS_PER_SECOND;

/// Nanoseconds as clock ticks.
pub fn ticks(ns: u64) -> u64 {
    ns / NS_PER_TICK
}

fn idle_ns() -> u64 {
    (0..cpu::count()).map(run_queue::idle_ns).sum()
}

pub fn cpuinfo(text: &mut Text) -> Result<(), NoMemory> {
    (0..cpu::count()).try_for_each(|number| arch::cpuinfo::cpu(text, number))
}

pub fn meminfo(text: &mut Text) -> Result<(), NoMemory> {
    let (free, total) = frame::counts();
    let (cached, dirty) = pool::counts();
    let used = total.saturating_sub(free + cached);
    let kb = |frames: usize| frames * FRAME_SIZE / 1024;
    let lines = [
        ("MemTotal:", kb(total)),
        ("MemFree:", kb(free)),
        ("MemAvailable:", kb(free + cached.saturating_sub(dirty))),
        ("Buffers:", 0),
        ("Cached:", kb(cached)),
        ("SwapCached:", 0),
        ("Active:", kb(used)),
        ("Inactive:", kb(cached)),
        ("Active(anon):", kb(used)),
        ("Inactive(anon):", 0),
        ("Active(file):", 0),
        ("Inactive(file):", kb(cached)),
        ("Unevictable:", 0),
        ("Mlocked:", 0),
        ("SwapTotal:", 0),
        ("SwapFree:", 0),
        ("Dirty:", kb(dirty)),
        ("Writeback:", 0),
        ("AnonPages:", kb(used)),
        ("Mapped:", 0),
        ("Shmem:", 0),
        // What the kernel uses is not told apart.
        ("Slab:", 0),
        ("SReclaimable:", 0),
        ("SUnreclaim:", 0),
        ("KernelStack:", 0),
        ("PageTables:", 0),
        ("NFS_Unstable:", 0),
        ("Bounce:", 0),
        ("WritebackTmp:", 0),
        ("CommitLimit:", kb(total)),
        ("Committed_AS:", kb(total - free)),
        ("VmallocTotal:", 0),
        ("VmallocUsed:", 0),
        ("VmallocChunk:", 0),
        ("Percpu:", 0),
    ];
    for (name, value) in lines {
        writeln!(text, "{name:<16}{value:>8} kB")?;
    }
    text.push(b"HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n")
}

pub fn stat(text: &mut Text) -> Result<(), NoMemory> {
    fn line(text: &mut Text, name: fmt::Arguments, total: u64, idle: u64) -> Result<(), NoMemory> {
        writeln!(text, "{name} {} 0 0 {} 0 0 0 0 0 0", ticks(total.saturating_sub(idle)), ticks(idle))
    }
    let now = time::now_ns();
    line(text, format_args!("cpu "), now * cpu::count() as u64, idle_ns())?;
    for n in 0..cpu::count() {
        line(text, format_args!("cpu{n}"), now, run_queue::idle_ns(n))?;
    }
    writeln!(
        text,
        "intr 0\nctxt {}\nbtime {}\nprocesses {}\nprocs_running {}\nprocs_blocked 0",
        sched::switches(),
        machine(BOOTTIME, time::wall_offset_ns()) / 1_000_000_000,
        process::last_id(),
        run_queue::runnable().max(1),
    )
}

/// Nanoseconds as seconds with two decimals.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 1_000_000_000, self.0 / 10_000_000 % 100)
    }
}

pub fn uptime(text: &mut Text) -> Result<(), NoMemory> {
    writeln!(text, "{} {}", Seconds(shown(BOOTTIME, time::now_ns())), Seconds(idle_ns()))
}

pub fn loadavg(text: &mut Text) -> Result<(), NoMemory> {
    // No load is averaged: that would take a periodic tick.
    let (running, threads) = (run_queue::runnable().max(1), process::thread_count());
    writeln!(text, "0.00 0.00 0.00 {running}/{threads} {}", process::last_id())
}

pub fn version(text: &mut Text) -> Result<(), NoMemory> {
    writeln!(text, "Linux version {RELEASE} (coracle) {VERSION}")
}

pub fn cmdline(text: &mut Text) -> Result<(), NoMemory> {
    writeln!(text, "{}", boot::command_line())
}

pub const FILESYSTEMS: &str = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tcgroup2\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tmqueue\nnodev\toverlay\nnodev\t9p\n\text4\nnodev\tvirtiofs\n";

pub fn devices(text: &mut Text) -> Result<(), NoMemory> {
    text.push(b"Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n\nBlock devices:\n")?;
    if registry::is_empty() { Ok(()) } else { writeln!(text, "{:3} virtblk", registry::MAJOR) }
}

pub fn partitions(text: &mut Text) -> Result<(), NoMemory> {
    const BLOCK: u64 = 1024;
    for (index, entry) in registry::all()?.iter().enumerate() {
        if index == 0 {
            text.push(b"major minor  #blocks  name\n\n")?;
        }
        let (major, minor) = split_device(entry.number);
        writeln!(text, "{major:4}  {minor:7} {:10} {}", entry.disk.size() / BLOCK, entry.name)?;
    }
    Ok(())
}

pub fn diskstats(text: &mut Text) -> Result<(), NoMemory> {
    for entry in registry::all()? {
        let (major, minor) = split_device(entry.number);
        write!(text, "{major:4} {minor:7} {} ", entry.name)?;
        entry.disk.write_counts(text)?;
        text.push(b"\n")?;
    }
    Ok(())
}

pub fn interrupts(text: &mut Text) -> Result<(), NoMemory> {
    text.push(b"    ")?;
    for n in 0..cpu::count() {
        write!(text, "       CPU{n}")?;
    }
    text.push(b"\n")
}

pub fn vmstat(text: &mut Text) -> Result<(), NoMemory> {
    let (free, _) = frame::counts();
    writeln!(text, "nr_free_pages {free}\npgfault {}\npgmajfault 0", process::all_faults())
}
