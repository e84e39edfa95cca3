//! Where a file's blocks lie on the disk, as far as it was asked: what is read and written there needs no look into the file system, nor
//! the lock that it has.
//!
//! Only runs of blocks that hold the file's bytes are remembered: they stay where they are until a call takes blocks from the file.
//! Such a call holds [`Runs::taking`], which waits for transfers that go past the page cache ([`Runs::transfer`]) and forgets
//! all runs; meanwhile no transfer begins, and no run is remembered.
use super::node::Node;
use super::volume::errno;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::{Events, PollSource, wait_until};
use coracle_core::lock::Mutex;
use coracle_fallible::prelude::*;

/// Runs that are remembered of a file at most.
const MOST_KNOWN: usize = 8;

/// Bytes of a file that lie together on the disk.
#[derive(Clone, Copy)]
struct Run {
    start: u64,
    end: u64,
    /// Where the first of them lies.
    place: u64,
}

/// What is remembered of a file, and how many threads use it.
pub(super) struct Runs {
    state: Mutex<State>,
    /// Told when transfers or takers end.
    settled: PollSource,
}

struct State {
    known: Vec<Run>,
    /// The run that the next one takes the place of.
    oldest: usize,
    transfers: usize,
    takers: usize,
}

/// What there is at an offset.
pub(super) struct Found {
    /// Where it lies on the disk; `None`: it reads as zeroes.
    pub place: Option<u64>,
    /// For how many bytes that holds.
    pub len: u64,
}

impl Runs {
    pub(super) const fn new() -> Runs {
        let state = State { known: Vec::new(), oldest: 0, transfers: 0, takers: 0 };
        Runs { state: Mutex::new(state), settled: PollSource::new() }
    }

    fn find(&self, at: u64) -> Option<Found> {
        let state = self.state.lock();
        let run = state.known.iter().find(|run| (run.start..run.end).contains(&at))?;
        Some(Found { place: Some(run.place + (at - run.start)), len: run.end - at })
    }

    /// Call it with the file system locked since the run was found.
    fn remember(&self, run: Run) {
        let mut state = self.state.lock();
        if state.takers > 0 {
            return;
        }
        let oldest = state.oldest;
        match state.known.get_mut(oldest) {
            Some(known) => *known = run,
            // Without memory it is looked up again.
            None => _ = state.known.try_push(run),
        }
        state.oldest = (oldest + 1) % MOST_KNOWN;
    }

    /// The file keeps its blocks as long as the transfer goes on. Waits for those that take some.
    pub(super) fn transfer(&self) -> Transfer<'_> {
        wait_until(&self.settled, Events::IN, &mut || {
            let mut state = self.state.lock();
            let may_begin = state.takers == 0;
            state.transfers += usize::from(may_begin);
            may_begin
        });
        Transfer(self)
    }

    /// A transfer ends that [went on](Transfer::goes_on).
    pub(super) fn end_transfer(&self) {
        drop(Transfer(self));
    }

    /// Blocks are taken from the file as long as this is held, or get other meanings. Waits for transfers.
    pub(super) fn taking(&self) -> Taking<'_> {
        let mut state = self.state.lock();
        state.takers += 1;
        state.known.clear();
        state.oldest = 0;
        drop(state);
        wait_until(&self.settled, Events::IN, &mut || self.state.lock().transfers == 0);
        Taking(self)
    }
}

/// See [`Runs::transfer`].
pub(super) struct Transfer<'a>(&'a Runs);

impl Transfer<'_> {
    /// It goes on until [`Runs::end_transfer`].
    pub(super) fn goes_on(self) {
        core::mem::forget(self);
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.transfers -= 1;
        let is_waited_for = state.takers > 0;
        drop(state);
        if is_waited_for {
            self.0.settled.notify(Events::IN);
        }
    }
}

/// See [`Runs::taking`].
pub(super) struct Taking<'a>(&'a Runs);

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        self.0.state.lock().takers -= 1;
        self.0.settled.notify(Events::IN);
    }
}

impl Node {
    /// What there is at an offset of the file. `None`: the file's bytes lie in its inode.
    ///
    /// # Errors
    /// EUCLEAN, EIO, ENOMEM.
    pub(super) fn find_place(&self, at: u64) -> Result<Option<Found>, Errno> {
        if let Some(found) = self.runs.find(at) {
            return Ok(Some(found));
        }
        let mut fs = self.volume().read();
        let block_bytes = u64::from(fs.block_bytes());
        let (first, run) = match fs.map_around(self.number(), (at / block_bytes) as u32) {
            Err(coracle_ext4::Error::Unsupported(_)) => return Ok(None),
            run => run.map_err(errno)?,
        };
        let start = u64::from(first) * block_bytes;
        let end = start + u64::from(run.count.max(1)) * block_bytes;
        let place = run.block.filter(|_| !run.unwritten).map(|block| block * block_bytes);
        if let Some(place) = place {
            self.runs.remember(Run { start, end, place });
        }
        Ok(Some(Found { place: place.map(|place| place + (at - start)), len: end - at }))
    }
}
