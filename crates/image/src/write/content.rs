//! The contents of a regular file of the archive.

use alloc::{borrow::Cow, vec::Vec};
use core::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::PathBuf;

/// Bytes of a file that are in memory at a time.
const PIECE: usize = 64 << 10;

/// The bytes of a regular file.
#[derive(Clone, Debug)]
pub enum Content<'d> {
    /// In memory.
    Bytes(Cow<'d, [u8]>),
    /// In a file of this machine, from which they are copied when the archive is written.
    File {
        /// Where the file is.
        path: PathBuf,
        /// How many bytes of it are taken, from its start.
        len: usize,
    },
}

impl From<Vec<u8>> for Content<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Content::Bytes(bytes.into())
    }
}

impl Content<'_> {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        match self {
            Content::Bytes(bytes) => bytes.len(),
            Content::File { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes piece by piece.
    pub(super) fn copy_to(&self, out: &mut impl Write) -> Result<(), WriteError> {
        let (path, len) = match self {
            Content::Bytes(bytes) => return out.write_all(bytes).map_err(WriteError::Output),
            Content::File { path, len } => (path, *len),
        };
        let fail = |error: io::Error| WriteError::Input(path.clone(), error);
        let mut file = File::open(path).map_err(fail)?;
        let mut buffer = alloc::vec![0; len.min(PIECE)];
        let mut rest = len;
        while rest > 0 {
            let wanted = rest.min(PIECE);
            let piece = &mut buffer[..wanted];
            file.read_exact(piece).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => fail(io::Error::new(error.kind(), "it became shorter")),
                _ => fail(error),
            })?;
            out.write_all(piece).map_err(WriteError::Output)?;
            rest -= wanted;
        }
        Ok(())
    }
}

/// Why an archive could not be written.
#[derive(Debug)]
pub enum WriteError {
    /// A file that belongs in it cannot be read.
    Input(PathBuf, io::Error),
    /// The archive itself cannot be written.
    Output(io::Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Input(path, error) => write!(f, "cannot read `{}`: {error}", path.display()),
            WriteError::Output(error) => write!(f, "cannot write the archive: {error}"),
        }
    }
}

impl core::error::Error for WriteError {}
