//! Stopping the threads of a process, looking at them, and letting them go on: what a debugger does, a core dump, and ptrace(2).
//!
//! A thread is held where it would enter its program ([`Work::HOLD`](crate::task::thread::Work::HOLD)). One that sleeps in a
//! system call is left alone: it is held when the call ends. While no process is attached, nothing of this runs but on
//! ways that are slow in any case: a signal, an exception of a program, the end of a process.
mod breakpoints;
pub mod held;
mod session;
mod stop;

pub use breakpoints::{leave_child, set_breakpoint, set_watchpoint};
pub use session::{
    Listener, Session, attach, attached, begin, detach, ended, executed, listen, next_event, resume, stop,
    want_cores, want_start,
};
pub use stop::{offer, rest, take_fault, wait_for_core};
