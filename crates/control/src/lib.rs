//! The protocol of the control port, a stream of bytes in each direction between `coracle run` and its guest.
//!
//! A message is a kind and a length, 16 bits each and little-endian, and as many bytes as the length says. A receiver
//! skips kinds that it doesn't know, and bytes after those it knows, so that either side can be the newer one. Each side
//! begins with [`Message::Hello`]. Neither trusts the other: any bytes are a sequence of messages.
#![no_std]
#![forbid(unsafe_code)]

mod message;
mod reader;

pub use message::{Encoded, Message, VERSION, Window};
pub use reader::Reader;
