//! Devices that take single bytes at one port: QEMU's `isa-debugcon` and `isa-debug-exit`.
use crate::arch::port;

/// Such a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputPort(u16);

/// Where these devices are put: their usual places, and the ports that ISA left to cards. Everywhere else a byte may
/// reprogram the platform: its interrupt and DMA controllers, the line A20, PCI's configuration space, the power switch.
const PLACES: [core::ops::RangeInclusive<u16>; 5] =
    [0xe9..=0xe9, 0xf4..=0xf4, 0x200..=0x3ff, 0x402..=0x402, 0x500..=0x50f];

impl OutputPort {
    /// The device at `port`; nothing says whether there is one. `None`: none of these devices is put there.
    pub fn new(port: u16) -> Option<OutputPort> {
        PLACES.iter().any(|place| place.contains(&port)).then_some(OutputPort(port))
    }
    /// Gives the device a byte.
    pub fn write(self, byte: u8) {
        port::write8(self.0, byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_has_its_ports_for_itself() {
        for port in [0x00, 0x20, 0x64, 0x92, 0xb2, 0xcf8, 0xcf9, 0xcfc, 0x514, 0x604, 0xc000] {
            assert_eq!(OutputPort::new(port), None, "{port:#x}");
        }
        for port in [0xe9, 0xf4, 0x402, 0x501] {
            assert!(OutputPort::new(port).is_some(), "{port:#x}");
        }
    }
}
