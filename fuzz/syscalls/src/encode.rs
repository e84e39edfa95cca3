//! The form in which programs come to the executor in the guest.

use crate::program::{Call, Field, Program, Source, Value};

// Keep these equal to guest/executor.c.
const BATCH_MAGIC: u64 = 0x3148_5441_4253_594b;
const MAX_RESULTS: usize = 256;
const END: u64 = 0;
const DATA: u64 = 1;
const STORE: u64 = 2;
const CALL: u64 = 3;
const COPY_OUT: u64 = 4;
const CONSTANT: u64 = 0;
const RESULT: u64 = 1;
/// Where the arguments of the first thread lie.
pub const ARENA: u64 = 0x2000_0000;
/// Bytes for the arguments of each thread.
pub const ARENA_BYTES: u64 = 0x10_0000;
/// Threads of a program at most.
pub const MAX_THREADS: usize = 3;
/// Memory for calls that change mappings.
pub const PLAYGROUND: u64 = 0x2100_0000;
/// Its size.
pub const PLAYGROUND_BYTES: u64 = 0x4_0000;
/// Where the executor has code for programs: a signal handler, its restorer, and code for new threads.
pub const CODE: u64 = 0x3000_0000;
/// Where it says which program runs: by executing the byte at the program's number, counted from 1.
pub const MARKS: u64 = 0x4000_0000;

/// Results of one call that have a place.
pub const PARTS: usize = 3;
/// Calls of a program at most.
pub const MAX_CALLS: usize = MAX_RESULTS / PARTS;
/// Programs of a batch at most.
pub const MAX_BATCH: usize = 4096;

/// Size of a number that a call writes for later calls.
const GIVEN_BYTES: u64 = 4;
/// Room left between the memory of two arguments, so that a call that writes too much is harmless to the next.
const GAP: u64 = 16;

/// A batch of programs, as the file that the executor reads.
pub fn batch(programs: &[Program]) -> Vec<u8> {
    let mut words = vec![BATCH_MAGIC, programs.len() as u64];
    for program in programs {
        let encoded = encode(program);
        words.push(encoded.len() as u64);
        words.extend(encoded);
    }
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn encode(program: &Program) -> Vec<u64> {
    let threads = program.threads.clamp(1, MAX_THREADS);
    let streams: Vec<Vec<u64>> = (0..threads)
        .map(|thread| {
            let start = ARENA + thread as u64 * ARENA_BYTES;
            let mut stream = Stream { words: Vec::new(), next: start, start, given: None };
            for (index, call) in program.calls.iter().enumerate().take(MAX_CALLS) {
                if call.thread.min(threads - 1) == thread {
                    stream.call(index, call);
                }
            }
            stream.words.push(END);
            stream.words
        })
        .collect();
    let mut words = vec![u64::from(program.root), threads as u64];
    words.extend(streams.iter().map(|stream| stream.len() as u64));
    words.extend(streams.into_iter().flatten());
    words
}

struct Stream {
    words: Vec<u64>,
    /// Where the next argument in memory goes.
    next: u64,
    start: u64,
    /// Where the call that is encoded writes numbers that later calls use.
    given: Option<u64>,
}

fn slot(source: Source) -> u64 {
    (source.call * PARTS + source.part.min(PARTS - 1)) as u64
}

impl Stream {
    fn call(&mut self, index: usize, call: &Call) {
        self.given = None;
        let arguments: Vec<[u64; 2]> = call
            .arguments
            .iter()
            .map(|value| match value {
                Value::Number(value) => [CONSTANT, *value],
                Value::Result(source) => [RESULT, slot(*source)],
                Value::Memory(fields) => [CONSTANT, self.place(fields)],
            })
            .collect();
        let result = slot(Source { call: index, part: 0 });
        let times = u64::from(call.times.max(1));
        self.words.extend([CALL, u64::from(call.number), result, times, arguments.len() as u64]);
        self.words.extend(arguments.into_iter().flatten());
        if let Some(address) = self.given {
            for part in 1..PARTS as u64 {
                self.words.extend([COPY_OUT, address + GIVEN_BYTES * (part - 1), result + part]);
            }
        }
    }

    /// Lays memory out; returns its address.
    fn place(&mut self, fields: &[Field]) -> u64 {
        let size: u64 = fields.iter().map(size).sum();
        if self.next + size + GAP > self.start + ARENA_BYTES {
            self.next = self.start;
        }
        let address = self.next;
        self.next = (address + size + GAP).next_multiple_of(16);
        let mut at = address;
        for field in fields {
            match field {
                Field::Bytes(bytes) => self.data(at, bytes),
                Field::Number(size, value) => self.data(at, &value.to_le_bytes()[..*size]),
                Field::Result(size, source) => self.words.extend([STORE, at, *size as u64, slot(*source)]),
                Field::Pointer(fields) => {
                    let inner = self.place(fields);
                    self.data(at, &inner.to_le_bytes());
                }
                Field::Given => self.given = Some(at),
                Field::Room(_) => {}
            }
            at += self::size(field);
        }
        address
    }

    fn data(&mut self, address: u64, bytes: &[u8]) {
        self.words.extend([DATA, address, bytes.len() as u64]);
        self.words.extend(bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        }));
    }
}

fn size(field: &Field) -> u64 {
    match field {
        Field::Bytes(bytes) => bytes.len() as u64,
        Field::Number(size, _) | Field::Result(size, _) => *size as u64,
        Field::Pointer(_) => 8,
        Field::Given => GIVEN_BYTES * (PARTS as u64 - 1),
        Field::Room(size) => *size as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: u32, thread: usize, arguments: Vec<Value>) -> Call {
        Call { thread, number, name: String::new(), arguments, times: 1 }
    }

    #[test]
    fn memory_is_laid_out_before_the_call_that_is_given_its_address() {
        let memory = Value::Memory(vec![Field::Bytes(b"abc".to_vec())]);
        let program =
            Program { root: true, threads: 1, calls: vec![call(2, 0, vec![memory, Value::Number(7)])] };
        let text = u64::from_le_bytes(*b"abc\0\0\0\0\0");
        let stream = [DATA, ARENA, 3, text, CALL, 2, 0, 1, 2, CONSTANT, ARENA, CONSTANT, 7, END];
        assert_eq!(encode(&program), [&[1, 1, stream.len() as u64], &stream[..]].concat());
    }

    #[test]
    fn numbers_that_a_call_writes_are_copied_out_for_later_calls() {
        let pipe = call(22, 0, vec![Value::Memory(vec![Field::Given])]);
        let close = call(3, 0, vec![Value::Result(Source { call: 0, part: 2 })]);
        let program = Program { root: false, threads: 1, calls: vec![pipe, close] };
        let copies = [COPY_OUT, ARENA, 1, COPY_OUT, ARENA + 4, 2];
        let close = [CALL, 3, 3, 1, 1, RESULT, 2, END];
        let stream = [&[CALL, 22, 0, 1, 1, CONSTANT, ARENA], &copies[..], &close[..]].concat();
        assert_eq!(encode(&program)[3..], stream);
    }

    #[test]
    fn each_thread_has_the_calls_of_its_own() {
        let program =
            Program { root: true, threads: 2, calls: vec![call(39, 0, vec![]), call(24, 1, vec![])] };
        assert_eq!(encode(&program), [1, 2, 6, 6, CALL, 39, 0, 1, 0, END, CALL, 24, 3, 1, 0, END]);
    }
}
