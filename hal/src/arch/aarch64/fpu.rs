//! The program's SIMD and floating-point state, for signal frames. Between entry and exit the registers hold the running
//! thread's. (SVE and SME stay off: programs are not told of them.)
use super::instructions::{read, write};
use crate::percpu::PerCpu;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::arch::global_asm;
use core::ptr::NonNull;

/// Bytes of a state: the registers q0 to q31, FPSR and FPCR.
const SIZE: usize = 32 * 16 + 16;
const ALIGN: usize = 16;
/// CPACR_EL1.FPEN: no access is trapped (Arm ARM, D19.2.33).
const FPEN: u64 = 3 << 20;
/// Bits of FPCR and FPSR that are defined (Arm ARM, C5.2.8 and C5.2.9); others must be written as zero.
const FPCR_BITS: u64 = 0x07ff_9f07;
const FPSR_BITS: u64 = 0xf800_009f;

global_asm!(
    r#"
    .arch armv8-a+fp+simd
    .text
    .balign 16
    .globl coracle_fpu_save
coracle_fpu_save:
    stp q0, q1, [x0]
    stp q2, q3, [x0, 32]
    stp q4, q5, [x0, 64]
    stp q6, q7, [x0, 96]
    stp q8, q9, [x0, 128]
    stp q10, q11, [x0, 160]
    stp q12, q13, [x0, 192]
    stp q14, q15, [x0, 224]
    stp q16, q17, [x0, 256]
    stp q18, q19, [x0, 288]
    stp q20, q21, [x0, 320]
    stp q22, q23, [x0, 352]
    stp q24, q25, [x0, 384]
    stp q26, q27, [x0, 416]
    stp q28, q29, [x0, 448]
    stp q30, q31, [x0, 480]
    mrs x1, fpsr
    mrs x2, fpcr
    str x1, [x0, 512]
    str x2, [x0, 520]
    ret

    .balign 16
    .globl coracle_fpu_load
coracle_fpu_load:
    ldp q0, q1, [x0]
    ldp q2, q3, [x0, 32]
    ldp q4, q5, [x0, 64]
    ldp q6, q7, [x0, 96]
    ldp q8, q9, [x0, 128]
    ldp q10, q11, [x0, 160]
    ldp q12, q13, [x0, 192]
    ldp q14, q15, [x0, 224]
    ldp q16, q17, [x0, 256]
    ldp q18, q19, [x0, 288]
    ldp q20, q21, [x0, 320]
    ldp q22, q23, [x0, 352]
    ldp q24, q25, [x0, 384]
    ldp q26, q27, [x0, 416]
    ldp q28, q29, [x0, 448]
    ldp q30, q31, [x0, 480]
    ldr x1, [x0, 512]
    ldr x2, [x0, 520]
    msr fpsr, x1
    msr fpcr, x2
    ret
    "#
);

unsafe extern "C" {
    fn coracle_fpu_save(area: *mut u8);
    fn coracle_fpu_load(area: *const u8);
}

/// Lets programs use the registers, on this CPU.
pub fn init_cpu() {
    // SAFETY: the kernel itself does not use them.
    unsafe { write!("cpacr_el1", read!("cpacr_el1") | FPEN) };
    super::instructions::isb();
}

/// A saved state.
pub(crate) struct Area(NonNull<u8>);

// SAFETY: the memory is the area's own.
unsafe impl Send for Area {}

const LAYOUT: Layout = match Layout::from_size_align(SIZE, ALIGN) {
    Ok(layout) => layout,
    Err(_) => panic!("the alignment is a power of two"),
};

impl Area {
    /// The initial state, or the running thread's.
    pub fn new(from_current: bool) -> Option<Area> {
        // SAFETY: the size is not zero.
        let area = Area(NonNull::new(unsafe { alloc_zeroed(LAYOUT) })?);
        if from_current {
            area.save();
        }
        Some(area)
    }

    /// Stores the registers.
    #[inline]
    pub fn save(&self) {
        // SAFETY: the area has room for all of them and is aligned.
        unsafe { coracle_fpu_save(self.0.as_ptr()) };
    }

    /// Loads the registers.
    #[inline]
    pub fn load(&self) {
        // SAFETY: the area holds what `save` stored, the initial state of zeroes, or what `restore` has checked.
        unsafe { coracle_fpu_load(self.0.as_ptr()) };
    }

    /// Calls `f` with the state, and returns whether what it made of it is one that the CPU loads; if not, it is the initial one.
    ///
    /// # Safety
    /// Nothing else uses the area meanwhile.
    pub unsafe fn change<R>(&self, f: impl FnOnce(&mut [u8]) -> R) -> (R, bool) {
        // SAFETY: the area is this value's own, and unused by the caller's word.
        let bytes = unsafe { core::slice::from_raw_parts_mut(self.0.as_ptr(), SIZE) };
        let result = f(bytes);
        let is_valid = is_valid(bytes);
        if !is_valid {
            bytes.fill(0);
        }
        (result, is_valid)
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the area is this value's own.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_ptr(), SIZE) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: allocated with the same layout.
        unsafe { dealloc(self.0.as_ptr(), LAYOUT) };
    }
}

/// Bytes of a state.
pub fn state_size() -> usize {
    SIZE
}

/// Where each CPU makes up states of programs, so that signals need no memory.
static SCRATCH: PerCpu<crate::sync::Mutex<Area>> =
    PerCpu::new(|_| crate::sync::Mutex::new(Area::new(false).expect("memory for the FPU's state")));

/// Makes room on each CPU for what follows; once, when the number of CPUs is known.
pub(crate) fn prepare() {
    SCRATCH.get();
}

/// Calls `f` with the running thread's state ([`state_size`] bytes), which it may change. `f` must not switch to another thread.
pub fn saved<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut area = SCRATCH.get().lock();
    area.save();
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
    let is_valid = is_valid(area.bytes());
    if is_valid {
        area.load();
    }
    Ok(is_valid)
}

/// Whether the CPU would take a state.
pub fn accepts(state: &[u8]) -> bool {
    state.len() == SIZE && is_valid(state)
}

/// Does nothing: a state has no parts.
pub fn note_floating(_state: &mut [u8]) {}

/// Whether FPSR and FPCR, at the end of a state, have no undefined bit set.
fn is_valid(state: &[u8]) -> bool {
    let word = |at: usize| {
        state.get(at..).and_then(|bytes| bytes.first_chunk()).map(|word| u64::from_le_bytes(*word))
    };
    const FPSR: usize = 32 * 16;
    word(FPSR).is_some_and(|fpsr| fpsr & !FPSR_BITS == 0)
        && word(FPSR + 8).is_some_and(|fpcr| fpcr & !FPCR_BITS == 0)
}

/// The initial state (exec).
pub fn reset() {
    let mut area = SCRATCH.get().lock();
    area.bytes().fill(0);
    area.load();
}
