//! Buffers of a read- or write-like call: the program's memory (one piece or an iovec array), or the kernel's own.
use super::fault;
use super::user::Access;
use crate::errno::Errno;
use alloc::vec::Vec;
use coracle_hal::user as hal;

/// Bytes that go to or come from the caller, consumed front to back.
pub struct UserBuf<'a> {
    pieces: Pieces<'a>,
    done: usize,
    total: usize,
    /// Where a `_nofault` call stopped.
    fault: Option<(usize, Access)>,
}

/// An element of an iovec array, as it lies in the program's memory: address and length, little endian.
pub type RawPiece = [[u8; 8]; 2];

enum Pieces<'a> {
    One {
        addr: usize,
    },
    Many {
        pieces: Vec<(usize, usize)>,
        index: usize,
        offset: usize,
    },
    /// As `Many`, as the program wrote them.
    Raw {
        pieces: &'a [RawPiece],
        index: usize,
        offset: usize,
    },
    KernelOut(&'a mut [u8]),
    KernelIn(&'a [u8]),
}

impl<'a> UserBuf<'a> {
    /// `len` bytes of the program's memory at `addr` (EFAULT is only found when it is used, as Linux does).
    #[inline]
    pub fn user(addr: usize, len: usize) -> Self {
        Self::new(Pieces::One { addr }, len)
    }
    /// The `(addr, len)` pieces of readv(2); the caller has checked their number and sum.
    pub fn vectored(pieces: Vec<(usize, usize)>) -> Self {
        let total = pieces.iter().map(|p| p.1).sum();
        Self::new(Pieces::Many { pieces, index: 0, offset: 0 }, total)
    }
    /// The same for pieces as the program wrote them, of which at most the first `max` bytes count. EINVAL if one has
    /// a negative length.
    #[inline]
    pub fn raw(pieces: &'a [RawPiece], max: usize) -> Result<Self, Errno> {
        let mut total = 0usize;
        for [_, len] in pieces {
            let len = usize::from_le_bytes(*len);
            if len > isize::MAX as usize {
                return Err(Errno::INVAL);
            }
            total = total.saturating_add(len);
        }
        Ok(Self::new(Pieces::Raw { pieces, index: 0, offset: 0 }, total.min(max)))
    }
    /// A kernel buffer to be filled ([`UserBuf::put`]).
    pub fn kernel_out(dst: &'a mut [u8]) -> Self {
        let total = dst.len();
        Self::new(Pieces::KernelOut(dst), total)
    }
    /// A kernel buffer to be read from ([`UserBuf::take`]).
    pub fn kernel_in(src: &'a [u8]) -> Self {
        let total = src.len();
        Self::new(Pieces::KernelIn(src), total)
    }
    #[inline]
    fn new(pieces: Pieces<'a>, total: usize) -> Self {
        UserBuf { pieces, done: 0, total, fault: None }
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
    /// Copies from `src` to the caller, as much as fits; page faults are resolved. EFAULT only if nothing was copied.
    /// Hold no file or socket lock.
    #[inline]
    pub fn put(&mut self, src: &[u8]) -> Result<usize, Errno> {
        let want = src.len().min(self.remaining());
        let mut copied = 0;
        loop {
            copied += self.put_nofault(&src[copied..want]);
            if copied == want {
                return Ok(copied);
            }
            if let Err(error) = self.resolve() {
                return if copied > 0 { Ok(copied) } else { Err(error) };
            }
        }
    }
    /// Copies from the caller to `dst`, as much as there is. Like [`UserBuf::put`].
    #[inline]
    pub fn take(&mut self, dst: &mut [u8]) -> Result<usize, Errno> {
        let want = dst.len().min(self.remaining());
        let mut copied = 0;
        loop {
            copied += self.take_nofault(&mut dst[copied..want]);
            if copied == want {
                return Ok(copied);
            }
            if let Err(error) = self.resolve() {
                return if copied > 0 { Ok(copied) } else { Err(error) };
            }
        }
    }
    /// Like [`UserBuf::put`], but stops at a page fault, so that it may be used with locks held. If it copied less
    /// than fits, call [`UserBuf::resolve`] with no lock held and go on.
    #[inline]
    pub fn put_nofault(&mut self, src: &[u8]) -> usize {
        let want = src.len().min(self.remaining());
        match &mut self.pieces {
            Pieces::One { addr } => {
                let copied =
                    Self::outcome(hal::copy_to(*addr + self.done, &src[..want]), want, &mut self.fault);
                self.done += copied;
                copied
            }
            Pieces::KernelOut(dst) => {
                dst[self.done..self.done + want].copy_from_slice(&src[..want]);
                self.done += want;
                want
            }
            Pieces::KernelIn(_) => 0,
            Pieces::Many { .. } | Pieces::Raw { .. } => {
                self.many(want, |addr, from, to| hal::copy_to(addr, &src[from..to]))
            }
        }
    }
    /// See [`UserBuf::put_nofault`].
    #[inline]
    pub fn take_nofault(&mut self, dst: &mut [u8]) -> usize {
        let want = dst.len().min(self.remaining());
        match &mut self.pieces {
            Pieces::One { addr } => {
                let copied =
                    Self::outcome(hal::copy_from(&mut dst[..want], *addr + self.done), want, &mut self.fault);
                self.done += copied;
                copied
            }
            Pieces::KernelIn(src) => {
                dst[..want].copy_from_slice(&src[self.done..self.done + want]);
                self.done += want;
                want
            }
            Pieces::KernelOut(_) => 0,
            Pieces::Many { .. } | Pieces::Raw { .. } => {
                self.many(want, |addr, from, to| hal::copy_from(&mut dst[from..to], addr))
            }
        }
    }
    /// Resolves the page fault that stopped a `_nofault` call; EFAULT if it can't be.
    #[cold]
    pub fn resolve(&mut self) -> Result<(), Errno> {
        let (addr, access) = self.fault.take().ok_or(Errno::FAULT)?;
        fault::resolve_current(addr, access).map_err(|_| Errno::FAULT)
    }

    #[cold]
    fn place(fault: hal::Fault) -> (usize, Access) {
        (fault.addr, if fault.write { Access::Write } else { Access::Read })
    }

    #[inline]
    fn outcome(result: Result<(), hal::Fault>, want: usize, place: &mut Option<(usize, Access)>) -> usize {
        match result {
            Ok(()) => want,
            Err(fault) => {
                *place = Some(Self::place(fault));
                fault.done
            }
        }
    }

    /// Walks over the pieces of an iovec: `copy(addr, from, to)` moves that part of the kernel's side.
    #[inline]
    fn many(
        &mut self,
        want: usize,
        mut copy: impl FnMut(usize, usize, usize) -> Result<(), hal::Fault>,
    ) -> usize {
        let mut moved = 0;
        while moved < want {
            let (piece, index, offset) = match &mut self.pieces {
                Pieces::Many { pieces, index, offset } => (pieces.get(*index).copied(), index, offset),
                Pieces::Raw { pieces, index, offset } => {
                    let piece = pieces.get(*index);
                    let piece = piece.map(|[a, l]| (usize::from_le_bytes(*a), usize::from_le_bytes(*l)));
                    (piece, index, offset)
                }
                _ => break,
            };
            let Some((base, len)) = piece else { break };
            let part = (len - *offset).min(want - moved);
            // An empty piece may have any address.
            if part > 0
                && let Err(fault) = copy(base.wrapping_add(*offset), moved, moved + part)
            {
                moved += fault.done;
                *offset += fault.done;
                self.fault = Some(Self::place(fault));
                break;
            }
            moved += part;
            *offset += part;
            if *offset == len {
                *index += 1;
                *offset = 0;
            }
        }
        self.done += moved;
        moved
    }
}
