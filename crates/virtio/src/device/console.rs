//! Console device with several ports (virtio 1.2, section 5.3): features, queues, and the messages of its control queues.

/// Feature bits (section 5.3.3).
#[allow(missing_docs)]
pub mod features {
    pub const MULTIPORT: u64 = 1 << 1;
}

/// Offsets in the configuration space (section 5.3.4).
#[allow(missing_docs)]
pub mod config {
    pub const MAX_PORTS: usize = 4;
}

/// Queue numbers (section 5.3.2).
pub mod queue {
    /// What the device has to say about ports.
    pub const CONTROL_RECEIVE: u16 = 2;
    /// What the driver has to say about them.
    pub const CONTROL_TRANSMIT: u16 = 3;

    /// The queues of a port: from the device, and to it. `None` if there is no such port.
    pub const fn of_port(port: u32) -> Option<(u16, u16)> {
        match port {
            0 => Some((0, 1)),
            // The control queues lie between those of port 0 and port 1.
            1..=super::LAST_PORT => Some((2 + 2 * port as u16, 3 + 2 * port as u16)),
            _ => None,
        }
    }
}

/// The last port whose queues a queue number can name.
const LAST_PORT: u32 = (u16::MAX as u32 - 3) / 2;
/// Bytes of a control message before what follows it (`struct virtio_console_control`).
pub const CONTROL_BYTES: usize = 8;

/// What a control message is about (section 5.3.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Event {
    /// From the driver: the device may begin to announce ports (1), or the driver has failed (0).
    DeviceReady = 0,
    /// From the device: there is such a port.
    DeviceAdd = 1,
    /// From the device: the port is gone.
    DeviceRemove = 2,
    /// From the driver: the port can be used (1), or can't (0).
    PortReady = 3,
    /// From the device: the port is a console.
    ConsolePort = 4,
    /// From the device: the size of the console.
    Resize = 5,
    /// Either way: the other side has opened (1) or closed (0) its end.
    PortOpen = 6,
    /// From the device: the name of the port, which follows the message.
    PortName = 7,
}

/// A control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control<'a> {
    /// The port it is about.
    pub port: u32,
    /// What it is about.
    pub event: Event,
    /// Its value.
    pub value: u16,
    /// What follows it: of [`Event::PortName`] the name.
    pub rest: &'a [u8],
}

impl Control<'_> {
    /// Reads a message of the device. `None` if it is too short, or of a kind that the specification doesn't know.
    pub fn parse(bytes: &[u8]) -> Option<Control<'_>> {
        let (head, rest) = bytes.split_first_chunk::<CONTROL_BYTES>()?;
        let event = match u16::from_le_bytes([head[4], head[5]]) {
            0 => Event::DeviceReady,
            1 => Event::DeviceAdd,
            2 => Event::DeviceRemove,
            3 => Event::PortReady,
            4 => Event::ConsolePort,
            5 => Event::Resize,
            6 => Event::PortOpen,
            7 => Event::PortName,
            _ => return None,
        };
        let port = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        // A name may be followed by the zero byte that ends a string of C.
        let rest = rest.strip_suffix(&[0]).unwrap_or(rest);
        Some(Control { port, event, value: u16::from_le_bytes([head[6], head[7]]), rest })
    }

    /// The message as the device reads it, without what follows.
    pub fn encode(&self) -> [u8; CONTROL_BYTES] {
        let mut bytes = [0; CONTROL_BYTES];
        bytes[..4].copy_from_slice(&self.port.to_le_bytes());
        bytes[4..6].copy_from_slice(&(self.event as u16).to_le_bytes());
        bytes[6..].copy_from_slice(&self.value.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn queues_of_ports() {
        assert_eq!(queue::of_port(0), Some((0, 1)));
        assert_eq!(queue::of_port(1), Some((4, 5)));
        assert_eq!(queue::of_port(5), Some((12, 13)));
        assert_eq!(queue::of_port(LAST_PORT), Some((65_534, 65_535)));
        assert_eq!(queue::of_port(LAST_PORT + 1), None);
    }

    #[test]
    fn names_end_before_a_zero() {
        let message = b"\x03\0\0\0\x07\0\x01\0a.name\0";
        let control = Control { port: 3, event: Event::PortName, value: 1, rest: b"a.name" };
        assert_eq!(Control::parse(message), Some(control));
        assert_eq!(Control::parse(&message[..CONTROL_BYTES - 1]), None);
        assert_eq!(Control::parse(b"\0\0\0\0\x08\0\0\0"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(port: u32, value: u16, kind in 0u16..8) {
            let mut bytes = [0; CONTROL_BYTES];
            bytes[..4].copy_from_slice(&port.to_le_bytes());
            bytes[4..6].copy_from_slice(&kind.to_le_bytes());
            bytes[6..].copy_from_slice(&value.to_le_bytes());
            prop_assert_eq!(Control::parse(&bytes).map(|control| control.encode()), Some(bytes));
        }

        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            if let Some(control) = Control::parse(&bytes) {
                prop_assert!(control.rest.len() <= bytes.len() - CONTROL_BYTES);
            }
        }
    }
}
