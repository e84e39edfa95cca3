//! Tracing system calls, for `coracle trace`.
//!
//! While calls are traced, the table by which they are made is one in which each has a function of this file before its own: while they are
//! not, a call takes no instruction for it. A call is noted when it is over, by one record of a few words in a buffer that the device reads
//! in place (`hal::records`). Before it is made only the time is noted, with the thread; the tracer looks for threads that are in a call
//! for long, and an end of a thread notes the call that it is in.
//!
//! What is captured that an argument points to is a record of its own before that of the call. Calls that are made with all registers
//! saved, and those that are traced with stacks, have a record at the beginning, and one at the end. A stack's bytes are noted as they are;
//! it is unwound outside.
use super::call::Call;
use super::table::{ARGUMENTS, Handler, TABLE, TABLE_SIZE};
use super::watch;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_control::{
    BUFFER_MOST, CALL_WORDS, CALLS, CAPTURE_MOST, CAPTURES_MOST, CHOICE_BYTES, Capture, EventsHead, Extent,
    STACK_MOST, STACK_REGISTERS, TraceCall, TraceRecord,
};
use coracle_core::arch::{self, registers};
use coracle_core::errno::{Errno, SysResult};
use coracle_core::lock::Mutex;
use coracle_core::mm::memory::PAGE_SIZE;
use coracle_core::task::thread::{Thread, Work};
use coracle_core::task::{call_trace, code, process, sched};
use coracle_fallible::Text;
use coracle_fallible::prelude::*;
use coracle_hal::records::{self, Taking};
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use coracle_hal::{events, frame, time, user};

/// Buffers with records that wait for each CPU at most, 2 KiB each.
const BUFFERS: usize = 512;
/// The same where stacks are noted.
const BUFFERS_WITH_STACKS: usize = 1024;
/// All of them take no more than this part of the memory.
const PART_OF_MEMORY: usize = 16;
/// Bytes of a stack or of a text in one record.
const PIECE: usize = 1024;
/// A call that takes longer is told before it is over.
const LONG_NS: u64 = 50_000_000;

/// Bits of a plan: the call is traced, if its process is ...
const TRACED: u64 = 1;
/// ... the one that was chosen, ...
const ONE_PROCESS: u64 = 2;
/// ... and something is captured before it is made, ...
const BEFORE: u64 = 4;
/// ... or after that: what [`Captures`] goes through begins here.
const AFTER: u64 = 8;
const CAPTURES_AT: u32 = 8;

/// What is to be done about each call.
static PLANS: [AtomicU64; CALLS] = [const { AtomicU64::new(0) }; CALLS];
static IS_ON: AtomicBool = AtomicBool::new(false);
/// The process that is traced; 0: all.
static PID: AtomicU32 = AtomicU32::new(0);
/// Bytes of stacks that are noted with each call.
static STACK: AtomicU32 = AtomicU32::new(0);
/// The memory, and its state, whose code was said last.
static SAID: Mutex<(u64, u64)> = Mutex::new((0, 0));

/// The arguments that are captured of a call, as its plan has them: 13 bits each, the place, the kind of extent and its size.
struct Captures(u64);

impl Captures {
    const BITS: u32 = 14;
    const PLACE_BITS: u32 = 3;
    const KIND_BITS: u32 = 3;

    /// The plan with one more; `None`: it has as many as there is room for.
    fn add(plan: u64, capture: &Capture) -> Option<u64> {
        let [kind, size] = capture.extent.encode();
        let own = u64::from(capture.argument & 7)
            | u64::from(kind) << Self::PLACE_BITS
            | u64::from(size) << (Self::PLACE_BITS + Self::KIND_BITS);
        let count = Captures(plan >> CAPTURES_AT).count() as u32;
        let is_possible = kind < 1 << Self::KIND_BITS && count < CAPTURES_MOST as u32;
        let when = match capture.extent {
            Extent::Result | Extent::Written(_) => AFTER,
            _ => BEFORE,
        };
        is_possible.then(|| plan | when | own << (CAPTURES_AT + count * Self::BITS))
    }
}

const _: () = assert!(CAPTURES_AT + CAPTURES_MOST as u32 * Captures::BITS <= u64::BITS);

impl Iterator for Captures {
    type Item = (usize, Extent);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, Extent)> {
        let own = self.0;
        self.0 >>= Self::BITS;
        let kind = own >> Self::PLACE_BITS & ((1 << Self::KIND_BITS) - 1);
        let size = (own >> (Self::PLACE_BITS + Self::KIND_BITS)) as u8;
        Some(((own & 7) as usize, Extent::decode([kind as u8, size])?))
    }
}

/// Traces the calls that `choice` says: a bit for each number, and captures. `stack`: bytes of the program's stack that are noted with
/// each. ENOMEM, EINVAL; EBUSY if calls are traced already. After any error but that, [`stop`] is to be called.
pub fn start(pid: u32, stack: u32, choice: &[u8]) -> Result<(), Errno> {
    if IS_ON.swap(true, SeqCst) {
        return Err(Errno::BUSY);
    }
    let (calls, captures) = choice.split_first_chunk::<CHOICE_BYTES>().ok_or(Errno::INVAL)?;
    let first = if pid == 0 { TRACED } else { TRACED | ONE_PROCESS };
    for (number, plan) in PLANS.iter().enumerate() {
        let is_chosen = calls[number / 8] & 1 << (number % 8) != 0;
        plan.store(if is_chosen { first } else { 0 }, Relaxed);
    }
    for capture in captures.chunks_exact(Capture::BYTES).filter_map(Capture::decode) {
        let plan = PLANS.get(usize::from(capture.call)).ok_or(Errno::INVAL)?;
        let now = plan.load(Relaxed);
        if now & TRACED != 0 {
            plan.store(Captures::add(now, &capture).ok_or(Errno::INVAL)?, Relaxed);
        }
    }
    PID.store(pid, SeqCst);
    STACK.store(stack.min(STACK_MOST), SeqCst);
    *SAID.lock() = (0, 0);
    let most = if stack == 0 { BUFFERS } else { BUFFERS_WITH_STACKS };
    // Two buffers to a frame.
    let part = 2 * frame::total() / PART_OF_MEMORY / coracle_hal::cpu::count().max(1);
    records::start(most.min(part).max(1))?;
    watch::begin(if stack == 0 { watch::TRACE } else { watch::TRACE | watch::STACKS })?;
    release();
    Ok(())
}

/// A program's first thread that waits until its calls are traced.
static HELD: Mutex<Option<Arc<Thread>>> = Mutex::new(None);
/// How often a fetch has found no records, and sent that.
static FOUND_NONE: AtomicU64 = AtomicU64::new(0);
/// When records were fetched last.
static FETCHED_NS: AtomicU64 = AtomicU64::new(0);
/// When long calls were looked for last.
static LOOKED_NS: AtomicU64 = AtomicU64::new(0);

/// Starts a thread once calls are traced.
pub fn hold(thread: Arc<Thread>) {
    let old = HELD.lock().replace(thread);
    drop(old);
}

fn release() {
    let held = HELD.lock().take();
    if let Some(thread) = held {
        sched::start(thread);
    }
}

/// Before the machine ends: waits until the records have been fetched, unless nothing fetches them any more.
pub fn drain() {
    /// How long a fetch may take.
    const PATIENCE_NS: u64 = 1_000_000_000;
    const LOOK_EVERY_NS: u64 = 5_000_000;
    let (begin, before) = (time::now_ns(), FOUND_NONE.load(SeqCst));
    while IS_ON.load(SeqCst) && FOUND_NONE.load(SeqCst) == before {
        let now = time::now_ns();
        if now.saturating_sub(FETCHED_NS.load(SeqCst).max(begin)) > PATIENCE_NS {
            break;
        }
        sched::park_aside(Some(now + LOOK_EVERY_NS));
    }
}

/// Traces no calls any more.
pub fn stop() {
    release();
    watch::end(watch::TRACE | watch::STACKS);
    STACK.store(0, SeqCst);
    records::stop();
    IS_ON.store(false, SeqCst);
}

/// Where what was noted goes.
pub trait Sink {
    /// Takes bytes.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Errno>;
    /// Takes all that `taking` takes.
    fn send(&mut self, taking: &mut Taking) -> Result<(), Errno>;
}

/// Gives what was noted since the last time to `sink`: times, calls that take long, the records, and how many were lost. Errors are its.
pub fn fetch(sink: &mut impl Sink) -> Result<(), Errno> {
    let now_ns = time::now_ns();
    let head = EventsHead { now_ns, now_ticks: events::ticks(), rate: events::tick_rate(), cpus: 0 };
    sink.push(&head.encode())?;
    let mut count = 0;
    if now_ns.saturating_sub(LOOKED_NS.load(SeqCst)) > LONG_NS {
        LOOKED_NS.store(now_ns, SeqCst);
        let before = head.now_ticks.saturating_sub(ticks_of(LONG_NS, head.rate));
        for process in process::all() {
            // No lock is held while bytes are sent.
            let mut threads = Vec::new();
            for thread in process.threads.lock().iter() {
                threads.try_push(thread.clone())?;
            }
            for words in threads.iter().filter_map(|thread| call_trace::long_call(thread, before)) {
                count += 1;
                words.iter().try_for_each(|word| sink.push(&word.to_le_bytes()))?;
            }
        }
    }
    let mut taking = Taking::new();
    sink.send(&mut taking)?;
    if taking.lost() > 0 {
        TraceRecord::lost(taking.lost()).iter().try_for_each(|word| sink.push(&word.to_le_bytes()))?;
    }
    FETCHED_NS.store(time::now_ns(), SeqCst);
    if count + taking.taken() + taking.lost() == 0 {
        FOUND_NONE.fetch_add(1, SeqCst);
    }
    Ok(())
}

/// Ticks of so many nanoseconds, by the nanoseconds of a tick times 2^32.
fn ticks_of(ns: u64, rate: u64) -> u64 {
    u64::try_from((u128::from(ns) << 32) / u128::from(rate.max(1))).unwrap_or(u64::MAX)
}

/// The functions by which calls are traced, for calls of each number of arguments.
const BY_ARGUMENTS: [Handler; coracle_control::ARGUMENTS + 1] =
    [traced::<0>, traced::<1>, traced::<2>, traced::<3>, traced::<4>, traced::<5>, traced::<6>];

/// The function by which the call of a number is traced.
pub fn tracer(number: usize) -> Handler {
    let arguments = ARGUMENTS.get(number).map_or(coracle_control::ARGUMENTS, |&count| count.into());
    BY_ARGUMENTS[arguments.min(coracle_control::ARGUMENTS)]
}

/// Whether calls are to be traced with all registers saved.
pub fn wants_registers() -> bool {
    STACK.load(Relaxed) != 0
}

/// Makes a call that was looked at before, and traces it if calls are traced.
pub fn make(call: &Call) -> SysResult {
    if IS_ON.load(Relaxed) {
        traced::<{ coracle_control::ARGUMENTS }>(call)
    } else {
        TABLE[call.number().min(TABLE_SIZE)](call)
    }
}

/// Makes a call of so many arguments, and notes it.
#[inline(never)]
fn traced<const N: usize>(call: &Call) -> SysResult {
    let number = call.number();
    // No further comparison of the number: there are more plans than functions.
    if number >= TABLE_SIZE {
        return planned(call);
    }
    let plan = PLANS[number].load(Relaxed);
    if plan == TRACED {
        return plain::<N>(call, TABLE[number]);
    }
    seldom();
    if plan == 0 { TABLE[number](call) } else { planned(call) }
}

/// Where this is called, the compiler takes the code for code that seldom runs.
#[cold]
fn seldom() {}

const _: () = assert!(TABLE_SIZE <= CALLS);

/// Makes a call, and notes it when it is over. What is seldom to be done is in functions to which this one jumps in the end, so that it
/// has to keep nothing but the call.
#[inline(always)]
fn plain<const N: usize>(call: &Call, function: Handler) -> SysResult {
    call.thread().call_trace.begin(events::ticks());
    let result = function(call);
    if call.has_attention() {
        return attended::<N>(call, result);
    }
    ended::<N>(call, result)
}

/// Notes the call that the thread's trace has begun, and that is over.
#[inline(always)]
fn ended<const N: usize>(call: &Call, result: SysResult) -> SysResult {
    let trace = &call.thread().call_trace;
    let start = trace.since();
    trace.end();
    let (words, arguments) = over::<N>(call, start, result);
    if records::append_here(words, arguments) { result } else { append::<N>(call, start, result) }
}

/// What the program finds as the result.
#[inline(always)]
fn value(result: SysResult) -> u64 {
    result.unwrap_or_else(Errno::to_rax) as u64
}

/// The record of a call that is over.
#[inline(always)]
fn over<const N: usize>(call: &Call, start: u64, result: SysResult) -> ([u64; CALL_WORDS], [u64; N]) {
    let own = call_trace::call_of(call.thread(), call.number(), start);
    let words = TraceRecord::call(&own, events::ticks(), value(result), N);
    (words, call.first_arguments())
}

/// Notes a call that is over.
#[inline(never)]
fn append<const N: usize>(call: &Call, start: u64, result: SysResult) -> SysResult {
    if !records::is_lost() {
        let (words, arguments) = over::<N>(call, start, result);
        records::append(words, arguments);
    }
    result
}

/// Notes a call that is over, or has its end noted if it is yet to be made.
#[cold]
#[inline(never)]
fn attended<const N: usize>(call: &Call, result: SysResult) -> SysResult {
    if is_unfinished(call) { result } else { ended::<N>(call, result) }
}

/// Whether the call is yet to be made, with all registers: then its beginning is noted, and its end will be.
fn is_unfinished(call: &Call) -> bool {
    let thread = call.thread();
    if !thread.work().any(Work::CALL) {
        return false;
    }
    tell(call);
    thread.work().set(Work::TRACE);
    true
}

/// The plan of a call, and its function.
#[inline(always)]
fn plan_of(call: &Call) -> (u64, Handler) {
    let number = call.number();
    let plan = PLANS.get(number).map_or(0, |plan| plan.load(Relaxed));
    let is_other = || plan & ONE_PROCESS != 0 && call.thread().process.pid as u32 != PID.load(Relaxed);
    (if plan != 0 && is_other() { 0 } else { plan }, TABLE[number.min(TABLE_SIZE)])
}

/// Makes a call whose plan is not the plain one.
#[inline(never)]
fn planned(call: &Call) -> SysResult {
    let (plan, function) = plan_of(call);
    if plan == 0 {
        return function(call);
    }
    let thread = call.thread();
    thread.call_trace.begin(events::ticks());
    let is_missed = plan & BEFORE != 0 && !capture(call, plan, When::Before);
    thread.call_trace.set_misses(is_missed);
    let result = function(call);
    if call.has_attention() && is_unfinished(call) {
        return result;
    }
    capture_rest(call, plan, value(result));
    ended::<{ coracle_control::ARGUMENTS }>(call, result)
}

/// Captures what there is after a call with this result, and what was not there before.
#[inline(always)]
fn capture_rest(call: &Call, plan: u64, result: u64) {
    if call.thread().call_trace.misses() {
        capture(call, plan, When::Before);
    }
    // An error is no length, and nothing was written then.
    if plan & AFTER != 0 && result as i64 >= 0 {
        capture(call, plan, When::After(result as usize));
    }
}

/// Notes the beginning of the call that the thread's trace has begun.
fn tell(call: &Call) {
    let thread = call.thread();
    thread.call_trace.tell();
    let own = call_trace::call_of(thread, call.number(), thread.call_trace.since());
    records::append(TraceRecord::entry(&own, call.first_arguments()), []);
}

/// Notes that a call begins whose registers are all saved, if it is to be traced, and has its end noted.
#[inline(never)]
pub fn entered(call: &Call) {
    let (thread, (plan, _)) = (call.thread(), plan_of(call));
    if !IS_ON.load(Relaxed) || plan == 0 {
        return;
    }
    thread.call_trace.begin(events::ticks());
    let stack = STACK.load(Relaxed) as usize;
    if stack != 0 {
        note_stack(call, &call_trace::call_of(thread, call.number(), thread.call_trace.since()), stack);
    }
    let is_missed = plan & BEFORE != 0 && !capture(call, plan, When::Before);
    thread.call_trace.set_misses(is_missed);
    tell(call);
    thread.work().set(Work::TRACE);
}

/// Notes that a call is over whose registers are all saved, and have its result.
#[inline(never)]
pub fn left(call: &Call) {
    let thread = call.thread();
    thread.work().clear(Work::TRACE);
    let result = registers::result(&call.registers()) as u64;
    capture_rest(call, plan_of(call).0, result);
    let own = call_trace::call_of(thread, call.number(), thread.call_trace.since());
    thread.call_trace.end();
    records::append(TraceRecord::exit(&own, events::ticks(), result), []);
}

/// Notes the program's stack, and where its code is if that was not said of it last.
fn note_stack(call: &Call, own: &TraceCall, most: usize) {
    let process = &call.thread().process;
    let (pid, memory) = (process.pid as u32, process.memory());
    let now = (memory.id, memory.generation());
    let is_said = core::mem::replace(&mut *SAID.lock(), now) == now;
    if !is_said {
        let mut text = Text::new();
        // What there is no memory for is left out: its frames have no names then.
        code::regions(&memory, |line| {
            let _ = writeln!(text, "{line}");
        });
        let words = TraceRecord::code(own, pid);
        let mut pieces = text.as_bytes().chunks(PIECE);
        if !pieces.all(|piece| records::append_bytes(words, piece.len(), |place| copy_of(piece, place))) {
            *SAID.lock() = (0, 0);
        }
    }
    let mut registers = [0; 8 * STACK_REGISTERS];
    let context = call.registers();
    for (place, value) in registers.chunks_exact_mut(8).zip(arch::report::dwarf(&context)) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    let words = TraceRecord::stack(own, pid);
    let mut has_room = records::append_bytes(words, registers.len(), |place| copy_of(&registers, place));
    let from = registers::sp(&context) as usize;
    let mut at = 0;
    while at < most && has_room {
        let Some(address) = from.checked_add(at) else { break };
        let (len, mut done) = (PIECE.min(most - at), 0);
        has_room = records::append_bytes(words, len, |place| {
            // It was just used, so it is there, as far as it goes.
            done = copied(place, address);
            done
        });
        if done < len {
            break;
        }
        at += len;
    }
}

/// Copies bytes to the front of a place that has room for them.
fn copy_of(bytes: &[u8], place: &mut [u8]) -> usize {
    place[..bytes.len()].copy_from_slice(bytes);
    bytes.len()
}

/// Copies from the program's memory as far as it is there: no page fault is resolved for it.
#[inline(always)]
fn copied(place: &mut [u8], address: usize) -> usize {
    match user::copy_from(place, address) {
        Ok(()) => place.len(),
        Err(_) => copied_of_page(place, address),
    }
}

/// The same where the bytes reach beyond a page: those of the page, which a copy of all may not have come to.
#[cold]
fn copied_of_page(place: &mut [u8], address: usize) -> usize {
    let len = place.len().min(PAGE_SIZE - address % PAGE_SIZE);
    match user::copy_from(&mut place[..len], address) {
        Ok(()) => len,
        Err(fault) => fault.done,
    }
}

/// When something is captured.
#[derive(Clone, Copy)]
enum When {
    /// Before the call is made.
    Before,
    /// After it, with what it has done.
    After(usize),
}

/// Captures what arguments point to by a plan, a record for each; returns whether all was there.
#[inline(never)]
fn capture(call: &Call, plan: u64, when: When) -> bool {
    let thread = call.thread();
    let own = call_trace::call_of(thread, call.number(), thread.call_trace.since());
    // One more, for what comes after the last.
    let [a, b, c, d, e, f] = call.first_arguments();
    let arguments = [a, b, c, d, e, f, 0, 0];
    let mut is_whole = true;
    for (argument, extent) in Captures(plan >> CAPTURES_AT) {
        let next = || arguments[(argument + 1) % arguments.len()] as usize;
        let wanted = match (extent, when) {
            (Extent::String, When::Before) => CAPTURE_MOST,
            (Extent::Buffer, When::Before) => next().min(BUFFER_MOST),
            (Extent::Next(size), When::Before) => next().saturating_mul(size.into()),
            (Extent::Fixed(size), When::Before) | (Extent::Written(size), When::After(_)) => size.into(),
            (Extent::Result, When::After(done)) => done.min(BUFFER_MOST),
            _ => continue,
        };
        let wanted = wanted.min(CAPTURE_MOST);
        let address = arguments[argument % arguments.len()] as usize;
        records::append_bytes(TraceRecord::captured(&own, argument), wanted, |place| {
            let (done, is_all) = match extent {
                Extent::String => string(place, address),
                _ => {
                    let done = copied(place, address);
                    (done, done == wanted)
                }
            };
            is_whole &= is_all || address == 0;
            done
        });
    }
    is_whole
}

/// Copies a string of the program with its zero, as far as it is there and `place` has room; returns how long it is, and whether that is all
/// of it.
#[inline(always)]
fn string(place: &mut [u8], address: usize) -> (usize, bool) {
    /// Bytes that are copied at once.
    const STEP: usize = 32;
    let mut len = 0;
    for step in place.chunks_mut(STEP) {
        let done = copied(step, address.saturating_add(len));
        for (number, word) in step[..done].chunks(size_of::<u64>()).enumerate() {
            let has_zero = word.first_chunk().is_none_or(|word| has_zero(u64::from_le_bytes(*word)));
            if has_zero && let Some(end) = word.iter().position(|&byte| byte == 0) {
                return (len + number * size_of::<u64>() + end + 1, true);
            }
        }
        len += done;
        if done < step.len() {
            return (len, false);
        }
    }
    (len, true)
}

/// Whether a byte of the word is 0.
#[inline(always)]
fn has_zero(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    word.wrapping_sub(ONES) & !word & ONES << 7 != 0
}
