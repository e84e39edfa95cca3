//! Signal state: actions of a process, masks of threads, and what is pending.
use super::charge::Charge;
use super::info::{FIRST_REALTIME, MAX_SIGNAL, SI_USER, SigInfo, UNBLOCKABLE, bit};
use crate::lock::Mutex;
use crate::time::posix_timer::{PosixTimer, TimerSignal};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, boxed_array, try_arc};
use linux_raw_sys::general as abi;

/// SIG_DFL.
pub const DEFAULT: usize = 0;
/// SIG_IGN.
pub const IGNORE: usize = 1;

/// What a process does with a signal (sigaction(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// SIG_DFL, SIG_IGN, or the address of a handler.
    pub handler: usize,
    /// SA_*.
    pub flags: u64,
    /// Where a handler returns to (SA_RESTORER).
    pub restorer: usize,
    /// Blocked while the handler runs.
    pub mask: u64,
}

/// What happens where no handler is set (signal(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// Nothing.
    Ignore,
    /// The process stops.
    Stop,
    /// The process continues.
    Continue,
    /// The process ends; a crash report is told for those that would leave a core dump.
    Terminate {
        /// Linux would leave a core dump.
        crash: bool,
    },
}

/// The default action of a signal.
pub fn default_action(signal: u32) -> DefaultAction {
    match signal {
        abi::SIGCHLD | abi::SIGURG | abi::SIGWINCH => DefaultAction::Ignore,
        abi::SIGCONT => DefaultAction::Continue,
        abi::SIGSTOP | abi::SIGTSTP | abi::SIGTTIN | abi::SIGTTOU => DefaultAction::Stop,
        abi::SIGQUIT
        | abi::SIGILL
        | abi::SIGTRAP
        | abi::SIGABRT
        | abi::SIGBUS
        | abi::SIGFPE
        | abi::SIGSEGV
        | abi::SIGXCPU
        | abi::SIGXFSZ
        | abi::SIGSYS => DefaultAction::Terminate { crash: true },
        _ => DefaultAction::Terminate { crash: false },
    }
}

/// Signals that wait to be delivered.
#[derive(Default)]
pub struct Pending {
    set: u64,
    /// What is told about them; nothing about one whose information there was no place for.
    queue: VecDeque<Waiting>,
}

/// A signal that waits.
struct Waiting {
    info: SigInfo,
    slot: Slot,
}

/// What holds a waiting signal's place.
pub enum Slot {
    /// One of those that RLIMIT_SIGPENDING allows, given back when this is dropped.
    Charged(Charge),
    /// That of a timer.
    Timer(TimerSignal),
}

/// A signal that waits no longer, and the timer that sent it.
pub struct Taken(pub(super) SigInfo, Option<TimerSignal>);

impl Taken {
    /// What is told about it; its timer continues. Hold no lock.
    pub fn info(self) -> SigInfo {
        match self.1 {
            Some(timer) => self.0.with_overrun(timer.delivered()),
            None => self.0,
        }
    }
}

impl Pending {
    /// Those that wait.
    pub fn set(&self) -> u64 {
        self.set
    }
    /// The one at a place in the order in which they were sent, of those that something is told about.
    pub fn nth(&self, place: usize) -> Option<SigInfo> {
        self.queue.get(place).map(|waiting| waiting.info)
    }
    /// Adds one; a standard signal that waits already is not added again, unless a timer sends it. Without a slot, or
    /// without memory, the signal waits and nothing is told about it.
    pub fn add(&mut self, info: SigInfo, slot: Option<Slot>) {
        let waits = self.set & bit(info.signal) != 0;
        if waits && info.signal < FIRST_REALTIME && !matches!(slot, Some(Slot::Timer(_))) {
            return;
        }
        self.set |= bit(info.signal);
        if let Some(slot) = slot {
            let _ = self.queue.try_push_back(Waiting { info, slot });
        }
    }
    /// Takes the next one of `allowed`: an instruction's fault first, then the lowest number, the oldest of it.
    pub fn take(&mut self, allowed: u64) -> Option<Taken> {
        loop {
            let taken = self.take_any(allowed)?;
            if !taken.1.as_ref().is_some_and(TimerSignal::is_stale) {
                return Some(taken);
            }
        }
    }
    fn take_any(&mut self, allowed: u64) -> Option<Taken> {
        let ready = self.set & allowed;
        if ready == 0 {
            return None;
        }
        let lowest = ready.trailing_zeros() + 1;
        let known =
            self.queue.iter().enumerate().filter(|(_, waiting)| ready & bit(waiting.info.signal) != 0);
        let best = known.min_by_key(|(index, Waiting { info, .. })| (!info.is_fault(), info.signal, *index));
        let Some((index, _)) =
            best.filter(|(_, Waiting { info, .. })| info.is_fault() || info.signal == lowest)
        else {
            // As Linux tells it: as if sent by kill(2), by no process.
            self.set &= !bit(lowest);
            return Some(Taken(SigInfo::user(lowest, SI_USER, 0, 0), None));
        };
        let Waiting { info, slot } = self.queue.remove(index)?;
        if !self.queue.iter().any(|other| other.info.signal == info.signal) {
            self.set &= !bit(info.signal);
        }
        Some(match slot {
            Slot::Charged(_) => Taken(info, None),
            Slot::Timer(timer) => Taken(info, Some(timer)),
        })
    }
    /// Forgets those of `which`.
    pub fn discard(&mut self, which: u64) {
        self.set &= !which;
        self.queue.retain(|waiting| which & bit(waiting.info.signal) == 0);
    }
    /// Forgets those of timers: the stale ones of one, or of all (exec(2)).
    #[inline(never)]
    pub fn discard_timers(&mut self, of: Option<&Arc<PosixTimer>>) {
        let mut of_timers = 0;
        self.queue.retain(|waiting| {
            let keep =
                !matches!(&waiting.slot, Slot::Timer(signal) if of.is_none_or(|timer| signal.is_of(timer) && signal.is_stale()));
            of_timers |= if keep { 0 } else { bit(waiting.info.signal) };
            keep
        });
        let others = self.queue.iter().fold(0, |set, waiting| set | bit(waiting.info.signal));
        self.set &= !(of_timers & !others);
    }
}

/// Actions by number, from 1.
type Actions = Mutex<Box<[Action; MAX_SIGNAL as usize]>>;

/// A process's part.
pub struct ProcessSignals {
    /// Shared with others by CLONE_SIGHAND.
    actions: Arc<Actions>,
    /// Sent to the process as a whole.
    pub pending: Pending,
}

impl ProcessSignals {
    /// The default actions.
    pub fn new() -> Result<Self, NoMemory> {
        let actions = try_arc(Mutex::new(boxed_array(Action::default)?))?;
        Ok(ProcessSignals { actions, pending: Pending::default() })
    }
    /// The actions alone, for a child: a copy, or the same ones (CLONE_SIGHAND).
    pub fn inherit(&self, shared: bool) -> Result<Self, NoMemory> {
        let mut own = ProcessSignals { actions: self.actions.clone(), pending: Pending::default() };
        if !shared {
            own.unshare()?;
        }
        Ok(own)
    }
    /// Has the actions no longer shared with others (execve(2)).
    pub fn unshare(&mut self) -> Result<(), NoMemory> {
        if Arc::strong_count(&self.actions) > 1 {
            let mut copy = boxed_array(Action::default)?;
            *copy = **self.actions.lock();
            self.actions = try_arc(Mutex::new(copy))?;
        }
        Ok(())
    }
    /// What tells shared actions from others (kcmp(2)).
    pub fn actions_address(&self) -> usize {
        Arc::as_ptr(&self.actions).cast::<u8>() as usize
    }
    /// The action for `signal`, 1 to 64.
    pub fn action(&self, signal: u32) -> Action {
        self.actions.lock()[signal as usize - 1]
    }
    /// Sets it.
    pub fn set_action(&mut self, signal: u32, action: Action) {
        self.actions.lock()[signal as usize - 1] = action;
    }
    /// True if the signal would do nothing.
    pub fn ignores(&self, signal: u32) -> bool {
        match self.action(signal).handler {
            IGNORE => true,
            DEFAULT => default_action(signal) == DefaultAction::Ignore,
            _ => false,
        }
    }
    /// exec(2), CLONE_CLEAR_SIGHAND: handlers are gone, ignored stays ignored. The actions are not shared
    /// (see [`ProcessSignals::unshare`]).
    pub fn reset_handlers(&mut self) {
        for action in self.actions.lock().iter_mut() {
            let handler = if action.handler == IGNORE { IGNORE } else { DEFAULT };
            *action = Action { handler, ..Action::default() };
        }
    }
}

/// An alternate stack (sigaltstack(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AltStack {
    /// Lowest address.
    pub base: usize,
    /// Bytes; 0: none is set.
    pub size: usize,
    /// SS_AUTODISARM.
    pub flags: u32,
}

impl AltStack {
    /// True if `sp` is on it.
    pub fn contains(&self, sp: usize) -> bool {
        self.size != 0 && sp > self.base && sp - self.base <= self.size
    }
}

/// A thread's part.
#[derive(Default)]
pub struct ThreadSignals {
    /// Blocked signals.
    pub mask: u64,
    /// The mask to be put back when a call that replaced it for its time ends.
    pub saved_mask: Option<u64>,
    /// Waited for by sigtimedwait(2): wakes the thread although blocked.
    pub waiting: u64,
    /// Sent to this thread.
    pub pending: Pending,
    /// Alternate stack.
    pub alt_stack: AltStack,
    /// Trap number, error code and address of the last fault, for the signal frame.
    pub last_fault: [u64; 3],
}

impl ThreadSignals {
    /// Signals that the thread takes when they are sent: those that it does not block, or that sigtimedwait(2) waits for.
    pub fn accepted(&self) -> u64 {
        !self.mask | self.waiting | UNBLOCKABLE
    }
}
