//! Sets of semaphores (semop(2), semctl(2)).
use super::object::{self, Object};
use crate::space::{Handle, Space};
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::ipc::poll::{Events, PollSource, block_on};
use coracle_core::lock::Mutex;
use coracle_core::task::process::Process;
use coracle_hal::sync::atomic::Ordering::Relaxed;
use coracle_sysv::{Operation, Outcome, Permission, Registry, Semaphores};

/// Semaphores of a set at most (SEMMSL).
pub const MAX_COUNT: usize = 32_000;
/// Sets at most (SEMMNI).
pub const MAX_SETS: usize = 32_000;
/// Semaphores at most (SEMMNS).
pub const MAX_SEMAPHORES: usize = MAX_COUNT * MAX_SETS;
/// Operations of a semop(2) at most (SEMOPM).
pub const MAX_OPERATIONS: usize = 500;

/// A set.
pub struct Set {
    state: Mutex<State>,
    /// Told when a value changes, and when the set is removed.
    changed: PollSource,
}

/// What the lock of a set guards.
pub struct State {
    /// Owner and mode.
    pub permission: Permission,
    /// The semaphores.
    pub semaphores: Semaphores,
    /// When it was made, changed by semctl(2), and operated on last, in seconds.
    pub changed_s: u64,
    /// See `changed_s`; 0: never.
    pub operated_s: u64,
    removed: bool,
}

impl Object for Set {
    const LIMIT: usize = MAX_SETS;
    fn all(space: &Space) -> &Mutex<Registry<Arc<Self>>> {
        &space.sets
    }
    fn permission(&self) -> Permission {
        self.state.lock().permission
    }
}

/// semget(2).
pub fn find_or_make(key: i32, count: i32, flags: u32) -> SysResult {
    let count = usize::try_from(count).ok().filter(|&count| count <= MAX_COUNT).ok_or(Errno::INVAL)?;
    let fits = |set: &Set| match set.state.lock().semaphores.count() < count {
        true => Err(Errno::INVAL),
        false => Ok(()),
    };
    object::find_or_make(key, flags, fits, |permission| {
        if count == 0 {
            return Err(Errno::INVAL);
        }
        let state = State {
            permission,
            semaphores: Semaphores::new(count)?,
            changed_s: object::now_s(),
            operated_s: 0,
            removed: false,
        };
        Ok(Set { state: Mutex::new(state), changed: PollSource::new() })
    })
}

impl Set {
    /// Looks at the set, or changes it where `wakes` is set: sleeping threads then look again. EIDRM.
    pub fn with<R>(&self, wakes: bool, f: impl FnOnce(&mut State) -> Result<R, Errno>) -> Result<R, Errno> {
        let result = {
            let mut state = self.state.lock();
            if state.removed {
                return Err(Errno::IDRM);
            }
            f(&mut state)?
        };
        if wakes {
            self.changed.notify(Events::IN);
        }
        Ok(result)
    }

    /// semtimedop(2): does the operations at once, or sleeps until it can. EFBIG, EACCES, ERANGE, ENOMEM, EIDRM, EINTR; EAGAIN if
    /// an operation does not wait, or at the deadline (nanoseconds since boot).
    pub fn operate(&self, operations: &[Operation], deadline_ns: Option<u64>) -> Result<(), Errno> {
        let (process, ticket) =
            coracle_core::this::with(|thread| (thread.process.clone(), thread.tid() as u64));
        let alters = operations.iter().any(|operation| operation.change != 0);
        self.with(false, |state| {
            if operations.iter().any(|at| usize::from(at.number) >= state.semaphores.count()) {
                return Err(Errno::FBIG);
            }
            object::check(&state.permission, if alters { coracle_sysv::WRITE } else { coracle_sysv::READ })
        })?;
        if operations.iter().any(|operation| operation.undo) {
            process.undoes_semaphores.store(true, Relaxed);
        }
        let mut waited = false;
        let attempt = || {
            self.with(false, |state| match state.semaphores.operate(operations, process.pid) {
                Outcome::Done => {
                    state.operated_s = object::now_s();
                    Ok(Ok(()))
                }
                Outcome::Blocked(blocked) if blocked.no_wait => Ok(Err(Errno::AGAIN)),
                Outcome::Blocked(blocked) => {
                    waited = true;
                    // Without memory it waits all the same, and is not counted.
                    let _ = state.semaphores.wait(ticket, blocked);
                    Err(Errno::AGAIN)
                }
                Outcome::OutOfRange => Ok(Err(Errno::RANGE)),
                Outcome::NoSuchSemaphore => Ok(Err(Errno::FBIG)),
                Outcome::NoMemory => Ok(Err(Errno::NOMEM)),
            })
        };
        let result = block_on(&self.changed, false, deadline_ns, attempt);
        if waited {
            self.state.lock().semaphores.leave(ticket);
        }
        match result {
            Ok(Ok(())) if alters => self.changed.notify(Events::IN),
            Ok(outcome) => return outcome,
            // It is never started again (signal(7)).
            Err(Errno::RESTARTSYS) => return Err(Errno::INTR),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// IPC_RMID: sleeping threads get EIDRM. EINVAL, EIDRM, EPERM.
pub fn remove(id: i32) -> Result<(), Errno> {
    let set = {
        let handle = Handle::own();
        let mut sets = handle.space()?.sets.lock();
        object::check_control(&sets.get(id)?.permission())?;
        sets.remove(id)?
    };
    set.state.lock().removed = true;
    set.changed.notify(Events::IN);
    Ok(())
}

/// Sets, and semaphores of all sets (SEM_INFO).
pub fn totals() -> (usize, usize) {
    let handle = Handle::own();
    let Some(space) = handle.used() else { return (0, 0) };
    let sets = space.sets.lock();
    let mut total = 0;
    let mut from = 0;
    while let Some((index, _, set)) = sets.next_from(from) {
        total += set.state.lock().semaphores.count();
        from = index + 1;
    }
    (sets.len(), total)
}

/// A process has ended, or goes to another namespace: what it did with SEM_UNDO is undone.
pub fn process_ended(process: &Process) {
    if !process.undoes_semaphores.load(Relaxed) {
        return;
    }
    let handle = Handle::of(process);
    let Some(space) = handle.used() else { return };
    let mut from = 0;
    loop {
        let Some((index, set)) =
            space.sets.lock().next_from(from).map(|(index, _, set)| (index, set.clone()))
        else {
            return;
        };
        let changed = {
            let mut state = set.state.lock();
            let changed = state.semaphores.undo_all(process.pid);
            if changed {
                state.operated_s = object::now_s();
            }
            changed
        };
        if changed {
            set.changed.notify(Events::IN);
        }
        from = index + 1;
    }
}
