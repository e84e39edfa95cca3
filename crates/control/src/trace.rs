//! What a guest notes of system calls while they are traced.
//!
//! A [`TraceRecord`] is followed by [`Captured`] bytes that arguments point to. Numbers are little-endian.

/// Numbers of system calls that can be chosen.
pub const CALLS: usize = 512;
/// Bytes of the choice: a bit for each number.
pub const CHOICE_BYTES: usize = CALLS / 8;
/// Bytes of one argument that are captured at most.
pub const CAPTURE_MOST: usize = 128;

/// Bytes of a region with code of which a checksum tells whether a file is the same.
pub const CODE_SAMPLE: usize = 256;
/// Registers before a stack, 8 bytes each: by their numbers in DWARF for x86-64 (System V ABI, figure 3.36), the address of the
/// instruction last.
pub const STACK_REGISTERS: usize = 17;
/// Bytes of a stack at most.
pub const STACK_MOST: u32 = 64 << 10;

/// What is captured of an argument of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The call's number.
    pub call: u16,
    /// The place of the argument, 0 to 5.
    pub argument: u8,
    /// How many bytes.
    pub extent: Extent,
}

/// How many bytes of an argument are captured: [`CAPTURE_MOST`] at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Up to a zero, that included.
    String,
    /// As many as the next argument says, times this.
    Next(u8),
    /// As many as the result says, once the call is over.
    Result,
    /// As many.
    Fixed(u8),
}

impl Capture {
    /// Bytes as it is sent.
    pub const BYTES: usize = 5;

    /// As it is sent.
    pub fn encode(&self) -> [u8; Capture::BYTES] {
        let [low, high] = self.call.to_le_bytes();
        let (kind, size) = match self.extent {
            Extent::String => (0, 0),
            Extent::Next(size) => (1, size),
            Extent::Result => (2, 0),
            Extent::Fixed(size) => (3, size),
        };
        [low, high, self.argument, kind, size]
    }

    /// From its bytes; `None` if they are none.
    pub fn decode(bytes: &[u8]) -> Option<Capture> {
        let [low, high, argument, kind, size] = *bytes.first_chunk()?;
        let extent = match kind {
            0 => Extent::String,
            1 => Extent::Next(size),
            2 => Extent::Result,
            3 => Extent::Fixed(size),
            _ => return None,
        };
        Some(Capture { call: u16::from_le_bytes([low, high]), argument, extent })
    }
}

/// The beginning or end of a system call, or a note that others were lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceRecord {
    /// Bytes of all of it with what was captured.
    pub bytes: u32,
    /// One of [`record`].
    pub kind: u32,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Nanoseconds since boot.
    pub time_ns: u64,
    /// The call's number; of [`record::LOST`], how many.
    pub number: u64,
    /// At the beginning, the arguments; at the end, the first is the result.
    pub words: [u64; 6],
}

/// Kinds of a [`TraceRecord`].
pub mod record {
    /// A call begins.
    pub const ENTRY: u32 = 1;
    /// A call ends.
    pub const EXIT: u32 = 2;
    /// So many records had no room.
    pub const LOST: u32 = 3;
    /// Before a call's beginning: the program's registers, [`STACK_REGISTERS`](crate::STACK_REGISTERS), and then its stack from the
    /// stack pointer on, follow in place of captured bytes.
    pub const STACK: u32 = 4;
    /// Before a stack, where it may differ from what was said last: a line of text for each region of the process that has code of a
    /// file follows. It has, parted by blanks, the first address, the first behind it, the offset in the file, the CRC-32C of the first
    /// [`CODE_SAMPLE`](crate::CODE_SAMPLE) bytes (0: not known), in hexadecimal, and the path.
    pub const CODE: u32 = 5;
}

impl TraceRecord {
    /// Bytes of a record without what was captured.
    pub const HEAD: usize = 80;

    /// As it is sent.
    pub fn encode(&self) -> [u8; TraceRecord::HEAD] {
        let mut bytes = [0; TraceRecord::HEAD];
        let two = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let [a, b, c, d, e, f] = self.words;
        let heads = [two(self.bytes, self.kind), two(self.pid, self.tid), self.time_ns, self.number];
        let words = [heads[0], heads[1], heads[2], heads[3], a, b, c, d, e, f];
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    /// The record at the front of `bytes`, what it captured, and what follows. `None`: there is no whole one.
    pub fn decode(bytes: &[u8]) -> Option<(TraceRecord, &[u8], &[u8])> {
        let head = bytes.get(..Self::HEAD)?;
        let half = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_le_bytes(*head.get(at..)?.first_chunk()?));
        let mut words = [0; 6];
        for (place, word) in words.iter_mut().enumerate() {
            *word = long(32 + 8 * place)?;
        }
        let record = TraceRecord {
            bytes: half(0)?,
            kind: half(4)?,
            pid: half(8)?,
            tid: half(12)?,
            time_ns: long(16)?,
            number: long(24)?,
            words,
        };
        let (own, rest) = bytes.split_at_checked(usize::try_from(record.bytes).ok()?)?;
        Some((record, own.get(Self::HEAD..)?, rest))
    }
}

/// Bytes that an argument points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured<'a> {
    /// Where they were.
    pub address: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl<'a> Captured<'a> {
    /// Bytes before the captured ones: their address, and how many.
    pub const HEAD: usize = 10;

    /// The next of what a record captured, and what follows.
    pub fn decode(bytes: &'a [u8]) -> Option<(Captured<'a>, &'a [u8])> {
        let (address, rest) = bytes.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (own, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        Some((Captured { address: u64::from_le_bytes(*address), bytes: own }, rest))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(kind: u32, id: u32, time_ns: u64, words: [u64; 6], captured: Vec<u8>, rest: Vec<u8>) {
            let bytes = (TraceRecord::HEAD + captured.len()) as u32;
            let record = TraceRecord { bytes, kind, pid: id, tid: !id, time_ns, number: words[0], words };
            let all = [&record.encode()[..], &captured, &rest].concat();
            prop_assert_eq!(TraceRecord::decode(&all), Some((record, &captured[..], &rest[..])));
        }

        #[test]
        fn any_bytes_end(bytes: Vec<u8>) {
            let mut left = &bytes[..];
            while let Some((record, mut captured, rest)) = TraceRecord::decode(left) {
                prop_assert!(record.bytes as usize + rest.len() == left.len() && rest.len() < left.len());
                while let Some((_, others)) = Captured::decode(captured) {
                    prop_assert!(others.len() < captured.len());
                    captured = others;
                }
                left = rest;
            }
        }

        #[test]
        fn captures_are_read_as_they_were_written(call: u16, argument: u8, kind in 0u8..4, size: u8) {
            let extent = [Extent::String, Extent::Next(size), Extent::Result, Extent::Fixed(size)][usize::from(kind)];
            let capture = Capture { call, argument, extent };
            prop_assert_eq!(Capture::decode(&capture.encode()), Some(capture));
        }
    }
}
