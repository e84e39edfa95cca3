//! Time namespaces (time_namespaces(7)): what the clocks since boot show in them, counted from what they show in the first.
use super::process::Process;
use super::user_space::{UserSpace, next_inode};
use crate::errno::Errno;
use crate::lock::Mutex;
use crate::time::clock::{self, SECOND_NS};
use alloc::sync::Arc;
use coracle_fallible::{NoMemory, try_arc};
use coracle_hal::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// The offsets of CLOCK_MONOTONIC and of CLOCK_BOOTTIME, in nanoseconds.
pub type Offsets = [i64; 2];
/// Their places.
pub const MONOTONIC: usize = 0;
/// See [`MONOTONIC`].
pub const BOOTTIME: usize = 1;

/// A time namespace.
pub struct TimeSpace {
    /// Number of its inode.
    pub id: u32,
    /// The user namespace that it belongs to.
    pub owner: Option<Arc<UserSpace>>,
    state: Mutex<State>,
}

struct State {
    offsets: Offsets,
    /// A process is or was in it: the offsets stay.
    is_entered: bool,
}

impl TimeSpace {
    /// One whose clocks show what those of `outer` do.
    pub fn new(
        outer: Option<&Arc<TimeSpace>>,
        owner: Option<Arc<UserSpace>>,
    ) -> Result<Arc<TimeSpace>, NoMemory> {
        let offsets = outer.map_or([0; 2], |outer| outer.offsets());
        try_arc(TimeSpace {
            id: next_inode(),
            owner,
            state: Mutex::new(State { offsets, is_entered: false }),
        })
    }

    /// What is added to the clocks.
    pub fn offsets(&self) -> Offsets {
        self.state.lock().offsets
    }

    /// Sets some of the offsets, in seconds and nanoseconds. EINVAL; ERANGE if a clock would show less than 0 or more than half of what it can;
    /// EACCES once a process was in it.
    pub fn set_offsets(&self, new: [Option<(i64, i64)>; 2]) -> Result<(), Errno> {
        /// KTIME_SEC_MAX.
        const SECONDS_MAX: i64 = i64::MAX / SECOND_NS as i64;
        let now = (clock::monotonic_ns() / SECOND_NS) as i64;
        let mut offsets = [None; 2];
        for (place, new) in offsets.iter_mut().zip(new) {
            let Some((seconds, nanoseconds)) = new else { continue };
            if !(0..SECOND_NS as i64).contains(&nanoseconds) {
                return Err(Errno::INVAL);
            }
            let shows = seconds.checked_add(now).ok_or(Errno::RANGE)?;
            if !(-SECONDS_MAX..=SECONDS_MAX).contains(&seconds) || !(0..=SECONDS_MAX / 2).contains(&shows) {
                return Err(Errno::RANGE);
            }
            *place = Some(seconds.saturating_mul(SECOND_NS as i64).saturating_add(nanoseconds));
        }
        let mut state = self.state.lock();
        if state.is_entered {
            return Err(Errno::ACCES);
        }
        for (own, new) in state.offsets.iter_mut().zip(offsets) {
            *own = new.unwrap_or(*own);
        }
        Ok(())
    }

    fn enter(&self) -> Offsets {
        let mut state = self.state.lock();
        state.is_entered = true;
        state.offsets
    }
}

/// The offsets of the namespace that a process is in, which don't change while it is.
#[derive(Default)]
pub struct ProcessOffsets([AtomicI64; 2]);

impl ProcessOffsets {
    /// Those of a new process are its maker's.
    pub fn inherit(&self, from: &ProcessOffsets) {
        self.set(from.get());
    }

    fn get(&self) -> Offsets {
        [self.0[MONOTONIC].load(Relaxed), self.0[BOOTTIME].load(Relaxed)]
    }

    fn set(&self, offsets: Offsets) {
        self.0.iter().zip(offsets).for_each(|(own, new)| own.store(new, Relaxed));
    }
}

/// What a clock since boot ([`MONOTONIC`] or [`BOOTTIME`]) shows the running program where it shows `ns` in the first namespace.
#[inline]
pub fn shown(which: usize, ns: u64) -> u64 {
    ns.saturating_add_signed(offset(which))
}

/// The reverse: what it shows in the first namespace where it shows the running program `ns`.
#[inline]
pub fn machine(which: usize, ns: u64) -> u64 {
    ns.saturating_add_signed(offset(which).saturating_neg())
}

fn offset(which: usize) -> i64 {
    if !crate::this::is_any() {
        return 0;
    }
    crate::this::with(|me| me.process.clock_offsets.0[which].load(Relaxed))
}

fn same(a: &Option<Arc<TimeSpace>>, b: &Option<Arc<TimeSpace>>) -> bool {
    a.as_ref().map(Arc::as_ptr) == b.as_ref().map(Arc::as_ptr)
}

impl Process {
    /// Puts the process into the namespace that its children would go to, as a new one and one that executes a program are. Returns whether
    /// that is another one than it was in.
    pub fn enter_time_of_children(&self) -> bool {
        let mut own = self.namespaces.lock();
        if same(&own.time, &own.time_of_children) {
            return false;
        }
        let new = own.time_of_children.clone();
        let before = core::mem::replace(&mut own.time, new);
        self.clock_offsets.set(own.time.as_ref().map_or([0; 2], |time| time.enter()));
        drop(own);
        drop(before);
        true
    }
}
