//! The bytes of the image, each page checked against its checksum before it is used for the first time: pages in memory, or pages of a disk
//! that are read when they are wanted, and given back like other cached pages.
use crate::block::registry::{self, Entry};
use crate::cache::Backing;
use crate::cache::pages::{Cache, PAGE, Reading};
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_fallible::filled;
use coracle_hal::checksum::crc32c;
use coracle_hal::frame::{FRAME_SIZE, Frame};
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use coracle_image::archive::Archive;
use coracle_image::{Error, MAGIC};
use core::ops::Range;

const BITS: usize = u64::BITS as usize;

struct Pages {
    archive: Archive<'static>,
    /// A bit for each page that was found right. Empty if there was no memory for it: then pages are checked each time.
    right: Vec<AtomicU64>,
}

static PAGES: Once<Pages> = Once::new();

/// Checks what the kernel reads whatever the program does, and prepares the check of the files. Called once, at boot.
pub fn check_tables(archive: Archive<'static>) -> Result<(), Error> {
    archive.check_table(crc32c)?;
    archive.table_pages().try_for_each(|page| archive.check_page(page, crc32c))?;
    PAGES.call_once(|| {
        let mut right = Vec::new();
        let words = archive.pages().div_ceil(BITS);
        if !archive.is_on_disk() && right.try_reserve_exact(words).is_ok() {
            right.resize_with(words, AtomicU64::default);
        }
        Pages { archive, right }
    });
    Ok(())
}

impl Pages {
    fn check(&self, page: usize) -> Result<(), Errno> {
        let (word, bit) = (self.right.get(page / BITS), 1 << (page % BITS));
        if word.is_some_and(|word| word.load(Relaxed) & bit != 0) {
            return Ok(());
        }
        self.judge(page, self.archive.check_page(page, crc32c))?;
        if let Some(word) = word {
            word.fetch_or(bit, Relaxed);
        }
        Ok(())
    }

    /// EIO for a page that is not right.
    fn judge(&self, page: usize, found: Result<(), Error>) -> Result<(), Errno> {
        found.map_err(|_| {
            self.tell(page);
            Errno::IO
        })
    }

    #[cold]
    fn tell(&self, page: usize) {
        static TOLD: AtomicUsize = AtomicUsize::new(usize::MAX);
        if TOLD.swap(page, Relaxed) == page {
            return;
        }
        let name = self.archive.names_in_page(page).next().unwrap_or_default();
        let name = core::str::from_utf8(name).unwrap_or("?");
        log!(
            "the image is damaged: page {page} of its archive, which `{name}` is in, has a wrong checksum; reading it fails"
        );
    }
}

/// The disk that the files are on, if they are not in memory.
static DISK: Once<OnDisk> = Once::new();

struct OnDisk {
    archive: Archive<'static>,
    entry: &'static Entry,
    /// Where the archive begins on it, in bytes.
    start: u64,
    /// All pages of the archive that were read: small files lie in one.
    cache: Arc<Cache>,
}

/// Why the files can't be read from any disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Absent {
    /// No disk has an archive where the image has its own.
    NoDisk,
    /// One has, but of another build.
    OtherImage,
    /// One has, and ends too early.
    Cut,
    /// A disk can't be read; it may be the one.
    Unreadable,
    /// There is no memory to look for it.
    NoMemory,
}

impl core::fmt::Display for Absent {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Absent::NoDisk => {
                "they are not in memory but on a disk (`coracle build --demand`), and no disk of this machine has them: give it the \
                 image's file as a disk, as `coracle run` does"
            }
            Absent::OtherImage => "the image's disk has the files of another build",
            Absent::Cut => "the image's disk is cut short",
            Absent::Unreadable => "the image's disk can't be read",
            Absent::NoMemory => "there is no memory to look for the image's disk",
        })
    }
}

/// Finds the disk with the files of an archive that are not in memory. Waits for the disks; called once, before a program runs.
pub fn find_disk(archive: Archive<'static>) -> Result<(), Absent> {
    let Ok(Some(start)) = Archive::on_disk(archive.bytes()) else { return Ok(()) };
    let disks = (0..).map_while(registry::nth).filter(|entry| entry.partition.is_none());
    let mut why = Absent::NoDisk;
    for entry in disks {
        match has_files(&archive, entry, start) {
            Err(other) => why = why.max(other),
            Ok(()) => {
                let cache = Cache::new().map_err(|_| Absent::NoMemory)?;
                DISK.call_once(|| OnDisk { archive, entry, start, cache });
                return Ok(());
            }
        }
    }
    Err(why)
}

/// Whether a disk has the archive: its first page, and its last, which has the checksum of the checksums of all.
fn has_files(archive: &Archive<'_>, entry: &Entry, start: u64) -> Result<(), Absent> {
    let frame = Frame::alloc().ok_or(Absent::NoMemory)?;
    let mut bytes = filled(0, FRAME_SIZE).map_err(|_| Absent::NoMemory)?;
    let mut begins_with = |place: u64, wanted: &[u8]| {
        let read = entry.disk.read(place, core::slice::from_ref(&frame), 0..FRAME_SIZE);
        read.map_err(|_| Absent::Unreadable)?;
        frame.read(0, &mut bytes);
        Ok(bytes.starts_with(wanted))
    };
    let first = archive.bytes().get(..FRAME_SIZE).ok_or(Absent::NoDisk)?;
    if start + PAGE > entry.disk.size() {
        return Err(Absent::NoDisk);
    }
    if !begins_with(start, first)? {
        return Err(if begins_with(start, &MAGIC)? { Absent::OtherImage } else { Absent::NoDisk });
    }
    if start.saturating_add(archive.total_len()) > entry.disk.size() {
        return Err(Absent::Cut);
    }
    let last = archive.checksums_from(archive.total_len() - PAGE);
    if begins_with(start + archive.total_len() - PAGE, last)? { Ok(()) } else { Err(Absent::OtherImage) }
}

impl Backing for OnDisk {
    fn size(&self) -> u64 {
        self.archive.pages() as u64 * PAGE
    }

    fn read(&self, index: u64, frames: &[Frame]) -> Result<(), Errno> {
        self.entry.disk.read(self.start + index * PAGE, frames, 0..frames.len() * FRAME_SIZE)?;
        for (page, frame) in (index as usize..).zip(frames) {
            let found = {
                // The header of the archive has a checksum of its own.
                let header = if page == 0 { Archive::HEADER_LEN } else { 0 };
                self.archive.check_sum(page, frame.crc32c(header))
            };
            PAGES.get().map_or(Ok(()), |pages| pages.judge(page, found))?;
        }
        Ok(())
    }

    fn write(&self, _index: u64, _frames: &[Frame]) -> Result<(), Errno> {
        Err(Errno::ROFS)
    }
}

/// The bytes of a file in the image.
#[derive(Clone, Copy)]
pub struct Base {
    /// Those in memory, not checked yet; none if they are on the disk.
    bytes: &'static [u8],
    /// Where they begin in the archive.
    offset: u64,
    len: u64,
}

impl Base {
    /// No bytes.
    pub const EMPTY: Base = Base { bytes: &[], offset: 0, len: 0 };

    /// Those of a file that begins `offset` bytes from the archive's start, and has `len`.
    pub fn new(bytes: &'static [u8], offset: u64, len: u64) -> Self {
        Base { bytes, offset, len }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether they have to be read from the disk.
    pub fn is_on_disk(&self) -> bool {
        self.bytes.len() as u64 != self.len
    }

    /// The page of the archive that they begin with, if they begin on one.
    pub fn first_page(&self) -> Option<usize> {
        self.offset.is_multiple_of(FRAME_SIZE as u64).then_some(self.offset as usize / FRAME_SIZE)
    }

    /// A part of them that is in memory, as it was built. EIO if it is not.
    pub fn part(&self, range: Range<u64>) -> Result<&'static [u8], Errno> {
        let (start, end) = (self.offset + range.start, self.offset + range.end);
        if let Some(pages) = PAGES.get() {
            for page in start as usize / FRAME_SIZE..(end as usize).div_ceil(FRAME_SIZE) {
                pages.check(page)?;
            }
        }
        self.bytes.get(range.start as usize..range.end as usize).ok_or(Errno::IO)
    }

    /// The page of the disk with the byte at `at`, where in it that is, and how many of `len` bytes from there on it has. `wanted`: pages that the
    /// reader wants. Waits for the disk. EIO, ENOMEM.
    pub fn on_disk(&self, at: u64, len: usize, wanted: u64) -> Result<(Frame, usize, usize), Errno> {
        let disk = DISK.get().ok_or(Errno::IO)?;
        let place = self.offset + at;
        let in_page = (place % PAGE) as usize;
        let frame = disk.cache.frame(disk, place / PAGE, wanted, Reading::NORMAL)?;
        Ok((frame, in_page, len.min(FRAME_SIZE - in_page)))
    }

    /// The pages from `first` on of a file that begins with a page of the disk, as far as they are cached and `pages` has room.
    pub fn at_hand(&self, first: u64, pages: &mut [Option<Frame>]) {
        let Some((disk, page)) = DISK.get().zip(self.first_page()) else { return };
        let left = self.len.div_ceil(PAGE).saturating_sub(first).min(pages.len() as u64) as usize;
        disk.cache.at_hand(page as u64 + first, &mut pages[..left]);
    }
}
