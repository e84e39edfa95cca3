//! How long what the server said is believed.
use coracle_core::errno::Errno;

/// The option `cache=` of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Caching {
    /// Not at all: each call asks the server. Pages are kept of files that are mapped, and no longer.
    None,
    /// For a second, and until the file is opened again.
    Auto,
    /// For ever: nothing else changes the directory.
    Always,
}

impl Caching {
    /// How old attributes may be, in nanoseconds.
    pub const fn lifetime_ns(self) -> u64 {
        match self {
            Caching::None => 0,
            Caching::Auto => 1_000_000_000,
            Caching::Always => u64::MAX,
        }
    }

    /// By its number.
    pub(super) const fn of(number: u8) -> Caching {
        match number {
            0 => Caching::None,
            2 => Caching::Always,
            _ => Caching::Auto,
        }
    }

    /// Reads the options of a mount, with commas between them: `cache=`, with the names that virtiofsd and Linux's v9fs have for it
    /// (Linux's Documentation/filesystems/9p.rst), and those others of v9fs that change nothing here.
    ///
    /// # Errors
    /// EINVAL for any other.
    pub fn parse(options: &[u8]) -> Result<Caching, Errno> {
        let mut caching = Caching::Auto;
        for option in options.split(|&byte| byte == b',').filter(|option| !option.is_empty()) {
            let at = option.iter().position(|&byte| byte == b'=').unwrap_or(option.len());
            let (name, value) = (&option[..at], option.get(at + 1..).unwrap_or_default());
            match (name, value) {
                (b"cache", b"none") => caching = Caching::None,
                (b"cache", b"auto" | b"mmap" | b"readahead") => caching = Caching::Auto,
                (b"cache", b"always" | b"loose" | b"fscache") => caching = Caching::Always,
                (b"trans", b"virtio") | (b"version", b"9p2000.L") => {}
                (b"access" | b"uname" | b"aname" | b"msize" | b"debug" | b"dfltuid" | b"dfltgid", _) => {}
                (b"posixacl" | b"nodevmap", b"") => {}
                _ => return Err(Errno::INVAL),
            }
        }
        Ok(caching)
    }
}
