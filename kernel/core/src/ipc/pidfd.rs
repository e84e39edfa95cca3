//! pidfd_open(2): a descriptor of a process, readable once it has ended, and hung up once that was waited for.
use super::poll::{Events, PollSource};
use crate::errno::Errno;
use crate::fs::file::{File, OpenFile};
use crate::task::process::{Process, by_pid};
use crate::task::thread::Thread;
use alloc::sync::Arc;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::sync::atomic::Ordering::*;
use core::any::Any;
use linux_raw_sys::general::{O_RDWR, stat as Stat};

struct PidFd {
    process: Arc<Process>,
}

/// A new descriptor, close-on-exec, of `process` in the process of `thread`.
pub fn open(thread: &Thread, process: &Arc<Process>) -> Result<i32, Errno> {
    let file = try_arc(PidFd { process: process.clone() })?;
    thread.process.descriptors.insert(OpenFile::new(file, O_RDWR)?, true, 0)
}

/// The pid that descriptor `fd` of `process` stands for; EBADF.
pub fn pid_of(process: &Process, fd: i32) -> Result<i32, Errno> {
    let open = process.descriptors.get(fd)?;
    let file = open.file.as_any().downcast_ref::<PidFd>().ok_or(Errno::BADF)?;
    Ok(file.process.pid)
}

impl File for PidFd {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(crate::fs::stat::anonymous())
    }
    fn readiness(&self) -> Events {
        if !self.process.dead.load(Acquire) {
            return Events::empty();
        }
        let waited_for = by_pid(self.process.pid).is_none_or(|other| !Arc::ptr_eq(&other, &self.process));
        let hang_up = if waited_for { Events::HUP } else { Events::empty() };
        Events::IN | Events::RDNORM | hang_up
    }
    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.process.exit_source)
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"anon_inode:[pidfd]")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
