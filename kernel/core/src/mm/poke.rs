//! Writing to a program's memory as a debugger does.
use super::fault::Refused;
use super::memory::{Memory, PAGE_SIZE, page_down};
use coracle_hal::frame::Frame;
use coracle_hal::paging::Flush;

impl Memory {
    /// Writes `bytes` at `addr`, also where the program may only read or execute: such a page becomes one of this memory's own. What is
    /// shared with others is not changed so.
    pub fn poke(&self, addr: usize, bytes: &[u8]) -> Result<(), Refused> {
        let result = self.write(addr, bytes);
        if result != Err(Refused::Access) {
            return result;
        }
        let mut done = 0;
        while done < bytes.len() {
            let at = addr.checked_add(done).ok_or(Refused::NotMapped)?;
            let page = page_down(at);
            let part = (PAGE_SIZE - (at - page)).min(bytes.len() - done);
            // Makes the page present.
            self.read(at, &mut [0])?;
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
