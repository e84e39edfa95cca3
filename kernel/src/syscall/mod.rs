//! System calls: one table, one function per call, in a file named after its family.
pub mod attributes;
pub mod call;
pub mod descriptor;
mod dispatch;
pub mod epoll;
pub mod file;
mod futex;
mod identity;
mod inotify;
mod memory;
pub mod mount;
mod mqueue;
mod names;
pub mod other_process;
mod path;
pub mod poll;
pub mod process;
mod seals;
mod signal;
pub mod socket;
pub mod system;
mod sysv;
pub mod table;
mod thread;
mod time;
mod timerfd;

pub use dispatch::{call_put_off, dispatch};
