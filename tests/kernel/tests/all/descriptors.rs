//! The table of descriptors: numbers, copies, and what threads and children share of it.
use coracle_kernel_tests::abi;
use coracle_kernel_tests::errno::{EBADF, EMFILE};
use coracle_kernel_tests::files::{self, close, pipe};
use coracle_kernel_tests::threads::{Thread, fork, spawn, wait};
use coracle_kernel_tests::{run, store_u64, sys};

fn is_open(descriptor: usize) -> bool {
    sys::call(abi::__NR_fcntl, &[descriptor, abi::F_GETFD as usize]) != Err(EBADF)
}

#[test]
fn the_lowest_free_number_is_taken() {
    run(|| {
        assert_eq!(pipe(0), (0, 1));
        assert_eq!(sys::call(abi::__NR_dup, &[1]), Ok(2));
        assert_eq!(sys::call(abi::__NR_dup2, &[1, 70]), Ok(70));
        close(0);
        assert_eq!(sys::call(abi::__NR_dup, &[1]), Ok(0));
        assert_eq!(sys::call(abi::__NR_fcntl, &[1, abi::F_DUPFD as usize, 70]), Ok(71));
        assert_eq!(sys::call(abi::__NR_dup, &[3]), Err(EBADF));
        let limits = sys::memory(16);
        store_u64(limits, 80);
        store_u64(limits + 8, 80);
        sys::call(abi::__NR_setrlimit, &[abi::RLIMIT_NOFILE as usize, limits]).expect("a limit is set");
        assert_eq!(sys::call(abi::__NR_dup2, &[1, 80]), Err(EBADF));
        let opened = (0..100).map_while(|_| sys::call(abi::__NR_dup, &[1]).ok()).count();
        assert_eq!((opened, sys::call(abi::__NR_dup, &[1])), (80 - 5, Err(EMFILE)));
        assert_eq!(sys::call(abi::__NR_close_range, &[2, usize::MAX >> 32, 0]), Ok(0));
        assert_eq!((is_open(1), is_open(2), is_open(71)), (true, false, false));
    });
}

#[test]
fn a_child_has_a_copy() {
    run(|| {
        let (reader, writer) = pipe(0);
        let child = fork(move || {
            close(reader);
            assert_eq!(files::write(writer, b"child"), Ok(5));
        })
        .expect("a child is made");
        assert_eq!(wait(child), Ok(0));
        assert!(is_open(reader));
        assert_eq!(files::read(reader, 8), Ok(b"child".to_vec()));
        close(writer);
        assert_eq!(files::read(reader, 8), Ok(Vec::new()));
    });
}

#[test]
fn threads_open_and_close_side_by_side() {
    run(|| {
        let (_, writer) = pipe(0);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                spawn(move || {
                    for _ in 0..100 {
                        let mine = sys::call(abi::__NR_dup, &[writer]).expect("a descriptor is copied");
                        assert_eq!(files::write(mine, b""), Ok(0));
                        close(mine);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(Thread::join);
        assert_eq!(sys::call(abi::__NR_dup, &[writer]), Ok(2));
    });
}
