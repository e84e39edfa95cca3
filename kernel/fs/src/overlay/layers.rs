//! The layers, and what is known of their files.
use super::lookup::Mark;
use super::node::Node;
use super::options::Options;
use crate::memory::next_device;
use crate::{ext4, memory};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{Changes, Inode, NewNode};
use coracle_core::fs::mount::{MountFlags, NewMount, Path, same};
use coracle_core::fs::mount_space::{Tree, is_below};
use coracle_core::fs::stat::Metadata;
use coracle_core::lock::Mutex;
use coracle_core::random;
use coracle_core::sleeping::Sleeping;
use coracle_core::task::user_space::UserSpace;
use coracle_fallible::prelude::*;
use coracle_fallible::{Text, try_arc, try_box};
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicU64, Ordering};
use coracle_sorted_map::SortedMap;
use linux_raw_sys::general::{S_IFCHR, S_IFDIR};

/// Directories of the volume under the root: what was changed, and what is being made.
const UPPER: &[u8] = b"upper";
const WORK: &[u8] = b"work";
/// Permissions of those that no program sees.
const PRIVATE: u32 = 0o700;
/// Stands in a layer behind the prefix of attributes that are not the overlay's own, but look so.
const ESCAPE: &[u8] = b"overlay.";
/// Names that are listed at a time.
const BATCH: usize = 64;
/// Layers below at most, as Linux has it (`OVL_MAX_STACK`).
const MOST_LAYERS: usize = 500;

/// A file system in layers.
pub struct Overlay {
    /// st_dev of its files.
    pub(super) device: u64,
    /// Which layers these are: numbers of another image's files, or of other layers', mean nothing here.
    pub(super) image: u64,
    /// The layers below, the upper ones first, each by a mount of the overlay's own.
    layers: Vec<Tree>,
    /// Device numbers of the layers below.
    devices: Vec<u64>,
    volume: Once<Upper>,
    options: Once<Text>,
    how: How,
    /// The user namespace that it was mounted in; `None` is the first.
    owner: Option<Arc<UserSpace>>,
    /// Held while names change, or a file is copied up.
    pub(super) changing: Sleeping<()>,
    pub(super) nodes: Mutex<Nodes>,
}

/// How an overlay does some things.
#[derive(Clone, Copy, Default)]
pub(super) struct How {
    /// It is the root of the tree, and gets its volume later.
    pub is_root: bool,
    /// Directories that show layers below may be renamed.
    pub redirects: bool,
    /// Its own extended attributes are those of users (`userxattr`).
    pub user_names: bool,
}

/// The nodes that there are.
#[derive(Default)]
pub(super) struct Nodes {
    /// By their numbers.
    pub by_number: SortedMap<u64, Weak<Node>>,
    /// Those with a file of the uppermost layer, by its number.
    pub by_upper: SortedMap<u64, Weak<Node>>,
    /// Numbers given to files whose own number another has.
    pub more: u64,
}

/// The uppermost layer.
pub(super) struct Upper {
    work: Arc<dyn Inode>,
    next_temporary: AtomicU64,
    /// Keeps the file system mounted.
    _tree: Option<Tree>,
}

impl Overlay {
    /// The root of the files of an image, to which nothing can be done before [`Overlay::attach`]. ENOMEM.
    pub fn over(lower: Arc<memory::Node>, image: u64) -> Result<Arc<Node>, Errno> {
        let flags = MountFlags::READ_ONLY;
        let new = NewMount { root: lower, kind: "overlay", source: Vec::new(), flags, file_system: None };
        let mut layers = Vec::new();
        layers.try_push(Tree::new(new)?)?;
        Self::new(layers, image, How { is_root: true, redirects: true, user_names: false }, None)?.root()
    }

    /// One that a program mounts (mount(2); Linux's Documentation/filesystems/overlayfs.rst). `lowers`: its layers below, the upper ones
    /// first; `upper`: the directory over them, and the one in which files are made. EINVAL, EROFS, ENOSPC, ENOMEM.
    pub fn mount(
        options: &Options,
        lowers: &[Path],
        upper: Option<(Path, Path)>,
    ) -> Result<Arc<Node>, Errno> {
        if lowers.is_empty() || lowers.len() > MOST_LAYERS {
            return Err(Errno::INVAL);
        }
        // One overlay in another would take twice the stack (Linux allows it once); and nodes go without asking a server.
        if !lowers.iter().all(|lower| is_for_files(&lower.inode)) {
            info!("overlay: a layer is neither on tmpfs, the image, nor ext4");
            return Err(Errno::INVAL);
        }
        let layers = lowers.iter().map(|lower| Tree::copy(lower, false)).try_collect_ok()?;
        let how = How { is_root: false, redirects: options.redirects, user_names: options.user_names };
        let owner = coracle_core::this::with(|thread| thread.process.credentials.lock().space.clone());
        let overlay = Self::new(layers, random::u64(), how, owner)?;
        let text = options.shown()?;
        overlay.options.call_once(|| text);
        let root = overlay.root()?;
        if let Some((upper, work)) = upper {
            if !Arc::ptr_eq(&upper.mount, &work.mount) || is_below(&upper, &work) || is_below(&work, &upper) {
                return Err(Errno::INVAL);
            }
            if !is_for_files(&upper.inode) {
                return Err(Errno::INVAL);
            }
            upper.check_writable()?;
            let tree = Tree::copy(&upper, false)?;
            root.put_over(upper.inode, &work.inode, Some(tree))?;
        }
        Ok(root)
    }

    fn new(
        layers: Vec<Tree>,
        image: u64,
        how: How,
        owner: Option<Arc<UserSpace>>,
    ) -> Result<Arc<Overlay>, Errno> {
        let mut devices = Vec::new();
        for layer in &layers {
            let device = layer.root.inode.identity().0;
            if !devices.contains(&device) {
                devices.try_push(device)?;
            }
        }
        Ok(try_arc(Overlay {
            device: next_device(),
            image,
            layers,
            devices,
            volume: Once::new(),
            options: Once::new(),
            how,
            owner,
            changing: Sleeping::new(try_box(())?),
            nodes: Mutex::new(Nodes::default()),
        })?)
    }

    fn root(self: &Arc<Self>) -> Result<Arc<Node>, Errno> {
        self.root_of(self.tops()?)
    }

    /// The roots of the layers below.
    pub(super) fn tops(&self) -> Result<Vec<Path>, Errno> {
        self.layers.iter().map(|layer| Ok(layer.root.clone())).try_collect_ok()
    }

    /// Whether it is the root of a layer below.
    pub(super) fn is_layer(&self, inode: &Arc<dyn Inode>) -> bool {
        self.layers.iter().any(|layer| same(&layer.root.inode, inode))
    }

    /// Which of the layers' file systems this is.
    pub(super) fn index_of(&self, device: u64) -> Option<usize> {
        self.devices.iter().position(|own| *own == device)
    }

    /// Puts the volume with this root over the image. ENOSPC, EIO, EROFS, ENOMEM.
    pub fn attach(root: &Node, volume: &Arc<dyn Inode>) -> Result<(), Errno> {
        let upper = match volume.lookup(UPPER)? {
            Some(upper) => upper,
            None => {
                let upper = volume.create(UPPER, NewNode::Directory, PRIVATE)?;
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
        let mut text = Text::new();
        // Of the volume and the image, which are mounted nowhere else.
        text.push(b",lowerdir=/image,upperdir=/volume/upper,workdir=/volume/work")?;
        root.overlay().options.call_once(|| text);
        root.put_over(upper, volume, None)
    }

    /// EOVERFLOW if a file of that owner may not be copied up: its owner is none of the user namespace that the overlay was mounted in, whose root
    /// would so make files of others (Linux's `ovl_copy_up`).
    pub(super) fn check_owner(&self, file: &Metadata) -> Result<(), Errno> {
        let is_mapped = self.owner.as_ref().is_none_or(|owner| owner.has_owners(file.uid, file.gid));
        if is_mapped { Ok(()) } else { Err(Errno::OVERFLOW) }
    }

    /// The uppermost layer; EROFS if there is none, or not yet.
    pub(super) fn upper(&self) -> Result<&Upper, Errno> {
        self.volume.get().ok_or(Errno::ROFS)
    }
    /// Its options, as /proc/mounts shows them.
    pub(super) fn options(&self) -> &[u8] {
        self.options.get().map_or(&[], |text| text.as_bytes())
    }
    pub(super) fn is_root(&self) -> bool {
        self.how.is_root
    }
    pub(super) fn redirects(&self) -> bool {
        self.how.redirects
    }
    fn prefix(&self) -> &'static [u8] {
        if self.how.user_names { b"user.overlay." } else { b"trusted.overlay." }
    }
    /// The name in a layer of an extended attribute that programs see by this one: those that would be the overlay's own are escaped.
    pub(super) fn name_in_layer(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut inner = Vec::new();
        if let Some(rest) = name.strip_prefix(self.prefix()) {
            inner.try_extend_from_slice(self.prefix())?;
            inner.try_extend_from_slice(ESCAPE)?;
            inner.try_extend_from_slice(rest)?;
        } else {
            inner.try_extend_from_slice(name)?;
        }
        Ok(inner)
    }
    /// The other way round, in two parts; `None` for an attribute of the overlay's own.
    pub(super) fn name_outside<'a>(&self, name: &'a [u8]) -> Option<[&'a [u8]; 2]> {
        match name.strip_prefix(self.prefix()) {
            None => Some([b"", name]),
            Some(rest) => rest.strip_prefix(ESCAPE).map(|rest| [self.prefix(), rest]),
        }
    }
    /// The name of an attribute of its own.
    pub(super) fn name_of(&self, mark: Mark) -> &'static [u8] {
        mark.name(self.how.user_names)
    }
}

impl Node {
    /// Whether nothing can ever be changed, as there is no uppermost layer.
    pub fn is_fixed(&self) -> bool {
        self.overlay().upper().is_err()
    }

    /// Puts a layer over those below, whose files are made in a directory of `work`.
    fn put_over(
        &self,
        upper: Arc<dyn Inode>,
        work: &Arc<dyn Inode>,
        tree: Option<Tree>,
    ) -> Result<(), Errno> {
        let work = directory(work, WORK)?;
        clear(&work)?;
        if upper.kind().0 != S_IFDIR {
            return Err(Errno::NOTDIR);
        }
        let volume = Upper { work, next_temporary: AtomicU64::new(0), _tree: tree };
        self.overlay().volume.call_once(|| volume);
        self.set_upper(upper)
    }
}

impl Upper {
    /// The directory of files that are being made, or go.
    pub fn work(&self) -> &Arc<dyn Inode> {
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
        self.work.create(name.as_bytes(), NewNode::Special(S_IFCHR, 0), 0)?;
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

/// Whether an inode can be a layer: it is of the image, tmpfs or ext4.
fn is_for_files(inode: &Arc<dyn Inode>) -> bool {
    let inode = inode.as_any();
    inode.is::<memory::Node>() || inode.is::<ext4::Node>()
}

fn directory(volume: &Arc<dyn Inode>, name: &[u8]) -> Result<Arc<dyn Inode>, Errno> {
    match volume.lookup(name)? {
        Some(found) if found.kind().0 == S_IFDIR => Ok(found),
        Some(_) => Err(Errno::NOTDIR),
        None => volume.create(name, NewNode::Directory, PRIVATE),
    }
}

/// The first names in a directory, a number of them.
fn names(directory: &Arc<dyn Inode>) -> Result<Vec<Vec<u8>>, Errno> {
    let (mut names, mut result) = (Vec::new(), Ok(()));
    directory.list(0, &mut |entry| {
        let name = entry.name.try_to_vec();
        result = name.and_then(|name| names.try_push(name));
        result.is_ok() && names.len() < BATCH
    })?;
    result?;
    Ok(names)
}

fn discard(directory: &Arc<dyn Inode>, name: &[u8]) -> Result<(), Errno> {
    let Some(node) = directory.lookup(name)? else { return Ok(()) };
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
fn clear(work: &Arc<dyn Inode>) -> Result<(), Errno> {
    loop {
        let names = names(work)?;
        if names.is_empty() {
            return Ok(());
        }
        names.iter().try_for_each(|name| discard(work, name))?;
    }
}
