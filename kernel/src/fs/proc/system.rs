//! What /proc tells about the machine and the kernel.
use crate::task::{process, run_queue, sched};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use coracle_hal::frame::{self, FRAME_SIZE};
use coracle_hal::{boot, cpu, time};
use core::fmt::Write;

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

pub fn cpuinfo() -> Vec<u8> {
    let brand = cpu::brand();
    let mut text = String::new();
    for n in 0..cpu::count() {
        let _ = writeln!(
            text,
            "processor\t: {n}\nvendor_id\t: Coracle\nmodel name\t: {brand}\nphysical id\t: 0\nsiblings\t: {cpus}\n\
             core id\t\t: {n}\ncpu cores\t: {cpus}\napicid\t\t: {n}\nfpu\t\t: yes\nfpu_exception\t: yes\nwp\t\t: yes\n\
             flags\t\t: {flags}\nclflush size\t: 64\ncache_alignment\t: 64\n\
             address sizes\t: 40 bits physical, 48 bits virtual\n",
            cpus = cpu::count(),
            flags = flags(cpu::hwcap()),
        );
    }
    text.into_bytes()
}

/// Names of the bits of CPUID leaf 1 EDX, as Linux writes them; every long-mode CPU has those appended.
fn flags(edx: u32) -> String {
    const NAMES: [&str; 32] = [
        "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "", "sep", "mtrr", "pge",
        "mca", "cmov", "pat", "pse36", "pn", "clflush", "", "dts", "acpi", "mmx", "fxsr", "sse", "sse2",
        "ss", "ht", "tm", "ia64", "pbe",
    ];
    let mut text = String::new();
    for (bit, name) in NAMES.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if edx & 1 << bit != 0 {
            text.push_str(name);
            text.push(' ');
        }
    }
    text.push_str("syscall nx lm");
    text
}

pub fn meminfo() -> Vec<u8> {
    let (free, total) = frame::counts();
    let kb = |frames: usize| frames * FRAME_SIZE / 1024;
    let lines = [
        ("MemTotal", kb(total)),
        ("MemFree", kb(free)),
        ("MemAvailable", kb(free)),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", kb(total - free)),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", kb(total - free)),
        ("Mapped", 0),
        ("Shmem", 0),
        ("Slab", 0),
        ("CommitLimit", kb(total)),
        ("Committed_AS", kb(total - free)),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{:<16}{value:>8} kB", format!("{name}:"));
    }
    text.push_str("HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n");
    text.into_bytes()
}

pub fn stat() -> Vec<u8> {
    let mut text = String::new();
    let line = |text: &mut String, name: &str, total: u64, idle: u64| {
        let _ =
            writeln!(text, "{name} {} 0 0 {} 0 0 0 0 0 0", ticks(total.saturating_sub(idle)), ticks(idle));
    };
    let now = time::now_ns();
    line(&mut text, "cpu ", now * cpu::count() as u64, idle_ns());
    for n in 0..cpu::count() {
        line(&mut text, &format!("cpu{n}"), now, run_queue::idle_ns(n));
    }
    let _ = writeln!(
        text,
        "intr 0\nctxt {}\nbtime {}\nprocesses {}\nprocs_running {}\nprocs_blocked 0",
        sched::switches(),
        time::wall_offset_ns() / 1_000_000_000,
        process::last_id(),
        run_queue::runnable().max(1),
    );
    text.into_bytes()
}

fn seconds(ns: u64) -> String {
    format!("{}.{:02}", ns / 1_000_000_000, ns / 10_000_000 % 100)
}

pub fn uptime() -> Vec<u8> {
    format!("{} {}\n", seconds(time::now_ns()), seconds(idle_ns())).into_bytes()
}

pub fn loadavg() -> Vec<u8> {
    // No load is averaged: that would take a periodic tick.
    let (running, threads) = (run_queue::runnable().max(1), process::thread_count());
    format!("0.00 0.00 0.00 {running}/{threads} {}\n", process::last_id()).into_bytes()
}

pub fn version() -> Vec<u8> {
    format!("Linux version {RELEASE} (coracle) {VERSION}\n").into_bytes()
}

pub fn cmdline() -> Vec<u8> {
    format!("{}\n", boot::command_line()).into_bytes()
}

pub fn filesystems() -> Vec<u8> {
    b"nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\toverlay\n".to_vec()
}

pub fn devices() -> Vec<u8> {
    b"Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n\nBlock devices:\n".to_vec()
}

pub fn interrupts() -> Vec<u8> {
    let mut text = String::from("    ");
    for n in 0..cpu::count() {
        let _ = write!(text, "       CPU{n}");
    }
    text.push('\n');
    text.into_bytes()
}

pub fn vmstat() -> Vec<u8> {
    let (free, _) = frame::counts();
    format!("nr_free_pages {free}\npgfault 0\npgmajfault 0\n").into_bytes()
}
