//! What every open file can do, and the open file description that descriptors share.
use crate::errno::{Errno, SysResult};
use crate::ipc::poll::{Events, PollSource};
use crate::mm::user_buf::UserBuf;
use crate::net::socket::Socket;
use crate::syscall::call::Call;
use alloc::sync::Arc;
use coracle_hal::frame::Frame;
use core::any::Any;
use core::sync::atomic::AtomicU32;
use linux_raw_sys::general::stat as Stat;

/// An open file description (open(2)): what dup'ed and inherited descriptors share.
pub struct OpenFile {
    /// Access mode and status flags (O_NONBLOCK, O_APPEND, …).
    pub flags: AtomicU32,
    /// File position in bytes.
    pub position: spin::Mutex<u64>,
    /// The file itself.
    pub file: Arc<dyn File>,
}

/// An open object. Default bodies give the errors Linux gives for objects that can't do it.
pub trait File: Send + Sync + Any {
    /// Reads at `offset` (regular files, devices with positions), or the next bytes of a stream (offset ignored).
    /// Blocks unless `nonblock`, then EAGAIN. 0 is end of file.
    fn read(&self, dst: &mut UserBuf, offset: u64, nonblock: bool) -> SysResult {
        let _ = (dst, offset, nonblock);
        Err(Errno::INVAL)
    }
    /// Writes at `offset`, or appends to a stream.
    fn write(&self, src: &mut UserBuf, offset: u64, nonblock: bool) -> SysResult {
        let _ = (src, offset, nonblock);
        Err(Errno::INVAL)
    }
    /// True if it has positions (lseek, pread); else ESPIPE.
    fn seekable(&self) -> bool {
        false
    }
    /// Size in bytes, for SEEK_END and O_APPEND.
    fn size(&self) -> u64 {
        0
    }
    /// stat(2).
    fn stat(&self) -> Result<Stat, Errno>;
    /// What a poll would report now.
    fn readiness(&self) -> Events {
        Events::IN | Events::OUT
    }
    /// Where changes of [`File::readiness`] are announced; `None`: always ready, and refused by epoll (EPERM).
    fn poll_source(&self) -> Option<&PollSource> {
        None
    }
    /// ioctl(2).
    fn ioctl(&self, call: &mut Call, command: u32, argument: usize) -> SysResult {
        let _ = (call, command, argument);
        Err(Errno::NOTTY)
    }
    /// ftruncate(2).
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        let _ = size;
        Err(Errno::INVAL)
    }
    /// The frame that holds page `index` of the file, for mmap: the file's own page, to be mapped shared or copied on a
    /// private write. `for_write`: a shared writable mapping; the page must be the one that read(2) sees.
    /// ENODEV if it can't be mapped; ENXIO past the end (SIGBUS).
    fn page(&self, index: u64, for_write: bool) -> Result<Frame, Errno> {
        let _ = (index, for_write);
        Err(Errno::NODEV)
    }
    /// The socket behind it, for socket calls (else ENOTSOCK).
    fn as_socket(&self) -> Option<&dyn Socket> {
        None
    }
    /// The path for /proc/self/fd and maps.
    fn path(&self) -> alloc::string::String;
    /// For looking at what kind it is.
    fn as_any(&self) -> &dyn Any;
    /// The last descriptor was closed (descriptions are dropped later if a call still runs on them).
    fn closed(&self) {}
}
