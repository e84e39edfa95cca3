//! From a tree of files to the bytes of an archive.

use alloc::string::ToString as _;
use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};

use super::layout::{put, seal, sums_len};
use super::{Layout, Node, Tree, WriteError};
use crate::archive::InodeId;
use crate::cmdline::Tmpfs;
use crate::format::{
    HEADER_LEN, HEADER_OWN_LEN, HEADER_SECTIONS, HEADER_TOTAL_LEN, HEADER_VERSION, LARGE_FILE, MAGIC,
    NAMES_PER_BLOCK, PAGE_SIZE, SMALL_ALIGN, SYMBOL_LEN, Section, VERSION, tag,
};
use crate::{Access, Mode, Peer, SyslogServer, User};

/// What to run, and how.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Path of the program in the image.
    pub program: Vec<u8>,
    /// The arguments, `argv[0]` first.
    pub args: Vec<Vec<u8>>,
    /// How many arguments beyond `argv[0]` stay when a run replaces them.
    pub more_fixed_args: u32,
    /// The environment, each as `NAME=VALUE`.
    pub env: Vec<Vec<u8>>,
    /// The directory the program starts in; empty for `/`.
    pub cwd: Vec<u8>,
    /// The privilege it runs with.
    pub mode: Mode,
    /// What may be asked of a running guest at most, if that is limited.
    pub access: Option<Access>,
    /// The jobs of the schedule: their names, and their bytes (the crate `coracle-cron`).
    pub cron: Vec<(String, Vec<u8>)>,
    /// The checks of the guest's health, as text; empty: none.
    pub health: String,
    /// The TCP port on which the guest serves its metrics.
    pub metrics_port: Option<u16>,
    /// The NTP servers that the guest sets its clock by.
    pub ntp: Vec<Peer>,
    /// The syslog server that the guest sends its lines to when no command runs it.
    pub syslog: Option<SyslogServer>,
    /// Directories that are kept in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Whom it runs as, if that is settled.
    pub user: Option<User>,
    /// The name of the machine.
    pub hostname: Option<Vec<u8>>,
    /// The version of the kernel, for people.
    pub kernel_version: String,
    /// Memory the image asks for, in bytes.
    pub memory: Option<u64>,
}

/// Puts an archive together.
#[derive(Clone, Debug, Default)]
pub struct Builder<'d> {
    /// The files.
    pub tree: Tree<'d>,
    /// The settings.
    pub settings: Settings,
    /// The kernel's functions: addresses relative to its first byte, and demangled names. In any order.
    pub symbols: Vec<(u32, String)>,
}

/// The tables as they grow.
#[derive(Default)]
struct Tables {
    inodes: Vec<u8>,
    entries: Vec<u8>,
    names: Vec<u8>,
    /// Offset of each name already there: many directories hold the same names.
    known: BTreeMap<Vec<u8>, u64>,
}

impl Tables {
    fn name(&mut self, name: &[u8]) -> u64 {
        if let Some(&at) = self.known.get(name) {
            return at;
        }
        let at = self.names.len() as u64;
        self.names.extend_from_slice(name);
        self.known.insert(name.to_vec(), at);
        at
    }
}

impl Builder<'_> {
    /// The bytes of the archive: a whole number of pages.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn finish(&self) -> Result<Vec<u8>, WriteError> {
        let layout = self.layout();
        let mut bytes = Vec::with_capacity(layout.total_len());
        layout.write(&mut bytes)?;
        Ok(bytes)
    }

    /// Lays the archive out.
    pub fn layout(&self) -> Layout<'_> {
        let (symbols, symbol_names) = self.symbol_tables();
        let nodes = self.number();
        let config = self.config(&nodes);
        let table_len = nodes.len() * crate::format::INODE_LEN;

        // The place of data depends on the length of the tables, so they are laid out once with data places counted
        // from zero, and once with the real ones. Their lengths do not depend on the places.
        let tables = Self::tables(&nodes, &[]);
        debug_assert_eq!(tables.inodes.len(), table_len);
        let lengths = [
            config.len(),
            table_len,
            tables.entries.len(),
            tables.names.len(),
            symbols.len(),
            symbol_names.len(),
        ];
        let mut at = HEADER_LEN;
        let mut offsets = [0; Section::COUNT];
        for (offset, length) in offsets.iter_mut().zip(lengths) {
            *offset = at;
            at = (at + length).next_multiple_of(SMALL_ALIGN);
        }
        let data_at = at;
        offsets[Section::Data as usize] = data_at;
        let (places, end) = Self::place(&nodes, data_at);
        let table_at = end.next_multiple_of(PAGE_SIZE);
        let table_len = sums_len(table_at);
        let total = (table_at + table_len).next_multiple_of(PAGE_SIZE);
        offsets[Section::Checksums as usize] = table_at;
        let tables = Self::tables(&nodes, &places);

        let mut head = alloc::vec![0; data_at];
        let parts = [&config, &tables.inodes, &tables.entries, &tables.names, &symbols, &symbol_names];
        for (&offset, part) in offsets.iter().zip(parts) {
            put(&mut head, offset, part);
        }
        put(&mut head, 0, &MAGIC);
        put(&mut head, HEADER_VERSION, &VERSION.to_le_bytes());
        put(&mut head, HEADER_OWN_LEN, &(HEADER_LEN as u32).to_le_bytes());
        put(&mut head, HEADER_TOTAL_LEN, &(total as u64).to_le_bytes());
        let lengths = lengths.into_iter().chain([table_at - data_at, table_len]);
        for (index, (offset, length)) in offsets.into_iter().zip(lengths).enumerate() {
            put(&mut head, HEADER_SECTIONS + index * 16, &(offset as u64).to_le_bytes());
            put(&mut head, HEADER_SECTIONS + index * 16 + 8, &(length as u64).to_le_bytes());
        }
        seal(&mut head);
        let mut files = Vec::new();
        for (node, &place) in nodes.iter().zip(&places) {
            if let Node::File(_, content) = node.node
                && !content.is_empty()
            {
                files.push((place, content));
            }
        }
        files.sort_unstable_by_key(|(place, _)| *place);
        Layout { head, files, table_at, total }
    }

    fn config(&self, nodes: &[Numbered<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut record = |tag: u32, value: &[u8]| {
            out.extend_from_slice(&tag.to_le_bytes());
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(value);
        };
        let settings = &self.settings;
        record(tag::PROGRAM, &settings.program);
        settings.args.iter().for_each(|arg| record(tag::ARGUMENT, arg));
        record(tag::FIXED_ARGUMENTS, &(settings.more_fixed_args + 1).to_le_bytes());
        settings.env.iter().for_each(|var| record(tag::ENVIRONMENT, var));
        if !settings.cwd.is_empty() {
            record(tag::DIRECTORY, &settings.cwd);
        }
        record(tag::MODE, settings.mode.name().as_bytes());
        for (name, job) in &settings.cron {
            record(tag::CRON_NAME, name.as_bytes());
            record(tag::CRON, job);
        }
        if !settings.health.is_empty() {
            record(tag::HEALTH, settings.health.as_bytes());
        }
        if let Some(access) = settings.access {
            record(tag::ACCESS, access.name().as_bytes());
        }
        if let Some(port) = settings.metrics_port {
            record(tag::METRICS_PORT, &port.to_le_bytes());
        }
        settings.ntp.iter().for_each(|server| record(tag::NTP, server.to_string().as_bytes()));
        if let Some(server) = &settings.syslog {
            record(tag::SYSLOG, server.to_string().as_bytes());
        }
        settings.tmpfs.iter().for_each(|Tmpfs { path, options }| {
            record(tag::TMPFS, &[path, options].map(Vec::as_slice).join(&0))
        });
        if let Some(user) = settings.user {
            record(tag::USER, &[user.uid.to_le_bytes(), user.gid.to_le_bytes()].concat());
        }
        if let Some(name) = &settings.hostname {
            record(tag::HOSTNAME, name);
        }
        if !settings.kernel_version.is_empty() {
            record(tag::KERNEL_VERSION, settings.kernel_version.as_bytes());
        }
        if let Some(memory) = settings.memory {
            record(tag::MEMORY, &memory.to_le_bytes());
        }
        for (path, value) in &self.tree.capabilities {
            let Some(file) = self.tree.get(path).filter(|file| matches!(file, Node::File(..))) else {
                continue;
            };
            if let Some(number) = nodes.iter().position(|numbered| core::ptr::eq(numbered.node, file)) {
                record(tag::CAPABILITIES, &[&(number as u32).to_le_bytes(), &value[..]].concat());
            }
        }
        out
    }

    fn symbol_tables(&self) -> (Vec<u8>, Vec<u8>) {
        let mut sorted: Vec<&(u32, String)> = self.symbols.iter().collect();
        sorted.sort_by_key(|(address, _)| *address);
        sorted.dedup_by_key(|(address, _)| *address);
        let mut by_name: BTreeMap<&str, u32> =
            sorted.iter().map(|(_, name)| (without_zeroes(name), 0)).collect();
        let names = name_blocks(&mut by_name);
        let mut table = Vec::with_capacity(sorted.len() * SYMBOL_LEN);
        for (address, name) in sorted {
            table.extend_from_slice(&address.to_le_bytes());
            table.extend_from_slice(&by_name[without_zeroes(name)].to_le_bytes());
        }
        (table, names)
    }

    /// Numbers the files: breadth first, so that the entries of one directory are consecutive.
    fn number(&self) -> Vec<Numbered<'_>> {
        let mut nodes = Vec::from([Numbered {
            node: &self.tree.root,
            parent: InodeId::ROOT,
            first_child: InodeId::ROOT,
        }]);
        let mut waiting = VecDeque::from([0]);
        while let Some(index) = waiting.pop_front() {
            let Node::Directory(_, children) = nodes[index].node else { continue };
            nodes[index].first_child = InodeId(nodes.len() as u32);
            for child in children.values() {
                waiting.push_back(nodes.len());
                let parent = InodeId(index as u32);
                nodes.push(Numbered { node: child, parent, first_child: InodeId::ROOT });
            }
        }
        nodes
    }

    /// Where the data of each file begins, and the end of all: small files first, then large ones page by page.
    fn place(nodes: &[Numbered<'_>], start: usize) -> (Vec<usize>, usize) {
        let mut places = alloc::vec![start; nodes.len()];
        let mut at = start;
        for large in [false, true] {
            let align = if large { PAGE_SIZE } else { SMALL_ALIGN };
            for (node, place) in nodes.iter().zip(&mut places) {
                let Node::File(_, data) = node.node else { continue };
                if (data.len() >= LARGE_FILE) == large && !data.is_empty() {
                    *place = at.next_multiple_of(align);
                    at = *place + data.len();
                }
            }
        }
        (places, at)
    }

    fn tables(nodes: &[Numbered<'_>], places: &[usize]) -> Tables {
        let mut tables = Tables::default();
        let mut next_entry = 0_u64;
        for (index, numbered) in nodes.iter().enumerate() {
            let (nlink, place, size) = match numbered.node {
                Node::Directory(_, children) => {
                    let first = next_entry;
                    next_entry += children.len() as u64;
                    for ((name, child), inode) in children.iter().zip(numbered.first_child.0..) {
                        let at = tables.name(name) as u32;
                        let mode = child.kind().mode_bits() | child.meta().permissions;
                        for number in [at, name.len() as u32, inode, mode] {
                            tables.entries.extend_from_slice(&number.to_le_bytes());
                        }
                    }
                    let below =
                        children.values().filter(|child| matches!(child, Node::Directory(..))).count();
                    (2 + below as u32, first, children.len() as u64)
                }
                Node::File(_, data) => (1, places.get(index).copied().unwrap_or(0) as u64, data.len() as u64),
                Node::Symlink(_, target) => (1, tables.name(target), target.len() as u64),
            };
            let meta = numbered.node.meta();
            let mode = numbered.node.kind().mode_bits() | meta.permissions;
            let out = &mut tables.inodes;
            for number in [mode, meta.uid, meta.gid, nlink] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&meta.mtime.to_le_bytes());
            out.extend_from_slice(&meta.mtime_nsec.to_le_bytes());
            out.extend_from_slice(&numbered.parent.0.to_le_bytes());
            out.extend_from_slice(&place.to_le_bytes());
            out.extend_from_slice(&size.to_le_bytes());
        }
        tables
    }
}

/// A file with its number, which is its place in the list.
struct Numbered<'t> {
    node: &'t Node<'t>,
    parent: InodeId,
    /// Of a directory: the number of its first entry's inode; the others follow.
    first_child: InodeId,
}

/// A name up to its first zero, which would end it.
fn without_zeroes(name: &str) -> &str {
    name.split('\0').next().unwrap_or_default()
}

/// Writes names as the reader's `Symbols` has them, and sets the place of each.
fn name_blocks(by_name: &mut BTreeMap<&str, u32>) -> Vec<u8> {
    let mut names = Vec::new();
    let (mut block, mut before) = (0, "");
    for (index, (&name, place)) in by_name.iter_mut().enumerate() {
        let index = index % NAMES_PER_BLOCK;
        if index == 0 {
            (block, before) = (names.len(), "");
        }
        *place = (block * NAMES_PER_BLOCK + index) as u32;
        let same = name.bytes().zip(before.bytes()).take_while(|(one, other)| one == other).count();
        let shared = name.floor_char_boundary(same.min(u8::MAX.into()));
        names.push(shared as u8);
        names.extend_from_slice(&name.as_bytes()[shared..]);
        names.push(0);
        before = name;
    }
    names
}
