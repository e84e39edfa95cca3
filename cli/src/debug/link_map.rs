//! The names by which a program's dynamic linker knows its libraries (`link.h`): gdb looks for their files under these.

use object::Endianness;
use object::elf::{FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader as _, ProgramHeader as _};

use super::session::Session;
use crate::error::Result;

/// Entries of the auxiliary vector (getauxval(3)).
const AT_PHDR: u64 = 3;
const AT_PHNUM: u64 = 5;
const AT_BASE: u64 = 7;
/// A program header: its bytes, its type, and where its address is.
const PROGRAM_HEADER: usize = 56;
const PT_DYNAMIC: u32 = 2;
const PT_PHDR: u32 = 6;
const ADDRESS_AT: usize = 16;
/// An entry of the dynamic section: the address of `struct r_debug`.
const DT_DEBUG: u64 = 21;
/// Where `struct r_debug` has its list, and a `struct link_map` its name, its dynamic section and the next.
const R_MAP: u64 = 8;
const L_NAME: u64 = 8;
const L_LD: u64 = 16;
const L_NEXT: u64 = 24;
/// Entries that are looked at: a program can have made a circle of its lists.
const MOST: usize = 4096;
/// Bytes of a path at most.
const PATH: usize = 4096;

/// The words of an auxiliary vector.
fn entry(auxv: &[u8], wanted: u64) -> Option<u64> {
    let words: Vec<u64> =
        auxv.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_le_bytes)).collect();
    words.chunks_exact(2).find(|pair| pair[0] == wanted).map(|pair| pair[1])
}

fn word(session: &mut Session, at: u64) -> Result<Option<u64>> {
    Ok(session.read(at, 8)?.try_into().ok().map(u64::from_le_bytes))
}

/// The libraries that are loaded: an address within each, and the name. Empty before the dynamic linker has begun.
///
/// # Errors
/// If the guest does not answer.
pub fn names(session: &mut Session, auxv: &[u8]) -> Result<Vec<(u64, String)>> {
    let mut found = Vec::new();
    let (Some(headers), Some(count)) = (entry(auxv, AT_PHDR), entry(auxv, AT_PHNUM)) else {
        return Ok(found);
    };
    let bytes = session.read(headers, PROGRAM_HEADER * usize::try_from(count).unwrap_or(0).min(MOST))?;
    let field = |header: &[u8], at: usize| {
        header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    };
    let of_kind =
        |kind: u32| bytes.chunks_exact(PROGRAM_HEADER).find(move |header| header[..4] == kind.to_le_bytes());
    let Some(dynamic) = of_kind(PT_DYNAMIC).map(|header| field(header, ADDRESS_AT)) else { return Ok(found) };
    // The program may lie elsewhere than it was linked for.
    let linked = of_kind(PT_PHDR).map_or(headers, |header| field(header, ADDRESS_AT));
    let mut at = dynamic.wrapping_add(headers.wrapping_sub(linked));
    let mut debug = None;
    for _ in 0..MOST {
        match (word(session, at)?, word(session, at.wrapping_add(8))?) {
            (Some(DT_DEBUG), value) => {
                debug = value.filter(|value| *value != 0);
                break;
            }
            (Some(0) | None, _) => break,
            _ => at = at.wrapping_add(16),
        }
    }
    let Some(debug) = debug else { return Ok(found) };
    let mut next = word(session, debug.wrapping_add(R_MAP))?;
    while let Some(map) = next.filter(|map| *map != 0 && found.len() < MOST) {
        let name = word(session, map.wrapping_add(L_NAME))?;
        let place = word(session, map.wrapping_add(L_LD))?;
        if let (Some(name), Some(place)) = (name, place) {
            let text = session.read(name, PATH)?;
            let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
            found.push((place, String::from_utf8_lossy(text).into_owned()));
        }
        next = word(session, map.wrapping_add(L_NEXT))?;
    }
    Ok(found)
}

/// The dynamic linker of a program: the address where it is mapped, and the name that the program has for it.
pub fn interpreter(program: &[u8], auxv: &[u8]) -> Option<(u64, String)> {
    let header = FileHeader64::<Endianness>::parse(program).ok()?;
    let endian = header.endian().ok()?;
    let headers = header.program_headers(endian, program).ok()?;
    let name =
        headers.iter().find(|header| header.p_type(endian) == PT_INTERP)?.data(endian, program).ok()?;
    let name = name.split(|byte| *byte == 0).next()?;
    Some((entry(auxv, AT_BASE)?, String::from_utf8_lossy(name).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_an_auxiliary_vector() {
        let auxv: Vec<u8> = [3u64, 0x40, 7, 0x5000, 0, 0].into_iter().flat_map(u64::to_le_bytes).collect();
        assert_eq!(
            (entry(&auxv, AT_PHDR), entry(&auxv, AT_BASE), entry(&auxv, 9)),
            (Some(0x40), Some(0x5000), None)
        );
        assert_eq!(entry(&auxv[..12], AT_PHDR), None);
    }
}
