//! Beginnings of programs that bring about what chance hardly does: a connection that waits to be accepted, pipes with bytes in
//! them, a pending signal, names that exist. What follows them, and every change of them, is left to chance.

use fastrand::Rng;
use linux_raw_sys::{general as g, net};

use crate::encode::PLAYGROUND;
use crate::program::{Call, Field, Source, Value};
use Field::{Bytes, Given, Number, Room};

/// A call of a scene: its name and its arguments, with results of earlier calls of the scene.
type Step = (&'static str, Vec<Value>);

/// A program's part so far, and how the number of a call is found.
pub struct Stage<'a> {
    /// Where the scene begins in the program.
    pub start: usize,
    /// The number of the call of a name; `None` if the kernel has none.
    pub number: &'a dyn Fn(&str) -> Option<u32>,
}

/// The calls of some scene, made by the first thread; none if the kernel lacks one of them.
pub fn any(rng: &mut Rng, stage: &Stage) -> Vec<Call> {
    let scene = [connection, datagrams, pipes, pending_signal, names, ring][rng.usize(..6)];
    let calls = scene(rng).into_iter().map(|(name, arguments)| {
        let number = (stage.number)(name)?;
        Some(Call { thread: 0, number, name: name.to_owned(), arguments, times: 1 })
    });
    let mut calls: Vec<Call> = calls.collect::<Option<_>>().unwrap_or_default();
    for call in &mut calls {
        call.map_sources(&|source| Some(Source { call: source.call + stage.start, ..source }));
    }
    calls
}

fn number(value: impl Into<i64>) -> Value {
    Value::Number(value.into().cast_unsigned())
}

fn result(call: usize, part: usize) -> Value {
    Value::Result(Source { call, part })
}

fn bytes(rng: &mut Rng, most: usize) -> (Value, Value) {
    let len = rng.usize(1..most);
    (Value::Memory(vec![Bytes((0..len).map(|_| rng.u8(..)).collect())]), number(len as i64))
}

/// An address that is free: of the loopback, or an abstract name.
fn address(rng: &mut Rng, family: u32) -> (Value, Value) {
    if family == net::AF_UNIX {
        let name = [b"\0scene".as_slice(), &rng.u32(..).to_le_bytes()].concat();
        let len = 2 + name.len() as i64;
        return (Value::Memory(vec![Number(2, family.into()), Bytes(name)]), number(len));
    }
    let port = rng.u16(20_000..30_000).swap_bytes();
    let fields = vec![
        Number(2, family.into()),
        Number(2, port.into()),
        Number(4, u32::from_le_bytes([127, 0, 0, 1]).into()),
        Bytes(vec![0; 8]),
    ];
    (Value::Memory(fields), number(16))
}

/// A listener, a client that connects to it, and what it accepts.
fn connection(rng: &mut Rng) -> Vec<Step> {
    let family = if rng.bool() { net::AF_INET } else { net::AF_UNIX };
    let (at, len) = address(rng, family);
    let mut steps: Vec<Step> = vec![
        ("socket", vec![number(family), number(net::SOCK_STREAM), number(0)]),
        ("bind", vec![result(0, 0), at.clone(), len.clone()]),
        ("listen", vec![result(0, 0), number(rng.i64(1..8))]),
        ("socket", vec![number(family), number(net::SOCK_STREAM), number(0)]),
        ("connect", vec![result(3, 0), at, len]),
    ];
    let accept = vec![result(0, 0), number(0), number(0)];
    if rng.bool() {
        steps.push(("accept", accept));
    } else {
        let flags = [0, g::O_NONBLOCK, g::O_CLOEXEC][rng.usize(..3)];
        steps.push(("accept4", [accept, vec![number(flags)]].concat()));
    }
    let (data, len) = bytes(rng, 5000);
    steps.push(("write", vec![result(if rng.bool() { 3 } else { 5 }, 0), data, len]));
    steps
}

/// A datagram that waits in a socket.
fn datagrams(rng: &mut Rng) -> Vec<Step> {
    let family = if rng.bool() { net::AF_INET } else { net::AF_UNIX };
    let (at, at_len) = address(rng, family);
    let (data, len) = bytes(rng, 3000);
    vec![
        ("socket", vec![number(family), number(net::SOCK_DGRAM), number(0)]),
        ("bind", vec![result(0, 0), at.clone(), at_len.clone()]),
        ("socket", vec![number(family), number(net::SOCK_DGRAM), number(0)]),
        ("sendto", vec![result(2, 0), data, len, number(0), at, at_len]),
    ]
}

/// Two pipes, bytes in the first, some of which go to the second by splice(2) and tee(2).
fn pipes(rng: &mut Rng) -> Vec<Step> {
    let (data, len) = bytes(rng, 6000);
    let part = number(rng.i64(1..5000));
    let flags = number([0, g::SPLICE_F_MOVE, g::SPLICE_F_NONBLOCK][rng.usize(..3)]);
    let none = number(0);
    let pair = || Value::Memory(vec![Given]);
    let tee = ("tee", vec![result(0, 1), result(1, 2), part.clone(), flags.clone()]);
    let splice = ("splice", vec![result(0, 1), none.clone(), result(1, 2), none, part, flags]);
    let mut steps = vec![
        ("pipe2", vec![pair(), number(0)]),
        ("pipe2", vec![pair(), number(0)]),
        ("write", vec![result(0, 2), data, len]),
    ];
    steps.extend(if rng.bool() { [tee, splice] } else { [splice, tee] });
    steps
}

/// A signal that is blocked, sent to the program, and taken.
fn pending_signal(rng: &mut Rng) -> Vec<Step> {
    let signal = [g::SIGUSR1, g::SIGUSR2, g::SIGALRM, 34, 50][rng.usize(..5)];
    let set = || Value::Memory(vec![Number(8, 1 << (signal - 1))]);
    let no_time = Value::Memory(vec![Number(8, 0), Number(8, 0)]);
    let set_len = number(8);
    let mut steps = vec![
        ("rt_sigprocmask", vec![number(g::SIG_BLOCK), set(), number(0), set_len.clone()]),
        ("getpid", vec![]),
        ("kill", vec![result(1, 0), number(signal)]),
    ];
    if rng.bool() {
        steps.push(("kill", vec![result(1, 0), number(signal)]));
    }
    steps.push(("rt_sigtimedwait", vec![set(), Value::Memory(vec![Room(128)]), no_time, set_len]));
    steps
}

/// Two files, whose names are exchanged or moved to one that is free.
fn names(rng: &mut Rng) -> Vec<Step> {
    let here = || number(g::AT_FDCWD);
    let path = |name: &[u8]| Value::Memory(vec![Bytes([name, b"\0"].concat())]);
    let open =
        |name: &[u8]| ("openat", vec![here(), path(name), number(g::O_CREAT | g::O_RDWR), number(0o644)]);
    let free = [b"free".as_slice(), &[b'a' + rng.u8(..26), b'a' + rng.u8(..26)]].concat();
    let exchange = ("renameat2", vec![here(), path(b"f0"), here(), path(b"f1"), number(g::RENAME_EXCHANGE)]);
    let move_away =
        ("renameat2", vec![here(), path(b"f0"), here(), path(&free), number(g::RENAME_NOREPLACE)]);
    let mut steps = vec![open(b"f0"), open(b"f1")];
    steps.extend(if rng.bool() { vec![exchange, move_away] } else { vec![move_away] });
    steps
}

/// A ring of io_uring(7) with some submissions, which are put into its memory by way of a pipe.
fn ring(rng: &mut Rng) -> Vec<Step> {
    const PAGE: u64 = 4096;
    /// Entries, and where the kernel has the array of their indices and the program's index (`coracle_uring::Layout`).
    const ENTRIES: u64 = 8;
    const ARRAY_AT: u64 = 640;
    const TAIL_AT: u64 = 64;
    const SUBMISSIONS_AT: i64 = 0x1000_0000;
    let place = |at: u64| number((PLAYGROUND + at).cast_signed());
    let map = |at: u64, offset: i64| {
        let (protection, flags) = (g::PROT_READ | g::PROT_WRITE, g::MAP_SHARED | g::MAP_FIXED);
        let arguments = [
            place(at),
            number(PAGE.cast_signed()),
            number(protection),
            number(flags),
            result(0, 0),
            number(offset),
        ];
        ("mmap", arguments.to_vec())
    };
    let flags = [0, 0, 0, g::O_DIRECT.into(), 1 << 12, 1 << 1][rng.usize(..6)];
    let parameters = vec![Number(8, 0), Number(4, flags), Bytes(vec![0; 108])];
    let submissions = (0..ENTRIES).flat_map(|_| submission(rng)).collect();
    let indices = (0..ENTRIES).map(|n| Number(4, n)).collect();
    let parts = [
        (submissions, PAGE, ENTRIES * 64),
        (indices, ARRAY_AT, ENTRIES * 4),
        (vec![Number(4, ENTRIES)], TAIL_AT, 4),
    ];
    let mut steps: Vec<Step> = vec![
        ("io_uring_setup", vec![number(ENTRIES.cast_signed()), Value::Memory(parameters)]),
        map(0, 0),
        map(PAGE, SUBMISSIONS_AT),
        ("pipe2", vec![Value::Memory(vec![Given]), number(0)]),
    ];
    for (fields, at, len) in parts {
        let len = number(len.cast_signed());
        steps.push(("write", vec![result(3, 2), Value::Memory(fields), len.clone()]));
        steps.push(("read", vec![result(3, 1), place(at), len]));
    }
    let least = number(rng.i64(..3));
    steps.push((
        "io_uring_enter",
        vec![result(0, 0), number(ENTRIES.cast_signed()), least, number(rng.i64(..2)), number(0), number(0)],
    ));
    steps
}

/// An entry of the ring of submissions.
fn submission(rng: &mut Rng) -> Vec<Field> {
    const OPERATIONS: u64 = 56;
    const DESCRIPTORS: u64 = 34;
    let mut pick = |values: &[u64]| values[rng.usize(..values.len())];
    let chance = [
        pick(&[0, 0, 0, 1, 2, 4, 5, 8, 16, 32, 64, 0x44]),
        pick(&[0, 0, 0, 0, 1, 2, 3]),
        pick(&[0, 0, u64::MAX, 1, PLAYGROUND]),
    ];
    let [address, len, what] = [
        pick(&[PLAYGROUND, PLAYGROUND + 4096, 0, 8, u64::MAX]),
        pick(&[0, 1, 1, 2, 8, 100, 4096, 1 << 31]),
        pick(&[0, 0, 0, 1, 2, 4, 8, 64]),
    ];
    let [buffer, index] = [pick(&[0, 0, 0, 1, 3]), pick(&[0, 0, 0, 1, 4, u64::from(u32::MAX)])];
    vec![
        Number(1, rng.u64(..OPERATIONS)),
        Number(1, chance[0]),
        Number(2, chance[1]),
        Number(4, rng.u64(..DESCRIPTORS)),
        Number(8, chance[2]),
        Number(8, address),
        Number(4, len),
        Number(4, what),
        Number(8, rng.u64(..4)),
        Number(2, buffer),
        Number(2, 0),
        Number(4, index),
        Bytes(vec![0; 16]),
    ]
}
