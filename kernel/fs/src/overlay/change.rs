//! Changes of names.
use super::lookup::{IS_OPAQUE, OPAQUE, REDIRECT};
use super::node::{Location, Node};
use crate::{ext4, memory};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{Inode, NewNode};
use coracle_core::fs::names_changed;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc_bytes;
use coracle_hal::sync::atomic::Ordering;
use linux_raw_sys::general::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, S_IFCHR, S_ISGID};

impl Node {
    pub(super) fn same_overlay<'a>(&self, other: &'a Arc<dyn Inode>) -> Result<&'a Node, Errno> {
        let other = other.as_any().downcast_ref::<Node>().ok_or(Errno::XDEV)?;
        if Arc::ptr_eq(self.overlay(), other.overlay()) { Ok(other) } else { Err(Errno::XDEV) }
    }

    /// Makes an entry; EEXIST. Before there is a volume, the kernel's own directories are made in memory.
    pub(super) fn make(&self, name: &[u8], new: NewNode, mode: u32) -> Result<Arc<Node>, Errno> {
        if matches!(new, NewNode::Special(S_IFCHR, 0)) {
            return Err(Errno::PERM);
        }
        let _changing = self.overlay().changing.lock();
        let Ok(layers) = self.overlay().upper() else {
            self.lower().ok_or(Errno::ROFS)?.create(name, new, mode)?;
            return self.find(name)?.ok_or(Errno::IO);
        };
        if self.is_removed() {
            return Err(Errno::NOENT);
        }
        let upper = self.copy_up_held(true)?;
        let made = match upper.child(name)? {
            Some(entry) if entry.is_whiteout() => {
                let is_directory = matches!(new, NewNode::Directory);
                let temporary = layers.temporary()?;
                let inherited = if is_directory { self.mode() & S_ISGID } else { 0 };
                let made = layers.work().make(temporary.as_bytes(), new, mode | inherited)?;
                if is_directory {
                    made.set_xattr(OPAQUE, Some(IS_OPAQUE), 0)?;
                }
                // A directory and the whiteout change places.
                let how = if is_directory { RENAME_EXCHANGE } else { 0 };
                let placed = layers.work().rename(temporary.as_bytes(), &dynamic(upper), name, how);
                if placed.is_err() || is_directory {
                    layers.discard(temporary.as_bytes());
                }
                placed?;
                made
            }
            Some(_) => return Err(Errno::EXIST),
            None if self.lower_child(name)?.is_some() => return Err(Errno::EXIST),
            None => upper.make(name, new, mode)?,
        };
        self.with_upper(name, made)
    }

    /// A further name for a file; EEXIST.
    pub(super) fn add_name(&self, name: &[u8], node: &Node) -> Result<(), Errno> {
        if node.is_directory() {
            return Err(Errno::PERM);
        }
        let _changing = self.overlay().changing.lock();
        if self.find(name)?.is_some() {
            return Err(Errno::EXIST);
        }
        let layers = self.overlay().upper()?;
        let (file, upper) = (node.copy_up_held(true)?, self.copy_up_held(true)?);
        if upper.child(name)?.is_none() {
            return upper.add_link(name, &dynamic(file));
        }
        let temporary = layers.temporary()?;
        layers.work().add_link(temporary.as_bytes(), &dynamic(file))?;
        let placed = layers.work().rename(temporary.as_bytes(), &dynamic(upper), name, 0);
        if placed.is_err() {
            layers.discard(temporary.as_bytes());
        }
        placed
    }

    /// Removes an entry: an empty directory, or anything else.
    pub(super) fn remove_name(&self, name: &[u8], directory: bool) -> Result<(), Errno> {
        let _changing = self.overlay().changing.lock();
        let child = self.find(name)?.ok_or(Errno::NOENT)?;
        if child.is_directory() != directory {
            return Err(if directory { Errno::NOTDIR } else { Errno::ISDIR });
        }
        if directory {
            child.check_removable()?;
        }
        self.take_away(name, &child)
    }

    /// EBUSY if something is mounted on the directory, ENOTEMPTY.
    fn check_removable(&self) -> Result<(), Errno> {
        if self.mounted().is_some_and(|mounted| mounted.load(Ordering::Acquire)) {
            return Err(Errno::BUSY);
        }
        if self.is_empty()? { Ok(()) } else { Err(Errno::NOTEMPTY) }
    }

    /// Takes an entry away; where the image has the name, a whiteout takes its place.
    fn take_away(&self, name: &[u8], child: &Node) -> Result<(), Errno> {
        let layers = self.overlay().upper()?;
        let is_in_image = self.lower_child(name)?.is_some();
        let upper = self.copy_up_held(true)?;
        let entry = upper.child(name)?;
        match (&entry, is_in_image) {
            (None, true) => {
                let whiteout = layers.make_whiteout()?;
                let placed = layers.work().rename(whiteout.as_bytes(), &dynamic(upper), name, 0);
                if placed.is_err() {
                    layers.discard(whiteout.as_bytes());
                }
                placed?;
            }
            (Some(_), false) if !child.is_directory() => upper.remove(name, false)?,
            // A directory may have whiteouts in it.
            (Some(_), _) => {
                let temporary = layers.temporary()?;
                let how = if is_in_image { RENAME_WHITEOUT } else { 0 };
                upper.rename(name, &dynamic(layers.work()), temporary.as_bytes(), how)?;
                layers.discard(temporary.as_bytes());
            }
            (None, false) => return Err(Errno::NOENT),
        }
        names_changed();
        child.lost_name();
        Ok(())
    }

    /// rename(2) and renameat2(2). EINVAL for RENAME_WHITEOUT, as overlayfs.
    pub(super) fn rename_to(&self, from: &[u8], target: &Node, to: &[u8], flags: u32) -> Result<(), Errno> {
        if flags & RENAME_WHITEOUT != 0 {
            return Err(Errno::INVAL);
        }
        let exchanges = flags & RENAME_EXCHANGE != 0;
        let _changing = self.overlay().changing.lock();
        let child = self.find(from)?.ok_or(Errno::NOENT)?;
        let old = target.find(to)?;
        if target.is_removed() || exchanges && old.is_none() {
            return Err(Errno::NOENT);
        }
        if flags & RENAME_NOREPLACE != 0 && old.is_some() {
            return Err(Errno::EXIST);
        }
        if target.lies_in(&child) {
            return Err(Errno::INVAL);
        }
        if let Some(old) = &old {
            if Arc::ptr_eq(old, &child) {
                return Ok(());
            }
            if exchanges {
                if self.lies_in(old) {
                    return Err(Errno::INVAL);
                }
                return self.exchange((from, &child), target, (to, old));
            }
            match (child.is_directory(), old.is_directory()) {
                (false, true) => return Err(Errno::ISDIR),
                (true, false) => return Err(Errno::NOTDIR),
                (true, true) => {
                    old.check_removable()?;
                    target.take_away(to, old)?;
                }
                (false, false) => {}
            }
        }
        self.move_entry((from, &child), target, to, old.as_deref().filter(|old| !old.is_directory()))
    }

    /// Moves an entry to where nothing is, or a file, `old`, which it replaces in the same instant.
    #[inline(never)]
    fn move_entry(
        &self,
        (from, child): (&[u8], &Node),
        target: &Node,
        to: &[u8],
        old: Option<&Node>,
    ) -> Result<(), Errno> {
        let (source, goal) = (self.copy_up_held(true)?, target.copy_up_held(true)?);
        child.copy_up_held(true)?;
        child.prepare_move()?;
        let new_name = try_arc_bytes(to)?;
        let is_in_image = self.lower_child(from)?.is_some();
        let replaced = goal.child(to)?;
        if child.is_directory() && replaced.is_some() {
            // A directory and the whiteout change places.
            source.rename(from, &dynamic(goal), to, RENAME_EXCHANGE)?;
            if !is_in_image {
                source.remove(from, false)?;
            }
        } else {
            let how = if is_in_image { RENAME_WHITEOUT } else { 0 };
            source.rename(from, &dynamic(goal), to, how)?;
        }
        *child.location.lock() = Location { parent: Some(target.this()), name: Some(new_name) };
        names_changed();
        if let Some(old) = old {
            old.lost_name();
        }
        Ok(())
    }

    /// Has two entries change places.
    #[inline(never)]
    fn exchange(
        &self,
        (from, child): (&[u8], &Node),
        target: &Node,
        (to, old): (&[u8], &Node),
    ) -> Result<(), Errno> {
        let (source, goal) = (self.copy_up_held(true)?, target.copy_up_held(true)?);
        child.copy_up_held(true)?;
        old.copy_up_held(true)?;
        child.prepare_move()?;
        old.prepare_move()?;
        let (new_name, old_name) = (try_arc_bytes(to)?, try_arc_bytes(from)?);
        source.rename(from, &dynamic(goal), to, RENAME_EXCHANGE)?;
        *child.location.lock() = Location { parent: Some(target.this()), name: Some(new_name) };
        *old.location.lock() = Location { parent: Some(self.this()), name: Some(old_name) };
        names_changed();
        Ok(())
    }

    /// A directory takes along what of the image shows through it, and nothing of the image shows through it at its new place.
    fn prepare_move(&self) -> Result<(), Errno> {
        if !self.is_directory() {
            return Ok(());
        }
        let upper = self.copy_up_held(true)?;
        match self.lower() {
            Some(lower) => upper.set_xattr(REDIRECT, Some(&path_in_image(lower)?), 0),
            None => upper.set_xattr(OPAQUE, Some(IS_OPAQUE), 0),
        }
    }

    /// Whether it is the other directory, or somewhere in it.
    fn lies_in(&self, other: &Node) -> bool {
        let mut at = Some(self.this());
        while let Some(node) = at {
            if core::ptr::eq(&*node, other) {
                return true;
            }
            at = node.location.lock().parent.clone();
        }
        false
    }
}

fn dynamic(node: &Arc<ext4::Node>) -> Arc<dyn Inode> {
    node.clone()
}

/// The absolute path of a directory of the image. ENOMEM.
fn path_in_image(directory: &Arc<memory::Node>) -> Result<Vec<u8>, Errno> {
    let mut names = Vec::new();
    let mut above = directory.above();
    while let Some((parent, name)) = above {
        names.try_push(name)?;
        above = parent.above();
    }
    let mut path = Vec::new();
    for name in names.iter().rev() {
        path.try_push(b'/')?;
        path.try_extend_from_slice(name)?;
    }
    Ok(path)
}
