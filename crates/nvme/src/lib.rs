//! NVMe (NVM Express Base Specification 2.0 and NVM Command Set Specification 1.0): commands, completions, and what a controller says of
//! itself and its namespaces. It knows no machine, and trusts no controller.
#![no_std]
#![forbid(unsafe_code)]

mod command;
mod identify;
mod registers;

pub use command::{Command, Completion, SECTOR_BYTES, Zeroing};
pub use identify::{Controller, IDENTIFY_BYTES, Namespace, SERIAL_BYTES};
pub use registers::{Capabilities, ENABLE, FATAL, READY, register};

/// Bytes of a memory page, of which a command's data are pieces.
pub const PAGE_BYTES: usize = 4096;
/// Bytes of a command, and of a completion.
pub const COMMAND_BYTES: usize = 64;
/// See [`COMMAND_BYTES`].
pub const COMPLETION_BYTES: usize = 16;
