//! The archive itself: from an inode's number to its bytes.

use core::cmp::Ordering;
use core::ops::Range;

use super::{Config, DirEntry, FileKind, Inode, InodeId, Symbols};
use crate::Error;
use crate::format::{
    ENTRY_LEN, HEADER_CHECKSUM, HEADER_KERNEL_PAGES, HEADER_KERNEL_SUM, HEADER_LEN, HEADER_OWN_LEN,
    HEADER_SECTIONS, HEADER_TOTAL_LEN, HEADER_VERSION, INODE_LEN, MAGIC, PAGE_SIZE, SUM_LEN, Section,
    VERSION, checksum, get_u32, get_u64,
};

/// An archive in memory. Copying it copies a few pointers.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes of the whole archive, also of one of which `bytes` has the start alone.
    length: u64,
    config: &'a [u8],
    inodes: &'a [u8],
    pub(super) entries: &'a [u8],
    pub(super) names: &'a [u8],
    symbols: &'a [u8],
    symbol_names: &'a [u8],
    pub(super) data_start: u64,
    /// Where the symbols begin: what is before, the kernel reads at its start.
    pub(super) symbols_start: u64,
    pub(super) checksums: &'a [u8],
    /// Pages that have a checksum.
    pub(super) pages: usize,
}

impl<'a> Archive<'a> {
    /// How many bytes of the start [`Archive::length`] needs to see.
    pub const HEADER_LEN: usize = HEADER_LEN;

    /// The whole length of the archive, in bytes, of which at least the first [`Archive::HEADER_LEN`] bytes are given.
    ///
    /// # Errors
    /// If this is not the header of an archive of this version.
    pub fn length(start: &[u8]) -> Result<u64, Error> {
        if start.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(Error::NotAnArchive);
        }
        let header = start.get(..HEADER_LEN).ok_or(Error::Truncated)?;
        let version = get_u32(header, HEADER_VERSION).ok_or(Error::Truncated)?;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let sum = checksum(header.get(..HEADER_CHECKSUM).ok_or(Error::Truncated)?);
        if get_u32(header, HEADER_CHECKSUM) != Some(sum) {
            return Err(Error::Checksum);
        }
        if get_u32(header, HEADER_OWN_LEN) != Some(HEADER_LEN as u32) {
            return Err(Error::Corrupt("header length"));
        }
        get_u64(header, HEADER_TOTAL_LEN).ok_or(Error::Truncated)
    }

    /// Where the settings end in the archive, of which at least the first [`Archive::HEADER_LEN`] bytes are given.
    ///
    /// # Errors
    /// As [`Archive::length`], or if they end behind the archive.
    pub fn settings_end(start: &[u8]) -> Result<u64, Error> {
        let (place, size) = Self::section(start, Section::Config)?;
        Ok(place + size)
    }

    /// The settings and the CRC-32C of the kernel, from the start of an archive that reaches to [`Archive::settings_end`].
    ///
    /// # Errors
    /// As [`Archive::settings_end`], or if the bytes do not reach that far.
    pub fn settings(start: &'a [u8]) -> Result<(Config<'a>, u32), Error> {
        let end = usize::try_from(Self::settings_end(start)?).map_err(|_| Error::Truncated)?;
        let place =
            get_u64(start, HEADER_SECTIONS + Section::Config as usize * 16).ok_or(Error::Truncated)?;
        let config = start.get(..end).and_then(|start| start.get(usize::try_from(place).ok()?..));
        let sum = get_u32(start, HEADER_KERNEL_SUM).ok_or(Error::Truncated)?;
        Ok((Config::new(config.ok_or(Error::Truncated)?), sum))
    }

    /// Opens the archive at the start of `bytes`, which may go on after its end.
    ///
    /// # Errors
    /// If the header is not that of an archive, or names parts outside of it. The rest is checked where it is used.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let length = usize::try_from(Self::length(bytes)?).map_err(|_| Error::Truncated)?;
        let bytes = bytes.get(..length).ok_or(Error::Truncated)?;
        if bytes.len() < HEADER_LEN {
            return Err(Error::Corrupt("length"));
        }
        let (data, checksums) =
            (Self::section(bytes, Section::Data)?, Self::section(bytes, Section::Checksums)?);
        let part = |(start, size)| slice(bytes, start, size).ok_or(Error::Corrupt("section table"));
        part(data)?;
        Self::of_parts(bytes, part(checksums)?)
    }

    /// Opens an archive whose files are elsewhere: `tables` are its bytes up to [`Archive::tables_end`], and `checksums` those
    /// of [`Archive::checksums_place`]. [`Archive::data`] fails for all files that have bytes.
    ///
    /// # Errors
    /// As [`Archive::parse`].
    pub fn parse_tables(tables: &'a [u8], checksums: &'a [u8]) -> Result<Self, Error> {
        Self::length(tables)?;
        Self::of_parts(tables, checksums)
    }

    /// Where the tables of files end and the files begin, in bytes from the start of an archive, of which at least the first
    /// [`Archive::HEADER_LEN`] bytes are given.
    ///
    /// # Errors
    /// As [`Archive::length`], or if that is behind the archive.
    pub fn tables_end(start: &[u8]) -> Result<u64, Error> {
        Ok(Self::section(start, Section::Data)?.0)
    }

    /// Where the checksums begin in an archive, and how many bytes they have; as [`Archive::tables_end`].
    ///
    /// # Errors
    /// As [`Archive::tables_end`].
    pub fn checksums_place(start: &[u8]) -> Result<(u64, u64), Error> {
        Self::section(start, Section::Checksums)
    }

    /// Where on the disk with its files the archive begins, in bytes; `None`: its files lie in memory with it. At least the first
    /// [`Archive::HEADER_LEN`] bytes of the archive are given.
    ///
    /// # Errors
    /// As [`Archive::length`].
    pub fn on_disk(start: &[u8]) -> Result<Option<u64>, Error> {
        Self::length(start)?;
        let pages = get_u32(start, HEADER_KERNEL_PAGES).ok_or(Error::Truncated)?;
        Ok((pages != 0).then_some(u64::from(pages) * PAGE_SIZE as u64))
    }

    /// The parts of the archive that the machine loads, one behind the other: their places and lengths, in whole pages. The second one is empty
    /// unless the files are on a disk. At least the first [`Archive::HEADER_LEN`] bytes are given.
    ///
    /// # Errors
    /// As [`Archive::tables_end`].
    pub fn loaded(start: &[u8]) -> Result<[Range<u64>; 2], Error> {
        let length = Self::length(start)?;
        if Self::on_disk(start)?.is_none() {
            return Ok([0..length, length..length]);
        }
        let tables = Self::section(start, Section::Symbols)?.0.next_multiple_of(PAGE_SIZE as u64);
        let checksums = Self::section(start, Section::Checksums)?.0;
        if tables > checksums || !checksums.is_multiple_of(PAGE_SIZE as u64) {
            return Err(Error::Corrupt("section table"));
        }
        Ok([0..tables, checksums..length])
    }

    /// How many bytes of memory the archive takes, as [`Archive::loaded`].
    ///
    /// # Errors
    /// As [`Archive::loaded`].
    pub fn loaded_len(start: &[u8]) -> Result<u64, Error> {
        Self::loaded(start).map(|[first, second]| first.end - first.start + second.end - second.start)
    }

    /// Whether its files are on a disk.
    pub fn is_on_disk(&self) -> bool {
        matches!(Self::on_disk(self.bytes), Ok(Some(_)))
    }

    /// Bytes of the whole archive.
    pub const fn total_len(&self) -> u64 {
        self.length
    }

    /// The checksums from that byte of the archive on.
    pub fn checksums_from(&self, place: u64) -> &'a [u8] {
        let before = place.saturating_sub((self.pages * PAGE_SIZE) as u64);
        self.checksums.get(before as usize..).unwrap_or_default()
    }

    /// Opens the archive that the machine loaded, [`Archive::loaded_len`] bytes. If its files are on a disk, the names of the kernel's functions
    /// are there as well, and it has none.
    ///
    /// # Errors
    /// As [`Archive::parse`].
    pub fn parse_loaded(bytes: &'a [u8]) -> Result<Self, Error> {
        if Self::on_disk(bytes)?.is_none() {
            return Self::parse(bytes);
        }
        let [tables, _] = Self::loaded(bytes)?;
        let (tables, checksums) = bytes.split_at_checked(tables.end as usize).ok_or(Error::Truncated)?;
        let (_, size) = Self::section(bytes, Section::Checksums)?;
        Self::of_parts(tables, slice(checksums, 0, size).ok_or(Error::Truncated)?)
    }

    /// Where a section begins, and its length.
    fn section(start: &[u8], section: Section) -> Result<(u64, u64), Error> {
        let length = Self::length(start)?;
        let at = HEADER_SECTIONS + section as usize * 16;
        let (place, size) = get_u64(start, at).zip(get_u64(start, at + 8)).ok_or(Error::Truncated)?;
        let ends = place.checked_add(size).is_some_and(|end| end <= length);
        ends.then_some((place, size)).ok_or(Error::Corrupt("section table"))
    }

    /// The parts of an archive that are in `bytes`, its start.
    fn of_parts(bytes: &'a [u8], checksums: &'a [u8]) -> Result<Self, Error> {
        let section = |section: Section| -> Result<&'a [u8], Error> {
            let at = HEADER_SECTIONS + section as usize * 16;
            let (start, length) = get_u64(bytes, at).zip(get_u64(bytes, at + 8)).ok_or(Error::Truncated)?;
            slice(bytes, start, length).ok_or(Error::Corrupt("section table"))
        };
        let start_of =
            |section| get_u64(bytes, HEADER_SECTIONS + section as usize * 16).ok_or(Error::Truncated);
        // Where files stay on a disk, so do the names of the kernel's functions, unless both tables of them fit into the last page that is loaded.
        let lacks_names = Self::on_disk(bytes)?.is_some() && (bytes.len() as u64) < start_of(Section::Data)?;
        let names = |part| if lacks_names { Ok(&[][..]) } else { section(part) };
        let pages = start_of(Section::Checksums)? as usize / PAGE_SIZE;
        if checksums.len() / SUM_LEN != pages + 1 {
            return Err(Error::Corrupt("checksums"));
        }
        Ok(Archive {
            bytes,
            length: Self::length(bytes)?,
            config: section(Section::Config)?,
            inodes: section(Section::Inodes)?,
            entries: section(Section::Entries)?,
            names: section(Section::Names)?,
            symbols: names(Section::Symbols)?,
            symbol_names: names(Section::SymbolNames)?,
            data_start: start_of(Section::Data)?,
            symbols_start: start_of(Section::Symbols)?,
            checksums,
            pages,
        })
    }

    /// All bytes of the archive. Offsets that [`Archive::data_offset`] returns count from their start.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How long the part before the file data is: what the kernel reads of an archive whatever the program does.
    pub const fn metadata_len(&self) -> u64 {
        self.data_start
    }

    /// The settings of the image.
    pub const fn config(&self) -> Config<'a> {
        Config::new(self.config)
    }

    /// The kernel's functions.
    pub const fn symbols(&self) -> Symbols<'a> {
        Symbols::new(self.symbols, self.symbol_names)
    }

    /// How many inodes there are; their numbers count from 0.
    pub const fn inode_count(&self) -> u32 {
        let count = self.inodes.len() / INODE_LEN;
        if count > u32::MAX as usize { u32::MAX } else { count as u32 }
    }

    /// The inode of that number.
    ///
    /// # Errors
    /// If there is none, or its record is of no known kind.
    pub fn inode(&self, id: InodeId) -> Result<Inode, Error> {
        record(self.inodes, u64::from(id.0), INODE_LEN)
            .and_then(|record| Inode::read(id, record))
            .ok_or(Error::Corrupt("inode"))
    }

    /// The entry called `name` in the directory: a binary search.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if `dir` is not a directory; [`Error::Corrupt`] if its entries cannot be read.
    pub fn lookup(&self, dir: &Inode, name: &[u8]) -> Result<Option<DirEntry<'a>>, Error> {
        if !dir.is_dir() {
            return Err(Error::WrongKind);
        }
        let (mut low, mut high) = (0, dir.size);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry_at(dir, middle)?;
            match entry.name.cmp(name) {
                Ordering::Equal => return Ok(Some(entry)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// Entry number `index` of the directory in the order of names, or `None` past its last.
    ///
    /// # Errors
    /// [`Error::WrongKind`] if `dir` is not a directory; [`Error::Corrupt`] if the entry cannot be read.
    pub fn entry(&self, dir: &Inode, index: u64) -> Result<Option<DirEntry<'a>>, Error> {
        if !dir.is_dir() {
            return Err(Error::WrongKind);
        }
        if index >= dir.size { Ok(None) } else { self.entry_at(dir, index).map(Some) }
    }

    /// The entries of the directory in the order of names. Stops after the first that cannot be read.
    pub fn entries(&self, dir: &Inode) -> Entries<'a> {
        Entries { archive: *self, dir: *dir, next: 0, failed: false }
    }

    fn entry_at(&self, dir: &Inode, index: u64) -> Result<DirEntry<'a>, Error> {
        let read = || {
            let record = record(self.entries, dir.place.checked_add(index)?, ENTRY_LEN)?;
            let name = slice(self.names, get_u32(record, 0)?.into(), get_u32(record, 4)?.into())?;
            let kind = FileKind::of_mode(get_u32(record, 12)?)?;
            let usable = !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/');
            usable.then_some(DirEntry { name, inode: InodeId(get_u32(record, 8)?), kind })
        };
        read().ok_or(Error::Corrupt("directory entry"))
    }

    /// The bytes of a regular file.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for other kinds; [`Error::Corrupt`] if they lie outside the archive.
    pub fn data(&self, file: &Inode) -> Result<&'a [u8], Error> {
        if !file.is_file() {
            return Err(Error::WrongKind);
        }
        slice(self.bytes, file.place, file.size).ok_or(Error::Corrupt("file data"))
    }

    /// Where the bytes of a regular file begin, counted from the start of the archive.
    ///
    /// A multiple of [`crate::PAGE_SIZE`] if the writer meant the file to be mapped in place. The rest of the last
    /// page is then inside the archive and zero. Anything else must be copied to be mapped.
    ///
    /// # Errors
    /// As [`Archive::data`].
    pub fn data_offset(&self, file: &Inode) -> Result<u64, Error> {
        if !file.is_file() {
            return Err(Error::WrongKind);
        }
        let ends = file.place.checked_add(file.size).is_some_and(|end| end <= self.length);
        ends.then_some(file.place).ok_or(Error::Corrupt("file data"))
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// [`Error::WrongKind`] for other kinds; [`Error::Corrupt`] if it lies outside the names.
    pub fn symlink(&self, link: &Inode) -> Result<&'a [u8], Error> {
        if !link.is_symlink() {
            return Err(Error::WrongKind);
        }
        slice(self.names, link.place, link.size).ok_or(Error::Corrupt("symbolic link"))
    }

    /// The inode at an absolute path, without following symbolic links. For tools; the kernel walks by itself.
    ///
    /// # Errors
    /// As [`Archive::lookup`].
    pub fn find(&self, path: &[u8]) -> Result<Option<Inode>, Error> {
        let mut inode = self.inode(InodeId::ROOT)?;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            match self.lookup(&inode, name)? {
                Some(entry) => inode = self.inode(entry.inode)?,
                None => return Ok(None),
            }
        }
        Ok(Some(inode))
    }
}

/// Iterates over a directory; see [`Archive::entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    archive: Archive<'a>,
    dir: Inode,
    next: u64,
    failed: bool,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<DirEntry<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let entry = self.archive.entry(&self.dir, self.next).transpose()?;
        self.next += 1;
        self.failed = entry.is_err();
        Some(entry)
    }
}

/// `length` bytes from `start`, if they are all there.
fn slice(bytes: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

/// Record `index` of a table of records of `size` bytes.
fn record(table: &[u8], index: u64, size: usize) -> Option<&[u8]> {
    slice(table, index.checked_mul(size as u64)?, size as u64)
}
