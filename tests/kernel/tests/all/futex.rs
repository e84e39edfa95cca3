//! futex(2).
use coracle_kernel_tests::errno::{EAGAIN, ETIMEDOUT};
use coracle_kernel_tests::threads::spawn;
use coracle_kernel_tests::{load_u32, run, store_u32, sys};

#[test]
fn a_wait_ends_by_a_wake_up() {
    run(|| {
        let word = sys::memory(4);
        let waiter = spawn(move || {
            while load_u32(word) == 0 {
                match sys::futex_wait(word, 0, None) {
                    Ok(()) | Err(EAGAIN) => {}
                    Err(error) => panic!("error {error}"),
                }
            }
        });
        store_u32(word, 1);
        sys::futex_wake(word, 1);
        waiter.join();
    });
}

#[test]
fn a_wait_ends_with_its_time() {
    run(|| {
        const WAIT: u64 = 5_000_000_000;
        let word = sys::memory(4);
        let start = sys::now();
        assert_eq!(sys::futex_wait(word, 0, Some(WAIT)), Err(ETIMEDOUT));
        assert!(sys::now() - start >= WAIT);
        assert_eq!(sys::futex_wait(word, 1, None), Err(EAGAIN));
    });
}
