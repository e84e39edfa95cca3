//! Standard output of the command. A reader that has gone away (`coracle ps | head -1`) is no failure: what it no longer
//! wants is dropped, and the command goes on to its end, which comes at once if it would show things for ever ([`is_unread`]).

use std::fmt::{Arguments, Display};
use std::io::{ErrorKind, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Whether the reader of stdout has been found gone.
static UNREAD: AtomicBool = AtomicBool::new(false);

/// Whether the reader of stdout has gone, as far as writing has shown.
pub fn is_unread() -> bool {
    UNREAD.load(Ordering::Relaxed)
}

/// Writes bytes to stdout.
///
/// # Errors
/// If stdout cannot be written to, other than because its reader has closed it.
pub fn write(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            UNREAD.store(true, Ordering::Relaxed);
            Ok(())
        }
        other => other.map_err(|error| Error::new("cannot write to standard output").why(error)),
    }
}

/// Writes a line to stdout.
///
/// # Errors
/// As [`write()`].
pub fn line(text: impl Display) -> Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Text of a guest as a terminal may be shown it: a guest is not trusted, and control characters can do more than show something.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Writes text to stderr as it is. A closed stderr is ignored: there is no other place for the text.
pub fn to_stderr(text: Arguments<'_>) {
    let _ = std::io::stderr().lock().write_fmt(text);
}

#[cfg(test)]
mod tests {
    #[test]
    fn control_characters_of_a_guest_are_shown_as_such() {
        assert_eq!(super::plain("a\u{1b}[2Jb\u{9b}\n\u{e4} \""), "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{e4} \"");
    }
}
