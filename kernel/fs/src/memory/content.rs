//! The bytes of a regular file in memory: pages of frames over the bytes that the image gives.
use super::image::Base;
use super::options::Limit;
use super::remains;
use crate::users::Users;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::long_call;
use coracle_fallible::prelude::*;
use coracle_hal::boot;
use coracle_hal::frame::{self, FRAME_SIZE, Frame, Watermark};
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use coracle_vfs_core::page_map::PageMap;
use core::ops::Range;
use linux_raw_sys::general::{F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE};

const PAGE: u64 = FRAME_SIZE as u64;
/// Seals against writing, and against new mappings that could write (F_ADD_SEALS).
pub const WRITE_SEALS: u32 = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;

/// Largest file: positions are signed 64-bit numbers.
pub const MAX_SIZE: u64 = i64::MAX as u64;
/// Pages that are dealt with between two pauses of a call.
const STEP: usize = 1024;
/// Bytes of a page that are compared at a time.
const PIECE: usize = 128;
/// Bytes of the image that are read between two pauses of a call.
const READ_STEP: usize = 64 * 1024;
/// Pages that a page fault has read from the disk.
const AHEAD: u64 = 8;
/// Bytes copied from the program before the file is locked, so that an append of up to so much is one step.
const APPEND_CHUNK: usize = 64 * 1024;

/// Contents of a regular file.
pub struct Content {
    /// The file's bytes in the image.
    base: Base,
    state: Mutex<State>,
    seals: AtomicU32,
    /// Some page was given out to be mapped.
    mapped: AtomicBool,
    pub(super) users: Users,
}

struct State {
    size: u64,
    /// How many bytes of the base still show: less than all after the file was made shorter.
    base_len: u64,
    /// Pages that differ from the base, or that are mapped.
    pages: PageMap<Page>,
    /// The bound of the file system.
    limit: Option<Arc<Limit>>,
    /// The page that a change lacks ([`Content::change`]).
    lacking: u64,
}

/// Files in memory together take at most this part of it (half, as a tmpfs of Linux's does where nothing else is said), so
/// that who writes them meets ENOSPC before programs are out of memory.
const SHARE: usize = 2;
/// Pages that files have now.
static PAGES: AtomicUsize = AtomicUsize::new(0);

/// Pages that files may have, and those that they may still get.
pub fn page_bounds() -> (usize, usize) {
    let (free, total) = frame::counts();
    let most = total / SHARE;
    let free = free.saturating_sub(frame::watermark(Watermark::High));
    (most, most.saturating_sub(PAGES.load(Ordering::Relaxed)).min(free))
}

/// A file's page; counted as long as the file has it.
struct Page(Frame);

impl Page {
    /// Counts a new one. ENOSPC: the files have their share.
    fn new(frame: impl FnOnce() -> Option<Frame>) -> Result<Page, Errno> {
        if PAGES.load(Ordering::Relaxed) >= frame::total() / SHARE || frame::is_below(Watermark::High) {
            return Err(Errno::NOSPC);
        }
        let page = Page(frame().ok_or(Errno::NOSPC)?);
        PAGES.fetch_add(1, Ordering::Relaxed);
        Ok(page)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        PAGES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Pages that a file had.
pub(super) struct Pages(PageMap<Page>);

impl Pages {
    pub fn len(&self) -> u64 {
        self.0.len()
    }
    /// Takes some out, to be dropped; `None` if there are none left.
    pub fn take(&mut self) -> Option<impl Sized> {
        self.0.cut_from(0)
    }
}

/// A large file's pages are freed in steps.
impl Drop for State {
    fn drop(&mut self) {
        let pages = Pages(core::mem::take(&mut self.pages));
        self.note_gone(pages.len());
        remains::free_pages(pages);
    }
}

/// Where bytes to read are.
enum Source {
    Frame(Frame, usize, usize),
    Base(&'static [u8]),
    /// Bytes of the base on its disk.
    Disk(u64, usize),
    Zeroes(usize),
    End,
}

impl Content {
    /// No bytes. `limit`: the bound of the file system.
    pub(super) fn empty(limit: Option<Arc<Limit>>) -> Self {
        Self::over(Base::EMPTY, limit)
    }
    /// A file of the image of `len` bytes, `offset` bytes from the archive's start; `bytes` are those that are in memory, all or none.
    pub fn of_image(bytes: &'static [u8], offset: u64, len: u64) -> Self {
        Self::over(Base::new(bytes, offset, len), None)
    }
    fn over(base: Base, limit: Option<Arc<Limit>>) -> Self {
        let size = base.len();
        Content {
            base,
            state: Mutex::new(State { size, base_len: size, pages: PageMap::new(), limit, lacking: 0 }),
            // No more seals, unless memfd_create(2) is told otherwise.
            seals: AtomicU32::new(F_SEAL_SEAL),
            mapped: AtomicBool::new(false),
            users: Users::new(),
        }
    }
    /// Bytes.
    #[inline(always)]
    pub fn size(&self) -> u64 {
        self.state.lock().size
    }
    /// Bytes of memory or image it takes.
    pub fn allocated(&self) -> u64 {
        let state = self.state.lock();
        let base_pages = state.base_len.div_ceil(PAGE);
        (base_pages + state.pages.count_from(base_pages)) * PAGE
    }
    /// Pages from `first` to `last` that are there, and those of them that the image does not have.
    pub fn count_pages(&self, first: u64, last: u64) -> [u64; 2] {
        let state = self.state.lock();
        let own = state.pages.count_from(first) - state.pages.count_from(last.saturating_add(1));
        let base = state.base_len.div_ceil(PAGE).min(last.saturating_add(1));
        let in_base = base.saturating_sub(first);
        // Pages of its own lie over those of the image.
        let over = if in_base > 0 { state.pages.count_from(first) - state.pages.count_from(base) } else { 0 };
        [own + in_base - over, own]
    }
    /// Whether a page was ever mapped.
    pub fn is_mapped(&self) -> bool {
        self.mapped.load(Ordering::Relaxed)
    }
    /// F_GET_SEALS.
    pub fn seals(&self) -> u32 {
        self.seals.load(Ordering::SeqCst)
    }
    /// F_ADD_SEALS; EPERM once sealed against it.
    pub fn add_seals(&self, seals: u32) -> Result<(), Errno> {
        if self.seals() & F_SEAL_SEAL != 0 {
            return Err(Errno::PERM);
        }
        self.seals.fetch_or(seals, Ordering::SeqCst);
        Ok(())
    }
    /// Takes back seals.
    pub fn remove_seals(&self, seals: u32) {
        self.seals.fetch_and(!seals, Ordering::SeqCst);
    }

    /// Where the bytes at `offset` are, of which up to `len` are wanted. EIO if the image is damaged there.
    fn source(&self, offset: u64, len: usize) -> Result<Source, Errno> {
        let state = self.state.lock();
        if offset >= state.size {
            return Ok(Source::End);
        }
        let index = offset / PAGE;
        let in_page = (offset % PAGE) as usize;
        let left = (state.size - offset).min(PAGE - in_page as u64) as usize;
        if let Some(Page(frame)) = state.pages.get(index) {
            return Ok(Source::Frame(frame.clone(), in_page, left));
        }
        if offset < state.base_len {
            // All of the base up to the next page of our own.
            let own = state.pages.next_from(index).map_or(u64::MAX, |page| page * PAGE);
            let end = own.min(state.base_len).min(offset.saturating_add(len as u64));
            return match self.base.is_on_disk() {
                true => Ok(Source::Disk(offset, (end - offset) as usize)),
                false => self.base.part(offset..end).map(Source::Base),
            };
        }
        Ok(Source::Zeroes(left))
    }
    /// pread(2).
    pub fn read(&self, dst: &mut UserBuf, mut offset: u64) -> Result<usize, Errno> {
        /// Holes are read in pieces of these: a whole page of them would lie in each image.
        static ZEROES: [u8; 512] = [0; 512];
        let before = dst.done();
        while dst.remaining() > 0 {
            let copied = match self.source(offset, dst.remaining().min(READ_STEP)) {
                Err(error) => Err(error),
                Ok(Source::End) => break,
                Ok(Source::Base(bytes)) => dst.put(bytes),
                Ok(Source::Disk(at, len)) => self.read_disk(dst, at, len),
                Ok(Source::Zeroes(len)) => dst.put(&ZEROES[..len.min(ZEROES.len())]),
                Ok(Source::Frame(frame, at, len)) => dst.put_frame(&frame, at, len),
            };
            match copied {
                Ok(0) => break,
                Ok(n) => offset += n as u64,
                Err(_) if dst.done() > before => break,
                Err(error) => return Err(error),
            }
            if dst.pause_before_rest().is_err() {
                break;
            }
        }
        Ok(dst.done() - before)
    }
    /// Reads bytes of a page of the base's disk, as many of `len` as it has. Waits for the disk.
    fn read_disk(&self, dst: &mut UserBuf, at: u64, len: usize) -> Result<usize, Errno> {
        let (frame, in_page, len) = self.base.on_disk(at, len, len.div_ceil(FRAME_SIZE) as u64)?;
        dst.put_frame(&frame, in_page, len)
    }
    /// Changes the state by a step that may be made again: where it lacks a page of the base's disk, with EAGAIN, that is fetched first.
    fn change<R>(&self, step: &mut dyn FnMut(&mut State) -> Result<R, Errno>) -> Result<R, Errno> {
        loop {
            let mut state = self.state.lock();
            match step(&mut state) {
                Err(Errno::AGAIN) => {
                    let index = state.lacking;
                    drop(state);
                    self.fetch(index)?;
                }
                result => return result,
            }
        }
    }
    /// Makes a page of the file's own from the base's disk, for which it waits. EIO, ENOSPC, ENOMEM.
    #[inline(never)]
    fn fetch(&self, index: u64) -> Result<(), Errno> {
        let page = Page::new(Frame::alloc_zeroed)?;
        let (start, mut done) = (index * PAGE, 0);
        let len = PAGE.min(self.base.len().saturating_sub(start)) as usize;
        while done < len {
            let (frame, in_page, part) = self.base.on_disk(start + done as u64, len - done, 1)?;
            let mut piece = [0; PIECE];
            for at in (0..part).step_by(PIECE) {
                let piece = &mut piece[..PIECE.min(part - at)];
                frame.read(in_page + at, piece);
                page.0.write(done + at, piece);
            }
            done += part;
        }
        let mut state = self.state.lock();
        // It may be there since, or have been cut off: what is past the base's end is zeroes.
        let left = state.base_len.saturating_sub(start).min(PAGE) as usize;
        if left > 0 && state.pages.get(index).is_none() {
            page.0.zero(left, FRAME_SIZE - left);
            state.pages.insert(index, page)?;
        }
        Ok(())
    }
    /// The bytes at `offset` that lie in the image unchanged, up to `len`.
    pub fn image_bytes(&self, offset: u64, len: usize) -> Option<&'static [u8]> {
        match self.source(offset, len) {
            Ok(Source::Base(bytes)) => Some(bytes),
            _ => None,
        }
    }
    /// pwrite(2).
    pub fn write(&self, src: &mut UserBuf, offset: u64) -> Result<usize, Errno> {
        self.check_write(offset, src.remaining())?;
        let before = src.done();
        let mut at = offset;
        while src.remaining() > 0 {
            let taken = src
                .fault_in(FRAME_SIZE)
                .and_then(|()| self.change(&mut |state| state.take(self.base, at, src, FRAME_SIZE)));
            let taken = match taken {
                // A copy stops before the last bytes ahead of a page that isn't there.
                Ok(0) => src.resolve().map(|()| 0),
                taken => taken,
            };
            match taken {
                Ok(taken) => at += taken as u64,
                Err(_) if at > offset => break,
                Err(error) => return Err(error),
            }
            if src.pause_before_rest().is_err() {
                break;
            }
        }
        Ok(src.done() - before)
    }
    /// A write at the end, whatever others append meanwhile: bytes written and the end after them.
    pub fn append(&self, src: &mut UserBuf) -> Result<(usize, u64), Errno> {
        let mut done = 0;
        let mut end = self.size();
        while src.remaining() > 0 {
            self.check_write(end, src.remaining())?;
            let appended = src.fault_in(APPEND_CHUNK).and_then(|()| {
                self.change(&mut |state| {
                    let at = state.size;
                    state.take(self.base, at, src, APPEND_CHUNK).map(|taken| (taken, at + taken as u64))
                })
            });
            let appended = match appended {
                Ok((0, behind)) => src.resolve().map(|()| (0, behind)),
                appended => appended,
            };
            match appended {
                Ok((taken, behind)) => {
                    done += taken;
                    end = behind;
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            if src.pause_before_rest().is_err() {
                break;
            }
        }
        Ok((done, end))
    }
    fn check_write(&self, offset: u64, len: usize) -> Result<(), Errno> {
        let end = offset.checked_add(len as u64).filter(|&end| end <= MAX_SIZE).ok_or(Errno::FBIG)?;
        let seals = self.seals();
        if seals & WRITE_SEALS != 0 || (seals & F_SEAL_GROW != 0 && end > self.size()) {
            return Err(Errno::PERM);
        }
        Ok(())
    }
    /// ftruncate(2). What is cut off reads as zeroes if the file grows again.
    pub fn truncate(&self, size: u64) -> Result<(), Errno> {
        if size > MAX_SIZE {
            return Err(Errno::INVAL);
        }
        let seals = self.seals();
        let cut = self.change(&mut |state| {
            if (size < state.size && seals & F_SEAL_SHRINK != 0)
                || (size > state.size && seals & F_SEAL_GROW != 0)
            {
                return Err(Errno::PERM);
            }
            let mut cut = PageMap::new();
            if size < state.size {
                state.clear_end(self.base, size)?;
                let (index, before) = (size.div_ceil(PAGE), state.pages.len());
                match state.pages.split_off(index) {
                    // Freed without the lock.
                    Ok(pages) => cut = pages,
                    // Without memory to take them out at once.
                    Err(_) => while state.pages.cut_from(index).is_some() {},
                }
                // Those of the run that was cut in two are gone already.
                state.note_gone(before - state.pages.len());
            }
            state.size = size;
            Ok(cut)
        })?;
        remains::free_pages(Pages(cut));
        Ok(())
    }
    /// FALLOC_FL_PUNCH_HOLE and FALLOC_FL_ZERO_RANGE: the range reads as zeroes.
    pub fn zero_range(&self, offset: u64, len: u64) -> Result<(), Errno> {
        if self.seals() & WRITE_SEALS != 0 {
            return Err(Errno::PERM);
        }
        let mut at = offset;
        loop {
            match self.change(&mut |state| self.zero_some(state, at, offset.saturating_add(len)))? {
                Some(next) => at = next,
                None => return Ok(()),
            }
            long_call::pause_unless_killed()?;
        }
    }
    /// Zeroes a step's worth of the bytes up to `end`; returns from where on there may be more.
    fn zero_some(&self, state: &mut State, mut at: u64, end: u64) -> Result<Option<u64>, Errno> {
        let end = end.min(state.size);
        for _ in 0..STEP {
            // Over what the image gives a page of our own has to lie; past that only pages that are there matter.
            if at >= state.base_len {
                match state.pages.next_from(at / PAGE) {
                    Some(index) => at = at.max(index * PAGE),
                    None => return Ok(None),
                }
            }
            if at >= end {
                return Ok(None);
            }
            let index = at / PAGE;
            let (in_page, n) = part_of_page(at, end);
            if n == FRAME_SIZE && at >= state.base_len && !self.is_mapped() {
                if state.pages.remove(index).is_some() {
                    state.note_gone(1);
                }
            } else {
                state.own(self.base, index)?.zero(in_page, n);
            }
            at += n as u64;
        }
        Ok(Some(at))
    }
    /// fallocate(2) mode 0: the file is at least `end` bytes long.
    pub fn grow(&self, end: u64) -> Result<(), Errno> {
        if end > MAX_SIZE {
            return Err(Errno::FBIG);
        }
        if end > self.size() { self.truncate(end) } else { Ok(()) }
    }
    /// fallocate(2) mode 0 and FALLOC_FL_KEEP_SIZE: takes the pages of a range, so that what is written there later finds room. Where
    /// that fails, those that were taken go back. ENOSPC; EPERM if it is sealed against growing; EINTR if the program is killed.
    pub fn reserve(&self, offset: u64, end: u64, keeps_size: bool) -> Result<(), Errno> {
        if end > self.size() && self.seals() & F_SEAL_GROW != 0 {
            return Err(Errno::PERM);
        }
        let pages = offset / PAGE..end.div_ceil(PAGE);
        let most =
            self.state.lock().limit.as_ref().map_or_else(|| page_bounds().0, |limit| limit.pages.of_all().0);
        if pages.end - pages.start > most as u64 {
            return Err(Errno::NOSPC);
        }
        let mut taken: Vec<Range<u64>> = Vec::new();
        let mut at = pages.start;
        while at < pages.end {
            let step = at..pages.end.min(at + STEP as u64);
            at = step.end;
            let reserved = self
                .change(&mut |state| self.reserve_some(state, step.clone(), &mut taken))
                .and_then(|()| long_call::pause_unless_killed());
            if let Err(error) = reserved {
                self.give_back(&taken);
                return Err(error);
            }
        }
        if !keeps_size {
            let mut state = self.state.lock();
            state.size = state.size.max(end);
        }
        Ok(())
    }
    fn reserve_some(
        &self,
        state: &mut State,
        pages: Range<u64>,
        taken: &mut Vec<Range<u64>>,
    ) -> Result<(), Errno> {
        for index in pages {
            if state.pages.get(index).is_some() {
                continue;
            }
            taken.make_room(1)?;
            state.own(self.base, index)?;
            match taken.last_mut() {
                Some(last) if last.end == index => last.end += 1,
                _ => taken.push_reserved(index..index + 1),
            }
        }
        Ok(())
    }
    /// Frees pages that were not written to meanwhile.
    fn give_back(&self, taken: &[Range<u64>]) {
        for index in taken.iter().flat_map(Range::clone) {
            let mut state = self.state.lock();
            if !self.is_mapped()
                && state.is_untouched(self.base, index)
                && state.pages.remove(index).is_some()
            {
                state.note_gone(1);
            }
            drop(state);
            long_call::pause();
        }
    }
    /// Where data or a hole begins at or after `offset`; ENXIO past the end.
    pub fn seek(&self, offset: u64, hole: bool) -> Result<u64, Errno> {
        let mut state = self.state.lock();
        if offset >= state.size {
            return Err(Errno::NXIO);
        }
        let mut at = offset;
        let mut steps = 0;
        while at < state.size {
            steps += 1;
            if steps % STEP == 0 {
                drop(state);
                long_call::pause_unless_killed()?;
                state = self.state.lock();
            }
            let index = at / PAGE;
            let is_data = at < state.base_len || state.pages.get(index).is_some();
            if is_data != hole {
                return Ok(at);
            }
            // Over holes straight to the next page there is.
            let next =
                if is_data { index + 1 } else { state.pages.next_from(index).unwrap_or(u64::MAX / PAGE) };
            at = next.saturating_mul(PAGE);
        }
        if hole { Ok(state.size) } else { Err(Errno::NXIO) }
    }
    /// The frame of page `index`, for mmap(2).
    pub fn page(&self, index: u64, for_write: bool) -> Result<Frame, Errno> {
        self.mapped.store(true, Ordering::Relaxed);
        let page = self.change(&mut |state| {
            if index >= state.size.div_ceil(PAGE) {
                return Err(Errno::NXIO);
            }
            if let Some(Page(frame)) = state.pages.get(index) {
                return Ok(Some(frame.clone()));
            }
            if !for_write && let Some(page) = self.page_in_base(state, index) {
                if self.base.is_on_disk() {
                    return Ok(None);
                }
                if let Some(frame) = boot::image_frame(page) {
                    let start = index * PAGE;
                    self.base.part(start..(start + PAGE).min(self.base.len()))?;
                    return Ok(Some(frame));
                }
            }
            state.own(self.base, index).cloned().map(Some)
        })?;
        let ahead = AHEAD.min(self.base.len().div_ceil(PAGE).saturating_sub(index));
        page.map_or_else(|| self.base.on_disk(index * PAGE, FRAME_SIZE, ahead).map(|(frame, ..)| frame), Ok)
    }
    /// The page of the archive that shows as page `index` of the file: past the end of the file its bytes are zero up to the end of
    /// the page.
    fn page_in_base(&self, state: &State, index: u64) -> Option<usize> {
        let start = index * PAGE;
        let whole = state.base_len == self.base.len() || start + PAGE <= state.base_len;
        let page = self.base.first_page().filter(|_| start < state.base_len && whole)?;
        Some(page + index as usize)
    }
    /// Whether [`Content::at_hand`] finds pages beside one that was asked for.
    pub fn is_cached(&self) -> bool {
        self.base.is_on_disk()
    }
    /// The pages from `first` on that can be mapped without waiting, to be read, as far as `pages` has room.
    pub fn at_hand(&self, first: u64, pages: &mut [Option<Frame>]) {
        self.base.at_hand(first, pages);
        let state = self.state.lock();
        for (index, page) in (first..).zip(pages) {
            if let Some(Page(frame)) = state.pages.get(index) {
                *page = Some(frame.clone());
            } else if self.page_in_base(&state, index).is_none() {
                *page = None;
            }
        }
    }
}

/// Offset in the page of `at`, and bytes from there to the page's end or to `end`.
fn part_of_page(at: u64, end: u64) -> (usize, usize) {
    let in_page = at % PAGE;
    (in_page as usize, (PAGE - in_page).min(end - at) as usize)
}

impl State {
    /// The page of our own at `index`, made from the base if it isn't there. ENOSPC: out of memory.
    fn own(&mut self, base: Base, index: u64) -> Result<&Frame, Errno> {
        if self.pages.get(index).is_none() {
            let start = index * PAGE;
            let end = (start + PAGE).min(self.base_len);
            if start < end && base.is_on_disk() {
                self.lacking = index;
                return Err(Errno::AGAIN);
            }
            let bytes = if start < end { base.part(start..end)? } else { &[] };
            if let Some(limit) = &self.limit {
                limit.pages.take()?;
            }
            let page = Page::new(|| {
                if bytes.is_empty() {
                    return Frame::alloc_zeroed();
                }
                let frame = Frame::alloc()?;
                frame.write(0, bytes);
                frame.zero(bytes.len(), FRAME_SIZE - bytes.len());
                Some(frame)
            });
            let is_there =
                page.and_then(|page| self.pages.insert(index, page).map(drop).map_err(|_| Errno::NOSPC));
            if let Err(error) = is_there {
                self.note_gone(1);
                return Err(error);
            }
        }
        self.pages.get(index).map(|page| &page.0).ok_or(Errno::NOSPC)
    }
    /// Whether the page is as [`State::own`] made it; not of one that came from a disk.
    fn is_untouched(&self, base: Base, index: u64) -> bool {
        let Some(Page(frame)) = self.pages.get(index) else { return false };
        let start = index * PAGE;
        let end = (start + PAGE).min(self.base_len);
        if base.is_on_disk() && start < end {
            return false;
        }
        let Ok(mut from) = (if start < end { base.part(start..end) } else { Ok(&[][..]) }) else {
            return false;
        };
        (0..FRAME_SIZE).step_by(PIECE).all(|at| {
            let mut piece = [0; PIECE];
            frame.read(at, &mut piece);
            let (first, rest) = from.split_at(from.len().min(PIECE));
            from = rest;
            piece.starts_with(first) && piece[first.len()..].iter().all(|&byte| byte == 0)
        })
    }
    /// Pages are no longer the file's.
    fn note_gone(&self, pages: u64) {
        if let Some(limit) = &self.limit {
            limit.pages.give_back(pages as usize);
        }
    }
    /// Takes up to `len` bytes from a program to `offset`, as far as its pages are there.
    fn take(&mut self, base: Base, offset: u64, src: &mut UserBuf, len: usize) -> Result<usize, Errno> {
        let mut done = 0;
        while done < len.min(src.remaining() + done) {
            let at = offset + done as u64;
            let in_page = (at % PAGE) as usize;
            let room = (FRAME_SIZE - in_page).min(len - done);
            let frame = match self.own(base, at / PAGE) {
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
                Ok(frame) => frame,
            };
            let taken = src.take_frame_nofault(frame, in_page, room);
            if taken == 0 {
                break;
            }
            done += taken;
            self.size = self.size.max(at + taken as u64);
        }
        Ok(done)
    }
    /// Prepares for ending at `size`: the rest of its last page is cleared, and the base forgotten past it. The caller takes
    /// away the pages that lie behind.
    fn clear_end(&mut self, base: Base, size: u64) -> Result<(), Errno> {
        let index = size / PAGE;
        let in_page = (size % PAGE) as usize;
        if in_page > 0 && self.pages.get(index).is_some() {
            self.own(base, index)?.zero(in_page, FRAME_SIZE - in_page);
        }
        self.base_len = self.base_len.min(size);
        Ok(())
    }
}
