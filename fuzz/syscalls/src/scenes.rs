//! Beginnings of programs that bring about what chance hardly does: a connection that waits to be accepted, pipes with bytes in
//! them, a pending signal, names that exist. What follows them, and every change of them, is left to chance.

use fastrand::Rng;
use linux_raw_sys::{general as g, net};

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
    let scene = [connection, datagrams, pipes, pending_signal, names][rng.usize(..5)];
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
