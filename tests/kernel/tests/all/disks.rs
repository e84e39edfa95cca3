//! Disks and the volumes on them, whose images e2fsprogs makes and checks.
use coracle_kernel_tests::errno::{EBUSY, EINVAL, EIO, ENOSPC, EROFS};
use coracle_kernel_tests::files::{self, close, contents, make, open, with_path, with_paths};
use coracle_kernel_tests::threads::{Thread, spawn};
use coracle_kernel_tests::{abi, disk, run, sys};
use std::path::PathBuf;
use std::process::Command;

/// A file of the host, which goes at the end.
struct Image(PathBuf);

impl Image {
    fn new(name: &str) -> Image {
        Image(std::env::temp_dir().join(format!("coracle-kernel-{name}-{}", std::process::id())))
    }

    /// Runs a tool of e2fsprogs on it; returns what it said, or fails with that.
    fn tool(&self, name: &str, arguments: &[&str]) -> Vec<u8> {
        let tool = Command::new(format!("/usr/sbin/{name}")).args(arguments).arg(&self.0).output();
        let output = tool.expect("e2fsprogs is installed");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
        output.stdout
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Puts an empty file system on a disk.
fn format(number: usize) {
    let image = Image::new(&format!("format-{number}"));
    let file = std::fs::File::create(&image.0).expect("the host has room");
    file.set_len(disk::SIZE as u64).expect("the host has room");
    image.tool("mkfs.ext4", &["-q", "-F"]);
    disk::fill(number, &std::fs::read(&image.0).expect("the image is read"));
}

/// Checks what is on a disk; returns what a file of it has.
fn check(number: usize, path: &str) -> Vec<u8> {
    let image = Image::new(&format!("check-{number}"));
    std::fs::write(&image.0, disk::bytes(number)).expect("the host has room");
    image.tool("e2fsck", &["-f", "-n"]);
    image.tool("debugfs", &["-R", &format!("cat {path}")])
}

fn mount(number: usize, at: &str) {
    with_path(abi::__NR_mkdir, at, 0o755).expect("a directory is made");
    let device = format!("/dev/vd{}", (b'a' + number as u8) as char);
    let arguments = [sys::string(&device), sys::string(at), sys::string("ext4"), 0, 0];
    sys::call(abi::__NR_mount, &arguments).expect("a volume is mounted");
}

fn unmount(at: &str) {
    with_path(abi::__NR_umount2, at, 0).expect("a volume is unmounted");
}

#[test]
fn files_of_a_volume_are_on_the_disk() {
    const VOLUME: usize = 0;
    format(VOLUME);
    let text: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    let written = text.clone();
    run(move || {
        mount(VOLUME, "/volume");
        with_path(abi::__NR_mkdir, "/volume/inner", 0o700).expect("a directory is made");
        make("/volume/first", &written);
        with_paths(abi::__NR_rename, "/volume/first", "/volume/inner/second").expect("a file is renamed");
        assert_eq!(contents("/volume/inner/second"), Ok(written));
        let file = open("/volume/inner/second", abi::O_RDWR, 0).expect("a file is opened");
        assert_eq!(with_path(abi::__NR_umount2, "/volume", 0), Err(EBUSY));
        sys::call(abi::__NR_fsync, &[file]).expect("a file is synced");
        close(file);
        unmount("/volume");
    });
    assert_eq!(check(VOLUME, "/inner/second"), text);
}

#[test]
fn threads_append_to_one_volume() {
    const VOLUME: usize = 1;
    const RECORDS: usize = 20;
    format(VOLUME);
    run(|| {
        mount(VOLUME, "/shared");
        let threads: Vec<_> = (1..4_u8)
            .map(|number| {
                spawn(move || {
                    let flags = abi::O_CREAT | abi::O_WRONLY | abi::O_APPEND;
                    let file = open("/shared/log", flags, 0o644).expect("a file is opened");
                    for _ in 0..RECORDS {
                        assert_eq!(files::write(file, &[number; 700]), Ok(700));
                        sys::call(abi::__NR_fdatasync, &[file]).expect("a file is synced");
                    }
                    close(file);
                })
            })
            .collect();
        threads.into_iter().for_each(Thread::join);
        unmount("/shared");
    });
    let log = check(VOLUME, "/log");
    assert_eq!(log.len(), 3 * RECORDS * 700);
    assert!(log.chunks(700).all(|record| record.iter().all(|&byte| byte == record[0])));
}

#[test]
fn a_broken_disk_is_reported() {
    const VOLUME: usize = 2;
    format(VOLUME);
    run(|| {
        mount(VOLUME, "/broken");
        make("/broken/before", b"as it was");
        with_path(abi::__NR_mkdir, "/broken/inner", 0o700).expect("a directory is made");
        sys::call(abi::__NR_sync, &[]).expect("all is written");
        let file = open("/broken/file", abi::O_CREAT | abi::O_RDWR, 0o644).expect("a file is made");
        assert_eq!(files::write(file, &[1; 5000]), Ok(5000));
        disk::break_sectors(VOLUME, 0..u64::MAX);
        assert_eq!(sys::call(abi::__NR_fsync, &[file]), Err(EIO));
        assert_eq!(open("/broken/after", abi::O_CREAT | abi::O_WRONLY, 0o644), Err(EROFS));
        assert_eq!(contents("/broken/before"), Ok(b"as it was".to_vec()));
        close(file);
        unmount("/broken");
        // What was synced is in the journal.
        disk::break_sectors(VOLUME, 0..0);
        mount(VOLUME, "/mended");
        assert_eq!(contents("/mended/before"), Ok(b"as it was".to_vec()));
        unmount("/mended");
    });
    assert_eq!(check(VOLUME, "/before"), b"as it was");
}

#[test]
fn a_disk_is_a_file() {
    /// linux/fs.h.
    const BLKGETSIZE64: usize = 0x8008_1272;
    const DISK: usize = 3;
    disk::fill(DISK, b"the first bytes");
    run(|| {
        let file = open("/dev/vdd", abi::O_RDWR, 0).expect("a disk is opened");
        let size = sys::memory(8);
        sys::call(abi::__NR_ioctl, &[file, BLKGETSIZE64, size]).expect("a disk has a size");
        assert_eq!(coracle_kernel_tests::load_u64(size), disk::SIZE as u64);
        assert_eq!(files::read(file, 15).as_deref(), Ok(&b"the first bytes"[..]));
        let text = sys::put(&[7; 3000]);
        assert_eq!(sys::call(abi::__NR_pwrite64, &[file, text, 3000, disk::SIZE - 2000]), Ok(2000));
        assert_eq!(sys::call(abi::__NR_pwrite64, &[file, text, 1, disk::SIZE]), Err(ENOSPC));
        assert_eq!(sys::call(abi::__NR_pread64, &[file, text, 1, disk::SIZE]), Ok(0));
        sys::call(abi::__NR_fsync, &[file]).expect("a disk is synced");
        close(file);
        // Past the page cache: whole sectors alone.
        let direct = open("/dev/vdd", abi::O_RDWR | abi::O_DIRECT, 0).expect("a disk is opened");
        let page = sys::memory(4096);
        assert_eq!(sys::call(abi::__NR_pread64, &[direct, page, 512, disk::SIZE - 512]), Ok(512));
        assert_eq!(sys::bytes(page, 512), [7; 512]);
        assert_eq!(sys::call(abi::__NR_pread64, &[direct, page, 100, 0]), Err(EINVAL));
        assert_eq!(sys::call(abi::__NR_pwrite64, &[direct, page, 512, 4096]), Ok(512));
        close(direct);
    });
    let bytes = disk::bytes(DISK);
    assert_eq!(&bytes[disk::SIZE - 2000..], [7; 2000]);
    assert_eq!(&bytes[4096..4096 + 512], [7; 512]);
}
