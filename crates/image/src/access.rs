//! What may be asked of a running guest.
use core::fmt;
use core::str::FromStr;

/// What the other side of the control port may ask of a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing: each request is refused with EPERM.
    None,
    /// Requests that read.
    #[default]
    Observe,
    /// All requests.
    Full,
}

impl Access {
    /// All of them, the least first.
    pub const ALL: [Access; 3] = [Access::None, Access::Observe, Access::Full];

    /// The word for it in settings and on the kernel's command line.
    pub const fn name(self) -> &'static str {
        match self {
            Access::None => "none",
            Access::Observe => "observe",
            Access::Full => "full",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is none of the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseAccessError;

impl fmt::Display for ParseAccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is `none`, `observe` or `full`")
    }
}

impl core::error::Error for ParseAccessError {}

impl FromStr for Access {
    type Err = ParseAccessError;

    fn from_str(text: &str) -> Result<Self, ParseAccessError> {
        Access::ALL.into_iter().find(|access| access.name() == text).ok_or(ParseAccessError)
    }
}
