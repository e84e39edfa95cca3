//! The vDSO (vdso(7)): a tiny ELF shared object that programs call for the time without a system call.
//!
//! The whole object is assembled into the kernel: ELF header, program headers, dynamic section, symbols with their hash table (System V
//! ABI, chapters 4 and 5) are the same for all architectures (`object!`); the code behind them is the architecture's.
#[cfg(target_os = "none")]
use crate::mm::frame::FRAME_SIZE;
use crate::mm::frame::Frame;
use alloc::vec::Vec;
#[cfg(target_os = "none")]
use coracle_fallible::TryVec as _;

/// Pages to map at any address, in order: the data page(s), readable, then the ELF, readable and executable.
pub struct Vdso {
    /// Clock parameters: mapped read-only, directly before the ELF.
    pub data: Vec<Frame>,
    /// The ELF image; its first page is what AT_SYSINFO_EHDR names.
    pub code: Vec<Frame>,
    /// Offset of the return from signal handlers within `code`, usable as a signal restorer.
    pub sigreturn: usize,
}

/// Where the object lies among the kernel's constants.
#[cfg(target_os = "none")]
pub(crate) struct Object {
    /// Its first byte.
    pub start: *const u8,
    /// Behind its last.
    pub end: *const u8,
    /// The return from signal handlers.
    pub sigreturn: *const u8,
    /// clock_gettime, the system call in it, and behind its last byte.
    pub gettime: [*const u8; 3],
}

/// The vDSO, the same for all processes. `None`: out of memory.
#[cfg(target_os = "none")]
pub fn get() -> Option<&'static Vdso> {
    static VDSO: spin::Once<Vdso> = spin::Once::new();
    VDSO.try_call_once(|| make().ok_or(())).ok()
}

/// The code of the vDSO for time namespaces, in which clock_gettime is a system call: the same object with the call in front. `None`: out of
/// memory.
#[cfg(target_os = "none")]
pub fn without_clocks() -> Option<&'static Vec<Frame>> {
    static CODE: spin::Once<Vec<Frame>> = spin::Once::new();
    CODE.try_call_once(|| make_without_clocks().ok_or(())).ok()
}

#[cfg(target_os = "none")]
fn make_without_clocks() -> Option<Vec<Frame>> {
    let code = code()?;
    let object = crate::arch::vdso::OBJECT;
    let [function, call, end] = object.gettime.map(|at| at as usize - object.start as usize);
    for (to, at) in (function..).zip(call..end) {
        let mut byte = [0];
        code.get(at / FRAME_SIZE)?.read(at % FRAME_SIZE, &mut byte);
        code.get(to / FRAME_SIZE)?.write(to % FRAME_SIZE, &byte);
    }
    Some(code)
}

/// There is none on the host.
#[cfg(not(target_os = "none"))]
pub fn without_clocks() -> Option<&'static Vec<Frame>> {
    None
}

/// There is none on the host.
#[cfg(not(target_os = "none"))]
pub fn get() -> Option<&'static Vdso> {
    let _ = crate::time::page as fn() -> Option<&'static Frame>;
    None
}

#[cfg(target_os = "none")]
fn make() -> Option<Vdso> {
    let object = crate::arch::vdso::OBJECT;
    let data = crate::time::page()?.clone();
    let code = code()?;
    let sigreturn = object.sigreturn as usize - object.start as usize;
    let mut pages = Vec::new();
    pages.try_push(data).ok()?;
    Some(Vdso { data: pages, code, sigreturn })
}

/// The object's pages.
#[cfg(target_os = "none")]
fn code() -> Option<Vec<Frame>> {
    let object = crate::arch::vdso::OBJECT;
    let len = object.end as usize - object.start as usize;
    // SAFETY: the assembled bytes, in the kernel's constants.
    let bytes = unsafe { core::slice::from_raw_parts(object.start, len) };
    let mut code = Vec::new();
    for page in bytes.chunks(FRAME_SIZE) {
        let frame = Frame::alloc_zeroed()?;
        frame.write(0, page);
        code.try_push(frame).ok()?;
    }
    Some(code)
}

/// Assembly of the object up to its code, from `vdso_start`: what ELF calls the machine, the version of the functions, the hash table (one
/// bucket, with all symbols in a chain: numbers of buckets and of symbols, the first, and the next of each), each symbol's version, and the
/// functions' names. The code of the function `x` is between `vdso_x` and `vdso_x_end`; `vdso_end` is behind all.
#[cfg(target_os = "none")]
macro_rules! object {
    (machine: $machine:literal, version: $version:literal, version_hash: $version_hash:literal, hash: $hash:literal,
     versions: $versions:literal, functions: { $($function:ident: $name:literal),* }) => {
        concat!(
            ".section .rodata.vdso, \"a\"\n",
            ".balign 16\n",
            ".globl vdso_start, vdso_end, vdso_sigreturn, vdso_gettime, vdso_gettime_call, vdso_gettime_end\n",
            "vdso_start:\n",
            // ELF header: 64-bit, little-endian, shared object.
            ".byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0\n",
            ".short 3, ", $machine, "\n",
            ".long 1\n",
            // No entry; the program headers; no section headers.
            ".quad 0, vdso_segments - vdso_start, 0\n",
            ".long 0\n",
            ".short 64, 56, 2, 64, 0, 0\n",
            "vdso_segments:\n",
            // PT_LOAD, read and execute: all.
            ".long 1, 5\n",
            ".quad 0, 0, 0, vdso_end - vdso_start, vdso_end - vdso_start, 4096\n",
            // PT_DYNAMIC, read.
            ".long 2, 4\n",
            ".quad vdso_dynamic - vdso_start, vdso_dynamic - vdso_start, vdso_dynamic - vdso_start\n",
            ".quad vdso_dynamic_end - vdso_dynamic, vdso_dynamic_end - vdso_dynamic, 8\n",
            "vdso_dynamic:\n",
            // DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT, DT_SONAME, DT_VERSYM, DT_VERDEF, DT_VERDEFNUM, the end.
            ".quad 4, vdso_hash - vdso_start\n",
            ".quad 5, vdso_strings - vdso_start\n",
            ".quad 6, vdso_symbols - vdso_start\n",
            ".quad 10, vdso_strings_end - vdso_strings\n",
            ".quad 11, 24\n",
            ".quad 14, vdso_soname - vdso_strings\n",
            ".quad 0x6ffffff0, vdso_versions - vdso_start\n",
            ".quad 0x6ffffffc, vdso_definitions - vdso_start\n",
            ".quad 0x6ffffffd, 2\n",
            ".quad 0, 0\n",
            "vdso_dynamic_end:\n",
            "vdso_hash:\n",
            ".long ", $hash, "\n",
            ".balign 8\n",
            "vdso_symbols:\n",
            ".quad 0, 0, 0\n",
            $(
                ".long vdso_name_", stringify!($function), " - vdso_strings\n",
                // A global function, with its section's number, which only has to be one.
                ".byte 0x12, 0\n",
                ".short 1\n",
                ".quad vdso_", stringify!($function), " - vdso_start\n",
                ".quad vdso_", stringify!($function), "_end - vdso_", stringify!($function), "\n",
            )*
            "vdso_versions:\n",
            ".short ", $versions, "\n",
            ".balign 8\n",
            "vdso_definitions:\n",
            // Version 1, the object itself (VER_FLG_BASE), then that of the functions: version, flags, index, count, hash, aux, next.
            ".short 1, 1, 1, 1\n",
            ".long 0x0deebfa1, 20, 28\n",
            ".long vdso_soname - vdso_strings, 0\n",
            ".short 1, 0, 2, 1\n",
            ".long ", $version_hash, ", 20, 0\n",
            ".long vdso_version - vdso_strings, 0\n",
            "vdso_strings:\n",
            ".byte 0\n",
            "vdso_soname: .asciz \"linux-vdso.so.1\"\n",
            "vdso_version: .asciz \"", $version, "\"\n",
            $("vdso_name_", stringify!($function), ": .asciz \"", $name, "\"\n",)*
            "vdso_strings_end:\n",
        )
    };
}
#[cfg(target_os = "none")]
pub(crate) use object;
