//! Pipes and fifos (pipe(7), fifo(7)).
use super::poll::{Events, PollSource, block_on_events};
use crate::errno::{Errno, SysResult};
use crate::fs::file::File;
use crate::fs::mount::Place;
use crate::fs::signal_io::Announces;
use crate::fs::stat;
use crate::mm::user_buf::UserBuf;
use crate::task::long_call;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::frame::{self, FRAME_SIZE, Watermark};
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use coracle_vfs_core::ring::Ring;
use core::any::Any;
use linux_raw_sys::general::{O_ACCMODE, O_DIRECT, O_NONBLOCK, O_RDONLY, O_WRONLY, S_IFIFO, stat as Stat};
use linux_raw_sys::ioctl::FIONREAD;

/// Bytes that a pipe holds unless F_SETPIPE_SZ says otherwise.
pub const DEFAULT_CAPACITY: usize = 64 * 1024;
/// The most that F_SETPIPE_SZ gives (/proc/sys/fs/pipe-max-size).
pub const MAX_CAPACITY: usize = 1024 * 1024;
/// Writes up to this size are one step: they don't mix with others' (PIPE_BUF).
pub const PIPE_BUF: usize = 4096;

/// Writes up to this size go by way of the kernel's stack.
const SMALL_WRITE: usize = 128;

/// Bytes of memory that all pipes have.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// The part of memory that they may take where it is short (see `coracle_hal::frame`), so that there are pipes beside programs
/// that have filled their memory.
const SHARE: usize = 64;

/// A pipe: what its ends share.
pub struct Pipe {
    pub(super) state: Mutex<State>,
    pub(super) readable: PollSource,
    pub(super) writable: PollSource,
    inode: u64,
}

pub(super) struct State {
    pub(super) ring: Ring,
    /// What of [`HELD`] is the ring's memory.
    counted: usize,
    /// The packets among the bytes held (pipe(2), O_DIRECT): how many bytes that are of none are before each, and its own.
    packets: VecDeque<(usize, usize)>,
    /// A splice(2) has taken bytes out that may come back: no other reader gets in meanwhile.
    pub(super) lent: bool,
    pub(super) readers: usize,
    pub(super) writers: usize,
    /// How often an end was opened: lets the opening of a fifo wait for the other side even if that is gone again.
    readers_ever: u64,
    writers_ever: u64,
}

/// An end of a pipe, or a fifo opened for both.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    /// Whether each write is a packet (O_DIRECT).
    makes_packets: AtomicBool,
    /// The fifo's stat(2) and place; `None` for pipe(2).
    fifo: Option<(Stat, Place)>,
}

impl State {
    /// Bytes that a reader can have now.
    pub(super) fn readable(&self) -> usize {
        if self.lent { 0 } else { self.ring.len() }
    }

    /// Bytes that fit. Where memory is short, a pipe grows no further than to its first page, and if pipes have their share not at
    /// all.
    #[inline(always)]
    fn free(&self) -> usize {
        if frame::is_below(Watermark::High) { self.free_in_share() } else { self.ring.free() }
    }

    #[cold]
    #[inline(never)]
    fn free_in_share(&self) -> usize {
        let share = frame::counts().1 / SHARE * FRAME_SIZE;
        self.ring.free_within(if HELD.load(Relaxed) < share { PIPE_BUF } else { 0 })
    }

    /// Counts the ring's memory anew, after a change of the ring.
    #[inline]
    pub(super) fn count(&mut self) {
        let now = self.ring.memory();
        if now != self.counted {
            HELD.fetch_add(now, Relaxed);
            HELD.fetch_sub(self.counted, Relaxed);
            self.counted = now;
        }
    }

    /// The same for a writer: ENOMEM if nothing fits though nothing is held, so that no reader will make room.
    #[inline(always)]
    pub(super) fn free_to_write(&self) -> Result<usize, Errno> {
        match self.free() {
            0 => self.why_full(),
            free => Ok(free),
        }
    }

    #[cold]
    #[inline(never)]
    fn why_full(&self) -> Result<usize, Errno> {
        if self.ring.is_empty() && self.ring.free() > 0 { Err(Errno::NOMEM) } else { Ok(0) }
    }

    /// Whether `len` bytes fit: EPIPE without readers, EAGAIN if a reader must make room first.
    #[inline(always)]
    fn check_room(&self, len: usize) -> Result<(), Errno> {
        if self.readers == 0 {
            return Err(Errno::PIPE);
        }
        if self.free_to_write()? < len { Err(Errno::AGAIN) } else { Ok(()) }
    }

    /// The oldest `n` bytes have been taken.
    #[inline(always)]
    pub(super) fn note_taken(&mut self, n: usize) {
        if !self.packets.is_empty() {
            self.note_packets_taken(n);
        }
    }

    #[cold]
    #[inline(never)]
    fn note_packets_taken(&mut self, mut n: usize) {
        while let Some((before, len)) = self.packets.front_mut() {
            let of_none = n.min(*before);
            *before -= of_none;
            let own = (n - of_none).min(*len);
            *len -= own;
            n -= of_none + own;
            if *len > 0 {
                break;
            }
            self.packets.pop_front();
        }
    }

    /// Whether one more packet is let in: each takes a page of the pipe, as on Linux.
    fn has_packet_room(&self) -> bool {
        self.packets.len() < self.ring.capacity() / PIPE_BUF
    }

    /// Adds a packet of at most [`PIPE_BUF`] bytes, for which there is room. ENOMEM.
    fn push_packet(&mut self, bytes: &[u8]) -> Result<(), NoMemory> {
        let len = self.packets.len();
        self.packets.make_room_for(len + 1)?;
        let listed = self.packets.iter().map(|(before, len)| before + len).sum::<usize>();
        let before = self.ring.len() - listed;
        let pushed = self.ring.push(bytes)?;
        self.packets.push_back_reserved((before, pushed));
        Ok(())
    }

    /// Something was read: an empty pipe keeps its memory only where there is plenty.
    #[inline(always)]
    pub(super) fn note_read(&mut self) {
        if self.ring.is_empty() && frame::is_below(Watermark::High) {
            self.give_back();
        }
    }

    #[cold]
    #[inline(never)]
    fn give_back(&mut self) {
        self.ring.shrink();
        self.count();
    }
}

impl Pipe {
    /// A fifo's pipe: without ends until it is opened.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn named() -> Result<Arc<Pipe>, NoMemory> {
        let state = State {
            ring: Ring::new(DEFAULT_CAPACITY),
            counted: 0,
            packets: VecDeque::new(),
            lent: false,
            readers: 0,
            writers: 0,
            readers_ever: 0,
            writers_ever: 0,
        };
        try_arc(Pipe {
            state: Mutex::new(state),
            readable: PollSource::new(),
            writable: PollSource::new(),
            inode: stat::next_inode(),
        })
    }
    /// pipe(2): the reading and the writing end.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn pair() -> Result<(Arc<PipeEnd>, Arc<PipeEnd>), NoMemory> {
        let pipe = Pipe::named()?;
        Ok((Pipe::end(&pipe, true, false, None)?, Pipe::end(&pipe, false, true, None)?))
    }
    fn end(
        pipe: &Arc<Pipe>,
        reads: bool,
        writes: bool,
        fifo: Option<(Stat, Place)>,
    ) -> Result<Arc<PipeEnd>, NoMemory> {
        let end = try_arc(PipeEnd {
            pipe: pipe.clone(),
            reads,
            writes,
            makes_packets: AtomicBool::new(false),
            fifo,
        })?;
        let mut state = pipe.state.lock();
        state.readers += usize::from(reads);
        state.writers += usize::from(writes);
        state.readers_ever += u64::from(reads);
        state.writers_ever += u64::from(writes);
        drop(state);
        if reads {
            pipe.writable.notify(Events::OUT);
        }
        if writes {
            pipe.readable.notify(Events::IN);
        }
        Ok(end)
    }
    /// Opens a fifo (fifo(7)): for reading waits for a writer, for writing for a reader, unless O_NONBLOCK.
    pub fn open(pipe: &Arc<Pipe>, flags: u32, stat: Stat, place: Place) -> Result<Arc<dyn File>, Errno> {
        let access = flags & O_ACCMODE;
        let (reads, writes) = (access != O_WRONLY, access != O_RDONLY);
        let nonblock = flags & O_NONBLOCK != 0;
        if writes && !reads && nonblock && pipe.state.lock().readers == 0 {
            return Err(Errno::NXIO);
        }
        let (readers, writers) = {
            let state = pipe.state.lock();
            (state.readers_ever, state.writers_ever)
        };
        let end = Pipe::end(pipe, reads, writes, Some((stat, place)))?;
        end.set_packets(flags & O_DIRECT != 0);
        let both = reads && writes;
        if !both && !nonblock {
            let source = if reads { &pipe.readable } else { &pipe.writable };
            let met = block_on_events(source, Events::all(), false, None, || {
                let state = pipe.state.lock();
                let met = if reads {
                    state.writers > 0 || state.writers_ever != writers
                } else {
                    state.readers > 0 || state.readers_ever != readers
                };
                if met { Ok(()) } else { Err(Errno::AGAIN) }
            });
            if let Err(error) = met {
                end.closed();
                return Err(error);
            }
        }
        Ok(end)
    }
    /// Bytes it can hold (F_GETPIPE_SZ).
    pub fn capacity(&self) -> usize {
        self.state.lock().ring.capacity()
    }
    /// F_SETPIPE_SZ: rounds up to a power of two of pages; EBUSY if more is held, EPERM past the limit, EINVAL.
    pub fn set_capacity(&self, size: usize) -> SysResult {
        /// More has no power of two in an `unsigned int`, as Linux counts.
        const LARGEST: usize = 1 << 31;
        let size =
            if size > LARGEST { return Err(Errno::INVAL) } else { size.max(PIPE_BUF).next_power_of_two() };
        if size > MAX_CAPACITY {
            return Err(Errno::PERM);
        }
        {
            let mut state = self.state.lock();
            if !state.ring.set_capacity(size) {
                return Err(Errno::BUSY);
            }
            state.count();
        }
        self.writable.notify(Events::OUT);
        Ok(size)
    }
    /// Bytes held.
    pub fn len(&self) -> usize {
        self.state.lock().ring.len()
    }

    /// Reads what is there; where there are packets no more than one, unless it is `by_bytes`. EAGAIN, EFAULT.
    #[inline(always)]
    pub(super) fn try_read(&self, dst: &mut UserBuf, by_bytes: bool) -> SysResult {
        let mut done = 0;
        loop {
            let mut state = self.state.lock();
            let before = done;
            if !by_bytes && !state.packets.is_empty() {
                drop(state);
                return self.try_read_packet(dst);
            }
            while state.readable() > 0 && dst.remaining() > 0 {
                let (piece, _) = state.ring.peek();
                let want = piece.len().min(dst.remaining());
                let n = dst.put_nofault(&piece[..want]);
                state.ring.consume(n);
                if by_bytes {
                    state.note_taken(n);
                }
                done += n;
                if n < want {
                    break;
                }
            }
            state.note_read();
            let (held, more) = (state.readable(), state.lent || state.writers > 0);
            drop(state);
            if done > before {
                self.writable.notify(Events::OUT);
            }
            if dst.remaining() == 0 || held == 0 {
                return match done {
                    0 if dst.remaining() > 0 && more => Err(Errno::AGAIN),
                    n => Ok(n),
                };
            }
            // A page of the program isn't there.
            match dst.resolve() {
                Ok(()) => {}
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads where there are packets: what is before the first, and of that as much as there is room for. Its rest is lost.
    #[cold]
    #[inline(never)]
    fn try_read_packet(&self, dst: &mut UserBuf) -> SysResult {
        let mut done = 0;
        loop {
            let mut state = self.state.lock();
            let Some((before, len)) = state.packets.front().copied().filter(|_| state.readable() > 0) else {
                return if done > 0 { Ok(done) } else { Err(Errno::AGAIN) };
            };
            let within = if before > 0 { before } else { len };
            let want = within.min(dst.remaining());
            let (first, second) = state.ring.peek();
            let (first, second) =
                (&first[..want.min(first.len())], &second[..want.saturating_sub(first.len())]);
            // Both pieces with the lock held, so that a packet has one reader.
            let mut copied = dst.put_nofault(first);
            if copied == first.len() {
                copied += dst.put_nofault(second);
            }
            if copied < want && (copied == 0 || before > 0) {
                // A page of the program isn't there.
                state.ring.consume(copied);
                state.note_taken(copied);
                drop(state);
                done += copied;
                match dst.resolve() {
                    Ok(()) => continue,
                    Err(_) if done > 0 => return Ok(done),
                    Err(error) => return Err(error),
                }
            }
            let mut rest = Vec::new();
            if copied < want {
                // The same, in the middle of a packet, which has one reader.
                rest.try_extend_from_slice(&first[copied.min(first.len())..])?;
                rest.try_extend_from_slice(&second[copied.saturating_sub(first.len())..])?;
            }
            let earlier = done;
            done += copied;
            let taken = if before == 0 { within } else { copied };
            state.ring.consume(taken);
            state.note_taken(taken);
            state.note_read();
            drop(state);
            self.writable.notify(Events::OUT);
            if before == 0 {
                return match dst.put_all(&rest) {
                    Ok(()) => Ok(done + rest.len()),
                    Err(_) if earlier > 0 => Ok(earlier),
                    Err(error) => Err(error),
                };
            }
            if dst.remaining() == 0 {
                return Ok(done);
            }
        }
    }

    /// Writes packets of at most [`PIPE_BUF`] bytes each.
    #[cold]
    #[inline(never)]
    fn write_packets(&self, src: &mut UserBuf, nonblock: bool) -> SysResult {
        let mut done = 0;
        let mut packet = coracle_fallible::filled(0, src.remaining().min(PIPE_BUF))?;
        while src.remaining() > 0 {
            let len = src.remaining().min(PIPE_BUF);
            let step = src.take(&mut packet[..len]).and_then(|taken| {
                if taken < len {
                    return Err(Errno::FAULT);
                }
                block_on_events(&self.writable, Events::OUT, nonblock, None, || {
                    let mut state = self.state.lock();
                    state.check_room(len)?;
                    if !state.has_packet_room() {
                        return Err(Errno::AGAIN);
                    }
                    let pushed = state.push_packet(&packet[..len]);
                    state.count();
                    Ok(pushed?)
                })
            });
            match step {
                Ok(()) => done += len,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            self.readable.notify(Events::IN);
            if long_call::pause_unless_killed().is_err() {
                break;
            }
        }
        Ok(done)
    }

    /// Writes all bytes, at most [`PIPE_BUF`], or none.
    pub(super) fn try_write_whole(&self, src: &mut UserBuf, nonblock: bool) -> SysResult {
        let len = src.remaining();
        {
            let mut state = self.state.lock();
            state.check_room(len)?;
            // As a rule the room is in one piece, and so are the bytes.
            let room = state.ring.room(len)?;
            if room.len() < len || !src.take_at_once(room) {
                drop(state);
                return self.write_taken(src, nonblock);
            }
            state.ring.commit(len);
            state.count();
        }
        self.readable.notify(Events::IN);
        Ok(len)
    }

    /// [`Pipe::try_write_whole`] by way of the kernel's memory: a page fault half-way must not let a part of the bytes out.
    #[cold]
    #[inline(never)]
    fn write_taken(&self, src: &mut UserBuf, nonblock: bool) -> SysResult {
        let len = src.remaining();
        let mut small = [0u8; SMALL_WRITE];
        let mut large = alloc::vec::Vec::new();
        let bytes = if len <= small.len() {
            &mut small[..len]
        } else {
            large.try_resize(len, 0)?;
            &mut large[..]
        };
        if src.take(bytes)? < len {
            return Err(Errno::FAULT);
        }
        // Room may have gone meanwhile, and the bytes can't be given back: so this waits for it.
        block_on_events(&self.writable, Events::OUT, nonblock, None, || {
            let mut state = self.state.lock();
            state.check_room(len)?;
            let pushed = state.ring.push(bytes);
            state.count();
            Ok(pushed?)
        })
        .inspect(|_| self.readable.notify(Events::IN))
    }

    /// Writes what fits.
    pub(super) fn try_write(&self, src: &mut UserBuf) -> SysResult {
        let mut done = 0;
        loop {
            let mut state = self.state.lock();
            if state.readers == 0 {
                return if done > 0 { Ok(done) } else { Err(Errno::PIPE) };
            }
            let before = done;
            let mut stopped = false;
            while src.remaining() > 0 {
                let free = state.free_to_write();
                let room = match free.and_then(|free| Ok(state.ring.room(src.remaining().min(free))?)) {
                    Ok(room) => room,
                    Err(_) if done > 0 => break,
                    Err(error) => return Err(error),
                };
                let want = room.len();
                if want == 0 {
                    break;
                }
                let n = src.take_nofault(room);
                state.ring.commit(n);
                done += n;
                if n < want {
                    stopped = true;
                    break;
                }
            }
            state.count();
            drop(state);
            if done > before {
                self.readable.notify(Events::IN);
            }
            if !stopped {
                return if done == 0 && src.remaining() > 0 { Err(Errno::AGAIN) } else { Ok(done) };
            }
            match src.resolve() {
                Ok(()) => {}
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        HELD.fetch_sub(self.counted, Relaxed);
    }
}

impl PipeEnd {
    /// Whether each write is a packet from here on (fcntl(2), F_SETFL with O_DIRECT).
    pub fn set_packets(&self, on: bool) {
        self.makes_packets.store(on, Relaxed);
    }
    /// The pipe behind it.
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }
}

impl File for PipeEnd {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if !self.reads {
            return Err(Errno::BADF);
        }
        if dst.remaining() == 0 {
            return Ok(0);
        }
        block_on_events(&self.pipe.readable, Events::IN, nonblock, None, || self.pipe.try_read(dst, false))
    }
    fn write(&self, src: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if !self.writes {
            return Err(Errno::BADF);
        }
        let total = src.remaining();
        if total == 0 {
            return Ok(0);
        }
        if self.makes_packets.load(Relaxed) {
            return self.pipe.write_packets(src, nonblock);
        }
        let whole = total <= PIPE_BUF;
        let mut done = 0;
        loop {
            let step = block_on_events(&self.pipe.writable, Events::OUT, nonblock, None, || {
                if whole { self.pipe.try_write_whole(src, nonblock) } else { self.pipe.try_write(src) }
            });
            match step {
                Ok(n) => done += n,
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error),
            }
            if src.remaining() == 0 || nonblock || long_call::pause_unless_killed().is_err() {
                return Ok(done);
            }
        }
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.fifo.as_ref().map_or_else(|| stat::nameless(S_IFIFO | 0o600, self.pipe.inode), |fifo| fifo.0))
    }
    fn readiness(&self) -> Events {
        let state = self.pipe.state.lock();
        let mut events = Events::empty();
        if self.reads {
            if state.readable() > 0 {
                events |= Events::IN;
            }
            // A fifo that never had a writer has not been hung up on.
            if state.writers == 0 && state.writers_ever > 0 {
                events |= Events::HUP;
            }
        }
        if self.writes {
            if state.free_to_write().map_or(true, |free| free >= PIPE_BUF) && state.has_packet_room() {
                events |= Events::OUT;
            }
            if state.readers == 0 {
                events |= Events::ERR;
            }
        }
        events
    }
    fn announces(&self) -> Announces {
        Announces::Yes
    }
    fn poll_source(&self) -> Option<&PollSource> {
        Some(if self.reads { &self.pipe.readable } else { &self.pipe.writable })
    }
    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        if command == FIONREAD {
            crate::mm::user::write_u32(argument, self.pipe.len() as u32)?;
            return Ok(0);
        }
        Err(Errno::NOTTY)
    }
    fn place(&self) -> Option<&Place> {
        self.fifo.as_ref().map(|fifo| &fifo.1)
    }
    fn reopen(&self, flags: u32) -> Option<Result<Arc<dyn File>, Errno>> {
        let access = flags & O_ACCMODE;
        let end = Pipe::end(&self.pipe, access != O_WRONLY, access != O_RDONLY, self.fifo.clone());
        Some(end.map(|end| end as Arc<dyn File>).map_err(Errno::from))
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        match &self.fifo {
            Some((_, place)) => place.write(text),
            None => write!(text, "pipe:[{}]", self.pipe.inode),
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn closed(&self) {
        let (readers, writers) = {
            let mut state = self.pipe.state.lock();
            state.readers -= usize::from(self.reads);
            state.writers -= usize::from(self.writes);
            (state.readers, state.writers)
        };
        if writers == 0 {
            self.pipe.readable.notify(Events::IN | Events::HUP);
        }
        if readers == 0 {
            self.pipe.writable.notify(Events::OUT | Events::ERR);
        }
    }
}
