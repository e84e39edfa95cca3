//! 9P2000.L, the protocol by which a host shares a directory (Plan 9's intro(5), and `protocol.md` of the diod server for what Linux
//! added): a client's messages are written, and a server's are read. The server is not trusted: whatever it sends is refused or stays within
//! the bytes that came.
//!
//! A message has its size (4 bytes), its type (1) and a tag (2), by which answers find their requests; numbers are little endian, and a text
//! has its length (2 bytes) before it. Files are named by numbers that the client chooses, *fids*.
#![no_std]
#![forbid(unsafe_code)]

mod flags;
mod kind;
mod reply;
mod request;

pub use coracle_wire::{Failure, Reader, Time};
pub use flags::{REMOVE_DIRECTORY, change, wanted};
pub use reply::{
    Attributes, Entries, Entry, LIST_ENTRY_BYTES, Qid, REPLY_HEAD_BYTES, Statistics, open_reply,
};
pub use request::{DATA_HEAD_BYTES, LONGEST_REQUEST, NO_FID, NO_TAG, Request, VERSION};
