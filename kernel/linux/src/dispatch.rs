//! From a system call's number to its function.
use super::call::Call;
use super::table::{Handler, TABLE, TABLE_SIZE, with_all_registers};
use coracle_core::errno::{Errno, SysResult};
use coracle_core::task::thread::Work;
use coracle_hal::switch::Switch;
use coracle_hal::sync::atomic::{AtomicU64, Ordering::*};

/// The table in use: [`TABLE`], or one by which calls are traced (`syscall::trace`).
pub static CURRENT: Switch<[Handler; TABLE_SIZE + 1]> = Switch::new(&TABLE);

/// Calls the function of the system call whose number stands in rax.
#[inline(always)]
pub fn dispatch(call: &Call) -> SysResult {
    // No branch, so that no CPU runs ahead beyond the table either.
    CURRENT.get()[call.number().min(TABLE_SIZE)](call)
}

/// Stands in the table for a call that needs all registers: makes the thread leave the call the long way, where they are saved
/// and [`call_put_off`] makes the call.
pub fn put_off(call: &Call) -> SysResult {
    call.thread().work().set(Work::CALL);
    // The call's result takes its place.
    Err(Errno::NOSYS)
}

/// Makes a call that was put off, now that all registers are saved.
pub fn call_put_off(call: &Call) -> SysResult {
    call.thread().work().clear(Work::CALL);
    with_all_registers(call)
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
