//! Buffers of a read- or write-like call: the program's memory (one piece or an iovec array), or the kernel's own.
use crate::errno::Errno;
use alloc::vec::Vec;

/// Bytes that go to or come from the caller, consumed front to back.
pub struct UserBuf<'a> {
    pieces: Pieces<'a>,
    done: usize,
    total: usize,
}

enum Pieces<'a> {
    One { addr: usize },
    Many { pieces: Vec<(usize, usize)>, index: usize, offset: usize },
    KernelOut(&'a mut [u8]),
    KernelIn(&'a [u8]),
}

impl<'a> UserBuf<'a> {
    /// `len` bytes of the program's memory at `addr` (EFAULT is only found when it is used, as Linux does).
    pub fn user(addr: usize, len: usize) -> Self {
        UserBuf { pieces: Pieces::One { addr }, done: 0, total: len }
    }
    /// The `(addr, len)` pieces of readv(2); the caller has checked their number and sum.
    pub fn vectored(pieces: Vec<(usize, usize)>) -> Self {
        let total = pieces.iter().map(|p| p.1).sum();
        UserBuf { pieces: Pieces::Many { pieces, index: 0, offset: 0 }, done: 0, total }
    }
    /// A kernel buffer to be filled ([`UserBuf::put`]).
    pub fn kernel_out(dst: &'a mut [u8]) -> Self {
        let total = dst.len();
        UserBuf { pieces: Pieces::KernelOut(dst), done: 0, total }
    }
    /// A kernel buffer to be read from ([`UserBuf::take`]).
    pub fn kernel_in(src: &'a [u8]) -> Self {
        let total = src.len();
        UserBuf { pieces: Pieces::KernelIn(src), done: 0, total }
    }
    /// Bytes still to be moved.
    pub fn remaining(&self) -> usize {
        self.total - self.done
    }
    /// Bytes moved so far.
    pub fn done(&self) -> usize {
        self.done
    }
    /// Copies from `src` to the caller, as much as fits; page faults are resolved. EFAULT only if nothing was copied.
    /// Hold no file or socket lock.
    pub fn put(&mut self, src: &[u8]) -> Result<usize, Errno> {
        let _ = (src, &mut self.pieces);
        todo!("CORE")
    }
    /// Copies from the caller to `dst`, as much as there is. Like [`UserBuf::put`].
    pub fn take(&mut self, dst: &mut [u8]) -> Result<usize, Errno> {
        let _ = dst;
        todo!("CORE")
    }
    /// Like [`UserBuf::put`], but stops at a page fault, so that it may be used with locks held. If it copied less
    /// than fits, call [`UserBuf::resolve`] with no lock held and go on.
    pub fn put_nofault(&mut self, src: &[u8]) -> usize {
        let _ = src;
        todo!("CORE")
    }
    /// See [`UserBuf::put_nofault`].
    pub fn take_nofault(&mut self, dst: &mut [u8]) -> usize {
        let _ = dst;
        todo!("CORE")
    }
    /// Resolves the page fault that stopped a `_nofault` call; EFAULT if it can't be.
    pub fn resolve(&mut self) -> Result<(), Errno> {
        todo!("CORE")
    }
}
