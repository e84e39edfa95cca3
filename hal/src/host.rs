//! A machine of host memory, so that unsafe code that needs no hardware (frames, heap, DMA) is tested on the host, and
//! under Miri: some RAM, and a CPU for each thread.
use crate::local::Local;
use crate::mm::frame;
use crate::mm::layout::{self, PAGE};
use crate::percpu;
use std::alloc::{Layout, alloc_zeroed};
use std::boxed::Box;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, Once};
use std::vec::Vec;

/// Frames of RAM. Tests run side by side and must have room; each frame costs Miri time.
pub const FRAMES: usize = if cfg!(miri) { 256 } else { 4096 };

std::thread_local! {
    static LOCAL: &'static Local = start_cpu();
}

fn start_memory() {
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
        unsafe { frame::init(&[(0, FRAMES as u32)], layout::direct((FRAMES * PAGE) as u64), 0..0) };
    });
}

/// Data of a new CPU. It stays when its thread ends, as a CPU does.
fn start_cpu() -> &'static Local {
    static CPUS: Mutex<Vec<&Local>> = Mutex::new(Vec::new());
    start_memory();
    let local: &'static Local = Box::leak(Box::new(Local::new()));
    let mut cpus = CPUS.lock().expect("nobody panics here");
    local.id.set(cpus.len() % percpu::MAX_CPUS);
    cpus.push(local);
    local
}

/// The data of the CPU that this thread is.
pub fn local() -> &'static Local {
    LOCAL.with(|local| *local)
}
