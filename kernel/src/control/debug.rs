//! Requests of debuggers.
use super::answer::Answer;
use super::{files, threads};
use alloc::sync::Arc;
use coracle_control::{Debug, Message, ThreadState};
use coracle_core::arch::debug as arch;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::Events;
use coracle_core::lock::Mutex;
use coracle_core::mm::memory::PAGE_SIZE;
use coracle_core::task::debug::held::INFO_BYTES;
use coracle_core::task::debug::{self, Listener};
use coracle_core::task::process::{self, Process};
use coracle_core::task::thread::Thread;
use coracle_hal::sync::atomic::{AtomicBool, Ordering::SeqCst};
use coracle_hal::{breakpoint, cpu};
use coracle_system::drivers::console;

/// Requests to wait for an event at a time.
const MOST_WAITING: usize = 8;

/// Those who wait for an event: the request, and the process.
static WAITING: Mutex<heapless::Vec<(u32, u32), MOST_WAITING>> = Mutex::new(heapless::Vec::new());

/// Wakes the thread that answers when there is an event.
pub struct News(AtomicBool);

/// There is one of these.
pub static NEWS: News = News(AtomicBool::new(false));

impl Listener for News {
    fn happened(&self) {
        self.0.store(true, SeqCst);
        if let Some(channel) = console::control() {
            channel.asked().notify(Events::IN);
        }
    }
}

impl News {
    /// Whether an event may have come that was not told.
    pub fn is_new(&self) -> bool {
        self.0.load(SeqCst)
    }
}

fn by_pid(pid: u32) -> Result<Arc<Process>, Errno> {
    i32::try_from(pid).ok().and_then(process::by_pid).ok_or(Errno::SRCH)
}

/// Answers one. `Ok(false)`: the end of the answer comes later.
pub fn answer(id: u32, request: Debug, answer: &mut Answer) -> Result<bool, Errno> {
    match request {
        Debug::Attach { pid } => debug::attach(&by_pid(pid)?)?,
        Debug::Detach { pid } => {
            debug::detach(&by_pid(pid)?)?;
            use_watches();
        }
        Debug::Wait { pid } => {
            by_pid(pid)?;
            WAITING.lock().push((id, pid)).map_err(|_| Errno::AGAIN)?;
            NEWS.0.store(true, SeqCst);
            return Ok(false);
        }
        Debug::Resume { pid, threads } => debug::resume(&by_pid(pid)?, threads)?,
        Debug::Stop { pid } => debug::stop(&by_pid(pid)?)?,
        Debug::Registers { tid } => registers(&thread(tid)?, answer)?,
        Debug::SetRegisters { tid, offset, bytes } => set_registers(&thread(tid)?, offset as usize, bytes)?,
        Debug::Write { pid, address, bytes } => {
            let process = by_pid(pid)?;
            if !debug::attached(&process) {
                return Err(Errno::SRCH);
            }
            let address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
            process.memory().poke(address, bytes).map_err(|_| Errno::FAULT)?;
        }
        Debug::Breakpoint { pid, address, set } => debug::set_breakpoint(&*by_pid(pid)?, address, set)?,
        Debug::Watchpoint { pid, address, len, reads, set } => {
            debug::set_watchpoint(&*by_pid(pid)?, (address, len), reads, set)?;
            use_watches();
        }
        Debug::File { offset, len, path } => files::part(path, offset, len as usize, answer)?,
        Debug::Present { pid, address, pages } => present(&*by_pid(pid)?, address, pages, answer)?,
    }
    Ok(true)
}

/// Tells those who wait what has happened.
pub fn tell() {
    if !NEWS.0.swap(false, SeqCst) {
        return;
    }
    let Some(channel) = console::control() else { return };
    let waiting = core::mem::take(&mut *WAITING.lock());
    for (id, pid) in waiting {
        let event = match by_pid(pid).and_then(|process| debug::next_event(&process)) {
            Ok(Some(event)) => Ok(event),
            Ok(None) => {
                // There was room for all of them.
                let _ = WAITING.lock().push((id, pid));
                continue;
            }
            Err(error) => Err(error),
        };
        let mut buffer = [0; 64];
        if let Ok(event) = event
            && let Some(piece) = (Message::Piece { id, bytes: &event.encode() }).encode(&mut buffer)
        {
            // Without another side there is no one to tell.
            let _ = channel.send(piece);
        }
        let error = event.map_or_else(|error| error.number(), |_| 0);
        if let Some(end) = (Message::End { id, error }).encode(&mut buffer) {
            // As above.
            let _ = channel.send(end);
        }
    }
}

fn thread(tid: u32) -> Result<Arc<Thread>, Errno> {
    i32::try_from(tid).ok().and_then(process::thread_by_tid).ok_or(Errno::SRCH)
}

/// Bytes of the registers in an answer, behind the state.
const REGISTERS: usize = 8 * arch::WORDS;
/// Where the signal's information begins, and where the area of the floating-point registers.
const INFO: usize = ThreadState::BYTES + REGISTERS;
const AREA: usize = INFO + INFO_BYTES;

fn registers(thread: &Arc<Thread>, answer: &mut Answer) -> Result<(), Errno> {
    let (is_held, context, info) = match &*thread.debug.held.lock() {
        Some(held) => (1, held.context, held.info),
        None => (0, Default::default(), [0; INFO_BYTES]),
    };
    let (fs_base, gs_base) = (thread.task.fs_base(), thread.task.gs_base());
    answer.push(&ThreadState { is_held, fs_base, gs_base }.encode())?;
    for word in arch::words(context) {
        answer.push(&word.to_le_bytes())?;
    }
    answer.push(&info)?;
    with_area(thread, |area| answer.push(area)).unwrap_or(Ok(()))
}

/// Calls `f` with the floating-point registers of a thread that does not run. A CPU that idles does so on the stack of the thread that ran
/// there last: it runs this one meanwhile.
fn with_area<R>(thread: &Arc<Thread>, f: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
    threads::visit(thread.sched.last_cpu());
    let result = thread.task.with_fpu(f);
    threads::visit_any();
    result
}

fn set_registers(thread: &Arc<Thread>, offset: usize, bytes: &[u8]) -> Result<(), Errno> {
    let end = offset.checked_add(bytes.len()).ok_or(Errno::INVAL)?;
    if offset >= AREA {
        let place = offset - AREA..end - AREA;
        let copy = |area: &mut [u8]| {
            area.get_mut(place).map(|place| place.copy_from_slice(bytes)).ok_or(Errno::INVAL)
        };
        return with_area(thread, copy).unwrap_or(Err(Errno::INVAL));
    }
    if end > INFO {
        return Err(Errno::INVAL);
    }
    let mut held = thread.debug.held.lock();
    let held = held.as_mut().ok_or(Errno::BUSY)?;
    let mut all = [0; INFO];
    let (fs_base, gs_base) = (thread.task.fs_base(), thread.task.gs_base());
    all[..ThreadState::BYTES].copy_from_slice(&ThreadState { is_held: 1, fs_base, gs_base }.encode());
    let (words, _) = all[ThreadState::BYTES..].as_chunks_mut::<8>();
    words.iter_mut().zip(arch::words(held.context)).for_each(|(place, word)| *place = word.to_le_bytes());
    all[offset..end].copy_from_slice(bytes);
    let (state, rest) = ThreadState::decode(&all).ok_or(Errno::INVAL)?;
    let mut words = [0; arch::WORDS];
    words
        .iter_mut()
        .zip(rest.as_chunks::<8>().0)
        .for_each(|(word, bytes)| *word = u64::from_le_bytes(*bytes));
    arch::set_words(&mut held.context, words);
    if !thread.task.set_fs_base(state.fs_base) || !thread.task.set_gs_base(state.gs_base) {
        return Err(Errno::INVAL);
    }
    Ok(())
}

/// Has all CPUs watch what is to be watched.
fn use_watches() {
    for cpu in 0..cpu::count() {
        threads::visit(cpu);
        breakpoint::use_watches();
    }
    threads::visit_any();
}

fn present(process: &Process, address: u64, pages: u32, answer: &mut Answer) -> Result<(), Errno> {
    let memory = process.memory();
    let mut address = usize::try_from(address).map_err(|_| Errno::FAULT)?;
    for _ in 0..pages {
        answer.push(&[u8::from(memory.is_present(address))])?;
        address = address.checked_add(PAGE_SIZE).ok_or(Errno::FAULT)?;
    }
    Ok(())
}
