//! The scheduler's choices: on which CPU a thread runs, whose turn it is, and for how long.
use coracle_kernel_tests::abi;
use coracle_kernel_tests::errno::EINVAL;
use coracle_kernel_tests::threads::{Thread, spawn, until_asleep};
use coracle_kernel_tests::{advance, load_u32, run, store_u32, sys};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// Has the running thread run on these CPUs alone (sched_setaffinity(2)).
fn stay_on(cpus: u64) -> Result<usize, u32> {
    sys::call(abi::__NR_sched_setaffinity, &[0, 8, sys::words(&[cpus])])
}

/// The CPU that the running thread is on.
fn here() -> u32 {
    let at = sys::memory(4);
    sys::call(abi::__NR_getcpu, &[at, 0, 0]).expect("a thread is on a CPU");
    load_u32(at)
}

fn give_way() {
    sys::call(abi::__NR_sched_yield, &[]).expect("a yield succeeds");
}

#[test]
fn a_thread_stays_where_it_may_run() {
    run(|| {
        assert_eq!(stay_on(0), Err(EINVAL));
        let threads: Vec<_> = (0..3)
            .map(|cpu| {
                spawn(move || {
                    stay_on(1 << cpu).expect("an affinity is set");
                    for _ in 0..50 {
                        assert_eq!(here(), cpu);
                        give_way();
                        sys::sleep(1000);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(Thread::join);
    });
}

#[test]
fn work_is_spread_over_the_cpus() {
    run(|| {
        // Each waits for the others without sleeping, which takes a CPU for each.
        const THREADS: u32 = 3;
        let counter = sys::memory(4);
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                spawn(move || {
                    loop {
                        let count = load_u32(counter);
                        if coracle_kernel_tests::compare_exchange_u32(counter, count, count + 1) == count {
                            break;
                        }
                    }
                    while load_u32(counter) < THREADS {
                        give_way();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(Thread::join);
    });
}

#[test]
fn a_thread_that_computes_makes_room() {
    run(|| {
        const SLICE: u64 = 10_000_000;
        stay_on(1).expect("an affinity is set");
        let flag = sys::memory(4);
        let other = spawn(move || store_u32(flag, 1));
        // A call that does not sleep: what ends this thread's turn is the timer of its slice.
        while load_u32(flag) == 0 {
            advance(SLICE);
            sys::call(abi::__NR_getppid, &[]).expect("a process has a parent");
        }
        other.join();
    });
}

#[test]
fn the_higher_priority_runs_first() {
    run(|| {
        let order = Arc::new(Mutex::new(Vec::new()));
        stay_on(1).expect("an affinity is set");
        let gate = sys::memory(4);
        let threads: Vec<_> = [10, 30, 20]
            .into_iter()
            .map(|priority| {
                let order = order.clone();
                spawn(move || {
                    let parameters = sys::put(&u32::to_le_bytes(priority));
                    sys::call(abi::__NR_sched_setscheduler, &[0, abi::SCHED_FIFO as usize, parameters])
                        .expect("a policy is set");
                    assert_eq!(sys::futex_wait(gate, 0, None), Ok(()));
                    order.lock().expect("nothing panics with it").push(priority);
                })
            })
            .collect();
        threads.iter().for_each(|thread| until_asleep(thread.tid));
        // One that is above all, so that none runs before all are woken.
        let parameters = sys::put(&40u32.to_le_bytes());
        sys::call(abi::__NR_sched_setscheduler, &[0, abi::SCHED_FIFO as usize, parameters])
            .expect("a policy is set");
        assert_eq!(sys::futex_wake(gate, 3), 3);
        threads.into_iter().for_each(Thread::join);
        assert_eq!(*order.lock().expect("nothing panics with it"), [30, 20, 10]);
    });
}

#[test]
fn sleepers_wake_in_the_order_of_their_times() {
    run(|| {
        const MILLISECOND: u64 = 1_000_000;
        let woken = Arc::new(AtomicUsize::new(0));
        // From the same moment on, however late a thread is made.
        let begin = sys::now() + 1_000 * MILLISECOND;
        let threads: Vec<_> = [(3, 20), (0, 5), (2, 15), (1, 10)]
            .into_iter()
            .map(|(place, time)| {
                let woken = woken.clone();
                spawn(move || {
                    let until = sys::timespec(begin + time * MILLISECOND);
                    let clock = abi::CLOCK_MONOTONIC as usize;
                    let absolute = abi::TIMER_ABSTIME as usize;
                    sys::call(abi::__NR_clock_nanosleep, &[clock, absolute, until, 0])
                        .expect("a sleep ends by itself");
                    assert_eq!(woken.fetch_add(1, SeqCst), place);
                })
            })
            .collect();
        threads.into_iter().for_each(Thread::join);
    });
}
