//! IPC namespaces (ipc_namespaces(7)): System V objects and POSIX queues of the processes that are in one.
use crate::mqueue::tree::Tree;
use crate::sysv::messages::MessageQueue;
use crate::sysv::segments::Segment;
use crate::sysv::semaphores::Set;
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::lock::Mutex;
use coracle_core::task::attachment::Attachment;
use coracle_core::task::namespaces::Room;
use coracle_core::task::process::Process;
use coracle_fallible::NoMemory;
use coracle_hal::sync::atomic::AtomicU64;
use coracle_sysv::Registry;

/// What is in a namespace.
pub struct Space {
    pub(crate) segments: Mutex<Registry<Arc<Segment>>>,
    /// Pages of all segments, touched or not.
    pub(crate) pages: AtomicU64,
    pub(crate) sets: Mutex<Registry<Arc<Set>>>,
    pub(crate) queues: Mutex<Registry<Arc<MessageQueue>>>,
    pub(crate) tree: Mutex<Tree>,
}

/// The first namespace.
static FIRST: Space = Space::empty();

impl Space {
    const fn empty() -> Space {
        Space {
            segments: Mutex::new(Registry::new()),
            pages: AtomicU64::new(0),
            sets: Mutex::new(Registry::new()),
            queues: Mutex::new(Registry::new()),
            tree: Mutex::new(Tree::new()),
        }
    }
}

impl Attachment for Space {
    fn new() -> Result<Space, NoMemory> {
        Ok(Space { tree: Mutex::new(Tree::another()), ..Space::empty() })
    }
    fn program_ended(&self) {}
}

/// A namespace; `None` is the first.
#[derive(Clone, Default)]
pub struct Handle(Option<Arc<Room>>);

impl Handle {
    /// That of the running program.
    pub fn own() -> Handle {
        coracle_core::this::with(|thread| Handle::of(&thread.process))
    }
    /// That of a process.
    pub fn of(process: &Process) -> Handle {
        Handle(process.namespaces.lock().ipc.clone())
    }
    /// What is in it. ENOMEM, when it is asked for the first time.
    pub fn space(&self) -> Result<&Space, Errno> {
        match &self.0 {
            None => Ok(&FIRST),
            Some(ipc) => ipc.objects.place.get_or_make()?.ok_or(Errno::NOMEM),
        }
    }
    /// What is in it, if anything ever was.
    pub fn used(&self) -> Option<&Space> {
        match &self.0 {
            None => Some(&FIRST),
            Some(ipc) => ipc.objects.place.get(),
        }
    }
    /// The namespace, which this doesn't keep.
    pub fn downgrade(&self) -> Weak {
        Weak(self.0.as_ref().map(Arc::downgrade))
    }
}

/// A namespace that may be gone.
#[derive(Clone, Default)]
pub struct Weak(Option<alloc::sync::Weak<Room>>);

impl Weak {
    /// The namespace, unless it is gone.
    pub fn upgrade(&self) -> Option<Handle> {
        match &self.0 {
            None => Some(Handle(None)),
            Some(ipc) => Some(Handle(Some(ipc.upgrade()?))),
        }
    }
}
