//! Where the kernel goes in memory, and moving it there. This runs before the relocations are applied: no pointers in statics, no
//! panics, no formatting.
use crate::mm::layout;
use core::ops::Range;

/// The parts of the kernel in memory, as offsets from its start.
pub struct Sections {
    /// End of the text, which starts at 0.
    pub text_end: usize,
    /// End of what is only read.
    pub rodata_end: usize,
    /// End of everything.
    pub end: usize,
}

/// The addresses of the kernel and of the map of all RAM.
pub struct Places {
    /// Where the kernel's ELF address 0 goes.
    pub kernel: usize,
    /// Where physical address 0 is mapped.
    pub direct: usize,
}

/// Page tables that map the kernel at its address, each 2 MiB: as it begins anywhere, one more than its size takes (`link.ld`).
pub const TABLES: usize = 3;

/// Chooses the addresses by a random number, for a kernel of so many bytes.
pub fn choose(random: u64, kernel_len: usize) -> Places {
    let places = layout::KERNEL_REGION_SIZE / layout::PAGE - kernel_len.div_ceil(layout::PAGE) - 1;
    let slot = mix(random ^ 1) & ((1 << layout::DIRECT_BITS) - 1);
    Places {
        kernel: layout::KERNEL_REGION + (mix(random) % places as u64) as usize * layout::PAGE,
        direct: layout::DIRECT_REGION + ((slot as usize) << 30),
    }
}

/// A multiplication that spreads every input bit (the finaliser of SplitMix64).
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// Applies the relocations (ELF gABI: RELR, and RELA of the architecture's kind RELATIVE, the only one in a static-PIE): adds `virtual_base` to each address.
///
/// `rela` and `relr` are the addresses of the two tables.
///
/// # Safety
/// The kernel lies at `physical`, writable, linked at 0 and not relocated yet, and the tables are the linker's.
pub unsafe fn relocate(physical: usize, virtual_base: usize, rela: Range<usize>, relr: Range<usize>) {
    // SAFETY: the linker's own tables describe words of the kernel.
    unsafe {
        let mut entry = rela.start as *const [u64; 3];
        while (entry as usize) < rela.end {
            let [offset, _kind, addend] = *entry;
            *((physical + offset as usize) as *mut u64) = addend.wrapping_add(virtual_base as u64);
            entry = entry.add(1);
        }
        let mut next = relr.start as *const u64;
        let mut place = physical as *mut u64;
        while (next as usize) < relr.end {
            let mut entry = *next;
            next = next.add(1);
            if entry & 1 == 0 {
                place = (physical + entry as usize) as *mut u64;
                *place = (*place).wrapping_add(virtual_base as u64);
                place = place.add(1);
                continue;
            }
            let mut word = place;
            while entry > 1 {
                entry >>= 1;
                if entry & 1 != 0 {
                    *word = (*word).wrapping_add(virtual_base as u64);
                }
                word = word.add(1);
            }
            place = place.add(63);
        }
    }
}
