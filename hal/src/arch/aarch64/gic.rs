//! The Generic Interrupt Controller, version 2 (Arm IHI 0048) and version 3 (IHI 0069): a distributor for all CPUs, and an
//! interface for each: registers in memory in version 2, system registers in version 3.
use super::instructions::{isb, read, write};
use crate::io::mmio::Mmio;
use crate::irq::Trigger;
use crate::local::Local;
use crate::machine::device_tree::Node;

/// Registers of the distributor (IHI 0069, 12.9).
mod distributor {
    pub const CONTROL: usize = 0;
    pub const GROUP: usize = 0x80;
    pub const SET_ENABLE: usize = 0x100;
    pub const CLEAR_ENABLE: usize = 0x180;
    pub const PRIORITY: usize = 0x400;
    pub const TARGETS: usize = 0x800;
    pub const CONFIGURATION: usize = 0xc00;
    pub const SOFTWARE_GENERATED: usize = 0xf00;
    pub const ROUTES: usize = 0x6000;
}
/// Registers of version 2's interface (IHI 0048, 4.4).
mod interface {
    pub const CONTROL: usize = 0;
    pub const PRIORITY_MASK: usize = 4;
    pub const ACKNOWLEDGE: usize = 0xc;
    pub const END: usize = 0x10;
}
/// Offsets within a redistributor (IHI 0069, 12.10 and 12.11): the type, waking it, and the frame of private interrupts.
mod redistributor {
    pub const TYPE: usize = 8;
    pub const WAKER: usize = 0x14;
    pub const PRIVATE: usize = 0x1_0000;
    pub const SIZE: usize = 0x2_0000;
}

/// The timer's private interrupt (Arm's Base System Architecture, 4.1.7: INTID 27 is the virtual timer).
pub const TIMER: u32 = 27;
/// Interrupts that software generates: those below.
const SOFTWARE_GENERATED: u32 = 16;
/// First interrupt that CPUs share.
const FIRST_SHARED: u32 = 32;
/// First number that means none.
const FIRST_SPECIAL: u32 = 1020;
/// All that is enabled has this priority; the CPUs' mask lets it through.
const PRIORITY: u8 = 0x80;
const PRIORITY_MASK: u32 = 0xff;

enum Version {
    /// The interface, the same address for each CPU.
    Two { interface: Mmio },
    /// The redistributors' place and size.
    Three { redistributors: (u64, u64) },
}

struct Gic {
    distributor: Mmio,
    version: Version,
}

static GIC: spin::Once<Gic> = spin::Once::new();

fn gic() -> &'static Gic {
    GIC.get().expect("interrupts are set up")
}

/// Finds the controller, and enables it on the boot CPU.
pub fn init() {
    const TWO: [&str; 3] = ["arm,cortex-a15-gic", "arm,gic-400", "arm,cortex-a7-gic"];
    let find = || {
        let tree = super::start::device_tree()?;
        let (node, is_three) = match tree.compatible(&["arm,gic-v3"]) {
            Some(node) => (node, true),
            None => (tree.compatible(&TWO)?, false),
        };
        let mut registers = node.registers();
        let (distributor, second) = (registers.next()?, registers.next()?);
        let map = |(address, size): (u64, u64)| Mmio::map(address, size as usize);
        let version = if is_three {
            Version::Three { redistributors: second }
        } else {
            Version::Two { interface: map(second)? }
        };
        Some(Gic { distributor: map(distributor)?, version })
    };
    let found = find().expect("an interrupt controller: the device tree has no GIC of version 2 or 3");
    let gic = GIC.call_once(|| found);
    const ENABLE_GROUPS_WITH_AFFINITY: u32 = 1 << 4 | 0b11;
    let control = if matches!(gic.version, Version::Three { .. }) { ENABLE_GROUPS_WITH_AFFINITY } else { 1 };
    gic.distributor.write32(distributor::CONTROL, control);
    init_cpu();
}

/// Enables the controller's part of the running CPU.
pub fn init_cpu() {
    let gic = gic();
    match &gic.version {
        Version::Two { interface } => {
            enable(&gic.distributor, 0, TIMER);
            interface.write32(interface::PRIORITY_MASK, PRIORITY_MASK);
            interface.write32(interface::CONTROL, 1);
            // Which bit this CPU has in masks of targets (IHI 0048, 4.3.12): its own private interrupts have it.
            Local::get().apic_id.set(gic.distributor.read32(distributor::TARGETS) & 0xff);
        }
        Version::Three { redistributors } => {
            const SLEEPS: u32 = 1 << 1;
            const CHILDREN_ASLEEP: u32 = 1 << 2;
            let private = redistributor(*redistributors);
            if let Some(own) = &private {
                own.write32(redistributor::WAKER, own.read32(redistributor::WAKER) & !SLEEPS);
                while own.read32(redistributor::WAKER) & CHILDREN_ASLEEP != 0 {
                    core::hint::spin_loop();
                }
                own.write32(redistributor::PRIVATE + distributor::GROUP, u32::MAX);
                // In version 2 those that software generates are always enabled.
                (0..SOFTWARE_GENERATED).for_each(|number| enable(own, redistributor::PRIVATE, number));
                enable(own, redistributor::PRIVATE, TIMER);
            }
            // SAFETY: ICC_SRE_EL1, ICC_PMR_EL1, ICC_IGRPEN1_EL1 (IHI 0069, 12.2): interrupts have handlers.
            unsafe {
                write!("s3_0_c12_c12_5", read!("s3_0_c12_c12_5") | 1);
                isb();
                write!("s3_0_c4_c6_0", u64::from(PRIORITY_MASK));
                write!("s3_0_c12_c12_7", 1u64);
            }
            isb();
            Local::get().apic_id.set(affinity() as u32);
        }
    }
}

/// The running CPU's affinity: levels 0 to 2 of MPIDR_EL1 in the low bits.
pub fn affinity() -> u64 {
    read!("mpidr_el1") & 0xff_ffff
}

/// The running CPU's redistributor.
fn redistributor((start, size): (u64, u64)) -> Option<Mmio> {
    let mut at = start;
    while at < start + size {
        let frame = Mmio::map(at, redistributor::SIZE)?;
        let (low, high) = (frame.read32(redistributor::TYPE), frame.read32(redistributor::TYPE + 4));
        if u64::from(high) & 0xff_ffff == affinity() {
            return Some(frame);
        }
        const LAST: u32 = 1 << 4;
        if low & LAST != 0 {
            return None;
        }
        at += redistributor::SIZE as u64;
    }
    None
}

/// Gives an interrupt its priority and enables it.
fn enable(registers: &Mmio, base: usize, interrupt: u32) {
    registers.write8(base + distributor::PRIORITY + interrupt as usize, PRIORITY);
    registers.write32(base + distributor::SET_ENABLE + interrupt as usize / 32 * 4, 1 << (interrupt % 32));
}

/// Has the shared interrupt `line` interrupt a CPU.
pub fn route(line: u32, cpu: &Local, trigger: Trigger) -> Option<()> {
    if !(FIRST_SHARED..FIRST_SPECIAL).contains(&line) {
        return None;
    }
    let gic = gic();
    let target = cpu.apic_id.get();
    let at = distributor::CONFIGURATION + line as usize / 16 * 4;
    let edge = 0b10 << (line % 16 * 2);
    let others = gic.distributor.read32(at) & !edge;
    gic.distributor.write32(at, if trigger == Trigger::Edge { others | edge } else { others });
    match gic.version {
        Version::Two { .. } => gic.distributor.write8(distributor::TARGETS + line as usize, target as u8),
        Version::Three { .. } => {
            let group = distributor::GROUP + line as usize / 32 * 4;
            gic.distributor.write32(group, gic.distributor.read32(group) | 1 << (line % 32));
            let route = distributor::ROUTES + 8 * line as usize;
            gic.distributor.write32(route, target);
            gic.distributor.write32(route + 4, 0);
        }
    }
    enable(&gic.distributor, 0, line);
    Some(())
}

/// Keeps a shared interrupt from CPUs. It is done before the caller's next access to memory.
pub fn mask(line: u32) {
    gic().distributor.write32(distributor::CLEAR_ENABLE + line as usize / 32 * 4, 1 << (line % 32));
    super::instructions::dsb();
}

/// Lets a shared interrupt through again.
pub fn unmask(line: u32) {
    gic().distributor.write32(distributor::SET_ENABLE + line as usize / 32 * 4, 1 << (line % 32));
}

/// Interrupts another CPU with the software-generated interrupt `number`, below 16.
pub fn send(cpu: &Local, number: u32) {
    super::instructions::dsb();
    let target = cpu.apic_id.get();
    match gic().version {
        Version::Two { .. } => {
            gic().distributor.write32(distributor::SOFTWARE_GENERATED, (target & 0xff) << 16 | number)
        }
        Version::Three { .. } => {
            let target = u64::from(target);
            let (aff2, aff1, aff0) = (target >> 16 & 0xff, target >> 8 & 0xff, target & 0xff);
            let value =
                aff2 << 32 | u64::from(number) << 24 | aff1 << 16 | (aff0 / 16) << 44 | 1 << (aff0 % 16);
            // SAFETY: ICC_SGI1R_EL1: interrupts have handlers.
            unsafe { write!("s3_0_c12_c11_5", value) };
            isb();
        }
    }
}

/// Takes the interrupt that waits for this CPU: what [`end`] wants, and its number. `None` if there is none.
pub fn acknowledge() -> Option<(u32, u32)> {
    let value = match &gic().version {
        Version::Two { interface } => interface.read32(interface::ACKNOWLEDGE),
        // ICC_IAR1_EL1
        Version::Three { .. } => read!("s3_0_c12_c12_0") as u32,
    };
    let number = value & 0x3ff;
    (number < FIRST_SPECIAL).then_some((value, number))
}

/// Ends the handling of an interrupt.
pub fn end(acknowledged: u32) {
    match &gic().version {
        Version::Two { interface } => interface.write32(interface::END, acknowledged),
        // SAFETY: ICC_EOIR1_EL1, with what was acknowledged.
        Version::Three { .. } => unsafe { write!("s3_0_c12_c12_1", u64::from(acknowledged)) },
    }
}

/// The interrupt of a device by its node.
pub fn line_of(node: &Node) -> Option<u32> {
    line(node.word("interrupts", 0)?, node.word("interrupts", 1)?)
}

/// The shared interrupt that a device tree names (Linux's bindings of arm,gic: kind, number, flags).
pub fn line(kind: u32, number: u32) -> Option<u32> {
    const SHARED: u32 = 0;
    (kind == SHARED).then(|| number.checked_add(FIRST_SHARED))?
}
