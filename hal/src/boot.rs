//! The boot of the hardware layer, from the loader's information up to `Kernel::main`.
use crate::arch::memory_map::{self, EARLY_MAPPED, LOW_MEMORY};
use crate::arch::page_table;
use crate::machine::{archive, ram};
use crate::mm::frame;
use crate::mm::layout::{self, PAGE};
use crate::mm::ranges::MAX_REGIONS;
use alloc::string::String;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

static COMMAND_LINE: crate::once::Once<String> = crate::once::Once::new();
static RSDP: AtomicU64 = AtomicU64::new(0);
static SLIDE: AtomicUsize = AtomicUsize::new(0);

pub use crate::machine::archive::{image, image_beyond_memory, image_frame};
pub use crate::machine::ram::memory_size;

/// The kernel command line.
pub fn command_line() -> &'static str {
    COMMAND_LINE.get().map_or("", |s| s)
}
/// Where the kernel's text starts in virtual memory, and its length, for turning addresses into symbol offsets.
#[cfg(target_os = "none")]
pub fn kernel_text() -> core::ops::Range<usize> {
    let slide = kernel_slide();
    slide..slide + crate::arch::start::sections().text_end
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
/// Physical address of the kernel's top page table.
#[cfg(target_os = "none")]
pub(crate) fn root_table() -> u64 {
    crate::arch::start::root_table()
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
    crate::arch::trap::init_cpu(
        &crate::local::BOOT,
        crate::arch::start::early_stack_end(),
        crate::arch::start::early_stack_end(),
    );
    crate::arch::trap::init();
    let command_line = memory(start_info, direct_base);
    crate::arch::fpu::init_cpu();
    COMMAND_LINE.call_once(|| command_line);
    crate::arch::interrupt::init();
    let measurement = crate::arch::timer::Measurement::start();

    let fault_stack = crate::mm::kmap::alloc_stack(FAULT_STACK_SIZE).unwrap_or_else(|| no_memory());
    crate::arch::trap::init_cpu(&crate::local::BOOT, fault_stack, crate::arch::start::early_stack_end());
    crate::arch::timer::init(measurement);
    crate::arch::fpu::prepare();
    let top = crate::mm::kmap::alloc_stack(crate::task::KERNEL_STACK_SIZE).unwrap_or_else(|| no_memory());
    // SAFETY: a fresh stack; `main_on_stack` never returns.
    unsafe { crate::task::enter_stack(top, crate::kernel::symbols::coracle_main) }
}

/// Bytes of a CPU's stack for exceptions and interrupts: it holds a report of a crash, with the events before it, at most.
#[cfg(target_os = "none")]
pub(crate) const FAULT_STACK_SIZE: usize = 3 * PAGE;

#[cfg(target_os = "none")]
fn no_memory() -> ! {
    panic!("out of memory at boot: this machine has {} KiB", memory_size() / 1024)
}

/// Reads the loader's tables, starts the frame allocator, maps all RAM, drops the identity map. Returns the command line.
#[cfg(target_os = "none")]
fn memory(start_info: u64, direct_base: usize) -> String {
    // SAFETY: what the loader passed; the identity map is still there.
    let loader = unsafe { crate::arch::start::read_loader(start_info) };
    RSDP.store(loader.rsdp, Ordering::Relaxed);

    // What is in use: low pages, the kernel, the image, the loader's tables.
    let parts = crate::arch::start::sections();
    let kernel = memory_map::kernel();
    let kernel_end = (kernel + parts.end as u64).next_multiple_of(PAGE as u64);
    let mut regions = loader.ram;
    // SAFETY: as above.
    let place = unsafe {
        let (text, len) = loader.command_line;
        let command_line = if len == 0 { &[] } else { core::slice::from_raw_parts(text as *const u8, len) };
        archive::find(command_line, &regions, kernel_end)
    };
    regions.remove(place.unused.0, place.unused.1);
    let total = loader.total - place.unused.1;
    let (image, image_len) = (place.start, place.len);
    let mut free = regions;
    free.remove(memory_map::RESERVED.start, memory_map::RESERVED.end - memory_map::RESERVED.start);
    free.remove(kernel, kernel_end - kernel);
    free.remove(image, image_len as u64);
    loader.reserve(&mut free);

    // The array of frame states: a piece of the first GiB.
    let states_len = ((loader.highest as usize / PAGE) * 4).next_multiple_of(PAGE) as u64;
    let states = free
        .iter()
        .map(|(start, end)| (start, end.min(EARLY_MAPPED.end)))
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
    unsafe { frame::init(&spans[..free.len()], layout::direct(states), image_frames.clone()) };

    // Read-only where the kernel's text and constants and the image lie; low memory (firmware tables) whole.
    let mut rest = regions;
    rest.remove(0, LOW_MEMORY);
    rest.remove(kernel, parts.rodata_end as u64);
    rest.remove(image, image_len as u64);
    let map = |start: u64, end: u64, flags: u64| {
        // SAFETY: the chosen base is a range of its own; rights as the kernel's own mapping has them.
        unsafe { crate::mm::kmap::map(direct_base + start as usize, start, (end - start) as usize, flags) }
            .unwrap_or_else(|| no_memory());
    };
    map(0, LOW_MEMORY, page_table::WRITABLE);
    map(kernel, kernel + parts.rodata_end as u64, page_table::READ_ONLY);
    map(image, (image + image_len as u64).next_multiple_of(PAGE as u64), page_table::READ_ONLY);
    for (start, end) in rest.iter() {
        map(start, end, page_table::WRITABLE);
    }
    layout::set_direct_base(direct_base);
    crate::arch::start::use_direct_map();
    // SAFETY: the same array at its final address.
    unsafe { frame::init(&[], layout::direct(states), image_frames) };
    ram::set(regions, total);
    crate::mm::heap::init(total);

    // The heap works from here on. Copy the command line, then drop the identity map.
    // SAFETY: the string measured above, whose page is not handed out.
    let text = unsafe {
        let (text, len) = loader.command_line;
        core::slice::from_raw_parts(layout::direct(text) as *const u8, len)
    };
    let text = String::from_utf8_lossy(text).into_owned();
    // SAFETY: nothing is reached through the identity map any more.
    unsafe { crate::arch::start::drop_identity_map() };
    text
}
