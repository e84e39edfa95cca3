//! Everything that can be done with a file system, whatever its disk holds.
use super::NOW;
use super::model::{DIRECTORY, REGULAR, new_file};
use coracle_block::Disk;
use coracle_ext4::{Allocation, Changes, Existence, FileSystem, Options, ROOT, Rename};
use std::sync::Arc;

const MAX_FILES: usize = 200;
const MAX_BYTES: usize = 1 << 16;

/// Mounts, walks and changes. Errors are what is to be expected.
pub fn exercise(disk: Arc<dyn Disk>) {
    let options = Options { now: NOW, cache_blocks: 40, ..Options::default() };
    let Ok(mut fs) = FileSystem::mount(disk, &options) else { return };
    let _ = fs.statistics();
    let mut all = vec![ROOT];
    let mut next = 0;
    while let Some(inode) = all.get(next).copied() {
        next += 1;
        let mut children = Vec::new();
        let mut visit = |entry: coracle_ext4::Entry<'_>| {
            children.push((entry.name.to_vec(), entry.inode));
            children.len() < MAX_FILES
        };
        let _ = fs.read_directory(inode, 0, &mut visit);
        for (name, child) in &children {
            let _ = fs.lookup(inode, name);
            if all.len() < MAX_FILES && !all.contains(child) {
                all.push(*child);
            }
        }
        look(&mut fs, inode);
    }
    for (number, inode) in all.iter().enumerate() {
        change(&mut fs, *inode, number);
        let _ = fs.sync_file(*inode);
    }
    for inode in all {
        let mut names = Vec::new();
        let _ = fs.read_directory(inode, 0, &mut |entry| {
            names.push(entry.name.to_vec());
            names.len() < 50
        });
        for name in names {
            if let Ok((file, 0)) = fs.unlink(inode, &name, NOW) {
                let _ = fs.evict(file, NOW);
            }
            if let Ok(directory) = fs.rmdir(inode, &name, NOW) {
                let _ = fs.evict(directory, NOW);
            }
        }
    }
    let _ = fs.commit();
    let _ = fs.unmount();
}

fn look(fs: &mut FileSystem, inode: u32) {
    let mut buffer = vec![0; MAX_BYTES];
    let size = fs.attributes(inode).map_or(0, |attributes| attributes.size);
    for offset in [0, 5000, size.saturating_sub(3000), 1 << 33] {
        let _ = fs.read(inode, offset, &mut buffer);
    }
    for block in [0, 1, 12, 13, 300, 70_000, u32::MAX] {
        let _ = fs.map(inode, block, 64);
    }
    let _ = fs.read_link(inode, &mut buffer);
    if let Ok(names) = fs.xattr_names(inode) {
        for name in names.split(|byte| *byte == 0) {
            let _ = fs.xattr(inode, name);
        }
    }
}

fn change(fs: &mut FileSystem, inode: u32, number: usize) {
    let _ = fs.set_attributes(
        inode,
        &Changes { permissions: Some(0o640), accessed: Some(NOW), ..Changes::default() },
    );
    let _ = fs.set_xattr(inode, b"user.new", &[7; 300], Existence::Either, NOW);
    let _ = fs.remove_xattr(inode, b"user.colour", NOW);
    let _ = fs.write(inode, 3000, &[9; 9000], NOW);
    let _ = fs.allocate(inode, 1000, 30_000, Allocation::Zero, NOW);
    let _ = fs.allocate(inode, 10_000, 10_000, Allocation::PunchHole, NOW);
    let _ = fs.insert(inode, 4096, 8192, NOW);
    let _ = fs.collapse(inode, 8192, 4096, NOW);
    let _ = fs.set_size(inode, 200_000, NOW);
    let _ = fs.set_size(inode, 5000, NOW);
    let name = |number: usize| format!("a new name with some length, {number}").into_bytes();
    for round in 0..3 {
        let _ = fs.create(inode, &name(3 * number + round), &new_file(REGULAR), NOW);
    }
    let _ = fs.create(inode, b"directory", &new_file(DIRECTORY), NOW);
    let _ = fs.symlink(inode, b"link", &[b'x'; 200], &new_file(0), NOW);
    let _ = fs.link(inode, b"other", inode, NOW);
    let _ = fs.rename((inode, &name(3 * number)), (ROOT, &name(3 * number + 1)), Rename::Replace, NOW);
    let _ = fs.rename((inode, b"directory"), (ROOT, b"moved"), Rename::Exchange, NOW);
    if let Ok(unnamed) = fs.create_unnamed(inode, &new_file(REGULAR), NOW) {
        let _ = fs.evict(unnamed, NOW);
    }
}
