//! The root of /sys, and what is about CPUs and memory.
use super::block::Devices;
use super::net::Interfaces;
use alloc::boxed::Box;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::Inode;
use coracle_core::fs::stat::device_number;
use coracle_core::task::run_queue::all_cpus;
use coracle_fallible::{NoMemory, Text, try_box};
use coracle_fs::synthetic::{Directory, FsId, Item, Kind, Listed, Node, Table, TakeName, list_after_table};
use coracle_hal::{cpu, frame};

/// f_type of sysfs (statfs(2)).
const MAGIC: u64 = 0x6265_6572;

/// The root directory. ENOMEM.
pub fn filesystem() -> Result<Arc<dyn Inode>, NoMemory> {
    let root = try_box(Listed { table: ROOT, context: () })?;
    Ok(Node::root(FsId { device: device_number(0, 19), magic: MAGIC }, root)?)
}

// What follows makes directories of tables. `xtask stack` knows these functions by how their names begin.

fn directory_of_cpus((): &()) -> Result<Box<dyn Directory>, NoMemory> {
    Ok(try_box(Cpus)?)
}

fn directory_of_devices((): &()) -> Result<Box<dyn Directory>, NoMemory> {
    Ok(try_box(Devices::All)?)
}

fn directory_of_interfaces((): &()) -> Result<Box<dyn Directory>, NoMemory> {
    Ok(try_box(Interfaces)?)
}

fn directory_of_disks((): &()) -> Result<Box<dyn Directory>, NoMemory> {
    Ok(try_box(Devices::Disks)?)
}

fn directory_of_numbers((): &()) -> Result<Box<dyn Directory>, NoMemory> {
    Ok(try_box(Devices::ByNumber)?)
}

static ROOT: Table<()> = &[
    (
        "devices",
        Item::Directory(&[(
            "system",
            Item::Directory(&[
                ("cpu", Item::Dynamic(directory_of_cpus)),
                (
                    "node",
                    Item::Directory(&[
                        ("has_cpu", Item::Fixed("0\n")),
                        ("has_memory", Item::Fixed("0\n")),
                        ("node0", Item::Directory(NODE)),
                        ("online", Item::Fixed("0\n")),
                        ("possible", Item::Fixed("0\n")),
                    ]),
                ),
            ]),
        )]),
    ),
    (
        "kernel",
        Item::Directory(&[(
            "mm",
            Item::Directory(&[
                (
                    "transparent_hugepage",
                    Item::Directory(&[
                        ("enabled", Item::Fixed("always madvise [never]\n")),
                        ("defrag", Item::Fixed("always defer defer+madvise madvise [never]\n")),
                        ("hpage_pmd_size", Item::Fixed("2097152\n")),
                    ]),
                ),
                ("hugepages", Item::Directory(&[])),
            ]),
        )]),
    ),
    ("fs", Item::Directory(&[("cgroup", Item::Directory(&[]))])),
    (
        "class",
        Item::Directory(&[
            ("block", Item::Dynamic(directory_of_devices)),
            ("net", Item::Dynamic(directory_of_interfaces)),
        ]),
    ),
    ("block", Item::Dynamic(directory_of_disks)),
    ("dev", Item::Directory(&[("block", Item::Dynamic(directory_of_numbers))])),
    ("bus", Item::Directory(&[])),
];

/// The only node of memory.
const NODE: Table<()> = &[
    ("cpulist", Item::Text(|(), text| cpu_range(text))),
    ("cpumap", Item::Text(|(), text| writeln!(text, "{:x}", all_cpus()))),
    ("distance", Item::Fixed("10\n")),
    ("meminfo", Item::Text(node_memory)),
];

fn node_memory(_: &(), text: &mut Text) -> Result<(), NoMemory> {
    let (free, total) = frame::counts();
    let kib = |frames: usize| frames * frame::FRAME_SIZE / 1024;
    let lines = [("MemTotal", total), ("MemFree", free), ("MemUsed", total - free)];
    lines.iter().try_for_each(|(name, frames)| writeln!(text, "Node 0 {name}: {:>15} kB", kib(*frames)))
}

/// Writes the CPUs as a range: `0` or `0-3`, and a newline. ENOMEM.
pub fn cpu_range(text: &mut Text) -> Result<(), NoMemory> {
    match cpu::count() {
        1 => text.push(b"0\n"),
        n => writeln!(text, "0-{}", n - 1),
    }
}

/// /sys/devices/system/cpu.
struct Cpus;

static CPUS: Table<()> = &[
    ("online", Item::Text(|_, text| cpu_range(text))),
    ("possible", Item::Text(|_, text| cpu_range(text))),
    ("present", Item::Text(|_, text| cpu_range(text))),
    ("offline", Item::Fixed("\n")),
    ("isolated", Item::Fixed("\n")),
    ("smt", Item::Directory(&[("active", Item::Fixed("0\n")), ("control", Item::Fixed("notsupported\n"))])),
    ("kernel_max", Item::Line(&(coracle_hal::percpu::MAX_CPUS - 1))),
];

static CPU: Table<usize> = &[
    ("online", Item::Fixed("1\n")),
    (
        "topology",
        Item::Directory(&[
            ("core_cpus", Item::Text(|n, text| writeln!(text, "{:x}", 1u64 << n))),
            ("core_cpus_list", Item::Text(|n, text| writeln!(text, "{n}"))),
            ("core_id", Item::Text(|n, text| writeln!(text, "{n}"))),
            ("core_siblings", Item::Text(|_, text| writeln!(text, "{:x}", all_cpus()))),
            ("core_siblings_list", Item::Text(|_, text| cpu_range(text))),
            ("die_id", Item::Fixed("0\n")),
            ("package_cpus", Item::Text(|_, text| writeln!(text, "{:x}", all_cpus()))),
            ("package_cpus_list", Item::Text(|_, text| cpu_range(text))),
            ("physical_package_id", Item::Fixed("0\n")),
            ("thread_siblings", Item::Text(|n, text| writeln!(text, "{:x}", 1u64 << n))),
            ("thread_siblings_list", Item::Text(|n, text| writeln!(text, "{n}"))),
        ]),
    ),
];

impl Directory for Cpus {
    fn lookup(&self, name: &[u8]) -> Result<Option<Kind>, Errno> {
        let number =
            name.strip_prefix(b"cpu").and_then(|rest| core::str::from_utf8(rest).ok()?.parse::<usize>().ok());
        match number {
            Some(n) if n < cpu::count() => {
                Ok(Some(Kind::Directory(try_box(Listed { table: CPU, context: n })?)))
            }
            _ => Listed { table: CPUS, context: () }.lookup(name),
        }
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        let next = |n: i32| ((n as usize) < cpu::count()).then_some(n);
        list_after_table(&Listed { table: CPUS, context: () }, from, take, "cpu", next)
    }
}
