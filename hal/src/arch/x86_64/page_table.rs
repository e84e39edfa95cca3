//! The format of page tables (Intel SDM volume 3, 4.5), and the registers that say which of them are in use.
use super::instructions;
use crate::mm::paging::Prot;
use core::sync::atomic::{AtomicU64, Ordering};

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

/// Entries of a root that all address spaces share with the kernel's: the upper half.
pub const SHARED_ENTRIES: core::ops::Range<usize> = 256..512;

/// The entry of a table of the kernel's.
#[inline]
pub fn table(phys: u64) -> u64 {
    phys | pte::PRESENT | pte::WRITE
}

/// The entry of a table of a program's.
#[inline]
pub fn table_of_programs(phys: u64) -> u64 {
    table(phys) | pte::USER
}

/// The entry of a page of the kernel's, with the rights `flags`.
#[inline]
pub fn page(phys: u64, flags: u64) -> u64 {
    phys | flags | pte::PRESENT
}

/// The same of a large page, one level above.
#[inline]
pub fn large(phys: u64, flags: u64) -> u64 {
    page(phys, flags) | pte::LARGE
}

/// Whether an entry above the last level is a large page.
#[inline]
pub fn is_large(entry: u64) -> bool {
    entry & pte::LARGE != 0
}

/// Whether the page was written since it was mapped.
#[inline]
pub fn is_dirty(entry: u64) -> bool {
    entry & pte::DIRTY != 0
}

/// Whether the page may be written.
#[inline]
pub fn is_writable(entry: u64) -> bool {
    entry & pte::WRITE != 0
}

/// The entry without the right to write.
#[inline]
pub fn without_write(entry: u64) -> u64 {
    entry & !pte::WRITE
}

/// Takes the right to write from an entry; returns what it was.
#[inline]
pub fn take_write(slot: &AtomicU64) -> u64 {
    slot.fetch_and(!pte::WRITE, Ordering::AcqRel)
}

/// The entry as that of a page that was not used yet.
#[inline]
pub fn not_used(entry: u64) -> u64 {
    entry & !pte::ACCESSED
}

/// Whether translations must be dropped after an entry was changed from `old` to `new`, both of the same frame. More rights need
/// none of that: the CPU looks again before it faults.
#[inline]
pub fn must_forget(old: u64, new: u64) -> bool {
    old & !new & (pte::PRESENT | pte::WRITE) | new & !old & pte::NO_EXECUTE != 0
}

/// Puts `new` in place of the entry of `_address`, which may be present, and returns that.
#[inline]
pub fn exchange(slot: &AtomicU64, _address: usize, new: u64) -> u64 {
    slot.swap(new, Ordering::AcqRel)
}

/// Makes changes of entries visible to the hardware that reads tables: it sees all stores in their order.
#[inline(always)]
pub fn publish() {}

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

/// Uses the kernel's own tables, which map no program, from here on. Drops this CPU's translations.
///
/// # Safety
/// No pointer to a program's memory is used afterwards.
#[inline(always)]
pub unsafe fn set_no_root() {
    // SAFETY: the kernel's tables.
    unsafe { set_root(crate::boot::root_table()) };
}

/// Drops this CPU's translation of the page at `address`.
#[inline(always)]
pub fn forget(address: usize) {
    instructions::invlpg(address);
}

/// Whether [`forget`] and [`forget_many`] reach all CPUs. Else the others must be asked.
pub const BROADCASTS: bool = false;

/// Drops this CPU's translations of many pages.
#[inline]
pub fn forget_many() {
    forget_all();
}

/// Drops all of this CPU's translations.
#[inline]
pub fn forget_all() {
    instructions::flush_tlb();
}
