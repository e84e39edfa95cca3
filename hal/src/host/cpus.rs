//! The CPUs, as threads of the host, and the clock.
use super::program;
use super::schedule::{self, BROKEN, Scheduler};
use crate::arch::{base, switch};
use crate::cpu::COUNT;
use crate::irq;
use crate::kernel::Kernel;
use crate::local::Local;
use crate::mm::stack;
use crate::task;
use crate::{time, tlb};
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};
use std::any::Any;
use std::boxed::Box;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::vec::Vec;

/// CPUs of the machine: two for a test's threads, and one that looks for work.
pub const CPUS: usize = 3;

/// Ticks of the counter in a nanosecond, by the rate that the clock starts with.
const TICKS_PER_NS: u64 = 2;
/// How far the clock goes on with each look at it, in nanoseconds.
const LOOK_NS: u64 = 20;
/// [`Cpu::deadline`]: the timer is off.
const OFF: u64 = u64::MAX;

/// Nanoseconds since the machine was started.
static NOW: AtomicU64 = AtomicU64::new(0);

/// The clock's counter.
pub(crate) fn ticks() -> u64 {
    NOW.fetch_add(LOOK_NS, Ordering::Relaxed) * TICKS_PER_NS
}

/// Moves the clock on, by nanoseconds. Timers that are due then interrupt.
pub fn advance(ns: u64) {
    NOW.fetch_add(ns, Ordering::SeqCst);
    for cpu in 0..CPUS {
        interrupt(cpu);
    }
}

/// One CPU.
struct Cpu {
    number: usize,
    local: &'static Local,
    /// What its timer is set to, or [`OFF`].
    deadline: AtomicU64,
    /// The stack pointer of its thread, while it runs the kernel.
    host: Cell<usize>,
    /// The kernel's stack pointer between two runs; 0 before the first.
    kernel: Cell<usize>,
    /// What wakes its thread, in this run.
    wake: Mutex<Option<schedule::Waker>>,
}

// SAFETY: the cells are used by the CPU's own thread alone.
unsafe impl Sync for Cpu {}
// SAFETY: nothing in it is bound to a thread.
unsafe impl Send for Cpu {}

/// The machine: its CPUs, and the run.
struct Machine {
    cpus: Vec<Cpu>,
    run: Mutex<Run>,
}

/// What a run is about.
#[derive(Default)]
struct Run {
    /// What CPU 0 does first.
    job: Option<Box<dyn FnOnce() + Send>>,
    /// CPUs that wait for an interrupt, one bit each.
    waiting: u64,
    /// How many times a CPU has ended its wait for an interrupt that had come.
    wakes: u64,
    /// The test is at its end.
    is_finished: bool,
    /// CPUs that wait leave the run.
    stops: bool,
    /// Why it failed.
    failure: Option<Box<dyn Any + Send>>,
}

static MACHINE: OnceLock<Machine> = OnceLock::new();

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make() -> Machine {
    super::memory::start();
    let cpu = |number| Cpu {
        number,
        local: Box::leak(Box::new(Local::new())),
        deadline: AtomicU64::new(OFF),
        host: Cell::new(0),
        kernel: Cell::new(0),
        wake: Mutex::new(None),
    };
    let cpus: Vec<Cpu> = (0..CPUS).map(cpu).collect();
    for cpu in &cpus {
        Local::announce(cpu.local, cpu.number);
    }
    COUNT.store(CPUS, Ordering::SeqCst);
    Machine { cpus, run: Mutex::new(Run::default()) }
}

/// Runs the machine: CPU 0 does `job`, as if it were an interrupt of its idle loop, and then all CPUs do what there is to do. Returns when
/// [`finish`] was called and no CPU has anything to do. In the first run of a process the kernel boots. `has_points`: the scheduler is to be
/// asked wherever another CPU may go on.
///
/// # Panics
/// If the kernel or a program panics, or when nothing can happen any more and [`finish`] was not called.
pub fn run<K: Kernel>(
    scheduler: &'static dyn Scheduler,
    has_points: bool,
    job: impl FnOnce() + Send + 'static,
) {
    /// Tests of one process share the machine.
    static RUNS: Mutex<()> = Mutex::new(());
    let _one_at_a_time = lock(&RUNS);
    assert!(
        !BROKEN.load(Ordering::SeqCst),
        "a test has failed on this machine before: run this one by itself"
    );
    program::set_kernel::<K>();
    schedule::choose(scheduler, has_points);
    let machine = MACHINE.get_or_init(make);
    *lock(&machine.run) = Run { job: Some(Box::new(job)), ..Run::default() };
    let threads: Vec<_> = machine.cpus.iter().map(|cpu| schedule::spawn(|| enter(cpu))).collect();
    let mut failure = None;
    for thread in threads {
        failure = thread().err().or(failure);
    }
    let failure = lock(&machine.run).failure.take().or(failure);
    if let Some(failure) = failure {
        BROKEN.store(true, Ordering::SeqCst);
        std::panic::resume_unwind(failure);
    }
}

/// The test is at its end: the machine stops when its CPUs have nothing to do.
pub fn finish() {
    if let Some(machine) = MACHINE.get() {
        lock(&machine.run).is_finished = true;
    }
}

/// The running thread becomes a CPU until the run ends.
fn enter(cpu: &'static Cpu) {
    // SAFETY: each CPU has one thread in a run.
    unsafe { base::set(cpu.local) };
    *lock(&cpu.wake) = Some(schedule::waker());
    if cpu.kernel.get() == 0 {
        let top = stack::alloc().expect("the host has memory");
        // SAFETY: a fresh stack.
        cpu.kernel.set(unsafe { task::prepare_boot(top) });
    }
    // SAFETY: the stack is the boot stack, or the one that `leave` left; this CPU's thread is on no other.
    unsafe { switch::switch_stacks(cpu.host.as_ptr(), cpu.kernel.get(), core::ptr::null()) };
    base::leave();
    *lock(&cpu.wake) = None;
}

/// The CPU that runs.
fn here() -> &'static Cpu {
    let machine = MACHINE.get().expect("only CPUs of the machine come here");
    &machine.cpus[Local::get().id.get()]
}

/// This CPU leaves the run; the next one goes on here.
fn leave(cpu: &Cpu) {
    // SAFETY: the thread's own stack was left by `enter`.
    unsafe { switch::switch_stacks(cpu.kernel.as_ptr(), cpu.host.get(), core::ptr::null()) };
}

/// What runs on this CPU has panicked: the run is over, and no other comes after it.
pub(super) fn fail(failure: Box<dyn Any + Send>) -> ! {
    if let Some(machine) = MACHINE.get() {
        lock(&machine.run).failure.get_or_insert(failure);
        stop(machine);
    }
    BROKEN.store(true, Ordering::SeqCst);
    abandon()
}

/// This CPU leaves a run that has failed, for ever.
pub(super) fn abandon() -> ! {
    loop {
        leave(here());
    }
}

/// Has all CPUs leave the run when they wait.
fn stop(machine: &Machine) {
    lock(&machine.run).stops = true;
    machine.cpus.iter().for_each(wake);
}

fn wake(cpu: &Cpu) {
    let waker = lock(&cpu.wake).clone();
    if let Some(waker) = waker {
        schedule::wake(&waker);
    }
}

/// A CPU's marks have changed: it looks at them soon.
pub(crate) fn interrupt(cpu: usize) {
    schedule::point();
    if let Some(cpu) = MACHINE.get().and_then(|machine| machine.cpus.get(cpu)) {
        wake(cpu);
    }
}

/// Sets a CPU's timer.
pub(crate) fn arm(local: &Local, deadline: u64) {
    if let Some(machine) = MACHINE.get()
        && let Some(cpu) = machine.cpus.get(local.id.get())
    {
        cpu.deadline.store(deadline, Ordering::SeqCst);
    }
}

impl Cpu {
    /// Whether an interrupt waits for this CPU.
    fn is_interrupted(&self) -> bool {
        let local = self.local;
        local.kicked.load(Ordering::SeqCst)
            || local.flush_asked.load(Ordering::SeqCst) != local.flush_done.load(Ordering::SeqCst)
            || self.deadline.load(Ordering::SeqCst) <= NOW.load(Ordering::SeqCst)
            || irq::any_pending()
    }

    /// Takes the interrupts that wait for this CPU, the running one; returns whether there were any.
    fn take(&self) -> bool {
        let any = self.is_interrupted();
        if any {
            self.local.kicked.swap(false, Ordering::SeqCst);
            tlb::answer();
            if self.deadline.load(Ordering::SeqCst) <= NOW.load(Ordering::SeqCst) {
                self.deadline.store(OFF, Ordering::SeqCst);
                time::timer_fired();
            }
        }
        any
    }
}

/// Takes the interrupts that wait for this CPU; returns whether there were any.
pub(crate) fn take_interrupt() -> bool {
    schedule::point();
    here().take()
}

/// Waits for an interrupt, and takes it.
pub(crate) fn halt() {
    let cpu = here();
    let Some(machine) = MACHINE.get() else { return };
    loop {
        schedule::point();
        let job = if cpu.number == 0 { lock(&machine.run).job.take() } else { None };
        if let Some(job) = job {
            return job();
        }
        if cpu.take() {
            return;
        }
        if !wait(machine, cpu) {
            leave(cpu);
        }
    }
}

/// Sleeps until the CPU may have been interrupted. False: the run is over.
fn wait(machine: &Machine, cpu: &Cpu) -> bool {
    let bit = 1 << cpu.number;
    {
        let mut run = lock(&machine.run);
        if run.stops {
            return false;
        }
        run.waiting |= bit;
        let all_wait = run.waiting == (1 << CPUS) - 1;
        if all_wait {
            run.waiting &= !bit;
            let (is_finished, wakes) = (run.is_finished, run.wakes);
            drop(run);
            return nothing_to_do(machine, is_finished, wakes);
        }
    }
    schedule::park();
    // It may have been woken for nothing, which a scheduler of a test's does as often as it likes.
    let is_interrupted = cpu.is_interrupted();
    let mut run = lock(&machine.run);
    run.waiting &= !bit;
    run.wakes += u64::from(is_interrupted);
    true
}

/// No CPU has anything to do at present, unless one has been interrupted since `wakes` was read. Returns whether the run goes on.
fn nothing_to_do(machine: &Machine, is_finished: bool, wakes: u64) -> bool {
    // The clock may have come to what a CPU's timer is set to while that CPU slept and others ran.
    let interrupted: Vec<_> = machine.cpus.iter().filter(|cpu| cpu.is_interrupted()).collect();
    // A CPU says that it ends its wait before it takes its interrupt, which was not seen here if it has taken it meanwhile.
    if !interrupted.is_empty() || lock(&machine.run).wakes != wakes {
        interrupted.into_iter().for_each(wake);
        schedule::spin();
        return true;
    }
    let deadline = machine.cpus.iter().map(|cpu| cpu.deadline.load(Ordering::SeqCst)).min().unwrap_or(OFF);
    if is_finished {
        stop(machine);
    } else if deadline != OFF {
        NOW.fetch_max(deadline, Ordering::SeqCst);
        machine.cpus.iter().filter(|cpu| cpu.is_interrupted()).for_each(wake);
    } else {
        panic!(
            "all CPUs wait and no timer is set, but the test is not at its end: it was killed, or a wake-up is lost"
        );
    }
    !is_finished
}
