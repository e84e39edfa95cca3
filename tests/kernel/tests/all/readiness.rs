//! poll(2), epoll(7): level, edge and one-shot events, and threads that wait for the same.
use coracle_kernel_tests::abi;
use coracle_kernel_tests::errno::EEXIST;
use coracle_kernel_tests::files::{self, close, pipe};
use coracle_kernel_tests::threads::{Thread, spawn, until_asleep};
use coracle_kernel_tests::{run, store_u32, sys};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Bytes of `struct epoll_event`.
const EVENT_SIZE: usize = 12;

fn epoll() -> usize {
    sys::call(abi::__NR_epoll_create1, &[0]).expect("an epoll is made")
}

fn control(epoll: usize, operation: u32, descriptor: usize, events: u32) -> Result<usize, u32> {
    let mut event = events.to_le_bytes().to_vec();
    event.extend((descriptor as u64).to_le_bytes());
    sys::call(abi::__NR_epoll_ctl, &[epoll, operation as usize, descriptor, sys::put(&event)])
}

fn add(epoll: usize, descriptor: usize, events: u32) {
    control(epoll, abi::EPOLL_CTL_ADD, descriptor, events).expect("a descriptor is added");
}

/// Events, each with its descriptor, of up to `most`; waits if `timeout_ms` is not 0.
fn wait(epoll: usize, most: usize, timeout_ms: i32) -> Vec<(u32, usize)> {
    let at = sys::memory(EVENT_SIZE * most);
    let count =
        sys::call(abi::__NR_epoll_wait, &[epoll, at, most, timeout_ms as usize]).expect("a wait ends");
    let bytes = sys::bytes(at, EVENT_SIZE * count);
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | usize::from(byte));
    bytes.chunks(EVENT_SIZE).map(|event| (word(&event[..4]) as u32, word(&event[4..]))).collect()
}

#[test]
fn level_stays_edge_does_not() {
    run(|| {
        let (reader, writer) = pipe(0);
        let (level, edge) = (epoll(), epoll());
        add(level, reader, abi::EPOLLIN);
        add(edge, reader, abi::EPOLLIN | abi::EPOLLET);
        assert_eq!(control(level, abi::EPOLL_CTL_ADD, reader, 0), Err(EEXIST));
        assert_eq!((wait(level, 8, 0), wait(edge, 8, 0)), (vec![], vec![]));
        files::write(writer, b"ab").expect("a pipe is written");
        for _ in 0..2 {
            assert_eq!(wait(level, 8, 0), [(abi::EPOLLIN, reader)]);
        }
        assert_eq!(wait(edge, 8, 0), [(abi::EPOLLIN, reader)]);
        assert_eq!(wait(edge, 8, 0), []);
        files::write(writer, b"c").expect("a pipe is written");
        assert_eq!(wait(edge, 8, 0), [(abi::EPOLLIN, reader)]);
        files::read(reader, 8).expect("a pipe is read");
        assert_eq!(wait(level, 8, 0), []);
        close(writer);
        assert_eq!(wait(level, 8, 0), [(abi::EPOLLHUP, reader)]);
    });
}

#[test]
fn one_shot_is_armed_again() {
    run(|| {
        let (reader, writer) = pipe(0);
        let epoll = epoll();
        add(epoll, reader, abi::EPOLLIN | abi::EPOLLONESHOT);
        files::write(writer, b"a").expect("a pipe is written");
        assert_eq!(wait(epoll, 8, 0), [(abi::EPOLLIN, reader)]);
        files::write(writer, b"b").expect("a pipe is written");
        assert_eq!(wait(epoll, 8, 0), []);
        control(epoll, abi::EPOLL_CTL_MOD, reader, abi::EPOLLIN | abi::EPOLLONESHOT).expect("it is changed");
        assert_eq!(wait(epoll, 8, 0), [(abi::EPOLLIN, reader)]);
        control(epoll, abi::EPOLL_CTL_DEL, reader, 0).expect("it is removed");
        assert_eq!(wait(epoll, 8, 0), []);
    });
}

#[test]
fn a_wait_ends_with_its_time() {
    run(|| {
        let epoll = epoll();
        let start = sys::now();
        assert_eq!(wait(epoll, 1, 1500), []);
        assert!(sys::now() - start >= 1_500_000_000);
    });
}

#[test]
fn every_event_of_many_is_told_once() {
    run(|| {
        const PIPES: usize = 20;
        const ROUNDS: usize = 10;
        let epoll = epoll();
        let pipes: Vec<_> = (0..PIPES).map(|_| pipe(abi::O_NONBLOCK)).collect();
        pipes.iter().for_each(|&(reader, _)| add(epoll, reader, abi::EPOLLIN | abi::EPOLLET));
        let read = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let read = read.clone();
                spawn(move || {
                    while read.load(SeqCst) < PIPES * ROUNDS {
                        for (_, reader) in wait(epoll, 3, 1000) {
                            while let Ok(bytes) = files::read(reader, 1)
                                && !bytes.is_empty()
                            {
                                read.fetch_add(1, SeqCst);
                            }
                        }
                    }
                })
            })
            .collect();
        let writers: Vec<_> = (0..2)
            .map(|half| {
                let mine: Vec<_> = pipes.iter().skip(half).step_by(2).map(|&(_, writer)| writer).collect();
                spawn(move || {
                    for _ in 0..ROUNDS {
                        for &writer in &mine {
                            files::write(writer, b"x").expect("a pipe is written");
                        }
                    }
                })
            })
            .collect();
        writers.into_iter().chain(readers).for_each(Thread::join);
        assert_eq!(read.load(SeqCst), PIPES * ROUNDS);
    });
}

#[test]
fn an_epoll_is_ready_within_another() {
    run(|| {
        let (reader, writer) = pipe(0);
        let (inner, outer) = (epoll(), epoll());
        add(inner, reader, abi::EPOLLIN);
        add(outer, inner, abi::EPOLLIN);
        let waiter = spawn(move || assert_eq!(wait(outer, 1, -1), [(abi::EPOLLIN, inner)]));
        until_asleep(waiter.tid);
        files::write(writer, b"x").expect("a pipe is written");
        waiter.join();
    });
}

/// poll(2) of one descriptor; returns what is ready, 0 after the time.
fn poll(descriptor: usize, events: u32, timeout_ms: i32) -> u32 {
    let at = sys::memory(8);
    store_u32(at, descriptor as u32);
    store_u32(at + 4, events);
    let ready = sys::call(abi::__NR_poll, &[at, 1, timeout_ms as usize]).expect("a poll ends");
    let found = coracle_kernel_tests::load_u32(at + 4) >> 16;
    assert_eq!(ready, usize::from(found != 0));
    found
}

#[test]
fn poll_waits_for_what_is_asked() {
    run(|| {
        let (reader, writer) = pipe(0);
        assert_eq!(poll(reader, abi::POLLIN, 0), 0);
        assert_eq!(poll(writer, abi::POLLOUT, 0), abi::POLLOUT);
        assert_eq!(poll(reader, abi::POLLIN, 20), 0);
        let waiter = spawn(move || assert_eq!(poll(reader, abi::POLLIN, -1), abi::POLLIN));
        until_asleep(waiter.tid);
        files::write(writer, b"x").expect("a pipe is written");
        waiter.join();
        assert_eq!(poll(999, abi::POLLIN, -1), abi::POLLNVAL);
    });
}
