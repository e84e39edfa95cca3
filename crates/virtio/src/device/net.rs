//! Network device (virtio 1.2, section 5.1): features, configuration, and the header before each packet.
use super::features as common;

/// Feature bits (section 5.1.3).
#[allow(missing_docs)]
pub mod features {
    pub const CSUM: u64 = 1 << 0;
    pub const GUEST_CSUM: u64 = 1 << 1;
    pub const MTU: u64 = 1 << 3;
    pub const MAC: u64 = 1 << 5;
    pub const GUEST_TSO4: u64 = 1 << 7;
    pub const HOST_TSO4: u64 = 1 << 11;
    pub const MRG_RXBUF: u64 = 1 << 15;
    pub const STATUS: u64 = 1 << 16;
}

/// Features that are of use only together with others (section 5.1.3.1). Packets are joined only if they can be spread over
/// buffers: a device that can't do that wants 64 KiB for each packet (section 5.1.6.3.1). See
/// [`without_dependents`](super::features::without_dependents).
pub const DEPENDENCIES: &[(u64, u64)] = &[
    (features::GUEST_TSO4, features::GUEST_CSUM),
    (features::GUEST_TSO4, features::MRG_RXBUF),
    (features::HOST_TSO4, features::CSUM),
];

/// Offsets in the configuration space (section 5.1.4).
#[allow(missing_docs)]
pub mod config {
    pub const MAC: usize = 0;
    pub const STATUS: usize = 6;
    pub const MTU: usize = 10;
    /// In `STATUS`: the link is up.
    pub const STATUS_LINK_UP: u16 = 1;
}

/// Queue numbers (section 5.1.2).
#[allow(missing_docs)]
pub mod queue {
    pub const RECEIVE: u16 = 0;
    pub const TRANSMIT: u16 = 1;
}

/// `flags`: the checksum at `csum_start + csum_offset` is left to the receiver of this header.
const NEEDS_CSUM: u8 = 1;
/// `flags`: the device has checked the packet's checksum.
const DATA_VALID: u8 = 2;
/// `gso_type`: a plain packet.
const GSO_NONE: u8 = 0;
/// `gso_type`: TCP over IPv4 to be cut up, or joined.
const GSO_TCPV4: u8 = 1;
/// `gso_type`, or'ed in: the segments carry ECN's CWR.
const GSO_ECN: u8 = 0x80;

/// Bytes of the header (section 5.1.6): always with `num_buffers` in virtio 1.
pub const HEADER_BYTES: usize = 12;
/// Bytes without `num_buffers`: the header of legacy devices that don't spread packets over buffers (section 5.1.6.1).
pub const SHORT_HEADER_BYTES: usize = 10;

/// How the device expects the header before a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// The header has [`SHORT_HEADER_BYTES`], not [`HEADER_BYTES`].
    pub short: bool,
    /// The header has a descriptor of its own (section 5.1.6, "Legacy Interface: Framing
    /// Requirements").
    pub apart: bool,
}

impl Framing {
    /// The framing that follows from the features that were agreed on.
    pub fn of(agreed: u64) -> Framing {
        let legacy = agreed & common::VERSION_1 == 0;
        Framing {
            short: legacy && agreed & features::MRG_RXBUF == 0,
            apart: legacy && agreed & common::ANY_LAYOUT == 0,
        }
    }

    /// Bytes of the header.
    pub fn header_bytes(self) -> usize {
        if self.short { SHORT_HEADER_BYTES } else { HEADER_BYTES }
    }

    /// Whether packets of modern devices are framed so.
    pub fn is_modern(self) -> bool {
        !self.short && !self.apart
    }
}

/// Makes a header of [`HEADER_BYTES`] of a short one, which lies at the end of `bytes`: the packet takes one buffer.
pub fn lengthen(bytes: &mut [u8; HEADER_BYTES]) {
    bytes.copy_within(HEADER_BYTES - SHORT_HEADER_BYTES.., 0);
    bytes[SHORT_HEADER_BYTES..].copy_from_slice(&1u16.to_le_bytes());
}

/// The header before a packet (section 5.1.6, `struct virtio_net_hdr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Header {
    /// A checksum to be completed: first byte summed, and the offset of the sum from there.
    pub partial_checksum: Option<(u16, u16)>,
    /// The checksum was checked (received packets).
    pub checksum_valid: bool,
    /// TCP over IPv4 in segments of this payload size: length of all headers, and the size.
    pub segments: Option<(u16, u16)>,
    /// Buffers that a received packet takes.
    pub buffers: u16,
}

impl Header {
    /// As the device reads it.
    #[inline(always)]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        // Two words rather than six fields: flags, gso_type, hdr_len, gso_size, csum_start; csum_offset, num_buffers.
        let mut first = 0;
        let mut second = u32::from(self.buffers) << 16;
        if let Some((start, offset)) = self.partial_checksum {
            first |= u64::from(NEEDS_CSUM) | u64::from(start) << 48;
            second |= u32::from(offset);
        }
        if let Some((header_len, size)) = self.segments {
            first |= u64::from(GSO_TCPV4) << 8 | u64::from(header_len) << 16 | u64::from(size) << 32;
        }
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        bytes[8..].copy_from_slice(&second.to_le_bytes());
        bytes
    }

    /// As the device wrote it. `None` if it is too short, or of a kind that was not negotiated.
    #[inline(always)]
    pub fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let partial_checksum = (bytes[0] & NEEDS_CSUM != 0).then(|| (word(6), word(8)));
        let segments = match bytes[1] & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCPV4 => Some((word(2), word(4))),
            _ => return None,
        };
        Some(Header {
            partial_checksum,
            checksum_valid: bytes[0] & DATA_VALID != 0,
            segments,
            buffers: word(10),
        })
    }
}
