//! The built kernel, taken apart: its functions, their instructions, and which function leads to which.
//!
//! What the checks of the built kernel share. It knows no rule: it only says what is there.
//!
//! - A function begins at each symbol of the text. A label of an assembly file counts as one, so such a "function" may fall
//!   through into the next ([`EdgeKind::FallThrough`]).
//! - Symbols that the linker has folded into one address are one function with several names.
//! - What the kernel runs before it is in 64-bit mode is left out: no rule of the kernel holds there.
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use object::Endianness;
use object::elf::{FileHeader64, PT_LOAD, SHN_ABS, SHT_SYMTAB, STT_FUNC, STT_NOTYPE, STT_OBJECT};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// The first label of 64-bit code (`hal/src/arch/x86_64/start.rs`).
const LONG_MODE: &str = "long_mode";
/// The sections with variables.
const CHANGING: [&str; 2] = [".data", ".bss"];
/// Bytes of an address.
const WORD: u64 = 8;

/// The kernel's ELF file.
pub struct Kernel {
    /// Its functions, by address.
    functions: Vec<Function>,
    /// The words of its data that are addresses, and to what they point.
    pointers: BTreeMap<u64, u64>,
    /// Where its variables are: address and size in bytes, by demangled name.
    variables: BTreeMap<String, (u64, u64)>,
    /// What is loaded: addresses and bytes.
    loaded: Vec<(u64, Vec<u8>)>,
    /// Where the data is that changes.
    changing: Vec<Range<u64>>,
}

/// Code from one symbol to the next.
pub struct Function {
    /// Demangled names, without the hashes at their ends.
    pub names: Vec<String>,
    /// Its first address, as linked.
    pub start: u64,
    /// What it is made of, padding left out.
    pub instructions: Vec<Instruction>,
}

impl Function {
    /// One of its names.
    pub fn name(&self) -> &str {
        self.names.first().map_or("?", String::as_str)
    }
}

/// How control goes from one function to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeKind {
    /// A call, which returns.
    Call,
    /// A jump: the other takes this one's place on the stack.
    Jump,
    /// The next function is reached by going on.
    FallThrough,
}

/// Where control may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the function of this index ([`Kernel::functions`]).
    Function(usize),
    /// Wherever a register or a word of memory points: see [`crate::pointers`].
    Unknown,
}

/// One way from a function into another.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// The address of the instruction.
    pub at: u64,
    /// How.
    pub kind: EdgeKind,
    /// To where.
    pub target: Target,
}

impl Kernel {
    /// Reads the ELF file of a kernel that has its symbols.
    ///
    /// # Errors
    /// A text for people, if the file can't be read or is no kernel.
    pub fn read(path: &Path) -> Result<Kernel, String> {
        let bytes = std::fs::read(path).map_err(|e| {
            format!("cannot read {}: {e}; `cargo build --release` builds the kernel", path.display())
        })?;
        Kernel::parse(&bytes).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// [`Kernel::read`] from memory.
    ///
    /// # Errors
    /// The same.
    pub fn parse(bytes: &[u8]) -> Result<Kernel, String> {
        let explain = |error: object::Error| format!("not a kernel: {error}");
        let header = FileHeader64::<Endianness>::parse(bytes).map_err(explain)?;
        let endian = header.endian().map_err(explain)?;
        let sections = header.sections(endian, bytes).map_err(explain)?;
        let (_, text) = sections.section_by_name(endian, b".text").ok_or("not a kernel: it has no text")?;
        let code = text.data(endian, bytes).map_err(explain)?;
        let text_start = text.sh_addr(endian);
        let text_end = text_start + code.len() as u64;

        let table = sections.symbols(endian, bytes, SHT_SYMTAB).map_err(explain)?;
        let mut labels: BTreeMap<u64, Label> = BTreeMap::new();
        let mut variables = BTreeMap::new();
        let mut long_mode = None;
        // What is no place, such as the address that the kernel is loaded to, may be a number within the text.
        for symbol in table.iter().filter(|symbol| symbol.st_shndx(endian) != SHN_ABS) {
            let Ok(mangled) = table.symbol_name(endian, symbol) else { continue };
            let mangled = String::from_utf8_lossy(mangled);
            let name = format!("{:#}", rustc_demangle::demangle(&mangled));
            let (address, size) = (symbol.st_value(endian), symbol.st_size(endian));
            match symbol.st_type() {
                STT_OBJECT => drop(variables.insert(name, (address, size))),
                STT_FUNC | STT_NOTYPE if (text_start..text_end).contains(&address) && !name.is_empty() => {
                    if name == LONG_MODE {
                        long_mode = Some(address);
                    }
                    let label = labels.entry(address).or_default();
                    label.names.insert(name);
                    label.size = label.size.max(size);
                }
                _ => {}
            }
        }
        let long_mode = long_mode.ok_or("not a kernel with symbols: its 64-bit code has no first label")?;

        let labels: Vec<(u64, Label)> = labels.into_iter().filter(|(at, _)| *at >= long_mode).collect();
        let ends = labels.iter().skip(1).map(|(at, _)| *at).chain([text_end]);
        let functions = labels
            .iter()
            .zip(ends)
            .map(|((start, label), next)| {
                // Labels of assembly have no size.
                let end = if label.size == 0 { next } else { next.min(start + label.size) };
                let bytes = &code[(start - text_start) as usize..(end - text_start) as usize];
                Function {
                    names: label.names.iter().cloned().collect(),
                    start: *start,
                    instructions: disassemble(bytes, *start),
                }
            })
            .collect();

        let segments = header.program_headers(endian, bytes).map_err(explain)?;
        let loaded: Vec<(u64, &[u8])> = segments
            .iter()
            .filter(|segment| segment.p_type(endian) == PT_LOAD)
            .filter_map(|segment| Some((segment.p_vaddr(endian), segment.data(endian, bytes).ok()?)))
            .collect();
        let pointers = match sections.section_by_name(endian, b".relr.dyn") {
            Some((_, section)) => relocated(&loaded, section.data(endian, bytes).map_err(explain)?),
            None => BTreeMap::new(),
        };
        let loaded = loaded.into_iter().map(|(start, bytes)| (start, bytes.to_vec())).collect();
        let changing = CHANGING
            .iter()
            .filter_map(|name| sections.section_by_name(endian, name.as_bytes()))
            .map(|(_, section)| section.sh_addr(endian)..section.sh_addr(endian) + section.sh_size(endian))
            .collect();
        Ok(Kernel { functions, pointers, variables, loaded, changing })
    }

    /// A kernel made by hand, for tests: functions (name, address, code) in order, pointers and variables.
    #[cfg(test)]
    pub(crate) fn by_hand(
        functions: &[(&str, u64, &[u8])],
        pointers: &[(u64, u64)],
        variables: &[(&str, (u64, u64))],
    ) -> Kernel {
        let function = |&(name, start, code): &(&str, u64, &[u8])| Function {
            names: vec![name.to_owned()],
            start,
            instructions: disassemble(code, start),
        };
        Kernel {
            functions: functions.iter().map(function).collect(),
            pointers: pointers.iter().copied().collect(),
            variables: variables.iter().map(|&(name, place)| (name.to_owned(), place)).collect(),
            loaded: Vec::new(),
            changing: Vec::new(),
        }
    }

    /// The same with these bytes of data at `address`, for tests.
    #[cfg(test)]
    pub(crate) fn with_data(mut self, address: u64, bytes: &[u8]) -> Kernel {
        self.loaded.push((address, bytes.to_vec()));
        self
    }

    /// All functions, by address.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The index of the function that begins at `address`.
    pub fn starting_at(&self, address: u64) -> Option<usize> {
        self.functions.binary_search_by_key(&address, |function| function.start).ok()
    }

    /// The index of the function that `address` belongs to.
    pub fn containing(&self, address: u64) -> Option<usize> {
        self.functions.partition_point(|function| function.start <= address).checked_sub(1)
    }

    /// The indices of the functions of this demangled name: several, if it is generic.
    pub fn named(&self, name: &str) -> Vec<usize> {
        let has = |function: &Function| function.names.iter().any(|n| n == name);
        (0..self.functions.len()).filter(|&index| has(&self.functions[index])).collect()
    }

    /// The instruction at `address`.
    pub fn instruction(&self, address: u64) -> Option<&Instruction> {
        let instructions = &self.functions[self.containing(address)?].instructions;
        let index = instructions.binary_search_by_key(&address, Instruction::ip).ok()?;
        instructions.get(index)
    }

    /// Address and size in bytes of the variable of this demangled name.
    pub fn variable(&self, name: &str) -> Option<(u64, u64)> {
        self.variables.get(name).copied()
    }

    /// The words of data that hold addresses: where they are, and to what they point.
    pub fn pointers(&self) -> &BTreeMap<u64, u64> {
        &self.pointers
    }

    /// The address in the word of data at `address`, if that word has one and never another.
    pub fn constant_pointer(&self, address: u64) -> Option<u64> {
        let changes = self.changing.iter().any(|range| range.contains(&address));
        self.pointers.get(&address).copied().filter(|_| !changes)
    }

    /// The word of data at `address`, as linked.
    pub fn word(&self, address: u64) -> Option<u64> {
        self.loaded.iter().find_map(|(start, bytes)| {
            let at = usize::try_from(address.checked_sub(*start)?).ok()?;
            bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
        })
    }

    /// The functions whose addresses the instructions of the function of this index load.
    pub fn loaded_by(&self, index: usize) -> impl Iterator<Item = usize> {
        self.functions[index].instructions.iter().filter_map(|i| {
            let loads = i.mnemonic() == Mnemonic::Lea && i.is_ip_rel_memory_operand();
            loads.then(|| self.starting_at(i.ip_rel_memory_address())).flatten()
        })
    }

    /// The ways out of the function of this index, its returns left out.
    pub fn edges(&self, index: usize) -> Vec<Edge> {
        let function = &self.functions[index];
        let mut edges = Vec::new();
        for (position, i) in function.instructions.iter().enumerate() {
            let mut add = |kind, target| edges.push(Edge { at: i.ip(), kind, target });
            match i.flow_control() {
                // The way to the hypervisor, which comes back to the next instruction and uses no stack of the kernel's.
                FlowControl::Call if is_hypercall(i) => {}
                FlowControl::Call => add(EdgeKind::Call, self.target(i.near_branch_target())),
                FlowControl::IndirectCall => add(EdgeKind::Call, self.indirect(i)),
                FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                    let to = i.near_branch_target();
                    if self.containing(to) != Some(index) {
                        add(EdgeKind::Jump, self.target(to));
                    }
                }
                FlowControl::IndirectBranch if !is_switch(&function.instructions[..=position]) => {
                    add(EdgeKind::Jump, self.indirect(i));
                }
                _ => {}
            }
        }
        if let Some(last) = function.instructions.last()
            && goes_on(last)
            && let Some(next) = self.starting_at(last.next_ip())
        {
            edges.push(Edge { at: last.ip(), kind: EdgeKind::FallThrough, target: Target::Function(next) });
        }
        edges
    }

    fn target(&self, address: u64) -> Target {
        self.containing(address).map_or(Target::Unknown, Target::Function)
    }

    /// What a call or jump through a word of memory reaches, where that word never changes.
    fn indirect(&self, i: &Instruction) -> Target {
        let word = i.is_ip_rel_memory_operand().then(|| i.ip_rel_memory_address());
        word.and_then(|word| self.constant_pointer(word)).map_or(Target::Unknown, |to| self.target(to))
    }
}

/// A symbol's place in the text.
#[derive(Default)]
struct Label {
    names: BTreeSet<String>,
    size: u64,
}

fn disassemble(bytes: &[u8], start: u64) -> Vec<Instruction> {
    let decoder = Decoder::with_ip(64, bytes, start, DecoderOptions::NONE);
    let mut instructions: Vec<Instruction> = decoder.into_iter().collect();
    // Padding behind the end: nothing leads there.
    while let [.., before, last] = instructions.as_slice() {
        if is_padding(last) && (is_padding(before) || !goes_on(before)) {
            instructions.pop();
        } else {
            break;
        }
    }
    instructions
}

fn is_padding(i: &Instruction) -> bool {
    matches!(i.mnemonic(), Mnemonic::Nop | Mnemonic::Int3)
}

/// Whether the next instruction may follow.
pub fn goes_on(i: &Instruction) -> bool {
    !matches!(
        i.flow_control(),
        FlowControl::Return
            | FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Exception
    )
}

/// Whether an instruction calls the hypervisor (Intel SDM volume 3, VMCALL; AMD's manual volume 3, VMMCALL).
fn is_hypercall(i: &Instruction) -> bool {
    matches!(i.mnemonic(), Mnemonic::Vmcall | Mnemonic::Vmmcall)
}

/// Whether the last of `instructions`, a jump to where a register points, is the end of a `match`: the compiler adds an
/// entry of a table of distances to the table's address, and jumps there. It stays within its function.
pub fn is_switch(instructions: &[Instruction]) -> bool {
    /// How far before the jump the addition may be.
    const WINDOW: usize = 8;
    let Some((jump, before)) = instructions.split_last() else { return false };
    if jump.op0_kind() != OpKind::Register {
        return false;
    }
    let register: Register = jump.op0_register();
    let writer = before.iter().rev().take(WINDOW).find(|i| {
        i.op_count() > 0 && i.op0_kind() == OpKind::Register && i.op0_register().full_register() == register
    });
    writer.is_some_and(|i| i.mnemonic() == Mnemonic::Add && i.op1_kind() == OpKind::Register)
}

/// The words that are moved with the kernel, with what they hold: the table of relative relocations in its packed form
/// (the generic ELF specification's SHT_RELR): a word with an even value is an address, one with an odd value has a bit for
/// each of the 63 words behind the last.
fn relocated(loaded: &[(u64, &[u8])], table: &[u8]) -> BTreeMap<u64, u64> {
    const BITS: u64 = 63;
    let word_at = |address: u64| -> Option<u64> {
        let (start, data) =
            loaded.iter().find(|(start, data)| (*start..start + data.len() as u64).contains(&address))?;
        let at = (address - start) as usize;
        Some(u64::from_le_bytes(data.get(at..at + WORD as usize)?.try_into().ok()?))
    };
    let mut pointers = BTreeMap::new();
    let mut add = |address: u64| {
        if let Some(value) = word_at(address) {
            pointers.insert(address, value);
        }
    };
    let mut next = 0;
    for entry in table.chunks_exact(WORD as usize) {
        let entry = u64::from_le_bytes(entry.try_into().unwrap_or_default());
        if entry & 1 == 0 {
            add(entry);
            next = entry + WORD;
        } else {
            for bit in (0..BITS).filter(|bit| entry >> (bit + 1) & 1 != 0) {
                add(next + bit * WORD);
            }
            next += BITS * WORD;
        }
    }
    pointers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relocations_are_unpacked() {
        let data: Vec<u8> = (0..8u64).flat_map(|n| (n * 0x10).to_le_bytes()).collect();
        let table: Vec<u8> = [0x1000u64, 1 | 1 << 1 | 1 << 3].iter().flat_map(|w| w.to_le_bytes()).collect();
        let found = relocated(&[(0x1000, &data)], &table);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(0x1000, 0), (0x1008, 0x10), (0x1018, 0x30)]);
    }

    #[test]
    fn a_jump_by_table_is_told_from_one_through_a_pointer() {
        // movsxd rcx, [rdx + 4 * rcx]; add rcx, rdx; jmp rcx
        let switch = disassemble(&[0x48, 0x63, 0x0c, 0x8a, 0x48, 0x01, 0xd1, 0xff, 0xe1], 0);
        assert!(is_switch(&switch));
        // mov rcx, [rdx + 24]; jmp rcx
        let pointer = disassemble(&[0x48, 0x8b, 0x4a, 0x18, 0xff, 0xe1], 0);
        assert!(!is_switch(&pointer));
    }

    #[test]
    fn padding_is_left_out() {
        // ret; int3; int3
        assert_eq!(disassemble(&[0xc3, 0xcc, 0xcc], 0).len(), 1);
        // A trap that is reached stays: call 0; int3
        assert_eq!(disassemble(&[0xe8, 0, 0, 0, 0, 0xcc], 0).len(), 2);
    }
}
