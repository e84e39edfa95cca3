//! Reading and writing a program's memory as a debugger does.
use super::fault::Refused;
use super::memory::{Memory, PAGE_SIZE, page_down};
use super::vma::{Backing, table_rights};
use crate::errno::Errno;
use coracle_hal::frame::Frame;
use coracle_hal::paging::{Flush, MapError};

impl Memory {
    /// Reads from `addr`, also where the program may not (Linux's FOLL_FORCE).
    pub fn peek(&self, addr: usize, dst: &mut [u8]) -> Result<(), Refused> {
        self.check_not_secret(addr, dst.len())?;
        let result = self.read(addr, dst);
        if result != Err(Refused::Access) {
            return result;
        }
        let mut done = 0;
        while done < dst.len() {
            let at = addr.checked_add(done).ok_or(Refused::NotMapped)?;
            let offset = at - page_down(at);
            let part = (PAGE_SIZE - offset).min(dst.len() - done);
            self.page_for_good(at, false)?.read(offset, &mut dst[done..done + part]);
            done += part;
        }
        Ok(())
    }

    /// The page at `addr`, whatever the program may do with it; `maps`: it is present then.
    fn page_for_good(&self, addr: usize, maps: bool) -> Result<Frame, Refused> {
        // A page that may be read is made present so, and the stack grows.
        match self.read(addr, &mut [0]) {
            Ok(()) | Err(Refused::Access) => {}
            Err(refused) => return Err(refused),
        }
        let page = page_down(addr);
        loop {
            let (file, index, generation) = {
                let layout = self.layout();
                let (range, vma) = layout.regions.find(page).ok_or(Refused::NotMapped)?;
                if let Some(found) = self.space.query(page) {
                    return Ok(found.frame);
                }
                match &vma.backing {
                    Backing::Placed => return Err(Refused::NoPage),
                    Backing::Anonymous => (None, 0, layout.generation),
                    Backing::File { file, offset } => {
                        let index = (offset + (page - range.start) as u64) / PAGE_SIZE as u64;
                        (Some(file.clone()), index, layout.generation)
                    }
                }
            };
            let frame = match file {
                None => Frame::zero_page(),
                Some(file) => file.page(index, false).map_err(|error| match error {
                    Errno::NOMEM => Refused::OutOfMemory,
                    _ => Refused::NoPage,
                })?,
            };
            if !maps {
                return Ok(frame);
            }
            let layout = self.layout();
            if layout.generation == generation
                && let Some((_, vma)) = layout.regions.find(page)
                && self.space.map(page, frame, table_rights(vma.prot, false)) == Err(MapError::OutOfMemory)
            {
                return Err(Refused::OutOfMemory);
            }
        }
    }

    /// Writes `bytes` at `addr`, also where the program may only read or execute: such a page becomes one of this memory's own. What is
    /// shared with others is not changed so.
    pub fn poke(&self, addr: usize, bytes: &[u8]) -> Result<(), Refused> {
        self.check_not_secret(addr, bytes.len())?;
        let result = self.write(addr, bytes);
        if result != Err(Refused::Access) {
            return result;
        }
        let mut done = 0;
        while done < bytes.len() {
            let at = addr.checked_add(done).ok_or(Refused::NotMapped)?;
            let page = page_down(at);
            let part = (PAGE_SIZE - (at - page)).min(bytes.len() - done);
            self.page_for_good(at, true)?;
            let flush = self.replace_code(page, at - page, &bytes[done..done + part]);
            drop(flush.ok_or(Refused::Access)?);
            done += part;
        }
        Ok(())
    }

    /// Puts a copy of `page`, which is not shared with other memories, in its place, with `bytes` at `offset`.
    pub(super) fn replace_code(&self, page: usize, offset: usize, bytes: &[u8]) -> Option<Flush> {
        let layout = self.layout_now()?;
        if layout.regions.find(page)?.1.shared() {
            return None;
        }
        let old = self.space.query(page)?;
        let copy = Frame::alloc()?;
        copy.copy_from(&old.frame);
        copy.write(offset, bytes);
        self.space.replace(page, copy, old.prot).ok()
    }

    /// Whether a page is in memory.
    pub fn is_present(&self, addr: usize) -> bool {
        self.space.query(page_down(addr)).is_some()
    }
}
