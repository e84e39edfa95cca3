//! The vDSO's code: clock_gettime, gettimeofday, clock_getres and the return from signal handlers, by the names that vdso(7) has for
//! aarch64.
//!
//! The object around it is that of every architecture ([`crate::vdso`]). The clock's parameters lie in the page before it
//! (`time::Clock`).
use crate::time::Clock;
use crate::vdso::{Object, object};
use core::arch::global_asm;
use core::mem::offset_of;

unsafe extern "C" {
    static vdso_start: u8;
    static vdso_end: u8;
    static vdso_sigreturn: u8;
    static vdso_gettime: u8;
    static vdso_gettime_call: u8;
    static vdso_gettime_end: u8;
}

/// Where it lies in the kernel.
pub const OBJECT: Object = Object {
    start: &raw const vdso_start,
    end: &raw const vdso_end,
    sigreturn: &raw const vdso_sigreturn,
    gettime: [&raw const vdso_gettime, &raw const vdso_gettime_call, &raw const vdso_gettime_end],
};

global_asm!(
    object!(
        machine: 183, version: "LINUX_2.6.39", version_hash: 0x075fcb89,
        hash: "1, 5, 1, 0, 2, 3, 4, 0",
        versions: "0, 2, 2, 2, 2",
        functions: {
            gettime: "__kernel_clock_gettime", timeofday: "__kernel_gettimeofday",
            getres: "__kernel_clock_getres", sigreturn: "__kernel_rt_sigreturn"
        }
    ),
    r#"
    // Nanoseconds since boot to x11, the data page to x9, the sequence to w10; again from here if it changed. The counter is read not
    // before the sequence is.
    .macro READ_CLOCK rate={rate}, base={ns_base}
    adr x9, vdso_start
    sub x9, x9, #4096
1:  ldr w10, [x9, #{sequence}]
    tbnz w10, #0, 1b
    dmb ishld
    isb
    mrs x11, cntvct_el0
    ldr x12, [x9, #{tsc_base}]
    ldr x13, [x9, #\rate]
    ldr x14, [x9, #\base]
    subs x11, x11, x12
    csel x11, x11, xzr, hs
    mul x15, x11, x13
    umulh x11, x11, x13
    extr x11, x11, x15, #32
    add x11, x11, x14
    .endm
    // Reads the sequence at an address that depends on the counter, so not before the counter.
    .macro AGAIN_IF_CHANGED
    dmb ishld
    eor x16, x11, x11
    add x16, x9, x16
    ldr w16, [x16, #{sequence}]
    cmp w16, w10
    b.ne 1b
    .endm
    // x11 to seconds in x12 and nanoseconds in x13.
    .macro SPLIT
    mov w16, #0xca00
    movk w16, #0x3b9a, lsl #16
    udiv x12, x11, x16
    msub x13, x12, x16, x11
    .endm
    // The system call of this number.
    .macro CALL number
    mov x8, #\number
    svc #0
    .endm

    .balign 16
vdso_gettime:
    // REALTIME, MONOTONIC, REALTIME_COARSE, MONOTONIC_COARSE, BOOTTIME.
    cmp w0, #7
    b.hi 8f
    mov w2, #0xe3
    lsr w2, w2, w0
    tbz w2, #0, 8f
    READ_CLOCK
    cbz w0, 2f
    cmp w0, #5
    b.ne 3f
2:  ldr x12, [x9, #{wall_offset}]
    add x11, x11, x12
3:  AGAIN_IF_CHANGED
7:  SPLIT
    stp x12, x13, [x1]
    mov w0, wzr
    ret
    // MONOTONIC_RAW; others are system calls.
8:  cmp w0, #4
    b.ne 9f
    READ_CLOCK {raw_rate}, {raw_ns_base}
    AGAIN_IF_CHANGED
    b 7b
vdso_gettime_call:
9:  CALL 113
    ret
vdso_gettime_end:

    .balign 16
vdso_timeofday:
    // The kernel has the time zone, which hardly any program asks for.
    cbnz x1, 9f
    cbz x0, 3f
    READ_CLOCK
    ldr x12, [x9, #{wall_offset}]
    add x11, x11, x12
    AGAIN_IF_CHANGED
    SPLIT
    mov w16, #1000
    udiv x13, x13, x16
    stp x12, x13, [x0]
3:  mov w0, wzr
    ret
9:  CALL 169
    ret
vdso_timeofday_end:

    .balign 16
vdso_getres:
    // 1 ns for what is read above at full resolution.
    cmp w0, #7
    b.hi 8f
    mov w2, #0x93
    lsr w2, w2, w0
    tbz w2, #0, 8f
    cbz x1, 2f
    mov x2, #1
    stp xzr, x2, [x1]
2:  mov w0, wzr
    ret
8:  CALL 114
    ret
vdso_getres_end:

    // Unwinders know a signal frame by these very bytes.
    .balign 16
vdso_sigreturn:
    CALL 139
vdso_sigreturn_end:
vdso_end:
    .text
    "#,
    sequence = const offset_of!(Clock, sequence),
    tsc_base = const offset_of!(Clock, tsc_base),
    ns_base = const offset_of!(Clock, ns_base),
    rate = const offset_of!(Clock, rate),
    raw_ns_base = const offset_of!(Clock, raw_ns_base),
    raw_rate = const offset_of!(Clock, raw_rate),
    wall_offset = const offset_of!(Clock, wall_offset),
);
