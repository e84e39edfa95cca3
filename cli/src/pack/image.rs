//! The image: the kernel's ELF with one more segment, the archive, behind its last.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use coracle_image::PAGE_SIZE;
use coracle_image::archive::Archive;
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
        Ok(None)
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
        assert_eq!(image.archive.bytes(), archive);
        assert_eq!(image.end, 0x10_2000 + archive.len() as u64);
        assert_eq!(image.kernel_len % PAGE_SIZE as u64, 0);
        assert!(Image::parse(&kernel()).unwrap().is_none());
    }
}
