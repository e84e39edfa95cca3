//! Extended attributes (xattr(7)): in the inode behind its fields, and in one block.
//!
//! Source: Linux's documentation of ext4's data structures, *Extended Attributes*.
mod acl;
mod change;
mod layout;
mod read;

pub use change::Existence;
