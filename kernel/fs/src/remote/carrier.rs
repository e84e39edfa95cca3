//! Carries messages of any protocol to a server by a device, and the answers back.
use super::server::Gone;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::lock::Mutex;
use coracle_devices::virtio::share::Share;
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::virtio::exchanges::Exchange;

/// Frames of data in a message at most.
const MOST_FRAMES: usize = 32;
/// A message that is longer than this has frames of its own.
pub const HALF: usize = FRAME_SIZE / 2;
/// Frames for each of request and answer where each may be a path long.
const LONG_FRAMES: usize = 2;

/// A request.
pub trait Message {
    /// Writes it into a buffer, with a tag by which its answer is known; returns its bytes. `None`: the buffer is too small.
    fn write(&self, tag: u16, buffer: &mut [u8]) -> Option<usize>;
}

/// What a protocol says of requests that are not to be answered, and of files that are of no use any more.
pub struct Manners {
    /// Another request, with this tag, need not be answered.
    pub interrupt: fn(old: u16, tag: u16) -> Result<Exchange, Errno>,
    /// A handle is of no use any more.
    pub farewell: fn(gone: &Gone, tag: u16) -> Result<Exchange, Errno>,
    /// The client chooses the numbers of handles.
    pub chooses_numbers: bool,
}

/// Carries the messages of one server.
pub struct Carrier {
    device: &'static Share,
    manners: &'static Manners,
    /// Handles that the server does not know yet to be of no use.
    gone: Mutex<Vec<Gone>>,
    /// Numbers that were used, and may be again.
    free: Mutex<Vec<u64>>,
}

/// Whether a message sends the data that it comes with, or has them filled by the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// The data follow the request.
    Sent,
    /// The data follow the answer's head.
    Received,
}

/// Takes the head of an answer, how much the server wrote, and the tag; returns how many bytes of data that means.
type ReadHead<'a> = &'a dyn Fn(&[u8], usize, u16) -> Result<usize, Errno>;

impl Carrier {
    /// For a device.
    pub const fn new(device: &'static Share, manners: &'static Manners) -> Self {
        Carrier { device, manners, gone: Mutex::new(Vec::new()), free: Mutex::new(Vec::new()) }
    }

    /// The device.
    pub fn device(&self) -> &'static Share {
        self.device
    }

    /// Bytes of data in a message at most.
    pub fn data_bytes(&self) -> usize {
        MOST_FRAMES.min(self.device.most_frames()) * FRAME_SIZE
    }

    /// Notes a handle that is of no use. Without memory for that, the server keeps it.
    pub(super) fn note_gone(&self, gone: Gone) {
        let _ = self.gone.lock().try_push(gone);
    }

    /// Whether there is something that the server does not know yet.
    pub fn has_gone(&self) -> bool {
        !self.gone.lock().is_empty()
    }

    /// A number that may be used again.
    pub fn free_number(&self) -> Option<u64> {
        self.free.lock().pop()
    }

    /// Tells the server of the handles that are of no use any more, as far as there is room. Does not wait.
    pub fn settle(&self) {
        loop {
            let Some(gone) = self.gone.lock().pop() else { return };
            if self.device.is_broken() {
                continue;
            }
            let is_sent = self
                .device
                .try_tag()
                .is_some_and(|tag| self.send_alone((self.manners.farewell)(&gone, tag), tag));
            if !is_sent {
                return self.note_gone(gone);
            }
            // The server takes requests in their order, so that the number may be used again.
            if self.manners.chooses_numbers {
                let _ = self.free.lock().try_push(gone.number);
            }
        }
    }

    /// Sends a request whose answer does not matter.
    fn send_alone(&self, exchange: Result<Exchange, Errno>, tag: u16) -> bool {
        match exchange {
            Ok(exchange) => self.device.submit_alone(exchange, tag),
            Err(_) => {
                self.device.free_tag(tag);
                false
            }
        }
    }

    /// Carries a request without data to the server, and returns the answer's bytes and the tag. `is_long`: the answer may be a path. `tag`: the
    /// one that it must have.
    #[inline(never)]
    pub fn carry(
        &self,
        message: &dyn Message,
        is_long: bool,
        tag: Option<u16>,
    ) -> Result<(Vec<u8>, u16), Errno> {
        self.settle();
        let (tag, is_own) = match tag {
            Some(tag) => (tag, true),
            None => (self.device.tag(true)?, false),
        };
        let answer = self.carry_tagged(message, is_long, tag);
        if !is_own {
            self.device.free_tag(tag);
        }
        Ok((answer?, tag))
    }

    fn carry_tagged(&self, message: &dyn Message, is_long: bool, tag: u16) -> Result<Vec<u8>, Errno> {
        let exchange = match is_long {
            true => large(message, tag)?,
            false => small(message, tag, true).or_else(|error| match error {
                Errno::NAMETOOLONG => large(message, tag),
                error => Err(error),
            })?,
        };
        let frames = exchange.frames.try_to_vec()?;
        let received = exchange.received.clone();
        let len = self.exchange(exchange, tag, true)?.min(received.len());
        let mut answer = filled(0, len)?;
        read_frames(&frames, received.start, &mut answer);
        Ok(answer)
    }

    /// Gives the device an exchange, and waits for the answer; returns its bytes.
    fn exchange(&self, exchange: Exchange, tag: u16, gives_up: bool) -> Result<usize, Errno> {
        let waiting = self.device.submit(exchange, gives_up)?;
        let mut is_interrupted = false;
        let len = waiting.wait(gives_up).or_else(|_| {
            is_interrupted = true;
            self.interrupt(tag);
            waiting.wait(false)
        })?;
        match len {
            0 if self.device.is_broken() => Err(Errno::NOTCONN),
            // What was interrupted may be answered by nothing.
            0 if is_interrupted => Err(Errno::INTR),
            0 => Err(Errno::IO),
            len => Ok(len),
        }
    }

    /// Says that a request need not be answered. Its buffers come back all the same.
    #[cold]
    fn interrupt(&self, old: u16) {
        if let Some(tag) = self.device.try_tag() {
            self.send_alone((self.manners.interrupt)(old, tag), tag);
        }
    }

    /// Carries data: `frames` are read from or written to by the server, up to `count` bytes. `head` has room for the request, and
    /// `answer` is as long as the head of the answer; `read_head` takes that, how much the server wrote, and the tag, and returns how many bytes
    /// of data that means.
    #[inline(never)]
    pub fn carry_data(
        &self,
        (message, head): (&dyn Message, &mut [u8]),
        (data, frames, count): (Data, &[Frame], usize),
        answer: &mut [u8],
        gives_up: bool,
        read_head: ReadHead<'_>,
    ) -> Result<usize, Errno> {
        self.settle();
        let frames = frames.get(..count.div_ceil(FRAME_SIZE)).ok_or(Errno::INVAL)?;
        let first = Frame::alloc().ok_or(Errno::NOMEM)?;
        let all: Vec<Frame> = core::iter::once(&first).chain(frames).cloned().try_collect_vec()?;
        let tag = self.device.tag(gives_up)?;
        let len = message.write(tag, head).unwrap_or(0);
        // The message whose data follow lies at the end of the first frame, the other one at its beginning.
        let (sent, received) = match data {
            Data::Sent => (FRAME_SIZE - len..FRAME_SIZE + count, 0..answer.len()),
            Data::Received => (0..len, FRAME_SIZE - answer.len()..FRAME_SIZE + count),
        };
        first.write(sent.start, &head[..len]);
        let at = received.start;
        let done =
            self.exchange(Exchange { frames: all, sent, received }, tag, gives_up).and_then(|written| {
                let here = written.min(answer.len());
                first.read(at, &mut answer[..here]);
                let done = read_head(&answer[..here], written, tag)?;
                // Of what was not written, nothing may be taken for data.
                let most = match data {
                    Data::Sent => count,
                    Data::Received => count.min(written.saturating_sub(answer.len())),
                };
                if done <= most { Ok(done) } else { Err(Errno::IO) }
            });
        self.device.free_tag(tag);
        done
    }
}

/// An exchange of a request and an answer that share a frame. ENAMETOOLONG: the request is longer.
pub fn small(message: &dyn Message, tag: u16, has_answer: bool) -> Result<Exchange, Errno> {
    let mut bytes = filled(0, HALF)?;
    let len = message.write(tag, &mut bytes).ok_or(Errno::NAMETOOLONG)?;
    let frame = Frame::alloc().ok_or(Errno::NOMEM)?;
    frame.write(0, &bytes[..len]);
    let frames = core::iter::once(frame).try_collect_vec()?;
    let received = if has_answer { HALF..FRAME_SIZE } else { 0..0 };
    Ok(Exchange { frames, sent: 0..len, received })
}

/// The same where each may be a path long.
#[cold]
fn large(message: &dyn Message, tag: u16) -> Result<Exchange, Errno> {
    let mut bytes = filled(0, LONG_FRAMES * FRAME_SIZE)?;
    let len = message.write(tag, &mut bytes).ok_or(Errno::NAMETOOLONG)?;
    let frames = frames(2 * LONG_FRAMES * FRAME_SIZE)?;
    for (frame, piece) in frames.iter().zip(bytes[..len].chunks(FRAME_SIZE)) {
        frame.write(0, piece);
    }
    Ok(Exchange { frames, sent: 0..len, received: LONG_FRAMES * FRAME_SIZE..2 * LONG_FRAMES * FRAME_SIZE })
}

/// Frames for so many bytes. ENOMEM.
pub fn frames(bytes: usize) -> Result<Vec<Frame>, Errno> {
    (0..bytes.div_ceil(FRAME_SIZE)).map(|_| Frame::alloc().ok_or(Errno::NOMEM)).try_collect_ok()
}

/// Copies bytes out of frames, from a place among the bytes that these have one after the other.
pub fn read_frames(frames: &[Frame], start: usize, out: &mut [u8]) {
    let (mut at, mut done) = (start, 0);
    while done < out.len() {
        let in_frame = at % FRAME_SIZE;
        let len = (FRAME_SIZE - in_frame).min(out.len() - done);
        frames[at / FRAME_SIZE].read(in_frame, &mut out[done..done + len]);
        at += len;
        done += len;
    }
}
