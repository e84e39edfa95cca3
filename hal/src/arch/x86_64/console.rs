//! The 16550 serial port at 0x3f8: early and late console.
use crate::arch::port;
use crate::irq::{Irq, Trigger};

/// COM1 and its registers (PC16550D data sheet, table II).
const BASE: u16 = 0x3f8;
const DATA: u16 = BASE;
const INTERRUPT_ENABLE: u16 = BASE + 1;
const FIFO_CONTROL: u16 = BASE + 2;
const MODEM_CONTROL: u16 = BASE + 4;
const LINE_STATUS: u16 = BASE + 5;
const SCRATCH: u16 = BASE + 7;
const RECEIVED: u8 = 1;
const TRANSMIT_EMPTY: u8 = 1 << 5;
/// DTR, RTS, and OUT2, which lets the interrupt through.
const MODEM_READY: u8 = 0x0b;
/// Its line at the I/O APIC.
const LINE: u32 = 4;

/// True if a UART answers.
pub fn present() -> bool {
    const PATTERN: u8 = 0x5a;
    port::write8(SCRATCH, PATTERN);
    port::read8(SCRATCH) == PATTERN
}
/// Writes all bytes as they are.
pub fn write(bytes: &[u8]) {
    /// Polls of a transmitter that does not get empty, after which the byte is given up.
    const PATIENCE: usize = 1_000_000;
    for &byte in bytes {
        let mut polls = 0;
        while port::read8(LINE_STATUS) & TRANSMIT_EMPTY == 0 && polls < PATIENCE {
            core::hint::spin_loop();
            polls += 1;
        }
        port::write8(DATA, byte);
    }
}
/// A byte received, if there is one.
pub fn read_byte() -> Option<u8> {
    let status = port::read8(LINE_STATUS);
    // An absent port reads as all ones.
    (status != 0xff && status & RECEIVED != 0).then(|| port::read8(DATA))
}
/// Enables the receive interrupt.
pub fn enable_receive_interrupt() -> Option<Irq> {
    if !present() {
        return None;
    }
    let irq = Irq::line(LINE, Trigger::Edge, 0)?;
    port::write8(FIFO_CONTROL, 0x01);
    port::write8(MODEM_CONTROL, MODEM_READY);
    port::write8(INTERRUPT_ENABLE, RECEIVED);
    Some(irq)
}
