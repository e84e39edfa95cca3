//! Cuts what a stream carries into lines.

use jiff::Timestamp;

use super::record::{Record, Stream};

/// Bytes of the longest line that is one record, as docker has it. What is longer becomes several.
const LONGEST: usize = 16 << 10;

/// The line that is being written to a stream.
#[derive(Debug)]
pub struct Lines {
    stream: Stream,
    held: Vec<u8>,
}

impl Lines {
    /// Of this stream.
    pub fn new(stream: Stream) -> Lines {
        Lines { stream, held: Vec::new() }
    }

    /// Takes bytes, and passes on the records that they complete.
    pub fn take(&mut self, mut bytes: &[u8], mut pass: impl FnMut(Record)) {
        while !bytes.is_empty() {
            let room = LONGEST - self.held.len();
            let window = &bytes[..bytes.len().min(room)];
            let (text, skip, is_part) = match window.iter().position(|&byte| byte == b'\n') {
                Some(end) => (&window[..end], end + 1, false),
                None if window.len() == room => (window, room, true),
                None => {
                    self.held.extend_from_slice(window);
                    return;
                }
            };
            self.held.extend_from_slice(text);
            bytes = &bytes[skip..];
            pass(self.record(is_part));
        }
    }

    /// The stream ends: passes on what it has of a line. That counts as a part: no line feed ended it.
    pub fn end(&mut self, mut pass: impl FnMut(Record)) {
        if !self.held.is_empty() {
            pass(self.record(true));
        }
    }

    fn record(&mut self, is_part: bool) -> Record {
        let text = std::mem::take(&mut self.held);
        Record { time: Timestamp::now(), stream: self.stream, origin: None, text, is_part }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<(String, bool)> {
        let (mut lines, mut all) = (Lines::new(Stream::Stdout), Vec::new());
        let mut keep = |record: Record| {
            all.push((String::from_utf8(record.text).expect("text"), record.is_part));
        };
        pieces.iter().for_each(|piece| lines.take(piece, &mut keep));
        lines.end(&mut keep);
        all
    }

    #[test]
    fn lines_come_in_pieces() {
        let line = |text: &str| (text.to_owned(), false);
        assert_eq!(
            cut(&[b"one\ntw", b"o\n\n", b"three"]),
            [line("one"), line("two"), line(""), ("three".into(), true)]
        );
        assert_eq!(cut(&[]), []);
    }

    #[test]
    fn long_lines_become_parts() {
        let long = vec![b'x'; LONGEST * 2 + 3];
        let parts: Vec<_> = cut(&[&long[..5], &long[5..], b"\nend\n"]);
        let lens: Vec<_> = parts.iter().map(|(text, part)| (text.len(), *part)).collect();
        assert_eq!(lens, [(LONGEST, true), (LONGEST, true), (3, false), (3, false)]);
    }
}
