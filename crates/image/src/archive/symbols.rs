//! Symbol names for addresses of the kernel, for backtraces.
//!
//! The names are in the order of their bytes, in blocks of [`NAMES_PER_BLOCK`]. Of each name is written how many of its first bytes
//! the name before it in the block has, too, and then the others, up to a zero: names of one module have most in common.

use core::fmt;

use crate::format::{NAMES_PER_BLOCK, SYMBOL_LEN, get_u32};

/// The functions of the kernel, by address.
#[derive(Clone, Copy, Debug)]
pub struct Symbols<'a> {
    table: &'a [u8],
    names: &'a [u8],
}

/// A function of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Symbol<'a> {
    /// Its demangled name.
    pub name: Name<'a>,
    /// Its address relative to the first byte of the kernel (the lowest `p_vaddr` of its ELF).
    pub start: u32,
}

/// A name. It is put together when it is shown, which takes no memory.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    /// The names from the start of its block on.
    block: &'a [u8],
    /// How many are before it.
    index: usize,
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
        let place = usize::try_from(get_u32(self.table, at + 4)?).ok()?;
        let block = self.names.get(place / NAMES_PER_BLOCK..)?;
        Some(Symbol { name: Name { block, index: place % NAMES_PER_BLOCK }, start })
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pieces that the name has of those before it, and its own.
        let mut pieces: [&[u8]; NAMES_PER_BLOCK] = [&[]; NAMES_PER_BLOCK];
        let mut rest = self.block;
        for index in 0..=self.index {
            // A damaged archive may end anywhere.
            let Some((&shared, behind)) = rest.split_first() else { break };
            let len = behind.iter().position(|&byte| byte == 0).unwrap_or(behind.len());
            let mut left = usize::from(shared);
            for piece in &mut pieces[..index] {
                *piece = &piece[..piece.len().min(left)];
                left -= piece.len();
            }
            pieces[index] = &behind[..len];
            rest = behind.get(len + 1..).unwrap_or_default();
        }
        for chunk in pieces.iter().flat_map(|piece| piece.utf8_chunks()) {
            f.write_str(chunk.valid())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
