//! Flattened device trees (Devicetree Specification 0.4, chapter 5): a header, a block of tokens and a block of property names,
//! all big-endian. The tree is read in place, and every access is checked.

pub mod pci;

/// First word of a tree.
const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NO_OPERATION: u32 = 4;
/// Bytes of the header.
pub const HEADER_SIZE: usize = 40;
/// Nodes within each other at most.
const MAX_DEPTH: usize = 16;

/// A device tree.
#[derive(Clone, Copy)]
pub struct DeviceTree<'a> {
    structure: &'a [u8],
    names: &'a [u8],
}

/// A node: its name with its unit address, and where its contents begin.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    tree: DeviceTree<'a>,
    /// Name and unit address, as in `memory@40000000`.
    pub name: &'a [u8],
    /// Offset of its first token.
    at: usize,
    /// Words of addresses and sizes in its `reg`, which its parent says.
    cells: (usize, usize),
}

/// One token, and the offset behind it.
enum Token<'a> {
    Begin(&'a [u8]),
    End,
    /// Offset of its name, and its value.
    Property(usize, &'a [u8]),
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The number that whole words make; the highest of more than two are lost.
pub fn words(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks();
    words.iter().fold(0, |sum, word| sum << 32 | u64::from(u32::from_be_bytes(*word)))
}

/// The bytes from an offset up to a zero.
fn string(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let bytes = bytes.get(at..)?;
    bytes.get(..bytes.iter().position(|&byte| byte == 0)?)
}

/// Bytes of the tree that begins with these, by its header; `None` if it is no tree.
pub fn size(header: &[u8]) -> Option<usize> {
    (word(header, 0)? == MAGIC).then(|| word(header, 4).map(|size| size as usize))?
}

impl<'a> DeviceTree<'a> {
    /// The tree in `bytes`, all of it. `None` if it is damaged.
    pub fn new(bytes: &'a [u8]) -> Option<DeviceTree<'a>> {
        let bytes = bytes.get(..size(bytes)?)?;
        let part = |offset: usize, size: usize| {
            let (start, len) = (word(bytes, offset)? as usize, word(bytes, size)? as usize);
            bytes.get(start..start.checked_add(len)?)
        };
        const STRUCTURE: (usize, usize) = (8, 36);
        const NAMES: (usize, usize) = (12, 32);
        Some(DeviceTree { structure: part(STRUCTURE.0, STRUCTURE.1)?, names: part(NAMES.0, NAMES.1)? })
    }

    fn token(&self, mut at: usize) -> Option<(Token<'a>, usize)> {
        loop {
            let kind = word(self.structure, at)?;
            at += 4;
            return Some(match kind {
                NO_OPERATION => continue,
                BEGIN_NODE => {
                    let name = string(self.structure, at)?;
                    (Token::Begin(name), (at + name.len() + 1).next_multiple_of(4))
                }
                END_NODE => (Token::End, at),
                PROPERTY => {
                    let (len, name) = (word(self.structure, at)? as usize, word(self.structure, at + 4)?);
                    let value = self.structure.get(at + 8..(at + 8).checked_add(len)?)?;
                    (Token::Property(name as usize, value), (at + 8 + len).next_multiple_of(4))
                }
                _ => return None,
            });
        }
    }

    /// The root.
    pub fn root(&self) -> Option<Node<'a>> {
        match self.token(0)? {
            (Token::Begin(name), at) => Some(Node { tree: *self, name, at, cells: (2, 1) }),
            _ => None,
        }
    }

    /// Calls `f` with each node, parents first, until it returns something.
    pub fn find<R>(&self, mut f: impl FnMut(Node<'a>) -> Option<R>) -> Option<R> {
        let mut stack = [None; MAX_DEPTH];
        let mut depth: usize = 0;
        let mut at = 0;
        loop {
            match self.token(at)? {
                (Token::Begin(name), next) => {
                    let parent: Option<Node> = depth.checked_sub(1).and_then(|above| stack[above]);
                    let cells = parent.map_or((2, 1), |parent| parent.cells_of_children());
                    let node = Node { tree: *self, name, at: next, cells };
                    if let Some(result) = f(node) {
                        return Some(result);
                    }
                    *stack.get_mut(depth)? = Some(node);
                    depth += 1;
                    at = next;
                }
                (Token::End, next) => {
                    depth = depth.checked_sub(1)?;
                    at = next;
                }
                (Token::Property(..), next) => at = next,
            }
            if depth == 0 {
                return None;
            }
        }
    }

    /// The first node that is compatible with one of these.
    pub fn compatible(&self, names: &[&str]) -> Option<Node<'a>> {
        self.find(|node| names.iter().any(|name| node.is_compatible(name)).then_some(node))
    }
}

impl<'a> Node<'a> {
    /// The value of a property.
    pub fn property(&self, wanted: &str) -> Option<&'a [u8]> {
        let mut at = self.at;
        // Properties come before nodes.
        while let (Token::Property(name, value), next) = self.tree.token(at)? {
            let name = self.tree.names.get(name..)?;
            if name.strip_prefix(wanted.as_bytes()).and_then(<[u8]>::first) == Some(&0) {
                return Some(value);
            }
            at = next;
        }
        None
    }

    /// A property that is one word or two.
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.property(name)?;
        match value.len() {
            4 => word(value, 0).map(u64::from),
            8 => Some(u64::from(word(value, 0)?) << 32 | u64::from(word(value, 4)?)),
            _ => None,
        }
    }

    /// A property that is a text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        core::str::from_utf8(string(self.property(name)?, 0)?).ok()
    }

    /// Whether its `compatible` has this name.
    pub fn is_compatible(&self, wanted: &str) -> bool {
        let names = self.property("compatible").unwrap_or_default();
        names.split(|&byte| byte == 0).any(|name| name == wanted.as_bytes())
    }

    /// Whether the device can be used: it has no status, or one of "okay".
    pub fn is_enabled(&self) -> bool {
        self.text("status").is_none_or(|status| status == "okay" || status == "ok")
    }

    fn cells_of_children(&self) -> (usize, usize) {
        let number = |name, default| self.number(name).map_or(default, |n| (n as usize).min(2));
        (number("#address-cells", 2), number("#size-cells", 1))
    }

    /// Addresses and sizes of its `reg`. Addresses are those of its parent's bus, which is taken for that of the CPUs.
    pub fn registers(&self) -> impl Iterator<Item = (u64, u64)> + 'a {
        let (addresses, sizes) = self.cells;
        let bytes = self.property("reg").unwrap_or_default();
        let entry = 4 * (addresses + sizes).max(1);
        bytes.chunks_exact(entry).map(move |entry| {
            let (address, size) = entry.split_at(4 * addresses);
            (words(address), words(size))
        })
    }

    /// Words of an address on its parent's bus.
    pub fn address_cells(&self) -> usize {
        self.cells.0
    }

    /// Word `n` of a property.
    pub fn word(&self, name: &str, n: usize) -> Option<u32> {
        word(self.property(name)?, n.checked_mul(4)?)
    }
}

#[cfg(test)]
pub mod build {
    use super::*;
    use std::vec::Vec;

    /// Builds trees.
    #[derive(Default)]
    pub struct Builder {
        structure: Vec<u8>,
        names: Vec<u8>,
    }

    impl Builder {
        fn put(&mut self, word: u32) {
            self.structure.extend(word.to_be_bytes());
        }
        fn pad(&mut self) {
            self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        }
        pub fn begin(&mut self, name: &str) -> &mut Builder {
            self.put(BEGIN_NODE);
            self.structure.extend(name.as_bytes());
            self.structure.push(0);
            self.pad();
            self
        }
        pub fn end(&mut self) -> &mut Builder {
            self.put(END_NODE);
            self
        }
        pub fn property(&mut self, name: &str, value: &[u8]) -> &mut Builder {
            self.put(PROPERTY);
            self.put(value.len() as u32);
            self.put(self.names.len() as u32);
            self.names.extend(name.as_bytes());
            self.names.push(0);
            self.structure.extend(value);
            self.pad();
            self
        }
        pub fn words(&mut self, name: &str, words: &[u32]) -> &mut Builder {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            self.property(name, &bytes)
        }
        pub fn build(&mut self) -> Vec<u8> {
            self.put(9);
            let structure = HEADER_SIZE as u32;
            let names = structure + self.structure.len() as u32;
            let total = names + self.names.len() as u32;
            let (structure_len, names_len) = (self.structure.len() as u32, self.names.len() as u32);
            let header = [MAGIC, total, structure, names, 0, 17, 16, 0, names_len, structure_len];
            let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
            bytes.extend(&self.structure);
            bytes.extend(&self.names);
            bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::build::Builder;
    use super::*;
    use std::vec::Vec;

    fn sample() -> Vec<u8> {
        let mut tree = Builder::default();
        tree.begin("").words("#address-cells", &[2]).words("#size-cells", &[2]);
        tree.begin("memory@40000000").property("device_type", b"memory\0");
        tree.words("reg", &[0, 0x4000_0000, 0, 0x200_0000]).end();
        tree.begin("cpus").words("#address-cells", &[1]).words("#size-cells", &[0]);
        tree.begin("cpu@1").words("reg", &[1]).property("status", b"disabled\0").end().end();
        tree.begin("pl011@9000000").property("compatible", b"arm,pl011\0arm,primecell\0");
        tree.words("reg", &[0, 0x900_0000, 0, 0x1000]).words("interrupts", &[0, 1, 4]).end();
        tree.end();
        tree.build()
    }

    #[test]
    fn nodes_have_their_registers_by_their_parents_cells() {
        let bytes = sample();
        let tree = DeviceTree::new(&bytes).unwrap();
        let memory = tree.find(|node| (node.text("device_type") == Some("memory")).then_some(node)).unwrap();
        assert_eq!(memory.name, b"memory@40000000");
        assert!(memory.registers().eq([(0x4000_0000, 0x200_0000)]));
        let cpu = tree.find(|node| node.name.starts_with(b"cpu@").then_some(node)).unwrap();
        assert!(cpu.registers().eq([(1, 0)]) && !cpu.is_enabled());
        let uart = tree.compatible(&["arm,primecell"]).unwrap();
        assert!(uart.is_enabled() && uart.registers().eq([(0x900_0000, 0x1000)]));
        assert_eq!((uart.word("interrupts", 1), uart.word("interrupts", 3)), (Some(1), None));
        assert!(tree.compatible(&["arm,pl01"]).is_none());
        assert_eq!(tree.root().unwrap().number("#size-cells"), Some(2));
    }

    #[test]
    fn damage_ends_a_search() {
        let bytes = sample();
        for end in 0..bytes.len() {
            assert!(DeviceTree::new(&bytes[..end]).is_none());
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                if let Some(tree) = DeviceTree::new(&damaged) {
                    let mut nodes = 0;
                    tree.find(|node| {
                        nodes += 1 + node.registers().count();
                        None::<()>
                    });
                    assert!(nodes < damaged.len());
                }
            }
        }
    }
}
