//! Restartable sequences (rseq(2), Linux's kernel/rseq.c): a thread's word that says which CPU it runs on, and stretches of its program
//! that are begun again if the thread does not run through them undisturbed.
//!
//! [`Thread::disturbed`] marks a thread that was preempted or moved to another CPU. What is to be done is done where it next enters its
//! program, and where a handler begins.
use super::signal::{self, SigInfo};
use super::thread::{Thread, Work};
use crate::arch::registers;
use crate::errno::Errno;
use crate::mm::user;
use alloc::sync::Arc;
use coracle_hal::context::UserContext;
use coracle_hal::cpu;
use coracle_hal::paging::USER_END;
use coracle_hal::sync::atomic::Ordering::Relaxed;
use linux_raw_sys::general as abi;

/// What the area of a thread (`struct rseq`) is aligned to (AT_RSEQ_ALIGN), and how long it was when there was no other length.
pub const AREA_BYTES: usize = 32;
/// Bytes of the area that have a meaning (AT_RSEQ_FEATURE_SIZE).
pub const FEATURE_BYTES: usize = 28;
/// Words of the area: `cpu_id_start` and `cpu_id`; `rseq_cs`; `flags` and `node_id`; `mm_cid`.
const SECTION: usize = 8;
const NODE_ID: usize = 20;
/// `cpu_id` of an area that is not registered.
const UNINITIALIZED: u32 = u32::MAX;
/// Words of a `struct rseq_cs`: version and flags, start, length, where it is aborted to.
const SECTION_WORDS: usize = 4;
/// Bytes of the signature before the place that a section is aborted to.
const SIGNATURE_BYTES: usize = 4;

/// Registers the area of a thread. EINVAL, EPERM, EBUSY, EFAULT.
pub fn register(thread: &Thread, area: usize, len: u32, signature: u32) -> Result<(), Errno> {
    let registered = thread.rseq.load(Relaxed);
    if registered != 0 {
        return Err(match () {
            () if registered != area || len != thread.rseq_len.load(Relaxed) => Errno::INVAL,
            () if thread.rseq_signature.load(Relaxed) != signature => Errno::PERM,
            () => Errno::BUSY,
        });
    }
    if !area.is_multiple_of(AREA_BYTES) || (len as usize) < AREA_BYTES {
        return Err(Errno::INVAL);
    }
    if area == 0 || area.checked_add(len as usize).is_none_or(|end| end > USER_END) {
        return Err(Errno::FAULT);
    }
    thread.rseq_signature.store(signature, Relaxed);
    thread.rseq_len.store(len, Relaxed);
    thread.rseq.store(area, Relaxed);
    thread.disturbed();
    Ok(())
}

/// Takes it back. EINVAL, EPERM, EFAULT.
pub fn unregister(thread: &Thread, area: usize, len: u32, signature: u32) -> Result<(), Errno> {
    if area == 0 || thread.rseq.load(Relaxed) != area || thread.rseq_len.load(Relaxed) != len {
        return Err(Errno::INVAL);
    }
    if thread.rseq_signature.load(Relaxed) != signature {
        return Err(Errno::PERM);
    }
    write_ids(area, 0, UNINITIALIZED)?;
    thread.rseq.store(0, Relaxed);
    Ok(())
}

/// Writes where the thread runs: CPU, node (there is one), and the CPU again as the id that no other thread of the process has at the time.
fn write_ids(area: usize, start: u32, cpu: u32) -> Result<(), Errno> {
    user::write_u64(area, u64::from(start) | u64::from(cpu) << 32)?;
    user::write_u64(area + NODE_ID, u64::from(start) << 32)
}

/// The thread is about to enter its program after it was disturbed ([`Work::RSEQ`]).
#[cold]
pub fn enter(thread: &Arc<Thread>, context: &mut UserContext) {
    thread.work().clear(Work::RSEQ);
    let area = thread.rseq.load(Relaxed);
    if area == 0 {
        return;
    }
    let cpu = cpu::id() as u32;
    let done = leave_section(thread, area, context).and_then(|()| write_ids(area, cpu, cpu));
    if done.is_err() && !thread.work().any(Work::EXIT) {
        thread.rseq.store(0, Relaxed);
        signal::force(thread, SigInfo::kernel(abi::SIGSEGV));
    }
}

/// A handler is about to begin. EFAULT, EINVAL: the thread's area makes no sense.
pub fn before_handler(thread: &Thread, context: &mut UserContext) -> Result<(), Errno> {
    match thread.rseq.load(Relaxed) {
        0 => Ok(()),
        area => leave_section(thread, area, context),
    }
}

/// Has the program go on where its section is aborted to, if it is in one.
fn leave_section(thread: &Thread, area: usize, context: &mut UserContext) -> Result<(), Errno> {
    let section = user::read_u64(area + SECTION)? as usize;
    if section == 0 {
        return Ok(());
    }
    let [version, start, len, abort]: [u64; SECTION_WORDS] = user::read_words(section)?;
    let end = start.checked_add(len).filter(|&end| end <= USER_END as u64).ok_or(Errno::INVAL)?;
    if version as u32 != 0 || abort >= USER_END as u64 || (start..end).contains(&abort) {
        return Err(Errno::INVAL);
    }
    let before = (abort as usize).checked_sub(SIGNATURE_BYTES).ok_or(Errno::INVAL)?;
    let mut signature = [0; SIGNATURE_BYTES];
    user::read(&mut signature, before)?;
    if u32::from_le_bytes(signature) != thread.rseq_signature.load(Relaxed) {
        return Err(Errno::INVAL);
    }
    // Whether it is in this one or already behind it, the section is over.
    user::write_u64(area + SECTION, 0)?;
    if (start..end).contains(&(registers::pc(context) as u64)) {
        registers::set_pc(context, abort);
    }
    Ok(())
}
