//! Copies and fills in few instructions: those of the program's memory, for `super::copy`, and the kernel's `memcpy` and `memset`, in place
//! of the compiler's own versions.
//!
//! A fault in the middle of a group of bytes has the group copied once more, by fewer bytes at a time, up to the one that fails.
//!
//! They use no vector registers, which are the program's. From an aligned address on, all accesses are aligned, as they have to be before the
//! MMU is on.
use core::arch::global_asm;

global_asm!(
    r#"
    .macro GUARD at, target
    .pushsection .ex_table, "a"
    .balign 4
    .long \at - ., \target - .
    .popsection
    .endm

    # An instruction; if there is a target, that is where a fault goes on.
    .macro GUARDED target, code:vararg
99: \code
    .ifnb \target
    GUARD 99b, \target
    .endif
    .endm

    # x0: to, x1: from, x2: bytes. The ends of what was read and written are in x4 and x3; uses x2 and x7 to x10.
    .macro COPY target
    mov x3, x0
    mov x4, x1
    subs x2, x2, #64
    b.lo 12f
11: GUARDED \target, ldp x7, x8, [x4, #16]
    GUARDED \target, ldp x9, x10, [x4, #32]
    GUARDED \target, stp x7, x8, [x3, #16]
    GUARDED \target, stp x9, x10, [x3, #32]
    GUARDED \target, ldp x7, x8, [x4, #48]
    GUARDED \target, ldp x9, x10, [x4], #64
    GUARDED \target, stp x7, x8, [x3, #48]
    GUARDED \target, stp x9, x10, [x3], #64
    subs x2, x2, #64
    b.hs 11b
    # The lower bits are those of the bytes that are left.
12: tbz x2, #5, 13f
    GUARDED \target, ldp x7, x8, [x4, #16]
    GUARDED \target, ldp x9, x10, [x4], #32
    GUARDED \target, stp x7, x8, [x3, #16]
    GUARDED \target, stp x9, x10, [x3], #32
13: tbz x2, #4, 14f
    GUARDED \target, ldp x7, x8, [x4], #16
    GUARDED \target, stp x7, x8, [x3], #16
14: tbz x2, #3, 15f
    GUARDED \target, ldr x7, [x4], #8
    GUARDED \target, str x7, [x3], #8
15: tbz x2, #2, 16f
    GUARDED \target, ldr w7, [x4], #4
    GUARDED \target, str w7, [x3], #4
16: tbz x2, #1, 17f
    GUARDED \target, ldrh w7, [x4], #2
    GUARDED \target, strh w7, [x3], #2
17: tbz x2, #0, 18f
    GUARDED \target, ldrb w7, [x4]
    GUARDED \target, strb w7, [x3]
18:
    .endm

    # x3: to, x2: bytes. All are to be that in the word.
    .macro FILL word, half, target
    subs x2, x2, #64
    b.lo 12f
11: GUARDED \target, stp \word, \word, [x3, #16]
    GUARDED \target, stp \word, \word, [x3, #32]
    GUARDED \target, stp \word, \word, [x3, #48]
    GUARDED \target, stp \word, \word, [x3], #64
    subs x2, x2, #64
    b.hs 11b
12: tbz x2, #5, 13f
    GUARDED \target, stp \word, \word, [x3, #16]
    GUARDED \target, stp \word, \word, [x3], #32
13: tbz x2, #4, 14f
    GUARDED \target, stp \word, \word, [x3], #16
14: tbz x2, #3, 15f
    GUARDED \target, str \word, [x3], #8
15: tbz x2, #2, 16f
    GUARDED \target, str \half, [x3], #4
16: tbz x2, #1, 17f
    GUARDED \target, strh \half, [x3], #2
17: tbz x2, #0, 18f
    GUARDED \target, strb \half, [x3]
18:
    .endm

    .text
    .balign 16
    .globl memcpy
memcpy:
    COPY
    ret

    .balign 16
    .globl memset
memset:
    and x1, x1, #0xff
    mov x3, x0
    mov x4, #0x0101010101010101
    mul x1, x1, x4
    FILL x1, w1
    ret

    # x0: to, x1: from, x2: bytes. Gives in x0 the bytes not copied, in x1 the address that failed.
    .balign 16
    .globl coracle_copy_user
coracle_copy_user:
    add x5, x1, x2
    add x6, x0, x2
    COPY 3f
    mov x0, #0
    ret
    # What is left, from where the last store to the program ended: in words, and the last of it in bytes.
3:  sub x2, x6, x3
    sub x4, x5, x2
4:  cmp x2, #8
    b.lo 5f
    GUARDED 5f, ldr x7, [x4], #8
    GUARDED 5f, str x7, [x3], #8
    sub x2, x2, #8
    b 4b
5:  sub x4, x5, x2
6:  cbz x2, 7f
    GUARDED 7f, ldrb w7, [x4], #1
    GUARDED 7f, strb w7, [x3], #1
    sub x2, x2, #1
    b 6b
7:  mov x0, x2
    ret

    # x0: to, x1: bytes. Gives in x0 the bytes not zeroed, in x1 the address that failed.
    .balign 16
    .globl coracle_zero_user
coracle_zero_user:
    mov x3, x0
    mov x2, x1
    add x6, x0, x1
    FILL xzr, wzr, 3f
    mov x0, #0
    ret
3:  sub x2, x6, x3
4:  cbz x2, 5f
    GUARDED 5f, strb wzr, [x3], #1
    sub x2, x2, #1
    b 4b
5:  mov x0, x2
    ret

    # x0: string, x1: at most. Gives in x0 the length (x1: no zero), in x1 0 or the address that failed.
    .balign 16
    .globl coracle_length_user
coracle_length_user:
    mov x2, #0
    mov x4, x1
    mov x1, #0
8:  cmp x2, x4
    b.eq 9f
    GUARDED 9f, ldrb w3, [x0, x2]
    cbz w3, 9f
    add x2, x2, #1
    b 8b
9:  mov x0, x2
    ret
    "#
);
