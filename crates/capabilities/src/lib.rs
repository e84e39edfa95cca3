//! The capability sets of a process (capabilities(7)): how a change of user ids, the execution of a program, and the calls about them
//! change them. A set is a word with a bit for each capability.
#![no_std]
#![forbid(unsafe_code)]

mod file;
pub mod number;
mod sets;

pub use file::FileCapabilities;
pub use sets::{Capabilities, SecureBits};

/// A change that the rules refuse (EPERM).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPermitted;
