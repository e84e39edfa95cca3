//! Devices.
use crate::errno::{Errno, SysResult};
use crate::fs::file::File;
use crate::mm::user_buf::UserBuf;
use alloc::sync::Arc;
use coracle_hal::console;
use coracle_image::cmdline::CommandLine;

/// Looks at all devices.
pub fn poll() {}
/// Asks the devices for interrupts; true: something has come meanwhile.
pub fn arm() -> bool {
    false
}
/// When [`poll`] must be called next.
pub fn next_deadline() -> Option<u64> {
    None
}
/// For the kernel's exit after an interrupt.
pub fn poll_if_due() {}
/// Before the machine ends.
pub fn shutdown() {}
/// Finds the devices.
pub fn start(_settings: &CommandLine) {
    crate::fs::dev::set_console(Arc::new(Serial));
}

/// The serial port as a file, until the console driver is there.
struct Serial;

impl File for Serial {
    fn read(&self, _: &mut UserBuf, _: u64, _: bool) -> SysResult {
        Ok(0)
    }
    fn write(&self, src: &mut UserBuf, _: u64, _: bool) -> SysResult {
        let mut bytes = [0; 256];
        let mut total = 0;
        while src.remaining() > 0 {
            let len = src.take(&mut bytes)?;
            console::write(&bytes[..len]);
            total += len;
        }
        Ok(total)
    }
    fn stat(&self) -> Result<linux_raw_sys::general::stat, Errno> {
        Ok(crate::fs::stat::nameless(0o20620, 1))
    }
    fn path(&self) -> alloc::string::String {
        "/dev/console".into()
    }
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}
