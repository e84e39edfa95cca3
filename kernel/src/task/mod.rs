//! Processes, threads, the scheduler, signals and futexes.
pub mod clone;
pub mod exec;
pub mod exit;
mod family;
mod farewell;
pub mod futex;
pub mod limits;
pub mod oom;
pub mod oom_score;
pub mod orphans;
pub mod process;
pub mod run_queue;
pub mod sched;
pub mod signal;
pub mod slice;
pub mod thread;
pub mod user_count;
pub mod wait;
