//! The errors of the file system.
use core::fmt;

/// Why the file system did not do what it was asked. Texts are behind two references, so that a result fits two registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The disk failed.
    Disk(coracle_block::Error),
    /// There is no ext4 file system on the disk.
    NotExt4,
    /// The file system has a feature without which it can't be used; the feature's name.
    Feature(&'static &'static str),
    /// The file system has features that this code doesn't know: bits of `s_feature_incompat`.
    UnknownFeatures(u32),
    /// The disk holds what no file system has (EUCLEAN); what it is.
    Corrupt(&'static &'static str),
    /// The file or file system is of a kind that can't be changed so (EOPNOTSUPP); what it is.
    Unsupported(&'static &'static str),
    /// There is no memory (ENOMEM).
    NoMemory,
    /// The disk is full (ENOSPC).
    NoSpace,
    /// There is no such name (ENOENT).
    NotFound,
    /// The name is there already (EEXIST).
    Exists,
    /// Not a directory (ENOTDIR).
    NotDirectory,
    /// A directory (EISDIR).
    IsDirectory,
    /// The directory has entries (ENOTEMPTY).
    NotEmpty,
    /// The name has more than 255 bytes (ENAMETOOLONG).
    NameTooLong,
    /// The inode has as many links as it can have (EMLINK).
    TooManyLinks,
    /// The file would be larger than a file can be (EFBIG).
    FileTooLarge,
    /// The file system can't be written (EROFS).
    ReadOnly,
    /// The arguments make no sense (EINVAL).
    Invalid,
    /// There is no such extended attribute (ENODATA).
    NoAttribute,
    /// Extended attributes have no such name space (EOPNOTSUPP).
    NoNamespace,
}

impl Error {
    /// The number that Linux has for it (errno(3), `include/uapi/asm-generic/errno.h`).
    pub const fn errno(self) -> i32 {
        use coracle_block::Error as Disk;
        match self {
            Error::NotFound => 2,
            Error::Disk(Disk::Interrupted) => 4,
            Error::Disk(Disk::Io | Disk::Range | Disk::Unsupported) => 5,
            Error::NoMemory | Error::Disk(Disk::NoMemory) => 12,
            Error::Exists => 17,
            Error::Disk(Disk::Gone) => 19,
            Error::NotDirectory => 20,
            Error::IsDirectory => 21,
            Error::Invalid | Error::NotExt4 | Error::Feature(_) | Error::UnknownFeatures(_) => 22,
            Error::FileTooLarge => 27,
            Error::NoSpace => 28,
            Error::ReadOnly | Error::Disk(Disk::ReadOnly) => 30,
            Error::TooManyLinks => 31,
            Error::NameTooLong => 36,
            Error::NotEmpty => 39,
            Error::NoAttribute => 61,
            Error::Unsupported(_) | Error::NoNamespace => 95,
            Error::Corrupt(_) => 117,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Error::Disk(error) => return error.fmt(f),
            Error::NotExt4 => "there is no ext4 file system (mkfs.ext4 makes one)",
            Error::Feature(name) => return write!(f, "the ext4 feature {name} is not supported"),
            Error::UnknownFeatures(bits) => {
                return write!(f, "unknown ext4 features (s_feature_incompat {bits:#x})");
            }
            Error::Corrupt(what) => return write!(f, "the file system is damaged: {what} (e2fsck mends it)"),
            Error::Unsupported(what) => return write!(f, "not supported: {what}"),
            Error::NoMemory => "out of memory",
            Error::NoSpace => "no space left on the disk",
            Error::NotFound => "no such file or directory",
            Error::Exists => "the file exists",
            Error::NotDirectory => "not a directory",
            Error::IsDirectory => "is a directory",
            Error::NotEmpty => "the directory is not empty",
            Error::NameTooLong => "the name is too long",
            Error::TooManyLinks => "too many links",
            Error::FileTooLarge => "the file is too large",
            Error::ReadOnly => "the file system is read-only",
            Error::Invalid => "invalid argument",
            Error::NoAttribute => "no such attribute",
            Error::NoNamespace => "no such kind of attribute",
        };
        f.write_str(text)
    }
}

impl core::error::Error for Error {}

impl From<coracle_block::Error> for Error {
    fn from(error: coracle_block::Error) -> Error {
        Error::Disk(error)
    }
}

impl From<coracle_fallible::NoMemory> for Error {
    fn from(_: coracle_fallible::NoMemory) -> Error {
        Error::NoMemory
    }
}

/// What operations return.
pub type Result<T> = core::result::Result<T, Error>;
