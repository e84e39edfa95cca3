//! The checksums: CRC-32C of `metadata_csum` and the journal, CRC-16 of `uninit_bg`. Neither is inverted at the end.

/// Tables for four bytes at once (Intel's slicing-by-4).
const SLICES: usize = 4;
/// Castagnoli's polynomial, reflected.
const CASTAGNOLI: u32 = 0x82f6_3b78;
/// CRC-16-ANSI's, reflected.
const ANSI: u16 = 0xa001;

static TABLES: [[u32; 256]; SLICES] = tables();

const fn tables() -> [[u32; 256]; SLICES] {
    let mut tables = [[0; 256]; SLICES];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (CASTAGNOLI & (crc & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut slice = 1;
    while slice < SLICES {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[slice - 1][byte];
            tables[slice][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        slice += 1;
    }
    tables
}

fn entry(slice: usize, byte: u32) -> u32 {
    TABLES[slice][(byte & 0xff) as usize]
}

/// Continues a CRC-32C over more bytes.
pub(crate) fn crc32c(mut crc: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<SLICES>();
    for word in words {
        let mixed = crc ^ u32::from_le_bytes(*word);
        crc = entry(3, mixed) ^ entry(2, mixed >> 8) ^ entry(1, mixed >> 16) ^ entry(0, mixed >> 24);
    }
    rest.iter().fold(crc, |crc, byte| (crc >> 8) ^ entry(0, crc ^ u32::from(*byte)))
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
        // The catalogue's check values, of the digits from 1 to 9.
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(crc16(0, b"123456789"), 0xbb3d);
        assert_eq!(crc32c_zeroes(7, 5), crc32c(7, &[0; 5]));
    }
}
