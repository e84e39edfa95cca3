//! A set of semaphores (semop(2), semctl(2)).
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, TryVec as _, filled};
use coracle_sorted_map::SortedMap;

/// Greatest value of a semaphore (SEMVMX).
pub const MAX_VALUE: u16 = 32_767;
/// Greatest adjustment at the end of a process, in both directions (SEMAEM).
const MAX_ADJUSTMENT: i32 = 32_767;

/// A change of one semaphore (`struct sembuf`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which of the set.
    pub number: u16,
    /// Added to its value; 0: its value is to be 0.
    pub change: i16,
    /// It fails where it would have to wait (IPC_NOWAIT).
    pub no_wait: bool,
    /// It is undone when the process ends (SEM_UNDO).
    pub undo: bool,
}

/// What an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// That the value be 0 (GETZCNT counts such).
    ForZero,
    /// That the value be greater (GETNCNT).
    ForMore,
}

/// The operation of several that has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The semaphore.
    pub number: u16,
    /// What for.
    pub waits: Waits,
    /// It does not want to (EAGAIN).
    pub no_wait: bool,
}

/// What became of some operations. All were done or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Not yet.
    Blocked(Blocked),
    /// A value or an adjustment would be out of its range (ERANGE).
    OutOfRange,
    /// There is no such semaphore in the set (EFBIG).
    NoSuchSemaphore,
    /// Memory is short (ENOMEM).
    NoMemory,
}

#[derive(Clone, Copy, Default)]
struct Semaphore {
    value: u16,
    /// The process of the last operation.
    pid: i32,
}

/// A thread that sleeps.
struct Waiter {
    ticket: u64,
    number: u16,
    waits: Waits,
}

/// The set.
pub struct Semaphores {
    all: Vec<Semaphore>,
    /// What the end of a process adds to each value.
    adjustments: SortedMap<i32, Vec<i16>>,
    waiters: Vec<Waiter>,
}

impl Semaphores {
    /// `count` semaphores of value 0.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn new(count: usize) -> Result<Self, NoMemory> {
        let all = filled(Semaphore::default(), count)?;
        Ok(Semaphores { all, adjustments: SortedMap::new(), waiters: Vec::new() })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The value of one; `None` if there is no such.
    pub fn value(&self, number: usize) -> Option<u16> {
        self.all.get(number).map(|semaphore| semaphore.value)
    }

    /// The process that changed one last, 0 if none did.
    pub fn pid(&self, number: usize) -> Option<i32> {
        self.all.get(number).map(|semaphore| semaphore.pid)
    }

    /// Sets a value (SETVAL, SETALL), which cancels what the ends of processes would add to it. False if it is out of range or
    /// there is no such semaphore.
    pub fn set(&mut self, number: usize, value: i32, pid: i32) -> bool {
        let Ok(value) = u16::try_from(value) else { return false };
        let Some(semaphore) = self.all.get_mut(number).filter(|_| value <= MAX_VALUE) else { return false };
        *semaphore = Semaphore { value, pid };
        self.adjustments.retain(|_, changes| {
            changes[number] = 0;
            true
        });
        true
    }

    /// Does the operations of a process in order, all or none.
    pub fn operate(&mut self, operations: &[Operation], pid: i32) -> Outcome {
        if operations.iter().any(|operation| usize::from(operation.number) >= self.all.len()) {
            return Outcome::NoSuchSemaphore;
        }
        let undoes = operations.iter().any(|operation| operation.undo && operation.change != 0);
        if undoes && !self.adjustments.contains_key(&pid) {
            let Ok(none) = filled(0, self.all.len()) else { return Outcome::NoMemory };
            if self.adjustments.insert(pid, none).is_err() {
                return Outcome::NoMemory;
            }
        }
        for (done, operation) in operations.iter().enumerate() {
            if let Err(outcome) = self.step(operation, pid) {
                for earlier in operations[..done].iter().rev() {
                    self.step_back(earlier, pid);
                }
                return outcome;
            }
        }
        for operation in operations {
            self.all[usize::from(operation.number)].pid = pid;
        }
        Outcome::Done
    }

    fn step(&mut self, operation: &Operation, pid: i32) -> Result<(), Outcome> {
        let Operation { number, change, no_wait, undo } = *operation;
        let semaphore = &mut self.all[usize::from(number)];
        let blocked = |waits| Err(Outcome::Blocked(Blocked { number, waits, no_wait }));
        if change == 0 {
            return if semaphore.value == 0 { Ok(()) } else { blocked(Waits::ForZero) };
        }
        let value = i32::from(semaphore.value) + i32::from(change);
        if value < 0 {
            return blocked(Waits::ForMore);
        }
        if value > i32::from(MAX_VALUE) {
            return Err(Outcome::OutOfRange);
        }
        if undo && let Some(changes) = self.adjustments.get_mut(&pid) {
            let adjustment = i32::from(changes[usize::from(number)]) - i32::from(change);
            if !(-MAX_ADJUSTMENT - 1..=MAX_ADJUSTMENT).contains(&adjustment) {
                return Err(Outcome::OutOfRange);
            }
            changes[usize::from(number)] = adjustment as i16;
        }
        semaphore.value = value as u16;
        Ok(())
    }

    /// Undoes a step that was done.
    fn step_back(&mut self, operation: &Operation, pid: i32) {
        let index = usize::from(operation.number);
        let semaphore = &mut self.all[index];
        semaphore.value = (i32::from(semaphore.value) - i32::from(operation.change)) as u16;
        if operation.undo
            && let Some(changes) = self.adjustments.get_mut(&pid)
        {
            changes[index] = (i32::from(changes[index]) + i32::from(operation.change)) as i16;
        }
    }

    /// A process has ended: its changes with `undo` are taken back, as far as the range of a value allows. True if that changed
    /// anything.
    pub fn undo_all(&mut self, pid: i32) -> bool {
        let Some(changes) = self.adjustments.remove(&pid) else { return false };
        for (semaphore, change) in self.all.iter_mut().zip(&changes).filter(|(_, change)| **change != 0) {
            let value = i32::from(semaphore.value) + i32::from(*change);
            *semaphore = Semaphore { value: value.clamp(0, i32::from(MAX_VALUE)) as u16, pid };
        }
        changes.iter().any(|&change| change != 0)
    }

    /// Counts a thread among those that wait, under a ticket of its own, or moves it.
    ///
    /// # Errors
    /// [`NoMemory`]: it is not counted.
    pub fn wait(&mut self, ticket: u64, blocked: Blocked) -> Result<(), NoMemory> {
        let Blocked { number, waits, .. } = blocked;
        match self.waiters.iter_mut().find(|waiter| waiter.ticket == ticket) {
            Some(waiter) => *waiter = Waiter { ticket, number, waits },
            None => self.waiters.try_push(Waiter { ticket, number, waits })?,
        }
        Ok(())
    }

    /// A thread waits no longer.
    pub fn leave(&mut self, ticket: u64) {
        self.waiters.retain(|waiter| waiter.ticket != ticket);
    }

    /// How many wait for that (GETNCNT, GETZCNT).
    pub fn waiters(&self, number: usize, waits: Waits) -> usize {
        self.waiters
            .iter()
            .filter(|waiter| usize::from(waiter.number) == number && waiter.waits == waits)
            .count()
    }
}
