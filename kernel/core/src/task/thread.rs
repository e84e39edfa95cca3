//! A thread of a program.
use super::call_filters::CallFilters;
use super::call_trace::CallTrace;
use super::counted_list::CountedList;
use super::debug::held::Debugged;
use super::futex::Waiter;
use super::later::PutOff;
use super::process::Process;
use super::run_queue;
use super::sched::{self, SchedState};
use super::signal::ThreadSignals;
use crate::errno::Errno;
use crate::lock::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::{Lossy, try_arc};
use coracle_hal::context::UserContext;
use coracle_hal::cpu;
use coracle_hal::kernel::HasTask;
use coracle_hal::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use coracle_hal::task::Task;
use coracle_sched_policy::Scheduling;
use core::fmt;
use core::mem::offset_of;

/// Bytes of a thread's name with its zero (TASK_COMM_LEN).
pub const NAME_LEN: usize = 16;

/// The name of a thread.
#[derive(Clone, Copy, Default)]
pub struct ThreadName([u8; NAME_LEN]);

impl ThreadName {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.0.iter().position(|&byte| byte == 0).unwrap_or(NAME_LEN);
        &self.0[..len]
    }
}

/// As text for people.
impl fmt::Display for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        Lossy(self.as_bytes()).fmt(f)
    }
}

/// A thread.
pub struct Thread {
    /// Kernel stack and saved registers.
    pub task: Task,
    tid: AtomicI32,
    own_tid: AtomicI32,
    /// The process it belongs to.
    pub process: Arc<Process>,
    /// Its place in a list of threads that wait for a futex.
    pub waiter: Arc<Waiter>,
    /// The scheduler's part.
    pub sched: SchedState,
    /// Mask, pending signals, alternate stack.
    pub signals: Mutex<ThreadSignals>,
    /// Where to write 0 and wake a futex at its end (set_tid_address(2)); 0: nowhere.
    pub clear_child_tid: AtomicUsize,
    /// Head of the list of robust futexes (set_robust_list(2)); 0: none.
    pub robust_list: AtomicUsize,
    /// Its area for restartable sequences (rseq(2)); 0: none.
    pub rseq: AtomicUsize,
    /// What stands before the places that those are aborted to.
    pub rseq_signature: AtomicU32,
    /// Bytes of that area.
    pub rseq_len: AtomicU32,
    /// Its memory policy, as set_mempolicy(2) has it: the mode, and whether node 0 is among its nodes.
    pub memory_policy: AtomicU32,
    /// Which of its calls are looked at before they are made.
    pub filters: CallFilters,
    /// Which of its calls is traced.
    pub call_trace: CallTrace,
    /// Name (prctl(2), PR_SET_NAME), zero-padded.
    pub name: Mutex<[u8; NAME_LEN]>,
    /// Class and level of its input and output (ioprio_set(2)).
    pub io_priority: AtomicU32,
    /// What it does before it returns to the program.
    pub put_off: PutOff,
    /// The socket in flight to be looked at after the call (`ipc::unix`).
    pub suspect: AtomicUsize,
    /// Where its last page fault was for which nothing was to be changed, and how many there were in a row (`mm::fault`).
    pub fruitless_fault: AtomicUsize,
    /// See above.
    pub fruitless_faults: AtomicU32,
    /// Its page faults that read from a file or made a page.
    pub faults: AtomicU64,
    /// What counts what it does.
    pub counted: CountedList,
    /// A debugger's part.
    pub debug: Debugged,
    /// How it is scheduled, as a word ([`Scheduling::to_word`]).
    scheduling: AtomicU32,
}

/// Where `coracle` finds in a guest's memory what it says of a thread, if the guest itself can't (cli/src/observe/outside/layout.rs).
#[used]
static OUTSIDE: [u64; 9] = [
    u64::from_le_bytes(*b"coracleT"),
    {
        // Of an `Arc`: two counts, and what it holds.
        let counts = 2 * size_of::<usize>();
        if align_of::<Thread>() > counts { align_of::<Thread>() as u64 } else { counts as u64 }
    },
    offset_of!(Thread, tid) as u64,
    // A lock has what it protects at its end.
    (offset_of!(Thread, name) + size_of::<Mutex<[u8; NAME_LEN]>>() - NAME_LEN) as u64,
    offset_of!(Thread, process) as u64,
    // From the beginning of a process's `Arc`.
    {
        let counts = 2 * size_of::<usize>();
        let start = if align_of::<Process>() > counts { align_of::<Process>() } else { counts };
        (start + offset_of!(Process, pid)) as u64
    },
    (offset_of!(Thread, task) + Task::TOP) as u64,
    (offset_of!(Thread, task) + Task::SAVED) as u64,
    // To the list of its threads, also from the beginning of a process's `Arc`.
    {
        let counts = 2 * size_of::<usize>();
        let start = if align_of::<Process>() > counts { align_of::<Process>() } else { counts };
        let lock = size_of::<Mutex<Vec<Arc<Thread>>>>() - size_of::<Vec<Arc<Thread>>>();
        (start + offset_of!(Process, threads) + lock) as u64
    },
];

/// Reasons to look closer before a thread returns to the program, in its task's [`Task::attention`].
pub struct Work<'a>(&'a AtomicU32);

impl Work<'_> {
    /// A signal may have to be delivered.
    pub const SIGNAL: u32 = 1 << 0;
    /// The thread must end (exit_group(2), exec(2), a fatal signal).
    pub const EXIT: u32 = 1 << 1;
    /// It runs on a CPU that it may not run on.
    pub const MIGRATE: u32 = 1 << 2;
    /// The signal mask that a call like sigsuspend(2) replaced is to be put back.
    pub const RESTORE_MASK: u32 = 1 << 3;
    /// The process is stopped (SIGSTOP).
    pub const STOP: u32 = 1 << 4;
    /// The call is still to be made: it needs all registers (`syscall::dispatch::put_off`).
    pub const CALL: u32 = 1 << 5;
    /// A socket in flight may have lost its last other reference with the call (`ipc::unix`).
    pub const COLLECT: u32 = 1 << 6;
    /// What is left of large files is to be freed (`fs::memory::remains`).
    pub const REMAINS: u32 = 1 << 7;
    /// A timer of the process's CPU time rests while all its threads sleep, and is to be looked at (`time::cpu_timer`).
    pub const CPU_TIMER: u32 = 1 << 8;
    /// A thread of a higher priority waits for its CPU (`sched`).
    pub const GIVE_WAY: u32 = 1 << 9;
    /// It has not run yet (`clone`).
    pub const NEW: u32 = 1 << 26;
    /// It is the kernel's own, which never enters a program (`storage`).
    pub const KERNEL: u32 = 1 << 10;
    /// The same, for the thread that answers requests (`control`).
    pub const CONTROL: u32 = 1 << 11;
    /// The same, for the thread that answers on a port (`metrics`).
    pub const METRICS: u32 = 1 << 15;
    /// There is work that was put off (`later`).
    pub const LATER: u32 = 1 << 12;
    /// It runs requests of its process, and never enters the program (`syscall::uring`).
    pub const WORKER: u32 = 1 << 14;
    /// The end of its call is to be noted (`syscall::trace`).
    pub const TRACE: u32 = 1 << 13;
    /// It is the kernel's own, which follows the image's schedule (`control::cron`).
    pub const CRON: u32 = 1 << 17;
    /// It is the kernel's own, which asks for the time (`outbound::ntp`).
    pub const NTP: u32 = 1 << 24;
    /// The same, which follows the host's clock (`clock_source`).
    pub const HOST_CLOCK: u32 = 1 << 21;
    /// The same, which sends lines to a syslog server (`outbound::syslog`).
    pub const SYSLOG: u32 = 1 << 25;
    /// It is held where it enters its program (`task::debug`).
    pub const HOLD: u32 = 1 << 16;
    /// It was preempted or moved in its program, and has restartable sequences (`task::rseq`).
    pub const RSEQ: u32 = 1 << 18;
    /// The call that is still to be made is to be looked at before (`syscall::watch`).
    pub const WATCHED: u32 = 1 << 19;
    /// It ends: a thread that joins it may have returned already, though it is still in the list of its process.
    pub const ENDS: u32 = 1 << 20;

    /// True if any work is to be done.
    #[inline(always)]
    pub fn is_some(&self) -> bool {
        self.0.load(Relaxed) != 0
    }
    /// True if any of `which` is to be done.
    #[inline(always)]
    pub fn any(&self, which: u32) -> bool {
        self.0.load(Acquire) & which != 0
    }
    /// Adds work.
    pub fn set(&self, which: u32) {
        self.0.fetch_or(which, SeqCst);
    }
    /// It is done.
    pub fn clear(&self, which: u32) {
        self.0.fetch_and(!which, SeqCst);
    }
}

impl HasTask for Thread {
    #[inline(always)]
    fn task(&self) -> &Task {
        &self.task
    }
}

impl Thread {
    /// A thread that will enter the program with `context`. It isn't started, nor listed in its process. ENOMEM.
    pub fn new(
        process: Arc<Process>,
        tid: i32,
        context: &UserContext,
        fs_base: u64,
        fpu_from_current: bool,
    ) -> Result<Arc<Thread>, Errno> {
        let task = Task::new(context, fs_base, fpu_from_current).ok_or(Errno::NOMEM)?;
        Self::with_task(process, tid, task, run_queue::all_cpus())
    }

    /// The thread of a CPU's boot stack. ENOMEM.
    pub fn idle(process: Arc<Process>) -> Result<Arc<Thread>, Errno> {
        Self::with_task(process, 0, Task::idle(), u64::MAX)
    }

    fn with_task(process: Arc<Process>, tid: i32, task: Task, affinity: u64) -> Result<Arc<Thread>, Errno> {
        let thread = try_arc(Thread {
            task,
            tid: AtomicI32::new(tid),
            own_tid: AtomicI32::new(tid),
            process,
            waiter: try_arc(Waiter::new())?,
            sched: SchedState::new(affinity)?,
            signals: Mutex::new(ThreadSignals::default()),
            clear_child_tid: AtomicUsize::new(0),
            robust_list: AtomicUsize::new(0),
            rseq: AtomicUsize::new(0),
            rseq_signature: AtomicU32::new(0),
            rseq_len: AtomicU32::new(0),
            memory_policy: AtomicU32::new(0),
            filters: CallFilters::default(),
            call_trace: CallTrace::default(),
            name: Mutex::new([0; NAME_LEN]),
            io_priority: AtomicU32::new(0),
            put_off: PutOff::default(),
            suspect: AtomicUsize::new(0),
            fruitless_fault: AtomicUsize::new(0),
            fruitless_faults: AtomicU32::new(0),
            faults: AtomicU64::new(0),
            counted: CountedList::default(),
            debug: Debugged::default(),
            scheduling: AtomicU32::new(Scheduling::default().to_word()),
        })?;
        thread.waiter.belongs_to(&thread);
        Ok(thread)
    }

    /// Thread id in the first PID namespace, by which the kernel knows it.
    #[inline]
    pub fn tid(&self) -> i32 {
        self.tid.load(Relaxed)
    }

    /// Gives it another id, under which it is to be listed, and that in its own PID namespace (execve(2)).
    pub(super) fn set_tid(&self, tid: i32, own_tid: i32) {
        self.tid.store(tid, Relaxed);
        self.own_tid.store(own_tid, Relaxed);
    }

    /// Its number in its own PID namespace (gettid(2)).
    #[inline]
    pub fn own_tid(&self) -> i32 {
        self.own_tid.load(Relaxed)
    }

    /// What is to be done before it returns to the program.
    #[inline(always)]
    pub fn work(&self) -> Work<'_> {
        Work(self.task.attention())
    }

    /// Adds work, and makes the thread see it soon: it is woken from an interruptible sleep, or taken out of the program. A worker
    /// gets no signals: it never comes to where they are delivered, and would sleep no more.
    pub fn add_work(self: &Arc<Self>, which: u32) {
        let is_worker = self.work().any(Work::WORKER);
        self.work().set(if is_worker { which & !Work::SIGNAL } else { which });
        sched::unpark(self);
        let cpu = self.sched.last_cpu();
        if cpu != cpu::id() && self.task.on_cpu() {
            cpu::kick(cpu);
        }
    }

    /// It was taken from its CPU while it was in its program, or goes on at another one.
    pub fn disturbed(&self) {
        if self.rseq.load(Relaxed) != 0 {
            self.work().set(Work::RSEQ);
        }
    }

    /// How it is scheduled.
    pub fn scheduling(&self) -> Scheduling {
        Scheduling::from_word(self.scheduling.load(Relaxed))
    }

    /// Schedules it so from its next slice on.
    pub fn set_scheduling(&self, scheduling: Scheduling) {
        let replace = |word| Some(scheduling.replace(word));
        let _ = self.scheduling.fetch_update(Relaxed, Relaxed, replace);
    }

    /// Raises it to a priority at which it runs at least (0: to none), and returns whether that changed anything.
    pub fn raise(&self, priority: u32) -> bool {
        let raise = |word| Some(Scheduling::raise(word, priority)).filter(|&raised| raised != word);
        self.scheduling.fetch_update(Relaxed, Relaxed, raise).is_ok()
    }

    /// Its priority among threads that want to run: 1 to 99 under SCHED_FIFO and SCHED_RR and where it was raised, else 0.
    #[inline(always)]
    pub fn rank(&self) -> u32 {
        Scheduling::rank(self.scheduling.load(Relaxed))
    }

    /// True if an interruptible sleep of this thread should end.
    #[inline]
    pub fn interrupted(&self) -> bool {
        self.work().any(Work::SIGNAL | Work::EXIT)
    }

    /// Its name.
    pub fn name(&self) -> ThreadName {
        ThreadName(*self.name.lock())
    }

    /// Takes over another thread's name.
    pub fn copy_name(&self, from: &Thread) {
        let name = *from.name.lock();
        *self.name.lock() = name;
    }

    /// Sets its name; what is too long is cut.
    pub fn set_name(&self, name: &[u8]) {
        let mut place = self.name.lock();
        *place = [0; NAME_LEN];
        let len = name.len().min(NAME_LEN - 1);
        place[..len].copy_from_slice(&name[..len]);
    }
}
