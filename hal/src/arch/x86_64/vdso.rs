//! The vDSO's code: clock_gettime, gettimeofday, time, clock_getres and getcpu.
//!
//! The object around it is that of every architecture ([`crate::vdso`]). The clock's parameters lie in the page before it
//! (`time::Clock`).
#[cfg(target_os = "none")]
pub use blob::OBJECT;

#[cfg(target_os = "none")]
mod blob {
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
            machine: 62, version: "LINUX_2.6", version_hash: 0x03ae75f6,
            hash: "1, 7, 1, 0, 2, 3, 4, 5, 6, 0",
            versions: "0, 2, 2, 2, 2, 2, 2",
            functions: {
                gettime: "__vdso_clock_gettime", timeofday: "__vdso_gettimeofday", time: "__vdso_time",
                getres: "__vdso_clock_getres", getcpu: "__vdso_getcpu", sigreturn: "__vdso_rt_sigreturn"
            }
        ),
        r#"
    # Nanoseconds since boot to rax, the data page to r8, the sequence to r9d; again from here if it changed.
    .macro READ_CLOCK rate={rate}, base={ns_base}
    lea r8, [rip + vdso_start - 4096]
    # An odd sequence, while the clock changes, is never what is found in the end.
1:  mov r9d, [r8 + {sequence}]
    and r9d, -2
    lfence
    rdtsc
    shl rdx, 32
    or rax, rdx
    xor ecx, ecx
    sub rax, [r8 + {tsc_base}]
    cmovb rax, rcx
    mul qword ptr [r8 + \rate]
    shrd rax, rdx, 32
    add rax, [r8 + \base]
    .endm
    .macro AGAIN_IF_CHANGED
    cmp r9d, [r8 + {sequence}]
    jne 1b
    .endm
    # rax to seconds in rax and nanoseconds in rdx.
    .macro SPLIT
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    .endm

    .balign 16
vdso_gettime:
    # REALTIME and MONOTONIC.
    cmp edi, 1
    ja 8f
4:  READ_CLOCK
    test edi, edi
    jne 3f
    add rax, [r8 + {wall_offset}]
3:  AGAIN_IF_CHANGED
7:  SPLIT
    mov [rsi], rax
    mov [rsi + 8], rdx
    xor eax, eax
    ret
    # REALTIME_COARSE is REALTIME; MONOTONIC_COARSE and BOOTTIME are MONOTONIC.
8:  mov eax, edi
    sub eax, 5
    cmp eax, 2
    ja 5f
    cmp eax, 1
    sbb edi, edi
    inc edi
    jmp 4b
    # MONOTONIC_RAW; others are system calls.
5:  cmp edi, 4
    jne 9f
    READ_CLOCK {raw_rate}, {raw_ns_base}
    AGAIN_IF_CHANGED
    jmp 7b
vdso_gettime_call:
9:  mov eax, 228
    syscall
    ret
vdso_gettime_end:

    .balign 16
vdso_timeofday:
    # The kernel has the time zone, which hardly any program asks for.
    test rsi, rsi
    jnz 8f
    test rdi, rdi
    jz 3f
    READ_CLOCK
    add rax, [r8 + {wall_offset}]
    AGAIN_IF_CHANGED
    SPLIT
    mov [rdi], rax
    mov eax, edx
    xor edx, edx
    mov ecx, 1000
    div ecx
    mov [rdi + 8], rax
3:  xor eax, eax
    ret
8:  mov eax, 96
    syscall
    ret
vdso_timeofday_end:

    .balign 16
vdso_time:
    READ_CLOCK
    add rax, [r8 + {wall_offset}]
    AGAIN_IF_CHANGED
    SPLIT
    test rdi, rdi
    jz 2f
    mov [rdi], rax
2:  ret
vdso_time_end:

    .balign 16
vdso_getres:
    # 1 ns for what is read above at full resolution.
    cmp edi, 7
    ja 8f
    mov eax, 0x93
    bt eax, edi
    jnc 8f
    test rsi, rsi
    jz 2f
    mov qword ptr [rsi], 0
    mov qword ptr [rsi + 8], 1
2:  xor eax, eax
    ret
8:  mov eax, 229
    syscall
    ret
vdso_getres_end:

    .balign 16
vdso_getcpu:
    lea r8, [rip + vdso_start]
    cmp dword ptr [r8 - 4096 + {has_tsc_aux}], 0
    je 8f
    rdtscp
    test rdi, rdi
    jz 2f
    mov [rdi], ecx
2:  test rsi, rsi
    jz 3f
    mov dword ptr [rsi], 0
3:  xor eax, eax
    ret
8:  mov eax, 309
    syscall
    ret
vdso_getcpu_end:

    # Unwinders know a signal frame by these very bytes.
    .balign 16
vdso_sigreturn:
    mov rax, 15
    syscall
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
        has_tsc_aux = const offset_of!(Clock, has_tsc_aux),
    );
}
