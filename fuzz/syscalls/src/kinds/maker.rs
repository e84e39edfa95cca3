//! What a value is made from: chance, and the results that are there already.

use fastrand::Rng;
use xtask::system_calls::Argument;

use super::{memory, numbers};
use crate::encode::{PLAYGROUND, PLAYGROUND_BYTES};
use crate::program::{Source, Value};

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Of this many pointers, one is bad.
const BAD_POINTER_ONE_IN: u32 = 40;
/// Of this many uses of a kind that earlier calls return, one is made without them.
const IGNORE_RESULTS_ONE_IN: u32 = 4;

/// Makes arguments of one call.
pub struct Maker<'a> {
    /// Chance.
    pub rng: &'a mut Rng,
    /// Results of earlier calls, with their kinds.
    pub results: &'a [(String, Source)],
}

/// The kind of the numbers that a call writes to a pointer of this kind, and how many there are.
pub fn given_kind(kind: &str) -> Option<(&'static str, usize)> {
    match kind {
        "pipe_pair" => Some(("pipe_or_fd", 2)),
        "socket_pair" => Some(("socket", 2)),
        "timer_cell" => Some(("timer", 1)),
        _ => None,
    }
}

/// Kinds of descriptors. Each can be used where `fd` is asked for.
pub const DESCRIPTORS: &[&str] = &[
    "fd",
    "file",
    "directory",
    "pipe_or_fd",
    "socket",
    "epoll",
    "inotify",
    "fanotify",
    "perf_event",
    "io_uring",
    "timerfd",
    "pidfd",
    "dirfd",
    "new_fd",
    "mq",
];

/// Whether a result of one kind can be an argument of another.
fn fits(made: &str, wanted: &str) -> bool {
    made == wanted
        || (matches!(wanted, "fd" | "dirfd" | "new_fd" | "directory") && DESCRIPTORS.contains(&made))
}

impl Maker<'_> {
    /// A value for an argument; `None` if its kind is unknown.
    pub fn value(&mut self, argument: &Argument) -> Option<Value> {
        if !argument.pointer {
            if let Some(source) = self.result(&argument.kind) {
                return Some(Value::Result(source));
            }
            return numbers::make(self, &argument.kind).map(Value::Number);
        }
        let fields = memory::make(self, &argument.kind)?;
        Some(if self.one_in(BAD_POINTER_ONE_IN) {
            Value::Number(self.bad_pointer())
        } else {
            Value::Memory(fields)
        })
    }

    /// An earlier result of this kind, mostly if there is one.
    pub fn result(&mut self, kind: &str) -> Option<Source> {
        if self.one_in(IGNORE_RESULTS_ONE_IN) {
            return None;
        }
        let results = self.results;
        let fitting: Vec<Source> =
            results.iter().filter(|(made, _)| fits(made, kind)).map(|(_, source)| *source).collect();
        // The latest are the most likely.
        let back = self.rng.usize(..3);
        fitting.iter().rev().nth(back).or(fitting.last()).copied()
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u32) -> bool {
        self.rng.u32(..times) == 0
    }

    /// One of these.
    pub fn pick(&mut self, from: &[u64]) -> u64 {
        from[self.rng.usize(..from.len())]
    }

    /// Some of these, or-ed; now and then with a bit that isn't there.
    pub fn flags(&mut self, from: &[u32]) -> u64 {
        let mut value = 0;
        for _ in 0..self.rng.usize(..4) {
            value |= u64::from(from[self.rng.usize(..from.len())]);
        }
        if self.one_in(30) { value ^ 1 << self.rng.u32(..64) } else { value }
    }

    /// A number at the edge of something.
    pub fn edge(&mut self) -> u64 {
        const EDGES: &[u64] = &[
            0,
            1,
            2,
            3,
            7,
            8,
            16,
            64,
            255,
            256,
            1024,
            PAGE - 1,
            PAGE,
            PAGE + 1,
            65535,
            65536,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0x7fff_ffff_ffff_f000,
            0x7fff_ffff_ffff_ffff,
            0x8000_0000_0000_0000,
            0xffff_ffff_ffff_f000,
            0xffff_ffff_ffff_ffff,
        ];
        if self.one_in(8) { self.rng.u64(..) >> self.rng.u32(..64) } else { self.pick(EDGES) }
    }

    /// An address at which there is nothing, or not enough, or the kernel.
    fn bad_pointer(&mut self) -> u64 {
        let end = PLAYGROUND + PLAYGROUND_BYTES;
        self.pick(&[
            0,
            8,
            PAGE,
            end - 1,
            end - 4,
            end - 8,
            end - 24,
            end,
            0x7fff_ffff_eff8,
            0x7fff_ffff_fff8,
            0x8000_0000_0000,
            0xffff_8000_0000_0000,
            0xffff_ffff_8000_0000,
            0xffff_ffff_ffff_fff8,
            u64::MAX,
        ])
    }
}
