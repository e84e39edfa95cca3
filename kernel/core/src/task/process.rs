//! A process: an address space, descriptors, signal actions, and the threads that share them.
use super::attachment;
pub use super::credentials::Credentials;
use super::debug;
use super::family::{Family, Siblings};
use super::keys::Keyrings;
use super::later::{self, Later, Link};
use super::limits::Limits;
use super::login::Login;
use super::namespaces::Namespaces;
use super::oom_score::OomScore;
use super::pid_space::{self, PidSpace};
use super::signal::{self, ProcessSignals, SigInfo};
use super::terminal::Controlled;
use super::thread::{Thread, ThreadName, Work};
use super::time_space::ProcessOffsets;
use super::usage::Usage;
use crate::errno::Errno;
use crate::fs::context::FsContext;
use crate::fs::descriptors::{DescriptorTable, TableUse};
use crate::fs::file::File;
use crate::ipc::poll::{Events, PollSource};
use crate::lock::Mutex;
use crate::mm::memory::Memory;
use crate::time::posix_timer::ProcessTimers;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::{Text, try_arc, try_box};
use coracle_hal::leaving::{Leaves, Leaving};
use coracle_hal::once::Once;
use coracle_hal::sync::RwLock;
use coracle_hal::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use coracle_loader::Strings;
use coracle_sorted_map::SortedMap;
use core::any::Any;
use core::ops::Deref;
use linux_raw_sys::general as abi;

/// The process of the image's program, with which the machine ends.
pub const FIRST: i32 = 1;

/// What core dumps have at first (core(5)): private and shared memory without a file, ELF headers, huge pages of the former.
const DUMP_FILTER: u32 = 0x33;

/// A process.
pub struct Process {
    /// Process id in the first PID namespace, by which the kernel knows it.
    pub pid: i32,
    /// Its number in its own namespace (getpid(2)).
    pub(super) own_pid: AtomicI32,
    /// Its PID namespace, if that is not the first.
    pub(super) pids: Once<Arc<PidSpace>>,
    /// Its children go to another PID namespace than its own.
    pub(super) sends_children_away: AtomicBool,
    /// It is the init process of a namespace, which signals without a handler don't end (Linux's SIGNAL_UNKILLABLE).
    pub is_protected: AtomicBool,
    /// Its threads, the oldest first.
    pub threads: Mutex<Vec<Arc<Thread>>>,
    /// Actions and pending signals.
    pub signals: Mutex<ProcessSignals>,
    /// Told when a signal becomes pending (signalfd(2)).
    pub signal_source: PollSource,
    /// Resource limits (getrlimit(2)).
    pub limits: Limits,
    /// User and group ids (credentials(7)).
    pub credentials: Mutex<Credentials>,
    /// setitimer(2) and timer_create(2).
    pub timers: ProcessTimers,
    /// Contexts of io_setup(2).
    pub aio: attachment::Place,
    /// Requests of io_uring(7).
    pub uring: attachment::Place,
    /// Parent and children.
    pub family: Mutex<Family>,
    /// Its place among the children of its parent.
    pub siblings: Siblings,
    pub(super) parent_pid: AtomicI32,
    /// The same as the process sees it, which asks often.
    pub(super) seen_parent: AtomicI32,
    /// Process group (setpgid(2)).
    pub group: AtomicI32,
    /// Session (setsid(2)).
    pub session: AtomicI32,
    /// Controlling terminal.
    pub controlled: Controlled,
    /// Woken when a child changes state.
    pub child_events: PollSource,
    /// Told when the process ends (pidfd_open(2)), when a thread of it does, and when it executes a program.
    pub exit_source: PollSource,
    /// Set when all its threads are to end: the status, see [`ExitStatus`].
    pub exiting: Mutex<Option<ExitStatus>>,
    /// The process is gone and waits to be waited for.
    pub dead: AtomicBool,
    /// Its parent has been sent the signal of its end: who waits for it sees the signal pending.
    pub told: AtomicBool,
    /// The name of its first thread, once that has ended.
    ended_name: Mutex<ThreadName>,
    /// What threads that ended have used.
    pub ended_threads: Mutex<Usage>,
    /// What children waited for have used, and their own.
    pub children: Mutex<Usage>,
    /// The signal it stopped for; 0: it runs.
    pub stopped: AtomicU32,
    /// A change between stopped and running that nobody waited for yet: the siginfo code and status; see waitid(2).
    pub stop_report: Mutex<Option<(i32, i32)>>,
    /// Signal that the parent gets at the end (clone(2)); 0: none.
    pub exit_signal: AtomicU32,
    /// Sent to this process when its parent ends (prctl(2), PR_SET_PDEATHSIG).
    pub parent_death_signal: AtomicU32,
    /// prctl(2) PR_SET_DUMPABLE.
    pub dumpable: AtomicU32,
    /// What its core dumps have (/proc/PID/coredump_filter).
    pub dump_filter: AtomicU32,
    /// prctl(2) PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: AtomicBool,
    /// prctl(2) PR_SET_THP_DISABLE: there are no huge pages in any case.
    pub no_huge_pages: AtomicBool,
    /// prctl(2) PR_SET_CHILD_SUBREAPER.
    pub subreaper: AtomicBool,
    /// personality(2).
    pub personality: AtomicUsize,
    /// It has changed semaphores with SEM_UNDO (semop(2)).
    pub undoes_semaphores: AtomicBool,
    /// Its keyrings (keyrings(7)).
    pub keyrings: Mutex<Keyrings>,
    /// The login: its user, and its session.
    pub login: Login,
    /// How willingly it is ended when memory runs out (/proc/PID/oom_score_adj).
    pub oom: OomScore,
    /// vfork(2): the parent sleeps until this is set (exec or exit).
    pub vfork_done: AtomicBool,
    /// Page faults that read from a file or made a page.
    pub faults: AtomicU64,
    /// Its user namespace is another than the first (`credentials`).
    pub is_mapped: AtomicBool,
    /// What its time namespace adds to clocks.
    pub clock_offsets: ProcessOffsets,
    /// A debugger's part.
    pub debug: debug::Session,
    memory_id: AtomicU64,
    start_ns: u64,
    held: Leaving<Box<Held>>,
}

/// What a process has that leads to files. It gives up most of that as it ends; what is left goes later than the last reference to
/// the process (`task::later`), which may go anywhere.
pub struct Held {
    /// Open descriptors.
    pub descriptors: TableUse,
    /// Root, working directory, umask.
    pub fs: Arc<FsContext>,
    /// Its other namespaces.
    pub namespaces: Mutex<Namespaces>,
    /// What was executed.
    pub program: Mutex<Arc<Program>>,
    memory: RwLock<Arc<Memory>>,
    link: Link,
}

impl Deref for Process {
    type Target = Held;
    #[inline(always)]
    fn deref(&self) -> &Held {
        &self.held
    }
}

impl Leaves for Box<Held> {
    fn leave(self) {
        later::put_off(self);
    }
}

impl Later for Held {
    fn run(self: Box<Self>) {}
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// What a process executes, for /proc.
#[derive(Default)]
pub struct Program {
    /// The file.
    pub file: Option<Arc<dyn File>>,
    /// Path of the executable.
    pub path: Text,
    /// Arguments.
    pub arguments: Strings,
    /// Environment, as `NAME=VALUE`.
    pub environment: Strings,
    /// Auxiliary vector as pairs of words.
    pub auxv: Vec<(u64, u64)>,
    /// Where its code and stack begin, for /proc/self/stat.
    pub stack_start: usize,
    /// Keeps its file from being written to.
    pub file_kept: Option<Arc<dyn Any + Send + Sync>>,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// exit(2) with this status, 0 to 255.
    Exited(u8),
    /// Killed by this signal; true if Linux would have left a core dump.
    Killed(u32, bool),
}

impl ExitStatus {
    /// As wait4(2) tells it.
    pub fn wait_status(self) -> i32 {
        match self {
            ExitStatus::Exited(status) => i32::from(status) << 8,
            ExitStatus::Killed(signal, _) => signal as i32,
        }
    }
    /// As waitid(2) and SIGCHLD tell it: CLD_*, and the status or the signal.
    pub fn child_code(self) -> (i32, i32) {
        let (code, value) = match self {
            ExitStatus::Exited(status) => (abi::CLD_EXITED, i32::from(status)),
            ExitStatus::Killed(signal, false) => (abi::CLD_KILLED, signal as i32),
            ExitStatus::Killed(signal, true) => (abi::CLD_DUMPED, signal as i32),
        };
        (code as i32, value)
    }
    /// As a shell tells it: 128 more than the signal.
    pub fn shell_status(self) -> u8 {
        match self {
            ExitStatus::Exited(status) => status,
            ExitStatus::Killed(signal, _) => 128 + signal as u8,
        }
    }
}

/// All processes by pid.
static PROCESSES: RwLock<SortedMap<i32, Arc<Process>>> = RwLock::new(SortedMap::new());
/// All threads by tid.
static THREADS: RwLock<SortedMap<i32, Weak<Thread>>> = RwLock::new(SortedMap::new());
/// Linux's default pid_max on 64-bit machines.
pub const PID_MAX: i32 = 4_194_304;
static LAST_ID: AtomicI32 = AtomicI32::new(0);

/// A thread or process id that isn't in use.
pub fn new_id() -> i32 {
    loop {
        let last = LAST_ID.fetch_add(1, Relaxed);
        let id = last % (PID_MAX - 1) + 1;
        if !THREADS.read().contains_key(&id) && !PROCESSES.read().contains_key(&id) {
            return id;
        }
    }
}

/// This id, for a thread or process that is being made. EEXIST if it is in use.
pub fn take_id(id: i32) -> Result<i32, Errno> {
    let is_used = THREADS.read().contains_key(&id) || PROCESSES.read().contains_key(&id);
    if is_used { Err(Errno::EXIST) } else { Ok(id) }
}

/// The process with this pid.
pub fn by_pid(pid: i32) -> Option<Arc<Process>> {
    PROCESSES.read().get(&pid).cloned()
}

/// The thread with this tid.
pub fn thread_by_tid(tid: i32) -> Option<Arc<Thread>> {
    THREADS.read().get(&tid).and_then(Weak::upgrade)
}

/// The process that the running program calls by this number, or that of `thread` for 0; ESRCH.
pub fn process_by_pid_or_self(thread: &Thread, pid: i32) -> Result<Arc<Process>, Errno> {
    match pid {
        0 => Ok(thread.process.clone()),
        _ => {
            let pid = pid_space::named(pid).ok_or(Errno::SRCH)?;
            by_pid(pid).or_else(|| thread_by_tid(pid).map(|other| other.process.clone())).ok_or(Errno::SRCH)
        }
    }
}

/// All processes, in the order of their pids. The list may change meanwhile.
pub fn all() -> impl Iterator<Item = Arc<Process>> {
    let mut last = 0;
    core::iter::from_fn(move || {
        let next = PROCESSES.read().after(&last).map(|(_, process)| process.clone())?;
        last = next.pid;
        Some(next)
    })
}

crate::mm::memory::give_each_memory!(|f| all().for_each(|process| f(&process.memory())));

/// The first process id in use from `pid` on.
pub fn next_pid(pid: i32) -> Option<i32> {
    PROCESSES.read().iter_from(&pid).next().map(|(pid, _)| *pid)
}

/// Whether a process group or a session is called by this process id.
pub fn leads(pid: i32) -> bool {
    all().any(|process| process.group.load(Relaxed) == pid || process.session.load(Relaxed) == pid)
}

/// The processes of a group.
pub fn of_group(group: i32) -> impl Iterator<Item = Arc<Process>> {
    all().filter(move |process| process.group.load(Relaxed) == group)
}

/// Number of threads in all processes.
pub fn thread_count() -> usize {
    THREADS.read().len()
}

/// The last id given out.
pub fn last_id() -> i32 {
    LAST_ID.load(Relaxed)
}

/// Page faults of processes that are gone.
static FAULTS_BEFORE: AtomicU64 = AtomicU64::new(0);

/// Page faults of all processes since boot.
pub fn all_faults() -> u64 {
    all().map(|process| process.faults.load(Relaxed)).sum::<u64>() + FAULTS_BEFORE.load(Relaxed)
}

/// A process is gone and was waited for.
pub fn forget(pid: i32) {
    let removed = PROCESSES.write().remove(&pid);
    if let Some(process) = removed {
        FAULTS_BEFORE.fetch_add(process.faults.load(Relaxed), Relaxed);
        if let Some(space) = process.pid_space() {
            space.leave(pid, leads(pid));
        }
        // Its descriptors are hung up (pidfd_open(2)).
        process.exit_source.notify(Events::HUP);
    }
}

impl Process {
    /// A process without threads, which isn't listed yet. ENOMEM.
    pub fn new(
        pid: i32,
        memory: Arc<Memory>,
        descriptors: Arc<DescriptorTable>,
        fs: Arc<FsContext>,
    ) -> Result<Arc<Process>, Errno> {
        Ok(try_arc(Self::build(pid, memory, descriptors, fs)?)?)
    }

    /// Lists it under its pid, as made by a thread of `maker`. ENOMEM; EINTR if `maker` is ending: a signal to a group of
    /// processes that ended it may have been sent to all that were listed.
    pub fn publish(self: &Arc<Self>, maker: &Process) -> Result<(), Errno> {
        let exiting = maker.exiting.lock();
        if exiting.is_some() {
            return Err(Errno::INTR);
        }
        PROCESSES.write().insert(self.pid, self.clone())?;
        Ok(())
    }

    /// Becomes the parent of its descendants' orphans (prctl(2), PR_SET_CHILD_SUBREAPER), or no longer.
    pub fn set_subreaper(&self, on: bool) {
        self.subreaper.store(on, Relaxed);
    }

    /// The process of the idle threads: it has no program and isn't listed. Its memory is empty, and lets go of that of the
    /// program whose thread ended last on a CPU.
    #[inline(never)]
    pub fn idle() -> Result<Arc<Process>, Errno> {
        let descriptors = try_arc(DescriptorTable::new())?;
        Memory::make_none()?;
        let fs = try_arc(FsContext::new())?;
        Ok(try_arc(Self::build(0, Memory::none().clone(), descriptors, fs)?)?)
    }

    fn build(
        pid: i32,
        memory: Arc<Memory>,
        descriptors: Arc<DescriptorTable>,
        fs: Arc<FsContext>,
    ) -> Result<Process, Errno> {
        Ok(Process {
            pid,
            own_pid: AtomicI32::new(pid),
            pids: Once::new(),
            sends_children_away: AtomicBool::new(false),
            is_protected: AtomicBool::new(false),
            threads: Mutex::new(Vec::new()),
            signals: Mutex::new(ProcessSignals::new()?),
            signal_source: PollSource::new(),
            limits: Limits::default(),
            credentials: Mutex::new(Credentials::default()),
            timers: ProcessTimers::default(),
            aio: attachment::Place::default(),
            uring: attachment::Place::default(),
            family: Mutex::new(Family::default()),
            siblings: Siblings::default(),
            parent_pid: AtomicI32::new(0),
            seen_parent: AtomicI32::new(0),
            group: AtomicI32::new(pid),
            session: AtomicI32::new(pid),
            controlled: Controlled::default(),
            child_events: PollSource::new(),
            exit_source: PollSource::new(),
            exiting: Mutex::new(None),
            dead: AtomicBool::new(false),
            told: AtomicBool::new(false),
            ended_name: Mutex::new(ThreadName::default()),
            ended_threads: Mutex::new(Usage::default()),
            children: Mutex::new(Usage::default()),
            stopped: AtomicU32::new(0),
            stop_report: Mutex::new(None),
            exit_signal: AtomicU32::new(abi::SIGCHLD),
            parent_death_signal: AtomicU32::new(0),
            dumpable: AtomicU32::new(1),
            dump_filter: AtomicU32::new(DUMP_FILTER),
            no_huge_pages: AtomicBool::new(false),
            no_new_privileges: AtomicBool::new(false),
            subreaper: AtomicBool::new(false),
            undoes_semaphores: AtomicBool::new(false),
            personality: AtomicUsize::new(0),
            keyrings: Mutex::new(Keyrings::default()),
            login: Login::default(),
            oom: OomScore::default(),
            vfork_done: AtomicBool::new(true),
            faults: AtomicU64::new(0),
            is_mapped: AtomicBool::new(false),
            clock_offsets: ProcessOffsets::default(),
            debug: debug::Session::default(),
            memory_id: AtomicU64::new(memory.id),
            start_ns: coracle_hal::time::now_ns(),
            held: Leaving::new(try_box(Held {
                descriptors: TableUse::new(descriptors),
                fs,
                namespaces: Mutex::new(Namespaces::default()),
                program: Mutex::new(try_arc(Program::default())?),
                memory: RwLock::new(memory),
                link: Link::new(),
            })?),
        })
    }

    /// Its real user id.
    pub fn user(&self) -> u32 {
        self.credentials.lock().uid[0]
    }

    /// Its memory.
    #[inline(never)]
    pub fn memory(&self) -> Arc<Memory> {
        self.memory.read().clone()
    }

    /// Which memory that is.
    #[inline]
    pub fn memory_id(&self) -> u64 {
        self.memory_id.load(Relaxed)
    }

    /// Whether another process runs in its memory (vfork(2), CLONE_VM of clone(2)).
    pub fn shares_memory(&self) -> bool {
        let own = self.memory_id();
        all().any(|other| other.pid != self.pid && !other.dead.load(Relaxed) && other.memory_id() == own)
    }

    /// Takes another memory (exec(2), exit); gives back the old one.
    pub fn replace_memory(&self, memory: Arc<Memory>) -> Arc<Memory> {
        let mut place = self.memory.write();
        self.memory_id.store(memory.id, Relaxed);
        core::mem::replace(&mut *place, memory)
    }

    /// When it began, in nanoseconds since boot.
    pub fn start_ns(&self) -> u64 {
        self.start_ns
    }

    /// Lists a thread of this process, as made by `maker`. ENOMEM; EINTR if `maker` is to end: the threads of its process were
    /// told so, and the new one wasn't.
    pub fn add_thread(&self, thread: &Arc<Thread>, maker: &Thread) -> Result<(), Errno> {
        {
            let mut listed = THREADS.write();
            if let Some(other) = listed.insert(thread.tid(), Arc::downgrade(thread))? {
                // Another thread was made meanwhile with an id that was chosen (`take_id`).
                listed.insert(thread.tid(), other)?;
                return Err(Errno::AGAIN);
            }
        }
        let mut threads = self.threads.lock();
        let ending = if maker.work().any(Work::EXIT) { Err(Errno::INTR) } else { Ok(()) };
        let added = ending.and_then(|()| Ok(threads.try_push(thread.clone())?));
        drop(threads);
        if added.is_err() {
            THREADS.write().remove(&thread.tid());
        }
        added
    }

    /// Gives the last thread of this process its id, as that of the first thread has been, which ended (execve(2)).
    pub fn give_id(&self, last: &Arc<Thread>) -> Result<(), Errno> {
        let id = last.tid();
        if id != self.pid {
            let mut listed = THREADS.write();
            listed.insert(self.pid, Arc::downgrade(last))?;
            listed.remove(&id);
            last.set_tid(self.pid, self.own_pid());
            drop(listed);
            if let Some(space) = self.pid_space() {
                space.leave(id, false);
            }
        }
        Ok(())
    }

    /// The name of its first thread, also when that has ended (proc(5), `/proc/pid/comm`).
    pub fn name(&self) -> ThreadName {
        let threads = self.threads.lock();
        let first = threads.iter().find(|thread| thread.tid() == self.pid);
        first.map_or_else(|| *self.ended_name.lock(), |thread| thread.name())
    }

    /// Takes a thread off the lists; gives how many remain.
    pub fn remove_thread(&self, thread: &Arc<Thread>) -> usize {
        if thread.tid() == self.pid {
            *self.ended_name.lock() = thread.name();
        }
        THREADS.write().remove(&thread.tid());
        let mut threads = self.threads.lock();
        threads.retain(|other| !Arc::ptr_eq(other, thread));
        threads.len()
    }

    /// Its effective or file-system ids have changed: others may not look into it any more, and its parent's end is no reason for a
    /// signal (prctl(2), PR_SET_DUMPABLE, PR_SET_PDEATHSIG).
    pub fn rights_changed(&self) {
        self.dumpable.store(0, Relaxed);
        self.parent_death_signal.store(0, Relaxed);
    }

    /// The parent's pid on the machine; 0 if it has none.
    #[inline]
    pub fn parent_pid(&self) -> i32 {
        self.parent_pid.load(Relaxed)
    }

    /// The parent's pid in the process's own PID namespace (getppid(2)); 0 if it has none, or none there.
    #[inline]
    pub fn seen_parent(&self) -> i32 {
        self.seen_parent.load(Relaxed)
    }

    /// Lets go of its program and its directories, which a process that ended and waits to be waited for doesn't keep busy.
    pub fn leave_files(&self) {
        // For lack of memory it keeps the program until it is waited for.
        if let Ok(none) = try_arc(Program::default()) {
            let program = core::mem::replace(&mut *self.program.lock(), none);
            drop(program);
        }
        let namespaces = core::mem::take(&mut *self.namespaces.lock());
        drop(namespaces);
        // A count that another process is about to lower costs no more than a mount that is busy for longer.
        if Arc::strong_count(&self.fs) == 1 {
            self.fs.leave();
        }
    }

    /// CPU time of all its threads, nanoseconds.
    pub fn cpu_time_ns(&self) -> u64 {
        let running: u64 = self.threads.lock().iter().map(|thread| super::sched::cpu_time_ns(thread)).sum();
        running + self.ended_threads.lock().cpu_ns
    }

    /// Stops all threads (SIGSTOP and its like) and tells the parent.
    pub fn stop(self: &Arc<Self>, signal: u32) {
        {
            let threads = self.threads.lock();
            super::orphans::count(self.stopped.swap(signal, Relaxed), signal);
            threads.iter().for_each(|thread| thread.add_work(Work::STOP));
        }
        self.tell_parent_of_stop(abi::CLD_STOPPED as i32, signal as i32);
    }

    /// Lets a stopped process, whose threads and signals are locked, go on (SIGCONT), and has its threads look at the signals
    /// that came meanwhile before they do. True if it was stopped: then the parent is to be told.
    pub fn resume(&self, threads: &[Arc<Thread>], shared: &ProcessSignals) -> bool {
        let before = self.stopped.swap(0, Relaxed);
        super::orphans::count(before, 0);
        if before == 0 {
            return false;
        }
        for thread in threads {
            signal::note(thread, shared, &thread.signals.lock());
            thread.work().clear(Work::STOP);
            super::sched::unpark(thread);
        }
        true
    }

    /// Notes a stop or its end, a siginfo code (CLD_STOPPED, CLD_CONTINUED) and its status, for waitid(2), and tells the parent.
    pub fn tell_parent_of_stop(self: &Arc<Self>, code: i32, status: i32) {
        *self.stop_report.lock() = Some((code, status));
        let Some(parent) = self.parent() else { return };
        let quiet = parent.signals.lock().action(abi::SIGCHLD).flags & u64::from(abi::SA_NOCLDSTOP) != 0;
        if !quiet {
            let uid = self.credentials.lock().uid[0];
            signal::send_to_process(&parent, SigInfo::child(code, parent.sees(self.pid), uid, status));
        }
        parent.child_events.notify(crate::ipc::poll::Events::IN);
    }
}
