//! Reads any bytes as a FUSE server's answer: nothing panics, and nothing leaves the message.
#![no_main]

use coracle_fuse::{Attributes, Entries, Found, Init, Statistics, open_reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], usize, u64)| {
    let (bytes, written, number) = input;
    let Ok((body, len)) = open_reply(bytes, written, number) else { return };
    assert!(body.rest().len() + 16 <= bytes.len() && len <= written);
    let _ = (Attributes::read_alone(&mut body.clone()), Statistics::read(&mut body.clone()));
    let _ = (Found::read(&mut body.clone()), Init::read(&mut body.clone()));
    let names: usize = Entries(body.clone()).map(|entry| entry.name.len()).sum();
    assert!(names <= bytes.len());
});
