//! Events in words.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use coracle_control::{EventRecord, event};

use super::decode::Event;

/// States of TCP connections by their numbers in /proc/net/tcp.
const STATES: [&str; 13] = [
    "?",
    "ESTABLISHED",
    "SYN-SENT",
    "SYN-RECEIVED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "CLOSED",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
    "SYN-RECEIVED",
];
/// Vectors of interrupts that devices have, and the kernel's own (`hal/src/arch/x86_64/trap.rs`).
const DEVICES: std::ops::Range<u64> = 0x20..0x60;
const OWN: [&str; 4] = ["timer", "wake-up of another CPU", "TLB shoot-down", "stop"];

/// Names of threads, by their numbers.
pub type Names = HashMap<u32, String>;

/// The process of a word that has a process and a thread.
pub fn pid(word: u64) -> u32 {
    (word >> 32) as u32
}

/// Its thread.
pub fn tid(word: u64) -> u32 {
    word as u32
}

/// `web/12`, or `idle`.
pub fn thread(word: u64, names: &Names) -> String {
    match (word, names.get(&tid(word))) {
        (event::thread::IDLE, _) => "idle".to_owned(),
        (event::thread::CONTROL, _) => "[control]".to_owned(),
        (event::thread::STORAGE, _) => "[storage]".to_owned(),
        (word, Some(name)) => format!("{name}/{}", tid(word)),
        (word, None) => format!("thread {}", tid(word)),
    }
}

/// Whether a word is a thread of a program.
pub fn is_of_program(word: u64) -> bool {
    pid(word) != 0
}

/// Seconds since boot, to the microsecond.
pub fn seconds(ns: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    format!("{}.{:06}", ns / SECOND, ns % SECOND / 1000)
}

/// `port 80, peer 10.0.2.2:5000`.
fn connection(record: &EventRecord) -> String {
    let (local, remote) = ((record.a >> 32) as u16, record.a as u16);
    let [first, second] = [(record.b >> 32) as u32, record.b as u32];
    // An IPv4 address is the end of an IPv4-mapped one (RFC 4291, 2.5.5.2).
    let peer =
        if first == 0xffff { Ipv4Addr::from(second).to_string() } else { format!("…{first:x}:{second:x}") };
    format!("port {local}, peer {peer}:{remote}")
}

/// An operation of a disk.
pub fn operation(number: u16) -> &'static str {
    match number {
        event::operation::READ => "read",
        event::operation::WRITE => "write",
        event::operation::FLUSH => "flush",
        event::operation::IDENTIFY => "identify",
        event::operation::DISCARD => "discard",
        event::operation::ZERO => "write zeroes",
        _ => "?",
    }
}

/// What happened, as a name and details.
pub fn describe(event: &Event, names: &Names) -> (&'static str, String) {
    let record = &event.record;
    let who = |word| thread(word, names);
    match record.kind {
        event::SWITCH => {
            let why = if record.small == 0 { "preempted" } else { "sleeps" };
            let why = if !is_of_program(record.b) { String::new() } else { format!(" ({why})") };
            ("switch", format!("{}{why} -> {}", who(record.b), who(record.a)))
        }
        event::WAKE => {
            let note = if record.small == 0 { " (it runs)" } else { "" };
            ("wake", format!("{}{note}", who(record.a)))
        }
        event::PARK => {
            let until = match record.a {
                u64::MAX => "until it is woken".to_owned(),
                deadline => format!("until {} at the latest", seconds(deadline)),
            };
            ("park", format!("{} {until}", who(record.b)))
        }
        event::IDLE => ("idle", format!("{} sleeps", who(record.a))),
        event::RESUME => ("resume", format!("{} goes on", who(record.a))),
        event::TIMER_SET => {
            let whose = if record.b == 0 { String::new() } else { format!(", wakes {}", who(record.b)) };
            ("timer set", format!("for {}{whose}", seconds(record.a)))
        }
        event::TIMER_FIRED => {
            ("timer fired", if record.a == 0 { String::new() } else { format!("wakes {}", who(record.a)) })
        }
        event::INTERRUPT => {
            let vector = record.a;
            let own = usize::try_from(vector.wrapping_sub(DEVICES.end)).ok().and_then(|place| OWN.get(place));
            (
                "interrupt",
                match own {
                    Some(name) => (*name).to_owned(),
                    None if DEVICES.contains(&vector) => format!("device {}", vector - DEVICES.start),
                    None => format!("vector {vector:#x}"),
                },
            )
        }
        event::FAULT => {
            let bits = |bit| record.small & bit != 0;
            let access = if bits(event::access::WRITE) {
                "write"
            } else if bits(event::access::EXECUTE) {
                "execute"
            } else {
                "read"
            };
            let there = if bits(event::access::PRESENT) { ", the page is there" } else { "" };
            ("page fault", format!("{access} {:#x}, at {:#x}{there}", record.a, record.b))
        }
        event::BLOCK_ISSUE => {
            let bytes = record.b as u32;
            let mut text = format!("{} sector {}", operation(record.small), record.a);
            if bytes > 0 {
                let _ = write!(text, ", {bytes} bytes");
            }
            ("block issue", text + &format!(" [{:08x}]", record.b >> 32))
        }
        event::BLOCK_DONE => {
            let how = match record.small {
                0 => "done",
                1 => "not supported",
                _ => "failed",
            };
            ("block done", format!("{how} [{:08x}]", record.b >> 32))
        }
        event::TCP_STATE => {
            let name = |number: u16| STATES.get(usize::from(number)).copied().unwrap_or("?");
            let (old, new) = (name(record.small >> 8), name(record.small & 0xff));
            ("tcp state", format!("{}: {old} -> {new}", connection(record)))
        }
        event::TCP_RETRANSMIT => ("tcp retransmit", connection(record)),
        event::TCP_ZERO_WINDOW => ("tcp zero window", connection(record)),
        event::DROP => {
            let why = match record.small {
                event::reason::NO_SOCKET => "no socket is at the port",
                event::reason::MALFORMED => "its header or checksum is wrong",
                event::reason::NO_ROOM => "the socket's buffer is full",
                event::reason::BACKLOG => "the queue of connections is full",
                event::reason::NOT_OURS => "it is for another address",
                event::reason::NO_MEMORY => "memory is short",
                _ => "?",
            };
            ("drop", format!("{why} ({})", connection(record)))
        }
        kind => ("?", format!("kind {kind}: {:#x} {:#x} {:#x}", record.small, record.a, record.b)),
    }
}

/// An event in a line.
pub fn line(event: &Event, names: &Names) -> String {
    let (name, details) = describe(event, names);
    format!("{} [{:03}] {name:<15} {details}\n", seconds(event.time_ns), event.cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: u16, small: u16, a: u64, b: u64) -> String {
        let names = Names::from([(12, "web".to_owned())]);
        line(
            &Event { time_ns: 1_002_003_004, cpu: 1, record: EventRecord { ticks: 0, kind, small, a, b } },
            &names,
        )
    }

    #[test]
    fn events_in_words() {
        let web = 1 << 32 | 12;
        assert_eq!(
            text(event::SWITCH, 1, 7, web),
            "1.002003 [001] switch          web/12 (sleeps) -> thread 7\n"
        );
        assert_eq!(text(event::SWITCH, 0, web, 0), "1.002003 [001] switch          idle -> web/12\n");
        assert_eq!(
            text(event::PARK, 0, 2_000_000_000, web),
            "1.002003 [001] park            web/12 until 2.000000 at the latest\n"
        );
        assert_eq!(text(event::INTERRUPT, 0, 0x60, 0), "1.002003 [001] interrupt       timer\n");
        assert_eq!(text(event::INTERRUPT, 0, 0x21, 0), "1.002003 [001] interrupt       device 1\n");
        assert_eq!(
            text(event::TCP_STATE, 3 << 8 | 1, 80 << 32 | 5000, 0xffff_0a00_0202),
            "1.002003 [001] tcp state       port 80, peer 10.0.2.2:5000: SYN-RECEIVED -> ESTABLISHED\n"
        );
        assert_eq!(
            text(event::FAULT, event::access::WRITE, 0x1000, 0x2000),
            "1.002003 [001] page fault      write 0x1000, at 0x2000\n"
        );
        // Any record is told in some way.
        for kind in 0..40 {
            assert!(text(kind, u16::MAX, u64::MAX, u64::MAX).ends_with('\n'));
        }
    }
}
