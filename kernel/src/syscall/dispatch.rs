//! From a system call's number to its function.
use super::call::Call;
use super::table::{TABLE, TABLE_SIZE};
use crate::errno::{Errno, SysResult};
use core::sync::atomic::{AtomicU64, Ordering::*};

/// Calls the function of the system call whose number stands in rax.
#[inline(always)]
pub fn dispatch(call: &Call) -> SysResult {
    // No branch, so that no CPU runs ahead beyond the table either.
    TABLE[call.number().min(TABLE_SIZE)](call)
}

/// A call that has no function: ENOSYS, and a line in the log the first time.
#[cold]
pub fn missing(call: &Call) -> SysResult {
    let number = call.number();
    const WORDS: usize = TABLE_SIZE.div_ceil(64);
    static TOLD: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
    if let Some(word) = TOLD.get(number / 64)
        && word.fetch_or(1 << (number % 64), Relaxed) & 1 << (number % 64) == 0
    {
        let name = super::names::name(number).unwrap_or("?");
        log!("system call {number} ({name}) is not there: ENOSYS");
    }
    Err(Errno::NOSYS)
}
