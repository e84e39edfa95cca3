//! The block devices that there are: disks, and their partitions once they were looked for.
use super::file::Special;
use alloc::boxed::Box;
use alloc::vec::Vec;
use coracle_block::partition::{Partition, read_table};
use coracle_core::fs::stat::device_number;
use coracle_core::lock::Mutex;
use coracle_devices::block::device::{BlockDevice, SECTOR_BYTES};
use coracle_devices::block::disk::{Disk, Serial};
use coracle_devices::block::foreign::Whole;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, try_box};
use coracle_hal::once::Once;
use coracle_hal::time;
use core::fmt::{self, Write as _};

/// The major number: the first that Linux gives to a driver of block devices without one of its own, as virtio's is.
pub const MAJOR: u32 = 254;
/// Minor numbers of a disk: itself, and partitions (Linux's virtio_blk has as many).
const MINORS: u32 = 16;
/// How long a disk may take until its serial number and its partitions are known.
const PATIENCE_NS: u64 = 5_000_000_000;

/// A block device.
pub struct Entry {
    /// Its name in /dev.
    pub name: Name,
    /// Its device number.
    pub number: u64,
    /// The disk or partition.
    pub disk: Disk,
    /// The number of the partition, and the device number of the disk that it is on.
    pub partition: Option<(u32, u64)>,
    /// The disk's serial number.
    pub serial: Once<Serial>,
    /// Its special file, once that was opened.
    pub(super) special: Special,
}

impl Entry {
    fn new(name: Name, number: u64, disk: Disk, partition: Option<(u32, u64)>) -> Entry {
        Entry { name, number, disk, partition, serial: Once::new(), special: Special::default() }
    }
}

/// A name: letters, and the number of the partition.
#[derive(Clone, Default)]
pub struct Name(heapless::String<16>);

impl Name {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Name {
    /// That of a namespace of the NVMe controller `index`.
    pub fn nvme(index: usize, namespace: u32) -> Name {
        let mut name = Name::default();
        let _ = write!(name.0, "nvme{index}n{namespace}");
        name
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Disks do not go: what is about them stays.
fn for_ever(entry: Entry) -> Result<&'static Entry, NoMemory> {
    try_box(entry).map(|entry| &*Box::leak(entry))
}

static ENTRIES: Mutex<Vec<&'static Entry>> = Mutex::new(Vec::new());

/// All of them, each disk before its partitions. ENOMEM.
pub fn all() -> Result<Vec<&'static Entry>, NoMemory> {
    ENTRIES.lock().iter().copied().try_collect_vec()
}

/// The first one from a place in the list on.
pub fn nth(index: usize) -> Option<&'static Entry> {
    ENTRIES.lock().get(index).copied()
}

/// The one with this device number.
pub fn by_number(number: u64) -> Option<&'static Entry> {
    ENTRIES.lock().iter().find(|entry| entry.number == number).copied()
}

/// Whether there are any.
pub fn is_empty() -> bool {
    ENTRIES.lock().is_empty()
}

/// Adds a disk whose name begins with `prefix`, at boot. ENOMEM.
pub fn add(prefix: &str, device: &'static dyn BlockDevice) -> Result<(), NoMemory> {
    let is_so = |entry: &&&Entry| entry.name.as_str().starts_with(prefix);
    let index = ENTRIES.lock().iter().filter(is_so).count() as u32;
    add_named(Name(name_of(prefix, index)), device)
}

/// Adds a disk of that name, at boot. ENOMEM.
pub fn add_named(name: Name, device: &'static dyn BlockDevice) -> Result<(), NoMemory> {
    let mut entries = ENTRIES.lock();
    let index = entries.len() as u32;
    let limits = device.limits();
    info!("disk: {} sectors of 512 bytes, in blocks of {}", limits.sectors, limits.logical_block);
    let sectors = 0..limits.sectors;
    let number = device_number(MAJOR, index * MINORS);
    entries.try_push(for_ever(Entry::new(name, number, Disk::new(device, sectors), None))?)
}

/// `vda` to `vdz`, then `vdaa` and so on.
fn name_of(prefix: &str, index: u32) -> heapless::String<16> {
    const LETTERS: u32 = 26;
    let mut letters = heapless::Vec::<u8, 8>::new();
    let mut rest = index + 1;
    while rest > 0 {
        // A number of 32 bits has 7 letters at most.
        let _ = letters.push(b'a' + ((rest - 1) % LETTERS) as u8);
        rest = (rest - 1) / LETTERS;
    }
    let mut name = heapless::String::new();
    let _ = name.push_str(prefix);
    letters.iter().rev().for_each(|&letter| {
        let _ = name.push(letter.into());
    });
    name
}

/// Asks each disk for its serial number, and looks for partitions. Waits; a disk that does not answer is left as it is.
pub fn explore() {
    let Ok(disks) = all() else { return };
    let mut found = Vec::new();
    for entry in disks {
        let deadline_ns = time::now_ns() + PATIENCE_NS;
        entry.serial.call_once(|| entry.disk.identify(deadline_ns));
        let _ = found.try_push(entry);
        let whole = Whole::new(&entry.disk, Some(time::now_ns() + PATIENCE_NS));
        let table = match read_table(&whole) {
            Ok(table) => table,
            Err(error) => {
                log!("the partition table of {} can't be read: {error}", entry.name);
                continue;
            }
        };
        for partition in table.partitions.iter().filter(|partition| partition.number < MINORS) {
            if add_partition(entry, partition, &mut found).is_err() {
                log!("there is no memory for the partitions of {}", entry.name);
            }
        }
    }
    *ENTRIES.lock() = found;
}

fn add_partition(
    entry: &'static Entry,
    partition: &Partition,
    found: &mut Vec<&'static Entry>,
) -> Result<(), NoMemory> {
    let start = partition.offset_bytes / SECTOR_BYTES;
    let sectors = start..start + partition.len_bytes / SECTOR_BYTES;
    let mut name = entry.name.clone();
    // A name that ends with a number has a letter before that of the partition, as on Linux.
    let apart = if name.as_str().ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    let _ = write!(name.0, "{apart}{}", partition.number);
    let number = entry.number + u64::from(partition.number);
    let disk = Disk::new(entry.disk.device(), sectors);
    found.try_push(for_ever(Entry::new(name, number, disk, Some((partition.number, entry.number))))?)
}
