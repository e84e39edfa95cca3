//! /proc/PID/map_files (proc(5)): a link for each mapping of a file, named by its addresses.
use super::process::Subject;
use coracle_core::errno::Errno;
use coracle_core::fs::inode::Link;
use coracle_core::mm::memory::RegionInfo;
use coracle_core::task::process::Process;
use coracle_fallible::try_box;
use coracle_fs::synthetic::{Directory, Kind, Made, TakeName};
use core::fmt::Write;
use linux_raw_sys::general::S_IFLNK;

/// The directory.
pub(super) struct MapFiles(pub Subject);

/// The addresses in a name, as Linux reads it: no zero before other digits, and nothing else.
fn addresses(name: &[u8]) -> Option<(usize, usize)> {
    let (start, end) = core::str::from_utf8(name).ok()?.split_once('-')?;
    let address = |digits: &str| {
        let is_plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit())
            && (digits.len() == 1 || !digits.starts_with('0'));
        if is_plain { usize::from_str_radix(digits, 16).ok() } else { None }
    };
    Some((address(start)?, address(end)?))
}

/// The mapping of a file with just these addresses.
fn find(process: &Process, (start, end): (usize, usize)) -> Option<RegionInfo> {
    let region = process.memory().region_from(start)?;
    Some(region).filter(|region| region.range == (start..end) && region.file.is_some())
}

impl Directory for MapFiles {
    fn lookup(&self, name: &[u8]) -> Result<Option<Kind>, Errno> {
        self.0.check()?;
        let Some(place) = addresses(name).filter(|&place| find(&self.0.process, place).is_some()) else {
            return Ok(None);
        };
        Ok(Some(Kind::Link(try_box(Mapping { subject: self.0.clone(), place })?)))
    }
    /// The position of an entry is its address.
    fn list(&self, from: u64, take: TakeName) -> Result<(), Errno> {
        self.0.check()?;
        let memory = self.0.process.memory();
        let mut at = from as usize;
        while let Some(region) = memory.region_from(at) {
            at = region.range.end;
            let mut name = heapless::String::<40>::new();
            let is_listed = region.range.start as u64 >= from && region.file.is_some();
            if is_listed
                && (write!(name, "{:x}-{:x}", region.range.start, region.range.end).is_err()
                    || !take(region.range.end as u64, name.as_bytes(), S_IFLNK))
            {
                break;
            }
        }
        Ok(())
    }
}

/// An entry. It does not keep the file, which may be gone when it is looked at.
struct Mapping {
    subject: Subject,
    place: (usize, usize),
}

impl Made for Mapping {
    fn link(&self) -> Result<Link, Errno> {
        self.subject.check()?;
        let file = find(&self.subject.process, self.place).and_then(|region| region.file);
        file.map(Link::File).ok_or(Errno::NOENT)
    }
}
