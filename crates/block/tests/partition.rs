//! Partition tables as sfdisk(8) writes them, and any bytes.
use coracle_block::partition::{Partition, Scheme, View, read_table};
use coracle_block::simulated::SimulatedDisk;
use coracle_block::{Disk, Error};
use proptest::prelude::*;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// The disk that sfdisk makes of a script.
fn partitioned(script: &str) -> Vec<u8> {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("coracle-partition-{}-{number}", std::process::id()));
    std::fs::write(&path, vec![0; 16 * MIB as usize]).unwrap();
    let mut sfdisk = Command::new("/usr/sbin/sfdisk")
        .arg("-q")
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("fdisk is installed");
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    bytes
}

fn places(partitions: &[Partition]) -> Vec<(u32, u64, u64)> {
    partitions.iter().map(|found| (found.number, found.offset_bytes / MIB, found.len_bytes / MIB)).collect()
}

#[test]
fn gpt_and_its_backup() {
    let mut bytes = partitioned("label: gpt\nstart=1MiB, size=2MiB\nstart=4MiB, size=8MiB\n");
    let read = |bytes: &[u8]| read_table(&SimulatedDisk::new(bytes.to_vec(), 512)).unwrap();
    let table = read(&bytes);
    assert_eq!((table.scheme, places(&table.partitions)), (Scheme::Gpt, vec![(1, 1, 2), (2, 4, 8)]));
    bytes[2 * 512 + 40] ^= 1;
    assert_eq!(read(&bytes), table, "the backup counts where the first table is damaged");
    let end = bytes.len();
    bytes[end - 512] ^= 1;
    assert!(read(&bytes).partitions.len() <= 1, "no table is left but the protective one");
}

#[test]
fn mbr_with_logical_partitions() {
    let bytes = partitioned(
        "label: dos\nstart=1MiB, size=2MiB\nstart=3MiB, size=12MiB, type=5\nstart=4MiB, size=3MiB\nstart=8MiB, size=1MiB\n",
    );
    let table = read_table(&SimulatedDisk::new(bytes, 512)).unwrap();
    let expected = vec![(1, 1, 2), (5, 4, 3), (6, 8, 1)];
    let found: Vec<_> = places(&table.partitions).into_iter().collect();
    assert_eq!((table.scheme, found), (Scheme::Mbr, expected));
}

#[test]
fn a_partition_is_a_disk() {
    let disk = Arc::new(SimulatedDisk::new(vec![0; 8 * 512], 512));
    let partition = Partition { number: 1, offset_bytes: 1024, len_bytes: 1024, kind: [1; 16] };
    let view = View::new(disk.clone(), &partition).unwrap();
    view.write(512, &[7; 512]).unwrap();
    assert_eq!(disk.bytes()[3 * 512..4 * 512], [7; 512]);
    assert_eq!(view.write(1024, &[7; 512]), Err(Error::Range));
    assert!(View::new(disk, &Partition { len_bytes: 1 << 40, ..partition }).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(changes in proptest::collection::vec((0usize..64 * 512, any::<u8>()), 0..64), signed in any::<bool>()) {
        let mut bytes = vec![0; 64 * 512];
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        if signed {
            bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
            bytes[450] = 0xee;
            bytes[512..520].copy_from_slice(b"EFI PART");
        }
        let disk = SimulatedDisk::new(bytes, 512);
        for partition in read_table(&disk).unwrap().partitions {
            prop_assert!(partition.offset_bytes + partition.len_bytes <= disk.size_bytes());
        }
    }
}
