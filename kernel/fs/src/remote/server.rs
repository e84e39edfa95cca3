//! What file systems of servers ask of a server, and how they name its files.
use super::carrier::Carrier;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::{Changes, DirEntry, NewNode, Usage};
use coracle_core::fs::stat::{BLOCK_SIZE, Timestamp};
use coracle_hal::frame::Frame;
use coracle_hal::sync::atomic::{AtomicU64, Ordering};
use coracle_wire::{Failure, Time, open};

/// Largest file: positions are signed 64-bit numbers.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// What is known of a file.
#[derive(Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Attributes {
    /// What makes it itself among the server's files, as long as a handle names it.
    pub number: u64,
    /// st_ino.
    pub inode: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u64,
    pub device: u64,
    pub size: u64,
    /// Of 512 bytes.
    pub blocks: u64,
    pub accessed: Timestamp,
    pub modified: Timestamp,
    pub changed: Timestamp,
    pub created: Option<Timestamp>,
}

/// What a file is told to be of no use any more by.
#[derive(Clone, Copy)]
pub struct Gone {
    /// The number of the handle.
    pub number: u64,
    /// The handle of an open file, and whether that is a directory.
    pub open: Option<(u64, bool)>,
    /// How often the server has counted it.
    pub lookups: u64,
}

/// Names a file to the server, which is told when that is of no use any more: when this is dropped.
pub struct Handle {
    carrier: &'static Carrier,
    /// The number that the server knows.
    pub number: u64,
    /// A second one of a file that is open, and the flags by which it was opened.
    pub open: Option<(u64, u32)>,
    lookups: AtomicU64,
}

impl Handle {
    /// A handle. `lookups`: how often the server has counted it.
    pub fn new(carrier: &'static Carrier, number: u64, open: Option<(u64, u32)>, lookups: u64) -> Self {
        Handle { carrier, number, open, lookups: AtomicU64::new(lookups) }
    }

    /// Takes over what the server has counted for another handle of the same number. False if the server does not count, so that the two are
    /// two.
    pub fn absorb(&self, other: &Handle) -> bool {
        if self.number != other.number {
            return false;
        }
        self.lookups.fetch_add(other.lookups.swap(0, Ordering::AcqRel), Ordering::AcqRel);
        true
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let lookups = self.lookups.load(Ordering::Acquire);
        let open = self.open.map(|(handle, flags)| (handle, flags & open::DIRECTORY != 0));
        if lookups != 0 || open.is_some() {
            self.carrier.note_gone(Gone { number: self.number, open, lookups });
        }
    }
}

/// A file that a server has found or made.
pub type Found = (Arc<Handle>, Attributes);

/// What a change of attributes is to do beside [`Changes`]: the size, and a handle that is open for writing, if there is one.
pub type Resize<'a> = (u64, Option<&'a Handle>);

/// What the kernel tells programs of a protocol.
pub struct Kind {
    /// The type of the file system (/proc/filesystems).
    pub name: &'static str,
    /// f_type of statfs(2).
    pub magic: u64,
    /// The server finds files by their names: one without a name is reached by what is open of it alone.
    pub by_name: bool,
}

/// The error that a program sees.
pub fn errno(failure: Failure) -> Errno {
    match failure {
        Failure::Error(number) => Errno::new(number),
        Failure::Malformed => Errno::IO,
    }
}

/// A time of a message's.
pub fn timestamp(time: Time) -> Timestamp {
    Timestamp { seconds: time.seconds, nanos: time.nanoseconds }
}

/// A time for a message; 1970 for none.
pub fn from_timestamp(time: Option<Timestamp>) -> Time {
    let time = time.unwrap_or_default();
    Time { seconds: time.seconds, nanoseconds: time.nanos }
}

/// What statfs(2) tells of a server with blocks of `block_bytes` bytes: how many there are, how many are free, and the same of files.
pub fn usage(kind: &Kind, block_bytes: u32, [blocks, free, files, files_free]: [u64; 4]) -> Usage {
    let scaled = |blocks: u64| blocks.saturating_mul(block_bytes.into()) / BLOCK_SIZE;
    Usage { magic: kind.magic, blocks: scaled(blocks), free: scaled(free), files, files_free }
}

/// A server. The calls wait for its answers; hold no lock. Their errors are the server's, EIO if it breaks the rules, ENOTCONN if it is gone,
/// EINTR if the process is about to end, and ENOMEM.
pub trait Server: Send + Sync {
    /// Carries the messages.
    fn carrier(&self) -> &Carrier;
    /// What programs are told of it.
    fn kind(&self) -> &'static Kind;
    /// Agrees on the protocol. EPROTO.
    fn start(&self) -> Result<(), Errno>;
    /// The root.
    fn root(&'static self) -> Result<Found, Errno>;
    /// The entry of a directory.
    fn lookup(&'static self, directory: &Handle, name: &[u8]) -> Result<Found, Errno>;
    /// [`Attributes::number`] of an entry.
    fn number_of(&'static self, directory: &Handle, name: &[u8]) -> Result<u64, Errno> {
        self.lookup(directory, name).map(|(_, found)| found.number)
    }
    /// Asks for attributes.
    fn attributes(&self, file: &Handle) -> Result<Attributes, Errno>;
    /// Changes attributes.
    fn change(&self, file: &Handle, changes: &Changes, size: Option<Resize<'_>>) -> Result<(), Errno>;
    /// One more handle for the same file, which is open ([`open`]).
    fn open(&'static self, file: &Handle, flags: u32) -> Result<Arc<Handle>, Errno>;
    /// Makes a regular file and opens it for reading and writing.
    fn create(
        &'static self,
        directory: &Handle,
        name: &[u8],
        mode: u32,
    ) -> Result<(Found, Arc<Handle>), Errno>;
    /// Makes a file that is not a regular one.
    fn make(
        &'static self,
        directory: &Handle,
        name: &[u8],
        node: &NewNode<'_>,
        mode: u32,
    ) -> Result<Found, Errno>;
    /// Makes a further name for a file.
    fn add_link(&'static self, directory: &Handle, name: &[u8], file: &Handle) -> Result<(), Errno>;
    /// Removes a name.
    fn unlink(&self, directory: &Handle, name: &[u8], is_directory: bool) -> Result<(), Errno>;
    /// rename(2). EINVAL for flags that the protocol has not.
    fn rename(&self, from: (&Handle, &[u8]), to: (&Handle, &[u8]), flags: u32) -> Result<(), Errno>;
    /// The target of a symbolic link.
    fn target(&self, link: &Handle) -> Result<Vec<u8>, Errno>;
    /// Reads up to `count` bytes into frames; fewer at the end of the file, or where a message ends.
    fn read(&self, file: &Handle, offset: u64, frames: &[Frame], count: usize) -> Result<usize, Errno>;
    /// Writes up to `count` bytes from frames. Not `gives_up`: even if the process is about to end.
    fn write(
        &self,
        file: &Handle,
        offset: u64,
        frames: &[Frame],
        count: usize,
        gives_up: bool,
    ) -> Result<usize, Errno>;
    /// Reads entries of an open directory into a frame; returns their bytes.
    fn read_directory(&self, directory: &Handle, offset: u64, frame: &Frame) -> Result<usize, Errno>;
    /// Takes an entry off the front of such bytes. `None`: there is no whole one.
    fn entry<'a>(&self, bytes: &mut &'a [u8]) -> Option<DirEntry<'a>>;
    /// An extended attribute, or with an empty name the names of all.
    fn xattr(&'static self, file: &Handle, name: &[u8]) -> Result<Vec<u8>, Errno>;
    /// Sets or removes an extended attribute.
    fn set_xattr(
        &'static self,
        file: &Handle,
        name: &[u8],
        value: Option<&[u8]>,
        flags: u32,
    ) -> Result<(), Errno>;
    /// What was written to an open file, or the entries of an open directory, go to stable storage.
    fn sync(&self, open: &Handle, data_only: bool) -> Result<(), Errno>;
    /// statfs(2).
    fn usage(&self, file: &Handle) -> Result<Usage, Errno>;
    /// fallocate(2) of an open file.
    fn allocate(&self, open: &Handle, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let _ = (open, mode, offset, len);
        Err(Errno::OPNOTSUPP)
    }
    /// SEEK_DATA and SEEK_HOLE of lseek(2) in an open file. EINVAL: the protocol has nothing for it.
    fn seek_data(&self, open: &Handle, offset: u64, is_hole: bool) -> Result<u64, Errno> {
        let _ = (open, offset, is_hole);
        Err(Errno::INVAL)
    }
}
