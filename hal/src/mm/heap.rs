//! The kernel's heap: small objects from per-CPU free lists (magazines) by size class, large ones from the frame allocator.
//!
//! An allocation from a CPU's magazine is a dozen instructions without a lock (kernel code is never preempted). Magazines are
//! filled from the depot of their class, which all CPUs share ([`crate::mm::depot`]), and spilled to it. The size of a freed object
//! is in its layout, so objects have no headers.
use crate::local::Local;
use crate::mm::depot::{Depot, Linked};
use crate::mm::layout::{self, PAGE};
use crate::mm::{buddy, frame, stack, vmap};
use alloc::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Object sizes. Each is a multiple of 16; a frame is a multiple of the largest.
const CLASSES: [usize; 14] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048];
/// The class that packet buffers are of.
const PACKET_CLASS: usize = CLASSES.len() - 1;
/// Larger objects are whole frames.
const LARGEST: usize = 2048;
/// Granularity of the table from size to class.
const GRAIN: usize = 16;
/// A CPU's list of a class spills when it holds more than this part of memory, within these bounds, in bytes: bursts (the
/// network's batches are the largest) are served from the CPU's own lists where memory is plentiful.
const SPILL_SHARE: u64 = 512;
const SPILL_LEAST: u64 = 16 * 1024;
const SPILL_MOST: u64 = 256 * 1024;
/// Objects fetched and spilled at a time: at most this many bytes, but at least one object.
const BATCH_BYTES: usize = 8192;

/// Class of each size, by `(size + 15) / 16`.
static CLASS_OF: [u8; LARGEST / GRAIN + 1] = {
    let mut table = [0; LARGEST / GRAIN + 1];
    let mut i = 0;
    while i < table.len() {
        let mut class = 0;
        while CLASSES[class] < i * GRAIN {
            class += 1;
        }
        table[i] = class as u8;
        i += 1;
    }
    table
};

// A list that spills half of its objects spills a batch at least.
const _: () = assert!(SPILL_LEAST >= 2 * BATCH_BYTES as u64);

const fn batch(class: usize) -> usize {
    let batch = BATCH_BYTES / CLASSES[class];
    if batch > 16 { 16 } else { batch }
}

/// When each class's list spills, in objects.
static SPILL: [AtomicU32; CLASSES.len()] = [const { AtomicU32::new(32) }; CLASSES.len()];

/// Packets are many when they take this part of memory, and at least this many frames (similar to Linux's tcp_mem).
const PACKET_SHARE: u64 = 16;
const LEAST_PACKET_FRAMES: usize = 128;
/// How many times that packets to send may take.
const PACKET_EXCESS: usize = 4;
static PACKET_FRAMES: AtomicUsize = AtomicUsize::new(LEAST_PACKET_FRAMES);
static PACKETS_ARE_MANY: AtomicBool = AtomicBool::new(false);

/// True if packets take more than their share of memory: a sender should hold back, as far as it has something to wait for.
#[inline(always)]
pub(crate) fn packets_are_many() -> bool {
    PACKETS_ARE_MANY.load(Ordering::Relaxed)
}

/// Whether allocations are counted, so that one can be made to fail: see [`crate::fail`]. No CPU keeps free objects then, so
/// that each allocation comes to [`refill`] or [`alloc_large`]; that way the counting costs nothing where it is off.
static COUNTED: AtomicBool = AtomicBool::new(false);
/// The allocation that fails, counted from the next one; 0: none.
static FAILS_IN: AtomicU64 = AtomicU64::new(0);
/// The kernel stack on which allocations are counted; 0: all count.
static COUNTED_STACK: AtomicUsize = AtomicUsize::new(0);

/// Counts allocations from now on. For the boot, before other CPUs run.
pub(crate) fn count() {
    COUNTED.store(true, Ordering::Relaxed);
    for (class, limit) in SPILL.iter().enumerate() {
        limit.store(0, Ordering::Relaxed);
        empty(class);
    }
}

/// Whether allocations are counted.
pub(crate) fn counts() -> bool {
    COUNTED.load(Ordering::Relaxed)
}

/// Makes the `nth` allocation from now fail (0: none), of those made by threads whose kernel stack is `stack` (0: of all).
pub(crate) fn fail(nth: u64, stack: usize) {
    COUNTED_STACK.store(stack, Ordering::Relaxed);
    FAILS_IN.store(nth, Ordering::Relaxed);
}

/// How many allocations are left to the one that fails; 0: it has failed, or none was to.
pub(crate) fn fails_in() -> u64 {
    FAILS_IN.load(Ordering::Relaxed)
}

/// True if this allocation is the one that fails.
#[cold]
#[inline(never)]
fn is_to_fail() -> bool {
    let stack = COUNTED_STACK.load(Ordering::Relaxed);
    if stack != 0 && stack != Local::get().stack_top.get() {
        return false;
    }
    let before =
        FAILS_IN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).unwrap_or(0);
    before == 1
}

/// Sets how much each CPU keeps, and what packets may take, by the size of memory.
pub(crate) fn init(memory: u64) {
    coracle_fallible::set_provider(provide);
    let frames = (memory / PACKET_SHARE) as usize / PAGE;
    PACKET_FRAMES.store(frames.max(LEAST_PACKET_FRAMES), Ordering::Relaxed);
    let bytes = (memory / SPILL_SHARE).clamp(SPILL_LEAST, SPILL_MOST) as usize;
    for (limit, size) in SPILL.iter().zip(CLASSES) {
        limit.store((bytes / size) as u32, Ordering::Relaxed);
    }
}

/// One CPU's free objects of one class.
struct Magazine {
    head: Cell<*mut Linked>,
    count: Cell<u32>,
}

/// One CPU's free objects.
pub(crate) struct Magazines([Magazine; CLASSES.len()]);

impl Magazines {
    pub const fn new() -> Magazines {
        Magazines(
            [const { Magazine { head: Cell::new(ptr::null_mut()), count: Cell::new(0) } }; CLASSES.len()],
        )
    }
}

/// What all CPUs share of each class.
static DEPOTS: [crate::sync::Mutex<Depot>; CLASSES.len()] = {
    let mut depots = [const { crate::sync::Mutex::new(Depot::new(CLASSES[0], 1)) }; CLASSES.len()];
    let mut class = 0;
    while class < depots.len() {
        depots[class] = crate::sync::Mutex::new(Depot::new(CLASSES[class], batch(class) as u32));
        class += 1;
    }
    depots
};

/// Notes whether packets are many, if this is their class: at each change of the depot. What lies in the CPUs' lists counts as
/// used.
fn note_packets(class: usize, depot: &Depot) {
    if class == PACKET_CLASS {
        PACKETS_ARE_MANY.store(depot.used() > packet_share(), Ordering::Relaxed);
    }
}

/// How many times as many packets as are in use may lie in chains: the windows of all connections may be empty at once.
const CHAINED_PACKETS: usize = 4;

/// How many free objects of a class may lie in the depot's chains: as many as a CPU's list, and more of packets while they are
/// in use, since they come and go by the windows of the connections.
fn most_chained(class: usize, depot: &Depot) -> usize {
    let most = SPILL[class].load(Ordering::Relaxed) as usize;
    if class == PACKET_CLASS { most.max(CHAINED_PACKETS * depot.used()) } else { most }
}

/// Fetches a batch for this CPU, and returns one object of it; null if a new frame is needed, and no more than `kept` are
/// free.
#[cold]
#[inline(never)]
fn refill(class: usize, kept: usize) -> *mut u8 {
    if counts() && is_to_fail() {
        return ptr::null_mut();
    }
    refill_for(class, kept, if counts() { 1 } else { batch(class) })
}

/// Fetches up to `most` objects, or a chain, for this CPU, which has none; returns one of them. See [`refill`].
fn refill_for(class: usize, kept: usize, most: usize) -> *mut u8 {
    let magazine = &Local::get().magazines.0[class];
    debug_assert!(magazine.head.get().is_null());
    let mut depot = DEPOTS[class].lock();
    let Some((first, count)) = depot.take(most as u32).or_else(|| {
        // SAFETY: a fresh frame.
        unsafe { depot.add(frame::alloc_single(kept)?) };
        depot.take(most as u32)
    }) else {
        return ptr::null_mut();
    };
    // SAFETY: the objects of the list are this CPU's now.
    magazine.head.set(unsafe { (*first).next });
    magazine.count.set(count - 1);
    note_packets(class, &depot);
    first.cast()
}

/// Puts a free object into this CPU's list.
#[inline(always)]
fn keep(class: usize, object: *mut u8) -> u32 {
    let magazine = &Local::get().magazines.0[class];
    let object = object.cast::<Linked>();
    // SAFETY: free memory of at least 16 bytes.
    unsafe { (*object).next = magazine.head.get() };
    magazine.head.set(object);
    let count = magazine.count.get() + 1;
    magazine.count.set(count);
    count
}

/// Moves half of this CPU's list to the depot, or all of it if allocations are counted.
#[cold]
#[inline(never)]
fn spill_half(class: usize) {
    if counts() {
        empty(class);
        return;
    }
    let magazine = &Local::get().magazines.0[class];
    let batch = batch(class) as u32;
    let mut depot = DEPOTS[class].lock();
    for _ in 0..magazine.count.get() / 2 / batch {
        let first = magazine.head.get();
        let mut last = first;
        // SAFETY: the list has more objects than these; they are free memory with a valid link, and came from the depot.
        unsafe {
            for _ in 1..batch {
                last = (*last).next;
            }
            magazine.head.set((*last).next);
            (*last).next = ptr::null_mut();
            let most = most_chained(class, &depot);
            depot.put_chain(first, most);
        }
        magazine.count.set(magazine.count.get() - batch);
    }
    note_packets(class, &depot);
}

/// Leaves no free object of the class in this CPU's list and in chains; returns how many frames have become free.
fn empty(class: usize) -> usize {
    let magazine = &Local::get().magazines.0[class];
    let mut depot = DEPOTS[class].lock();
    let mut frames = depot.break_chains(usize::MAX);
    magazine.count.set(0);
    while !magazine.head.get().is_null() {
        let object = magazine.head.get();
        // SAFETY: objects of a list are free memory with a valid link, and came from the depot.
        unsafe {
            magazine.head.set((*object).next);
            frames += depot.put(object.cast());
        }
    }
    note_packets(class, &depot);
    frames
}

/// Frees the frames and kernel stacks that nothing uses; returns how many frames. For when memory is short: other CPUs
/// keep what is in their own lists.
#[cold]
#[inline(never)]
pub(crate) fn give_back() -> usize {
    stack::give_back();
    vmap::reap() + (0..CLASSES.len()).map(empty).sum::<usize>()
}

/// The size that decides the class: no smaller than the alignment, which all classes that are a power of two keep.
#[inline(always)]
const fn class_size(layout: Layout) -> usize {
    if layout.align() <= GRAIN {
        return layout.size();
    }
    let size = layout.size().next_power_of_two();
    if size < layout.align() { layout.align() } else { size }
}

#[inline(always)]
fn class_of(size: usize) -> usize {
    // In bounds because the caller compared with LARGEST.
    CLASS_OF[size.div_ceil(GRAIN)] as usize
}

fn frames(size: usize) -> usize {
    size.div_ceil(PAGE)
}

/// Whole frames: a block of the next power of two, less the tail that isn't needed, or scattered ones where memory has no such
/// block. Even the smallest may have to be: a memory of which every second frame is free has no two in one piece.
#[cold]
fn alloc_large(size: usize, align: usize) -> *mut u8 {
    if counts() && is_to_fail() {
        return ptr::null_mut();
    }
    let wanted = frames(size.max(align));
    let order = wanted.next_power_of_two().trailing_zeros() as usize;
    let block = if order < buddy::ORDERS { frame::alloc_block(order) } else { None };
    let Some(phys) = block else {
        return if align <= PAGE { scattered(wanted) } else { ptr::null_mut() };
    };
    free_frames(phys + (wanted * PAGE) as u64, (1 << order) - wanted);
    layout::direct(phys) as *mut u8
}

/// So many scattered frames in a row of addresses.
#[inline(never)]
fn scattered(frames: usize) -> *mut u8 {
    let found = vmap::alloc(frames).or_else(|| if give_back() > 0 { vmap::alloc(frames) } else { None });
    found.map_or(ptr::null_mut(), |address| address as *mut u8)
}

/// Takes back what [`alloc_large`] gave.
///
/// # Safety
/// Nothing uses it.
#[cold]
#[inline(never)]
unsafe fn free_large(address: usize, frames: usize) {
    if vmap::contains(address) {
        // SAFETY: the caller gives it up.
        unsafe { vmap::free(address, frames) };
    } else {
        free_frames(layout::direct_phys(address), frames);
    }
}

/// Frees `count` frames as aligned blocks.
fn free_frames(mut phys: u64, mut count: usize) {
    while count > 0 {
        let order =
            ((phys >> 12).trailing_zeros() as usize).min(count.ilog2() as usize).min(buddy::ORDERS - 1);
        // SAFETY: the callers own these frames; the pieces are disjoint.
        unsafe { frame::free_block(phys, order) };
        phys += (PAGE << order) as u64;
        count -= 1 << order;
    }
}

/// An object of `class` that this CPU has, or what `refill` returns.
#[inline(always)]
fn take_or(class: usize, refill: impl FnOnce() -> *mut u8) -> *mut u8 {
    let magazine = &Local::get().magazines.0[class];
    let head = magazine.head.get();
    if head.is_null() {
        return refill();
    }
    // SAFETY: objects in the list are free memory with a valid link.
    magazine.head.set(unsafe { (*head).next });
    magazine.count.set(magazine.count.get() - 1);
    head as *mut u8
}

/// An object of `class`, or null. `kept`: see [`refill`].
#[inline(always)]
fn take(class: usize, kept: usize) -> *mut u8 {
    take_or(class, || refill(class, kept))
}

/// An object of `class` when this CPU has none, or null if no memory can be reclaimed either.
#[cold]
fn take_hard(class: usize) -> *mut u8 {
    if counts() && is_to_fail() {
        return ptr::null_mut();
    }
    let batch = if counts() { 1 } else { batch(class) };
    let object = refill_for(class, 0, batch);
    if object.is_null() && give_back() > 0 { refill_for(class, 0, batch) } else { object }
}

const _: () = assert!(LARGEST >= coracle_fallible::LARGEST);

/// Ensures that this CPU has a free object of the layout: its next allocation of one succeeds, for kernel code is
/// not preempted. False: out of memory.
#[inline(never)]
fn provide(layout: Layout) -> bool {
    let class = class_of(class_size(layout));
    !Local::get().magazines.0[class].head.get().is_null() || provide_hard(class)
}

#[cold]
#[inline(never)]
fn provide_hard(class: usize) -> bool {
    let object = take_hard(class);
    if object.is_null() {
        return false;
    }
    keep(class, object);
    true
}

/// Takes an object back.
///
/// # Safety
/// It came from [`take`] with this class, and nothing uses it.
#[inline(always)]
unsafe fn put(class: usize, object: *mut u8) {
    if keep(class, object) > SPILL[class].load(Ordering::Relaxed) {
        spill_half(class);
    }
}

/// A piece of half a frame, aligned to its size, or null.
#[inline]
pub(crate) fn take_half_frame() -> *mut u8 {
    take(PACKET_CLASS, 0)
}

/// The same for a packet, which leaves memory to the rest of the kernel and to programs: a lost packet is sent again.
#[inline]
pub(crate) fn take_for_packet() -> *mut u8 {
    take(PACKET_CLASS, frame::reserve_beside_packets())
}

/// The same for a packet to send: null as well if packets have their share of memory. Reception continues then, and with it the
/// acknowledgements that free memory.
#[inline]
pub(crate) fn take_to_send() -> *mut u8 {
    if packets_are_many() && packets_are_too_many() {
        return ptr::null_mut();
    }
    take_for_packet()
}

#[cold]
#[inline(never)]
fn packets_are_too_many() -> bool {
    let depot = DEPOTS[PACKET_CLASS].lock();
    depot.used() > PACKET_EXCESS * packet_share()
}

/// How many buffers packets may have before they are many.
fn packet_share() -> usize {
    PACKET_FRAMES.load(Ordering::Relaxed) * (PAGE / CLASSES[PACKET_CLASS])
}

/// Takes back half a frame.
///
/// # Safety
/// It came from [`take_half_frame`], and nothing uses it.
#[inline(always)]
pub(crate) unsafe fn put_half_frame(object: *mut u8) {
    // SAFETY: passed on to the caller.
    unsafe { put(PACKET_CLASS, object) }
}

const _: () = assert!(CLASSES[PACKET_CLASS] == PAGE / 2);

/// The allocator behind `alloc`.
pub(crate) struct Heap;

// SAFETY: objects are disjoint pieces of frames that the heap owns, at least as large and as aligned as asked; lists are
// per CPU and used without preemption, or behind a lock.
//
// Not inlined: a thousand copies of the fast path would be a seventh of the kernel, and save no instruction that counts.
unsafe impl GlobalAlloc for Heap {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = class_size(layout);
        if size > LARGEST {
            return alloc_large(layout.size(), layout.align());
        }
        let class = class_of(size);
        take_or(class, || take_hard(class))
    }

    #[inline(never)]
    unsafe fn dealloc(&self, object: *mut u8, layout: Layout) {
        let size = class_size(layout);
        if size > LARGEST {
            // SAFETY: the caller gives the object up.
            return unsafe { free_large(object as usize, frames(layout.size().max(layout.align()))) };
        }
        // SAFETY: the caller gives the object up; it has this class's size.
        unsafe { put(class_of(size), object) };
    }

    #[inline(never)]
    unsafe fn realloc(&self, object: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the rules of `realloc`: `new_size` is valid for the alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let (old, new) = (class_size(layout), class_size(new_layout));
        let stays = if old <= LARGEST {
            new <= LARGEST && class_of(old) == class_of(new)
        } else {
            new > LARGEST && frames(layout.size().max(layout.align())) == frames(new_size.max(layout.align()))
        };
        if stays {
            return object;
        }
        // SAFETY: a new object, at least as large as what is copied.
        unsafe {
            let target = self.alloc(new_layout);
            if !target.is_null() {
                ptr::copy_nonoverlapping(object, target, layout.size().min(new_size));
                self.dealloc(object, layout);
            }
            target
        }
    }
}

#[cfg(target_os = "none")]
#[global_allocator]
static HEAP: Heap = Heap;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_their_sizes() {
        for size in 0..=LARGEST {
            let class = class_of(size);
            assert!(CLASSES[class] >= size);
            assert!(class == 0 || CLASSES[class - 1] < size);
        }
    }

    #[test]
    fn classes_keep_alignments() {
        // Miri interprets: it is shown some of the sizes, odd and even.
        let step = if cfg!(miri) { 61 } else { 1 };
        for align in [32, 64, 128, 256, 512, 1024, 2048] {
            for size in (1..=LARGEST).step_by(step) {
                let class = CLASSES[class_of(class_size(Layout::from_size_align(size, align).unwrap()))];
                assert!(class >= size && class.is_multiple_of(align));
            }
        }
    }

    #[test]
    fn gives_back_what_is_free() {
        const CLASS: usize = 11;
        let objects: [_; 16] = core::array::from_fn(|_| take(CLASS, 0));
        assert!(objects.iter().all(|object| !object.is_null()));
        for object in objects.into_iter().rev() {
            // SAFETY: taken above.
            unsafe { put(CLASS, object) };
        }
        // Other tests may hold their share of some frames, but surely not of all.
        assert!(give_back() > 0);
        // What is left is a list still.
        let again: [_; 16] = core::array::from_fn(|_| take(CLASS, 0));
        for object in again {
            assert!(!object.is_null());
            // SAFETY: as above.
            unsafe { put(CLASS, object) };
        }
    }

    /// True if all bytes are `number`. Miri interprets: it looks at both ends and some between.
    fn is_all(bytes: &[u8], number: u8) -> bool {
        let step = if cfg!(miri) { 509 } else { 1 };
        bytes.iter().step_by(step).chain(bytes.last()).all(|&byte| byte == number)
    }

    /// An object filled with its number, to be seen unharmed later.
    struct Object(*mut u8, Layout, u8);

    impl Object {
        fn new(layout: Layout, number: u8) -> Object {
            // SAFETY: the layout is not of size zero; what is written is the object.
            let object = unsafe { Heap.alloc(layout) };
            assert!(!object.is_null() && (object as usize).is_multiple_of(layout.align()));
            // SAFETY: as above.
            unsafe { object.write_bytes(number, layout.size()) };
            Object(object, layout, number)
        }
        fn resize(&mut self, size: usize) {
            // SAFETY: allocated with this layout; the new size is valid for its alignment and not zero.
            self.0 = unsafe { Heap.realloc(self.0, self.1, size) };
            let kept = self.1.size().min(size);
            self.1 = Layout::from_size_align(size, self.1.align()).unwrap();
            let number = self.2;
            assert!(is_all(&self.bytes()[..kept], number), "it moved without its bytes");
            self.bytes().fill(number);
        }
        fn bytes(&mut self) -> &mut [u8] {
            // SAFETY: the object is this value's own, in memory that is initialised from the start.
            unsafe { core::slice::from_raw_parts_mut(self.0, self.1.size()) }
        }
    }

    impl Drop for Object {
        fn drop(&mut self) {
            let number = self.2;
            assert!(is_all(self.bytes(), number), "another object lies over this one");
            // SAFETY: allocated with this layout, dropped once.
            unsafe { Heap.dealloc(self.0, self.1) };
        }
    }

    // SAFETY: an object is its owner's alone.
    unsafe impl Send for Object {}

    #[test]
    fn objects_do_not_overlap_and_keep_their_bytes() {
        let rounds = if cfg!(miri) { 150 } else { 20_000 };
        let mut held = std::vec::Vec::new();
        let mut random = 7u64;
        for round in 0..rounds {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let size = 1 + (random >> 33) as usize % if round % 8 == 0 { 3 * PAGE } else { 300 };
            match random >> 61 {
                0..4 => {
                    let align = 1 << (random >> 50 & 7);
                    held.push(Object::new(Layout::from_size_align(size, align).unwrap(), round as u8));
                }
                4..6 if !held.is_empty() => {
                    let at = (random >> 20) as usize % held.len();
                    held[at].resize(size);
                }
                _ if !held.is_empty() => drop(held.swap_remove((random >> 20) as usize % held.len())),
                _ => {}
            }
            held.truncate(60);
        }
    }

    #[test]
    fn objects_are_freed_by_other_cpus() {
        // More than a CPU keeps of that class, so that lists spill and come back.
        let count = if cfg!(miri) { 40 } else { 400 };
        let layout = Layout::from_size_align(96, 8).unwrap();
        let (to, from) = std::sync::mpsc::sync_channel::<Object>(8);
        let taker = std::thread::spawn(move || from.into_iter().for_each(drop));
        for number in 0..count {
            to.send(Object::new(layout, number as u8)).unwrap();
        }
        drop(to);
        taker.join().unwrap();
        let again: std::vec::Vec<_> = (0..count).map(|number| Object::new(layout, number as u8)).collect();
        drop(again);
    }

    #[test]
    fn refuses_what_no_block_holds() {
        let layout = Layout::from_size_align(1 << 40, 8).unwrap();
        // SAFETY: not of size zero.
        assert!(unsafe { Heap.alloc(layout) }.is_null());
    }
}
