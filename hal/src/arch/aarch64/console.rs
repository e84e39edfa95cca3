//! The PL011 serial port (Arm DDI 0183): early and late console. The device tree says where it is.
use crate::io::mmio::Mmio;
use crate::irq::{Irq, Trigger};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Registers, and bits of them (DDI 0183, 3.2).
const DATA: usize = 0x00;
const FLAGS: usize = 0x18;
const INTERRUPT_MASK: usize = 0x38;
const INTERRUPT_CLEAR: usize = 0x44;
const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;
/// Received bytes, and received bytes that were left waiting.
const RECEIVED: u32 = 1 << 4 | 1 << 6;

/// The port's address in the identity map, before it is mapped; 0 if there is none.
static EARLY: AtomicUsize = AtomicUsize::new(0);
static MAPPED: spin::Once<Mmio> = spin::Once::new();

/// The port's place by the device tree.
fn place() -> Option<u64> {
    let uart = super::start::device_tree()?.compatible(&["arm,pl011"])?;
    uart.registers().next().map(|(address, _)| address)
}

/// The identity map is there, and the device tree is known.
pub fn init_early() {
    EARLY.store(place().unwrap_or(0) as usize, Ordering::Relaxed);
}

/// Maps the port, before the identity map goes.
pub fn init() {
    const SIZE: usize = 0x1000;
    if let Some(port) = place().and_then(|address| Mmio::map(address, SIZE)) {
        MAPPED.call_once(|| port);
    }
    EARLY.store(0, Ordering::Relaxed);
}

fn read(register: usize) -> u32 {
    match (MAPPED.get(), EARLY.load(Ordering::Relaxed)) {
        (Some(port), _) => port.read32(register),
        (None, 0) => RECEIVE_EMPTY,
        // SAFETY: the port in the identity map.
        (None, early) => unsafe { ((early + register) as *const u32).read_volatile() },
    }
}

fn write_register(register: usize, value: u32) {
    match (MAPPED.get(), EARLY.load(Ordering::Relaxed)) {
        (Some(port), _) => port.write32(register, value),
        (None, 0) => {}
        // SAFETY: as above.
        (None, early) => unsafe { ((early + register) as *mut u32).write_volatile(value) },
    }
}

/// True if there is a port.
pub fn present() -> bool {
    MAPPED.get().is_some()
}
/// Writes all bytes as they are.
pub fn write(bytes: &[u8]) {
    /// Polls of a transmitter that stays full, after which the byte is given up.
    const PATIENCE: usize = 1_000_000;
    for &byte in bytes {
        let mut polls = 0;
        while read(FLAGS) & TRANSMIT_FULL != 0 && polls < PATIENCE {
            polls += 1;
        }
        write_register(DATA, u32::from(byte));
    }
}
/// A received byte, if there is one.
pub fn read_byte() -> Option<u8> {
    (read(FLAGS) & RECEIVE_EMPTY == 0).then(|| read(DATA) as u8)
}
/// Has received bytes interrupt the boot CPU. `None` if the port has no interrupt.
pub fn enable_receive_interrupt() -> Option<Irq> {
    let line = super::gic::line_of(&super::start::device_tree()?.compatible(&["arm,pl011"])?)?;
    let irq = Irq::line(line, Trigger::Edge, 0)?;
    write_register(INTERRUPT_CLEAR, RECEIVED);
    write_register(INTERRUPT_MASK, RECEIVED);
    Some(irq)
}
