//! Reads any bytes as a 9P server's answer: nothing panics, and nothing leaves the message.
#![no_main]

use coracle_p9::{Attributes, Entries, Qid, Statistics, open_reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], usize, u8, u16)| {
    let (bytes, written, kind, tag) = input;
    let Ok(body) = open_reply(bytes, written, kind.min(u8::MAX - 1), tag) else { return };
    assert!(body.rest().len() + 7 <= bytes.len());
    let _ = (Attributes::read(&mut body.clone()), Statistics::read(&mut body.clone()));
    let _ = (Qid::read(&mut body.clone()), body.clone().text());
    let names: usize = Entries(body.clone()).map(|entry| entry.name.len()).sum();
    assert!(names <= bytes.len());
});
