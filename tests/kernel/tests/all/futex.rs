//! futex(2): waiting, waking, moving, time-outs, locks with priority inheritance, and locks of threads that died.
use coracle_kernel_tests::abi;
use coracle_kernel_tests::errno::{EAGAIN, EDEADLK, EINVAL, ETIMEDOUT};
use coracle_kernel_tests::threads::{Thread, spawn, until_asleep};
use coracle_kernel_tests::{compare_exchange_u32, load_u32, run, store_u32, store_u64, sys};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A lock as C libraries make one: 0 free, 1 taken, 2 taken and waited for (Drepper, "Futexes are tricky", mutex 2).
#[derive(Clone, Copy)]
struct Lock(usize);

impl Lock {
    fn take(self) {
        if compare_exchange_u32(self.0, 0, 1) == 0 {
            return;
        }
        while exchange(self.0, 2) != 0 {
            match sys::futex_wait(self.0, 2, None) {
                Ok(()) | Err(EAGAIN) => {}
                Err(error) => panic!("error {error}"),
            }
        }
    }

    fn give(self) {
        if exchange(self.0, 0) == 2 {
            sys::futex_wake(self.0, 1);
        }
    }
}

fn exchange(word: usize, new: u32) -> u32 {
    let mut old = load_u32(word);
    loop {
        match compare_exchange_u32(word, old, new) {
            found if found == old => return old,
            found => old = found,
        }
    }
}

/// Starts threads that sleep until a word is not 0 any more; returns them when all sleep. Each counts itself when it is woken.
fn sleepers(word: usize, count: usize) -> (Vec<Thread>, Arc<AtomicUsize>) {
    let woken = Arc::new(AtomicUsize::new(0));
    let start = |_| {
        let woken = woken.clone();
        spawn(move || {
            assert_eq!(sys::futex_wait(word, 0, None), Ok(()));
            woken.fetch_add(1, SeqCst);
        })
    };
    let threads: Vec<_> = (0..count).map(start).collect();
    threads.iter().for_each(|thread| until_asleep(thread.tid));
    (threads, woken)
}

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
        assert_eq!(sys::futex_wait(word + 1, 0, None), Err(EINVAL));
    });
}

#[test]
fn as_many_are_woken_as_asked_for() {
    run(|| {
        let word = sys::memory(4);
        let (threads, woken) = sleepers(word, 6);
        assert_eq!(sys::futex_wake(word, 2), 2);
        assert_eq!(sys::futex_wake(word, 1), 1);
        assert_eq!(sys::futex_wake(word, usize::MAX >> 33), 3);
        assert_eq!(sys::futex_wake(word, 1), 0);
        threads.into_iter().for_each(Thread::join);
        assert_eq!(woken.load(SeqCst), 6);
    });
}

#[test]
fn a_lock_lets_one_thread_in() {
    run(|| {
        const ROUNDS: u64 = 200;
        let lock = Lock(sys::memory(4));
        let counter = sys::memory(8);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                spawn(move || {
                    for _ in 0..ROUNDS {
                        lock.take();
                        let count = coracle_kernel_tests::load_u64(counter);
                        // So that others come to wait.
                        sys::call(abi::__NR_sched_yield, &[]).expect("a yield succeeds");
                        store_u64(counter, count + 1);
                        lock.give();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(Thread::join);
        assert_eq!(coracle_kernel_tests::load_u64(counter), 4 * ROUNDS);
    });
}

#[test]
fn waiters_are_moved_and_woken_where_they_are() {
    run(|| {
        let (from, to) = (sys::memory(4), sys::memory(4));
        let (threads, woken) = sleepers(from, 5);
        let requeue = |wake: usize, moved: usize, expected: usize| {
            let operation = (abi::FUTEX_CMP_REQUEUE | abi::FUTEX_PRIVATE_FLAG) as usize;
            sys::call(abi::__NR_futex, &[from, operation, wake, moved, to, expected])
        };
        assert_eq!(requeue(1, 2, 7), Err(EAGAIN));
        assert_eq!(requeue(1, 2, 0), Ok(3));
        assert_eq!(sys::futex_wake(from, 10), 2);
        assert_eq!(sys::futex_wake(to, 10), 2);
        threads.into_iter().for_each(Thread::join);
        assert_eq!(woken.load(SeqCst), 5);
    });
}

#[test]
fn bits_choose_who_is_woken() {
    run(|| {
        let word = sys::memory(4);
        let private = abi::FUTEX_PRIVATE_FLAG;
        let wait = move |bits: usize| {
            let operation = (abi::FUTEX_WAIT_BITSET | private) as usize;
            spawn(move || {
                assert_eq!(sys::call(abi::__NR_futex, &[word, operation, 0, 0, 0, bits]), Ok(0));
            })
        };
        let (first, second) = (wait(0b01), wait(0b10));
        until_asleep(first.tid);
        until_asleep(second.tid);
        let wake = |bits| {
            sys::call(abi::__NR_futex, &[word, (abi::FUTEX_WAKE_BITSET | private) as usize, 9, 0, 0, bits])
        };
        assert_eq!(wake(0), Err(EINVAL));
        assert_eq!(wake(0b100), Ok(0));
        assert_eq!(wake(0b10), Ok(1));
        second.join();
        assert_eq!(wake(0b11), Ok(1));
        first.join();
    });
}

#[test]
fn one_of_several_words_wakes() {
    run(|| {
        const PRIVATE_32: u64 = 128 | 2;
        let words: Vec<usize> = (0..3).map(|_| sys::memory(4)).collect();
        let list: Vec<u64> = words.iter().flat_map(|&word| [0, word as u64, PRIVATE_32]).collect();
        let waiter = spawn(move || {
            let list = sys::words(&list);
            assert_eq!(sys::call(abi::__NR_futex_waitv, &[list, 3, 0, 0, 1]), Ok(2));
        });
        until_asleep(waiter.tid);
        assert_eq!(sys::futex_wake(words[2], 1), 1);
        waiter.join();
        assert_eq!(sys::futex_wake(words[0], 1), 0);
    });
}

#[test]
fn a_lock_with_inheritance_goes_to_the_waiter() {
    run(|| {
        let word = sys::memory(4);
        let pi = move |operation: u32| {
            let operation = operation | abi::FUTEX_PRIVATE_FLAG;
            sys::call(abi::__NR_futex, &[word, operation as usize, 0, 0]).map(drop)
        };
        assert_eq!(pi(abi::FUTEX_LOCK_PI), Ok(()));
        assert_eq!(pi(abi::FUTEX_LOCK_PI), Err(EDEADLK));
        let counter = sys::memory(4);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                spawn(move || {
                    for _ in 0..50 {
                        assert_eq!(pi(abi::FUTEX_LOCK_PI), Ok(()));
                        let count = load_u32(counter);
                        sys::call(abi::__NR_sched_yield, &[]).expect("a yield succeeds");
                        store_u32(counter, count + 1);
                        assert_eq!(pi(abi::FUTEX_UNLOCK_PI), Ok(()));
                    }
                })
            })
            .collect();
        until_asleep(threads[0].tid);
        assert_ne!(load_u32(word) & abi::FUTEX_WAITERS, 0);
        assert_eq!(pi(abi::FUTEX_UNLOCK_PI), Ok(()));
        threads.into_iter().for_each(Thread::join);
        assert_eq!((load_u32(counter), load_u32(word)), (150, 0));
    });
}

#[test]
fn what_a_dead_thread_held_is_marked() {
    run(|| {
        /// Bytes of `struct robust_list_head`, and where in an entry its word is.
        const HEAD: usize = 24;
        const WORD: u64 = 16;
        let place = sys::memory(64);
        let entry = place + 32;
        let word = entry + WORD as usize;
        let holder = spawn(move || {
            let tid = sys::call(abi::__NR_gettid, &[]).expect("a thread has an id");
            store_u64(place, entry as u64);
            store_u64(place + 8, WORD);
            store_u64(entry, place as u64);
            sys::call(abi::__NR_set_robust_list, &[place, HEAD]).expect("a list is set");
            store_u32(word, tid as u32);
        });
        let waiter = spawn(move || {
            loop {
                let value = load_u32(word);
                if value & abi::FUTEX_OWNER_DIED != 0 {
                    return;
                }
                if value == 0 {
                    sys::call(abi::__NR_sched_yield, &[]).expect("a yield succeeds");
                    continue;
                }
                let waited = value | abi::FUTEX_WAITERS;
                if compare_exchange_u32(word, value, waited) == value {
                    let _ = sys::futex_wait(word, waited, None);
                }
            }
        });
        holder.join();
        waiter.join();
        assert_ne!(load_u32(word) & abi::FUTEX_OWNER_DIED, 0);
    });
}
