//! The queues of threads that want to run, one per CPU, and which CPUs have nothing to do.
use super::slice::{Debt, NO_SLICE};
use super::thread::Thread;
use crate::errno::Errno;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use coracle_fallible::Room;
use coracle_fallible::prelude::*;
use coracle_hal::cpu;
use coracle_hal::once::Once;
use coracle_hal::percpu::PerCpu;
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*, fence};

/// One CPU's share of the scheduler.
pub(super) struct Cpu {
    pub(super) number: usize,
    pub(super) queue: Mutex<VecDeque<Arc<Thread>>>,
    /// Length of `queue`, to be looked at without its lock.
    pub(super) waiting: AtomicUsize,
    /// When the running thread has to make room; [`NO_SLICE`] if no timer was set for that,
    /// [`IN_IDLE_LOOP`](super::slice::IN_IDLE_LOOP) if none is needed.
    pub(super) slice_end: AtomicU64,
    /// Of those that ran before their turn.
    pub(super) debt: Debt,
    /// For how long threads with a rank have run while others waited, since one of those had its turn, in nanoseconds.
    pub(super) urgent_ns: AtomicU64,
    /// [`crate::mm::memory::Memory::id`] of the page tables in use.
    pub(super) memory: AtomicU64,
    /// Runs when nothing else can (the stack of a thread that exits can't be idled on).
    pub(super) idle: Once<Arc<Thread>>,
    /// Nanoseconds spent idle.
    pub(super) idle_ns: AtomicU64,
}

pub(super) static CPUS: PerCpu<Cpu> = PerCpu::new(|number| Cpu {
    number,
    queue: Mutex::new(VecDeque::new()),
    waiting: AtomicUsize::new(0),
    slice_end: AtomicU64::new(NO_SLICE),
    debt: Debt::new(),
    urgent_ns: AtomicU64::new(0),
    memory: AtomicU64::new(0),
    idle: Once::new(),
    idle_ns: AtomicU64::new(0),
});

/// CPUs that wait for an interrupt, one bit each.
pub(super) static IDLE: AtomicU64 = AtomicU64::new(0);
/// CPUs with threads in their queue, one bit each: hints for those that have none.
static CROWDED: AtomicU64 = AtomicU64::new(0);

/// All CPUs there are, one bit each.
pub fn all_cpus() -> u64 {
    u64::MAX >> (64 - cpu::count().clamp(1, 64))
}

/// Nanoseconds that `cpu` was idle.
pub fn idle_ns(cpu: usize) -> u64 {
    CPUS.of(cpu).idle_ns.load(Relaxed)
}

/// Threads that run or want to, on all CPUs.
pub fn runnable() -> usize {
    let idle = IDLE.load(Relaxed);
    (0..cpu::count()).map(|cpu| CPUS.of(cpu).waiting.load(Relaxed) + usize::from(idle & 1 << cpu == 0)).sum()
}

/// Room for all threads in the queues of all CPUs, so that queueing one never takes memory.
static ROOM: Room = Room::new();

/// A thread's share of that room.
pub(super) struct Place;

impl Place {
    /// Makes the room. ENOMEM.
    pub(super) fn new() -> Result<Place, Errno> {
        ROOM.take(|threads| {
            (0..cpu::possible()).try_for_each(|cpu| CPUS.of(cpu).queue.lock().make_room_for(threads))
        })?;
        Ok(Place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The queues keep their memory, a few bytes for each thread that there was.
        ROOM.give(|_| {});
    }
}

/// An end of a queue.
pub(super) enum End {
    Front,
    Back,
}

/// Queues `thread` at `cpu`; gives how many were there before.
pub(super) fn push(cpu: &Cpu, thread: Arc<Thread>, end: End) -> usize {
    let mut queue = cpu.queue.lock();
    let before = queue.len();
    match end {
        End::Front => queue.push_front_reserved(thread),
        End::Back => {
            let rank = thread.rank();
            queue.push_back_reserved(thread);
            if rank != 0 {
                bring_forward(&mut queue, rank);
            }
        }
    }
    cpu.waiting.store(before + 1, SeqCst);
    if before == 0 && cpu::count() > 1 {
        CROWDED.fetch_or(1 << cpu.number, Relaxed);
    }
    before
}

/// Moves the last thread, whose rank is given, before those of lower ranks.
#[cold]
fn bring_forward(queue: &mut VecDeque<Arc<Thread>>, rank: u32) {
    let mut index = queue.len() - 1;
    while index > 0 && queue[index - 1].rank() < rank {
        queue.swap(index, index - 1);
        index -= 1;
    }
}

/// If `thread`, whose rank became higher, waits in the queue of `cpu`: moves it forward.
pub(super) fn raised(cpu: &Cpu, thread: &Arc<Thread>) {
    let mut queue = cpu.queue.lock();
    let index = queue.iter().position(|other| Arc::ptr_eq(other, thread));
    if let Some(thread) = index.and_then(|index| queue.remove(index)) {
        let rank = thread.rank();
        queue.push_back_reserved(thread);
        bring_forward(&mut queue, rank);
    }
}

/// Puts the first thread without a rank at the front of the queue of `cpu`; false if there is none.
pub(super) fn bring_one_without_rank(cpu: &Cpu) -> bool {
    let mut queue = cpu.queue.lock();
    let found = queue.iter().position(|thread| thread.rank() == 0).and_then(|index| queue.remove(index));
    found.map(|thread| queue.push_front_reserved(thread)).is_some()
}

/// Whether the first thread in the queue of `cpu` has at least this rank.
pub(super) fn first_has_rank(cpu: &Cpu, rank: u32) -> bool {
    cpu.queue.lock().front().is_some_and(|first| first.rank() >= rank)
}

/// Takes the first thread from the queue of `cpu`.
#[inline(always)]
pub(super) fn pop(cpu: &Cpu) -> Option<Arc<Thread>> {
    if cpu.waiting.load(Relaxed) == 0 { None } else { pop_first(cpu) }
}

fn pop_first(cpu: &Cpu) -> Option<Arc<Thread>> {
    let mut queue = cpu.queue.lock();
    let thread = queue.pop_front();
    taken(cpu, queue.len());
    thread
}

/// A thread was taken from the queue of `cpu`, which is locked and has `left` more.
fn taken(cpu: &Cpu, left: usize) {
    cpu.waiting.store(left, SeqCst);
    if left == 0 && cpu::count() > 1 {
        CROWDED.fetch_and(!(1 << cpu.number), Relaxed);
    }
}

/// Takes a thread that waits for another CPU.
#[inline(always)]
pub(super) fn steal() -> Option<Arc<Thread>> {
    let crowded = CROWDED.load(Relaxed);
    if crowded == 0 { None } else { steal_from(crowded) }
}

fn steal_from(mut crowded: u64) -> Option<Arc<Thread>> {
    let here = cpu::id();
    crowded &= !(1 << here);
    while crowded != 0 {
        let victim = CPUS.of(crowded.trailing_zeros() as usize);
        crowded &= crowded - 1;
        let Some(mut queue) = victim.queue.try_lock() else { continue };
        // A thread may have been queued while its CPU still stands on its stack.
        let found = queue.iter().rposition(|thread| {
            thread.sched.affinity() & 1 << here != 0
                && !coracle_hal::kernel::HasTask::task(&**thread).on_cpu()
        });
        if let Some(thread) = found.and_then(|index| queue.remove(index)) {
            taken(victim, queue.len());
            drop(queue);
            thread.disturbed();
            return Some(thread);
        }
    }
    None
}

/// True if another CPU is idle, or about to wait for an interrupt. It was not, if it finds free what the caller has let go
/// of before this call: the CPU says that it idles before it looks.
#[inline]
pub fn others_idle() -> bool {
    if cpu::count() == 1 {
        return false;
    }
    fence(SeqCst);
    IDLE.load(Relaxed) & !(1 << cpu::id()) != 0
}

/// Makes an idle CPU look at the devices, and for work.
pub fn kick_idle() {
    kick_helper(!(1 << cpu::id()));
}

/// Asks an idle CPU, one of `cpus`, to look for work in the queues of the others.
pub(super) fn kick_helper(cpus: u64) {
    let helpers = IDLE.load(Relaxed) & cpus;
    if helpers != 0 {
        cpu::kick(helpers.trailing_zeros() as usize);
    }
}
