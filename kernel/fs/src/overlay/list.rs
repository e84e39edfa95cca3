//! Listing a directory of both layers.
//!
//! First come the names of the image, at the places that they have there, whichever layer the file is in now; then those that
//! the volume alone has. So an entry that is copied up between two calls is neither lost nor listed twice.
use super::node::Node;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{DirEntry, Inode, TakeEntry};
use coracle_core::fs::stat::entry_kind;
use coracle_fallible::prelude::*;

/// Positions in the volume's directory have this bit.
const IN_UPPER: u64 = 1 << 61;
/// Entries that are read at a time: what is done for each waits for the disk, which the lock of a directory forbids.
const BATCH: usize = 32;

/// An entry of one layer.
struct Listed {
    name: Vec<u8>,
    next: u64,
}

fn read(directory: &impl Inode, from: u64) -> Result<Vec<Listed>, Errno> {
    let (mut batch, mut result) = (Vec::new(), Ok(()));
    directory.list(from, &mut |entry| {
        let name = entry.name.try_to_vec();
        result = name.and_then(|name| batch.try_push(Listed { name, next: entry.next }));
        result.is_ok() && batch.len() < BATCH
    })?;
    result?;
    Ok(batch)
}

impl Node {
    pub(super) fn list_both(&self, from: u64, take: TakeEntry) -> Result<(), Errno> {
        let Some(upper) = self.upper() else {
            return match self.lower() {
                Some(lower) => lower.list(from, take),
                None => Ok(()),
            };
        };
        let mut at = from;
        if let Some(lower) = self.lower().filter(|_| from & IN_UPPER == 0) {
            loop {
                let batch = read(&**lower, at)?;
                let Some(last) = batch.last() else { break };
                at = last.next;
                for Listed { name, next } in &batch {
                    if !self.give(name, *next, take)? {
                        return Ok(());
                    }
                }
            }
        }
        at = if from & IN_UPPER == 0 { 0 } else { from & !IN_UPPER };
        loop {
            let batch = read(&**upper, at)?;
            let Some(last) = batch.last() else { return Ok(()) };
            at = last.next;
            for Listed { name, next } in &batch {
                if self.lower_child(name)?.is_none() && !self.give(name, IN_UPPER | next, take)? {
                    return Ok(());
                }
            }
        }
    }

    /// Hands an entry on, if it is not hidden; false if it is one too many.
    fn give(&self, name: &[u8], next: u64, take: &mut dyn FnMut(DirEntry) -> bool) -> Result<bool, Errno> {
        let Some(node) = self.find(name)? else { return Ok(true) };
        Ok(take(DirEntry { inode: node.number(), kind: entry_kind(node.kind_bits()), name, next }))
    }

    /// Whether nothing is in the directory.
    pub(super) fn is_empty(&self) -> Result<bool, Errno> {
        let mut is_empty = true;
        self.list_both(0, &mut |_| {
            is_empty = false;
            false
        })?;
        Ok(is_empty)
    }
}
