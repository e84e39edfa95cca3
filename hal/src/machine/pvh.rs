//! What the loader says of the machine: PVH start info (Xen's `hvm/start_info.h`).
//!
//! It is read once, before there is memory to allocate, in the identity map of early boot.
use super::loader::Loader;
use crate::arch::memory_map::EARLY_MAPPED;
use crate::mm::layout::PAGE;
use crate::mm::ranges::Ranges;
use core::mem::size_of;

/// `XEN_HVM_START_MAGIC_VALUE`.
const START_MAGIC: u32 = 0x336e_c578;
/// A memory map entry of RAM, as in E820.
const TYPE_RAM: u32 = 1;
/// Longest command line that is read.
const MAX_COMMAND_LINE: usize = 64 * 1024;

#[repr(C)]
#[derive(Clone, Copy)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct MapEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// Reads the start info.
///
/// # Safety
/// `start_info` is the address that a PVH loader passed, and the first GiB is mapped at 0.
pub unsafe fn read(start_info: u64) -> Loader {
    assert!(
        start_info + size_of::<StartInfo>() as u64 <= EARLY_MAPPED.end,
        "the loader's start info lies out of reach"
    );
    // SAFETY: mapped (checked), written by the loader, not RAM that Rust uses.
    let info = unsafe { *(start_info as *const StartInfo) };
    assert!(info.magic == START_MAGIC, "not started by PVH: no start info");
    assert!(
        info.version >= 1 && info.memory_map != 0,
        "the loader gave no memory map (PVH start info version 1)"
    );
    let map_len = u64::from(info.memory_map_entries) * size_of::<MapEntry>() as u64;
    assert!(info.memory_map + map_len <= EARLY_MAPPED.end, "the loader's memory map lies out of reach");

    let mut ram = Ranges::new();
    let mut total = 0;
    let mut highest = 0;
    for i in 0..u64::from(info.memory_map_entries) {
        let place = info.memory_map + i * size_of::<MapEntry>() as u64;
        // SAFETY: in the identity map, checked above; entries need not be aligned.
        let entry = unsafe { core::ptr::read_unaligned(place as *const MapEntry) };
        if entry.kind == TYPE_RAM {
            let start = entry.address.next_multiple_of(PAGE as u64);
            let end = (entry.address + entry.size) & !(PAGE as u64 - 1);
            ram.push(start, end);
            total += entry.size;
            highest = highest.max(end);
        }
    }
    // SAFETY: the loader's string; only what the identity map covers is read.
    let command_line = (info.command_line, unsafe { text_length(info.command_line) });
    let mut reserved = Ranges::new();
    reserved.push(start_info, start_info + size_of::<StartInfo>() as u64);
    reserved.push(info.memory_map, info.memory_map + map_len);
    reserved.push(info.command_line, info.command_line + command_line.1 as u64 + 1);
    Loader { ram, total, highest, rsdp: info.rsdp, command_line, reserved }
}

/// Bytes of the text at `address`, up to its zero, the end of the identity map or the longest command line. None if the address
/// is 0.
///
/// # Safety
/// The first GiB is mapped at 0, and what is there is not written meanwhile.
unsafe fn text_length(address: u64) -> usize {
    if address == 0 || address >= EARLY_MAPPED.end {
        return 0;
    }
    let reach = MAX_COMMAND_LINE.min((EARLY_MAPPED.end - address) as usize);
    let mut len = 0;
    // SAFETY: in the identity map, by the bounds.
    while len < reach && unsafe { *((address + len as u64) as *const u8) } != 0 {
        len += 1;
    }
    len
}
