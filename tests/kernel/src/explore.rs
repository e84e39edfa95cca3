//! Tests under a scheduler that tries interleavings (`shuttle`): it runs one CPU at a time, and decides at each use of a lock or of an
//! atomic value, and at each access to a program's memory, which goes on.
//!
//! Three kinds of schedulers take turns: one that chooses at random each time; one that lets a CPU go on for a while ([`Seldom`]), so that
//! another one does much within a small window of its; and one that gives CPUs priorities and changes these at a few
//! random points (PCT: Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", 2010).
//!
//! The seed is the same in each run, so that a run repeats exactly (with one test in its process). To try others, set `CORACLE_SEED`, and
//! `CORACLE_ROUNDS` for how many interleavings each scheduler tries.
use coracle_hal::host::schedule::{Join, Scheduler, Waker};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner, thread};
use std::sync::Arc;
use std::time::Duration;

/// The seed where none is given.
const SEED: u64 = 1;
/// Interleavings that each scheduler tries, where the number is not given.
const ROUNDS: usize = 100;
/// How many changes of priorities a test of PCT has.
const DEPTH: usize = 3;
/// Bytes of the stacks on which CPUs are started; the kernel has its own.
const STACK_SIZE: usize = 256 * 1024;
/// A run with more steps than this does not come to its end.
const MOST_STEPS: usize = 3_000_000;

struct Shuttle;

impl Scheduler for Shuttle {
    fn spawn(&self, code: Box<dyn FnOnce() + Send>) -> Join {
        let thread = thread::spawn(code);
        Box::new(|| thread.join())
    }

    fn waker(&self) -> Waker {
        let thread = thread::current();
        Arc::new(move || thread.unpark())
    }

    fn park(&self) {
        thread::park();
    }

    fn wait(&self) {
        thread::yield_now();
    }

    fn point(&self) {
        // There is no time in there: it is a switch without a wish for one.
        thread::sleep(Duration::ZERO);
    }
}

/// Goes on with the CPU that runs, but for one in some choices, which are fewer in one execution than in the next.
struct Seldom {
    /// Of the generator (SplitMix64).
    state: u64,
    /// Executions that are still to come.
    left: usize,
    /// One choice in so many is for any CPU.
    odds: u64,
}

impl Seldom {
    const ODDS: [u64; 3] = [8, 32, 128];

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
}

impl shuttle::scheduler::Scheduler for Seldom {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.left = self.left.checked_sub(1)?;
        self.odds = Self::ODDS[self.left % Self::ODDS.len()];
        Some(Schedule::new(self.state))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let current = runnable.iter().map(|task| task.id()).find(|&task| Some(task) == current);
        if let Some(current) = current
            && !is_yielding
            && !self.random().is_multiple_of(self.odds)
        {
            return Some(current);
        }
        // One that waits for another lets that go on.
        let others: Vec<_> = runnable
            .iter()
            .map(|task| task.id())
            .filter(|&task| !is_yielding || Some(task) != current)
            .collect();
        let index = self.random() as usize % others.len().max(1);
        others.get(index).copied().or(current)
    }

    fn next_u64(&mut self) -> u64 {
        self.random()
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Runs `test` as [`crate::run`] does, under many interleavings.
///
/// # Panics
/// If it fails under one.
pub fn explore(test: impl Fn() + Clone + Send + Sync + 'static) {
    // So that the first interleaving does not boot the machine.
    crate::run(|| {});
    let mut config = Config::new();
    config.stack_size = STACK_SIZE;
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    let (seed, rounds) = (number("CORACLE_SEED", SEED), number("CORACLE_ROUNDS", ROUNDS as u64) as usize);
    let once = move || crate::kernel::run_under(&Shuttle, true, test.clone());
    Runner::new(RandomScheduler::new_from_seed(seed, rounds), config.clone()).run(once.clone());
    Runner::new(Seldom { state: seed, left: rounds, odds: 1 }, config.clone()).run(once.clone());
    Runner::new(PctScheduler::new_from_seed(seed, DEPTH, rounds), config).run(once);
}
