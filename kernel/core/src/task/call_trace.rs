//! What the trace of system calls knows of a thread, and the end of calls that do not return.
//!
//! Most calls are noted once, when they are over (`coracle_linux::trace`). The beginning of one that takes long, or that never returns, is
//! told before.
use super::thread::Thread;
use coracle_control::{ENTRY_WORDS, TraceCall, TraceRecord};
use coracle_hal::context::UserContext;
use coracle_hal::records;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU64, Ordering::*, fence};

/// Calls that are traced of a thread.
#[derive(Default)]
pub struct CallTrace {
    /// When its present call began, in ticks, if it is traced; else 0.
    since: AtomicU64,
    /// That of the last call whose beginning was told.
    told: AtomicU64,
    /// Something that its arguments point to was not there yet when it began.
    misses: AtomicBool,
}

impl CallTrace {
    /// A call that is traced begins.
    #[inline(always)]
    pub fn begin(&self, start: u64) {
        self.since.store(start, Relaxed);
    }

    /// When the call began.
    #[inline(always)]
    pub fn since(&self) -> u64 {
        self.since.load(Relaxed)
    }

    /// The call is over.
    #[inline(always)]
    pub fn end(&self) {
        self.since.store(0, Relaxed);
    }

    /// Its beginning is told.
    pub fn tell(&self) {
        self.told.store(self.since(), Relaxed);
    }

    /// Says whether something that its arguments point to was not there yet when it began.
    pub fn set_misses(&self, misses: bool) {
        self.misses.store(misses, Relaxed);
    }

    /// What was said of that.
    pub fn misses(&self) -> bool {
        self.misses.load(Relaxed)
    }

    /// Whether its beginning was told.
    pub fn is_told(&self) -> bool {
        self.told.load(Relaxed) == self.since()
    }
}

/// What names a call of a thread: its number, and when it began.
#[inline(always)]
pub fn call_of(thread: &Thread, number: usize, start: u64) -> TraceCall {
    TraceCall { tid: thread.tid() as u32, number: number as u16, start }
}

/// The record that the thread's call has begun, with these registers.
fn beginning(thread: &Thread, context: &UserContext, start: u64) -> [u64; ENTRY_WORDS] {
    let call = call_of(thread, context.call_number(), start);
    TraceRecord::entry(&call, context.arguments())
}

/// The record of the beginning of a thread's call that began before `before`, in ticks, unless it was told already; another may return
/// it meanwhile.
pub fn long_call(thread: &Thread, before: u64) -> Option<[u64; ENTRY_WORDS]> {
    let trace = &thread.call_trace;
    let start = trace.since.load(Acquire);
    if start == 0 || start >= before || trace.is_told() {
        return None;
    }
    let context = thread.task.look_at_registers()?;
    fence(Acquire);
    // If it is in the same call still, the registers are those of the call.
    if trace.since.load(Relaxed) != start {
        return None;
    }
    trace.told.store(start, Relaxed);
    Some(beginning(thread, &context, start))
}

/// A thread ends, whose registers these are: if it is in a call that is traced, that does not return.
pub fn ended(thread: &Thread, context: &UserContext) {
    let trace = &thread.call_trace;
    if trace.since() != 0 {
        if !trace.is_told() {
            records::append(beginning(thread, context, trace.since()), []);
        }
        trace.end();
    }
}
