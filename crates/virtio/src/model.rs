//! Plain memory and a device that serves it: the tests and the fuzzer use them in place of a machine.
use crate::memory::Memory;
use crate::queue::{Layout, Piece, flags};
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

/// Where [`PlainMemory`] pretends to lie.
pub const BASE: u64 = 0x10_0000;

/// Memory that driver and device share by cloning.
#[derive(Clone)]
pub struct PlainMemory(Rc<RefCell<Vec<u8>>>);

impl PlainMemory {
    /// `len` zero bytes.
    pub fn new(len: usize) -> Self {
        PlainMemory(Rc::new(RefCell::new(vec![0; len])))
    }
    /// Overwrites a byte, as a hostile device may at any time. Offsets outside do nothing.
    pub fn poke(&self, offset: usize, value: u8) {
        if let Some(byte) = self.0.borrow_mut().get_mut(offset) {
            *byte = value;
        }
    }
    fn array<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.0.borrow()[offset..offset + N].try_into().unwrap_or([0; N])
    }
    fn read_u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.array(offset))
    }
    fn write_u32(&self, offset: usize, value: u32) {
        self.0.borrow_mut()[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }
}

impl Memory for PlainMemory {
    fn address(&self) -> u64 {
        BASE
    }
    fn len(&self) -> usize {
        self.0.borrow().len()
    }
    fn read_u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.array(offset))
    }
    fn read_u32_pair(&self, offset: usize) -> [u32; 2] {
        assert!(offset.is_multiple_of(4), "an aligned word");
        [offset, offset + 4].map(|at| u32::from_le_bytes(self.array(at)))
    }
    fn write_u16(&self, offset: usize, value: u16) {
        self.0.borrow_mut()[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
    }
    fn write_pair(&self, offset: usize, first: u64, second: u64) {
        assert!(offset.is_multiple_of(16), "an aligned pair");
        let mut memory = self.0.borrow_mut();
        memory[offset..offset + 8].copy_from_slice(&first.to_le_bytes());
        memory[offset + 8..offset + 16].copy_from_slice(&second.to_le_bytes());
    }
}

/// A device that keeps the rules.
pub struct ModelDevice {
    memory: PlainMemory,
    layout: Layout,
    event_index: bool,
    available: u16,
    used: u16,
}

impl ModelDevice {
    /// The device of the queue in `memory`.
    pub fn new(memory: PlainMemory, layout: Layout, event_index: bool) -> Self {
        ModelDevice { memory, layout, event_index, available: 0, used: 0 }
    }

    /// Takes the next chain: its head and pieces.
    pub fn take(&mut self) -> Option<(u16, Vec<Piece>)> {
        if self.memory.read_u16(self.layout.available + 2) == self.available {
            return None;
        }
        let entry = (self.available % self.layout.size) as usize;
        let head = self.memory.read_u16(self.layout.available + 4 + 2 * entry);
        self.available = self.available.wrapping_add(1);
        let mut pieces = Vec::new();
        let (mut base, mut index) = (0, head);
        loop {
            let offset = base + index as usize * 16;
            let address = self.memory.read_u64(offset);
            let tail = self.memory.read_u64(offset + 8);
            let (len, flag, next) = (tail as u32, (tail >> 32) as u16, (tail >> 48) as u16);
            if flag & flags::INDIRECT != 0 {
                assert_eq!((base, flag), (0, flags::INDIRECT), "an indirect descriptor stands alone");
                (base, index) = ((address - BASE) as usize, 0);
                continue;
            }
            pieces.push(Piece { address, len, writable: flag & flags::WRITE != 0 });
            if flag & flags::NEXT == 0 {
                return Some((head, pieces));
            }
            index = next;
        }
    }

    /// Asks to be notified of the next chain; true if there is one already.
    pub fn request_notification(&mut self) -> bool {
        if self.event_index {
            self.memory.write_u16(self.layout.used + 4 + 8 * self.layout.size as usize, self.available);
        } else {
            self.memory.write_u16(self.layout.used, 0);
        }
        self.memory.read_u16(self.layout.available + 2) != self.available
    }

    /// Returns a chain. True if the driver wants an interrupt.
    pub fn give_back(&mut self, head: u16, len: u32) -> bool {
        let entry = (self.used % self.layout.size) as usize;
        self.memory.write_u32(self.layout.used + 4 + 8 * entry, head as u32);
        self.memory.write_u32(self.layout.used + 8 + 8 * entry, len);
        let old = self.used;
        self.used = self.used.wrapping_add(1);
        self.memory.write_u16(self.layout.used + 2, self.used);
        if self.event_index {
            let event = self.memory.read_u16(self.layout.available + 4 + 2 * self.layout.size as usize);
            old == event
        } else {
            self.memory.read_u16(self.layout.available) & flags::NO_INTERRUPT == 0
        }
    }
}
