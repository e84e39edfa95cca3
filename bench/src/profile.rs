//! Instructions per function: joins the plugin's counts of translation blocks with the symbols of the kernel and of the
//! program's files.
//!
//! Where a file is loaded is not asked of the guest but found out: the bytes of the blocks are looked up in the file, and
//! the distance on which the most instructions agree is where it is. So address randomisation can stay on.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind};

use crate::counter::Block;
use crate::report::figure;

/// Blocks with fewer code bytes than this could stand anywhere.
const TELLING_BYTES: usize = 12;
/// How many of the busiest blocks vote on where a file is loaded.
const VOTERS: usize = 3000;
/// A code sequence that stands in a file more often than this says nothing.
const MOST_PLACES: usize = 8;
/// Fraction of the votes (by instructions) below which a file counts as absent.
const LEAST_SHARE: f64 = 0.0005;
/// Where the PC's firmware is, at first; SeaBIOS moves a part of itself to the end of the memory.
const FIRMWARE_END: u64 = 0x10_0000;
/// Pages are mapped whole.
const PAGE: u64 = 4096;

/// An ELF file that may be loaded somewhere in the guest.
struct Module {
    name: String,
    /// Executable sections: address in the file, bytes.
    code: Vec<(u64, Vec<u8>)>,
    /// Functions: address, size (0 = up to the next), name; sorted.
    functions: Vec<(u64, u64, String)>,
}

impl Module {
    fn open(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let elf = object::File::parse(&*bytes).with_context(|| format!("{} is no ELF", path.display()))?;
        let code = elf
            .sections()
            .filter(|section| section.kind() == SectionKind::Text)
            .filter_map(|section| Some((section.address(), section.data().ok()?.to_vec())))
            .collect();
        let mut functions: Vec<_> = elf
            .symbols()
            .chain(elf.dynamic_symbols())
            .filter(|symbol| {
                symbol.is_definition()
                    && matches!(symbol.kind(), object::SymbolKind::Text | object::SymbolKind::Unknown)
            })
            .map(|symbol| {
                let name = symbol.name().unwrap_or("?");
                (symbol.address(), symbol.size(), format!("{:#}", rustc_demangle::demangle(name)))
            })
            .collect();
        functions.sort();
        functions.dedup_by_key(|function| function.0);
        Ok(Self {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            code,
            functions,
        })
    }

    /// Whether an address of the file holds code.
    fn holds(&self, address: u64) -> bool {
        self.code.iter().any(|(start, bytes)| (*start..*start + bytes.len() as u64).contains(&address))
    }

    fn function(&self, address: u64) -> String {
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        match after.checked_sub(1).map(|index| &self.functions[index]) {
            Some((start, size, name)) if *size == 0 || address < start + size => name.clone(),
            // A stripped file: what is not exported is told apart by page.
            _ => format!("[{:#x}]", address & !(PAGE - 1)),
        }
    }

    /// The distances between file and guest addresses at which the block's bytes would fit.
    fn places(&self, index: &HashMap<[u8; TELLING_BYTES], Vec<u64>>, block: &Block) -> Vec<u64> {
        let Some(key) = block.code.first_chunk::<TELLING_BYTES>() else { return Vec::new() };
        index.get(key).map_or_else(Vec::new, |addresses| {
            addresses
                .iter()
                .map(|address| block.address.wrapping_sub(*address))
                .filter(|slide| slide.is_multiple_of(PAGE))
                .collect()
        })
    }

    /// Finds where the file is loaded.
    fn slide(&self, blocks: &[Block]) -> Option<u64> {
        let wanted: std::collections::HashSet<[u8; TELLING_BYTES]> =
            blocks.iter().filter_map(|block| block.code.first_chunk().copied()).collect();
        let mut index: HashMap<[u8; TELLING_BYTES], Vec<u64>> = HashMap::new();
        for (start, bytes) in &self.code {
            for (offset, window) in bytes.windows(TELLING_BYTES).enumerate() {
                let key: [u8; TELLING_BYTES] = window.try_into().expect("a window of that size");
                if wanted.contains(&key) {
                    index.entry(key).or_default().push(start + offset as u64);
                }
            }
        }
        index.retain(|_, addresses| addresses.len() <= MOST_PLACES);
        let mut votes: HashMap<u64, u64> = HashMap::new();
        let mut all = 0;
        for block in blocks {
            let weight = block.insns * block.executions;
            all += weight;
            for slide in self.places(&index, block) {
                *votes.entry(slide).or_default() += weight;
            }
        }
        let (slide, weight) = votes.into_iter().max_by_key(|(_, weight)| *weight)?;
        (weight as f64 >= all as f64 * LEAST_SHARE).then_some(slide)
    }
}

/// What was executed between two readings of the blocks.
pub fn difference(before: &[Block], after: Vec<Block>) -> Vec<Block> {
    let key = |block: &Block| (block.address, block.insns, block.code.clone());
    let earlier: HashMap<_, u64> = before.iter().map(|block| (key(block), block.executions)).collect();
    after
        .into_iter()
        .filter_map(|mut block| {
            block.executions -= earlier.get(&key(&block)).copied().unwrap_or(0);
            (block.executions > 0).then_some(block)
        })
        .collect()
}

/// What functions executed, by their files and names: instructions and blocks.
type Functions = HashMap<(String, String), (u64, u64)>;

/// The functions that these blocks belong to.
fn by_function(mut blocks: Vec<Block>, files: &[PathBuf]) -> Result<Functions> {
    blocks.sort_by_key(|block| std::cmp::Reverse(block.insns * block.executions));
    let mut loaded = Vec::new();
    for file in files {
        let module = Module::open(file)?;
        if let Some(slide) = module.slide(&blocks[..blocks.len().min(VOTERS)]) {
            loaded.push((slide, module));
        }
    }
    let mut functions = Functions::new();
    for block in &blocks {
        let insns = block.insns * block.executions;
        let (module, function) = loaded
            .iter()
            .find_map(|(slide, module)| {
                let address = block.address.wrapping_sub(*slide);
                module.holds(address).then(|| (module.name.clone(), module.function(address)))
            })
            .unwrap_or_else(|| {
                let place = match block.address {
                    ..FIRMWARE_END => "(firmware)",
                    address if address >> 63 == 1 => "(kernel)",
                    _ => "(elsewhere)",
                };
                (place.to_owned(), format!("[{:#x}]", block.address & !(PAGE - 1)))
            });
        let entry = functions.entry((module, function)).or_default();
        entry.0 += insns;
        entry.1 += block.executions;
    }
    Ok(functions)
}

/// The table of functions by instructions, the `lines` busiest first. `files` are those that may hold the code. What `base` executed, in a
/// guest of its own, is subtracted.
pub fn table(
    blocks: Vec<Block>,
    base: Vec<Block>,
    files: &[PathBuf],
    operations: u64,
    lines: usize,
) -> Result<String> {
    if blocks.is_empty() {
        bail!("nothing was executed");
    }
    let mut functions = by_function(blocks, files)?;
    for (function, (insns, executions)) in by_function(base, files)? {
        if let Some(all) = functions.get_mut(&function) {
            *all = (all.0.saturating_sub(insns), all.1.saturating_sub(executions));
        }
    }
    let mut modules: HashMap<&str, u64> = HashMap::new();
    for ((module, _), (insns, _)) in &functions {
        *modules.entry(module).or_default() += insns;
    }
    let all: u64 = modules.values().sum();
    let per = |insns: u64| insns as f64 / operations.max(1) as f64;
    let mut text = format!("{} instructions per operation, {operations} operations\n\n", figure(per(all)));
    let mut by_module: Vec<_> = modules.into_iter().collect();
    by_module.sort_by_key(|(_, insns)| std::cmp::Reverse(*insns));
    for (module, insns) in by_module {
        let _ = writeln!(text, "{:>12}  {module}", figure(per(insns)));
    }
    let _ = writeln!(text, "\n{:>12} {:>6} {:>8}  function", "insns/op", "%", "blocks");
    let mut rows: Vec<_> = functions.into_iter().collect();
    rows.sort_by_key(|(_, (insns, _))| std::cmp::Reverse(*insns));
    for ((module, function), (insns, executions)) in rows.into_iter().take(lines) {
        let _ = writeln!(
            text,
            "{:>12} {:>6.2} {:>8}  {module}: {function}",
            figure(per(insns)),
            insns as f64 / all as f64 * 100.0,
            figure(per(executions))
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of `len` different bytes of code at `start`, with one function in its middle.
    fn module(start: u64, len: usize) -> Module {
        let code: Vec<u8> = (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let functions = vec![(start + 100, 50, "middle".to_owned())];
        Module { name: "test".into(), code: vec![(start, code)], functions }
    }

    fn block(module: &Module, offset: usize, slide: u64) -> Block {
        let (start, code) = &module.code[0];
        Block {
            address: start + offset as u64 + slide,
            insns: 3,
            executions: 10,
            code: code[offset..offset + 20].to_vec(),
        }
    }

    #[test]
    fn a_file_is_found_where_it_is_loaded() {
        let module = module(0x1000, 5000);
        let slide = 0x7fff_0000_0000;
        let blocks: Vec<_> = (0..20).map(|index| block(&module, index * 200 + 7, slide)).collect();
        assert_eq!(module.slide(&blocks), Some(slide));
        let elsewhere = Block { code: vec![0x90; 20], ..blocks[0].clone() };
        assert_eq!(module.slide(&[elsewhere]), None);
    }

    #[test]
    fn an_address_outside_known_functions_is_told_by_its_page() {
        let module = module(0x1000, 5000);
        assert_eq!(module.function(0x1000 + 120), "middle");
        assert_eq!(module.function(0x2345), "[0x2000]");
        assert!(module.holds(0x1000) && !module.holds(0x1000 + 5000));
    }

    #[test]
    fn the_difference_leaves_out_what_was_not_executed_since() {
        let module = module(0x1000, 5000);
        let (old, new) = (block(&module, 0, 0), block(&module, 40, 0));
        let later = Block { executions: 25, ..old.clone() };
        let left = difference(&[old.clone(), new.clone()], vec![later, new]);
        assert_eq!(left.iter().map(|block| block.executions).collect::<Vec<_>>(), [15]);
    }
}
