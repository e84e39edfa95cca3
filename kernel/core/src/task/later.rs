//! Work that a thread has to do before it returns to its program (Linux's `task_work_add`).
//!
//! The last reference to an object may go anywhere: deep in the stack of a call, in a wake-up, under a lock. Where the end of the object takes
//! more than freeing memory, the running thread puts it into its list ([`put_off`]), and works the list off with no lock held and little on its
//! stack: on its way back to the program, when it ends, or where a call asks for it ([`settle`]). A CPU's idle thread does it before it idles.
//!
//! Each piece of work has its place in the list with it, so that putting it off takes no memory and cannot fail.
use super::thread::{Thread, Work};
use crate::lock::Mutex;
use alloc::boxed::Box;
use coracle_fallible::{NoMemory, try_box};
use core::mem::ManuallyDrop;
use core::ops::Deref;

/// A piece of work.
pub trait Later: Send + Sync {
    /// Does it. No lock is held.
    fn run(self: Box<Self>);
    /// Its place in a list.
    fn link(&mut self) -> &mut Link;
}

/// The head of a list, or a place in one. What it leads to is not dropped with it, so that nothing that has a list leads to the end of
/// what lies in it: a list is emptied before it goes.
pub struct Link(ManuallyDrop<Option<Box<dyn Later>>>);

impl Link {
    /// An empty list.
    pub const fn new() -> Self {
        Link(ManuallyDrop::new(None))
    }
    fn take(&mut self) -> Option<Box<dyn Later>> {
        ManuallyDrop::into_inner(core::mem::replace(&mut self.0, ManuallyDrop::new(None)))
    }
    fn push(&mut self, mut work: Box<dyn Later>) {
        *work.link() = Link(ManuallyDrop::new(self.take()));
        *self = Link(ManuallyDrop::new(Some(work)));
    }
    fn pop(&mut self) -> Option<Box<dyn Later>> {
        let mut work = self.take()?;
        *self = Link(ManuallyDrop::new(work.link().take()));
        Some(work)
    }
}

/// A value whose end is put off: what keeps it may go anywhere, also where the stack is deep.
pub struct Parting<T: Send + Sync + 'static>(ManuallyDrop<Option<Box<Parted<T>>>>);

struct Parted<T> {
    value: T,
    link: Link,
}

impl<T: Send + Sync + 'static> Parting<T> {
    /// A value with the place in a list that its end takes.
    pub fn new(value: T) -> Result<Parting<T>, NoMemory> {
        Ok(Parting(ManuallyDrop::new(Some(try_box(Parted { value, link: Link::new() })?))))
    }
}

impl<T: Send + Sync + 'static> Deref for Parting<T> {
    type Target = T;
    fn deref(&self) -> &T {
        match &*self.0 {
            Some(parted) => &parted.value,
            None => unreachable!("only the end takes the value out"),
        }
    }
}

impl<T: Send + Sync + 'static> Drop for Parting<T> {
    fn drop(&mut self) {
        if let Some(parted) =
            ManuallyDrop::into_inner(core::mem::replace(&mut self.0, ManuallyDrop::new(None)))
        {
            put_off(parted);
        }
    }
}

impl<T: Send + Sync + 'static> Later for Parted<T> {
    fn run(self: Box<Self>) {}
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// What a thread has put off, the latest first.
pub struct PutOff(Mutex<Link>);

impl Default for PutOff {
    fn default() -> Self {
        PutOff(Mutex::new(Link::new()))
    }
}

/// What was put off at boot, when no thread ran.
static AT_BOOT: PutOff = PutOff(Mutex::new(Link::new()));

/// The running thread does `work` before it returns to its program.
pub fn put_off(work: Box<dyn Later>) {
    if !crate::this::is_any() {
        return AT_BOOT.0.lock().push(work);
    }
    crate::this::with(|thread| {
        thread.put_off.0.lock().push(work);
        thread.work().set(Work::LATER);
    });
}

/// Does what the running thread has put off. Hold no lock.
#[inline]
pub fn settle() {
    crate::this::with(|thread| {
        if thread.work().any(Work::LATER) {
            run(thread);
        }
    });
}

/// Does what was put off at boot. Hold no lock.
pub fn settle_boot() {
    AT_BOOT.run();
}

/// Does what `thread`, the running one, has put off, and what that puts off. Hold no lock.
#[inline(never)]
pub fn run(thread: &Thread) {
    thread.work().clear(Work::LATER);
    thread.put_off.run();
}

impl PutOff {
    fn run(&self) {
        loop {
            // A statement of its own: the lock is released at its end.
            let next = self.0.lock().pop();
            match next {
                Some(work) => work.run(),
                None => return,
            }
        }
    }
}
