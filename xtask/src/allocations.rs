//! Which functions of the kernel reach the allocations that end the machine where memory runs out.
//!
//! `alloc` has them end in a few functions that never return. Whatever calls one of those, by way of the library alone, is
//! a function of the kernel that allocates infallibly; a function that was inlined into another counts for itself, as the
//! debugging information tells. The functions of `coracle-fallible` make room first and are taken for fallible.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::debug_info::{Dwarf, Frames};
use crate::kernel_elf::{EdgeKind, Kernel, Target};

/// Where an infallible allocation ends that failed.
const ENDS: [&str; 3] =
    ["alloc::alloc::handle_alloc_error", "alloc::raw_vec::handle_error", "alloc::raw_vec::capacity_overflow"];
/// The crates whose functions act for their callers.
const LIBRARIES: [&str; 5] = ["alloc", "core", "hashbrown", "heapless", "spin"];
/// Types without a crate, whose methods of traits are the library's.
const PRIMITIVES: [&str; 8] = ["str", "u8", "u16", "u32", "u64", "usize", "i32", "char"];
/// The crate that makes room before it calls `alloc`.
const FALLIBLE: &str = "coracle_fallible";

/// The functions that are allowed to, because they run at boot, before the program: see [`Allowed::parse`].
#[derive(Debug, Default)]
pub struct Allowed(BTreeSet<String>);

impl Allowed {
    /// Reads a list: a name a line; `#` begins a comment. A name that ends in `::` stands for all functions below it.
    pub fn parse(text: &str) -> Allowed {
        let names = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        Allowed(names.filter(|name| !name.is_empty()).map(String::from).collect())
    }

    /// The entry that allows `function`.
    fn entry(&self, function: &str) -> Option<&String> {
        self.0.iter().find(|name| matches(name, function))
    }
}

fn matches(entry: &str, function: &str) -> bool {
    entry == function || (entry.ends_with("::") && function.starts_with(entry))
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    /// Functions that allocate infallibly, which may.
    pub functions: usize,
    /// Entries of the list that nothing needs any more.
    pub stale: Vec<String>,
}

/// The first crate that a function's name names: that of the type where it is a method of a trait.
fn crate_of(name: &str) -> &str {
    let inner = name.trim_start_matches(['<', '&', '[', '(', '*']).trim_start_matches("mut ");
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    &inner[..end]
}

/// Whether the function acts for its caller: a library's, or one for any type (`<T as …>`).
fn is_library(name: &str) -> bool {
    let first = crate_of(name);
    LIBRARIES.contains(&first)
        || (name.starts_with('<') && first.len() <= 1)
        || (name.starts_with("<[") && !name.contains("coracle"))
        || name.starts_with("__rust")
        || (name.starts_with('<') && PRIMITIVES.contains(&first))
}

/// Whether the function makes room first: one of that crate, or of a trait of it.
fn is_fallible(name: &str) -> bool {
    crate_of(name) == FALLIBLE || name.contains(&format!(" as {FALLIBLE}::"))
}

/// The functions of the kernel that allocate infallibly.
pub fn callers(kernel: &Kernel, frames: &impl Frames) -> BTreeSet<String> {
    let mut calls: BTreeMap<usize, Vec<(usize, u64)>> = BTreeMap::new();
    for index in 0..kernel.functions().len() {
        for edge in kernel.edges(index) {
            // What looks like going on to the next function is a call that doesn't return.
            if edge.kind != EdgeKind::FallThrough
                && let Target::Function(target) = edge.target
            {
                calls.entry(target).or_default().push((index, edge.at));
            }
        }
    }
    let mut found = BTreeSet::new();
    let mut todo: Vec<usize> = ENDS.iter().flat_map(|name| kernel.named(name)).collect();
    let mut seen: BTreeSet<usize> = todo.iter().copied().collect();
    while let Some(function) = todo.pop() {
        for &(caller, at) in calls.get(&function).into_iter().flatten() {
            let mut names = frames.at(at);
            // The debugging information may leave the outermost out.
            names.push(kernel.functions()[caller].name().to_owned());
            match names.iter().find(|name| is_fallible(name) || !is_library(name)) {
                Some(name) if is_fallible(name) => {}
                // A closure counts for the function that it stands in.
                Some(name) => {
                    found.insert(name.split("::{{closure}}").next().unwrap_or(name).to_owned());
                }
                None if seen.insert(caller) => todo.push(caller),
                None => {}
            }
        }
    }
    found
}

/// Compares the functions that allocate infallibly with those that may.
///
/// # Errors
/// A text for people that names those that may not.
pub fn check(found: &BTreeSet<String>, allowed: &Allowed) -> Result<Summary, String> {
    let mut used = BTreeSet::new();
    let mut wrong: Vec<&str> = Vec::new();
    for function in found {
        match allowed.entry(function) {
            Some(entry) => _ = used.insert(entry),
            None => wrong.push(function),
        }
    }
    if !wrong.is_empty() {
        let text = wrong.iter().map(|function| format!("{function} ends the machine where memory runs out"));
        return Err(format!("{}: use coracle-fallible", text.collect::<Vec<_>>().join("\n")));
    }
    let stale = allowed.0.iter().filter(|entry| !used.contains(entry)).cloned().collect();
    Ok(Summary { functions: found.len(), stale })
}

/// [`callers`] of the kernel in this file.
///
/// # Errors
/// A text for people, if it can't be read.
pub fn read(kernel: &Path) -> Result<BTreeSet<String>, String> {
    let bytes =
        std::fs::read(kernel).map_err(|error| format!("cannot read {}: {error}", kernel.display()))?;
    Ok(callers(&Kernel::read(kernel)?, &Dwarf::parse(&bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames by address.
    struct Known(BTreeMap<u64, Vec<String>>);

    impl Frames for Known {
        fn at(&self, address: u64) -> Vec<String> {
            self.0.get(&address).cloned().unwrap_or_default()
        }

        fn called(&self, _: u64) -> Option<String> {
            None
        }
    }

    /// A call from `from` to `to`, both at multiples of 16, padded to 8 bytes.
    fn call(from: u64, to: u64) -> Vec<u8> {
        let distance = (to as i64 - (from as i64 + 5)) as i32;
        let mut code = vec![0xe8];
        code.extend(distance.to_le_bytes());
        code.push(0xc3);
        code
    }

    fn found(inlined: &[(u64, &[&str])]) -> BTreeSet<String> {
        let (grow, kernel, boot) = (call(0x1010, 0x1000), call(0x1020, 0x1010), call(0x1030, 0x1010));
        let functions: [(&str, u64, &[u8]); 4] = [
            ("alloc::raw_vec::handle_error", 0x1000, &[0x0f, 0x0b]),
            ("alloc::vec::Vec<T,A>::push", 0x1010, &grow),
            ("coracle_core::fs::open", 0x1020, &kernel),
            ("coracle_kernel::boot::boot", 0x1030, &boot),
        ];
        let frames = inlined
            .iter()
            .map(|(at, names)| (*at, names.iter().map(ToString::to_string).collect()))
            .collect();
        callers(&Kernel::by_hand(&functions, &[], &[]), &Known(frames))
    }

    #[test]
    fn finds_the_first_function_that_is_no_library_s() {
        let all = ["coracle_kernel::boot::boot", "coracle_core::fs::open"].map(String::from);
        assert_eq!(found(&[]), all.into());
        let inlined: &[&str] =
            &["<T as core::convert::Into<U>>::into", "coracle_core::log::line", "coracle_core::fs::open"];
        assert!(found(&[(0x1020, inlined)]).contains("coracle_core::log::line"));
        let fallible: &[&str] =
            &["<alloc::vec::Vec<T> as coracle_fallible::vec::TryVec<T>>::try_push", "coracle_core::fs::open"];
        assert_eq!(found(&[(0x1020, fallible)]), [String::from("coracle_kernel::boot::boot")].into());
        let fallible: &[&str] = &["coracle_fallible::vec::filled", "coracle_core::fs::open"];
        assert_eq!(found(&[(0x1020, fallible)]), [String::from("coracle_kernel::boot::boot")].into());
    }

    #[test]
    fn compares_with_the_list() {
        let allowed = Allowed::parse("# may\ncoracle_kernel::boot::\ncoracle_core::fs::open # once\n");
        assert_eq!(check(&found(&[]), &allowed), Ok(Summary { functions: 2, stale: Vec::new() }));
        let none = Allowed::parse("");
        assert!(check(&found(&[]), &none).unwrap_err().contains("coracle_core::fs::open ends"));
        let stale = Allowed::parse("coracle_kernel::\ncoracle_core::\nnothing\n");
        assert_eq!(check(&found(&[]), &stale).unwrap().stale, ["nothing"]);
    }
}
