//! From this command's standard input to the guest's terminal.
//!
//! The guest's terminal is in canonical mode (termios(3)): the byte 4 (VEOF) ends the input, and 22 (VLNEXT) makes
//! the next byte an ordinary one. So those two are escaped in data, and the end of the input is a bare VEOF.

use std::io::{ErrorKind, IsTerminal as _, Read, Write};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Ends the input, or hands over a line that is not complete.
const VEOF: u8 = 0x04;
/// Takes the meaning from the next byte.
const VLNEXT: u8 = 0x16;

/// How long input waits for a guest that does not say that it takes any: much longer than a boot.
const PATIENCE: Duration = Duration::from_secs(2);

/// Holds input back until the guest takes it: a serial port that is not set up yet would lose the first bytes.
#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Lets input pass from now on.
    pub fn open(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    /// Waits until input may pass.
    pub fn wait(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // After the time-out the input passes all the same: the kernel may be one that reports nothing.
        drop(self.opened.wait_timeout_while(open, PATIENCE, |open| !*open));
    }
}

/// Copies everything and the end of it. Returns when the input ends or the guest is gone.
pub fn pump(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 4096];
    let mut escaped = Vec::new();
    let mut last = b'\n';
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        escaped.clear();
        for &byte in &buffer[..length] {
            if byte == VEOF || byte == VLNEXT {
                escaped.push(VLNEXT);
            }
            escaped.push(byte);
        }
        last = buffer[length - 1];
        if to.write_all(&escaped).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
    // The first VEOF only hands over what precedes it in an unfinished line.
    let end: &[u8] = if last == b'\n' { &[VEOF] } else { &[VEOF, VEOF] };
    // A guest that is gone needs no end.
    let _ = to.write_all(end).and_then(|()| to.flush());
}

/// Whether standard input may be read: a background job that read the terminal would be stopped (SIGTTIN).
pub fn readable() -> bool {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return true;
    }
    rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(test)]
mod tests {
    use super::pump;

    #[test]
    fn escapes_and_ends() {
        let pumped = |input: &[u8]| {
            let mut out = Vec::new();
            pump(input, &mut out);
            out
        };
        assert_eq!(pumped(b""), [4]);
        assert_eq!(pumped(b"a\n"), [b'a', b'\n', 4]);
        assert_eq!(pumped(b"a"), [b'a', 4, 4]);
        assert_eq!(pumped(&[1, 4, 0x16, b'\n']), [1, 0x16, 4, 0x16, 0x16, b'\n', 4]);
    }
}
