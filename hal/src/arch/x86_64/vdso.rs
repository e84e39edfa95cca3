//! The vDSO (vdso(7)): a tiny ELF shared object with clock_gettime, gettimeofday, time, clock_getres and getcpu.
//!
//! The whole object is assembled here: ELF header, program headers, dynamic section, symbols with their hash table
//! (System V ABI, chapters 4 and 5), and the code. The clock's parameters lie in the page before it (`time::Clock`).
use crate::mm::frame::Frame;
use alloc::vec::Vec;

/// Pages to map at any address, in order: the data page(s), readable, then the ELF, readable and executable.
pub struct Vdso {
    /// Clock parameters: mapped read-only, directly before the ELF.
    pub data: Vec<Frame>,
    /// The ELF image; its first page is what AT_SYSINFO_EHDR names.
    pub code: Vec<Frame>,
    /// Offset of `__vdso_rt_sigreturn`'s trampoline within `code`, usable as a signal restorer.
    pub sigreturn: usize,
    /// The code is an ELF object, and AT_SYSINFO_EHDR names it.
    pub is_object: bool,
}

/// The vDSO, the same for all processes. `None`: out of memory.
#[cfg(target_os = "none")]
pub fn get() -> Option<&'static Vdso> {
    static VDSO: spin::Once<Vdso> = spin::Once::new();
    VDSO.try_call_once(|| make().ok_or(())).ok()
}

/// There is none on the host.
#[cfg(not(target_os = "none"))]
pub fn get() -> Option<&'static Vdso> {
    let _ = crate::time::page as fn() -> Option<&'static Frame>;
    None
}

#[cfg(target_os = "none")]
fn make() -> Option<Vdso> {
    let data = crate::time::page()?.clone();
    let start = &raw const blob::vdso_start;
    let len = &raw const blob::vdso_end as usize - start as usize;
    // SAFETY: the assembled bytes below, in the kernel's constants.
    let bytes = unsafe { core::slice::from_raw_parts(start, len) };
    let mut code = Vec::new();
    for page in bytes.chunks(crate::mm::frame::FRAME_SIZE) {
        let frame = Frame::alloc_zeroed()?;
        frame.write(0, page);
        code.push(frame);
    }
    Some(Vdso {
        data: alloc::vec![data],
        code,
        sigreturn: &raw const blob::vdso_sigreturn as usize - start as usize,
        is_object: true,
    })
}

#[cfg(target_os = "none")]
mod blob {
    use crate::time::Clock;
    use core::arch::global_asm;
    use core::mem::offset_of;

    unsafe extern "C" {
        pub static vdso_start: u8;
        pub static vdso_end: u8;
        pub static vdso_sigreturn: u8;
    }

    global_asm!(
        r#"
    .section .rodata.vdso, "a"
    .balign 16
    .globl vdso_start, vdso_end, vdso_sigreturn
vdso_start:
    # ELF header: 64-bit, little-endian, shared object for x86-64.
    .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
    .short 3, 62
    .long 1
    .quad 0                         # entry
    .quad vdso_segments - vdso_start
    .quad 0                         # no section headers
    .long 0
    .short 64, 56, 2, 64, 0, 0
vdso_segments:
    # PT_LOAD, read and execute: all.
    .long 1, 5
    .quad 0, 0, 0, vdso_end - vdso_start, vdso_end - vdso_start, 4096
    # PT_DYNAMIC, read.
    .long 2, 4
    .quad vdso_dynamic - vdso_start, vdso_dynamic - vdso_start, vdso_dynamic - vdso_start
    .quad vdso_dynamic_end - vdso_dynamic, vdso_dynamic_end - vdso_dynamic, 8
vdso_dynamic:
    .quad 4, vdso_hash - vdso_start             # DT_HASH
    .quad 5, vdso_strings - vdso_start          # DT_STRTAB
    .quad 6, vdso_symbols - vdso_start          # DT_SYMTAB
    .quad 10, vdso_strings_end - vdso_strings   # DT_STRSZ
    .quad 11, 24                                # DT_SYMENT
    .quad 14, vdso_soname - vdso_strings        # DT_SONAME
    .quad 0x6ffffff0, vdso_versions - vdso_start        # DT_VERSYM
    .quad 0x6ffffffc, vdso_definitions - vdso_start     # DT_VERDEF
    .quad 0x6ffffffd, 2                                 # DT_VERDEFNUM
    .quad 0, 0
vdso_dynamic_end:
vdso_hash:
    # One bucket: all symbols in a chain.
    .long 1, 7, 1
    .long 0, 2, 3, 4, 5, 6, 0
    .balign 8
    .macro SYMBOL name, start, end
    .long \name - vdso_strings
    .byte 0x12, 0                   # global function
    .short 1
    .quad \start - vdso_start, \end - \start
    .endm
vdso_symbols:
    .quad 0, 0, 0
    SYMBOL vdso_name_gettime, vdso_gettime, vdso_gettime_end
    SYMBOL vdso_name_timeofday, vdso_timeofday, vdso_timeofday_end
    SYMBOL vdso_name_time, vdso_time, vdso_time_end
    SYMBOL vdso_name_getres, vdso_getres, vdso_getres_end
    SYMBOL vdso_name_getcpu, vdso_getcpu, vdso_getcpu_end
    SYMBOL vdso_name_sigreturn, vdso_sigreturn, vdso_sigreturn_end
vdso_versions:
    .short 0, 2, 2, 2, 2, 2, 2
    .balign 8
vdso_definitions:
    # Version 1, the object itself (VER_FLG_BASE), then LINUX_2.6: version, flags, index, count, hash, aux, next.
    .short 1, 1, 1, 1
    .long 0x0deebfa1, 20, 28
    .long vdso_soname - vdso_strings, 0
    .short 1, 0, 2, 1
    .long 0x03ae75f6, 20, 0
    .long vdso_version - vdso_strings, 0
vdso_strings:
    .byte 0
vdso_soname: .asciz "linux-vdso.so.1"
vdso_version: .asciz "LINUX_2.6"
vdso_name_gettime: .asciz "__vdso_clock_gettime"
vdso_name_timeofday: .asciz "__vdso_gettimeofday"
vdso_name_time: .asciz "__vdso_time"
vdso_name_getres: .asciz "__vdso_clock_getres"
vdso_name_getcpu: .asciz "__vdso_getcpu"
vdso_name_sigreturn: .asciz "__vdso_rt_sigreturn"
vdso_strings_end:

    # Nanoseconds since boot to rax, the data page to r8, the sequence to r9d; again from here if it changed.
    .macro READ_CLOCK rate={rate}, base={ns_base}
    lea r8, [rip + vdso_start]
    sub r8, 4096
1:  mov r9d, [r8 + {sequence}]
    test r9d, 1
    jnz 1b
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
    # REALTIME, MONOTONIC, REALTIME_COARSE, MONOTONIC_COARSE, BOOTTIME.
    cmp edi, 7
    ja 8f
    mov eax, 0xe3
    bt eax, edi
    jnc 8f
    READ_CLOCK
    cmp edi, 0
    je 2f
    cmp edi, 5
    jne 3f
2:  add rax, [r8 + {wall_offset}]
3:  AGAIN_IF_CHANGED
7:  SPLIT
    mov [rsi], rax
    mov [rsi + 8], rdx
    xor eax, eax
    ret
    # MONOTONIC_RAW; others are system calls.
8:  cmp edi, 4
    jne 9f
    READ_CLOCK {raw_rate}, {raw_ns_base}
    AGAIN_IF_CHANGED
    jmp 7b
9:  mov eax, 228
    syscall
    ret
vdso_gettime_end:

    .balign 16
vdso_timeofday:
    test rdi, rdi
    jz 2f
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
2:  test rsi, rsi
    jz 3f
    mov qword ptr [rsi], 0          # the time zone, which nobody uses
3:  xor eax, eax
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
