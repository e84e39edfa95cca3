//! Descriptor tables, and what happens on an exception or interrupt.
use crate::arch::context::{Fault, UserContext};
use crate::arch::instructions::{self, msr};
use crate::arch::interrupt;
use crate::local::Local;
use coracle_interrupts::{Meaning, Place};
use core::arch::asm;

/// Segment selectors. `syscall` and `sysret` fix their order (Intel SDM volume 2, SYSRET).
pub const KERNEL_CODE: u16 = 0x08;
pub const KERNEL_DATA: u16 = 0x10;
pub const USER_DATA: u16 = 0x20 | 3;
pub const USER_CODE: u16 = 0x28 | 3;
const SYSRET_BASE: u16 = 0x18 | 3;
const TSS_SELECTOR: u16 = 0x30;
/// What GS has in unikernel mode. Its descriptor is absent but for the moment in which the kernel loads it, so a program can't:
/// where GS has another selector, a program has loaded it, and has made its base 0 (Intel SDM volume 2, MOV).
pub const UNIKERNEL_GS: u16 = 0x18;

/// Descriptors of data segments of all memory, for the kernel and for programs in ring 3.
const KERNEL_DATA_SEGMENT: u64 = 0x00cf_9300_0000_ffff;
const USER_DATA_SEGMENT: u64 = 0x00cf_f300_0000_ffff;
/// Bytes of a descriptor.
const DESCRIPTOR_SIZE: u16 = 8;

/// Interrupt stacks (IST numbers): exceptions and interrupts, double faults and machine checks, non-maskable interrupts.
const IST_TRAP: u8 = 1;
const IST_DOUBLE_FAULT: u8 = 2;
const IST_NMI: u8 = 3;

/// Vectors in use: exceptions, 64 device interrupts, the local ones.
pub const VECTORS: usize = 112;
/// First vector of devices.
pub const DEVICE_VECTOR: u8 = 0x20;
/// This CPU's timer.
pub const TIMER_VECTOR: u8 = 0x60;
/// Another CPU wakes this one.
pub const KICK_VECTOR: u8 = 0x61;
/// Another CPU waits until this one has dropped its translations.
pub const FLUSH_VECTOR: u8 = 0x62;
/// Another CPU ends the machine.
pub const STOP_VECTOR: u8 = 0x63;
/// The interrupt controller's own (its low four bits must be ones on old ones).
pub const SPURIOUS_VECTOR: u8 = 0x6f;

/// Bytes of the instruction.
const SYSCALL_LENGTH: u64 = 2;

const NMI: usize = 2;
const DEBUG: u64 = 1;
const DOUBLE_FAULT: u64 = 8;
const GENERAL_PROTECTION: u64 = 13;
const PAGE_FAULT: u64 = 14;
const MACHINE_CHECK: u64 = 18;
/// RFLAGS.NT (Intel SDM volume 1, 3.4.3.3).
const FLAG_NESTED_TASK: u64 = 1 << 14;
/// Bits of a page fault's error code (Intel SDM volume 3, 4.7).
const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const INSTRUCTION_FETCH: u64 = 1 << 4;

/// Registers of the kernel where a trap hit it, as `entry.rs` pushes them.
#[repr(C)]
#[derive(Debug)]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

#[repr(C, align(4096))]
struct Idt([[u64; 2]; VECTORS]);

static mut IDT: Idt = Idt([[0; 2]; VECTORS]);

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Fills the interrupt descriptor table and uses it on the boot CPU.
#[cfg(target_os = "none")]
pub fn init() {
    let stubs = &raw const crate::arch::entry::trap_stubs as usize;
    for vector in 0..VECTORS {
        let (handler, stack) = match vector {
            NMI => (crate::arch::entry::nmi_entry as *const () as usize, IST_NMI),
            8 | 18 => (stubs + vector * crate::arch::entry::STUB_SIZE, IST_DOUBLE_FAULT),
            _ => (stubs + vector * crate::arch::entry::STUB_SIZE, IST_TRAP),
        };
        // Programs may raise #BP and #OF by instruction.
        let level: u64 = if vector == 3 || vector == 4 { 3 } else { 0 };
        let handler = handler as u64;
        let gate = handler & 0xffff
            | u64::from(KERNEL_CODE) << 16
            | u64::from(stack) << 32
            | (0x8e00 | level << 13) << 32
            | (handler >> 16 & 0xffff) << 48;
        // SAFETY: the boot CPU alone writes the table, before it is used.
        unsafe { IDT.0[vector] = [gate, handler >> 32] };
    }
    load_idt();
}

fn load_idt() {
    let pointer = TablePointer { limit: core::mem::size_of::<Idt>() as u16 - 1, base: &raw const IDT as u64 };
    // SAFETY: the table is filled and lives for ever.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
}

/// Returns the running CPU its segments and interrupt stacks.
pub fn init_cpu(local: &'static Local, trap_stack: usize, double_fault_stack: usize) {
    // SAFETY: this CPU's own tables; entries are only changed to valid ones.
    unsafe {
        let tss = &mut *local.tables.tss.get();
        let mut ist = [0; 7];
        ist[IST_TRAP as usize - 1] = trap_stack as u64;
        ist[IST_DOUBLE_FAULT as usize - 1] = double_fault_stack as u64;
        ist[IST_NMI as usize - 1] = local.tables.nmi_stack_top() & !15;
        tss.ist = ist;
        let address = local.tables.tss.get() as u64;
        let limit = core::mem::size_of::<super::tables::Tss>() as u64 - 1;
        let low = limit | (address & 0xff_ffff) << 16 | 0x89 << 40 | (address >> 24 & 0xff) << 56;
        *local.tables.gdt.get() = [
            0,
            0x00af_9b00_0000_ffff,
            KERNEL_DATA_SEGMENT,
            // 32-bit code: absent. From there `syscall` would go to CSTAR; `sysret` needs no descriptor.
            0,
            USER_DATA_SEGMENT,
            0x00af_fb00_0000_ffff,
            low,
            address >> 32,
        ];
        let pointer = TablePointer { limit: 63, base: local.tables.gdt.get() as u64 };
        asm!(
            "lgdt [{pointer}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ss, {data:e}",
            "mov ds, {data:e}",
            "mov es, {data:e}",
            "xor {scratch:e}, {scratch:e}",
            "ltr {tss:x}",
            // A reset leaves a table at the address 0, where a program's memory is.
            "lldt {scratch:x}",
            pointer = in(reg) &raw const pointer,
            code = const KERNEL_CODE,
            data = in(reg) u32::from(KERNEL_DATA),
            tss = in(reg) TSS_SELECTOR,
            scratch = out(reg) _,
        );
    }
    load_idt();
    init_syscall(local);
}

/// Sets up the `syscall` instruction for the chosen ring.
#[cfg(target_os = "none")]
pub fn init_syscall(local: &'static Local) {
    use crate::arch::entry;
    use crate::task::{Ring, ring};
    let (system_call, full_exit) = match ring() {
        Ring::Unikernel => {
            (entry::syscall_entry_unikernel as *const (), entry::full_exit_unikernel as *const ())
        }
        Ring::Protected => {
            (entry::syscall_entry_protected as *const (), entry::full_exit_protected as *const ())
        }
    };
    local.full_exit.set(full_exit as usize);
    // Interrupts off, direction forward, no single step, no nested task, no alignment check (SFMASK).
    const CLEARED: u64 = 0x200 | 0x400 | 0x100 | 0x4000 | 0x4_0000;
    // SAFETY: the entry code fits these registers' values.
    unsafe {
        instructions::wrmsr(msr::EFER, instructions::rdmsr(msr::EFER) | instructions::EFER_SCE);
        instructions::wrmsr(msr::STAR, u64::from(SYSRET_BASE) << 48 | u64::from(KERNEL_CODE) << 32);
        instructions::wrmsr(msr::LSTAR, system_call as u64);
        instructions::wrmsr(msr::SFMASK, CLEARED);
        // Without a code segment `sysenter` faults (SDM volume 2, SYSENTER).
        instructions::wrmsr(msr::SYSENTER_CS, 0);
        let mut cr4 = instructions::cr4();
        let features = instructions::cpuid(7, 0);
        if ring() == Ring::Protected {
            for (present, bit) in [
                (features.ebx & 1 << 7, instructions::CR4_SMEP),
                (features.ebx & 1 << 20, instructions::CR4_SMAP),
                (features.ecx & 1 << 2, instructions::CR4_UMIP),
            ] {
                if present != 0 {
                    cr4 |= bit;
                }
            }
        }
        instructions::set_cr4(cr4);
        load_gs(local);
    }
}

/// Loads GS with the base `local`, and with [`UNIKERNEL_GS`] or, in protected mode, the null selector: the way to a program in
/// ring 3 would take another one, of the kernel's, from it.
///
/// # Safety
/// `local` is the running CPU's, and its descriptor table is in use.
#[cfg(target_os = "none")]
unsafe fn load_gs(local: &'static Local) {
    let selector = if crate::task::ring() == crate::task::Ring::Unikernel { UNIKERNEL_GS } else { 0 };
    let descriptor =
        local.tables.gdt.get().cast::<u64>().wrapping_add((UNIKERNEL_GS / DESCRIPTOR_SIZE).into());
    // SAFETY: the descriptor lies in this CPU's own table, which no code uses as a Rust value meanwhile, and nothing is reached
    // through GS before it has its base: interrupts are off.
    unsafe {
        descriptor.write_volatile(KERNEL_DATA_SEGMENT);
        asm!("mov gs, {:e}", in(reg) u32::from(selector), options(nostack, preserves_flags));
        descriptor.write_volatile(0);
        instructions::wrmsr(msr::GS_BASE, core::ptr::from_ref(local) as u64);
    }
}

/// Whether a program in ring 0 has loaded GS, with a null selector for one, and so has taken its base from the kernel.
#[cfg(target_os = "none")]
fn is_gs_lost() -> bool {
    let selector: u32;
    // SAFETY: reads a register.
    unsafe { asm!("mov {:e}, gs", out(reg) selector, options(nomem, nostack, preserves_flags)) };
    selector != u32::from(UNIKERNEL_GS) && crate::task::ring() == crate::task::Ring::Unikernel
}

/// Returns GS back to the kernel, on the interrupt stack that has the address `on_stack`: by that the CPU is known.
#[cfg(target_os = "none")]
pub extern "C" fn restore_gs(on_stack: usize) {
    let owner = (0..crate::percpu::MAX_CPUS).filter_map(Local::of).find(|local| {
        // SAFETY: no table is changed after the start of its CPU, and CPUs start before programs run.
        let top = unsafe { (*local.tables.tss.get()).ist }[IST_TRAP as usize - 1] as usize;
        (top.saturating_sub(crate::boot::FAULT_STACK_SIZE)..top).contains(&on_stack)
    });
    if let Some(local) = owner {
        // SAFETY: the CPU whose interrupt stack is in use is the running one.
        unsafe { load_gs(local) };
    }
}

/// Nothing to set up where there is no machine.
#[cfg(not(target_os = "none"))]
pub fn init_syscall(_: &'static Local) {}

/// What an exception of the program means.
fn program_fault(vector: u64, error: u64, address: usize) -> Fault {
    match vector {
        0 => Fault::DivideError,
        1 => Fault::Debug,
        3 => Fault::Breakpoint,
        4 => Fault::Overflow,
        5 => Fault::Bound,
        6 => Fault::InvalidOpcode,
        12 => Fault::StackSegment { code: error },
        13 => Fault::GeneralProtection { code: error },
        PAGE_FAULT => Fault::Page {
            addr: address,
            write: error & WRITE != 0,
            exec: error & INSTRUCTION_FETCH != 0,
            present: error & PRESENT != 0,
        },
        16 => {
            let status: u16;
            // SAFETY: reads the FPU's status, which is the program's; waiting exceptions are not raised by fnstsw.
            unsafe { asm!("fnstsw ax", out("ax") status, options(nomem, nostack)) };
            Fault::X87 { status }
        }
        17 => Fault::AlignmentCheck,
        19 => {
            let mut mxcsr = 0u32;
            // SAFETY: stores the program's register to a local.
            unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack)) };
            Fault::Simd { mxcsr }
        }
        _ => Fault::Other { vector: vector as u8, code: error },
    }
}

/// An exception or interrupt hit the program; its registers are in `context`.
#[cfg(target_os = "none")]
pub unsafe extern "C" fn trap_program(slot: *const (), context: *mut UserContext, vector: u64, error: u64) {
    use crate::kernel::symbols;
    if vector >= u64::from(DEVICE_VECTOR) {
        interrupt::handle(vector as u8);
        if vector != u64::from(FLUSH_VECTOR) {
            // SAFETY: the entry code gives the running thread's slot and context.
            unsafe { symbols::coracle_interrupted(slot, context) };
        }
        return;
    }
    if vector == DOUBLE_FAULT || vector == MACHINE_CHECK {
        // SAFETY: as above; printed only.
        let UserContext { rip, rsp, .. } = unsafe { *context };
        panic!("exception {vector} in the program at {rip:#x}, its stack at {rsp:#x}");
    }
    let fault = program_fault(vector, error, instructions::cr2() as usize);
    // SAFETY: as above.
    unsafe { symbols::coracle_fault(slot, context, (&raw const fault).cast()) };
}

/// The kernel wants the program to go on at an address that is not in the lower half.
#[cfg(target_os = "none")]
pub unsafe extern "C" fn bad_address(slot: *const (), context: *mut UserContext) {
    // SAFETY: the entry code gives the running thread's context.
    let rip = unsafe { (*context).rip };
    let fault = if is_canonical(rip) {
        Fault::Page { addr: rip as usize, write: false, exec: true, present: true }
    } else {
        Fault::GeneralProtection { code: 0 }
    };
    // SAFETY: as above, and the thread's slot.
    unsafe { crate::kernel::symbols::coracle_fault(slot, context, (&raw const fault).cast()) };
}

/// An interrupt hit the idle loop where it waits, or the window of a long system call.
#[cfg(target_os = "none")]
pub extern "C" fn interrupt_wait(vector: u64) {
    interrupt::handle(vector as u8);
}

/// An exception hit the kernel, or an interrupt did where kernel code does not wait for one. True: it was where the kernel is
/// entered or left with interrupts on, and the frame now looks as if the program had been hit.
#[cfg(target_os = "none")]
pub unsafe extern "C" fn trap_kernel(frame: &mut TrapFrame) -> bool {
    let is_interrupt = frame.vector >= u64::from(DEVICE_VECTOR);
    if is_gs_lost() {
        restore_gs(core::ptr::from_ref(frame) as usize);
        if frame.vector == PAGE_FAULT && !is_gs_lost() {
            // By an entry's access to what the CPU keeps for itself, which is made again.
            return false;
        }
    }
    let place = crate::arch::entry::interruptible(frame.rip);
    match place.map(Place::meaning) {
        Some(Meaning::ProgramBeforeCall) => {
            // Nothing has changed but rcx and rax, which are as the `syscall` instruction before the return address wants
            // them.
            frame.rip = frame.rcx - SYSCALL_LENGTH;
            return true;
        }
        Some(Meaning::ProgramAfterCall) => {
            if place == Some(Place::ExitStack) {
                // SAFETY: the instruction that would run next loads it from there: the context at the stack pointer.
                frame.rsp = unsafe { (*(frame.rsp as *const UserContext)).rsp };
            }
            frame.rip = frame.rcx;
            return true;
        }
        // Its mark could be forgotten, since the interrupted code may have looked for marks already.
        None if is_interrupt => {
            assert!(
                can_go_on(frame),
                "interrupt {:#x} in the kernel at {:#x}, where interrupts are off",
                frame.vector,
                frame.rip
            );
            interrupt::put_off(frame.vector as u8);
            return false;
        }
        _ => {}
    }
    if frame.vector == DEBUG && super::breakpoint::note_kernel_hit() {
        return false;
    }
    if is_wild_jump(frame) {
        return true;
    }
    if frame.vector == GENERAL_PROTECTION && frame.rflags & FLAG_NESTED_TASK != 0 {
        // `iretq` refuses to return from a nested task, and a patched call leaves the program's flag as it was. Whatever
        // else has faulted will fault again, without the flag.
        frame.rflags &= !FLAG_NESTED_TASK;
        return false;
    }
    if frame.vector == PAGE_FAULT
        && let Some(target) = crate::user::fixup(frame.rip as usize)
    {
        frame.rip = target as u64;
        frame.rdx = instructions::cr2();
        return false;
    }
    kernel_fault(frame)
}

/// Whether kernel code that was interrupted with interrupts off can go on: not if the CPU had still the GS base of a program,
/// or had on the interrupt stack what this interrupt has overwritten.
#[cfg(target_os = "none")]
fn can_go_on(frame: &TrapFrame) -> bool {
    // SAFETY: every 64-bit CPU has the register.
    let gs_base = unsafe { instructions::rdmsr(msr::GS_BASE) };
    if (gs_base as i64) >= 0 {
        return false;
    }
    // SAFETY: this CPU's own table, which is not changed after its start.
    let top = unsafe { (*Local::get().tables.tss.get()).ist }[IST_TRAP as usize - 1];
    !(top - crate::boot::FAULT_STACK_SIZE as u64..=top).contains(&frame.rsp)
}

/// Whether an address is the sign extension of its low 48 bits.
#[cfg(target_os = "none")]
fn is_canonical(addr: u64) -> bool {
    ((addr << 16) as i64 >> 16) as u64 == addr
}

/// True if a program in ring 0 has jumped to where it cannot execute in the kernel's half, or to what is no address (some
/// CPUs fault before that jump, others after it). It still has its own stack, on which no instruction is fetched from the
/// kernel but those of the entries.
#[cfg(target_os = "none")]
fn is_wild_jump(frame: &TrapFrame) -> bool {
    let cannot_fetch = match frame.vector {
        PAGE_FAULT => frame.error & INSTRUCTION_FETCH != 0,
        GENERAL_PROTECTION => !is_canonical(frame.rip),
        _ => false,
    };
    cannot_fetch && (frame.rsp as i64) >= 0 && crate::task::ring() == crate::task::Ring::Unikernel
}

/// Reports an exception in the kernel itself.
fn kernel_fault(frame: &TrapFrame) -> ! {
    let address = instructions::cr2() as usize;
    let f = frame;
    let what = match f.vector {
        DOUBLE_FAULT if crate::mm::stack::is_around(f.rsp as usize) => "kernel stack overflow",
        DOUBLE_FAULT => "double fault",
        PAGE_FAULT if f.error & INSTRUCTION_FETCH != 0 => "execution of data",
        PAGE_FAULT if f.error & PRESENT == 0 && crate::mm::stack::is_around(address) => {
            "kernel stack overflow"
        }
        PAGE_FAULT => "page fault",
        GENERAL_PROTECTION => "general protection fault",
        6 => "invalid instruction",
        MACHINE_CHECK => "machine check",
        _ => "exception",
    };
    panic!(
        "{what} in the kernel (vector {}, error {:#x}, address {address:#x})\n\
         rip {:016x} rsp {:016x} rflags {:08x} cs {:x}\n\
         rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}\n\
         rsi {:016x} rdi {:016x} rbp {:016x} r8  {:016x}\n\
         r9  {:016x} r10 {:016x} r11 {:016x} r12 {:016x}\n\
         r13 {:016x} r14 {:016x} r15 {:016x}",
        f.vector,
        f.error,
        f.rip,
        f.rsp,
        f.rflags,
        f.cs,
        f.rax,
        f.rbx,
        f.rcx,
        f.rdx,
        f.rsi,
        f.rdi,
        f.rbp,
        f.r8,
        f.r9,
        f.r10,
        f.r11,
        f.r12,
        f.r13,
        f.r14,
        f.r15
    );
}
