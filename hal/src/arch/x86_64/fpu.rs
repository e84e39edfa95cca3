//! The program's x87/SSE/AVX state, for signal frames. Between entry and exit the registers hold the running thread's.
use crate::arch::instructions;
use crate::percpu::PerCpu;
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
/// x87 and SSE, which every 64-bit CPU has.
const BASIC: u64 = 0b11;
/// CPUID's leaf of the extended state.
const XSAVE_LEAF: u32 = 0xd;
const AVX: u64 = 0b100;
/// The AVX-512 components come together, and with AVX.
const AVX512: u64 = 0b1110_0000;

static SIZE: AtomicUsize = AtomicUsize::new(LEGACY_SIZE);
static FEATURES: AtomicU64 = AtomicU64::new(3);
static XSAVE: AtomicBool = AtomicBool::new(false);
static XSAVEOPT: AtomicBool = AtomicBool::new(false);

/// Enables the FPU and its extensions on the running CPU.
#[cfg(target_os = "none")]
pub(crate) fn init_cpu() {
    // SAFETY: the usual bits for an operating system that saves these registers.
    unsafe {
        let cr0 = instructions::cr0() & !(instructions::CR0_EM | instructions::CR0_TS);
        instructions::set_cr0(cr0 | instructions::CR0_MP | instructions::CR0_NE | instructions::CR0_WP);
        instructions::set_cr4(instructions::cr4() | instructions::CR4_OSFXSR | instructions::CR4_OSXMMEXCPT);
        match enable_xsave() {
            Some((features, size)) => {
                FEATURES.store(features, Ordering::Relaxed);
                SIZE.store(size, Ordering::Relaxed);
                XSAVEOPT.store(instructions::cpuid(XSAVE_LEAF, 1).eax & 1 != 0, Ordering::Relaxed);
                XSAVE.store(true, Ordering::Relaxed);
            }
            // Programs then see no AVX either, which needs the bit.
            None => instructions::set_cr4(instructions::cr4() & !instructions::CR4_OSXSAVE),
        }
        asm!("fninit", options(nomem, nostack));
        let mxcsr = INITIAL_MXCSR;
        asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(readonly, nostack));
    }
}

/// Enables XSAVE with what of it is offered to programs: returns the components, and the bytes that they take. `None` where
/// the CPU's description is inconsistent: FXSAVE saves the registers that are always there.
#[cfg(target_os = "none")]
fn enable_xsave() -> Option<(u64, usize)> {
    const HAS_XSAVE: u32 = 1 << 26;
    if instructions::cpuid(1, 0).ecx & HAS_XSAVE == 0 {
        return None;
    }
    let leaf = instructions::cpuid(XSAVE_LEAF, 0);
    let features = offered(u64::from(leaf.edx) << 32 | u64::from(leaf.eax))?;
    let (low, high): (u32, u32);
    // SAFETY: the CPU has the instructions; it supports these components, and the lowest two, which must be there, are.
    unsafe {
        instructions::set_cr4(instructions::cr4() | instructions::CR4_OSXSAVE);
        asm!("xsetbv", in("ecx") 0, in("eax") features as u32, in("edx") 0, options(nostack, preserves_flags));
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    let size = area_size(features, |component| {
        let leaf = instructions::cpuid(XSAVE_LEAF, component);
        (leaf.ebx as usize, leaf.eax as usize)
    });
    // EBX: the size for what XCR0 enables now.
    let is_consistent = instructions::cpuid(XSAVE_LEAF, 0).ebx as usize == size;
    (u64::from(high) << 32 | u64::from(low) == features && is_consistent).then_some((features, size))
}

/// Of the components that a CPU supports, those that programs get. `None` if even x87 or SSE is missing.
#[cfg(any(test, target_os = "none"))]
fn offered(supported: u64) -> Option<u64> {
    let mut features = supported & OFFERED;
    if features & (AVX | AVX512) != AVX | AVX512 {
        features &= !AVX512;
    }
    (features & BASIC == BASIC).then_some(features)
}

/// Bytes of a standard XSAVE area with these components: up to the end of the one that lies last (Intel SDM volume 1,
/// 13.4.3). `place`: offset and size of a component above the basic two.
#[cfg(any(test, target_os = "none"))]
fn area_size(features: u64, place: impl Fn(u32) -> (usize, usize)) -> usize {
    const FIRST_EXTENDED: u32 = 2;
    (FIRST_EXTENDED..u64::BITS)
        .filter(|component| features >> component & 1 != 0)
        .map(|component| {
            let (offset, size) = place(component);
            offset + size
        })
        .fold(LEGACY_SIZE + HEADER_SIZE, usize::max)
}

/// A saved state, in standard XSAVE (or FXSAVE) format.
pub(crate) struct Area(NonNull<u8>);

// SAFETY: the memory is the area's own.
unsafe impl Send for Area {}

fn layout() -> Layout {
    // The size is small and the alignment a power of two.
    Layout::from_size_align(state_size(), ALIGN).expect("a valid layout")
}

impl Area {
    /// The initial state, or the running thread's.
    pub fn new(from_current: bool) -> Option<Area> {
        // SAFETY: the size is not zero.
        let mut area = Area(NonNull::new(unsafe { alloc_zeroed(layout()) })?);
        if from_current {
            area.save_all();
        } else {
            area.init();
        }
        Some(area)
    }

    /// Makes an area of zeroes the initial state: the header's empty XSTATE_BV means "initial".
    fn init(&mut self) {
        set_initial(self.bytes());
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

    /// Calls `f` with the state, and returns whether what it made of it is one that the CPU loads; if not, it is the initial one.
    ///
    /// # Safety
    /// Nothing else uses the area meanwhile.
    pub unsafe fn change<R>(&self, f: impl FnOnce(&mut [u8]) -> R) -> (R, bool) {
        // SAFETY: the area is this value's own, and unused by the caller's word.
        let bytes = unsafe { core::slice::from_raw_parts_mut(self.0.as_ptr(), state_size()) };
        let result = f(bytes);
        let is_valid = valid(bytes);
        if !is_valid {
            bytes.fill(0);
            set_initial(bytes);
        }
        (result, is_valid)
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the area is this value's own.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_ptr(), state_size()) }
    }
}

fn set_initial(bytes: &mut [u8]) {
    bytes[FCW..FCW + 2].copy_from_slice(&INITIAL_FCW.to_le_bytes());
    bytes[MXCSR..MXCSR + 4].copy_from_slice(&INITIAL_MXCSR.to_le_bytes());
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
/// Where each CPU makes up states of programs, so that signals need no memory.
static SCRATCH: PerCpu<crate::sync::Mutex<Area>> =
    PerCpu::new(|_| crate::sync::Mutex::new(Area::new(false).expect("memory for the FPU's state")));

/// Makes room on each CPU for what follows; once, when the number of CPUs is known.
#[cfg(target_os = "none")]
pub(crate) fn prepare() {
    SCRATCH.get();
}

/// Calls `f` with the running thread's state (standard XSAVE format, [`state_size`] bytes), which it may change. `f` must not
/// switch to another thread.
pub fn saved<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut area = SCRATCH.get().lock();
    // XSAVE keeps bits of the header (Intel SDM volume 1, 13.7), and a state that `restore` refused may have left any there.
    if let Some(header) = area.bytes().get_mut(LEGACY_SIZE..LEGACY_SIZE + HEADER_SIZE) {
        header.fill(0);
    }
    area.save_all();
    f(area.bytes())
}
/// Loads the state that `f` fills in, all of its [`state_size`] bytes; returns false, and changes nothing, if the CPU would
/// refuse it. `f` must not switch to another thread.
///
/// # Errors
/// That of `f`: nothing is changed.
pub fn restore<E>(f: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<bool, E> {
    let mut area = SCRATCH.get().lock();
    f(area.bytes())?;
    let is_valid = valid(area.bytes());
    if is_valid {
        area.load();
    }
    Ok(is_valid)
}
/// Whether the CPU would take a state.
pub fn accepts(state: &[u8]) -> bool {
    state.len() == state_size() && valid(state)
}
/// Notes in a state that the part older than XSAVE holds the registers' values.
pub fn note_floating(state: &mut [u8]) {
    const X87_AND_SSE: u8 = 3;
    if let Some(components) = state.get_mut(LEGACY_SIZE) {
        *components |= X87_AND_SSE;
    }
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
    // XSTATE_BV within what is enabled, XCOMP_BV and the word after it zero. The CPU doesn't look at the others.
    word(LEGACY_SIZE) & !xfeatures() == 0 && word(LEGACY_SIZE + 8) == 0 && word(LEGACY_SIZE + 16) == 0
}
/// The initial state (exec).
pub fn reset() {
    let mut area = SCRATCH.get().lock();
    area.bytes().fill(0);
    area.init();
    area.load();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_that_belong_together_are_offered_together() {
        assert_eq!(offered(0b111), Some(0b111));
        assert_eq!(offered(0b0110_0111), Some(0b111));
        assert_eq!(offered(0b1110_0011), Some(0b11));
        assert_eq!(offered(0b1110_0111), Some(0b1110_0111));
        // Not what programs get (PKRU, AMX), and a CPU that hides the leaf.
        assert_eq!(offered(u64::MAX), Some(OFFERED));
        assert_eq!((offered(0), offered(0b101)), (None, None));
    }

    #[test]
    fn an_area_ends_with_its_last_component() {
        let place = |component| match component {
            2 => (576, 256),
            5 => (1088, 64),
            6 => (1152, 512),
            7 => (1664, 1024),
            other => panic!("component {other} is not enabled"),
        };
        assert_eq!(area_size(0b11, place), LEGACY_SIZE + HEADER_SIZE);
        assert_eq!(area_size(0b111, place), 832);
        assert_eq!(area_size(0b1110_0111, place), 2688);
    }
}
