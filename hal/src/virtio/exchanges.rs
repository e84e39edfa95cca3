//! A queue of exchanges: bytes that the device reads, and bytes that it writes as its answer, both in frames.
//!
//! An exchange has counted references to its frames until the device has returned it. As with the [`requests`](super::requests) of a
//! block device, the bytes of a frame are reached by copies alone, and a frame that is read-only for ever is not given to a device
//! that writes it.
use super::queue::Queue;
use crate::mm::frame::{FRAME_SIZE, Frame};
use alloc::vec::Vec;
use coracle_virtio::queue::{AddError, Piece, QueueError};
use core::ops::Range;

/// What a device is given: two ranges of the bytes that frames have one after the other.
pub struct Exchange {
    /// The frames.
    pub frames: Vec<Frame>,
    /// What the device reads.
    pub sent: Range<usize>,
    /// What it writes.
    pub received: Range<usize>,
}

/// An exchange that the device has.
pub(super) struct Held<T> {
    exchange: Exchange,
    token: T,
}

/// An exchange that was not taken.
pub struct Refused<T> {
    /// It comes back.
    pub exchange: Exchange,
    /// So does what was given with it.
    pub token: T,
    /// There is no room for it now; else there never is.
    pub is_full: bool,
}

/// The queue. `T` is kept for each exchange while the device has it.
pub struct Exchanges<T>(Queue<Held<T>>);

/// The frames that a range of their bytes touches.
fn touched(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() { 0..0 } else { range.start / FRAME_SIZE..range.end.div_ceil(FRAME_SIZE) }
}

/// The part of a range that lies in a frame.
fn piece(frames: &[Frame], range: &Range<usize>, index: usize, writable: bool) -> Piece {
    let (from, to) = (range.start.max(index * FRAME_SIZE), range.end.min((index + 1) * FRAME_SIZE));
    let address = frames[index].phys() + (from % FRAME_SIZE) as u64;
    Piece { address, len: (to - from) as u32, writable }
}

impl<T> Exchanges<T> {
    pub(super) fn new(queue: Queue<Held<T>>) -> Exchanges<T> {
        Exchanges(queue)
    }

    /// Queues an exchange. The device sees it after [`Exchanges::publish`].
    ///
    /// # Errors
    /// There is no room now. Or there never is: a range is not within the frames, has more of them than the queue takes, is to be written
    /// though a frame is read-only for ever; or the device broke the rules of the queue.
    pub fn add(&mut self, exchange: Exchange, token: T) -> Result<(), Refused<T>> {
        let Exchange { frames, sent, received } = &exchange;
        let all = frames.len() * FRAME_SIZE;
        let fits = |range: &Range<usize>| range.start <= range.end && range.end <= all;
        let is_wrong =
            !fits(sent) || !fits(received) || frames[touched(received)].iter().any(Frame::is_permanent);
        if is_wrong {
            return Err(Refused { exchange, token, is_full: false });
        }
        let (out, back) = (touched(sent), touched(received));
        let count = out.len() + back.len();
        let held = Held { exchange, token };
        let added = self.0.reached().split.add_of(count, held, |held, number| {
            let Exchange { frames, sent, received } = &held.exchange;
            match number.checked_sub(out.len()) {
                None => piece(frames, sent, out.start + number, false),
                Some(number) => piece(frames, received, back.start + number, true),
            }
        });
        added.map(drop).map_err(|error| {
            let is_full = matches!(error, AddError::Full(_));
            let Held { exchange, token } = error.into_token();
            Refused { exchange, token, is_full }
        })
    }

    /// Shows the device what was queued since the last time. True if its doorbell must be rung.
    pub fn publish(&mut self) -> bool {
        self.0.publish()
    }

    /// What was given with the next exchange that the device is done with, and how many bytes it says it has written. A device that breaks the
    /// rules is an error, now and at all later calls: no exchange comes back any more.
    pub fn pop(&mut self) -> Result<Option<(T, u32)>, QueueError> {
        Ok(self.0.pop()?.map(|used| (used.token.token, used.len)))
    }

    /// Calls `f` with what was given with each exchange that the device has.
    pub fn each_outstanding(&mut self, mut f: impl FnMut(&T)) {
        self.0.reached().split.each_token(|held| f(&held.token));
    }

    /// Asks for an interrupt when the device has returned the next exchange. True if it has some already: then look again.
    pub fn request_interrupt(&self) -> bool {
        self.0.request_interrupt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::queue::tests::device;
    use coracle_virtio::memory::Memory as _;
    use coracle_virtio::queue::Layout;
    use std::vec;

    fn exchanges(size: u16) -> Exchanges<u32> {
        let (registers, _) = device();
        let layout = Layout::new(size, 0, 0).expect("a power of two");
        let started = Queue::start(&registers, 0, (layout, 0), false);
        Exchanges::new(started.unwrap_or_else(|error| panic!("{error}")).0)
    }

    fn frames(count: usize) -> Vec<Frame> {
        (0..count).map(|_| Frame::alloc().expect("the test's machine has memory")).collect()
    }

    #[test]
    fn what_is_read_comes_before_what_is_written() {
        let mut queue = exchanges(8);
        let two = frames(2);
        let (sent, received) = (FRAME_SIZE - 23..FRAME_SIZE + 100, 0..11);
        assert!(queue.add(Exchange { frames: two.clone(), sent, received }, 1).is_ok());
        let memory = queue.0.reached().split.memory();
        let word = |offset| {
            let [low, high] = memory.read_u32_pair(offset);
            u64::from(low) | u64::from(high) << 32
        };
        let pieces: Vec<_> = (0..3).map(|at| (word(16 * at), word(16 * at + 8) as u32)).collect();
        let expected =
            [(two[0].phys() + FRAME_SIZE as u64 - 23, 23), (two[1].phys(), 100), (two[0].phys(), 11)];
        assert_eq!(pieces, expected);
        let writes: Vec<_> = (0..3).map(|at| word(16 * at + 8) >> 33 & 1).collect();
        assert_eq!(writes, [0, 0, 1]);
        assert!(!two[1].is_unique());
        drop(queue);
        assert!(two[1].is_unique());
    }

    #[test]
    fn what_leaves_its_frames_is_refused() {
        let mut queue = exchanges(4);
        let mut refused = |frames, sent, received| {
            queue.add(Exchange { frames, sent, received }, 5).err().map(|refused| refused.is_full)
        };
        assert_eq!(refused(frames(1), 0..FRAME_SIZE + 1, 0..1), Some(false));
        assert_eq!(refused(frames(1), 0..1, 0..FRAME_SIZE + 1), Some(false));
        assert_eq!(
            refused(frames(5), 0..5 * FRAME_SIZE, 0..0),
            Some(false),
            "more than the queue has room for"
        );
        assert_eq!(
            refused(vec![Frame::zero_page()], 0..1, 1..2),
            Some(false),
            "the page of zeroes is not written"
        );
        assert_eq!(refused(frames(3), 0..3 * FRAME_SIZE, 0..0), None);
        assert_eq!(refused(frames(2), 0..1, FRAME_SIZE..FRAME_SIZE + 1), Some(true));
    }
}
