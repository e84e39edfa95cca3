//! File systems made here: e2fsprogs find nothing wrong with them, and read what is written.
mod common;
use common::model::{self, Model, operation};
use common::*;
use coracle_block::Disk;
use coracle_ext4::{Access, Error, Format, ROOT, format};
use proptest::prelude::*;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

fn made(bytes: u64, before: u8) -> Vec<u8> {
    let simulated = disk(vec![before; bytes as usize]);
    let disk: Arc<dyn Disk> = simulated.clone();
    let uuid = *b"\x12\x34\x56\x78\x9a\xbc\x4d\xef\x80\x01\x02\x03\x04\x05\x06\x07";
    format(&disk, &Format { label: b"cargo", uuid, hash_seed: [7; 16], now: NOW }).unwrap();
    simulated.bytes()
}

#[test]
fn all_sizes_are_clean() {
    // A group has 128 MiB: one and some, with a last group that is too small, and one that is hardly large enough.
    for (bytes, before) in [
        (8 * MIB, 0),
        (9 * MIB + 512, 0xff),
        (100 * MIB, 0x5a),
        (129 * MIB, 0),
        (300 * MIB, 0xff),
        (700 * MIB, 0),
    ] {
        let image = made(bytes, before);
        assert_eq!(e2fsck(&image), None, "{bytes} bytes");
        let disk = disk(image);
        let mut fs = mount(&disk);
        assert_eq!((fs.access(), fs.label()), (Access::Writable, &b"cargo"[..]));
        let directory = fs.create(ROOT, b"d", &model::new_file(model::DIRECTORY), NOW).unwrap();
        let file = fs.create(directory, b"file", &model::new_file(model::REGULAR), NOW).unwrap();
        fs.write(file, 0, &vec![7; 3_000_000], NOW).unwrap();
        fs.unmount().unwrap();
        let image = disk.bytes();
        assert_eq!(e2fsck(&image), None, "{bytes} bytes");
        let (_, said) = debugfs(&image, "stat /d/file\n");
        assert!(said.contains("Size: 3000000") && said.contains("User:  1000"), "{said}");
    }
}

#[test]
fn linux_tools_know_the_volume() {
    let (_, said) = debugfs(&made(64 * MIB, 0), "show_super_stats -h\nls -l\n");
    for part in [
        "Filesystem volume name:   cargo",
        "12345678-9abc-4def-8001-020304050607",
        "has_journal",
        "metadata_csum",
        "Journal backup:           inode blocks",
        "lost+found",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn what_can_not_be_made_is_refused() {
    let tiny: Arc<dyn Disk> = disk(vec![0; 7 * MIB as usize]);
    let how = Format { label: b"x", uuid: [1; 16], hash_seed: [2; 16], now: NOW };
    assert_eq!(format(&tiny, &how), Err(Error::NoSpace));
    let long = Format { label: b"more than sixteen bytes", ..how };
    assert_eq!(format(&tiny, &long), Err(Error::Invalid));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn operations_on_such_volumes(size in 8u64..40, operations in proptest::collection::vec(operation(150_000), 1..100)) {
        let disk = disk(made(size * MIB, 0xff));
        let mut fs = mount(&disk);
        let mut model = Model::new(&mut fs);
        for operation in &operations {
            model.apply(&mut fs, operation);
        }
        fs.unmount().unwrap();
        prop_assert_eq!(e2fsck(&disk.bytes()), None);
        model.assert_equal(&Model::read(&mut mount(&disk)));
    }
}
