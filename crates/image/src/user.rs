//! The user and group that the program runs as, by number.

use core::{fmt, str::FromStr};

/// A user and its group (credentials(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

impl User {
    /// The superuser.
    pub const ROOT: User = User { uid: 0, gid: 0 };

    /// The user that a program runs as by default, without privileges. It has its machine to itself and needs none,
    /// and many servers refuse to run as root.
    pub const ORDINARY: User = User { uid: 1000, gid: 1000 };
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// The text names no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownUser;

impl fmt::Display for UnknownUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a user is `root`, UID or UID:GID")
    }
}

impl core::error::Error for UnknownUser {}

impl FromStr for User {
    type Err = UnknownUser;

    /// `root`, `UID` (whose group has the same number) or `UID:GID`.
    fn from_str(text: &str) -> Result<Self, UnknownUser> {
        // The highest number means "no change" in chown(2) and setresuid(2).
        let number = |word: &str| word.parse().ok().filter(|&id: &u32| id != u32::MAX).ok_or(UnknownUser);
        match text.split_once(':') {
            None if text == "root" => Ok(User::ROOT),
            None => number(text).map(|id| User { uid: id, gid: id }),
            Some((uid, gid)) => Ok(User { uid: number(uid)?, gid: number(gid)? }),
        }
    }
}
