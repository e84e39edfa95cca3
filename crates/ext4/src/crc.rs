//! The checksums: CRC-32C of `metadata_csum` and the journal, CRC-16 of `uninit_bg`. Neither is inverted at the end.
use spin::Once;

/// CRC-16-ANSI's, reflected.
const ANSI: u16 = 0xa001;

/// Continues a CRC-32C, neither inverted before nor after, over more bytes.
pub type Crc32c = fn(u32, &[u8]) -> u32;

static FASTER: Once<Crc32c> = Once::new();

/// Names a function for CRC-32C, once, that is faster than the one by a table: one that has an instruction for it.
pub fn use_crc32c(faster: Crc32c) {
    FASTER.call_once(|| faster);
}

/// Continues a CRC-32C over more bytes.
pub(crate) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    match FASTER.get() {
        Some(faster) => faster(crc, bytes),
        None => coracle_crc32c::update(crc, bytes),
    }
}

/// Continues a CRC-32C over so many zeroes, at most 16: where a checksum's own field counts as zero.
pub(crate) fn crc32c_zeroes(crc: u32, count: usize) -> u32 {
    crc32c(crc, [0; 16].get(..count).unwrap_or_default())
}

/// Continues a CRC-16 over more bytes.
pub(crate) fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(crc, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| (crc >> 1) ^ (ANSI & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values() {
        // The catalogue's check value, of the digits from 1 to 9.
        assert_eq!(crc16(0, b"123456789"), 0xbb3d);
        assert_eq!(crc32c_zeroes(7, 5), crc32c(7, &[0; 5]));
    }
}
