//! From a system call's number to its function.
use super::call::Call;
use super::table::{TABLE, TABLE_SIZE};
use crate::errno::Errno;
use crate::task::thread::Thread;
use alloc::sync::Arc;
use coracle_hal::context::UserContext;
use core::sync::atomic::{AtomicU64, Ordering::*};

/// Calls the function of the system call whose number stands in rax, and puts its result there.
#[inline(always)]
pub fn dispatch(thread: &Arc<Thread>, context: &mut UserContext) {
    let number = context.orig_rax as usize;
    let result = match TABLE.get(number) {
        Some(Some(function)) => function(&mut Call { thread, registers: context }),
        _ => missing(number),
    };
    context.rax = match result {
        Ok(value) => value as u64,
        Err(error) => error.to_rax() as u64,
    };
}

/// A call that has no function: ENOSYS, and a line in the log the first time.
#[cold]
fn missing(number: usize) -> Result<usize, Errno> {
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
