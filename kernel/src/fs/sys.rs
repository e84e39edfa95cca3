//! /sys: what programs look up there about CPUs and memory.
use super::inode::Inode;
use super::stat::device_number;
use super::synthetic::{Directory, FsId, Item, Kind, Listed, Node, Table, TakeName, list_after_table};
use crate::errno::Errno;
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_hal::cpu;

/// f_type of sysfs (statfs(2)).
const MAGIC: u64 = 0x6265_6572;

/// The root directory.
pub fn filesystem() -> Arc<dyn Inode> {
    Node::root(
        FsId { device: device_number(0, 19), magic: MAGIC },
        Box::new(Listed { table: ROOT, context: () }),
    )
}

static ROOT: Table<()> = &[
    (
        "devices",
        Item::Directory(&[(
            "system",
            Item::Directory(&[
                ("cpu", Item::Dynamic(|()| Box::new(Cpus))),
                (
                    "node",
                    Item::Directory(&[
                        ("online", Item::Text(|()| b"0\n".to_vec())),
                        ("possible", Item::Text(|()| b"0\n".to_vec())),
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
                        ("enabled", Item::Text(|()| b"always madvise [never]\n".to_vec())),
                        ("defrag", Item::Text(|()| b"always defer defer+madvise madvise [never]\n".to_vec())),
                        ("hpage_pmd_size", Item::Text(|()| b"2097152\n".to_vec())),
                    ]),
                ),
                ("hugepages", Item::Directory(&[])),
            ]),
        )]),
    ),
    ("fs", Item::Directory(&[("cgroup", Item::Directory(&[]))])),
    ("class", Item::Directory(&[])),
    ("block", Item::Directory(&[])),
    ("bus", Item::Directory(&[])),
];

/// CPUs as a range: `0` or `0-3`.
fn range() -> Vec<u8> {
    match cpu::count() {
        1 => b"0\n".to_vec(),
        n => format!("0-{}\n", n - 1).into_bytes(),
    }
}

/// /sys/devices/system/cpu.
struct Cpus;

static CPUS: Table<()> = &[
    ("online", Item::Text(|()| range())),
    ("possible", Item::Text(|()| range())),
    ("present", Item::Text(|()| range())),
    ("offline", Item::Text(|()| b"\n".to_vec())),
    ("kernel_max", Item::Text(|()| format!("{}\n", coracle_hal::percpu::MAX_CPUS - 1).into_bytes())),
];

static CPU: Table<usize> = &[
    ("online", Item::Text(|_| b"1\n".to_vec())),
    (
        "topology",
        Item::Directory(&[
            ("core_id", Item::Text(|n| format!("{n}\n").into_bytes())),
            ("physical_package_id", Item::Text(|_| b"0\n".to_vec())),
            ("thread_siblings_list", Item::Text(|n| format!("{n}\n").into_bytes())),
            ("core_siblings_list", Item::Text(|_| range())),
        ]),
    ),
];

impl Directory for Cpus {
    fn lookup(&self, name: &[u8]) -> Option<Kind> {
        let number =
            name.strip_prefix(b"cpu").and_then(|rest| core::str::from_utf8(rest).ok()?.parse::<usize>().ok());
        match number {
            Some(n) if n < cpu::count() => Some(Kind::Directory(Box::new(Listed { table: CPU, context: n }))),
            _ => Listed { table: CPUS, context: () }.lookup(name),
        }
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        let next = |n: i32| ((n as usize) < cpu::count()).then_some(n);
        list_after_table(&Listed { table: CPUS, context: () }, from, take, "cpu", next)
    }
}
