//! The Internet checksum (RFC 1071), summed in the machine's byte order and in pieces.

use crate::device::{Buffer, Chunk, Fragment};
use crate::ip::Address;

/// A running sum. The order of additions does not matter, except that a piece after one of odd length is swapped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Of no bytes.
    pub const EMPTY: Sum = Sum(0);

    /// Adds a 16-bit number (of the machine, as its big-endian bytes would be summed).
    #[inline(always)]
    pub fn word(self, word: u16) -> Sum {
        Sum(self.0 + u64::from(word.to_be()))
    }

    /// Adds four bytes, given as a number in network order.
    #[inline]
    pub fn long(self, long: u32) -> Sum {
        Sum(self.0 + u64::from(long.to_be()))
    }

    /// Adds bytes that start at an even offset.
    pub fn bytes(self, bytes: &[u8]) -> Sum {
        let mut sum = self.0;
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            // 2^32 words would be needed to overflow.
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut tail = [0; 4];
        tail[..rest.len()].copy_from_slice(rest);
        Sum(sum + u64::from(u32::from_ne_bytes(tail)))
    }

    /// Adds an IPv4 header without options.
    #[inline(always)]
    pub fn header(self, b: &[u8; 20]) -> Sum {
        // Written out: a loop would cost more than the additions.
        let long = |at: usize| u64::from(u32::from_ne_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]));
        Sum(self.0 + long(0) + long(4) + long(8) + long(12) + long(16))
    }

    /// Adds bytes that start at `offset`, of any parity.
    pub fn bytes_at(self, offset: usize, bytes: &[u8]) -> Sum {
        if offset.is_multiple_of(2) {
            self.bytes(bytes)
        } else {
            Sum(self.0 + u64::from(Sum(0).bytes(bytes).fold().swap_bytes()))
        }
    }

    /// Adds a list of chunks as one stream.
    pub fn chunks<'a, B: Buffer>(self, chunks: impl Iterator<Item = &'a Chunk<B>>) -> Sum {
        let mut offset = 0;
        chunks.fold(self, |sum, chunk| {
            let at = offset;
            offset += chunk.len as usize;
            sum.bytes_at(at, chunk.bytes())
        })
    }

    /// Adds the first `len` bytes of a list of pieces.
    pub fn first_of<'a>(self, pieces: impl Iterator<Item = &'a [u8]>, len: usize) -> Sum {
        let mut offset = 0;
        pieces.fold(self, |sum, bytes| {
            let at = offset;
            offset += bytes.len();
            sum.bytes_at(at, &bytes[..bytes.len().min(len.saturating_sub(at))])
        })
    }

    /// Adds a list of fragments as one stream.
    pub fn fragments<B: Buffer>(self, fragments: &[Fragment<'_, B>]) -> Sum {
        let mut offset = 0;
        fragments.iter().fold(self, |sum, fragment| {
            let at = offset;
            offset += fragment.len as usize;
            sum.bytes_at(at, fragment.bytes())
        })
    }

    /// The 16-bit sum, in the machine's order of the bytes in memory.
    #[inline(always)]
    fn fold(self) -> u16 {
        // Adding the halves crosswise leaves the sum with its end-around carry in the upper half.
        let long = (self.0.wrapping_add(self.0.rotate_left(32)) >> 32) as u32;
        (long.wrapping_add(long.rotate_left(16)) >> 16) as u16
    }

    /// The checksum: bytes to put into the header.
    #[inline(always)]
    pub fn finish(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }

    /// The sum itself, not complemented: bytes for a field that the device completes.
    #[inline(always)]
    pub fn partial(self) -> [u8; 2] {
        self.fold().to_ne_bytes()
    }

    /// Whether a sum that includes the checksum shows that nothing has changed.
    #[inline(always)]
    pub fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }

    /// Adds an address. The 0xffff of a v4-mapped one is zero in this arithmetic, so IPv4 needs no case of its own.
    #[inline]
    fn address(self, address: Address) -> Sum {
        let (high, low) = address.words();
        self.long((high >> 32) as u32).long(high as u32).long((low >> 32) as u32).long(low as u32)
    }

    /// Adds the pseudo-header of a transport over IPv4 (RFC 9293, 3.1) or IPv6 (RFC 8200, 8.1), which sum alike.
    #[inline]
    pub fn pseudo_header(self, source: Address, destination: Address, protocol: u8, len: usize) -> Sum {
        self.address(source).address(destination).word(u16::from(protocol)).long(len as u32)
    }
}

/// The checksum of bytes (RFC 1071): what a field of zeroes among them is to hold.
pub fn internet_checksum(bytes: &[u8]) -> [u8; 2] {
    Sum::EMPTY.bytes(bytes).finish()
}

#[cfg(test)]
mod tests {
    use super::Sum;
    use proptest::prelude::*;

    fn simple(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    proptest! {
        #[test]
        fn equals_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(u16::from_be_bytes(Sum::default().bytes(&bytes).finish()), simple(&bytes));
        }

        #[test]
        fn may_be_cut_anywhere(bytes in proptest::collection::vec(any::<u8>(), 1..300), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(bytes.len());
            let sum = Sum::default().bytes_at(0, &bytes[..cut]).bytes_at(cut, &bytes[cut..]);
            prop_assert_eq!(u16::from_be_bytes(sum.finish()), simple(&bytes));
        }
    }

    #[test]
    fn equals_smoltcp() {
        use smoltcp::wire::{Ipv4Address, Ipv4Packet};
        let mut header = [0x45, 0, 0, 84, 1, 2, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let ours = Sum::default().bytes(&header).finish();
        header[10..12].copy_from_slice(&ours);
        let packet = Ipv4Packet::new_unchecked(&header);
        assert!(packet.verify_checksum());
        assert_eq!(packet.src_addr(), Ipv4Address::new(10, 0, 0, 1));
        assert!(Sum::default().bytes(&header).is_valid());
    }
}
