//! Changing directories.
mod create;
mod index;
mod insert;
mod remove;
mod rename;

pub use create::NewFile;
pub use rename::Rename;
