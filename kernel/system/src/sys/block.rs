//! /sys/block, /sys/class/block and /sys/dev/block: disks and partitions (Linux's Documentation/ABI/stable/sysfs-block).
use coracle_core::errno::Errno;
use coracle_core::fs::stat::split_device;
use coracle_devices::block::device::SECTOR_BYTES;
use coracle_fallible::try_box;
use coracle_fs::block::registry::{self, Entry};
use coracle_fs::synthetic::{BEHIND_TABLE, Directory, Item, Kind, Listed, Table, TakeName, list_table};
use linux_raw_sys::general::S_IFDIR;

/// Which block devices a directory has.
#[derive(Clone, Copy)]
pub enum Devices {
    /// Disks, by name (/sys/block).
    Disks,
    /// Disks and partitions, by name (/sys/class/block).
    All,
    /// The same by device number (/sys/dev/block).
    ByNumber,
    /// The partitions of the disk with this number, and what is about the disk.
    Of(u64),
}

static DISK: Table<&'static Entry> = &[
    (
        "dev",
        Item::Text(|entry, text| {
            let (major, minor) = split_device(entry.number);
            writeln!(text, "{major}:{minor}")
        }),
    ),
    ("size", Item::Text(|entry, text| writeln!(text, "{}", entry.disk.size() / SECTOR_BYTES))),
    ("ro", Item::Text(|entry, text| writeln!(text, "{}", u8::from(entry.disk.limits().is_read_only)))),
    (
        "stat",
        Item::Text(|entry, text| {
            text.push(b" ")?;
            entry.disk.write_counts(text)?;
            text.push(b"\n")
        }),
    ),
    ("removable", Item::Fixed("0\n")),
    (
        "serial",
        Item::Text(|entry, text| {
            // As Linux: without a newline.
            text.push(entry.serial.get().map_or(&[], |serial| serial.as_bytes()))
        }),
    ),
    (
        "queue",
        Item::Directory(&[
            (
                "logical_block_size",
                Item::Text(|entry, text| writeln!(text, "{}", entry.disk.limits().logical_block)),
            ),
            (
                "hw_sector_size",
                Item::Text(|entry, text| writeln!(text, "{}", entry.disk.limits().logical_block)),
            ),
            (
                "physical_block_size",
                Item::Text(|entry, text| writeln!(text, "{}", entry.disk.limits().physical_block)),
            ),
            (
                "minimum_io_size",
                Item::Text(|entry, text| writeln!(text, "{}", entry.disk.limits().physical_block)),
            ),
            ("optimal_io_size", Item::Fixed("0\n")),
            (
                "max_hw_sectors_kb",
                Item::Text(|entry, text| writeln!(text, "{}", entry.disk.limits().request_bytes.0 / 1024)),
            ),
            ("rotational", Item::Fixed("1\n")),
            (
                "write_cache",
                Item::Text(|entry, text| {
                    text.push(if entry.disk.limits().has_cache {
                        b"write back\n"
                    } else {
                        b"write through\n"
                    })
                }),
            ),
            (
                "discard_max_bytes",
                Item::Text(|entry, text| {
                    writeln!(text, "{}", u64::from(entry.disk.limits().discard_sectors) * SECTOR_BYTES)
                }),
            ),
            (
                "write_zeroes_max_bytes",
                Item::Text(|entry, text| {
                    writeln!(text, "{}", u64::from(entry.disk.limits().zero_sectors) * SECTOR_BYTES)
                }),
            ),
            ("scheduler", Item::Fixed("[none]\n")),
        ]),
    ),
];

static PARTITION: Table<&'static Entry> = &[
    (
        "dev",
        Item::Text(|entry, text| {
            let (major, minor) = split_device(entry.number);
            writeln!(text, "{major}:{minor}")
        }),
    ),
    (
        "partition",
        Item::Text(|entry, text| writeln!(text, "{}", entry.partition.map_or(0, |(number, _)| number))),
    ),
    ("start", Item::Text(|entry, text| writeln!(text, "{}", entry.disk.sectors().start))),
    ("size", Item::Text(|entry, text| writeln!(text, "{}", entry.disk.size() / SECTOR_BYTES))),
    ("ro", Item::Text(|entry, text| writeln!(text, "{}", u8::from(entry.disk.limits().is_read_only)))),
    (
        "stat",
        Item::Text(|entry, text| {
            text.push(b" ")?;
            entry.disk.write_counts(text)?;
            text.push(b"\n")
        }),
    ),
];

impl Devices {
    fn has(self, entry: &Entry) -> bool {
        match self {
            Devices::Disks => entry.partition.is_none(),
            Devices::All | Devices::ByNumber => true,
            Devices::Of(disk) => entry.partition.is_some_and(|(_, number)| number == disk),
        }
    }
    /// Calls `f` with the name of an entry in the directory.
    fn with_name<R>(self, entry: &Entry, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Devices::ByNumber => {
                use core::fmt::Write as _;
                let (major, minor) = split_device(entry.number);
                let mut name = heapless::String::<24>::new();
                // Two numbers of 32 bits fit.
                let _ = write!(name, "{major}:{minor}");
                f(name.as_bytes())
            }
            _ => f(entry.name.as_str().as_bytes()),
        }
    }
    /// The table about the disk itself, in the directory of one.
    fn own(self) -> Option<Listed<&'static Entry>> {
        let Devices::Of(number) = self else { return None };
        Some(Listed { table: DISK, context: registry::by_number(number)? })
    }
}

impl Directory for Devices {
    fn lookup(&self, name: &[u8]) -> Result<Option<Kind>, Errno> {
        if let Some(own) = self.own()
            && let Some(kind) = own.lookup(name)?
        {
            return Ok(Some(kind));
        }
        let mut index = 0;
        while let Some(entry) = registry::nth(index) {
            index += 1;
            if self.has(entry) && self.with_name(entry, |own| own == name) {
                return Ok(Some(Kind::Directory(match entry.partition {
                    Some(_) => try_box(Listed { table: PARTITION, context: entry })?,
                    None => try_box(Devices::Of(entry.number))?,
                })));
            }
        }
        Ok(None)
    }
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        let mut more = match self.own() {
            Some(own) => list_table(&own, from, take)?,
            None => true,
        };
        let mut index = from.saturating_sub(BEHIND_TABLE) as usize;
        while more && let Some(entry) = registry::nth(index) {
            index += 1;
            if self.has(entry) {
                more = self.with_name(entry, |name| take(BEHIND_TABLE + index as u64, name, S_IFDIR));
            }
        }
        Ok(())
    }
}
