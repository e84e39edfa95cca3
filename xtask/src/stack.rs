//! Bounds the stack that the built kernel's calls take, from its instructions.
//!
//! For each function: how deep its own frame is at each call, and with that the deepest path of calls below it, which must
//! fit into a stack. What a call by a pointer may reach is found by [`crate::pointers`]. Functions that lead to themselves
//! are faults, unless [`RECURSIONS`] says how often they do so at most, and why.
use crate::kernel_elf::{Edge, EdgeKind, Kernel, Target, goes_on};
use crate::pointers::Reach;
use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a thread's kernel stack (`hal/src/task.rs`).
pub const KERNEL_STACK_SIZE: u64 = 16 * 1024;
/// Bytes that a call puts onto the stack.
const RETURN_ADDRESS: u64 = 8;
/// A frame that seems deeper than this is a loop that the check doesn't understand.
const DEEPEST_FRAME: u64 = 1 << 20;

/// The kernel's functions that lead to themselves by direct calls.
pub const RECURSIONS: &[Recursion] = &[
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_kernel::fs::file::OpenFile>",
        times: 1,
        reason: "files in flight are closed one after another by `in_flight::close`, whichever sockets they lie in, and what observes a file keeps no other open",
    },
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
        prefix: "coracle_kernel::ipc::poll::sleep_until",
        times: 1,
        reason: "a write to a pipe that must be whole waits within the wait for room, and no deeper",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<alloc::boxed::Box<coracle_kernel::ipc::unix::in_flight::Batch>>",
        times: 1,
        reason: "a batch is taken out of its list before it is dropped",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_kernel::ipc::epoll::Ready>",
        times: 5,
        reason: "epoll sets observe one another five deep at most (epoll_ctl(2), ELOOP)",
    },
    Recursion {
        prefix: "coracle_kernel::ipc::poll::PollSource::notify_entries",
        times: 5,
        reason: "epoll sets observe one another five deep at most (epoll_ctl(2), ELOOP)",
    },
    Recursion {
        prefix: "core::fmt::write",
        times: 3,
        reason: "what is shown may have parts that are shown, as an error that has another, and these have none",
    },
    Recursion {
        prefix: "<core::fmt::builders::PadAdapter as core::fmt::Write>::write_str",
        times: 1,
        reason: "nothing is shown indented (`{:#?}`)",
    },
    Recursion {
        prefix: "<coracle_kernel::fs::synthetic::node::Node as coracle_kernel::fs::inode::Inode>::list::{{closure}}",
        times: 1,
        reason: "a directory of made files lists its own entries, not those of another",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_kernel::fs::synthetic::node::Node>",
        times: 8,
        reason: "a made file keeps the directories that lead to it, of which /proc has no more",
    },
    Recursion { prefix: "trap_kernel", times: 1, reason: "traps have stacks of their own" },
];

/// Where every panic ends.
const PANIC: &str = "__rustc::rust_begin_unwind";

/// Code that runs before there are threads, on a stack that it chooses itself.
const BEFORE_THREADS: &[&str] = &["long_mode"];

/// Functions that call themselves, by their names or by how these begin.
pub struct Recursion {
    /// What the names of the functions on the circle begin with.
    pub prefix: &'static str,
    /// How often it is come back to on one path at most.
    pub times: u64,
    /// Why that is so.
    pub reason: &'static str,
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

/// A way out of a function, with the bytes in use there: of its frame, and a return address if it is a call.
struct Way {
    kind: EdgeKind,
    depth: u64,
    target: Target,
    /// The address of the call, if it is by a pointer.
    by_pointer: Option<u64>,
}

/// A function's frame and its ways out.
struct Frame {
    deepest: u64,
    ways: Vec<Way>,
    /// The bytes in use where it panics.
    panics: Option<u64>,
}

/// Checks that every path of calls fits into a stack of `size` bytes. `reached`: what the calls by pointers reach, by their
/// addresses.
///
/// # Errors
/// What is wrong, a line for each fault.
pub fn check(
    kernel: &Kernel,
    size: u64,
    recursions: &[Recursion],
    reached: &BTreeMap<u64, Reach>,
) -> Result<Summary, String> {
    let mut frames: Vec<Frame> = (0..kernel.functions().len())
        .map(|index| match kernel.functions()[index].name() {
            name if BEFORE_THREADS.contains(&name) => Frame { deepest: 0, ways: Vec::new(), panics: None },
            _ => frame(kernel, index, reached),
        })
        .collect();
    for (&at, reach) in reached.iter().filter(|(_, reach)| reach.passed) {
        pass(kernel, &mut frames, at, &reach.functions);
    }
    let mut faults: Vec<String> = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        if frame.deepest > DEEPEST_FRAME {
            faults.push(format!("{}: its frame has no bound", kernel.functions()[index].name()));
        }
    }
    let rounds =
        rounds(kernel, &mut frames, recursions).map_err(|more| faults.extend(more)).unwrap_or_default();
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    // A panic ends the machine, and a panic in a panic does at once: twice what it takes alone, beyond where it begins.
    let panic = totals(&frames, &rounds, 0);
    let ends = (0..frames.len()).filter(|&index| kernel.functions()[index].name() == PANIC);
    let in_panic = 2 * ends.map(|index| panic[index].bytes).max().unwrap_or(0);
    let totals = totals(&frames, &rounds, in_panic);
    let whole = |index: usize| totals[index].bytes + entering(&rounds, None, index);
    let outermost = (0..totals.len()).max_by_key(|&index| whole(index));
    let mut path = Vec::new();
    let mut next = outermost;
    while let Some(index) = next {
        path.push(format!("{} ({} bytes)", kernel.functions()[index].name(), frames[index].deepest));
        next = totals[index].next;
    }
    let deepest = outermost.map_or(0, whole);
    if deepest > size {
        return Err(format!(
            "a path takes {deepest} bytes, and a stack has {size}:\n  {}",
            path.join("\n  ")
        ));
    }
    Ok(Summary { functions: frames.len(), by_pointers: reached.len(), deepest, path })
}

/// Makes a call by a pointer, which is an argument of its function, one of the function's callers: each calls what it loads the
/// address of.
fn pass(kernel: &Kernel, frames: &mut [Frame], at: u64, functions: &[usize]) {
    let Some(within) = kernel.containing(at) else { return };
    let is_it = |way: &Way| way.by_pointer == Some(at);
    let Some(depth) = frames[within].ways.iter().find(|way| is_it(way)).map(|way| way.depth) else { return };
    frames[within].ways.retain(|way| !is_it(way));
    for (index, frame) in frames.iter_mut().enumerate() {
        let calls =
            frame.ways.iter().filter(|way| way.target == Target::Function(within)).map(|way| way.depth);
        let Some(outer) = calls.max() else { continue };
        let loads: Vec<usize> = kernel.loaded_by(index).filter(|to| functions.contains(to)).collect();
        // One that loads none has it from elsewhere.
        for &to in if loads.is_empty() { functions } else { &loads } {
            let target = Target::Function(to);
            frame.ways.push(Way { kind: EdgeKind::Call, depth: outer + depth, target, by_pointer: Some(at) });
        }
    }
}

/// Functions that lead to each other and back, which is known to end.
struct Rounds {
    members: BTreeSet<usize>,
    /// Bytes of all rounds but the first, of those among them that lead to each other otherwise included.
    bytes: u64,
}

/// Takes what leads back out of the ways of functions that lead to themselves, so that none does any more, and says what the
/// rounds take; or which are not known.
fn rounds(
    kernel: &Kernel,
    frames: &mut [Frame],
    recursions: &[Recursion],
) -> Result<Vec<Rounds>, Vec<String>> {
    let name = |index: usize| kernel.functions()[index].name();
    let (mut groups, mut faults) = (Vec::new(), Vec::new());
    loop {
        let circles = circles(frames);
        if circles.is_empty() {
            break;
        }
        for circle in circles {
            let members: BTreeSet<usize> = circle.iter().copied().collect();
            let within = |way: &Way| matches!(way.target, Target::Function(to) if members.contains(&to));
            // Jumps alone go round without taking more of the stack: functions share the ends of their code.
            let calls = circle
                .iter()
                .flat_map(|&index| &frames[index].ways)
                .any(|way| way.kind == EdgeKind::Call && within(way));
            let known = recursions
                .iter()
                .find(|known| circle.iter().any(|&index| name(index).starts_with(known.prefix)));
            let (heads, times): (BTreeSet<usize>, u64) = match known {
                Some(known) => (
                    members.iter().copied().filter(|&index| name(index).starts_with(known.prefix)).collect(),
                    known.times,
                ),
                None if !calls => (circle.iter().copied().take(1).collect(), 0),
                None => {
                    let names: Vec<&str> = circle.iter().map(|&index| name(index)).collect();
                    faults.push(format!(
                        "lead to themselves:\n    {}{}",
                        names.join("\n    "),
                        pointer_ways(kernel, frames, &circle)
                    ));
                    continue;
                }
            };
            let mut back = Vec::new();
            for &index in &circle {
                let leads_back =
                    |way: &Way| matches!(way.target, Target::Function(to) if heads.contains(&to));
                back.extend(
                    frames[index].ways.iter().filter(|way| leads_back(way)).map(|way| (index, way.depth)),
                );
                frames[index].ways.retain(|way| !leads_back(way));
            }
            groups.push((members, times, back));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
    }
    let order = order(frames);
    let mut rounds: Vec<Rounds> = Vec::new();
    // Those that lie within others were found later.
    for (members, times, back) in groups.into_iter().rev() {
        let mut longest: BTreeMap<usize, u64> = BTreeMap::new();
        for &index in order.iter().filter(|index| members.contains(index)) {
            let direct = back.iter().filter(|(from, _)| *from == index).map(|(_, depth)| *depth);
            let further = frames[index].ways.iter().filter_map(|way| match way.target {
                Target::Function(to) => Some(way.depth + longest.get(&to)?),
                Target::Unknown => None,
            });
            if let Some(most) = direct.chain(further).max() {
                longest.insert(index, most);
            }
        }
        let mut bytes = longest.into_values().max().unwrap_or(0) * times;
        rounds.retain(|inner: &Rounds| {
            let lies_within = inner.members.is_subset(&members);
            bytes += if lies_within { inner.bytes } else { 0 };
            !lies_within
        });
        rounds.push(Rounds { members, bytes });
    }
    Ok(rounds)
}

/// What the rounds take that begin when `to` is reached, from `from` or first.
fn entering(rounds: &[Rounds], from: Option<usize>, to: usize) -> u64 {
    let begins = |round: &&Rounds| {
        round.members.contains(&to) && from.is_none_or(|from| !round.members.contains(&from))
    };
    rounds.iter().filter(begins).map(|round| round.bytes).sum()
}

/// All functions, each behind those that it leads to; none leads to itself.
fn order(frames: &[Frame]) -> Vec<usize> {
    let (mut order, mut seen) = (Vec::new(), vec![false; frames.len()]);
    for start in 0..frames.len() {
        let mut work = vec![(start, 0)];
        while let Some((index, position)) = work.pop() {
            if position == 0 && std::mem::replace(&mut seen[index], true) {
                continue;
            }
            match frames[index].ways.get(position) {
                Some(way) => {
                    work.push((index, position + 1));
                    if let Target::Function(to) = way.target
                        && !seen[to]
                    {
                        work.push((to, 0));
                    }
                }
                None => order.push(index),
            }
        }
    }
    order
}

/// The calls by pointers on a circle, a line for each: what may be wrong is what they are thought to reach.
fn pointer_ways(kernel: &Kernel, frames: &[Frame], circle: &[usize]) -> String {
    let name = |index: usize| kernel.functions()[index].name();
    let ways = circle.iter().flat_map(|&from| frames[from].ways.iter().map(move |way| (from, way)));
    let lines = ways.filter_map(|(from, way)| match (way.by_pointer, way.target) {
        (Some(at), Target::Function(to)) if circle.contains(&to) => {
            Some(format!("\n  by a pointer at {at:#x} from {} to {}", name(from), name(to)))
        }
        _ => None,
    });
    lines.collect()
}

/// What a function takes with all below it, and where the deepest path goes on.
#[derive(Clone, Copy, Default)]
struct Total {
    bytes: u64,
    next: Option<usize>,
}

/// The totals, where a panic takes `in_panic` bytes.
fn totals(frames: &[Frame], rounds: &[Rounds], in_panic: u64) -> Vec<Total> {
    let mut totals = vec![Total::default(); frames.len()];
    for index in order(frames) {
        let frame = &frames[index];
        let own =
            Total { bytes: frame.deepest.max(frame.panics.map_or(0, |depth| depth + in_panic)), next: None };
        let below = frame.ways.iter().filter_map(|way| match way.target {
            Target::Function(to) => {
                let bytes = way.depth + entering(rounds, Some(index), to) + totals[to].bytes;
                Some(Total { bytes, next: Some(to) })
            }
            Target::Unknown => None,
        });
        totals[index] = below.fold(own, |a, b| if b.bytes > a.bytes { b } else { a });
    }
    totals
}

/// The frame of a function: what its instructions do to the stack pointer, followed along every way through it.
fn frame(kernel: &Kernel, index: usize, reached: &BTreeMap<u64, Reach>) -> Frame {
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
    let mut ways: Vec<Way> = kernel
        .edges(index)
        .into_iter()
        .filter(|edge| !is_end_by_call(kernel, edge))
        .flat_map(|edge| {
            let pushed = if edge.kind == EdgeKind::Call { RETURN_ADDRESS } else { 0 };
            let targets = match edge.target {
                Target::Function(to) => vec![to],
                Target::Unknown => {
                    reached.get(&edge.at).map_or_else(Vec::new, |reach| reach.functions.clone())
                }
            };
            let depth = depth_at(edge.at) + pushed;
            let by_pointer = (edge.target == Target::Unknown).then_some(edge.at);
            let way = move |to| Way { kind: edge.kind, depth, target: Target::Function(to), by_pointer };
            targets.into_iter().map(way)
        })
        .collect();
    let is_panic =
        |way: &Way| matches!(way.target, Target::Function(to) if kernel.functions()[to].name() == PANIC);
    let panics = ways.iter().filter(|way| is_panic(way)).map(|way| way.depth).max();
    ways.retain(|way| !is_panic(way));
    Frame { deepest, ways, panics }
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

    /// [`check`] of what no pointer reaches.
    fn direct(kernel: &Kernel, size: u64, recursions: &[Recursion]) -> Result<Summary, String> {
        check(kernel, size, recursions, &BTreeMap::new())
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
        let reaching = |index| BTreeMap::from([(0x1001, Reach { functions: vec![index], passed: false })]);
        assert_eq!(check(&kernel, 1000, &[], &reaching(1)).map(|found| found.deepest), Ok(16 + 0x40 + 8));
        assert!(
            check(&kernel, 1000, &[], &reaching(0))
                .is_err_and(|fault| fault.contains("by a pointer at 0x1001"))
        );
    }

    #[test]
    fn an_argument_is_what_the_caller_loads() {
        // lea rdi, [0x2000]; call 0x3000; ret
        let loading = [0x48, 0x8d, 0x3d, 0xf9, 0x0f, 0, 0, 0xe8, 0xf4, 0x1f, 0, 0, 0xc3];
        let functions: [(&str, u64, &[u8]); 4] = [
            ("a", 0x1000, &loading),
            ("b", 0x2000, &RETURN),
            ("c", 0x3000, &BY_POINTER),
            ("d", 0x4000, &calling(0x4000, 0x3000)),
        ];
        let kernel = Kernel::by_hand(&functions, &[], &[]);
        let reached = BTreeMap::from([(0x3001, Reach { functions: vec![0, 1], passed: true })]);
        // "d" loads no address: it may pass that of "a".
        assert_eq!(
            check(&kernel, 1000, &[], &reached).map(|found| found.deepest),
            Ok(0x40 + 8 + 16 + 8 + 16)
        );
    }

    #[test]
    fn a_circle_must_be_known() {
        let functions: [(&str, u64, &[u8]); 2] =
            [("a", 0x1000, &calling(0x1000, 0x2000)), ("b", 0x2000, &calling(0x2000, 0x1000))];
        let kernel = Kernel::by_hand(&functions, &[], &[]);
        assert!(direct(&kernel, 1000, &[]).is_err_and(|fault| fault.contains("lead to themselves")));
        let known = [Recursion { prefix: "b", times: 2, reason: "a test" }];
        let round = 2 * (0x40 + 8);
        assert_eq!(direct(&kernel, 1000, &known).map(|found| found.deepest), Ok(3 * round - 8));
    }
}
