//! Source lines of addresses, and the functions that were inlined there (DWARF 5, sections 3.3.8 and 6.2).

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use addr2line::Context;
use gimli::{Dwarf, EndianArcSlice, RunTimeEndian, SectionId};
use object::{Object as _, ObjectSection as _, ObjectSegment as _, SegmentFlags};

use super::debug_file;

/// The folder of the kernel's sources where this command was built: their names in the kernel begin with it.
const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

type Reader = EndianArcSlice<RunTimeEndian>;

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line.
    pub line: u32,
}

/// A function at an address: the one that has it, or one that was inlined there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it was.
    pub place: Option<Place>,
}

/// The debug information of a file.
pub struct Lines {
    context: Context<Reader>,
    /// Where its code is linked to; empty: anywhere. A function that the linker has left out is described as if it were at 0.
    code: Vec<Range<u64>>,
}

impl Lines {
    /// That of an ELF file, or of the separate file that belongs to it. `path`: where the file is. `None` if there is none.
    pub fn of(elf: &[u8], path: Option<&Path>) -> Option<Lines> {
        let file = object::File::parse(elf).ok()?;
        let code = code(&file);
        let context = if has_lines(&file) {
            Lines::read(&file)
        } else {
            let separate = debug_file::of(&file, path)?;
            Lines::read(&object::File::parse(&*separate).ok()?)
        };
        Some(Lines { context: context?, code })
    }

    fn read(file: &object::File<'_>) -> Option<Context<Reader>> {
        let supplement = debug_file::supplement(file);
        let supplement = supplement.as_deref().and_then(|bytes| object::File::parse(bytes).ok());
        let mut dwarf = Dwarf::load(|id| section(file, id)).ok()?;
        if let Some(supplement) = &supplement {
            dwarf.load_sup(|id| section(supplement, id)).ok()?;
        }
        dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
        Context::from_dwarf(dwarf).ok()
    }

    /// The functions at a linked address, the innermost first; empty if nothing is known of it.
    pub fn functions(&self, address: u64) -> Vec<Function> {
        let mut all = Vec::new();
        if !self.code.is_empty() && !self.code.iter().any(|range| range.contains(&address)) {
            return all;
        }
        // Parts in files of their own (DWARF 5, section 7.3.2) are not looked for.
        let Ok(mut frames) = self.context.find_frames(address).skip_all_loads() else { return all };
        // What can't be read ends it.
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.and_then(|function| {
                let raw = function.raw_name().ok()?.into_owned();
                Some(addr2line::demangle_auto(Cow::Owned(raw), function.language).into_owned())
            });
            let place = frame.location.and_then(|location| {
                Some(Place { file: shown(location.file?), line: location.line.filter(|line| *line != 0)? })
            });
            all.push(Function { name, place });
        }
        all
    }
}

/// A section, uncompressed; empty if the file has none.
fn section(file: &object::File<'_>, id: SectionId) -> Result<Reader, gimli::Error> {
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let bytes = file.section_by_name(id.name()).and_then(|section| section.uncompressed_data().ok());
    Ok(EndianArcSlice::new(Arc::from(&*bytes.unwrap_or_default()), endian))
}

/// The addresses that a file's executable segments are linked to.
fn code(file: &object::File<'_>) -> Vec<Range<u64>> {
    let is_code = |flags| matches!(flags, SegmentFlags::Elf { p_flags, .. } if p_flags & object::elf::PF_X == object::elf::PF_X);
    let segments = file.segments().filter(|segment| is_code(segment.flags()));
    segments.map(|segment| segment.address()..segment.address().saturating_add(segment.size())).collect()
}

/// Whether a file has lines itself.
fn has_lines(file: &object::File<'_>) -> bool {
    // Also as `.zdebug_line`, as old linkers compress it.
    file.section_by_name(SectionId::DebugLine.name()).is_some_and(|section| section.size() > 0)
}

/// The name of a source: that of the kernel's, from the root of its tree on.
fn shown(file: &str) -> String {
    let root = Path::new(SOURCES).parent();
    let below = root.and_then(|root| Path::new(file).strip_prefix(root).ok());
    match below.filter(|below| {
        below.starts_with("kernel") || below.starts_with("hal") || below.starts_with("crates")
    }) {
        Some(below) => below.to_string_lossy().into_owned(),
        None => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_the_kernel_are_named_from_its_root_on() {
        let root = Path::new(SOURCES).parent().unwrap().to_string_lossy().into_owned();
        assert_eq!(shown(&format!("{root}/kernel/src/main.rs")), "kernel/src/main.rs");
        assert_eq!(shown(&format!("{root}/web.c")), format!("{root}/web.c"));
        assert_eq!(shown("/rustc/1/library/core/src/a.rs"), "/rustc/1/library/core/src/a.rs");
    }

    /// The program of this test has debug information of its own.
    #[test]
    fn lines_of_this_program() {
        let path = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let lines = Lines::of(&bytes, Some(&path)).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let own = object::Object::symbols(&file).find(|symbol| {
            object::ObjectSymbol::name(symbol).is_ok_and(|name| name.contains("lines_of_this_program"))
        });
        let address = object::ObjectSymbol::address(&own.unwrap());
        let found = lines.functions(address);
        let last = found.last().unwrap();
        assert!(last.name.as_ref().unwrap().contains("lines_of_this_program"), "{found:?}");
        assert!(last.place.as_ref().unwrap().file.ends_with("symbols/lines.rs"), "{found:?}");
        assert!(lines.functions(1).is_empty());
    }

    #[test]
    fn no_file_is_of_no_use() {
        assert!(Lines::of(b"#!/bin/sh", None).is_none());
        assert!(Lines::of(b"\x7fELF\x02\x01\x01", None).is_none());
    }
}
