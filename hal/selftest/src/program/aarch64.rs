//! Programs for aarch64. x0: argument, x1: a data page.
use coracle_hal as hal;
use core::arch::global_asm;
use hal::context::{Fault, UserContext};

global_asm!(
    r#"
    .section .rodata.programs, "a"
    .balign 4096
program_start:

program_registers:
    .irp n, 1,2,3,4,5,6,7,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
    mov x\n, \n
    .endr
    mov x0, 50
    mov x8, 0
    svc 0
    cmp x0, 7
    b.ne 9f
    mov x0, 0
    .irp n, 1,2,3,4,5,6,7,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30
    add x0, x0, x\n
    .endr
    cmp x0, 457
    cset x0, eq
    mov x1, 0
    mov x8, 1
    svc 0
    mov x8, 2
    svc 0
9:  mov x0, 0
    mov x1, 0
    mov x8, 1
    svc 0
    mov x8, 2
    svc 0

program_faults:
    mov x20, x1
    mov x21, 0
    adr x28, 1f
    udf 0
1:  add x21, x21, 1
    mov x2, 0x10
    movk x2, 0x70, lsl 16
    mov w3, 1
    strb w3, [x2]
    add x21, x21, 1
    brk 3
    add x21, x21, 1
    adr x28, 2f
    mov x2, 8
    ldr x2, [x2]
2:  add x21, x21, 1
    adr x28, 3f
    br x20
3:  add x21, x21, 1
    mov x0, 0x77
    mov x1, x21
    mov x8, 1
    svc 0
    mov x8, 2
    svc 0

program_alarm:
    mov x20, x1
    mov x0, 0x8480
    movk x0, 0x1e, lsl 16
    mov x8, 4
    svc 0
    mov x21, 5
1:  ldr w2, [x20]
    cbz w2, 1b
    mov x0, x21
    ldr w1, [x20]
    mov x8, 1
    svc 0
    mov x8, 2
    svc 0

    .arch armv8-a+fp+simd
program_switch:
    mov x20, x0
    add x2, x0, 100
    fmov d7, x2
    mov x21, 200
1:  mov x8, 3
    svc 0
    fmov x2, d7
    sub x2, x2, 100
    cmp x2, x20
    b.ne 8f
    subs x21, x21, 1
    b.ne 1b
    mov x0, 1
    b 9f
8:  mov x0, 0
9:  mov x1, 0
    mov x8, 1
    svc 0
    mov x8, 2
    svc 0

program_pointer:
    mov x20, x0
    add x2, x0, 1000
    msr tpidr_el0, x2
    mov x21, 50
1:  mov x8, 3
    svc 0
    mrs x2, tpidr_el0
    sub x2, x2, 1000
    cmp x2, x20
    b.ne 8b
    subs x21, x21, 1
    b.ne 1b
    mov x0, 1
    b 9b

program_copies:
    mov x20, x1
    add x2, x1, 100
    mov w3, 0x33
    mov x4, 40
1:  strb w3, [x2], 1
    subs x4, x4, 1
    b.ne 1b
    add x0, x20, 100
    mov x1, 40
    mov x8, 5
    svc 0
    mov x22, x0
    mov x0, 0xfff0
    movk x0, 0x8f, lsl 16
    strb wzr, [x0]
    mov x1, 40
    mov x8, 5
    svc 0
    mov x1, x0
    mov x0, x22
    mov x8, 1
    svc 0
    mov x8, 2
    svc 0

program_null:
    mov x21, 2000
    mrs x22, cntvct_el0
1:  mov x8, 0
    svc 0
    subs x21, x21, 1
    b.ne 1b
    mrs x0, cntvct_el0
    sub x0, x0, x22
    mov x1, 2000
    mov x8, 1
    svc 0
    mov x8, 2
    svc 0

program_spin:
1:  ldr w2, [x1]
    cbz w2, 1b
    mov x8, 2
    svc 0

program_remap:
    # Each thread has a page of its own, and has it replaced again and again by one with the next number.
    mov x22, 0xa00000
    add x22, x22, x0, lsl 12
    mov x21, 1
1:  mov x0, x22
    mov x1, x21
    mov x8, 6
    svc 0
    ldr x2, [x22]
    cmp x2, x21
    b.ne 8f
    str x21, [x22, 8]
    add x21, x21, 1
    cmp x21, 300
    b.ne 1b
    mov x0, 1
    b 9f
8:  mov x0, 0
9:  mov x1, 0
    mov x8, 1
    svc 0
    mov x8, 2
    svc 0

program_end:
    .balign 4096
    .text
    "#
);

unsafe extern "C" {
    static program_start: u8;
    static program_end: u8;
    static program_registers: u8;
    static program_faults: u8;
    static program_alarm: u8;
    static program_switch: u8;
    static program_pointer: u8;
    static program_copies: u8;
    static program_null: u8;
    static program_spin: u8;
    static program_remap: u8;
}

/// Where a program starts.
#[derive(Clone, Copy)]
pub enum Entry {
    Registers,
    Faults,
    Alarm,
    Switch,
    Pointer,
    Copies,
    Null,
    Spin,
    Remap,
}

/// The programs' code.
pub fn code() -> &'static [u8] {
    let start = &raw const program_start;
    let len = &raw const program_end as usize - start as usize;
    // SAFETY: the assembled bytes above, in the kernel's constants.
    unsafe { core::slice::from_raw_parts(start, len) }
}

/// Where `entry` lies in the code.
pub fn offset(entry: Entry) -> usize {
    let address = match entry {
        Entry::Registers => &raw const program_registers,
        Entry::Faults => &raw const program_faults,
        Entry::Alarm => &raw const program_alarm,
        Entry::Switch => &raw const program_switch,
        Entry::Pointer => &raw const program_pointer,
        Entry::Copies => &raw const program_copies,
        Entry::Null => &raw const program_null,
        Entry::Spin => &raw const program_spin,
        Entry::Remap => &raw const program_remap,
    };
    address as usize - &raw const program_start as usize
}

/// The counter of the generic timer.
pub fn ticks() -> u64 {
    let ticks;
    // SAFETY: only reads a counter.
    unsafe { core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// The context of a thread that starts at `entry` with the stack `stack`, with its argument and its data page.
pub fn context(entry: usize, stack: usize, argument: u64, data: usize) -> UserContext {
    let mut context = UserContext { pc: entry as u64, sp: stack as u64, ..UserContext::default() };
    context.x[0] = argument;
    context.x[1] = data as u64;
    context
}

/// Has the program go on where it said before an instruction that faults.
pub fn skip(context: &mut UserContext) {
    context.pc = context.x[28];
}

/// Whether the program has met a breakpoint.
pub fn is_breakpoint(fault: &Fault) -> bool {
    matches!(fault, Fault::Breakpoint { .. })
}

/// Has the program go on behind a breakpoint.
pub fn after_breakpoint(context: &mut UserContext) {
    context.pc += 4;
}

/// Interrupts that are not masked in the kernel, of which there must be none.
pub fn wrong_flags() -> u64 {
    const IRQ: u64 = 1 << 7;
    !hal::cpu::registers().daif & IRQ
}

/// What [`Entry::Faults`] reports, and whether the faults are those that it causes.
pub const FAULTS_REPORT: (u64, u64) = (0x77, 5);
pub fn are_expected(faults: &[Fault], data: usize) -> bool {
    matches!(
        faults,
        [
            Fault::IllegalInstruction,
            Fault::Page { addr: 0x70_0010, write: true, present: false, exec: false },
            Fault::Breakpoint { number: 3 },
            Fault::Page { addr: 0x8, write: false, present: false, exec: false },
            Fault::Page { addr, exec: true, present: true, .. },
        ] if *addr == data
    )
}

/// An instruction that is none.
pub fn invalid() {
    // SAFETY: it is refused, which ends the kernel.
    unsafe { core::arch::asm!("udf #0") };
}
