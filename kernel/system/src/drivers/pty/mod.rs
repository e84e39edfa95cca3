//! Pseudo-terminals (pty(7)): a pair of devices, of which the slave is a terminal to programs, and the master is what a person
//! and a screen would be. They live in file systems of their own (pts(4)).
mod devpts;
mod given;
mod ioctl;
mod master;
mod pair;
mod slave;
mod start;

pub use devpts::filesystem;
pub use given::{Terminal, resize};
pub use start::start;
