//! Sleeps of threads until a time of the real-time clock, when that is set.
use super::{process, sched};
use crate::time::wall::give_wake_wall_sleepers;

give_wake_wall_sleepers!(wake);

fn wake() {
    for process in process::all() {
        let threads = process.threads.lock();
        threads.iter().filter(|thread| thread.sched.sleep_timer.follows_wall()).for_each(sched::unpark);
    }
}
