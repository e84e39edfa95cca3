//! Disks that are damaged, full or failing: errors, and neither panics nor more damage.
mod common;
use common::exercise::exercise;
use common::model::{self, Content, Model, Operation, operation};
use common::*;
use coracle_block::simulated::SimulatedDisk;
use coracle_ext4::{Access, Allocation, Error, Existence, FileSystem, Options, ROOT, Rename};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

const MIB: u64 = 1 << 20;

/// Images with files, an index, attributes and a deep extent tree, whose metadata has checksums or not. The last was not
/// unmounted, so that its journal is replayed.
static USED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let sets: [(&[&str], bool); 4] = [
        (&["-b", "1024", "-J", "size=1", "-O", "^metadata_csum"], true),
        (&["-b", "1024", "-J", "size=1"], true),
        (&["-b", "1024", "-O", "^has_journal,^metadata_csum,uninit_bg", "-g", "1024"], true),
        (&["-b", "1024", "-J", "size=1", "-O", "^metadata_csum"], false),
    ];
    sets.map(|(set, unmounted)| {
        let disk = disk(mkfs(4 * MIB, &[set, &["-N", "300"]].concat(), None));
        let mut fs = mount(&disk);
        let directory = fs.create(ROOT, b"many", &model::new_file(model::DIRECTORY), NOW).unwrap();
        for number in 0..120 {
            let name = format!("the name of a file, long enough that {number} of them fill blocks");
            fs.create(directory, name.as_bytes(), &model::new_file(model::REGULAR), NOW).unwrap();
        }
        let file = fs.create(ROOT, b"holes", &model::new_file(model::REGULAR), NOW).unwrap();
        for number in 0..200 {
            fs.write(file, number * 3000, b"x", NOW).unwrap();
        }
        fs.set_xattr(file, b"user.colour", &[1; 40], Existence::New, NOW).unwrap();
        fs.set_xattr(file, b"user.more", &[2; 400], Existence::New, NOW).unwrap();
        fs.symlink(ROOT, b"link", &[b'x'; 300], &model::new_file(0), NOW).unwrap();
        fs.create_unnamed(ROOT, &model::new_file(model::REGULAR), NOW).unwrap();
        if unmounted { fs.unmount() } else { fs.commit() }.unwrap();
        disk.bytes()
    })
    .into()
});

/// Bytes that hold something: where damage shows.
static PLACES: LazyLock<Vec<Vec<usize>>> = LazyLock::new(|| {
    USED.iter()
        .map(|image| image.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect())
        .collect()
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn damaged_images_do_not_panic(image in 0usize..4, changes in proptest::collection::vec((any::<usize>(), any::<u8>(), 0usize..12), 1..30)) {
        let mut bytes = USED[image].clone();
        let places = &PLACES[image];
        for (at, byte, beside) in changes {
            // Also beside what is there, where fields are zero.
            let at = (places[at % places.len()] + beside).min(bytes.len() - 1);
            bytes[at] = byte;
        }
        exercise(disk(bytes));
    }

    #[test]
    fn damaged_superblocks_do_not_panic(image in 0usize..4, changes in proptest::collection::vec((0usize..3072, any::<u8>()), 1..6)) {
        let mut bytes = USED[image].clone();
        for (at, byte) in changes {
            bytes[1024 + at] = byte;
        }
        exercise(disk(bytes));
    }

    /// Each operation of the disk may be the first that fails.
    #[test]
    fn errors_of_the_disk_end_in_errors(image in 0usize..4, after in 0u64..2500) {
        let disk = disk(USED[image].clone());
        disk.fail_after(Some(after));
        exercise(disk.clone());
        disk.fail_after(None);
        exercise(disk);
    }
}

#[test]
fn checksums_are_verified() {
    let image = &USED[1];
    let disk = disk(image.clone());
    let mut fs = mount(&disk);
    let file = find(&mut fs, "holes");
    let many = find(&mut fs, "many");
    let place =
        |fs: &mut FileSystem, inode, block| fs.map(inode, block, 1).unwrap().block.unwrap() as usize * 1024;
    let (leaf, index) = (place(&mut fs, many, 1), place(&mut fs, many, 0));
    drop(fs);
    let (_, said) = debugfs(image, "imap <11>\nex /holes\nstat /holes\n");
    let number = |part: &str| {
        said.split(part)
            .nth(1)
            .unwrap()
            .trim()
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    // Four inodes lie in a block.
    let table = (number("located at block ") - 2) * 1024;
    let attributes = number("File ACL:") * 1024;
    let damaged = |at: usize| {
        let mut bytes = image.clone();
        bytes[at] ^= 1;
        common::disk(bytes)
    };
    let try_lookup = |at: usize| mount(&damaged(at)).lookup(many, b"nothing").err();
    assert!(matches!(try_lookup(index + 40), Some(Error::Corrupt(_))), "a node of the index");
    let mut fs = mount(&damaged(leaf + 10));
    assert!(matches!(fs.read_directory(many, 0, &mut |_| true), Err(Error::Corrupt(_))), "a directory block");
    assert!(
        matches!(mount(&damaged(attributes + 40)).xattr(file, b"user.more"), Err(Error::Corrupt(_))),
        "attributes"
    );
    assert!(
        FileSystem::mount(damaged(table + 256 + 20), &options())
            .is_ok_and(|mut fs| fs.attributes(ROOT).is_err()),
        "an inode"
    );
    assert!(
        matches!(FileSystem::mount(damaged(1024 + 0x78), &options()).err(), Some(Error::Corrupt(_))),
        "the superblock"
    );
    assert!(
        matches!(FileSystem::mount(damaged(2048 + 12), &options()).err(), Some(Error::Corrupt(_))),
        "a descriptor"
    );
}

/// A disk of 4 MiB, filled by random operations: what fails changes nothing.
fn fill(image: Vec<u8>, operations: &[Operation]) {
    let disk = disk(image);
    let mut fs = mount(&disk);
    // Two files take nearly all there is.
    let fat = fs.create(ROOT, b"fat", &model::new_file(model::REGULAR), NOW).unwrap();
    let free = fs.statistics().unwrap().free_blocks * u64::from(fs.block_bytes());
    fs.allocate(fat, 0, free - 40_000, Allocation::Allocate, NOW).unwrap();
    let mut refused = 0;
    for (number, operation) in operations.iter().enumerate() {
        let before = Model::read(&mut fs);
        let name = format!("a name of some length for file number {number}").into_bytes();
        let result = match operation {
            Operation::Write { offset, len, .. } => {
                let entry = before.file(*len as u8).unwrap();
                fs.write(entry, u64::from(*offset) * 7, &vec![1; usize::from(*len)], NOW).map(drop)
            }
            Operation::Symlink { len, .. } => fs
                .symlink(ROOT, &name, &vec![b'x'; 100 + usize::from(*len) % 800], &model::new_file(0), NOW)
                .map(drop),
            Operation::SetAttribute { len, .. } => {
                fs.set_xattr(fat, b"user.x", &vec![1; usize::from(*len)], Existence::Either, NOW)
            }
            Operation::Resize { .. } => fs
                .rename((ROOT, b"fat"), (ROOT, &name), Rename::Replace, NOW)
                .and_then(|_| fs.rename((ROOT, &name), (ROOT, b"fat"), Rename::Replace, NOW))
                .map(drop),
            _ => fs.create(ROOT, &name, &model::new_file(model::DIRECTORY), NOW).map(drop),
        };
        match result {
            Ok(()) => {}
            Err(Error::NoSpace) => {
                refused += 1;
                before.assert_equal(&Model::read(&mut fs));
            }
            Err(error) => panic!("{operation:?}: {error}"),
        }
    }
    assert!(refused > 0, "the disk was never full");
    fs.unmount().unwrap();
    assert_eq!(e2fsck(&disk.bytes()), None);
    // What is freed can be used again, though only after a commit.
    let mut fs = mount(&disk);
    fs.unlink(ROOT, b"fat", NOW).unwrap();
    fs.evict(fat, NOW).unwrap();
    let file = fs.create(ROOT, b"again", &model::new_file(model::REGULAR), NOW).unwrap();
    fs.write(file, 0, &vec![5; 1_000_000], NOW).unwrap();
    assert!(content(&mut fs, file).iter().all(|byte| *byte == 5));
    fs.unmount().unwrap();
    assert_eq!(e2fsck(&disk.bytes()), None);
}

#[test]
fn full_disks_stay_whole() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for set in [&["-b", "1024", "-J", "size=1"][..], &["-b", "1024", "-O", "^has_journal", "-m", "0"]] {
        let image = mkfs(4 * MIB, set, None);
        for _ in 0..4 {
            let operations =
                proptest::collection::vec(operation(100_000), 150).new_tree(&mut runner).unwrap().current();
            fill(image.clone(), &operations);
        }
    }
}

/// Linux does not log the superblock's counts: after its crash they are those of the mount.
#[test]
fn old_counts_are_made_anew() {
    const FREE_BLOCKS: usize = 1024 + 0xc;
    const FREE_INODES: usize = 1024 + 0x10;
    const INCOMPAT: usize = 1024 + 0x60;
    let mut bytes = USED[0].clone();
    let right = mount(&disk(bytes.clone())).statistics().unwrap();
    bytes[FREE_BLOCKS..FREE_BLOCKS + 4].copy_from_slice(&3_u32.to_le_bytes());
    bytes[FREE_INODES..FREE_INODES + 4].copy_from_slice(&299_u32.to_le_bytes());
    // The journal is to be replayed, though it is empty.
    bytes[INCOMPAT] |= 4;
    let disk = disk(bytes);
    let mut fs = mount(&disk);
    assert_eq!(fs.statistics().unwrap(), right);
    let file = fs.create(ROOT, b"new", &model::new_file(model::REGULAR), NOW).unwrap();
    assert_eq!(fs.write(file, 0, &[1; 20_000], NOW), Ok(20_000));
    fs.unmount().unwrap();
    assert_eq!(e2fsck(&disk.bytes()), None);
}

#[test]
fn a_failed_commit_ends_all_changes() {
    let disk = disk(USED[1].clone());
    let mut fs = mount(&disk);
    let file = find(&mut fs, "holes");
    fs.set_size(file, 10, NOW).unwrap();
    disk.fail_after(Some(1));
    assert!(matches!(fs.commit(), Err(Error::Disk(_))));
    disk.fail_after(None);
    assert_eq!(fs.access(), Access::Aborted);
    assert_eq!(fs.set_size(file, 20, NOW), Err(Error::ReadOnly));
    assert!(matches!(fs.sync_file(file), Err(Error::Disk(_))), "and it stays reported");
    assert_eq!(fs.attributes(file).unwrap().size, 10);
    drop(fs);
    let mut fs = mount(&disk);
    assert_eq!(fs.attributes(file).unwrap().size, 199 * 3000 + 1);
    fs.unmount().unwrap();
    assert_eq!(e2fsck(&disk.bytes()), None);
}

#[test]
fn journals_are_replayed_only_where_that_is_possible() {
    let read_only = Arc::new(SimulatedDisk::new(USED[3].clone(), 512).into_read_only());
    assert_eq!(FileSystem::mount(read_only, &options()).err(), Some(Error::ReadOnly));
    let disk = disk(USED[3].clone());
    let mut fs = FileSystem::mount(disk.clone(), &Options { read_only: true, ..options() }).unwrap();
    assert!(matches!(fs.access(), Access::ReadOnly(_)));
    let found = Model::read(&mut fs);
    assert!(
        found
            .nodes
            .values()
            .any(|node| matches!(&node.content, Content::Link(target) if target.len() == 300))
    );
    drop(fs);
    let mut fs = mount(&disk);
    found.assert_equal(&Model::read(&mut fs));
    fs.unmount().unwrap();
    assert_eq!(e2fsck(&disk.bytes()), None);
}

/// Bytes that were to go to the disk with the journal's blocks, and did not arrive: nothing is committed, and the file shows zeroes, not what the blocks
/// hold.
#[test]
fn what_does_not_arrive_reads_as_zeroes() {
    for set in [&["-b", "1024", "-J", "size=1"][..], &["-b", "4096", "-O", "^has_journal"]] {
        let disk = disk(mkfs(8 * MIB, set, None));
        let mut fs = mount(&disk);
        let other = fs.create(ROOT, b"other", &model::new_file(model::REGULAR), NOW).unwrap();
        fs.write(other, 0, &vec![0xee; 3 << 20], NOW).unwrap();
        let file = fs.create(ROOT, b"log", &model::new_file(model::REGULAR), NOW).unwrap();
        fs.write(file, 0, &[7; 100], NOW).unwrap();
        fs.unlink(ROOT, b"other", NOW).unwrap();
        fs.evict(other, NOW).unwrap();
        fs.commit().unwrap();
        for more in [50, 9000] {
            let before = content(&mut fs, file);
            assert_eq!(append_synced(&mut fs, &disk, file, &vec![8; more], false), Ok(false));
            assert_eq!(fs.access(), Access::Writable);
            let after = content(&mut fs, file);
            assert!(after.starts_with(&before), "what was there is lost");
            assert!(after[before.len()..].iter().all(|byte| *byte == 0), "what another file had is shown");
            assert!(append_synced(&mut fs, &disk, file, &[9; 3000], true).unwrap());
            assert!(content(&mut fs, file).ends_with(&[9; 3000]));
        }
        fs.unmount().unwrap();
        assert_eq!(e2fsck(&disk.bytes()), None);
    }
}
