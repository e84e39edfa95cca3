//! What the calls by pointers of the built kernel may reach.
//!
//! A method of a trait object is called through a slot of a table: the distance from the table's start is in the instruction.
//! So such a call may reach whatever function stands in that slot of a table. The tables are read from the kernel's data. Which
//! trait a table is of shows in the names of its methods; which trait a call is of follows from its function, as the debugging
//! information names it, inlined ones included: `xtask/pointer-calls.txt` lists that, with reasons. A call that the list
//! doesn't mention may be of any trait.
//!
//! A pointer in a register is followed to the nearest instruction before it that sets the register.
use crate::allocations::Frames;
use crate::kernel_elf::{Edge, Kernel, Target};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a pointer.
const WORD: u64 = 8;
/// Words of a table before its methods: how to drop the object, its size, its alignment.
const HEAD_WORDS: u64 = 3;
/// An object's size and alignment are less than this.
const MOST_BYTES: u64 = 1 << 20;
/// No trait has this many methods: what is longer is a table of something else.
const MOST_METHODS: usize = 64;
/// The kind of the tables whose methods name no trait.
const CLOSURE: &str = "closure";

/// How the list says that a pointer is an argument, which the callers make.
const PASSED: &str = "passed";

/// A table of the methods of a type.
struct Table {
    /// The trait, or [`CLOSURE`].
    kind: String,
    /// The functions in its slots, by distance.
    slots: BTreeMap<u64, usize>,
}

impl Table {
    /// Its methods.
    fn methods(&self) -> impl Iterator<Item = usize> {
        self.slots.range(1..).map(|(_, &function)| function)
    }
}

/// A line of the list.
struct Rule {
    function: String,
    slot: Option<u64>,
    targets: Vec<String>,
}

/// What calls by pointers may reach, from `xtask/pointer-calls.txt`.
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Reads the list. A line: a part of the name of the function that the call is in, the slot in hexadecimal (`*`: any, `-`:
    /// none, the pointer is to a function), `=`, and what it may reach, separated by commas: the last name of a trait, `closure`,
    /// `fn` or `method` and a part of functions' names (`method`: of those in tables), or `nothing`. The first line that fits holds. `#` begins a comment.
    ///
    /// # Errors
    /// A text for people that names the line.
    pub fn parse(text: &str) -> Result<Rules, String> {
        let lines = text
            .lines()
            .enumerate()
            .map(|(number, line)| (number + 1, line.split('#').next().unwrap_or("").trim()));
        let rules = lines.filter(|(_, line)| !line.is_empty()).map(|(number, line)| {
            let wrong =
                || format!("line {number}: a function, a slot, `=` and what the call may reach are expected");
            let (call, targets) = line.rsplit_once(" = ").ok_or_else(wrong)?;
            let (function, slot) = call.trim().rsplit_once(' ').ok_or_else(wrong)?;
            let slot = match slot {
                "*" => None,
                "-" => Some(u64::MAX),
                slot => Some(u64::from_str_radix(slot.trim_start_matches("0x"), 16).map_err(|_| wrong())?),
            };
            let targets = targets.split(',').map(|target| target.trim().to_owned()).collect();
            Ok(Rule { function: function.trim().to_owned(), slot, targets })
        });
        rules.collect::<Result<_, String>>().map(Rules)
    }
}

/// What a call by a pointer may reach.
#[derive(Default)]
pub struct Reach {
    /// The functions, by index.
    pub functions: Vec<usize>,
    /// Only those of them that a caller of the function with the call loads the address of.
    pub passed: bool,
}

/// What each call by a pointer may reach, by its address.
pub fn resolve(kernel: &Kernel, frames: &impl Frames, rules: &Rules) -> BTreeMap<u64, Reach> {
    let (tables, plain) = tables(kernel);
    let taken: BTreeSet<usize> =
        tables.iter().flat_map(Table::methods).chain(plain.iter().copied()).collect();
    let mut reached = BTreeMap::new();
    for index in 0..kernel.functions().len() {
        for Edge { at, .. } in kernel.edges(index).into_iter().filter(|edge| edge.target == Target::Unknown) {
            let instructions = &kernel.functions()[index].instructions;
            let position = instructions.binary_search_by_key(&at, Instruction::ip).unwrap_or(0);
            let slot = match pointer(kernel, &instructions[..=position]) {
                Pointer::To(function) => {
                    reached.insert(at, Reach { functions: vec![function], passed: false });
                    continue;
                }
                Pointer::Slot(slot) if tables.iter().any(|table| table.slots.contains_key(&slot)) => {
                    Some(slot)
                }
                _ => None,
            };
            let mut names = frames.at(at);
            names.push(kernel.functions()[index].name().to_owned());
            let rule = rules.0.iter().find(|rule| {
                names[0].contains(&rule.function) && rule.slot.is_none_or(|of| of == slot.unwrap_or(u64::MAX))
            });
            let mut targets: BTreeSet<usize> = BTreeSet::new();
            let allows =
                |kind: &str| rule.is_none_or(|rule| rule.targets.iter().any(|target| target == kind));
            let meant = tables.iter().filter(|table| allows(&table.kind));
            match slot {
                Some(slot) => targets.extend(meant.filter_map(|table| table.slots.get(&slot))),
                // Without a rule these are below.
                None if rule.is_some() => targets.extend(meant.flat_map(Table::methods)),
                None => {}
            }
            match rule {
                None if slot.is_none() => targets.extend(&taken),
                None => {}
                Some(rule) => {
                    let is_named = |index: usize, part: &str| {
                        kernel.functions()[index].names.iter().any(|name| name.contains(part))
                    };
                    for target in &rule.targets {
                        if let Some(part) = target.strip_prefix("fn ") {
                            targets.extend(plain.iter().filter(|&&index| is_named(index, part)));
                        } else if let Some(part) = target.strip_prefix("method ") {
                            targets.extend(
                                tables.iter().flat_map(Table::methods).filter(|&index| is_named(index, part)),
                            );
                        }
                    }
                }
            }
            let passed = rule.is_some_and(|rule| rule.targets.iter().any(|target| target == PASSED));
            reached.insert(at, Reach { functions: targets.into_iter().collect(), passed });
        }
    }
    reached
}

/// Where a pointer comes from.
enum Pointer {
    To(usize),
    Slot(u64),
    Anywhere,
}

/// The pointer that the last of `instructions` calls.
fn pointer(kernel: &Kernel, instructions: &[Instruction]) -> Pointer {
    let Some((call, mut before)) = instructions.split_last() else { return Pointer::Anywhere };
    let mut i = call;
    let mut operand = 0;
    loop {
        match i.op_kind(operand) {
            OpKind::Memory if i.is_ip_rel_memory_operand() => {
                let word = kernel.pointers().get(&i.ip_rel_memory_address());
                return word.and_then(|&to| kernel.starting_at(to)).map_or(Pointer::Anywhere, Pointer::To);
            }
            // What lies on the stack or in a CPU's own variables is no table.
            OpKind::Memory
                if i.memory_index() == Register::None
                    && i.segment_prefix() == Register::None
                    && !matches!(i.memory_base(), Register::RSP | Register::RIP | Register::None) =>
            {
                return Pointer::Slot(i.memory_displacement64());
            }
            OpKind::Register => {
                let register: Register = i.op_register(operand).full_register();
                let sets = |i: &Instruction| {
                    i.op_count() > 1
                        && i.op0_kind() == OpKind::Register
                        && i.op0_register().full_register() == register
                        && !matches!(i.mnemonic(), Mnemonic::Cmp | Mnemonic::Test)
                };
                let Some(position) = before.iter().rposition(sets) else { return Pointer::Anywhere };
                i = &before[position];
                before = &before[..position];
                operand = 1;
                if i.mnemonic() == Mnemonic::Lea && i.is_ip_rel_memory_operand() {
                    return kernel
                        .starting_at(i.ip_rel_memory_address())
                        .map_or(Pointer::Anywhere, Pointer::To);
                }
                if i.mnemonic() != Mnemonic::Mov {
                    return Pointer::Anywhere;
                }
            }
            _ => return Pointer::Anywhere,
        }
    }
}

/// The tables of methods, and the functions whose address is taken otherwise.
fn tables(kernel: &Kernel) -> (Vec<Table>, BTreeSet<usize>) {
    let function = |at: u64| kernel.pointers().get(&at).and_then(|&to| kernel.starting_at(to));
    let is_head = |at: u64| {
        let number = |at: u64| kernel.word(at).filter(|_| !kernel.pointers().contains_key(&at));
        let drops = function(at).is_some() || number(at) == Some(0);
        let sizes = number(at + WORD).zip(number(at + 2 * WORD));
        drops
            && sizes.is_some_and(|(size, align)| {
                align.is_power_of_two() && align < MOST_BYTES && size < MOST_BYTES && size % align == 0
            })
            && function(at + HEAD_WORDS * WORD).is_some()
    };
    let (mut tables, mut in_tables) = (Vec::new(), BTreeSet::new());
    for &first in kernel.pointers().keys() {
        let Some(start) = first.checked_sub(HEAD_WORDS * WORD).filter(|&start| is_head(start)) else {
            continue;
        };
        let methods =
            (0..).map(|n| first + n * WORD).take_while(|&at| function(at).is_some() && !is_head(at));
        let places: Vec<u64> = methods.take(MOST_METHODS + 1).collect();
        if places.len() > MOST_METHODS {
            continue;
        }
        let slots: BTreeMap<u64, usize> =
            places.into_iter().chain([start]).filter_map(|at| Some((at - start, function(at)?))).collect();
        in_tables.extend(slots.keys().map(|slot| start + slot));
        tables.push(Table { kind: kind(kernel, &slots), slots });
    }
    let in_data = kernel.pointers().iter().filter(|(at, _)| !in_tables.contains(at)).map(|(_, &to)| to);
    let in_code = (0..kernel.functions().len()).flat_map(|index| kernel.loaded_by(index));
    let plain = in_data.filter_map(|to| kernel.starting_at(to)).chain(in_code).collect();
    (tables, plain)
}

/// The last name of the trait that most methods of a table name.
fn kind(kernel: &Kernel, slots: &BTreeMap<u64, usize>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, &index) in slots.iter().filter(|(slot, _)| **slot > 0) {
        for name in kernel.functions()[index].names.iter().filter(|name| !name.contains("{{")) {
            let of = name
                .strip_prefix('<')
                .and_then(|rest| rest.rsplit_once(">::"))
                .and_then(|(rest, _)| rest.rsplit_once(" as "));
            if let Some((_, path)) = of {
                *counts.entry(path.split('<').next().unwrap_or(path)).or_default() += 1;
            }
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count).map_or(CLOSURE, |(path, _)| path);
    most.rsplit("::").next().unwrap_or(most).to_owned()
}
