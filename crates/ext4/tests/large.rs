//! A volume of 16 GiB in a sparse file: what it costs is what is touched.
mod common;
use common::model::{DIRECTORY, REGULAR, new_file};
use common::*;
use coracle_block::{Disk, Error, check_range};
use coracle_ext4::{FileSystem, Format, Options, ROOT, format};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const GIB: u64 = 1 << 30;

/// A disk in a file, which counts its operations.
struct FileDisk {
    file: std::fs::File,
    bytes: u64,
    operations: AtomicUsize,
}

impl FileDisk {
    fn taken(&self) -> usize {
        self.operations.swap(0, Ordering::Relaxed)
    }
    fn count<T>(&self, result: std::io::Result<T>) -> Result<T, Error> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        result.map_err(|_| Error::Io)
    }
}

impl Disk for FileDisk {
    fn sector_bytes(&self) -> u32 {
        4096
    }
    fn size_bytes(&self) -> u64 {
        self.bytes
    }
    fn read_only(&self) -> bool {
        false
    }
    fn read(&self, offset_bytes: u64, into: &mut [u8]) -> Result<(), Error> {
        check_range(self, offset_bytes, into.len() as u64)?;
        self.count(self.file.read_exact_at(into, offset_bytes))
    }
    fn write(&self, offset_bytes: u64, from: &[u8]) -> Result<(), Error> {
        check_range(self, offset_bytes, from.len() as u64)?;
        self.count(self.file.write_all_at(from, offset_bytes))
    }
    fn flush(&self) -> Result<(), Error> {
        self.count(Ok(()))
    }
    fn discard(&self, _offset_bytes: u64, _len_bytes: u64) -> Result<(), Error> {
        Err(Error::Unsupported)
    }
}

#[test]
fn sixteen_gibibytes() {
    let scratch = Scratch::new();
    let path = scratch.path("volume");
    let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let bytes = 16 * GIB;
    file.set_len(bytes).unwrap();
    let disk = Arc::new(FileDisk { file, bytes, operations: AtomicUsize::new(0) });
    let dynamic: Arc<dyn Disk> = disk.clone();
    format(&dynamic, &Format { label: b"large", uuid: [1; 16], hash_seed: [2; 16], now: NOW }).unwrap();
    assert!(disk.taken() < 200, "making it writes few blocks");
    assert_eq!(e2fsck_file(&path), None);
    let mut fs = FileSystem::mount(disk.clone(), &common::options()).unwrap();
    // Directories go to groups of their own.
    for number in 0..200 {
        let directory = fs.create(ROOT, format!("d{number}").as_bytes(), &new_file(DIRECTORY), NOW).unwrap();
        let file = fs.create(directory, b"file", &new_file(REGULAR), NOW).unwrap();
        fs.write(file, number * 100_000_000, &[7; 5000], NOW).unwrap();
    }
    // More than a group has: the extents are long.
    let file = fs.create(ROOT, b"reserved", &new_file(REGULAR), NOW).unwrap();
    fs.allocate(file, 0, 3 * GIB, coracle_ext4::Allocation::Allocate, NOW).unwrap();
    fs.unmount().unwrap();
    assert_eq!(e2fsck_file(&path), None);
    disk.taken();
    let mut fs = FileSystem::mount(disk.clone(), &Options { read_only: true, ..common::options() }).unwrap();
    let mounting = disk.taken();
    assert!(mounting <= 8, "a mount of a clean volume takes {mounting} operations of the disk");
    assert_eq!(fs.attributes(file).unwrap().size, 3 * GIB);
    let directory = find(&mut fs, "d150/file");
    let mut bytes = [0; 6000];
    assert_eq!(fs.read(directory, 150 * 100_000_000, &mut bytes), Ok(5000));
    assert!(bytes[..5000].iter().all(|byte| *byte == 7));
    let mut fs = FileSystem::mount(disk.clone(), &common::options()).unwrap();
    disk.taken();
    fs.set_size(file, 0, NOW).unwrap();
    assert!(disk.taken() < 200);
    fs.unmount().unwrap();
    assert_eq!(e2fsck_file(&path), None);
}
