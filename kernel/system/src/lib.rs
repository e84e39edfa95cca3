//! What a Linux system has beside the program: the root of the tree of files, /proc, /sys, terminals, and the devices found at boot.
#![no_std]
#![forbid(unsafe_code)]
// Constructors are `const`, which `Default` has not, and no caller asks whether a length is 0.
#![allow(clippy::new_without_default, clippy::len_without_is_empty)]
extern crate alloc;
extern crate self as coracle_system;
#[macro_use]
extern crate coracle_core;

pub mod drivers;
pub mod proc;
pub mod root;
mod sock_diag;
pub mod socket;
pub mod sys;
