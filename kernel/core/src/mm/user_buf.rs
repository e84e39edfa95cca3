//! Buffers of a read- or write-like call: the program's memory (one piece or an iovec array), or the kernel's own.
use super::fault::{self, Refused};
use super::memory::{PAGE_SIZE, page_down};
use super::user::{self, Access};
use crate::errno::Errno;
use crate::task::long_call;
use alloc::vec::Vec;
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_hal::frame::Frame;
use coracle_hal::user as hal;
use core::ops::Range;
use core::slice::Iter;

/// Bytes that go to or come from the caller, consumed front to back.
pub struct UserBuf<'a> {
    /// Where the next bytes of the program lie, and how many there. 0: they lie in the next piece, or in the kernel. All
    /// pieces together are `total`.
    addr: usize,
    here: usize,
    rest: Rest<'a>,
    done: usize,
    total: usize,
    /// Where a `_nofault` call stopped.
    fault: Option<(usize, Access)>,
}

/// What follows, or lies elsewhere.
enum Rest<'a> {
    /// Further pieces in the program's memory.
    Pieces(Iter<'a, RawPiece>),
    /// The kernel's own buffers.
    KernelOut(&'a mut [u8]),
    KernelIn(&'a [u8]),
    /// Bytes of the image.
    Image(&'static [u8]),
}

impl Rest<'_> {
    /// The kernel's bytes that are taken, if they are the kernel's.
    #[inline(always)]
    fn kernel_in(&self) -> Option<&[u8]> {
        match self {
            Rest::KernelIn(src) => Some(src),
            Rest::Image(src) => Some(src),
            _ => None,
        }
    }
}

/// An element of an iovec array, as it lies in the program's memory: address and length, little endian.
type RawPiece = [[u8; 8]; 2];

/// The most bytes of a call (Linux's MAX_RW_COUNT: INT_MAX rounded down to a page).
pub const MAX_COUNT: usize = 0x7fff_f000;
/// The most pieces of an iovec array (IOV_MAX).
pub const MAX_PIECES: usize = 1024;
/// Pieces that need no memory from the heap: those of a message with a header, a body and an end, and one more.
const FEW: usize = 4;

/// Keeps the pieces of an iovec array while a call runs.
pub struct Pieces {
    few: [RawPiece; FEW],
    many: Option<Vec<RawPiece>>,
}

impl Pieces {
    /// No pieces yet.
    #[inline(always)]
    pub const fn new() -> Pieces {
        Pieces { few: const { [[[0; 8]; 2]; FEW] }, many: None }
    }
    /// Reads the `count` elements (at most [`MAX_PIECES`]) of the array at `addr` and gives the buffer that they make, of
    /// at most [`MAX_COUNT`] bytes. EINVAL if a length is negative; EFAULT, also if one of several is longer than the program's
    /// memory (Linux's `__import_iovec`); ENOMEM.
    #[inline(always)]
    pub fn read(&mut self, addr: usize, count: usize) -> Result<UserBuf<'_>, Errno> {
        let pieces = if count <= FEW { &mut self.few[..count] } else { self.make_room(count)? };
        user::read_inline(pieces.as_flattened_mut().as_flattened_mut(), addr)?;
        let mut total = 0usize;
        for [_, len] in &*pieces {
            let len = usize::from_le_bytes(*len);
            if len > isize::MAX as usize {
                return Err(Errno::INVAL);
            }
            total = total.saturating_add(len);
        }
        if total > MAX_COUNT {
            shorten(pieces)?;
            total = MAX_COUNT;
        }
        Ok(UserBuf::new(0, 0, Rest::Pieces(pieces.iter()), total))
    }
    #[cold]
    fn make_room(&mut self, count: usize) -> Result<&mut [RawPiece], Errno> {
        Ok(self.many.insert(filled([[0; 8]; 2], count)?))
    }
}

/// The pieces of an iovec array, for calls that use it when the program may have changed it.
pub struct KeptPieces {
    pieces: Vec<RawPiece>,
    total: usize,
}

impl KeptPieces {
    /// As [`Pieces::read`].
    pub fn read(addr: usize, count: usize) -> Result<KeptPieces, Errno> {
        let mut read = Pieces::new();
        let total = read.read(addr, count)?.remaining();
        let pieces = match read.many {
            Some(pieces) => pieces,
            None => {
                let mut pieces = Vec::new();
                pieces.try_extend_from_slice(&read.few[..count])?;
                pieces
            }
        };
        Ok(KeptPieces { pieces, total })
    }
    /// The buffer that they make.
    pub fn buffer(&self) -> UserBuf<'_> {
        UserBuf::new(0, 0, Rest::Pieces(self.pieces.iter()), self.total)
    }
    /// The bytes of the first, and how many there are.
    pub fn first_len(&self) -> (usize, usize) {
        (self.pieces.first().map_or(0, |[_, len]| usize::from_le_bytes(*len)), self.pieces.len())
    }
}

/// Shortens pieces to [`MAX_COUNT`] bytes together. EFAULT if one of several is longer than the program's memory.
#[cold]
fn shorten(pieces: &mut [RawPiece]) -> Result<(), Errno> {
    let mut left = MAX_COUNT;
    let several = pieces.len() > 1;
    for [addr, len] in pieces {
        let whole = usize::from_le_bytes(*len);
        if several {
            user::check_range(usize::from_le_bytes(*addr), whole)?;
        }
        let part = whole.min(left);
        left -= part;
        *len = part.to_le_bytes();
    }
    Ok(())
}

/// Pages of a program that a device reads or writes, and where in their bytes, one page after the other, the buffer is.
pub struct Pinned {
    /// The pages.
    pub frames: Vec<Frame>,
    /// The bytes.
    pub range: Range<usize>,
}

/// The kernel's side of a copy, used up from the front.
trait Ours {
    /// Bytes left.
    fn len(&self) -> usize;
    /// Copies the next `len` bytes, at most what is left, from or to the program's memory at `addr`.
    fn copy(&mut self, addr: usize, len: usize) -> Result<(), hal::Fault>;
}

impl Ours for &[u8] {
    #[inline(always)]
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
    #[inline(always)]
    fn copy(&mut self, addr: usize, len: usize) -> Result<(), hal::Fault> {
        let (part, rest) = self.split_at(len);
        *self = rest;
        hal::copy_to(addr, part)
    }
}

impl Ours for &mut [u8] {
    #[inline(always)]
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }
    #[inline(always)]
    fn copy(&mut self, addr: usize, len: usize) -> Result<(), hal::Fault> {
        let (part, rest) = core::mem::take(self).split_at_mut(len);
        *self = rest;
        hal::copy_from(part, addr)
    }
}

/// A part of a frame that goes to the program.
struct FromFrame<'a> {
    frame: &'a Frame,
    at: usize,
    len: usize,
}

impl Ours for FromFrame<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.len
    }
    #[inline(always)]
    fn copy(&mut self, addr: usize, len: usize) -> Result<(), hal::Fault> {
        let at = self.at;
        (self.at, self.len) = (at + len, self.len - len);
        hal::copy_from_frame(addr, self.frame, at, len)
    }
}

/// A part of a frame that is filled by the program.
struct ToFrame<'a>(FromFrame<'a>);

impl Ours for ToFrame<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.0.len
    }
    #[inline(always)]
    fn copy(&mut self, addr: usize, len: usize) -> Result<(), hal::Fault> {
        let at = self.0.at;
        (self.0.at, self.0.len) = (at + len, self.0.len - len);
        hal::copy_to_frame(self.0.frame, at, len, addr)
    }
}

impl<'a> UserBuf<'a> {
    /// `len` bytes of the program's memory at `addr`, of which [`MAX_COUNT`] count (EFAULT is only found when they are
    /// used, as Linux does).
    #[inline]
    pub fn user(addr: usize, len: usize) -> Self {
        let len = len.min(MAX_COUNT);
        Self::new(addr, len, Rest::Pieces([].iter()), len)
    }
    /// A kernel buffer to be filled ([`UserBuf::put`]).
    pub fn kernel_out(dst: &'a mut [u8]) -> Self {
        let total = dst.len();
        Self::new(0, 0, Rest::KernelOut(dst), total)
    }
    /// A kernel buffer to be read from ([`UserBuf::take`]).
    pub fn kernel_in(src: &'a [u8]) -> Self {
        let total = src.len();
        Self::new(0, 0, Rest::KernelIn(src), total)
    }
    /// Bytes of the image to be read from, or to be sent from where they lie ([`UserBuf::image`]): the first [`MAX_COUNT`].
    pub fn of_image(src: &'static [u8]) -> Self {
        Self::new(0, 0, Rest::Image(src), src.len().min(MAX_COUNT))
    }
    /// The bytes that are left of a buffer of the image.
    pub fn image(&self) -> Option<&'static [u8]> {
        match self.rest {
            Rest::Image(src) => src.get(self.done..self.total),
            _ => None,
        }
    }
    /// Counts so many bytes of the image as moved. Panics if they are not left.
    pub fn skip_image(&mut self, len: usize) {
        assert!(len <= self.remaining());
        self.done += len;
    }
    #[inline]
    fn new(addr: usize, here: usize, rest: Rest<'a>, total: usize) -> Self {
        UserBuf { addr, here, rest, done: 0, total, fault: None }
    }
    /// Bytes still to be moved.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.total - self.done
    }
    /// Bytes moved so far.
    #[inline]
    pub fn done(&self) -> usize {
        self.done
    }
    /// The pages of the next bytes, up to `most`, for a device that moves whole `unit`s, as far as one piece has them. They are there, and
    /// may be read or written as `access` says. `None` where no such unit begins. The bytes count as moved after
    /// [`UserBuf::skip`]. Hold no lock. EFAULT, ENOMEM.
    pub fn pin(&mut self, most: usize, unit: usize, access: Access) -> Result<Option<Pinned>, Errno> {
        if !self.find_piece() {
            return Ok(None);
        }
        let len = self.here.min(self.total - self.done).min(most);
        let len = len - len % unit;
        if len == 0 || !self.addr.is_multiple_of(unit) {
            return Ok(None);
        }
        let start = self.addr % PAGE_SIZE;
        let mut frames = Vec::new();
        frames.make_room((start + len).div_ceil(PAGE_SIZE))?;
        let memory = crate::this::with(|thread| thread.process.memory());
        memory.frames(self.addr, len, access, &mut frames).map_err(|refused| match refused {
            Refused::OutOfMemory => Errno::NOMEM,
            _ => Errno::FAULT,
        })?;
        Ok(Some(Pinned { frames, range: start..start + len }))
    }
    /// Goes on to the next piece of the program's memory that has bytes, if the present one has none. False: there is none.
    fn find_piece(&mut self) -> bool {
        let Rest::Pieces(rest) = &mut self.rest else { return false };
        while self.here == 0 {
            let Some([next, len]) = rest.next() else { return false };
            (self.addr, self.here) = (usize::from_le_bytes(*next), usize::from_le_bytes(*len));
        }
        true
    }
    /// Counts `len` bytes of one piece as moved.
    pub fn skip(&mut self, len: usize) {
        let _ = self.moved(len, Ok(()));
    }
    /// EFAULT if any of its bytes is secret (memfd_secret(2)): for calls that take pages.
    pub fn check_not_secret(&self) -> Result<(), Errno> {
        let memory = crate::this::with(|thread| thread.process.memory());
        self.pieces().try_for_each(|(addr, len)| memory.check_not_secret(addr, len)).map_err(|_| Errno::FAULT)
    }
    /// Address and length of the pieces of the program's memory that are left.
    fn pieces(&self) -> impl Iterator<Item = (usize, usize)> {
        let rest = match &self.rest {
            Rest::Pieces(rest) => rest.clone(),
            _ => [].iter(),
        };
        let number = |bytes: [u8; 8]| usize::from_le_bytes(bytes);
        let rest = rest.map(move |&[addr, len]| (number(addr), number(len)));
        core::iter::once((self.addr, self.here)).chain(rest)
    }
    /// Bytes that lie in the first `count` pages, where two pieces in one page count it twice (vmsplice(2) puts pages into a
    /// pipe).
    pub fn len_in_pages(&self, mut count: usize) -> usize {
        if !matches!(self.rest, Rest::Pieces(_)) {
            return self.remaining();
        }
        let mut bytes = 0usize;
        for (addr, len) in self.pieces() {
            let fits = (count * PAGE_SIZE).saturating_sub(addr % PAGE_SIZE).min(len);
            bytes = bytes.saturating_add(fits);
            count -= (addr % PAGE_SIZE + fits).div_ceil(PAGE_SIZE).min(count);
        }
        bytes.min(self.remaining())
    }
    /// Pauses a call that goes on with the rest of it, if there is one (see [`long_call`]). EINTR if the process is about to end.
    pub fn pause_before_rest(&self) -> Result<(), Errno> {
        if self.remaining() > 0 { long_call::pause_unless_killed() } else { Ok(()) }
    }
    /// Has it end after `len` further bytes, if there are more.
    pub fn shorten(&mut self, len: usize) {
        self.total = self.done + len.min(self.remaining());
    }
    /// Copies from `src` to the caller, as much as fits; page faults are resolved. EFAULT only if nothing was copied.
    /// Hold no file or socket lock.
    pub fn put(&mut self, src: &[u8]) -> Result<usize, Errno> {
        let src = &src[..src.len().min(self.remaining())];
        let copied = self.put_nofault(src);
        if copied == src.len() { Ok(copied) } else { self.put_on(src, copied) }
    }
    /// [`UserBuf::put`] after its first page fault.
    #[cold]
    fn put_on(&mut self, src: &[u8], mut copied: usize) -> Result<usize, Errno> {
        while copied < src.len() {
            match self.resolve() {
                Err(error) if copied == 0 => return Err(error),
                Err(_) => break,
                Ok(()) => copied += self.put_pieces(&src[copied..]),
            }
            if self.remaining() == 0 {
                break;
            }
        }
        Ok(copied)
    }
    /// Has the pages of the next `len` bytes be there, so that [`UserBuf::take_frame_nofault`] gets on, unless another thread takes them away. Hold
    /// no file or socket lock. EFAULT if not even the first byte is there.
    pub fn fault_in(&mut self, len: usize) -> Result<(), Errno> {
        self.fault = None;
        if !self.find_piece() {
            return Ok(());
        }
        user::read(&mut [0], self.addr)?;
        let Rest::Pieces(rest) = &self.rest else { return Ok(()) };
        let pieces = rest.clone().map(|&[addr, len]| (usize::from_le_bytes(addr), usize::from_le_bytes(len)));
        let mut left = len.min(self.total - self.done);
        for (addr, len) in core::iter::once((self.addr, self.here)).chain(pieces) {
            let end = addr.saturating_add(len.min(left));
            left -= len.min(left);
            for page in (page_down(addr)..end).step_by(PAGE_SIZE) {
                if user::read(&mut [0], page.max(addr)).is_err() {
                    return Ok(());
                }
            }
            if left == 0 {
                break;
            }
        }
        Ok(())
    }
    /// [`UserBuf::put`] of `len` bytes of a frame from `at` on. Panics if they leave it.
    pub fn put_frame(&mut self, frame: &Frame, at: usize, len: usize) -> Result<usize, Errno> {
        let len = len.min(self.remaining());
        if let Rest::KernelOut(dst) = &mut self.rest {
            frame.read(at, &mut dst[self.done..][..len]);
            self.done += len;
            return Ok(len);
        }
        let mut copied = 0;
        loop {
            copied += self.walk(FromFrame { frame, at: at + copied, len: len - copied });
            if copied == len || self.remaining() == 0 {
                return Ok(copied);
            }
            match self.resolve() {
                Err(error) if copied == 0 => return Err(error),
                Err(_) => return Ok(copied),
                Ok(()) => {}
            }
        }
    }
    /// [`UserBuf::take_nofault`] of `len` bytes into a frame from `at` on. Panics as [`Frame::write`] does.
    pub fn take_frame_nofault(&mut self, frame: &Frame, at: usize, len: usize) -> usize {
        let len = len.min(self.remaining());
        if let Some(src) = self.rest.kernel_in() {
            frame.write(at, &src[self.done..][..len]);
            self.done += len;
            return len;
        }
        self.walk(ToFrame(FromFrame { frame, at, len }))
    }
    /// Copies from the caller to `dst`, as much as there is. Like [`UserBuf::put`].
    pub fn take(&mut self, dst: &mut [u8]) -> Result<usize, Errno> {
        let len = dst.len().min(self.remaining());
        let copied = self.take_nofault(&mut dst[..len]);
        if copied == len { Ok(copied) } else { self.take_on(&mut dst[..len], copied) }
    }
    /// [`UserBuf::take`] after its first page fault.
    #[cold]
    fn take_on(&mut self, dst: &mut [u8], mut copied: usize) -> Result<usize, Errno> {
        while copied < dst.len() {
            match self.resolve() {
                Err(error) if copied == 0 => return Err(error),
                Err(_) => break,
                Ok(()) => copied += self.take_pieces(&mut dst[copied..]),
            }
            if self.remaining() == 0 {
                break;
            }
        }
        Ok(copied)
    }
    /// Like [`UserBuf::put`], but stops at a page fault, so that it may be used with locks held. If it copied less
    /// than fits, call [`UserBuf::resolve`] with no lock held and go on.
    #[inline(always)]
    pub fn put_nofault(&mut self, src: &[u8]) -> usize {
        if src.len() > self.here {
            return self.put_pieces(src);
        }
        let result = hal::copy_to(self.addr, src);
        self.moved(src.len(), result)
    }
    /// See [`UserBuf::put_nofault`].
    #[inline(always)]
    pub fn take_nofault(&mut self, dst: &mut [u8]) -> usize {
        if dst.len() > self.here {
            return self.take_pieces(dst);
        }
        let result = hal::copy_from(dst, self.addr);
        self.moved(dst.len(), result)
    }
    /// Fills `dst` from the caller if its bytes lie in one piece, in pages that are there; returns whether they did. If not,
    /// nothing counts as taken, and `dst` holds any bytes.
    #[inline(always)]
    pub fn take_at_once(&mut self, dst: &mut [u8]) -> bool {
        if dst.len() > self.here || hal::copy_from(dst, self.addr).is_err() {
            return false;
        }
        self.moved(dst.len(), Ok(()));
        true
    }
    /// [`UserBuf::put_nofault`] piece by piece.
    #[inline(never)]
    fn put_pieces(&mut self, src: &[u8]) -> usize {
        let before = self.done;
        if let Rest::KernelOut(dst) = &mut self.rest {
            let len = src.len().min(self.total - before);
            dst[before..][..len].copy_from_slice(&src[..len]);
            self.done += len;
            return len;
        }
        self.walk(src)
    }
    /// [`UserBuf::take_nofault`] piece by piece.
    #[inline(never)]
    fn take_pieces(&mut self, dst: &mut [u8]) -> usize {
        let before = self.done;
        if let Some(src) = self.rest.kernel_in() {
            let len = dst.len().min(self.total - before);
            dst[..len].copy_from_slice(&src[before..][..len]);
            self.done += len;
            return len;
        }
        self.walk(dst)
    }
    /// Whether a page fault stopped a `_nofault` call and is not resolved yet.
    #[inline(always)]
    pub fn is_stuck(&self) -> bool {
        self.fault.is_some()
    }
    /// Resolves the page fault that stopped a `_nofault` call. Where it can't be, the buffer ends at that page, so that the bytes
    /// before it are moved and count; EFAULT if there are none before it. A copy may have stopped before them, because it does
    /// not go byte by byte.
    #[cold]
    pub fn resolve(&mut self) -> Result<(), Errno> {
        // A call that fills memory for the first time meets a page that isn't there every 4096 bytes.
        long_call::pause();
        let (addr, access) = self.fault.take().ok_or(Errno::FAULT)?;
        if fault::resolve_current(addr, access).is_ok() {
            return Ok(());
        }
        let reach = page_down(addr).saturating_sub(self.addr).min(self.here);
        if reach == 0 {
            return Err(Errno::FAULT);
        }
        self.here = reach;
        self.total = self.done + reach;
        self.rest = Rest::Pieces([].iter());
        Ok(())
    }
    /// Copies as much of `src` as fits to the caller; EFAULT if less than that can be.
    pub fn put_all(&mut self, src: &[u8]) -> Result<(), Errno> {
        let len = src.len().min(self.remaining());
        if self.put(src)? < len { Err(Errno::FAULT) } else { Ok(()) }
    }

    /// Moves bytes piece by piece until `ours` is used up, a copy stops, or there are no more pieces. Gives how many.
    #[inline(always)]
    fn walk(&mut self, mut ours: impl Ours) -> usize {
        let Rest::Pieces(rest) = &mut self.rest else { return 0 };
        let mut pieces = rest.clone();
        let (mut addr, mut here, before) = (self.addr, self.here, ours.len());
        let mut stopped = None;
        let mut back = 0;
        while ours.len() > 0 {
            if here == 0 {
                let Some([next, len]) = pieces.next() else { break };
                (addr, here) = (usize::from_le_bytes(*next), usize::from_le_bytes(*len));
            }
            let len = here.min(ours.len());
            if let Err(fault) = ours.copy(addr, len) {
                back = len - fault.done;
                (addr, here) = (addr.wrapping_add(fault.done), here - fault.done);
                stopped = Some(fault);
                break;
            }
            (addr, here) = (addr.wrapping_add(len), here - len);
        }
        let done = before - ours.len() - back;
        *rest = pieces;
        (self.addr, self.here) = (addr, here);
        self.done += done;
        if let Some(fault) = stopped {
            self.stop(fault);
        }
        done
    }
    /// A copy of `len` bytes from or to the current piece came to `result`: gives how many were copied.
    #[inline(always)]
    fn moved(&mut self, len: usize, result: Result<(), hal::Fault>) -> usize {
        let len = match result {
            Ok(()) => len,
            Err(fault) => self.stop(fault),
        };
        self.addr = self.addr.wrapping_add(len);
        self.here -= len;
        self.done += len;
        len
    }
    /// A copy stopped at a page that isn't there; gives how many bytes it did before.
    #[cold]
    fn stop(&mut self, fault: hal::Fault) -> usize {
        self.fault = Some((fault.addr, if fault.write { Access::Write } else { Access::Read }));
        fault.done
    }
}
