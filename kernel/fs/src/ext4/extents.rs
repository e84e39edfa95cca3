//! What ioctl(2) tells of a file on a volume: where it lies on the disk (FS_IOC_FIEMAP), and its flags (ioctl_iflags(2)).
use super::file::Ext4File;
use super::volume::errno;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user;
use coracle_core::task::long_call;
use linux_raw_sys::ioctl::{FS_IOC_FIEMAP, FS_IOC_GETFLAGS};

/// `struct fiemap` up to its extents (Linux's Documentation/filesystems/fiemap.rst): start, length, flags and how many extents were
/// found, room for extents. In words of 8 bytes.
const HEADER_WORDS: usize = 4;
const HEADER_BYTES: usize = 8 * HEADER_WORDS;
/// `struct fiemap_extent`.
const EXTENT_WORDS: usize = 7;
const EXTENT_BYTES: usize = 8 * EXTENT_WORDS;
/// Writes back what is dirty first.
const SYNC: u32 = 1;
/// Of an extent: it is the last one; it reads as zeroes.
const LAST: u64 = 1;
const UNWRITTEN: u64 = 0x800;
/// The flags that programs see: Linux's EXT4_FL_USER_VISIBLE.
const VISIBLE_FLAGS: u32 = 0x725b_dfff;

impl Ext4File {
    /// ioctl(2). ENOTTY for others.
    pub(super) fn extents_ioctl(&self, command: u32, argument: usize) -> SysResult {
        match command {
            FS_IOC_FIEMAP => self.extents(argument),
            FS_IOC_GETFLAGS => {
                let flags = self.node().attributes.lock().flags & VISIBLE_FLAGS;
                user::write_u32(argument, flags).map(|()| 0)
            }
            _ => Err(Errno::NOTTY),
        }
    }

    fn extents(&self, argument: usize) -> SysResult {
        let node = &**self.node();
        let [start, len, flags, room] = user::read_words::<HEADER_WORDS>(argument)?;
        let (flags, room) = (flags as u32, room as u32 as usize);
        if len == 0 {
            return Err(Errno::INVAL);
        }
        if flags & !SYNC != 0 {
            // The program learns which ones are not known.
            user::write_words(argument, &[start, len, u64::from(flags & !SYNC), room as u64])?;
            return Err(Errno::BADR);
        }
        // What has no place yet gets one.
        node.write_back(0, u64::MAX)?;
        let end = start.saturating_add(len);
        let mut found = 0;
        let mut next = self.next_extent(start)?;
        while let Some(mut extent) = next.filter(|extent| extent.start < end) {
            if room > 0 && found == room {
                break;
            }
            next = self.next_extent(extent.end)?;
            if next.is_none() {
                extent.flags |= LAST;
            }
            if room > 0 {
                let Extent { start, end, place, flags } = extent;
                let words = [start, place, end - start, 0, 0, flags, 0];
                user::write_words(argument + HEADER_BYTES + found * EXTENT_BYTES, &words)?;
            }
            found += 1;
            long_call::pause_unless_killed()?;
        }
        user::write_words(argument, &[start, len, u64::from(flags) | (found as u64) << 32, room as u64])?;
        Ok(0)
    }

    /// The first run of blocks that ends behind `at`, from there on.
    fn next_extent(&self, mut at: u64) -> Result<Option<Extent>, Errno> {
        let node = self.node();
        loop {
            let mut fs = node.volume().read();
            let block = u64::from(fs.block_bytes());
            let Ok(first) = u32::try_from(at / block) else { return Ok(None) };
            let run = match fs.map(node.number(), first, u32::MAX) {
                // The bytes lie in the inode.
                Err(coracle_ext4::Error::Unsupported(_)) => return Ok(None),
                run => run.map_err(errno)?,
            };
            let start = u64::from(first) * block;
            at = start + u64::from(run.count) * block;
            if let Some(place) = run.block {
                let flags = if run.unwritten { UNWRITTEN } else { 0 };
                return Ok(Some(Extent { start, end: at, place: place * block, flags }));
            }
            if run.count == 0 {
                return Ok(None);
            }
        }
    }
}

/// Bytes of a file that lie together.
#[derive(Clone, Copy)]
struct Extent {
    start: u64,
    end: u64,
    /// Where they lie on the disk.
    place: u64,
    flags: u64,
}
