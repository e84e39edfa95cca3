//! Mounts a damaged file system, walks it and changes it.
//!
//! The bytes are a list of changes to a true image: where, counted among the bytes that are not zero (two bytes), how far beside
//! that (one), and what to write there. The image says that its metadata has no checksums, which no fuzzer guesses.
#![no_main]

use coracle_block::Disk;
use coracle_block::simulated::SimulatedDisk;
use coracle_ext4::{
    Allocation, Device, Existence, FileSystem, Format, NewFile, Options, ROOT, Rename, Time, format,
};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

const DISK_BYTES: usize = 8 << 20;
const SECTOR_BYTES: u32 = 512;
const NOW: Time = Time { seconds: 1_700_000_000, nanoseconds: 0 };
const REGULAR: NewFile = NewFile { mode: 0o100_644, uid: 0, gid: 0, device: Device { major: 0, minor: 0 } };
const DIRECTORY: NewFile = NewFile { mode: 0o040_755, ..REGULAR };
const OPTIONS: Options = Options { read_only: false, cache_blocks: 64, now: NOW };
/// Where the superblock says that metadata has checksums, and the bit.
const RO_COMPAT: usize = 1024 + 0x64;
const METADATA_CSUM: u32 = 0x400;
/// What is looked at of a damaged image, at most.
const MAX_FILES: usize = 64;

/// The image, and where it has bytes that are not zero.
static TRUE: LazyLock<(Vec<u8>, Vec<usize>)> = LazyLock::new(|| {
    let simulated = Arc::new(SimulatedDisk::new(vec![0; DISK_BYTES], SECTOR_BYTES));
    let disk: Arc<dyn Disk> = simulated.clone();
    format(&disk, &Format { label: b"fuzz", uuid: [1; 16], hash_seed: [2; 16], now: NOW })
        .expect("a large disk");
    let mut fs = FileSystem::mount(disk, &OPTIONS).expect("a new file system");
    let directory = fs.create(ROOT, b"many", &DIRECTORY, NOW).expect("room");
    for number in 0..100 {
        let name =
            format!("the name of a file, long enough that {number} of them fill some blocks of a directory");
        fs.create(directory, name.as_bytes(), &REGULAR, NOW).expect("room");
    }
    let file = fs.create(ROOT, b"holes", &REGULAR, NOW).expect("room");
    for number in 0..400 {
        fs.write(file, number * 9000, b"x", NOW).expect("room");
    }
    fs.set_xattr(file, b"user.colour", &[1; 40], Existence::New, NOW).expect("room");
    fs.set_xattr(file, b"user.more", &[2; 400], Existence::New, NOW).expect("room");
    fs.symlink(ROOT, b"link", &[b'x'; 300], &REGULAR, NOW).expect("room");
    fs.create_unnamed(ROOT, &REGULAR, NOW).expect("room");
    fs.commit().expect("a disk in memory");
    let mut image = simulated.bytes();
    let flags = u32::from_le_bytes(image[RO_COMPAT..RO_COMPAT + 4].try_into().expect("four bytes"));
    image[RO_COMPAT..RO_COMPAT + 4].copy_from_slice(&(flags & !METADATA_CSUM).to_le_bytes());
    let places = image.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
    (image, places)
});

fn walk(disk: Arc<dyn Disk>) {
    let Ok(mut fs) = FileSystem::mount(disk, &OPTIONS) else { return };
    let _ = fs.statistics();
    let mut all = vec![ROOT];
    let mut next = 0;
    while let Some(inode) = all.get(next).copied() {
        next += 1;
        let mut names = Vec::new();
        let _ = fs.read_directory(inode, 0, &mut |entry| {
            names.push((entry.name.to_vec(), entry.inode));
            names.len() < MAX_FILES
        });
        for (name, child) in names {
            let _ = fs.lookup(inode, &name);
            if all.len() < MAX_FILES && !all.contains(&child) {
                all.push(child);
            }
        }
        let mut buffer = [0; 9000];
        let _ = (fs.read(inode, 5000, &mut buffer), fs.read_link(inode, &mut buffer), fs.map(inode, 1, 64));
        let _ = (fs.xattr(inode, b"user.more"), fs.xattr_names(inode));
    }
    for inode in all {
        let _ = fs.set_xattr(inode, b"user.new", &[7; 300], Existence::Either, NOW);
        let _ = fs.write(inode, 3000, &[9; 9000], NOW);
        let _ = fs.allocate(inode, 10_000, 60_000, Allocation::Zero, NOW);
        let _ = fs.insert(inode, 4096, 8192, NOW);
        let _ = fs.collapse(inode, 8192, 4096, NOW);
        let _ = fs.set_size(inode, 5000, NOW);
        let _ = fs.create(inode, b"a new name", &REGULAR, NOW);
        let _ = fs.rename((inode, b"a new name"), (ROOT, b"another name"), Rename::Replace, NOW);
        let mut names = Vec::new();
        let _ = fs.read_directory(inode, 0, &mut |entry| {
            names.push(entry.name.to_vec());
            names.len() < MAX_FILES
        });
        for name in names {
            if let Ok((file, 0)) = fs.unlink(inode, &name, NOW) {
                let _ = fs.evict(file, NOW);
            }
        }
    }
    let _ = fs.unmount();
}

fuzz_target!(|bytes: &[u8]| {
    let (image, places) = &*TRUE;
    let mut image = image.clone();
    for change in bytes.chunks_exact(4) {
        let index = usize::from(u16::from_le_bytes([change[0], change[1]])) % places.len();
        let at = (places[index] + usize::from(change[2])).min(image.len() - 1);
        image[at] = change[3];
    }
    walk(Arc::new(SimulatedDisk::new(image, SECTOR_BYTES)));
});
