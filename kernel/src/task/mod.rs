//! Processes, threads, the scheduler, signals and futexes.
pub mod process;
pub mod sched;
pub mod thread;
