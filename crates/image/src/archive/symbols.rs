//! Symbol names for addresses of the kernel, for backtraces.

use crate::format::{SYMBOL_LEN, get_u32};

/// The functions of the kernel, by address.
#[derive(Clone, Copy, Debug)]
pub struct Symbols<'a> {
    table: &'a [u8],
    names: &'a [u8],
}

/// A function of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its demangled name.
    pub name: &'a str,
    /// Its address relative to the first byte of the kernel (the lowest `p_vaddr` of its ELF).
    pub start: u32,
}

impl<'a> Symbols<'a> {
    pub(super) const fn new(table: &'a [u8], names: &'a [u8]) -> Self {
        Symbols { table, names }
    }

    /// How many functions are known.
    pub const fn len(&self) -> usize {
        self.table.len() / SYMBOL_LEN
    }

    /// Whether none is known.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The function that holds the address `offset` bytes after the kernel's first: the last to start at or before it.
    pub fn lookup(&self, offset: u32) -> Option<Symbol<'a>> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if get_u32(self.table, middle * SYMBOL_LEN)? <= offset { low = middle + 1 } else { high = middle }
        }
        self.get(low.checked_sub(1)?)
    }

    /// Function number `index` in the order of addresses.
    pub fn get(&self, index: usize) -> Option<Symbol<'a>> {
        let at = index.checked_mul(SYMBOL_LEN)?;
        let start = get_u32(self.table, at)?;
        let name = self.names.get(usize::try_from(get_u32(self.table, at + 4)?).ok()?..)?;
        let end = name.iter().position(|&byte| byte == 0)?;
        Some(Symbol { name: core::str::from_utf8(&name[..end]).ok()?, start })
    }
}
