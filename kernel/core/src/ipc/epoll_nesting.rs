//! How epoll sets may watch each other: without circles, and not too deep, so that what goes from set to set (an
//! announcement upwards, a look downwards) takes a bounded number of steps on the stack.
use super::epoll::Epoll;
use crate::errno::Errno;
use crate::lock::Mutex;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_hal::sync::MutexGuard;
use coracle_heap_sort::heap_sort;

/// Steps from set to set in a chain at most (Linux's EP_MAX_NESTS).
const MAX_STEPS: usize = 4;

static GRAPH: Mutex<()> = Mutex::new(());

/// Lets the set `outer` watch `inner` as far as the rules go: ELOOP if that would close a circle or make a chain too long,
/// EINVAL if they are one (epoll_ctl(2)). Hold what it gives until the change is made: no other can come between.
pub(super) fn check(outer: &Arc<Epoll>, inner: &Arc<Epoll>) -> Result<MutexGuard<'static, ()>, Errno> {
    if Arc::ptr_eq(outer, inner) {
        return Err(Errno::INVAL);
    }
    let graph = GRAPH.lock();
    let below = steps(inner, outer, Epoll::watched)?;
    let above = steps(outer, inner, Epoll::watching)?;
    if below + 1 + above > MAX_STEPS { Err(Errno::LOOP) } else { Ok(graph) }
}

/// The longest way from `from` by steps of `next`; ELOOP if one leads to `to`, or is too long anyway.
fn steps(
    from: &Arc<Epoll>,
    to: &Arc<Epoll>,
    next: impl Fn(&Epoll, &mut Vec<Arc<Epoll>>) -> Result<(), Errno>,
) -> Result<usize, Errno> {
    let mut level = Vec::new();
    level.try_push(from.clone())?;
    for step in 0..=MAX_STEPS {
        let mut following = Vec::new();
        for set in &level {
            next(set, &mut following)?;
        }
        // Each once: ways that meet go on together.
        heap_sort(&mut following, Arc::as_ptr);
        following.dedup_by(|a, b| Arc::ptr_eq(a, b));
        if following.iter().any(|set| Arc::ptr_eq(set, to)) {
            return Err(Errno::LOOP);
        }
        if following.is_empty() {
            return Ok(step);
        }
        level = following;
    }
    Err(Errno::LOOP)
}
