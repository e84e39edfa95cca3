//! Signal state: actions of a process, masks of threads, and what is pending.
use super::info::{FIRST_REALTIME, MAX_SIGNAL, SigInfo, bit};
use alloc::collections::VecDeque;
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
    queue: VecDeque<SigInfo>,
}

impl Pending {
    /// Those that wait.
    pub fn set(&self) -> u64 {
        self.set
    }
    /// Adds one; a standard signal that waits already is not added again.
    pub fn add(&mut self, info: SigInfo) {
        if info.signal < FIRST_REALTIME && self.set & bit(info.signal) != 0 {
            return;
        }
        self.set |= bit(info.signal);
        self.queue.push_back(info);
    }
    /// Takes the next one of `allowed`: an instruction's fault first, then the lowest number, the oldest of it.
    pub fn take(&mut self, allowed: u64) -> Option<SigInfo> {
        let ready = self.set & allowed;
        if ready == 0 {
            return None;
        }
        let candidates = self.queue.iter().enumerate().filter(|(_, info)| ready & bit(info.signal) != 0);
        let (index, _) = candidates.min_by_key(|(index, info)| (!info.is_fault(), info.signal, *index))?;
        let info = self.queue.remove(index)?;
        if !self.queue.iter().any(|other| other.signal == info.signal) {
            self.set &= !bit(info.signal);
        }
        Some(info)
    }
    /// Forgets those of `which`.
    pub fn discard(&mut self, which: u64) {
        self.set &= !which;
        self.queue.retain(|info| which & bit(info.signal) == 0);
    }
    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

/// A process's part.
pub struct ProcessSignals {
    /// Actions by number, from 1.
    actions: [Action; MAX_SIGNAL as usize],
    /// Sent to the process as a whole.
    pub pending: Pending,
}

impl Default for ProcessSignals {
    fn default() -> Self {
        ProcessSignals { actions: [Action::default(); MAX_SIGNAL as usize], pending: Pending::default() }
    }
}

impl ProcessSignals {
    /// The actions alone, for a child.
    pub fn inherit(&self) -> Self {
        ProcessSignals { actions: self.actions, pending: Pending::default() }
    }
    /// The action for `signal`, 1 to 64.
    pub fn action(&self, signal: u32) -> Action {
        self.actions[signal as usize - 1]
    }
    /// Sets it.
    pub fn set_action(&mut self, signal: u32, action: Action) {
        self.actions[signal as usize - 1] = action;
    }
    /// True if the signal would do nothing.
    pub fn ignores(&self, signal: u32) -> bool {
        match self.action(signal).handler {
            IGNORE => true,
            DEFAULT => default_action(signal) == DefaultAction::Ignore,
            _ => false,
        }
    }
    /// exec(2): handlers are gone, ignored stays ignored.
    pub fn reset_handlers(&mut self) {
        for action in &mut self.actions {
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
