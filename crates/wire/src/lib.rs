//! Numbers, texts and times in the messages of protocols whose numbers are little endian, and whose messages begin with their size: 9P and FUSE.
#![no_std]
#![forbid(unsafe_code)]

mod common;
pub mod open;
mod reader;
mod writer;

pub use common::{Failure, Time, is_name};
pub use reader::Reader;
pub use writer::Writer;
