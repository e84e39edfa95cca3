//! Physical memory: reference-counted 4-KiB frames.
//!
//! The reference counts are an array with one word for each frame of RAM. A frame's word is first written when the frame is first
//! allocated (see `buddy`), so that large memories cost nothing until they are used. Each CPU keeps a cache of free frames; the
//! buddy allocator behind it has one lock.
//!
//! # When memory runs out
//!
//! Allocations whose failure is cheap are refused earlier than those whose failure is expensive. These are the marks of free
//! frames, from the highest down, and what is refused below each (Linux's are in Documentation/admin-guide/sysctl/vm.rst,
//! watermark_scale_factor):
//!
//! | mark | refused when less is free | how programs see it |
//! |---|---|---|
//! | [`Watermark::High`] | what the kernel holds for programs and may grow without end: names and bytes of files, locks, bytes that wait in pipes and sockets | ENOSPC, ENOLCK, ENOBUFS, ENOMEM, or a wait |
//! | half-way from there to the minimum, and what threads that have not run yet will want ([`has_for_threads`]) | threads and processes: what is made needs pages at once | EAGAIN |
//! | minimum (`reserve`) | pages of programs, and page tables | a process is killed |
//! | [`Watermark::Low`] | what programs have in bounded numbers: descriptors and members of epoll sets, of each one for eight frames; more only above the high mark | ENFILE, ENOSPC |
//! | half of the minimum | packets that arrive or are sent | a packet is lost |
//! | a quarter of it | every other allocation that may fail (`coracle_fallible`) | ENOMEM and similar errors |
//! | none | allocations that must not fail, because they are needed to free memory | |
//!
//! A program that fills its own memory can still open files, because the low mark is below the minimum. It can't cause other
//! processes to be killed by the memory that the kernel holds for it, because such allocations stop above the minimum, or are
//! bounded in number.
use crate::arch::checksum;
use crate::local::Local;
use crate::mm::buddy::{Buddy, Memory};
use crate::mm::heap;
use crate::mm::layout;
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

/// What the number of free frames is compared with: see the module's documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watermark {
    /// Below it no objects are made that programs have in bounded numbers.
    Low,
    /// Below it nothing grows that the kernel holds for programs.
    High,
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
/// Between the minimum and the high mark is this part of memory, within these bounds.
const GAP_SHARE: usize = 32;
const GAP_LEAST: usize = 16;
const GAP_MOST: usize = 4096;
/// The marks, in frames.
static LOW: AtomicUsize = AtomicUsize::new(0);
static HIGH: AtomicUsize = AtomicUsize::new(0);
/// Free frames, without those in the caches of CPUs.
static FREE: AtomicUsize = AtomicUsize::new(0);
/// All that there are, once [`init`] is done.
static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// The frame that private pages of zeroes are until they are written to. It is never freed, so its references aren't counted.
static ZERO_PAGE: AtomicU32 = AtomicU32::new(u32::MAX);

/// Whether it is the address of [`Frame::zero_page`].
#[inline]
pub(crate) fn is_zero_page(phys: u64) -> bool {
    (phys >> 12) as u32 == ZERO_PAGE.load(Ordering::Relaxed)
}

/// Notes how much is free, when frames came to or went from the buddy allocator.
fn note_free(buddy: &Buddy<Ram>) {
    let (free, _) = buddy.counts();
    FREE.store(free, Ordering::Relaxed);
    coracle_fallible::set_low(free <= reserve() / LAST_SHARE);
}

struct Ram;

impl Memory for Ram {
    fn state(&self, frame: u32) -> &AtomicU32 {
        state(frame)
    }
    fn links(&self, frame: u32) -> (u32, u32) {
        // SAFETY: the frame is free: it is RAM in the direct map without other users.
        unsafe { *(layout::direct(u64::from(frame) << 12) as *const (u32, u32)) }
    }
    fn set_links(&self, frame: u32, links: (u32, u32)) {
        // SAFETY: as above.
        unsafe { *(layout::direct(u64::from(frame) << 12) as *mut (u32, u32)) = links };
    }
}

static BUDDY: crate::sync::Mutex<Buddy<Ram>> = crate::sync::Mutex::new(Buddy::new(Ram));

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
    TOTAL.store(total, Ordering::Relaxed);
    let minimum = (total / RESERVE_SHARE).clamp(RESERVE_LEAST, RESERVE_MOST);
    RESERVE.store(minimum, Ordering::Relaxed);
    LOW.store(minimum * 3 / 4, Ordering::Relaxed);
    HIGH.store(minimum + (total / GAP_SHARE).clamp(GAP_LEAST, GAP_MOST), Ordering::Relaxed);
    if ZERO_PAGE.load(Ordering::Relaxed) == u32::MAX
        && let Some(number) = buddy.alloc(0)
    {
        // SAFETY: the frame is RAM in the direct map, and has no other owner.
        unsafe { core::ptr::write_bytes(layout::direct(u64::from(number) << 12) as *mut u8, 0, FRAME_SIZE) };
        ZERO_PAGE.store(number, Ordering::Relaxed);
    }
    note_free(&buddy);
}

/// Frames that a CPU caches at most (a power of two, for cheap bounds), and how many it fetches or returns at a time.
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
        // SAFETY: as in `pop`.
        let frames = unsafe { &mut (&mut *self.frames.get())[..batch] };
        let count = buddy.alloc_singles(frames);
        // Those that lie together go out from first to last: a device takes them as one piece.
        frames[..count].reverse();
        self.count.set(count);
        note_free(&buddy);
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
        note_free(&buddy);
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
    note_free(&buddy);
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

/// Frees 2^order frames.
///
/// # Safety
/// They came from [`alloc_block`] (any aligned part of what it gave) and nothing uses them.
pub(crate) unsafe fn free_block(phys: u64, order: usize) {
    let mut buddy = BUDDY.lock();
    buddy.free((phys >> 12) as u32, order);
    note_free(&buddy);
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
    /// The frame of zeroes behind all memory that was only read so far: it must not be written to, nor mapped to be. It takes
    /// no memory, and as a page of a program it does not count (`resident` of an address space), as Linux's doesn't.
    pub fn zero_page() -> Frame {
        Frame { number: ZERO_PAGE.load(Ordering::Relaxed) }
    }
    /// Whether it is [`Frame::zero_page`].
    #[inline]
    pub fn is_zero_page(&self) -> bool {
        self.number == ZERO_PAGE.load(Ordering::Relaxed)
    }
    /// Whether it is there for ever, and read-only: its references aren't counted.
    #[inline]
    pub(crate) fn is_permanent(&self) -> bool {
        self.is_image() || self.is_zero_page()
    }
    /// A frame of zeroes of its own.
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
    /// True if this is the only reference (and the frame isn't there for ever).
    pub fn is_unique(&self) -> bool {
        !self.is_permanent() && state(self.number).load(Ordering::Acquire) == 1
    }
    /// How many references there are; `None` if it is there for ever.
    pub fn references(&self) -> Option<u32> {
        (!self.is_permanent()).then(|| state(self.number).load(Ordering::Relaxed))
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
    /// The CRC-32C of the bytes from `offset` on; panics if that is past the frame.
    pub fn crc32c(&self, offset: usize) -> u32 {
        let len = FRAME_SIZE.checked_sub(offset).expect("an offset in the frame");
        // SAFETY: as for `read`, and with the same mixture where a program writes meanwhile.
        checksum::crc32c(unsafe { core::slice::from_raw_parts(self.bytes_at(offset, len), len) })
    }
    /// Copies `src` in at `offset`; panics if that leaves the frame, or if the frame is read-only: the image's, or the page of
    /// zeroes.
    pub fn write(&self, offset: usize, src: &[u8]) {
        check(offset, src.len());
        self.check_writable();
        // SAFETY: as for reading; `src` cannot lie in the frame because no references into frames exist.
        unsafe { core::ptr::copy_nonoverlapping(src.as_ptr(), self.pointer().add(offset), src.len()) };
    }
    /// Loads the 32-bit word at `offset`, a multiple of 4, and what another side stored before it (acquire): programs share
    /// such words with the kernel. Panics if that leaves the frame.
    pub fn load_u32(&self, offset: usize) -> u32 {
        self.word(offset).load(Ordering::Acquire)
    }
    /// Stores such a word, after all that was stored before (release). Panics as [`Frame::write`] does.
    pub fn store_u32(&self, offset: usize, value: u32) {
        self.check_writable();
        self.word(offset).store(value, Ordering::Release);
    }
    /// Sets and clears bits of such a word, in the order of all that threads do (sequentially consistent). Panics as
    /// [`Frame::write`] does.
    pub fn change_u32(&self, offset: usize, set: u32, clear: u32) {
        self.check_writable();
        let change = |word: u32| Some(word & !clear | set);
        let _ = self.word(offset).fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
    }
    fn word(&self, offset: usize) -> &AtomicU32 {
        check(offset, size_of::<u32>());
        assert!(offset.is_multiple_of(size_of::<u32>()), "a word at {offset} is not aligned");
        // SAFETY: within the frame, which stays as long as `self`; aligned, since the frame is. All that the kernel and programs do
        // with it at the same time is atomic, or bytes that may be any mixture.
        unsafe { AtomicU32::from_ptr(self.pointer().add(offset).cast()) }
    }
    /// Zeroes `len` bytes from `offset`.
    pub fn zero(&self, offset: usize, len: usize) {
        check(offset, len);
        self.check_writable();
        // SAFETY: within the frame.
        unsafe { core::ptr::write_bytes(self.pointer().add(offset), 0, len) };
    }
    /// Copies all of `from`.
    pub fn copy_from(&self, from: &Frame) {
        self.check_writable();
        // SAFETY: two whole frames; if they are the same one, `copy` allows it.
        unsafe { core::ptr::copy(from.pointer(), self.pointer(), FRAME_SIZE) };
    }
    /// Where `len` bytes from `offset` on lie; panics if that leaves the frame. To be reached by copies alone.
    pub(crate) fn bytes_at(&self, offset: usize, len: usize) -> *const u8 {
        check(offset, len);
        self.pointer().wrapping_add(offset)
    }
    /// [`Frame::bytes_at`] for copies into them; panics as [`Frame::write`] does.
    pub(crate) fn writable_bytes_at(&self, offset: usize, len: usize) -> *mut u8 {
        check(offset, len);
        self.check_writable();
        self.pointer().wrapping_add(offset)
    }
    fn check_writable(&self) {
        assert!(!self.is_permanent(), "the image and the page of zeroes are read-only");
    }
    #[inline]
    fn pointer(&self) -> *mut u8 {
        layout::direct(self.phys()) as *mut u8
    }
    /// Returns the reference away as a physical address.
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

/// Frames with one reference each, which is the chain's: the word that would count it names the next. Dropping the chain frees
/// them.
#[derive(Debug)]
pub(crate) struct FrameChain {
    first: u32,
    last: u32,
}

/// Number of no frame.
const NO_FRAME: u32 = u32::MAX >> 1;

impl FrameChain {
    /// Takes a frame; returns it back if it has other references, or can't be freed.
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        if !frame.is_unique() {
            return Err(frame);
        }
        set_word(frame.number, self.first);
        if self.first == NO_FRAME {
            self.last = frame.number;
        }
        self.first = frame.number;
        core::mem::forget(frame);
        Ok(())
    }

    /// Takes over the frames of another.
    pub fn append(&mut self, other: &mut FrameChain) {
        let other = core::mem::take(other);
        if self.first == NO_FRAME {
            *self = other;
        } else {
            set_word(self.last, other.first);
            self.last = if other.first == NO_FRAME { self.last } else { other.last };
            core::mem::forget(other);
        }
    }
}

impl Default for FrameChain {
    fn default() -> Self {
        FrameChain { first: NO_FRAME, last: NO_FRAME }
    }
}

impl Drop for FrameChain {
    #[inline]
    fn drop(&mut self) {
        while self.first != NO_FRAME {
            let number = self.first;
            self.first = word(number);
            set_word(number, 1);
            drop(Frame { number });
        }
    }
}

impl Clone for Frame {
    #[inline]
    fn clone(&self) -> Frame {
        if !self.is_permanent() {
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
        if self.is_permanent() {
            return;
        }
        let state = state(self.number);
        // The only reference cannot be copied meanwhile: no locked instruction is needed.
        if state.load(Ordering::Acquire) == 1 || state.fetch_sub(1, Ordering::AcqRel) == 1 {
            Local::get().frames.push(self.number);
        }
    }
}

/// True if less is free than the mark: what it protects from should be refused. See the module's documentation.
#[inline]
pub fn is_below(mark: Watermark) -> bool {
    FREE.load(Ordering::Relaxed) <= watermark(mark)
}

/// Whether so many frames are free above half-way from the minimum to the high mark: see the module's documentation.
pub fn has_for_threads(frames: usize) -> bool {
    FREE.load(Ordering::Relaxed) > (reserve() + watermark(Watermark::High)) / 2 + frames
}

/// Frames at a mark.
#[inline]
pub fn watermark(mark: Watermark) -> usize {
    let mark = match mark {
        Watermark::Low => &LOW,
        Watermark::High => &HIGH,
    };
    mark.load(Ordering::Relaxed)
}

/// Frames in all.
pub fn total() -> usize {
    TOTAL.load(Ordering::Relaxed)
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
    fn the_page_of_zeroes_is_not_counted() {
        crate::host::memory::start();
        let zero = Frame::zero_page();
        let mut bytes = [1; 16];
        zero.read(FRAME_SIZE - 16, &mut bytes);
        assert_eq!(bytes, [0; 16]);
        // More often than a count would hold.
        for _ in 0..if cfg!(miri) { 10 } else { 100_000 } {
            core::mem::forget(zero.clone());
            drop(Frame::zero_page());
        }
        assert!(!zero.is_unique());
        let other = Frame::alloc().unwrap();
        assert!(other.phys() != zero.phys() && !other.is_zero_page());
        other.copy_from(&zero);
        assert!(other.is_unique());
    }

    #[test]
    #[should_panic(expected = "read-only")]
    fn the_page_of_zeroes_is_not_written_to() {
        crate::host::memory::start();
        Frame::zero_page().write(0, &[1]);
    }

    #[test]
    fn a_chain_keeps_frames_and_frees_them() {
        let make = || Frame::alloc().unwrap();
        let (mut chain, mut other) = (FrameChain::default(), FrameChain::default());
        let shared = make();
        assert!(chain.push(shared.clone()).is_err() && chain.push(Frame::zero_page()).is_err());
        let frames: std::vec::Vec<_> = (0..5).map(|_| make()).collect();
        let numbers: std::vec::Vec<_> = frames.iter().map(|frame| frame.number).collect();
        for (i, frame) in frames.into_iter().enumerate() {
            if i < 3 { chain.push(frame) } else { other.push(frame) }.unwrap();
        }
        chain.append(&mut other);
        chain.append(&mut FrameChain::default());
        other.append(&mut chain);
        other.push(make()).unwrap();
        // None is allocated while the chain has it.
        let fresh: std::vec::Vec<_> = (0..20).map(|_| make()).collect();
        assert!(fresh.iter().all(|frame| !numbers.contains(&frame.number)));
        drop(other);
        let again: std::vec::Vec<_> = (0..6).map(|_| make()).collect();
        assert!(numbers.iter().all(|number| again.iter().any(|frame| frame.number == *number)));
        assert!(again.iter().all(Frame::is_unique));
    }

    #[test]
    fn marks_are_in_order() {
        crate::host::memory::start();
        let (_, total) = counts();
        assert!(reserve() / 2 < watermark(Watermark::Low) && watermark(Watermark::Low) < reserve());
        assert!(reserve() < watermark(Watermark::High) && watermark(Watermark::High) < total / 4);
    }

    #[test]
    #[should_panic(expected = "leave the frame")]
    fn keeps_writes_inside() {
        Frame::alloc().unwrap().write(FRAME_SIZE - 1, &[0; 2]);
    }

    #[test]
    fn frames_are_shared_and_freed_by_several_cpus() {
        let rounds = if cfg!(miri) { 8 } else { 2000 };
        // Frames in a CPU's cache stay there: those that free live as long as those that allocate.
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
