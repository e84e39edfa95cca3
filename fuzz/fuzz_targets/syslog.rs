//! Reads any bytes as a message of syslog(3) and as a stream of lines, and writes the header that they ask for: nothing panics, nothing is added.
#![no_main]

use coracle_syslog::{Head, LONGEST_LINE, Lines, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u64)| {
    let (bytes, time_ns) = input;
    let message = read(bytes, 7);
    let head = Head {
        priority: message.priority,
        time_ns,
        host: bytes,
        app: message.tag,
        pid: message.pid,
        id: "syslog",
    };
    assert!(head.to_string().len() < 400);
    let (mut lines, mut count) = (Lines::new(), 0);
    lines.take(bytes, |line| {
        assert!(line.len() <= LONGEST_LINE);
        count += line.len();
    });
    lines.end(|line| count += line.len());
    assert!(count <= bytes.len());
});
