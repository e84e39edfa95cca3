//! `memcpy` and its relatives for the kernel, in few instructions: the compiler's own version copies byte by byte.
use core::arch::global_asm;

global_asm!(
    r#"
    .text
    .balign 16
    .globl memcpy
memcpy:
    mov rax, rdi
5:  cmp rdx, 32
    ja 4f
    cmp edx, 16
    ja 3f
    cmp edx, 8
    jae 2f
    test dl, 4
    jnz 1f
    test edx, edx
    jz 9f
    movzx r8d, byte ptr [rsi]
    movzx r9d, byte ptr [rsi + rdx - 1]
    mov ecx, edx
    shr ecx, 1
    movzx r10d, byte ptr [rsi + rcx]
    mov byte ptr [rdi + rcx], r10b
    mov byte ptr [rdi], r8b
    mov byte ptr [rdi + rdx - 1], r9b
9:  ret
1:  mov r8d, [rsi]
    mov r9d, [rsi + rdx - 4]
    mov [rdi], r8d
    mov [rdi + rdx - 4], r9d
    ret
2:  mov r8, [rsi]
    mov r9, [rsi + rdx - 8]
    mov [rdi], r8
    mov [rdi + rdx - 8], r9
    ret
3:  mov r8, [rsi]
    mov r9, [rsi + 8]
    mov r10, [rsi + rdx - 16]
    mov r11, [rsi + rdx - 8]
    mov [rdi], r8
    mov [rdi + 8], r9
    mov [rdi + rdx - 16], r10
    mov [rdi + rdx - 8], r11
    ret
4:  mov r8, [rsi + rdx - 8]
    lea r9, [rdi + rdx - 8]
    mov rcx, rdx
    shr rcx, 3
    rep movsq
    mov [r9], r8
    ret

    // All loads of up to 32 bytes come before the stores: those sizes may overlap anyhow.
    .balign 16
    .globl memmove
memmove:
    mov rax, rdi
    cmp rdx, 32
    jbe 5b
    mov rcx, rdi
    sub rcx, rsi
    cmp rcx, rdx
    jb 6f
    jmp 5b                          // to a place below: forward is right, and the end is read first
    // To a place above, overlapping: from the end.
6:  mov r8, [rsi]
7:  mov r9, [rsi + rdx - 8]
    mov [rdi + rdx - 8], r9
    sub rdx, 8
    cmp rdx, 8
    jae 7b
    test edx, edx
    jz 8f
    // Up to 7 bytes are left at the start; the first word was read before anything was written.
    mov [rdi], r8
8:  ret

    .balign 16
    .globl memset
memset:
    mov r8, rdi
    movzx eax, sil
    mov r9, 0x0101010101010101
    imul rax, r9
    cmp rdx, 8
    jb 1f
    mov [rdi + rdx - 8], rax
    cmp rdx, 16
    ja 2f
    mov [rdi], rax
    mov rax, r8
    ret
2:  mov rcx, rdx
    shr rcx, 3
    rep stosq
    mov rax, r8
    ret
1:  test dl, 4
    jz 3f
    mov [rdi], eax
    mov [rdi + rdx - 4], eax
    mov rax, r8
    ret
3:  test edx, edx
    jz 4f
    mov [rdi], al
    mov [rdi + rdx - 1], al
    shr edx, 1
    mov [rdi + rdx], al
4:  mov rax, r8
    ret

    .balign 16
    .globl memcmp
    .globl bcmp
memcmp:
bcmp:
    cmp rdx, 8
    jb 3f
    xor ecx, ecx
    sub rdx, 8
1:  mov rax, [rdi + rcx]
    mov r8, [rsi + rcx]
    cmp rax, r8
    jne 2f
    add rcx, 8
    cmp rcx, rdx
    jb 1b
    // The last word, which may overlap what was compared.
    mov rax, [rdi + rdx]
    mov r8, [rsi + rdx]
    cmp rax, r8
    jne 2f
    xor eax, eax
    ret
2:  bswap rax
    bswap r8
    cmp rax, r8
    sbb eax, eax
    or eax, 1
    ret
3:  xor ecx, ecx
4:  cmp rcx, rdx
    je 5f
    movzx eax, byte ptr [rdi + rcx]
    movzx r8d, byte ptr [rsi + rcx]
    inc rcx
    sub eax, r8d
    jz 4b
    ret
5:  xor eax, eax
    ret
    "#
);
