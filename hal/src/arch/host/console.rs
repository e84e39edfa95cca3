//! The console: what the kernel writes goes to the standard error of the host's process, nothing comes in.
use crate::irq::Irq;

/// There is one.
pub fn present() -> bool {
    true
}

/// Writes all bytes as they are, so that a test runner shows them with the test's own.
pub fn write(bytes: &[u8]) {
    std::eprint!("{}", alloc::string::String::from_utf8_lossy(bytes));
}

/// Nothing comes in.
pub fn read_byte() -> Option<u8> {
    None
}

/// Nothing comes in.
pub fn enable_receive_interrupt() -> Option<Irq> {
    None
}
