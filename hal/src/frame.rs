//! Physical memory: reference-counted 4-KiB frames.
//!
//! Frames are counted in an array with one word for each frame of RAM. A frame is described when it is first handed out
//! (see `buddy`), so that large memories cost nothing until they are used. Each CPU keeps a few free frames at hand.
use crate::buddy::{Buddy, Memory};
use crate::heap;
use crate::layout;
use crate::local::Local;
use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Bytes in a frame.
pub const FRAME_SIZE: usize = 4096;

/// One reference to a 4-KiB frame; the frame is freed with its last reference. Contents are reached by copies only,
/// because the program may write to a mapped frame at any time.
#[derive(Debug)]
pub struct Frame {
    number: u32,
}

/// Address of the array of states, and the frames of the image, which are never counted.
static STATES: AtomicUsize = AtomicUsize::new(0);
static IMAGE_START: AtomicU32 = AtomicU32::new(0);
static IMAGE_END: AtomicU32 = AtomicU32::new(0);

/// Frames that programs' pages leave to the kernel's heap, so that the kernel can still act when they have used up the
/// rest: this part of memory, within these bounds.
const RESERVE_SHARE: usize = 64;
const RESERVE_LEAST: usize = 24;
const RESERVE_MOST: usize = 1024;
static RESERVE: AtomicUsize = AtomicUsize::new(0);
/// What the kernel's fallible allocations leave of that to the others.
const LAST_SHARE: usize = 4;

/// Notes whether memory is low, when frames came to or went from the buddy allocator.
fn note_low(buddy: &Buddy<Ram>) {
    coracle_fallible::set_low(buddy.counts().0 <= reserve() / LAST_SHARE);
}

struct Ram;

impl Memory for Ram {
    fn state(&self, frame: u32) -> &AtomicU32 {
        state(frame)
    }
    fn links(&self, frame: u32) -> (u32, u32) {
        // SAFETY: the frame is free: it is RAM in the direct map that nobody else uses.
        unsafe { *(layout::direct(u64::from(frame) << 12) as *const (u32, u32)) }
    }
    fn set_links(&self, frame: u32, links: (u32, u32)) {
        // SAFETY: as above.
        unsafe { *(layout::direct(u64::from(frame) << 12) as *mut (u32, u32)) = links };
    }
}

static BUDDY: spin::Mutex<Buddy<Ram>> = spin::Mutex::new(Buddy::new(Ram));

#[inline(always)]
fn state(frame: u32) -> &'static AtomicU32 {
    let array = STATES.load(Ordering::Relaxed) as *const AtomicU32;
    // SAFETY: `init` reserved one word for each frame number up to the highest of RAM.
    unsafe { &*array.add(frame as usize) }
}

/// Starts the allocator: `spans` are free RAM in frame numbers, `states` the address of zeroed or garbage memory for one
/// word per frame, `image` the frames of the image.
///
/// # Safety
/// All that is unused, mapped RAM, and `states` has room for the highest frame of spans and image.
pub(crate) unsafe fn init(spans: &[(u32, u32)], states: usize, image: core::ops::Range<u32>) {
    STATES.store(states, Ordering::Relaxed);
    IMAGE_START.store(image.start, Ordering::Relaxed);
    IMAGE_END.store(image.end, Ordering::Relaxed);
    let mut buddy = BUDDY.lock();
    for &(start, end) in spans {
        buddy.add_span(start, end);
    }
    let (_, total) = buddy.counts();
    RESERVE.store((total / RESERVE_SHARE).clamp(RESERVE_LEAST, RESERVE_MOST), Ordering::Relaxed);
}

/// Frames that a CPU keeps at hand at most (a power of two, for cheap bounds), and how many it fetches or gives back at a time.
const CACHE: usize = 32;
const BATCH: usize = 16;

/// A CPU's free frames.
pub(crate) struct FrameCache {
    count: Cell<usize>,
    frames: UnsafeCell<[u32; CACHE]>,
}

impl FrameCache {
    pub const fn new() -> FrameCache {
        FrameCache { count: Cell::new(0), frames: UnsafeCell::new([0; CACHE]) }
    }

    /// A frame; `kept` frames must stay free.
    #[inline]
    fn pop(&self, kept: usize) -> Option<u32> {
        let count = self.count.get();
        if count == 0 {
            return self.refill(kept);
        }
        self.count.set(count - 1);
        // SAFETY: only this CPU uses its cache, never recursively; `count` never exceeds CACHE.
        Some(unsafe { (*self.frames.get())[(count - 1) % CACHE] })
    }

    #[cold]
    #[inline(never)]
    fn refill(&self, kept: usize) -> Option<u32> {
        let mut buddy = BUDDY.lock();
        if buddy.counts().0 <= kept {
            return None;
        }
        let first = buddy.alloc(0)?;
        // Little is left: other CPUs and larger blocks need it more.
        let batch = BATCH.min(buddy.counts().0 / 64);
        for i in 0..batch {
            let Some(frame) = buddy.alloc(0) else { break };
            // SAFETY: as in `pop`.
            unsafe { (*self.frames.get())[i] = frame };
            self.count.set(i + 1);
        }
        note_low(&buddy);
        Some(first)
    }

    #[inline]
    fn push(&self, frame: u32) {
        if self.count.get() >= CACHE {
            self.spill();
        }
        let count = self.count.get();
        // SAFETY: as in `pop`.
        unsafe { (*self.frames.get())[count % CACHE] = frame };
        self.count.set(count + 1);
    }

    #[cold]
    #[inline(never)]
    fn spill(&self) {
        let mut buddy = BUDDY.lock();
        for i in CACHE - BATCH..CACHE {
            // SAFETY: as in `pop`.
            buddy.free(unsafe { (*self.frames.get())[i] }, 0);
        }
        note_low(&buddy);
        self.count.set(CACHE - BATCH);
    }
}

/// 2^order frames in one piece, as physical address; each has one reference.
pub(crate) fn alloc_block(order: usize) -> Option<u64> {
    if order == 0 {
        return alloc_single(0);
    }
    let mut buddy = BUDDY.lock();
    let first = buddy.alloc(order)?;
    note_low(&buddy);
    Some(u64::from(first) << 12)
}

/// A frame, as physical address, with one reference; `kept` frames stay free.
pub(crate) fn alloc_single(kept: usize) -> Option<u64> {
    let number = Local::get().frames.pop(kept)?;
    state(number).store(1, Ordering::Relaxed);
    Some(u64::from(number) << 12)
}

/// What the heap has noted of a frame of its own, whose references are not counted.
pub(crate) fn word(frame: u32) -> u32 {
    state(frame).load(Ordering::Relaxed)
}

/// Notes something of a frame of the heap's. With the highest bit set it would be taken for a free frame's.
pub(crate) fn set_word(frame: u32, word: u32) {
    debug_assert!(word >> 31 == 0);
    state(frame).store(word, Ordering::Relaxed);
}

/// Frames that are kept for the kernel's heap.
#[inline]
pub(crate) fn reserve() -> usize {
    RESERVE.load(Ordering::Relaxed)
}

/// Frames that packets leave for the rest of the kernel: half of what programs leave, so that a program that fills its
/// memory can still be talked to.
#[inline]
pub(crate) fn reserve_beside_packets() -> usize {
    reserve() / 2
}

/// Gives back 2^order frames.
///
/// # Safety
/// They came from [`alloc_block`] (any aligned part of what it gave) and nothing uses them.
pub(crate) unsafe fn free_block(phys: u64, order: usize) {
    let mut buddy = BUDDY.lock();
    buddy.free((phys >> 12) as u32, order);
    note_low(&buddy);
}

impl Frame {
    /// A frame with unspecified contents. `None`: out of memory, but for what is kept for the kernel's heap.
    #[inline]
    pub fn alloc() -> Option<Frame> {
        let number = Local::get().frames.pop(reserve()).or_else(Self::scrape)?;
        state(number).store(1, Ordering::Relaxed);
        Some(Frame { number })
    }
    /// A frame from what the heap has no use for at the moment.
    #[cold]
    #[inline(never)]
    fn scrape() -> Option<u32> {
        if heap::give_back() == 0 {
            return None;
        }
        Local::get().frames.pop(reserve())
    }
    /// A frame of zeroes.
    pub fn alloc_zeroed() -> Option<Frame> {
        let frame = Frame::alloc()?;
        frame.zero(0, FRAME_SIZE);
        Some(frame)
    }
    /// Physical address.
    #[inline]
    pub fn phys(&self) -> u64 {
        u64::from(self.number) << 12
    }
    /// True if this is the only reference (and the frame isn't part of the image).
    pub fn is_unique(&self) -> bool {
        !self.is_image() && state(self.number).load(Ordering::Acquire) == 1
    }
    #[inline]
    pub(crate) fn is_image(&self) -> bool {
        let start = IMAGE_START.load(Ordering::Relaxed);
        self.number.wrapping_sub(start) < IMAGE_END.load(Ordering::Relaxed).wrapping_sub(start)
    }
    /// Copies out `dst.len()` bytes from `offset`; panics if that leaves the frame.
    pub fn read(&self, offset: usize, dst: &mut [u8]) {
        check(offset, dst.len());
        // SAFETY: within the frame, which is RAM in the direct map; `dst` is the kernel's, so they do not overlap. The
        // program may write meanwhile: the bytes are then some mixture, and any bytes are valid `u8`s.
        unsafe { core::ptr::copy_nonoverlapping(self.pointer().add(offset), dst.as_mut_ptr(), dst.len()) };
    }
    /// Copies `src` in at `offset`; panics if that leaves the frame, or if the frame is part of the read-only image.
    pub fn write(&self, offset: usize, src: &[u8]) {
        check(offset, src.len());
        assert!(!self.is_image(), "the image is read-only");
        // SAFETY: as for reading; `src` cannot lie in the frame because no references into frames exist.
        unsafe { core::ptr::copy_nonoverlapping(src.as_ptr(), self.pointer().add(offset), src.len()) };
    }
    /// Zeroes `len` bytes from `offset`.
    pub fn zero(&self, offset: usize, len: usize) {
        check(offset, len);
        assert!(!self.is_image(), "the image is read-only");
        // SAFETY: within the frame.
        unsafe { core::ptr::write_bytes(self.pointer().add(offset), 0, len) };
    }
    /// Copies all of `from`.
    pub fn copy_from(&self, from: &Frame) {
        assert!(!self.is_image(), "the image is read-only");
        // SAFETY: two whole frames; if they are the same one, `copy` allows it.
        unsafe { core::ptr::copy(from.pointer(), self.pointer(), FRAME_SIZE) };
    }
    #[inline]
    fn pointer(&self) -> *mut u8 {
        layout::direct(self.phys()) as *mut u8
    }
    /// Gives the reference away as a physical address.
    #[inline]
    pub(crate) fn into_phys(self) -> u64 {
        let phys = self.phys();
        core::mem::forget(self);
        phys
    }
    /// Takes back a reference that [`Frame::into_phys`] gave.
    ///
    /// # Safety
    /// Each reference is taken back once.
    #[inline]
    pub(crate) unsafe fn from_phys(phys: u64) -> Frame {
        Frame { number: (phys >> 12) as u32 }
    }
}

#[inline]
fn check(offset: usize, len: usize) {
    assert!(offset <= FRAME_SIZE && len <= FRAME_SIZE - offset, "{len} bytes at {offset} leave the frame");
}

impl Clone for Frame {
    #[inline]
    fn clone(&self) -> Frame {
        if !self.is_image() {
            let before = state(self.number).fetch_add(1, Ordering::Relaxed);
            // Half of the state's range marks free blocks.
            assert!(before < 1 << 30, "too many references to a frame");
        }
        Frame { number: self.number }
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        if self.is_image() {
            return;
        }
        let state = state(self.number);
        // The only reference cannot be copied meanwhile: no locked instruction is needed.
        if state.load(Ordering::Acquire) == 1 || state.fetch_sub(1, Ordering::AcqRel) == 1 {
            Local::get().frames.push(self.number);
        }
    }
}

/// True if only what is kept for the kernel's heap is free: calls that make the kernel larger should fail.
#[inline(always)]
pub fn low() -> bool {
    BUDDY.lock().counts().0 <= reserve()
}

/// Frames free now, and frames in all.
pub fn counts() -> (usize, usize) {
    BUDDY.lock().counts()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_freed_with_its_last_reference() {
        let frame = Frame::alloc_zeroed().unwrap();
        assert!(frame.is_unique());
        let other = frame.clone();
        assert!(!frame.is_unique());
        frame.write(FRAME_SIZE - 4, b"boat");
        let mut bytes = [1; 8];
        other.read(FRAME_SIZE - 8, &mut bytes);
        assert_eq!(&bytes, b"\0\0\0\0boat");
        drop(frame);
        assert!(other.is_unique());
        let copy = Frame::alloc().unwrap();
        copy.copy_from(&other);
        copy.read(FRAME_SIZE - 4, &mut bytes[..4]);
        assert_eq!(&bytes[..4], b"boat");
        assert_ne!(copy.phys(), other.phys());
        let phys = other.into_phys();
        // SAFETY: taken back once.
        drop(unsafe { Frame::from_phys(phys) });
    }

    #[test]
    #[should_panic(expected = "leave the frame")]
    fn keeps_writes_inside() {
        Frame::alloc().unwrap().write(FRAME_SIZE - 1, &[0; 2]);
    }

    #[test]
    fn frames_are_shared_and_freed_by_several_cpus() {
        let rounds = if cfg!(miri) { 8 } else { 2000 };
        // What a CPU has at hand stays with it: those that free live as long as those that allocate.
        let pairs: std::vec::Vec<_> = (0..3u8)
            .map(|id| {
                let (to, from) = std::sync::mpsc::sync_channel::<std::vec::Vec<Frame>>(2);
                let other = std::thread::spawn(move || from.into_iter().for_each(drop));
                let one = std::thread::spawn(move || {
                    for _ in 0..rounds {
                        let frames: std::vec::Vec<_> = (0..8).map(|_| Frame::alloc().unwrap()).collect();
                        frames.iter().for_each(|frame| frame.write(0, &[id]));
                        to.send(frames.clone()).unwrap();
                        for frame in frames {
                            let mut byte = [9];
                            frame.read(0, &mut byte);
                            assert_eq!(byte, [id], "each frame is handed out once");
                        }
                    }
                });
                [one, other]
            })
            .collect();
        pairs.into_iter().flatten().for_each(|thread| thread.join().unwrap());
    }
}
