//! Bounds the stack that the built kernel's calls take, from its instructions.
//!
//! For each function: how deep its own frame is at each call, and with that the deepest path of direct calls below it,
//! which must fit into a stack. Functions that lead to themselves by direct calls are faults, unless [`RECURSIONS`] says
//! how often they do so at most, and why.
//!
//! A call by a pointer (a method of a trait object, a callback) may reach any function whose address is taken. How many of
//! them lie within one another doesn't follow from the instructions: the check counts them as empty, but for
//! [`NESTED_POINTER_CALLS`], and says how many would fit, whichever functions they reach. What recurses through pointers is
//! not found; the boot tests build long chains of whatever can be linked.
use crate::kernel_elf::{Edge, EdgeKind, Kernel, Target, goes_on};
use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};
use std::collections::BTreeMap;

/// Bytes of a thread's kernel stack (`hal/src/task.rs`).
pub const KERNEL_STACK_SIZE: u64 = 16 * 1024;
/// Bytes that a call puts onto the stack.
const RETURN_ADDRESS: u64 = 8;
/// A frame that seems deeper than this is a loop that the check doesn't understand.
const DEEPEST_FRAME: u64 = 1 << 20;

/// Calls by pointers within one another that must fit, each the deepest of all that could be meant.
pub const NESTED_POINTER_CALLS: usize = 0;

/// The kernel's functions that lead to themselves by direct calls.
pub const RECURSIONS: &[Recursion] = &[
    Recursion {
        prefix: "coracle_hal::paging::free_tables",
        times: 4,
        reason: "page tables have four levels",
    },
    Recursion {
        prefix: "core::slice::sort::shared::pivot::median3_rec",
        times: 8,
        reason: "it goes on with an eighth of the elements each time",
    },
    Recursion {
        prefix: "core::slice::sort::unstable::quicksort::quicksort",
        times: 24,
        reason: "it limits itself to two for each doubling of the number of elements, of which there are some thousands",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_kernel::fs::synthetic::node::Node>",
        times: 8,
        reason: "a made file keeps the directories that lead to it, of which /proc has no more",
    },
    Recursion {
        prefix: "<coracle_kernel::ipc::unix::socket::UnixSocket as coracle_kernel::fs::file::File>::closed",
        times: 1,
        reason: "a listening socket closes those that wait in its queue, and these don't listen",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_kernel::ipc::unix::socket::UnixSocket>",
        times: 1,
        reason: "a listening socket keeps those that wait in its queue, and these don't listen",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<alloc::sync::Arc<coracle_tcpip::tcp::socket::TcpSocket<",
        times: 1,
        reason: "a listening socket keeps those that wait in its queue, and these don't listen",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_kernel::fs::mount::Mount>",
        times: 1,
        reason: "the drop of a mount takes the mounts below it one by one first",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_kernel::fs::memory::node::Node>",
        times: 1,
        reason: "the drop of a directory takes what lies in it out first, directory by directory",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_kernel::task::process::Process>",
        times: 1,
        reason: "an observer is a running thread, which keeps its process: none observes a process that goes away",
    },
    Recursion {
        prefix: "coracle_kernel::task::process::Process::tell_parent_of_stop",
        times: 1,
        reason: "SIGCONT makes a process tell its parent by SIGCHLD, which makes none tell any",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_kernel::task::futex::Waiter>",
        times: 1,
        reason: "a waiter that leaves its list has let go of the one behind it",
    },
    Recursion {
        prefix: "__rustc::rust_begin_unwind",
        times: 1,
        reason: "a panic while a panic is reported ends the machine at once",
    },
    Recursion { prefix: "trap_kernel", times: 1, reason: "traps have stacks of their own" },
];

/// Code that runs before there are threads, on a stack that it chooses itself.
const BEFORE_THREADS: &[&str] = &["long_mode"];

/// Functions that call themselves, by their names or by how these begin.
pub struct Recursion {
    /// What the names of the functions on the circle begin with.
    pub prefix: &'static str,
    /// How often the circle is gone round at most.
    pub times: u64,
    /// Why that is so.
    pub reason: &'static str,
}

/// What was found in a kernel that has nothing wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    /// Functions that were looked at.
    pub functions: usize,
    /// Bytes of the deepest path of direct calls.
    pub direct: u64,
    /// The functions on it, the outermost first.
    pub path: Vec<String>,
    /// Calls by pointers that may lie within one another, whichever they are.
    pub nested: usize,
}

/// A way out of a function, with the bytes in use there: of its frame, and a return address if it is a call.
struct Way {
    kind: EdgeKind,
    depth: u64,
    target: Target,
}

/// A function's frame and its ways out.
struct Frame {
    deepest: u64,
    ways: Vec<Way>,
}

/// Checks that `nested` calls by pointers fit into a stack of `size` bytes.
///
/// # Errors
/// What is wrong, a line for each fault.
pub fn check(kernel: &Kernel, size: u64, nested: usize, recursions: &[Recursion]) -> Result<Summary, String> {
    let frames: Vec<Frame> = (0..kernel.functions().len())
        .map(|index| match kernel.functions()[index].name() {
            name if BEFORE_THREADS.contains(&name) => Frame { deepest: 0, ways: Vec::new() },
            _ => frame(kernel, index),
        })
        .collect();
    let mut faults: Vec<String> = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        if frame.deepest > DEEPEST_FRAME {
            faults.push(format!("{}: its frame has no bound", kernel.functions()[index].name()));
        }
    }
    let circles = circles(&frames);
    // Jumps alone go round without taking more of the stack: functions share the ends of their code.
    let calls = |circle: &Vec<usize>| {
        let ways = circle.iter().flat_map(|&index| &frames[index].ways);
        ways.into_iter().any(|way| {
            way.kind == EdgeKind::Call && matches!(way.target, Target::Function(to) if circle.contains(&to))
        })
    };
    let mut extra: BTreeMap<usize, u64> = BTreeMap::new();
    for circle in circles.iter().filter(|circle| calls(circle)) {
        let names: Vec<&str> = circle.iter().map(|&index| kernel.functions()[index].name()).collect();
        match recursions.iter().find(|known| names.iter().any(|name| name.starts_with(known.prefix))) {
            Some(known) => {
                let once: u64 = circle.iter().map(|&index| frames[index].deepest + RETURN_ADDRESS).sum();
                extra.extend(circle.iter().map(|&index| (index, once * known.times)));
            }
            None => faults.push(format!("lead to themselves: {}", names.join(", "))),
        }
    }
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    let circle_of: BTreeMap<usize, usize> = circles
        .iter()
        .enumerate()
        .flat_map(|(id, circle)| circle.iter().map(move |&index| (index, id)))
        .collect();
    let taken = kernel.address_taken();
    let mut by_pointer = 0;
    let mut summary = Summary { functions: frames.len(), direct: 0, path: Vec::new(), nested: 0 };
    for level in 0.. {
        let totals = totals(&frames, &circle_of, &extra, by_pointer);
        let (outermost, deepest) = totals
            .iter()
            .enumerate()
            .max_by_key(|(_, total)| total.bytes)
            .map_or((0, 0), |(i, t)| (i, t.bytes));
        if level == 0 {
            summary.direct = deepest;
            let mut next = Some(outermost);
            while let Some(index) = next {
                let name = kernel.functions()[index].name();
                summary.path.push(format!("{name} ({} bytes)", frames[index].deepest));
                next = totals[index].next;
            }
        }
        if deepest > size {
            if level == 0 || level - 1 < nested {
                return Err(format!(
                    "{level} calls by pointers within one another take {deepest} bytes, and a stack has {size}; the \
                     deepest path of direct calls, {} bytes:\n  {}",
                    summary.direct,
                    summary.path.join("\n  ")
                ));
            }
            break;
        }
        summary.nested = level;
        by_pointer = taken.iter().map(|&index| totals[index].bytes).max().unwrap_or(0);
        if by_pointer == 0 {
            break;
        }
    }
    Ok(summary)
}

/// What a function takes with all below it, and where the deepest path goes on.
#[derive(Clone, Copy, Default)]
struct Total {
    bytes: u64,
    next: Option<usize>,
}

/// The totals, where each call by a pointer takes `by_pointer` bytes.
fn totals(
    frames: &[Frame],
    circle_of: &BTreeMap<usize, usize>,
    extra: &BTreeMap<usize, u64>,
    by_pointer: u64,
) -> Vec<Total> {
    let mut totals: Vec<Option<Total>> = vec![None; frames.len()];
    for start in 0..frames.len() {
        // Those below come first: a list of what is still to be worked out, not calls within calls.
        let mut pending = vec![start];
        while let Some(&index) = pending.last() {
            if totals[index].is_some() {
                pending.pop();
                continue;
            }
            let on_circle = |to: usize| {
                to == index || circle_of.get(&index).is_some_and(|id| circle_of.get(&to) == Some(id))
            };
            let below = frames[index].ways.iter().filter_map(|way| match way.target {
                Target::Function(to) if !on_circle(to) => Some((way.depth, to)),
                _ => None,
            });
            let missing: Vec<usize> =
                below.clone().map(|(_, to)| to).filter(|&to| totals[to].is_none()).collect();
            if !missing.is_empty() {
                pending.extend(missing);
                continue;
            }
            let own = Total { bytes: frames[index].deepest, next: None };
            let direct = below.map(|(depth, to)| Total {
                bytes: depth + totals[to].map_or(0, |total| total.bytes),
                next: Some(to),
            });
            let pointers = frames[index].ways.iter().filter(|way| way.target == Target::Unknown);
            let pointers = pointers.map(|way| Total { bytes: way.depth + by_pointer, next: None });
            let mut total = direct.chain(pointers).fold(own, |a, b| if b.bytes > a.bytes { b } else { a });
            total.bytes += extra.get(&index).copied().unwrap_or(0);
            totals[index] = Some(total);
            pending.pop();
        }
    }
    totals.into_iter().map(Option::unwrap_or_default).collect()
}

/// The frame of a function: what its instructions do to the stack pointer, followed along every way through it.
fn frame(kernel: &Kernel, index: usize) -> Frame {
    let function = &kernel.functions()[index];
    let instructions = &function.instructions;
    let mut depths: Vec<Option<u64>> = vec![None; instructions.len()];
    let mut pending = vec![(0usize, 0u64)];
    while let Some((at, depth)) = pending.pop() {
        // A place that is reached with different depths counts with the first; `deepest` has the others.
        if at >= instructions.len()
            || depths[at].is_some_and(|known| known >= depth)
            || depth > 2 * DEEPEST_FRAME
        {
            continue;
        }
        depths[at] = Some(depth);
        let i = &instructions[at];
        let after = after(instructions, at, depth, &depths);
        if matches!(i.flow_control(), FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch) {
            let to = i.near_branch_target();
            // Not backwards along a loop that moves the stack pointer: its end is known from its comparison.
            if let Ok(to) = instructions.binary_search_by_key(&to, Instruction::ip)
                && (to > at || depths[to].is_none())
            {
                pending.push((to, after));
            }
        }
        if goes_on(i) {
            pending.push((at + 1, after));
        }
    }
    // What only a jump by a table reaches has the frame of the jump at least: the largest, to be safe.
    let deepest = depths.iter().flatten().copied().max().unwrap_or(0);
    let depth_at = |address: u64| {
        let at = instructions.binary_search_by_key(&address, Instruction::ip).ok();
        at.and_then(|at| depths[at]).unwrap_or(deepest)
    };
    let ways = kernel
        .edges(index)
        .into_iter()
        .filter(|edge| !is_end_by_call(kernel, edge))
        .map(|edge| {
            let pushed = if edge.kind == EdgeKind::Call { RETURN_ADDRESS } else { 0 };
            Way { kind: edge.kind, depth: depth_at(edge.at) + pushed, target: edge.target }
        })
        .collect();
    Frame { deepest, ways }
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

/// The bytes in use after an instruction before which there were `depth`. Where the stack pointer is taken from elsewhere
/// (a frame pointer, another stack) the count goes on, which is never too little.
fn after(instructions: &[Instruction], at: usize, depth: u64, depths: &[Option<u64>]) -> u64 {
    let i = &instructions[at];
    let to_stack_pointer =
        i.op_count() > 0 && i.op0_kind() == OpKind::Register && i.op0_register() == Register::RSP;
    let immediate = || i.try_immediate(1).unwrap_or(0) as i64;
    match i.mnemonic() {
        Mnemonic::Call => depth,
        Mnemonic::Sub if to_stack_pointer => depth.saturating_add_signed(immediate()),
        Mnemonic::Add if to_stack_pointer => depth.saturating_add_signed(-immediate()),
        // Rounded down to a multiple.
        Mnemonic::And if to_stack_pointer => {
            depth.saturating_add_signed(-immediate() - RETURN_ADDRESS as i64)
        }
        Mnemonic::Lea if to_stack_pointer && i.memory_base() == Register::RSP => {
            depth.saturating_add_signed(-(i.memory_displacement64() as i64))
        }
        // The end of a loop that touches each page of a large frame: it is where a register pointed before the loop.
        Mnemonic::Cmp if to_stack_pointer && i.op1_kind() == OpKind::Register => {
            let limit = instructions[..at].iter().zip(depths).rev().find_map(|(i, depth)| {
                let sets = i.mnemonic() == Mnemonic::Lea && i.memory_base() == Register::RSP;
                sets.then(|| {
                    depth.map(|depth| depth.saturating_add_signed(-(i.memory_displacement64() as i64)))
                })
            });
            limit.flatten().unwrap_or(depth)
        }
        _ => depth.saturating_add_signed(-i64::from(i.stack_pointer_increment())),
    }
}

/// The groups of functions that lead to each other and back by direct calls (Tarjan's algorithm, with lists for calls).
fn circles(frames: &[Frame]) -> Vec<Vec<usize>> {
    let next = |index: usize| {
        frames[index].ways.iter().filter_map(|way| match way.target {
            Target::Function(to) => Some(to),
            Target::Unknown => None,
        })
    };
    let (mut order, mut low) = (vec![usize::MAX; frames.len()], vec![usize::MAX; frames.len()]);
    let mut on_stack = vec![false; frames.len()];
    let (mut stack, mut found, mut count) = (Vec::new(), Vec::new(), 0);
    for start in 0..frames.len() {
        if order[start] != usize::MAX {
            continue;
        }
        let mut work = vec![(start, next(start).collect::<Vec<_>>())];
        (order[start], low[start]) = (count, count);
        count += 1;
        stack.push(start);
        on_stack[start] = true;
        while let Some((index, ways)) = work.last_mut() {
            let index = *index;
            if let Some(to) = ways.pop() {
                if order[to] == usize::MAX {
                    (order[to], low[to]) = (count, count);
                    count += 1;
                    stack.push(to);
                    on_stack[to] = true;
                    work.push((to, next(to).collect()));
                } else if on_stack[to] {
                    low[index] = low[index].min(order[to]);
                }
                continue;
            }
            work.pop();
            if let Some((above, _)) = work.last() {
                low[*above] = low[*above].min(low[index]);
            }
            if low[index] == order[index] {
                let at = stack.iter().position(|&other| other == index).unwrap_or(0);
                let circle = stack.split_off(at);
                circle.iter().for_each(|&index| on_stack[index] = false);
                if circle.len() > 1 || next(index).any(|to| to == index) {
                    found.push(circle);
                }
            }
        }
    }
    found
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

    #[test]
    fn frames_and_return_addresses_add_up() {
        let kernel =
            Kernel::by_hand(&[("a", 0x1000, &calling(0x1000, 0x2000)), ("b", 0x2000, &BY_POINTER)], &[], &[]);
        let found = check(&kernel, 1000, 0, &[]).expect("nothing is wrong");
        assert_eq!(found.direct, 0x40 + 8 + 8 + 8);
        assert_eq!(found.path, ["a (64 bytes)", "b (8 bytes)"]);
    }

    #[test]
    fn calls_by_pointers_may_reach_whatever_has_its_address_taken() {
        let functions: [(&str, u64, &[u8]); 2] = [("a", 0x1000, &BY_POINTER), ("b", 0x2000, &RETURN)];
        // The first one's address is in a table: it may call itself, 16 bytes each time.
        let kernel = Kernel::by_hand(&functions, &[(0x9000, 0x1000)], &[]);
        assert_eq!(check(&kernel, 100, 5, &[]).map(|found| found.nested), Ok(5));
        assert!(check(&kernel, 100, 6, &[]).is_err());
    }

    #[test]
    fn a_circle_must_be_known() {
        let functions: [(&str, u64, &[u8]); 2] =
            [("a", 0x1000, &calling(0x1000, 0x2000)), ("b", 0x2000, &calling(0x2000, 0x1000))];
        let kernel = Kernel::by_hand(&functions, &[], &[]);
        assert!(check(&kernel, 1000, 0, &[]).is_err_and(|fault| fault.contains("lead to themselves")));
        let known = [Recursion { prefix: "b", times: 2, reason: "a test" }];
        let twice = 2 * 2 * (0x40 + 8);
        assert!(check(&kernel, 1000, 0, &known).is_ok_and(|found| found.direct > twice));
    }
}
