//! How attributes lie in an inode or a block.
use crate::bytes::{le16, le32, set_le16, set_le32};
use crate::error::{Error, Result};
use alloc::vec::Vec;
use coracle_fallible::TrySlice as _;

pub const MAGIC: u32 = 0xea02_0000;
/// Bytes in front of the entries: in an inode the magic number, in a block more.
pub const INODE_HEADER_BYTES: usize = 4;
pub const BLOCK_HEADER_BYTES: usize = 32;
/// Bytes of an entry before its name.
pub const ENTRY_BYTES: usize = 16;
/// Zeroes that end the entries.
pub const END_BYTES: usize = 4;
/// Places in the header of a block.
pub const REFERENCES: usize = 4;
pub const BLOCKS: usize = 8;
pub const HASH: usize = 12;

/// The name spaces: what names begin with, and the number in their stead. The longest comes first where one begins
/// another.
pub const PREFIXES: [(u8, &[u8]); 6] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
    (7, b"system."),
];
pub const ACL_ACCESS: u8 = 2;
pub const ACL_DEFAULT: u8 = 3;
pub const SYSTEM: u8 = 7;
/// The attribute that holds what does not fit into the place for blocks.
pub const INLINE_DATA: &[u8] = b"data";

/// An attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attribute {
    pub index: u8,
    /// The name without its prefix.
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// Splits a name into the number of its name space and the rest.
pub fn split_name(name: &[u8]) -> Result<(u8, &[u8])> {
    for (index, prefix) in PREFIXES {
        let whole = matches!(index, ACL_ACCESS | ACL_DEFAULT);
        if let Some(rest) = name.strip_prefix(prefix)
            && rest.is_empty() == whole
        {
            return if rest.len() <= 255 { Ok((index, rest)) } else { Err(Error::Invalid) };
        }
    }
    Err(Error::NoNamespace)
}

/// What the names of a name space begin with.
pub fn prefix(index: u8) -> Option<&'static [u8]> {
    PREFIXES.into_iter().find_map(|(number, prefix)| (number == index).then_some(prefix))
}

/// An entry, where it lies.
pub struct Entry<'a> {
    pub index: u8,
    pub name: &'a [u8],
    pub value: &'a [u8],
}

/// Visits the entries of an area. `values` is what the places of values count from.
pub fn visit<'a>(
    entries: &'a [u8],
    values: &'a [u8],
    visit: &mut dyn FnMut(Entry<'a>) -> Result<()>,
) -> Result<()> {
    const DAMAGED: Error = Error::Corrupt(&"extended attributes make no sense");
    let mut at = 0;
    loop {
        if at + END_BYTES > entries.len() {
            return if at >= entries.len() { Ok(()) } else { Err(DAMAGED) };
        }
        if le32(entries, at) == 0 {
            return Ok(());
        }
        let name_len = usize::from(entries[at]);
        let name = entries.get(at + ENTRY_BYTES..at + ENTRY_BYTES + name_len).ok_or(DAMAGED)?;
        let (from, len) = (usize::from(le16(entries, at + 2)), le32(entries, at + 8) as usize);
        if le32(entries, at + 4) != 0 {
            return Err(Error::Unsupported(&"an attribute whose value is in an inode of its own"));
        }
        let value = if len == 0 {
            &[]
        } else {
            from.checked_add(len).and_then(|end| values.get(from..end)).ok_or(DAMAGED)?
        };
        visit(Entry { index: entries[at + 1], name, value })?;
        at += (ENTRY_BYTES + name_len).next_multiple_of(4);
    }
}

/// The room that an attribute takes: its entry, and its value.
pub fn room(attribute: &Attribute) -> usize {
    (ENTRY_BYTES + attribute.name.len()).next_multiple_of(4) + attribute.value.len().next_multiple_of(4)
}

/// Writes attributes into an area of zeroes: entries from `from` on, values from the end. Places count from `base`.
/// There is room for them.
pub fn write(area: &mut [u8], from: usize, base: usize, attributes: &[&Attribute], hashed: bool) {
    let (mut at, mut end) = (from, area.len());
    for attribute in attributes {
        let value_len = attribute.value.len();
        let place = end - value_len.next_multiple_of(4);
        area[at] = attribute.name.len() as u8;
        area[at + 1] = attribute.index;
        let value_at = if value_len == 0 { 0 } else { (place - base) as u16 };
        set_le16(area, at + 2, value_at);
        set_le32(area, at + 4, 0);
        set_le32(area, at + 8, value_len as u32);
        set_le32(area, at + 12, if hashed { hash(attribute) } else { 0 });
        area[at + ENTRY_BYTES..at + ENTRY_BYTES + attribute.name.len()].copy_from_slice(&attribute.name);
        area[place..place + value_len].copy_from_slice(&attribute.value);
        at += (ENTRY_BYTES + attribute.name.len()).next_multiple_of(4);
        end = place;
    }
}

/// The hash of an entry (Linux's `ext4_xattr_hash_entry`): over the name's characters, then the value's words.
pub fn hash(attribute: &Attribute) -> u32 {
    const NAME_SHIFT: u32 = 5;
    const VALUE_SHIFT: u32 = 16;
    let name =
        attribute.name.iter().fold(0_u32, |hash, byte| hash.rotate_left(NAME_SHIFT) ^ u32::from(*byte));
    attribute.value.chunks(4).fold(name, |hash, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        hash.rotate_left(VALUE_SHIFT) ^ u32::from_le_bytes(word)
    })
}

/// The hash of a block: over those of its entries.
pub fn block_hash(attributes: &[&Attribute]) -> u32 {
    const SHIFT: u32 = 16;
    attributes.iter().fold(0_u32, |all, attribute| all.rotate_left(SHIFT) ^ hash(attribute))
}

impl Entry<'_> {
    /// The same in memory of its own.
    pub fn to_attribute(&self) -> Result<Attribute> {
        Ok(Attribute { index: self.index, name: self.name.try_to_vec()?, value: self.value.try_to_vec()? })
    }
}
