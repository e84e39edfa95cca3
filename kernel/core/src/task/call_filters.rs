//! Which of a thread's system calls are looked at before they are made: by filters (seccomp(2)), or by a tracer (ptrace(2)).
use super::later::Parting;
use crate::errno::Errno;
use crate::lock::Mutex;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_bpf::{Program, SystemCall};
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_hal::sync::atomic::{AtomicU32, Ordering::*};
use core::any::Any;

/// In [`CallFilters::watch`]: only few calls may be made (SECCOMP_MODE_STRICT).
pub const STRICT: u32 = 1;
/// There are filters (SECCOMP_MODE_FILTER).
pub const FILTERED: u32 = 2;
/// The thread stops before and after each call (PTRACE_SYSCALL).
pub const TRACED: u32 = 4;

/// Instructions that a thread's filters have at most, each filter counting as some more (Linux's MAX_INSNS_PER_PATH).
const INSTRUCTIONS_MAX: usize = 32_768;
const COST_OF_A_FILTER: usize = 4;

/// What a filter has found.
const ACTION: u32 = 0xffff_0000;
/// SECCOMP_RET_ALLOW.
const ALLOW: u32 = 0x7fff_0000;

/// Filters, the oldest first.
pub type Filters = Arc<Vec<Arc<Filter>>>;

/// A filter.
pub struct Filter {
    /// The program.
    pub program: Program,
    /// Calls that it does not allow are named in the log (SECCOMP_FILTER_FLAG_LOG).
    pub is_logged: bool,
    /// What is asked about calls that it leaves to others (SECCOMP_RET_USER_NOTIF).
    pub listener: Option<Parting<Heard>>,
}

/// A listener of a filter (seccomp_unotify(2)).
pub trait Listens: Send + Sync {
    /// No thread has the filter any more.
    fn unused(&self);
    /// The listener itself.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// A filter's listener, which is told when the filter is gone.
pub struct Heard(pub Weak<dyn Listens>);

impl Drop for Heard {
    fn drop(&mut self) {
        if let Some(listener) = self.0.upgrade() {
            listener.unused();
        }
    }
}

/// A thread's part.
#[derive(Default)]
pub struct CallFilters {
    /// [`STRICT`], [`FILTERED`], [`TRACED`].
    pub watch: AtomicU32,
    list: Mutex<Option<Filters>>,
}

impl CallFilters {
    /// SECCOMP_MODE_*: 0 without filters, 1 if only few calls may be made, 2 with filters.
    pub fn mode(&self) -> usize {
        match self.watch.load(Relaxed) & (STRICT | FILTERED) {
            0 => 0,
            FILTERED => 2,
            _ => 1,
        }
    }

    /// The filters; `None` if there are none.
    pub fn get(&self) -> Option<Filters> {
        self.list.lock().clone()
    }

    /// Has them be these.
    pub fn set(&self, filters: Filters) {
        let old = self.list.lock().replace(filters);
        self.watch.fetch_or(FILTERED, SeqCst);
        drop(old);
    }

    /// A new thread's calls are looked at as its maker's.
    pub fn inherit(&self, from: &CallFilters) {
        self.watch.fetch_or(from.watch.load(SeqCst) & STRICT, SeqCst);
        if let Some(filters) = from.get() {
            self.set(filters);
        }
    }

    /// The filters with one more. ENOMEM.
    pub fn with(&self, filter: Filter) -> Result<Filters, Errno> {
        let mut all = Vec::new();
        if let Some(own) = self.get() {
            for filter in own.iter() {
                all.try_push(filter.clone())?;
            }
        }
        all.try_push(try_arc(filter)?)?;
        let cost: usize = all.iter().map(|one| one.program.instruction_count() + COST_OF_A_FILTER).sum();
        if cost - COST_OF_A_FILTER > INSTRUCTIONS_MAX {
            return Err(Errno::NOMEM);
        }
        Ok(try_arc(all)?)
    }

    /// Whether all these filters begin with this thread's, so that it may be given them (SECCOMP_FILTER_FLAG_TSYNC).
    pub fn is_beginning_of(&self, filters: &[Arc<Filter>]) -> bool {
        if self.watch.load(SeqCst) & STRICT != 0 {
            return false;
        }
        let own = self.get();
        let own = own.as_deref().map_or(&[][..], |own| own.as_slice());
        own.len() <= filters.len() && own.iter().zip(filters).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// What the filters say of a call (SECCOMP_RET_*): the strictest, of equal ones the newest filter's; and which that is, if the call is
    /// not allowed.
    pub fn decide(&self, call: &SystemCall) -> (u32, Option<Arc<Filter>>) {
        let Some(filters) = self.get() else { return (ALLOW, None) };
        // As signed numbers, stricter ones are smaller.
        let strictness = |found: u32| (found & ACTION) as i32;
        let mut strictest = (ALLOW, None);
        for filter in filters.iter().rev() {
            let found = filter.program.run(call);
            if strictness(found) < strictness(strictest.0) {
                strictest = (found, Some(filter.clone()));
            }
        }
        strictest
    }
}
