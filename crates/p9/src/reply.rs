//! What a server answers.
use crate::kind;
use coracle_wire::{Failure, Reader, Time, is_name};

/// Bytes of an answer before what it has: size, type and tag.
const HEAD_BYTES: usize = 7;
/// Bytes of Rread and Rreaddir before their data, which Rlerror fits into, too.
pub const REPLY_HEAD_BYTES: usize = HEAD_BYTES + 4;
/// Bytes of an entry of a directory, without its name.
pub const LIST_ENTRY_BYTES: usize = Qid::BYTES + 8 + 1 + 2;
/// Looks at the answer to a request of type `kind` with this tag. `bytes`: its beginning; `written`: how many bytes the server says it has.
/// Returns what comes behind the tag, as far as it is within the message.
///
/// # Errors
/// The server's error, or that it broke the rules.
pub fn open_reply(bytes: &[u8], written: usize, kind: u8, tag: u16) -> Result<Reader<'_>, Failure> {
    let read = || {
        let mut reader = Reader::new(bytes);
        Some((reader.u32()? as usize, reader.u8()?, reader.u16()?))
    };
    let (size, got, got_tag) = read().ok_or(Failure::Malformed)?;
    if size < HEAD_BYTES || size > written || got_tag != tag {
        return Err(Failure::Malformed);
    }
    let mut body = Reader::new(&bytes[HEAD_BYTES..size.min(bytes.len())]);
    if got == kind::ERROR {
        return Err(body.u32().map_or(Failure::Malformed, Failure::of));
    }
    if got == kind.wrapping_add(1) { Ok(body) } else { Err(Failure::Malformed) }
}

/// The identity of a file of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qid {
    /// Bits 31 (directory) and so on of a mode, here 7 and so on (Plan 9's stat(5)).
    pub kind: u8,
    /// Changes with the content, where the server knows.
    pub version: u32,
    /// The file.
    pub path: u64,
}

impl Qid {
    /// Bytes of it.
    pub const BYTES: usize = 13;

    /// Takes it.
    pub fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Qid { kind: from.u8()?, version: from.u32()?, path: from.u64()? })
    }
}

fn time(from: &mut Reader<'_>) -> Option<Time> {
    Some(Time::new(from.u64()?, from.u64()?))
}

/// Rgetattr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Attributes {
    /// What of it the server knows.
    pub valid: u64,
    pub qid: Qid,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u64,
    pub device: u64,
    pub size: u64,
    pub block_bytes: u64,
    /// Of 512 bytes.
    pub blocks: u64,
    pub accessed: Time,
    pub modified: Time,
    pub changed: Time,
    pub created: Time,
}

impl Attributes {
    /// Takes them.
    pub fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Attributes {
            valid: from.u64()?,
            qid: Qid::read(from)?,
            mode: from.u32()?,
            uid: from.u32()?,
            gid: from.u32()?,
            links: from.u64()?,
            device: from.u64()?,
            size: from.u64()?,
            block_bytes: from.u64()?,
            blocks: from.u64()?,
            accessed: time(from)?,
            modified: time(from)?,
            changed: time(from)?,
            created: time(from)?,
        })
    }
}

/// Rstatfs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Statistics {
    pub kind: u32,
    pub block_bytes: u32,
    pub blocks: u64,
    pub free: u64,
    pub available: u64,
    pub files: u64,
    pub files_free: u64,
}

impl Statistics {
    /// Takes them.
    pub fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Statistics {
            kind: from.u32()?,
            block_bytes: from.u32()?,
            blocks: from.u64()?,
            free: from.u64()?,
            available: from.u64()?,
            files: from.u64()?,
            files_free: from.u64()?,
        })
    }
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The file.
    pub qid: Qid,
    /// Where a listing goes on behind it.
    pub next: u64,
    /// DT_* of readdir(3).
    pub kind: u8,
    /// Its name.
    pub name: &'a [u8],
}

/// The data of Rreaddir. It ends at the first entry that is not whole, or whose name can't be one: empty, or with a slash or a zero in it.
pub struct Entries<'a>(pub Reader<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let from = &mut self.0;
        let (qid, next, kind) = (Qid::read(from)?, from.u64()?, from.u8()?);
        let name = from.text()?;
        is_name(name).then_some(Entry { qid, next, kind, name })
    }
}
