//! What a server answers.
use coracle_wire::{Failure, Reader, Time, is_name};

/// Bytes of an answer before what it has: `struct fuse_out_header`.
pub const REPLY_HEAD_BYTES: usize = 16;
/// Bytes of an entry of a directory, without its name (`struct fuse_dirent`); entries begin at multiples of eight bytes.
pub const ONE_ENTRY_BYTES: usize = 24;
/// Looks at the answer to the request with this number. `bytes`: its beginning; `written`: how many bytes the device says it has. Returns what
/// comes behind the head, as far as it is within the message, and how much that is in all.
///
/// # Errors
/// The server's error, or that it broke the rules.
pub fn open_reply(bytes: &[u8], written: usize, number: u64) -> Result<(Reader<'_>, usize), Failure> {
    let mut head = Reader::new(bytes);
    let mut read = || Some((head.u32()? as usize, head.u32()?.cast_signed(), head.u64()?));
    let (size, error, got) = read().ok_or(Failure::Malformed)?;
    if size < REPLY_HEAD_BYTES || size > written || got != number {
        return Err(Failure::Malformed);
    }
    match error {
        0 => Ok((Reader::new(&bytes[REPLY_HEAD_BYTES..size.min(bytes.len())]), size - REPLY_HEAD_BYTES)),
        _ if error < 0 => Err(Failure::of(error.unsigned_abs())),
        _ => Err(Failure::Malformed),
    }
}

/// `struct fuse_attr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Attributes {
    pub inode: u64,
    pub size: u64,
    /// Of 512 bytes.
    pub blocks: u64,
    pub accessed: Time,
    pub modified: Time,
    pub changed: Time,
    pub mode: u32,
    pub links: u32,
    pub uid: u32,
    pub gid: u32,
    pub device: u32,
}

impl Attributes {
    /// Takes them.
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (inode, size, blocks) = (from.u64()?, from.u64()?, from.u64()?);
        let seconds = [from.u64()?, from.u64()?, from.u64()?];
        let nanoseconds = [from.u32()?, from.u32()?, from.u32()?];
        let time = |at: usize| Time::new(seconds[at], nanoseconds[at].into());
        let (mode, links, uid, gid) = (from.u32()?, from.u32()?, from.u32()?, from.u32()?);
        let device = from.u32()?;
        // The block size, and flags.
        from.u64()?;
        let (accessed, modified, changed) = (time(0), time(1), time(2));
        Some(Attributes { inode, size, blocks, accessed, modified, changed, mode, links, uid, gid, device })
    }

    /// Takes them from an answer that has nothing else (`struct fuse_attr_out`).
    pub fn read_alone(from: &mut Reader<'_>) -> Option<Self> {
        // How long they may be believed.
        from.take(16)?;
        Self::read(from)
    }
}

/// A node that was found or made: `struct fuse_entry_out`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub node: u64,
    /// Its attributes.
    pub attributes: Attributes,
}

impl Found {
    /// Takes it. `None`, too, for the number 0, which is none.
    pub fn read(from: &mut Reader<'_>) -> Option<Self> {
        let node = from.u64().filter(|&node| node != 0)?;
        // The generation, and how long all may be believed.
        from.take(32)?;
        Some(Found { node, attributes: Attributes::read(from)? })
    }
}

/// The server's side of what is agreed: `struct fuse_init_out`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Init {
    /// The version that it speaks.
    pub version: (u32, u32),
    /// Bytes of data in a writing request at most.
    pub most_bytes: u32,
}

impl Init {
    /// Takes it.
    pub fn read(from: &mut Reader<'_>) -> Option<Self> {
        let version = (from.u32()?, from.u32()?);
        // Read-ahead, options, and how many requests may be in the background.
        from.take(12)?;
        Some(Init { version, most_bytes: from.u32()? })
    }
}

/// `struct fuse_kstatfs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Statistics {
    pub blocks: u64,
    pub free: u64,
    pub available: u64,
    pub files: u64,
    pub files_free: u64,
    /// Bytes of a block.
    pub block_bytes: u32,
}

impl Statistics {
    /// Takes them.
    pub fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (blocks, free, available) = (from.u64()?, from.u64()?, from.u64()?);
        let (files, files_free) = (from.u64()?, from.u64()?);
        let (block_bytes, _name_bytes, fragment_bytes) = (from.u32()?, from.u32()?, from.u32()?);
        // Blocks are counted in fragments (statvfs(3)).
        let block_bytes = if fragment_bytes == 0 { block_bytes } else { fragment_bytes };
        Some(Statistics { blocks, free, available, files, files_free, block_bytes })
    }
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The number of the file (st_ino).
    pub inode: u64,
    /// Where a listing goes on behind it.
    pub next: u64,
    /// DT_* of readdir(3).
    pub kind: u8,
    /// Its name.
    pub name: &'a [u8],
}

/// The data of a list of entries. It ends at the first entry that is not whole, or whose name can't be one: empty, or with a slash or a zero
/// in it.
pub struct Entries<'a>(pub Reader<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let from = &mut self.0;
        let (inode, next, len, kind) = (from.u64()?, from.u64()?, from.u32()? as usize, from.u32()?);
        let name = from.take(len)?;
        // The padding of the last one may be missing.
        let padding = len.wrapping_neg() % 8;
        from.take(padding.min(from.rest().len()))?;
        is_name(name).then_some(Entry { inode, next, kind: kind as u8, name })
    }
}
