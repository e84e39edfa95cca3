//! Rust's threads, channels, locks, condition variables, barriers, parking, scoped threads, thread-locals.
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, RwLock, mpsc};
use std::thread;
use std::time::Duration;

thread_local!(static LOCAL: Cell<u32> = const { Cell::new(7) });

fn main() {
    let counter = Arc::new(Mutex::new(0u64));
    let atomic = Arc::new(AtomicU64::new(0));
    let handles: Vec<_> = (0..8)
        .map(|i| {
            let (counter, atomic) = (counter.clone(), atomic.clone());
            thread::spawn(move || {
                LOCAL.set(i);
                for _ in 0..5000 {
                    *counter.lock().unwrap() += 1;
                    atomic.fetch_add(1, Ordering::Relaxed);
                }
                LOCAL.get()
            })
        })
        .collect();
    let ids: Vec<_> = handles.into_iter().map(|h| h.join().unwrap()).collect();
    println!("{} {} {ids:?} {}", counter.lock().unwrap(), atomic.load(Ordering::Relaxed), LOCAL.get());

    let (sender, receiver) = mpsc::sync_channel(3);
    let producers: Vec<_> = (0..3)
        .map(|p| {
            let sender = sender.clone();
            thread::spawn(move || (0..1000).for_each(|i| sender.send(p * 1000 + i).unwrap()))
        })
        .collect();
    drop(sender);
    println!("sum {}", receiver.iter().sum::<i32>());
    producers.into_iter().for_each(|p| p.join().unwrap());

    let barrier = Barrier::new(4);
    let leaders = AtomicU64::new(0);
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| (0..50).for_each(|_| _ = leaders.fetch_add(u64::from(barrier.wait().is_leader()), Ordering::Relaxed)));
        }
    });
    println!("leaders {}", leaders.into_inner());

    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let other = pair.clone();
    let waiter = thread::spawn(move || {
        let guard = other.1.wait_while(other.0.lock().unwrap(), |ready| !*ready).unwrap();
        *guard
    });
    *pair.0.lock().unwrap() = true;
    pair.1.notify_all();
    println!("waited {}", waiter.join().unwrap());
    let guard = pair.0.lock().unwrap();
    println!("timed out {}", pair.1.wait_timeout(guard, Duration::from_millis(10)).unwrap().1.timed_out());

    let parked = thread::spawn(|| thread::park());
    parked.thread().unpark();
    parked.join().unwrap();
    static ONCE: OnceLock<u32> = OnceLock::new();
    println!("{}", (0..4).map(|_| thread::spawn(|| *ONCE.get_or_init(|| 5))).map(|h| h.join().unwrap()).sum::<u32>());
    let lock = RwLock::new(1);
    {
        let (a, b) = (lock.read().unwrap(), lock.read().unwrap());
        println!("{}", *a + *b);
    }
    println!("{}", thread::available_parallelism().is_ok());
}
