//! Texts.
use crate::{NoMemory, may_grow};
use alloc::string::String;
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

/// What is formatted, as `format!` gives it: `text(format_args!("…"))`.
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
    use super::*;

    #[test]
    fn texts_are_formatted() {
        let mut line = text(format_args!("{} {:>3}", "a", 5)).unwrap();
        line.try_push_str("!").unwrap();
        line.try_add(format_args!("{:x}", 255)).unwrap();
        assert_eq!(line, "a   5!ff");
    }
}
