//! The state between a byte stream and a reader.
use crate::output::Cursor;
use crate::termios::{
    Termios, VEOF, VEOL, VEOL2, VERASE, VINTR, VKILL, VLNEXT, VMIN, VQUIT, VREPRINT, VSTART, VSTOP, VSUSP,
    VTIME, VWERASE,
};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use coracle_fallible::NoMemory;
use coracle_fallible::prelude::*;
use linux_raw_sys::general as n;

/// Bytes and ends of lines that input may hold before the sender has to wait.
pub const INPUT_MAX: usize = 4096;
/// Bytes that may come at once where there was room.
pub const PIECE_MAX: usize = 2048;
/// Differs between a control character and the letter that it is typed with.
const CONTROL: u8 = 0x40;

/// What a byte of input asks for besides being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT
    Interrupt,
    /// SIGQUIT
    Quit,
    /// SIGTSTP
    Stop,
}

/// The state of a terminal's input. Room for all of it is made at once, so that no input is lost where memory runs out; the
/// default state has none, and grows.
#[derive(Default)]
pub struct LineDiscipline {
    /// The modes.
    termios: Termios,
    /// Bytes that can be read.
    ready: VecDeque<u8>,
    /// Canonical mode: lengths of the lines in `ready`. A line of length 0 is an end of file.
    lines: VecDeque<u16>,
    /// Canonical mode: the line being typed.
    editing: Vec<u8>,
    /// Canonical mode: the last that was read was an end of file, and that counts until more comes.
    ended: bool,
    /// What types is no person at a terminal, but a line that carries a file or a pipe: its end of file comes once, and a
    /// program may ask again.
    end_stays: bool,
    /// The next byte is taken literally (VLNEXT came before it).
    literal: bool,
    /// VSTOP, or tcflow(3), has stopped the output.
    stopped: bool,
    cursor: Cursor,
}

/// What VERASE, VWERASE and VKILL take back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Erased {
    Character,
    Word,
    Line,
}

/// Moves the cursor back over a character and blanks it.
const RUB_OUT: [u8; 3] = *b"\x08 \x08";

impl LineDiscipline {
    /// The state of a terminal that a person types at.
    pub fn terminal() -> LineDiscipline {
        LineDiscipline { termios: Termios::terminal(), ..LineDiscipline::with_room() }
    }

    /// The state of a line whose other end carries a file or a pipe as it is, but for its end.
    pub fn line() -> LineDiscipline {
        LineDiscipline { end_stays: true, ..LineDiscipline::with_room() }
    }

    /// The state of a pseudo-terminal, with room for [`INPUT_MAX`] bytes: bytes come one by one.
    ///
    /// # Errors
    /// [`NoMemory`].
    pub fn pseudo_terminal() -> Result<LineDiscipline, NoMemory> {
        let mut new = LineDiscipline { termios: Termios::pseudo_terminal(), ..LineDiscipline::default() };
        new.ready.make_room_for(INPUT_MAX + 1)?;
        new.lines.make_room_for(INPUT_MAX + 1)?;
        new.editing.make_room(INPUT_MAX)?;
        Ok(new)
    }

    fn with_room() -> LineDiscipline {
        const MOST: usize = INPUT_MAX + PIECE_MAX;
        LineDiscipline {
            ready: VecDeque::with_capacity(MOST),
            // One more, for a change of the mode.
            lines: VecDeque::with_capacity(MOST + 1),
            editing: Vec::with_capacity(INPUT_MAX),
            ..LineDiscipline::default()
        }
    }

    /// The modes.
    pub fn termios(&self) -> Termios {
        self.termios
    }

    /// Changes the modes; what was typed stays readable, whatever the mode was.
    pub fn set_termios(&mut self, termios: Termios) {
        let was_canonical = self.canonical();
        self.termios = termios;
        if was_canonical && !self.canonical() {
            self.finish_line();
            self.lines.clear();
        } else if !was_canonical && self.canonical() && !self.ready.is_empty() {
            let _ = self.lines.try_push_back(self.ready.len() as u16);
        }
    }

    /// Throws away what was not read (TCFLSH).
    pub fn flush(&mut self) {
        self.ready.clear();
        self.lines.clear();
        self.editing.clear();
        self.literal = false;
    }

    /// Whether input comes in lines. Under EXTPROC the other end has edited them (ioctl_tty(2), "EXTPROC").
    fn canonical(&self) -> bool {
        self.termios.local & (n::ICANON | n::EXTPROC) == n::ICANON
    }

    /// Whether output has been stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Stops output, or lets it go on (tcflow(3)).
    pub fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
    }

    /// Whether there is room for more input: for [`PIECE_MAX`] bytes.
    pub fn has_room(&self) -> bool {
        self.ready.len() + self.editing.len() + self.lines.len() < INPUT_MAX
    }

    /// Takes a byte from the device. `echo` is called with what is to be written back; a signal is for the caller to
    /// send.
    pub fn input(&mut self, byte: u8, mut echo: impl FnMut(&[u8])) -> Option<Signal> {
        let t = self.termios;
        let (input, local) = (t.input, t.local);
        self.ended = false;
        if core::mem::take(&mut self.literal) {
            self.keep(byte, &mut echo);
            return None;
        }
        if local & n::EXTPROC != 0 {
            let _ = self.ready.try_push_back(byte);
            return None;
        }
        let byte = if input & n::ISTRIP != 0 { byte & 0x7f } else { byte };
        let lowers = input & n::IUCLC != 0 && local & n::IEXTEN != 0;
        let byte = if lowers { byte.to_ascii_lowercase() } else { byte };
        if input & n::IXON != 0 {
            if t.is(VSTART, byte) || t.is(VSTOP, byte) {
                self.stopped = !t.is(VSTART, byte);
                return None;
            }
            if input & n::IXANY != 0 {
                self.stopped = false;
            }
        }
        if local & n::ISIG != 0 {
            let signals = [(VINTR, Signal::Interrupt), (VQUIT, Signal::Quit), (VSUSP, Signal::Stop)];
            for (index, signal) in signals {
                if t.is(index, byte) {
                    if input & n::IXON != 0 {
                        self.stopped = false;
                    }
                    self.echo(byte, &mut echo);
                    if local & n::NOFLSH == 0 {
                        self.flush();
                    }
                    return Some(signal);
                }
            }
        }
        let byte = match byte {
            b'\r' if input & n::IGNCR != 0 => return None,
            b'\r' if input & n::ICRNL != 0 => b'\n',
            b'\n' if input & n::INLCR != 0 => b'\r',
            other => other,
        };
        if !self.canonical() {
            self.keep(byte, &mut echo);
            return None;
        }
        let extended = local & n::IEXTEN != 0;
        if extended && t.is(VLNEXT, byte) {
            self.literal = true;
            if local & (n::ECHO | n::ECHOCTL) == n::ECHO | n::ECHOCTL {
                self.show(b"^\x08", &mut echo);
            }
        } else if t.is(VEOF, byte) {
            self.finish_line();
        } else if t.is(VERASE, byte) {
            self.erase(Erased::Character, &mut echo);
        } else if t.is(VKILL, byte) {
            self.erase(Erased::Line, &mut echo);
        } else if extended && t.is(VREPRINT, byte) {
            if local & n::ECHO != 0 {
                self.echo(byte, &mut echo);
                self.show(b"\n", &mut echo);
                for index in 0..self.editing.len() {
                    self.echo(self.editing[index], &mut echo);
                }
            }
        } else if extended && t.is(VWERASE, byte) {
            self.erase(Erased::Word, &mut echo);
        } else {
            self.keep(byte, &mut echo);
            // `keep` ends a line that is too long by itself.
            let ends = byte == b'\n' || t.is(VEOL, byte) || t.is(VEOL2, byte);
            if ends && !self.editing.is_empty() {
                self.finish_line();
            }
        }
        None
    }

    fn keep(&mut self, byte: u8, echo: &mut impl FnMut(&[u8])) {
        if self.editing.is_empty() {
            self.cursor.start_line();
        }
        self.echo(byte, echo);
        if self.canonical() {
            let _ = self.editing.try_push(byte);
            // A line longer than the buffer is passed on in parts: nothing that was sent is lost.
            if self.editing.len() >= INPUT_MAX {
                self.finish_line();
            }
        } else {
            let _ = self.ready.try_push_back(byte);
        }
    }

    /// Processes a byte of output: `emit` is called with what the device gets for it.
    pub fn output(&mut self, byte: u8, mut emit: impl FnMut(&[u8])) {
        self.cursor.put(byte, &self.termios, &mut emit);
    }

    fn show(&mut self, bytes: &[u8], echo: &mut impl FnMut(&[u8])) {
        bytes.iter().for_each(|byte| self.cursor.put(*byte, &self.termios, echo));
    }

    /// Shows a byte that was typed (ECHO, ECHONL, ECHOCTL).
    fn echo(&mut self, byte: u8, echo: &mut impl FnMut(&[u8])) {
        let local = self.termios.local;
        if byte == b'\n' {
            if local & n::ECHO != 0 || (local & n::ECHONL != 0 && self.canonical()) {
                self.show(b"\n", echo);
            }
        } else if local & n::ECHO != 0 {
            match self.shown_as_two(byte) {
                // A control character as ^ and the letter that it is typed with.
                true => self.show(&[b'^', byte ^ CONTROL], echo),
                false => self.show(&[byte], echo),
            }
        }
    }

    /// Whether a byte is shown as ^ and a letter.
    fn shown_as_two(&self, byte: u8) -> bool {
        self.termios.local & n::ECHOCTL != 0 && byte.is_ascii_control() && byte != b'\t' && byte != b'\n'
    }

    fn finish_line(&mut self) {
        let _ = self.lines.try_push_back(self.editing.len() as u16);
        for byte in self.editing.drain(..) {
            let _ = self.ready.try_push_back(byte);
        }
    }

    /// Takes back what was typed last of the line being typed (Linux's `eraser`).
    fn erase(&mut self, what: Erased, echo: &mut impl FnMut(&[u8])) {
        const WHOLE_LINE_SHOWN: u32 = n::ECHOE | n::ECHOK | n::ECHOKE;
        let local = self.termios.local;
        let shows = local & n::ECHO != 0;
        if self.editing.is_empty() {
            return;
        }
        if what == Erased::Line && (!shows || local & WHOLE_LINE_SHOWN != WHOLE_LINE_SHOWN) {
            self.editing.clear();
            self.echo(self.termios.characters[VKILL], echo);
            if shows && local & n::ECHOK != 0 {
                self.show(b"\n", echo);
            }
            return;
        }
        let mut in_word = false;
        while let Some(last) = self.editing.len().checked_sub(1) {
            // The bytes of one character go together.
            let at = self.editing.iter().rposition(|byte| !self.continues(*byte)).unwrap_or(last);
            let byte = self.editing[at];
            // Letters of Latin-1 count, as on Linux.
            let of_word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0xc0;
            if what == Erased::Word && in_word && !of_word {
                break;
            }
            in_word |= of_word;
            self.editing.truncate(at);
            if shows {
                self.show_erased(byte, what, echo);
            }
            if what == Erased::Character {
                break;
            }
        }
    }

    /// Shows that the character which began with `byte` is gone.
    fn show_erased(&mut self, byte: u8, what: Erased, echo: &mut impl FnMut(&[u8])) {
        let in_two = self.termios.local & n::ECHOCTL != 0;
        if what == Erased::Character && self.termios.local & n::ECHOE == 0 {
            self.echo(self.termios.characters[VERASE], echo);
        } else if byte == b'\t' {
            let from = self.editing.iter().rposition(|byte| *byte == b'\t').map_or(0, |tab| tab + 1);
            let width = self.editing[from..].iter().map(|byte| match byte.is_ascii_control() {
                true => 2 * usize::from(in_two),
                false => usize::from(!self.continues(*byte)),
            });
            for _ in 0..self.cursor.tab_width(width.sum(), from > 0) {
                self.show(b"\x08", echo);
            }
        } else {
            let columns = if byte.is_ascii_control() { 2 * usize::from(in_two) } else { 1 };
            (0..columns).for_each(|_| self.show(&RUB_OUT, echo));
        }
    }

    /// Whether a byte continues a character (UTF-8's continuation bytes are 10xxxxxx).
    fn continues(&self, byte: u8) -> bool {
        self.termios.input & n::IUTF8 != 0 && byte & 0xc0 == 0x80
    }

    /// Bytes that reads would give (FIONREAD): in canonical mode those of all lines.
    pub fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// Bytes that a read would give: in canonical mode those of one line.
    pub fn available(&self) -> usize {
        if self.canonical() { self.lines.front().copied().unwrap_or(0).into() } else { self.ready.len() }
    }

    /// Whether a read would give something, be it the end of file.
    pub fn readable(&self) -> bool {
        if self.canonical() {
            !self.lines.is_empty() || self.ended
        } else {
            let characters = &self.termios.characters;
            let minimum = if characters[VTIME] == 0 { characters[VMIN] } else { 1 };
            self.ready.len() >= usize::from(minimum).max(1)
        }
    }

    /// Outside canonical mode: how many bytes a read waits for, and how long, in nanoseconds (VMIN, VTIME).
    pub fn wait(&self) -> Option<(usize, Option<u64>)> {
        /// VTIME counts tenths of a second.
        const TENTH_NS: u64 = 100_000_000;
        if self.canonical() {
            return None;
        }
        let time = u64::from(self.termios.characters[VTIME]);
        Some((self.termios.characters[VMIN] as usize, (time > 0).then_some(time * TENTH_NS)))
    }

    /// Takes what a read of at most `out.len()` bytes gives: of canonical input no more than one line. Returns how many
    /// bytes; `None`: nothing yet.
    pub fn read(&mut self, out: &mut [u8]) -> Option<usize> {
        let count = if !self.canonical() {
            if self.ready.is_empty() {
                return None;
            }
            out.len().min(self.ready.len())
        } else {
            let Some(line) = self.lines.front_mut() else { return self.ended.then_some(0) };
            self.ended = self.end_stays && *line == 0;
            let count = out.len().min((*line).into());
            *line -= count as u16;
            if *line == 0 {
                self.lines.pop_front();
            }
            count
        };
        for (place, byte) in out.iter_mut().zip(self.ready.drain(..count)) {
            *place = byte;
        }
        Some(count)
    }
}
