//! What happens on an exception or interrupt (Arm ARM, D1.3 and D19.2.37: ESR_EL1).
use super::context::{Fault, UserContext};
use super::instructions::write;
use super::{entry, interrupt};
use crate::kernel::symbols;
use crate::local::Local;

/// Classes of exceptions.
pub const SVC: u64 = 0x15;
const UNKNOWN: u64 = 0x00;
const FP_ACCESS: u64 = 0x07;
const ILLEGAL_STATE: u64 = 0x0e;
const SYSTEM_INSTRUCTION: u64 = 0x18;
const INSTRUCTION_ABORT: [u64; 2] = [0x20, 0x21];
const PC_ALIGNMENT: u64 = 0x22;
const DATA_ABORT: [u64; 2] = [0x24, 0x25];
const SP_ALIGNMENT: u64 = 0x26;
const FP_EXCEPTION: u64 = 0x2c;
const SINGLE_STEP: [u64; 2] = [0x32, 0x33];
const BRK: u64 = 0x3c;

/// An abort was by a write; which kind of abort: its status code without the level.
const WRITE: u64 = 1 << 6;
const STATUS: u64 = 0x3f;
const ALIGNMENT: u64 = 0x21;
const PERMISSION: u64 = 0b0011;
const ACCESS_FLAG: u64 = 0b0010;

/// Registers of the kernel where a trap hit it, as `entry` stores them.
#[repr(C)]
#[derive(Debug)]
pub struct TrapFrame {
    pub x: [u64; 31],
    pub sp: u64,
    pub pc: u64,
    pub pstate: u64,
}

/// Nothing is shared by CPUs.
pub fn init() {}

/// Uses the vectors on the running CPU. `fault_stack`: top of its stack for faults of the kernel.
pub fn init_cpu(local: &'static Local, fault_stack: usize, _: usize) {
    local.tables.fault_stack.set(fault_stack & !15);
    let vectors = &raw const entry::coracle_vectors as u64;
    // SAFETY: the table lives for ever.
    unsafe { write!("vbar_el1", vectors) };
    super::instructions::isb();
}

/// Both rings enter by the same vectors.
pub fn init_syscall(_: &'static Local) {}

/// What an exception of the program means.
fn program_fault(syndrome: u64, address: u64) -> Fault {
    let class = syndrome >> 26;
    match class {
        UNKNOWN | FP_ACCESS | ILLEGAL_STATE | SYSTEM_INSTRUCTION => Fault::IllegalInstruction,
        PC_ALIGNMENT => Fault::Alignment { addr: address as usize },
        SP_ALIGNMENT => Fault::Alignment { addr: address as usize },
        FP_EXCEPTION => Fault::FloatingPoint { status: syndrome as u32 & 0x9f },
        BRK => Fault::Breakpoint { number: syndrome as u16 },
        _ if SINGLE_STEP.contains(&class) => Fault::SingleStep,
        _ if DATA_ABORT.contains(&class) && syndrome & STATUS == ALIGNMENT => {
            Fault::Alignment { addr: address as usize }
        }
        _ if DATA_ABORT.contains(&class) || INSTRUCTION_ABORT.contains(&class) => {
            let kind = (syndrome & STATUS) >> 2;
            let exec = INSTRUCTION_ABORT.contains(&class);
            Fault::Page {
                addr: address as usize,
                write: !exec && syndrome & WRITE != 0,
                exec,
                present: kind == PERMISSION || kind == ACCESS_FLAG,
            }
        }
        _ => Fault::Other { class: class as u8, syndrome: syndrome as u32 },
    }
}

/// An exception of the program, other than a system call; its registers are in `context`.
pub unsafe extern "C" fn trap_program(
    slot: *const (),
    context: *mut UserContext,
    syndrome: u64,
    address: u64,
) {
    let fault = program_fault(syndrome, address);
    // SAFETY: the entry code gives the running thread's slot and context.
    unsafe { symbols::coracle_fault(slot, context, (&raw const fault).cast()) };
}

/// An interrupt arrived while the program ran; its registers are in `context`.
pub unsafe extern "C" fn interrupt_program(slot: *const (), context: *mut UserContext) {
    if interrupt::take().other {
        // SAFETY: as above.
        unsafe { symbols::coracle_interrupted(slot, context) };
    }
}

/// The machine reports an error of memory or a bus, which can't be assigned to anything.
pub unsafe extern "C" fn error(syndrome: u64, context: *const UserContext) -> ! {
    // SAFETY: the entry code gives the running thread's context; printed only.
    let UserContext { pc, sp, .. } = unsafe { *context };
    panic!("the machine reports an error ({syndrome:#x}) in the program at {pc:#x}, its stack at {sp:#x}");
}

/// An exception of the kernel. Returns if it was in a copy of a program's memory, which then reports it.
pub unsafe extern "C" fn trap_kernel(frame: &mut TrapFrame, syndrome: u64, address: u64) {
    if DATA_ABORT.contains(&(syndrome >> 26))
        && let Some(target) = crate::user::fixup(frame.pc as usize)
    {
        frame.pc = target as u64;
        frame.x[1] = address;
        return;
    }
    kernel_fault(frame, syndrome, address)
}

fn kernel_fault(frame: &TrapFrame, syndrome: u64, address: u64) -> ! {
    let class = syndrome >> 26;
    let what = match class {
        _ if DATA_ABORT.contains(&class) && crate::mm::stack::is_around(address as usize) => {
            "kernel stack overflow"
        }
        _ if DATA_ABORT.contains(&class) => "page fault",
        _ if INSTRUCTION_ABORT.contains(&class) => "execution of data",
        UNKNOWN => "invalid instruction",
        _ => "exception",
    };
    let x = &frame.x;
    panic!(
        "{what} in the kernel (syndrome {syndrome:#x}, address {address:#x})\n\
         pc  {:016x} sp  {:016x} pstate {:08x}\n\
         x0  {:016x} x1  {:016x} x2  {:016x} x3  {:016x}\n\
         x4  {:016x} x5  {:016x} x6  {:016x} x7  {:016x}\n\
         x8  {:016x} x9  {:016x} x10 {:016x} x11 {:016x}\n\
         x19 {:016x} x20 {:016x} x21 {:016x} x22 {:016x}\n\
         x29 {:016x} x30 {:016x}",
        frame.pc,
        frame.sp,
        frame.pstate,
        x[0],
        x[1],
        x[2],
        x[3],
        x[4],
        x[5],
        x[6],
        x[7],
        x[8],
        x[9],
        x[10],
        x[11],
        x[19],
        x[20],
        x[21],
        x[22],
        x[29],
        x[30],
    );
}
