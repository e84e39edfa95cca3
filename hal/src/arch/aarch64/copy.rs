//! Copies of the program's memory, by the assembly of [`super::mem`]: what is behind [`crate::user`].
//!
//! In protected mode the pages are EL0's, and the kernel opens them for each copy (PSTATE.PAN). In unikernel mode they are
//! EL1's.
use super::instructions::read;
use crate::mm::paging::{USER_END, USER_START};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

/// Whether the kernel has to open the program's memory for each copy.
static PAN: AtomicBool = AtomicBool::new(false);

/// Whether the CPU has PAN (ID_AA64MMFR1_EL1.PAN).
pub fn has_pan() -> bool {
    read!("id_aa64mmfr1_el1") >> 20 & 0xf != 0
}

/// Notes whether the program's memory must be opened for each copy, and closes it.
pub fn init() {
    let is_needed = crate::task::ring() == crate::task::Ring::Protected && has_pan();
    PAN.store(is_needed, Ordering::Relaxed);
    if is_needed {
        close();
    }
}

/// Sets PSTATE.PAN, which every exception sets as well from now on (SCTLR_EL1.SPAN is 0).
fn close() {
    // SAFETY: the CPU has the bit; the kernel uses no program's memory but in copies.
    unsafe { asm!(".arch_extension pan", "msr pan, #1", options(nostack, preserves_flags)) };
}

/// Runs `f` with the program's memory open.
#[inline(always)]
pub fn with_access<R>(f: impl FnOnce() -> R) -> R {
    let is_needed = PAN.load(Ordering::Relaxed);
    if is_needed {
        // SAFETY: only the guarded accesses run until it is closed.
        unsafe { asm!(".arch_extension pan", "msr pan, #0", options(nostack, preserves_flags)) };
    }
    let result = f();
    if is_needed {
        close();
    }
    result
}

fn copy(dst: usize, src: usize, len: usize) -> (usize, usize) {
    with_access(|| {
        let (left, address);
        // SAFETY: the callers give memory of the kernel's own for its side; the other is checked.
        unsafe {
            asm!("bl coracle_copy_user", inout("x0") dst => left, inout("x1") src => address, inout("x2") len => _,
                out("x3") _, out("x4") _, out("x5") _, out("x6") _, out("x7") _, out("x8") _, out("x9") _, out("x10") _,
                out("x30") _);
        }
        (left, address)
    })
}

/// Whether `len` bytes at `address` lie in the program's half.
fn is_users(address: usize, len: usize) -> bool {
    (USER_START..=USER_END).contains(&address) && len <= USER_END - address
}

/// Copies from the program, if that lies in its half; returns the bytes left and the address that failed.
#[inline]
pub fn copy_from(dst: usize, src: usize, len: usize) -> (usize, usize) {
    if is_users(src, len) { copy(dst, src, len) } else { (len, src) }
}

/// Copies to the program, if that lies in its half; returns the bytes left and the address that failed.
#[inline]
pub fn copy_to(dst: usize, src: usize, len: usize) -> (usize, usize) {
    if is_users(dst, len) { copy(dst, src, len) } else { (len, dst) }
}

/// Zeroes; returns the bytes left and the address that failed.
#[inline(always)]
pub fn zero(dst: usize, len: usize) -> (usize, usize) {
    let (left, address);
    // SAFETY: the caller checked that it lies in the lower half.
    unsafe {
        asm!("bl coracle_zero_user", inout("x0") dst => left, inout("x1") len => address, out("x2") _, out("x3") _,
            out("x6") _, out("x30") _);
    }
    (left, address)
}

/// Measures a string; returns the length and 0 or the address that failed.
#[inline(always)]
pub fn length(src: usize, max: usize) -> (usize, usize) {
    let (len, address);
    // SAFETY: as above.
    unsafe {
        asm!("bl coracle_length_user", inout("x0") src => len, inout("x1") max => address, out("x2") _, out("x3") _,
            out("x4") _, out("x30") _);
    }
    (len, address)
}

/// One guarded instruction on `addr`: on a fault the second result is not 0.
macro_rules! guarded {
    ($name:ident, $type:ty, $($instruction:literal),+) => {
        /// Runs the guarded instruction.
        #[inline(always)]
        pub fn $name(addr: usize, value: $type, expected: $type) -> ($type, usize) {
            let (result, failed): ($type, usize);
            // SAFETY: the caller checked that the address lies in the lower half and is aligned.
            unsafe {
                asm!(
                    "mov x1, #0",
                    $($instruction,)+
                    "3:",
                    ".pushsection .ex_table, \"a\"",
                    ".balign 4",
                    ".long 2b - ., 3b - .",
                    ".popsection",
                    in("x2") addr, in("x3") value, inout("x0") expected => result, out("x1") failed, out("x4") _,
                    options(nostack)
                );
            }
            (result, failed)
        }
    };
}
guarded!(load_u32, u32, "2: ldar w0, [x2]");
guarded!(load_u64, u64, "2: ldar x0, [x2]");
guarded!(store_u32, u32, "2: stlr w3, [x2]");
guarded!(store_u64, u64, "2: stlr x3, [x2]");

/// Compares and exchanges; returns the value found, and not 0 if the access faults.
#[inline(always)]
pub fn exchange_u32(addr: usize, new: u32, expected: u32) -> (u32, usize) {
    let (found, failed): (u32, usize);
    // SAFETY: as for the others. Both accesses are guarded.
    unsafe {
        asm!(
            "mov x1, #0",
            "2: ldaxr w0, [x2]",
            "cmp w0, w5",
            "b.ne 4f",
            "5: stlxr w4, w3, [x2]",
            "cbnz w4, 2b",
            "b 3f",
            "4: clrex",
            "3:",
            ".pushsection .ex_table, \"a\"",
            ".balign 4",
            ".long 2b - ., 3b - .",
            ".long 5b - ., 3b - .",
            ".popsection",
            in("x2") addr, in("x3") new, in("x5") expected, out("x0") found, out("x1") failed, out("x4") _,
            options(nostack)
        );
    }
    (found, failed)
}
