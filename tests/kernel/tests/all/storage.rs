//! Files of the file systems in memory: bytes, lengths, names that go while a file is open, and writers side by side.
use coracle_kernel_tests::abi;
use coracle_kernel_tests::errno::{EINVAL, EISDIR, ENXIO};
use coracle_kernel_tests::files::{self, close, contents, make, open, with_path};
use coracle_kernel_tests::threads::{Thread, spawn};
use coracle_kernel_tests::{run, sys};

fn seek(file: usize, offset: i64, whence: u32) -> Result<usize, u32> {
    sys::call(abi::__NR_lseek, &[file, offset as usize, whence as usize])
}

#[test]
fn holes_read_as_zeroes() {
    run(|| {
        const FAR: usize = 5_000_000;
        let file = open("/tmp/holes", abi::O_CREAT | abi::O_RDWR, 0o600).expect("a file is made");
        assert_eq!(seek(file, FAR as i64, abi::SEEK_SET), Ok(FAR));
        assert_eq!(files::write(file, b"end"), Ok(3));
        assert_eq!(seek(file, 0, abi::SEEK_SET), Ok(0));
        assert_eq!(files::read(file, 5000), Ok(vec![0; 5000]));
        assert_eq!(seek(file, 0, abi::SEEK_HOLE), Ok(0));
        let data = seek(file, 0, abi::SEEK_DATA).expect("there are data");
        assert!(data <= FAR && data > FAR - 65536);
        assert_eq!(seek(file, FAR as i64 + 3, abi::SEEK_DATA), Err(ENXIO));
        assert_eq!(seek(file, -1, abi::SEEK_SET), Err(EINVAL));
        sys::call(abi::__NR_ftruncate, &[file, FAR - 1]).expect("a file is cut");
        sys::call(abi::__NR_ftruncate, &[file, FAR + 3]).expect("a file is made longer");
        assert_eq!(seek(file, -4, abi::SEEK_END), Ok(FAR - 1));
        assert_eq!(files::read(file, 16), Ok(vec![0; 4]));
    });
}

#[test]
fn a_file_outlives_its_name() {
    run(|| {
        make("/tmp/nameless", b"still here");
        let file = open("/tmp/nameless", abi::O_RDWR, 0).expect("a file is opened");
        with_path(abi::__NR_unlink, "/tmp/nameless", 0).expect("a file is removed");
        make("/tmp/nameless", b"another");
        assert_eq!(files::read(file, 100), Ok(b"still here".to_vec()));
        assert_eq!(contents("/tmp/nameless"), Ok(b"another".to_vec()));
        close(file);
        assert_eq!(open("/tmp", abi::O_WRONLY, 0), Err(EISDIR));
    });
}

#[test]
fn appending_threads_lose_nothing() {
    run(|| {
        const RECORD: usize = 100;
        make("/tmp/log", b"");
        let threads: Vec<_> = (1..4u8)
            .map(|number| {
                spawn(move || {
                    let file = open("/tmp/log", abi::O_WRONLY | abi::O_APPEND, 0).expect("a file is opened");
                    (0..30).for_each(|_| assert_eq!(files::write(file, &[number; RECORD]), Ok(RECORD)));
                    close(file);
                })
            })
            .collect();
        threads.into_iter().for_each(Thread::join);
        let bytes = contents("/tmp/log").expect("a file is read");
        assert_eq!(bytes.len(), 3 * 30 * RECORD);
        assert!(bytes.chunks(RECORD).all(|record| record.iter().all(|&byte| byte == record[0])));
        let of_first = bytes.chunks(RECORD).filter(|record| record[0] == 1).count();
        assert_eq!(of_first, 30);
    });
}
