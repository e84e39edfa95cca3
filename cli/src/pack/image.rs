//! The image: the kernel's ELF with one more segment, the archive, behind its last.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use coracle_image::PAGE_SIZE;
use coracle_image::archive::Archive;
use coracle_image::checksum::crc32c;
use object::Endianness;
use object::elf::{ELFMAG, FileHeader64, PF_R, PT_LOAD, PT_PHDR};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use crate::error::{Error, Result};

/// Bytes of a 64-bit ELF program header.
const PHDR_LEN: usize = 56;
/// Offset in it of where the segment begins in the file.
const P_OFFSET: usize = 0x08;
/// Bytes of a 64-bit ELF header.
const ELF_HEADER_LEN: usize = 64;
/// Offsets in a 64-bit ELF header of where its program headers are, and how many (elf(5)).
const E_PHOFF: usize = 0x20;
const E_PHNUM: usize = 0x38;

/// The name in the note from which a hypervisor learns where to enter the kernel (Xen's PVH boot protocol).
const PVH_NOTE: &[u8] = b"Xen";

/// An image that was read.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// The files and settings.
    pub archive: Archive<'a>,
    /// Where the archive begins in the file: the length of the kernel.
    pub kernel_len: u64,
    /// The physical address behind the last byte that is loaded.
    pub end: u64,
}

impl<'a> Image<'a> {
    /// Reads an image; `None` if the bytes are something else.
    ///
    /// # Errors
    /// If they are an image, but a damaged one or one of another version.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, coracle_image::Error> {
        let Ok(header) = FileHeader64::<Endianness>::parse(bytes) else { return Ok(None) };
        let Ok(endian) = header.endian() else { return Ok(None) };
        let Ok(segments) = header.program_headers(endian, bytes) else { return Ok(None) };
        for segment in segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD) {
            let start = segment.p_offset(endian);
            let Some(data) = usize::try_from(start).ok().and_then(|start| bytes.get(start..)) else {
                continue;
            };
            if data.starts_with(&coracle_image::MAGIC) {
                let archive = Archive::parse(data)?;
                let end = segment.p_paddr(endian).saturating_add(segment.p_memsz(endian));
                return Ok(Some(Image { archive, kernel_len: start, end }));
            }
        }
        // A program has no entry for a hypervisor: this was an image.
        let is_kernel = segments
            .iter()
            .filter_map(|segment| segment.notes(endian, bytes).ok().flatten())
            .any(|mut notes| notes.next().is_ok_and(|note| note.is_some_and(|note| note.name() == PVH_NOTE)));
        if is_kernel { Err(coracle_image::Error::NotAnArchive) } else { Ok(None) }
    }

    /// Checks the kernel, which can't check itself before it runs. `bytes` is the image's file.
    ///
    /// # Errors
    /// [`coracle_image::Error::Kernel`].
    pub fn check_kernel(&self, bytes: &[u8]) -> Result<(), coracle_image::Error> {
        let kernel = usize::try_from(self.kernel_len).ok().and_then(|len| bytes.get(..len));
        let sum = kernel.map(crc32c);
        if sum == Some(self.archive.kernel_sum()) { Ok(()) } else { Err(coracle_image::Error::Kernel) }
    }

    /// Everything in the image that does not have its checksum, in words.
    pub fn faults(&self, bytes: &[u8]) -> Vec<String> {
        let kernel = self.check_kernel(bytes);
        let table = self.archive.check_table(crc32c);
        let mut faults: Vec<String> =
            [kernel, table].into_iter().filter_map(|check| check.err()).map(|why| why.to_string()).collect();
        if table.is_err() {
            return faults;
        }
        for page in 0..self.archive.pages() {
            let Err(why) = self.archive.check_page(page, crc32c) else { continue };
            let names: Vec<_> =
                self.archive.names_in_page(page).map(|name| String::from_utf8_lossy(name)).collect();
            let held =
                if names.is_empty() { String::new() } else { format!(", part of {}", names.join(", ")) };
            faults.push(format!("{why}{held}"));
        }
        faults
    }
}

/// Whether the file is an image. Reads no more of it than that takes.
pub fn is_image(path: &Path) -> bool {
    let look = || -> std::io::Result<bool> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Ok(false);
        }
        let mut header = [0; ELF_HEADER_LEN];
        file.read_exact_at(&mut header, 0)?;
        if !header.starts_with(&ELFMAG) {
            return Ok(false);
        }
        let table = u64::from_le_bytes(std::array::from_fn(|at| header[E_PHOFF + at]));
        let count = u16::from_le_bytes(std::array::from_fn(|at| header[E_PHNUM + at]));
        for index in 0..u64::from(count) {
            let mut segment = [0; PHDR_LEN];
            file.read_exact_at(&mut segment, table.saturating_add(index * PHDR_LEN as u64))?;
            let offset = u64::from_le_bytes(std::array::from_fn(|at| segment[P_OFFSET + at]));
            let mut magic = [0; coracle_image::MAGIC.len()];
            // A segment without bytes in the file may name a place behind its end.
            if file.read_exact_at(&mut magic, offset).is_ok() && magic == coracle_image::MAGIC {
                return Ok(true);
            }
        }
        Ok(false)
    };
    look().unwrap_or(false)
}

/// Joins a kernel (without sections) and an archive.
pub fn join(kernel: &[u8], archive: &[u8]) -> Result<Vec<u8>> {
    let explain = |error: object::Error| Error::new("the kernel is not an ELF file").why(error);
    let header = FileHeader64::<Endianness>::parse(kernel).map_err(explain)?;
    let endian = header.endian().map_err(explain)?;
    let segments = header.program_headers(endian, kernel).map_err(explain)?;
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
    let offset = (table + (usize::from(count) + 1) * PHDR_LEN).next_multiple_of(PAGE_SIZE);
    image.extend_from_slice(&PT_LOAD.0.to_le_bytes());
    image.extend_from_slice(&PF_R.0.to_le_bytes());
    let length = archive.len() as u64;
    for field in [offset as u64, address, address, length, length, PAGE_SIZE as u64] {
        image.extend_from_slice(&field.to_le_bytes());
    }
    image[E_PHOFF..E_PHOFF + 8].copy_from_slice(&(table as u64).to_le_bytes());
    image[E_PHNUM..E_PHNUM + 2].copy_from_slice(&(count + 1).to_le_bytes());
    image.resize(offset, 0);
    image.extend_from_slice(archive);
    let (kernel, archive) = image.split_at_mut(offset);
    coracle_image::write::set_kernel_sum(archive, kernel);
    Ok(image)
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
        let archive = Builder::default().finish();
        let bytes = join(&kernel(), &archive).unwrap();
        let image = Image::parse(&bytes).unwrap().unwrap();
        assert_eq!(image.archive.bytes().len(), archive.len());
        assert_eq!(image.faults(&bytes), [""; 0]);
        let mut bent = bytes.clone();
        bent[9] ^= 1;
        let last = image.kernel_len as usize + (image.archive.pages() - 1) * PAGE_SIZE;
        bent[last + PAGE_SIZE - 1] ^= 1;
        assert_eq!(Image::parse(&bent).unwrap().unwrap().faults(&bent).len(), 2);
        assert_eq!(image.end, 0x10_2000 + archive.len() as u64);
        assert_eq!(image.kernel_len % PAGE_SIZE as u64, 0);
        assert!(Image::parse(&kernel()).unwrap().is_none());
    }
}
