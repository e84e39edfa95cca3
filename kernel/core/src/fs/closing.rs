//! The end of open file descriptions.
//!
//! What has to be done then is of any kind: a socket sends, a terminal hangs up, locks are released and wake their waiters. So it is
//! put off ([`crate::task::later`]), as Linux does (`fput` in fs/file_table.c). A call that closes descriptors does it at once.
//!
//! What is needed for that is allocated with the description, so that its end takes no memory.
use super::file::{File, description_bounds, is_short_for};
use super::signal_io::SignalIo;
use super::{leases, locks};
use crate::errno::Errno;
use crate::ipc::poll::Watching;
use crate::task::later::{self, Later, Link};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, try_box};
use coracle_hal::leaving::Leaves;
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicUsize, Ordering};
use core::mem::ManuallyDrop;
use core::ops::Deref;

/// The part of a description that outlives its last reference, until the description is closed.
pub struct ToClose {
    /// The file itself.
    pub file: Arc<dyn File>,
    rest: Box<Rest>,
}

/// What only some calls use of it.
pub struct Rest {
    /// The signals that announce its readiness (O_ASYNC).
    pub signal_io: SignalIo,
    /// The epoll sets that the description is a member of; they forget it when it is closed (epoll(7)).
    watchers: Mutex<Vec<Arc<dyn Watching>>>,
    /// The file, from the last reference on. It is taken out before this goes.
    file: ManuallyDrop<Option<Arc<dyn File>>>,
    link: Link,
    _counted: Counted,
}

/// Descriptions that there are, those to be closed included.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Descriptions that there are.
pub fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Counts a description as long as it is there.
struct Counted;

impl Counted {
    /// ENFILE if there are as many as may be.
    fn new() -> Result<Counted, Errno> {
        COUNT.fetch_add(1, Ordering::Relaxed);
        let counted = Counted;
        let (count, most) = description_bounds();
        if count > most || is_short_for(count) { Err(Errno::NFILE) } else { Ok(counted) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ToClose {
    /// Of a new description of `file`. ENOMEM; ENFILE if there are too many. Then the file is closed, unless it is that of another
    /// description, too.
    pub fn new(file: Arc<dyn File>) -> Result<ToClose, Errno> {
        match Rest::new() {
            Ok(rest) => Ok(ToClose { file, rest }),
            Err(error) => {
                if Arc::strong_count(&file) == 1 {
                    file.closed();
                }
                Err(error)
            }
        }
    }
    /// Tells this description from all others that are not closed.
    pub fn identity(&self) -> usize {
        identity(&self.rest)
    }
    /// An epoll set watches this description.
    pub fn add_watcher(&self, member: Arc<dyn Watching>) -> Result<(), NoMemory> {
        let mut watchers = self.rest.watchers.lock();
        if watchers.len() == watchers.capacity() {
            // Half of the list is free afterwards, so that members which come and go cost the same among many.
            watchers.retain(|watcher| !watcher.has_left());
            let members = watchers.len();
            watchers.make_room(members + 1)?;
        }
        watchers.push_reserved(member);
        Ok(())
    }
    /// An epoll set no longer does: the member at this address has left it. Among many it stays in the list, until that is full.
    pub fn remove_watcher(&self, member: *const ()) {
        /// The longest list that is searched.
        const FEW: usize = 8;
        let mut watchers = self.rest.watchers.lock();
        if watchers.len() > FEW {
            return;
        }
        let position = watchers.iter().position(|watcher| core::ptr::addr_eq(Arc::as_ptr(watcher), member));
        let removed = position.map(|index| watchers.swap_remove(index));
        drop(watchers);
        drop(removed);
    }
}

impl Deref for ToClose {
    type Target = Rest;
    #[inline(always)]
    fn deref(&self) -> &Rest {
        &self.rest
    }
}

impl Leaves for ToClose {
    fn leave(self) {
        let ToClose { file, mut rest } = self;
        rest.file = ManuallyDrop::new(Some(file));
        later::put_off(rest);
    }
}

impl Rest {
    fn new() -> Result<Box<Rest>, Errno> {
        // Before the rest, which then is made where it stays.
        let counted = Counted::new()?;
        Ok(try_box(Rest {
            signal_io: SignalIo::default(),
            watchers: Mutex::new(Vec::new()),
            file: ManuallyDrop::new(None),
            link: Link::new(),
            _counted: counted,
        })?)
    }
}

impl Later for Rest {
    fn run(mut self: Box<Self>) {
        let file = ManuallyDrop::into_inner(core::mem::replace(&mut self.file, ManuallyDrop::new(None)));
        let Some(file) = file else { return };
        self.signal_io.end(&*file);
        for member in self.watchers.get_mut().drain(..) {
            member.forget();
        }
        locks::description_closed(&*file, identity(&self));
        leases::description_closed(&*file, identity(&self));
        file.closed();
    }
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

fn identity(rest: &Rest) -> usize {
    core::ptr::from_ref(rest) as usize
}
