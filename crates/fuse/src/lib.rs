//! FUSE, the protocol by which Linux's kernel asks a program for a file system, and a guest asks a virtio-fs device (Linux's
//! include/uapi/linux/fuse.h; virtio 1.2, section 5.11): a client's messages are written, and a server's are read. The server is not
//! trusted: whatever it sends is refused or stays within the bytes that came.
//!
//! A request has its size (4 bytes), its operation (4) and a number (8), by which answers find their requests, and the node that it is
//! about (8). Nodes are named by numbers that the server chooses, and that stay valid until they are *forgotten* as often as they were
//! *looked up*. An open file has a handle, another number of the server's.
#![no_std]
#![forbid(unsafe_code)]

mod reply;
mod request;

pub use coracle_wire::{Failure, Reader, Time};
pub use reply::{
    Attributes, Entries, Entry, Found, Init, ONE_ENTRY_BYTES, REPLY_HEAD_BYTES, Statistics, open_reply,
};
pub use request::{
    DATA_HEAD_BYTES, LONGEST_REQUEST, Operation, ROOT, Request, SYNC_DATA_ONLY, VERSION, change, option,
};
