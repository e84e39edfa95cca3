//! Where the program of an image runs: in the kernel's ring, or isolated from it.

use core::{fmt, str::FromStr};

/// The privilege a program runs with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Program and kernel share ring 0 and one address space; system calls are plain calls.
    #[default]
    Unikernel,
    /// The program runs in ring 3, with SMEP and SMAP where the CPU has them.
    Protected,
}

impl Mode {
    /// The word that names the mode in settings and on the kernel command line.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Unikernel => "unikernel",
            Mode::Protected => "protected",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The word was neither `unikernel` nor `protected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMode;

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mode is `unikernel` or `protected`")
    }
}

impl core::error::Error for UnknownMode {}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(word: &str) -> Result<Self, UnknownMode> {
        match word {
            "unikernel" => Ok(Mode::Unikernel),
            "protected" => Ok(Mode::Protected),
            _ => Err(UnknownMode),
        }
    }
}
