//! Threads of a process that run its requests, and never its program.
use super::run::{has_submitter, run_queued, submit};
use alloc::sync::{Arc, Weak};
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::{Events, PollSource};
use coracle_core::lock::Mutex;
use coracle_core::task::exit::exit_thread;
use coracle_core::task::later;
use coracle_core::task::long_call;
use coracle_core::task::process::{ExitStatus, new_id};
use coracle_core::task::sched::{self, Wake};
use coracle_core::task::signal::bit;
use coracle_core::task::thread::{Thread, Work};
use coracle_hal::context::UserContext;
use coracle_hal::sync::atomic::Ordering::SeqCst;
use coracle_hal::time;
use coracle_ipc::uring::{Ring, pool};
use coracle_sorted_map::SortedMap;
use coracle_uring::at;
use linux_raw_sys::general::SIGKILL;
use linux_raw_sys::io_uring as abi;

/// How long a worker has nothing to do before it ends.
const IDLE_NS: u64 = 5_000_000_000;

/// How often a thread looks for submissions before it wants to be woken. It does not spin, so that an idle ring leaves the CPU to others.
const LOOK_EVERY_NS: u64 = 200_000;

/// Signals that a worker blocks: all but SIGKILL, which ends its process.
const BLOCKED_SIGNALS: u64 = !bit(SIGKILL);

/// The rings whose submissions a thread looks for, by the thread's id, and how long in vain (nanoseconds).
static SUBMITTERS: Mutex<SortedMap<i32, (Weak<Ring>, u64)>> = Mutex::new(SortedMap::new());

/// Makes sure that the process has a worker. ENOMEM.
pub fn ensure(thread: &Arc<Thread>) -> Result<(), Errno> {
    if pool::of(&thread.process)?.has_worker() { Ok(()) } else { start(thread) }
}

/// Starts a worker of the process, unless there are enough. ENOMEM.
#[inline(never)]
pub fn start(thread: &Arc<Thread>) -> Result<(), Errno> {
    let pool = pool::of(&thread.process)?;
    if !pool.add_worker() {
        return Ok(());
    }
    make(thread, b"iou-wrk").map(sched::start).inspect_err(|_| pool.remove_worker())
}

/// A thread of the process that is listed, and not started.
fn make(maker: &Arc<Thread>, name: &[u8]) -> Result<Arc<Thread>, Errno> {
    let thread = Thread::new(maker.process.clone(), new_id(), &UserContext::default(), 0, false)?;
    thread.set_name(name);
    thread.set_scheduling(maker.scheduling());
    sched::inherit(&thread, maker);
    thread.signals.lock().mask = BLOCKED_SIGNALS;
    thread.work().set(Work::WORKER);
    maker.process.add_thread(&thread, maker)?;
    Ok(thread)
}

/// Starts the thread that looks for submissions of `ring` (IORING_SETUP_SQPOLL). ENOMEM.
pub fn start_submitter(maker: &Arc<Thread>, ring: &Arc<Ring>, idle_ms: u32) -> Result<(), Errno> {
    const NS_PER_MS: u64 = 1_000_000;
    let thread = make(maker, b"iou-sqp")?;
    let listed =
        SUBMITTERS.lock().insert(thread.tid(), (Arc::downgrade(ring), u64::from(idle_ms) * NS_PER_MS));
    if let Err(error) = listed {
        maker.process.remove_thread(&thread);
        return Err(error.into());
    }
    sched::start(thread);
    Ok(())
}

/// What such a thread does.
pub fn main(thread: &Arc<Thread>) -> ! {
    let submitter = SUBMITTERS.lock().remove(&thread.tid());
    match submitter {
        Some((ring, idle_ns)) => look_for_submissions(thread, ring, idle_ns),
        None => work(thread),
    }
    exit_thread(thread, &UserContext::default(), ExitStatus::Exited(0))
}

fn is_ending(thread: &Thread) -> bool {
    thread.work().any(Work::EXIT)
}

/// Runs requests until the process ends, or there are none for long.
fn work(thread: &Arc<Thread>) {
    let Some(pool) = pool::existing(&thread.process) else { return };
    while !is_ending(thread) {
        long_call::pause();
        pool.pay_announcements();
        if let Some(request) = pool.pop() {
            run_queued(thread, request, true);
            later::settle();
            continue;
        }
        pool.set_idle(true);
        let deadline_ns = time::now_ns() + IDLE_NS;
        let has_work = sleep(thread, &pool.workers, deadline_ns, || pool.has_work());
        pool.set_idle(false);
        if !has_work && !is_ending(thread) && pool.may_leave() {
            return;
        }
    }
    pool.remove_worker();
}

/// Sleeps until `done`, the thread is to end, or the deadline. Returns what `done` said last.
fn sleep(thread: &Arc<Thread>, source: &PollSource, deadline_ns: u64, done: impl Fn() -> bool) -> bool {
    let id = source.subscribe_thread(thread.clone(), Events::IN).ok();
    let result = loop {
        if done() {
            break true;
        }
        // Without a place in the list it looks again soon.
        let until_ns =
            if id.is_some() { deadline_ns } else { time::now_ns() + coracle_core::ipc::poll::LOOK_EVERY_NS };
        if is_ending(thread) || sched::park(Some(until_ns), true) == Wake::TimedOut && id.is_some() {
            break done();
        }
    };
    if let Some(id) = id {
        source.unsubscribe(id);
    }
    result
}

/// Submits what the program puts into a ring, until that is gone.
fn look_for_submissions(thread: &Arc<Thread>, ring: Weak<Ring>, idle_ns: u64) {
    let mut until_ns = time::now_ns() + idle_ns;
    while !is_ending(thread) {
        long_call::pause();
        let Some(ring) = ring.upgrade().filter(|ring| !ring.is_gone() && has_submitter(ring)) else { return };
        // Submissions to a ring that is not enabled stay where they are.
        let is_asked = || ring.enabled.load(SeqCst) && ring.submissions() > 0;
        if is_asked() {
            let count = ring.memory.layout().entries;
            let mut outcome = Ok(0);
            if ring.begin_submitting().is_ok() {
                outcome = submit(thread, &ring, count);
                ring.end_submitting();
            }
            ring.announce_room();
            later::settle();
            if outcome.is_err() {
                // Memory may be free later.
                sleep(thread, &ring.asked, time::now_ns() + LOOK_EVERY_NS, || ring.is_gone());
            }
            until_ns = time::now_ns() + idle_ns;
        } else if time::now_ns() < until_ns {
            let look_ns = time::now_ns() + LOOK_EVERY_NS;
            sleep(thread, &ring.asked, look_ns, || is_asked() || ring.is_gone());
        } else {
            ring.memory.change(at::SQ_FLAGS, abi::IORING_SQ_NEED_WAKEUP, 0);
            sleep(thread, &ring.asked, u64::MAX, || is_asked() || ring.is_gone());
            ring.memory.change(at::SQ_FLAGS, 0, abi::IORING_SQ_NEED_WAKEUP);
            until_ns = time::now_ns() + idle_ns;
        }
    }
}
