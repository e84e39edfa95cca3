//! An open queue.
use super::queue::MessageQueue;
use super::tree::QueueNode;
use crate::mqueue::Means;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::fs::inode::Inode;
use coracle_core::fs::mount::Place;
use coracle_core::ipc::poll::{Events, PollSource};
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::pid_space;
use coracle_fallible::{NoMemory, Text};
use core::any::Any;
use linux_raw_sys::general::{SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, stat as Stat};

/// A queue that mq_open(3), or open(2) in a mounted file system of queues, opened.
pub struct QueueFile {
    node: Arc<QueueNode>,
    /// Where open(2) found it.
    place: Option<Place>,
}

impl QueueFile {
    /// An open file of the queue.
    pub fn new(node: Arc<QueueNode>, place: Option<Place>) -> QueueFile {
        QueueFile { node, place }
    }

    /// The queue.
    pub fn queue(&self) -> &MessageQueue {
        self.node.queue()
    }
}

impl File for QueueFile {
    fn read(&self, dst: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        let mut text = Text::new();
        self.queue().with_notification(|bytes, notification| {
            let (pid, how, signal) = match notification.and_then(|it| Some((it.pid()?, &it.means))) {
                None => (0, 0, 0),
                Some((pid, Means::Nothing)) => (pid, SIGEV_NONE, 0),
                Some((pid, Means::Signal(number, _))) => (pid, SIGEV_SIGNAL, *number),
                Some((pid, Means::Datagram(..))) => (pid, SIGEV_THREAD, 0),
            };
            let pid = pid_space::seen(pid);
            // As mq_overview(7) shows it.
            writeln!(text, "QSIZE:{bytes:<10} NOTIFY:{how:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}")
        })?;
        let rest = usize::try_from(offset).ok().and_then(|offset| text.as_bytes().get(offset..));
        dst.put(rest.unwrap_or_default())
    }
    fn seekable(&self) -> bool {
        true
    }
    fn size(&self) -> u64 {
        self.node.metadata().size
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.node.metadata().stat())
    }
    fn readiness(&self) -> Events {
        self.queue().readiness()
    }
    fn poll_source(&self) -> Option<&PollSource> {
        Some(self.queue().source())
    }
    fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        match &self.place {
            Some(place) => place.write(text),
            None => {
                text.push(b"/")?;
                text.push(self.node.name())
            }
        }
    }
    fn descriptor_closed(&self, pid: i32) {
        self.queue().unregister(pid);
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
