//! PSCI (Arm DEN0022, Power State Coordination Interface): the firmware starts CPUs and switches the machine off. Under KVM, what answers such
//! calls tells the host's clock as well (Linux's Documentation/virt/kvm/arm/ptp_kvm.rst).
use crate::once::Once;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

/// Functions, by the 64-bit calling convention where they have one (DEN0022, 5.1).
const SYSTEM_OFF: u64 = 0x8400_0008;
const SYSTEM_RESET: u64 = 0x8400_0009;
const CPU_ON: u64 = 0xc400_0003;

/// PSCI 1.0: whether a function is there; and SMCCC's version (Arm DEN0028), which has further services from 1.1 on.
const PSCI_FEATURES: u64 = 0x8400_000a;
const SMCCC_VERSION: u64 = 0x8000_0000;
const SMCCC_1_1: i32 = 0x1_0001;
/// Services of the hypervisor: whose they are, which there are, and the pair of clocks, by the counter that is named.
const HYPERVISOR_UID: u64 = 0x8600_ff01;
const HYPERVISOR_FEATURES: u64 = 0x8600_0000;
const PTP: u64 = 0x8600_0001;
const VIRTUAL_COUNTER: u64 = 0;
/// KVM's identity, 28b46fb6-2ec5-11e9-a9ca-4b564d003a74, in four registers; and the bit of [`PTP`] among its features.
const KVM_UID: [u32; 4] = [0xb66f_b428, 0xe911_c52e, 0x564b_caa9, 0x743a_004d];
const HAS_PTP: u64 = 1 << (PTP - HYPERVISOR_FEATURES);

/// Whether the firmware is called by `smc`, else by `hvc`: the device tree's "method".
static BY_SMC: AtomicBool = AtomicBool::new(false);
/// Whether it has [`PSCI_FEATURES`].
static HAS_FEATURES: AtomicBool = AtomicBool::new(false);

/// Reads from the device tree how the firmware is called.
pub fn init() {
    let tree = super::start::device_tree();
    let node = tree.and_then(|tree| tree.compatible(&["arm,psci-1.0", "arm,psci-0.2"]));
    HAS_FEATURES
        .store(node.as_ref().is_some_and(|node| node.is_compatible("arm,psci-1.0")), Ordering::Relaxed);
    let method = node.as_ref().and_then(|node| node.text("method"));
    BY_SMC.store(method == Some("smc"), Ordering::Relaxed);
}

/// Calls the firmware; returns its four results.
fn call_for_all(function: u64, arguments: [u64; 3]) -> [u64; 4] {
    let [mut x0, mut x1, mut x2, mut x3] = [function, arguments[0], arguments[1], arguments[2]];
    // SAFETY: SMC Calling Convention (DEN0028): x0 to x17 may change, memory does not.
    unsafe {
        if BY_SMC.load(Ordering::Relaxed) {
            asm!("smc #0", inout("x0") x0, inout("x1") x1, inout("x2") x2, inout("x3") x3,
                clobber_abi("C"), options(nostack));
        } else {
            asm!("hvc #0", inout("x0") x0, inout("x1") x1, inout("x2") x2, inout("x3") x3,
                clobber_abi("C"), options(nostack));
        }
    }
    [x0, x1, x2, x3]
}

/// Calls the firmware.
fn call(function: u64, arguments: [u64; 3]) -> i64 {
    call_for_all(function, arguments)[0] as i64
}

/// The host's clock in nanoseconds since 1970, and the virtual counter at that moment; `None` where no KVM tells it.
pub fn host_clock() -> Option<(u64, u64)> {
    static HAS_CLOCK: Once<bool> = Once::new();
    // Asked one by one: a firmware that knows less than a question asks for may take it for an undefined instruction.
    let has_clock = HAS_CLOCK.call_once(|| {
        HAS_FEATURES.load(Ordering::Relaxed)
            && call(PSCI_FEATURES, [SMCCC_VERSION, 0, 0]) as i32 >= 0
            && call(SMCCC_VERSION, [0; 3]) as i32 >= SMCCC_1_1
            && call_for_all(HYPERVISOR_UID, [0; 3]).map(|word| word as u32) == KVM_UID
            && call_for_all(HYPERVISOR_FEATURES, [0; 3])[0] & HAS_PTP != 0
    });
    if !has_clock {
        return None;
    }
    let [high, low, counter_high, counter_low] =
        call_for_all(PTP, [VIRTUAL_COUNTER, 0, 0]).map(|word| word & 0xffff_ffff);
    // An error is negative, as a number of 32 bits.
    (high as i32 >= 0).then_some((high << 32 | low, counter_high << 32 | counter_low))
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
