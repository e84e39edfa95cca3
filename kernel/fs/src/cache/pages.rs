//! The cached pages of a file.
use super::{Backing, Synced, pool};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::ipc::poll::{Events, PollSource, wait_until};
use coracle_core::lock::Mutex;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::long_call;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use coracle_vfs_core::page_map::PageMap;

/// Bytes of a page.
pub const PAGE: u64 = FRAME_SIZE as u64;
/// Pages that are read or written at a time at most.
const MOST_AT_ONCE: u64 = 32;
/// Pages that are read ahead once a second read follows on the first, doubled with each further one.
const FIRST_AHEAD: u64 = 4;
/// Pages that advice has read at most, as Linux has a bound for them.
const MOST_FETCHED: u64 = 256;

/// How pages are read that are not there.
#[derive(Clone, Copy)]
pub struct Reading {
    /// Pages that are read ahead of a sequential reader at most.
    pub ahead: u64,
    /// The disk may be waited for.
    pub may_wait: bool,
}

impl Reading {
    /// As it is where nothing else was said.
    pub const NORMAL: Reading = Reading { ahead: MOST_AT_ONCE, may_wait: true };
    /// By posix_fadvise(2), POSIX_FADV_RANDOM: nothing is read ahead.
    pub const RANDOM: Reading = Reading { ahead: 1, may_wait: true };
    /// By POSIX_FADV_SEQUENTIAL: twice as much.
    pub const SEQUENTIAL: Reading = Reading { ahead: 2 * MOST_AT_ONCE, may_wait: true };
}

/// A page.
struct Page {
    frame: Frame,
    state: PageState,
    /// It was written to after its writing began.
    is_dirty_again: bool,
    /// Some program may write to it by a mapping.
    is_mapped: bool,
    /// It was used since memory was last looked for.
    is_warm: bool,
    _counted: pool::Counted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PageState {
    /// It is being read: its bytes mean nothing.
    Filling,
    Present,
    /// It is being written to the disk.
    Writing,
    /// The same as one of these, but it goes when that ends: the disk has newer bytes.
    Stale,
}

impl Page {
    /// Its bytes are those of the file.
    fn is_good(&self) -> bool {
        matches!(self.state, PageState::Present | PageState::Writing)
    }
}

/// See [`Cache::sample_errors`], which follows Linux's lib/errseq.c.
const SEEN: u32 = 1;
const ERROR: u32 = 2;

struct State {
    pages: PageMap<Page>,
    /// The pages that differ from the disk.
    dirty: PageMap<()>,
    /// The page at which a sequential reader goes on, and how many pages are read ahead then.
    next: u64,
    ahead: u64,
    /// Where the search for pages to give back goes on, and that for pages to take out of mappings.
    hand: u64,
    mapped_hand: u64,
}

/// The pages.
pub struct Cache {
    state: Mutex<State>,
    /// Told when pages were filled or written.
    settled: PollSource,
    /// A thread writes pages back.
    is_writing_back: AtomicBool,
    /// Counts the errors of writing back in steps of [`ERROR`]; [`SEEN`]: the last one was reported.
    errors: AtomicU32,
}

impl Cache {
    /// No pages. ENOMEM.
    pub fn new() -> Result<Arc<Cache>, Errno> {
        let cache = try_arc(Cache {
            state: Mutex::new(State {
                pages: PageMap::new(),
                dirty: PageMap::new(),
                next: 0,
                ahead: 0,
                hand: 0,
                mapped_hand: 0,
            }),
            settled: PollSource::new(),
            is_writing_back: AtomicBool::new(false),
            errors: AtomicU32::new(0),
        })?;
        pool::add(&cache)?;
        Ok(cache)
    }

    /// Where a file that is opened now stands among the errors of writing back: it reports those that come, and the last one if no
    /// file did so far.
    pub fn sample_errors(&self) -> u32 {
        let now = self.errors.load(Ordering::Acquire);
        if now & SEEN != 0 { now } else { 0 }
    }

    /// EIO if there was an error since `sample`, which moves on: a file reports an error once (fsync(2)).
    pub fn check_errors(&self, sample: &AtomicU32) -> Result<(), Errno> {
        let now = self.errors.load(Ordering::Acquire);
        if now & !SEEN == 0 || sample.load(Ordering::Acquire) == now {
            return Ok(());
        }
        let seen = self.errors.fetch_or(SEEN, Ordering::AcqRel) | SEEN;
        if sample.swap(seen, Ordering::AcqRel) == seen { Ok(()) } else { Err(Errno::IO) }
    }

    /// Counts an error: no file has reported it.
    fn note_error(&self) {
        let next = |errors: u32| Some((errors & !SEEN).wrapping_add(ERROR));
        let _ = self.errors.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// Whether pages differ from the disk.
    pub fn is_dirty(&self) -> bool {
        !self.state.lock().dirty.is_empty()
    }

    /// Sleeps until `done` finds what it wants in the state.
    fn wait(&self, mut done: impl FnMut(&mut State) -> bool) {
        wait_until(&self.settled, Events::IN, &mut || done(&mut self.state.lock()));
    }

    /// Page `index`, read if it is not there. `wanted`: pages from there on that the reader is going to want.
    ///
    /// # Errors
    /// What the backing reports; ENOMEM; EAGAIN if the disk would have to be waited for, and may not.
    pub fn frame(
        &self,
        backing: &dyn Backing,
        index: u64,
        wanted: u64,
        reading: Reading,
    ) -> Result<Frame, Errno> {
        loop {
            let mut state = self.state.lock();
            match state.pages.get_mut(index) {
                Some(page) if page.is_good() => {
                    page.is_warm = true;
                    return Ok(page.frame.clone());
                }
                _ if !reading.may_wait => return Err(Errno::AGAIN),
                Some(_) => {
                    drop(state);
                    self.wait(|state| state.pages.get(index).is_none_or(Page::is_good));
                }
                None => {
                    let pages = backing.size().div_ceil(PAGE).saturating_sub(index).max(1);
                    let count = state.ahead_of(index, wanted, reading.ahead).min(pages);
                    drop(state);
                    self.fill(backing, index, count)?;
                }
            }
        }
    }

    /// Reads pages from `index` on, up to `count` or to one that is there already.
    fn fill(&self, backing: &dyn Backing, index: u64, count: u64) -> Result<(), Errno> {
        // Before this cache is locked, so that it can give back its own.
        pool::make_room();
        let mut frames = Vec::new();
        let mut state = self.state.lock();
        for at in index..index.saturating_add(count) {
            if state.pages.get(at).is_some() {
                break;
            }
            // What is read ahead is not worth an error.
            match state.begin_fill(at, &mut frames) {
                Err(error) if at == index => return Err(error),
                Err(_) => break,
                Ok(()) => {}
            }
        }
        drop(state);
        if frames.is_empty() {
            return Ok(());
        }
        let mut result = backing.read(index, &frames);
        let mut good = if result.is_ok() { frames.len() } else { 0 };
        if result.is_err() && frames.len() > 1 {
            // The error may be that of another page.
            result = backing.read(index, &frames[..1]);
            good = result.is_ok().into();
        }
        let mut state = self.state.lock();
        for (number, at) in (index..).take(frames.len()).enumerate() {
            match state.pages.get_mut(at) {
                Some(page) if number < good && page.state != PageState::Stale => {
                    page.state = PageState::Present;
                }
                _ => drop(state.pages.remove(at)),
            }
        }
        drop(state);
        self.settled.notify(Events::IN);
        result
    }

    /// pread(2): bytes from `offset` on, up to the end of the file.
    pub fn read(&self, backing: &dyn Backing, dst: &mut UserBuf, offset: u64, reading: Reading) -> SysResult {
        let before = dst.done();
        let mut at = offset;
        while dst.remaining() > 0 {
            let left = backing.size().saturating_sub(at);
            if left == 0 {
                break;
            }
            let in_page = (at % PAGE) as usize;
            let wanted = (in_page + dst.remaining()).div_ceil(FRAME_SIZE) as u64;
            let len = (FRAME_SIZE - in_page).min(dst.remaining()).min(left.min(PAGE) as usize);
            let copied = self
                .frame(backing, at / PAGE, wanted, reading)
                .and_then(|frame| dst.put_frame(&frame, in_page, len));
            match copied {
                Ok(0) => break,
                Ok(n) => at += n as u64,
                Err(_) if dst.done() > before => break,
                Err(error) => return Err(error),
            }
            if dst.remaining() > 0 && long_call::pause_unless_killed().is_err() {
                break;
            }
        }
        Ok(dst.done() - before)
    }

    /// Puts bytes into the page at `offset`, which they do not leave, and which is dirty then. The caller sees to it that the
    /// file is not made shorter meanwhile.
    ///
    /// # Errors
    /// What the backing reports if the rest of the page must be read; ENOMEM.
    pub fn put(&self, backing: &dyn Backing, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let (index, in_page) = (offset / PAGE, (offset % PAGE) as usize);
        pool::make_room();
        loop {
            let mut state = self.state.lock();
            match state.pages.get(index).map(Page::is_good) {
                Some(false) | None => {
                    let is_new = bytes.len() == FRAME_SIZE || index * PAGE >= backing.size();
                    if is_new && state.pages.get(index).is_none() {
                        let mut frames = Vec::new();
                        state.begin_fill(index, &mut frames)?;
                        if let Some(page) = state.pages.get_mut(index) {
                            page.frame.zero(0, FRAME_SIZE);
                            page.state = PageState::Present;
                        }
                    } else {
                        drop(state);
                        self.frame(backing, index, 1, Reading::NORMAL)?;
                    }
                }
                Some(_) => {
                    state.mark_dirty(index)?;
                    if let Some(page) = state.pages.get_mut(index) {
                        page.frame.write(in_page, bytes);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Takes up to `len` bytes, which do not leave their page, from a program into the page at `offset`, as [`Cache::put`] does. `None`: the page
    /// is not there, and takes no part of its bytes. The program's pages are not waited for.
    pub fn take(
        &self,
        backing: &dyn Backing,
        offset: u64,
        len: usize,
        src: &mut UserBuf,
    ) -> Result<Option<usize>, Errno> {
        let (index, in_page) = (offset / PAGE, (offset % PAGE) as usize);
        if index * PAGE >= backing.size() {
            // Zeroes, which is what its rest is.
            self.put(backing, offset, &[])?;
        }
        let mut state = self.state.lock();
        if !state.pages.get(index).is_some_and(Page::is_good) {
            return Ok(None);
        }
        state.mark_dirty(index)?;
        Ok(state.pages.get_mut(index).map(|page| src.take_frame_nofault(&page.frame, in_page, len)))
    }

    /// Puts bytes into the pages that are there, of those from `offset` on: the backing has them already. `read` copies those at a place among
    /// the bytes, of which there are `len`.
    pub fn renew(&self, offset: u64, len: usize, read: &dyn Fn(usize, &mut [u8])) -> Result<(), Errno> {
        let end = offset + len as u64;
        let mut bytes = Vec::new();
        let mut at = offset;
        loop {
            let mut state = self.state.lock();
            let Some(index) = state.pages.next_from(at / PAGE).filter(|&index| index * PAGE < end) else {
                return Ok(());
            };
            let from = at.max(index * PAGE);
            let to = end.min((index + 1) * PAGE);
            match state.pages.get_mut(index) {
                Some(page) if !page.is_good() => {
                    drop(state);
                    self.wait(|state| state.pages.get(index).is_none_or(Page::is_good));
                }
                Some(page) => {
                    bytes.try_resize((to - from) as usize, 0)?;
                    read((from - offset) as usize, &mut bytes);
                    page.frame.write((from % PAGE) as usize, &bytes);
                    at = to;
                }
                None => at = to,
            }
            if at >= end {
                return Ok(());
            }
        }
    }

    /// The frame of page `index`, for mmap(2). `for_write`: a program may write to it.
    ///
    /// # Errors
    /// ENXIO past the end; what the backing reports, ENOMEM.
    pub fn page(&self, backing: &dyn Backing, index: u64, for_write: bool) -> Result<Frame, Errno> {
        if index >= backing.size().div_ceil(PAGE) {
            return Err(Errno::NXIO);
        }
        loop {
            let frame = self.frame(backing, index, 1, Reading::NORMAL)?;
            if !for_write {
                return Ok(frame);
            }
            let mut state = self.state.lock();
            // It may have been given back meanwhile.
            if state.pages.get(index).is_some_and(Page::is_good) {
                state.mark_dirty(index)?;
                if let Some(page) = state.pages.get_mut(index) {
                    page.is_mapped = true;
                    return Ok(page.frame.clone());
                }
            }
        }
    }

    /// The pages from `first` on that are there, as far as `pages` has room.
    pub fn at_hand(&self, first: u64, pages: &mut [Option<Frame>]) {
        let mut state = self.state.lock();
        let (mut at, mut rest) = (first, pages);
        while !rest.is_empty() {
            let together = state.pages.together_from(at);
            let count = together.len().clamp(1, rest.len());
            let (part, behind) = rest.split_at_mut(count);
            part.fill(None);
            for (found, page) in part.iter_mut().zip(together) {
                if let Some(page) = page.as_mut().filter(|page| page.is_good()) {
                    page.is_warm = true;
                    *found = Some(page.frame.clone());
                }
            }
            (at, rest) = (at + count as u64, behind);
        }
    }

    /// How many pages from `first` to `last` there are, are dirty, and are being written.
    pub fn count(&self, first: u64, last: u64) -> [u64; 3] {
        let state = self.state.lock();
        let end = last.saturating_add(1);
        let all = state.pages.count_from(first) - state.pages.count_from(end);
        let dirty = state.dirty.count_from(first) - state.dirty.count_from(end);
        [all, dirty, 0]
    }

    /// Writes the dirty pages whose bytes lie in a range to the backing. When it returns they are with the disk, which may have them in
    /// a cache of its own.
    ///
    /// # Errors
    /// The first one that the backing reports. The other pages are written all the same; those that could not be are taken
    /// for clean, and counted as errors, as on Linux.
    pub fn write_back(&self, backing: &dyn Backing, start: u64, end: u64) -> Result<(), Errno> {
        self.write_back_as(backing, start, end, None).map(drop)
    }

    /// [`Cache::write_back`] of all pages, and how making the file durable went, if that was done with the last of them. `data_only`: as
    /// fdatasync(2).
    ///
    /// # Errors
    /// As [`Cache::write_back`].
    pub fn write_back_and_sync(&self, backing: &dyn Backing, data_only: bool) -> Result<Synced, Errno> {
        self.write_back_as(backing, 0, u64::MAX, Some(data_only))
    }

    fn write_back_as(
        &self,
        backing: &dyn Backing,
        start: u64,
        end: u64,
        sync: Option<bool>,
    ) -> Result<Synced, Errno> {
        if !self.is_dirty() {
            // Pages of a write-back that has begun are still dirty.
            return Ok(None);
        }
        wait_until(&self.settled, Events::IN, &mut || !self.is_writing_back.swap(true, Ordering::Acquire));
        let (mut result, mut synced) = (Ok(()), None);
        let (mut at, end) = (start / PAGE, end.div_ceil(PAGE));
        while let Some((index, frames)) = self.begin_writing(at, end) {
            let Ok(frames) = frames else {
                result = result.and(Err(Errno::NOMEM));
                break;
            };
            at = index + frames.len() as u64;
            let written;
            (written, synced) = match sync {
                Some(data_only) if result.is_ok() && self.state.lock().dirty.next_from(at).is_none() => {
                    backing.write_and_sync(index, &frames, data_only)
                }
                _ => (backing.write(index, &frames), None),
            };
            drop(frames);
            self.end_writing(index, at);
            if written.is_err() {
                self.note_error();
                result = result.and(written);
            }
            long_call::pause();
        }
        self.is_writing_back.swap(false, Ordering::Release);
        self.settled.notify(Events::IN);
        result.map(|()| synced)
    }

    /// The next dirty pages that lie in a row, and their frames, as being written.
    #[allow(clippy::type_complexity)]
    fn begin_writing(&self, from: u64, end: u64) -> Option<(u64, Result<Vec<Frame>, Errno>)> {
        let mut state = self.state.lock();
        let first = state.dirty.next_from(from).filter(|&index| index < end)?;
        let last = end.min(first + MOST_AT_ONCE);
        let count = (first..last).take_while(|&index| state.dirty.get(index).is_some()).count() as u64;
        let mut frames = Vec::new();
        if frames.make_room(count as usize).is_err() {
            return Some((first, Err(Errno::NOMEM)));
        }
        for index in first..first + count {
            let Some(page) = state.pages.get_mut(index) else { break };
            page.state = PageState::Writing;
            page.is_dirty_again = false;
            frames.push_reserved(page.frame.clone());
        }
        Some((first, Ok(frames)))
    }

    /// They were written. Those that were written to meanwhile, or may be by mappings, stay dirty.
    fn end_writing(&self, from: u64, end: u64) {
        let mut state = self.state.lock();
        for index in from..end {
            let Some(page) = state.pages.get_mut(index) else { continue };
            if page.state == PageState::Stale {
                state.mark_clean(index);
                drop(state.pages.remove(index));
                continue;
            }
            page.state = PageState::Present;
            page.is_mapped &= !page.frame.is_unique();
            if !page.is_dirty_again && !page.is_mapped {
                state.mark_clean(index);
            }
        }
        drop(state);
        self.settled.notify(Events::IN);
    }

    /// Forgets the pages from `index` on, dirty ones, too: the file ends before them, or their bytes on the disk are to count. Waits
    /// for those that are being read or written.
    pub fn forget(&self, index: u64, end: u64) {
        let mut at = index;
        loop {
            let mut state = self.state.lock();
            let Some(found) = state.pages.next_from(at).filter(|&found| found < end) else { return };
            match state.pages.get(found) {
                Some(page) if page.state == PageState::Present => {
                    state.mark_clean(found);
                    let page = state.pages.remove(found);
                    drop(state);
                    drop(page);
                    at = found + 1;
                }
                _ => {
                    drop(state);
                    self.wait(|state| {
                        state.pages.get(found).is_none_or(|page| page.state == PageState::Present)
                    });
                }
            }
        }
    }

    /// Forgets the pages from `index` on up to `end`, whose bytes the disk has got by another way. Waits for nothing: those that are being read or
    /// written go when that ends, and serve no reader until then.
    pub fn forget_stale(&self, index: u64, end: u64) {
        let mut at = index;
        loop {
            let mut state = self.state.lock();
            let Some(found) = state.pages.next_from(at).filter(|&found| found < end) else { return };
            at = found + 1;
            let page = match state.pages.get_mut(found) {
                Some(page) if page.state == PageState::Present => {
                    state.mark_clean(found);
                    state.pages.remove(found)
                }
                Some(page) => {
                    page.state = PageState::Stale;
                    None
                }
                None => None,
            };
            drop(state);
            drop(page);
        }
    }

    /// Reads the pages of a range that are not there, but not more than some (posix_fadvise(2), POSIX_FADV_WILLNEED). An error is left for
    /// the read that meets it.
    pub fn fetch(&self, backing: &dyn Backing, start: u64, end: u64) {
        let end = end.min(backing.size()).div_ceil(PAGE);
        let mut at = start / PAGE;
        let end = end.min(at.saturating_add(MOST_FETCHED));
        while at < end {
            let is_there = self.state.lock().pages.get(at).is_some();
            let count = if is_there { 1 } else { MOST_AT_ONCE.min(end - at) };
            let is_read = is_there || self.fill(backing, at, count).is_ok();
            if !is_read || long_call::pause_unless_killed().is_err() {
                return;
            }
            at += 1;
        }
    }

    /// Gives back the pages that lie in a range as a whole, and are clean and not mapped (POSIX_FADV_DONTNEED).
    pub fn give_back(&self, start: u64, end: u64) {
        let (mut at, end) = (start.div_ceil(PAGE), end / PAGE);
        loop {
            let mut state = self.state.lock();
            let Some(index) = state.pages.next_from(at).filter(|&index| index < end) else { return };
            at = index + 1;
            let is_clean = state.dirty.get(index).is_none();
            let is_idle = |page: &Page| page.state == PageState::Present && page.frame.is_unique();
            let is_idle = state.pages.get(index).is_some_and(is_idle);
            let page = if is_clean && is_idle { state.pages.remove(index) } else { None };
            drop(state);
            drop(page);
            long_call::pause();
        }
    }

    /// Zeroes a range of bytes in the pages that are there. They differ from the disk no more than before: the caller makes the same of
    /// the bytes there.
    pub fn zero(&self, start: u64, end: u64) {
        let mut at = start;
        while at < end {
            let mut state = self.state.lock();
            let Some(index) = state.pages.next_from(at / PAGE).filter(|&index| index * PAGE < end) else {
                return;
            };
            let from = at.max(index * PAGE);
            let to = end.min((index + 1) * PAGE);
            match state.pages.get_mut(index) {
                Some(page) if !page.is_good() => {
                    drop(state);
                    self.wait(|state| state.pages.get(index).is_none_or(Page::is_good));
                }
                Some(page) => {
                    page.frame.zero((from % PAGE) as usize, (to - from) as usize);
                    at = to;
                }
                None => at = to,
            }
        }
    }

    /// Adds the frames of clean pages that something else holds, a mapping in most cases, as far as there is room in the list. They count as not used
    /// lately, and the search for pages to give back goes on with them.
    pub fn mapped(&self, frames: &mut Vec<u64>) {
        let mut state = self.state.lock();
        state.hand = state.mapped_hand;
        for _ in 0..state.pages.len() {
            if frames.len() == frames.capacity() {
                break;
            }
            let at = state.mapped_hand;
            let Some(index) = state.pages.next_from(at).or_else(|| state.pages.next_from(0)) else { break };
            state.mapped_hand = index + 1;
            let is_clean = state.dirty.get(index).is_none();
            let Some(page) = state.pages.get_mut(index) else { break };
            if is_clean && page.state == PageState::Present && !page.frame.is_unique() {
                page.is_warm = false;
                frames.push_reserved(page.frame.phys());
            }
        }
    }

    /// Gives back clean pages that no program has mapped and that were not used since the last time, up to `most`; returns how many.
    pub fn shrink(&self, most: usize) -> usize {
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        let mut left = state.pages.len();
        let mut at = state.hand;
        while left > 0 && gone.len() < most {
            let Some(index) = state.pages.next_from(at) else {
                if at == 0 {
                    break;
                }
                at = 0;
                continue;
            };
            left -= 1;
            at = index + 1;
            let is_clean = state.dirty.get(index).is_none();
            let Some(page) = state.pages.get_mut(index) else { break };
            let is_cold = !core::mem::replace(&mut page.is_warm, false);
            if is_cold && is_clean && page.state == PageState::Present && page.frame.is_unique() {
                // Without memory for the list it is freed here.
                let page = state.pages.remove(index);
                if gone.try_push(page).is_err() {
                    break;
                }
            }
        }
        state.hand = at;
        drop(state);
        gone.len()
    }
}

impl State {
    /// How many pages from `index` on are to be read, as a reader wants `wanted` of them.
    /// `most`: those that are read ahead at most.
    fn ahead_of(&mut self, index: u64, wanted: u64, most: u64) -> u64 {
        self.ahead = match index == self.next && index > 0 {
            true => (2 * self.ahead).max(FIRST_AHEAD).min(most),
            false => 1,
        };
        let count = wanted.max(self.ahead).min(most.max(MOST_AT_ONCE));
        self.next = index + count;
        count
    }

    /// Puts a page there whose bytes are to be read, and its frame into the list. ENOMEM.
    fn begin_fill(&mut self, index: u64, frames: &mut Vec<Frame>) -> Result<(), Errno> {
        frames.make_room(1)?;
        let frame = pool::frame()?;
        let page = Page {
            frame: frame.clone(),
            state: PageState::Filling,
            is_dirty_again: false,
            is_mapped: false,
            is_warm: false,
            _counted: pool::Counted::new(),
        };
        self.pages.insert(index, page)?;
        frames.push_reserved(frame);
        Ok(())
    }

    /// The page is about to differ from the disk. ENOMEM.
    fn mark_dirty(&mut self, index: u64) -> Result<(), Errno> {
        if self.dirty.get(index).is_none() {
            self.dirty.insert(index, ())?;
            pool::count_dirty();
        }
        if let Some(page) = self.pages.get_mut(index) {
            page.is_dirty_again = true;
            page.is_warm = true;
        }
        Ok(())
    }

    fn mark_clean(&mut self, index: u64) {
        if self.dirty.remove(index).is_some() {
            pool::count_clean(1);
        }
    }
}

/// What was never written is dirty no longer.
impl Drop for State {
    fn drop(&mut self) {
        pool::count_clean(self.dirty.len() as usize);
    }
}
