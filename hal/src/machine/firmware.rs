//! Physical memory as the firmware left it, and the formats that its tables share.

/// Physical memory, as far as it may be read.
pub trait Firmware {
    /// `len` bytes at `phys`.
    fn read(&self, phys: u64, len: usize) -> Option<&[u8]>;
}

/// The memory of this machine.
pub struct Machine;

impl Firmware for Machine {
    fn read(&self, phys: u64, len: usize) -> Option<&[u8]> {
        super::ram::firmware(phys, len)
    }
}

/// The little-endian number at `at`, if it lies inside.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The little-endian number at `at`, if it lies inside.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The little-endian number at `at`, if it lies inside.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Whether a table's checksum is right.
pub fn sums_to_zero(bytes: &[u8]) -> bool {
    /// The highest bit of each byte: an addition of the others carries into it and not beyond.
    const HIGHEST: u64 = 0x8080_8080_8080_8080;
    let (words, rest) = bytes.as_chunks();
    let sums = words.iter().fold(0, |sums: u64, word| {
        let word = u64::from_ne_bytes(*word);
        ((sums & !HIGHEST) + (word & !HIGHEST)) ^ (sums ^ word) & HIGHEST
    });
    sums.to_ne_bytes().iter().chain(rest).fold(0u8, |sum, b| sum.wrapping_add(*b)) == 0
}

/// The place of a structure of `size` bytes, from 16 on, that starts with `signature`, ending in a checksum of zero. It lies
/// at a multiple of 16 bytes from `start`.
pub fn search(
    firmware: &impl Firmware,
    start: u64,
    len: usize,
    signature: &[u8],
    size: usize,
) -> Option<u64> {
    const STEP: usize = 16;
    let area = firmware.read(start, len)?;
    let first: &[u8; 4] = signature.first_chunk()?;
    // Nearly all places differ in the first word.
    let (places, _) = area.as_chunks::<STEP>();
    let found = places.iter().enumerate().find_map(|(index, place)| {
        let at = index * STEP;
        let is_here = place.starts_with(first)
            && area[at..].starts_with(signature)
            && area.get(at..at + size).is_some_and(sums_to_zero);
        is_here.then_some(at)
    })?;
    Some(start + found as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_sum_of_all_bytes() {
        let bytes: std::vec::Vec<u8> = (0..999u32).map(|i| (i * i * 37 / 5) as u8).collect();
        for len in 0..bytes.len() {
            let mut sealed = bytes[..len].to_vec();
            sealed.push(sealed.iter().fold(0u8, |sum, b| sum.wrapping_sub(*b)));
            assert!(sums_to_zero(&sealed), "{len}");
            sealed[len / 2] ^= 0x80;
            assert!(!sums_to_zero(&sealed), "{len}");
        }
    }
}

/// A machine of bytes.
#[cfg(test)]
pub mod fake {
    use std::vec::Vec;

    /// Physical memory from address 0.
    pub struct Fake(pub Vec<u8>);

    impl super::Firmware for Fake {
        fn read(&self, phys: u64, len: usize) -> Option<&[u8]> {
            self.0.get(phys as usize..)?.get(..len)
        }
    }

    impl Fake {
        /// 1 MiB of zeroes.
        pub fn new() -> Fake {
            Fake(std::vec![0; 0x10_0000])
        }

        /// Puts `bytes` at `at`, with a checksum in byte `checksum_at` of them.
        pub fn put(&mut self, at: usize, bytes: &[u8], checksum_at: usize) {
            let place = &mut self.0[at..at + bytes.len()];
            place.copy_from_slice(bytes);
            place[checksum_at] = 0;
            place[checksum_at] = place.iter().fold(0u8, |sum, b| sum.wrapping_sub(*b));
        }

        /// Puts an ACPI table with this body behind its header of 36 bytes.
        pub fn put_table(&mut self, at: usize, signature: &[u8; 4], body: &[u8]) {
            let mut table = std::vec![0; 36];
            table[..4].copy_from_slice(signature);
            table[4..8].copy_from_slice(&(36 + body.len() as u32).to_le_bytes());
            table.extend_from_slice(body);
            self.put(at, &table, 9);
        }

        /// Puts an ACPI root pointer (revision 0) and the root table at 0x8_0000, which names `tables`.
        pub fn put_root(&mut self, at: usize, tables: &[u32]) {
            let body: Vec<u8> = tables.iter().flat_map(|table| table.to_le_bytes()).collect();
            self.put_table(0x8_0000, b"RSDT", &body);
            let mut pointer = [0; 20];
            pointer[..8].copy_from_slice(b"RSD PTR ");
            pointer[16..20].copy_from_slice(&0x8_0000u32.to_le_bytes());
            self.put(at, &pointer, 8);
        }
    }
}
