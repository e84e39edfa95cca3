//! From the loader's jump to the kernel's own address space: the PVH entry (Xen's `docs/misc/pvh.pandoc`), long mode,
//! relocation of the static-PIE to a random address, page rights of the kernel's own pages.
//!
//! Everything before [`upper`] runs in an identity map with relocations not applied yet: no pointers in statics, no
//! panics, no formatting.
use super::memory_map;
use crate::arch::instructions;
use crate::arch::page_table::pte;
use crate::mm::layout;
use crate::relocate::{self, Places, Sections};
use core::arch::global_asm;

/// Bytes of the stack that boot runs on until the first kernel stack is allocated; later the boot CPU's stack for
/// double faults.
pub const EARLY_STACK_SIZE: usize = 12 * 1024;

global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18                  // name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad 0x100000                  // KERNEL_PHYS: .boot comes first (link.ld)

    .section .boot, "ax"
    .code32
    // ebx: physical address of struct hvm_start_info; paging off, flat segments.
pvh_start:
    cld
    movl %ebx, %ebp
    // No stack yet: the page tables and the stack may lie behind the end of memory. Is there RAM from 1 MiB to the
    // kernel's end? (Entries: address, size, type, reserved; 24 bytes.)
    cmpl $1, 4(%ebx)                // version 0 has no memory map: `boot` refuses it
    jb enough
    movl 40(%ebx), %esi
    movl 48(%ebx), %ecx
    movl $(no_memory_text - pvh_start + 0x100000), %edi
5:  testl %ecx, %ecx
    jz refuse
    cmpl $1, 16(%esi)               // RAM
    jne 6f
    cmpl $0, 4(%esi)
    jne 6f
    movl (%esi), %eax
    cmpl $0x100000, %eax
    ja 6f
    movl 12(%esi), %edx
    addl 8(%esi), %eax
    adcl $0, %edx
    jnz enough
    cmpl $(__end - pvh_start + 0x140000), %eax // and 256 KiB, for the first tables
    jae enough
6:  addl $24, %esi
    decl %ecx
    jmp 5b
enough:
    // Before the first bit of long mode is set.
    movl $0x80000001, %eax
    cpuid
    movl $(no_long_mode_text - pvh_start + 0x100000), %edi
    testl $(1 << 29), %edx
    jz refuse
    movl $(no_nx_text - pvh_start + 0x100000), %edi
    testl $(1 << 20), %edx          // no-execute pages
    jz refuse
    movl $(early_stack_top - pvh_start + 0x100000), %esp
    // Identity map of the first GiB by 2-MiB pages.
    movl $(early_pd - pvh_start + 0x100000), %edi
    movl $0x83, %eax
    movl $512, %ecx
2:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    decl %ecx
    jnz 2b
    movl $(early_pdpt - pvh_start + 0x100000), %edi
    leal 3(%edi), %edx
    movl $(early_pd - pvh_start + 0x100003), %eax
    movl %eax, (%edi)
    movl $(kernel_pml4 - pvh_start + 0x100000), %edi
    movl %edx, (%edi)
    movl %edi, %cr3
    movl %cr4, %eax
    orl $0x20, %eax                 // PAE
    movl %eax, %cr4
    movl $0x900, %eax               // LME, NXE
    xorl %edx, %edx
    movl $0xc0000080, %ecx
    wrmsr
    movl %cr0, %eax
    andl $0x9fffffff, %eax          // caches on
    orl $0x80010021, %eax           // PG, WP, NE, PE
    movl %eax, %cr0
    pushl $0
    pushl $(boot_gdt - pvh_start + 0x100000)
    pushw $23
    lgdtl (%esp)
    ljmpl $8, $(long_mode - pvh_start + 0x100000)
    // Ends a machine that can't run the kernel, without a stack. edi: why. The text goes to the serial port and, as a line
    // of the log, to the port of `coracle run`'s control channel; then the port by which `coracle run` ends machines
    // is written. Without these devices the writes have no effect, and the machine stays halted.
refuse:
    movw $0xe9, %dx
    movb $'L', %al
    outb %al, %dx
    movl %edi, %esi
3:  lodsb
    testb %al, %al
    jz 4f
    movw $0x3f8, %dx
    outb %al, %dx
    movw $0xe9, %dx
    outb %al, %dx
    jmp 3b
4:  movl $(failed_text - pvh_start + 0x100000), %esi
    movl $5, %ecx
    rep outsb
    xorl %eax, %eax
    movw $0x501, %dx
    outb %al, %dx
7:  cli
    hlt
    jmp 7b
    // The kernel's own status (`KERNEL_FAILED`), as a line of the control channel.
failed_text: .ascii "S125\n"
no_memory_text: .asciz "coracle: this machine has too little memory for the kernel\n"
no_long_mode_text: .asciz "coracle: this CPU has no 64-bit mode\n"
no_nx_text: .asciz "coracle: this CPU has no no-execute pages\n"
    .balign 8
boot_gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff

    .code64
long_mode:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    leaq early_stack_top(%rip), %rsp
    movl %ebp, %edi
    xorl %ebp, %ebp
    pushq %rdi
    pushq %rdi
    call {early}
    popq %rdi
    popq %rdi
    // rax: the kernel's virtual address. The same page tables map it now.
    leaq early_stack_top(%rip), %rsp
    leaq -0x100000(%rsp, %rax), %rsp
    leaq {upper}(%rip), %rdx
    leaq -0x100000(%rdx, %rax), %rdx
    movq %rax, %rsi
    pushq $0
    jmpq *%rdx

    .section .bss.early, "aw", @nobits
    .balign 4096
    .globl kernel_pml4, early_pdpt, early_stack, early_stack_top
kernel_pml4: .skip 4096
early_pdpt: .skip 4096
early_pd: .skip 4096
high_pdpt: .skip 4096
high_pd: .skip 4096
high_pt: .skip 4096 * {tables}
    // Not mapped in the upper half: the guard page of the stack above it.
early_guard: .skip 4096
early_stack: .skip {stack}
early_stack_top:
    "#,
    early = sym early,
    upper = sym upper,
    stack = const EARLY_STACK_SIZE,
    tables = const relocate::TABLES,
    options(att_syntax)
);

#[allow(improper_ctypes)]
unsafe extern "C" {
    static __text_end: u8;
    static __rodata_end: u8;
    static __end: u8;
    static __start: u8;
    static __rela_start: u8;
    static __rela_end: u8;
    static __relr_start: u8;
    static __relr_end: u8;
    static mut kernel_pml4: [u64; 512];
    static mut early_pdpt: [u64; 512];
    static early_guard: u8;
    static early_stack_top: u8;
    static mut high_pdpt: [u64; 512];
    static mut high_pd: [u64; 512];
    static mut high_pt: [u64; 512 * relocate::TABLES];
}

/// The address of a symbol relative to the running instruction: right before and after the relocation, where a static's
/// address would be taken from a table that is relocated itself.
macro_rules! address {
    ($symbol:ident) => {{
        let address: usize;
        // SAFETY: computes an address.
        #[allow(unused_unsafe)]
        unsafe {
            core::arch::asm!("lea {}, [rip + {}]", out(reg) address, sym $symbol,
                options(pure, nomem, nostack, preserves_flags))
        };
        address
    }};
}

/// Where the kernel's parts end. Page aligned but for `end`.
pub fn sections() -> Sections {
    // Addresses of linker symbols; they are never read.
    let base = address!(__start);
    Sections {
        text_end: address!(__text_end) - base,
        rodata_end: address!(__rodata_end) - base,
        end: address!(__end) - base,
    }
}

/// Physical address of the kernel's top page table.
pub fn root_table() -> u64 {
    symbol_phys(address!(kernel_pml4))
}

/// Physical address of the second-level table that maps the first GiB at its own address (for starting CPUs).
pub fn identity_table() -> u64 {
    symbol_phys(address!(early_pdpt))
}

/// Drops the identity map of early boot.
///
/// # Safety
/// Nothing is reached through it any more, and all RAM is mapped.
pub unsafe fn drop_identity_map() {
    // SAFETY: the entry of the lower half in the kernel's top table.
    unsafe { *(layout::direct(root_table()) as *mut u64) = 0 };
    instructions::flush_tlb();
}

/// All RAM is mapped. Nothing of the loader's is read again but by `machine`, which maps it.
pub fn use_direct_map() {}

pub use crate::machine::pvh::read as read_loader;

/// Top of the boot stack.
pub fn early_stack_end() -> usize {
    address!(early_stack_top)
}

fn symbol_phys(address: usize) -> u64 {
    (address - address!(__start) + memory_map::kernel() as usize) as u64
}

/// The number after `seed=` on the command line at `text`.
///
/// # Safety
/// `text` is zero or points to a zero-terminated string in identity-mapped memory.
unsafe fn seed(mut text: *const u8) -> Option<u64> {
    if text.is_null() {
        return None;
    }
    let mut window: u64 = u64::from(b' ');
    // SAFETY: the caller says that a zero ends it.
    unsafe {
        while *text != 0 {
            window = window << 8 | u64::from(*text);
            text = text.add(1);
            // The last six bytes: " seed=".
            if window & 0xffff_ffff_ffff == 0x2073_6565_643d {
                let mut value = 0u64;
                loop {
                    let digit = match *text {
                        c @ b'0'..=b'9' => c - b'0',
                        c @ b'a'..=b'f' => c - b'a' + 10,
                        c @ b'A'..=b'F' => c - b'A' + 10,
                        _ => return Some(value),
                    };
                    value = value << 4 | u64::from(digit);
                    text = text.add(1);
                }
            }
        }
    }
    None
}

/// Chooses the addresses, relocates the kernel and maps it; returns its virtual address. Runs in the identity map.
unsafe extern "C" fn early(start_info: *const u64) -> usize {
    let physical = address!(__start);
    // struct hvm_start_info: magic, version, flags, nr_modules, modlist_paddr, cmdline_paddr (offset 24), …
    // SAFETY: the loader put it below 4 GiB, in the GiB that is mapped; checked again by `boot`.
    let random = unsafe {
        let command_line = *start_info.add(3) as usize;
        let fixed = if command_line < 1 << 30 { seed(command_line as *const u8) } else { None };
        match fixed {
            Some(seed) => seed,
            None => relocate::mix(instructions::rdtsc()) ^ instructions::hardware_random().unwrap_or(0),
        }
    };
    let parts = sections();
    let Places { kernel: virtual_base, direct: direct_base } = relocate::choose(random, parts.end);

    let rela = address!(__rela_start)..address!(__rela_end);
    let relr = address!(__relr_start)..address!(__relr_end);
    // SAFETY: the linker's tables say where; all lies in the kernel's own writable (identity-mapped) memory.
    unsafe { relocate::relocate(physical, virtual_base, rela, relr) };

    // SAFETY: early tables, used by this CPU only, written before anything depends on the entries.
    unsafe {
        let table = |address: *const u64| address as u64 | pte::PRESENT | pte::WRITE;
        let pml4 = address!(kernel_pml4) as *mut u64;
        let pdpt = address!(high_pdpt) as *mut u64;
        let pd = address!(high_pd) as *mut u64;
        let pt = address!(high_pt) as *mut u64;
        *pml4.add(511) = table(pdpt);
        *pdpt.add(510) = table(pd);
        let offset = virtual_base - layout::KERNEL_REGION;
        let first = offset / layout::LARGE_PAGE;
        let mut number = 0;
        while number < relocate::TABLES && first + number < 512 {
            *pd.add(first + number) = table(pt.add(512 * number));
            number += 1;
        }
        let first_page = offset % layout::LARGE_PAGE / layout::PAGE;
        let guard = address!(early_guard) - physical;
        let mut at = 0;
        while at < parts.end {
            let rights = if at < parts.text_end {
                0
            } else if at < parts.rodata_end {
                pte::NO_EXECUTE
            } else {
                pte::NO_EXECUTE | pte::WRITE
            };
            if at != guard {
                let entry = (physical + at) as u64 | pte::PRESENT | pte::ACCESSED | pte::DIRTY | rights;
                *pt.add(first_page + at / layout::PAGE) = entry;
            }
            at += layout::PAGE;
        }
    }
    // SAFETY: a static of this module in identity-mapped memory; no other CPU runs.
    unsafe { CHOSEN_DIRECT_BASE = direct_base };
    virtual_base
}

/// The base chosen for the map of all RAM.
static mut CHOSEN_DIRECT_BASE: usize = 0;

/// First code at the kernel's own addresses.
unsafe extern "C" fn upper(start_info: u64, slide: usize) -> ! {
    // SAFETY: written once by `early`, read here by the only CPU.
    let direct_base = unsafe { CHOSEN_DIRECT_BASE };
    crate::boot::start(start_info, slide, direct_base)
}
