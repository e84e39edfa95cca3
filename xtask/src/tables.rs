//! The tables of the methods of trait objects in the built kernel's data, and of which traits they are.
//!
//! A table begins with how to drop the object, its size and its alignment; the methods follow. The names of its functions say
//! which trait it is of. The compiler makes one function of several whose code is the same, so that some have the name of
//! another's: what most names say holds, for the trait of a table as for the method in a slot of a trait's tables.
use crate::kernel_elf::Kernel;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a pointer.
const WORD: u64 = 8;
/// Words of a table before its methods.
const HEAD_WORDS: u64 = 3;
/// An object's size and alignment are less than this.
const MOST_BYTES: u64 = 1 << 20;
/// No trait has this many methods: what is longer is a table of something else.
const MOST_METHODS: usize = 64;

/// A table of the methods of a type.
pub struct Table {
    /// The trait, by its path; `None` for those of closures, whose methods name none.
    pub kind: Option<String>,
    /// The functions in its slots, by their distance in bytes. That at 0 drops the object.
    pub slots: BTreeMap<u64, usize>,
}

impl Table {
    /// Whether the last part of its trait's path is `name`.
    pub fn is_of(&self, name: &str) -> bool {
        self.kind.as_deref().is_some_and(|kind| kind.rsplit("::").next() == Some(name))
    }
}

/// All tables.
pub struct Tables {
    tables: Vec<Table>,
    /// The words of data that the tables are made of.
    words: BTreeSet<u64>,
    /// How often a method of this name is in the slot at this distance, by trait.
    methods: BTreeMap<String, BTreeMap<String, BTreeMap<u64, usize>>>,
}

impl Tables {
    /// Those in the kernel's data.
    pub fn of(kernel: &Kernel) -> Tables {
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
        let (mut tables, mut words) = (Vec::new(), BTreeSet::new());
        let mut methods: BTreeMap<String, BTreeMap<String, BTreeMap<u64, usize>>> = BTreeMap::new();
        for &first in kernel.pointers().keys() {
            let Some(start) = first.checked_sub(HEAD_WORDS * WORD).filter(|&start| is_head(start)) else {
                continue;
            };
            let places =
                (0..).map(|n| first + n * WORD).take_while(|&at| function(at).is_some() && !is_head(at));
            let places: Vec<u64> = places.take(MOST_METHODS + 1).collect();
            if places.len() > MOST_METHODS {
                continue;
            }
            let slots: BTreeMap<u64, usize> = places
                .into_iter()
                .chain([start])
                .filter_map(|at| Some((at - start, function(at)?)))
                .collect();
            let kind = kind(kernel, &slots);
            // A trait's table has the methods of those that it builds on, too. A name of the trait's own says more than
            // one of another trait, whose code is the same.
            for (kind, (&slot, &index)) in
                kind.iter().flat_map(|kind| slots.range(1..).map(move |slot| (kind, slot)))
            {
                let names = || kernel.functions()[index].names.iter().filter_map(|name| method(name));
                let has_own = names().any(|(path, _)| path == kind);
                for (_, method) in names().filter(|(path, _)| !has_own || path == kind) {
                    let slots =
                        methods.entry(method.to_owned()).or_default().entry(kind.clone()).or_default();
                    *slots.entry(slot).or_default() += 1;
                }
            }
            words.extend(slots.keys().map(|slot| start + slot));
            tables.push(Table { kind, slots });
        }
        Tables { tables, words, methods }
    }

    /// Whether the word of data at `address` belongs to a table.
    pub fn contains(&self, address: u64) -> bool {
        self.words.contains(&address)
    }

    /// The functions that a call of the method `name` reaches, through the slot at this distance; if that isn't known, the one
    /// where most tables of a trait have the name. Empty: no trait has it there.
    pub fn called(&self, name: &str, slot: Option<u64>) -> BTreeSet<usize> {
        let Some(kinds) = self.methods.get(name) else { return BTreeSet::new() };
        let of = |table: &Table| {
            let slots = kinds.get(table.kind.as_ref()?)?;
            let most = slots.iter().max_by_key(|(_, count)| **count).map(|(slot, _)| *slot);
            let slot = slot.map_or(most, |slot| slots.contains_key(&slot).then_some(slot))?;
            table.slots.get(&slot).copied()
        };
        self.tables.iter().filter_map(of).collect()
    }

    /// The functions in the slot at this distance, or in any, of the tables that `is_meant` holds for.
    pub fn slot(&self, slot: Option<u64>, is_meant: impl Fn(&Table) -> bool) -> BTreeSet<usize> {
        let within = |table: &Table| -> Vec<usize> {
            match slot {
                Some(slot) => table.slots.get(&slot).copied().into_iter().collect(),
                None => table.slots.range(1..).map(|(_, &index)| index).collect(),
            }
        };
        self.tables.iter().filter(|table| is_meant(table)).flat_map(within).collect()
    }
}

/// The trait and the method that a function's name says it is: `<T as path::Trait<…>>::method`, or one that the trait provides,
/// `path::Trait::method`.
fn method(name: &str) -> Option<(&str, &str)> {
    if name.contains("{{") {
        return None;
    }
    if let Some((rest, method)) = name.strip_prefix('<').and_then(|rest| rest.rsplit_once(">::")) {
        let (_, path) = rest.rsplit_once(" as ")?;
        return Some((path.split('<').next().unwrap_or(path), method));
    }
    // Where the trait's or the type's crate is another: `module::<impl path::Trait<…> for T>::method`.
    if let Some((_, rest)) = name.split_once("<impl ")
        && let Some((path, of)) = rest.split_once(" for ")
        && let Some((_, method)) = of.rsplit_once(">::")
    {
        return Some((path.split('<').next().unwrap_or(path), method));
    }
    let (path, method) = name.rsplit_once("::")?;
    let last = path.rsplit("::").next()?;
    (last.starts_with(char::is_uppercase) && !path.contains(['<', '>'])).then_some((path, method))
}

/// The trait that most methods of a table name. A method counts once for a trait, however many of its names are of that.
fn kind(kernel: &Kernel, slots: &BTreeMap<u64, usize>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, &index) in slots.range(1..) {
        let names = kernel.functions()[index].names.iter();
        let paths: BTreeSet<&str> = names.filter_map(|name| method(name)).map(|(path, _)| path).collect();
        for path in paths {
            *counts.entry(path).or_default() += 1;
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(path, _)| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_s_name_has_its_trait() {
        assert_eq!(method("<a::Pipe as b::File>::read"), Some(("b::File", "read")));
        assert_eq!(method("<a::Of<T> as b::Made<T>>::piece"), Some(("b::Made", "piece")));
        assert_eq!(method("b::File::append"), Some(("b::File", "append")));
        assert_eq!(method("b::file::append"), None);
        assert_eq!(method("<a::Pipe as b::File>::list::{{closure}}"), None);
    }
}
