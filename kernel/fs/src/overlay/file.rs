//! Open regular files of an overlay.
use super::node::Node;
use crate::users;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::{File, MakeEnding};
use coracle_core::fs::inode::Inode;
use coracle_core::fs::mount::Place;
use coracle_core::fs::stat::Stat;
use coracle_core::mm::user::Access;
use coracle_core::mm::user_buf::UserBuf;
use coracle_fallible::try_arc;
use coracle_hal::frame::Frame;
use coracle_hal::once::Once;
use core::any::Any;
use linux_raw_sys::general::{O_ACCMODE, O_RDONLY};

/// An open regular file: that of a layer below until there is one of the uppermost, which it goes over to then.
pub struct OverlayFile {
    node: Arc<Node>,
    place: Place,
    flags: u32,
    lower: Option<Arc<dyn File>>,
    upper: Once<Arc<dyn File>>,
}

impl Drop for OverlayFile {
    fn drop(&mut self) {
        self.node.users.end(self.writes());
    }
}

impl OverlayFile {
    /// Opens a file, which is in the uppermost layer if it is to be written. ETXTBSY if it is to be written and is being executed;
    /// EROFS, ENOMEM.
    #[inline(never)]
    pub fn open(node: Arc<Node>, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
        let lower = match (node.upper(), node.lower()) {
            (None, Some(lower)) => Some(lower.inode.clone().open(place.clone(), flags)?),
            _ => None,
        };
        node.users.begin(flags & O_ACCMODE != O_RDONLY)?;
        // From here on the dropping of it ends that.
        let file = OverlayFile { node, place, flags, lower, upper: Once::new() };
        if file.lower.is_none() {
            file.open_upper()?;
        }
        Ok(try_arc(file)?)
    }
    fn writes(&self) -> bool {
        self.flags & O_ACCMODE != O_RDONLY
    }
    fn open_upper(&self) -> Result<(), Errno> {
        let upper = self.node.upper().ok_or(Errno::IO)?.clone();
        let file = upper.open(self.place.clone(), self.flags)?;
        self.upper.call_once(|| file);
        Ok(())
    }
    /// The file of the layer that it is in now.
    fn real(&self) -> Result<&Arc<dyn File>, Errno> {
        if self.upper.get().is_none() && self.node.upper().is_some() {
            self.open_upper()?;
        }
        self.opened().ok_or(Errno::IO)
    }
    /// That of the layer that it was found in last.
    fn opened(&self) -> Option<&Arc<dyn File>> {
        self.upper.get().or(self.lower.as_ref())
    }
}

impl File for OverlayFile {
    fn read(&self, dst: &mut UserBuf, offset: u64, nonblock: bool) -> SysResult {
        self.real()?.read(dst, offset, nonblock)
    }
    fn read_cached(&self, dst: &mut UserBuf, offset: u64) -> SysResult {
        self.real()?.read_cached(dst, offset)
    }
    fn begin(
        &self,
        buffer: &mut UserBuf,
        offset: u64,
        access: Access,
        ending: MakeEnding,
    ) -> Result<bool, Errno> {
        self.real()?.begin(buffer, offset, access, ending)
    }
    fn show_begun(&self) {
        if let Ok(file) = self.real() {
            file.show_begun();
        }
    }
    fn advise(&self, advice: u32, start: u64, end: u64) -> Result<(), Errno> {
        self.real()?.advise(advice, start, end)
    }
    fn write(&self, src: &mut UserBuf, offset: u64, nonblock: bool) -> SysResult {
        self.real()?.write(src, offset, nonblock)
    }
    fn append(&self, src: &mut UserBuf) -> Result<(usize, u64), Errno> {
        self.real()?.append(src)
    }
    fn seekable(&self) -> bool {
        true
    }
    fn size(&self) -> u64 {
        self.real().map_or(0, |file| file.size())
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.node.metadata().stat())
    }
    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        self.real()?.ioctl(command, argument)
    }
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.real()?.truncate(size)
    }
    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        self.real()?.allocate(mode, offset, len)
    }
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        self.real()?.sync(data_only)
    }
    fn write_back(&self, start: u64, end: u64) -> Result<(), Errno> {
        self.real()?.write_back(start, end)
    }
    fn seek_data(&self, offset: u64, hole: bool) -> Result<u64, Errno> {
        self.real()?.seek_data(offset, hole)
    }
    fn image_bytes(&self, offset: u64, len: usize) -> Option<&'static [u8]> {
        self.real().ok()?.image_bytes(offset, len)
    }
    fn page(&self, index: u64, for_write: bool) -> Result<Frame, Errno> {
        self.real()?.page(index, for_write)
    }
    fn mapping_written(&self) {
        if let Ok(file) = self.real() {
            file.mapping_written();
        }
    }
    fn cached(&self, first: u64, last: u64) -> [u64; 3] {
        self.real().map_or([0; 3], |file| file.cached(first, last))
    }
    fn fault_around(&self) -> usize {
        self.real().map_or(1, |file| file.fault_around())
    }
    fn pages_at_hand(&self, first: u64, pages: &mut [Option<Frame>]) {
        if let Ok(file) = self.real() {
            file.pages_at_hand(first, pages);
        }
    }
    fn may_execute(&self) -> bool {
        self.opened().is_some_and(|file| file.may_execute())
    }
    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
    fn openers(&self) -> Option<[u32; 2]> {
        Some(self.node.users.openers())
    }
    fn execute(&self) -> Result<Option<Arc<dyn Any + Send + Sync>>, Errno> {
        users::execute(&self.node).map(Some)
    }
    /// The file of the layer: what knows its own files so has to find them.
    fn as_any(&self) -> &dyn Any {
        match self.opened() {
            Some(file) => (**file).as_any(),
            None => self,
        }
    }
}
