//! Parents and their children. A process is in a list of its parent's: of the children that run, or of those that have ended
//! and were not waited for. The lists are linked by pids, so that a child joins, ends and is waited for at the same cost
//! however many there are, and none of it takes memory.
use super::pid_space;
use super::process::{Process, by_pid};
use alloc::sync::{Arc, Weak};
use coracle_hal::sync::atomic::{AtomicBool, AtomicI32, Ordering::*};

/// A process's parent and children.
#[derive(Default)]
pub struct Family {
    /// The parent; none for the first process.
    pub parent: Weak<Process>,
    running: List,
    ended: List,
    /// The process has ended and gets no more children.
    closed: bool,
}

/// Children in the order in which they joined: the pids of the first and the last; 0: none.
#[derive(Clone, Copy, Default)]
struct List {
    first: i32,
    last: i32,
}

/// A process's place among the children of its parent, whose family's lock guards it.
#[derive(Default)]
pub struct Siblings {
    /// Pids; 0: none.
    previous: AtomicI32,
    next: AtomicI32,
    /// It is in a list, and in which.
    listed: AtomicBool,
    ended: AtomicBool,
}

impl List {
    fn append(&mut self, child: &Process) {
        child.siblings.previous.store(self.last, Relaxed);
        child.siblings.next.store(0, Relaxed);
        match by_pid(self.last) {
            Some(last) => last.siblings.next.store(child.pid, Relaxed),
            None => self.first = child.pid,
        }
        self.last = child.pid;
    }

    fn remove(&mut self, child: &Process) {
        let (previous, next) = (child.siblings.previous.load(Relaxed), child.siblings.next.load(Relaxed));
        match by_pid(previous) {
            Some(previous) => previous.siblings.next.store(next, Relaxed),
            None => self.first = next,
        }
        match by_pid(next) {
            Some(next) => next.siblings.previous.store(previous, Relaxed),
            None => self.last = previous,
        }
    }

    fn iter(self) -> impl Iterator<Item = Arc<Process>> {
        core::iter::successors(by_pid(self.first), |child| by_pid(child.siblings.next.load(Relaxed)))
    }
}

impl Family {
    /// The children that have ended, then those that run.
    pub fn children(&self) -> impl Iterator<Item = Arc<Process>> + use<> {
        self.ended.iter().chain(self.running.iter())
    }

    /// Adds a child of the process `parent`, whose family this is. False if that has ended.
    fn add(&mut self, parent: &Arc<Process>, child: &Process) -> bool {
        if !self.closed {
            child.family.lock().parent = Arc::downgrade(parent);
            child.parent_pid.store(parent.pid, SeqCst);
            child.seen_parent.store(child.sees(parent.pid), Relaxed);
            child.siblings.ended.store(false, Relaxed);
            self.running.append(child);
            child.siblings.listed.store(true, Release);
        }
        !self.closed
    }

    /// Takes a child of this family out. False if another was faster.
    pub fn remove(&mut self, child: &Process) -> bool {
        let listed = child.siblings.listed.swap(false, Relaxed);
        if listed {
            let ended = child.siblings.ended.load(Relaxed);
            let list = if ended { &mut self.ended } else { &mut self.running };
            list.remove(child);
        }
        listed
    }
}

impl Process {
    /// Whether `child` is listed among the children of this process, whose family is locked. No other lock is taken, since
    /// `child` may be any process.
    pub fn has_child(&self, child: &Process) -> bool {
        // One that moves to another family gets its parent's pid before it is listed there.
        child.siblings.listed.load(Acquire) && child.parent_pid() == self.pid
    }

    /// Makes it a child of `parent` or, if that has ended, of the process that gets its children.
    pub fn join_family(self: &Arc<Self>, parent: Arc<Process>) {
        let mut parent = parent;
        loop {
            {
                // Families are locked from the parent to the child.
                let mut family = parent.family.lock();
                if family.add(&parent, self) {
                    return;
                }
            }
            let Some(heir) = parent.heir() else { return };
            parent = heir;
        }
    }

    /// The process has ended: its parent finds it among those.
    pub fn note_end(self: &Arc<Self>) {
        let Some(parent) = self.parent() else { return };
        let mut family = parent.family.lock();
        if parent.has_child(self) && !self.siblings.ended.swap(true, Relaxed) {
            family.running.remove(self);
            family.ended.append(self);
        }
    }

    /// Takes a child out of its family, to be given to another: the process gets no more.
    pub fn leave_child(&self) -> Option<Arc<Process>> {
        let mut family = self.family.lock();
        family.closed = true;
        let child = family.children().next()?;
        family.remove(&child).then_some(child)
    }

    /// The process that gets its children when it ends: the nearest ancestor in its PID namespace that asked for them (prctl(2),
    /// PR_SET_CHILD_SUBREAPER), or the first process there.
    pub fn heir(&self) -> Option<Arc<Process>> {
        let mut heir = self.parent()?;
        loop {
            if !pid_space::same(heir.pid_space(), self.pid_space())
                && let Some(init) = self.pid_space().and_then(|space| space.init())
                && !core::ptr::eq(&*init, self)
            {
                return Some(init);
            }
            if heir.subreaper.load(Relaxed) {
                return Some(heir);
            }
            match heir.parent() {
                Some(next) => heir = next,
                None => return Some(heir),
            }
        }
    }

    /// The parent.
    pub fn parent(&self) -> Option<Arc<Process>> {
        self.family.lock().parent.upgrade()
    }
}
