//! What the calls by pointers of the built kernel may reach.
//!
//! The binary and its debugging information show most of it:
//!
//! - What the called pointer is made of is followed back ([`crate::values`]): to the address of a function or of a table of
//!   methods, through arguments to the callers. Where that is an argument, it is each caller that calls what it passes.
//! - A method of a trait object is called through a slot of a table, and the source says by which name: the call reaches the
//!   functions in that slot of the tables of the traits that have a method of this name there ([`crate::tables`]).
//!
//! What remains needs a rule ([`crate::pointer_rules`]). A rule may also narrow what was found, where a person knows more. A call
//! that nothing covers, a rule that fits no call, and one that names what its call can't reach are faults.
use crate::debug_info::Frames;
use crate::kernel_elf::{EdgeKind, Kernel, Target};
use crate::pointer_rules::{Reaches, Rule, Rules};
use crate::tables::Tables;
use crate::values::{Body, Origin, Place};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// How many calls a pointer is followed up through, from argument to argument.
const MOST_CALLERS: usize = 6;
/// How often what calls reach is looked at anew, since what reaches a function says what it is called with.
const MOST_ROUNDS: usize = 8;

/// What a call by a pointer may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The functions, by index, and the calls through which the pointer was passed, the innermost first: it is the outermost of
    /// these that decides. None: the call itself.
    pub functions: BTreeSet<(Vec<u64>, usize)>,
}

/// A call or jump by a pointer.
struct Site {
    within: usize,
    at: u64,
    /// The functions in whose code it is, the innermost first.
    names: Vec<String>,
    called: Option<String>,
}

/// What is known of a call.
#[derive(Default)]
struct Found {
    functions: BTreeSet<(Vec<u64>, usize)>,
    /// Not all of it is known.
    is_open: bool,
    /// The slot through which it goes, if it is one.
    slot: Option<u64>,
}

struct Resolver<'a> {
    kernel: &'a Kernel,
    tables: Tables,
    bodies: Vec<OnceCell<Body<'a>>>,
    /// The direct calls and jumps to each function: from which function, and where.
    callers: Vec<Vec<(usize, u64)>>,
    /// The functions whose addresses something has.
    taken: BTreeSet<usize>,
    /// What was found in the round before.
    reached: BTreeMap<u64, Reach>,
}

/// What each call by a pointer may reach, by its address.
///
/// # Errors
/// The calls that nothing covers and the rules that are wrong, a line for each.
pub fn resolve(kernel: &Kernel, frames: &impl Frames, rules: &Rules) -> Result<BTreeMap<u64, Reach>, String> {
    let mut resolver = Resolver::new(kernel);
    let mut sites = Vec::new();
    for within in 0..kernel.functions().len() {
        for edge in kernel.edges(within).into_iter().filter(|edge| edge.target == Target::Unknown) {
            let mut names = frames.at(edge.at);
            names.push(kernel.functions()[within].name().to_owned());
            sites.push(Site { within, at: edge.at, names, called: frames.called(edge.at) });
        }
    }
    let mut faults = BTreeSet::new();
    for _ in 0..MOST_ROUNDS {
        faults.clear();
        let mut used = BTreeSet::new();
        let mut reached = BTreeMap::new();
        for site in &sites {
            let rule = rules.find(&site.names, site.called.as_deref());
            used.extend(rule.map(|rule| rule.line));
            match resolver.site(site, rule) {
                Ok(functions) => _ = reached.insert(site.at, Reach { functions }),
                Err(fault) => _ = faults.insert(fault),
            }
        }
        for rule in rules.iter().filter(|rule| !used.contains(&rule.line)) {
            faults.insert(format!("line {}: no call by a pointer is like that any more", rule.line));
        }
        let is_stable = reached == resolver.reached;
        resolver.reached = reached;
        if is_stable {
            break;
        }
    }
    if faults.is_empty() { Ok(resolver.reached) } else { Err(Vec::from_iter(faults).join("\n")) }
}

impl<'a> Resolver<'a> {
    fn new(kernel: &'a Kernel) -> Resolver<'a> {
        let count = kernel.functions().len();
        let mut callers = vec![Vec::new(); count];
        for from in 0..count {
            for edge in kernel.edges(from) {
                if let Target::Function(to) = edge.target
                    && edge.kind != EdgeKind::FallThrough
                {
                    callers[to].push((from, edge.at));
                }
            }
        }
        let in_code = (0..count).flat_map(|index| kernel.loaded_by(index));
        let in_data = kernel.pointers().values().filter_map(|&to| kernel.starting_at(to));
        let taken = in_data.chain(in_code).collect();
        let bodies = (0..count).map(|_| OnceCell::new()).collect();
        let tables = Tables::of(kernel);
        Resolver { kernel, tables, bodies, callers, taken, reached: BTreeMap::new() }
    }

    fn body(&self, index: usize) -> &Body<'a> {
        self.bodies[index].get_or_init(|| Body::of(self.kernel, index))
    }

    /// What a call may reach, which `rule` is about.
    fn site(&self, site: &Site, rule: Option<&Rule>) -> Result<BTreeSet<(Vec<u64>, usize)>, String> {
        let mut found = self.follow(site);
        if found.is_open
            && let Some(name) = &site.called
        {
            let methods = self.tables.called(name, found.slot);
            if !methods.is_empty() {
                found.functions.extend(methods.into_iter().map(|function| (Vec::new(), function)));
                found.is_open = false;
            }
        }
        // That a call reaches nothing narrows none whose functions are known.
        let rule = rule.filter(|rule| found.is_open || rule.reaches != [Reaches::Nothing]);
        let Some(rule) = rule else {
            return if found.is_open { Err(self.uncovered(site, &found)) } else { Ok(found.functions) };
        };
        let mut functions = BTreeSet::new();
        for reaches in &rule.reaches {
            let meant = self.meant(reaches, found.slot)?;
            let narrowed: BTreeSet<_> = if found.is_open {
                meant.iter().map(|&function| (Vec::new(), function)).collect()
            } else {
                found.functions.iter().filter(|(_, function)| meant.contains(function)).cloned().collect()
            };
            let is_none = matches!(reaches, Reaches::Nothing | Reaches::Elsewhere);
            if narrowed.is_empty() && !is_none && !self.reached.is_empty() {
                let names = &site.names[0];
                return Err(format!("line {}: the call in {names} does not reach {reaches:?}", rule.line));
            }
            functions.extend(narrowed);
        }
        Ok(functions)
    }

    /// The functions that a rule means.
    fn meant(&self, reaches: &Reaches, slot: Option<u64>) -> Result<BTreeSet<usize>, String> {
        Ok(match reaches {
            Reaches::Trait(name) => self.tables.slot(slot, |table| table.is_of(name)),
            Reaches::Closure => self.tables.slot(slot, |table| table.kind.is_none()),
            Reaches::Functions(part) => {
                self.taken.iter().copied().filter(|&index| self.is_named(index, part)).collect()
            }
            Reaches::Static(part) => {
                let words = self.kernel.pointers().iter().filter(|(at, _)| !self.tables.contains(**at));
                let functions = words.filter_map(|(_, &to)| self.kernel.starting_at(to));
                functions.filter(|&index| self.is_named(index, part)).collect()
            }
            Reaches::Variable(name) => {
                let (start, size) =
                    self.kernel.variable(name).ok_or_else(|| format!("the kernel has no variable {name}"))?;
                let words = self.kernel.pointers().range(start..start + size);
                words.filter_map(|(_, &to)| self.kernel.starting_at(to)).collect()
            }
            Reaches::Nothing | Reaches::Elsewhere => BTreeSet::new(),
        })
    }

    fn is_named(&self, index: usize, part: &str) -> bool {
        self.kernel.functions()[index].names.iter().any(|name| name.contains(part))
    }

    /// A call of which too little is known, for people.
    fn uncovered(&self, site: &Site, found: &Found) -> String {
        let slot = found.slot.map_or_else(String::new, |slot| format!(", through slot {slot:#x}"));
        format!(
            "{:#x}: nothing shows what is called in {} (in the code of {}) as {}{slot}",
            site.at,
            site.names[0],
            self.kernel.functions()[site.within].name(),
            site.called.as_deref().unwrap_or("*"),
        )
    }

    /// What the code shows of a call.
    fn follow(&self, site: &Site) -> Found {
        let body = self.body(site.within);
        let mut found = Found { is_open: true, ..Found::default() };
        let Some(position) = body.position(site.at) else { return found };
        found.is_open = false;
        let origins = body.called(position);
        let mut slots: BTreeSet<u64> = BTreeSet::new();
        for origin in origins {
            match origin {
                Origin::Address(to) => match self.kernel.starting_at(to) {
                    Some(function) => _ = found.functions.insert((Vec::new(), function)),
                    None => found.is_open = true,
                },
                Origin::Argument(place) => {
                    self.climb(site.within, place, None, &[], false, &mut BTreeSet::new(), &mut found);
                }
                Origin::Memory(distance) => _ = slots.insert(distance),
                Origin::Elsewhere => found.is_open = true,
            }
        }
        if let &[slot] = slots.iter().collect::<Vec<_>>().as_slice() {
            found.slot = Some(*slot);
        }
        if !slots.is_empty() {
            let tables = body.tables(position);
            found.is_open |= tables.is_empty();
            for (distance, table) in tables {
                self.load(site.within, distance, table, &[], false, &mut BTreeSet::new(), &mut found);
            }
        }
        found
    }

    /// Adds the function whose address is so far behind `table`, if that is known.
    #[allow(clippy::too_many_arguments)]
    fn load(
        &self,
        within: usize,
        distance: u64,
        table: Origin,
        chain: &[u64],
        is_fixed: bool,
        seen: &mut BTreeSet<(usize, Place)>,
        found: &mut Found,
    ) {
        match table {
            Origin::Address(at) => {
                let function =
                    self.kernel.constant_pointer(at + distance).and_then(|to| self.kernel.starting_at(to));
                match function {
                    Some(function) => _ = found.functions.insert((chain.to_vec(), function)),
                    None => found.is_open = true,
                }
            }
            Origin::Argument(place) => {
                self.climb(within, place, Some(distance), chain, is_fixed, seen, found);
            }
            Origin::Memory(_) | Origin::Elsewhere => found.is_open = true,
        }
    }

    /// Adds what the callers of the function `within` pass in `place`: a function, or what is so far behind a table. `chain`: the
    /// calls so far; it grows unless `is_fixed`, since what is called by pointers itself can't name its callers.
    #[allow(clippy::too_many_arguments)]
    fn climb(
        &self,
        within: usize,
        place: Place,
        distance: Option<u64>,
        chain: &[u64],
        is_fixed: bool,
        seen: &mut BTreeSet<(usize, Place)>,
        found: &mut Found,
    ) {
        if !seen.insert((within, place)) {
            return;
        }
        if chain.len() >= MOST_CALLERS || seen.len() > 200 {
            found.is_open = true;
            return;
        }
        let is_fixed = is_fixed || self.taken.contains(&within);
        let mut callers = self.callers[within].clone();
        if is_fixed && self.taken.contains(&within) {
            let reaches = |reach: &Reach| reach.functions.iter().any(|(_, to)| *to == within);
            let sites = self.reached.iter().filter(|(_, reach)| reaches(reach));
            callers.extend(sites.filter_map(|(&at, _)| Some((self.kernel.containing(at)?, at))));
        }
        for (caller, at) in callers {
            let mut chain = chain.to_vec();
            if !is_fixed {
                chain.push(at);
            }
            let body = self.body(caller);
            let Some(position) = body.position(at) else {
                found.is_open = true;
                continue;
            };
            for origin in body.value(position, body.argument(position, place)) {
                match (distance, origin) {
                    (Some(distance), origin) => {
                        self.load(caller, distance, origin, &chain, is_fixed, seen, found);
                    }
                    (None, Origin::Address(to)) => match self.kernel.starting_at(to) {
                        Some(function) => _ = found.functions.insert((chain.clone(), function)),
                        None => found.is_open = true,
                    },
                    (None, Origin::Argument(place)) => {
                        self.climb(caller, place, None, &chain, is_fixed, seen, found);
                    }
                    (None, _) => found.is_open = true,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the source calls, by address.
    struct Called(BTreeMap<u64, String>);

    impl Frames for Called {
        fn at(&self, _: u64) -> Vec<String> {
            Vec::new()
        }
        fn called(&self, address: u64) -> Option<String> {
            self.0.get(&address).cloned()
        }
    }

    /// push rbx; call [rsi + 24]; pop rbx; ret
    const BY_SLOT: [u8; 6] = [0x53, 0xff, 0x56, 0x18, 0x5b, 0xc3];
    /// call rdi; ret
    const BY_ARGUMENT: [u8; 3] = [0xff, 0xd7, 0xc3];
    /// mov rax, [rdi]; call [rax + 24]; ret
    const BY_OBJECT: [u8; 7] = [0x48, 0x8b, 0x07, 0xff, 0x50, 0x18, 0xc3];
    const RETURN: [u8; 1] = [0xc3];

    /// lea rdi, [0x2000]; call 0x3000; ret; all at 0x1000
    const PASSING: [u8; 13] = [0x48, 0x8d, 0x3d, 0xf9, 0x0f, 0, 0, 0xe8, 0xf4, 0x1f, 0, 0, 0xc3];

    fn resolved(
        kernel: &Kernel,
        called: &[(u64, &str)],
        rules: &str,
    ) -> Result<BTreeMap<u64, Reach>, String> {
        let called = called.iter().map(|(at, name)| (*at, (*name).to_owned())).collect();
        resolve(kernel, &Called(called), &Rules::parse(rules)?)
    }

    #[test]
    fn an_argument_is_what_the_callers_pass() {
        let functions: [(&str, u64, &[u8]); 3] =
            [("a", 0x1000, &PASSING), ("b", 0x2000, &RETURN), ("c", 0x3000, &BY_ARGUMENT)];
        let kernel = Kernel::by_hand(&functions, &[], &[]);
        let found = resolved(&kernel, &[], "").unwrap();
        assert_eq!(found[&0x3000].functions, [(vec![0x1007], 1)].into());
    }

    /// A kernel with an object of two types, whose tables are in data, and a call of its method.
    fn with_objects(call: &[u8]) -> Kernel {
        let functions: [(&str, u64, &[u8]); 3] = [
            ("call", 0x1000, call),
            ("<a::Pipe as b::File>::read", 0x2000, &RETURN),
            ("<a::Door as b::Lock>::open", 0x3000, &RETURN),
        ];
        // The heads of the tables: nothing to drop, sizes of 8, alignments of 8.
        let table = |method| [0u64, 8, 8, method].map(u64::to_le_bytes).concat();
        let data = [table(0x2000), table(0x3000)].concat();
        Kernel::by_hand(&functions, &[(0x8018, 0x2000), (0x8038, 0x3000)], &[]).with_data(0x8000, &data)
    }

    #[test]
    fn a_method_is_known_by_its_name_and_slot() {
        let found = resolved(&with_objects(&BY_OBJECT), &[(0x1003, "read")], "").unwrap();
        assert_eq!(found[&0x1003].functions, [(Vec::new(), 1)].into());
    }

    #[test]
    fn what_nothing_shows_needs_a_rule_and_a_rule_needs_a_call() {
        let kernel = with_objects(&BY_OBJECT);
        assert!(resolved(&kernel, &[], "").unwrap_err().contains("nothing shows what is called in call"));
        let found = resolved(&kernel, &[], "call * = trait Lock").unwrap();
        assert_eq!(found[&0x1003].functions, [(Vec::new(), 2)].into());
        let more = resolved(&kernel, &[], "call * = trait Lock\nother * = nothing");
        assert!(more.unwrap_err().contains("line 2: no call by a pointer is like that any more"));
    }

    #[test]
    fn a_rule_cannot_name_what_is_not_reached() {
        let wrong = resolved(&with_objects(&BY_OBJECT), &[(0x1003, "read")], "call read = trait Lock");
        assert!(wrong.unwrap_err().contains("line 1"));
        // An argument that no caller passes reaches nothing.
        assert!(resolved(&with_objects(&BY_SLOT), &[], "").unwrap()[&0x1001].functions.is_empty());
    }
}
