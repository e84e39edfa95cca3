//! The users of a file's data: open files that may write to it, or programs that run from it; never both (ETXTBSY of execve(2) and open(2)).
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_fallible::try_arc;
use coracle_hal::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use core::any::Any;

/// How many users there are.
pub struct Users {
    /// Above 0 files that may write, below 0 programs.
    writers: AtomicI32,
    /// Files that can only read.
    readers: AtomicU32,
}

impl Users {
    /// None.
    pub const fn new() -> Self {
        Users { writers: AtomicI32::new(0), readers: AtomicU32::new(0) }
    }
    /// One more file is open, and may write or only read. ETXTBSY if it may write, and a program runs.
    pub fn begin(&self, writes: bool) -> Result<(), Errno> {
        if writes {
            return self.change(|users| (users >= 0).then_some(users + 1));
        }
        self.readers.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    /// One fewer.
    pub fn end(&self, writes: bool) {
        if writes {
            self.writers.fetch_sub(1, Ordering::Release);
        } else {
            self.readers.fetch_sub(1, Ordering::Release);
        }
    }
    /// How many open files only read, and how many may write.
    pub fn openers(&self) -> [u32; 2] {
        let writers = self.writers.load(Ordering::SeqCst).max(0);
        [self.readers.load(Ordering::SeqCst), writers.cast_unsigned()]
    }
    /// ETXTBSY if a program runs.
    pub fn check_not_executed(&self) -> Result<(), Errno> {
        if self.writers.load(Ordering::Acquire) < 0 { Err(Errno::TXTBSY) } else { Ok(()) }
    }
    fn change(&self, change: impl FnMut(i32) -> Option<i32>) -> Result<(), Errno> {
        let changed = self.writers.fetch_update(Ordering::SeqCst, Ordering::Relaxed, change);
        changed.map(drop).map_err(|_| Errno::TXTBSY)
    }
}

/// An inode whose data has users.
pub trait Used: Send + Sync + 'static {
    /// They. `None` if it has no data.
    fn users(&self) -> Option<&Users>;
}

/// A program that runs from a file.
struct Execution<N: Used>(Arc<N>);

impl<N: Used> Drop for Execution<N> {
    fn drop(&mut self) {
        if let Some(users) = self.0.users() {
            users.writers.fetch_add(1, Ordering::Release);
        }
    }
}

/// A program runs from the file until what is returned is dropped. ETXTBSY if it may be written; EINVAL if it has no data; ENOMEM.
pub fn execute<N: Used>(node: &Arc<N>) -> Result<Arc<dyn Any + Send + Sync>, Errno> {
    let users = node.users().ok_or(Errno::INVAL)?;
    users.change(|users| (users <= 0).then_some(users - 1))?;
    // From here on the dropping of it ends the execution.
    let execution = Execution(node.clone());
    Ok(try_arc(execution)?)
}
