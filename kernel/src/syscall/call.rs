//! A system call in progress: who calls, and with what arguments.
use crate::errno::Errno;
use crate::task::thread::{Thread, Work};

/// The calling thread and its arguments. Every system call is `fn(&Call) -> SysResult`.
pub type Call = coracle_hal::call::Call<Thread>;

/// Makes sure that `call` has all of the program's registers, for calls that pass them on or change them: begin those
/// with this function, and give its error back. It makes the thread leave the call the long way, where the registers are
/// saved and the call is made anew.
pub fn with_all_registers(call: &Call) -> Result<(), Errno> {
    let work = call.thread().work();
    if work.any(Work::CALL_AGAIN) {
        return Ok(());
    }
    work.set(Work::CALL_AGAIN);
    // Nobody sees it: the second call's result takes its place.
    Err(Errno::AGAIN)
}
