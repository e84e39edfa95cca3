//! The 16550 serial port at 0x3f8: early and late console.
use crate::irq::Irq;

/// True if a UART answers.
pub fn present() -> bool {
    todo!()
}
/// Writes all bytes as they are.
pub fn write(bytes: &[u8]) {
    let _ = bytes;
    todo!()
}
/// A byte received, if there is one.
pub fn read_byte() -> Option<u8> {
    todo!()
}
/// Enables the receive interrupt.
pub fn enable_receive_interrupt() -> Option<Irq> {
    todo!()
}
