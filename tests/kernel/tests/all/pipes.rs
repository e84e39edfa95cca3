//! Pipes and event counters: bytes and their order, who waits, and who is woken.
use coracle_kernel_tests::abi;
use coracle_kernel_tests::errno::{EAGAIN, EPIPE};
use coracle_kernel_tests::files::{self, close, pipe};
use coracle_kernel_tests::threads::{Thread, spawn, until_asleep};
use coracle_kernel_tests::{run, sys};

#[test]
fn bytes_come_out_in_order() {
    run(|| {
        const LEN: usize = 300_000;
        let (reader, writer) = pipe(0);
        let sender = spawn(move || {
            let bytes: Vec<u8> = (0..LEN).map(|index| (index / 7) as u8).collect();
            assert_eq!(files::write(writer, &bytes), Ok(LEN));
            close(writer);
        });
        let mut at = 0;
        loop {
            let piece = files::read(reader, 5000).expect("a pipe is read");
            if piece.is_empty() {
                break;
            }
            assert!(piece.iter().enumerate().all(|(index, &byte)| byte == ((at + index) / 7) as u8));
            at += piece.len();
        }
        assert_eq!(at, LEN);
        sender.join();
    });
}

#[test]
fn two_threads_answer_each_other() {
    run(|| {
        let ((a, b), (c, d)) = (pipe(0), pipe(0));
        let echo = spawn(move || {
            while let Ok(bytes) = files::read(a, 16)
                && !bytes.is_empty()
            {
                files::write(d, &bytes).expect("a pipe is written");
            }
        });
        for number in 0..200u8 {
            files::write(b, &[number]).expect("a pipe is written");
            assert_eq!(files::read(c, 16), Ok(vec![number]));
        }
        close(b);
        echo.join();
    });
}

#[test]
fn small_writes_do_not_mix() {
    run(|| {
        const LEN: usize = 1000;
        let (reader, writer) = pipe(0);
        let writers: Vec<_> = (0..3u8)
            .map(|number| {
                spawn(move || {
                    for _ in 0..40 {
                        assert_eq!(files::write(writer, &[number; LEN]), Ok(LEN));
                    }
                })
            })
            .collect();
        for _ in 0..120 {
            let mut bytes = Vec::new();
            while bytes.len() < LEN {
                bytes.extend(files::read(reader, LEN - bytes.len()).expect("a pipe is read"));
            }
            assert!(bytes.iter().all(|&byte| byte == bytes[0]));
        }
        writers.into_iter().for_each(Thread::join);
    });
}

#[test]
fn a_pipe_without_the_other_end_says_so() {
    run(|| {
        let (reader, writer) = pipe(abi::O_NONBLOCK);
        assert_eq!(files::read(reader, 1), Err(EAGAIN));
        files::write(writer, b"rest").expect("a pipe is written");
        close(writer);
        assert_eq!(files::read(reader, 10), Ok(b"rest".to_vec()));
        assert_eq!(files::read(reader, 10), Ok(Vec::new()));
        let (reader, writer) = pipe(0);
        files::ignore(abi::SIGPIPE);
        let blocked = spawn(move || assert_eq!(files::write(writer, &[0; 70_000]), Ok(65_536)));
        until_asleep(blocked.tid);
        close(reader);
        blocked.join();
        assert_eq!(files::write(writer, b"x"), Err(EPIPE));
    });
}

#[test]
fn an_event_counter_counts_and_blocks() {
    run(|| {
        let counter = sys::call(abi::__NR_eventfd2, &[0, 0]).expect("a counter is made");
        let add = move |value: u64| files::write(counter, &value.to_le_bytes()).map(drop);
        let take = move || {
            files::read(counter, 8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
        };
        add(3).expect("a counter is written");
        add(4).expect("a counter is written");
        assert_eq!(take(), Ok(7));
        let taker = spawn(move || assert_eq!(take(), Ok(5)));
        until_asleep(taker.tid);
        add(5).expect("a counter is written");
        taker.join();
        add(u64::MAX - 1).expect("a counter is written");
        let adder = spawn(move || add(2).expect("a counter is written"));
        until_asleep(adder.tid);
        assert_eq!(take(), Ok(u64::MAX - 1));
        adder.join();
        assert_eq!(take(), Ok(2));
    });
}

#[test]
fn a_semaphore_lets_as_many_through_as_it_has() {
    run(|| {
        let semaphore =
            sys::call(abi::__NR_eventfd2, &[0, abi::EFD_SEMAPHORE as usize]).expect("a semaphore is made");
        let takers: Vec<_> = (0..5)
            .map(|_| spawn(move || assert_eq!(files::read(semaphore, 8), Ok(1u64.to_le_bytes().to_vec()))))
            .collect();
        for _ in 0..5 {
            files::write(semaphore, &1u64.to_le_bytes()).expect("a semaphore is written");
        }
        takers.into_iter().for_each(Thread::join);
    });
}
