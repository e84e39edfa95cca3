//! What a controller says of itself (base specification, figure 275) and of a namespace (NVM command set, figure 97).
use crate::PAGE_BYTES;

/// Bytes of either data structure.
pub const IDENTIFY_BYTES: usize = 4096;
/// Bytes of a serial number.
pub const SERIAL_BYTES: usize = 20;

/// A controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Its serial number, padded with zeroes.
    pub serial: [u8; SERIAL_BYTES],
    /// Bytes of data of a command at most, if there is a bound.
    pub most_bytes: Option<usize>,
    /// The largest number of a namespace.
    pub namespaces: u32,
    /// It knows Dataset Management.
    pub deallocates: bool,
    /// It knows Write Zeroes.
    pub writes_zeroes: bool,
    /// What was written may get lost until it is flushed.
    pub has_cache: bool,
}

/// `N` bytes at a place that the data structure has.
fn at<const N: usize>(bytes: &[u8; IDENTIFY_BYTES], start: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[start..start + N]);
    out
}

impl Controller {
    /// Reads it.
    pub fn parse(bytes: &[u8; IDENTIFY_BYTES]) -> Controller {
        let mut serial = at::<SERIAL_BYTES>(bytes, 4);
        let len = serial.iter().rposition(|byte| !matches!(byte, b' ' | 0)).map_or(0, |last| last + 1);
        serial[len..].fill(0);
        let commands = u16::from_le_bytes(at(bytes, 520));
        // A power of two of pages.
        let most_bytes = match bytes[77] {
            0 => None,
            exponent => PAGE_BYTES.checked_shl(exponent.into()).filter(|&most| most >= PAGE_BYTES),
        };
        Controller {
            serial,
            most_bytes,
            namespaces: u32::from_le_bytes(at(bytes, 516)),
            deallocates: commands & 1 << 2 != 0,
            writes_zeroes: commands & 1 << 3 != 0,
            has_cache: bytes[525] & 1 != 0,
        }
    }
}

/// A namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its size in blocks.
    pub blocks: u64,
    /// Bytes of a block: 512 or a larger power of two, up to a page.
    pub block_bytes: u32,
    /// It takes no writes.
    pub is_read_only: bool,
}

impl Namespace {
    /// Reads it. `None`: there is no such namespace, or its blocks are no use: larger than a page, or with metadata.
    pub fn parse(bytes: &[u8; IDENTIFY_BYTES]) -> Option<Namespace> {
        const SMALLEST: u32 = 9;
        let blocks = u64::from_le_bytes(at(bytes, 0));
        // Bits 0 to 3 of the format's number, and 4 and 5.
        let format = usize::from(bytes[26] & 0xf | (bytes[26] >> 5 & 3) << 4);
        let format = u32::from_le_bytes(at(bytes, 128 + 4 * format));
        let (metadata, exponent) = (format & 0xffff, format >> 16 & 0xff);
        if blocks == 0 || metadata != 0 || !(SMALLEST..=PAGE_BYTES.ilog2()).contains(&exponent) {
            return None;
        }
        // All its bytes can be counted.
        blocks.checked_mul(1 << exponent)?;
        Some(Namespace { blocks, block_bytes: 1 << exponent, is_read_only: bytes[99] & 1 != 0 })
    }
}
