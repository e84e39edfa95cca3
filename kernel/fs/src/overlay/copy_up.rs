//! Copying a file of a layer below to the uppermost one before it is changed.
use super::layers::Overlay;
use super::lookup::store_origin;
use super::node::Node;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{Changes, Inode, Link, NewNode};
use coracle_core::fs::mount::{Path, Place};
use coracle_core::mm::memory::forget_file_pages;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::long_call;
use coracle_fallible::filled;
use coracle_fallible::prelude::*;
use coracle_hal::frame::FRAME_SIZE;
use linux_raw_sys::general::{O_RDONLY, S_IFDIR, S_IFLNK, S_IFREG};

impl Node {
    /// The file of the uppermost layer, to which it is copied now if it is below that alone; `with_data`: with its bytes.
    /// EROFS if there is none; ENOSPC, EIO, ENOMEM; EINTR if the program is killed.
    pub(super) fn copy_up(&self, with_data: bool) -> Result<&Arc<dyn Inode>, Errno> {
        if let Some(upper) = self.upper() {
            return Ok(upper);
        }
        let _changing = self.overlay().changing.lock();
        self.copy_up_held(with_data)
    }

    /// The same where names are being changed: `changing` is locked. The directories above come first.
    pub(super) fn copy_up_held(&self, with_data: bool) -> Result<&Arc<dyn Inode>, Errno> {
        if self.upper().is_none() {
            self.copy_path_up(with_data)?;
        }
        self.upper().ok_or(Errno::ROFS)
    }

    #[inline(never)]
    fn copy_path_up(&self, with_data: bool) -> Result<(), Errno> {
        let mut missing = Vec::new();
        missing.try_push(self.this())?;
        if !self.is_removed() {
            let mut above = self.location.lock().parent.clone();
            while let Some(node) = above.filter(|node| node.upper().is_none()) {
                above = node.location.lock().parent.clone();
                missing.try_push(node)?;
            }
        }
        while let Some(node) = missing.pop() {
            node.copy_one_up(with_data)?;
        }
        Ok(())
    }

    fn copy_one_up(&self, with_data: bool) -> Result<(), Errno> {
        let layers = self.overlay().upper()?;
        let lower = self.lower().ok_or(Errno::IO)?;
        self.overlay().check_owner(&lower.inode.metadata())?;
        if self.is_removed() {
            // Some file is open on it still.
            if self.kind_bits() != S_IFREG {
                return Err(Errno::NOENT);
            }
            let made = layers.work().create_nameless(lower.inode.mode())?;
            self.fill(lower, &made, with_data)?;
            self.set_upper(made)?;
            self.forget_pages_below();
            return Ok(());
        }
        let name = layers.temporary()?;
        let target;
        let new = match self.kind_bits() {
            S_IFDIR => NewNode::Directory,
            S_IFREG => NewNode::File,
            S_IFLNK => {
                let Link::Path(path) = lower.inode.link()? else { return Err(Errno::IO) };
                target = path;
                NewNode::Link(&target)
            }
            kind => NewNode::Special(kind, lower.inode.metadata().rdev),
        };
        let made = layers.work().create(name.as_bytes(), new, lower.inode.mode())?;
        let placed = self.place_copy(lower, made, name.as_bytes(), with_data);
        if placed.is_err() {
            layers.discard(name.as_bytes());
        }
        placed
    }

    /// Fills a copy, and puts it where the file is.
    fn place_copy(
        &self,
        lower: &Path,
        made: Arc<dyn Inode>,
        temporary: &[u8],
        with_data: bool,
    ) -> Result<(), Errno> {
        let layers = self.overlay().upper()?;
        self.fill(lower, &made, with_data)?;
        let (parent, name) = {
            let location = self.location.lock();
            (location.parent.clone().ok_or(Errno::IO)?, location.name.clone().ok_or(Errno::NOENT)?)
        };
        let parent = parent.upper().ok_or(Errno::IO)?;
        // Lookups of the copy are to find this node from the moment that it has its name.
        self.overlay().nodes.lock().by_upper.insert(made.identity().1, Arc::downgrade(&self.this()))?;
        let modified = parent.metadata().modified;
        if let Err(error) = layers.work().rename(temporary, parent, &name, 0) {
            self.overlay().nodes.lock().by_upper.remove(&made.identity().1);
            return Err(error);
        }
        self.give_upper(made);
        self.forget_pages_below();
        // For programs nothing happened in the directory.
        parent.change(Changes { modified: Some(modified), ..Changes::default() })
    }

    /// Bytes and attributes.
    fn fill(&self, lower: &Path, made: &Arc<dyn Inode>, with_data: bool) -> Result<(), Errno> {
        if self.kind_bits() == S_IFREG && with_data {
            copy_bytes(lower, made)?;
        }
        copy_attributes(self.overlay(), lower, made)?;
        store_origin(self.overlay(), self.number(), made)?;
        let from = lower.inode.metadata();
        made.change(Changes {
            mode: Some(from.mode),
            uid: Some(from.uid),
            gid: Some(from.gid),
            accessed: Some(from.accessed),
            modified: Some(from.modified),
            now: false,
        })
    }

    /// Programs that have pages of a layer below mapped are to see the copy's.
    fn forget_pages_below(&self) {
        if self.kind_bits() == S_IFREG {
            forget_file_pages(0, |file| {
                file.place().is_some_and(|place| core::ptr::addr_eq(Arc::as_ptr(&place.path.inode), self))
            });
        }
    }
}

/// Copies the extended attributes that are not the overlay's own.
fn copy_attributes(overlay: &Overlay, lower: &Path, made: &Arc<dyn Inode>) -> Result<(), Errno> {
    let names = lower.inode.xattr_names()?;
    let is_copied = |name: &&[u8]| !name.is_empty() && overlay.name_outside(name).is_some();
    for name in names.split(|&byte| byte == 0).filter(is_copied) {
        made.set_xattr(name, Some(&lower.inode.xattr(name)?), 0)?;
    }
    Ok(())
}

/// Copies the bytes of a file, which are on the disk before a name leads to them.
fn copy_bytes(lower: &Path, made: &Arc<dyn Inode>) -> Result<(), Errno> {
    let file = lower.inode.clone().open(Place { path: lower.clone(), name: None }, O_RDONLY)?;
    let mut page = filled(0, FRAME_SIZE)?;
    let mut at = 0;
    loop {
        let len = file.read(&mut UserBuf::kernel_out(&mut page), at, false)?;
        if len == 0 {
            return made.write_back(0, u64::MAX);
        }
        made.put_bytes(at, &page[..len])?;
        at += len as u64;
        long_call::pause_unless_killed()?;
    }
}
