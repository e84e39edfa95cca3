//! /proc/PID/ns (namespaces(7)).
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::fs::inode::Link;
use coracle_core::fs::mount_space::Space;
use coracle_core::fs::stat::{Metadata, device_number};
use coracle_core::mm::user;
use coracle_core::task::look_into;
use coracle_core::task::namespaces::{Cgroups, Room, Uts};
use coracle_core::task::pid_space::{self, PidSpace};
use coracle_core::task::process::Process;
use coracle_core::task::time_space::TimeSpace;
use coracle_core::task::user_space::{Kind, UserSpace, same};
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_fs::synthetic::{Item, Table};
use coracle_hal::sync::atomic::Ordering::Relaxed;
use core::any::Any;
use linux_raw_sys::general::{self as abi, S_IFREG, stat as Stat};

use super::process::Subject;

/// Requests of ioctl_ns(2).
const NS_GET_USERNS: u32 = 0xb701;
const NS_GET_PARENT: u32 = 0xb702;
const NS_GET_NSTYPE: u32 = 0xb703;
const NS_GET_OWNER_UID: u32 = 0xb704;

/// Which namespace a link leads to.
#[derive(Clone)]
pub enum Which {
    /// The first one of its kind.
    First,
    /// A namespace of users.
    User(Arc<UserSpace>),
    /// One of mounts.
    Mounts(Arc<Space>),
    /// One of the machine's names.
    Uts(Arc<Uts>),
    /// One of control groups.
    Cgroups(Arc<Cgroups>),
    /// One of numbers of processes.
    Pids(Arc<PidSpace>),
    /// One of clocks.
    Time(Arc<TimeSpace>),
    /// One of System V objects and POSIX queues.
    Ipc(Arc<Room>),
    /// One of the network.
    Net(Arc<Room>),
}

/// An open namespace.
pub struct Namespace {
    /// Its kind (CLONE_NEW*).
    pub kind: u32,
    /// Which one.
    pub which: Which,
}

/// Kinds by the names of their links, with their flags, and the numbers that Linux gives the first ones (include/linux/proc_ns.h).
macro_rules! namespaces {
    ($($link:literal $kind:ident)*) => {
        pub(super) static NAMESPACES: Table<Subject> = &[
            ("pid_for_children", Item::Link(open_pids_of_children)),
            ("time_for_children", Item::Link(open_time_of_children)),
            $(($link, Item::Link(|subject| open(subject, abi::$kind)))),*
        ];
    };
}
namespaces! {
    "cgroup" CLONE_NEWCGROUP
    "ipc" CLONE_NEWIPC
    "mnt" CLONE_NEWNS
    "net" CLONE_NEWNET
    "pid" CLONE_NEWPID
    "time" CLONE_NEWTIME
    "user" CLONE_NEWUSER
    "uts" CLONE_NEWUTS
}

fn open(subject: &Subject, kind: u32) -> Result<Link, Errno> {
    subject.check()?;
    link(kind, Which::of(&subject.process, kind))
}

/// ENOENT while the namespace has no process.
fn open_pids_of_children(subject: &Subject) -> Result<Link, Errno> {
    subject.check()?;
    link(abi::CLONE_NEWPID, pids_of_children(&subject.process)?)
}

fn pids_of_children(process: &Process) -> Result<Which, Errno> {
    let space = process.pid_space_of_children();
    if space.as_ref().is_some_and(|space| !space.has_init()) {
        return Err(Errno::NOENT);
    }
    Ok(space.map_or(Which::First, Which::Pids))
}

fn open_time_of_children(subject: &Subject) -> Result<Link, Errno> {
    subject.check()?;
    link(abi::CLONE_NEWTIME, time_of_children(&subject.process))
}

fn time_of_children(process: &Process) -> Which {
    process.namespaces.lock().time_of_children.clone().map_or(Which::First, Which::Time)
}

fn link(kind: u32, which: Which) -> Result<Link, Errno> {
    let file: Arc<dyn File> = try_arc(Namespace { kind, which })?;
    Ok(Link::File(file))
}

impl Which {
    /// That of a process, of a kind (CLONE_NEW*).
    pub fn of(process: &Process, kind: u32) -> Which {
        let namespaces = process.namespaces.lock().clone();
        let space = || process.credentials.lock().space.clone();
        let which = match kind {
            abi::CLONE_NEWUSER => space().map(Which::User),
            abi::CLONE_NEWNS => namespaces.mounts.map(Which::Mounts),
            abi::CLONE_NEWUTS => namespaces.uts.map(Which::Uts),
            abi::CLONE_NEWCGROUP => namespaces.cgroups.map(Which::Cgroups),
            abi::CLONE_NEWIPC => namespaces.ipc.map(Which::Ipc),
            abi::CLONE_NEWNET => namespaces.net.map(Which::Net),
            abi::CLONE_NEWTIME => namespaces.time.map(Which::Time),
            abi::CLONE_NEWPID => process.pid_space().cloned().map(Which::Pids),
            _ => None,
        };
        which.unwrap_or(Which::First)
    }
    /// The user namespace that it belongs to; of a namespace of users its parent. `None` is the first.
    pub fn owner(&self) -> Option<Arc<UserSpace>> {
        match self {
            Which::First => None,
            Which::User(space) => space.parent().cloned(),
            Which::Mounts(space) => space.owner.clone(),
            Which::Uts(uts) => uts.owner.clone(),
            Which::Cgroups(cgroups) => cgroups.owner.clone(),
            Which::Pids(space) => space.owner.clone(),
            Which::Time(space) => space.owner.clone(),
            Which::Ipc(room) | Which::Net(room) => room.owner.clone(),
        }
    }
}

impl Namespace {
    fn name(&self) -> &'static str {
        match self.kind {
            abi::CLONE_NEWCGROUP => "cgroup",
            abi::CLONE_NEWIPC => "ipc",
            abi::CLONE_NEWNS => "mnt",
            abi::CLONE_NEWNET => "net",
            abi::CLONE_NEWPID => "pid",
            abi::CLONE_NEWTIME => "time",
            abi::CLONE_NEWUSER => "user",
            _ => "uts",
        }
    }
    fn inode(&self) -> u32 {
        match &self.which {
            Which::User(space) => space.id,
            Which::Mounts(space) => space.id,
            Which::Uts(uts) => uts.id,
            Which::Cgroups(cgroups) => cgroups.id,
            Which::Pids(space) => space.id,
            Which::Time(space) => space.id,
            Which::Ipc(room) | Which::Net(room) => room.id,
            Which::First => match self.kind {
                abi::CLONE_NEWCGROUP => 0xefff_fffb,
                abi::CLONE_NEWIPC => 0xefff_ffff,
                abi::CLONE_NEWNS => 0xf000_0000,
                abi::CLONE_NEWNET => 0xf000_0001,
                abi::CLONE_NEWPID => 0xefff_fffc,
                abi::CLONE_NEWTIME => 0xefff_fffa,
                abi::CLONE_NEWUSER => 0xefff_fffd,
                _ => 0xefff_fffe,
            },
        }
    }
    /// A descriptor of the namespace of processes around this. EPERM if the program is not in it, or in one around it.
    fn open_parent(&self) -> SysResult {
        let Which::Pids(space) = &self.which else { return Err(Errno::PERM) };
        let parent = space.parent();
        let own = coracle_core::this::with(|thread| thread.process.pid_space().cloned());
        if !pid_space::is_within(parent, own.as_ref()) {
            return Err(Errno::PERM);
        }
        open_for_caller(abi::CLONE_NEWPID, parent.cloned().map_or(Which::First, Which::Pids))
    }
    /// A descriptor of the user namespace that this belongs to. EPERM if the program is not in it, or in one around it.
    fn open_owner(&self) -> SysResult {
        if let (Which::First, abi::CLONE_NEWUSER) = (&self.which, self.kind) {
            return Err(Errno::PERM);
        }
        let owner = self.which.owner();
        let own = coracle_core::this::with(|thread| thread.process.credentials.lock().space.clone());
        let mut at = owner.clone();
        while !same(at.as_ref(), own.as_ref()) {
            at = at.ok_or(Errno::PERM)?.parent().cloned();
        }
        open_for_caller(abi::CLONE_NEWUSER, owner.map_or(Which::First, Which::User))
    }
}

/// PIDFD_GET_*_NAMESPACE (PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE and its like among them) of ioctl_pidfd(2): a new descriptor of a namespace of
/// `process`. ENOTTY for other requests; EINVAL for an argument; ESRCH if the process has ended; EACCES unless the running program may
/// look into it.
pub fn open_of_process(process: &Arc<Process>, is_there: bool, command: u32, argument: usize) -> SysResult {
    /// _IO(PIDFS_IOCTL_MAGIC, 1), the first; the kinds in their order.
    const FIRST: u32 = 0xff01;
    const KINDS: [u32; 10] = [
        abi::CLONE_NEWCGROUP,
        abi::CLONE_NEWIPC,
        abi::CLONE_NEWNS,
        abi::CLONE_NEWNET,
        abi::CLONE_NEWPID,
        abi::CLONE_NEWPID,
        abi::CLONE_NEWTIME,
        abi::CLONE_NEWTIME,
        abi::CLONE_NEWUSER,
        abi::CLONE_NEWUTS,
    ];
    /// The places of PID_FOR_CHILDREN and TIME_FOR_CHILDREN.
    const CHILDREN: [usize; 2] = [5, 7];
    let place = command.wrapping_sub(FIRST) as usize;
    let kind = *KINDS.get(place).ok_or(Errno::NOTTY)?;
    if argument != 0 {
        return Err(Errno::INVAL);
    }
    if !is_there || process.dead.load(Relaxed) {
        return Err(Errno::SRCH);
    }
    look_into::check(process).map_err(|_| Errno::ACCES)?;
    let which = match (CHILDREN.contains(&place), kind) {
        (false, _) => Which::of(process, kind),
        (true, abi::CLONE_NEWPID) => pids_of_children(process)?,
        (true, _) => time_of_children(process),
    };
    open_for_caller(kind, which)
}

/// A new descriptor of a namespace.
fn open_for_caller(kind: u32, which: Which) -> SysResult {
    let open = coracle_core::fs::file::OpenFile::new(try_arc(Namespace { kind, which })?, abi::O_RDONLY)?;
    let fd = coracle_core::this::with(|thread| thread.process.descriptors.insert(open, true, 0))?;
    Ok(fd as usize)
}

impl File for Namespace {
    fn stat(&self) -> Result<Stat, Errno> {
        /// The number of the file system of namespaces.
        const DEVICE: u64 = device_number(0, 4);
        let metadata = Metadata {
            device: DEVICE,
            inode: self.inode().into(),
            mode: S_IFREG | 0o444,
            links: 1,
            ..Metadata::default()
        };
        Ok(metadata.stat())
    }
    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        match command {
            NS_GET_USERNS => self.open_owner(),
            NS_GET_PARENT if self.kind == abi::CLONE_NEWUSER => self.open_owner(),
            NS_GET_PARENT if self.kind == abi::CLONE_NEWPID => self.open_parent(),
            NS_GET_PARENT => Err(Errno::INVAL),
            NS_GET_NSTYPE => Ok(self.kind as usize),
            NS_GET_OWNER_UID if self.kind == abi::CLONE_NEWUSER => {
                let owner = if let Which::User(space) = &self.which { space.owner[0] } else { 0 };
                let shown = coracle_core::this::with(|thread| {
                    thread.process.credentials.lock().shown(Kind::User, owner)
                });
                user::write_u32(argument, shown)?;
                Ok(0)
            }
            NS_GET_OWNER_UID => Err(Errno::INVAL),
            _ => Err(Errno::NOTTY),
        }
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        write!(text, "{}:[{}]", self.name(), self.inode())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
