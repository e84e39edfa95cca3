//! Copies between the kernel and the program's memory. An absent page is reported, never resolved here.
//!
//! The copies are in assembly (`arch::copy`). Each instruction that accesses the program's memory has an entry in a
//! table (`.ex_table`) with the address to continue at if it faults; the page-fault handler looks it up, and passes the failed
//! address in a register.
use crate::arch::copy as machine;
use crate::mm::frame::Frame;
use crate::mm::paging::{USER_END, USER_START};
use core::mem::MaybeUninit;

/// An access that the page tables refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Address that failed.
    pub addr: usize,
    /// It was a write.
    pub write: bool,
    /// Bytes done before it, at least.
    pub done: usize,
}

#[cfg(target_os = "none")]
unsafe extern "C" {
    static __ex_table_start: [i32; 2];
    static __ex_table_end: [i32; 2];
}

/// Where to go on after a fault of the instruction at `pc`.
#[cfg(target_os = "none")]
pub(crate) fn fixup(pc: usize) -> Option<usize> {
    let mut entry = &raw const __ex_table_start;
    let end = &raw const __ex_table_end;
    while entry < end {
        // SAFETY: the linker's table, of pairs of offsets relative to their own addresses.
        let [at, target] = unsafe { *entry };
        if (entry as usize).wrapping_add_signed(at as isize) == pc {
            return Some((entry as usize + 4).wrapping_add_signed(target as isize));
        }
        entry = entry.wrapping_add(1);
    }
    None
}

/// A guarded access's result.
#[inline(always)]
fn checked<T>(addr: usize, write: bool, (value, failed): (T, usize)) -> Result<T, Fault> {
    if failed == 0 { Ok(value) } else { Err(Fault { addr, write, done: 0 }) }
}

/// An error if the range does not lie in the program's half; `USER_START` keeps null pointers out without a walk.
#[inline(always)]
fn check(addr: usize, len: usize, write: bool) -> Result<(), Fault> {
    if !(USER_START..=USER_END).contains(&addr) || len > USER_END - addr {
        return Err(Fault { addr, write, done: 0 });
    }
    Ok(())
}

#[inline(always)]
fn check_word(addr: usize, size: usize, write: bool) -> Result<(), Fault> {
    check(addr, size, write)?;
    if !addr.is_multiple_of(size) {
        return Err(Fault { addr, write, done: 0 });
    }
    Ok(())
}

#[inline(always)]
fn outcome(len: usize, write: bool, (left, addr): (usize, usize)) -> Result<(), Fault> {
    if left == 0 { Ok(()) } else { Err(Fault { addr, write, done: len.saturating_sub(left) }) }
}

/// Copies from the program's memory at `src`.
#[inline(always)]
pub fn copy_from(dst: &mut [u8], src: usize) -> Result<(), Fault> {
    let len = dst.len();
    outcome(len, false, machine::copy_from(dst.as_mut_ptr() as usize, src, len))
}
/// Copies to the program's memory at `dst`.
#[inline(always)]
pub fn copy_to(dst: usize, src: &[u8]) -> Result<(), Fault> {
    let len = src.len();
    outcome(len, true, machine::copy_to(dst, src.as_ptr() as usize, len))
}
/// Copies `len` bytes of `frame` from `offset` on to the program's memory at `dst`; panics if that leaves the frame. Where the program's
/// memory is that of the frame, or a program writes to it meanwhile, the bytes are some mixture.
#[inline]
pub fn copy_from_frame(dst: usize, frame: &Frame, offset: usize, len: usize) -> Result<(), Fault> {
    outcome(len, true, machine::copy_to(dst, frame.bytes_at(offset, len) as usize, len))
}
/// Copies `len` bytes of the program's memory at `src` into `frame` from `offset` on; panics as [`Frame::write`] does.
#[inline]
pub fn copy_to_frame(frame: &Frame, offset: usize, len: usize, src: usize) -> Result<(), Fault> {
    outcome(len, false, machine::copy_from(frame.writable_bytes_at(offset, len) as usize, src, len))
}
/// Copies 64-bit words from the program's memory at `src`, of any alignment.
#[inline]
pub fn copy_words<const N: usize>(src: usize) -> Result<[u64; N], Fault> {
    let mut words = MaybeUninit::<[u64; N]>::uninit();
    let len = size_of::<[u64; N]>();
    outcome(len, false, machine::copy_from(words.as_mut_ptr() as usize, src, len))?;
    // SAFETY: all bytes of it were copied.
    Ok(unsafe { words.assume_init() })
}
/// Words as the bytes that they are in memory, which programs see, too: the machine is little-endian.
#[inline(always)]
pub fn bytes_of(words: &[u64]) -> &[u8] {
    const { assert!(cfg!(target_endian = "little")) };
    // SAFETY: a word is eight bytes, of which each may have any value.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}
/// Zeroes the program's memory.
pub fn zero(dst: usize, len: usize) -> Result<(), Fault> {
    check(dst, len, true)?;
    if len == 0 {
        return Ok(());
    }
    outcome(len, true, machine::with_access(|| machine::zero(dst, len)))
}
/// Length of the zero-terminated string at `src`, at most `max`: `None` if there is no zero within `max` bytes.
pub fn string_length(src: usize, max: usize) -> Result<Option<usize>, Fault> {
    check(src, 0, false)?;
    let wanted = max;
    let max = max.min(USER_END - src);
    if max == 0 {
        return if wanted == 0 { Ok(None) } else { Err(Fault { addr: src, write: false, done: 0 }) };
    }
    let (len, failed) = machine::with_access(|| machine::length(src, max));
    if failed != 0 {
        return Err(Fault { addr: failed, write: false, done: len });
    }
    if len == max && max < wanted {
        // The program's addresses end before the string does.
        return Err(Fault { addr: src + max, write: false, done: len });
    }
    Ok((len < max).then_some(len))
}
/// Atomic load of an aligned word.
#[inline]
pub fn load_u32(addr: usize) -> Result<u32, Fault> {
    check_word(addr, 4, false)?;
    checked(addr, false, machine::with_access(|| machine::load_u32(addr, 0, 0)))
}
/// Atomic load of an aligned word.
#[inline]
pub fn load_u64(addr: usize) -> Result<u64, Fault> {
    check_word(addr, 8, false)?;
    checked(addr, false, machine::with_access(|| machine::load_u64(addr, 0, 0)))
}
/// Atomic store.
#[inline]
pub fn store_u32(addr: usize, value: u32) -> Result<(), Fault> {
    check_word(addr, 4, true)?;
    checked(addr, true, machine::with_access(|| machine::store_u32(addr, value, 0))).map(drop)
}
/// Atomic store.
#[inline]
pub fn store_u64(addr: usize, value: u64) -> Result<(), Fault> {
    check_word(addr, 8, true)?;
    checked(addr, true, machine::with_access(|| machine::store_u64(addr, value, 0))).map(drop)
}
/// Compare and exchange; returns the value found (equal to `expected` if it was exchanged).
#[inline]
pub fn compare_exchange_u32(addr: usize, expected: u32, new: u32) -> Result<u32, Fault> {
    check_word(addr, 4, true)?;
    checked(addr, true, machine::with_access(|| machine::exchange_u32(addr, new, expected)))
}
