//! The namespaces of a process (namespaces(7)) beside that of its users, which is a part of its credentials.
//!
//! `None` stands for the first namespace of a kind, so that a process that never had another one pays nothing.
use super::attachment;
use super::later::{self, Later, Link};
use super::pid_space::{self, PidSpace};
use super::process::Process;
use super::time_space::TimeSpace;
use super::user_space::{self, UserSpace, next_inode};
use super::uts::{UtsName, domain, hostname};
use crate::errno::Errno;
use crate::fs::mount_space::Space;
use crate::lock::Mutex;
use alloc::boxed::Box;
use alloc::sync::Arc;
use coracle_capabilities::{Capabilities, number};
use coracle_fallible::{NoMemory, try_arc, try_box};
use coracle_hal::leaving::{Leaves, Leaving};
use coracle_hal::sync::atomic::Ordering::*;
use linux_raw_sys::general as abi;

/// The names of the machine as the processes of a namespace see them (uts_namespaces(7)).
pub struct Uts {
    /// Number of its inode.
    pub id: u32,
    /// The user namespace that it belongs to.
    pub owner: Option<Arc<UserSpace>>,
    /// gethostname(2).
    pub hostname: Mutex<UtsName>,
    /// getdomainname(2).
    pub domain: Mutex<UtsName>,
}

/// A view of the tree of control groups, which is its root alone (cgroup_namespaces(7)).
pub struct Cgroups {
    /// Number of its inode.
    pub id: u32,
    /// The user namespace that it belongs to.
    pub owner: Option<Arc<UserSpace>>,
}

/// A namespace that a higher layer keeps objects in: System V objects and POSIX queues (ipc_namespaces(7)), or sockets and what they
/// are reached by (network_namespaces(7)).
pub struct Room {
    /// Number of its inode.
    pub id: u32,
    /// The user namespace that it belongs to.
    pub owner: Option<Arc<UserSpace>>,
    /// What is in it.
    pub objects: Leaving<Box<Objects>>,
}

impl Room {
    fn new(owner: &Option<Arc<UserSpace>>) -> Result<Arc<Room>, NoMemory> {
        let objects = Objects { place: attachment::Place::default(), link: Link::new() };
        let objects = Leaving::new(try_box(objects)?);
        try_arc(Room { id: next_inode(), owner: owner.clone(), objects })
    }
}

/// How the layer of the network makes what is in a namespace.
pub struct MakeNetwork(pub fn(&attachment::Place) -> Result<(), NoMemory>);

coracle_hal::hook! { $ pub
    /// Makes a network of a loopback alone.
    make_network: coracle_core::task::namespaces::MakeNetwork = "coracle_make_network", given by give_make_network
}

/// What is in a namespace that a higher layer keeps objects in. It goes later than the last reference to the namespace (`task::later`), which one of the objects may hold.
pub struct Objects {
    /// What the layer above keeps there.
    pub place: attachment::Place,
    link: Link,
}

impl Leaves for Box<Objects> {
    fn leave(self) {
        later::put_off(self);
    }
}

impl Later for Objects {
    fn run(self: Box<Self>) {}
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// See above.
#[derive(Clone, Default)]
pub struct Namespaces {
    /// Names of the machine.
    pub uts: Option<Arc<Uts>>,
    /// The tree of mounts.
    pub mounts: Option<Arc<Space>>,
    /// Control groups.
    pub cgroups: Option<Arc<Cgroups>>,
    /// System V objects and POSIX queues.
    pub ipc: Option<Arc<Room>>,
    /// The network.
    pub net: Option<Arc<Room>>,
    /// The clocks since boot.
    pub time: Option<Arc<TimeSpace>>,
    /// The same of its children, and of itself once it executes a program.
    pub time_of_children: Option<Arc<TimeSpace>>,
    /// Numbers of processes, if its children go to another namespace than its own.
    pub pids_of_children: Option<Arc<PidSpace>>,
}

/// Kinds that there can be others of than the first (CLONE_NEW*).
pub const KINDS: u32 = abi::CLONE_NEWNS
    | abi::CLONE_NEWUTS
    | abi::CLONE_NEWCGROUP
    | abi::CLONE_NEWUSER
    | abi::CLONE_NEWPID
    | abi::CLONE_NEWIPC
    | abi::CLONE_NEWNET
    | abi::CLONE_NEWTIME;

/// Gives a process, which is the running program's or which that is making, new namespaces of these kinds (CLONE_NEW*; unshare(2), clone(2)).
/// EPERM, EINVAL, ENOSPC, ENOMEM.
pub fn renew(maker: &Process, process: &Process, kinds: u32) -> Result<(), Errno> {
    let mut credentials = process.credentials.lock().try_clone()?;
    if kinds & abi::CLONE_NEWUSER != 0 {
        if process.fs.is_chrooted() {
            return Err(Errno::PERM);
        }
        let owner = [credentials.uid[1], credentials.gid[1]];
        if credentials.space.as_ref().is_some_and(|space| !space.has_owners(owner[0], owner[1])) {
            return Err(Errno::PERM);
        }
        credentials.space = Some(UserSpace::new(credentials.space.take(), owner)?);
        credentials.capabilities = Capabilities::FULL;
    }
    if kinds & KINDS & !abi::CLONE_NEWUSER != 0 && !credentials.capabilities.can(number::SYS_ADMIN) {
        return Err(Errno::PERM);
    }
    let mut own = process.namespaces.lock().clone();
    let owner = &credentials.space;
    if kinds & abi::CLONE_NEWUTS != 0 {
        let (hostname, domain) = match &own.uts {
            Some(uts) => (uts.hostname.lock().clone(), uts.domain.lock().clone()),
            None => (hostname(), domain()),
        };
        let (hostname, domain) = (Mutex::new(hostname), Mutex::new(domain));
        own.uts = Some(try_arc(Uts { id: next_inode(), owner: owner.clone(), hostname, domain })?);
    }
    if kinds & abi::CLONE_NEWCGROUP != 0 {
        own.cgroups = Some(try_arc(Cgroups { id: next_inode(), owner: owner.clone() })?);
    }
    if kinds & abi::CLONE_NEWIPC != 0 {
        own.ipc = Some(Room::new(owner)?);
    }
    if kinds & abi::CLONE_NEWTIME != 0 {
        own.time_of_children = Some(TimeSpace::new(own.time_of_children.as_ref(), owner.clone())?);
    }
    if kinds & abi::CLONE_NEWNET != 0 {
        let room = Room::new(owner)?;
        (make_network().0)(&room.objects.place)?;
        own.net = Some(room);
    }
    if kinds & abi::CLONE_NEWPID != 0 {
        // That of its children is still its own, which `maker` tells of one that is being made.
        let outer = maker.pid_space().cloned();
        if !pid_space::same(outer.as_ref(), maker.pid_space_of_children().as_ref()) {
            return Err(Errno::INVAL);
        }
        process.send_children_to(Some(PidSpace::new(outer, owner.clone())?), &mut own);
    }
    if kinds & abi::CLONE_NEWNS != 0 {
        if Arc::strong_count(&process.fs) > 1 {
            // Others use its root and working directory, which stay where they are.
            return Err(Errno::INVAL);
        }
        let is_foreign =
            !user_space::same(owner.as_ref(), own.mounts.as_ref().and_then(|space| space.owner.as_ref()));
        let from = own.mounts.as_deref();
        let (space, copies) = Space::copy(from, next_inode(), owner.clone(), is_foreign)?;
        process.fs.move_to(&copies);
        own.mounts = Some(space);
    }
    process.set_namespaces(own);
    if kinds & abi::CLONE_NEWUSER != 0 {
        process.set_user_space(credentials);
    }
    Ok(())
}

/// Number of the network namespace of the running program; 0 is the first.
pub fn own_network() -> u32 {
    if !crate::this::is_any() {
        return 0;
    }
    crate::this::with(|thread| thread.process.namespaces.lock().net.as_ref().map_or(0, |net| net.id))
}

/// EPERM unless the program has the capability for its network namespace.
pub fn check_network_capability(number: u32) -> Result<(), Errno> {
    check_capability_for(network_room().as_ref(), number)
}

/// The network namespace of the program. `None`: the first.
pub fn network_room() -> Option<Arc<Room>> {
    crate::this::with(|thread| thread.process.namespaces.lock().net.clone())
}

/// EPERM unless the program has the capability for this network namespace.
pub fn check_capability_for(net: Option<&Arc<Room>>, number: u32) -> Result<(), Errno> {
    crate::fs::access::check_capability_in(net.and_then(|net| net.owner.as_ref()), number)
}

impl Process {
    /// Gives it these namespaces. What it did with SEM_UNDO in another namespace of System V objects is undone (unshare(2), setns(2)).
    pub fn set_namespaces(&self, namespaces: Namespaces) {
        let is_other = {
            let own = self.namespaces.lock();
            own.ipc.as_ref().map(Arc::as_ptr) != namespaces.ipc.as_ref().map(Arc::as_ptr)
        };
        if is_other {
            super::exit::undo(self);
        }
        let old = core::mem::replace(&mut *self.namespaces.lock(), namespaces);
        drop(old);
    }

    /// Gives it these credentials, which are of another user namespace.
    pub fn set_user_space(&self, credentials: super::credentials::Credentials) {
        self.is_mapped.store(credentials.space.is_some(), Relaxed);
        let old = core::mem::replace(&mut *self.credentials.lock(), credentials);
        drop(old);
    }
}
