//! How much of the stack the paths of calls take, those included on which functions come back to themselves.
//!
//! Functions that lead to each other and back are a group. In each that has more than one, or one that calls itself, some are
//! listed as coming back so many times at most ([`Recursion`]). Cut at the ways to these, a path through the group falls into
//! pieces, none of which has a function twice: there are as many of them as the list allows in all, and each takes what the
//! longest does that begins where it begins.
use crate::kernel_elf::EdgeKind;
use crate::recursions::Recursion;
use std::collections::{BTreeMap, BTreeSet};

/// A way from a function into another.
#[derive(Clone, Debug)]
pub struct Way {
    /// A call, or the end of the function by a jump.
    pub kind: EdgeKind,
    /// The bytes in use there: of the function's frame, and a return address if it is a call.
    pub depth: u64,
    /// The function that it leads to.
    pub to: usize,
    /// The address of the call, if it is by a pointer.
    pub by_pointer: Option<u64>,
}

/// A function's name, frame and ways out.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The most bytes that it has in use itself.
    pub deepest: u64,
    /// Its ways out.
    pub ways: Vec<Way>,
    /// The bytes in use where it panics.
    pub panics: Option<u64>,
}

/// What a function takes with all below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// All bytes.
    pub bytes: u64,
    /// Those of them that functions take which come back to themselves: of all pieces of the path but the last.
    pub in_recursions: u64,
    /// Where the deepest path goes on; after functions that come back to themselves, with the last piece.
    pub next: Option<usize>,
    /// Where the deepest path that has no function twice goes on.
    direct: Option<usize>,
}

/// Functions that lead to each other and back, or one that doesn't.
struct Group {
    members: BTreeSet<usize>,
    /// The listed ones, and how often a path reaches them at most: all those of one number together.
    heads: BTreeMap<usize, usize>,
    /// How often, by these numbers.
    visits: BTreeMap<usize, u64>,
}

/// A program's functions, in groups.
pub struct Paths<'a> {
    nodes: &'a [Node],
    /// Each behind those that it leads to.
    groups: Vec<Group>,
}

impl Paths<'_> {
    /// Finds the groups.
    ///
    /// # Errors
    /// Functions that lead to themselves and are not listed, and those of the list that don't, a line for each.
    pub fn of<'a>(nodes: &'a [Node], recursions: &[Recursion]) -> Result<Paths<'a>, String> {
        let all: BTreeSet<usize> = (0..nodes.len()).collect();
        let (mut groups, mut faults, mut used) = (Vec::new(), Vec::new(), BTreeSet::new());
        for members in components(nodes, &all, &BTreeMap::new()) {
            let mut group = Group { members, heads: BTreeMap::new(), visits: BTreeMap::new() };
            if is_circle(nodes, &group.members) {
                for &index in &group.members {
                    let is_it = |known: &Recursion| nodes[index].name.starts_with(known.prefix);
                    if let Some(known) = recursions.iter().position(is_it) {
                        group.heads.insert(index, known);
                        group.visits.insert(known, recursions[known].times + 1);
                        used.insert(known);
                    }
                }
                faults.extend(cut_jumps(nodes, &mut group));
            }
            groups.push(group);
        }
        if faults.is_empty() {
            let unused = recursions.iter().enumerate().filter(|(known, _)| !used.contains(known));
            let line = |prefix| format!("{prefix} no longer leads to itself: take it off the list");
            faults.extend(unused.map(|(_, known)| line(known.prefix)));
        }
        if faults.is_empty() { Ok(Paths { nodes, groups }) } else { Err(faults.join("\n")) }
    }

    /// The totals of all functions, where a panic takes `in_panic` bytes.
    pub fn totals(&self, in_panic: u64) -> Vec<Total> {
        let mut totals = vec![Total::default(); self.nodes.len()];
        for group in &self.groups {
            let is_within = |way: &&Way| group.members.contains(&way.to);
            // What each takes up to the end of its piece of the path: where that ends the path, and where a head follows.
            let mut last: BTreeMap<usize, Total> = BTreeMap::new();
            let mut piece: BTreeMap<usize, u64> = BTreeMap::new();
            for index in components(self.nodes, &group.members, &group.heads).into_iter().flatten() {
                let node = &self.nodes[index];
                let own = node.deepest.max(node.panics.map_or(0, |depth| depth + in_panic));
                let mut most = Total { bytes: own, ..Total::default() };
                let mut to_head = None;
                for way in &node.ways {
                    if !is_within(&way) || !group.heads.contains_key(&way.to) {
                        let below = if is_within(&way) { last[&way.to] } else { totals[way.to] };
                        if way.depth + below.bytes > most.bytes {
                            let next = Some(way.to);
                            most = Total {
                                bytes: way.depth + below.bytes,
                                in_recursions: 0,
                                next,
                                direct: next,
                            };
                        }
                    }
                    if is_within(&way) {
                        let rest = if group.heads.contains_key(&way.to) {
                            Some(0)
                        } else {
                            piece.get(&way.to).copied()
                        };
                        to_head = to_head.max(rest.map(|rest| rest + way.depth));
                    }
                }
                last.insert(index, most);
                piece.extend(to_head.map(|bytes| (index, bytes)));
            }
            // The pieces between heads, and what ends a path instead of one of them.
            let pieces = |number: usize| {
                let of = group.heads.iter().filter(|(_, known)| **known == number);
                of.filter_map(|(head, _)| piece.get(head)).copied().max().unwrap_or(0)
            };
            let between: u64 = group.visits.iter().map(|(&number, visits)| pieces(number) * visits).sum();
            let ends = group
                .heads
                .iter()
                .map(|(head, &known)| (*head, last[head].bytes as i64 - pieces(known) as i64));
            let end = ends.max_by_key(|(_, bytes)| *bytes);
            for &index in &group.members {
                totals[index] = last[&index];
                if let (Some((head, more)), Some(first)) = (end, piece.get(&index)) {
                    // One that is a head is there already.
                    let own = group.heads.get(&index).map_or(0, |&known| pieces(known));
                    let bytes = (first + between - own).saturating_add_signed(more);
                    if bytes > totals[index].bytes {
                        let in_recursions = bytes - last[&head].bytes;
                        totals[index] =
                            Total { bytes, in_recursions, next: Some(head), direct: totals[index].direct };
                    }
                }
            }
        }
        totals
    }
}

impl Paths<'_> {
    /// The functions on the deepest path from one, with the bytes in recursions before the next.
    pub fn deepest(&self, totals: &[Total], from: usize) -> Vec<(usize, u64)> {
        let mut path = Vec::new();
        let (mut next, mut within) = (Some(from), None);
        while let Some(index) = next {
            let group = self.groups.iter().position(|group| group.members.contains(&index));
            let is_last_piece = within.is_some() && within == group;
            path.push((index, if is_last_piece { 0 } else { totals[index].in_recursions }));
            within = if is_last_piece || totals[index].in_recursions > 0 { group } else { None };
            next = if is_last_piece { totals[index].direct } else { totals[index].next };
        }
        path
    }
}

/// Makes heads of what goes round by jumps alone, which takes no more of the stack: functions share the ends of their code.
/// Returns the circles that remain.
fn cut_jumps(nodes: &[Node], group: &mut Group) -> Vec<String> {
    loop {
        let mut circles = components(nodes, &group.members, &group.heads);
        circles.retain(|members| {
            let ways = members.iter().flat_map(|&index| &nodes[index].ways);
            let mut within =
                ways.filter(|way| members.contains(&way.to) && !group.heads.contains_key(&way.to));
            within.next().is_some()
        });
        let is_jump = |members: &&BTreeSet<usize>| {
            let ways = members.iter().flat_map(|&index| &nodes[index].ways);
            ways.filter(|way| members.contains(&way.to)).all(|way| way.kind != EdgeKind::Call)
        };
        let jumps: Vec<usize> =
            circles.iter().filter(is_jump).filter_map(|members| members.first().copied()).collect();
        if jumps.is_empty() {
            return circles.iter().map(|circle| describe(nodes, circle)).collect();
        }
        for index in jumps {
            // A number that no recursion of the list has.
            group.heads.insert(index, usize::MAX - index);
            group.visits.insert(usize::MAX - index, 1);
        }
    }
}

/// A circle for people, with its calls by pointers: what may be wrong is what they are thought to reach.
fn describe(nodes: &[Node], circle: &BTreeSet<usize>) -> String {
    let mut text = String::from("lead to themselves:");
    for &index in circle {
        text += &format!("\n    {}", nodes[index].name);
    }
    for &from in circle {
        for way in nodes[from].ways.iter().filter(|way| circle.contains(&way.to)) {
            if let Some(at) = way.by_pointer {
                text += &format!(
                    "\n  by a pointer at {at:#x} from {} to {}",
                    nodes[from].name, nodes[way.to].name
                );
            }
        }
    }
    text
}

fn is_circle(nodes: &[Node], members: &BTreeSet<usize>) -> bool {
    members.len() > 1 || members.iter().any(|index| nodes[*index].ways.iter().any(|way| way.to == *index))
}

/// The groups of the functions `among` that lead to each other and back without a way to one of `cut`, each behind those that
/// it leads to (Tarjan's algorithm, with lists for calls).
fn components(nodes: &[Node], among: &BTreeSet<usize>, cut: &BTreeMap<usize, usize>) -> Vec<BTreeSet<usize>> {
    let next = |index: usize| -> Vec<usize> {
        let targets = nodes[index].ways.iter().map(|way| way.to);
        targets.filter(|to| among.contains(to) && !cut.contains_key(to)).collect()
    };
    let (mut order, mut low) = (vec![usize::MAX; nodes.len()], vec![usize::MAX; nodes.len()]);
    let mut on_stack = vec![false; nodes.len()];
    let (mut stack, mut found, mut count) = (Vec::new(), Vec::new(), 0);
    for &start in among {
        if order[start] != usize::MAX {
            continue;
        }
        let mut work = vec![(start, next(start))];
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
                    work.push((to, next(to)));
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
                let members = stack.split_off(at);
                members.iter().for_each(|&index| on_stack[index] = false);
                found.push(members.into_iter().collect());
            }
        }
    }
    found
}
