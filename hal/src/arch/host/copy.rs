//! Copies between the kernel and the program's memory: a walk of the page tables, as the CPU makes it, and copies of the frames' bytes.
//!
//! Programs and other CPUs may access the same bytes meanwhile, so these are accessed atomically, one by one or in words.
use crate::arch::page_table::{self, pte};
use crate::local::Local;
use crate::mm::layout::{self, PAGE};
use crate::mm::paging::Prot;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Nothing is to be set up.
pub fn init() {}

/// There is no guard to be lifted.
pub fn with_access<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Where the byte at `addr` of the running program lies in the host's memory, if the page tables allow the access.
fn find(addr: usize, write: bool) -> Option<usize> {
    // SAFETY: the running CPU holds a reference to the address space that it uses.
    let space = unsafe { Local::get().space.get().as_ref()? };
    let slot = space.entry_of(addr)?;
    let entry = slot.load(Ordering::Acquire);
    let needed = if write { Prot::WRITE } else { Prot::READ };
    if entry & pte::PRESENT == 0 || !page_table::rights(entry).contains(needed) {
        return None;
    }
    slot.fetch_or(pte::ACCESSED | if write { pte::DIRTY } else { 0 }, Ordering::AcqRel);
    Some(layout::direct(entry & pte::ADDRESS) + addr % PAGE)
}

/// Calls `f` with the address in the host's memory, the offset in the range and the length of each piece within a page. Returns the bytes
/// that are left, and the address that failed.
fn each_piece(
    addr: usize,
    len: usize,
    write: bool,
    mut f: impl FnMut(usize, usize, usize),
) -> (usize, usize) {
    let mut done = 0;
    while done < len {
        crate::host::schedule::point();
        let at = addr.wrapping_add(done);
        let piece = (PAGE - at % PAGE).min(len - done);
        let Some(place) = find(at, write) else { return (len - done, at) };
        f(place, done, piece);
        done += piece;
    }
    (0, 0)
}

/// Bytes of the program's memory.
fn bytes<'a>(place: usize, len: usize) -> &'a [AtomicU8] {
    // SAFETY: within a frame that the program has mapped, which is not freed before this CPU has answered a shoot-down; all accesses to it
    // by programs are atomic.
    unsafe { core::slice::from_raw_parts(place as *const AtomicU8, len) }
}

/// Copies from the program's memory.
pub fn copy_from(dst: usize, src: usize, len: usize) -> (usize, usize) {
    each_piece(src, len, false, |place, done, piece| {
        for (index, byte) in bytes(place, piece).iter().enumerate() {
            // SAFETY: the kernel's buffer has `len` bytes.
            unsafe { *((dst + done + index) as *mut u8) = byte.load(Ordering::Relaxed) };
        }
    })
}

/// Copies to the program's memory.
pub fn copy_to(dst: usize, src: usize, len: usize) -> (usize, usize) {
    each_piece(dst, len, true, |place, done, piece| {
        for (index, byte) in bytes(place, piece).iter().enumerate() {
            // SAFETY: the kernel's buffer has `len` bytes.
            byte.store(unsafe { *((src + done + index) as *const u8) }, Ordering::Relaxed);
        }
    })
}

/// Zeroes the program's memory.
pub fn zero(dst: usize, len: usize) -> (usize, usize) {
    each_piece(dst, len, true, |place, _, piece| {
        bytes(place, piece).iter().for_each(|byte| byte.store(0, Ordering::Relaxed));
    })
}

/// Length of a string, at most `max`, and the address that failed.
pub fn length(src: usize, max: usize) -> (usize, usize) {
    let mut end = None;
    let (left, failed) = each_piece(src, max, false, |place, done, piece| {
        let zero = bytes(place, piece).iter().position(|byte| byte.load(Ordering::Relaxed) == 0);
        end = end.or(zero.map(|index| done + index));
    });
    match end {
        Some(end) => (end, 0),
        None if left != 0 => (max - left, failed),
        None => (max, 0),
    }
}

/// Defines an access to an aligned word: its address, a value and the one that is expected; returns the value found, and whether it failed.
macro_rules! access {
    ($name:ident, $type:ty, $atomic:ty, $write:expr, |$word:ident, $value:ident, $expected:ident| $do:expr) => {
        /// An atomic access to an aligned word.
        pub fn $name(addr: usize, $value: $type, $expected: $type) -> ($type, usize) {
            crate::host::schedule::point();
            let Some(place) = find(addr, $write) else { return (0, 1) };
            // SAFETY: as in `bytes`; the address is aligned by the caller's check.
            let $word = unsafe { &*(place as *const $atomic) };
            let _ = ($value, $expected);
            ($do, 0)
        }
    };
}

access!(load_u32, u32, AtomicU32, false, |word, value, expected| word.load(Ordering::SeqCst));
access!(load_u64, u64, AtomicU64, false, |word, value, expected| word.load(Ordering::SeqCst));
access!(store_u32, u32, AtomicU32, true, |word, value, expected| word.swap(value, Ordering::SeqCst));
access!(store_u64, u64, AtomicU64, true, |word, value, expected| word.swap(value, Ordering::SeqCst));
access!(exchange_u32, u32, AtomicU32, true, |word, value, expected| word
    .compare_exchange(expected, value, Ordering::SeqCst, Ordering::SeqCst)
    .unwrap_or_else(|found| found));
