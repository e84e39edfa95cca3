//! Symbols of ELF files, for backtraces (System V ABI, "Symbol Table").
use crate::bytes::{u32_at, u64_at};
use crate::elf::Header;
use core::ops::Range;

/// Bytes of a section header.
const SECTION_HEADER_LEN: usize = 64;
/// Bytes of a symbol.
const SYMBOL_LEN: usize = 24;
const SHT_SYMTAB: u32 = 2;
const SHT_DYNSYM: u32 = 11;
/// STT_FUNC and STT_GNU_IFUNC, in the low bits of st_info.
const FUNCTIONS: [u8; 2] = [2, 10];
const TYPE_MASK: u8 = 15;

/// Where a symbol table and its names are in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SymbolSection {
    /// File range of the symbols.
    pub symbols: Range<u64>,
    /// File range of their names.
    pub names: Range<u64>,
}

/// The table of section headers.
pub struct SectionTable;

impl SectionTable {
    /// File range of the table.
    pub fn range(header: &Header) -> Option<Range<u64>> {
        let len = header.section_header_count as u64 * SECTION_HEADER_LEN as u64;
        let end = header.section_headers.checked_add(len)?;
        (header.section_headers != 0 && len != 0).then_some(header.section_headers..end)
    }

    /// The symbol tables, the complete one (`.symtab`) before the dynamic one.
    pub fn symbol_sections(table: &[u8]) -> impl Iterator<Item = SymbolSection> {
        let sections = || table.chunks_exact(SECTION_HEADER_LEN);
        let range = move |index: usize| {
            let section = sections().nth(index)?;
            let offset = u64_at(section, 24)?;
            Some(offset..offset.checked_add(u64_at(section, 32)?)?)
        };
        let tables = [SHT_SYMTAB, SHT_DYNSYM].into_iter().flat_map(move |wanted| {
            sections().enumerate().filter(move |(_, section)| u32_at(section, 4) == Some(wanted))
        });
        tables.filter_map(move |(index, section)| {
            let names = range(u32_at(section, 40)? as usize)?;
            Some(SymbolSection { symbols: range(index)?, names })
        })
    }
}

/// The function that holds `address` (relative to the file's own addresses), among the symbols in `table`: offset of its
/// name among the names, and its start. A symbol without a size holds everything up to the next.
pub fn best_symbol(table: &[u8], address: u64) -> Option<(u32, u64)> {
    let mut best: Option<(u32, u64)> = None;
    for symbol in table.chunks_exact(SYMBOL_LEN) {
        let (Some(name), Some(start), Some(size)) =
            (u32_at(symbol, 0), u64_at(symbol, 8), u64_at(symbol, 16))
        else {
            continue;
        };
        if !FUNCTIONS.contains(&(symbol[4] & TYPE_MASK)) || start > address || start == 0 {
            continue;
        }
        if size != 0 && address - start >= size {
            continue;
        }
        if best.is_none_or(|(_, found)| start > found) {
            best = Some((name, start));
        }
    }
    best
}
