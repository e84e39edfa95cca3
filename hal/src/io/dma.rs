//! Memory shared with devices. Where it lies is known to this crate alone, so a device is given it only by a queue that holds
//! it meanwhile ([`crate::virtio::queue`]).
use crate::machine::archive;
use crate::mm::layout::{self, PAGE};
use crate::mm::{buddy, frame, heap};
use alloc::boxed::Box;
use coracle_fallible::try_box;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering, fence};

/// Physically contiguous memory for rings: reached by volatile reads and writes only. Zeroed.
pub struct DmaRegion {
    address: usize,
    /// A multiple of the largest word, so that an aligned word that begins inside ends inside.
    len: usize,
    order: usize,
}

/// Bytes of the largest thing that is read or written at once: two words of 64 bits, a descriptor.
const LARGEST_WORD: usize = 16;

/// Apart, so that each access pays for its comparisons alone.
#[cold]
#[inline(never)]
fn no_word(offset: usize) -> ! {
    panic!("no aligned word at {offset:#x} of the region")
}

macro_rules! access {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads the aligned word at `offset`; panics outside of the region.
        #[inline(always)]
        pub fn $read(&self, offset: usize) -> $type {
            // SAFETY: in the region and aligned (checked); the device may write meanwhile, hence volatile.
            unsafe { core::ptr::read_volatile(self.at::<$type>(offset)) }
        }
        /// Writes the aligned word at `offset`; panics outside of the region.
        #[inline(always)]
        pub fn $write(&self, offset: usize, value: $type) {
            // SAFETY: as for reading.
            unsafe { core::ptr::write_volatile(self.at::<$type>(offset), value) };
        }
    };
}

impl DmaRegion {
    /// At least `len` bytes, page aligned.
    pub fn alloc(len: usize) -> Option<DmaRegion> {
        let len = len.max(1).next_multiple_of(LARGEST_WORD);
        let order = len.div_ceil(PAGE).max(1).next_power_of_two().trailing_zeros() as usize;
        if order >= buddy::ORDERS {
            return None;
        }
        let address = layout::direct(frame::alloc_block(order)?);
        // SAFETY: fresh frames of this size.
        unsafe { core::ptr::write_bytes(address as *mut u8, 0, PAGE << order) };
        Some(DmaRegion { address, len, order })
    }
    /// Physical address.
    pub(crate) fn phys(&self) -> u64 {
        layout::direct_phys(self.address)
    }
    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }
    /// True if it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> *mut T {
        const { assert!(size_of::<T>() <= LARGEST_WORD) };
        if offset >= self.len || !offset.is_multiple_of(size_of::<T>()) {
            no_word(offset);
        }
        (self.address + offset) as *mut T
    }
    access!(read_u16, write_u16, u16);
    /// Reads two words, the first at `offset`, which is a multiple of the size of one; panics outside of the region.
    #[inline(always)]
    pub fn read_u32_pair(&self, offset: usize) -> [u32; 2] {
        // No region is shorter than the largest word.
        if offset >= self.len - size_of::<u32>() || !offset.is_multiple_of(size_of::<u32>()) {
            no_word(offset);
        }
        let at = (self.address + offset) as *const u32;
        // SAFETY: both words are in the region, whose length is a multiple of their size, and aligned (checked); the device
        // may write meanwhile, hence volatile.
        unsafe { [core::ptr::read_volatile(at), core::ptr::read_volatile(at.add(1))] }
    }
    /// Writes two words, the first at `offset`, which is a multiple of their size; panics outside of the region.
    #[inline(always)]
    pub fn write_pair(&self, offset: usize, first: u64, second: u64) {
        let at = self.at::<[u64; 2]>(offset).cast::<u64>();
        // SAFETY: as for reading: both words are in the region.
        unsafe {
            core::ptr::write_volatile(at, first);
            core::ptr::write_volatile(at.add(1), second);
        }
    }
}

impl Drop for DmaRegion {
    fn drop(&mut self) {
        // SAFETY: allocated with this order; a queue has stopped its device before it drops its rings.
        unsafe { frame::free_block(self.phys(), self.order) };
    }
}

/// A packet buffer of [`PacketBuffer::SIZE`] bytes in one physically contiguous piece, from a pool that grows when used.
/// The owner may look at it; a device is given it by a queue, which owns it until the device has returned it, so that there is no
/// slice of it while the device writes.
///
/// The pool is the heap's class of that size: its objects lie in the map of all RAM, half a frame each.
pub struct PacketBuffer(NonNull<[u8; PacketBuffer::SIZE]>);

// SAFETY: the buffer belongs to its owner alone.
unsafe impl Send for PacketBuffer {}
// SAFETY: shared references only read.
unsafe impl Sync for PacketBuffer {}

impl PacketBuffer {
    /// Bytes in a buffer: half a frame.
    pub const SIZE: usize = 2048;
    /// `None`: out of memory. Contents are whatever an earlier packet left.
    #[inline]
    pub fn alloc() -> Option<PacketBuffer> {
        // The memory comes from linked lists and devices that the compiler knows nothing of: its bytes are whatever they
        // are, not uninitialised.
        Some(PacketBuffer(NonNull::new(heap::take_half_frame().cast())?))
    }
    /// Physical address.
    #[inline]
    pub(crate) fn phys(&self) -> u64 {
        layout::direct_phys(self.0.as_ptr() as usize)
    }
    /// Where it begins.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr().cast()
    }
    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the buffer is this value's own.
        unsafe { self.0.as_ref() }
    }
    /// The bytes.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for PacketBuffer {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: taken by `alloc`, dropped once.
        unsafe { heap::put_half_frame(self.0.as_ptr().cast()) };
    }
}

/// A packet buffer with several owners, like an `Arc<PacketBuffer>` but in one piece: what it is and the count of owners lie at its
/// end. The last owner frees it. Or bytes of the image ([`SharedBuffer::of_image`]), which are never written.
pub struct SharedBuffer(NonNull<Head>);

/// What all buffers have.
struct Head {
    bytes: NonNull<u8>,
    len: u32,
    /// The bytes are not this buffer's own, and the head is in a box.
    is_of_image: bool,
    owners: AtomicU32,
}

#[repr(C, align(2048))]
struct SharedParts {
    bytes: [u8; SharedBuffer::SIZE],
    head: Head,
}

const _: () = assert!(size_of::<SharedParts>() == PacketBuffer::SIZE);

// SAFETY: owners on all CPUs only read the bytes, unless there is only one.
unsafe impl Send for SharedBuffer {}
// SAFETY: as above.
unsafe impl Sync for SharedBuffer {}

impl SharedBuffer {
    /// True if buffers take more than their share of memory, and who wants to send should hold back.
    #[inline(always)]
    pub fn are_many() -> bool {
        heap::packets_are_many()
    }

    /// Bytes in a buffer; those of the image are as many or more.
    pub const SIZE: usize = PacketBuffer::SIZE - size_of::<Head>();

    /// A buffer with one owner. `None`: out of memory. Contents are whatever an earlier packet left.
    #[inline]
    pub fn alloc() -> Option<SharedBuffer> {
        Self::over(heap::take_for_packet())
    }

    /// The same for a packet that is given back at once, such as a segment without data on the loopback: it takes what
    /// memory is left.
    #[inline]
    pub fn alloc_for_moment() -> Option<SharedBuffer> {
        Self::over(heap::take_half_frame())
    }

    /// The same for something to send, which gets less of the memory than what is received.
    #[inline]
    pub fn alloc_to_send() -> Option<SharedBuffer> {
        Self::over(heap::take_to_send())
    }

    #[inline]
    fn over(memory: *mut u8) -> Option<SharedBuffer> {
        let bytes = NonNull::new(memory)?;
        // SAFETY: the memory is ours alone, as large and aligned as the parts.
        let head = unsafe { &raw mut (*memory.cast::<SharedParts>()).head };
        let (len, owners) = (Self::SIZE as u32, AtomicU32::new(1));
        // SAFETY: as above.
        unsafe { head.write(Head { bytes, len, is_of_image: false, owners }) };
        NonNull::new(head).map(SharedBuffer)
    }

    /// Bytes of the image, to be sent from where they lie. `None` for other bytes, for fewer than [`SharedBuffer::SIZE`], of which a
    /// copy costs less, and without memory.
    pub fn of_image(bytes: &'static [u8]) -> Option<SharedBuffer> {
        let image = archive::image()?.as_ptr_range();
        let range = bytes.as_ptr_range();
        if bytes.len() < Self::SIZE || range.start < image.start || image.end < range.end {
            return None;
        }
        Self::lasting(bytes)
    }

    fn lasting(bytes: &'static [u8]) -> Option<SharedBuffer> {
        let len = u32::try_from(bytes.len()).ok()?;
        let (bytes, owners) = (NonNull::from(bytes).cast(), AtomicU32::new(1));
        let head = try_box(Head { bytes, len, is_of_image: true, owners }).ok()?;
        NonNull::new(Box::into_raw(head)).map(SharedBuffer)
    }

    #[inline(always)]
    fn head(&self) -> &Head {
        // SAFETY: it lives as long as there is an owner.
        unsafe { self.0.as_ref() }
    }

    /// Physical address.
    #[inline]
    pub(crate) fn phys(&self) -> u64 {
        // The image lies in the map of all RAM, as the heap does.
        layout::direct_phys(self.head().bytes.as_ptr() as usize)
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        let Head { bytes, len, .. } = self.head();
        // SAFETY: they live as long as there is an owner, or for ever, and none of several owners writes them.
        unsafe { core::slice::from_raw_parts(bytes.as_ptr(), *len as usize) }
    }

    /// The bytes for writing, if there is no other owner and they are not the image's.
    #[inline]
    pub fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        if self.head().is_of_image || self.head().owners.load(Ordering::Acquire) != 1 {
            return None;
        }
        // SAFETY: this is the only owner and it is borrowed mutably, so nobody else looks at the bytes or can become an
        // owner meanwhile. All buffers that are not of the image have so many.
        Some(unsafe { core::slice::from_raw_parts_mut(self.head().bytes.as_ptr(), Self::SIZE) })
    }
}

impl Clone for SharedBuffer {
    #[inline]
    fn clone(&self) -> Self {
        /// More owners than any machine has references: only a leak comes here, and wrapping would free a used buffer.
        const OWNERS_MAX: u32 = u32::MAX / 2;
        let before = self.head().owners.fetch_add(1, Ordering::Relaxed);
        assert!(before < OWNERS_MAX, "references to a packet buffer leak");
        SharedBuffer(self.0)
    }
}

impl Drop for SharedBuffer {
    #[inline]
    fn drop(&mut self) {
        if self.head().owners.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            if self.head().is_of_image {
                // SAFETY: made by `lasting`; this was the last owner, and the others' last looks happened before.
                drop(unsafe { Box::from_raw(self.0.as_ptr()) });
            } else {
                // SAFETY: taken by `alloc`; the rest as above.
                unsafe { heap::put_half_frame(self.head().bytes.as_ptr()) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_zeroed_and_reached_at_its_offsets() {
        // A block of frames asks for no CPU, so that this test may be the first to need memory.
        crate::host::memory::start();
        let region = DmaRegion::alloc(PAGE + 100).unwrap();
        assert!(!region.is_empty() && region.phys().is_multiple_of(PAGE as u64));
        assert_eq!(region.read_u32_pair(PAGE + 104), [0, 0]);
        region.write_pair(PAGE + 96, 0x0807_0605_0403_0201, 0x0a09);
        assert_eq!(region.read_u32_pair(PAGE + 92), [0, 0x0403_0201]);
        assert_eq!(region.read_u16(PAGE + 104), 0x0a09);
        region.write_u16(2, 0x0807);
        assert_eq!(region.read_u32_pair(0), [0x0807_0000, 0]);
    }

    #[test]
    #[should_panic(expected = "no aligned word")]
    fn a_region_has_an_end() {
        DmaRegion::alloc(96).unwrap().read_u16(96);
    }

    #[test]
    #[should_panic(expected = "no aligned word")]
    fn a_region_has_aligned_words() {
        DmaRegion::alloc(100).unwrap().write_u16(1, 0);
    }

    #[test]
    fn packet_buffers_are_their_owners_alone() {
        let mut one = PacketBuffer::alloc().unwrap();
        let mut two = PacketBuffer::alloc().unwrap();
        one.as_mut_slice().fill(1);
        two.as_mut_slice().fill(2);
        assert!(one.as_slice().iter().all(|&byte| byte == 1));
        assert_ne!(one.phys() / PacketBuffer::SIZE as u64, two.phys() / PacketBuffer::SIZE as u64);
    }

    #[test]
    fn lasting_bytes_are_shared_and_never_written() {
        static BYTES: [u8; 3 * SharedBuffer::SIZE] = [7; _];
        // They are not the image's, which devices may be given.
        assert!(SharedBuffer::of_image(&BYTES).is_none());
        let mut buffer = SharedBuffer::lasting(&BYTES).unwrap();
        assert!(buffer.as_mut_slice().is_none());
        let copy = buffer.clone();
        drop(buffer);
        assert!(core::ptr::eq(copy.as_slice(), &BYTES[..]));
    }

    #[test]
    fn shared_buffers_are_written_by_the_only_owner_and_freed_by_the_last() {
        for round in 0..if cfg!(miri) { 5 } else { 500 } {
            let mut buffer = SharedBuffer::alloc().unwrap();
            buffer.as_mut_slice().unwrap().fill(round as u8);
            let copies = [buffer.clone(), buffer.clone()];
            assert!(buffer.as_mut_slice().is_none());
            let readers = copies.map(|copy| {
                std::thread::spawn(move || assert!(copy.as_slice().iter().all(|&byte| byte == round as u8)))
            });
            // Once the readers are gone it may be written again: their looks happened before.
            while buffer.as_mut_slice().is_none() {
                std::thread::yield_now();
            }
            buffer.as_mut_slice().unwrap().fill(!round as u8);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        }
    }
}
