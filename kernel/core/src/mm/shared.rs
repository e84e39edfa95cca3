//! The object behind shared anonymous memory: its pages outlive each mapping of it (fork(2), mremap(2), shmat(2)).
use crate::errno::Errno;
use crate::fs::file::File;
use crate::lock::Mutex;
use alloc::sync::Arc;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_vfs_core::page_map::PageMap;
use core::any::Any;
use linux_raw_sys::general::{FALLOC_FL_PUNCH_HOLE, stat as Stat};

/// Pages by index, made when they are first touched.
#[derive(Default)]
pub struct SharedAnonymous {
    pages: Mutex<PageMap<Frame>>,
}

impl SharedAnonymous {
    /// A file without pages yet. ENOMEM.
    pub fn file() -> Result<Arc<dyn File>, Errno> {
        Ok(try_arc(SharedAnonymous::default())?)
    }
    /// How many pages were touched.
    pub fn touched(&self) -> u64 {
        self.pages.lock().len()
    }
}

impl File for SharedAnonymous {
    fn stat(&self) -> Result<Stat, Errno> {
        Err(Errno::INVAL)
    }
    fn page(&self, index: u64, _for_write: bool) -> Result<Frame, Errno> {
        let mut pages = self.pages.lock();
        if let Some(frame) = pages.get(index) {
            return Ok(frame.clone());
        }
        let frame = Frame::alloc_zeroed().ok_or(Errno::NOMEM)?;
        pages.insert(index, frame.clone())?;
        Ok(frame)
    }
    /// Holes alone (madvise(2), MADV_REMOVE). Their pages are zeroed where they are, since others may map them.
    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        if mode & FALLOC_FL_PUNCH_HOLE == 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let pages = self.pages.lock();
        let end = (offset + len) / FRAME_SIZE as u64;
        let mut next = offset / FRAME_SIZE as u64;
        while let Some(index) = pages.next_from(next).filter(|&index| index < end) {
            next = index + 1;
            if let Some(frame) = pages.get(index) {
                frame.zero(0, FRAME_SIZE);
            }
        }
        Ok(())
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"/dev/zero (deleted)")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
