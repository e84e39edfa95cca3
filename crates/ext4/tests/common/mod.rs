//! Images made and checked by e2fsprogs.
#![allow(dead_code, reason = "each test uses a part of it")]
pub mod exercise;
pub mod model;
pub mod tree;

use coracle_block::Disk as _;
use coracle_block::simulated::SimulatedDisk;
use coracle_ext4::{FileSystem, Options, Time};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed at the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Memory, where there is a file system of it: the tools flush their images.
        let base =
            if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let path = base.join(format!("coracle-ext4-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(tool: &str, arguments: &[&str]) -> Output {
    let path = format!("/usr/sbin/{tool}");
    Command::new(path).args(arguments).output().expect("e2fsprogs is installed")
}

/// Runs mkfs.ext4 with options, on an image of so many bytes, and returns the image.
pub fn mkfs(bytes: u64, options: &[&str], root: Option<&Path>) -> Vec<u8> {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    std::fs::File::create(&image).unwrap().set_len(bytes).unwrap();
    let image = image.to_str().unwrap();
    let mut arguments = vec!["-q", "-F"];
    arguments.extend(options);
    if let Some(root) = root {
        arguments.extend(["-d", root.to_str().unwrap()]);
    }
    arguments.push(image);
    let output = run("mkfs.ext4", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(image).unwrap()
}

/// Runs commands of debugfs on an image, and returns the image and what was said.
pub fn debugfs(bytes: &[u8], commands: &str) -> (Vec<u8>, String) {
    let scratch = Scratch::new();
    let (image, script) = (scratch.path("image"), scratch.path("script"));
    std::fs::write(&image, bytes).unwrap();
    std::fs::write(&script, commands).unwrap();
    let output = run("debugfs", &["-w", "-f", script.to_str().unwrap(), image.to_str().unwrap()]);
    assert!(output.status.success());
    (std::fs::read(&image).unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What e2fsck finds in an image, without mending it. `None`: nothing.
pub fn e2fsck(bytes: &[u8]) -> Option<String> {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    std::fs::write(&image, bytes).unwrap();
    e2fsck_file(&image)
}

/// The same of an image in a file.
pub fn e2fsck_file(image: &Path) -> Option<String> {
    let output = run("e2fsck", &["-fn", image.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // That a tree could have fewer nodes is no fault: Linux, too, does not join nodes of which blocks were freed.
    let advice = ["could be narrower.  Optimize? no", "could be shorter.  Optimize? no"];
    let said: Vec<&str> = said
        .lines()
        .filter(|line| !line.is_empty() && !advice.iter().any(|advice| line.ends_with(advice)))
        .collect();
    let said = said.join("\n");
    // It says a line for each of its five passes, and one of numbers.
    let clean = output.status.success() && !said.contains("? no") && said.lines().count() <= 6;
    (!clean).then(|| said + &String::from_utf8_lossy(&output.stderr))
}

/// Has e2fsck mend an image and make indices.
pub fn e2fsck_indexing(bytes: &[u8]) -> Vec<u8> {
    let scratch = Scratch::new();
    let image = scratch.path("image");
    std::fs::write(&image, bytes).unwrap();
    let output = run("e2fsck", &["-fyD", image.to_str().unwrap()]);
    assert!(output.status.code().is_some_and(|code| code <= 1));
    std::fs::read(&image).unwrap()
}

/// The time that tests write.
pub const NOW: Time = Time { seconds: 1_700_000_000, nanoseconds: 123_456_789 };

pub fn disk(bytes: Vec<u8>) -> Arc<SimulatedDisk> {
    Arc::new(SimulatedDisk::new(bytes, 512))
}

pub fn options() -> Options {
    Options { now: NOW, ..Options::default() }
}

pub fn mount(disk: &Arc<SimulatedDisk>) -> FileSystem {
    FileSystem::mount(disk.clone(), &options()).unwrap()
}

/// Follows a path from the root.
pub fn find(fs: &mut FileSystem, path: &str) -> u32 {
    path.split('/').filter(|name| !name.is_empty()).fold(coracle_ext4::ROOT, |directory, name| {
        fs.lookup(directory, name.as_bytes()).unwrap_or_else(|error| panic!("{path}: {error}"))
    })
}

/// The content of a file.
pub fn content(fs: &mut FileSystem, inode: u32) -> Vec<u8> {
    let size = fs.attributes(inode).unwrap().size;
    let mut bytes = vec![0xaa; size as usize + 1];
    let len = fs.read(inode, 0, &mut bytes).unwrap();
    bytes.truncate(len);
    assert_eq!(len as u64, size);
    bytes
}

/// Appends bytes to a file that holds others, and makes it durable: bytes and journal go to the disk together, as far as the blocks lie in
/// a row. `arrives`: the bytes do.
pub fn append_synced(
    fs: &mut FileSystem,
    disk: &SimulatedDisk,
    inode: u32,
    more: &[u8],
    arrives: bool,
) -> coracle_ext4::Result<bool> {
    let block_bytes = fs.block_bytes() as usize;
    let old = content(fs, inode);
    let from = old.len() - old.len() % block_bytes;
    let mut bytes = [&old[from..], more].concat();
    let len = bytes.len();
    bytes.resize(len.next_multiple_of(block_bytes), 0);
    let mut done = 0;
    let mut synced = true;
    while done < len {
        let taken = fs.begin_write(inode, (from + done) as u64, len - done, NOW, &mut |place, len| {
            if arrives {
                disk.begin_write(place, &bytes[done..done + len.next_multiple_of(block_bytes)])?;
            }
            Ok(())
        })?;
        done += taken;
        synced &= fs.sync_after(inode, true, &mut || arrives)?;
    }
    Ok(synced)
}

/// The names of a directory, sorted, without `.` and `..`.
pub fn names(fs: &mut FileSystem, directory: u32) -> Vec<(Vec<u8>, u32)> {
    let mut names = Vec::new();
    fs.read_directory(directory, 0, &mut |entry| {
        if entry.name != b"." && entry.name != b".." {
            names.push((entry.name.to_vec(), entry.inode));
        }
        true
    })
    .unwrap();
    names.sort();
    names
}
