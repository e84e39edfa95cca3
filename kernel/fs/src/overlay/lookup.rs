//! Finding a name in the layers.
use super::layers::Overlay;
use super::node::{Location, Node};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::Inode;
use coracle_core::fs::mount::{Path, same};
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc_bytes;
use linux_raw_sys::general::S_IFCHR;

/// An extended attribute of the overlay's own, which no program sees.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    /// Of a directory: nothing of the layers below shows through it.
    Opaque,
    /// Of a directory that was renamed: the path in the layers below of what shows through it.
    Redirect,
    /// Of a file that was copied up: which layers these were, and the number there, which stays. (Linux has a file handle in
    /// `trusted.overlay.origin`.)
    Origin,
}

impl Mark {
    pub(super) fn name(self, is_users: bool) -> &'static [u8] {
        match (self, is_users) {
            (Mark::Opaque, false) => b"trusted.overlay.opaque",
            (Mark::Redirect, false) => b"trusted.overlay.redirect",
            (Mark::Origin, false) => b"trusted.overlay.image",
            (Mark::Opaque, true) => b"user.overlay.opaque",
            (Mark::Redirect, true) => b"user.overlay.redirect",
            (Mark::Origin, true) => b"user.overlay.image",
        }
    }
}

/// The value of [`Mark::Opaque`].
const IS_OPAQUE: &[u8] = b"y";

/// Numbers of files of the uppermost layer have this bit.
const IN_UPPER: u64 = 1 << 32;
/// Those of the layers below of a second file system, and so on, have a number from here on.
const FILE_SYSTEM: u32 = 33;
/// What takes more than 32 bits has this bit.
const LONG: u64 = 1 << 62;
/// Numbers of files that share theirs with another.
const MORE: u64 = 1 << 61;

/// Whether it is a character device 0/0, which hides a name of the layers below.
pub(super) fn is_whiteout(inode: &Arc<dyn Inode>) -> bool {
    inode.kind().0 == S_IFCHR && inode.metadata().rdev == 0
}

/// Notes what a file is copied up from.
pub(super) fn store_origin(overlay: &Overlay, number: u64, to: &Arc<dyn Inode>) -> Result<(), Errno> {
    if to.kind().0 & (linux_raw_sys::general::S_IFREG | linux_raw_sys::general::S_IFDIR) == 0 {
        // Others have no attributes of users.
        return Ok(());
    }
    let mut value = [0; 16];
    value[..8].copy_from_slice(&overlay.image.to_le_bytes());
    value[8..].copy_from_slice(&number.to_le_bytes());
    to.set_xattr(overlay.name_of(Mark::Origin), Some(&value), 0)
}

/// What a node is made of.
struct Found {
    lowers: Vec<Path>,
    upper: Option<Arc<dyn Inode>>,
    number: u64,
    location: Location,
}

impl Node {
    /// The entry `name` of a directory.
    pub(super) fn find(&self, name: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        let upper = match self.upper() {
            Some(upper) => upper.lookup(name)?,
            None => None,
        };
        match upper {
            Some(upper) if is_whiteout(&upper) => Ok(None),
            Some(upper) => self.with_upper(name, upper).map(Some),
            None => {
                let lowers = self.overlay().entry_below(self.lowers(), name)?;
                if lowers.is_empty() { Ok(None) } else { self.with_lowers(name, lowers).map(Some) }
            }
        }
    }

    /// Whether the layers below have that name.
    pub(super) fn is_below(&self, name: &[u8]) -> Result<bool, Errno> {
        Ok(!self.overlay().entry_below(self.lowers(), name)?.is_empty())
    }

    /// The node of an entry of the uppermost layer.
    pub(super) fn with_upper(&self, name: &[u8], upper: Arc<dyn Inode>) -> Result<Arc<Node>, Errno> {
        let overlay = self.overlay();
        // A statement of its own: the lock is let go at its end.
        let known = overlay.nodes.lock().by_upper.get(&upper.identity().1).and_then(Weak::upgrade);
        if let Some(known) = known {
            return Ok(known);
        }
        let mut number = in_upper(&upper);
        let mut lowers = Vec::new();
        if upper.is_directory() {
            lowers = self.lowers_of(name, &upper)?;
            if let Some(lower) = lowers.first() {
                number = overlay.number_of(lower);
            }
        } else if let Some(below) = overlay.load_origin(&upper)? {
            number = below;
        }
        overlay.node(Found { lowers, upper: Some(upper), number, location: self.location_of(name)? })
    }

    /// The directories of the layers below that show through one of the uppermost.
    fn lowers_of(&self, name: &[u8], upper: &Arc<dyn Inode>) -> Result<Vec<Path>, Errno> {
        let overlay = self.overlay();
        if overlay.is_opaque(upper)? {
            return Ok(Vec::new());
        }
        let mut lowers = match attribute(upper, overlay.name_of(Mark::Redirect))? {
            Some(path) => overlay.below_at(&path)?,
            None => overlay.entry_below(self.lowers(), name)?,
        };
        lowers.retain(|lower| lower.inode.is_directory());
        Ok(lowers)
    }

    /// The node of an entry of the layers below.
    fn with_lowers(&self, name: &[u8], lowers: Vec<Path>) -> Result<Arc<Node>, Errno> {
        let number = lowers.first().map_or(0, |lower| self.overlay().number_of(lower));
        let location = self.location_of(name)?;
        self.overlay().node(Found { lowers, upper: None, number, location })
    }

    fn location_of(&self, name: &[u8]) -> Result<Location, Errno> {
        Ok(Location { parent: Some(self.this()), name: Some(try_arc_bytes(name)?) })
    }
}

/// The number of a file of the uppermost layer.
fn in_upper(upper: &Arc<dyn Inode>) -> u64 {
    match upper.identity().1 {
        short if short < IN_UPPER => short | IN_UPPER,
        long => long | LONG | IN_UPPER,
    }
}

/// An extended attribute that may be missing.
fn attribute(of: &Arc<dyn Inode>, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    match of.xattr(name) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Overlay {
    /// The root's node.
    pub(super) fn root_of(self: &Arc<Self>, lowers: Vec<Path>) -> Result<Arc<Node>, Errno> {
        let number = lowers.first().map_or(0, |lower| self.number_of(lower));
        self.node(Found { lowers, upper: None, number, location: Location::default() })
    }

    /// The number of a file of a layer below.
    fn number_of(&self, lower: &Path) -> u64 {
        let (device, inode) = lower.inode.identity();
        let file_system = self.index_of(device).unwrap_or_default() as u64;
        if inode < IN_UPPER { inode | file_system << FILE_SYSTEM } else { inode & !(IN_UPPER | MORE) | LONG }
    }

    /// The number of what a file of the uppermost layer was copied up from, if that is of these layers.
    fn load_origin(&self, from: &Arc<dyn Inode>) -> Result<Option<u64>, Errno> {
        let Some(value) = attribute(from, self.name_of(Mark::Origin))? else { return Ok(None) };
        let word = |at: usize| value.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let is_ours = word(0) == Some(self.image);
        Ok(word(8).filter(|number| is_ours && number & (IN_UPPER | MORE) == 0))
    }

    /// Nothing of the layers below is to show through a directory.
    pub(super) fn set_opaque(&self, directory: &Arc<dyn Inode>) -> Result<(), Errno> {
        directory.set_xattr(self.name_of(Mark::Opaque), Some(IS_OPAQUE), 0)
    }

    fn is_opaque(&self, directory: &Arc<dyn Inode>) -> Result<bool, Errno> {
        Ok(attribute(directory, self.name_of(Mark::Opaque))?.is_some_and(|value| value == IS_OPAQUE))
    }

    /// What directories of the layers below, the upper ones first, have by a name: directories that show through each other, or one file.
    fn entry_below(&self, directories: &[Path], name: &[u8]) -> Result<Vec<Path>, Errno> {
        let mut found = Vec::new();
        for (index, directory) in directories.iter().enumerate() {
            let Some(inode) = directory.inode.lookup(name)? else { continue };
            let is_last = index + 1 == directories.len();
            if !inode.is_directory() {
                // A whiteout hides what is below, and a file what is not one with the directories above.
                if found.is_empty() && !is_whiteout(&inode) {
                    found.try_push(Path { mount: directory.mount.clone(), inode })?;
                }
                break;
            }
            let ends = !is_last && self.is_opaque(&inode)?;
            found.try_push(Path { mount: directory.mount.clone(), inode })?;
            if ends {
                break;
            }
        }
        Ok(found)
    }

    /// What the layers below have at an absolute path.
    fn below_at(&self, path: &[u8]) -> Result<Vec<Path>, Errno> {
        let mut at = self.tops()?;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            at.retain(|directory| directory.inode.is_directory());
            at = self.entry_below(&at, name)?;
        }
        Ok(at)
    }

    /// The node of that number, which is made if there is none. Of two files that claim a number, as only layers that were changed elsewhere, or
    /// whose numbers are long, have them, one gets another.
    fn node(self: &Arc<Self>, found: Found) -> Result<Arc<Node>, Errno> {
        let Found { lowers, upper, mut number, location } = found;
        // Dropped after the lock is let go.
        let known;
        let mut nodes = self.nodes.lock();
        known = nodes.by_number.get(&number).and_then(Weak::upgrade);
        if let Some(node) = &known {
            let both = node.lower().zip(lowers.first());
            let is_same = both.is_none_or(|(own, other)| same(&own.inode, &other.inode));
            match (&upper, node.upper()) {
                _ if !is_same => {
                    nodes.more += 1;
                    number = MORE | nodes.more;
                }
                (None, _) => return Ok(node.clone()),
                (Some(upper), Some(own)) if same(own, upper) => return Ok(node.clone()),
                (Some(upper), Some(_)) => number = in_upper(upper),
                (Some(upper), None) => {
                    nodes.by_upper.insert(upper.identity().1, Arc::downgrade(node))?;
                    node.give_upper(upper.clone());
                    return Ok(node.clone());
                }
            }
        }
        let in_upper = upper.as_ref().map(|upper| upper.identity().1);
        let node = Node::new(self, lowers, upper, number, location)?;
        let entered = nodes.by_number.insert(number, Arc::downgrade(&node)).map(drop);
        let entered = entered.and_then(|()| match in_upper {
            Some(in_upper) => nodes.by_upper.insert(in_upper, Arc::downgrade(&node)).map(drop),
            None => Ok(()),
        });
        drop(nodes);
        entered?;
        Ok(node)
    }
}
