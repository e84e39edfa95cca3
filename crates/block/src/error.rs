//! The errors of disks.
use core::fmt;

/// Why a disk did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The device failed (EIO).
    Io,
    /// The range is not of whole sectors, or ends behind the end of the disk (EINVAL).
    Range,
    /// The disk can only be read (EROFS).
    ReadOnly,
    /// The device is gone (ENODEV).
    Gone,
    /// There is no memory for the request (ENOMEM).
    NoMemory,
    /// The device has no such operation (EOPNOTSUPP).
    Unsupported,
    /// The wait for the device was ended by a signal that kills (EINTR).
    Interrupted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Io => "input/output error",
            Error::Range => "the range is not of whole sectors within the disk",
            Error::ReadOnly => "the disk is read-only",
            Error::Gone => "the disk is gone",
            Error::NoMemory => "out of memory",
            Error::Unsupported => "the disk has no such operation",
            Error::Interrupted => "interrupted",
        })
    }
}

impl core::error::Error for Error {}

impl From<coracle_fallible::NoMemory> for Error {
    fn from(_: coracle_fallible::NoMemory) -> Error {
        Error::NoMemory
    }
}
