//! unshare(2) and setns(2).
use super::call::Call;
use alloc::sync::Arc;
use coracle_capabilities::Capabilities;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{capability, check_capability_in};
use coracle_core::fs::mount_space::root_of;
use coracle_core::ipc::pidfd;
use coracle_core::task::look_into;
use coracle_core::task::namespaces::{self, KINDS, SINGLE};
use coracle_core::task::pid_space;
use coracle_core::task::process::{Credentials, Process};
use coracle_core::task::user_space::same;
use coracle_system::proc::namespaces::{Namespace, Which};
use linux_raw_sys::general::*;

/// What unshare(2) takes beside namespaces. Of these a process of several threads shares all within itself.
const OTHERS: u32 = CLONE_FILES | CLONE_FS | CLONE_SYSVSEM | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;

/// unshare(2). EINVAL for namespaces of which there is one, and for what a process of several threads, or one that shares its root with
/// others, can't do.
pub fn unshare(call: &Call) -> SysResult {
    let mut flags = call.u32(0);
    if flags & !(OTHERS | KINDS | SINGLE) != 0 {
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
    namespaces::renew(process, process, flags & (KINDS | SINGLE))?;
    Ok(0)
}

/// setns(2): into the namespace that a descriptor stands for, or into those of a process.
pub fn setns(call: &Call) -> SysResult {
    let (me, kinds) = (&call.thread().process, call.u32(1));
    if pidfd::pid_of(me, call.i32(0)).is_ok() {
        if kinds == 0 || kinds & !(KINDS | SINGLE) != 0 {
            return Err(Errno::INVAL);
        }
        let target = super::other_process::process_of_descriptor(me, call.i32(0))?;
        look_into::check(&target)?;
        // That of users first, which may give the rights for the others.
        for kind in [CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWCGROUP, CLONE_NEWPID] {
            if kinds & kind != 0 {
                enter(me, kind, Which::of(&target, kind))?;
            }
        }
        return Ok(0);
    }
    let open = me.descriptors.get(call.i32(0))?;
    let namespace = open.file.as_any().downcast_ref::<Namespace>().ok_or(Errno::INVAL)?;
    if kinds != 0 && kinds != namespace.kind {
        return Err(Errno::INVAL);
    }
    enter(me, namespace.kind, namespace.which.clone())?;
    Ok(0)
}

fn enter(me: &Process, kind: u32, which: Which) -> Result<(), Errno> {
    let own = me.credentials.lock().ids();
    if kind == CLONE_NEWUSER {
        let space = if let Which::User(space) = which { Some(space) } else { None };
        if same(space.as_ref(), own.space.as_ref())
            || me.threads.lock().len() > 1
            || Arc::strong_count(&me.fs) > 1
        {
            return Err(Errno::INVAL);
        }
        check_capability_in(space.as_ref(), capability::SYS_ADMIN)?;
        let groups = me.credentials.lock().try_clone()?.groups;
        me.set_user_space(Credentials { space, groups, capabilities: Capabilities::FULL, ..own });
        return Ok(());
    }
    check_capability_in(which.owner().as_ref(), capability::SYS_ADMIN)?;
    if !own.capabilities.can(capability::SYS_ADMIN) {
        return Err(Errno::PERM);
    }
    let mut namespaces = me.namespaces.lock().clone();
    match (kind, which) {
        (CLONE_NEWNS, which) => {
            if !own.capabilities.can(capability::SYS_CHROOT) {
                return Err(Errno::PERM);
            }
            if Arc::strong_count(&me.fs) > 1 {
                return Err(Errno::INVAL);
            }
            namespaces.mounts = if let Which::Mounts(space) = which { Some(space) } else { None };
            let root = root_of(namespaces.mounts.as_deref());
            me.fs.set_root(root.clone());
            me.fs.set_directory(root);
        }
        (CLONE_NEWUTS, Which::Uts(uts)) => namespaces.uts = Some(uts),
        (CLONE_NEWUTS, _) => namespaces.uts = None,
        (CLONE_NEWCGROUP, Which::Cgroups(cgroups)) => namespaces.cgroups = Some(cgroups),
        (CLONE_NEWCGROUP, _) => namespaces.cgroups = None,
        (CLONE_NEWPID, which) => {
            let space = if let Which::Pids(space) = which { Some(space) } else { None };
            // Out of a namespace there is no way (pid_namespaces(7)).
            if !pid_space::is_within(space.as_ref(), me.pid_space()) {
                return Err(Errno::INVAL);
            }
            me.send_children_to(space, &mut namespaces);
        }
        // There is one, which the program is in.
        _ => {}
    }
    let old = core::mem::replace(&mut *me.namespaces.lock(), namespaces);
    drop(old);
    Ok(())
}
