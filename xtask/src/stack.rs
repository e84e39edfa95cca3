//! Bounds the stack that the built kernel's calls take, from its instructions.
//!
//! For each function: how deep its own frame is at each call ([`crate::frames`]), and with that the deepest path of calls below
//! it ([`crate::paths`]), which must fit into a stack. What a call by a pointer may reach is found by [`crate::pointers`].
//! Functions that lead to themselves are faults, unless [`crate::recursions`] says how often they do so at most, and why.
use crate::frames::{DEEPEST_FRAME, Depths, RETURN_ADDRESS};
use crate::kernel_elf::{Edge, EdgeKind, Kernel, Target};
use crate::paths::{Node, Paths, Total, Way};
use crate::pointers::Reach;
use crate::recursions::Recursion;
use iced_x86::{FlowControl, Instruction};
use std::collections::BTreeMap;
use std::path::Path;

/// Where every panic ends.
const PANIC: &str = "__rustc::rust_begin_unwind";

/// Code that runs before there are threads, on a stack that it chooses itself.
const BEFORE_THREADS: &[&str] = &["long_mode"];

/// What runs once, at boot, when the stack is nearly empty: the ways of calls that find it done don't lead there.
const AT_BOOT: &[&str] = &[
    // Values for each CPU: made at boot, since they are allocated infallibly (`xtask/allocations.txt`).
    "coracle_hal::percpu::PerCpu<T>::fill",
    // How many CPUs there are.
    "coracle_hal::cpu::possible",
    // The network, which boot starts, with a card or without.
    "coracle_net::stack::make_alone",
];

/// The stacks of the kernel.
#[derive(Debug)]
pub struct Sizes {
    /// Bytes of a thread's.
    pub of_thread: u64,
    /// Functions that run on others, with the bytes of these.
    pub others: Vec<(&'static str, u64)>,
}

impl Sizes {
    /// Those that the source of the kernel in `repository` says.
    ///
    /// # Errors
    /// A text for people, if it can't be found.
    pub fn read(repository: &Path) -> Result<Sizes, String> {
        let size = |file: &str, name: &str| {
            let text = std::fs::read_to_string(repository.join(file)).map_err(|e| format!("{file}: {e}"))?;
            constant(&text, name).ok_or(format!("{file}: {name} is not a product of numbers"))
        };
        let early = size("hal/src/arch/x86_64/start.rs", "EARLY_STACK_SIZE")?;
        let others = vec![
            ("coracle_hal::arch::x86_64::start::upper", early),
            ("coracle_hal::boot::start", early),
            ("coracle_hal::arch::x86_64::trap::trap_kernel", size("hal/src/boot.rs", "FAULT_STACK_SIZE")?),
        ];
        Ok(Sizes { of_thread: size("hal/src/mm/stack.rs", "SIZE")?, others })
    }
}

/// The value of a constant: numbers, or the size of a page, multiplied.
fn constant(text: &str, name: &str) -> Option<u64> {
    const PAGE: u64 = 4096;
    let (_, rest) = text.split_once(&format!("const {name}: usize = "))?;
    let factors = rest.split_once(';')?.0.split('*').map(str::trim);
    factors.map(|factor| if factor == "PAGE" { Some(PAGE) } else { factor.parse().ok() }).product()
}

/// What was found in a kernel that has nothing wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    /// Functions that were looked at.
    pub functions: usize,
    /// Calls by pointers among their calls.
    pub by_pointers: usize,
    /// Bytes of the deepest path of calls.
    pub deepest: u64,
    /// The functions on it, the outermost first.
    pub path: Vec<String>,
}

/// All calls and jumps of a function by their addresses: how, and the bytes in use there, a return address included.
type Calls = BTreeMap<u64, (EdgeKind, u64)>;

/// Checks that every path of calls fits into its stack. `reached`: what the calls by pointers reach, by their
/// addresses.
///
/// # Errors
/// What is wrong, a line for each fault.
pub fn check(
    kernel: &Kernel,
    sizes: &Sizes,
    recursions: &[Recursion],
    reached: &BTreeMap<u64, Reach>,
) -> Result<Summary, String> {
    let (mut nodes, calls): (Vec<Node>, Vec<Calls>) =
        (0..kernel.functions().len()).map(|index| node(kernel, index)).unzip();
    for (&at, reach) in reached {
        add_reached(kernel, &mut nodes, &calls, at, reach);
    }
    let boundless = nodes.iter().filter(|node| node.deepest > DEEPEST_FRAME);
    let faults: Vec<String> =
        boundless.map(|node| format!("{}: its frame has no bound", node.name)).collect();
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    let paths = Paths::of(&nodes, recursions)?;
    // A panic ends the machine, and a panic in a panic does at once: twice what it takes alone, beyond where it begins.
    let panic = paths.totals(0);
    let ends = (0..nodes.len()).filter(|&index| nodes[index].name == PANIC);
    let in_panic = 2 * ends.map(|index| panic[index].bytes).max().unwrap_or(0);
    let totals = paths.totals(in_panic);
    let mut faults = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        if let Some((_, size)) = sizes.others.iter().find(|(name, _)| *name == node.name)
            && totals[index].bytes > *size
        {
            faults.push(too_deep(&nodes, &paths, &totals, index, *size));
        }
    }
    let is_elsewhere = |index: &usize| sizes.others.iter().any(|(name, _)| *name == nodes[*index].name);
    let outermost =
        (0..totals.len()).filter(|index| !is_elsewhere(index)).max_by_key(|&index| totals[index].bytes);
    let deepest = outermost.map_or(0, |index| totals[index].bytes);
    if let Some(index) = outermost.filter(|_| deepest > sizes.of_thread) {
        faults.push(too_deep(&nodes, &paths, &totals, index, sizes.of_thread));
    }
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    let path = outermost.map_or_else(Vec::new, |index| describe(&nodes, &paths, &totals, index));
    Ok(Summary { functions: nodes.len(), by_pointers: reached.len(), deepest, path })
}

/// The deepest path from a function, for people.
fn describe(nodes: &[Node], paths: &Paths, totals: &[Total], from: usize) -> Vec<String> {
    let line = |(index, bytes): (usize, u64)| {
        let more = if bytes > 0 { format!(", and {bytes} in recursions") } else { String::new() };
        format!("{} ({} bytes{more})", nodes[index].name, nodes[index].deepest)
    };
    paths.deepest(totals, from).into_iter().map(line).collect()
}

fn too_deep(nodes: &[Node], paths: &Paths, totals: &[Total], from: usize, size: u64) -> String {
    let path = describe(nodes, paths, totals, from).join("\n  ");
    format!("a path takes {} bytes, and its stack has {size}:\n  {path}", totals[from].bytes)
}

/// A function; its calls by pointers are no ways yet.
fn node(kernel: &Kernel, index: usize) -> (Node, Calls) {
    let function = &kernel.functions()[index];
    let (mut node, mut calls) = (Node { name: function.name().to_owned(), ..Node::default() }, Calls::new());
    if BEFORE_THREADS.contains(&function.name()) {
        return (node, calls);
    }
    let depths = Depths::of(function);
    node.deepest = depths.deepest();
    for edge in kernel.edges(index).into_iter().filter(|edge| !is_end_by_call(kernel, edge)) {
        let position = function.instructions.binary_search_by_key(&edge.at, Instruction::ip).unwrap_or(0);
        let pushed = if edge.kind == EdgeKind::Call { RETURN_ADDRESS } else { 0 };
        let depth = depths.at(position) + pushed;
        calls.insert(edge.at, (edge.kind, depth));
        match edge.target {
            Target::Function(to) if kernel.functions()[to].name() == PANIC => {
                node.panics = node.panics.max(Some(depth));
            }
            Target::Function(to) if AT_BOOT.contains(&kernel.functions()[to].name()) => {}
            Target::Function(to) => node.ways.push(Way { kind: edge.kind, depth, to, by_pointer: None }),
            Target::Unknown => {}
        }
    }
    (node, calls)
}

/// Adds what a call by a pointer reaches: to its function or, where that has the pointer as an argument, to those that pass it.
fn add_reached(kernel: &Kernel, nodes: &mut [Node], calls: &[Calls], at: u64, reach: &Reach) {
    let find = |at: u64| {
        let within = kernel.containing(at)?;
        calls[within].get(&at).map(|&(kind, depth)| (within, kind, depth))
    };
    for (chain, to) in &reach.functions {
        let Some((mut within, mut kind, mut depth)) = find(at) else { continue };
        for &caller in chain {
            let Some((outer, _, above)) = find(caller) else { continue };
            (within, kind, depth) = (outer, EdgeKind::Call, depth + above);
        }
        nodes[within].ways.push(Way { kind, depth, to: *to, by_pointer: Some(at) });
    }
}

/// Whether an edge into the next function follows a call, which never returns then: what ends a function of Rust with a
/// call has no other end. Code in assembly may go on.
fn is_end_by_call(kernel: &Kernel, edge: &Edge) -> bool {
    let is_call = kernel
        .instruction(edge.at)
        .is_some_and(|i| matches!(i.flow_control(), FlowControl::Call | FlowControl::IndirectCall));
    let from = kernel.containing(edge.at).map_or("", |index| kernel.functions()[index].name());
    edge.kind == EdgeKind::FallThrough && is_call && from.contains("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sub rsp, 0x40; call +N; add rsp, 0x40; ret
    fn calling(from: u64, to: u64) -> Vec<u8> {
        let mut code = vec![0x48, 0x83, 0xec, 0x40, 0xe8];
        code.extend((to.wrapping_sub(from + 9) as u32).to_le_bytes());
        code.extend([0x48, 0x83, 0xc4, 0x40, 0xc3]);
        code
    }
    /// push rbx; call [rax + 24]; pop rbx; ret
    const BY_POINTER: [u8; 6] = [0x53, 0xff, 0x50, 0x18, 0x5b, 0xc3];
    const RETURN: [u8; 1] = [0xc3];

    fn of(of_thread: u64) -> Sizes {
        Sizes { of_thread, others: Vec::new() }
    }

    /// [`check`] of what no pointer reaches.
    fn direct(kernel: &Kernel, size: u64, recursions: &[Recursion]) -> Result<Summary, String> {
        check(kernel, &of(size), recursions, &BTreeMap::new())
    }

    #[test]
    fn frames_and_return_addresses_add_up() {
        let kernel =
            Kernel::by_hand(&[("a", 0x1000, &calling(0x1000, 0x2000)), ("b", 0x2000, &BY_POINTER)], &[], &[]);
        let found = direct(&kernel, 1000, &[]).expect("nothing is wrong");
        assert_eq!(found.deepest, 0x40 + 8 + 8);
        assert_eq!(found.path, ["a (64 bytes)", "b (8 bytes)"]);
        assert!(direct(&kernel, 80, &[]).is_ok());
        assert!(direct(&kernel, 79, &[]).is_err_and(|fault| fault.contains("a path takes")));
    }

    #[test]
    fn what_a_pointer_reaches_is_called() {
        let functions: [(&str, u64, &[u8]); 3] =
            [("a", 0x1000, &BY_POINTER), ("b", 0x2000, &calling(0x2000, 0x3000)), ("c", 0x3000, &RETURN)];
        let kernel = Kernel::by_hand(&functions, &[], &[]);
        let reaching = |index| BTreeMap::from([(0x1001, Reach { functions: [(Vec::new(), index)].into() })]);
        let checked = |index| check(&kernel, &of(1000), &[], &reaching(index));
        assert_eq!(checked(1).map(|found| found.deepest), Ok(16 + 0x40 + 8));
        assert!(checked(0).is_err_and(|fault| fault.contains("by a pointer at 0x1001")));
    }

    #[test]
    fn what_is_passed_is_called_by_the_caller() {
        let functions: [(&str, u64, &[u8]); 3] =
            [("a", 0x1000, &calling(0x1000, 0x2000)), ("b", 0x2000, &BY_POINTER), ("c", 0x3000, &BY_POINTER)];
        let kernel = Kernel::by_hand(&functions, &[], &[]);
        // "a" calls "b" at 0x1004, which calls "c" at 0x2001 for it.
        let reached = BTreeMap::from([(0x2001, Reach { functions: [(vec![0x1004], 2)].into() })]);
        let found = check(&kernel, &of(1000), &[], &reached).expect("nothing is wrong");
        assert_eq!(found.deepest, (0x40 + 8) + (8 + 8) + 8);
    }

    #[test]
    fn each_stack_has_its_size() {
        let kernel =
            Kernel::by_hand(&[("a", 0x1000, &calling(0x1000, 0x2000)), ("b", 0x2000, &BY_POINTER)], &[], &[]);
        let sizes = |size| Sizes { of_thread: 16, others: vec![("a", size)] };
        assert!(check(&kernel, &sizes(80), &[], &BTreeMap::new()).is_ok());
        assert!(check(&kernel, &sizes(79), &[], &BTreeMap::new()).is_err());
    }

    #[test]
    fn sizes_are_products() {
        assert_eq!(constant("pub const SIZE: usize = 32 * 1024;", "SIZE"), Some(32 * 1024));
        assert_eq!(constant("const SIZE: usize = 2 * PAGE;", "SIZE"), Some(8192));
        assert_eq!(constant("const SIZE: usize = other();", "SIZE"), None);
    }

    #[test]
    fn a_circle_must_be_known() {
        let functions: [(&str, u64, &[u8]); 2] =
            [("a", 0x1000, &calling(0x1000, 0x2000)), ("b", 0x2000, &calling(0x2000, 0x1000))];
        let kernel = Kernel::by_hand(&functions, &[], &[]);
        assert!(direct(&kernel, 1000, &[]).is_err_and(|fault| fault.contains("lead to themselves")));
        // "b" is on a path three times at most, each time reached from "a", which may also come last.
        let known = [Recursion { prefix: "b", times: 2, reason: "a test" }];
        assert_eq!(direct(&kernel, 1000, &known).map(|found| found.deepest), Ok(7 * (0x40 + 8) - 8));
        let stale = [
            Recursion { prefix: "b", times: 2, reason: "" },
            Recursion { prefix: "c", times: 0, reason: "" },
        ];
        assert!(
            direct(&kernel, 1000, &stale).is_err_and(|fault| fault.contains("c no longer leads to itself"))
        );
    }
}
