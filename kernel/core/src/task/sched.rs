//! Scheduling: who runs next, sleeping and waking.
//!
//! Each CPU has a queue of threads that want to run (`run_queue`). A CPU without work takes from the others. Only when a
//! thread waits for the CPU is a timer set that will interrupt the running one (`slice`): there is no tick. A thread that sleeps while
//! nobody else wants its CPU idles on its own stack, so that being woken there costs no switch.
use super::devices::devices;
use super::later;
use super::run_queue::{self, CPUS, Cpu, End, IDLE, all_cpus, first_has_rank, kick_helper, pop, push, steal};
use super::slice::{IN_IDLE_LOOP, NO_SLICE, OVER, arm_slice, arm_slice_of, end_slice};
use super::thread::{Thread, Work};
use crate::errno::Errno;
use crate::events::{self, bit, kind};
use crate::this;
use crate::time::timer;
use crate::time::wall::Deadline;
use alloc::sync::Arc;
use coracle_hal::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::*};
use coracle_hal::{cpu, irq, time};

/// How a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// Somebody called [`unpark`].
    Woken,
    /// The deadline passed.
    TimedOut,
    /// A signal is to be delivered.
    Interrupted,
}

/// The scheduler's part of a thread.
pub struct SchedState {
    /// [`AWAKE`], [`PARKED`], [`IDLING`] or [`NOTIFIED`].
    state: AtomicU8,
    /// The CPU it ran on last, or is to run on first.
    cpu: AtomicU32,
    /// CPUs it may run on, one bit each.
    affinity: AtomicU64,
    /// Nanoseconds it has run; while it runs, [`RUNNING`] and the time since boot at which it would have begun, had it run ever since.
    /// One word, so that other CPUs read a time that only grows.
    run_ns: AtomicU64,
    /// When the current stretch began.
    since_ns: AtomicU64,
    /// How often it left the CPU by itself, and how often it had to.
    pub switches: [AtomicU64; 2],
    /// How often it went to another CPU.
    pub migrations: AtomicU32,
    /// Room for it in every queue.
    _place: run_queue::Place,
    /// Its timer for sleeping with a deadline.
    pub sleep_timer: timer::SleepTimer,
    /// How much later than asked a sleep with a deadline may end, in nanoseconds, so that it needs no interrupt of its own
    /// (prctl(2), PR_SET_TIMERSLACK): now, and by default.
    pub timer_slack_ns: [AtomicU64; 2],
    /// What is to happen when its memory fails (prctl(2), PR_MCE_KILL).
    pub failure_policy: AtomicU8,
}

/// The first thread's timer slack (Linux's init task has the same).
const TIMER_SLACK_NS: u64 = 50_000;

/// The first thread's failure policy: PR_MCE_KILL_DEFAULT.
const FAILURE_POLICY: u8 = 2;

/// In [`SchedState::run_ns`]: the thread runs.
const RUNNING: u64 = 1 << 63;

/// Runs or waits for a CPU.
const AWAKE: u8 = 0;
/// Sleeps; whoever makes this NOTIFIED puts the thread into a queue.
const PARKED: u8 = 1;
/// Was woken, and hasn't taken notice yet.
const NOTIFIED: u8 = 2;
/// Sleeps, and its CPU idles on its stack: who makes this NOTIFIED need not queue it, for the idle loop looks.
const IDLING: u8 = 3;

impl SchedState {
    /// A thread that hasn't run. ENOMEM.
    pub fn new(affinity: u64) -> Result<Self, Errno> {
        let place = run_queue::Place::new()?;
        Ok(SchedState {
            _place: place,
            state: AtomicU8::new(AWAKE),
            cpu: AtomicU32::new(0),
            affinity: AtomicU64::new(affinity),
            run_ns: AtomicU64::new(0),
            since_ns: AtomicU64::new(0),
            switches: [AtomicU64::new(0), AtomicU64::new(0)],
            migrations: AtomicU32::new(0),
            sleep_timer: timer::SleepTimer::new()?,
            timer_slack_ns: [const { AtomicU64::new(TIMER_SLACK_NS) }; 2],
            failure_policy: AtomicU8::new(FAILURE_POLICY),
        })
    }
    /// CPUs it may run on.
    pub fn affinity(&self) -> u64 {
        self.affinity.load(Relaxed)
    }
    /// The CPU it runs on, or ran on last.
    pub fn last_cpu(&self) -> usize {
        self.cpu.load(Relaxed) as usize
    }
    /// It is at a CPU.
    #[inline(always)]
    fn is_at(&self, cpu: usize) {
        if self.last_cpu() != cpu {
            self.cpu.store(cpu as u32, Relaxed);
            self.migrations.fetch_add(1, Relaxed);
        }
    }
    /// Nanoseconds it has run without a pause, if it runs now.
    pub(super) fn stretch_ns(&self, now: u64) -> u64 {
        now.saturating_sub(self.since_ns.load(Relaxed))
    }
    /// Nanoseconds that it has run, without the current stretch.
    pub fn run_ns(&self) -> u64 {
        self.ran_ns(self.since_ns.load(Relaxed))
    }
    /// Whether it was woken, and has not noticed it yet.
    pub fn is_woken(&self) -> bool {
        self.state.load(Relaxed) == NOTIFIED
    }
    /// It begins to run, at `now`.
    #[inline(always)]
    fn begin(&self, now: u64) {
        self.since_ns.store(now, Relaxed);
        self.run_ns.store(RUNNING | now.saturating_sub(self.run_ns.load(Relaxed)), Relaxed);
    }
    /// It ends to run, at `now`. Returns how long the stretch was, in nanoseconds.
    #[inline(always)]
    fn end(&self, now: u64) -> u64 {
        self.run_ns.store(self.ran_ns(now), Relaxed);
        self.stretch_ns(now)
    }
    /// Nanoseconds it has run until `now`.
    #[inline(always)]
    fn ran_ns(&self, now: u64) -> u64 {
        let run_ns = self.run_ns.load(Relaxed);
        if run_ns & RUNNING == 0 { run_ns } else { now.saturating_sub(run_ns & !RUNNING) }
    }
    /// True while it sleeps (for /proc).
    pub fn is_parked(&self) -> bool {
        matches!(self.state.load(Relaxed), PARKED | IDLING)
    }
}

/// Switches of threads since boot.
static SWITCHES: AtomicU64 = AtomicU64::new(0);

/// Switches of threads since boot.
pub fn switches() -> u64 {
    SWITCHES.load(Relaxed)
}

/// Sleeps until [`unpark`] was called for this thread (also if it was called since the last park), the deadline
/// (nanoseconds since boot) or, if `interruptible`, a signal. Before it really sleeps it looks at the devices itself.
/// May say [`Wake::Woken`] without reason: look at what you wait for again.
pub fn park(deadline_ns: Option<u64>, interruptible: bool) -> Wake {
    this::with(|me| park_as(me, deadline_ns, interruptible))
}

/// [`park`] until a deadline that may follow the real-time clock. When that is set it is over: the caller comes again.
pub fn park_until(deadline: Deadline, interruptible: bool) -> Wake {
    let Deadline::Wall(_) = deadline else { return park(Some(deadline.boot_ns()), interruptible) };
    this::with(|me| {
        let timer = &me.sched.sleep_timer;
        // Before the clock is read: a change of it from then on wakes this thread.
        timer.follow_wall(true);
        let wake = park_as(me, Some(deadline.boot_ns()), interruptible);
        timer.follow_wall(false);
        match wake {
            Wake::TimedOut if time::now_ns() < deadline.boot_ns() => Wake::Woken,
            wake => wake,
        }
    })
}

fn park_as(me: &Arc<Thread>, deadline_ns: Option<u64>, interruptible: bool) -> Wake {
    let state = &me.sched.state;
    let stop = if interruptible { Work::SIGNAL | Work::EXIT } else { 0 };
    let mut slept = false;
    let wake = loop {
        if state.load(Acquire) == NOTIFIED {
            // Not a plain store: it could reach memory after the caller has looked again at what it waits for, and wipe
            // out a wake-up that came between.
            state.swap(AWAKE, AcqRel);
            break if slept && me.work().any(stop) { Wake::Interrupted } else { Wake::Woken };
        }
        if me.work().any(stop) {
            break Wake::Interrupted;
        }
        let here = CPUS.get();
        let now = time::now_ns();
        // With nobody else to run, what hasn't come yet is left to the idle loop.
        let others = here.waiting.load(Relaxed) != 0;
        if others || (devices().has_come)() {
            if (devices().poll)(now) && others {
                // The one that runs next may compute for long.
                (devices().settle)();
            }
            if state.load(Acquire) == NOTIFIED {
                continue;
            }
        }
        if let Some(deadline) = deadline_ns {
            if now >= deadline {
                break Wake::TimedOut;
            }
            me.sched.sleep_timer.set(me, deadline.saturating_add(timer_slack_ns(me)));
        }
        slept = true;
        let next = pop(here);
        let asleep = if next.is_some() { PARKED } else { IDLING };
        if state.compare_exchange(AWAKE, asleep, AcqRel, Acquire).is_err() {
            if let Some(next) = next {
                push(here, next, End::Front);
            }
            continue;
        }
        me.sched.switches[0].fetch_add(1, Relaxed);
        events::note(bit::SCHED, || (kind::PARK, 0, deadline_ns.unwrap_or(u64::MAX), who(me)));
        match next {
            Some(next) => switch_to(me, next, now),
            None => idle_as(me, here, now),
        }
    };
    if slept && deadline_ns.is_some() {
        me.sched.sleep_timer.clear();
        if wake == Wake::Woken && deadline_ns.is_some_and(|deadline| me.sched.sleep_timer.fired(deadline)) {
            return Wake::TimedOut;
        }
    }
    wake
}

/// [`park`] for a thread that may be deep in its stack, as one that waits for a disk is: it leaves the devices, and the idling, to the CPU's
/// idle thread, which has a stack of its own. Signals do not end it.
pub fn park_aside(deadline_ns: Option<u64>) -> Wake {
    this::with(|me| {
        let state = &me.sched.state;
        loop {
            if state.load(Acquire) == NOTIFIED {
                // As in `park_as`.
                state.swap(AWAKE, AcqRel);
                return Wake::Woken;
            }
            let now = time::now_ns();
            if let Some(deadline) = deadline_ns {
                if now >= deadline {
                    me.sched.sleep_timer.clear();
                    return Wake::TimedOut;
                }
                me.sched.sleep_timer.set(me, deadline);
            }
            let next = another();
            if state.compare_exchange(AWAKE, PARKED, AcqRel, Acquire).is_err() {
                let here = CPUS.get();
                if !here.idle.get().is_some_and(|idle| Arc::ptr_eq(idle, &next)) {
                    push(here, next, End::Front);
                }
                continue;
            }
            me.sched.switches[0].fetch_add(1, Relaxed);
            events::note(bit::SCHED, || (kind::PARK, 0, deadline_ns.unwrap_or(u64::MAX), who(me)));
            switch_to(me, next, now);
        }
    })
}

/// A thread in an event: its process in the upper half of the word.
pub fn who(thread: &Thread) -> u64 {
    match thread.tid() {
        0 if thread.work().any(Work::CONTROL) => kind::thread::CONTROL,
        0 if thread.work().any(Work::KERNEL) => kind::thread::STORAGE,
        tid => (thread.process.pid as u64) << 32 | tid as u32 as u64,
    }
}

/// How late a sleep of `thread` may end. Real-time policies have no slack (prctl(2)).
fn timer_slack_ns(thread: &Thread) -> u64 {
    if thread.rank() != 0 { 0 } else { thread.sched.timer_slack_ns[0].load(Relaxed) }
}

/// Lets `thread` go on.
#[inline]
pub fn unpark(thread: &Arc<Thread>) {
    let before = thread.sched.state.swap(NOTIFIED, SeqCst);
    events::note(bit::SCHED, || (kind::WAKE, before.into(), who(thread), 0));
    match before {
        PARKED => enqueue(thread.clone(), thread.sched.last_cpu()),
        IDLING => wake_idle(thread.sched.last_cpu()),
        _ => {}
    }
}

/// A thread on whose stack `target` idles has become NOTIFIED. The CPU says that it idles before it looks at the state for
/// the last time, and we changed the state before we look whether it idles: one sees the other. (It may have noticed
/// already, and the thread be elsewhere: then nobody minds the interrupt.)
fn wake_idle(target: usize) {
    if target != cpu::id() && IDLE.load(SeqCst) & 1 << target != 0 {
        cpu::kick(target);
    }
}

/// Puts a new thread into the queue of the CPU with the least work.
pub fn start(thread: Arc<Thread>) {
    let affinity = thread.sched.affinity();
    let idle = IDLE.load(Relaxed) & affinity;
    let target = if idle != 0 {
        idle.trailing_zeros() as usize
    } else {
        (0..cpu::count())
            .filter(|cpu| affinity & 1 << cpu != 0)
            .min_by_key(|&cpu| CPUS.of(cpu).waiting.load(Relaxed))
            .unwrap_or(0)
    };
    thread.sched.cpu.store(target as u32, Relaxed);
    enqueue(thread, target);
}

/// Queues `thread` at the CPU `target`, and makes sure that it is looked for there.
fn enqueue(thread: Arc<Thread>, target: usize) {
    let affinity = thread.sched.affinity();
    let rank = thread.rank();
    thread.sched.is_at(target);
    let before = push(CPUS.of(target), thread, End::Back);
    if rank != 0 {
        hurry(target, rank);
    }
    if cpu::count() == 1 {
        return arm_slice();
    }
    let here = cpu::id();
    let idle = IDLE.load(SeqCst);
    if target != here && idle & 1 << target != 0 {
        return cpu::kick(target);
    }
    if target == here {
        arm_slice();
    } else if CPUS.of(target).slice_end.load(Relaxed) == NO_SLICE {
        // It has to set its own timer.
        cpu::kick(target);
    }
    // Somebody waits behind the one that runs and the one before: an idle CPU can do better at once.
    if before > 0 {
        kick_helper(affinity & !(1 << here));
    }
}

/// Ends the slice of the thread that runs on the CPU `target` if one of a higher rank, `rank`, waits there: that runs at once.
#[cold]
#[inline(never)]
fn hurry(target: usize, rank: u32) {
    let cpu = CPUS.of(target);
    if cpu.slice_end.load(Relaxed) == IN_IDLE_LOOP {
        return;
    }
    if target != cpu::id() {
        // It compares the ranks itself.
        cpu.slice_end.store(OVER, Relaxed);
        cpu::kick(target);
    } else if this::with(|me| me.rank() < rank) {
        cpu.slice_end.store(OVER, Relaxed);
        // Before it goes on in the program, whose next instruction may be the one that must not come first.
        this::with(|me| me.work().set(Work::GIVE_WAY));
    }
}

/// Raises `thread` to a priority at least (futex(2), FUTEX_LOCK_PI), also where it waits for its CPU.
pub fn raise(thread: &Arc<Thread>, priority: u32) {
    if thread.raise(priority) {
        run_queue::raised(CPUS.of(thread.sched.last_cpu()), thread);
    }
}

/// Lets the others that wait for this CPU run first (sched_yield(2)).
pub fn yield_now() {
    let now = time::now_ns();
    (devices().poll)(now);
    this::with(|me| yield_as(me, now));
}

pub(super) fn yield_as(me: &Arc<Thread>, now: u64) {
    yield_to(me, me.rank(), now);
}

/// Lets those that wait for this CPU run first, if the first of them has at least this rank; returns whether it did.
pub(super) fn yield_to(me: &Arc<Thread>, rank: u32, now: u64) -> bool {
    let here = CPUS.get();
    if rank != 0 && !first_has_rank(here, rank) {
        return false;
    }
    if let Some(next) = pop(here) {
        push(here, me.clone(), End::Back);
        switch_to(me, next, now);
    }
    true
}

/// Changes where `thread` may run; it moves at its next return to the program.
pub fn set_affinity(thread: &Arc<Thread>, cpus: u64) {
    thread.sched.affinity.store(cpus, Relaxed);
    if cpus & 1 << thread.sched.last_cpu() == 0 {
        thread.add_work(Work::MIGRATE);
    }
}

/// A new thread may run where its maker may, and has the maker's timer slack for its own and its default, and its failure policy (prctl(2)).
pub fn inherit(child: &Thread, parent: &Thread) {
    child.sched.affinity.store(parent.sched.affinity(), Relaxed);
    let slack_ns = parent.sched.timer_slack_ns[0].load(Relaxed);
    for own in &child.sched.timer_slack_ns {
        own.store(slack_ns, Relaxed);
    }
    child.sched.failure_policy.store(parent.sched.failure_policy.load(Relaxed), Relaxed);
}

/// Moves the running thread to a CPU it may run on.
pub fn migrate(me: &Arc<Thread>) {
    let cpus = me.sched.affinity() & all_cpus();
    if cpus == 0 || cpus & 1 << cpu::id() != 0 {
        return;
    }
    // Chosen before the other CPU can take us: two CPUs that send a thread to each other must not each wait for the
    // other to leave the stack of the thread that it took.
    let next = another();
    let target = cpus.trailing_zeros();
    me.sched.is_at(target as usize);
    me.disturbed();
    push(CPUS.of(target as usize), me.clone(), End::Back);
    cpu::kick(target as usize);
    switch_to(me, next, time::now_ns());
}

/// The thread to go on with when the running one is not in this CPU's queue.
fn another() -> Arc<Thread> {
    let here = CPUS.get();
    match pop(here).or_else(steal).or_else(|| here.idle.get().cloned()) {
        Some(next) => next,
        None => unreachable!("a CPU without an idle thread"),
    }
}

/// Leaves the running thread for ever.
pub fn exit() -> ! {
    this::with(|me| switch_to(me, another(), time::now_ns()));
    unreachable!("a thread that exited was scheduled")
}

/// Nanoseconds of CPU that `thread` has used.
pub fn cpu_time_ns(thread: &Thread) -> u64 {
    thread.sched.ran_ns(time::now_ns())
}

/// Lets `next` run in place of the running thread, `me`.
pub(super) fn switch_to(me: &Arc<Thread>, next: Arc<Thread>, now: u64) {
    if Arc::ptr_eq(me, &next) {
        return;
    }
    let here = CPUS.get();
    here.debt.count(me, me.sched.end(now));
    switch_accounted(next, here, now);
}

/// Switches; the running thread's time has been counted.
fn switch_accounted(next: Arc<Thread>, here: &Cpu, now: u64) {
    events::note(bit::SCHED, || {
        let (left, state) =
            this::with(|me| (who(me), u16::from(matches!(me.sched.state.load(Relaxed), PARKED | NOTIFIED))));
        (kind::SWITCH, state, who(&next), left)
    });
    here.debt.resume(&next);
    // Another CPU may still be leaving its stack, and count its time before it has.
    while next.task.on_cpu() && !this::with(|me| Arc::ptr_eq(me, &next)) {
        cpu::relax();
    }
    next.sched.begin(now);
    next.sched.is_at(cpu::id());
    if next.process.memory_id() != here.memory.load(Relaxed) {
        use_memory(&next);
    }
    SWITCHES.fetch_add(1, Relaxed);
    if here.waiting.load(Relaxed) != 0 {
        // The next one, which may go straight to the program, has to make room in its turn.
        arm_slice_of(&next);
    }
    this::switch_to(next);
}

/// Makes this CPU use the page tables of `thread`'s process.
pub fn use_memory(thread: &Thread) {
    let memory = thread.process.memory();
    memory.space.activate();
    CPUS.get().memory.store(memory.id, Relaxed);
}

/// Whether the devices, which have something to do at `deadline`, have it to do at `now`.
#[inline(always)]
fn is_due(deadline: Option<u64>, now: u64) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

/// Idles on the stack of `me`, which is [`IDLING`] (or is the idle thread), until it is woken or there is another to run;
/// returns when `me` is to go on. `start`: the time.
fn idle_as(me: &Arc<Thread>, here: &Cpu, start: u64) {
    me.sched.end(start);
    here.debt.forget();
    events::note(bit::SCHED, || (kind::IDLE, 0, who(me), 0));
    let (mut now, mut watched) = (start, true);
    let bit = 1u64 << here.number;
    let state = &me.sched.state;
    here.slice_end.store(IN_IDLE_LOOP, Relaxed);
    let next = loop {
        if state.load(Acquire) == NOTIFIED {
            break None;
        }
        let queued = pop(here);
        if let Some(next) = if queued.is_some() { queued } else { steal() } {
            // From here on who wakes us has to queue us. The idle thread is never woken.
            if state.compare_exchange(IDLING, PARKED, AcqRel, Acquire) == Err(NOTIFIED) {
                push(here, next, End::Front);
                break None;
            }
            break Some(next);
        }
        IDLE.fetch_or(bit, SeqCst);
        let mut deadline = (devices().next_deadline)();
        let mut look = is_due(deadline, now);
        if !look {
            // Devices that have got something say so when they are asked for interrupts.
            (look, watched) = (devices().arm)();
        }
        while !look {
            // An earlier interrupt that nobody needs any more is left to come: taking it back and setting it again with
            // each request would cost more.
            if let Some(deadline) = deadline {
                time::interrupt_by(deadline);
            }
            cpu::wait_for_interrupt(|| here.waiting.load(SeqCst) == 0 && state.load(SeqCst) != NOTIFIED);
            let timer = timer::run_expired();
            now = time::now_ns();
            // A device that has interrupted us doesn't do so again while the next thread runs.
            look = irq::any_pending();
            if !timer {
                break;
            }
            deadline = (devices().next_deadline)();
            look |= is_due(deadline, now);
            if here.waiting.load(Relaxed) != 0 || state.load(Relaxed) == NOTIFIED {
                break;
            }
        }
        IDLE.fetch_and(!bit, SeqCst);
        if look && !(devices().poll_idle)(now) {
            watched = false;
        }
    };
    if !watched {
        (devices().guard)(now);
    }
    here.idle_ns.fetch_add(now.saturating_sub(start), Relaxed);
    let crowded = end_slice(here);
    match next {
        Some(next) => return switch_accounted(next, here, now),
        None => me.sched.begin(now),
    }
    events::note(bit::SCHED, || (kind::RESUME, 0, who(me), 0));
    if crowded {
        arm_slice();
        kick_helper(u64::MAX);
    }
}

/// Makes the stack that runs now this CPU's idle thread, and idles for ever.
pub fn run_idle(idle: Arc<Thread>) -> ! {
    idle.sched.cpu.store(cpu::id() as u32, Relaxed);
    CPUS.get().idle.call_once(|| idle.clone());
    this::adopt(idle.clone());
    let here = CPUS.get();
    later::settle_boot();
    loop {
        idle_as(&idle, here, time::now_ns());
        later::settle();
    }
}
