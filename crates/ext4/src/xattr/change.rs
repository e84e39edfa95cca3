//! Changing attributes.
use super::layout::{
    self, ACL_ACCESS, ACL_DEFAULT, Attribute, BLOCK_HEADER_BYTES, BLOCKS, END_BYTES, HASH,
    INODE_HEADER_BYTES, MAGIC, REFERENCES,
};
use super::{acl, read::inode_area};
use crate::bytes::{le32, set_le32};
use crate::cache::Kind;
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::inode::{Inode, Time};
use alloc::vec::Vec;
use coracle_fallible::{TrySlice as _, TryVec as _, filled};
use coracle_heap_sort::heap_sort_by;

/// Whether an attribute must be there before it is set: the flags of setxattr(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// It may.
    Either,
    /// It must not (`XATTR_CREATE`).
    New,
    /// It must (`XATTR_REPLACE`).
    Old,
}

impl FileSystem {
    /// Sets an extended attribute: setxattr(2). Access control lists are as programs see them.
    ///
    /// # Errors
    /// [`Error::Exists`] and [`Error::NoAttribute`] by `existence`; [`Error::NoSpace`], also where the attributes of one file
    /// would take more than its inode and one block; [`Error::NoNamespace`], [`Error::Invalid`], [`Error::ReadOnly`],
    /// [`Error::NoMemory`], [`Error::Corrupt`], or the disk's.
    pub fn set_xattr(
        &mut self,
        inode: u32,
        name: &[u8],
        value: &[u8],
        existence: Existence,
        now: Time,
    ) -> Result<()> {
        let (index, rest) = layout::split_name(name)?;
        let is_list = matches!(index, ACL_ACCESS | ACL_DEFAULT);
        let value = if is_list { acl::to_disk(value)? } else { value.try_to_vec()? };
        self.change(|fs| {
            let mut inode = fs.live_inode(inode)?;
            let mut all = fs.all_attributes(&inode)?;
            let place = all.iter().position(|other| other.index == index && other.name == rest);
            match (place, existence) {
                (Some(_), Existence::New) => return Err(Error::Exists),
                (None, Existence::Old) => return Err(Error::NoAttribute),
                _ => {}
            }
            let attribute = Attribute { index, name: rest.try_to_vec()?, value: value.try_to_vec()? };
            match place.and_then(|place| all.get_mut(place)) {
                Some(old) => *old = attribute,
                None => all.try_push(attribute)?,
            }
            fs.store_attributes(&mut inode, &mut all, now)
        })
    }

    /// Removes an extended attribute: removexattr(2).
    ///
    /// # Errors
    /// [`Error::NoAttribute`], and as [`FileSystem::set_xattr`].
    pub fn remove_xattr(&mut self, inode: u32, name: &[u8], now: Time) -> Result<()> {
        let (index, rest) = layout::split_name(name)?;
        self.change(|fs| {
            let mut inode = fs.live_inode(inode)?;
            let mut all = fs.all_attributes(&inode)?;
            let place = all.iter().position(|other| other.index == index && other.name == rest);
            all.remove(place.ok_or(Error::NoAttribute)?);
            fs.store_attributes(&mut inode, &mut all, now)
        })
    }

    /// Writes all attributes of a file anew: as many as there is room for into the inode, the rest into a block.
    fn store_attributes(&mut self, inode: &mut Inode, all: &mut [Attribute], now: Time) -> Result<()> {
        // The order that Linux searches a block in.
        heap_sort_by(all, |left, right| {
            (left.index, left.name.len(), &left.name) < (right.index, right.name.len(), &right.name)
        });
        let area = (self.superblock.inode_bytes as usize).saturating_sub(inode_area(inode));
        let mut left = area.saturating_sub(INODE_HEADER_BYTES + END_BYTES);
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for attribute in &*all {
            let room = layout::room(attribute);
            if room <= left {
                left -= room;
                inside.try_push(attribute)?;
            } else {
                outside.try_push(attribute)?;
            }
        }
        if area > INODE_HEADER_BYTES + END_BYTES {
            let mut bytes = filled(0, area)?;
            if !inside.is_empty() {
                set_le32(&mut bytes, 0, MAGIC);
                layout::write(&mut bytes, INODE_HEADER_BYTES, INODE_HEADER_BYTES, &inside, false);
            }
            self.put_in_inode(inode.number, inode_area(inode), &bytes)?;
        }
        self.store_block(inode, &outside)?;
        inode.changed = now;
        self.note_inode(inode.number, true)?;
        self.set_inode(inode)
    }

    /// Writes attributes into the file's block. A block that other files share is left to them.
    fn store_block(&mut self, inode: &mut Inode, attributes: &[&Attribute]) -> Result<()> {
        if attributes.is_empty() {
            return self.free_attributes(inode);
        }
        let block_bytes = self.superblock.block_bytes as usize;
        let room: usize = attributes.iter().map(|attribute| layout::room(attribute)).sum();
        if BLOCK_HEADER_BYTES + room + END_BYTES > block_bytes {
            return Err(Error::NoSpace);
        }
        let shared = inode.attributes != 0 && self.attribute_references(inode.attributes)? > 1;
        if shared {
            self.free_attributes(inode)?;
        }
        if inode.attributes == 0 {
            let group = inode.number.saturating_sub(1) / self.superblock.inodes_per_group;
            let (block, _) = self.allocate_blocks(self.superblock.first_block(group), 1)?;
            self.put_fresh(block, Kind::Attributes)?;
            self.count_file_blocks(inode, 1, 0);
            inode.attributes = block;
        }
        let mut bytes = filled(0, block_bytes)?;
        set_le32(&mut bytes, 0, MAGIC);
        set_le32(&mut bytes, REFERENCES, 1);
        set_le32(&mut bytes, BLOCKS, 1);
        set_le32(&mut bytes, HASH, layout::block_hash(attributes));
        layout::write(&mut bytes, BLOCK_HEADER_BYTES, 0, attributes, true);
        self.put(inode.attributes, Kind::Attributes, 0, &bytes)
    }

    /// How many inodes a block of attributes belongs to.
    fn attribute_references(&mut self, block: u64) -> Result<u32> {
        Ok(le32(self.block(block, Kind::Attributes)?, REFERENCES))
    }

    /// Takes a file's block of attributes from it, which is freed if no other file has it.
    pub(crate) fn free_attributes(&mut self, inode: &mut Inode) -> Result<()> {
        let block = core::mem::take(&mut inode.attributes);
        if block == 0 {
            return Ok(());
        }
        self.count_file_blocks(inode, 0, 1);
        let references = self.attribute_references(block)?;
        if references > 1 {
            return self.put(block, Kind::Attributes, REFERENCES, &(references - 1).to_le_bytes());
        }
        self.put_freed(block)?;
        self.free_blocks(block, 1)
    }
}
