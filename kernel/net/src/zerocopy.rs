//! Notices of MSG_ZEROCOPY (Linux's Documentation/networking/msg_zerocopy.rst). The bytes are copied all the same, so that the
//! program's memory is its own again when the call returns, and that is what the notice says.
use super::address::Family;
use super::options::int;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::{Events, PollSource};
use coracle_core::lock::Mutex;
use coracle_core::net::socket::{DatagramInfo, ExtendedError, Received};
use coracle_fallible::try_box;
use coracle_hal::sync::atomic::{AtomicBool, Ordering::Relaxed};
use linux_raw_sys::net as n;

/// A flag of send(2).
pub const MSG_ZEROCOPY: u32 = 0x400_0000;
/// SO_EE_ORIGIN_ZEROCOPY, and SO_EE_CODE_ZEROCOPY_COPIED.
const ORIGIN: u8 = 5;
const COPIED: u8 = 1;

/// A socket's part.
#[derive(Default)]
pub struct Zerocopy {
    /// SO_ZEROCOPY.
    pub is_on: AtomicBool,
    /// A notice waits.
    is_due: AtomicBool,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    /// The number of the next call that is counted.
    next: u32,
    /// The first and the last call of which a notice waits. Each is over when it returns, so there is no gap between them.
    due: Option<(u32, u32)>,
}

impl Zerocopy {
    /// Sets SO_ZEROCOPY. EINVAL.
    pub fn set(&self, value: &[u8]) -> Result<(), Errno> {
        match int(value)? {
            value @ (0 | 1) => self.is_on.store(value != 0, Relaxed),
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    /// A call with MSG_ZEROCOPY has sent something: its notice waits, if the program has asked for such.
    #[cold]
    pub fn sent(&self, source: &PollSource) {
        if !self.is_on.load(Relaxed) {
            return;
        }
        {
            let mut calls = self.calls.lock();
            let call = calls.next;
            calls.next = call.wrapping_add(1);
            calls.due = Some((calls.due.map_or(call, |(first, _)| first), call));
            self.is_due.store(true, Relaxed);
        }
        source.notify(Events::ERR);
    }

    /// POLLERR, while a notice waits.
    #[inline]
    pub fn readiness(&self) -> Events {
        if self.is_due.load(Relaxed) { Events::ERR } else { Events::empty() }
    }

    /// Takes what waits (MSG_ERRQUEUE). EAGAIN, ENOMEM.
    #[cold]
    pub fn receive(&self, family: Family) -> Result<Received, Errno> {
        if !self.is_due.load(Relaxed) {
            return Err(Errno::AGAIN);
        }
        let mut info = try_box(DatagramInfo::default())?;
        let (first, last) = {
            let mut calls = self.calls.lock();
            self.is_due.store(false, Relaxed);
            calls.due.take().ok_or(Errno::AGAIN)?
        };
        let error = ExtendedError {
            errno: 0,
            origin: ORIGIN,
            kind: 0,
            code: COPIED,
            info: first,
            data: last,
            offender: None,
        };
        info.error = Some((error, family == Family::V6));
        Ok(Received { flags: n::MSG_ERRQUEUE, info: Some(info), ..Received::bytes(0) })
    }
}
