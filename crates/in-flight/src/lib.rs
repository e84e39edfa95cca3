//! A garbage collector for sockets in messages to other sockets (SCM_RIGHTS, unix(7)): finds those that can't be reached any
//! more.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod graph;

pub use graph::{Graph, LOOK_EDGES};
