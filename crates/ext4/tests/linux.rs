//! Linux itself mounts what was written here, and the other way round, with journals to be replayed. It takes root and loop devices:
//! `cargo test -p coracle-ext4 --test linux -- --ignored`.
mod common;
use common::model::{Model, operation};
use common::tree::compare;
use common::*;
use coracle_ext4::ROOT;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;

/// An image that Linux has mounted.
struct Mounted {
    scratch: Scratch,
}

impl Mounted {
    fn new(image: &[u8]) -> Mounted {
        let scratch = Scratch::new();
        std::fs::write(scratch.path("image"), image).unwrap();
        std::fs::create_dir(scratch.path("mount")).unwrap();
        let mount = Command::new("mount")
            .args(["-o", "loop"])
            .args([scratch.path("image"), scratch.path("mount")])
            .output()
            .unwrap();
        assert!(mount.status.success(), "{}", String::from_utf8_lossy(&mount.stderr));
        Mounted { scratch }
    }
    fn path(&self) -> PathBuf {
        self.scratch.path("mount")
    }
    /// What its disk holds, as it would be after a crash.
    fn image(&self) -> Vec<u8> {
        assert!(Command::new("sync").arg("-f").arg(self.path()).status().unwrap().success());
        std::fs::read(self.scratch.path("image")).unwrap()
    }
    fn unmount(self) -> Vec<u8> {
        let image = self.scratch.path("image");
        assert!(Command::new("umount").arg(self.path()).status().unwrap().success());
        std::fs::read(image).unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // It is unmounted already where nothing failed.
        let _ = Command::new("umount").arg("-q").arg(self.path()).output();
    }
}

/// Uses a directory so that all kinds of metadata change.
fn work(root: &Path, round: usize) {
    use std::os::unix::fs::{FileExt as _, symlink};
    let directory = root.join(format!("round{round}"));
    std::fs::create_dir(&directory).unwrap();
    for number in 0..400 {
        let file = directory.join(format!("one of some files, whose name is not short: {number}"));
        std::fs::write(&file, vec![number as u8; number * 37]).unwrap();
        match number % 7 {
            0 => std::fs::remove_file(&file).unwrap(),
            1 => std::fs::rename(&file, directory.join(format!("renamed{number}"))).unwrap(),
            2 => std::fs::hard_link(&file, directory.join(format!("linked{number}"))).unwrap(),
            3 => symlink("x".repeat(number), directory.join(format!("symbolic{number}"))).unwrap(),
            4 => std::fs::create_dir(directory.join(format!("directory{number}"))).unwrap(),
            5 => {
                std::fs::File::options().write(true).open(&file).unwrap().set_len(number as u64 * 11).unwrap()
            }
            _ => std::fs::File::options()
                .write(true)
                .open(&file)
                .unwrap()
                .write_all_at(b"far", 300_000)
                .unwrap(),
        }
    }
    if round > 0 {
        // Blocks of directories become those of files.
        std::fs::remove_dir_all(root.join(format!("round{}", round - 1))).unwrap();
        std::fs::write(root.join(format!("data{round}")), vec![0x5a; 500_000]).unwrap();
    }
}

#[test]
#[ignore = "takes root and loop devices"]
fn journals_of_linux_are_replayed() {
    for set in [
        &["-b", "4096"][..],
        &["-b", "1024"],
        &["-b", "4096", "-O", "metadata_csum_seed,orphan_file"],
        &["-b", "1024", "-O", "^metadata_csum,^64bit"],
    ] {
        let linux = Mounted::new(&mkfs(64 * MIB, set, None));
        for round in 0..4 {
            work(&linux.path(), round);
            let crashed = disk(linux.image());
            let mut fs = mount(&crashed);
            compare(&mut fs, ROOT, &linux.path());
            fs.unmount().unwrap();
            assert_eq!(e2fsck(&crashed.bytes()), None, "{set:?}, round {round}");
        }
        linux.unmount();
    }
}

#[test]
#[ignore = "takes root and loop devices"]
fn linux_replays_journals_of_ours() {
    let mut runner = TestRunner::deterministic();
    for set in [
        &["-b", "4096"][..],
        &["-b", "1024", "-J", "size=1"],
        &["-b", "1024", "-J", "size=1", "-O", "^metadata_csum,^64bit"],
    ] {
        for round in 0..4 {
            let operations =
                proptest::collection::vec(operation(100_000), 150).new_tree(&mut runner).unwrap().current();
            let disk = disk(mkfs(32 * MIB, set, None));
            let mut fs = mount(&disk);
            let mut model = Model::new(&mut fs);
            for operation in &operations {
                model.apply(&mut fs, operation);
            }
            fs.commit().unwrap();
            let linux = Mounted::new(&disk.bytes());
            compare(&mut fs, ROOT, &linux.path());
            work(&linux.path(), 0);
            let image = linux.unmount();
            assert_eq!(e2fsck(&image), None, "{set:?}, round {round}");
            let mut fs = mount(&common::disk(image));
            let found = Model::read(&mut fs);
            assert!(
                model
                    .nodes
                    .iter()
                    .filter(|(inode, _)| **inode != ROOT)
                    .all(|(inode, node)| found.nodes.get(inode) == Some(node))
            );
        }
    }
}
