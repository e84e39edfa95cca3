//! CRC-32C, the checksum of iSCSI (RFC 3720, section 12.1, and its table in appendix B.4). It detects
//! every error of one to three bits in a page of 4096 bytes, and every burst within 32 bits.

/// The polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What a checksum starts from, and is inverted with at its end.
pub const START: u32 = u32::MAX;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let (mut rest, mut bit) = (byte as u32, 0);
        while bit < 8 {
            rest = if rest & 1 == 1 { rest >> 1 ^ POLYNOMIAL } else { rest >> 1 };
            bit += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
};

/// The checksum, for CPUs without an instruction for it.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !update(START, bytes)
}

/// Goes on with a checksum, which begins with [`START`] and must be inverted after the last bytes.
pub fn update(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, &byte| sum >> 8 ^ TABLE[(sum as u8 ^ byte) as usize])
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn is_that_of_the_standard() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&core::array::from_fn::<u8, 32, _>(|index| index as u8)), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
