//! Cuts what a stream carries into lines, without memory of its own but that of one line.

/// Bytes of the longest line that is one message: with its header it fits a datagram that no network cuts into pieces. What is longer becomes several.
pub const LONGEST_LINE: usize = 1024;

/// The line that is being written to a stream.
#[derive(Clone, Debug)]
pub struct Lines {
    held: [u8; LONGEST_LINE],
    len: usize,
}

impl Lines {
    /// Nothing was written yet.
    pub const fn new() -> Lines {
        Lines { held: [0; LONGEST_LINE], len: 0 }
    }

    /// Takes bytes, and passes on the lines that they complete, without their ends.
    pub fn take(&mut self, bytes: &[u8], mut pass: impl FnMut(&[u8])) {
        for byte in bytes {
            if *byte == b'\n' {
                pass(self.held[..self.len].strip_suffix(b"\r").unwrap_or(&self.held[..self.len]));
                self.len = 0;
                continue;
            }
            if self.len == LONGEST_LINE {
                pass(&self.held);
                self.len = 0;
            }
            self.held[self.len] = *byte;
            self.len += 1;
        }
    }

    /// The stream ends: passes on what it has of a line.
    pub fn end(&mut self, pass: impl FnOnce(&[u8])) {
        if self.len > 0 {
            pass(&self.held[..self.len]);
            self.len = 0;
        }
    }
}

impl Default for Lines {
    fn default() -> Self {
        Lines::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn cut(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut all) = (Lines::new(), Vec::new());
        pieces.iter().for_each(|piece| lines.take(piece, |line| all.push(line.to_vec())));
        lines.end(|line| all.push(line.to_vec()));
        all
    }

    #[test]
    fn lines_are_cut() {
        let wanted: [&[u8]; 4] = [b"one", b"", b"two", b"rest"];
        assert_eq!(cut(&[b"on", b"e\n\ntwo\r\nre", b"st"]), wanted);
        let long = cut(&[&[b'x'; LONGEST_LINE + 1]]);
        assert_eq!(long.iter().map(Vec::len).collect::<Vec<_>>(), [LONGEST_LINE, 1]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..3000), at in 0..3000usize) {
            let (first, second) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(cut(&[&bytes]), cut(&[first, second]));
        }
    }
}
