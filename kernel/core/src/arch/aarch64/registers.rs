//! The program's registers by their parts: results, stack, first values.
use coracle_hal::context::UserContext;

/// Length of the `svc` instruction.
const CALL_LEN: u64 = 4;
/// x8 where there is no call to be started again: no call has this number.
const NO_CALL: u64 = u64::MAX;

/// The registers of a program that begins at `entry` with the stack pointer `sp`.
pub fn of_new_program(entry: usize, sp: u64) -> UserContext {
    UserContext { pc: entry as u64, sp, call: NO_CALL, ..UserContext::default() }
}

/// Address of the next instruction.
pub fn pc(context: &UserContext) -> usize {
    context.pc as usize
}

/// Sets it.
pub fn set_pc(context: &mut UserContext, pc: u64) {
    context.pc = pc;
}

/// The stack pointer.
pub fn sp(context: &UserContext) -> usize {
    context.sp as usize
}

/// Sets the stack pointer.
pub fn set_sp(context: &mut UserContext, sp: u64) {
    context.sp = sp;
}

/// The result of a system call.
pub fn result(context: &UserContext) -> i64 {
    context.x[0] as i64
}

/// Sets the result of a system call.
pub fn set_result(context: &mut UserContext, result: u64) {
    context.x[0] = result;
}

/// Whether the registers are those of a system call, which may be started again.
pub fn is_in_call(context: &UserContext) -> bool {
    context.call != NO_CALL
}

/// Starts the system call again when the program goes on.
pub fn call_again(context: &mut UserContext) {
    context.x[0] = context.orig_x0;
    context.pc -= CALL_LEN;
}
