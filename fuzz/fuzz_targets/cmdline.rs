//! Reads any command line, and what it writes of it once more.
#![no_main]

use coracle_image::cmdline::CommandLine;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut line = CommandLine::parse(bytes);
    line.unknown.clear();
    assert_eq!(CommandLine::parse(line.to_string().as_bytes()), line);
});
