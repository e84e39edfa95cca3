//! eventfd(2).
use super::poll::{Events, PollSource, block_on_events};
use crate::errno::{Errno, SysResult};
use crate::fs::file::File;
use crate::fs::stat;
use crate::mm::user_buf::UserBuf;
use alloc::sync::Arc;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::sync::Mutex;
use core::any::Any;
use linux_raw_sys::general::stat as Stat;

/// The most that the counter holds.
const MAX: u64 = u64::MAX - 1;
/// Bytes of the number that is read and written.
const SIZE: usize = 8;

/// A counter that can be waited for.
pub struct EventFd {
    count: Mutex<u64>,
    /// EFD_SEMAPHORE: a read takes one.
    semaphore: bool,
    source: PollSource,
}

impl EventFd {
    /// A counter that starts at `count`.
    pub fn new(count: u32, semaphore: bool) -> Result<Arc<EventFd>, NoMemory> {
        try_arc(EventFd { count: Mutex::new(u64::from(count)), semaphore, source: PollSource::new() })
    }

    /// The counter now, and whether a read takes one (EFD_SEMAPHORE).
    pub fn state(&self) -> (u64, bool) {
        (*self.count.lock(), self.semaphore)
    }

    /// Adds 1 to the counter for an end of the kernel's own work, if there is room: waits for nothing.
    pub fn signal(&self) {
        {
            let mut count = self.count.lock();
            *count = (*count + 1).min(MAX);
        }
        self.source.notify(Events::IN);
    }

    /// Adds to the counter, as write(2) does. EINVAL; EAGAIN if it has no room and `nonblock` is set, else it waits.
    pub fn add(&self, value: u64, nonblock: bool) -> Result<(), Errno> {
        if value > MAX {
            return Err(Errno::INVAL);
        }
        block_on_events(&self.source, Events::OUT, nonblock, None, || {
            let mut count = self.count.lock();
            if MAX - *count < value {
                return Err(Errno::AGAIN);
            }
            *count += value;
            Ok(())
        })?;
        self.source.notify(Events::IN);
        Ok(())
    }
}

impl File for EventFd {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if dst.remaining() < SIZE {
            return Err(Errno::INVAL);
        }
        let value = block_on_events(&self.source, Events::IN, nonblock, None, || {
            let mut count = self.count.lock();
            let value = if self.semaphore { (*count).min(1) } else { *count };
            if value == 0 {
                return Err(Errno::AGAIN);
            }
            *count -= value;
            Ok(value)
        })?;
        self.source.notify(Events::OUT);
        dst.put_all(&value.to_le_bytes())?;
        Ok(SIZE)
    }
    fn write(&self, src: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        let mut bytes = [0; SIZE];
        if src.remaining() < SIZE || src.take(&mut bytes)? < SIZE {
            return Err(Errno::INVAL);
        }
        self.add(u64::from_le_bytes(bytes), nonblock)?;
        Ok(SIZE)
    }
    fn keeps_position(&self) -> bool {
        false
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(stat::anonymous())
    }
    fn readiness(&self) -> Events {
        let count = *self.count.lock();
        let mut events = Events::empty();
        events.set(Events::IN, count > 0);
        events.set(Events::OUT, count < MAX);
        events
    }
    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.source)
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"anon_inode:[eventfd]")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
