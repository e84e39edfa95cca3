//! A program's stack and code as a guest has said them, which may have changed since: a crash, a traced call.

use std::rc::Rc;

use coracle_control::{CODE_SAMPLE, STACK_REGISTERS};
use coracle_crc32c::crc32c;

use super::{Find, Frame, Module, program_frames};
use crate::observe::profile::Copy;
use crate::observe::stack::{Files, MOST_FRAMES, Mapping};
use crate::observe::unwind::Registers;

/// A region with code of a file, and the checksum of its first bytes; 0: not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    mapping: Mapping,
    sum: u32,
}

impl Region {
    /// From a line: the first address, the first behind it, the offset in the file, the checksum, the path.
    pub fn parse(line: &str) -> Option<Region> {
        let mut words = line.splitn(5, ' ');
        let mut hex = || u64::from_str_radix(words.next()?, 16).ok();
        let (start, end, offset, sum) = (hex()?, hex()?, hex()?, u32::try_from(hex()?).ok()?);
        let name = words.next()?.to_owned();
        Some(Region { mapping: Mapping { start, end, offset, is_code: true, name }, sum })
    }

    /// Whether a file begins there with the same bytes.
    fn is_of(&self, module: &Module) -> bool {
        let start = usize::try_from(self.mapping.offset).unwrap_or(usize::MAX);
        let Some(bytes) = module.bytes().get(start..) else { return false };
        // Behind the file's end there are zeroes.
        let mut own = [0; CODE_SAMPLE];
        let len = bytes.len().min(CODE_SAMPLE);
        own[..len].copy_from_slice(&bytes[..len]);
        self.sum != 0 && crc32c(&own) == self.sum
    }
}

/// The registers of words that have the order of DWARF.
pub fn registers(words: impl IntoIterator<Item = u64>) -> Registers {
    let mut all = [None; STACK_REGISTERS];
    all.iter_mut().zip(words).for_each(|(place, word)| *place = Some(word));
    all
}

/// The frames of a stack.
pub fn frames(registers: Registers, regions: &[Region], stack: &Copy, files: &mut Files) -> Vec<Frame> {
    program_frames(registers, &mut Said { regions, stack, files }, MOST_FRAMES)
}

/// What is at these addresses, the innermost of which is first.
pub fn frames_at(addresses: &[u64], regions: &[Region], files: &mut Files) -> Vec<Frame> {
    let stack = Copy::default();
    let mut said = Said { regions, stack: &stack, files };
    let frames = addresses.iter().enumerate().map(|(number, &address)| {
        // As behind a call.
        let behind = u64::from(number > 0);
        let calling = address.wrapping_sub(behind);
        let Some(mapping) = said.mapping(calling) else {
            return Frame { address, file: String::new(), offset: 0, named: Vec::new() };
        };
        let offset = calling - mapping.start + mapping.offset;
        let module = said.module(&mapping);
        let named = module.and_then(|module| Some(module.named(module.linked_address(offset)?, behind)));
        Frame { address, file: mapping.name, offset, named: named.unwrap_or_default() }
    });
    frames.collect()
}

struct Said<'a> {
    regions: &'a [Region],
    stack: &'a Copy,
    files: &'a mut Files,
}

impl Said<'_> {
    fn region(&self, address: u64) -> Option<&Region> {
        self.regions.iter().find(|region| (region.mapping.start..region.mapping.end).contains(&address))
    }
}

impl Find for Said<'_> {
    fn mapping(&mut self, address: u64) -> Option<Mapping> {
        self.region(address).map(|region| region.mapping.clone())
    }

    fn module(&mut self, mapping: &Mapping) -> Option<Rc<Module>> {
        let region = self.regions.iter().find(|region| region.mapping == *mapping)?;
        self.files.module_if(mapping, |module| region.is_of(module))
    }

    fn word(&mut self, address: u64) -> Option<u64> {
        self.stack.word(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_read() {
        let region = Region::parse("1000 2000 0 deadbeef /bin/a b").unwrap();
        assert_eq!(
            (region.mapping.name.as_str(), region.sum, region.mapping.end),
            ("/bin/a b", 0xdead_beef, 0x2000)
        );
        for wrong in ["", "1000 2000 0 1", "1000 2000 0 1ffffffff /x", "x 2000 0 0 /x"] {
            assert_eq!(Region::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_is_known_by_its_first_bytes() {
        let path = std::env::current_exe().unwrap();
        let module = Module::load(&path).unwrap();
        let sum = crc32c(&module.bytes()[..CODE_SAMPLE]);
        let region = |sum: u32| Region::parse(&format!("1000 2000 0 {sum:x} {}", path.display())).unwrap();
        assert!(region(sum).is_of(&module));
        assert!(!region(sum ^ 1).is_of(&module) && !region(0).is_of(&module));
    }
}
