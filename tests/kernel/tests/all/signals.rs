//! Signals: handlers, masks, waits that they end, and ends of processes.
use coracle_kernel_tests::abi;
use coracle_kernel_tests::errno::{EAGAIN, EINTR, ESRCH};
use coracle_kernel_tests::files::{self, block, handle, pipe, set_of};
use coracle_kernel_tests::threads::{fork, spawn, until_asleep, wait};
use coracle_kernel_tests::{run, sys};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};

fn pid() -> usize {
    sys::call(abi::__NR_getpid, &[]).expect("a process has an id")
}

fn kill(signal: u32, tid: i32) {
    sys::call(abi::__NR_tgkill, &[pid(), tid as usize, signal as usize]).expect("a signal is sent");
}

/// A signal's handler that counts its calls.
fn counted(signal: u32, flags: u32) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let calls = count.clone();
    handle(signal, flags, move |number| {
        assert_eq!(number as u32, signal);
        calls.fetch_add(1, SeqCst);
    });
    count
}

#[test]
fn a_handler_runs_and_returns() {
    run(|| {
        let count = counted(abi::SIGUSR1, 0);
        let tid = sys::call(abi::__NR_gettid, &[]).expect("a thread has an id") as i32;
        for expected in 1..4 {
            kill(abi::SIGUSR1, tid);
            assert_eq!(count.load(SeqCst), expected);
        }
        block(&[abi::SIGUSR1]);
        kill(abi::SIGUSR1, tid);
        kill(abi::SIGUSR1, tid);
        assert_eq!(count.load(SeqCst), 3);
        // Pending twice, delivered once.
        block(&[]);
        assert_eq!(count.load(SeqCst), 4);
    });
}

#[test]
fn a_handler_makes_calls_of_its_own() {
    run(|| {
        let (reader, writer) = pipe(0);
        handle(abi::SIGUSR2, 0, move |_| {
            files::write(writer, b"handled").expect("a pipe is written");
        });
        kill(abi::SIGUSR2, sys::call(abi::__NR_gettid, &[]).expect("a thread has an id") as i32);
        assert_eq!(files::read(reader, 16), Ok(b"handled".to_vec()));
    });
}

#[test]
fn a_signal_ends_a_wait_or_starts_it_again() {
    run(|| {
        let (reader, writer) = pipe(0);
        for (flags, answer) in [(0, Err(EINTR)), (abi::SA_RESTART, Ok(b"x".to_vec()))] {
            let count = counted(abi::SIGUSR1, flags);
            let expected = answer.clone();
            let sleeper = spawn(move || assert_eq!(files::read(reader, 8), expected));
            until_asleep(sleeper.tid);
            kill(abi::SIGUSR1, sleeper.tid);
            if answer.is_ok() {
                files::write(writer, b"x").expect("a pipe is written");
            }
            sleeper.join();
            assert_eq!(count.load(SeqCst), 1);
        }
    });
}

#[test]
fn a_signal_is_waited_for() {
    run(|| {
        const SET_SIZE: usize = 8;
        let set = sys::words(&[set_of(&[abi::SIGUSR1])]);
        block(&[abi::SIGUSR1]);
        let take = move |timeout: usize| sys::call(abi::__NR_rt_sigtimedwait, &[set, 0, timeout, SET_SIZE]);
        assert_eq!(take(sys::timespec(1_000_000)), Err(EAGAIN));
        let waiter = spawn(move || assert_eq!(take(0), Ok(abi::SIGUSR1 as usize)));
        until_asleep(waiter.tid);
        kill(abi::SIGUSR1, waiter.tid);
        waiter.join();
        let descriptor =
            sys::call(abi::__NR_signalfd4, &[usize::MAX, set, SET_SIZE, 0]).expect("a signalfd is made");
        let reader = spawn(move || {
            let info = files::read(descriptor, 128).expect("a signal is read");
            assert_eq!(u32::from_le_bytes(info[..4].try_into().expect("4 bytes")), abi::SIGUSR1);
        });
        until_asleep(reader.tid);
        sys::call(abi::__NR_kill, &[pid(), abi::SIGUSR1 as usize]).expect("a signal is sent");
        reader.join();
    });
}

#[test]
fn a_child_ends_as_its_parent_is_told() {
    run(|| {
        let child = fork(|| sys::exit_group(7)).expect("a child is made");
        assert_eq!(wait(child), Ok(7 << 8));
        let child = fork(|| {
            let _ = sys::call(abi::__NR_pause, &[]);
        })
        .expect("a child is made");
        sys::call(abi::__NR_kill, &[child as usize, abi::SIGTERM as usize]).expect("a signal is sent");
        assert_eq!(wait(child), Ok(abi::SIGTERM));
        assert_eq!(sys::call(abi::__NR_kill, &[child as usize, 0]), Err(ESRCH));
    });
}

#[test]
fn the_end_of_a_child_wakes_by_sigchld() {
    run(|| {
        let told = Arc::new(AtomicI32::new(0));
        let tells = told.clone();
        handle(abi::SIGCHLD, 0, move |signal| tells.store(signal, SeqCst));
        let (reader, writer) = pipe(0);
        let child = fork(move || {
            files::read(reader, 1).expect("a pipe is read");
        })
        .expect("a child is made");
        files::write(writer, b"x").expect("a pipe is written");
        while told.load(SeqCst) == 0 {
            let _ = sys::call(abi::__NR_sched_yield, &[]);
        }
        assert_eq!(told.load(SeqCst), abi::SIGCHLD as i32);
        assert_eq!(wait(child), Ok(0));
    });
}

#[test]
fn a_stopped_process_goes_on() {
    run(|| {
        const STOPPED: u32 = (abi::SIGSTOP << 8) | 0x7f;
        let (reader, writer) = pipe(0);
        let child = fork(move || {
            files::read(reader, 1).expect("a pipe is read");
        })
        .expect("a child is made");
        let send =
            |signal: u32| sys::call(abi::__NR_kill, &[child as usize, signal as usize]).expect("it is sent");
        send(abi::SIGSTOP);
        let status = sys::memory(4);
        sys::call(abi::__NR_wait4, &[child as usize, status, abi::WUNTRACED as usize, 0]).expect("it stops");
        assert_eq!(coracle_kernel_tests::load_u32(status), STOPPED);
        files::write(writer, b"x").expect("a pipe is written");
        send(abi::SIGCONT);
        assert_eq!(wait(child), Ok(0));
    });
}
