//! The kernel's own mappings: the map of all RAM, kernel stacks with guard pages, device registers.
use crate::arch::page_table::{self, pte};
use crate::mm::frame::{FRAME_SIZE, Frame};
use crate::mm::layout::{self, AREA, AREA_SIZE, LARGE_PAGE, PAGE};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Serialises changes of the kernel's page tables.
static TABLES: crate::sync::Mutex<()> = crate::sync::Mutex::new(());

/// Where the index of a page lies in its address, and those of the tables above, from the top.
const PAGE_SHIFT: usize = 12;
const TABLE_SHIFTS: [usize; 3] = [39, 30, 21];

/// The table that entry `index` of `table` points to, made if it is missing.
///
/// # Safety
/// `table` is a page table of the kernel and its lock is held.
unsafe fn next_table(table: *mut u64, index: usize) -> Option<*mut u64> {
    // SAFETY: index below 512 by the callers' masks; tables are RAM in the direct map.
    unsafe {
        let entry = table.add(index);
        if *entry & pte::PRESENT == 0 {
            let frame = Frame::alloc_zeroed()?;
            *entry = page_table::table(frame.into_phys());
        }
        debug_assert!(!page_table::is_large(*entry));
        Some(layout::direct(*entry & pte::ADDRESS) as *mut u64)
    }
}

/// Maps `len` bytes at `virt` to `phys`, by large pages where both are aligned. All are multiples of 4096; nothing is
/// mapped there yet.
///
/// # Safety
/// The range of addresses belongs to the caller, and access through it with the rights in `flags` breaks nothing.
pub unsafe fn map(mut virt: usize, mut phys: u64, mut len: usize, flags: u64) -> Option<()> {
    let _guard = TABLES.lock();
    let root = layout::direct(crate::boot::root_table()) as *mut u64;
    while len > 0 {
        // SAFETY: the kernel's tables, lock held, indices masked.
        unsafe {
            let pdpt = next_table(root, virt >> 39 & 511)?;
            let pd = next_table(pdpt, virt >> 30 & 511)?;
            if virt.is_multiple_of(LARGE_PAGE) && phys.is_multiple_of(LARGE_PAGE as u64) && len >= LARGE_PAGE
            {
                // To the end of this directory without walking again.
                loop {
                    *pd.add(virt >> 21 & 511) = page_table::large(phys, flags);
                    virt += LARGE_PAGE;
                    phys += LARGE_PAGE as u64;
                    len -= LARGE_PAGE;
                    if virt.is_multiple_of(1 << 30) || len < LARGE_PAGE {
                        break;
                    }
                }
                continue;
            }
            let pt = next_table(pd, virt >> 21 & 511)?;
            loop {
                *pt.add(virt >> 12 & 511) = page_table::page(phys, flags);
                virt += PAGE;
                phys += PAGE as u64;
                len -= PAGE;
                if virt.is_multiple_of(LARGE_PAGE) || len == 0 {
                    break;
                }
            }
        }
    }
    Some(())
}

/// Makes the tables that the pages from `virt` on, `len` bytes, need.
pub fn make_tables(virt: usize, len: usize) -> Option<()> {
    let _guard = TABLES.lock();
    for table in (virt & !(LARGE_PAGE - 1)..virt + len).step_by(LARGE_PAGE) {
        let mut entries = layout::direct(crate::boot::root_table()) as *mut u64;
        for shift in TABLE_SHIFTS {
            // SAFETY: the kernel's tables, lock held, index masked.
            entries = unsafe { next_table(entries, table >> shift & 511)? };
        }
    }
    Some(())
}

/// The last-level entry of `virt`.
///
/// # Safety
/// Its tables were made. Changes are those that [`map`] may make, by the owner of the address.
pub unsafe fn entry<'a>(virt: usize) -> &'a AtomicU64 {
    let mut table = layout::direct(crate::boot::root_table());
    for shift in TABLE_SHIFTS {
        // SAFETY: the kernel's tables are RAM in the direct map and stay for ever; the index is masked.
        let next = unsafe { &*(table as *const AtomicU64).add(virt >> shift & 511) }.load(Ordering::Relaxed);
        table = layout::direct(next & pte::ADDRESS);
    }
    // SAFETY: as above.
    unsafe { &*(table as *const AtomicU64).add(virt >> PAGE_SHIFT & 511) }
}

/// The next unused address of the area.
static AREA_NEXT: AtomicUsize = AtomicUsize::new(AREA);

fn reserve(len: usize) -> Option<usize> {
    let address = AREA_NEXT.fetch_add(len, Ordering::Relaxed);
    (address + len <= AREA + AREA_SIZE).then_some(address)
}

/// Maps memory that is not RAM, uncached if `device`; never unmapped.
///
/// # Safety
/// Nothing of Rust's lies there.
pub unsafe fn map_foreign(phys: u64, len: usize, device: bool) -> Option<usize> {
    let offset = phys as usize % PAGE;
    let pages = (offset + len).next_multiple_of(PAGE);
    let virt = if len == LARGE_PAGE && phys.is_multiple_of(LARGE_PAGE as u64) {
        // By a large page.
        reserve(2 * LARGE_PAGE)?.next_multiple_of(LARGE_PAGE)
    } else {
        reserve(pages)?
    };
    let flags = if device { page_table::DEVICE } else { page_table::READ_ONLY };
    // SAFETY: fresh addresses; the caller vouches for what is there.
    unsafe { map(virt, phys - offset as u64, pages, flags)? };
    Some(virt + offset)
}

/// A stack of a CPU with an unmapped page below it, which stays for ever: returns its top, 16-byte aligned.
pub fn alloc_stack(size: usize) -> Option<usize> {
    // Steps that can fail come first: nothing is lost then.
    let mut frames = [const { None }; MOST_FRAMES];
    let frames = &mut frames[..size / FRAME_SIZE];
    for frame in &mut *frames {
        *frame = Some(Frame::alloc()?);
    }
    let base = reserve_with_tables(size + PAGE)? + PAGE;
    for (page, frame) in frames.iter_mut().filter_map(Option::take).enumerate() {
        // SAFETY: fresh addresses with tables, fresh frames.
        unsafe { map(base + page * PAGE, frame.into_phys(), PAGE, page_table::WRITABLE)? };
    }
    Some(base + size)
}

/// Frames of the largest stack.
const MOST_FRAMES: usize = crate::task::KERNEL_STACK_SIZE / FRAME_SIZE;

/// Reserves addresses, and makes their tables. Addresses that no tables could be made for are kept for the next stack.
fn reserve_with_tables(len: usize) -> Option<usize> {
    /// Reserved without tables: address and length. One suffices, as its lock is held meanwhile.
    static SPARE: crate::sync::Mutex<Option<(usize, usize)>> = crate::sync::Mutex::new(None);
    let mut spare = SPARE.lock();
    let address = match *spare {
        Some((address, room)) if room >= len => address,
        _ => reserve(len)?,
    };
    *spare = Some((address, len));
    make_tables(address, len)?;
    *spare = None;
    Some(address)
}

/// True if the address lies in the area of stacks and devices.
pub fn in_area(address: usize) -> bool {
    (AREA..AREA + AREA_SIZE).contains(&address)
}
