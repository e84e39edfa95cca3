//! The journal (JBD2): a log of whole blocks, by which each transaction is there after a crash as a whole or not at all.
//!
//! Source: Linux's documentation of ext4's data structures, *Journal (jbd2)*, and `fs/jbd2`.
mod checkpoint;
mod commit;
mod layout;
mod log;
mod replay;

pub(crate) use layout::format_superblock as format_journal;
pub(crate) use log::Journal;
