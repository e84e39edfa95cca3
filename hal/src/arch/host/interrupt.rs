//! Interrupts: marks of a CPU, which its thread looks at where a real CPU would be interrupted.
use crate::irq;
use crate::local::Local;

/// No device of this machine interrupts.
pub fn message(_number: u32, _cpu: usize) -> Option<irq::MsiMessage> {
    None
}

/// There are no lines.
pub fn route(_gsi: u32, _number: u32, _cpu: usize, _trigger: irq::Trigger) -> Option<()> {
    None
}

/// There are no lines.
pub fn unmask(_number: u32) {}

/// Interrupts a CPU, so that it leaves its idle wait or its program. The mark is `Local::kicked`.
pub fn kick(local: &Local) {
    crate::host::cpus::interrupt(local.id.get());
}

/// Interrupts a CPU, so that it looks at what shoot-downs ask of it. The mark is `Local::flush_asked`.
pub fn ask_to_flush(local: &Local) {
    crate::host::cpus::interrupt(local.id.get());
}

/// The end of an interrupt costs nothing here.
pub fn ends_in_memory() -> bool {
    true
}

/// None.
pub fn came_early() -> u64 {
    0
}
