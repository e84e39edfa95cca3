//! Kinds of arguments that are addresses: what lies there.

use linux_raw_sys::{general as g, net};

use super::maker::{Maker, PAGE};
use super::{numbers, paths, sysv};
use crate::encode::{CODE, PLAYGROUND, PLAYGROUND_BYTES};
use crate::program::Field;
use Field::{Bytes, Number, Pointer, Room};

/// Room for what a call writes: struct stat, siginfo and such fit.
const OUT_BYTES: usize = 256;
/// The signal handler's restorer, from the start of the executor's code.
const RESTORER: u64 = CODE + 0x10;
/// Ports are few, so that sockets meet.
const PORTS: &[u64] = &[7000, 7001, 7002, 0, 80, 65535];

/// Memory of this kind; `None` if there is no such kind.
pub fn make(maker: &mut Maker, kind: &str) -> Option<Vec<Field>> {
    Some(match kind {
        "path" | "file_system" if kind == "path" || maker.one_in(4) => vec![Bytes(paths::make(maker))],
        "file_system" => {
            let names: [&[u8]; 6] = [b"tmpfs\0", b"tmpfs\0", b"proc\0", b"sysfs\0", b"devtmpfs\0", b"ext4\0"];
            vec![Bytes(names[maker.rng.usize(..names.len())].to_vec())]
        }
        "executable" => {
            let names: [&[u8]; 5] =
                [b"/fuzz/executor\0", b"/fuzz/executor\0", b"f0\0", b"/proc/self/exe\0", b"\0"];
            vec![Bytes(names[maker.rng.usize(..names.len())].to_vec())]
        }
        "string" => vec![Bytes(string(maker))],
        "string_array" => string_array(maker),
        "bytes" => vec![Bytes(bytes(maker))],
        "out" => vec![Room(if maker.one_in(4) { 2 * PAGE as usize } else { OUT_BYTES })],
        "ioctl_argument" => vec![cell(maker, 4), cell(maker, 4), Bytes(bytes(maker)), Room(OUT_BYTES)],
        "offset_cell" => vec![value(maker, "offset", 8)],
        "int_cell" => vec![cell(maker, 4), cell(maker, 4)],
        "length_cell" => vec![value(maker, "address_len", 4)],
        "pipe_pair" | "socket_pair" | "timer_cell" => vec![Field::Given],
        "fd_set" => vec![Bytes((0..128).map(|at| if at < 5 { maker.rng.u8(..) } else { 0 }).collect())],
        "pollfds" => pollfds(maker),
        "iovecs" => iovecs(maker),
        "timeval" => vec![seconds(maker), micros(maker, 1_000_000), seconds(maker), micros(maker, 1_000_000)],
        "timespec" => timespec(maker).into_iter().chain(timespec(maker)).collect(),
        "itimerval" => {
            vec![seconds(maker), micros(maker, 1_000_000), seconds(maker), micros(maker, 1_000_000)]
        }
        "itimerspec" => timespec(maker).into_iter().chain(timespec(maker)).collect(),
        "sigset" => vec![sigset(maker)],
        "sigset_argument" => vec![Pointer(vec![sigset(maker)]), Number(8, 8)],
        "sigaction" => {
            let handlers = [0, 1, CODE, CODE, CODE, 0xffff_8000_0000_0000];
            let flags = [g::SA_SIGINFO, g::SA_ONSTACK, g::SA_RESTART, g::SA_NODEFER, g::SA_RESETHAND, 1, 2];
            vec![
                Number(8, handlers[maker.rng.usize(..handlers.len())]),
                Number(8, maker.flags(&flags) | u64::from(g::SA_RESTORER)),
                Number(8, RESTORER),
                sigset(maker),
            ]
        }
        "siginfo" => vec![
            value(maker, "signal", 4),
            cell(maker, 4),
            Number(4, maker.pick(&[u64::MAX, u64::MAX, -6i64 as u64, 0, 0x80])),
            cell(maker, 4),
            value(maker, "pid", 4),
            value(maker, "uid", 4),
            cell(maker, 8),
            Bytes(vec![0; 96]),
        ],
        "signal_stack" => vec![
            Number(8, numbers::address(maker)),
            Number(8, maker.pick(&[0, 0, 2, 4, 1 << 31])),
            Number(8, maker.pick(&[2048, 8192, 16384, 0, u64::MAX])),
        ],
        "sigevent" => vec![
            cell(maker, 8),
            value(maker, "signal", 4),
            Number(4, maker.pick(&[0, 0, 0, 1, 2, 4])),
            value(maker, "pid", 4),
            Bytes(vec![0; 44]),
        ],
        "epoll_event" => vec![
            Number(4, maker.flags(&[1, 1, 4, 4, 2, 8, 0x10, 0x2000, 1 << 28, 1 << 29, 1 << 30, 1 << 31])),
            cell(maker, 8),
        ],
        // Half of the flags that need another one would be refused.
        "io_uring_params" => vec![
            cell(maker, 4),
            Number(4, maker.pick(&[4, 8, 64, 0, u64::MAX])),
            Number(
                4,
                maker.flags(&[0, 0, 0, 1, 2, 8, 8, 16, 32, 64, 128, 256, 1024, 2048, 4096, 0x3000, 0x1_0000]),
            ),
            Bytes(vec![0; 108]),
        ],
        "open_how" => vec![
            value(maker, "open_flags", 8),
            value(maker, "mode", 8),
            Number(8, maker.flags(&[0, 1, 2, 4, 8, 16, 32])),
            Bytes(vec![0; 8]),
        ],
        // A `struct perf_event_attr`: type, size, kind, period, samples, format, bits.
        "perf_attributes" => vec![
            Number(4, maker.pick(&[1, 1, 1, 1, 0, 2])),
            Number(4, maker.pick(&[64, 0, 136, 4096, 32])),
            Number(8, maker.pick(&[0, 1, 2, 3, 4, 5, 9, 12])),
            Number(8, maker.pick(&[0, 0, 0, 1, u64::MAX])),
            Number(8, 0),
            Number(8, maker.flags(&[0, 1, 2, 4, 8, 8, 16])),
            Number(8, maker.flags(&[1, 2, 2, 16, 32, 32, 1 << 12])),
            Bytes(vec![0; 88]),
        ],
        "clone_args" => clone_args(maker),
        "futex_word" => vec![Number(4, maker.pick(&[0, 0, 1, 1, 0x8000_0000, 0x4000_0001])), Number(4, 0)],
        "robust_list" => robust_list(maker),
        "capability_header" => vec![
            Number(4, maker.pick(&[0x2008_0522, 0x2008_0522, 0x1998_0330, 0x2007_1026, 0])),
            value(maker, "pid", 4),
        ],
        "resource_limit" => vec![limit(maker), limit(maker)],
        "socket_address" => socket_address(maker),
        "message" => message(maker),
        "messages" => (0..maker.rng.usize(1..4))
            .flat_map(|_| message(maker).into_iter().chain([Number(8, 0)]))
            .collect(),
        _ => return sysv::memory(maker, kind),
    })
}

/// A number of this kind, in so many bytes.
fn value(maker: &mut Maker, kind: &str, size: usize) -> Field {
    match maker.result(kind) {
        Some(source) => Field::Result(size, source),
        None => Number(size, numbers::make(maker, kind).unwrap_or_default()),
    }
}

fn cell(maker: &mut Maker, size: usize) -> Field {
    Number(size, if maker.one_in(2) { maker.rng.u64(..4) } else { maker.edge() })
}

fn string(maker: &mut Maker) -> Vec<u8> {
    let len = match maker.rng.u32(..10) {
        0 => 300,
        1 => 5000,
        _ => maker.rng.usize(..20),
    };
    let mut text = vec![b'a' + maker.rng.u8(..26); len];
    text.push(0);
    text
}

fn string_array(maker: &mut Maker) -> Vec<Field> {
    let many = if maker.one_in(12) { 200 } else { 3 };
    let mut pointers: Vec<Field> =
        (0..maker.rng.usize(..many)).map(|_| Pointer(vec![Bytes(string(maker))])).collect();
    pointers.push(Number(8, 0));
    pointers
}

fn bytes(maker: &mut Maker) -> Vec<u8> {
    let len = match maker.rng.u32(..12) {
        0 => 3 * PAGE as usize,
        1 => 600,
        _ => maker.rng.usize(..130),
    };
    // Mostly small numbers: options, names of interfaces and messages of netlink are made of these.
    (0..len).map(|_| if maker.one_in(2) { 0 } else { maker.rng.u8(..) >> maker.rng.u32(..8) }).collect()
}

fn pollfds(maker: &mut Maker) -> Vec<Field> {
    (0..8)
        .flat_map(|_| {
            [value(maker, "fd", 4), Number(2, maker.flags(&[1, 2, 4, 8, 16, 0x2000])), Number(2, 0)]
        })
        .collect()
}

fn iovecs(maker: &mut Maker) -> Vec<Field> {
    (0..8)
        .flat_map(|_| {
            let data = bytes(maker);
            let len = if maker.one_in(16) { maker.edge() } else { data.len() as u64 };
            let base = if maker.one_in(12) {
                Number(8, numbers::address(maker))
            } else {
                Pointer(vec![Bytes(data)])
            };
            [base, Number(8, len)]
        })
        .collect()
}

fn seconds(maker: &mut Maker) -> Field {
    Number(8, if maker.one_in(12) { maker.edge() } else { maker.pick(&[0, 0, 0, 0, 1, 100]) })
}

/// Parts of a second, of which there are `whole`.
fn micros(maker: &mut Maker, whole: u64) -> Field {
    let value = match maker.rng.u32(..12) {
        0 => maker.edge(),
        1 => whole - 1,
        2 => whole,
        3..=5 => 0,
        6..=7 => maker.rng.u64(..200),
        _ => maker.rng.u64(..whole / 200),
    };
    Number(8, value)
}

fn timespec(maker: &mut Maker) -> Vec<Field> {
    let seconds = seconds(maker);
    let nanoseconds =
        if maker.one_in(30) { Number(8, g::UTIME_NOW.into()) } else { micros(maker, 1_000_000_000) };
    vec![seconds, nanoseconds]
}

fn sigset(maker: &mut Maker) -> Field {
    Number(
        8,
        if maker.one_in(3) { maker.edge() } else { 1 << maker.rng.u32(..64) | 1 << maker.rng.u32(..64) },
    )
}

fn clone_args(maker: &mut Maker) -> Vec<Field> {
    let flags = numbers::clone_flags(maker);
    let stack = if flags & u64::from(g::CLONE_VM) != 0 || maker.one_in(6) { PLAYGROUND } else { 0 };
    vec![
        Number(8, flags & !0xff),
        Pointer(vec![Field::Given]),
        Pointer(vec![Room(8)]),
        Pointer(vec![Room(8)]),
        Number(8, if maker.one_in(6) { maker.edge() } else { flags & 0xff }),
        Number(8, stack),
        Number(8, if stack == 0 { 0 } else { PLAYGROUND_BYTES }),
        Number(8, numbers::address(maker)),
        Number(8, 0),
        Number(8, maker.rng.u64(..40) / 39),
        Number(8, 0),
        Bytes(vec![0; 40]),
    ]
}

fn robust_list(maker: &mut Maker) -> Vec<Field> {
    let tid = value(maker, "pid", 4);
    let node = vec![Number(8, numbers::address(maker)), tid];
    vec![Pointer(node), Number(8, maker.pick(&[8, 8, 0, u64::MAX, PAGE])), Number(8, 0)]
}

fn limit(maker: &mut Maker) -> Field {
    Number(8, maker.pick(&[0, 1, 16, 64, 1024, 4096, 1 << 20, 1 << 30, u64::MAX, u64::MAX]))
}

fn socket_address(maker: &mut Maker) -> Vec<Field> {
    let port = u64::from((maker.pick(PORTS) as u16).swap_bytes());
    let loopback: [u64; 5] = [0x0100_007f, 0x0100_007f, 0, 0xffff_ffff, 0x0100_00e0];
    match maker.rng.u32(..10) {
        0..=3 => vec![
            Number(2, net::AF_INET.into()),
            Number(2, port),
            Number(4, maker.pick(&loopback)),
            Bytes(vec![0; 112]),
        ],
        4 => {
            let mut address = vec![0; 16];
            if maker.one_in(2) {
                address[15] = 1;
            } else {
                address[10..].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
            }
            vec![
                Number(2, net::AF_INET6.into()),
                Number(2, port),
                Number(4, 0),
                Bytes(address),
                Number(4, 0),
                Bytes(vec![0; 100]),
            ]
        }
        5..=6 => {
            let mut path = paths::make(maker);
            path.resize(126, 0);
            vec![Number(2, net::AF_UNIX.into()), Bytes(path)]
        }
        7 => vec![
            Number(2, net::AF_UNIX.into()),
            Bytes(vec![0, b'a', maker.rng.u8(b'a'..=b'c')]),
            Bytes(vec![0; 120]),
        ],
        8 => vec![
            Number(2, net::AF_NETLINK.into()),
            Number(2, 0),
            cell(maker, 4),
            cell(maker, 4),
            Bytes(vec![0; 112]),
        ],
        _ => vec![cell(maker, 2), Bytes(vec![0; 126])],
    }
}

/// `struct msghdr`.
fn message(maker: &mut Maker) -> Vec<Field> {
    let name = if maker.one_in(3) { Pointer(socket_address(maker)) } else { Number(8, 0) };
    let name_len = value(maker, "address_len", 4);
    let control = match maker.rng.u32(..4) {
        0 => (Number(8, 0), 0),
        1 => (Pointer(vec![Room(OUT_BYTES)]), maker.rng.u64(..OUT_BYTES as u64)),
        _ => {
            let (fields, len) = control(maker);
            (Pointer(fields), len)
        }
    };
    let control_len = if maker.one_in(12) { maker.edge() } else { control.1 };
    let vectors = if maker.one_in(16) { maker.edge() } else { maker.rng.u64(..9) };
    vec![
        name,
        name_len,
        Number(4, 0),
        Pointer(iovecs(maker)),
        Number(8, vectors),
        control.0,
        Number(8, control_len),
        Number(8, 0),
    ]
}

/// Control messages (cmsg(3)), and their length.
fn control(maker: &mut Maker) -> (Vec<Field>, u64) {
    const HEADER: u64 = 16;
    let mut fields = Vec::new();
    let mut total = 0;
    for _ in 0..maker.rng.usize(1..3) {
        let descriptors = maker.rng.u64(1..5) * 2;
        let len = HEADER + 4 * descriptors;
        fields.push(Number(8, if maker.one_in(12) { maker.edge() } else { len }));
        fields.push(Number(4, maker.pick(&[1, 1, 1, 0, 41])));
        fields.push(Number(4, maker.pick(&[1, 1, 1, 2, 8])));
        fields.extend((0..descriptors).map(|_| value(maker, "fd", 4)));
        total += len;
    }
    (fields, total)
}
