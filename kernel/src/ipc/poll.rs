//! Readiness: files announce changes; epoll sets and sleeping threads observe them. Nothing is ever scanned for.
use crate::errno::Errno;
use alloc::sync::Arc;

bitflags::bitflags! {
    /// Poll events with Linux's values (poll(2), epoll_ctl(2)).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs)]
    pub struct Events: u32 {
        const IN = 0x1;
        const PRI = 0x2;
        const OUT = 0x4;
        const ERR = 0x8;
        const HUP = 0x10;
        const NVAL = 0x20;
        const RDNORM = 0x40;
        const RDBAND = 0x80;
        const WRNORM = 0x100;
        const WRBAND = 0x200;
        const MSG = 0x400;
        const RDHUP = 0x2000;
    }
}

/// Told of events; must be quick, and take no lock that is held while a source is notified.
pub trait Observer: Send + Sync {
    /// `events` happened (edges: they may have passed already).
    fn notify(&self, events: Events);
}

/// The place in a file where its changes are announced.
pub struct PollSource {}

impl PollSource {
    /// No observers.
    pub const fn new() -> Self {
        PollSource {}
    }
    /// Tells the observers that want any of `events` (ERR and HUP always). Costs a load and a branch without observers.
    pub fn notify(&self, events: Events) {
        let _ = events;
        todo!("FS")
    }
    /// Adds an observer; gives an id for [`PollSource::unsubscribe`].
    pub fn subscribe(&self, observer: Arc<dyn Observer>, mask: Events) -> u64 {
        let _ = (observer, mask);
        todo!("FS")
    }
    /// Removes it.
    pub fn unsubscribe(&self, id: u64) {
        let _ = id;
        todo!("FS")
    }
}

/// Runs `attempt` until it gives something other than EAGAIN, sleeping on `source` in between unless `nonblock`.
/// ERESTARTSYS if a signal came, ETIMEDOUT at the deadline (nanoseconds since boot).
pub fn block_on<T>(
    source: &PollSource,
    nonblock: bool,
    deadline_ns: Option<u64>,
    attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    let _ = (source, nonblock, deadline_ns, attempt);
    todo!("FS")
}
