//! Virtio devices that a test plays (virtio 1.2, section 4.2, memory-mapped): the registers, and the device's side of split queues.
//!
//! The driver rings, and what the test gave ([`Model`]) answers before the driver goes on. It reaches no memory but the pieces of chains that
//! the driver has made available and it has not returned yet. What it says of them in the used ring may be anything.
use crate::irq;
use crate::machine::ram;
use crate::mm::layout;
use coracle_virtio::queue::flags;
use coracle_virtio::transport::mmio;
use std::boxed::Box;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

/// Descriptors that a queue may have.
const MOST_DESCRIPTORS: u32 = 128;
/// Bytes of a descriptor, and of the header of a ring.
const DESCRIPTOR: u64 = 16;
const RING_HEADER: u64 = 4;
/// Bytes of the registers with the configuration.
pub(crate) const REGISTERS_LEN: usize = 0x200;

/// What a test's device is, and does.
pub trait Model: Send {
    /// The device's type (section 5), the features that it offers, and its queues.
    fn kind(&self) -> Kind;
    /// A byte of its configuration.
    fn config(&self, offset: usize) -> u8;
    /// The driver has rung for a queue.
    fn notified(&mut self, queue: &mut Queue, number: u16);
}

/// See [`Model::kind`].
#[derive(Clone, Copy)]
pub struct Kind {
    /// Number of the type.
    pub device_type: u32,
    /// VIRTIO_F_VERSION_1 is added.
    pub features: u64,
    /// How many there are.
    pub queues: u16,
}

/// A piece of a chain.
struct Piece {
    address: u64,
    len: usize,
    writable: bool,
}

/// A chain that the driver has made available.
pub struct Chain {
    head: u16,
    pieces: Vec<Piece>,
}

/// The device's side of a queue.
#[derive(Default)]
pub struct Queue {
    size: u16,
    /// Physical addresses of the descriptors, the available ring and the used ring.
    parts: [u64; 3],
    ready: bool,
    taken: u16,
    used: u16,
}

/// Where RAM is.
///
/// # Panics
/// If it is none, or not aligned: the driver has given the device a wrong address.
fn ram_at<T>(address: u64) -> *mut T {
    let last = address.checked_add(size_of::<T>() as u64 - 1).expect("an address of RAM");
    assert!(ram::overlaps_ram(address, 1) && ram::overlaps_ram(last, 1), "{address:#x} is RAM");
    assert!(address.is_multiple_of(align_of::<T>() as u64), "{address:#x} is aligned");
    layout::direct(address) as *mut T
}

/// Defines how the device reads and writes a number of RAM.
macro_rules! number {
    ($read:ident, $write:ident, $type:ty) => {
        fn $read(address: u64) -> $type {
            // SAFETY: RAM, aligned; others reach it by copies or volatile accesses alone while the device has it, and any bytes are valid.
            unsafe { ram_at::<$type>(address).read_volatile() }
        }
        fn $write(address: u64, value: $type) {
            // SAFETY: as above; the callers write to rings, and to pieces that the driver has given to the device to write to.
            unsafe { ram_at::<$type>(address).write_volatile(value) }
        }
    };
}

number!(read_u8, write_u8, u8);
number!(read_u16, write_u16, u16);
number!(read_u32, write_u32, u32);

fn read_u64(address: u64) -> u64 {
    u64::from(read_u32(address)) | u64::from(read_u32(address + 4)) << u32::BITS
}

impl Chain {
    /// Its number in the used ring.
    pub fn number(&self) -> u32 {
        self.head.into()
    }

    /// What the driver has written into it.
    pub fn sent(&self) -> Vec<u8> {
        let pieces = self.pieces.iter().filter(|piece| !piece.writable);
        pieces.flat_map(|piece| (0..piece.len as u64).map(|at| read_u8(piece.address + at))).collect()
    }

    /// Bytes that the device may write.
    pub fn room(&self) -> usize {
        self.pieces.iter().filter(|piece| piece.writable).map(|piece| piece.len).sum()
    }

    /// Writes `bytes` from place `start` of what the device may write on; what has no room is left out.
    pub fn write(&self, start: usize, bytes: &[u8]) {
        let pieces = self.pieces.iter().filter(|piece| piece.writable);
        let addresses = pieces.flat_map(|piece| (0..piece.len as u64).map(|at| piece.address + at));
        addresses.skip(start).zip(bytes).for_each(|(address, &byte)| write_u8(address, byte));
    }
}

impl Queue {
    /// The next chain.
    pub fn take(&mut self) -> Option<Chain> {
        let [descriptors, available, _] = self.parts;
        if !self.ready || read_u16(available + 2) == self.taken {
            return None;
        }
        let entry = u64::from(self.taken % self.size);
        self.taken = self.taken.wrapping_add(1);
        let head = read_u16(available + RING_HEADER + 2 * entry);
        let (mut table, mut index, mut pieces) = (descriptors, head, Vec::new());
        loop {
            let at = table + DESCRIPTOR * u64::from(index);
            let address = read_u64(at);
            let len = read_u32(at + 8) as usize;
            let [flag, next] = [at + 12, at + 14].map(read_u16);
            if flag & flags::INDIRECT != 0 {
                (table, index) = (address, 0);
                continue;
            }
            pieces.push(Piece { address, len, writable: flag & flags::WRITE != 0 });
            assert!(pieces.len() <= usize::from(u16::MAX), "a chain of descriptors has an end");
            if flag & flags::NEXT == 0 {
                return Some(Chain { head, pieces });
            }
            index = next;
        }
    }

    /// Puts an element into the used ring: a chain by its number, of which the device says that it has written `len` bytes.
    pub fn put(&mut self, id: u32, len: u32) {
        let used = self.parts[2];
        let entry = used + RING_HEADER + 8 * u64::from(self.used % self.size);
        write_u32(entry, id);
        write_u32(entry + 4, len);
        self.used = self.used.wrapping_add(1);
        self.set_used_index(self.used);
    }

    /// Says that so many elements were put, whether it is true or not.
    pub fn set_used_index(&mut self, index: u16) {
        self.used = index;
        write_u16(self.parts[2] + 2, index);
    }

    /// Number of the last element that was put, plus one.
    pub fn used_index(&self) -> u16 {
        self.used
    }
}

struct State {
    model: Box<dyn Model>,
    queues: Vec<Queue>,
    /// What the selecting registers have.
    features_half: u32,
    queue: usize,
    status: u32,
    /// Number of the interrupt source, once the driver has one.
    interrupt: Option<u32>,
    interrupts: u32,
}

/// A device.
pub struct Device(Mutex<State>);

impl Device {
    /// A device that lives as long as the process.
    pub fn new(model: Box<dyn Model>) -> &'static Device {
        let queues = (0..model.kind().queues).map(|_| Queue::default()).collect();
        let (features_half, queue, status, interrupt, interrupts) = (0, 0, 0, None, 0);
        let state = State { model, queues, features_half, queue, status, interrupt, interrupts };
        Box::leak(Box::new(Device(Mutex::new(state))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its interrupts mark this source.
    pub(crate) fn interrupts(&self, source: u32) {
        self.state().interrupt = Some(source);
    }

    /// Does something at a queue without having been rung, and interrupts.
    pub fn act(&self, number: u16, act: impl FnOnce(&mut Queue)) {
        let mut state = self.state();
        act(&mut state.queues[usize::from(number)]);
        state.interrupt();
    }

    /// The device has failed by its own account (DEVICE_NEEDS_RESET), or does no more.
    pub fn status(&self) -> u32 {
        self.state().status
    }

    pub(crate) fn read(&self, offset: usize) -> u32 {
        let state = self.state();
        let kind = state.model.kind();
        let queue = state.queues.get(state.queue);
        match offset {
            mmio::MAGIC_VALUE => mmio::MAGIC,
            mmio::VERSION => mmio::MODERN,
            mmio::DEVICE_ID => kind.device_type,
            mmio::DEVICE_FEATURES => {
                let offered = kind.features | coracle_virtio::device::features::VERSION_1;
                (offered >> (u32::BITS * state.features_half)) as u32
            }
            mmio::QUEUE_NUM_MAX => queue.map_or(0, |_| MOST_DESCRIPTORS),
            mmio::QUEUE_READY => queue.map_or(0, |queue| queue.ready.into()),
            mmio::INTERRUPT_STATUS => state.interrupts,
            mmio::STATUS => state.status,
            mmio::CONFIG.. => state.model.config(offset - mmio::CONFIG).into(),
            _ => 0,
        }
    }

    pub(crate) fn write(&self, offset: usize, value: u32) {
        let mut state = self.state();
        let State { model, queues, queue, .. } = &mut *state;
        let selected = queues.get_mut(*queue);
        match offset {
            mmio::DEVICE_FEATURES_SEL => state.features_half = value & 1,
            mmio::QUEUE_SEL => state.queue = value as usize,
            mmio::QUEUE_NOTIFY => {
                if let Some(queue) = queues.get_mut(value as usize) {
                    model.notified(queue, value as u16);
                    state.interrupt();
                }
            }
            mmio::INTERRUPT_ACK => state.interrupts &= !value,
            mmio::STATUS => {
                state.status = value;
                if value == 0 {
                    state.queues.iter_mut().for_each(|queue| *queue = Queue::default());
                }
            }
            mmio::QUEUE_NUM => selected.into_iter().for_each(|queue| queue.size = value as u16),
            mmio::QUEUE_READY => selected.into_iter().for_each(|queue| queue.ready = value != 0),
            mmio::QUEUE_DESC_LOW..0xa8 => {
                let part = (offset - mmio::QUEUE_DESC_LOW) / 0x10;
                let shift = if offset & 4 == 0 { 0 } else { u32::BITS };
                if let Some(queue) = selected {
                    queue.parts[part] |= u64::from(value) << shift;
                }
            }
            _ => {}
        }
    }
}

impl State {
    fn interrupt(&mut self) {
        self.interrupts |= 1;
        if let Some(source) = self.interrupt {
            irq::mark(source);
        }
    }
}
