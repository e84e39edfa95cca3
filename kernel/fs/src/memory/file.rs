//! Open regular files and directories.
use super::content::MAX_SIZE;
use super::node::Node;
use crate::lost;
use crate::users;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access;
use coracle_core::fs::file::{EmitEntry, FEW_AROUND, File, MOST_AROUND};
use coracle_core::fs::inode::Inode;
use coracle_core::fs::mount::{DELETED, MountFlags, Place, WriteAccess};
use coracle_core::fs::stat::entry_kind;
use coracle_core::mm::user_buf::UserBuf;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::frame::Frame;
use core::any::Any;
use linux_raw_sys::general::{
    FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, O_ACCMODE, O_RDONLY, O_RDWR, S_IFDIR,
    stat as Stat,
};

/// An open regular file.
pub struct MemoryFile {
    node: Arc<Node>,
    name: Name,
    /// It counts as a writer of its node.
    writes: bool,
    /// Its mount stays writable meanwhile.
    _access: Option<WriteAccess>,
    /// What is written is lost though it may be meant to last: the file is in the root file system.
    is_lost: bool,
}

/// How an open file is called.
#[derive(Clone)]
pub enum Name {
    /// As it was found in the tree.
    Place(Place),
    /// As its maker liked: it has no place in the tree (memfd_create(2)).
    Label(Arc<[u8]>),
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if let Some(content) = self.node.content() {
            content.users.end(self.writes);
        }
    }
}

impl MemoryFile {
    /// Opens a regular file; the caller has seen that it is one. ETXTBSY if it is to be written and is being executed.
    pub fn new(node: Arc<Node>, name: Name, flags: u32) -> Result<Self, Errno> {
        let writes = flags & O_ACCMODE != O_RDONLY;
        let access = match &name {
            Name::Place(place) if writes => Some(WriteAccess::new(&place.path.mount)?),
            _ => None,
        };
        node.content().ok_or(Errno::INVAL)?.users.begin(writes)?;
        let is_lost = writes && matches!(&name, Name::Place(place) if place.path.mount.is_top());
        Ok(MemoryFile { node, name, writes, _access: access, is_lost })
    }
    /// Opens a file without a name for reading and writing; `label` is what /proc shows.
    pub fn nameless(node: Arc<Node>, label: Arc<[u8]>) -> Result<Self, Errno> {
        MemoryFile::new(node, Name::Label(label), O_RDWR)
    }
    /// Its node.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }
    fn count_lost(&self, bytes: usize) {
        if self.is_lost
            && let Name::Place(place) = &self.name
        {
            lost::count(bytes, place);
        }
    }
    fn content(&self) -> Result<&super::Content, Errno> {
        self.node.content().ok_or(Errno::INVAL)
    }
}

impl File for MemoryFile {
    fn read(&self, dst: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        self.content()?.read(dst, offset)
    }
    fn write(&self, src: &mut UserBuf, offset: u64, _nonblock: bool) -> SysResult {
        let done = self.content()?.write(src, offset)?;
        if done > 0 {
            access::written(&*self.node, self.node.touch());
        }
        self.count_lost(done);
        Ok(done)
    }
    fn append(&self, src: &mut UserBuf) -> Result<(usize, u64), Errno> {
        let done = self.content()?.append(src)?;
        if done.0 > 0 {
            access::written(&*self.node, self.node.touch());
        }
        self.count_lost(done.0);
        Ok(done)
    }
    fn cached(&self, first: u64, last: u64) -> [u64; 3] {
        let counts = self.node.content().map(|content| content.count_pages(first, last));
        counts.map_or([0; 3], |[all, dirty]| [all, dirty, 0])
    }
    fn seekable(&self) -> bool {
        true
    }
    fn size(&self) -> u64 {
        self.node.content().map_or(0, |content| content.size())
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.node.metadata().stat())
    }
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        Inode::truncate(&*self.node, size)
    }
    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let end = offset.checked_add(len).filter(|&end| end <= MAX_SIZE).ok_or(Errno::FBIG)?;
        let content = self.content()?;
        let keep = mode & FALLOC_FL_KEEP_SIZE != 0;
        match mode & !FALLOC_FL_KEEP_SIZE {
            0 => content.reserve(offset, end, keep)?,
            FALLOC_FL_PUNCH_HOLE if keep => content.zero_range(offset, len)?,
            FALLOC_FL_ZERO_RANGE => {
                if !keep {
                    content.grow(end)?;
                }
                content.zero_range(offset, len)?;
            }
            _ => return Err(Errno::OPNOTSUPP),
        }
        self.node.touch();
        Ok(())
    }
    fn seek_data(&self, offset: u64, hole: bool) -> Result<u64, Errno> {
        self.content()?.seek(offset, hole)
    }
    fn image_bytes(&self, offset: u64, len: usize) -> Option<&'static [u8]> {
        self.node.content()?.image_bytes(offset, len)
    }
    fn page(&self, index: u64, for_write: bool) -> Result<Frame, Errno> {
        self.content()?.page(index, for_write)
    }
    fn mapping_written(&self) {
        self.node.touch();
    }
    fn fault_around(&self) -> usize {
        // Cached pages were checked when they were read.
        if self.node.content().is_some_and(|content| content.is_cached()) { MOST_AROUND } else { FEW_AROUND }
    }
    fn pages_at_hand(&self, first: u64, pages: &mut [Option<Frame>]) {
        match self.node.content() {
            Some(content) if content.is_cached() => content.at_hand(first, pages),
            _ => (first..).zip(pages).for_each(|(index, page)| *page = self.page(index, false).ok()),
        }
    }
    fn may_execute(&self) -> bool {
        match &self.name {
            Name::Place(place) => !place.path.mount.flags().contains(MountFlags::NO_EXEC),
            Name::Label(_) => true,
        }
    }
    fn place(&self) -> Option<&Place> {
        match &self.name {
            Name::Place(place) => Some(place),
            Name::Label(_) => None,
        }
    }
    fn reopen(&self, flags: u32) -> Option<Result<Arc<dyn File>, Errno>> {
        let file = MemoryFile::new(self.node.clone(), self.name.clone(), flags);
        Some(file.and_then(|file| Ok(try_arc(file)? as Arc<dyn File>)))
    }
    fn openers(&self) -> Option<[u32; 2]> {
        self.content().ok().map(|content| content.users.openers())
    }
    fn execute(&self) -> Result<Option<Arc<dyn Any + Send + Sync>>, Errno> {
        users::execute(&self.node).map(Some)
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        match &self.name {
            Name::Place(place) => place.write(text),
            Name::Label(label) => [b"/", &**label, DELETED].into_iter().try_for_each(|part| text.push(part)),
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open directory, of any file system.
pub struct DirectoryFile {
    place: Place,
}

/// Positions of `.` and `..`; the entries follow.
const DOTS: u64 = 2;

impl DirectoryFile {
    /// Opens a directory. The caller has seen that it is one.
    pub fn new(place: Place) -> Self {
        DirectoryFile { place }
    }
}

impl File for DirectoryFile {
    fn read(&self, _dst: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        Err(Errno::ISDIR)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn size(&self) -> u64 {
        i64::MAX as u64
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.place.path.inode.metadata().stat())
    }
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        self.place.path.inode.sync(data_only)
    }
    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
    fn list(&self, from: u64, emit: EmitEntry) -> Result<(), Errno> {
        let path = &self.place.path;
        let directory = entry_kind(S_IFDIR);
        if from == 0 && !emit(path.inode.identity().1, 1, directory, b".") {
            return Ok(());
        }
        if from <= 1 && !emit(path.parent().inode.identity().1, DOTS, directory, b"..") {
            return Ok(());
        }
        path.inode.list(from.saturating_sub(DOTS), &mut |entry| {
            emit(entry.inode, entry.next + DOTS, entry.kind, entry.name)
        })
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
