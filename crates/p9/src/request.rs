//! What a client asks.
use crate::kind;
use coracle_wire::{Time, Writer};

/// The version of the protocol, as Tversion names it.
pub const VERSION: &[u8] = b"9P2000.L";
/// The tag of Tversion.
pub const NO_TAG: u16 = 0xffff;
/// A fid that is none.
pub const NO_FID: u32 = 0xffff_ffff;
/// Bytes of Tread, and of Twrite before its data.
pub const DATA_HEAD_BYTES: usize = 23;
/// Bytes of the longest request that the kernel makes: Tsymlink, with a name of 255 bytes and a target of 4095.
pub const LONGEST_REQUEST: usize = 7 + 4 + 2 + 255 + 2 + 4095 + 4;

/// A request. Names and targets are bytes; `mode` is that of stat(2), flags are in [`open`](coracle_wire::open), [`change`](crate::change) and
/// [`wanted`](crate::wanted).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Request<'a> {
    /// The largest message that both sides take. It ends all that there was before.
    Version { most_bytes: u32 },
    /// `fid` becomes the root. `user`: a number, or `u32::MAX`.
    Attach { fid: u32, user: u32 },
    /// Another request is not to be answered.
    Flush { tag: u16 },
    /// `new` becomes the entry `name` of a directory, or the same file.
    Walk { fid: u32, new: u32, name: Option<&'a [u8]> },
    /// Opens the file.
    Open { fid: u32, flags: u32 },
    /// Makes a file in a directory; the fid stands for it from then on, and is open.
    Create { fid: u32, name: &'a [u8], flags: u32, mode: u32, gid: u32 },
    /// Makes a symbolic link.
    Symlink { directory: u32, name: &'a [u8], target: &'a [u8], gid: u32 },
    /// Makes a special file.
    Mknod { directory: u32, name: &'a [u8], mode: u32, major: u32, minor: u32, gid: u32 },
    /// Makes a directory.
    Mkdir { directory: u32, name: &'a [u8], mode: u32, gid: u32 },
    /// Makes a further name.
    Link { directory: u32, fid: u32, name: &'a [u8] },
    /// Renames.
    Rename { from: u32, name: &'a [u8], to: u32, new_name: &'a [u8] },
    /// Removes a name.
    Unlink { directory: u32, name: &'a [u8], flags: u32 },
    /// Asks for the target of a symbolic link.
    ReadLink { fid: u32 },
    /// Asks for attributes.
    GetAttributes { fid: u32, wanted: u64 },
    /// Changes attributes.
    SetAttributes {
        fid: u32,
        valid: u32,
        mode: u32,
        uid: u32,
        gid: u32,
        size: u64,
        accessed: Time,
        modified: Time,
    },
    /// `new` becomes an extended attribute that can be read, or with an empty name the names of all.
    XattrWalk { fid: u32, new: u32, name: &'a [u8] },
    /// The fid becomes an extended attribute to be written, which is set, or with a size of 0 removed, when it is clunked.
    XattrCreate { fid: u32, name: &'a [u8], size: u64, flags: u32 },
    /// Asks for entries of a directory.
    ReadDirectory { fid: u32, offset: u64, count: u32 },
    /// Asks for bytes.
    Read { fid: u32, offset: u64, count: u32 },
    /// Writes `count` bytes, which follow.
    Write { fid: u32, offset: u64, count: u32 },
    /// What was written goes to stable storage.
    Sync { fid: u32, data_only: bool },
    /// Asks for statfs(2).
    Statistics { fid: u32 },
    /// The fid stands for nothing from then on.
    Clunk { fid: u32 },
}

impl Request<'_> {
    /// Its type.
    pub const fn kind(&self) -> u8 {
        match self {
            Request::Version { .. } => kind::VERSION,
            Request::Attach { .. } => kind::ATTACH,
            Request::Flush { .. } => kind::FLUSH,
            Request::Walk { .. } => kind::WALK,
            Request::Open { .. } => kind::OPEN,
            Request::Create { .. } => kind::CREATE,
            Request::Symlink { .. } => kind::SYMLINK,
            Request::Mknod { .. } => kind::MKNOD,
            Request::Mkdir { .. } => kind::MKDIR,
            Request::Link { .. } => kind::LINK,
            Request::Rename { .. } => kind::RENAME_AT,
            Request::Unlink { .. } => kind::UNLINK_AT,
            Request::ReadLink { .. } => kind::READLINK,
            Request::GetAttributes { .. } => kind::GETATTR,
            Request::SetAttributes { .. } => kind::SETATTR,
            Request::XattrWalk { .. } => kind::XATTR_WALK,
            Request::XattrCreate { .. } => kind::XATTR_CREATE,
            Request::ReadDirectory { .. } => kind::READDIR,
            Request::Read { .. } => kind::READ,
            Request::Write { .. } => kind::WRITE,
            Request::Sync { .. } => kind::FSYNC,
            Request::Statistics { .. } => kind::STATFS,
            Request::Clunk { .. } => kind::CLUNK,
        }
    }

    /// Writes it into a buffer; returns its bytes there, which are all but the data of [`Request::Write`]. `None`: the buffer is too small, or
    /// a name too long.
    pub fn write(&self, tag: u16, buffer: &mut [u8]) -> Option<usize> {
        let mut out = Writer::new(buffer);
        out.u32(0);
        out.u8(self.kind());
        out.u16(tag);
        let mut more = 0;
        match *self {
            Request::Version { most_bytes } => {
                out.u32(most_bytes);
                out.text(VERSION);
            }
            Request::Attach { fid, user } => {
                out.u32(fid);
                out.u32(NO_FID);
                out.text(b"");
                out.text(b"");
                out.u32(user);
            }
            Request::Flush { tag } => out.u16(tag),
            Request::Walk { fid, new, name } => {
                out.u32(fid);
                out.u32(new);
                out.u16(name.is_some().into());
                if let Some(name) = name {
                    out.text(name);
                }
            }
            Request::Open { fid, flags } => {
                out.u32(fid);
                out.u32(flags);
            }
            Request::Create { fid, name, flags, mode, gid } => {
                out.u32(fid);
                out.text(name);
                [flags, mode, gid].into_iter().for_each(|value| out.u32(value));
            }
            Request::Symlink { directory, name, target, gid } => {
                out.u32(directory);
                out.text(name);
                out.text(target);
                out.u32(gid);
            }
            Request::Mknod { directory, name, mode, major, minor, gid } => {
                out.u32(directory);
                out.text(name);
                [mode, major, minor, gid].into_iter().for_each(|value| out.u32(value));
            }
            Request::Mkdir { directory, name, mode, gid } => {
                out.u32(directory);
                out.text(name);
                out.u32(mode);
                out.u32(gid);
            }
            Request::Link { directory, fid, name } => {
                out.u32(directory);
                out.u32(fid);
                out.text(name);
            }
            Request::Rename { from, name, to, new_name } => {
                out.u32(from);
                out.text(name);
                out.u32(to);
                out.text(new_name);
            }
            Request::Unlink { directory, name, flags } => {
                out.u32(directory);
                out.text(name);
                out.u32(flags);
            }
            Request::ReadLink { fid } | Request::Statistics { fid } | Request::Clunk { fid } => out.u32(fid),
            Request::GetAttributes { fid, wanted } => {
                out.u32(fid);
                out.u64(wanted);
            }
            Request::SetAttributes { fid, valid, mode, uid, gid, size, accessed, modified } => {
                [fid, valid, mode, uid, gid].into_iter().for_each(|value| out.u32(value));
                out.u64(size);
                for time in [accessed, modified] {
                    out.u64(time.seconds.cast_unsigned());
                    out.u64(time.nanoseconds.into());
                }
            }
            Request::XattrWalk { fid, new, name } => {
                out.u32(fid);
                out.u32(new);
                out.text(name);
            }
            Request::XattrCreate { fid, name, size, flags } => {
                out.u32(fid);
                out.text(name);
                out.u64(size);
                out.u32(flags);
            }
            Request::ReadDirectory { fid, offset, count } | Request::Read { fid, offset, count } => {
                out.u32(fid);
                out.u64(offset);
                out.u32(count);
            }
            Request::Write { fid, offset, count } => {
                out.u32(fid);
                out.u64(offset);
                out.u32(count);
                more = count;
            }
            Request::Sync { fid, data_only } => {
                out.u32(fid);
                out.u32(data_only.into());
            }
        }
        out.finish(more)
    }
}
