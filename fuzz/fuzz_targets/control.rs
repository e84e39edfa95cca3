//! Reads any bytes as messages of the control port, whole and in pieces: the same messages, which are written as they were.
#![no_main]

use coracle_control::{Message, Reader};
use libfuzzer_sys::fuzz_target;

fn read(pieces: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<Message> {
    let (mut reader, mut all) = (Reader::default(), Vec::new());
    pieces.for_each(|piece| reader.take(piece.as_ref(), |message| all.push(message)));
    all
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let messages = read(bytes.chunks(usize::from(size) + 1));
    assert_eq!(messages, read([bytes].into_iter()));
    assert_eq!(messages, read(messages.iter().map(Message::encode)));
});
