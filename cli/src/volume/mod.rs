//! Volumes: ext4 file systems in files of the host, whose contents outlive the guest; and directories of the host.
//!
//! A named volume is a sparse file below the user's data directory; any other file can be one as well. The guest mounts them
//! before its program starts, and finds each by the serial number of its disk.

mod attach;
mod check;
mod command;
mod disk;
mod file;
mod holder;
mod place;
pub mod share;
mod spec;
pub mod tmpfs;
mod transfer;

pub use attach::{Attached, Wish, attach};
pub use command::run;
pub use place::{Source, names};
pub use spec::Spec;
