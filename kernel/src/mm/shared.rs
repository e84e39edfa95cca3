//! The object behind shared anonymous memory: its pages outlive each mapping of it (fork(2), mremap(2), shmat(2)).
use crate::errno::Errno;
use crate::fs::file::File;
use crate::lock::Mutex;
use alloc::sync::Arc;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::frame::Frame;
use coracle_vfs_core::page_map::PageMap;
use core::any::Any;
use linux_raw_sys::general::stat as Stat;

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
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"/dev/zero (deleted)")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
