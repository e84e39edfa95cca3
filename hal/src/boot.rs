//! The loader's information (PVH start info, Xen's `hvm/start_info.h`), and the boot of the hardware layer up to `Kernel::main`.
use crate::frame::{self, Frame};
use crate::layout::{self, KERNEL_PHYS, PAGE, pte};
use crate::x86;
use alloc::string::String;
#[cfg(target_os = "none")]
use coracle_image::cmdline::ImagePlace;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// `XEN_HVM_START_MAGIC_VALUE`.
const START_MAGIC: u32 = 0x336e_c578;
/// A memory map entry of RAM, as in E820.
const TYPE_RAM: u32 = 1;
/// The page below 1 MiB where other CPUs start; the first page holds the BIOS data area.
pub(crate) const TRAMPOLINE: usize = 0x1000;
/// Pieces of RAM taken from the memory map.
const MAX_REGIONS: usize = 16;
/// Longest command line that is read.
const MAX_COMMAND_LINE: usize = 64 * 1024;
/// What the identity map of early boot covers.
const EARLY_MAPPED: u64 = 1 << 30;

#[repr(C)]
#[derive(Clone, Copy)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MapEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

static COMMAND_LINE: crate::once::Once<String> = crate::once::Once::new();
static MEMORY_SIZE: AtomicU64 = AtomicU64::new(0);
static RSDP: AtomicU64 = AtomicU64::new(0);
static SLIDE: AtomicUsize = AtomicUsize::new(0);
static IMAGE: AtomicUsize = AtomicUsize::new(0);
static IMAGE_LEN: AtomicUsize = AtomicUsize::new(0);
/// Where the archive ends by its header, if memory ends before.
static IMAGE_MISSED: AtomicU64 = AtomicU64::new(0);
static REGIONS: crate::once::Once<Ranges> = crate::once::Once::new();

/// A short list of address ranges.
#[derive(Clone, Copy)]
struct Ranges {
    list: [(u64, u64); MAX_REGIONS],
    count: usize,
}

impl Ranges {
    const fn new() -> Ranges {
        Ranges { list: [(0, 0); MAX_REGIONS], count: 0 }
    }
    fn push(&mut self, start: u64, end: u64) {
        if start < end && self.count < MAX_REGIONS {
            self.list[self.count] = (start, end);
            self.count += 1;
        }
    }
    fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.list[..self.count].iter().copied()
    }
    /// Takes the range out, to whole pages.
    fn remove(&mut self, start: u64, len: u64) {
        let from = start & !(PAGE as u64 - 1);
        let to = (start + len).next_multiple_of(PAGE as u64);
        let mut kept = Ranges::new();
        for (a, b) in self.iter() {
            kept.push(a, b.min(from));
            kept.push(a.max(to), b);
        }
        *self = kept;
    }
}

/// The kernel command line.
pub fn command_line() -> &'static str {
    COMMAND_LINE.get().map_or("", |s| s)
}
/// The archive: behind the kernel, or at the address on the command line. `None` if there is no header.
pub fn image() -> Option<&'static [u8]> {
    let len = IMAGE_LEN.load(Ordering::Relaxed);
    if len == 0 {
        return None;
    }
    let address = layout::direct(IMAGE.load(Ordering::Relaxed) as u64);
    // SAFETY: the archive lies in RAM, reserved and mapped read-only by `start`, for ever.
    Some(unsafe { core::slice::from_raw_parts(address as *const u8, len) })
}
/// The physical address at which the archive would end, if it is there but memory ends before it does.
pub fn image_beyond_memory() -> Option<u64> {
    match IMAGE_MISSED.load(Ordering::Relaxed) {
        0 => None,
        end => Some(end),
    }
}
/// The frame that holds byte `page * 4096` of the image, to be mapped read-only in place.
pub fn image_frame(page: usize) -> Option<Frame> {
    if page >= IMAGE_LEN.load(Ordering::Relaxed).div_ceil(PAGE) {
        return None;
    }
    // SAFETY: frames of the image are not counted, so that any number of references can be made.
    Some(unsafe { Frame::from_phys((IMAGE.load(Ordering::Relaxed) + page * PAGE) as u64) })
}
/// Bytes of memory the machine has.
pub fn memory_size() -> u64 {
    MEMORY_SIZE.load(Ordering::Relaxed)
}
/// Where the kernel's text starts in virtual memory, and its length, for turning addresses into symbol offsets.
#[cfg(target_os = "none")]
pub fn kernel_text() -> core::ops::Range<usize> {
    let slide = kernel_slide();
    slide..slide + crate::start::sections().text_end
}
/// Where the kernel's text starts in virtual memory, and its length, for turning addresses into symbol offsets.
#[cfg(not(target_os = "none"))]
pub fn kernel_text() -> core::ops::Range<usize> {
    0..0
}
/// The virtual address that the kernel's ELF address 0 was moved to.
pub fn kernel_slide() -> usize {
    SLIDE.load(Ordering::Relaxed)
}
/// Physical address of ACPI's root pointer if the loader gave one.
pub(crate) fn rsdp() -> Option<u64> {
    match RSDP.load(Ordering::Relaxed) {
        0 => None,
        address => Some(address),
    }
}
/// True if any byte of the range is RAM.
pub(crate) fn overlaps_ram(phys: u64, len: u64) -> bool {
    let Some(end) = phys.checked_add(len) else { return true };
    REGIONS.get().is_none_or(|regions| regions.iter().any(|(a, b)| phys < b && a < end))
}
/// Physical address of the kernel's top page table.
#[cfg(target_os = "none")]
pub(crate) fn root_table() -> u64 {
    crate::start::root_table()
}
/// Physical address of the kernel's top page table.
#[cfg(not(target_os = "none"))]
pub(crate) fn root_table() -> u64 {
    0
}

/// Goes on from `start.rs`: the kernel runs at its own addresses, the first GiB is mapped at 0, nothing else is there.
#[cfg(target_os = "none")]
pub(crate) fn start(start_info: u64, slide: usize, direct_base: usize) -> ! {
    SLIDE.store(slide, Ordering::Relaxed);
    // SAFETY: the first thing that this CPU does here.
    unsafe { crate::local::BOOT.install(0) };
    crate::trap::init_cpu(
        &crate::local::BOOT,
        crate::start::early_stack_end(),
        crate::start::early_stack_end(),
    );
    crate::trap::init();
    let command_line = memory(start_info, direct_base);
    crate::fpu::init_cpu();
    COMMAND_LINE.call_once(|| command_line);
    crate::apic::init();
    let measurement = crate::calibrate::Measurement::start();

    let fault_stack = crate::kmap::alloc_stack(FAULT_STACK_SIZE).unwrap_or_else(|| no_memory());
    crate::trap::init_cpu(&crate::local::BOOT, fault_stack, crate::start::early_stack_end());
    crate::time::init(measurement);
    crate::fpu::prepare();
    let top = crate::kmap::alloc_stack(crate::task::KERNEL_STACK_SIZE).unwrap_or_else(|| no_memory());
    // SAFETY: a fresh stack; `main_on_stack` never returns.
    unsafe { crate::task::enter_stack(top, crate::kernel::symbols::coracle_main) }
}

/// Bytes of a CPU's stack for exceptions and interrupts: it holds a report of a crash at most.
#[cfg(target_os = "none")]
pub(crate) const FAULT_STACK_SIZE: usize = 2 * PAGE;

#[cfg(target_os = "none")]
fn no_memory() -> ! {
    panic!("out of memory at boot: this machine has {} KiB", memory_size() / 1024)
}

/// Reads the loader's tables, starts the frame allocator, maps all RAM, drops the identity map. Returns the command line.
#[cfg(target_os = "none")]
fn memory(start_info: u64, direct_base: usize) -> String {
    assert!(start_info + 64 <= EARLY_MAPPED, "the loader's start info lies out of reach");
    // SAFETY: mapped (checked), written by the loader, not RAM that Rust uses.
    let info = unsafe { *(start_info as *const StartInfo) };
    assert!(info.magic == START_MAGIC, "not started by PVH: no start info");
    assert!(
        info.version >= 1 && info.memory_map != 0,
        "the loader gave no memory map (PVH start info version 1)"
    );
    let map_len = u64::from(info.memory_map_entries) * core::mem::size_of::<MapEntry>() as u64;
    assert!(info.memory_map + map_len <= EARLY_MAPPED, "the loader's memory map lies out of reach");

    let mut regions = Ranges::new();
    let mut total = 0;
    let mut highest = 0;
    for i in 0..u64::from(info.memory_map_entries) {
        // SAFETY: in the identity map, checked above; entries need not be aligned.
        let entry = unsafe {
            core::ptr::read_unaligned(
                (info.memory_map + i * core::mem::size_of::<MapEntry>() as u64) as *const MapEntry,
            )
        };
        if entry.kind == TYPE_RAM {
            let start = entry.address.next_multiple_of(PAGE as u64);
            let end = (entry.address + entry.size) & !(PAGE as u64 - 1);
            regions.push(start, end);
            total += entry.size;
            highest = highest.max(end);
        }
    }
    RSDP.store(info.rsdp, Ordering::Relaxed);

    // What is in use: low pages, the kernel, the image, the loader's tables.
    let parts = crate::start::sections();
    let kernel_end = (KERNEL_PHYS + parts.end).next_multiple_of(PAGE) as u64;
    let mut command_line_len = 0;
    // SAFETY: the loader's string in the identity map; read up to its zero.
    unsafe {
        while info.command_line != 0
            && command_line_len < MAX_COMMAND_LINE
            && info.command_line + (command_line_len as u64) < EARLY_MAPPED
            && *((info.command_line + command_line_len as u64) as *const u8) != 0
        {
            command_line_len += 1;
        }
    }
    // SAFETY: the bytes just counted.
    let words = unsafe {
        core::slice::from_raw_parts(
            info.command_line as *const u8,
            command_line_len * usize::from(info.command_line != 0),
        )
    };
    let mut image = kernel_end;
    let mut image_len = 0;
    if let Some(ImagePlace { start, archive }) = ImagePlace::find(words)
        && kernel_end <= start
        && start <= archive
        && archive.is_multiple_of(PAGE as u64)
    {
        image_len = image_length(&regions, archive);
        if image_len != 0 {
            image = archive;
            // The kernel that the file begins with is in no memory that can be used.
            regions.remove(start, archive - start);
            total -= archive - start;
        }
    }
    if image_len == 0 {
        image_len = image_length(&regions, image);
    }
    MEMORY_SIZE.store(total, Ordering::Relaxed);
    IMAGE.store(image as usize, Ordering::Relaxed);
    IMAGE_LEN.store(image_len, Ordering::Relaxed);
    let mut free = regions;
    free.remove(0, 2 * PAGE as u64);
    free.remove(KERNEL_PHYS as u64, kernel_end - KERNEL_PHYS as u64);
    free.remove(image, image_len as u64);
    free.remove(start_info, core::mem::size_of::<StartInfo>() as u64);
    free.remove(info.memory_map, map_len);
    free.remove(info.command_line, command_line_len as u64 + 1);

    // The array of frame states: a piece of the first GiB.
    let states_len = ((highest as usize / PAGE) * 4).next_multiple_of(PAGE) as u64;
    let states = free
        .iter()
        .map(|(start, end)| (start, end.min(EARLY_MAPPED)))
        .filter(|(start, end)| end.saturating_sub(*start) >= states_len)
        .map(|(_, end)| end - states_len)
        .last()
        .unwrap_or_else(|| no_memory());
    free.remove(states, states_len);
    let mut spans = [(0, 0); MAX_REGIONS];
    for (span, (start, end)) in spans.iter_mut().zip(free.iter()) {
        *span = ((start / PAGE as u64) as u32, (end / PAGE as u64) as u32);
    }
    let image_frames = (image / PAGE as u64) as u32..(image as usize + image_len).div_ceil(PAGE) as u32;
    // SAFETY: free RAM by the loader's map less everything in use; the first GiB, from which the first frames come, is
    // mapped at 0, where `layout::direct` points until now.
    unsafe { frame::init(&spans[..free.count], layout::direct(states), image_frames.clone()) };

    // Read-only where the kernel's text and constants and the image lie; low memory (firmware tables) whole.
    let flags = pte::NO_EXECUTE | pte::ACCESSED | pte::DIRTY;
    let writable = flags | pte::WRITE;
    let mut rest = regions;
    rest.remove(0, KERNEL_PHYS as u64);
    rest.remove(KERNEL_PHYS as u64, parts.rodata_end as u64);
    rest.remove(image, image_len as u64);
    let map = |start: u64, end: u64, flags: u64| {
        // SAFETY: the chosen base is a range of its own; rights as the kernel's own mapping has them.
        unsafe { crate::kmap::map(direct_base + start as usize, start, (end - start) as usize, flags) }
            .unwrap_or_else(|| no_memory());
    };
    map(0, KERNEL_PHYS as u64, writable);
    map(KERNEL_PHYS as u64, (KERNEL_PHYS + parts.rodata_end) as u64, flags);
    map(image, (image + image_len as u64).next_multiple_of(PAGE as u64), flags);
    for (start, end) in rest.iter() {
        map(start, end, writable);
    }
    layout::set_direct_base(direct_base);
    // SAFETY: the same array at its final address.
    unsafe { frame::init(&[], layout::direct(states), image_frames) };
    REGIONS.call_once(|| regions);
    crate::heap::init(total);

    // The heap works from here on. Copy the command line, then drop the identity map.
    // SAFETY: the string measured above, whose page is not handed out.
    let text = unsafe {
        core::slice::from_raw_parts(layout::direct(info.command_line) as *const u8, command_line_len)
    };
    let text = String::from_utf8_lossy(text).into_owned();
    // SAFETY: nothing is reached through the identity map any more.
    unsafe { *(layout::direct(root_table()) as *mut u64) = 0 };
    x86::flush_tlb();
    text
}

/// Length of the archive at `image`, or 0 if there is none.
#[cfg(target_os = "none")]
fn image_length(regions: &Ranges, image: u64) -> usize {
    let Some((_, end)) = regions.iter().find(|(start, end)| (*start..*end).contains(&image)) else {
        return 0;
    };
    let reach = end.min(EARLY_MAPPED);
    if image >= reach {
        return 0;
    }
    // SAFETY: RAM in the identity map that is not written.
    let bytes = unsafe { core::slice::from_raw_parts(image as *const u8, (reach - image) as usize) };
    match coracle_image::archive::Archive::length(&bytes[..bytes.len().min(PAGE)]) {
        Ok(len) if len <= end - image => len as usize,
        Ok(len) => {
            IMAGE_MISSED.store(image.saturating_add(len), Ordering::Relaxed);
            0
        }
        Err(_) => 0,
    }
}

/// Physical memory of the firmware's tables: RAM and low memory where they are mapped, else a mapping of their own.
pub(crate) fn firmware(phys: u64, len: usize) -> Option<&'static [u8]> {
    let end = phys.checked_add(len as u64)?;
    let mapped = end <= KERNEL_PHYS as u64
        || REGIONS.get()?.iter().any(|(a, b)| a <= phys && end <= b && a >= KERNEL_PHYS as u64);
    let address = if mapped {
        layout::direct(phys)
    } else {
        // SAFETY: firmware tables, read only.
        unsafe { crate::kmap::map_foreign(phys, len, false)? }
    };
    // SAFETY: mapped for ever; firmware tables are not written after boot, and their RAM is not in the memory map's RAM
    // or was reserved.
    Some(unsafe { core::slice::from_raw_parts(address as *const u8, len) })
}
