//! What the CPU itself reads of its own data: the descriptor table, the task-state segment, and a stack that the latter names.
use core::cell::UnsafeCell;

/// Bytes of a CPU's stack for non-maskable interrupts, whose handler only returns.
const NMI_STACK_SIZE: usize = 256;
/// Descriptors in the table; that of the task-state segment takes two.
const DESCRIPTORS: usize = 8;

/// One CPU's tables.
pub struct Tables {
    pub gdt: UnsafeCell<[u64; DESCRIPTORS]>,
    pub tss: UnsafeCell<Tss>,
    nmi_stack: UnsafeCell<[u8; NMI_STACK_SIZE]>,
}

/// The 64-bit task-state segment (Intel SDM volume 3, 8.7). The fields are packed by the hardware.
#[repr(C, packed(4))]
pub struct Tss {
    reserved0: u32,
    pub rsp: [u64; 3],
    reserved1: u64,
    /// Interrupt stacks 1 to 7.
    pub ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    pub io_map: u16,
}

impl Tables {
    /// Where the task-state segment is in it.
    pub const TASK_STATE: usize = core::mem::offset_of!(Tables, tss);

    /// Tables that are still to be filled in.
    pub const fn new() -> Tables {
        Tables {
            gdt: UnsafeCell::new([0; DESCRIPTORS]),
            tss: UnsafeCell::new(Tss {
                reserved0: 0,
                rsp: [0; 3],
                reserved1: 0,
                ist: [0; 7],
                reserved2: 0,
                reserved3: 0,
                io_map: core::mem::size_of::<Tss>() as u16,
            }),
            nmi_stack: UnsafeCell::new([0; NMI_STACK_SIZE]),
        }
    }

    /// Top of the stack for non-maskable interrupts.
    pub fn nmi_stack_top(&self) -> u64 {
        self.nmi_stack.get() as u64 + NMI_STACK_SIZE as u64
    }
}
