//! Listeners of filters (seccomp_unotify(2)): descriptors by which other processes decide about system calls.
use super::seccomp::Verdict;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_bpf::SystemCall;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::fs::stat;
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::lock::Mutex;
use coracle_core::mm::memory::PAGE_SIZE;
use coracle_core::mm::user;
use coracle_core::task::call_filters::{Filter, Listens};
use coracle_core::task::exit;
use coracle_core::task::pid_space;
use coracle_core::task::thread::Thread;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use core::any::Any;
use linux_raw_sys::general::{O_CLOEXEC, stat as Stat};

/// Bytes of `struct seccomp_notif`, `seccomp_notif_resp` and `seccomp_data` (SECCOMP_GET_NOTIF_SIZES).
pub const SIZES: [u16; 3] = [QUESTION_BYTES as u16, 24, 64];
const QUESTION_BYTES: usize = 80;
/// ioctl(2) requests (linux/seccomp.h).
const RECV: u32 = 0xc050_2100;
const SEND: u32 = 0xc018_2101;
const ID_VALID: u32 = 0x4008_2102;
/// The same, as it was declared first.
const ID_VALID_OLD: u32 = 0x8008_2102;
/// Kind and number alone count: the structure may be longer than is known, and its size is in the request (_IOC_SIZE).
const ADDFD: u32 = 0x2103;
const KIND_AND_NUMBER: u32 = 0xffff;
const SIZE_SHIFT: u32 = 16;
const SIZE_MASK: u32 = 0x3fff;
/// Bytes of `struct seccomp_notif_addfd`.
const ADDFD_BYTES: usize = 24;
const SET_FLAGS: u32 = 0x4008_2104;
/// In an answer: the call is made (SECCOMP_USER_NOTIF_FLAG_CONTINUE).
const CONTINUE: u32 = 1;
/// Flags of ADDFD.
const SETFD: u32 = 1;
const ADDFD_SEND: u32 = 2;

/// How far a question is.
#[derive(Clone, Copy)]
enum Stage {
    Asked,
    Received,
    Answered(Answer),
}

#[derive(Clone, Copy)]
enum Answer {
    Make,
    Result(usize),
}

/// A call that waits to be decided about.
struct Question {
    id: u64,
    thread: Arc<Thread>,
    data: SystemCall,
    stage: Mutex<Stage>,
    source: PollSource,
}

impl Question {
    fn answer(&self, answer: Answer) {
        *self.stage.lock() = Stage::Answered(answer);
        self.source.notify(Events::IN);
    }
}

/// A listener.
pub struct Listener {
    questions: Mutex<Vec<Arc<Question>>>,
    source: PollSource,
    next_id: AtomicU64,
    is_closed: AtomicBool,
    is_unused: AtomicBool,
    /// Once it has received a question, only a signal that ends the thread interrupts the call (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV).
    waits_killable: bool,
}

impl Listens for Listener {
    fn unused(&self) {
        self.is_unused.store(true, SeqCst);
        self.source.notify(Events::HUP);
    }
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// Asks the listener of a filter about a call of the running thread. ENOSYS if there is none.
pub fn ask(thread: &Arc<Thread>, filter: Option<Arc<Filter>>, data: &SystemCall) -> Verdict {
    let listener = filter.and_then(|filter| filter.listener.as_ref()?.0.upgrade());
    let listener = listener.and_then(|listener| listener.into_any().downcast::<Listener>().ok());
    let outcome = listener.ok_or(Errno::NOSYS).and_then(|listener| listener.ask(thread, data));
    match outcome {
        Ok(Answer::Make) => Verdict::Make,
        Ok(Answer::Result(result)) => Verdict::Skip(result),
        Err(error) => Verdict::Skip(error.to_rax()),
    }
}

impl Listener {
    /// One that is asked nothing yet. ENOMEM.
    pub fn new(waits_killable: bool) -> Result<Arc<Listener>, NoMemory> {
        try_arc(Listener {
            questions: Mutex::new(Vec::new()),
            source: PollSource::new(),
            // As on Linux an id says nothing about the calls before.
            next_id: AtomicU64::new(coracle_core::random::u64()),
            is_closed: AtomicBool::new(false),
            is_unused: AtomicBool::new(false),
            waits_killable,
        })
    }

    fn ask(&self, thread: &Arc<Thread>, data: &SystemCall) -> Result<Answer, Errno> {
        let question = try_arc(Question {
            id: self.next_id.fetch_add(1, Relaxed),
            thread: thread.clone(),
            data: *data,
            stage: Mutex::new(Stage::Asked),
            source: PollSource::new(),
        })?;
        self.questions.lock().try_push(question.clone())?;
        self.source.notify(Events::IN);
        let attempt = || {
            if self.is_closed.load(SeqCst) {
                return Err(Errno::NOSYS);
            }
            match *question.stage.lock() {
                Stage::Answered(answer) => Ok(answer),
                _ => Err(Errno::AGAIN),
            }
        };
        let mut outcome = block_on_events(&question.source, Events::IN, false, None, attempt);
        if outcome.is_err_and(|error| error == Errno::RESTARTSYS)
            && self.waits_killable
            && matches!(*question.stage.lock(), Stage::Received)
        {
            let ended = exit::wait_unless_killed(&question.source, &mut || {
                outcome = attempt();
                !matches!(outcome, Err(Errno::AGAIN))
            });
            outcome = ended.and(outcome);
        }
        self.questions.lock().retain(|other| !Arc::ptr_eq(other, &question));
        outcome
    }

    fn find(&self, id: u64) -> Result<Arc<Question>, Errno> {
        self.questions.lock().iter().find(|question| question.id == id).cloned().ok_or(Errno::NOENT)
    }

    /// SECCOMP_IOCTL_NOTIF_RECV: waits for a question.
    fn receive(&self, place: usize) -> SysResult {
        let mut bytes = [0; QUESTION_BYTES];
        user::read(&mut bytes, place)?;
        if bytes != [0; QUESTION_BYTES] {
            return Err(Errno::INVAL);
        }
        let question = block_on_events(&self.source, Events::IN | Events::HUP, false, None, || {
            for question in self.questions.lock().iter() {
                let mut stage = question.stage.lock();
                if let Stage::Asked = *stage {
                    *stage = Stage::Received;
                    return Ok(question.clone());
                }
            }
            if self.is_unused.load(SeqCst) { Err(Errno::NOENT) } else { Err(Errno::AGAIN) }
        })?;
        let data = &question.data;
        let words = [
            question.id,
            pid_space::seen(question.thread.tid()) as u64,
            u64::from(data.number) | u64::from(data.architecture) << 32,
            data.instruction_pointer,
        ];
        let all = words.iter().chain(&data.arguments);
        bytes
            .chunks_exact_mut(8)
            .zip(all)
            .for_each(|(place, word)| place.copy_from_slice(&word.to_le_bytes()));
        if let Err(error) = user::write(place, &bytes) {
            // It can be received again.
            *question.stage.lock() = Stage::Asked;
            self.source.notify(Events::IN);
            return Err(error);
        }
        self.source.notify(Events::OUT);
        Ok(0)
    }

    /// SECCOMP_IOCTL_NOTIF_SEND.
    fn send(&self, place: usize) -> SysResult {
        let [id, value, rest]: [u64; 3] = user::read_words(place)?;
        let (error, flags) = (rest as u32 as i32, (rest >> 32) as u32);
        if flags & !CONTINUE != 0 || flags == CONTINUE && (error != 0 || value != 0) {
            return Err(Errno::INVAL);
        }
        let question = self.find(id)?;
        if !matches!(*question.stage.lock(), Stage::Received) {
            return Err(Errno::INPROGRESS);
        }
        question.answer(match (flags, error) {
            (CONTINUE, _) => Answer::Make,
            (_, 0) => Answer::Result(value as usize),
            (_, error) => Answer::Result(error as isize as usize),
        });
        Ok(0)
    }

    /// SECCOMP_IOCTL_NOTIF_ADDFD: gives the caller's process a descriptor.
    fn add_descriptor(&self, place: usize, size: usize) -> SysResult {
        if !(ADDFD_BYTES..PAGE_SIZE).contains(&size) {
            return Err(Errno::INVAL);
        }
        user::check_zero(place + ADDFD_BYTES, size - ADDFD_BYTES)?;
        let [id, source, new]: [u64; 3] = user::read_words(place)?;
        let (flags, source) = (source as u32, (source >> 32) as i32);
        let (new, new_flags) = (new as u32 as i32, (new >> 32) as u32);
        if flags & !(SETFD | ADDFD_SEND) != 0 || new_flags & !O_CLOEXEC != 0 || new != 0 && flags & SETFD == 0
        {
            return Err(Errno::INVAL);
        }
        let open = coracle_core::this::with(|me| me.process.descriptors.get(source))?;
        let question = self.find(id)?;
        if !matches!(*question.stage.lock(), Stage::Received) {
            return Err(Errno::INPROGRESS);
        }
        let process = &question.thread.process;
        let close_on_exec = new_flags & O_CLOEXEC != 0;
        let fd = if flags & SETFD == 0 {
            process.descriptors.insert(open, close_on_exec, 0)?
        } else {
            if let Some(old) = process.descriptors.replace(new, open, close_on_exec)? {
                old.descriptor_closed(process.pid);
            }
            new
        };
        if flags & ADDFD_SEND != 0 {
            question.answer(Answer::Result(fd as usize));
        }
        Ok(fd as usize)
    }
}

impl File for Listener {
    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        match command {
            RECV => self.receive(argument),
            SEND => self.send(argument),
            ID_VALID | ID_VALID_OLD => {
                let question = self.find(user::read_u64(argument)?)?;
                let is_received = matches!(*question.stage.lock(), Stage::Received);
                if is_received { Ok(0) } else { Err(Errno::NOENT) }
            }
            // Where a thread that was answered runs is left to the scheduler.
            SET_FLAGS if argument & !1 == 0 => Ok(0),
            _ if command & KIND_AND_NUMBER == ADDFD => {
                self.add_descriptor(argument, (command >> SIZE_SHIFT & SIZE_MASK) as usize)
            }
            _ => Err(Errno::INVAL),
        }
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(stat::anonymous())
    }
    fn readiness(&self) -> Events {
        let mut events = Events::empty();
        for question in self.questions.lock().iter() {
            match *question.stage.lock() {
                Stage::Asked => events |= Events::IN | Events::RDNORM,
                Stage::Received => events |= Events::OUT | Events::WRNORM,
                Stage::Answered(_) => {}
            }
        }
        events.set(Events::HUP, self.is_unused.load(SeqCst));
        events
    }
    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.source)
    }
    fn closed(&self) {
        self.is_closed.store(true, SeqCst);
        for question in core::mem::take(&mut *self.questions.lock()) {
            question.source.notify(Events::IN);
        }
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"anon_inode:seccomp notify")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
