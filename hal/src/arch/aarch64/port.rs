//! I/O ports, which this architecture has none of: reads return ones, as of a bus where nothing answers.

/// Reads of ports.
pub fn read8(_port: u16) -> u8 {
    u8::MAX
}
/// Reads of ports.
pub fn read32(_port: u16) -> u32 {
    u32::MAX
}
/// Writes of ports.
pub fn write8(_port: u16, _value: u8) {}
/// Writes of ports.
pub fn write16(_port: u16, _value: u16) {}
/// Writes of ports.
pub fn write32(_port: u16, _value: u32) {}

/// A range of ports that a device has. None is ever made.
#[derive(Clone, Copy)]
pub struct Ports(());

/// Defines the accesses of a range.
macro_rules! range_access {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads the port at an offset.
        pub fn $read(&self, _offset: u16) -> $type {
            <$type>::MAX
        }
        /// Writes the port at an offset.
        pub fn $write(&self, _offset: u16, _value: $type) {}
    };
}

impl Ports {
    /// None.
    pub fn new(_base: u16, _len: u16) -> Option<Ports> {
        None
    }
    /// Number of ports.
    pub fn len(&self) -> u16 {
        0
    }
    range_access!(read8, write8, u8);
    range_access!(read16, write16, u16);
    range_access!(read32, write32, u32);
}
