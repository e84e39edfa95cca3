//! What a client asks.
use coracle_wire::{Time, Writer};

/// Major and minor version of the protocol, as the client speaks it: that of Linux 5.4, whose layouts are those of the structures here.
pub const VERSION: (u32, u32) = (7, 31);
/// The node of the root, which needs no looking up and no forgetting.
pub const ROOT: u64 = 1;
/// Bytes of every request before what it has: `struct fuse_in_header`.
const HEAD_BYTES: usize = 40;
/// Bytes of reading and writing requests, and of a list of entries, without data.
pub const DATA_HEAD_BYTES: usize = HEAD_BYTES + 40;
/// Bytes of the longest request that the kernel makes, without data: a symbolic link, with a name of 255 bytes and a target of 4095.
pub const LONGEST_REQUEST: usize = HEAD_BYTES + 256 + 4096;
/// `fsync_flags` if only the bytes of a file matter (FUSE_FSYNC_FDATASYNC).
pub const SYNC_DATA_ONLY: u32 = 1;

/// Bits of what [`Operation::Init`] offers (`FUSE_ASYNC_READ` and so on).
#[allow(missing_docs)]
pub mod option {
    pub const ASYNC_READ: u32 = 1;
    /// Writes may be longer than a page.
    pub const BIG_WRITES: u32 = 1 << 5;
    pub const PARALLEL_DIRECTORY_OPERATIONS: u32 = 1 << 18;
    /// Messages may be longer than 32 pages.
    pub const MAX_PAGES: u32 = 1 << 22;
}

/// Bits of `valid` in [`Operation::SetAttributes`] (`FATTR_*`).
#[allow(missing_docs)]
pub mod change {
    pub const MODE: u32 = 1;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ACCESSED: u32 = 1 << 4;
    pub const MODIFIED: u32 = 1 << 5;
    /// There is a handle.
    pub const HANDLE: u32 = 1 << 6;
}

/// What is asked of a node. Names and targets are bytes without a zero among them; `mode` is that of stat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation<'a> {
    /// The version and the features that are spoken ([`option`](crate::option)).
    Init { options: u32 },
    /// The entry of a directory. The server counts that.
    Lookup { name: &'a [u8] },
    /// So many lookups of the node are of no use any more. There is no answer.
    Forget { lookups: u64 },
    /// Asks for attributes.
    GetAttributes,
    /// Changes attributes; `valid` says which ([`change`](crate::change)).
    SetAttributes {
        valid: u32,
        handle: u64,
        mode: u32,
        uid: u32,
        gid: u32,
        size: u64,
        accessed: Time,
        modified: Time,
    },
    /// Asks for the target of a symbolic link.
    ReadLink,
    /// Makes a symbolic link in a directory.
    Symlink { name: &'a [u8], target: &'a [u8] },
    /// Makes a special file.
    Mknod { name: &'a [u8], mode: u32, device: u32 },
    /// Makes a directory.
    Mkdir { name: &'a [u8], mode: u32 },
    /// Makes a regular file, and opens it.
    Create { name: &'a [u8], flags: u32, mode: u32 },
    /// Makes a further name of `file`.
    Link { file: u64, name: &'a [u8] },
    /// Removes a name of what is no directory.
    Unlink { name: &'a [u8] },
    /// Removes a directory.
    Rmdir { name: &'a [u8] },
    /// Renames (rename(2), `flags`: RENAME_*).
    Rename { name: &'a [u8], to: u64, new_name: &'a [u8], flags: u32 },
    /// Opens a file.
    Open { flags: u32 },
    /// Opens a directory.
    OpenDirectory,
    /// Asks for bytes.
    Read { handle: u64, offset: u64, count: u32 },
    /// Asks for entries of a directory.
    ReadDirectory { handle: u64, offset: u64, count: u32 },
    /// Writes `count` bytes, which follow. `flags` are those of the open file.
    Write { handle: u64, offset: u64, count: u32, flags: u32 },
    /// Closes an open file.
    Release { handle: u64 },
    /// Closes an open directory.
    ReleaseDirectory { handle: u64 },
    /// What was written goes to stable storage.
    Sync { handle: u64, flags: u32 },
    /// The same for the entries of a directory.
    SyncDirectory { handle: u64, flags: u32 },
    /// Asks for an extended attribute of up to `count` bytes; ERANGE if it has more.
    GetXattr { name: &'a [u8], count: u32 },
    /// Asks for the names of all of them.
    ListXattrs { count: u32 },
    /// Sets an extended attribute to the `count` bytes that follow.
    SetXattr { name: &'a [u8], count: u32, flags: u32 },
    /// Removes one.
    RemoveXattr { name: &'a [u8] },
    /// fallocate(2).
    Allocate { handle: u64, offset: u64, len: u64, mode: u32 },
    /// SEEK_DATA and SEEK_HOLE of lseek(2).
    Seek { handle: u64, offset: u64, whence: u32 },
    /// Asks for statfs(2).
    Statistics,
    /// Another request need not be answered by what it asks for. There is no answer.
    Interrupt { number: u64 },
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The node that it is about.
    pub node: u64,
    /// What is asked.
    pub operation: Operation<'a>,
}

/// Appends a name with a zero behind it; one with a zero in it does not fit.
fn name(out: &mut Writer<'_>, name: &[u8]) -> Option<()> {
    if name.contains(&0) {
        return None;
    }
    out.bytes(name);
    out.u8(0);
    Some(())
}

impl Operation<'_> {
    /// Its number (`enum fuse_opcode`).
    pub const fn number(&self) -> u32 {
        match self {
            Operation::Lookup { .. } => 1,
            Operation::Forget { .. } => 2,
            Operation::GetAttributes => 3,
            Operation::SetAttributes { .. } => 4,
            Operation::ReadLink => 5,
            Operation::Symlink { .. } => 6,
            Operation::Mknod { .. } => 8,
            Operation::Mkdir { .. } => 9,
            Operation::Unlink { .. } => 10,
            Operation::Rmdir { .. } => 11,
            Operation::Link { .. } => 13,
            Operation::Open { .. } => 14,
            Operation::Read { .. } => 15,
            Operation::Write { .. } => 16,
            Operation::Statistics => 17,
            Operation::Release { .. } => 18,
            Operation::Sync { .. } => 20,
            Operation::SetXattr { .. } => 21,
            Operation::GetXattr { .. } => 22,
            Operation::ListXattrs { .. } => 23,
            Operation::RemoveXattr { .. } => 24,
            Operation::Init { .. } => 26,
            Operation::OpenDirectory => 27,
            Operation::ReadDirectory { .. } => 28,
            Operation::ReleaseDirectory { .. } => 29,
            Operation::SyncDirectory { .. } => 30,
            Operation::Create { .. } => 35,
            Operation::Interrupt { .. } => 36,
            Operation::Allocate { .. } => 43,
            Operation::Rename { .. } => 45,
            Operation::Seek { .. } => 46,
        }
    }

    /// Whether the server answers it.
    pub const fn has_answer(&self) -> bool {
        !matches!(self, Operation::Forget { .. } | Operation::Interrupt { .. })
    }

    /// Writes it behind the head; returns the bytes that follow elsewhere. `None`: a name is none.
    fn write(&self, out: &mut Writer<'_>) -> Option<u32> {
        match *self {
            Operation::Init { options } => {
                // The longest read-ahead is the client's own matter.
                [VERSION.0, VERSION.1, 0, options].into_iter().for_each(|value| out.u32(value));
            }
            Operation::Lookup { name: text }
            | Operation::Unlink { name: text }
            | Operation::Rmdir { name: text }
            | Operation::RemoveXattr { name: text } => name(out, text)?,
            Operation::Forget { lookups: number } | Operation::Interrupt { number } => out.u64(number),
            Operation::GetAttributes => {
                out.u64(0);
                out.u64(0);
            }
            Operation::SetAttributes { valid, handle, mode, uid, gid, size, accessed, modified } => {
                out.u64(valid.into());
                [handle, size, 0].into_iter().for_each(|value| out.u64(value));
                let seconds = [accessed.seconds, modified.seconds, 0];
                seconds.into_iter().for_each(|value| out.u64(value.cast_unsigned()));
                let rest = [accessed.nanoseconds, modified.nanoseconds, 0, mode, 0, uid, gid, 0];
                rest.into_iter().for_each(|value| out.u32(value));
            }
            Operation::ReadLink | Operation::Statistics => {}
            Operation::Symlink { name: text, target } => {
                name(out, text)?;
                name(out, target)?;
            }
            Operation::Mknod { name: text, mode, device } => {
                [mode, device, 0, 0].into_iter().for_each(|value| out.u32(value));
                name(out, text)?;
            }
            Operation::Mkdir { name: text, mode } => {
                out.u32(mode);
                out.u32(0);
                name(out, text)?;
            }
            Operation::Create { name: text, flags, mode } => {
                [flags, mode, 0, 0].into_iter().for_each(|value| out.u32(value));
                name(out, text)?;
            }
            Operation::Link { file, name: text } => {
                out.u64(file);
                name(out, text)?;
            }
            Operation::Rename { name: text, to, new_name, flags } => {
                out.u64(to);
                out.u64(flags.into());
                name(out, text)?;
                name(out, new_name)?;
            }
            Operation::Open { flags } => out.u64(flags.into()),
            Operation::OpenDirectory => out.u64(0),
            Operation::Read { handle, offset, count }
            | Operation::ReadDirectory { handle, offset, count } => {
                [handle, offset, count.into(), 0, 0].into_iter().for_each(|value| out.u64(value));
            }
            Operation::Write { handle, offset, count, flags } => {
                [handle, offset, count.into(), 0, flags.into()].into_iter().for_each(|value| out.u64(value));
                return Some(count);
            }
            Operation::Release { handle } | Operation::ReleaseDirectory { handle } => {
                [handle, 0, 0].into_iter().for_each(|value| out.u64(value));
            }
            Operation::Sync { handle, flags } | Operation::SyncDirectory { handle, flags } => {
                out.u64(handle);
                out.u64(flags.into());
            }
            Operation::GetXattr { name: text, count } => {
                out.u64(count.into());
                name(out, text)?;
            }
            Operation::ListXattrs { count } => out.u64(count.into()),
            Operation::SetXattr { name: text, count, flags } => {
                out.u32(count);
                out.u32(flags);
                name(out, text)?;
                return Some(count);
            }
            Operation::Allocate { handle, offset, len, mode } => {
                [handle, offset, len, mode.into()].into_iter().for_each(|value| out.u64(value));
            }
            Operation::Seek { handle, offset, whence } => {
                [handle, offset, whence.into()].into_iter().for_each(|value| out.u64(value));
            }
        }
        Some(0)
    }
}

impl Request<'_> {
    /// Writes it into a buffer; returns its bytes there, which are all but the data of [`Operation::Write`] and [`Operation::SetXattr`].
    /// `None`: the buffer is too small, or a name has a zero in it.
    pub fn write(&self, number: u64, buffer: &mut [u8]) -> Option<usize> {
        let mut out = Writer::new(buffer);
        out.u32(0);
        out.u32(self.operation.number());
        out.u64(number);
        out.u64(self.node);
        // Root asks, in no process: the client itself checks what its programs may do.
        out.u64(0);
        out.u64(0);
        let more = self.operation.write(&mut out)?;
        out.finish(more)
    }
}
