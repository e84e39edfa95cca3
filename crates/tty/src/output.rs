//! Output processing: what is written becomes what the device gets (termios(3), "c_oflag"; Linux's `do_output_char`).
use crate::termios::Termios;
use linux_raw_sys::general as n;

/// Distance of tab stops.
const TAB: usize = 8;
const BLANKS: [u8; TAB] = [b' '; TAB];

/// Where the cursor is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cursor {
    /// Its column, from 0.
    column: usize,
    /// The column at which the line being typed begins.
    start: usize,
}

impl Cursor {
    /// The line being typed begins here.
    pub(crate) fn start_line(&mut self) {
        self.start = self.column;
    }

    /// Columns from the last tab stop to the end of a text of this width, which begins where the line does unless it follows
    /// a tab: so many go when a tab behind it is erased.
    pub(crate) fn tab_width(&self, width: usize, follows_tab: bool) -> usize {
        let end = if follows_tab { width } else { self.start + width };
        TAB - end % TAB
    }

    /// Calls `emit` with what the device gets for a byte that was written.
    pub(crate) fn put(&mut self, byte: u8, termios: &Termios, emit: &mut impl FnMut(&[u8])) {
        let modes = termios.output;
        let has = |mode| modes & mode == mode;
        if !has(n::OPOST) {
            return emit(&[byte]);
        }
        match byte {
            b'\n' => {
                if has(n::ONLRET) || has(n::ONLCR) {
                    self.column = 0;
                }
                self.start = self.column;
                return emit(if has(n::ONLCR) { b"\r\n" } else { b"\n" });
            }
            b'\r' if has(n::ONOCR) && self.column == 0 => return,
            b'\r' if has(n::OCRNL) => {
                if has(n::ONLRET) {
                    *self = Cursor::default();
                }
                return emit(b"\n");
            }
            b'\r' => *self = Cursor::default(),
            b'\t' => {
                let width = TAB - self.column % TAB;
                self.column += width;
                if has(n::XTABS) {
                    return emit(&BLANKS[..width]);
                }
            }
            0x08 => self.column = self.column.saturating_sub(1),
            _ if byte.is_ascii_control() => {}
            _ => {
                // UTF-8's continuation bytes are 10xxxxxx.
                let continues = termios.input & n::IUTF8 != 0 && byte & 0xc0 == 0x80;
                self.column += usize::from(!continues);
                let byte = if has(n::OLCUC) { byte.to_ascii_uppercase() } else { byte };
                return emit(&[byte]);
            }
        }
        emit(&[byte]);
    }
}
