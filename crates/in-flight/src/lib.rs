//! Which sockets can still be reached, of those that lie in messages to other sockets (SCM_RIGHTS, unix(7)).
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod graph;

pub use graph::{Graph, LOOK_EDGES};
