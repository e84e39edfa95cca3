//! Extended attributes of files in memory (xattr(7)).
use super::options::Limit;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::lock::Mutex;
use coracle_fallible::prelude::*;
use coracle_hal::frame::{self, Watermark};
use coracle_sorted_map::SortedMap;
use linux_raw_sys::general::{XATTR_CREATE, XATTR_LIST_MAX, XATTR_REPLACE};

/// The attributes of a file, by name.
#[derive(Default)]
pub(super) struct ExtendedAttributes(Mutex<SortedMap<Vec<u8>, Vec<u8>>>);

impl ExtendedAttributes {
    /// The value of an attribute. ENODATA, ENOMEM.
    pub fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let name = name.try_to_vec()?;
        Ok(self.0.lock().get(&name).ok_or(Errno::NODATA)?.try_to_vec()?)
    }

    /// Sets an attribute, or removes it. EEXIST and ENODATA by `flags`; ENOSPC if memory is short, by the bound of the file system, or if all names together are
    /// longer than listxattr(2) returns.
    pub fn set(
        &self,
        name: &[u8],
        value: Option<&[u8]>,
        flags: u32,
        limit: Option<&Limit>,
    ) -> Result<(), Errno> {
        let name = name.try_to_vec()?;
        let value = match value {
            Some(_) if frame::is_below(Watermark::High) => return Err(Errno::NOSPC),
            Some(value) => Some(value.try_to_vec().map_err(|_| Errno::NOSPC)?),
            None => None,
        };
        let mut all = self.0.lock();
        let is_there = all.contains_key(&name);
        if is_there && flags & XATTR_CREATE != 0 {
            return Err(Errno::EXIST);
        }
        if !is_there && (flags & XATTR_REPLACE != 0 || value.is_none()) {
            return Err(Errno::NODATA);
        }
        let listed: usize = all.iter().map(|(name, _)| name.len() + 1).sum();
        if !is_there && listed + name.len() >= XATTR_LIST_MAX as usize {
            return Err(Errno::NOSPC);
        }
        if let Some(limit) = limit {
            let less = all.get(&name).map_or(0, |old| cost(&name, old));
            limit.exchange_attributes(less, value.as_ref().map_or(0, |new| cost(&name, new)))?;
        }
        let old = match value {
            Some(value) => all.insert(name, value).map_err(|_| Errno::NOSPC)?,
            None => all.remove(&name),
        };
        drop(all);
        drop(old);
        Ok(())
    }

    /// Bytes that they count.
    pub fn cost(&self) -> usize {
        self.0.lock().iter().map(|(name, value)| cost(name, value)).sum()
    }

    /// All names, each with a zero behind it. ENOMEM.
    pub fn names(&self) -> Result<Vec<u8>, Errno> {
        let mut names = Vec::new();
        for (name, _) in self.0.lock().iter() {
            names.try_extend_from_slice(name)?;
            names.try_push(0)?;
        }
        Ok(names)
    }
}

/// Bytes that an attribute counts against the bound of its file system.
fn cost(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len()
}
