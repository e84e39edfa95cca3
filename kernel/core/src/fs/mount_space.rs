//! Mount namespaces (mount_namespaces(7)): trees of mounts of their own, and what moves whole parts of a tree.
//!
//! All mounts are in one list, and each says which namespace it belongs to: what covers a directory is looked for by the mount that the
//! directory was reached through, so a walk needs to know of no namespace.
use super::mount::{
    self, FileSystem, LOCKED, MOUNTS, Mount, MountFlags, NewMount, Path, Place, TIMES_LOCKED, attach,
    check_there, take_off,
};
use super::path_cache::{self, names_changed};
use crate::errno::Errno;
use crate::task::user_space::{UserSpace, next_inode};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, try_arc};
use coracle_hal::sync::atomic::Ordering::*;

/// A namespace other than the first. Its mounts go with it.
pub struct Space {
    /// Number of its inode, and [`Mount::space()`] of its mounts.
    pub id: u32,
    /// The user namespace that it belongs to.
    pub owner: Option<Arc<UserSpace>>,
}

/// Mounts of all namespaces together at most, so that a walk through their list stays short (Linux's fs.mount-max is for each).
pub const MOUNTS_MAX: usize = 4096;

/// Mounts and their copies.
pub type Copies = Vec<(Arc<Mount>, Arc<Mount>)>;

/// Flags that a namespace with fewer rights may not take back.
const KEPT: MountFlags =
    MountFlags::READ_ONLY.union(MountFlags::NO_SUID).union(MountFlags::NO_DEVICES).union(MountFlags::NO_EXEC);

impl Space {
    /// A copy of the tree of `from`, or of the first, with the mounts that were copied. `locks`: it is for a user namespace with fewer
    /// rights. ENOMEM.
    pub fn copy(
        from: Option<&Space>,
        id: u32,
        owner: Option<Arc<UserSpace>>,
        locks: bool,
    ) -> Result<(Arc<Space>, Copies), Errno> {
        // It takes its mounts with it if it does not come to be.
        let space = try_arc(Space { id, owner })?;
        let mut mounts = MOUNTS.write();
        let old = from.map_or(0, |from| from.id);
        let members = mounts.iter().filter(|mount| mount.space() == old);
        if mounts.len() + members.clone().count() > MOUNTS_MAX {
            return Err(Errno::NOSPC);
        }
        let copies: Copies = members
            .map(|mount| Ok::<_, NoMemory>((mount.clone(), copy_of(mount, id, locks)?)))
            .try_collect_ok()?;
        mounts.make_room(copies.len())?;
        for (old, copy) in &copies {
            if let Some(mut place) = old.at() {
                relocate(&mut place, &copies);
                copy.put_at(Some(place));
                if locks {
                    copy.locked.fetch_or(LOCKED, SeqCst);
                }
            }
            mounts.push_reserved(copy.clone());
        }
        Ok((space, copies))
    }
}

/// ENOSPC unless there may be so many more mounts.
fn check_room(count: usize) -> Result<(), Errno> {
    if MOUNTS.read().len() + count > MOUNTS_MAX { Err(Errno::NOSPC) } else { Ok(()) }
}

/// Has a place be on the copy of its mount.
fn relocate(place: &mut Place, copies: &Copies) {
    let on_copy = |path: &mut Path| {
        if let Some((_, copy)) = copies.iter().find(|(old, _)| Arc::ptr_eq(old, &path.mount)) {
            path.mount = copy.clone();
        }
    };
    on_copy(&mut place.path);
    if let Some((directory, _)) = &mut place.name {
        on_copy(directory);
    }
}

/// A copy of a mount, which is nowhere yet.
fn copy_of(mount: &Arc<Mount>, space: u32, locks: bool) -> Result<Arc<Mount>, NoMemory> {
    let flags = mount.flags();
    let copy = Mount::new(
        NewMount {
            root: mount.root.clone(),
            kind: mount.kind,
            source: mount.source.try_to_vec()?,
            flags,
            file_system: Some(mount.file_system.clone()),
        },
        space,
    )?;
    let locked = if locks { (flags & KEPT).bits() | TIMES_LOCKED } else { 0 };
    copy.locked.store(mount.locked.load(SeqCst) | locked, SeqCst);
    Ok(copy)
}

impl Drop for Space {
    fn drop(&mut self) {
        // Remembered paths keep no mounts of it, and its processes are gone.
        loop {
            let gone = {
                let mut mounts = MOUNTS.write();
                let Some(index) = mounts.iter().rposition(|mount| mount.space() == self.id) else { break };
                take_off(&mut mounts, index)
            };
            drop(gone);
        }
    }
}

/// The mounts of a namespace, the first for `None`, its root first. ENOMEM.
pub fn mounts_of(space: Option<&Space>) -> Result<Vec<Arc<Mount>>, NoMemory> {
    let id = space.map_or(0, |space| space.id);
    let mounts = MOUNTS.read();
    let mine = || mounts.iter().filter(|mount| mount.space() == id);
    mine()
        .filter(|mount| mount.is_top())
        .chain(mine().filter(|mount| !mount.is_top()))
        .cloned()
        .try_collect_vec()
}

/// The mounts of the namespace with this number. What is above a directory may have to be asked for, so it is looked at with the list free.
fn members_of(space: u32) -> Result<Vec<Arc<Mount>>, NoMemory> {
    MOUNTS.read().iter().filter(|mount| mount.space() == space).cloned().try_collect_vec()
}

impl Mount {
    /// Whether what it covers is a place or lies below that.
    fn covers_below(&self, place: &Path) -> bool {
        self.at().is_some_and(|at| is_below(&at.path, place))
    }
}

/// The root of the tree of a namespace.
pub fn root_of(space: Option<&Space>) -> Path {
    let id = space.map_or(0, |space| space.id);
    let top = MOUNTS.read().iter().find(|mount| mount.space() == id && mount.is_top()).cloned();
    top.map_or_else(mount::root, |mount| Path { inode: mount.root.clone(), mount })
}

/// Whether a path is `above` or lies below it, on the same mount or on others.
pub fn is_below(path: &Path, above: &Path) -> bool {
    let mut at = path.clone();
    loop {
        if at.same(above) {
            return true;
        }
        let parent = at.parent();
        if parent.same(&at) {
            return false;
        }
        at = parent;
    }
}

/// Copies for a namespace of the mount of `source`, to show that place, and of those below it if `recursive`, which are last in the list.
/// EINVAL if without them something would be seen that a namespace with more rights has covered.
fn copies_below(
    source: &Path,
    space: u32,
    name: Vec<u8>,
    recursive: bool,
) -> Result<(Arc<Mount>, Copies), Errno> {
    let mut below = members_of(source.mount.space())?;
    below.retain(|mount| (recursive || mount.is_locked()) && mount.covers_below(source));
    if !recursive && !below.is_empty() {
        return Err(Errno::INVAL);
    }
    let new = |root, mount: &Arc<Mount>, source, kept: u32| {
        let file_system: Option<Arc<FileSystem>> = Some(mount.file_system.clone());
        let new = NewMount { root, kind: mount.kind, source, flags: mount.flags(), file_system };
        let copy = Mount::new(new, space)?;
        copy.locked.store(mount.locked.load(SeqCst) & kept, SeqCst);
        Ok::<_, NoMemory>(copy)
    };
    check_room(below.len() + 1)?;
    // It may be taken away again, but not what is covered in it.
    let first = new(source.inode.clone(), &source.mount, name, !LOCKED)?;
    let mut copies: Copies = Vec::new();
    copies.try_push((source.mount.clone(), first.clone()))?;
    for mount in &below {
        let name = mount.source.try_to_vec()?;
        copies.try_push((mount.clone(), new(mount.root.clone(), mount, name, u32::MAX)?))?;
    }
    Ok((first, copies))
}

/// Puts copies of mounts, but the first, where those are on copies.
fn attach_copies(mounts: &mut Vec<Arc<Mount>>, copies: &Copies) -> Result<(), Errno> {
    for (old, copy) in copies.iter().skip(1) {
        if let Some(mut place) = old.at() {
            relocate(&mut place, copies);
            attach(mounts, copy.clone(), place)?;
        }
    }
    Ok(())
}

/// Mounts `source` over `at`, with what is mounted below it if `recursive` (MS_BIND, MS_REC). EINVAL, ENOMEM.
pub fn bind(source: &Path, at: Place, source_name: Vec<u8>, recursive: bool) -> Result<(), Errno> {
    let (first, copies) = copies_below(source, at.path.mount.space(), source_name, recursive)?;
    let mut mounts = MOUNTS.write();
    check_there(&mounts, &at.path.mount)?;
    mounts.make_room(copies.len())?;
    attach(&mut mounts, first, at)?;
    attach_copies(&mut mounts, &copies)
}

/// A tree of mounts that is nowhere yet, and goes with its last reference if it comes nowhere.
pub struct Tree {
    /// Its root.
    pub root: Path,
    space: Arc<Space>,
}

impl Tree {
    fn with(mount: Arc<Mount>, space: Arc<Space>) -> Tree {
        Tree { root: Path { inode: mount.root.clone(), mount }, space }
    }
    /// A copy of what is at `source`, with what is mounted below it if `recursive` (open_tree(2)). ENOMEM.
    pub fn copy(source: &Path, recursive: bool) -> Result<Tree, Errno> {
        let space = try_arc(Space { id: next_inode(), owner: None })?;
        let name = source.mount.source.try_to_vec()?;
        let (first, copies) = copies_below(source, space.id, name, recursive)?;
        let mut mounts = MOUNTS.write();
        mounts.make_room(copies.len())?;
        mounts.push_reserved(first.clone());
        let attached = attach_copies(&mut mounts, &copies);
        drop(mounts);
        attached.map(|()| Tree::with(first, space))
    }
    /// One mount (fsmount(2)). ENOSPC, ENOMEM.
    pub fn new(mount: NewMount) -> Result<Tree, Errno> {
        check_room(1)?;
        let space = try_arc(Space { id: next_inode(), owner: None })?;
        let mount = Mount::new(mount, space.id)?;
        MOUNTS.write().try_push(mount.clone())?;
        Ok(Tree::with(mount, space))
    }
    /// Whether it is still nowhere.
    pub fn is_nowhere(&self) -> bool {
        self.root.mount.space() == self.space.id
    }
    /// Mounts it over a place (move_mount(2)). EINVAL if it is mounted, or if nothing can be mounted there; ENOMEM.
    pub fn mount(&self, at: Place) -> Result<(), Errno> {
        if at.path.inode.is_directory() != self.root.inode.is_directory() {
            return Err(Errno::INVAL);
        }
        at.path.inode.mounted().ok_or(Errno::INVAL)?;
        let mut mounts = MOUNTS.write();
        if !self.is_nowhere() || at.path.mount.space() == self.space.id {
            return Err(Errno::INVAL);
        }
        let place =
            mounts.iter().position(|mount| Arc::ptr_eq(mount, &self.root.mount)).ok_or(Errno::INVAL)?;
        check_there(&mounts, &at.path.mount)?;
        let space = at.path.mount.space();
        mounts.iter().filter(|mount| mount.space() == self.space.id).for_each(|mount| mount.set_space(space));
        let mount = mounts.remove(place);
        attach(&mut mounts, mount, at)
    }
}

/// Changes the flags of a mount, and of those below it if `recursive` (mount_setattr(2)): of all, or of none. EPERM, EBUSY, ENOMEM.
pub fn change_flags(path: &Path, clear: MountFlags, set: MountFlags, recursive: bool) -> Result<(), Errno> {
    let mut all = members_of(path.mount.space())?;
    all.retain(|mount| Arc::ptr_eq(mount, &path.mount) || recursive && mount.covers_below(path));
    for mount in &all {
        mount.check_locked((mount.flags() - clear) | set)?;
    }
    for (done, mount) in all.iter().enumerate() {
        let old = mount.flags();
        if let Err(error) = mount.set_flags((old - clear) | set) {
            // Nothing else is read-only either.
            let added = set - old;
            for mount in &all[..done] {
                let _ = mount.set_flags((mount.flags() - added) | (clear & old));
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Moves the mount whose root is `from` to another place (MS_MOVE). EINVAL if it is none, or locked, or if one of both is a directory;
/// ELOOP into itself.
pub fn move_mount(from: &Path, to: Place) -> Result<(), Errno> {
    let mount = &from.mount;
    if !from.is_mount_root() || to.path.inode.is_directory() != from.inode.is_directory() {
        return Err(Errno::INVAL);
    }
    to.path.inode.mounted().ok_or(Errno::INVAL)?;
    path_cache::forget();
    let mut mounts = MOUNTS.write();
    check_there(&mounts, &to.path.mount)?;
    if mount.is_top() || mount.is_locked() {
        return Err(Errno::INVAL);
    }
    // Others move mounts, too: only with the list locked it is certain that none comes to be in itself.
    if Arc::ptr_eq(&to.path.mount, mount) || to.path.mount.is_in(mount) {
        return Err(Errno::LOOP);
    }
    let index = mounts.iter().position(|other| Arc::ptr_eq(other, mount)).ok_or(Errno::INVAL)?;
    let moved = take_off(&mut mounts, index);
    attach(&mut mounts, moved, to)
}

/// pivot_root(2): the mount whose root is `new` becomes the top of the tree, and the one whose root is `root`, which was it, is mounted
/// over `put_old`. EINVAL, EBUSY, ENOMEM.
pub fn pivot(root: &Path, new: &Path, put_old: Place) -> Result<(), Errno> {
    let is_busy = |mount: &Arc<Mount>| Arc::ptr_eq(mount, &root.mount);
    if is_busy(&new.mount) || is_busy(&put_old.path.mount) {
        return Err(Errno::BUSY);
    }
    let are_below = is_below(new, root) && is_below(&put_old.path, new);
    if !root.is_mount_root() || !new.is_mount_root() || !are_below {
        return Err(Errno::INVAL);
    }
    put_old.path.inode.mounted().ok_or(Errno::INVAL)?;
    path_cache::forget();
    let mut mounts = MOUNTS.write();
    check_there(&mounts, &put_old.path.mount)?;
    for mount in [&root.mount, &new.mount] {
        check_there(&mounts, mount).map_err(|_| Errno::INVAL)?;
    }
    // Others may have moved mounts meanwhile: none may come to be in itself.
    let is_within = |mount: &Arc<Mount>, other: &Arc<Mount>| Arc::ptr_eq(mount, other) || mount.is_in(other);
    if new.mount.is_locked() || !new.mount.is_in(&root.mount) || !is_within(&put_old.path.mount, &new.mount) {
        return Err(Errno::INVAL);
    }
    mounts.make_room(2)?;
    let mut take = |mount: &Arc<Mount>| {
        let index = mounts.iter().position(|other| Arc::ptr_eq(other, mount)).ok_or(Errno::INVAL)?;
        Ok::<_, Errno>(take_off(&mut mounts, index))
    };
    let new_mount = take(&new.mount)?;
    let old_mount = take(&root.mount)?;
    let above = old_mount.at();
    new_mount.put_at(None);
    // What covers the place below is the new one from now on.
    let locked = old_mount.locked.fetch_and(!LOCKED, SeqCst) & LOCKED;
    new_mount.locked.fetch_or(locked, SeqCst);
    match above {
        // The root was not that of the whole tree (chroot(2)).
        Some(place) => attach(&mut mounts, new_mount, place)?,
        None => mounts.push_reserved(new_mount),
    }
    attach(&mut mounts, old_mount, put_old)?;
    names_changed();
    Ok(())
}
