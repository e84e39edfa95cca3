//! The command's terminal, when it is the guest's: raw while the guest runs, so that the guest's own line discipline
//! sees every key, and as it was before at every end.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use coracle_control::Window;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr};

use super::streams;
use crate::error;

/// Names the environment variable by which this program is started as a terminal's keeper.
const MARK: &str = "CORACLE_KEEPS_TERMINAL";
/// What the keeper says once it knows the terminal's modes.
const READY: u8 = b'.';

/// The terminal at standard input. Its modes are restored when this is dropped, and by the keeper if this process is
/// killed.
#[derive(Debug, Default)]
pub struct Terminal {
    before: Mutex<Option<(Termios, Option<Child>)>>,
}

impl Terminal {
    /// Makes the terminal raw if this process is in its foreground: one in the background would be stopped (SIGTTOU).
    /// Whether it is, now or since before.
    pub fn take(&self) -> bool {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_in_foreground() {
            return false;
        }
        let modes = match &*before {
            // A shell that this was stopped under has changed them.
            Some((modes, _)) => modes.clone(),
            None => {
                let Ok(modes) = tcgetattr(stdin()) else { return false };
                let keeper = start_keeper();
                *before = Some((modes.clone(), keeper));
                modes
            }
        };
        error::set_raw_terminal(true);
        // If it fails, lines are edited here, and the guest gets them whole.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &raw(&modes));
        true
    }

    /// Restores the terminal's modes.
    pub fn restore(&self) {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((modes, keeper)) = before else { return };
        if is_in_foreground() {
            // What the program has written is shown first.
            let _ = tcsetattr(stdin(), OptionalActions::Drain, &modes);
        }
        error::set_raw_terminal(false);
        if let Some(mut keeper) = keeper {
            // It ends when its input does.
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Whether standard input is a terminal that this process may read and set.
fn is_in_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

fn raw(modes: &Termios) -> Termios {
    let mut raw = modes.clone();
    raw.make_raw();
    raw
}

/// The size of the terminal that the guest's is shown on; `None` if it has none.
pub fn window() -> Option<Window> {
    let size = tcgetwinsize(streams::screen()).ok()?;
    let window =
        Window { rows: size.ws_row, columns: size.ws_col, width: size.ws_xpixel, height: size.ws_ypixel };
    (window != Window::default()).then_some(window)
}

/// Starts the keeper, and waits until it knows the terminal's modes. Without it, only SIGKILL does harm.
fn start_keeper() -> Option<Child> {
    let own = std::env::current_exe().ok()?;
    let terminal = stdin().as_fd().try_clone_to_owned().ok()?;
    let mut keeper = Command::new(own)
        .env(MARK, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(terminal))
        .spawn()
        .ok()?;
    let mut byte = [0];
    let ready = keeper.stdout.take().is_some_and(|mut out| out.read_exact(&mut byte).is_ok());
    if ready {
        return Some(keeper);
    }
    let _ = keeper.kill();
    let _ = keeper.wait();
    None
}

/// Whether this process was started as a keeper.
pub fn is_keeper() -> bool {
    std::env::var_os(MARK).is_some()
}

/// The keeper: waits until the command that started it is gone. If that left the terminal raw (standard error, here), it
/// was killed, and the modes that the terminal had before are restored.
pub fn keep() {
    let terminal = std::io::stderr();
    // In a session of its own it has no controlling terminal: neither its keys nor its job control reach it.
    if rustix::process::setsid().is_err() || !terminal.is_terminal() {
        return;
    }
    let Ok(modes) = tcgetattr(&terminal) else { return };
    if std::io::stdout().write_all(&[READY]).and_then(|()| std::io::stdout().flush()).is_err() {
        return;
    }
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let left = raw(&modes);
    let is_left = tcgetattr(&terminal).is_ok_and(|now| {
        now.input_modes == left.input_modes
            && now.output_modes == left.output_modes
            && now.local_modes == left.local_modes
    });
    if is_left {
        let _ = tcsetattr(&terminal, OptionalActions::Now, &modes);
    }
}

/// What a key means to the command rather than to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `~.` at the beginning of a line: end the guest at once.
    End,
    /// An interrupt (^C or ^\) before there is a program that it could reach.
    Interrupt,
}

/// Finds the command's own keys among those that are typed, as ssh(1) does: `~.` at the beginning of a line, where `~~`
/// is a plain `~`.
#[derive(Debug)]
pub struct Keys {
    /// The last that was typed ended a line.
    at_start: bool,
    /// A `~` was typed there, and is held back.
    tilde: bool,
}

impl Default for Keys {
    fn default() -> Self {
        Keys { at_start: true, tilde: false }
    }
}

impl Keys {
    /// Takes typed bytes; what is for the guest goes to `out`. `ready`: the guest's program runs.
    pub fn take(&mut self, typed: &[u8], ready: bool, out: &mut Vec<u8>) -> Option<Key> {
        const CTRL_C: u8 = 0x03;
        const CTRL_BACKSLASH: u8 = 0x1c;
        for &byte in typed {
            if !ready && (byte == CTRL_C || byte == CTRL_BACKSLASH) {
                return Some(Key::Interrupt);
            }
            if std::mem::take(&mut self.tilde) {
                match byte {
                    b'.' => return Some(Key::End),
                    b'~' => {}
                    _ => out.push(b'~'),
                }
            } else if self.at_start && byte == b'~' {
                self.tilde = true;
                continue;
            }
            self.at_start = byte == b'\r' || byte == b'\n';
            out.push(byte);
        }
        None
    }
}

/// Copies what is typed to the guest until the terminal is closed, the guest is gone, or `act` says that a key ends it.
pub fn type_keys(to: &std::os::unix::net::UnixStream, ready: &AtomicBool, mut act: impl FnMut(Key)) {
    let (mut buffer, mut out, mut keys) = ([0; 4096], Vec::new(), Keys::default());
    while let Ok(length @ 1..) = super::copy::read(stdin(), &mut buffer) {
        out.clear();
        let key = keys.take(&buffer[..length], ready.load(Ordering::SeqCst), &mut out);
        if super::copy::write_all(to, &out).is_err() {
            return;
        }
        if let Some(key) = key {
            act(key);
        }
    }
    // The terminal is gone: the guest's is hung up.
    let _ = to.shutdown(std::net::Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pieces: &[&str], ready: bool) -> (String, Option<Key>) {
        let (mut keys, mut out) = (Keys::default(), Vec::new());
        let found = pieces.iter().find_map(|piece| keys.take(piece.as_bytes(), ready, &mut out));
        (String::from_utf8(out).expect("what was typed"), found)
    }

    #[test]
    fn tildes_mean_something_at_the_beginning_of_a_line() {
        assert_eq!(typed(&["~."], true), (String::new(), Some(Key::End)));
        assert_eq!(typed(&["a\r", "~", "."], true), ("a\r".into(), Some(Key::End)));
        assert_eq!(typed(&["a~.\r"], true), ("a~.\r".into(), None));
        assert_eq!(typed(&["~~.\r"], true), ("~.\r".into(), None));
        assert_eq!(typed(&["~/bin\r~x"], true), ("~/bin\r~x".into(), None));
    }

    #[test]
    fn an_interrupt_is_the_programs_once_it_runs() {
        assert_eq!(typed(&["a\x03"], false), ("a".into(), Some(Key::Interrupt)));
        assert_eq!(typed(&["a\x03\x1c"], true), ("a\x03\x1c".into(), None));
    }
}
