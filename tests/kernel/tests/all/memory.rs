//! Address spaces: what is mapped, with what rights, and what a child shares.
use coracle_kernel_tests::abi;
use coracle_kernel_tests::errno::{EFAULT, EINVAL, ENOMEM};
use coracle_kernel_tests::files::{self, make, open, pipe};
use coracle_kernel_tests::threads::{Thread, fork, spawn, wait};
use coracle_kernel_tests::{load_u32, load_u64, run, store_u32, store_u64, sys};

const PAGE: usize = 4096;

fn protect(at: usize, len: usize, prot: u32) -> Result<usize, u32> {
    sys::call(abi::__NR_mprotect, &[at, len, prot as usize])
}

fn touch(at: usize) {
    let _ = load_u32(at);
}

/// The status of a child that does this.
fn status_of(code: impl FnOnce() + Send + 'static) -> u32 {
    wait(fork(code).expect("a child is made")).expect("a child is waited for")
}

#[test]
fn rights_hold() {
    run(|| {
        let at = sys::memory(3 * PAGE);
        store_u32(at, 1);
        store_u32(at + 2 * PAGE, 3);
        assert_eq!(protect(at, PAGE, abi::PROT_READ), Ok(0));
        assert_eq!(load_u32(at), 1);
        assert_eq!(status_of(move || store_u32(at, 2)) & 0x7f, abi::SIGSEGV);
        assert_eq!(protect(at, PAGE, abi::PROT_NONE), Ok(0));
        assert_eq!(status_of(move || touch(at)) & 0x7f, abi::SIGSEGV);
        let (reader, writer) = pipe(0);
        assert_eq!(sys::call(abi::__NR_write, &[writer, at, 4]), Err(EFAULT));
        assert_eq!(protect(at, PAGE, abi::PROT_READ | abi::PROT_WRITE), Ok(0));
        assert_eq!(sys::call(abi::__NR_write, &[writer, at, 4]), Ok(4));
        assert_eq!(files::read(reader, 8), Ok(vec![1, 0, 0, 0]));
        sys::free(at + PAGE, PAGE);
        assert_eq!(protect(at, 3 * PAGE, abi::PROT_READ), Err(ENOMEM));
        assert_eq!(status_of(move || store_u32(at + PAGE, 2)) & 0x7f, abi::SIGSEGV);
        assert_eq!((load_u32(at), load_u32(at + 2 * PAGE)), (1, 3));
        assert_eq!(sys::call(abi::__NR_munmap, &[at + 1, PAGE]), Err(EINVAL));
    });
}

#[test]
fn a_child_has_a_copy_of_what_is_private() {
    run(|| {
        const PAGES: usize = 40;
        let private = sys::memory(PAGES * PAGE);
        let flags = (abi::MAP_SHARED | abi::MAP_ANONYMOUS) as usize;
        let both = (abi::PROT_READ | abi::PROT_WRITE) as usize;
        let shared = sys::call(abi::__NR_mmap, &[0, PAGE, both, flags, usize::MAX, 0]).expect("it is mapped");
        (0..PAGES).for_each(|page| store_u64(private + page * PAGE, page as u64));
        let status = status_of(move || {
            for page in 0..PAGES {
                let at = private + page * PAGE;
                assert_eq!(load_u64(at), page as u64);
                store_u64(at, 1000 + page as u64);
                assert_eq!(load_u64(at), 1000 + page as u64);
            }
            store_u32(shared, 5);
        });
        assert_eq!(status, 0);
        assert!((0..PAGES).all(|page| load_u64(private + page * PAGE) == page as u64));
        assert_eq!(load_u32(shared), 5);
    });
}

#[test]
fn threads_write_while_others_fork() {
    run(|| {
        const PAGES: usize = 16;
        let memory = sys::memory(PAGES * PAGE);
        let writer = move |first: usize| {
            spawn(move || {
                for round in 1..30 {
                    for page in (first..PAGES).step_by(2) {
                        let at = memory + page * PAGE;
                        // Nobody else writes here: what was written stays, however often the page is copied.
                        assert_eq!(load_u64(at), round - 1);
                        store_u64(at, round);
                    }
                }
            })
        };
        let writers = [writer(0), writer(1)];
        for _ in 0..6 {
            let status = status_of(move || {
                let first: Vec<u64> = (0..PAGES).map(|page| load_u64(memory + page * PAGE)).collect();
                let second: Vec<u64> = (0..PAGES).map(|page| load_u64(memory + page * PAGE)).collect();
                assert_eq!(first, second);
            });
            assert_eq!(status, 0);
        }
        writers.into_iter().for_each(Thread::join);
    });
}

#[test]
fn threads_map_and_unmap_side_by_side() {
    run(|| {
        let threads: Vec<_> = (0..3u64)
            .map(|number| {
                spawn(move || {
                    for round in 0..40 {
                        let at = sys::memory(2 * PAGE);
                        assert_eq!((load_u64(at), load_u64(at + PAGE)), (0, 0));
                        store_u64(at + PAGE, number << 32 | round);
                        protect(at, PAGE, abi::PROT_READ).expect("it is protected");
                        assert_eq!(load_u64(at + PAGE), number << 32 | round);
                        sys::free(at, 2 * PAGE);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(Thread::join);
    });
}

#[test]
fn a_mapping_moves_and_grows() {
    run(|| {
        let at = sys::memory(2 * PAGE);
        store_u32(at, 11);
        store_u32(at + PAGE, 12);
        // So that it can't grow where it is.
        let moved = sys::call(abi::__NR_mremap, &[at, 2 * PAGE, 64 * PAGE, abi::MREMAP_MAYMOVE as usize])
            .expect("it grows");
        assert_eq!((load_u32(moved), load_u32(moved + PAGE), load_u32(moved + 63 * PAGE)), (11, 12, 0));
        if moved != at {
            assert_eq!(status_of(move || touch(at)) & 0x7f, abi::SIGSEGV);
        }
    });
}

#[test]
fn files_are_mapped() {
    run(|| {
        make("/tmp/mapped", &[7; 6000]);
        let file = open("/tmp/mapped", abi::O_RDWR, 0).expect("a file is opened");
        let both = (abi::PROT_READ | abi::PROT_WRITE) as usize;
        let map = |flags: u32| {
            sys::call(abi::__NR_mmap, &[0, 2 * PAGE, both, flags as usize, file, 0]).expect("it is mapped")
        };
        let (shared, private) = (map(abi::MAP_SHARED), map(abi::MAP_PRIVATE));
        assert_eq!(load_u32(shared + PAGE), 0x0707_0707);
        store_u32(private, 1);
        store_u32(shared + 8, 2);
        assert_eq!((load_u32(shared), load_u32(private + 8)), (0x0707_0707, 0x0707_0707));
        let bytes = files::contents("/tmp/mapped").expect("a file is read");
        assert_eq!((bytes.len(), &bytes[..12]), (6000, &[7, 7, 7, 7, 7, 7, 7, 7, 2, 0, 0, 0][..]));
        assert_eq!(load_u32(shared + 6000), 0);
        sys::call(abi::__NR_ftruncate, &[file, 100]).expect("a file is cut");
        assert_eq!(status_of(move || touch(shared + PAGE)) & 0x7f, abi::SIGBUS);
    });
}
