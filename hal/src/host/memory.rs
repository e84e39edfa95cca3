//! The machine's RAM, and CPUs that tests of this crate alone need: one for each thread. The former is enough for unsafe code that needs no
//! hardware (frames, heap, DMA), which is tested under Miri too.
use crate::local::Local;
use crate::machine::ram;
use crate::mm::frame;
use crate::mm::layout::{self, PAGE};
use crate::mm::ranges::Ranges;
use crate::percpu;
use std::alloc::{Layout, alloc_zeroed};
use std::boxed::Box;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, Once};
use std::vec::Vec;

/// Frames of RAM. Tests run side by side and must have room; each frame costs Miri time.
pub const FRAMES: usize = if cfg!(miri) {
    256
} else if cfg!(test) {
    4096
} else {
    32768
};

/// Makes the RAM, once. Its first frame stays zero: it is the kernel's top page table, which has no entries.
pub fn start() {
    static STARTED: Once = Once::new();
    /// For Miri, which reports unreferenced memory as leaked.
    static RAM: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
    STARTED.call_once(|| {
        let states = PAGE * (FRAMES * size_of::<u32>()).div_ceil(PAGE);
        let size = FRAMES * PAGE + states;
        // SAFETY: not of size zero.
        let ram = unsafe { alloc_zeroed(Layout::from_size_align(size, PAGE).expect("a valid layout")) };
        assert!(!ram.is_null(), "the host has memory");
        RAM.store(ram, Ordering::Relaxed);
        // The hardware layer makes pointers of numbers, as it must: their provenance is this one's.
        layout::set_direct_base(ram.expose_provenance());
        // SAFETY: the memory is ours, is never freed, and the states lie behind the frames.
        unsafe { frame::init(&[(1, FRAMES as u32)], layout::direct((FRAMES * PAGE) as u64), 0..0) };
        let mut regions = Ranges::new();
        regions.push(0, (FRAMES * PAGE) as u64);
        ram::set(regions, (FRAMES * PAGE) as u64);
    });
}

/// Data of a new CPU, which is its own machine. It stays when its thread ends, as a CPU does.
pub fn new_cpu() -> &'static Local {
    static CPUS: Mutex<Vec<&Local>> = Mutex::new(Vec::new());
    start();
    let local: &'static Local = Box::leak(Box::new(Local::new()));
    let mut cpus = CPUS.lock().expect("nobody panics here");
    local.id.set(cpus.len() % percpu::MAX_CPUS);
    cpus.push(local);
    local
}
