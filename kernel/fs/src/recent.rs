//! Inodes that stay in memory, with their pages, though no file or directory is open on them: the last ones that were used.
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::lock::Mutex;
use coracle_fallible::prelude::*;

/// The most inodes that a file system keeps.
const MOST: usize = 512;

/// Those of a file system.
pub struct Recent<N>(Mutex<(Vec<Arc<N>>, usize)>);

impl<N> Recent<N> {
    /// None.
    pub const fn new() -> Self {
        Recent(Mutex::new((Vec::new(), 0)))
    }
    /// An inode was used: it stays for a while. Without memory it does not.
    pub fn note(&self, node: &Arc<N>) {
        let mut recent = self.0.lock();
        let (list, next) = &mut *recent;
        let old = if list.len() < MOST {
            let _ = list.try_push(node.clone());
            None
        } else {
            *next = (*next + 1) % MOST;
            Some(core::mem::replace(&mut list[*next], node.clone()))
        };
        drop(recent);
        drop(old);
    }
    /// Takes the inode out that `is_it` knows, if it is there.
    pub fn remove(&self, is_it: impl Fn(&N) -> bool) -> Option<Arc<N>> {
        let mut recent = self.0.lock();
        let found = recent.0.iter().position(|node| is_it(node));
        let gone = found.map(|index| recent.0.swap_remove(index));
        recent.1 = 0;
        gone
    }
    /// Lets all of them go.
    pub fn clear(&self) {
        // A statement of its own: the lock is released at its end.
        let recent = core::mem::take(&mut self.0.lock().0);
        drop(recent);
    }
}
