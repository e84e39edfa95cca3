//! System calls: one table, one function per call, in a file named after its family.
#![no_std]
#![forbid(unsafe_code)]
// Constructors are `const`, which `Default` has not, and no caller asks whether a length is 0.
#![allow(clippy::new_without_default, clippy::len_without_is_empty)]
extern crate alloc;
#[macro_use]
extern crate coracle_core;

mod aio;
pub mod attributes;
pub mod call;
pub mod descriptor;
mod dispatch;
pub mod epoll;
pub mod fanotify;
mod file;
mod futex;
mod handle;
mod identity;
mod inotify;
mod keys;
pub mod leaving;
mod memory;
mod memory_policy;
pub mod mount;
mod mount_api;
mod mqueue;
mod names;
mod namespaces;
pub mod other_process;
pub mod path;
pub mod perf;
mod poll;
pub mod process;
mod ptrace;
mod scheduling;
mod seals;
mod seccomp;
mod seccomp_listener;
mod signal;
pub mod socket;
pub mod system;
mod sysv;
pub mod table;
mod thread;
mod time;
mod timerfd;
pub mod trace;
pub mod uring;
pub mod watch;
mod xattr;

pub use dispatch::{call_put_off, dispatch};
