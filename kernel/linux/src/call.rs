//! A system call in progress: who calls, and with what arguments.
use coracle_core::task::thread::Thread;

/// The calling thread and its arguments. Every system call is `fn(&Call) -> SysResult`.
///
/// Its `registers` are those of the program only for the calls that the table marks with `#[all_registers]`.
pub type Call = coracle_hal::call::Call<Thread>;
