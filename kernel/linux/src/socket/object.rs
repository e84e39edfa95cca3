//! The socket behind a descriptor, and the flags of its calls.
use crate::call::Call;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::{File, OpenFile};
use coracle_core::net::socket::Socket;
use coracle_core::task::signal;
use linux_raw_sys::general::{O_CLOEXEC, O_NONBLOCK, O_RDWR, SIGPIPE};
use linux_raw_sys::net as n;

/// SOCK_NONBLOCK and SOCK_CLOEXEC have the values of their O_ twins (socket(2)).
pub(super) const TYPE_FLAGS: u32 = O_NONBLOCK | O_CLOEXEC;

/// The open file of a descriptor argument.
#[inline(never)]
pub(super) fn file(call: &Call, fd: i32) -> Result<Arc<OpenFile>, Errno> {
    call.thread().process.descriptors.look_up(fd)
}

/// The socket behind an open file; ENOTSOCK.
#[inline]
pub(super) fn socket_of(file: &OpenFile) -> Result<&dyn Socket, Errno> {
    file.file.as_socket().ok_or(Errno::NOTSOCK)
}

/// MSG_* flags of a call, with MSG_DONTWAIT for O_NONBLOCK.
#[inline]
pub(super) fn effective(file: &OpenFile, flags: u32) -> u32 {
    if file.nonblock() { flags | n::MSG_DONTWAIT } else { flags }
}

/// Gives a new socket a descriptor. EMFILE, ENOMEM.
pub(super) fn insert(call: &Call, file: Arc<dyn File>, flags: u32) -> Result<i32, Errno> {
    let open = OpenFile::new(file, O_RDWR | flags & O_NONBLOCK)?;
    call.thread().process.descriptors.insert(open, flags & O_CLOEXEC != 0, 0)
}

/// A broken pipe raises SIGPIPE, unless the program said not to (send(2)).
#[inline(always)]
pub(super) fn with_sigpipe(result: SysResult, flags: u32) -> SysResult {
    if result == Err(Errno::PIPE) && flags & n::MSG_NOSIGNAL == 0 {
        signal::raise(SIGPIPE);
    }
    result
}
