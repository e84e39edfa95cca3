//! A file, directory, link or special file of the layers.
use super::file::OverlayFile;
use super::layers::Overlay;
use crate::memory::DirectoryFile;
use crate::users::{Used, Users};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::file::File;
use coracle_core::fs::inode::{Changes, Inode, Link, NewNode, TakeEntry, Usage};
use coracle_core::fs::mount::{Path, Place};
use coracle_core::fs::notify;
use coracle_core::fs::stat::Metadata;
use coracle_core::lock::Mutex;
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, Text, try_arc, try_arc_cyclic};
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicBool, Ordering};
use core::any::Any;
use core::mem;
use linux_raw_sys::general::{O_ACCMODE, O_RDONLY, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};

/// f_type of overlayfs (statfs(2)).
const MAGIC: u64 = 0x794c_7630;

/// Where a file lies. Of one that is in a layer below alone it says where it is copied to.
#[derive(Default)]
pub(super) struct Location {
    pub parent: Option<Arc<Node>>,
    /// `None` for the root, and once it is removed.
    pub name: Option<Arc<[u8]>>,
}

/// See the module.
pub struct Node {
    overlay: Arc<Overlay>,
    number: u64,
    /// The kind bits of the mode, which never change.
    kind: u32,
    /// What of the layers below shows through, the upper ones first: several directories, or one file.
    lowers: Vec<Path>,
    upper: Once<Arc<dyn Inode>>,
    pub(super) location: Mutex<Location>,
    mounted: AtomicBool,
    pub(super) users: Users,
    this: Weak<Node>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if notify::is_on() && self.links() == 0 {
            notify::inode_gone(self.identity());
        }
        let mut nodes = self.overlay.nodes.lock();
        if nodes.by_number.get(&self.number).is_some_and(|node| node.strong_count() == 0) {
            nodes.by_number.remove(&self.number);
        }
        if let Some(number) = self.upper.get().map(|upper| upper.identity().1)
            && nodes.by_upper.get(&number).is_some_and(|node| node.strong_count() == 0)
        {
            nodes.by_upper.remove(&number);
        }
        drop(nodes);
        // One by one: a tree may be as deep as a program likes.
        let mut parent = self.location.get_mut().parent.take();
        while let Some(node) = parent {
            parent = Arc::into_inner(node).and_then(|mut node| node.location.get_mut().parent.take());
        }
    }
}

impl Used for Node {
    fn users(&self) -> Option<&Users> {
        Some(&self.users)
    }
}

impl Node {
    pub(super) fn new(
        overlay: &Arc<Overlay>,
        mut lowers: Vec<Path>,
        upper: Option<Arc<dyn Inode>>,
        number: u64,
        location: Location,
    ) -> Result<Arc<Node>, NoMemory> {
        let top = upper.as_ref().or(lowers.first().map(|lower| &lower.inode));
        let kind = top.map_or(0, |inode| inode.kind().0);
        let node = try_arc_cyclic(|this| Node {
            overlay: overlay.clone(),
            number,
            kind,
            lowers: mem::take(&mut lowers),
            upper: Once::new(),
            location: Mutex::new(location),
            mounted: AtomicBool::new(false),
            users: Users::new(),
            this: this.clone(),
        })?;
        if let Some(upper) = upper {
            node.give_upper(upper);
        }
        Ok(node)
    }
    pub(super) fn overlay(&self) -> &Arc<Overlay> {
        &self.overlay
    }
    pub(super) fn this(&self) -> Arc<Node> {
        // A method runs on a node that its caller holds.
        self.this.upgrade().expect("a node in use is alive")
    }
    pub(super) fn number(&self) -> u64 {
        self.number
    }
    pub(super) fn kind_bits(&self) -> u32 {
        self.kind
    }
    pub(super) fn is_directory(&self) -> bool {
        self.kind == S_IFDIR
    }
    pub(super) fn lowers(&self) -> &[Path] {
        &self.lowers
    }
    pub(super) fn lower(&self) -> Option<&Path> {
        self.lowers.first()
    }
    pub(super) fn upper(&self) -> Option<&Arc<dyn Inode>> {
        self.upper.get()
    }
    /// The file of the uppermost layer that has it.
    fn top(&self) -> Result<&Arc<dyn Inode>, Errno> {
        self.upper.get().or(self.lower().map(|lower| &lower.inode)).ok_or(Errno::NODATA)
    }
    /// It is in the uppermost layer from now on.
    pub(super) fn give_upper(&self, upper: Arc<dyn Inode>) {
        self.upper.call_once(|| upper);
    }
    /// The same, for one that lookups of the file there are to find. ENOMEM.
    pub(super) fn set_upper(&self, upper: Arc<dyn Inode>) -> Result<(), Errno> {
        self.overlay.nodes.lock().by_upper.insert(upper.identity().1, self.this.clone())?;
        self.give_upper(upper);
        Ok(())
    }
    pub(super) fn is_removed(&self) -> bool {
        let location = self.location.lock();
        location.parent.is_some() && location.name.is_none()
    }

    /// st_nlink. Linux's overlayfs has 1 for a directory of both layers, too.
    fn links(&self) -> u64 {
        let links = || self.top().map_or(0, |top| top.metadata().links);
        match self.upper.get() {
            None if self.is_removed() => 0,
            Some(_) if self.kind == S_IFDIR && self.lower().is_some() => links().min(1),
            None if self.lowers.len() > 1 => links().min(1),
            _ => links(),
        }
    }

    /// The name that led to it is gone.
    pub(super) fn lost_name(&self) {
        if self.upper.get().is_none() || self.is_directory() {
            self.location.lock().name = None;
        }
    }
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        let metadata = self.top().map_or_else(|_| Metadata::default(), |top| top.metadata());
        Metadata { device: self.overlay.device, inode: self.number, links: self.links(), ..metadata }
    }
    fn mode(&self) -> u32 {
        self.top().map_or(self.kind, |top| top.mode())
    }
    fn kind(&self) -> (u32, bool) {
        (self.kind, self.mounted.load(Ordering::Acquire))
    }
    fn identity(&self) -> (u64, u64) {
        (self.overlay.device, self.number)
    }
    fn backing_device(&self) -> u64 {
        self.overlay.upper().map_or(self.overlay.device, |upper| upper.work().identity().0)
    }
    fn show_options(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(self.overlay.options())
    }
    fn mounted(&self) -> Option<&AtomicBool> {
        Some(&self.mounted)
    }
    fn lookup(&self, name: &[u8]) -> Result<Option<Arc<dyn Inode>>, Errno> {
        if !self.is_directory() {
            return Err(Errno::NOTDIR);
        }
        Ok(self.find(name)?.map(|node| node as Arc<dyn Inode>))
    }
    fn is_lasting(&self) -> bool {
        true
    }
    fn parent(&self) -> Option<Arc<dyn Inode>> {
        let parent = self.location.lock().parent.clone();
        parent.map(|node| node as Arc<dyn Inode>)
    }
    fn name(&self) -> Option<Arc<[u8]>> {
        self.location.lock().name.clone()
    }
    fn list(&self, from: u64, take: TakeEntry) -> Result<(), Errno> {
        if self.is_directory() { self.list_both(from, take) } else { Err(Errno::NOTDIR) }
    }
    fn link(&self) -> Result<Link, Errno> {
        self.top().map_err(|_| Errno::INVAL)?.link()
    }
    fn create(&self, name: &[u8], node: NewNode, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        Ok(self.make(name, node, mode)?)
    }
    fn create_nameless(&self, mode: u32) -> Result<Arc<dyn Inode>, Errno> {
        let upper = self.copy_up(true)?.create_nameless(mode)?;
        Ok(self.with_upper(b"", upper)?)
    }
    fn add_link(&self, name: &[u8], node: &Arc<dyn Inode>) -> Result<(), Errno> {
        self.add_name(name, self.same_overlay(node)?)
    }
    fn remove(&self, name: &[u8], directory: bool) -> Result<(), Errno> {
        self.remove_name(name, directory)
    }
    fn rename(&self, from: &[u8], target: &Arc<dyn Inode>, to: &[u8], flags: u32) -> Result<(), Errno> {
        self.rename_to(from, self.same_overlay(target)?, to, flags)
    }
    fn change(&self, changes: Changes) -> Result<(), Errno> {
        self.copy_up(true)?.change(changes)
    }
    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.top()?.xattr(&self.overlay.name_in_layer(name)?)
    }
    fn set_xattr(&self, name: &[u8], value: Option<&[u8]>, flags: u32) -> Result<(), Errno> {
        self.copy_up(true)?.set_xattr(&self.overlay.name_in_layer(name)?, value, flags)
    }
    fn xattr_names(&self) -> Result<Vec<u8>, Errno> {
        let all = self.top().map_or(Ok(Vec::new()), |top| top.xattr_names())?;
        let mut seen = Vec::new();
        for name in all.split_inclusive(|&byte| byte == 0) {
            for part in self.overlay.name_outside(name).into_iter().flatten() {
                seen.try_extend_from_slice(part)?;
            }
        }
        Ok(seen)
    }
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        if self.kind != S_IFREG {
            return Err(Errno::INVAL);
        }
        self.users.check_not_executed()?;
        self.copy_up(size > 0)?.truncate(size)
    }
    fn prepare_writing(&self, truncates: bool) -> Result<(), Errno> {
        match self.kind {
            S_IFREG => {
                self.users.check_not_executed()?;
                self.copy_up(!truncates).map(drop)
            }
            _ => Ok(()),
        }
    }
    fn open(self: Arc<Self>, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
        match self.kind & S_IFMT {
            S_IFDIR => Ok(try_arc(DirectoryFile::new(place))?),
            S_IFREG => {
                // One that is to be written was copied up before.
                if flags & O_ACCMODE != O_RDONLY && self.upper.get().is_none() {
                    return Err(Errno::ROFS);
                }
                OverlayFile::open(self, place, flags)
            }
            S_IFLNK => Err(Errno::LOOP),
            _ => self.top()?.clone().open(place, flags),
        }
    }
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        self.upper.get().map_or(Ok(()), |upper| upper.sync(data_only))
    }
    fn usage(&self) -> Usage {
        let layer = self.overlay.upper().map(|upper| upper.work()).or_else(|_| self.top());
        Usage { magic: MAGIC, ..layer.map_or_else(|_| Usage::default(), |layer| layer.usage()) }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
