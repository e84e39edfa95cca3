//! PSCI (Arm DEN0022, Power State Coordination Interface): the firmware starts CPUs and switches the machine off.
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

/// Functions, by the 64-bit calling convention where they have one (DEN0022, 5.1).
const SYSTEM_OFF: u64 = 0x8400_0008;
const SYSTEM_RESET: u64 = 0x8400_0009;
const CPU_ON: u64 = 0xc400_0003;

/// Whether the firmware is called by `smc`, else by `hvc`: the device tree's "method".
static BY_SMC: AtomicBool = AtomicBool::new(false);

/// Reads from the device tree how the firmware is called.
pub fn init() {
    let tree = super::start::device_tree();
    let node = tree.and_then(|tree| tree.compatible(&["arm,psci-1.0", "arm,psci-0.2"]));
    let method = node.and_then(|node| node.text("method"));
    BY_SMC.store(method == Some("smc"), Ordering::Relaxed);
}

/// Calls the firmware.
fn call(function: u64, arguments: [u64; 3]) -> i64 {
    let [mut x0, x1, x2, x3] = [function, arguments[0], arguments[1], arguments[2]];
    // SAFETY: SMC Calling Convention (DEN0028): x0 to x17 may change, memory does not.
    unsafe {
        if BY_SMC.load(Ordering::Relaxed) {
            asm!("smc #0", inout("x0") x0, inout("x1") x1 => _, inout("x2") x2 => _, inout("x3") x3 => _,
                clobber_abi("C"), options(nostack));
        } else {
            asm!("hvc #0", inout("x0") x0, inout("x1") x1 => _, inout("x2") x2 => _, inout("x3") x3 => _,
                clobber_abi("C"), options(nostack));
        }
    }
    x0 as i64
}

/// Starts a CPU at the physical address `entry`, with `context` in x0. True if it will run.
pub fn start_cpu(affinity: u64, entry: u64, context: u64) -> bool {
    call(CPU_ON, [affinity, entry, context]) == 0
}

/// Switches the machine off. Returns if there is no such firmware.
pub fn power_off() {
    call(SYSTEM_OFF, [0; 3]);
}

/// Resets the machine. Returns if there is no such firmware.
pub fn reset() {
    call(SYSTEM_RESET, [0; 3]);
}
