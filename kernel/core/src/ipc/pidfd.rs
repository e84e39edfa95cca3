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
use linux_raw_sys::general::{O_NONBLOCK, O_PATH, O_RDWR, stat as Stat};

struct PidFd {
    process: Arc<Process>,
}

/// A new descriptor, close-on-exec, of `process` in the process of `thread`; O_NONBLOCK is kept of `flags`.
pub fn open(thread: &Thread, process: &Arc<Process>, flags: u32) -> Result<i32, Errno> {
    let file = try_arc(PidFd { process: process.clone() })?;
    thread.process.descriptors.insert(OpenFile::new(file, O_RDWR | flags & O_NONBLOCK)?, true, 0)
}

/// The pid that descriptor `fd` of `process` stands for; EBADF.
pub fn pid_of(process: &Process, fd: i32) -> Result<i32, Errno> {
    let open = process.descriptors.get(fd)?;
    let file = open.file.as_any().downcast_ref::<PidFd>().ok_or(Errno::BADF)?;
    Ok(file.process.pid)
}

/// The process that a file stands for, if it is a descriptor of one, and whether that was not waited for yet.
pub fn process_of(file: &dyn File) -> Option<(&Arc<Process>, bool)> {
    let process = &file.as_any().downcast_ref::<PidFd>()?.process;
    Some((process, !was_waited_for(process)))
}

/// The process that a signal to descriptor `fd` of `process` is for: a descriptor of pidfd_open(2) or an open directory /proc/PID,
/// as pidfd_send_signal(2) has it. EBADF; ESRCH if the process has ended and was waited for.
pub fn signalled(process: &Process, fd: i32) -> Result<Arc<Process>, Errno> {
    let open = process.descriptors.get(fd)?;
    if open.flags() & O_PATH != 0 {
        return Err(Errno::BADF);
    }
    let target = match open.file.as_any().downcast_ref::<PidFd>() {
        Some(file) => file.process.clone(),
        None => open
            .file
            .place()
            .and_then(|place| place.path.inode.process()?.downcast().ok())
            .ok_or(Errno::BADF)?,
    };
    if was_waited_for(&target) { Err(Errno::SRCH) } else { Ok(target) }
}

/// Whether a process is no longer there. Another may have its number.
fn was_waited_for(process: &Arc<Process>) -> bool {
    by_pid(process.pid).is_none_or(|other| !Arc::ptr_eq(&other, process))
}

impl File for PidFd {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(crate::fs::stat::anonymous())
    }
    fn readiness(&self) -> Events {
        if !self.process.dead.load(Acquire) {
            return Events::empty();
        }
        let hang_up = if was_waited_for(&self.process) { Events::HUP } else { Events::empty() };
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
