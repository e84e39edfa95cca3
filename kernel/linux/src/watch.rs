//! Calls that are looked at before they are made.
//!
//! While there is anything to look for, the table that the dispatch reads is one in which every call is `watched`; while there is not, a
//! call takes no instruction for it. A call that is not simply made is put off until all registers are saved.
use super::call::Call;
use super::dispatch::{CURRENT, call_put_off};
use super::seccomp::{self, Verdict};
use super::table::{Handler, TABLE, TABLE_SIZE};
use super::trace;
use alloc::boxed::Box;
use coracle_core::arch::registers;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::lock::Mutex;
use coracle_core::task::call_filters::TRACED;
use coracle_core::task::debug::held::StopKind;
use coracle_core::task::ptrace;
use coracle_core::task::thread::Work;
use coracle_fallible::boxed_array;
use coracle_hal::context::UserContext;
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::Ordering::Relaxed;

/// Why calls are watched: they are traced for `coracle trace`.
pub const TRACE: u32 = 1;
/// Some thread has filters, or a tracer. That lasts, once it was so.
pub const THREADS: u32 = 2;
/// They are traced with stacks.
pub const STACKS: u32 = 4;

type Table = [Handler; TABLE_SIZE + 1];

static REASONS: Mutex<u32> = Mutex::new(0);
static WATCHED: Once<Box<Table>> = Once::new();
/// The table where calls are traced, and not watched.
static TRACING: Once<Box<Table>> = Once::new();

/// The table of this kind, made the first time. ENOMEM.
fn made(
    table: &'static Once<Box<Table>>,
    function: impl Fn(usize) -> Handler,
) -> Result<&'static Table, Errno> {
    if table.get().is_none() {
        let mut numbers = 0..;
        let made = boxed_array(|| function(numbers.next().unwrap_or(TABLE_SIZE)))?;
        table.call_once(|| made);
    }
    table.get().map(|table| &**table).ok_or(Errno::NOMEM)
}

/// The table that is used for these reasons. ENOMEM; not without any.
fn table(reasons: u32) -> Result<&'static Table, Errno> {
    match reasons {
        0 => Ok(&TABLE),
        TRACE => made(&TRACING, trace::tracer),
        _ => made(&WATCHED, |_| watched),
    }
}

/// Has calls watched, for a reason. ENOMEM.
pub fn begin(reason: u32) -> Result<(), Errno> {
    let mut reasons = REASONS.lock();
    CURRENT.set(table(*reasons | reason)?);
    *reasons |= reason;
    Ok(())
}

/// The reason is gone.
pub fn end(reason: u32) {
    let mut reasons = REASONS.lock();
    *reasons &= !reason;
    // Where there is no memory for a table that does less, the one in use does it, too.
    if let Ok(table) = table(*reasons) {
        CURRENT.set(table);
    }
}

fn watched(call: &Call) -> SysResult {
    let thread = call.thread();
    let watch = thread.filters.watch.load(Relaxed);
    if watch != 0
        && (watch & TRACED != 0 || !matches!(seccomp::judge(call, call.number(), false), Verdict::Make))
    {
        thread.work().set(Work::CALL | Work::WATCHED);
        return Err(Errno::NOSYS);
    }
    if trace::wants_registers() {
        thread.work().set(Work::CALL | Work::WATCHED);
        return Err(Errno::NOSYS);
    }
    trace::make(call)
}

/// Makes a call that was put off, with what is to be done before it; all registers are saved.
#[inline(never)]
pub fn make(call: &Call) -> SysResult {
    let thread = call.thread();
    thread.work().clear(Work::CALL | Work::WATCHED);
    let is_traced = || thread.filters.watch.load(Relaxed) & TRACED != 0;
    if is_traced() {
        let is_emulated = thread.debug.traced.state.lock().emulates;
        let context = stop(call, StopKind::Entry);
        if thread.work().any(Work::EXIT) {
            return Err(Errno::INTR);
        }
        if is_emulated || !registers::is_in_call(&context) {
            // The tracer has taken the call away, and may have set its result.
            return Ok(registers::result(&context) as usize);
        }
    }
    match seccomp::judge(call, call.number(), true) {
        Verdict::Make => {}
        Verdict::Skip(result) => return Ok(result),
    }
    trace::entered(call);
    let function = TABLE[call.number().min(TABLE_SIZE)];
    let result = function(call);
    if thread.work().any(Work::CALL) { call_put_off(call) } else { result }
}

/// A call that [`make`] has made, or left, is over: its result is in the registers.
pub fn finished(call: &Call) {
    let thread = call.thread();
    let is_traced = thread.filters.watch.load(Relaxed) & TRACED != 0;
    let is_emulated = || thread.debug.traced.state.lock().emulates;
    if is_traced && !thread.work().any(Work::EXIT) && !is_emulated() {
        stop(call, StopKind::Exit);
    }
}

/// Stops for the tracer; the registers that the thread goes on with.
fn stop(call: &Call, kind: StopKind) -> UserContext {
    let mut context = call.registers();
    ptrace::call_stop(call.thread(), &mut context, kind);
    call.set_registers(context);
    context
}
