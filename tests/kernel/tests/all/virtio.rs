//! Drivers of virtio devices, and what devices can do to them that follows no rule.
use coracle_devices::virtio::rng::Rng;
use coracle_hal::host::virtio::{Device, Kind, Model, Queue};
use coracle_hal::virtio::transport::Transport;
use coracle_kernel_tests::errno::{EIO, ENOENT};
use coracle_kernel_tests::files::{close, contents, open, with_path};
use coracle_kernel_tests::virtio::{self, ANSWERS, Answer, CONTENTS, DISK_BYTES, SERVERS};
use coracle_kernel_tests::{abi, run, sys};
use coracle_virtio::device::id;
use std::sync::Mutex;

/// Disks that are bytes of the host come before.
fn name(disk: usize) -> String {
    format!("/dev/vd{}", (b'a' + coracle_kernel_tests::disk::COUNT as u8 + disk as u8) as char)
}

#[test]
fn disks_are_read_written_and_flushed_and_errors_reported() {
    const DIRECT: u32 = abi::O_RDWR | abi::O_DIRECT;
    const AT: usize = 8192;
    run(|| {
        let page = sys::put(&[7; 4096]);
        let move_page = |call, file| sys::call(call, &[file, page, 4096, AT]);
        let mut files = Vec::new();
        for disk in 0..ANSWERS.len() {
            let file = open(&name(disk), DIRECT, 0).expect("a disk is opened");
            assert_eq!(move_page(abi::__NR_pwrite64, file), Ok(4096));
            let flushed = virtio::disk(disk).1;
            sys::call(abi::__NR_fsync, &[file]).expect("a disk is flushed");
            let (bytes, flushes) = virtio::disk(disk);
            assert_eq!((&bytes[AT..AT + 4096], flushes > flushed), (&[7; 4096][..], true));
            assert_eq!((bytes.len(), bytes[AT - 1], bytes[AT + 4096]), (DISK_BYTES, 0, 0));
            // So that there is something to flush; the last close(2) would do it.
            assert_eq!(move_page(abi::__NR_pwrite64, file), Ok(4096));
            files.push(file);
        }
        virtio::go_wrong();
        for (file, answer) in files.into_iter().zip(ANSWERS) {
            let flushed = sys::call(abi::__NR_fsync, &[file]);
            let moved = [abi::__NR_pread64, abi::__NR_pwrite64].map(|call| move_page(call, file));
            let right = match answer {
                Answer::Right => (Ok(0), [Ok(4096); 2]),
                _ => (Err(EIO), [Err(EIO); 2]),
            };
            assert_eq!((flushed, moved), right, "{answer:?}");
            close(file);
        }
    });
}

#[test]
fn a_share_is_mounted_and_wrong_answers_are_errors() {
    run(|| {
        for (tag, _) in SERVERS {
            let at = format!("/{tag}");
            with_path(abi::__NR_mkdir, &at, 0o755).expect("a directory is made");
            let [from, to, kind] = [tag, &at, "9p"].map(sys::string);
            let options = sys::string("trans=virtio,version=9p2000.L");
            let mounted = sys::call(abi::__NR_mount, &[from, to, kind, 0, options]);
            if tag == "right" {
                assert_eq!(mounted, Ok(0));
                assert_eq!(contents(&format!("{at}/file")).as_deref(), Ok(CONTENTS));
                assert_eq!(open(&format!("{at}/other"), abi::O_RDONLY, 0), Err(ENOENT));
                with_path(abi::__NR_umount2, &at, 0).expect("a share is unmounted");
            } else {
                assert!(mounted.is_err(), "{tag}");
            }
        }
    });
}

/// An entropy device that says how many bytes it has written, whether it is true or not.
struct Source(&'static Mutex<u32>);

impl Model for Source {
    fn kind(&self) -> Kind {
        Kind { device_type: id::ENTROPY, features: 0, queues: 1 }
    }
    fn config(&self, _offset: usize) -> u8 {
        0
    }
    fn notified(&mut self, queue: &mut Queue, _number: u16) {
        while let Some(chain) = queue.take() {
            chain.write(0, &[9; 64]);
            queue.put(chain.number(), *self.0.lock().expect("nobody panics here"));
        }
    }
}

#[test]
fn entropy_is_what_a_device_has_written_and_no_more() {
    static LEN: Mutex<u32> = Mutex::new(64);
    run(|| {
        let device = Device::new(Box::new(Source(&LEN)));
        let transport = Transport::played(device).ok().flatten().expect("it is a device");
        let rng = Rng::new(transport).unwrap_or_else(|error| panic!("{error}"));
        let taken = |rng: &Rng| {
            let mut all = Vec::new();
            rng.take(|bytes| all.extend_from_slice(bytes));
            all
        };
        assert_eq!(taken(&rng), [9; 64]);
        *LEN.lock().expect("nobody panics here") = 3;
        rng.ask();
        assert_eq!(taken(&rng), [9; 3]);
        assert_eq!(taken(&rng), []);
        *LEN.lock().expect("nobody panics here") = 65;
        rng.ask();
        assert_eq!(taken(&rng), []);
        // It has broken the rules, and is not listened to any more.
        rng.ask();
        assert_eq!(taken(&rng), []);
    });
}
