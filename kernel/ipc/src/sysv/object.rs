//! What the three kinds of objects have in common: finding or making one, and the rights to it.
use crate::space::{Handle, Space};
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::capability;
use coracle_core::lock::Mutex;
use coracle_core::time::clock;
use coracle_fallible::try_arc;
use coracle_hal::frame::{self, Watermark};
use coracle_sysv::{Permission, Registry, Subject};

/// Flags of semget(2), msgget(2) and shmget(2) beside the mode.
const IPC_CREAT: u32 = 0o1000;
const IPC_EXCL: u32 = 0o2000;
/// A call does not wait (semop(2), msgop(2)).
pub const IPC_NOWAIT: u32 = 0o4000;
/// The key that is none: always a new object.
const IPC_PRIVATE: i32 = 0;

/// An object of one of the kinds.
pub trait Object: Sized + 'static {
    /// Objects of this kind at most.
    const LIMIT: usize;
    /// All of them in a namespace.
    fn all(space: &Space) -> &Mutex<Registry<Arc<Self>>>;
    /// Its owner and mode now.
    fn permission(&self) -> Permission;
    /// Tells a new object its identifier.
    fn named(&self, id: i32) {
        let _ = id;
    }
}

/// Asks the rules about the running program.
pub fn with_subject<R>(ask: impl FnOnce(&Subject) -> R) -> R {
    const EFFECTIVE: usize = 1;
    coracle_core::this::with(|thread| {
        let credentials = thread.process.credentials.lock();
        let can = |number: u32| credentials.can(number);
        ask(&Subject {
            uid: credentials.uid[EFFECTIVE],
            gid: credentials.gid[EFFECTIVE],
            groups: &credentials.groups,
            may_access: can(capability::IPC_OWNER),
            may_control: can(capability::SYS_ADMIN),
        })
    })
}

/// EACCES unless the program may do what is `wanted` ([`coracle_sysv::READ`], [`coracle_sysv::WRITE`]).
pub fn check(permission: &Permission, wanted: u32) -> Result<(), Errno> {
    let allowed = with_subject(|subject| permission.allows(subject, wanted));
    if allowed { Ok(()) } else { Err(Errno::ACCES) }
}

/// EPERM unless the program may change or remove the object.
pub fn check_control(permission: &Permission) -> Result<(), Errno> {
    let allowed = with_subject(|subject| permission.is_controlled_by(subject));
    if allowed { Ok(()) } else { Err(Errno::PERM) }
}

/// The object with that identifier. EINVAL, EIDRM.
pub fn get<T: Object>(id: i32) -> Result<Arc<T>, Errno> {
    Ok(T::all(Handle::own().space()?).lock().get(id)?.clone())
}

/// The object at that place, and its identifier (SEM_STAT and its kin). EINVAL.
pub fn at<T: Object>(index: i32) -> Result<(i32, Arc<T>), Errno> {
    let index = usize::try_from(index).map_err(|_| Errno::INVAL)?;
    T::all(Handle::own().space()?)
        .lock()
        .at(index)
        .map(|(id, object)| (id, object.clone()))
        .ok_or(Errno::INVAL)
}

/// semget(2) and its kin: the identifier of the object with that key, or of a new one that `make` gives. `fits` checks what was
/// asked for against one that exists. ENOENT, EEXIST, EACCES, ENOSPC, ENOMEM, and the errors of both.
pub fn find_or_make<T: Object>(
    key: i32,
    flags: u32,
    fits: impl FnOnce(&T) -> Result<(), Errno>,
    make: impl FnOnce(Permission) -> Result<T, Errno>,
) -> SysResult {
    let handle = Handle::own();
    let mut all = T::all(handle.space()?).lock();
    if key != IPC_PRIVATE
        && let Some((id, object)) = all.by_key(key)
    {
        if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 {
            return Err(Errno::EXIST);
        }
        fits(object)?;
        let permission = object.permission();
        let allowed = with_subject(|subject| permission.allows_flags(subject, flags));
        return if allowed { Ok(id as usize) } else { Err(Errno::ACCES) };
    }
    if key != IPC_PRIVATE && flags & IPC_CREAT == 0 {
        return Err(Errno::NOENT);
    }
    // It stays when its maker ends.
    if frame::is_below(Watermark::High) {
        return Err(Errno::NOMEM);
    }
    let permission = with_subject(|subject| Permission::new(key, subject, flags));
    let object = try_arc(make(permission)?)?;
    let id = all.insert(key, object.clone(), T::LIMIT)?;
    object.named(id);
    Ok(id as usize)
}

/// The time of day in seconds, as the objects keep it.
pub fn now_s() -> u64 {
    clock::realtime_ns() / 1_000_000_000
}
