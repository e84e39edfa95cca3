//! A mounted volume.
use super::node::Node;
use crate::block::registry::Entry;
use crate::cache::pool;
use crate::recent::Recent;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{Inode, Usage};
use coracle_core::fs::stat::Timestamp;
use coracle_core::fs::{mount, notify};
use coracle_core::ipc::poll::Events;
use coracle_core::lock::Mutex;
use coracle_core::log::{self, Line};
use coracle_core::sleeping::{Guard, Sleeping};
use coracle_devices::block::foreign::Whole;
use coracle_ext4::{Access, FileSystem, Options, ROOT, Time};
use coracle_fallible::prelude::*;
use coracle_fallible::{Text, try_arc, try_box};
use coracle_hal::checksum;
use coracle_hal::sync::atomic::{AtomicBool, Ordering};
use coracle_sorted_map::SortedMap;

/// f_type of ext4 (statfs(2)).
const MAGIC: u64 = 0xef53;

/// A volume.
pub struct Volume {
    pub(super) fs: Sleeping<FileSystem>,
    pub(super) entry: &'static Entry,
    /// The nodes that there are.
    nodes: Mutex<SortedMap<u32, Weak<Node>>>,
    /// Those that were used lately, in a ring, and the next place in it.
    recent: Recent<Node>,
    /// Nodes with pages that the disk does not have.
    dirty: Mutex<Vec<Arc<Node>>>,
    /// Inodes that have neither a name nor a node.
    gone: Mutex<Vec<u32>>,
    /// Something was changed since the last commit.
    is_changed: AtomicBool,
    is_mounted: AtomicBool,
    /// The journal ended by an error.
    is_aborted: AtomicBool,
    /// Its disk did not take something that was written, and no program may have been told.
    has_lost: AtomicBool,
}

/// All that were ever mounted: one for each device, which serves again when that is mounted again.
static VOLUMES: Mutex<Vec<&'static Volume>> = Mutex::new(Vec::new());

/// The error that a program sees.
pub(super) fn errno(error: coracle_ext4::Error) -> Errno {
    if let coracle_ext4::Error::Corrupt(_) = error {
        log!("ext4: {error}");
    }
    Errno::new(error.errno() as u16)
}

/// The time now.
pub(super) fn now() -> Time {
    let now = Timestamp::now();
    Time { seconds: now.seconds, nanoseconds: now.nanos }
}

/// Mounts the file system on a device and returns its root, and whether it can be read only.
///
/// # Errors
/// EBUSY if the device has another user; EINVAL if there is no ext4 that is understood; EUCLEAN if it is damaged; EIO, ENOMEM.
pub fn mount(entry: &'static Entry, read_only: bool) -> Result<(Arc<dyn Inode>, bool), Errno> {
    entry.claim()?;
    let mounted = mount_claimed(entry, read_only);
    if mounted.is_err() {
        entry.release();
    }
    mounted
}

fn mount_claimed(entry: &'static Entry, read_only: bool) -> Result<(Arc<dyn Inode>, bool), Errno> {
    let disk = try_arc(Whole::new(&entry.disk, None))?;
    coracle_ext4::use_crc32c(checksum::update);
    let options = Options { read_only, now: now(), ..Options::default() };
    let fs = FileSystem::mount(disk, &options).map_err(|error| {
        log!("{} can't be mounted: {error}", entry.name);
        Errno::new(error.errno() as u16)
    })?;
    let is_read_only = match fs.access() {
        Access::Writable => false,
        Access::ReadOnly(reason) => {
            if !read_only {
                log!("{} can only be read: {reason}", entry.name);
            }
            true
        }
        Access::Aborted => true,
    };
    let volume = place_for(entry, fs)?;
    volume.is_aborted.store(false, Ordering::Release);
    volume.is_mounted.store(true, Ordering::Release);
    let root = volume.node(&mut volume.read(), ROOT)?;
    Ok((root, is_read_only))
}

/// The volume of a device, with this file system in it. ENOMEM.
fn place_for(entry: &'static Entry, fs: FileSystem) -> Result<&'static Volume, Errno> {
    let known = VOLUMES.lock().iter().find(|volume| core::ptr::eq(volume.entry, entry)).copied();
    if let Some(volume) = known {
        *volume.fs.lock() = fs;
        return Ok(volume);
    }
    let volume = try_box(Volume {
        fs: Sleeping::new(try_box(fs)?),
        entry,
        nodes: Mutex::new(SortedMap::new()),
        recent: Recent::new(),
        dirty: Mutex::new(Vec::new()),
        gone: Mutex::new(Vec::new()),
        is_changed: AtomicBool::new(false),
        is_mounted: AtomicBool::new(false),
        is_aborted: AtomicBool::new(false),
        has_lost: AtomicBool::new(false),
    })?;
    let mut volumes = VOLUMES.lock();
    volumes.make_room(1)?;
    let volume: &'static Volume = Box::leak(volume);
    volumes.push_reserved(volume);
    Ok(volume)
}

/// The volume that a file system is on, of which this is the root.
fn under(root: &Arc<dyn Inode>) -> Option<&'static Volume> {
    let device = root.backing_device();
    VOLUMES.lock().iter().find(|volume| volume.device() == device).copied()
}

/// Ends the mount whose root this is, if it is one of ext4: everything goes to the disk, and the device is free. What the disk does not take
/// is lost, which is logged: umount(2) knows no such error. `is_used`: some of its files are open still; then it stays as it is until the
/// machine ends.
pub fn unmount(root: &Arc<dyn Inode>, is_used: bool) {
    let Some(node) = root.as_any().downcast_ref::<Node>() else { return };
    let volume = node.volume();
    volume.sync_or_log();
    if is_used {
        return;
    }
    // Not in the next expression, which would hold the lock to its end.
    let not_taken = core::mem::take(&mut *volume.dirty.lock());
    drop(not_taken);
    volume.recent.clear();
    volume.settle();
    let mut fs = volume.fs.lock();
    volume.end(&mut fs);
    fs.shrink();
    drop(fs);
    volume.is_mounted.store(false, Ordering::Release);
    volume.entry.release();
}

/// Whether the mount can be read only.
pub fn is_read_only(root: &Arc<dyn Inode>) -> bool {
    under(root).is_some_and(|volume| volume.fs.lock().access() != Access::Writable)
}

fn nth(index: usize) -> Option<&'static Volume> {
    VOLUMES.lock().get(index).copied()
}

/// Whether there is something that a volume's disk does not have.
pub fn has_changes() -> bool {
    VOLUMES
        .lock()
        .iter()
        .any(|volume| volume.is_mounted.load(Ordering::Relaxed) && volume.is_changed.load(Ordering::Relaxed))
}

/// Makes the file system durable that a root belongs to, if it is on a disk (syncfs(2)). Waits; hold no lock. EIO.
pub fn sync_of(root: &Arc<dyn Inode>) -> Result<(), Errno> {
    under(root).map_or(Ok(()), Volume::sync)
}

/// Makes everything durable. Waits; hold no lock.
pub fn sync_all() {
    let mut index = 0;
    while let Some(volume) = nth(index) {
        index += 1;
        if volume.is_mounted.load(Ordering::Acquire) {
            volume.sync_or_log();
        }
    }
}

/// Before the machine ends: makes everything durable, and marks the file systems as clean.
pub fn end_all() {
    sync_all();
    let mut index = 0;
    while let Some(volume) = nth(index) {
        index += 1;
        if !volume.is_mounted.load(Ordering::Acquire) {
            continue;
        }
        volume.settle();
        volume.end(&mut volume.fs.lock());
    }
    tell_lost();
}

/// Reports the volumes whose disks did not take all that was written.
fn tell_lost() {
    let mut index = 0;
    while let Some(volume) = nth(index) {
        index += 1;
        if !volume.has_lost.load(Ordering::Relaxed) {
            continue;
        }
        let is_its = |mount: &Arc<mount::Mount>| mount.root.backing_device() == volume.device();
        let place = mount::all().ok().and_then(|all| all.iter().find(|mount| is_its(mount))?.at());
        let mut path = Text::new();
        match place.and_then(|place| place.write(&mut path).ok()) {
            Some(()) => log::write(Line::Unsynced, format_args!("{path}")),
            None => log::write(Line::Unsynced, format_args!("{}", volume.entry.name)),
        }
    }
}

impl Volume {
    /// st_dev of its files.
    pub(super) fn device(&self) -> u64 {
        self.entry.number
    }

    /// The file system, to look at.
    pub(super) fn read(&self) -> Guard<'_, FileSystem> {
        self.fs.lock()
    }

    /// The file system, to be changed. What has neither name nor user is freed first.
    pub(super) fn change(&self) -> Guard<'_, FileSystem> {
        self.settle();
        self.note_change();
        self.fs.lock()
    }

    /// The thread that looks after disks has something to do.
    pub(super) fn note_change(&self) {
        if !self.is_changed.swap(true, Ordering::SeqCst) {
            pool::DIRTIED.notify(Events::IN);
        }
    }

    /// The node of an inode, which is read if there is none. `fs`: the file system, locked since the number was found, so that the
    /// inode is still that file's.
    pub(super) fn node(&'static self, fs: &mut FileSystem, number: u32) -> Result<Arc<Node>, Errno> {
        if let Some(node) = self.nodes.lock().get(&number).and_then(Weak::upgrade) {
            return Ok(node);
        }
        let new = Node::new(self, fs.attributes(number).map_err(errno)?)?;
        let mut nodes = self.nodes.lock();
        // Another thread may have been faster.
        if let Some(node) = nodes.get(&number).and_then(Weak::upgrade) {
            drop(nodes);
            new.forget_quietly();
            return Ok(node);
        }
        nodes.insert(number, Arc::downgrade(&new))?;
        drop(nodes);
        self.recent.note(&new);
        Ok(new)
    }

    /// A node lost its last name: it stays no longer than it is used.
    pub(super) fn forget(&self, number: u32) {
        let gone = self.recent.remove(|node| node.number() == number);
        // Its pages need not get to the disk, unless it is synced.
        let mut dirty = self.dirty.lock();
        let found = dirty.iter().position(|node| node.number() == number);
        let unwritten = found.map(|index| dirty.swap_remove(index));
        drop(dirty);
        drop((gone, unwritten));
    }

    /// A node is gone. `is_nameless`: so is its file.
    pub(super) fn dropped(&self, number: u32, is_nameless: bool) {
        let mut nodes = self.nodes.lock();
        if nodes.get(&number).is_some_and(|node| node.strong_count() == 0) {
            nodes.remove(&number);
        }
        drop(nodes);
        if !is_nameless {
            return;
        }
        notify::inode_gone((self.device(), number.into()));
        // Without memory for that, the next mount frees it.
        if self.gone.lock().try_push(number).is_ok() {
            self.note_change();
        }
    }

    /// Frees the files that have neither a name nor a user.
    pub(super) fn settle(&self) {
        loop {
            let Some(number) = self.gone.lock().pop() else { return };
            if let Err(error) = self.fs.lock().evict(number, now()) {
                log!("ext4: the space of a deleted file is not free yet: {error}");
            }
        }
    }

    /// Notes that a node has pages that the disk does not have. ENOMEM.
    pub(super) fn note_dirty(&self, node: &Arc<Node>) -> Result<(), Errno> {
        self.dirty.lock().try_push(node.clone())?;
        self.note_change();
        Ok(())
    }

    /// Makes everything durable. Waits; hold no lock.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        self.is_changed.store(false, Ordering::SeqCst);
        let dirty = core::mem::take(&mut *self.dirty.lock());
        let mut result = Ok(());
        for node in dirty {
            result = result.and(node.write_back_listed());
        }
        self.settle();
        let committed = self.fs.lock().commit();
        result.and(self.settled(committed))
    }

    /// The same where there is no program to report an error to.
    fn sync_or_log(&self) {
        if let Err(error) = self.sync() {
            self.has_lost.store(true, Ordering::Relaxed);
            log!(
                "what was written to {} is not safe on the disk (error {})",
                self.entry.name,
                error.number()
            );
        }
    }

    /// Marks the file system as clean. One whose journal has ended is left as it is: its next mount replays the journal.
    fn end(&self, fs: &mut FileSystem) {
        if fs.access() != Access::Aborted
            && let Err(error) = fs.unmount()
        {
            log!("{} can't be unmounted: {error}", self.entry.name);
        }
    }

    /// What a program is told of a sync. If an error of the disk ended the journal, the volume is read-only from then on, as on Linux with
    /// `errors=remount-ro`. The file system must not be locked.
    pub(super) fn settled(&self, result: coracle_ext4::Result<()>) -> Result<(), Errno> {
        let error = match result {
            Ok(()) => return Ok(()),
            Err(error) => errno(error),
        };
        let is_aborted = self.fs.lock().access() == Access::Aborted;
        if is_aborted && !self.is_aborted.swap(true, Ordering::AcqRel) {
            self.has_lost.store(true, Ordering::Relaxed);
            log!(
                "ext4: {} has an error, and its file system is read-only from now on: what was not synced is lost",
                self.entry.name
            );
            for mount in mount::all()?.iter().filter(|mount| mount.root.backing_device() == self.device()) {
                mount.file_system.end_writing();
            }
        }
        Err(error)
    }

    /// The journal ended by an error: nothing is written any more.
    pub(super) fn is_aborted(&self) -> bool {
        self.is_aborted.load(Ordering::Acquire)
    }

    /// statfs(2).
    pub(super) fn usage(&self) -> Usage {
        const BLOCK: u64 = 4096;
        self.settle();
        let Ok(found) = self.fs.lock().statistics() else {
            return Usage { magic: MAGIC, ..Usage::default() };
        };
        let scaled = |blocks: u64| blocks * u64::from(found.block_bytes) / BLOCK;
        Usage {
            magic: MAGIC,
            blocks: scaled(found.blocks),
            free: scaled(found.free_blocks),
            files: found.inodes.into(),
            files_free: found.free_inodes.into(),
        }
    }
}
