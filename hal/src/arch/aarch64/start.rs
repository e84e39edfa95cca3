//! From the loader's jump to the kernel's own address space: the header of a Linux image (Linux's
//! Documentation/arch/arm64/booting.rst), relocation of the static-PIE to a random address, page rights of the kernel's own
//! pages, and the loader's device tree.
//!
//! Everything before [`upper`] runs with the MMU off or in an identity map, with relocations not applied yet: no pointers in
//! statics, no panics, no formatting.
use super::instructions::read;
use super::page_table::{self, pte};
use super::{memory_map, random};
use crate::machine::device_tree::{self, DeviceTree, HEADER_SIZE, Node};
use crate::machine::loader::Loader;
use crate::mm::layout;
use crate::mm::ranges::Ranges;
use crate::relocate::{self, Places, Sections};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the stack that boot runs on until the first kernel stack is allocated.
pub const EARLY_STACK_SIZE: usize = 12 * 1024;

/// MAIR_EL1: attribute 0 is for registers of devices (nGnRE), attribute 1 for memory (write-back).
const MAIR: u64 = 0x04 | 0xff << 8;
/// TCR_EL1: 48-bit addresses in both halves, 4-KiB pages, tables in inner shareable write-back memory. The size of physical
/// addresses is added.
const TCR: u64 =
    16 | 16 << 16 | 0b01 << 8 | 0b01 << 10 | 0b11 << 12 | 0b01 << 24 | 0b01 << 26 | 0b11 << 28 | 0b10 << 30;
/// SCTLR_EL1: the bits that must be one, then MMU, caches, alignment of the stack pointer in both levels, and what programs
/// in EL0 may do: `dc zva`, CTR_EL0, `wfi` and `wfe`, cache maintenance.
const SCTLR: u64 = 1 << 11
    | 1 << 20
    | 1 << 22
    | 1 << 28
    | 1 << 29
    | 1
    | 1 << 2
    | 1 << 12
    | 1 << 3
    | 1 << 4
    | 1 << 14
    | 1 << 15
    | 1 << 16
    | 1 << 18
    | 1 << 26;

global_asm!(
    r#"
    .section .boot, "ax"
    b primary
    .long 0
    .quad 0                         // offset from a multiple of 2 MiB
    .quad __end - . + 16            // bytes with .bss; 16 of them lie before this
    .quad 0b1010                    // little-endian, 4-KiB pages, anywhere in memory
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .long 0
    // For `coracle`: where the kernel ends, and on the next page an archive begins.
    .ascii "coracle\0"
    .quad __end - . + 72

    // From EL2 to EL1; what EL1 wants of the machine is let through.
    .macro TO_EL1
    msr daifset, #0xf
    mrs x9, CurrentEL
    cmp x9, #8
    b.ne 9f
    mov x9, #(1 << 31)              // HCR_EL2.RW: EL1 is of 64 bits
    msr hcr_el2, x9
    mov x9, #3                      // counters and timers
    msr cnthctl_el2, x9
    msr cntvoff_el2, xzr
    msr cptr_el2, xzr
    mrs x9, id_aa64pfr0_el1
    ubfx x9, x9, #24, #4
    cbz x9, 8f
    mrs x9, s3_4_c12_c9_5           // ICC_SRE_EL2: system registers of the interrupt controller, for EL1 too
    orr x9, x9, #1
    orr x9, x9, #8
    msr s3_4_c12_c9_5, x9
    isb
8:  mov x9, #0x3c5                  // EL1 with SP_EL1, all masked
    msr spsr_el2, x9
    adr x9, 9f
    msr elr_el2, x9
    eret
9:
    .endm

    // x20: the address of the table of the identity map. Turns the MMU on.
    .macro MMU_ON
    ldr x9, ={mair}
    msr mair_el1, x9
    ldr x9, ={tcr}
    mrs x10, id_aa64mmfr0_el1
    and x10, x10, #0xf
    cmp x10, #5                     // 48 bits, of which entries have no more
    mov x11, #5
    csel x10, x10, x11, ls
    orr x9, x9, x10, lsl #32
    msr tcr_el1, x9
    msr ttbr0_el1, x20
    adrp x9, kernel_root
    msr ttbr1_el1, x9
    tlbi vmalle1
    dsb nsh
    ic iallu
    dsb nsh
    isb
    ldr x9, ={sctlr}
    msr sctlr_el1, x9
    isb
    .endm

primary:
    mov x19, x0
    TO_EL1
    msr spsel, #1
    // The memory behind the image is not zeroed by every loader.
    adrp x9, __bss_start
    add x9, x9, :lo12:__bss_start
    adrp x10, __end
    add x10, x10, :lo12:__end
1:  str xzr, [x9], #8
    cmp x9, x10
    b.lo 1b
    adrp x9, early_stack_top
    mov sp, x9
    mov x0, x19
    bl {early}
    mov x21, x0                     // the kernel's virtual address
    // What was written with the MMU off lies in memory, and nothing stale of it may be in the caches.
    adrp x9, __start
    adrp x10, __end
    add x10, x10, #4096
2:  dc civac, x9
    add x9, x9, #64
    cmp x9, x10
    b.lo 2b
    dsb sy
    adrp x20, identity_root
    MMU_ON
    adrp x10, __start
    adrp x9, early_stack_top
    sub x9, x9, x10
    add x9, x9, x21
    mov sp, x9
    adrp x9, {upper}
    add x9, x9, :lo12:{upper}
    sub x9, x9, x10
    add x9, x9, x21
    mov x0, x19
    mov x1, x21
    mov x29, xzr
    mov x30, xzr
    br x9

    // Another CPU, started by the firmware. x0: the physical address of its stack's top, its first code, and what that wants.
    .globl secondary_start
secondary_start:
    mov x19, x0
    TO_EL1
    msr spsel, #1
    adrp x20, identity_root
    ldp x22, x23, [x19]
    ldr x24, [x19, #16]
    MMU_ON
    mov sp, x22
    mov x0, x24
    mov x29, xzr
    mov x30, xzr
    br x23
    .ltorg

    .section .bss.early, "aw", @nobits
    .balign 4096
identity_root: .skip 4096
identity_table: .skip 4096
kernel_root: .skip 4096
no_root: .skip 4096
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
    mair = const MAIR,
    tcr = const TCR,
    sctlr = const SCTLR,
);

unsafe extern "C" {
    static __text_end: u8;
    static __rodata_end: u8;
    static __end: u8;
    static __start: u8;
    static __rela_start: u8;
    static __rela_end: u8;
    static __relr_start: u8;
    static __relr_end: u8;
    static identity_root: u8;
    static identity_table: u8;
    static kernel_root: u8;
    static no_root: u8;
    static high_pdpt: u8;
    static high_pd: u8;
    static high_pt: u8;
    static early_guard: u8;
    static early_stack_top: u8;
    fn secondary_start();
}

/// The address of a symbol relative to the running instruction: right before and after the relocation, where a static's
/// address would be taken from a table that is relocated itself.
macro_rules! address {
    ($symbol:path) => {{
        let address: usize;
        // SAFETY: computes an address.
        #[allow(unused_unsafe)]
        unsafe {
            core::arch::asm!("adrp {0}, {1}", "add {0}, {0}, :lo12:{1}", out(reg) address, sym $symbol,
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

fn symbol_phys(address: usize) -> u64 {
    (address - address!(__start)) as u64 + memory_map::kernel()
}

/// Physical address of the kernel's top page table.
pub fn root_table() -> u64 {
    symbol_phys(address!(kernel_root))
}

/// Physical address of a table that maps nothing, for the program's half.
pub fn empty_table() -> u64 {
    symbol_phys(address!(no_root))
}

/// Physical address of the code by which another CPU starts.
pub fn secondary() -> u64 {
    symbol_phys(address!(secondary_start))
}

/// Top of the boot stack.
pub fn early_stack_end() -> usize {
    address!(early_stack_top)
}

/// Drops the identity map of early boot. Its tables stay, for CPUs that start.
///
/// # Safety
/// Nothing is reached through it any more, and all RAM is mapped.
pub unsafe fn drop_identity_map() {
    super::console::init();
    // SAFETY: the caller uses it no more.
    unsafe { page_table::set_no_root() };
}

/// The number after `seed=` in the command line.
fn seed(command_line: &str) -> Option<u64> {
    let word = command_line.split(' ').find_map(|word| word.strip_prefix("seed="))?;
    u64::from_str_radix(word, 16).ok()
}

/// Chooses the addresses, relocates the kernel and fills the tables; returns its virtual address. Runs with the MMU off.
unsafe extern "C" fn early(tree: u64) -> usize {
    let physical = address!(__start);
    memory_map::set_kernel(physical as u64);
    TREE.store(tree, Ordering::Relaxed);
    let random = relocate::mix(read!("cntvct_el0")) ^ random::hardware_random().unwrap_or(tree);
    // SAFETY: the loader's tree.
    let random =
        unsafe { tree_at(tree as usize) }.and_then(|tree| seed(command_line(&tree))).unwrap_or(random);
    let parts = sections();
    let Places { kernel: virtual_base, direct } = relocate::choose(random, parts.end);
    DIRECT_BASE.store(direct as u64, Ordering::Relaxed);

    let rela = address!(__rela_start)..address!(__rela_end);
    let relr = address!(__relr_start)..address!(__relr_end);
    // SAFETY: the linker's tables say where; all lies in the kernel's own memory.
    unsafe { relocate::relocate(physical, virtual_base, rela, relr) };
    // SAFETY: early tables, used by this CPU only, written before anything depends on the entries.
    unsafe {
        // One GiB of devices' registers, one of memory.
        let identity = address!(identity_table) as *mut u64;
        *(address!(identity_root) as *mut u64) = page_table::table(identity as u64);
        *identity = page_table::large(0, page_table::DEVICE);
        let memory = page_table::large(memory_map::EARLY_MAPPED.start, page_table::WRITABLE);
        *identity.add(1) = memory & !pte::PRIVILEGED_NO_EXECUTE;
        let table = |address: *const u64| page_table::table(address as u64);
        let root = address!(kernel_root) as *mut u64;
        let pdpt = address!(high_pdpt) as *mut u64;
        let pd = address!(high_pd) as *mut u64;
        let pt = address!(high_pt) as *mut u64;
        *root.add(511) = table(pdpt);
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
                page_table::TEXT
            } else if at < parts.rodata_end {
                page_table::READ_ONLY
            } else {
                page_table::WRITABLE
            };
            if at != guard {
                *pt.add(first_page + at / layout::PAGE) = page_table::page((physical + at) as u64, rights);
            }
            at += layout::PAGE;
        }
    }
    virtual_base
}

/// The base chosen for the map of all RAM, and the device tree's physical address.
static DIRECT_BASE: AtomicU64 = AtomicU64::new(0);
static TREE: AtomicU64 = AtomicU64::new(0);
/// Whether the tree is reached through the map of all RAM.
static IS_TREE_MAPPED: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

/// First code at the kernel's own addresses.
unsafe extern "C" fn upper(tree: u64, slide: usize) -> ! {
    crate::boot::start(tree, slide, DIRECT_BASE.load(Ordering::Relaxed) as usize)
}

/// The tree at an address.
///
/// # Safety
/// What lies there is mapped, and is not written while the result is in use.
unsafe fn tree_at<'a>(address: usize) -> Option<DeviceTree<'a>> {
    if address == 0 {
        return None;
    }
    // SAFETY: passed on to the caller.
    unsafe {
        let header = core::slice::from_raw_parts(address as *const u8, HEADER_SIZE);
        DeviceTree::new(core::slice::from_raw_parts(address as *const u8, device_tree::size(header)?))
    }
}

/// The machine's device tree, if the loader gave one.
pub fn device_tree() -> Option<DeviceTree<'static>> {
    let tree = TREE.load(Ordering::Relaxed);
    let address = if IS_TREE_MAPPED.load(Ordering::Relaxed) { layout::direct(tree) } else { tree as usize };
    // SAFETY: in the identity map, or in the map of all RAM, where it is reserved for ever.
    if tree == 0 { None } else { unsafe { tree_at(address) } }
}

fn command_line<'a>(tree: &DeviceTree<'a>) -> &'a str {
    tree.find(|node| (node.name == b"chosen").then(|| node.text("bootargs"))?).unwrap_or_default()
}

/// Reads the device tree.
///
/// # Safety
/// The identity map is there.
pub unsafe fn read_loader(tree: u64) -> Loader {
    super::console::init_early();
    // SAFETY: passed on to the caller.
    let header = unsafe { tree_at(tree as usize) };
    let Some(parsed) = header else { panic!("the loader gave no device tree") };
    let (mut ram, mut reserved) = (Ranges::new(), Ranges::new());
    let (mut total, mut highest) = (0, 0);
    let mut add = |node: Node| {
        if node.text("device_type") == Some("memory") {
            for (start, size) in node.registers() {
                let end = (start + size) & !(layout::PAGE as u64 - 1);
                ram.push(start.next_multiple_of(layout::PAGE as u64), end);
                total += size;
                highest = end.max(highest);
            }
        }
        None::<()>
    };
    parsed.find(&mut add);
    // SAFETY: as above.
    let size = unsafe { core::slice::from_raw_parts(tree as *const u8, HEADER_SIZE) };
    reserved.push(tree, tree + device_tree::size(size).unwrap_or_default() as u64);
    let text = command_line(&parsed);
    let command_line = (text.as_ptr() as u64, text.len());
    Loader { ram, total, highest, rsdp: 0, command_line, reserved }
}

/// All RAM is mapped: the tree is found there from now on.
pub fn use_direct_map() {
    IS_TREE_MAPPED.store(true, Ordering::Relaxed);
}
