//! The program's x87/SSE/AVX state, for signal frames. Between entry and exit the registers hold the running thread's.
use crate::x86;
use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Bytes of the legacy area and of the XSAVE header after it (Intel SDM volume 1, 13.4).
const LEGACY_SIZE: usize = 512;
const HEADER_SIZE: usize = 64;
/// Offsets within the legacy area.
const FCW: usize = 0;
const MXCSR: usize = 24;
/// Values at reset.
const INITIAL_FCW: u16 = 0x37f;
const INITIAL_MXCSR: u32 = 0x1f80;
/// MXCSR bits that exist on all CPUs with SSE2 and denormals-are-zero.
const MXCSR_MASK: u32 = 0xffff;
/// Alignment of the area.
const ALIGN: usize = 64;
/// State components offered to programs: x87, SSE, AVX, and the three of AVX-512.
const OFFERED: u64 = 0b1110_0111;
/// The AVX-512 components come together.
const AVX512: u64 = 0b1110_0000;

static SIZE: AtomicUsize = AtomicUsize::new(LEGACY_SIZE);
static FEATURES: AtomicU64 = AtomicU64::new(3);
static XSAVE: AtomicBool = AtomicBool::new(false);
static XSAVEOPT: AtomicBool = AtomicBool::new(false);

/// Enables the FPU and its extensions on the running CPU.
#[cfg(target_os = "none")]
pub(crate) fn init_cpu() {
    let leaf1 = x86::cpuid(1, 0);
    let xsave = leaf1.ecx & 1 << 26 != 0;
    // SAFETY: the usual bits for an operating system that saves these registers.
    unsafe {
        let cr0 = x86::cr0() & !(x86::CR0_EM | x86::CR0_TS);
        x86::set_cr0(cr0 | x86::CR0_MP | x86::CR0_NE | x86::CR0_WP);
        let mut cr4 = x86::cr4() | x86::CR4_OSFXSR | x86::CR4_OSXMMEXCPT;
        if xsave {
            cr4 |= x86::CR4_OSXSAVE;
        }
        x86::set_cr4(cr4);
        if xsave {
            let leaf = x86::cpuid(0xd, 0);
            let mut features = (u64::from(leaf.edx) << 32 | u64::from(leaf.eax)) & OFFERED;
            if features & AVX512 != AVX512 {
                features &= !AVX512;
            }
            asm!("xsetbv", in("ecx") 0, in("eax") features as u32, in("edx") 0, options(nostack, preserves_flags));
            FEATURES.store(features, Ordering::Relaxed);
            // EBX: the size for what XCR0 enables now.
            SIZE.store(x86::cpuid(0xd, 0).ebx as usize, Ordering::Relaxed);
            XSAVEOPT.store(x86::cpuid(0xd, 1).eax & 1 != 0, Ordering::Relaxed);
            XSAVE.store(true, Ordering::Relaxed);
        }
        asm!("fninit", options(nomem, nostack));
        let mxcsr = INITIAL_MXCSR;
        asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(readonly, nostack));
    }
}

/// A saved state, in standard XSAVE (or FXSAVE) format.
pub(crate) struct Area(NonNull<u8>);

fn layout() -> Layout {
    // The size is small and the alignment a power of two.
    Layout::from_size_align(state_size(), ALIGN).expect("a valid layout")
}

impl Area {
    /// The initial state, or the running thread's.
    pub fn new(from_current: bool) -> Option<Area> {
        // SAFETY: the size is not zero.
        let area = Area(NonNull::new(unsafe { alloc_zeroed(layout()) })?);
        if from_current {
            area.save_all();
        } else {
            // SAFETY: within the area, aligned. The header's empty XSTATE_BV means "initial".
            unsafe {
                area.0.add(FCW).cast::<u16>().write(INITIAL_FCW);
                area.0.add(MXCSR).cast::<u32>().write(INITIAL_MXCSR);
            }
        }
        Some(area)
    }

    /// Stores the registers; what is unchanged since `load` may be left out.
    #[inline]
    pub fn save(&self) {
        if XSAVEOPT.load(Ordering::Relaxed) {
            // SAFETY: the area has the size for all enabled components and is aligned.
            unsafe {
                asm!("xsaveopt64 [{}]", in(reg) self.0.as_ptr(), in("eax") u32::MAX, in("edx") u32::MAX, options(nostack, preserves_flags))
            };
        } else {
            self.save_all();
        }
    }

    fn save_all(&self) {
        // SAFETY: as in `save`.
        unsafe {
            if XSAVE.load(Ordering::Relaxed) {
                asm!("xsave64 [{}]", in(reg) self.0.as_ptr(), in("eax") u32::MAX, in("edx") u32::MAX, options(nostack, preserves_flags));
            } else {
                asm!("fxsave64 [{}]", in(reg) self.0.as_ptr(), options(nostack, preserves_flags));
            }
        }
    }

    /// Loads the registers.
    #[inline]
    pub fn load(&self) {
        // SAFETY: as in `save`; the area holds what `save` stored, the initial state, or what `restore` has checked.
        unsafe {
            if XSAVE.load(Ordering::Relaxed) {
                asm!("xrstor64 [{}]", in(reg) self.0.as_ptr(), in("eax") u32::MAX, in("edx") u32::MAX, options(nostack, preserves_flags));
            } else {
                asm!("fxrstor64 [{}]", in(reg) self.0.as_ptr(), options(nostack, preserves_flags));
            }
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the area is this value's own.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_ptr(), state_size()) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout.
        unsafe { dealloc(self.0.as_ptr(), layout()) };
    }
}

/// Bytes of the XSAVE area in use on this CPU (Intel SDM volume 1, chapter 13).
pub fn state_size() -> usize {
    SIZE.load(Ordering::Relaxed)
}
/// Features enabled in XCR0.
pub fn xfeatures() -> u64 {
    FEATURES.load(Ordering::Relaxed)
}
/// Stores the running thread's state (standard XSAVE format) to `dst`, which has `state_size()` bytes.
pub fn save(dst: &mut [u8]) {
    if let Some(mut area) = Area::new(true) {
        dst.copy_from_slice(area.bytes());
    } else {
        dst.fill(0);
    }
}
/// Loads the state; gives false, and changes nothing, if the CPU would refuse it.
pub fn restore(src: &[u8]) -> bool {
    if src.len() != state_size() || !valid(src) {
        return false;
    }
    let Some(mut area) = Area::new(false) else { return false };
    area.bytes().copy_from_slice(src);
    area.load();
    true
}
/// The conditions of XRSTOR's standard form (Intel SDM volume 1, 13.8) and of MXCSR.
fn valid(src: &[u8]) -> bool {
    let word = |at: usize| u64::from_le_bytes(src[at..at + 8].try_into().unwrap_or_default());
    let mxcsr = word(MXCSR) as u32;
    if mxcsr & !MXCSR_MASK != 0 {
        return false;
    }
    if !XSAVE.load(Ordering::Relaxed) {
        return true;
    }
    // XSTATE_BV within what is enabled, XCOMP_BV and the reserved words zero.
    word(LEGACY_SIZE) & !xfeatures() == 0
        && (LEGACY_SIZE + 8..LEGACY_SIZE + HEADER_SIZE).step_by(8).all(|at| word(at) == 0)
}
/// The initial state (exec).
pub fn reset() {
    if let Some(area) = Area::new(false) {
        area.load();
    }
}
