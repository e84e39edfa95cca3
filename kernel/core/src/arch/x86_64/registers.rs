//! The program's registers by their parts: results, stack, first values.
use coracle_hal::context::UserContext;

/// RFLAGS of a new program: interrupts on, and the bit that is always set.
const FIRST_FLAGS: u64 = 0x202;
/// Length of the `syscall` instruction.
const CALL_LEN: u64 = 2;
/// `orig_rax` where there is no call to be started again.
const NO_CALL: u64 = u64::MAX;

/// The registers of a program that begins at `entry` with the stack pointer `sp`.
pub fn of_new_program(entry: usize, sp: u64) -> UserContext {
    UserContext {
        rip: entry as u64,
        rsp: sp,
        rflags: FIRST_FLAGS,
        orig_rax: NO_CALL,
        ..UserContext::default()
    }
}

/// Address of the next instruction.
pub fn pc(context: &UserContext) -> usize {
    context.rip as usize
}

/// Sets it.
pub fn set_pc(context: &mut UserContext, pc: u64) {
    context.rip = pc;
}

/// The stack pointer.
pub fn sp(context: &UserContext) -> usize {
    context.rsp as usize
}

/// Sets the stack pointer.
pub fn set_sp(context: &mut UserContext, sp: u64) {
    context.rsp = sp;
}

/// The result of a system call.
pub fn result(context: &UserContext) -> i64 {
    context.rax as i64
}

/// Sets the result of a system call.
pub fn set_result(context: &mut UserContext, result: u64) {
    context.rax = result;
}

/// Whether the registers are those of a system call, which may be started again.
pub fn is_in_call(context: &UserContext) -> bool {
    context.orig_rax != NO_CALL
}

/// Starts the system call again when the program goes on.
pub fn call_again(context: &mut UserContext) {
    context.rax = context.orig_rax;
    context.rip -= CALL_LEN;
}
