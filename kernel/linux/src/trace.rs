//! Tracing system calls, for `coracle trace`.
//!
//! While calls are traced, they are watched (`syscall::watch`): while they are not, a call takes no instruction for it. Records lie in a buffer for each CPU until they are fetched. What has no room is counted.
//!
//! With stacks, calls are put off until all registers are saved. The stack's bytes are noted as they are; it is unwound outside.
use super::call::Call;
use super::watch;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_control::{
    CALLS, CAPTURE_MOST, CHOICE_BYTES, Capture, Captured, Extent, STACK_MOST, STACK_REGISTERS, TraceRecord,
    record,
};
use coracle_core::arch::{self, registers};
use coracle_core::errno::Errno;
use coracle_core::lock::Mutex;
use coracle_core::task::thread::{Thread, Work};
use coracle_core::task::{code, sched};
use coracle_fallible::Text;
use coracle_fallible::prelude::*;
use coracle_hal::once::Once;
use coracle_hal::sync::RwLock;
use coracle_hal::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use coracle_hal::{cpu, time, user};

/// Bytes of records for each CPU that wait to be fetched.
const BUFFER_BYTES: usize = 256 << 10;
/// The same where stacks are noted.
const BUFFER_BYTES_WITH_STACKS: usize = 2 << 20;
/// Bytes of a stack that are copied at once.
const PIECE: usize = 256;
/// Bytes that are captured with a record at most: three arguments of a call.
const LARGEST: usize = 3 * (Captured::HEAD + CAPTURE_MOST);

/// What is traced.
struct Choice {
    /// A process; 0: all.
    pid: u32,
    /// A bit for each call.
    calls: [u8; CHOICE_BYTES],
    /// In the order of the calls.
    captures: Vec<Capture>,
}

/// The records of a CPU.
#[derive(Default)]
struct Buffer {
    records: Vec<u8>,
    lost: u64,
}

/// Bytes of stacks that are noted with each call.
static STACK: AtomicU32 = AtomicU32::new(0);
/// The memory, and its state, whose code was said last.
static SAID: Mutex<(u64, u64)> = Mutex::new((0, 0));
static CHOICE: RwLock<Option<Choice>> = RwLock::new(None);
static BUFFERS: Once<Vec<Mutex<Buffer>>> = Once::new();

fn buffer_bytes() -> usize {
    if STACK.load(SeqCst) == 0 { BUFFER_BYTES } else { BUFFER_BYTES_WITH_STACKS }
}

/// Traces the calls that `choice` says: a bit for each number, and captures. `stack`: bytes of the program's stack that are noted with
/// each. ENOMEM, EINVAL; EBUSY if calls are traced already.
pub fn start(pid: u32, stack: u32, choice: &[u8]) -> Result<(), Errno> {
    if CHOICE.read().is_some() {
        return Err(Errno::BUSY);
    }
    STACK.store(stack.min(STACK_MOST), SeqCst);
    *SAID.lock() = (0, 0);
    let (calls, captures) = choice.split_first_chunk::<CHOICE_BYTES>().ok_or(Errno::INVAL)?;
    let captures = captures.chunks_exact(Capture::BYTES).filter_map(Capture::decode).try_collect_vec()?;
    if !captures.is_sorted_by_key(|capture| capture.call) {
        return Err(Errno::INVAL);
    }
    let mut buffers = Vec::new();
    for _ in 0..cpu::count() {
        buffers.try_push(Mutex::new(Buffer::default()))?;
    }
    let buffers = BUFFERS.call_once(|| buffers);
    for buffer in buffers {
        buffer.lock().records.try_reserve(buffer_bytes()).map_err(|_| Errno::NOMEM)?;
    }
    let mut own = CHOICE.write();
    if own.is_some() {
        return Err(Errno::BUSY);
    }
    watch::begin(watch::TRACE)?;
    *own = Some(Choice { pid, calls: *calls, captures });
    drop(own);
    release();
    Ok(())
}

/// A program's first thread that waits until its calls are traced.
static HELD: Mutex<Option<Arc<Thread>>> = Mutex::new(None);
/// How often a fetch has found no records, and sent that.
static FOUND_NONE: AtomicU64 = AtomicU64::new(0);
/// When records were fetched last.
static FETCHED_NS: AtomicU64 = AtomicU64::new(0);

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
    let is_traced = CHOICE.read().is_some();
    let (begin, before) = (time::now_ns(), FOUND_NONE.load(SeqCst));
    while is_traced && FOUND_NONE.load(SeqCst) == before {
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
    watch::end(watch::TRACE);
    STACK.store(0, SeqCst);
    let choice = CHOICE.write().take();
    drop(choice);
    for buffer in BUFFERS.get().into_iter().flatten() {
        let records = core::mem::take(&mut *buffer.lock());
        drop(records);
    }
}

/// Gives `take` the records that wait.
pub fn fetch(mut take: impl FnMut(&[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut spare = Vec::new();
    let mut is_empty = true;
    for buffer in BUFFERS.get().into_iter().flatten() {
        spare.clear();
        spare.try_reserve(buffer_bytes()).map_err(|_| Errno::NOMEM)?;
        let lost = {
            let mut own = buffer.lock();
            core::mem::swap(&mut own.records, &mut spare);
            core::mem::take(&mut own.lost)
        };
        is_empty &= spare.is_empty() && lost == 0;
        take(&spare)?;
        if lost > 0 {
            let bytes = TraceRecord::HEAD as u32;
            let time_ns = time::now_ns();
            let note =
                TraceRecord { bytes, kind: record::LOST, time_ns, number: lost, ..TraceRecord::default() };
            take(&note.encode())?;
        }
    }
    FETCHED_NS.store(time::now_ns(), SeqCst);
    if is_empty {
        FOUND_NONE.fetch_add(1, SeqCst);
    }
    Ok(())
}

/// Whether calls are to be traced with all registers saved.
pub fn wants_registers() -> bool {
    STACK.load(SeqCst) != 0
}

/// Notes that a call begins, if calls are traced, and has its end noted.
#[inline(never)]
pub fn entered(call: &Call) {
    if note(call, record::ENTRY, core::array::from_fn(|place| call.raw(place))) {
        call.thread().work().set(Work::TRACE);
    }
}

/// Notes that a call is over, whose result its registers have.
#[inline(never)]
pub fn left(call: &Call) {
    call.thread().work().clear(Work::TRACE);
    note(call, record::EXIT, [registers::result(&call.registers()) as u64, 0, 0, 0, 0, 0]);
}

/// Notes a call if it is to be traced; returns whether it is.
fn note(call: &Call, kind: u32, words: [u64; 6]) -> bool {
    let (thread, number) = (call.thread(), call.number());
    let pid = thread.process.pid as u32;
    let choice = CHOICE.read();
    let Some(choice) = choice.as_ref().filter(|choice| choice.pid == 0 || choice.pid == pid) else {
        return false;
    };
    if number >= CALLS || choice.calls[number / 8] & 1 << (number % 8) == 0 {
        return false;
    }
    let mut captured = heapless::Vec::<u8, LARGEST>::new();
    let from = choice.captures.partition_point(|capture| usize::from(capture.call) < number);
    let own = choice.captures[from..].iter().take_while(|capture| usize::from(capture.call) == number);
    // As many as fit.
    own.for_each(|one| capture(call, one, (kind == record::EXIT).then_some(words[0]), &mut captured));
    let record = TraceRecord {
        bytes: (TraceRecord::HEAD + captured.len()) as u32,
        kind,
        pid,
        tid: thread.tid() as u32,
        time_ns: time::now_ns(),
        number: number as u64,
        words,
    };
    let stack = STACK.load(SeqCst) as usize;
    if kind == record::ENTRY && stack != 0 {
        note_stack(call, &record, stack);
    }
    keep(&record.encode(), &captured);
    true
}

/// Notes the program's stack, and where its code is if that was not said of it last.
fn note_stack(call: &Call, entry: &TraceRecord, most: usize) {
    let memory = call.thread().process.memory();
    let now = (memory.id, memory.generation());
    let is_said = core::mem::replace(&mut *SAID.lock(), now) == now;
    if !is_said {
        let mut text = Text::new();
        // What there is no memory for is left out: its frames have no names then.
        code::regions(&memory, |line| {
            let _ = writeln!(text, "{line}");
        });
        if !keep_all(&TraceRecord { kind: record::CODE, ..*entry }, text.as_bytes(), None) {
            *SAID.lock() = (0, 0);
        }
    }
    let mut registers = [0; 8 * STACK_REGISTERS];
    let context = call.registers();
    for (place, value) in registers.chunks_exact_mut(8).zip(arch::report::dwarf(&context)) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    let stack = (registers::sp(&context) as usize, most);
    keep_all(&TraceRecord { kind: record::STACK, ..*entry }, &registers, Some(stack));
}

/// Appends what an argument points to, as far as it is there: no page fault is resolved for it.
fn capture(call: &Call, what: &Capture, result: Option<u64>, bytes: &mut heapless::Vec<u8, LARGEST>) {
    let argument = usize::from(what.argument);
    let address = call.raw(argument);
    let len = match what.extent {
        Extent::String => CAPTURE_MOST,
        Extent::Next(size) => (call.raw(argument + 1) as usize).saturating_mul(size.into()),
        Extent::Fixed(size) => size.into(),
        // An error is no length.
        Extent::Result => result.filter(|&result| result as i64 >= 0).unwrap_or(0) as usize,
    };
    let mut place = [0; CAPTURE_MOST];
    let place = &mut place[..len.min(CAPTURE_MOST)];
    let mut done = match user::copy_from(place, address as usize) {
        Ok(()) => place.len(),
        Err(fault) => fault.done,
    };
    if let Extent::String = what.extent
        && let Some(end) = place[..done].iter().position(|&byte| byte == 0)
    {
        done = end + 1;
    }
    if done > 0 && bytes.capacity() - bytes.len() >= Captured::HEAD + done {
        // There is room.
        let _ = bytes.extend_from_slice(&address.to_le_bytes());
        let _ = bytes.extend_from_slice(&(done as u16).to_le_bytes());
        let _ = bytes.extend_from_slice(&place[..done]);
    }
}

/// Keeps a record with these bytes, and of memory, from an address on, as many as there are of so many. False: there was no room.
fn keep_all(record: &TraceRecord, bytes: &[u8], memory: Option<(usize, usize)>) -> bool {
    let Some(buffer) = BUFFERS.get().and_then(|buffers| buffers.get(cpu::id())) else { return false };
    let mut own = buffer.lock();
    let most = TraceRecord::HEAD + bytes.len() + memory.map_or(0, |(_, most)| most);
    if own.records.capacity() - own.records.len() < most {
        own.lost += 1;
        return false;
    }
    let start = own.records.len();
    // The capacity is there: nothing is allocated.
    let _ = own.records.try_extend_from_slice(&record.encode());
    let _ = own.records.try_extend_from_slice(bytes);
    let (from, most) = memory.unwrap_or_default();
    let mut piece = [0; PIECE];
    for at in (0..most).step_by(PIECE) {
        let piece = &mut piece[..PIECE.min(most - at)];
        // It was just used, so it is there, as far as it goes.
        let done = from.checked_add(at).map_or(0, |from| match user::copy_from(piece, from) {
            Ok(()) => piece.len(),
            Err(fault) => fault.done,
        });
        let _ = own.records.try_extend_from_slice(&piece[..done]);
        if done < piece.len() {
            break;
        }
    }
    let len = own.records.len() - start;
    let head = TraceRecord { bytes: len as u32, ..*record }.encode();
    own.records[start..start + TraceRecord::HEAD].copy_from_slice(&head);
    true
}

fn keep(record: &[u8], captured: &[u8]) {
    let Some(buffer) = BUFFERS.get().and_then(|buffers| buffers.get(cpu::id())) else { return };
    let mut own = buffer.lock();
    if own.records.capacity() - own.records.len() < record.len() + captured.len() {
        own.lost += 1;
    } else {
        // Its capacity is there: nothing is allocated.
        let _ = own.records.try_extend_from_slice(record);
        let _ = own.records.try_extend_from_slice(captured);
    }
}
