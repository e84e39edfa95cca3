//! The format of page tables (Intel SDM volume 3, 4.5), and the registers that say which of them are in use.
use super::instructions;
use crate::mm::paging::Prot;

/// Bits of an entry.
pub mod pte {
    pub const PRESENT: u64 = 1;
    pub const WRITE: u64 = 1 << 1;
    pub const USER: u64 = 1 << 2;
    pub const WRITE_THROUGH: u64 = 1 << 3;
    pub const CACHE_DISABLE: u64 = 1 << 4;
    pub const ACCESSED: u64 = 1 << 5;
    pub const DIRTY: u64 = 1 << 6;
    pub const LARGE: u64 = 1 << 7;
    /// Ours: the entry owns a frame though it is not present (a mapping without rights).
    pub const OWNED: u64 = 1 << 9;
    pub const NO_EXECUTE: u64 = 1 << 63;
    pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
}

/// Rights of the kernel's own pages, present and used: for data that is not written, for data, and for registers of devices.
pub const READ_ONLY: u64 = pte::NO_EXECUTE | pte::ACCESSED | pte::DIRTY;
pub const WRITABLE: u64 = READ_ONLY | pte::WRITE;
pub const DEVICE: u64 = WRITABLE | pte::CACHE_DISABLE | pte::WRITE_THROUGH;

/// The entry of the page at physical address `phys` with these rights. Without rights it is not present, but keeps its frame.
#[inline]
pub fn entry(phys: u64, prot: Prot) -> u64 {
    if prot.is_empty() {
        return phys | pte::OWNED;
    }
    let mut bits = phys | pte::PRESENT | pte::USER | pte::OWNED;
    if prot.contains(Prot::WRITE) {
        bits |= pte::WRITE;
    }
    if !prot.contains(Prot::EXEC) {
        bits |= pte::NO_EXECUTE;
    }
    bits
}

/// The rights of a page by its entry.
#[inline]
pub fn rights(entry: u64) -> Prot {
    let mut prot = Prot::empty();
    if entry & pte::PRESENT != 0 {
        prot |= Prot::READ;
        prot.set(Prot::WRITE, entry & pte::WRITE != 0);
        prot.set(Prot::EXEC, entry & pte::NO_EXECUTE == 0);
    }
    prot
}

/// Uses the tables below `root`, a physical address, from here on. Drops this CPU's translations.
///
/// # Safety
/// The tables map the kernel as it is mapped now.
#[inline(always)]
pub unsafe fn set_root(root: u64) {
    // SAFETY: passed on to the caller.
    unsafe { instructions::set_cr3(root) };
}

/// Drops this CPU's translation of the page at `address`.
#[inline(always)]
pub fn forget(address: usize) {
    instructions::invlpg(address);
}

/// Drops all of this CPU's translations.
#[inline]
pub fn forget_all() {
    instructions::flush_tlb();
}
