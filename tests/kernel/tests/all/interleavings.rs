//! Where threads meet, under a scheduler that tries interleavings.
//!
//! That these tests find what they are for was tried with faults put into a copy of the kernel, each a kind of lost wake-up; all were found
//! with the seed that is used by default, and none by the tests that let threads run (the book's *Design*, "The kernel on the host"):
//!
//! * `futex::wait` reads the word before the waiter is listed: `a_futex_wakes_whoever_waits`, `a_moved_waiter_is_woken`,
//!   `a_time_out_and_a_wake_up_are_one_end`;
//! * the idle loop does not look once more whether the thread was woken for which it idles: `a_futex_wakes_whoever_waits`,
//!   `a_moved_waiter_is_woken`;
//! * `epoll_wait` takes a member off its list after it has looked at its file: `an_epoll_that_finds_nothing_left_hears_of_what_comes`.
use coracle_kernel_tests::abi;
use coracle_kernel_tests::errno::EAGAIN;
use coracle_kernel_tests::files::{self, close, pipe};
use coracle_kernel_tests::threads::{Thread, spawn};
use coracle_kernel_tests::{explore, load_u32, store_u32, sys};

/// Waits until a word is not 0.
fn wait(word: usize) {
    while load_u32(word) == 0 {
        match sys::futex_wait(word, 0, None) {
            Ok(()) | Err(EAGAIN) => {}
            Err(error) => panic!("error {error}"),
        }
    }
}

#[test]
fn a_futex_wakes_whoever_waits() {
    explore(|| {
        let words = sys::memory(8);
        let other = spawn(move || {
            wait(words);
            store_u32(words + 4, 1);
            sys::futex_wake(words + 4, 1);
        });
        store_u32(words, 1);
        sys::futex_wake(words, 1);
        wait(words + 4);
        other.join();
    });
}

#[test]
fn a_moved_waiter_is_woken() {
    explore(|| {
        let words = sys::memory(8);
        let waiter = spawn(move || {
            // Moved or not, the wake-up of its word or of the other is for it.
            if load_u32(words) == 0 {
                let _ = sys::futex_wait(words, 0, None);
            }
        });
        store_u32(words, 1);
        let requeue = (abi::FUTEX_REQUEUE | abi::FUTEX_PRIVATE_FLAG) as usize;
        sys::call(abi::__NR_futex, &[words, requeue, 0, 9, words + 4]).expect("waiters are moved");
        sys::futex_wake(words, 9);
        sys::futex_wake(words + 4, 9);
        waiter.join();
    });
}

#[test]
fn a_pipe_wakes_both_ends() {
    explore(|| {
        let ((a, b), (c, d)) = (pipe(0), pipe(0));
        let echo = spawn(move || {
            while let Ok(bytes) = files::read(a, 4)
                && !bytes.is_empty()
            {
                files::write(d, &bytes).expect("a pipe is written");
            }
        });
        for number in 0..3u8 {
            files::write(b, &[number]).expect("a pipe is written");
            assert_eq!(files::read(c, 4), Ok(vec![number]));
        }
        close(b);
        echo.join();
    });
}

#[test]
fn a_full_pipe_wakes_its_writers() {
    explore(|| {
        const PAGE: usize = 4096;
        let (reader, writer) = pipe(0);
        sys::call(abi::__NR_fcntl, &[writer, abi::F_SETPIPE_SZ as usize, PAGE])
            .expect("a pipe is made small");
        let writers: Vec<_> =
            (0..2).map(|_| spawn(move || assert_eq!(files::write(writer, &[1; PAGE]), Ok(PAGE)))).collect();
        let mut left = 2 * PAGE;
        while left > 0 {
            left -= files::read(reader, PAGE).expect("a pipe is read").len();
        }
        writers.into_iter().for_each(Thread::join);
    });
}

/// Waits for an event, for ever; returns its data.
fn next(epoll: usize) -> usize {
    let at = sys::memory(12);
    assert_eq!(sys::call(abi::__NR_epoll_wait, &[epoll, at, 1, usize::MAX]), Ok(1));
    load_u32(at + 4) as usize
}

#[test]
fn an_epoll_tells_every_edge() {
    explore(|| {
        // One that is told, one that is read with it, and one that comes while the set looks for what is left of that.
        const WRITES: usize = 4;
        let epoll = sys::call(abi::__NR_epoll_create1, &[0]).expect("an epoll is made");
        let pipes = [pipe(abi::O_NONBLOCK), pipe(abi::O_NONBLOCK)];
        for (reader, _) in pipes {
            let event =
                [&(abi::EPOLLIN | abi::EPOLLET).to_le_bytes()[..], &(reader as u64).to_le_bytes()].concat();
            let add = [epoll, abi::EPOLL_CTL_ADD as usize, reader, sys::put(&event)];
            sys::call(abi::__NR_epoll_ctl, &add).expect("a descriptor is added");
        }
        let writers = pipes.map(|(_, writer)| {
            spawn(move || {
                for _ in 0..WRITES {
                    files::write(writer, b"x").expect("a pipe is written");
                }
            })
        });
        let mut read = 0;
        while read < pipes.len() * WRITES {
            let reader = next(epoll);
            while let Ok(bytes) = files::read(reader, 1)
                && !bytes.is_empty()
            {
                read += 1;
            }
        }
        writers.into_iter().for_each(Thread::join);
    });
}

#[test]
fn an_epoll_that_finds_nothing_left_hears_of_what_comes() {
    explore(|| {
        const ROUNDS: usize = 5;
        /// The first of a round is told, the second may be read with it, so that the third comes while the set looks for the second.
        const WRITES: usize = 3;
        let epoll = sys::call(abi::__NR_epoll_create1, &[0]).expect("an epoll is made");
        let ((reader, writer), (round_ends, end_round)) = (pipe(abi::O_NONBLOCK), pipe(0));
        let event =
            [&(abi::EPOLLIN | abi::EPOLLET).to_le_bytes()[..], &(reader as u64).to_le_bytes()].concat();
        let add = [epoll, abi::EPOLL_CTL_ADD as usize, reader, sys::put(&event)];
        sys::call(abi::__NR_epoll_ctl, &add).expect("a descriptor is added");
        let writing = spawn(move || {
            let byte = sys::put(b"x");
            for _ in 0..ROUNDS {
                for _ in 0..WRITES {
                    assert_eq!(sys::call(abi::__NR_write, &[writer, byte, 1]), Ok(1));
                }
                files::read(round_ends, 1).expect("a pipe is read");
            }
        });
        let bytes = sys::memory(16);
        for _ in 0..ROUNDS {
            let mut read = 0;
            while read < WRITES {
                next(epoll);
                while let Ok(len) = sys::call(abi::__NR_read, &[reader, bytes, 16]) {
                    read += len;
                }
            }
            files::write(end_round, b"x").expect("a pipe is written");
        }
        writing.join();
    });
}

#[test]
fn a_one_shot_event_is_for_one_thread() {
    explore(|| {
        let epoll = sys::call(abi::__NR_epoll_create1, &[0]).expect("an epoll is made");
        let counter = sys::call(abi::__NR_eventfd2, &[0, 0]).expect("a counter is made");
        let event = [&(abi::EPOLLIN | abi::EPOLLONESHOT).to_le_bytes()[..], &0u64.to_le_bytes()].concat();
        let event = sys::put(&event);
        let control = move |operation: u32| {
            sys::call(abi::__NR_epoll_ctl, &[epoll, operation as usize, counter, event])
                .expect("it is changed");
        };
        control(abi::EPOLL_CTL_ADD);
        // Each takes one event, and lets the next one have one.
        let takers = [(); 2].map(|()| {
            spawn(move || {
                next(epoll);
                assert_eq!(files::read(counter, 8).map(|bytes| bytes.len()), Ok(8));
                control(abi::EPOLL_CTL_MOD);
                files::write(counter, &1u64.to_le_bytes()).expect("a counter is written");
            })
        });
        files::write(counter, &1u64.to_le_bytes()).expect("a counter is written");
        takers.into_iter().for_each(Thread::join);
    });
}

#[test]
fn a_time_out_and_a_wake_up_are_one_end() {
    explore(|| {
        let word = sys::memory(4);
        let waiter = spawn(move || {
            let outcome = sys::futex_wait(word, 0, Some(1000));
            // Who is woken was taken from the list: the waker counted one.
            if load_u32(word) == 0 {
                assert!(outcome.is_err());
            }
        });
        store_u32(word, 1);
        sys::futex_wake(word, 1);
        waiter.join();
        assert_eq!(sys::futex_wake(word, 1), 0);
    });
}
