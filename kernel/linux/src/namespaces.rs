//! unshare(2) and setns(2).
use super::call::Call;
use alloc::sync::Arc;
use coracle_capabilities::Capabilities;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::capability;
use coracle_core::fs::mount::Path;
use coracle_core::fs::mount_space::root_of;
use coracle_core::ipc::pidfd;
use coracle_core::task::exec;
use coracle_core::task::look_into;
use coracle_core::task::namespaces::{self, KINDS, Namespaces};
use coracle_core::task::pid_space::{self, PidSpace};
use coracle_core::task::process::{Credentials, Process};
use coracle_core::task::user_space::same;
use coracle_system::proc::namespaces::{Namespace, Which};
use linux_raw_sys::general::*;

/// What unshare(2) takes beside namespaces. Of these a process of several threads shares all within itself.
const OTHERS: u32 = CLONE_FILES | CLONE_FS | CLONE_SYSVSEM | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;

/// unshare(2). EINVAL for what a process of several threads, or one that shares its root with
/// others, can't do.
pub fn unshare(call: &Call) -> SysResult {
    let mut flags = call.u32(0);
    if flags & !(OTHERS | KINDS) != 0 {
        return Err(Errno::INVAL);
    }
    let process = &call.thread().process;
    if flags & CLONE_NEWUSER != 0 {
        flags |= CLONE_THREAD | CLONE_FS;
    }
    if flags & CLONE_VM != 0 {
        flags |= CLONE_SIGHAND;
    }
    if flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM) != 0 && process.threads.lock().len() > 1 {
        return Err(Errno::INVAL);
    }
    if flags & CLONE_FS != 0 && Arc::strong_count(&process.fs) > 1 {
        return Err(Errno::INVAL);
    }
    if flags & CLONE_FILES != 0 {
        process.descriptors.unshare()?;
    }
    namespaces::renew(process, process, flags & KINDS)?;
    Ok(0)
}

/// setns(2): into the namespace that a descriptor stands for, or into those of a process, of which it is all or none.
pub fn setns(call: &Call) -> SysResult {
    let (me, kinds) = (&call.thread().process, call.u32(1));
    let mut entry = Entry::new(me)?;
    if pidfd::pid_of(me, call.i32(0)).is_ok() {
        if kinds == 0 || kinds & !KINDS != 0 {
            return Err(Errno::INVAL);
        }
        let target = super::other_process::process_of_descriptor(me, call.i32(0))?;
        look_into::check(&target)?;
        for kind in ORDER {
            if kinds & kind != 0 {
                entry.add(me, kind, Which::of(&target, kind))?;
            }
        }
    } else {
        let open = me.descriptors.get(call.i32(0))?;
        let namespace = open.file.as_any().downcast_ref::<Namespace>().ok_or(Errno::INVAL)?;
        if kinds != 0 && kinds != namespace.kind {
            return Err(Errno::INVAL);
        }
        entry.add(me, namespace.kind, namespace.which.clone())?;
    }
    entry.enter(me)?;
    Ok(0)
}

/// The order in which namespaces are entered: that of users first, which may give the rights for the others.
const ORDER: [u32; 8] = [
    CLONE_NEWUSER,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    CLONE_NEWIPC,
    CLONE_NEWCGROUP,
    CLONE_NEWPID,
    CLONE_NEWNET,
    CLONE_NEWTIME,
];

/// What setns(2) will have changed, once all of it may be.
struct Entry {
    namespaces: Namespaces,
    /// With those of a user namespace, if one is entered.
    credentials: Credentials,
    has_user_space: bool,
    has_time_space: bool,
    /// The root of another tree of mounts.
    root: Option<Path>,
    children: Option<Option<Arc<PidSpace>>>,
}

impl Entry {
    fn new(me: &Process) -> Result<Entry, Errno> {
        let (namespaces, credentials) = (me.namespaces.lock().clone(), me.credentials.lock().try_clone()?);
        Ok(Entry {
            namespaces,
            credentials,
            has_user_space: false,
            has_time_space: false,
            root: None,
            children: None,
        })
    }

    /// Adds a namespace. EINVAL, EPERM.
    fn add(&mut self, me: &Process, kind: u32, which: Which) -> Result<(), Errno> {
        let own = &mut self.credentials;
        if kind == CLONE_NEWUSER {
            let space = if let Which::User(space) = which { Some(space) } else { None };
            if same(space.as_ref(), own.space.as_ref())
                || me.threads.lock().len() > 1
                || Arc::strong_count(&me.fs) > 1
            {
                return Err(Errno::INVAL);
            }
            if !own.can_in(space.as_ref(), capability::SYS_ADMIN) {
                return Err(Errno::PERM);
            }
            (own.space, own.capabilities) = (space, Capabilities::FULL);
            self.has_user_space = true;
            return Ok(());
        }
        if !own.can_in(which.owner().as_ref(), capability::SYS_ADMIN)
            || !own.capabilities.can(capability::SYS_ADMIN)
        {
            return Err(Errno::PERM);
        }
        let namespaces = &mut self.namespaces;
        match (kind, which) {
            (CLONE_NEWNS, which) => {
                if !own.capabilities.can(capability::SYS_CHROOT) {
                    return Err(Errno::PERM);
                }
                if Arc::strong_count(&me.fs) > 1 {
                    return Err(Errno::INVAL);
                }
                namespaces.mounts = if let Which::Mounts(space) = which { Some(space) } else { None };
                self.root = Some(root_of(namespaces.mounts.as_deref()));
            }
            (CLONE_NEWUTS, Which::Uts(uts)) => namespaces.uts = Some(uts),
            (CLONE_NEWUTS, _) => namespaces.uts = None,
            (CLONE_NEWCGROUP, Which::Cgroups(cgroups)) => namespaces.cgroups = Some(cgroups),
            (CLONE_NEWCGROUP, _) => namespaces.cgroups = None,
            (CLONE_NEWIPC, Which::Ipc(ipc)) => namespaces.ipc = Some(ipc),
            (CLONE_NEWIPC, _) => namespaces.ipc = None,
            (CLONE_NEWNET, Which::Net(net)) => namespaces.net = Some(net),
            (CLONE_NEWNET, _) => namespaces.net = None,
            (CLONE_NEWPID, which) => {
                let space = if let Which::Pids(space) = which { Some(space) } else { None };
                // Out of a namespace there is no way (pid_namespaces(7)).
                if !pid_space::is_within(space.as_ref(), me.pid_space()) {
                    return Err(Errno::INVAL);
                }
                self.children = Some(space);
            }
            (CLONE_NEWTIME, which) => {
                // Neither may others run in its memory, after vfork(2) or clone(2) with CLONE_VM.
                if me.threads.lock().len() > 1 || me.shares_memory() {
                    return Err(Errno::USERS);
                }
                namespaces.time_of_children = if let Which::Time(space) = which { Some(space) } else { None };
                self.has_time_space = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn enter(mut self, me: &Process) -> Result<(), Errno> {
        if let Some(space) = self.children {
            me.send_children_to(space, &mut self.namespaces);
        }
        me.set_namespaces(self.namespaces);
        if let Some(root) = self.root {
            me.fs.set_root(root.clone());
            me.fs.set_directory(root);
        }
        if self.has_user_space {
            me.set_user_space(self.credentials);
        }
        if self.has_time_space && me.enter_time_of_children() {
            exec::replace_vdso(me)?;
        }
        Ok(())
    }
}
