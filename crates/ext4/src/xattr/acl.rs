//! Access control lists (acl(5)): the disk has them in a shorter form than programs see.
use crate::bytes::{le16, le32, set_le16, set_le32};
use crate::error::{Error, Result};
use alloc::vec::Vec;
use coracle_fallible::{TryVec as _, filled};

/// The version that a list begins with, on the disk and for programs.
const DISK_VERSION: u32 = 1;
const PROGRAM_VERSION: u32 = 2;
const HEADER_BYTES: usize = 4;
/// Bytes of an entry that names a user or group on the disk, of others, and of all for programs.
const NAMED_BYTES: usize = 8;
const SHORT_BYTES: usize = 4;
const PROGRAM_BYTES: usize = 8;
const NO_ID: u32 = u32::MAX;

/// Whether the entries of a tag name a user (ACL_USER) or group (ACL_GROUP).
fn is_named(tag: u16) -> bool {
    matches!(tag, 0x02 | 0x08)
}

/// Whether there are such entries.
fn is_tag(tag: u16) -> bool {
    matches!(tag, 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x20)
}

/// A list of the disk, as programs see it.
pub fn from_disk(disk: &[u8]) -> Result<Vec<u8>> {
    const DAMAGED: Error = Error::Corrupt(&"an access control list makes no sense");
    if le32(disk, 0) != DISK_VERSION {
        return Err(DAMAGED);
    }
    let mut list = Vec::new();
    list.try_extend_from_slice(&PROGRAM_VERSION.to_le_bytes())?;
    let mut at = HEADER_BYTES;
    while at < disk.len() {
        let (tag, permissions) = (le16(disk, at), le16(disk, at + 2));
        let len = if is_named(tag) { NAMED_BYTES } else { SHORT_BYTES };
        if at + len > disk.len() || !is_tag(tag) {
            return Err(DAMAGED);
        }
        let mut entry = [0; PROGRAM_BYTES];
        set_le16(&mut entry, 0, tag);
        set_le16(&mut entry, 2, permissions);
        set_le32(&mut entry, 4, if is_named(tag) { le32(disk, at + 4) } else { NO_ID });
        list.try_extend_from_slice(&entry)?;
        at += len;
    }
    Ok(list)
}

/// A list of a program, as the disk has it.
pub fn to_disk(list: &[u8]) -> Result<Vec<u8>> {
    if le32(list, 0) != PROGRAM_VERSION || list.len() < HEADER_BYTES {
        return Err(Error::Invalid);
    }
    let (entries, rest) = list[HEADER_BYTES..].as_chunks::<PROGRAM_BYTES>();
    if !rest.is_empty() || entries.iter().any(|entry| !is_tag(le16(entry, 0))) {
        return Err(Error::Invalid);
    }
    let mut disk = filled(0, HEADER_BYTES)?;
    set_le32(&mut disk, 0, DISK_VERSION);
    for entry in entries {
        let len = if is_named(le16(entry, 0)) { NAMED_BYTES } else { SHORT_BYTES };
        disk.try_extend_from_slice(&entry[..len])?;
    }
    Ok(disk)
}
