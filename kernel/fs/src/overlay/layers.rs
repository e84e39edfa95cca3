//! The two layers, and what is known of their files.
use super::node::Node;
use crate::{ext4, memory};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{Changes, Inode, NewNode};
use coracle_core::lock::Mutex;
use coracle_core::sleeping::Sleeping;
use coracle_fallible::prelude::*;
use coracle_fallible::{Text, try_arc, try_box};
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicU64, Ordering};
use coracle_sorted_map::SortedMap;
use linux_raw_sys::general::{S_IFCHR, S_IFDIR};

/// Directories of the volume: what was changed, and what is being made.
const UPPER: &[u8] = b"upper";
const WORK: &[u8] = b"work";
/// Permissions of those that no program sees.
const PRIVATE: u32 = 0o700;
/// Names that are listed at a time.
const BATCH: usize = 64;

/// A file system in two layers.
pub struct Overlay {
    /// st_dev of its files.
    pub(super) device: u64,
    /// Which image it is: numbers of another one's files mean nothing here.
    pub(super) image: u64,
    volume: Once<Upper>,
    /// Held while names change, or a file is copied up.
    pub(super) changing: Sleeping<()>,
    pub(super) nodes: Mutex<Nodes>,
}

/// The nodes that there are.
#[derive(Default)]
pub(super) struct Nodes {
    /// By their numbers.
    pub by_number: SortedMap<u64, Weak<Node>>,
    /// Those with a file of the volume, by its number.
    pub by_upper: SortedMap<u32, Weak<Node>>,
}

/// The layer of the volume.
pub(super) struct Upper {
    work: Arc<ext4::Node>,
    next_temporary: AtomicU64,
}

impl Overlay {
    /// The root of the files of an image, to which nothing can be done before [`Overlay::attach`]. ENOMEM.
    pub fn over(lower: Arc<memory::Node>, image: u64) -> Result<Arc<Node>, Errno> {
        let overlay = try_arc(Overlay {
            device: memory::next_device(),
            image,
            volume: Once::new(),
            changing: Sleeping::new(try_box(())?),
            nodes: Mutex::new(Nodes::default()),
        })?;
        overlay.root_of(lower)
    }

    /// Puts the volume with this root over the image. ENOSPC, EIO, EROFS, ENOMEM.
    pub fn attach(root: &Node, volume: &Arc<dyn Inode>) -> Result<(), Errno> {
        let volume = volume.as_any().downcast_ref::<ext4::Node>().ok_or(Errno::INVAL)?;
        let work = directory(volume, WORK)?;
        clear(&work)?;
        let upper = match volume.child(UPPER)? {
            Some(upper) => upper,
            None => {
                let upper = volume.make(UPPER, NewNode::Directory, PRIVATE)?;
                let like = root.metadata();
                upper.change(Changes {
                    mode: Some(like.mode),
                    uid: Some(like.uid),
                    gid: Some(like.gid),
                    modified: Some(like.modified),
                    ..Changes::default()
                })?;
                upper
            }
        };
        if upper.kind().0 != S_IFDIR {
            return Err(Errno::NOTDIR);
        }
        root.overlay().volume.call_once(|| Upper { work, next_temporary: AtomicU64::new(0) });
        root.set_upper(upper)
    }

    /// The layer of the volume; EROFS as long as there is none.
    pub(super) fn upper(&self) -> Result<&Upper, Errno> {
        self.volume.get().ok_or(Errno::ROFS)
    }
}

impl Upper {
    /// The directory of files that are being made, or go.
    pub fn work(&self) -> &Arc<ext4::Node> {
        &self.work
    }
    /// A name that is free in `work`. ENOMEM.
    pub fn temporary(&self) -> Result<Text, Errno> {
        let mut name = Text::new();
        write!(name, "{}", self.next_temporary.fetch_add(1, Ordering::Relaxed))?;
        Ok(name)
    }
    /// Makes a whiteout in `work`, and returns its name.
    pub fn make_whiteout(&self) -> Result<Text, Errno> {
        let name = self.temporary()?;
        self.work.make(name.as_bytes(), NewNode::Special(S_IFCHR, 0), 0)?;
        Ok(name)
    }
    /// Removes what lies in `work` by that name: a file, or a directory with nothing in it but whiteouts. What can't be
    /// removed now goes at the next mount.
    pub fn discard(&self, name: &[u8]) {
        if let Err(error) = discard(&self.work, name) {
            log!("overlay: what was replaced is not removed yet (error {})", error.number());
        }
    }
}

fn directory(volume: &ext4::Node, name: &[u8]) -> Result<Arc<ext4::Node>, Errno> {
    match volume.child(name)? {
        Some(found) if found.kind().0 == S_IFDIR => Ok(found),
        Some(_) => Err(Errno::NOTDIR),
        None => volume.make(name, NewNode::Directory, PRIVATE),
    }
}

/// The first names in a directory, a number of them.
fn names(directory: &ext4::Node) -> Result<Vec<Vec<u8>>, Errno> {
    let (mut names, mut result) = (Vec::new(), Ok(()));
    directory.list(0, &mut |entry| {
        let name = entry.name.try_to_vec();
        result = name.and_then(|name| names.try_push(name));
        result.is_ok() && names.len() < BATCH
    })?;
    result?;
    Ok(names)
}

fn discard(directory: &ext4::Node, name: &[u8]) -> Result<(), Errno> {
    let Some(node) = directory.child(name)? else { return Ok(()) };
    if node.kind().0 != S_IFDIR {
        return directory.remove(name, false);
    }
    loop {
        let names = names(&node)?;
        if names.is_empty() {
            return directory.remove(name, true);
        }
        names.iter().try_for_each(|name| node.remove(name, false))?;
    }
}

/// Removes what a crash has left.
fn clear(work: &ext4::Node) -> Result<(), Errno> {
    loop {
        let names = names(work)?;
        if names.is_empty() {
            return Ok(());
        }
        names.iter().try_for_each(|name| discard(work, name))?;
    }
}
