//! Copies of the program's memory: the assembly behind [`crate::user`].
mod machine {
    use crate::mm::paging::USER_END;
    use crate::mm::paging::USER_START;
    use core::arch::{asm, global_asm};
    use core::sync::atomic::{AtomicBool, Ordering};

    /// No address of the program has a bit set from this one on.
    const USER_BITS: u32 = 47;
    const _: () = assert!(
        USER_END <= 1 << USER_BITS && USER_END.is_multiple_of(4096) && USER_END + 4096 == 1 << USER_BITS
    );

    // rdi: to, rsi: from, rdx: bytes. Gives in rax the bytes not copied, in rdx the address that failed.
    // Up to 32 bytes by moves that overlap; more by 8-byte string moves and one overlapping move for the end. No register
    // but these, rcx and r8 is used: what the callers need after a fault lies in the others, and needs no saving.
    //
    // The program's side must lie in its half: neither below its start nor, up to the end of the copy, in a bit that no
    // address of it has. (The half's last page is never mapped, so `USER_END` needs no look of its own.)
    global_asm!(
        r#"
    .macro GUARD at, target
    .pushsection .ex_table, "a"
    .balign 4
    .long \at - ., \target - .
    .popsection
    .endm

    .macro COPY_CHECKED program
    lea rax, [\program - {start}]
    lea rcx, [\program + rdx]
    or rax, rcx
    shr rax, {bits}
    jnz 9f
    cmp byte ptr [rip + {smap}], 0
    je copy_user
    stac
    call copy_user
    clac
    ret
9:  mov rax, rdx
    mov rdx, \program
    ret
    .endm

    .text
    .balign 16
    .globl coracle_copy_from_user
coracle_copy_from_user:
    COPY_CHECKED rsi
    .balign 16
    .globl coracle_copy_to_user
coracle_copy_to_user:
    COPY_CHECKED rdi

    .balign 16
copy_user:
    mov ecx, edx
    cmp rdx, 32
    ja 60f
    cmp edx, 16
    ja 40f
    cmp edx, 8
    jae 30f
    test dl, 4
    jnz 20f
    test edx, edx
    jz 75f
    # 1 to 3
10: movzx r8d, byte ptr [rsi]
11: mov byte ptr [rdi], r8b
12: movzx r8d, byte ptr [rsi + rdx - 1]
13: mov byte ptr [rdi + rdx - 1], r8b
    shr ecx, 1
14: movzx eax, byte ptr [rsi + rcx]
15: mov byte ptr [rdi + rcx], al
    xor eax, eax
    ret
    # 4 to 7
20: mov r8d, [rsi]
21: mov eax, [rsi + rdx - 4]
22: mov [rdi], r8d
23: mov [rdi + rdx - 4], eax
    xor eax, eax
    ret
    # 8 to 16
30: mov r8, [rsi]
31: mov rax, [rsi + rdx - 8]
32: mov [rdi], r8
33: mov [rdi + rdx - 8], rax
    xor eax, eax
    ret
    # 17 to 32
40: mov r8, [rsi]
41: mov rax, [rsi + 8]
42: mov [rdi], r8
43: mov [rdi + 8], rax
44: mov r8, [rsi + rdx - 16]
45: mov rax, [rsi + rdx - 8]
46: mov [rdi + rdx - 16], r8
47: mov [rdi + rdx - 8], rax
    xor eax, eax
    ret
60: mov rax, rdx
61: mov r8, [rsi + rdx - 8]
    mov rcx, rdx
    shr rcx, 3
    and edx, 7
62: rep movsq
63: mov [rdi + rdx - 8], r8
    xor eax, eax
    ret
    # Nothing done.
70: mov rax, rcx
    ret
71: ret
    # rax: all; rcx words left.
72: and eax, 7
    lea rax, [rax + rcx * 8]
    ret
75: xor eax, eax
    ret
73: mov eax, 8
    ret
74: mov eax, 4                      # ecx was halved; at most 3 bytes
    ret
    GUARD 10b, 70b
    GUARD 11b, 70b
    GUARD 12b, 70b
    GUARD 13b, 70b
    GUARD 14b, 74b
    GUARD 15b, 74b
    GUARD 20b, 70b
    GUARD 21b, 70b
    GUARD 22b, 70b
    GUARD 23b, 70b
    GUARD 30b, 70b
    GUARD 31b, 70b
    GUARD 32b, 70b
    GUARD 33b, 70b
    GUARD 40b, 70b
    GUARD 41b, 70b
    GUARD 42b, 70b
    GUARD 43b, 70b
    GUARD 44b, 70b
    GUARD 45b, 70b
    GUARD 46b, 70b
    GUARD 47b, 70b
    GUARD 61b, 71b
    GUARD 62b, 72b
    GUARD 63b, 73b

    # rdi: to, rsi: bytes, not 0. Gives in rax the bytes not zeroed, in rdx the address that failed.
    .balign 16
    .globl coracle_zero_user
coracle_zero_user:
    mov r8, rsi
    xor eax, eax
    mov rcx, rsi
    shr rcx, 3
80: rep stosq
    mov ecx, r8d
    and ecx, 7
81: rep stosb
    ret
82: mov eax, r8d
    and eax, 7
    lea rax, [rax + rcx * 8]
    ret
83: mov rax, rcx
    ret
    GUARD 80b, 82b
    GUARD 81b, 83b

    # rdi: string, rsi: at most, not 0. Gives in rax the length (rsi: no zero), in rdx 0 or the address that failed.
    .balign 16
    .globl coracle_length_user
coracle_length_user:
    xor eax, eax
    xor edx, edx
90: cmp byte ptr [rdi + rax], 0
    je 91f
    inc rax
    cmp rax, rsi
    jne 90b
91: ret
    GUARD 90b, 91b
        "#,
        start = const USER_START,
        bits = const USER_BITS,
        smap = sym SMAP,
    );

    /// Whether the kernel may touch the program's memory between `stac` and `clac` only. Read by `entry.rs`, too.
    pub static SMAP: AtomicBool = AtomicBool::new(false);

    /// Notes whether the program's memory must be opened for each copy.
    pub fn init() {
        SMAP.store(
            crate::arch::instructions::cr4() & crate::arch::instructions::CR4_SMAP != 0,
            Ordering::Relaxed,
        );
    }

    #[inline(always)]
    pub fn with_access<R>(f: impl FnOnce() -> R) -> R {
        let smap = SMAP.load(Ordering::Relaxed);
        if smap {
            // SAFETY: SMAP is on, so the instructions exist; only the guarded accesses run between them.
            unsafe { asm!("stac", options(nostack)) };
        }
        let result = f();
        if smap {
            // SAFETY: as above.
            unsafe { asm!("clac", options(nostack)) };
        }
        result
    }

    macro_rules! copies {
        ($name:ident, $symbol:literal) => {
            /// Copies, if the program's side lies in its half; returns the bytes left and the address that failed.
            #[inline(always)]
            pub fn $name(dst: usize, src: usize, len: usize) -> (usize, usize) {
                let (left, address);
                // SAFETY: the callers give memory of the kernel's own for its side; the other is checked.
                unsafe {
                    asm!(concat!("call ", $symbol), inout("rdi") dst => _, inout("rsi") src => _,
                        inout("rdx") len => address, out("rax") left, out("rcx") _, out("r8") _);
                }
                (left, address)
            }
        };
    }
    copies!(copy_from, "coracle_copy_from_user");
    copies!(copy_to, "coracle_copy_to_user");

    /// Zeroes; returns the bytes left and the address that failed.
    #[inline(always)]
    pub fn zero(dst: usize, len: usize) -> (usize, usize) {
        let (left, address);
        // SAFETY: the caller checked that it lies in the lower half.
        unsafe {
            asm!("call coracle_zero_user", inout("rdi") dst => _, inout("rsi") len => _, out("rdx") address,
                out("rax") left, out("rcx") _, out("r8") _);
        }
        (left, address)
    }

    /// Measures a string; returns the length and 0 or the address that failed.
    #[inline(always)]
    pub fn length(src: usize, max: usize) -> (usize, usize) {
        let (len, address);
        // SAFETY: as above.
        unsafe {
            asm!("call coracle_length_user", in("rdi") src, in("rsi") max, out("rdx") address, out("rax") len);
        }
        (len, address)
    }

    /// One guarded instruction on `addr`: on a fault the second result is 1.
    macro_rules! guarded {
        ($name:ident, $type:ty, $instruction:literal) => {
            /// Runs the guarded instruction.
            #[inline(always)]
            pub fn $name(addr: usize, value: $type, expected: $type) -> ($type, usize) {
                let (result, failed): ($type, usize);
                // SAFETY: the caller checked that the address lies in the lower half and is aligned.
                unsafe {
                    asm!(
                        "xor edx, edx",
                        concat!("2: ", $instruction),
                        "3:",
                        ".pushsection .ex_table, \"a\"",
                        ".balign 4",
                        ".long 2b - ., 3b - .",
                        ".popsection",
                        in("rdi") addr, in("rsi") value, inout("rax") expected => result, out("rdx") failed,
                        options(nostack)
                    );
                }
                (result, failed)
            }
        };
    }
    guarded!(load_u32, u32, "mov eax, [rdi]");
    guarded!(load_u64, u64, "mov rax, [rdi]");
    guarded!(store_u32, u32, "mov [rdi], esi");
    guarded!(store_u64, u64, "mov [rdi], rsi");
    guarded!(exchange_u32, u32, "lock cmpxchg [rdi], esi");
}

pub use machine::*;
