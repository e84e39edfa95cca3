//! Starting the other CPUs, by the firmware, in the order of the device tree.
use super::{firmware, gic, interrupt, start};
use crate::cpu;
use crate::local::Local;
use crate::mm::frame::Frame;
use crate::mm::{kmap, layout};
use crate::percpu::MAX_CPUS;
use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, Ordering};

/// Stops all other CPUs for ever.
pub fn stop_others() {
    let me = cpu::id();
    (0..cpu::count()).filter(|&other| other != me).filter_map(Local::of).for_each(interrupt::stop);
}

/// What a CPU that starts is given.
struct Start {
    stack: usize,
    fault_stack: usize,
    number: usize,
    local: Local,
    is_up: AtomicBool,
}

/// Starts the CPUs that the device tree names, one after the other.
pub fn start_others() {
    let Some(tree) = start::device_tree() else { return };
    let boot = gic::affinity();
    let mut number = 1;
    tree.find(|node| {
        let is_cpu = node.text("device_type") == Some("cpu") && node.is_enabled();
        let affinity = node.registers().next().map(|(affinity, _)| affinity);
        if let Some(affinity) = affinity.filter(|&affinity| is_cpu && affinity != boot && number < MAX_CPUS)
            && start_one(number, affinity).is_some()
        {
            number += 1;
        }
        None::<()>
    });
}

/// CPUs that the device tree names.
pub fn named() -> usize {
    let mut count = 0;
    if let Some(tree) = start::device_tree() {
        tree.find(|node| {
            count += usize::from(node.text("device_type") == Some("cpu") && node.is_enabled());
            None::<()>
        });
    }
    count.max(1)
}

fn start_one(number: usize, affinity: u64) -> Option<()> {
    let start: &'static Start = Box::leak(Box::new(Start {
        stack: kmap::alloc_stack(crate::task::KERNEL_STACK_SIZE)?,
        fault_stack: kmap::alloc_stack(crate::boot::FAULT_STACK_SIZE)?,
        number,
        local: Local::new(),
        is_up: AtomicBool::new(false),
    }));
    // What `secondary_start` reads with the MMU off: a frame's place is known, a box's is not.
    let frame = Frame::alloc()?;
    let words = [start.stack, first_code as *const () as usize, core::ptr::from_ref(start) as usize];
    words
        .iter()
        .enumerate()
        .for_each(|(index, word)| frame.write(index * size_of::<usize>(), &word.to_le_bytes()));
    super::instructions::clean_line(layout::direct(frame.phys()));
    super::instructions::dsb();
    if !firmware::start_cpu(affinity, start::secondary(), frame.phys()) {
        return None;
    }
    while !start.is_up.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    Some(())
}

/// A started CPU's first code in the kernel's half.
unsafe extern "C" fn first_code(start: &'static Start) -> ! {
    // SAFETY: the first thing that this CPU does here.
    unsafe { start.local.install(start.number) };
    super::trap::init_cpu(&start.local, start.fault_stack, 0);
    super::fpu::init_cpu();
    gic::init_cpu();
    super::timer::init_cpu();
    super::copy::init();
    cpu::COUNT.fetch_add(1, Ordering::SeqCst);
    start.is_up.store(true, Ordering::Release);
    // SAFETY: nothing is reached through the identity map any more; the stack is this CPU's own, and nothing on it is needed.
    unsafe {
        super::page_table::set_no_root();
        crate::task::enter_stack(start.stack, crate::kernel::symbols::coracle_cpu_main)
    }
}
