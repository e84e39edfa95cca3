//! The memory of all page caches together: what they may take, and how they give it back.
use super::pages::Cache;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::ipc::poll::{Events, PollSource, wait_until};
use coracle_core::lock::Mutex;
use coracle_core::mm::{memory, reclaim};
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{self, Frame, Watermark};
use coracle_hal::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};

/// Cached pages, and those of them that are dirty.
static PAGES: AtomicUsize = AtomicUsize::new(0);
static DIRTY: AtomicUsize = AtomicUsize::new(0);

/// Caches leave this part of memory free, beside what the marks of the frame allocator keep.
const FREE_SHARE: usize = 16;
/// Pages that are dirty take at most this part of memory, and at least so many may be: then a writer has them written.
const DIRTY_SHARE: usize = 16;
const DIRTY_LEAST: usize = 64;
/// Pages that are given back at a time.
const STEP: usize = 64;

/// Pages that are taken out of mappings at a time, and the fewest for which that is done.
const UNMAPPED: usize = 256;
const LEAST_MAPPED: usize = 128;

/// All caches, and the one whose pages are freed next.
static CACHES: Mutex<(Vec<Weak<Cache>>, usize)> = Mutex::new((Vec::new(), 0));

/// A cached page, counted as long as it is one.
pub(super) struct Counted(());

impl Counted {
    pub fn new() -> Counted {
        PAGES.fetch_add(1, Relaxed);
        Counted(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        PAGES.fetch_sub(1, Relaxed);
    }
}

/// Cached pages, and those of them that are dirty.
pub fn counts() -> (usize, usize) {
    (PAGES.load(Relaxed), DIRTY.load(Relaxed))
}

/// Told when the first page gets dirty.
pub static DIRTIED: PollSource = PollSource::new();

/// A page gets dirty.
pub(super) fn count_dirty() {
    if DIRTY.fetch_add(1, Relaxed) == 0 {
        DIRTIED.notify(Events::IN);
    }
}

pub(super) fn count_clean(pages: usize) {
    DIRTY.fetch_sub(pages, Relaxed);
}

/// Whether so much is dirty that a writer must wait for the disk.
pub fn is_too_dirty() -> bool {
    DIRTY.load(Relaxed) > (frame::total() / DIRTY_SHARE).max(DIRTY_LEAST)
}

/// Whether caches have memory that they should give back.
fn is_short() -> bool {
    let (free, total) = frame::counts();
    free < frame::watermark(Watermark::High) + total / FREE_SHARE
}

/// Has caches give back clean pages if memory is short, before one of them is locked to get more.
pub(super) fn make_room() {
    /// So many more times nothing is looked for after a search that found nothing, for so many pages that it looked at.
    const REST_SHARE: usize = 8;
    static RESTING: AtomicUsize = AtomicUsize::new(0);
    if frame::is_below(Watermark::High) {
        give_back_mapped(STEP);
    } else if is_short() {
        let resting = RESTING.load(Relaxed);
        if resting > 0 {
            RESTING.store(resting - 1, Relaxed);
        } else if give_back(STEP) == 0 {
            RESTING.store(PAGES.load(Relaxed) / REST_SHARE, Relaxed);
        }
    }
}

/// A frame for a cache. ENOMEM.
pub fn frame() -> Result<Frame, Errno> {
    if frame::is_below(Watermark::High) {
        return Err(Errno::NOMEM);
    }
    Frame::alloc().ok_or(Errno::NOMEM)
}

/// Has caches give back clean pages, until that many are free or each was asked; returns how many are. Hold no cache's lock.
pub fn give_back(pages: usize) -> usize {
    if PAGES.load(Relaxed) == 0 {
        return 0;
    }
    let mut freed = 0;
    let count = CACHES.lock().0.len();
    // In the first round a cache keeps what was used lately.
    for _ in 0..2 * count {
        if let Some(cache) = next_cache() {
            freed += cache.shrink(pages - freed);
            if freed >= pages {
                break;
            }
        }
    }
    freed
}

/// The same, also of pages that programs have mapped, if there are no others. One thread does so at a time, so that none takes what another
/// is about to free for all that there is.
fn give_back_mapped(pages: usize) -> usize {
    static IS_BUSY: AtomicBool = AtomicBool::new(false);
    static DONE: PollSource = PollSource::new();
    if PAGES.load(Relaxed) == 0 {
        return 0;
    }
    wait_until(&DONE, Events::IN, &mut || !IS_BUSY.swap(true, Acquire));
    let freed = take_from_all(pages);
    // An exchange, not a store: a thread that subscribed before it is seen by the notification after it.
    IS_BUSY.swap(false, AcqRel);
    DONE.notify(Events::IN);
    freed
}

fn take_from_all(pages: usize) -> usize {
    let mut freed = give_back(pages);
    let mut tries = PAGES.load(Relaxed) / UNMAPPED + 1;
    while freed == 0 && tries > 0 && unmap_some() {
        freed = give_back(pages);
        tries -= 1;
    }
    freed
}

/// Takes cached pages out of programs' mappings; which of them are used still shows in that they are mapped again before they are
/// given back. False: there are hardly any, and a program without them would do nothing but read them again.
fn unmap_some() -> bool {
    let mut frames = Vec::new();
    if frames.make_room(UNMAPPED).is_err() {
        return false;
    }
    let count = CACHES.lock().0.len();
    for _ in 0..count {
        if let Some(cache) = next_cache() {
            cache.mapped(&mut frames);
        }
    }
    if frames.len() < LEAST_MAPPED {
        return false;
    }
    memory::unmap_cached(&mut frames);
    true
}

/// The caches one after the other, over and over.
fn next_cache() -> Option<Arc<Cache>> {
    let mut caches = CACHES.lock();
    let (list, next) = &mut *caches;
    *next = (*next + 1) % list.len().max(1);
    list.get(*next).and_then(Weak::upgrade)
}

/// Gives back what is too much, from time to time.
pub fn balance() {
    while is_short() && give_back(STEP) > 0 {
        coracle_core::task::long_call::pause();
    }
}

/// Makes a cache known. ENOMEM.
pub(super) fn add(cache: &Arc<Cache>) -> Result<(), NoMemory> {
    reclaim::set_source(give_back_mapped);
    let mut caches = CACHES.lock();
    let list = &mut caches.0;
    if list.len() == list.capacity() {
        // Half of the list is free afterwards, so that caches which come and go cost the same among many.
        list.retain(|cache| cache.strong_count() > 0);
        let count = list.len();
        list.make_room(count + 1)?;
    }
    list.push_reserved(Arc::downgrade(cache));
    Ok(())
}
