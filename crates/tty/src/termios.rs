//! The modes of a terminal, as programs see them (termios(3), `asm-generic/termbits.h`).
use linux_raw_sys::general as n;

/// Number of control characters in the kernel's `struct termios`.
const NCCS: usize = 19;
/// Size of the kernel's `struct termios`: four flag words, the line, the control characters.
pub const TERMIOS_BYTES: usize = 36;
/// Control characters (their indices are Linux's `VEOF` and so on).
pub(crate) const VINTR: usize = 0;
pub(crate) const VQUIT: usize = 1;
pub(crate) const VERASE: usize = 2;
pub(crate) const VKILL: usize = 3;
pub(crate) const VEOF: usize = 4;
pub(crate) const VTIME: usize = 5;
pub(crate) const VMIN: usize = 6;
pub(crate) const VSTART: usize = 8;
pub(crate) const VSTOP: usize = 9;
pub(crate) const VSUSP: usize = 10;
pub(crate) const VEOL: usize = 11;
pub(crate) const VWERASE: usize = 14;
pub(crate) const VLNEXT: usize = 15;
pub(crate) const VEOL2: usize = 16;
pub(crate) const VREPRINT: usize = 12;
/// What they are at first. Of a line that is no terminal only these two mean anything, so that every other byte passes as
/// it is.
const EOF: u8 = 0x04;
const LNEXT: u8 = 0x16;
/// Those that a terminal has besides (Linux's `INIT_C_CC`): ^C, ^\, DEL, ^U, ^Z, ^W and ^R.
const OF_TERMINAL: [(usize, u8); 7] = [
    (VINTR, 0x03),
    (VQUIT, 0x1c),
    (VERASE, 0x7f),
    (VKILL, 0x15),
    (VSUSP, 0x1a),
    (VWERASE, 0x17),
    (VREPRINT, 0x12),
];
/// Those that a pseudo-terminal has on top of these: ^Q, ^S and ^O.
const OF_PSEUDO: [(usize, u8); 3] = [(VSTART, START), (VSTOP, STOP), (VDISCARD, 0x0f)];
const START: u8 = 0x11;
const STOP: u8 = 0x13;
/// Its index is Linux's; the character means nothing, as on Linux.
const VDISCARD: usize = 13;
/// A control character that is switched off (`_POSIX_VDISABLE`).
const DISABLED: u8 = 0;

/// The kernel's `struct termios`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termios {
    /// Input modes.
    pub input: u32,
    /// Output modes.
    pub output: u32,
    /// Control modes.
    pub control: u32,
    /// Local modes.
    pub local: u32,
    /// Line discipline.
    pub line: u8,
    /// Control characters.
    pub characters: [u8; NCCS],
}

impl Default for Termios {
    fn default() -> Self {
        let mut characters = [DISABLED; NCCS];
        characters[VEOF] = EOF;
        characters[VLNEXT] = LNEXT;
        characters[VMIN] = 1;
        Termios {
            input: 0,
            output: 0,
            control: n::B38400 | n::CS8 | n::CREAD | n::CLOCAL,
            local: n::ICANON | n::IEXTEN,
            line: 0,
            characters,
        }
    }
}

impl Termios {
    /// The modes of a terminal that a person types at, as Linux sets them (`tty_std_termios`), but for flow control by ^S
    /// and ^Q, which is off.
    pub fn terminal() -> Termios {
        let line = Termios::default();
        let mut characters = line.characters;
        for (index, byte) in OF_TERMINAL {
            characters[index] = byte;
        }
        let edited = n::ISIG | n::ECHO | n::ECHOE | n::ECHOK | n::ECHOCTL | n::ECHOKE;
        Termios {
            input: n::ICRNL | n::IUTF8,
            output: n::OPOST | n::ONLCR,
            local: line.local | edited,
            characters,
            ..line
        }
    }

    /// The modes of the slave of a pseudo-terminal, as Linux sets them (`unix98_pty_init`).
    pub fn pseudo_terminal() -> Termios {
        let terminal = Termios::terminal();
        let mut characters = terminal.characters;
        for (index, byte) in OF_PSEUDO {
            characters[index] = byte;
        }
        Termios { input: n::ICRNL | n::IXON, control: n::B38400 | n::CS8 | n::CREAD, characters, ..terminal }
    }

    /// Whether ^S and ^Q control the flow of output, which packet mode reports (TIOCPKT_DOSTOP of ioctl_tty(2)).
    pub fn has_usual_flow_control(&self) -> bool {
        self.input & n::IXON != 0 && self.characters[VSTART] == START && self.characters[VSTOP] == STOP
    }

    /// The character that stops output, or the one that lets it go on; `None` if it is switched off.
    pub fn flow_character(&self, stops: bool) -> Option<u8> {
        let byte = self.characters[if stops { VSTOP } else { VSTART }];
        (byte != DISABLED).then_some(byte)
    }

    /// As the program sees it.
    pub fn encode(&self) -> [u8; TERMIOS_BYTES] {
        let mut bytes = [0; TERMIOS_BYTES];
        for (i, word) in [self.input, self.output, self.control, self.local].into_iter().enumerate() {
            bytes[4 * i..4 * i + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes[16] = self.line;
        bytes[17..].copy_from_slice(&self.characters);
        bytes
    }

    /// From the program.
    pub fn decode(bytes: &[u8; TERMIOS_BYTES]) -> Termios {
        let word = |i: usize| {
            u32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]])
        };
        let mut characters = [0; NCCS];
        characters.copy_from_slice(&bytes[17..]);
        Termios {
            input: word(0),
            output: word(1),
            control: word(2),
            local: word(3),
            line: bytes[16],
            characters,
        }
    }

    /// Whether `byte` is the control character at `index`.
    pub(crate) fn is(&self, index: usize, byte: u8) -> bool {
        byte != DISABLED && self.characters[index] == byte
    }
}
