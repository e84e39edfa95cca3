//! The image: the kernel, and an archive. For x86-64 it is the kernel's ELF with one more segment, the archive, behind its last. For aarch64
//! it is what loaders of Linux take there (Linux's Documentation/arch/arm64/booting.rst): the kernel's memory from its first byte, which begins
//! with a header, and behind it the archive.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use coracle_crc32c::crc32c;
use coracle_image::PAGE_SIZE;
use coracle_image::archive::{Archive, Config, Inode};
use coracle_image::write::Layout;
use object::Endianness;
use object::elf::{ELFMAG, FileHeader64, PF_R, PT_LOAD, PT_NULL, PT_PHDR};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::read::{ReadCache, ReadRef};

use crate::arch::Arch;
use crate::error::{Error, Result, cannot};

/// Bytes of a 64-bit ELF program header.
const PHDR_LEN: usize = 56;
/// Offsets in it of where the segment begins in the file, and of its physical address.
const P_OFFSET: usize = 0x08;
const P_PADDR: usize = 0x18;
/// Bytes of a 64-bit ELF header.
const ELF_HEADER_LEN: usize = 64;
/// Offsets in a 64-bit ELF header of where its program headers are, and how many (elf(5)).
const E_PHOFF: usize = 0x20;
const E_PHNUM: usize = 0x38;

/// The name in the note from which a hypervisor learns where to enter the kernel (Xen's PVH boot protocol).
const PVH_NOTE: &[u8] = b"Xen";

/// Of an image for aarch64: the header's letters, and where it says how many bytes from the first are used.
const ARM64_MAGIC: &[u8] = b"ARM\x64";
const ARM64_MAGIC_AT: usize = 0x38;
const ARM64_SIZE_AT: usize = 0x10;
/// What follows the header in a Coracle kernel, and after that, in 8 bytes, where the kernel ends (`start.rs` of `hal`).
const OWN_MAGIC: &[u8] = b"coracle\0";
const OWN_MAGIC_AT: usize = 0x40;
const OWN_END_AT: usize = 0x48;
/// Loaders put such an image on a multiple of this size, and QEMU not on the first, where its own code lies.
const ARM64_ALIGN: u64 = 2 << 20;

/// An image of which the settings and the tables of files were read. The files stay on disk, however large they are.
#[derive(Debug)]
pub struct Image {
    file: File,
    /// Bytes of the file.
    pub len: u64,
    /// Where the archive begins in the file: the length of the kernel.
    pub kernel_len: u64,
    /// The physical address behind the last byte that is loaded.
    pub end: u64,
    /// Its files are paged in from a disk.
    pub on_demand: bool,
    /// The architecture.
    pub arch: Arch,
    /// The archive up to its files.
    tables: Vec<u8>,
    checksums: Vec<u8>,
}

impl Image {
    /// Bytes read at a time of what is looked at as a whole.
    const PIECE: usize = 256 * PAGE_SIZE;

    /// Opens an image; `None` if the file is something else.
    ///
    /// # Errors
    /// If the file cannot be read, or is an image that is damaged or one of another version.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let fail = |error: std::io::Error| cannot("read", path, &error);
        // Before it is opened: a fifo would wait for a writer.
        let meta = std::fs::metadata(path).map_err(fail)?;
        if meta.is_dir() {
            return Err(Error::new(format!("`{}` is a directory, not an image", path.display())));
        }
        if !meta.is_file() {
            return Err(Error::new(format!("`{}` is not a file, and so no image", path.display())));
        }
        let file = File::open(path).map_err(fail)?;
        let Some(segment) = archive_segment(&file).map_err(fail)? else {
            return if is_kernel(&ReadCache::new(&file)) {
                Err(damaged(path, coracle_image::Error::NotAnArchive))
            } else {
                Ok(None)
            };
        };
        Self::read_tables(file, &segment, meta.len()).map(Some).map_err(|why| damaged(path, why))
    }

    fn read_tables(file: File, segment: &Segment, len: u64) -> Result<Self, coracle_image::Error> {
        let mut tables = vec![0; Archive::HEADER_LEN];
        read_at(&file, &mut tables, segment.offset)?;
        let archive_len = Archive::length(&tables)?;
        if segment.offset.checked_add(archive_len).is_none_or(|end| end > len) {
            return Err(coracle_image::Error::Truncated);
        }
        let (place, size) = Archive::checksums_place(&tables)?;
        // Both are no longer than the file.
        tables.resize(Archive::tables_end(&tables)? as usize, 0);
        let mut checksums = vec![0; size as usize];
        read_at(&file, &mut tables, segment.offset)?;
        read_at(&file, &mut checksums, segment.offset + place)?;
        Archive::parse_tables(&tables, &checksums)?;
        let end = segment.address.saturating_add(Archive::loaded_len(&tables)?);
        let on_demand = Archive::on_disk(&tables)?.is_some();
        Ok(Image {
            file,
            len,
            kernel_len: segment.offset,
            end,
            on_demand,
            arch: segment.arch,
            tables,
            checksums,
        })
    }

    /// The settings and the tables of files.
    ///
    /// # Errors
    /// None, since it was opened once.
    pub fn archive(&self) -> Result<Archive<'_>, coracle_image::Error> {
        Archive::parse_tables(&self.tables, &self.checksums)
    }

    /// Gives the bytes of a file in the image to `take`, piece by piece.
    ///
    /// # Errors
    /// If the image cannot be read, or names bytes outside of itself; and those of `take`.
    pub fn copy(&self, inode: &Inode, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let unreadable = |why: coracle_image::Error| Error::new("the image cannot be read").why(why);
        let place = self.archive().and_then(|archive| archive.data_offset(inode)).map_err(unreadable)?;
        let mut piece = vec![0; Self::PIECE];
        let mut done = 0;
        while done < inode.size {
            let want = (inode.size - done).min(Self::PIECE as u64) as usize;
            let at = self.kernel_len + place + done;
            read_at(&self.file, &mut piece[..want], at).map_err(unreadable)?;
            take(&piece[..want])?;
            done += want as u64;
        }
        Ok(())
    }

    /// Checks the kernel, which can't check itself before it runs.
    fn check_kernel(&self, archive: &Archive<'_>) -> Result<(), coracle_image::Error> {
        let mut kernel = vec![0; self.kernel_len as usize];
        read_at(&self.file, &mut kernel, 0)?;
        if crc32c(&kernel) == archive.kernel_sum() { Ok(()) } else { Err(coracle_image::Error::Kernel) }
    }

    /// Everything in the image that does not have its checksum, in words.
    ///
    /// # Errors
    /// If the image cannot be read.
    pub fn faults(&self) -> Result<Vec<String>, coracle_image::Error> {
        let archive = self.archive()?;
        let kernel = self.check_kernel(&archive);
        let table = archive.check_table(crc32c);
        let mut faults: Vec<String> =
            [kernel, table].into_iter().filter_map(|check| check.err()).map(|why| why.to_string()).collect();
        if table.is_err() {
            return Ok(faults);
        }
        let mut piece = vec![0; Self::PIECE];
        for first in (0..archive.pages()).step_by(Self::PIECE / PAGE_SIZE) {
            let pages = (archive.pages() - first).min(Self::PIECE / PAGE_SIZE);
            let bytes = &mut piece[..pages * PAGE_SIZE];
            read_at(&self.file, bytes, self.kernel_len + (first * PAGE_SIZE) as u64)?;
            for (page, bytes) in (first..).zip(bytes.chunks(PAGE_SIZE)) {
                let Err(why) = archive.check_bytes(page, bytes, crc32c) else { continue };
                let names: Vec<_> =
                    archive.names_in_page(page).map(|name| String::from_utf8_lossy(name)).collect();
                let held =
                    if names.is_empty() { String::new() } else { format!(", part of {}", names.join(", ")) };
                faults.push(format!("{why}{held}"));
            }
        }
        Ok(faults)
    }
}

/// What is said of an image that cannot be used.
fn damaged(path: &Path, why: coracle_image::Error) -> Error {
    Error::new(format!("`{}` is an image that cannot be read", path.display()))
        .why(why)
        .help("build it once more with this version of coracle")
}

/// What of an image must be known to run it: the kernel, which is small, and where its archive is.
#[derive(Debug)]
pub struct Outline {
    /// The bytes of the file before the archive: the kernel, with program headers that name the archive. Whole pages.
    pub kernel: Vec<u8>,
    /// How far from the start of memory the archive is loaded. The kernel ends before it.
    pub address: u64,
    /// Bytes of the archive in the file.
    pub archive_len: u64,
    /// Bytes of it that are loaded into memory.
    pub loaded_len: u64,
    /// Its files are paged in from a disk, which has the bytes of the image's file.
    pub on_demand: bool,
    /// The architecture.
    pub arch: Arch,
}

impl Outline {
    /// Bytes of the image: whole pages.
    pub const fn len(&self) -> u64 {
        self.kernel.len() as u64 + self.archive_len
    }

    /// How far from the start of memory the last byte ends that is loaded.
    pub const fn end(&self) -> u64 {
        self.address + self.loaded_len
    }

    /// An ELF file of the kernel for x86-64 alone, without the segment that is the archive.
    pub fn kernel_alone(&self) -> Vec<u8> {
        let mut kernel = self.kernel.clone();
        let table = usize::try_from(number_at::<8>(&kernel, E_PHOFF)).unwrap_or(usize::MAX);
        for index in 0..number_at::<2>(&kernel, E_PHNUM) as usize {
            let at = table.saturating_add(index * PHDR_LEN);
            if number_at::<8>(&kernel, at.saturating_add(P_OFFSET)) == self.kernel.len() as u64 {
                kernel[at..at + size_of_val(&PT_NULL.0)].copy_from_slice(&PT_NULL.0.to_le_bytes());
            }
        }
        kernel
    }
}

/// The start of an image's file: enough to run it.
#[derive(Debug)]
pub struct Start {
    /// Kernel and archive.
    pub outline: Outline,
    /// The archive from its start to the end of its settings.
    archive: Vec<u8>,
}

impl Start {
    /// Reads the start of an image; `None` if the file is something else. Checks the kernel, which can't check itself
    /// before it runs.
    ///
    /// # Errors
    /// If the file cannot be read, or is an image that is damaged or one of another version.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let damaged = |why: coracle_image::Error| {
            Error::new(format!("`{}` is an image that cannot be run", path.display()))
                .why(why)
                .help("build it once more with this version of coracle")
        };
        let fail = |error: std::io::Error| cannot("read", path, &error);
        let meta = std::fs::metadata(path).map_err(fail)?;
        if !meta.is_file() {
            return Ok(None);
        }
        let file = File::open(path).map_err(fail)?;
        let Some(segment) = archive_segment(&file).map_err(fail)? else {
            return if is_kernel(&ReadCache::new(&file)) {
                Err(damaged(coracle_image::Error::NotAnArchive))
            } else {
                Ok(None)
            };
        };
        let mut archive = vec![0; Archive::HEADER_LEN];
        read_at(&file, &mut archive, segment.offset).map_err(damaged)?;
        let archive_len = Archive::length(&archive).map_err(damaged)?;
        let settings_end = Archive::settings_end(&archive).map_err(damaged)?;
        let loaded_len = Archive::loaded_len(&archive).map_err(damaged)?;
        let on_demand = Archive::on_disk(&archive).map_err(damaged)?.is_some();
        if segment.offset.checked_add(archive_len).is_none_or(|end| end > meta.len()) {
            return Err(damaged(coracle_image::Error::Truncated));
        }
        // Both are no longer than the file.
        archive.resize(settings_end as usize, 0);
        read_at(&file, &mut archive, segment.offset).map_err(damaged)?;
        let mut kernel = vec![0; segment.offset as usize];
        read_at(&file, &mut kernel, 0).map_err(damaged)?;
        let (_, kernel_sum) = Archive::settings(&archive).map_err(damaged)?;
        if crc32c(&kernel) != kernel_sum {
            return Err(damaged(coracle_image::Error::Kernel));
        }
        Ok(Some(Start {
            outline: Outline {
                kernel,
                address: segment.address,
                archive_len,
                loaded_len,
                on_demand,
                arch: segment.arch,
            },
            archive,
        }))
    }

    /// The settings of the image.
    pub fn config(&self) -> Config<'_> {
        Archive::settings(&self.archive).map(|(config, _)| config).unwrap_or_default()
    }
}

/// Fills the bytes from the file, which should reach that far.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> Result<(), coracle_image::Error> {
    file.read_exact_at(bytes, offset).map_err(|_| coracle_image::Error::Truncated)
}

/// The little-endian number of `N` bytes at `at`; 0 behind the end.
fn number_at<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).unwrap_or(&[0; N]);
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Whether a file that has no archive has the kernel of an image: a program has no entry for a hypervisor.
fn is_kernel<'d>(file: impl ReadRef<'d>) -> bool {
    if file.read_bytes_at(0, ELF_HEADER_LEN as u64 + 16).is_ok_and(|head| arm64_kernel_end(head).is_some()) {
        return true;
    }
    let Ok(header) = FileHeader64::<Endianness>::parse(file) else { return false };
    let Ok(endian) = header.endian() else { return false };
    let Ok(segments) = header.program_headers(endian, file) else { return false };
    segments
        .iter()
        .filter_map(|segment| segment.notes(endian, file).ok().flatten())
        .any(|mut notes| notes.next().is_ok_and(|note| note.is_some_and(|note| note.name() == PVH_NOTE)))
}

/// Where the kernel for aarch64 ends whose first bytes these are; `None` if they are of something else.
fn arm64_kernel_end(head: &[u8]) -> Option<u64> {
    let has = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    (has(ARM64_MAGIC_AT, ARM64_MAGIC) && has(OWN_MAGIC_AT, OWN_MAGIC))
        .then(|| number_at::<8>(head, OWN_END_AT))
}

/// The part of an image that is an archive.
struct Segment {
    /// Where it begins in the file.
    offset: u64,
    /// How far from the start of memory it is loaded.
    address: u64,
    /// The architecture of the kernel before it.
    arch: Arch,
}

/// Finds the archive of an image; `None` if the file is something else. Reads no more of it than that takes.
fn archive_segment(file: &File) -> std::io::Result<Option<Segment>> {
    let mut header = [0; ELF_HEADER_LEN];
    if let Err(error) = file.read_exact_at(&mut header, 0) {
        return if error.kind() == std::io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let has_archive = |offset: u64| {
        let mut magic = [0; coracle_image::MAGIC.len()];
        file.read_exact_at(&mut magic, offset).is_ok() && magic == coracle_image::MAGIC
    };
    if !header.starts_with(&ELFMAG) {
        let mut head = [0; OWN_END_AT + 8];
        let end = file.read_exact_at(&mut head, 0).ok().and_then(|()| arm64_kernel_end(&head));
        let offset =
            end.map(|end| end.next_multiple_of(PAGE_SIZE as u64)).filter(|&offset| has_archive(offset));
        return Ok(offset.map(|offset| Segment {
            offset,
            address: ARM64_ALIGN + offset,
            arch: Arch::Aarch64,
        }));
    }
    let table = number_at::<8>(&header, E_PHOFF);
    for index in 0..number_at::<2>(&header, E_PHNUM) {
        let mut segment = [0; PHDR_LEN];
        if file.read_exact_at(&mut segment, table.saturating_add(index * PHDR_LEN as u64)).is_err() {
            break;
        }
        let offset = number_at::<8>(&segment, P_OFFSET);
        // A segment without bytes in the file may name a place behind its end.
        if has_archive(offset) {
            return Ok(Some(Segment {
                offset,
                address: number_at::<8>(&segment, P_PADDR),
                arch: Arch::X86_64,
            }));
        }
    }
    Ok(None)
}

/// Whether the file is an image. Reads no more of it than that takes.
pub fn is_image(path: &Path) -> bool {
    let look = || -> std::io::Result<bool> {
        Ok(std::fs::metadata(path)?.is_file() && archive_segment(&File::open(path)?)?.is_some())
    };
    look().unwrap_or(false)
}

/// Makes the start of an image of a kernel (without sections) and an archive, which is to follow.
pub fn outline(kernel: &[u8], archive: &Layout<'_>) -> Result<Outline> {
    let explain = |error: object::Error| Error::new("the kernel is not an ELF file").why(error);
    let header = FileHeader64::<Endianness>::parse(kernel).map_err(explain)?;
    let endian = header.endian().map_err(explain)?;
    let segments = header.program_headers(endian, kernel).map_err(explain)?;
    let arch = Arch::of_elf(header.e_machine(endian))
        .ok_or_else(|| Error::new("the kernel is for another architecture"))?;
    if arch == Arch::Aarch64 {
        return arm64_outline(kernel, archive);
    }
    let end = segments
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_LOAD)
        .map(|segment| segment.p_paddr(endian).saturating_add(segment.p_memsz(endian)))
        .max()
        .ok_or_else(|| Error::new("the kernel has nothing to load"))?;
    let address = end.next_multiple_of(PAGE_SIZE as u64);

    // The program headers go behind the kernel, since there is no room for another where they are. A PT_PHDR would
    // then be wrong, and no loader of kernels needs it.
    let mut image = kernel.to_vec();
    image.resize(image.len().next_multiple_of(8), 0);
    let table = image.len();
    let mut count = 0_u16;
    for segment in segments.iter().filter(|segment| segment.p_type(endian) != PT_PHDR) {
        image.extend_from_slice(object::bytes_of(segment));
        count += 1;
    }
    let parts = archive.loaded();
    let parts = || parts.iter().filter(|part| !part.is_empty());
    count += parts().count() as u16;
    let offset = (table + usize::from(count) * PHDR_LEN).next_multiple_of(PAGE_SIZE);
    let mut loaded_len = 0;
    for part in parts() {
        image.extend_from_slice(&PT_LOAD.0.to_le_bytes());
        image.extend_from_slice(&PF_R.0.to_le_bytes());
        let (place, address, len) = (offset as u64 + part.start, address + loaded_len, part.end - part.start);
        for field in [place, address, address, len, len, PAGE_SIZE as u64] {
            image.extend_from_slice(&field.to_le_bytes());
        }
        loaded_len += len;
    }
    image[E_PHOFF..E_PHOFF + 8].copy_from_slice(&(table as u64).to_le_bytes());
    image[E_PHNUM..E_PHNUM + 2].copy_from_slice(&count.to_le_bytes());
    image.resize(offset, 0);
    Ok(Outline {
        kernel: image,
        address,
        archive_len: archive.total_len() as u64,
        loaded_len,
        on_demand: archive.is_on_disk(),
        arch,
    })
}

/// [`outline`] for aarch64.
fn arm64_outline(elf: &[u8], archive: &Layout<'_>) -> Result<Outline> {
    let explain = |error: object::Error| Error::new("the kernel is not an ELF file").why(error);
    let damaged = || Error::new("the kernel for aarch64 is damaged");
    let header = FileHeader64::<Endianness>::parse(elf).map_err(explain)?;
    let endian = header.endian().map_err(explain)?;
    let mut kernel = Vec::new();
    for segment in header.program_headers(endian, elf).map_err(explain)? {
        if segment.p_type(endian) == PT_LOAD {
            let start = usize::try_from(segment.p_vaddr(endian)).map_err(|_| damaged())?;
            let data = segment.data(endian, elf).map_err(|()| damaged())?;
            let end = start.checked_add(data.len()).filter(|&end| end < 1 << 30).ok_or_else(damaged)?;
            kernel.resize(end.max(kernel.len()), 0);
            kernel[start..end].copy_from_slice(data);
        }
    }
    let end = arm64_kernel_end(&kernel).filter(|&end| end >= kernel.len() as u64 && end < 1 << 30);
    let offset = end.ok_or_else(damaged)?.next_multiple_of(PAGE_SIZE as u64);
    kernel.resize(offset as usize, 0);
    let archive_len = archive.total_len() as u64;
    kernel[ARM64_SIZE_AT..ARM64_SIZE_AT + 8].copy_from_slice(&(offset + archive_len).to_le_bytes());
    Ok(Outline {
        kernel,
        address: ARM64_ALIGN + offset,
        archive_len,
        loaded_len: archive_len,
        on_demand: false,
        arch: Arch::Aarch64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_image::write::Builder;

    /// A kernel of one segment at 1 MiB, with 100 bytes in the file and 5000 in memory.
    pub fn kernel() -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        for field in [3_u16, 62] {
            elf.extend_from_slice(&field.to_le_bytes());
        }
        elf.extend_from_slice(&1_u32.to_le_bytes());
        for field in [0_u64, 64, 0] {
            elf.extend_from_slice(&field.to_le_bytes());
        }
        elf.extend_from_slice(&0_u32.to_le_bytes());
        for field in [64_u16, 56, 1, 64, 0, 0] {
            elf.extend_from_slice(&field.to_le_bytes());
        }
        for field in [1_u32, 5] {
            elf.extend_from_slice(&field.to_le_bytes());
        }
        for field in [0x78_u64, 0, 0x10_0000, 100, 5000, 4096] {
            elf.extend_from_slice(&field.to_le_bytes());
        }
        elf.resize(0x78 + 100, 0x90);
        elf
    }

    #[test]
    fn the_archive_is_the_last_segment() {
        let builder = Builder::default();
        let mut archive = builder.layout();
        let outline = outline(&kernel(), &archive).unwrap();
        archive.set_kernel(&outline.kernel);
        let mut bytes = outline.kernel.clone();
        archive.write(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, outline.len());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let open = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Image::open(&path)
        };
        let image = open(&bytes).unwrap().unwrap();
        assert_eq!(image.len, bytes.len() as u64);
        assert_eq!(image.faults().unwrap(), [""; 0]);
        let mut bent = bytes.clone();
        bent[9] ^= 1;
        let last = image.kernel_len as usize + (image.archive().unwrap().pages() - 1) * PAGE_SIZE;
        bent[last + PAGE_SIZE - 1] ^= 1;
        assert_eq!(open(&bent).unwrap().unwrap().faults().unwrap().len(), 2);
        assert!(open(&bytes[..bytes.len() - 1]).is_err());
        assert_eq!(image.end, 0x10_2000 + archive.total_len() as u64);
        assert_eq!(image.end, outline.end());
        assert_eq!(image.kernel_len % PAGE_SIZE as u64, 0);
        assert!(open(&kernel()).unwrap().is_none());
        let alone = outline.kernel_alone();
        assert_eq!(alone.len(), outline.kernel.len());
        let loaded = |elf: &[u8]| {
            let header = FileHeader64::<Endianness>::parse(elf).unwrap();
            let segments = header.program_headers(Endianness::Little, elf).unwrap();
            segments.iter().filter(|segment| segment.p_type(Endianness::Little) == PT_LOAD).count()
        };
        assert_eq!((loaded(&bytes), loaded(&alone)), (2, 1));
    }

    #[test]
    fn files_that_stay_on_a_disk_are_not_loaded() {
        let mut builder = Builder::default();
        let meta = coracle_image::write::Meta::root(0o644);
        let file = coracle_image::write::Node::File(meta, vec![7; 5 * PAGE_SIZE].into());
        builder.tree.insert(b"/large", file).unwrap();
        builder.symbols.extend((0..1000).map(|number| (number, format!("function_{number}"))));
        let mut archive = builder.layout();
        archive.set_on_disk();
        let outline = outline(&kernel(), &archive).unwrap();
        archive.set_kernel(&outline.kernel);
        let mut bytes = outline.kernel.clone();
        archive.write(&mut bytes).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        let image = Image::open(file.path()).unwrap().unwrap();
        assert_eq!(image.faults().unwrap(), [""; 0]);
        // A page of tables, and one of checksums.
        assert!(image.on_demand && outline.on_demand);
        assert_eq!((outline.loaded_len, image.end), (2 * PAGE_SIZE as u64, outline.end()));
        let start = Start::read(file.path()).unwrap().unwrap();
        assert_eq!((start.outline.on_demand, start.outline.end()), (true, outline.end()));
        // What the machine loads, by the program headers.
        let header = FileHeader64::<Endianness>::parse(&*bytes).unwrap();
        let segments = header.program_headers(Endianness::Little, &*bytes).unwrap();
        let mut memory = Vec::new();
        for segment in
            segments.iter().filter(|segment| segment.p_paddr(Endianness::Little) >= outline.address)
        {
            assert_eq!(segment.p_paddr(Endianness::Little), outline.address + memory.len() as u64);
            memory.extend_from_slice(segment.data(Endianness::Little, &*bytes).unwrap());
        }
        let loaded = Archive::parse_loaded(&memory).unwrap();
        assert_eq!(Archive::on_disk(&memory).unwrap(), Some(outline.kernel.len() as u64));
        assert!(loaded.table_pages().all(|page| loaded.check_page(page, crc32c).is_ok()));
        let inode = loaded.find(b"/large").unwrap().unwrap();
        let place = outline.kernel.len() + loaded.data_offset(&inode).unwrap() as usize;
        assert_eq!(bytes[place..place + 5 * PAGE_SIZE], [7; 5 * PAGE_SIZE]);
        assert_eq!(loaded.symbols().len(), 0);
        memory.truncate(memory.len() - PAGE_SIZE);
        assert!(Archive::parse_loaded(&memory).is_err());
    }

    #[test]
    fn the_start_is_enough_to_run() {
        let settings = coracle_image::write::Settings { memory: Some(1 << 26), ..Default::default() };
        let builder = Builder { settings, ..Builder::default() };
        let mut archive = builder.layout();
        let outline = outline(&kernel(), &archive).unwrap();
        archive.set_kernel(&outline.kernel);
        let mut bytes = outline.kernel.clone();
        archive.write(&mut bytes).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(file.path(), bytes).unwrap();
            Start::read(file.path())
        };
        let start = read(&bytes).unwrap().unwrap();
        assert_eq!(start.config().memory(), Some(1 << 26));
        assert_eq!(
            (start.outline.address, start.outline.len(), &start.outline.kernel),
            (0x10_2000, bytes.len() as u64, &outline.kernel)
        );
        let mut bent = bytes.clone();
        bent[9] ^= 1;
        assert!(read(&bent).is_err());
        assert!(read(&bytes[..bytes.len() - 1]).is_err());
        assert!(read(&bytes[..outline.kernel.len() + 20]).is_err());
        assert!(read(&kernel()).unwrap().is_none());
        assert!(read(b"#!/bin/sh").unwrap().is_none());
    }
}
