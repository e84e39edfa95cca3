//! Finding a name in the two layers.
use super::layers::Overlay;
use super::node::{Location, Node};
use crate::{ext4, memory};
use alloc::sync::{Arc, Weak};
use coracle_core::errno::Errno;
use coracle_core::fs::inode::Inode;
use coracle_fallible::try_arc_bytes;
use linux_raw_sys::general::S_IFDIR;

/// Extended attributes of the overlay's own, which no program sees.
pub(super) const PRIVATE_ATTRIBUTES: &[u8] = b"trusted.overlay.";
/// Of a directory: nothing of the image shows through it.
pub(super) const OPAQUE: &[u8] = b"trusted.overlay.opaque";
pub(super) const IS_OPAQUE: &[u8] = b"y";
/// Of a directory that was renamed: the path in the image of the one that shows through it.
pub(super) const REDIRECT: &[u8] = b"trusted.overlay.redirect";
/// Of a file that was copied up: the image, and the number there, which stays. (Linux has a file handle in
/// `trusted.overlay.origin`.)
pub(super) const ORIGIN: &[u8] = b"trusted.overlay.image";

/// Numbers of files that are not the image's have this bit.
const IN_UPPER: u64 = 1 << 32;

/// Notes what a file is copied up from.
pub(super) fn store_origin(image: u64, number: u64, to: &ext4::Node) -> Result<(), Errno> {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&image.to_le_bytes());
    value[8..].copy_from_slice(&number.to_le_bytes());
    to.set_xattr(ORIGIN, Some(&value), 0)
}

/// The number of what a file of the volume was copied up from, if that is of this image.
fn load_origin(image: u64, from: &ext4::Node) -> Result<Option<u64>, Errno> {
    let value = match from.xattr(ORIGIN) {
        Ok(value) => value,
        Err(Errno::NODATA) => return Ok(None),
        Err(error) => return Err(error),
    };
    let word = |at: usize| value.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let is_of_image = word(0) == Some(image);
    Ok(word(8).filter(|number| is_of_image && *number < IN_UPPER))
}

/// What a node is made of.
struct Found {
    lower: Option<Arc<memory::Node>>,
    upper: Option<Arc<ext4::Node>>,
    number: u64,
    location: Location,
}

impl Node {
    /// The entry `name` of a directory.
    pub(super) fn find(&self, name: &[u8]) -> Result<Option<Arc<Node>>, Errno> {
        let upper = match self.upper() {
            Some(upper) => upper.child(name)?,
            None => None,
        };
        match upper {
            Some(upper) if upper.is_whiteout() => Ok(None),
            Some(upper) => self.with_upper(name, upper).map(Some),
            None => match self.lower_child(name)? {
                Some(lower) => self.with_lower(name, lower).map(Some),
                None => Ok(None),
            },
        }
    }

    /// What the image has by that name.
    pub(super) fn lower_child(&self, name: &[u8]) -> Result<Option<Arc<memory::Node>>, Errno> {
        self.lower().map_or(Ok(None), |lower| lower.child(name))
    }

    /// The node of an entry of the volume.
    pub(super) fn with_upper(&self, name: &[u8], upper: Arc<ext4::Node>) -> Result<Arc<Node>, Errno> {
        let overlay = self.overlay();
        // A statement of its own: the lock is let go at its end.
        let known = overlay.nodes.lock().by_upper.get(&upper.number()).and_then(Weak::upgrade);
        if let Some(known) = known {
            return Ok(known);
        }
        let mut number = IN_UPPER | u64::from(upper.number());
        let mut lower = None;
        if upper.kind().0 == S_IFDIR {
            lower = self.lower_of(name, &upper)?;
            if let Some(lower) = &lower {
                number = lower.identity().1;
            }
        } else if let Some(of_image) = load_origin(overlay.image, &upper)? {
            number = of_image;
        }
        overlay.node(Found { lower, upper: Some(upper), number, location: self.location_of(name)? })
    }

    /// The directory of the image that shows through one of the volume.
    fn lower_of(&self, name: &[u8], upper: &ext4::Node) -> Result<Option<Arc<memory::Node>>, Errno> {
        match upper.xattr(OPAQUE) {
            Ok(value) if value == IS_OPAQUE => return Ok(None),
            Ok(_) | Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
        let lower = match upper.xattr(REDIRECT) {
            Ok(path) => self.overlay().lower_at(&path)?,
            Err(Errno::NODATA) => self.lower_child(name)?,
            Err(error) => return Err(error),
        };
        Ok(lower.filter(|lower| lower.kind().0 == S_IFDIR))
    }

    /// The node of an entry of the image.
    fn with_lower(&self, name: &[u8], lower: Arc<memory::Node>) -> Result<Arc<Node>, Errno> {
        let number = lower.identity().1;
        let location = self.location_of(name)?;
        self.overlay().node(Found { lower: Some(lower), upper: None, number, location })
    }

    fn location_of(&self, name: &[u8]) -> Result<Location, Errno> {
        Ok(Location { parent: Some(self.this()), name: Some(try_arc_bytes(name)?) })
    }
}

impl Overlay {
    /// The root's node.
    pub(super) fn root_of(self: &Arc<Self>, lower: Arc<memory::Node>) -> Result<Arc<Node>, Errno> {
        let number = lower.identity().1;
        self.node(Found { lower: Some(lower), upper: None, number, location: Location::default() })
    }

    /// What the image has at an absolute path.
    fn lower_at(self: &Arc<Self>, path: &[u8]) -> Result<Option<Arc<memory::Node>>, Errno> {
        let mut at = self
            .nodes
            .lock()
            .by_number
            .get(&ROOT)
            .and_then(Weak::upgrade)
            .and_then(|root| root.lower().cloned());
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            at = match at {
                Some(directory) if directory.kind().0 == S_IFDIR => directory.child(name)?,
                _ => return Ok(None),
            };
        }
        Ok(at)
    }

    /// The node of that number, which is made if there is none. Of two files of the volume that claim a number, as only a volume that was
    /// changed elsewhere has them, one gets another.
    fn node(self: &Arc<Self>, found: Found) -> Result<Arc<Node>, Errno> {
        let Found { lower, upper, mut number, location } = found;
        // Dropped after the lock is let go.
        let known;
        let mut nodes = self.nodes.lock();
        known = nodes.by_number.get(&number).and_then(Weak::upgrade);
        if let Some(node) = &known {
            let Some(upper) = &upper else { return Ok(node.clone()) };
            match node.upper() {
                Some(own) if own.number() == upper.number() => return Ok(node.clone()),
                Some(_) => number = IN_UPPER | u64::from(upper.number()),
                None => {
                    nodes.by_upper.insert(upper.number(), Arc::downgrade(node))?;
                    node.give_upper(upper.clone());
                    return Ok(node.clone());
                }
            }
        }
        let in_upper = upper.as_ref().map(|upper| upper.number());
        let node = Node::new(self, lower, upper, number, location)?;
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

/// The number of the image's root.
const ROOT: u64 = 1;
