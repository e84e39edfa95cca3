//! /sys/fs/cgroup (Linux's Documentation/admin-guide/cgroup-v2.rst): the one group that all processes are in. Its limits are what the
//! machine has, which is what run-time systems read them for.
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::Inode;
use coracle_core::fs::stat::device_number;
use coracle_core::task::process::{self, PID_MAX};
use coracle_core::task::run_queue;
use coracle_fallible::{NoMemory, Text, try_box};
use coracle_fs::synthetic::{FsId, Item, Listed, Node, Piece, Table};
use coracle_hal::frame::{self, FRAME_SIZE};
use coracle_hal::{cpu, time};

use super::cpu_range;

/// f_type of cgroup2 (statfs(2)).
const MAGIC: u64 = 0x6367_7270;
/// The period of `cpu.max`, in microseconds.
const PERIOD_US: usize = 100_000;

/// The root directory. ENOMEM.
pub fn filesystem() -> Result<Arc<dyn Inode>, NoMemory> {
    let root = try_box(Listed { table: FILES, context: () })?;
    Ok(Node::root(FsId { device: device_number(0, 16), magic: MAGIC }, root)?)
}

static FILES: Table<()> = &[
    ("cgroup.controllers", Item::Fixed("cpuset cpu memory pids\n")),
    ("cgroup.events", Item::Fixed("populated 1\nfrozen 0\n")),
    ("cgroup.procs", Item::Pieces(|(), from, text| processes(from, text))),
    ("cgroup.subtree_control", Item::Fixed("")),
    ("cgroup.type", Item::Fixed("domain\n")),
    ("cpu.max", Item::Text(|(), text| writeln!(text, "{} {PERIOD_US}", cpu::count() * PERIOD_US))),
    ("cpu.stat", Item::Text(|(), text| writeln!(text, "usage_usec {}", busy_us()))),
    ("cpu.weight", Item::Fixed("100\n")),
    ("cpuset.cpus.effective", Item::Text(|(), text| cpu_range(text))),
    ("cpuset.mems.effective", Item::Fixed("0\n")),
    ("memory.current", Item::Text(|(), text| writeln!(text, "{}", bytes_used()))),
    ("memory.high", Item::Fixed("max\n")),
    ("memory.max", Item::Text(|(), text| writeln!(text, "{}", frame::total() * FRAME_SIZE))),
    ("memory.swap.current", Item::Fixed("0\n")),
    ("memory.swap.max", Item::Fixed("0\n")),
    ("pids.current", Item::Text(|(), text| writeln!(text, "{}", process::thread_count()))),
    ("pids.max", Item::Line(&PID_MAX)),
];

fn bytes_used() -> usize {
    let (free, total) = frame::counts();
    total.saturating_sub(free) * FRAME_SIZE
}

/// Microseconds that the CPUs were not idle.
fn busy_us() -> u64 {
    let idle_ns: u64 = (0..cpu::count()).map(run_queue::idle_ns).sum();
    (time::now_ns() * cpu::count() as u64).saturating_sub(idle_ns) / 1000
}

/// The line of the first process with this number or a higher one.
fn processes(from: u64, text: &mut Text) -> Piece {
    let from = i32::try_from(from).map_err(|_| Errno::INVAL)?;
    let Some(pid) = process::next_pid(from.max(1)) else { return Ok(None) };
    writeln!(text, "{}", coracle_core::task::pid_space::seen(pid))?;
    Ok(Some(pid as u64 + 1))
}
