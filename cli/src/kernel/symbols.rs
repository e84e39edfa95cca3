//! Splitting a kernel's ELF into what is loaded and a table of its functions. Used by `build.rs` too.

use object::Endianness;
use object::elf::{FileHeader64, PT_LOAD, SHN_UNDEF, STT_FUNC};
use object::read::elf::{FileHeader as _, ProgramHeader as _, Sym as _};

/// Offsets of the fields of a 64-bit ELF header that say where its sections are (elf(5)).
const E_SHOFF: usize = 0x28;
const E_SHNUM: usize = 0x3c;
const E_SHSTRNDX: usize = 0x3e;

/// A kernel, taken apart.
pub struct Parts {
    /// The ELF without sections: what its program headers name, and no more.
    pub stripped: Vec<u8>,
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

    let table_end =
        header.e_phoff(endian) + u64::from(header.e_phnum(endian)) * u64::from(header.e_phentsize(endian));
    let end =
        segments.iter().map(|segment| segment.p_offset(endian).saturating_add(segment.p_filesz(endian)));
    let end = end.chain([table_end]).max().unwrap_or(0);
    let end = usize::try_from(end).ok().filter(|&end| end <= elf.len()).ok_or("not a kernel: cut short")?;
    let mut stripped = elf[..end].to_vec();
    // The section table is cut off, so the header must not name it.
    for (field, length) in [(E_SHOFF, 8), (E_SHNUM, 2), (E_SHSTRNDX, 2)] {
        stripped[field..field + length].fill(0);
    }

    let mut symbols = Vec::new();
    let sections = header.sections(endian, elf).map_err(explain)?;
    let table = sections.symbols(endian, elf, object::elf::SHT_SYMTAB).map_err(explain)?;
    for symbol in table.iter() {
        let offset = symbol.st_value(endian).checked_sub(base).and_then(|offset| u32::try_from(offset).ok());
        let (Some(offset), Ok(name)) = (offset, table.symbol_name(endian, symbol)) else { continue };
        if symbol.st_type() == STT_FUNC && symbol.st_shndx(endian) != SHN_UNDEF {
            // `{:#}` leaves out the hash at the end of a mangled name.
            symbols.push((offset, format!("{:#}", rustc_demangle::demangle(&String::from_utf8_lossy(name)))));
        }
    }
    symbols.sort();
    symbols.dedup_by_key(|(offset, _)| *offset);
    Ok(Parts { stripped, symbols })
}
