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
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_operations(image in 0usize..6, operations in proptest::collection::vec(operation(150_000), 1..150)) {
        check(image, &operations);
    }
}
