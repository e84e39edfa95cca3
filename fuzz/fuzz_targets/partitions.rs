//! Reads whatever partition table the bytes are, at the beginning and at the end of a disk.
#![no_main]

use coracle_block::Disk as _;
use coracle_block::partition::read_table;
use coracle_block::simulated::SimulatedDisk;
use libfuzzer_sys::fuzz_target;

const SECTOR_BYTES: usize = 512;
/// The disk has as many sectors more.
const EMPTY_SECTORS: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let mut disk = bytes.to_vec();
    disk.resize(bytes.len().next_multiple_of(SECTOR_BYTES) + EMPTY_SECTORS * SECTOR_BYTES, 0);
    if bytes.first().is_some_and(|first| first & 1 == 1) {
        disk.reverse();
    }
    let disk = SimulatedDisk::new(disk, SECTOR_BYTES as u32);
    for partition in read_table(&disk).map(|table| table.partitions).unwrap_or_default() {
        assert!(partition.offset_bytes + partition.len_bytes <= disk.size_bytes());
    }
});
