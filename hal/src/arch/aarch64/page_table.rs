//! The format of page tables (Arm ARM, D8.3: 4-KiB granule, 48-bit addresses), and the registers that say which of them are in
//! use: TTBR0_EL1 for the program's half, TTBR1_EL1 for the kernel's.
use crate::mm::paging::Prot;
use crate::task::{Ring, ring};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bits of an entry.
pub mod pte {
    /// A table, or a page at the last level.
    pub const PRESENT: u64 = 0b11;
    /// Programs in EL0 may use the page.
    pub const USER: u64 = 1 << 6;
    pub const READ_ONLY: u64 = 1 << 7;
    /// The page may be used. It is set from the start: the CPU need not do it.
    pub const ACCESSED: u64 = 1 << 10;
    pub const PRIVILEGED_NO_EXECUTE: u64 = 1 << 53;
    pub const USER_NO_EXECUTE: u64 = 1 << 54;
    /// Ours: the entry owns a frame though it is not present (a mapping without rights).
    pub const OWNED: u64 = 1 << 55;
    pub const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
    /// There is no such bit: what may be written counts as written.
    pub const DIRTY: u64 = 0;
}

/// A block of 2 MiB: what marks a table is missing.
const BLOCK: u64 = 0b01;
/// Which attributes of MAIR_EL1 (set by `start`) a page has: memory, inner shareable; or a device's registers.
const MEMORY: u64 = 1 << 2 | 0b11 << 8;
const REGISTERS: u64 = 0;

/// Rights of the kernel's own pages, present and used: for data that is not written, for data, and for registers of devices.
pub const READ_ONLY: u64 = WRITABLE | pte::READ_ONLY;
pub const WRITABLE: u64 = MEMORY | pte::ACCESSED | pte::PRIVILEGED_NO_EXECUTE | pte::USER_NO_EXECUTE;
pub const DEVICE: u64 = REGISTERS | pte::ACCESSED | pte::PRIVILEGED_NO_EXECUTE | pte::USER_NO_EXECUTE;
/// The same for the kernel's text.
pub const TEXT: u64 = MEMORY | pte::ACCESSED | pte::READ_ONLY | pte::USER_NO_EXECUTE;

/// Entries of a root that all address spaces share with the kernel's: none, the kernel has a root of its own.
pub const SHARED_ENTRIES: core::ops::Range<usize> = 512..512;

/// The entry of a table of the kernel's.
#[inline]
pub fn table(phys: u64) -> u64 {
    phys | pte::PRESENT
}

/// The entry of a table of a program's.
#[inline]
pub fn table_of_programs(phys: u64) -> u64 {
    table(phys)
}

/// The entry of a page of the kernel's, with the rights `flags`.
#[inline]
pub fn page(phys: u64, flags: u64) -> u64 {
    phys | flags | pte::PRESENT
}

/// The same of a large page, one level above.
#[inline]
pub fn large(phys: u64, flags: u64) -> u64 {
    phys | flags | BLOCK
}

/// Whether an entry above the last level is a large page.
#[inline]
pub fn is_large(entry: u64) -> bool {
    entry & pte::PRESENT == BLOCK
}

/// Whether the page may have been written since it was mapped.
#[inline]
pub fn is_dirty(entry: u64) -> bool {
    is_writable(entry)
}

/// Whether the page may be written.
#[inline]
pub fn is_writable(entry: u64) -> bool {
    entry & pte::PRESENT != 0 && entry & pte::READ_ONLY == 0
}

/// The entry without the right to write.
#[inline]
pub fn without_write(entry: u64) -> u64 {
    entry | pte::READ_ONLY
}

/// Takes the right to write from an entry; returns what it was.
#[inline]
pub fn take_write(slot: &AtomicU64) -> u64 {
    slot.fetch_or(pte::READ_ONLY, Ordering::AcqRel)
}

/// The entry as that of a page that was not used yet: the same, since the bit allows the use here.
#[inline]
pub fn not_used(entry: u64) -> u64 {
    entry
}

/// Whether translations must be dropped after an entry was changed from `old` to `new`, both of the same frame. A CPU may fault
/// by an old translation, without another look at the tables.
#[inline]
pub fn must_forget(old: u64, new: u64) -> bool {
    old & pte::PRESENT != 0 && old != new
}

/// Puts `new` in place of the entry of `address`, which may be present, and returns that. No CPU may see the address at two
/// frames at once, so the old translation is dropped first (Arm ARM, D8.16.1: break before make).
#[inline]
pub fn exchange(slot: &AtomicU64, address: usize, new: u64) -> u64 {
    let old = slot.swap(0, Ordering::AcqRel);
    if old & pte::PRESENT != 0 {
        forget(address);
    }
    slot.store(new, Ordering::Release);
    publish();
    old
}

/// Makes changes of entries visible to the hardware that reads tables.
#[inline(always)]
pub fn publish() {
    // SAFETY: barriers.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// The entry of the page at physical address `phys` with these rights. Without rights it is not present, but keeps its frame.
#[inline]
pub fn entry(phys: u64, prot: Prot) -> u64 {
    if prot.is_empty() {
        return phys | pte::OWNED;
    }
    let mut bits = phys | MEMORY | pte::PRESENT | pte::OWNED | pte::ACCESSED;
    if !prot.contains(Prot::WRITE) {
        bits |= pte::READ_ONLY;
    }
    // What EL0 may write EL1 can't execute (Arm ARM, D8.4.1). Programs in EL1 have pages of EL1.
    let (mine, others) = match ring() {
        Ring::Unikernel => (pte::PRIVILEGED_NO_EXECUTE, pte::USER_NO_EXECUTE),
        Ring::Protected => (pte::USER_NO_EXECUTE, pte::USER | pte::PRIVILEGED_NO_EXECUTE),
    };
    bits |= others;
    if !prot.contains(Prot::EXEC) {
        bits |= mine;
    }
    bits
}

/// The rights of a page by its entry.
#[inline]
pub fn rights(entry: u64) -> Prot {
    let mut prot = Prot::empty();
    if entry & pte::PRESENT != 0 {
        const NO_EXECUTE: u64 = pte::PRIVILEGED_NO_EXECUTE | pte::USER_NO_EXECUTE;
        prot |= Prot::READ;
        prot.set(Prot::WRITE, is_writable(entry));
        prot.set(Prot::EXEC, entry & NO_EXECUTE != NO_EXECUTE);
    }
    prot
}

/// Uses the tables below `root`, a physical address, for the program's half from here on. Drops this CPU's translations.
///
/// # Safety
/// The tables map a program, and live as long as they are in use.
#[inline(always)]
pub unsafe fn set_root(root: u64) {
    // SAFETY: passed on to the caller.
    unsafe { asm!("msr ttbr0_el1, {}", "isb", in(reg) root, options(nostack, preserves_flags)) };
    forget_all();
}

/// Maps no program from here on. Drops this CPU's translations.
///
/// # Safety
/// No pointer to a program's memory is used afterwards.
#[inline(always)]
pub unsafe fn set_no_root() {
    // SAFETY: an empty table.
    unsafe { set_root(super::start::empty_table()) };
}

/// Drops all CPUs' translations of the page at `address`.
#[inline(always)]
pub fn forget(address: usize) {
    // SAFETY: dropping a translation is always sound.
    unsafe {
        asm!("dsb ishst", "tlbi vaae1is, {}", "dsb ish", "isb", in(reg) address >> 12, options(nostack, preserves_flags))
    };
}

/// Whether [`forget`] and [`forget_many`] reach all CPUs.
pub const BROADCASTS: bool = true;

/// Drops all CPUs' translations of many pages: of all.
#[inline]
pub fn forget_many() {
    // SAFETY: as above.
    unsafe { asm!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// Drops all of this CPU's translations.
#[inline]
pub fn forget_all() {
    // SAFETY: as above.
    unsafe { asm!("dsb nshst", "tlbi vmalle1", "dsb nsh", "isb", options(nostack, preserves_flags)) };
}
