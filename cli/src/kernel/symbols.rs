//! Splitting a kernel's ELF into what is loaded and a table of its functions. Used by `build.rs` too.

use object::Endianness;
use object::elf::{FileHeader64, PT_LOAD, SHF_EXECINSTR, SHN_UNDEF, STT_FUNC, STT_NOTYPE};
use object::read::SectionIndex;
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _};

/// Offsets of the fields of a 64-bit ELF header that say where its sections are (elf(5)).
const E_SHOFF: usize = 0x28;
const E_SHNUM: usize = 0x3c;
const E_SHSTRNDX: usize = 0x3e;

/// Bytes of a 64-bit program header, and offsets of its fields.
const PHDR_LEN: usize = 56;
const P_OFFSET: usize = 0x08;
const P_FILESZ: usize = 0x20;
const P_ALIGN: usize = 0x30;
/// Alignment of a segment's bytes in the packed file: what the notes in them ask for, and more.
const SEGMENT_ALIGN: usize = 16;

/// A kernel, taken apart.
pub struct Parts {
    /// The ELF without sections and gaps: what its program headers name, and no more.
    pub stripped: Vec<u8>,
    /// Its architecture, as ELF files number them (`e_machine`).
    pub machine: u16,
    /// Its functions: addresses relative to the lowest `p_vaddr`, ascending, with demangled names.
    pub symbols: Vec<(u32, String)>,
}

/// Takes a kernel apart.
///
/// # Errors
/// A text for people, if this is not a 64-bit little-endian ELF with something to load.
pub fn split(elf: &[u8]) -> Result<Parts, String> {
    let explain = |error: object::Error| format!("not a kernel: {error}");
    let header = FileHeader64::<Endianness>::parse(elf).map_err(explain)?;
    let endian = header.endian().map_err(explain)?;
    let segments = header.program_headers(endian, elf).map_err(explain)?;
    let loaded = || segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
    let base =
        loaded().map(|segment| segment.p_vaddr(endian)).min().ok_or("not a kernel: nothing to load")?;

    let stripped = pack(
        elf,
        header.e_phoff(endian),
        &segments
            .iter()
            .map(|segment| Segment {
                is_loaded: segment.p_type(endian) == PT_LOAD,
                offset: segment.p_offset(endian),
                len: segment.p_filesz(endian),
            })
            .collect::<Vec<_>>(),
    )?;

    let mut symbols = Vec::new();
    let sections = header.sections(endian, elf).map_err(explain)?;
    let table = sections.symbols(endian, elf, object::elf::SHT_SYMTAB).map_err(explain)?;
    for symbol in table.iter() {
        let offset = symbol.st_value(endian).checked_sub(base).and_then(|offset| u32::try_from(offset).ok());
        let (Some(offset), Ok(name)) = (offset, table.symbol_name(endian, symbol)) else { continue };
        // What is written in assembly has no type.
        let is_code = match symbol.st_type() {
            STT_FUNC => symbol.st_shndx(endian) != SHN_UNDEF,
            // `$x` and `$d` begin code and data on Arm ("ELF for the Arm 64-bit Architecture", mapping symbols).
            STT_NOTYPE => {
                !name.starts_with(b"$")
                    && symbol
                        .st_shndx(endian)
                        .index()
                        .and_then(|index| sections.section(SectionIndex(index.into())).ok())
                        .is_some_and(|section| section.sh_flags(endian).contains(SHF_EXECINSTR))
            }
            _ => false,
        };
        if is_code {
            // `{:#}` leaves out the hash at the end of a mangled name.
            symbols.push((offset, format!("{:#}", rustc_demangle::demangle(&String::from_utf8_lossy(name)))));
        }
    }
    symbols.sort();
    symbols.dedup_by_key(|(offset, _)| *offset);
    Ok(Parts { stripped, machine: header.e_machine(endian).0, symbols })
}

/// A program header, as far as packing wants it.
struct Segment {
    is_loaded: bool,
    offset: u64,
    len: u64,
}

/// What is loaded, without gaps: the linker begins each segment on a page of the file, which matters to those who map it,
/// but a kernel is read into memory. Zeroes at a segment's end are left to the loader, which clears what it doesn't read.
fn pack(elf: &[u8], table: u64, segments: &[Segment]) -> Result<Vec<u8>, String> {
    let cut_short = || "not a kernel: cut short".to_owned();
    let table = usize::try_from(table).map_err(|_| cut_short())?;
    let table_end = table + segments.len() * PHDR_LEN;
    let mut packed = elf.get(..table_end).ok_or_else(cut_short)?.to_vec();
    // The section table is cut off, so the header must not name it.
    for (field, length) in [(E_SHOFF, 8), (E_SHNUM, 2), (E_SHSTRNDX, 2)] {
        packed[field..field + length].fill(0);
    }
    let set = |packed: &mut Vec<u8>, index: usize, field: usize, value: u64| {
        let at = table + index * PHDR_LEN + field;
        packed[at..at + 8].copy_from_slice(&value.to_le_bytes());
    };
    // Where each loaded segment was, and where it is now.
    let mut moved = Vec::new();
    for (index, segment) in segments.iter().enumerate().filter(|(_, segment)| segment.is_loaded) {
        let range = segment.offset..segment.offset.checked_add(segment.len).ok_or_else(cut_short)?;
        let bytes = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let bytes = bytes.and_then(|(start, end)| elf.get(start..end)).ok_or_else(cut_short)?;
        let len = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        packed.resize(packed.len().next_multiple_of(SEGMENT_ALIGN), 0);
        let offset = packed.len() as u64;
        set(&mut packed, index, P_OFFSET, offset);
        set(&mut packed, index, P_FILESZ, len as u64);
        set(&mut packed, index, P_ALIGN, SEGMENT_ALIGN as u64);
        moved.push((range, offset));
        packed.extend_from_slice(&bytes[..len]);
    }
    // The others name parts of these (the note that says where to begin).
    for (index, segment) in segments.iter().enumerate().filter(|(_, segment)| !segment.is_loaded) {
        let inside = moved.iter().find(|(range, _)| range.contains(&segment.offset));
        let (range, offset) = inside.ok_or("not a kernel: a segment outside of what is loaded")?;
        set(&mut packed, index, P_OFFSET, segment.offset - range.start + offset);
    }
    Ok(packed)
}
