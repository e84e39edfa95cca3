//! From conditions to instructions.
//!
//! Jumps lead forwards only, so a program is made from its end: what a condition leads to is there before the condition is.

use std::net::IpAddr;

use coracle_bpf::Instruction;
use coracle_bpf::code::{
    ABS, ALU, AND, B, H, IMM, IND, JA, JEQ, JGE, JGT, JMP, JSET, K, LD, LDX, LEN, MEM, MISC, MSH, RET, ST,
    TAX, W, X,
};

use super::parse::{Comparison, Condition, Number, Protocol, Way};

/// Bytes of a packet that a filter takes which holds: all (libpcap's MAXIMUM_SNAPLEN).
const ALL: u32 = 262_144;
/// Types of Ethernet.
const ETHERTYPE_IP: u32 = 0x800;
const ETHERTYPE_ARP: u32 = 0x806;
const ETHERTYPE_IP6: u32 = 0x86dd;
/// Where fields are in a frame.
mod at {
    pub const ETHERTYPE: u32 = 12;
    pub const IP: u32 = 14;
    pub const FRAGMENT: u32 = 20;
    pub const IP_PROTOCOL: u32 = 23;
    pub const IP_ENDS: [u32; 2] = [26, 30];
    pub const ARP_ENDS: [u32; 2] = [28, 38];
    pub const IP6_NEXT: u32 = 20;
    pub const IP6_ENDS: [u32; 2] = [22, 38];
    pub const IP6_TRANSPORT: u32 = 54;
    pub const ETHER_ENDS: [u32; 2] = [6, 0];
}
/// The offset of a fragment among the flags.
const FRAGMENT_OFFSET: u32 = 0x1fff;
/// IP's numbers of protocols.
const ICMP: u32 = 1;
const TCP: u32 = 6;
const UDP: u32 = 17;
const SCTP: u32 = 132;
const ICMP6: u32 = 58;
/// What a program's own words are for: values of numbers that wait for others.
const WORDS: u32 = 16;

/// A condition that is made of tests.
enum Tree {
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    /// Instructions that load A and X, and the jump that follows them.
    Test {
        loads: Vec<Instruction>,
        jump: u16,
        k: u32,
    },
    Never,
}

fn and(one: Tree, other: Tree) -> Tree {
    Tree::And(Box::new(one), Box::new(other))
}

fn or(one: Tree, other: Tree) -> Tree {
    Tree::Or(Box::new(one), Box::new(other))
}

fn load(size: u16, at: u32) -> Instruction {
    Instruction::new(LD | size | ABS, at)
}

/// A field is a number.
fn is(size: u16, at: u32, k: u32) -> Tree {
    Tree::Test { loads: vec![load(size, at)], jump: JEQ, k }
}

fn ethertype(kind: u32) -> Tree {
    is(H, at::ETHERTYPE, kind)
}

fn ip_protocol(number: u32) -> Tree {
    and(ethertype(ETHERTYPE_IP), is(B, at::IP_PROTOCOL, number))
}

fn ip6_protocol(number: u32) -> Tree {
    and(ethertype(ETHERTYPE_IP6), is(B, at::IP6_NEXT, number))
}

fn is_protocol(protocol: Protocol) -> Tree {
    match protocol {
        // Every packet is.
        Protocol::Ether => Tree::Not(Box::new(Tree::Never)),
        Protocol::Ip => ethertype(ETHERTYPE_IP),
        Protocol::Ip6 => ethertype(ETHERTYPE_IP6),
        Protocol::Arp => ethertype(ETHERTYPE_ARP),
        Protocol::Tcp => or(ip_protocol(TCP), ip6_protocol(TCP)),
        Protocol::Udp => or(ip_protocol(UDP), ip6_protocol(UDP)),
        Protocol::Icmp => ip_protocol(ICMP),
        Protocol::Icmp6 => ip6_protocol(ICMP6),
    }
}

/// What holds of the source, of the destination, or both.
fn by_way(way: Way, of: impl Fn(usize) -> Tree) -> Tree {
    match way {
        Way::Source => of(0),
        Way::Destination => of(1),
        Way::Either => or(of(0), of(1)),
        Way::Both => and(of(0), of(1)),
    }
}

/// Words of an address from `at` on are these under a mask.
fn words(at: u32, wanted: &[u8], prefix_len: u8) -> Tree {
    let mut left = u32::from(prefix_len);
    let mut all: Option<Tree> = None;
    for (place, word) in wanted.as_chunks::<4>().0.iter().enumerate() {
        if left == 0 {
            break;
        }
        let bits = left.min(32);
        left -= bits;
        let mask = u32::MAX << (32 - bits);
        let mut loads = vec![load(W, at + 4 * place as u32)];
        if bits < 32 {
            loads.push(Instruction::new(ALU | AND | K, mask));
        }
        let test = Tree::Test { loads, jump: JEQ, k: u32::from_be_bytes(*word) & mask };
        all = Some(match all {
            Some(before) => and(before, test),
            None => test,
        });
    }
    all.unwrap_or_else(|| Tree::Not(Box::new(Tree::Never)))
}

fn address(protocol: Option<Protocol>, way: Way, address: IpAddr, prefix_len: u8) -> Result<Tree, String> {
    let tree = match address {
        IpAddr::V4(address) => {
            let octets = address.octets();
            let of = |ends: [u32; 2]| by_way(way, |end| words(ends[end], &octets, prefix_len));
            let ip = || and(ethertype(ETHERTYPE_IP), of(at::IP_ENDS));
            let arp = || and(ethertype(ETHERTYPE_ARP), of(at::ARP_ENDS));
            match protocol {
                None => or(ip(), arp()),
                Some(Protocol::Ip) => ip(),
                Some(Protocol::Arp) => arp(),
                Some(Protocol::Ip6) => return Err(format!("{address} is no address of ip6")),
                Some(other) => and(is_protocol(other), ip()),
            }
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            let ends = by_way(way, |end| words(at::IP6_ENDS[end], &octets, prefix_len));
            let ip6 = and(ethertype(ETHERTYPE_IP6), ends);
            match protocol {
                None | Some(Protocol::Ip6) => ip6,
                Some(Protocol::Ip | Protocol::Arp) => return Err(format!("{address} is no address of IPv4")),
                Some(other) => and(is_protocol(other), ip6),
            }
        }
    };
    Ok(tree)
}

/// Loads X with the length of the IPv4 header: what lies behind it is found by it.
const HEADER_LEN: Instruction = Instruction::new(LDX | B | MSH, at::IP);

fn is_first_fragment() -> Tree {
    let behind = Tree::Test { loads: vec![load(H, at::FRAGMENT)], jump: JSET, k: FRAGMENT_OFFSET };
    Tree::Not(Box::new(behind))
}

fn ports(protocol: Option<Protocol>, way: Way, first: u16, last: u16) -> Result<Tree, String> {
    let (first, last) = (u32::from(first), u32::from(last));
    let within = |loads: Vec<Instruction>| {
        if first == last {
            return Tree::Test { loads, jump: JEQ, k: first };
        }
        let above = Tree::Test { loads: loads.clone(), jump: JGT, k: last };
        and(Tree::Test { loads, jump: JGE, k: first }, Tree::Not(Box::new(above)))
    };
    let ip = || {
        by_way(way, |end| within(vec![HEADER_LEN, Instruction::new(LD | H | IND, at::IP + 2 * end as u32)]))
    };
    let ip6 = || by_way(way, |end| within(vec![load(H, at::IP6_TRANSPORT + 2 * end as u32)]));
    let (protocols, families) = match protocol {
        None => (vec![TCP, UDP, SCTP], [true, true]),
        Some(Protocol::Tcp) => (vec![TCP], [true, true]),
        Some(Protocol::Udp) => (vec![UDP], [true, true]),
        Some(Protocol::Ip) => (vec![TCP, UDP, SCTP], [true, false]),
        Some(Protocol::Ip6) => (vec![TCP, UDP, SCTP], [false, true]),
        Some(_) => return Err("only TCP and UDP have ports".to_owned()),
    };
    let any = |at: u32| {
        let each = protocols.iter().map(|number| is(B, at, *number));
        each.reduce(or).unwrap_or(Tree::Never)
    };
    let v4 = and(and(ethertype(ETHERTYPE_IP), any(at::IP_PROTOCOL)), and(is_first_fragment(), ip()));
    let v6 = and(and(ethertype(ETHERTYPE_IP6), any(at::IP6_NEXT)), ip6());
    Ok(match families {
        [true, true] => or(v4, v6),
        [true, false] => v4,
        _ => v6,
    })
}

fn ether(way: Way, mac: [u8; 6]) -> Tree {
    let [a, b, c, d, e, f] = mac;
    by_way(way, |end| {
        let at = at::ETHER_ENDS[end];
        and(is(W, at + 2, u32::from_be_bytes([c, d, e, f])), is(H, at, u32::from(u16::from_be_bytes([a, b]))))
    })
}

/// Instructions that leave a number in A; words from `free` on are free. `needs` gets what must hold for it.
fn number(
    number: &Number,
    free: u32,
    out: &mut Vec<Instruction>,
    needs: &mut Vec<Protocol>,
) -> Result<(), String> {
    match number {
        Number::Constant(value) => out.push(Instruction::new(LD | IMM, *value)),
        Number::Len => out.push(Instruction::new(LD | LEN, 0)),
        Number::Load { protocol, at, bytes } => {
            let size = match bytes {
                1 => B,
                2 => H,
                _ => W,
            };
            if !needs.contains(protocol) {
                needs.push(*protocol);
            }
            let behind = |base: u32| at.checked_add(base).ok_or_else(|| format!("offset {at} is too large"));
            match protocol {
                Protocol::Ether => out.push(load(size, *at)),
                Protocol::Ip | Protocol::Ip6 | Protocol::Arp => out.push(load(size, behind(at::IP)?)),
                // As libpcap has it: those of IPv4.
                Protocol::Tcp | Protocol::Udp | Protocol::Icmp => {
                    out.push(HEADER_LEN);
                    out.push(Instruction::new(LD | size | IND, behind(at::IP)?));
                }
                Protocol::Icmp6 => out.push(load(size, behind(at::IP6_TRANSPORT)?)),
            }
        }
        Number::Computed(left, operation, right) => {
            both(left, right, free, out, needs)?;
            out.push(Instruction::new(ALU | operation | X, 0));
        }
    }
    Ok(())
}

/// Leaves one number in A and another in X.
fn both(
    left: &Number,
    right: &Number,
    free: u32,
    out: &mut Vec<Instruction>,
    needs: &mut Vec<Protocol>,
) -> Result<(), String> {
    if free >= WORDS {
        return Err("it computes too much at once".to_owned());
    }
    number(left, free, out, needs)?;
    out.push(Instruction::new(ST, free));
    number(right, free + 1, out, needs)?;
    out.push(Instruction::new(MISC | TAX, 0));
    out.push(Instruction::new(LD | MEM, free));
    Ok(())
}

fn compare(left: &Number, how: Comparison, right: &Number) -> Result<Tree, String> {
    let (mut loads, mut needs) = (Vec::new(), Vec::new());
    both(left, right, 0, &mut loads, &mut needs)?;
    let (jump, negated) = match how {
        Comparison::Equal => (JEQ, false),
        Comparison::NotEqual => (JEQ, true),
        Comparison::Greater => (JGT, false),
        Comparison::GreaterOrEqual => (JGE, false),
        Comparison::Less => (JGE, true),
        Comparison::LessOrEqual => (JGT, true),
    };
    let test = Tree::Test { loads, jump: jump | X, k: 0 };
    let test = if negated { Tree::Not(Box::new(test)) } else { test };
    // What is compared must be there.
    let needed = needs.into_iter().map(|protocol| match protocol {
        Protocol::Tcp => and(ip_protocol(TCP), is_first_fragment()),
        Protocol::Udp => and(ip_protocol(UDP), is_first_fragment()),
        Protocol::Icmp => and(ip_protocol(ICMP), is_first_fragment()),
        other => is_protocol(other),
    });
    Ok(match needed.reduce(and) {
        Some(needed) => and(needed, test),
        None => test,
    })
}

fn tree(condition: &Condition) -> Result<Tree, String> {
    Ok(match condition {
        Condition::And(one, other) => and(tree(one)?, tree(other)?),
        Condition::Or(one, other) => or(tree(one)?, tree(other)?),
        Condition::Not(one) => Tree::Not(Box::new(tree(one)?)),
        Condition::Is(protocol) => is_protocol(*protocol),
        Condition::Address { protocol, way, address: own, prefix_len } => {
            address(*protocol, *way, *own, *prefix_len)?
        }
        Condition::Ether { way, mac } => ether(*way, *mac),
        Condition::Port { protocol, way, first, last } => ports(*protocol, *way, *first, *last)?,
        Condition::Group => Tree::Test { loads: vec![load(B, 0)], jump: JSET, k: 1 },
        Condition::Compare { left, how, right } => compare(left, *how, right)?,
    })
}

/// Instructions from the last to the first. A place is counted from the end.
struct Backwards(Vec<Instruction>);

impl Backwards {
    /// Instructions between the next one and a place.
    fn distance(&self, place: usize) -> usize {
        self.0.len() - place - 1
    }

    /// A place that a jump of 8 bits reaches from the next instruction but one at least, and that leads to `place`.
    fn near(&mut self, place: usize) -> usize {
        // Two jumps may be put before the next.
        if self.distance(place) + 2 <= usize::from(u8::MAX) {
            return place;
        }
        let distance = self.distance(place);
        self.0.push(Instruction::new(JMP | JA, distance as u32));
        self.0.len() - 1
    }

    /// Puts a condition before all, which leads to one place if it holds and to another if not; returns where it begins.
    fn put(&mut self, tree: &Tree, if_true: usize, if_false: usize) -> usize {
        match tree {
            Tree::And(one, other) => {
                let next = self.put(other, if_true, if_false);
                self.put(one, next, if_false)
            }
            Tree::Or(one, other) => {
                let next = self.put(other, if_true, if_false);
                self.put(one, if_true, next)
            }
            Tree::Not(one) => self.put(one, if_false, if_true),
            Tree::Never => if_false,
            Tree::Test { loads, jump, k } => {
                let if_true = self.near(if_true);
                let if_false = self.near(if_false);
                let (to_true, to_false) = (self.distance(if_true), self.distance(if_false));
                // `near` saw to it.
                let byte = |distance: usize| u8::try_from(distance).unwrap_or(u8::MAX);
                self.0.push(Instruction {
                    code: JMP | jump,
                    if_true: byte(to_true),
                    if_false: byte(to_false),
                    k: *k,
                });
                self.0.extend(loads.iter().rev());
                self.0.len() - 1
            }
        }
    }
}

/// The program of a condition.
///
/// # Errors
/// Says what there can't be.
pub fn generate(condition: &Condition) -> Result<Vec<Instruction>, String> {
    let tree = tree(condition)?;
    let mut program = Backwards(vec![Instruction::new(RET | K, 0), Instruction::new(RET | K, ALL)]);
    let entry = program.put(&tree, 1, 0);
    let mut instructions = program.0;
    // What no test leads to.
    instructions.truncate(entry + 1);
    instructions.reverse();
    Ok(instructions)
}
