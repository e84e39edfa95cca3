//! Listing a directory of several layers.
//!
//! Of the root, the image's names come first, at the places that they have there, whichever layer the file is in now; then those that
//! the volume alone has. Of layers that a program mounts, all names come in the order of their hashes. So an entry that is copied up between two calls
//! is neither lost nor listed twice.
use super::node::Node;
use crate::memory::name_hash;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{DirEntry, Inode, TakeEntry};
use coracle_core::fs::stat::entry_kind;
use coracle_core::task::long_call;
use coracle_fallible::prelude::*;

/// Positions in the directory of the uppermost layer have this bit.
const IN_UPPER: u64 = 1 << 61;
/// Bits of a hash that are no part of a position.
const UNUSED: u32 = 4;
/// Entries that are read at a time: what is done for each waits for the disk, which the lock of a directory forbids.
const BATCH: usize = 32;

/// An entry of one layer.
struct Listed {
    name: Vec<u8>,
    next: u64,
}

fn read(directory: &Arc<dyn Inode>, from: u64) -> Result<Vec<Listed>, Errno> {
    let (mut batch, mut result) = (Vec::new(), Ok(()));
    directory.list(from, &mut |entry| {
        let name = entry.name.try_to_vec();
        result = name.and_then(|name| batch.try_push(Listed { name, next: entry.next }));
        result.is_ok() && batch.len() < BATCH
    })?;
    result?;
    Ok(batch)
}

/// Adds the names of a directory whose hashes come next after `from` to those of others.
fn merge(directory: &Arc<dyn Inode>, from: u64, first: &mut Vec<Listed>) -> Result<(), Errno> {
    let mut at = 0;
    loop {
        let batch = read(directory, at)?;
        let Some(last) = batch.last() else { return Ok(()) };
        at = last.next;
        for Listed { name, .. } in batch {
            let next = (name_hash(&name) >> UNUSED) + 1;
            let place = first.partition_point(|listed| listed.next < next);
            let is_known = first.get(place).is_some_and(|listed| listed.next == next);
            if next <= from || is_known || place >= BATCH {
                continue;
            }
            first.truncate(BATCH - 1);
            first.try_insert(place, Listed { name, next })?;
        }
        long_call::pause();
    }
}

impl Node {
    pub(super) fn list_both(&self, from: u64, take: TakeEntry) -> Result<(), Errno> {
        if !self.overlay().is_root() {
            return self.list_many(from, take);
        }
        let Some(upper) = self.upper() else {
            return match self.lower() {
                Some(lower) => lower.inode.list(from, take),
                None => Ok(()),
            };
        };
        let mut at = from;
        if let Some(lower) = self.lower().filter(|_| from & IN_UPPER == 0) {
            loop {
                let batch = read(&lower.inode, at)?;
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
            let batch = read(upper, at)?;
            let Some(last) = batch.last() else { return Ok(()) };
            at = last.next;
            for Listed { name, next } in &batch {
                if !self.is_below(name)? && !self.give(name, IN_UPPER | next, take)? {
                    return Ok(());
                }
            }
        }
    }

    fn list_many(&self, mut from: u64, take: TakeEntry) -> Result<(), Errno> {
        loop {
            let mut first = Vec::new();
            for directory in self.upper().into_iter().chain(self.lowers().iter().map(|lower| &lower.inode)) {
                merge(directory, from, &mut first)?;
            }
            let Some(last) = first.last() else { return Ok(()) };
            from = last.next;
            for Listed { name, next } in &first {
                if !self.give(name, *next, take)? {
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
