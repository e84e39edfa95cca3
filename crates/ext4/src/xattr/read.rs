//! Reading attributes.
use super::acl;
use super::layout::{
    self, ACL_ACCESS, ACL_DEFAULT, Attribute, BLOCK_HEADER_BYTES, INLINE_DATA, INODE_HEADER_BYTES, MAGIC,
    SYSTEM,
};
use crate::bytes::le32;
use crate::cache::Kind;
use crate::error::{Error, Result};
use crate::filesystem::FileSystem;
use crate::inode::Inode;
use alloc::vec::Vec;
use coracle_fallible::{TrySlice as _, TryVec as _};

/// Bytes of an inode before those that `i_extra_isize` counts.
const OLD_INODE_BYTES: usize = 128;

/// Where attributes may begin in an inode.
pub(super) fn inode_area(inode: &Inode) -> usize {
    OLD_INODE_BYTES + usize::from(inode.extra)
}

impl FileSystem {
    /// Visits the attributes of an inode: those in it, then those in its block.
    fn visit_attributes(
        &mut self,
        inode: &Inode,
        visit: &mut dyn FnMut(layout::Entry<'_>) -> Result<()>,
    ) -> Result<()> {
        if self.superblock.inode_bytes as usize > OLD_INODE_BYTES {
            let raw = self.raw_inode(inode.number)?;
            let area = raw.get(inode_area(inode)..).unwrap_or_default();
            if le32(area, 0) == MAGIC
                && let Some(entries) = area.get(INODE_HEADER_BYTES..)
            {
                layout::visit(entries, entries, visit)?;
            }
        }
        if inode.attributes != 0 {
            let block = self.block(inode.attributes, Kind::Attributes)?;
            layout::visit(block.get(BLOCK_HEADER_BYTES..).unwrap_or_default(), block, visit)?;
        }
        Ok(())
    }

    /// All attributes of an inode.
    pub(super) fn all_attributes(&mut self, inode: &Inode) -> Result<Vec<Attribute>> {
        let mut all = Vec::new();
        self.visit_attributes(inode, &mut |entry| Ok(all.try_push(entry.to_attribute()?)?))?;
        Ok(all)
    }

    fn find_attribute(&mut self, inode: &Inode, index: u8, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut found = None;
        self.visit_attributes(inode, &mut |entry| {
            if found.is_none() && entry.index == index && entry.name == name {
                found = Some(entry.value.try_to_vec()?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// What of a file's content is in an attribute.
    pub(crate) fn inline_rest(&mut self, inode: &Inode) -> Result<Vec<u8>> {
        Ok(self.find_attribute(inode, SYSTEM, INLINE_DATA)?.unwrap_or_default())
    }

    /// The value of an extended attribute: getxattr(2). Access control lists are as programs see them.
    ///
    /// # Errors
    /// [`Error::NoAttribute`], [`Error::NoNamespace`], [`Error::Corrupt`], [`Error::NoMemory`], or the disk's.
    pub fn xattr(&mut self, inode: u32, name: &[u8]) -> Result<Vec<u8>> {
        let (index, rest) = layout::split_name(name)?;
        let inode = self.live_inode(inode)?;
        let value = self.find_attribute(&inode, index, rest)?.ok_or(Error::NoAttribute)?;
        if matches!(index, ACL_ACCESS | ACL_DEFAULT) { acl::from_disk(&value) } else { Ok(value) }
    }

    /// The names of all extended attributes, each with a zero behind it: listxattr(2). Those of `trusted.` are among
    /// them.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NoMemory`], or the disk's.
    pub fn xattr_names(&mut self, inode: u32) -> Result<Vec<u8>> {
        let inode = self.live_inode(inode)?;
        let mut names = Vec::new();
        self.visit_attributes(&inode, &mut |entry| {
            let hidden = entry.index == SYSTEM && entry.name == INLINE_DATA;
            if let (Some(prefix), false) = (layout::prefix(entry.index), hidden) {
                names.try_extend_from_slice(prefix)?;
                names.try_extend_from_slice(entry.name)?;
                names.try_push(0)?;
            }
            Ok(())
        })?;
        Ok(names)
    }
}
