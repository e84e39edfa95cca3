//! The bytes of the image, each page checked against its checksum before it is used for the first time.
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_hal::checksum::crc32c;
use coracle_hal::frame::FRAME_SIZE;
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use coracle_image::Error;
use coracle_image::archive::Archive;
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
        if right.try_reserve_exact(words).is_ok() {
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
        if self.archive.check_page(page, crc32c).is_err() {
            self.tell(page);
            return Err(Errno::IO);
        }
        if let Some(word) = word {
            word.fetch_or(bit, Relaxed);
        }
        Ok(())
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

/// The bytes of a file in the image.
#[derive(Clone, Copy)]
pub struct Base {
    /// Not checked yet.
    bytes: &'static [u8],
    /// Where they begin in the archive.
    offset: u64,
}

impl Base {
    /// No bytes.
    pub const EMPTY: Base = Base { bytes: &[], offset: 0 };

    /// Those of a file that begins `offset` bytes from the archive's start.
    pub fn new(bytes: &'static [u8], offset: u64) -> Self {
        Base { bytes, offset }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The page of the archive that they begin with, if they begin on one.
    pub fn first_page(&self) -> Option<usize> {
        self.offset.is_multiple_of(FRAME_SIZE as u64).then_some(self.offset as usize / FRAME_SIZE)
    }

    /// A part of them, which is in the image as it was built. EIO if it is not.
    pub fn part(&self, range: Range<u64>) -> Result<&'static [u8], Errno> {
        let (start, end) = (self.offset + range.start, self.offset + range.end);
        if let Some(pages) = PAGES.get() {
            for page in start as usize / FRAME_SIZE..(end as usize).div_ceil(FRAME_SIZE) {
                pages.check(page)?;
            }
        }
        self.bytes.get(range.start as usize..range.end as usize).ok_or(Errno::IO)
    }
}
