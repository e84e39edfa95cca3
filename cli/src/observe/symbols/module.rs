//! Executables and libraries: their functions, and how their frames are unwound.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use object::elf::{FileHeader64, PT_LOAD, SHT_SYMTAB, STT_FUNC, STT_NOTYPE};
use object::read::elf::{FileHeader as _, ProgramHeader as _, Sym as _};
use object::{Endianness, Object as _, ObjectSection as _};

use super::frames::Named;
use super::lines::Lines;
use crate::observe::unwind::{Frames, Kind};

/// An ELF file in memory.
pub struct Module {
    /// Functions by address: where each begins, its length (0: unknown), and its name.
    functions: Vec<(u64, u64, String)>,
    /// How its frames are unwound.
    pub frames: Frames,
    /// Its loaded parts: offset in the file, address, bytes.
    loads: Vec<(u64, u64, u64)>,
    /// The file.
    bytes: Vec<u8>,
    /// Where it is, if it is a file of this machine.
    path: Option<PathBuf>,
    /// Its debug information, once it was looked for.
    lines: OnceCell<Option<Lines>>,
}

impl Module {
    /// Reads an ELF file. `None` if it is none for this machine.
    pub fn read(elf: Vec<u8>) -> Option<Module> {
        let bytes = &*elf;
        let header = FileHeader64::<Endianness>::parse(bytes).ok()?;
        let endian = header.endian().ok()?;
        let sections = header.sections(endian, bytes).ok()?;
        let mut functions = Vec::new();
        // The dynamic table has a part of the other, which may be stripped.
        for kind in [SHT_SYMTAB, object::elf::SHT_DYNSYM] {
            let Ok(table) = sections.symbols(endian, bytes, kind) else { continue };
            for symbol in table.iter() {
                let is_code =
                    symbol.st_type() == STT_FUNC || (symbol.st_type() == STT_NOTYPE && kind == SHT_SYMTAB);
                let place = symbol.st_value(endian);
                if is_code && !symbol.is_undefined(endian) {
                    let symbol_name = table.symbol_name(endian, symbol).unwrap_or_default();
                    if !symbol_name.is_empty() {
                        functions.push((place, symbol.st_size(endian), plain(symbol_name).into_owned()));
                    }
                }
            }
        }
        functions.sort_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
        functions.dedup_by_key(|function| function.0);
        let file = object::File::parse(bytes).ok()?;
        // Go compresses what is not loaded.
        let section = |wanted: &str| {
            let section = file.section_by_name(wanted)?;
            Some((section.address(), section.uncompressed_data().ok()?.into_owned()))
        };
        let loads = header.program_headers(endian, bytes).ok()?.iter();
        let loads = loads.filter(|part| part.p_type(endian) == PT_LOAD);
        let loads =
            loads.map(|part| (part.p_offset(endian), part.p_vaddr(endian), part.p_memsz(endian))).collect();
        let text = file.section_by_name(".text").map_or(0, |section| section.address());
        let frames = Frames::new(match (section(".eh_frame"), section(".debug_frame")) {
            (Some((address, bytes)), _) => Kind::EhFrame { bytes, address, text },
            (None, Some((_, bytes))) => Kind::DebugFrame(bytes),
            (None, None) => Kind::None,
        });
        Some(Module { functions, frames, loads, path: None, lines: OnceCell::new(), bytes: elf })
    }

    /// Reads a file of this machine, whose debug information may be in a file beside it.
    pub fn load(path: &Path) -> Option<Module> {
        let module = Module::read(std::fs::read(path).ok()?)?;
        Some(Module { path: Some(path.to_owned()), ..module })
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The functions at a linked address, the innermost first: those that were inlined, and the one that has it. `behind`: how far
    /// the address that is shown is from this one.
    pub fn named(&self, address: u64, behind: u64) -> Vec<Named> {
        let lines = self.lines.get_or_init(|| Lines::of(&self.bytes, self.path.as_deref()));
        let mut found = lines.as_ref().map(|lines| lines.functions(address)).unwrap_or_default();
        let outer = found.pop();
        let unnamed = |name: Option<String>| name.unwrap_or_else(|| "?".to_owned());
        let mut all: Vec<Named> = found
            .into_iter()
            .map(|inner| Named { function: unnamed(inner.name), distance: None, place: inner.place })
            .collect();
        let own = self.function(address).map(|(name, distance)| (name.to_owned(), distance));
        // A stripped file's symbols may be with its debug information.
        let own = own.or_else(|| {
            let name = outer.as_ref()?.name.clone()?;
            let start = self.frames.function_start(address)?;
            Some((name, address - start))
        });
        if let Some((function, distance)) = own {
            let place = outer.and_then(|outer| outer.place);
            all.push(Named { function, distance: Some(distance + behind), place });
        }
        all
    }

    /// The address that the byte at `offset` of the file is linked for.
    pub fn linked_address(&self, offset: u64) -> Option<u64> {
        let load = self.loads.iter().find(|(start, _, len)| (*start..*start + *len).contains(&offset))?;
        Some(offset - load.0 + load.1)
    }

    /// The function that holds a linked address, and the distance from its start.
    pub fn function(&self, address: u64) -> Option<(&str, u64)> {
        let index = self.functions.partition_point(|function| function.0 <= address).checked_sub(1)?;
        let (start, len, name) = &self.functions[index];
        let distance = address - start;
        // What is longer than its symbol says belongs to no function that has one.
        (*len == 0 || distance < *len).then_some((name.as_str(), distance))
    }
}

/// A name of a symbol as people write it.
fn plain(symbol: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(symbol);
    // A version may follow (`@@GLIBC_2.2.5`).
    let text = match text.split_once('@') {
        Some((name, _)) if !name.is_empty() => Cow::Owned(name.to_owned()),
        _ => text,
    };
    // Without the hash.
    addr2line::demangle_auto(text, None)
}
