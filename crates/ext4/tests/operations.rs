//! Random operations: the answers and the result are those of a simple model, and e2fsck finds nothing.
mod common;
use common::model::{Model, Operation, operation};
use common::*;
use proptest::prelude::*;
use std::sync::LazyLock;

const MIB: u64 = 1 << 20;

/// Images of several sets of features.
static IMAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let sets: [&[&str]; 6] = [
        &["-b", "4096"],
        &["-b", "1024", "-J", "size=1"],
        &["-b", "1024", "-O", "^has_journal"],
        &["-b", "1024", "-O", "^metadata_csum,^64bit,uninit_bg", "-g", "1024", "-J", "size=1"],
        &["-b", "2048", "-I", "128", "-O", "^dir_index,^flex_bg"],
        &[
            "-b",
            "1024",
            "-g",
            "512",
            "-G",
            "4",
            "-O",
            "metadata_csum_seed,orphan_file,large_dir",
            "-J",
            "size=1",
        ],
    ];
    sets.map(|set| mkfs(16 * MIB, set, None)).into()
});

fn check(image: usize, operations: &[Operation]) {
    let disk = disk(IMAGES[image % IMAGES.len()].clone());
    let mut fs = mount(&disk);
    let mut model = Model::new(&mut fs);
    let half = operations.len() / 2;
    for (index, operation) in operations.iter().enumerate() {
        model.apply(&mut fs, operation);
        if index == half {
            fs.unmount().unwrap();
            assert_eq!(e2fsck(&disk.bytes()), None);
            fs = mount(&disk);
        }
    }
    model.assert_equal(&Model::read(&mut fs));
    fs.unmount().unwrap();
    assert_eq!(e2fsck(&disk.bytes()), None);
    let mut fs = mount(&disk);
    model.assert_equal(&Model::read(&mut fs));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_operations(image in 0usize..6, operations in proptest::collection::vec(operation(150_000), 1..150)) {
        check(image, &operations);
    }
}

/// What was cut off a file does not come back, whichever way the file grows again.
#[test]
fn growing_shows_zeroes() {
    for image in 0..IMAGES.len() {
        let disk = disk(IMAGES[image].clone());
        let mut fs = mount(&disk);
        type Grow = fn(&mut coracle_ext4::FileSystem, u32);
        let grow: [Grow; 5] = [
            |fs, file| fs.set_size(file, 300, NOW).unwrap(),
            |fs, file| fs.set_size(file, 9000, NOW).unwrap(),
            |fs, file| assert_eq!(fs.write(file, 200, b"end", NOW), Ok(3)),
            |fs, file| assert_eq!(fs.write(file, 9000, b"end", NOW), Ok(3)),
            |fs, file| fs.allocate(file, 50, 400, coracle_ext4::Allocation::Allocate, NOW).unwrap(),
        ];
        for (number, grow) in grow.iter().enumerate() {
            let name = format!("file{number}");
            let new = common::model::new_file(common::model::REGULAR);
            let file = fs.create(coracle_ext4::ROOT, name.as_bytes(), &new, NOW).unwrap();
            fs.write(file, 0, &[7; 1000], NOW).unwrap();
            fs.set_size(file, 100, NOW).unwrap();
            grow(&mut fs, file);
            let bytes = content(&mut fs, file);
            assert!(bytes[..100].iter().all(|byte| *byte == 7), "{number}");
            let end = if bytes.ends_with(b"end") { bytes.len() - 3 } else { bytes.len() };
            assert!(end > 100 && bytes[100..end].iter().all(|byte| *byte == 0), "{number}");
        }
    }
}

/// Directories of thousands of names, whose index has two levels.
#[test]
fn large_directories() {
    for image in [1, 4, 5] {
        let disk = disk(IMAGES[image].clone());
        let mut fs = mount(&disk);
        let name =
            |number: u32| format!("{number:05} {}", "long".repeat((number % 50) as usize)).into_bytes();
        let new = common::model::new_file(common::model::REGULAR);
        let directory = common::model::new_file(common::model::DIRECTORY);
        let directory = fs.create(coracle_ext4::ROOT, b"large", &directory, NOW).unwrap();
        let first = fs.create(directory, &name(0), &new, NOW).unwrap();
        // Without an index each name is looked for in all blocks.
        let count = if image == 4 { 1500 } else { 9000 };
        for number in 1..count {
            fs.link(directory, &name(number), first, NOW).unwrap();
        }
        for number in 0..count {
            assert_eq!(fs.lookup(directory, &name(number)), Ok(first), "{number}");
        }
        assert_eq!(fs.lookup(directory, &name(count)), Err(coracle_ext4::Error::NotFound));
        let all = names(&mut fs, directory);
        assert_eq!(all.len() as u32, count);
        fs.commit().unwrap();
        for number in (0..count).filter(|number| number % 10 != 0) {
            fs.unlink(directory, &name(number), NOW).unwrap();
        }
        assert_eq!(names(&mut fs, directory).len() as u32, count / 10);
        fs.unmount().unwrap();
        assert_eq!(e2fsck(&disk.bytes()), None);
        // One lookup reads a few blocks, and not all of them.
        let mut fs = mount(&disk);
        if image != 4 {
            disk.fail_after(Some(12));
            assert_eq!(fs.lookup(directory, &name(count - 10)), Ok(first));
            disk.fail_after(None);
        }
        for number in (0..count).filter(|number| number % 10 == 0) {
            fs.unlink(directory, &name(number), NOW).unwrap();
        }
        fs.evict(first, NOW).unwrap();
        assert_eq!(fs.rmdir(coracle_ext4::ROOT, b"large", NOW), Ok(directory));
        fs.evict(directory, NOW).unwrap();
        fs.unmount().unwrap();
        assert_eq!(e2fsck(&disk.bytes()), None);
    }
}

/// A file in so many pieces that its tree has three levels, and what is left of it piece by piece.
#[test]
fn scattered_files() {
    let disk = disk(IMAGES[1].clone());
    let mut fs = mount(&disk);
    let new = common::model::new_file(common::model::REGULAR);
    let file = fs.create(coracle_ext4::ROOT, b"scattered", &new, NOW).unwrap();
    const PIECES: u64 = 2500;
    // From both ends, so that nodes are split at both.
    for number in 0..PIECES / 2 {
        fs.write(file, (PIECES + number) * 2048, &[1 + number as u8 % 200; 10], NOW).unwrap();
        fs.write(file, (PIECES - number) * 2048, &[1 + number as u8 % 200; 10], NOW).unwrap();
    }
    fs.unmount().unwrap();
    assert_eq!(e2fsck(&disk.bytes()), None);
    let mut fs = mount(&disk);
    let bytes = content(&mut fs, file);
    for number in 0..PIECES / 2 {
        for place in [PIECES + number, PIECES - number] {
            let expected = if number == 0 { 1 } else { 1 + number as u8 % 200 };
            assert_eq!(bytes[place as usize * 2048 + 9], expected, "{place}");
        }
    }
    // Holes in the middle, then the rest from the end.
    for number in (PIECES / 2..PIECES).step_by(3) {
        fs.allocate(file, number * 2048, 2048, coracle_ext4::Allocation::PunchHole, NOW).unwrap();
    }
    fs.set_size(file, PIECES * 2048, NOW).unwrap();
    fs.unmount().unwrap();
    assert_eq!(e2fsck(&disk.bytes()), None);
    let mut fs = mount(&disk);
    fs.set_size(file, 0, NOW).unwrap();
    assert_eq!(fs.attributes(file).unwrap().blocks, 0);
    fs.unmount().unwrap();
    assert_eq!(e2fsck(&disk.bytes()), None);
}

/// A renamed file leaves a character device 0/0 behind, also where it replaces another and where a directory moves.
#[test]
fn whiteouts_are_left_behind() {
    use coracle_ext4::{NewFile, ROOT, Rename};
    let disk = disk(IMAGES[0].clone());
    let mut fs = mount(&disk);
    let new = |mode| NewFile { mode, uid: 0, gid: 0, device: Default::default() };
    let file = fs.create(ROOT, b"file", &new(0o100_644), NOW).unwrap();
    let old = fs.create(ROOT, b"old", &new(0o100_644), NOW).unwrap();
    let directory = fs.create(ROOT, b"directory", &new(0o040_755), NOW).unwrap();
    assert_eq!(fs.rename((ROOT, b"file"), (ROOT, b"old"), Rename::Whiteout, NOW), Ok(Some((old, 0))));
    fs.evict(old, NOW).unwrap();
    let inner = fs.create(ROOT, b"inner", &new(0o040_755), NOW).unwrap();
    assert_eq!(fs.rename((ROOT, b"inner"), (directory, b"moved"), Rename::Whiteout, NOW), Ok(None));
    assert_eq!((fs.lookup(ROOT, b"old"), fs.lookup(directory, b"moved")), (Ok(file), Ok(inner)));
    for name in [b"file".as_slice(), b"inner"] {
        let left = fs.lookup(ROOT, name).unwrap();
        let attributes = fs.attributes(left).unwrap();
        assert_eq!(
            (attributes.mode, attributes.device, attributes.links),
            (0o020_000, Default::default(), 1)
        );
    }
    fs.unmount().unwrap();
    assert_eq!(e2fsck(&disk.bytes()), None);
}
