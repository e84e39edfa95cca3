//! Bytes that usually are text, for display.
use core::fmt;

/// Shows bytes as UTF-8, and what is none as U+FFFD: [`alloc::string::String::from_utf8_lossy`] without memory.
#[derive(Clone, Copy, Debug)]
pub struct Lossy<'a>(pub &'a [u8]);

impl fmt::Display for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString as _};

    #[test]
    fn shows_what_the_standard_library_does() {
        for bytes in [&b"boat"[..], b"", b"a\xffb\xc3", "b\u{e4}t".as_bytes(), b"\xf0\x9f\x9b"] {
            assert_eq!(Lossy(bytes).to_string(), String::from_utf8_lossy(bytes));
        }
    }
}
