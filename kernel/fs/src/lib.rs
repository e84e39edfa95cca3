//! File systems: in memory, ext4, of the host by 9P, of what a program makes up; the page cache; special files of devices.
#![no_std]
#![forbid(unsafe_code)]
// Constructors are `const`, which `Default` has not, and no caller asks whether a length is 0.
#![allow(clippy::new_without_default, clippy::len_without_is_empty)]
extern crate alloc;
#[macro_use]
extern crate coracle_core;

pub mod block;
pub mod cache;
pub mod dev;
pub mod ext4;
pub mod lost;
pub mod memory;
pub mod overlay;
mod p9;
pub mod provided;
mod recent;
pub mod remote;
pub mod synthetic;
mod users;
mod virtiofs;
pub mod xattr;
