//! What a guest notes of system calls while they are traced.
//!
//! The answer to a request for it is an [`EventsHead`](crate::EventsHead), by which times are known, and then [`TraceRecord`]s. They are
//! words of 64 bits, little-endian; bytes that belong to them are filled up to whole words.

/// Numbers of system calls that can be chosen.
pub const CALLS: usize = 512;
/// Bytes of the choice: a bit for each number.
pub const CHOICE_BYTES: usize = CALLS / 8;
/// Bytes of one argument that are captured at most.
pub const CAPTURE_MOST: usize = 128;
/// The same of a buffer, of which no more is shown.
pub const BUFFER_MOST: usize = 32;
/// Arguments of a call that are captured at most.
pub const CAPTURES_MOST: usize = 4;
/// Arguments of a call at most.
pub const ARGUMENTS: usize = 6;

/// Words of [`TraceRecord::Call`] before the arguments.
pub const CALL_WORDS: usize = 4;
/// Words of [`TraceRecord::Entry`].
pub const ENTRY_WORDS: usize = 2 + ARGUMENTS;

/// Bytes of a region with code of which a checksum tells whether a file is the same.
pub const CODE_SAMPLE: usize = 256;
/// Registers before a stack, 8 bytes each: by their numbers in DWARF for x86-64 (System V ABI, figure 3.36), the address of the
/// instruction last.
pub const STACK_REGISTERS: usize = 17;
/// Bytes of a stack at most.
pub const STACK_MOST: u32 = 64 << 10;

const WORD: usize = 8;

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

/// How many bytes of an argument are captured: [`CAPTURE_MOST`] at most, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Up to a zero, that included.
    String,
    /// As many as the next argument says, times this.
    Next(u8),
    /// As many as the result says, once the call is over: of a buffer, [`BUFFER_MOST`] at most.
    Result,
    /// As many.
    Fixed(u8),
    /// As many as the next argument says: of a buffer, [`BUFFER_MOST`] at most.
    Buffer,
    /// As many, once the call is over and has not failed.
    Written(u8),
}

impl Extent {
    /// As two bytes, the first of which is not 0.
    pub const fn encode(self) -> [u8; 2] {
        match self {
            Extent::String => [1, 0],
            Extent::Next(size) => [2, size],
            Extent::Result => [3, 0],
            Extent::Fixed(size) => [4, size],
            Extent::Buffer => [5, 0],
            Extent::Written(size) => [6, size],
        }
    }

    /// From these two bytes; `None` if they are none.
    #[inline(always)]
    pub const fn decode([kind, size]: [u8; 2]) -> Option<Extent> {
        Some(match kind {
            1 => Extent::String,
            2 => Extent::Next(size),
            3 => Extent::Result,
            4 => Extent::Fixed(size),
            5 => Extent::Buffer,
            6 => Extent::Written(size),
            _ => return None,
        })
    }
}

impl Capture {
    /// Bytes as it is sent.
    pub const BYTES: usize = 5;

    /// As it is sent.
    pub fn encode(&self) -> [u8; Capture::BYTES] {
        let [low, high] = self.call.to_le_bytes();
        let [kind, size] = self.extent.encode();
        [low, high, self.argument, kind, size]
    }

    /// From its bytes; `None` if they are none.
    pub fn decode(bytes: &[u8]) -> Option<Capture> {
        let [low, high, argument, kind, size] = *bytes.first_chunk()?;
        let extent = Extent::decode([kind, size])?;
        Some(Capture { call: u16::from_le_bytes([low, high]), argument, extent })
    }
}

/// A call that a thread has made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceCall {
    /// The thread.
    pub tid: u32,
    /// The call's number.
    pub number: u16,
    /// When it began, in ticks.
    pub start: u64,
}

/// What is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceRecord<'a> {
    /// A call is over.
    Call {
        /// Which.
        call: TraceCall,
        /// When, in ticks.
        end: u64,
        /// What it returned.
        result: u64,
        /// What it was given; 0 in place of those that it does not have.
        arguments: [u64; ARGUMENTS],
    },
    /// A call begins, whose end is another record, or which does not return.
    Entry {
        /// Which.
        call: TraceCall,
        /// What it is given.
        arguments: [u64; ARGUMENTS],
    },
    /// A call is over that was said to begin.
    Exit {
        /// Which.
        call: TraceCall,
        /// When, in ticks.
        end: u64,
        /// What it returned.
        result: u64,
    },
    /// What an argument points to of a call whose beginning or end follows.
    Captured {
        /// Which.
        call: TraceCall,
        /// The place of the argument.
        argument: u8,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Before a call's beginning: the program's registers, [`STACK_REGISTERS`], and then its stack from the stack pointer on, or a further
    /// piece of that.
    Stack {
        /// The call.
        call: TraceCall,
        /// The process.
        pid: u32,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Before a stack, where it may differ from what was said last, in one or more pieces: a line of text for each region of the process
    /// that has code of a file. It has, parted by blanks, the first address, the first behind it, the offset in the file, the CRC-32C of
    /// the first [`CODE_SAMPLE`] bytes (0: not known), in hexadecimal, and the path.
    Code {
        /// The call.
        call: TraceCall,
        /// The process.
        pid: u32,
        /// The text.
        bytes: &'a [u8],
    },
    /// So many records had no room.
    Lost(u64),
}

mod kind {
    pub const CALL: u8 = 1;
    pub const ENTRY: u8 = 2;
    pub const EXIT: u8 = 3;
    pub const STACK: u8 = 4;
    pub const CODE: u8 = 5;
    pub const LOST: u8 = 6;
    pub const CAPTURED: u8 = 7;
}

/// The first word of a record: its kind, how many arguments it has, and the call's number and thread.
const fn head(kind: u8, arguments: usize, call: &TraceCall) -> u64 {
    kind as u64 | (arguments as u64) << 8 | (call.number as u64) << 16 | (call.tid as u64) << 32
}

impl<'a> TraceRecord<'a> {
    /// The words of [`TraceRecord::Call`] before its `arguments`, as many as the call has.
    #[inline(always)]
    pub const fn call(call: &TraceCall, end: u64, result: u64, arguments: usize) -> [u64; CALL_WORDS] {
        [head(kind::CALL, arguments, call), call.start, end, result]
    }

    /// [`TraceRecord::Entry`].
    pub const fn entry(call: &TraceCall, arguments: [u64; ARGUMENTS]) -> [u64; ENTRY_WORDS] {
        let [a, b, c, d, e, f] = arguments;
        [head(kind::ENTRY, ARGUMENTS, call), call.start, a, b, c, d, e, f]
    }

    /// [`TraceRecord::Exit`].
    pub const fn exit(call: &TraceCall, end: u64, result: u64) -> [u64; 4] {
        [head(kind::EXIT, 0, call), call.start, end, result]
    }

    /// The words of [`TraceRecord::Captured`] before the number of its bytes and these.
    #[inline(always)]
    pub const fn captured(call: &TraceCall, argument: usize) -> [u64; 2] {
        [head(kind::CAPTURED, argument, call), call.start]
    }

    /// The words of [`TraceRecord::Stack`] before the number of its bytes and these.
    pub const fn stack(call: &TraceCall, pid: u32) -> [u64; 3] {
        [head(kind::STACK, 0, call), call.start, pid as u64]
    }

    /// The words of [`TraceRecord::Code`] before the number of its bytes and these.
    pub const fn code(call: &TraceCall, pid: u32) -> [u64; 3] {
        [head(kind::CODE, 0, call), call.start, pid as u64]
    }

    /// [`TraceRecord::Lost`].
    pub const fn lost(count: u64) -> [u64; 2] {
        [kind::LOST as u64, count]
    }

    /// The call that it is about; `None`: it is about none.
    pub fn call_mut(&mut self) -> Option<&mut TraceCall> {
        match self {
            TraceRecord::Call { call, .. }
            | TraceRecord::Entry { call, .. }
            | TraceRecord::Exit { call, .. }
            | TraceRecord::Captured { call, .. }
            | TraceRecord::Stack { call, .. }
            | TraceRecord::Code { call, .. } => Some(call),
            TraceRecord::Lost(_) => None,
        }
    }

    /// The record at the front of `bytes`, and what follows. `None`: there is no whole one.
    pub fn decode(bytes: &'a [u8]) -> Option<(TraceRecord<'a>, &'a [u8])> {
        let mut words = Words(bytes);
        let first = words.next()?;
        let [kind, count, low, high, tid @ ..] = first.to_le_bytes();
        let (number, tid) = (u16::from_le_bytes([low, high]), u32::from_le_bytes(tid));
        if kind == kind::LOST {
            return Some((TraceRecord::Lost(words.next()?), words.0));
        }
        let call = TraceCall { tid, number, start: words.next()? };
        let record = match kind {
            kind::CALL => {
                let (end, result) = (words.next()?, words.next()?);
                TraceRecord::Call { call, end, result, arguments: words.arguments(count)? }
            }
            kind::ENTRY => TraceRecord::Entry { call, arguments: words.arguments(count)? },
            kind::EXIT => TraceRecord::Exit { call, end: words.next()?, result: words.next()? },
            kind::CAPTURED => {
                let len = words.next()?;
                TraceRecord::Captured { call, argument: count, bytes: words.bytes(len)? }
            }
            kind::STACK | kind::CODE => {
                let (pid, len) = (words.next()? as u32, words.next()?);
                let bytes = words.bytes(len)?;
                match kind {
                    kind::STACK => TraceRecord::Stack { call, pid, bytes },
                    _ => TraceRecord::Code { call, pid, bytes },
                }
            }
            _ => return None,
        };
        Some((record, words.0))
    }

    /// When it was made, in ticks; `None`: at no time of its own.
    pub fn ticks(&self) -> Option<u64> {
        match self {
            TraceRecord::Call { end, .. } | TraceRecord::Exit { end, .. } => Some(*end),
            TraceRecord::Entry { call, .. }
            | TraceRecord::Captured { call, .. }
            | TraceRecord::Stack { call, .. }
            | TraceRecord::Code { call, .. } => Some(call.start),
            TraceRecord::Lost(_) => None,
        }
    }
}

/// Takes words off the front of bytes.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk::<WORD>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }

    fn arguments(&mut self, count: u8) -> Option<[u64; ARGUMENTS]> {
        let mut all = [0; ARGUMENTS];
        for place in all.get_mut(..count.into())? {
            *place = self.next()?;
        }
        Some(all)
    }

    /// So many bytes, after which whole words were taken.
    fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let len = usize::try_from(len).ok()?;
        let (own, rest) = self.0.split_at_checked(len.checked_next_multiple_of(WORD)?)?;
        self.0 = rest;
        own.get(..len)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn bytes(words: &[u64], behind: &[u8]) -> Vec<u8> {
        let mut all: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        all.extend(behind);
        all.resize(all.len().next_multiple_of(WORD), 0xee);
        all
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(tid: u32, number: u16, start: u64, pid: u32, end: u64, arguments: [u64; ARGUMENTS], count in 0..=ARGUMENTS, captured: Vec<u8>, rest: Vec<u8>) {
            let call = TraceCall { tid, number, start };
            let result = !end;
            let mut given = arguments;
            given[count..].fill(0);
            let words = TraceRecord::call(&call, end, result, count);
            let captured = &captured[..];
            let len = captured.len() as u64;
            let behind = |words: &[u64]| bytes(&[words, &[len]].concat(), captured);
            let all = [
                (bytes(&[&words[..], &arguments[..count]].concat(), &[]), TraceRecord::Call { call, end, result, arguments: given }),
                (bytes(&TraceRecord::entry(&call, arguments), &[]), TraceRecord::Entry { call, arguments }),
                (bytes(&TraceRecord::exit(&call, end, result), &[]), TraceRecord::Exit { call, end, result }),
                (behind(&TraceRecord::captured(&call, count)), TraceRecord::Captured { call, argument: count as u8, bytes: captured }),
                (behind(&TraceRecord::stack(&call, pid)), TraceRecord::Stack { call, pid, bytes: captured }),
                (behind(&TraceRecord::code(&call, pid)), TraceRecord::Code { call, pid, bytes: captured }),
                (bytes(&TraceRecord::lost(end), &[]), TraceRecord::Lost(end)),
            ];
            for (sent, record) in &all {
                let sent = [&sent[..], &rest].concat();
                prop_assert_eq!(TraceRecord::decode(&sent), Some((*record, &rest[..])));
            }
        }

        #[test]
        fn any_bytes_end(bytes: Vec<u8>) {
            let mut left = &bytes[..];
            while let Some((_, rest)) = TraceRecord::decode(left) {
                prop_assert!(rest.len() < left.len());
                left = rest;
            }
        }

        #[test]
        fn captures_are_read_as_they_were_written(call: u16, argument: u8, kind in 0usize..6, size: u8) {
            let extents = [Extent::String, Extent::Next(size), Extent::Result, Extent::Fixed(size), Extent::Buffer, Extent::Written(size)];
            let capture = Capture { call, argument, extent: extents[kind] };
            prop_assert_eq!(Capture::decode(&capture.encode()), Some(capture));
        }
    }
}
