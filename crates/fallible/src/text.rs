//! Texts.
use crate::{Lossy, NoMemory, TryVec as _, may_grow};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What a text does fallibly.
pub trait TryText {
    /// [`String::push_str`].
    ///
    /// # Errors
    /// [`NoMemory`]; the text is as it was.
    fn try_push_str(&mut self, more: &str) -> Result<(), NoMemory>;

    /// Adds what is formatted, as `write!` does.
    ///
    /// # Errors
    /// [`NoMemory`]; the text may have a part of it.
    fn try_add(&mut self, what: fmt::Arguments<'_>) -> Result<(), NoMemory>;
}

impl TryText for String {
    fn try_push_str(&mut self, more: &str) -> Result<(), NoMemory> {
        if more.len() > self.capacity() - self.len() {
            may_grow()?;
            self.try_reserve(more.len())?;
        }
        self.push_str(more);
        Ok(())
    }

    fn try_add(&mut self, what: fmt::Arguments<'_>) -> Result<(), NoMemory> {
        // Formatting fails only where writing does.
        fmt::write(&mut Growing(self), what).map_err(|_| NoMemory)
    }
}

/// A text that is formatted into.
struct Growing<'a>(&'a mut String);

impl fmt::Write for Growing<'_> {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        self.0.try_push_str(more).map_err(|_| fmt::Error)
    }
}

/// A text that is written to and formatted into fallibly. It is made of bytes, because names of files are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Text(Vec<u8>);

impl Text {
    /// An empty text.
    pub const fn new() -> Text {
        Text(Vec::new())
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`NoMemory`]; the text is as it was.
    #[inline(never)]
    pub fn push(&mut self, more: &[u8]) -> Result<(), NoMemory> {
        self.0.try_extend_from_slice(more)
    }

    /// Adds what is formatted: `write!` and `writeln!` call this.
    ///
    /// # Errors
    /// [`NoMemory`]; the text may have a part of it.
    #[inline(never)]
    pub fn write_fmt(&mut self, what: fmt::Arguments<'_>) -> Result<(), NoMemory> {
        // Formatting fails only where writing does.
        fmt::write(self, what).map_err(|_| NoMemory)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, taken out.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Cuts it to `len` bytes, if it has more.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Takes all bytes away, and keeps their room.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        self.push(more.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// Bytes that are no UTF-8 are shown as U+FFFD.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Lossy(&self.0).fmt(f)
    }
}

/// Formatted text, as by `format!`: `text(format_args!("…"))`.
///
/// # Errors
/// [`NoMemory`].
#[inline(never)]
pub fn text(what: fmt::Arguments<'_>) -> Result<String, NoMemory> {
    let mut text = String::new();
    text.try_add(what)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn texts_are_formatted() {
        let mut line = text(format_args!("{} {:>3}", "a", 5)).unwrap();
        line.try_push_str("!").unwrap();
        line.try_add(format_args!("{:x}", 255)).unwrap();
        assert_eq!(line, "a   5!ff");
    }

    #[test]
    fn texts_hold_any_bytes() {
        let mut name = Text::new();
        write!(name, "{}/", 7).unwrap();
        name.push(b"a\xff\xfeb").unwrap();
        assert_eq!((name.as_bytes(), name.len()), (b"7/a\xff\xfeb".as_slice(), 6));
        assert_eq!(std::format!("{name}"), "7/a\u{fffd}\u{fffd}b");
        name.clear();
        assert!(name.is_empty() && name.into_bytes().is_empty());
    }
}
