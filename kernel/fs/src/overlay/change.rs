//! Changes of names.
use super::layers::Overlay;
use super::lookup::{Mark, is_whiteout};
use super::node::{Location, Node};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{Inode, NewNode};
use coracle_core::fs::mount::Path;
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

    /// Makes an entry; EEXIST. Before the root has a volume, the kernel's own directories are made in memory.
    pub(super) fn make(&self, name: &[u8], new: NewNode, mode: u32) -> Result<Arc<Node>, Errno> {
        if matches!(new, NewNode::Special(S_IFCHR, 0)) {
            return Err(Errno::PERM);
        }
        let _changing = self.overlay().changing.lock();
        let Ok(layers) = self.overlay().upper() else {
            self.lower()
                .filter(|_| self.overlay().is_root())
                .ok_or(Errno::ROFS)?
                .inode
                .create(name, new, mode)?;
            return self.find(name)?.ok_or(Errno::IO);
        };
        if self.is_removed() {
            return Err(Errno::NOENT);
        }
        let upper = self.copy_up_held(true)?;
        let made = match upper.lookup(name)? {
            Some(entry) if is_whiteout(&entry) => {
                let is_directory = matches!(new, NewNode::Directory);
                let temporary = layers.temporary()?;
                let inherited = if is_directory { self.mode() & S_ISGID } else { 0 };
                let made = layers.work().create(temporary.as_bytes(), new, mode | inherited)?;
                if is_directory {
                    self.overlay().set_opaque(&made)?;
                }
                // A directory and the whiteout change places.
                let how = if is_directory { RENAME_EXCHANGE } else { 0 };
                let placed = layers.work().rename(temporary.as_bytes(), upper, name, how);
                if placed.is_err() || is_directory {
                    layers.discard(temporary.as_bytes());
                }
                placed?;
                made
            }
            Some(_) => return Err(Errno::EXIST),
            None if self.is_below(name)? => return Err(Errno::EXIST),
            None => upper.create(name, new, mode)?,
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
        if upper.lookup(name)?.is_none() {
            return upper.add_link(name, file);
        }
        let temporary = layers.temporary()?;
        layers.work().add_link(temporary.as_bytes(), file)?;
        let placed = layers.work().rename(temporary.as_bytes(), upper, name, 0);
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

    /// Takes an entry away; where a layer below has the name, a whiteout takes its place.
    fn take_away(&self, name: &[u8], child: &Node) -> Result<(), Errno> {
        let layers = self.overlay().upper()?;
        let is_below = self.is_below(name)?;
        let upper = self.copy_up_held(true)?;
        let entry = upper.lookup(name)?;
        match (&entry, is_below) {
            (None, true) => {
                let whiteout = layers.make_whiteout()?;
                let placed = layers.work().rename(whiteout.as_bytes(), upper, name, 0);
                if placed.is_err() {
                    layers.discard(whiteout.as_bytes());
                }
                placed?;
            }
            (Some(_), false) if !child.is_directory() => upper.remove(name, false)?,
            // A directory may have whiteouts in it.
            (Some(_), _) => {
                let temporary = layers.temporary()?;
                let how = if is_below { RENAME_WHITEOUT } else { 0 };
                upper.rename(name, layers.work(), temporary.as_bytes(), how)?;
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
        child.check_move()?;
        if let Some(old) = &old {
            if Arc::ptr_eq(old, &child) {
                return Ok(());
            }
            if exchanges {
                if self.lies_in(old) {
                    return Err(Errno::INVAL);
                }
                old.check_move()?;
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
        let is_below = self.is_below(from)?;
        let replaced = goal.lookup(to)?;
        if child.is_directory() && replaced.is_some() {
            // A directory and the whiteout change places.
            source.rename(from, goal, to, RENAME_EXCHANGE)?;
            if !is_below {
                source.remove(from, false)?;
            }
        } else {
            let how = if is_below { RENAME_WHITEOUT } else { 0 };
            source.rename(from, goal, to, how)?;
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
        source.rename(from, goal, to, RENAME_EXCHANGE)?;
        *child.location.lock() = Location { parent: Some(target.this()), name: Some(new_name) };
        *old.location.lock() = Location { parent: Some(self.this()), name: Some(old_name) };
        names_changed();
        Ok(())
    }

    /// EXDEV for a directory through which layers below show, unless it may take them along.
    fn check_move(&self) -> Result<(), Errno> {
        let is_free = !self.is_directory() || self.lower().is_none() || self.overlay().redirects();
        if is_free { Ok(()) } else { Err(Errno::XDEV) }
    }

    /// A directory takes along what of the layers below shows through it, and nothing else of them shows through it at its new place.
    fn prepare_move(&self) -> Result<(), Errno> {
        if !self.is_directory() {
            return Ok(());
        }
        let upper = self.copy_up_held(true)?;
        match self.lower() {
            Some(lower) => upper.set_xattr(
                self.overlay().name_of(Mark::Redirect),
                Some(&self.overlay().path_below(lower)?),
                0,
            ),
            None => self.overlay().set_opaque(upper),
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

impl Overlay {
    /// The absolute path of a directory in its layer. ENOMEM.
    fn path_below(&self, directory: &Path) -> Result<Vec<u8>, Errno> {
        let mut names = Vec::new();
        let mut at = directory.inode.clone();
        while !self.is_layer(&at) {
            let (Some(parent), Some(name)) = (at.parent(), at.name()) else { break };
            names.try_push(name)?;
            at = parent;
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.try_push(b'/')?;
            path.try_extend_from_slice(name)?;
        }
        Ok(path)
    }
}
