//! Images that mkfs.ext4, debugfs and e2fsck made are read as they were made.
mod common;
use common::tree::compare;
use common::*;
use coracle_block::simulated::SimulatedDisk;
use coracle_ext4::{Access, Error, FileSystem, Options, ROOT};
use std::path::Path;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// The sets of features that are tried, with the blocks of both sizes.
const SETS: [&[&str]; 8] = [
    &["-b", "4096"],
    &["-b", "1024"],
    &["-b", "2048", "-I", "512"],
    &["-b", "1024", "-O", "^has_journal"],
    &["-b", "4096", "-O", "^metadata_csum,^64bit"],
    &["-b", "1024", "-O", "^metadata_csum,uninit_bg,^flex_bg"],
    &["-b", "4096", "-O", "^extents,^64bit,^metadata_csum", "-I", "128"],
    &["-b", "4096", "-O", "inline_data,metadata_csum_seed,orphan_file"],
];

/// Bytes that differ from block to block.
fn pattern(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8).collect()
}

/// A tree of files of many kinds.
fn make_tree(root: &Path) {
    use std::os::unix::fs::{FileExt as _, symlink};
    for (number, size) in
        [0, 1, 59, 60, 61, 150, 1000, 1024, 4095, 4096, 4097, 50_000, 700_000].into_iter().enumerate()
    {
        std::fs::write(root.join(format!("file{size}")), pattern(size, number as u32)).unwrap();
    }
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    for at in [0, 100_000, 2_000_000, 6_000_000] {
        sparse.write_all_at(&pattern(3000, at as u32), at).unwrap();
    }
    sparse.set_len(8_000_001).unwrap();
    std::fs::create_dir_all(root.join("a/deep/directory")).unwrap();
    std::fs::write(root.join("a/deep/directory/leaf"), b"leaf").unwrap();
    symlink("file60", root.join("short")).unwrap();
    symlink("x".repeat(59), root.join("link59")).unwrap();
    symlink("y".repeat(60), root.join("link60")).unwrap();
    symlink("z".repeat(900), root.join("link900")).unwrap();
    std::fs::hard_link(root.join("file1000"), root.join("a/linked")).unwrap();
    std::fs::create_dir(root.join("many")).unwrap();
    for number in 0..600 {
        std::fs::write(
            root.join(format!("many/a rather long name of a file, number {number}")),
            format!("{number}"),
        )
        .unwrap();
    }
}

#[test]
fn trees_of_all_sets_of_features() {
    let scratch = Scratch::new();
    make_tree(&scratch.0);
    for set in SETS {
        if set.iter().any(|option| option.contains("inline_data")) {
            // mkfs.ext4 1.47 rounds the size of a sparse file up with this feature.
            let _ = std::fs::remove_file(scratch.path("sparse"));
        }
        let plain = mkfs(40 * MIB, set, Some(&scratch.0));
        for image in [e2fsck_indexing(&plain), plain] {
            let disk = disk(image.clone());
            let mut fs = FileSystem::mount(disk.clone(), &Options { read_only: true, ..options() }).unwrap();
            compare(&mut fs, ROOT, &scratch.0);
            assert_eq!(fs.lookup(ROOT, b"nothing"), Err(Error::NotFound));
            assert_eq!(fs.lookup(ROOT, &[b'x'; 256]), Err(Error::NameTooLong));
            let file = find(&mut fs, "file1");
            assert_eq!(fs.lookup(file, b"x"), Err(Error::NotDirectory));
            drop(fs);
            assert!(disk.bytes() == image, "reading writes nothing");
        }
    }
}

#[test]
fn counts_and_names_of_the_volume() {
    for set in [&["-b", "1024", "-L", "cargo"][..], &["-L", "cargo"]] {
        let image = mkfs(40 * MIB, set, None);
        let (_, said) = debugfs(&image, "show_super_stats -h\n");
        let number = |what: &str| -> u64 {
            said.lines().find_map(|line| line.strip_prefix(what)).unwrap().trim().parse().unwrap()
        };
        let mut fs = FileSystem::mount(disk(image), &Options { read_only: true, ..options() }).unwrap();
        let statistics = fs.statistics().unwrap();
        assert_eq!(statistics.free_blocks, number("Free blocks:"));
        assert_eq!(u64::from(statistics.inodes), number("Inode count:"));
        assert_eq!(u64::from(statistics.free_inodes), number("Free inodes:"));
        assert_eq!(statistics.free_blocks - statistics.available_blocks, number("Reserved block count:"));
        assert!(statistics.blocks <= number("Block count:") && statistics.blocks >= statistics.free_blocks);
        assert_eq!(fs.label(), b"cargo");
    }
}

#[test]
fn devices_pipes_and_attributes() {
    let image = mkfs(16 * MIB, &[], None);
    let long = "v".repeat(700);
    let (image, _) = debugfs(
        &image,
        &format!(
            "mknod null c 1 3\nmknod far b 8 1\nset_inode_field far block[0] 0\nset_inode_field far block[1] 0x11110370\nmknod pipe p\nmkdir d\nset_inode_field d mode 040700\n\
             ea_set d user.colour blue\nea_set d user.long {long}\nea_set d security.x y\n"
        ),
    );
    let mut fs = FileSystem::mount(disk(image), &Options { read_only: true, ..options() }).unwrap();
    let device = |fs: &mut FileSystem, path| {
        let inode = find(fs, path);
        let attributes = fs.attributes(inode).unwrap();
        (attributes.mode & 0o170_000, attributes.device.major, attributes.device.minor)
    };
    assert_eq!(device(&mut fs, "null"), (0o020_000, 1, 3));
    assert_eq!(device(&mut fs, "far"), (0o060_000, 259, 70_000));
    assert_eq!(device(&mut fs, "pipe"), (0o010_000, 0, 0));
    let directory = find(&mut fs, "d");
    assert_eq!(fs.xattr(directory, b"user.colour").unwrap(), b"blue");
    assert_eq!(fs.xattr(directory, b"user.long").unwrap(), long.as_bytes());
    let mut names: Vec<_> =
        fs.xattr_names(directory).unwrap().split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    names.sort();
    assert_eq!(names, [&b""[..], b"security.x", b"user.colour", b"user.long"]);
    assert_eq!(fs.xattr(directory, b"user.none"), Err(Error::NoAttribute));
    assert_eq!(fs.xattr(directory, b"nonsense"), Err(Error::NoNamespace));
}

#[test]
fn what_is_not_supported_is_named() {
    let refused = |options: &[&str]| {
        let image = mkfs(64 * MIB, options, None);
        FileSystem::mount(disk(image), &common::options()).err().map(|error| error.to_string())
    };
    assert_eq!(refused(&["-O", "bigalloc"]).unwrap(), "the ext4 feature bigalloc is not supported");
    assert_eq!(refused(&["-O", "encrypt"]).unwrap(), "the ext4 feature encrypt is not supported");
    assert_eq!(refused(&["-O", "mmp"]).unwrap(), "the ext4 feature mmp is not supported");
    let zeroes = disk(vec![0; MIB as usize]);
    assert_eq!(FileSystem::mount(zeroes, &options()).err(), Some(Error::NotExt4));
    for (set, writable) in [(&["-O", "quota"][..], false), (&["-O", "^extents,^64bit"], false), (&[], true)] {
        let fs = FileSystem::mount(disk(mkfs(16 * MIB, set, None)), &options()).unwrap();
        assert_eq!(fs.access() == Access::Writable, writable, "{set:?}");
    }
    let read_only = Arc::new(SimulatedDisk::new(mkfs(16 * MIB, &[], None), 512).into_read_only());
    let mut fs = FileSystem::mount(read_only, &options()).unwrap();
    assert!(matches!(fs.access(), Access::ReadOnly(_)));
    assert_eq!(fs.write(ROOT, 0, b"x", NOW), Err(Error::ReadOnly));
    // A bit of the future.
    let mut image = mkfs(16 * MIB, &["-O", "^metadata_csum"], None);
    image[1024 + 0x63] |= 0x40;
    assert_eq!(FileSystem::mount(disk(image), &options()).err(), Some(Error::UnknownFeatures(0x4000_0000)));
}
