//! Directories of the host as file systems of the tree, whatever protocol they are shared by ([`server::Server`]: 9P and virtio-fs).
//!
//! A [`session::Session`] is what is known of the files of one server. Each file has a `node::Node` with a handle that names it; an open file
//! has one more, which is open on the server as well. What a program writes goes to the server at once, so that the host sees it when the
//! call returns, and there is nothing to lose. Only what is written by a shared mapping is written back later: by msync(2), fsync(2), close(2), or
//! after a while.
//!
//! What is read is kept in the page cache, as long as the server's file has the size and the time of the last write that it had
//! ([`caching::Caching`]).
pub mod caching;
pub mod carrier;
mod file;
pub mod mount;
mod node;
mod operations;
pub mod server;
pub mod session;
