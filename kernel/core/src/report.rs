//! Crash reports: registers and symbolised backtraces of the program and of the kernel.
use crate::arch::{self, registers};
use crate::events;
use crate::fs::file::File;
use crate::log::{self, Line};
use crate::mm::memory::Memory;
use crate::mm::user_buf::UserBuf;
use crate::task::code;
use crate::task::signal::{self, SigInfo};
use crate::task::thread::Thread;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::{Lossy, NoMemory, filled, text};
use coracle_hal::checksum::crc32c;
use coracle_hal::context::UserContext;
use coracle_hal::once::Once;
use coracle_hal::paging::Prot;
use coracle_hal::sync::atomic::{AtomicBool, Ordering::*};
use coracle_hal::{backtrace, boot, cpu};
use coracle_image::archive::{Archive, Symbols};
use coracle_loader::{HEADER_LEN, Header, SectionTable, best_symbol};
use core::fmt;
use core::panic::PanicInfo;
use linux_raw_sys::general as abi;

/// Frames of a backtrace at most.
const MAX_FRAMES: usize = 32;
/// Words of the stack that are searched for return addresses where there are no frame pointers.
const SCANNED_WORDS: usize = 512;
/// Largest symbol table that is read for a report.
const MAX_TABLE: u64 = 64 << 20;

/// Stands in a report for what there is no memory for.
const NO_MEMORY: &str = "(no memory to say)";

static ARCHIVE: Once<Archive<'static>> = Once::new();

/// The archive whose symbols name the kernel's functions.
pub fn configure(archive: Archive<'static>) {
    ARCHIVE.call_once(|| archive);
}

/// That archive.
pub fn archive() -> Option<Archive<'static>> {
    ARCHIVE.get().copied()
}

/// The names of the kernel's functions, if the image is as it was built there.
fn symbols() -> Option<Symbols<'static>> {
    static SOUND: Once<bool> = Once::new();
    let archive = ARCHIVE.get()?;
    let is_sound = || archive.symbol_pages().all(|page| archive.check_page(page, crc32c).is_ok());
    SOUND.call_once(is_sound).then(|| archive.symbols())
}

/// The name of a signal.
fn signal_name(signal: u32) -> &'static str {
    match signal {
        abi::SIGQUIT => "SIGQUIT",
        abi::SIGILL => "SIGILL",
        abi::SIGTRAP => "SIGTRAP",
        abi::SIGABRT => "SIGABRT",
        abi::SIGBUS => "SIGBUS",
        abi::SIGFPE => "SIGFPE",
        abi::SIGSEGV => "SIGSEGV",
        abi::SIGXCPU => "SIGXCPU",
        abi::SIGXFSZ => "SIGXFSZ",
        abi::SIGSYS => "SIGSYS",
        _ => "a signal",
    }
}

/// What the signal's code says.
fn reason(info: &SigInfo) -> &'static str {
    /// With the type of the other codes.
    const SI_TKILL: u32 = signal::SI_TKILL as u32;
    match (info.signal, info.code as u32) {
        (_, abi::SI_USER | SI_TKILL) => "sent by a process",
        (abi::SIGSEGV, abi::SEGV_MAPERR) => "nothing is mapped at the address",
        (abi::SIGSEGV, abi::SEGV_ACCERR) => "the mapping does not allow it",
        (abi::SIGSEGV, _) => "general protection, or a signal frame without room",
        (abi::SIGBUS, abi::BUS_ADRERR) => "the file ends before the address",
        (abi::SIGBUS, abi::BUS_ADRALN) => "misaligned",
        (abi::SIGFPE, abi::FPE_INTDIV) => "division by zero, or its result does not fit",
        (abi::SIGFPE, _) => "floating point",
        (abi::SIGILL, _) => "not an instruction",
        (abi::SIGTRAP, _) => "breakpoint",
        _ => "",
    }
}

/// Tells where the program was when a signal ended it.
#[cold]
#[inline(never)]
pub fn program(thread: &Arc<Thread>, c: &UserContext, info: &SigInfo) {
    let process = &thread.process;
    let program = process.program.lock().clone();
    report!(
        "{} (process {}, thread {} \"{}\") is killed by {} ({}): {}",
        program.path,
        process.pid,
        thread.tid(),
        thread.name(),
        signal_name(info.signal),
        info.signal,
        reason(info)
    );
    if info.is_fault() {
        report!("fault address {:#018x}", info.fields[0]);
    }
    arch::report::program(c, thread.task.fs_base());
    let memory = process.memory();
    let has_command = log::has_control();
    if has_command {
        unwind(thread, &memory, c);
    }
    report!("backtrace of the program:");
    for (number, (address, guessed)) in backtrace(&memory, c).into_iter().enumerate() {
        // A return address may be the first byte after the function that called: look at the byte before it.
        let looked_up = if number == 0 { address } else { address - 1 };
        let mark = if guessed { "? " } else { "" };
        let place = describe(&memory, looked_up);
        report!("  #{number} {address:#018x} {mark}{}", place.as_deref().unwrap_or(NO_MEMORY));
    }
    if has_command {
        log::write(Line::Unwind, format_args!("{:x} e", thread.tid()));
    }
}

/// Words in hexadecimal, a blank before each.
struct Words<'a>(&'a [u64]);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, " {word:x}"))
    }
}

/// Hands the command what it needs to unwind the program's stack itself: registers (`r`), regions with code (`m`), the stack (`s`).
fn unwind(thread: &Thread, memory: &Memory, c: &UserContext) {
    /// Bytes of the stack.
    const STACK: u64 = 16 << 10;
    /// Words in a line: they lie in one page.
    const LINE: usize = 32;
    let tid = thread.tid();
    log::write(Line::Unwind, format_args!("{tid:x} r{}", Words(&arch::report::dwarf(c))));
    code::regions(memory, |line| log::write(Line::Unwind, format_args!("{tid:x} m {line}")));
    let start = registers::sp(c) as u64 & !(8 * LINE as u64 - 1);
    for at in (start..start.saturating_add(STACK)).step_by(8 * LINE) {
        let mut bytes = [0; 8 * LINE];
        if memory.read(at as usize, &mut bytes).is_err() {
            break;
        }
        let mut words = [0; LINE];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        log::write(Line::Unwind, format_args!("{tid:x} s {at:x}{}", Words(&words)));
    }
}

fn word(memory: &Memory, addr: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    memory.read(addr as usize, &mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes))
}

fn executable(memory: &Memory, addr: u64) -> bool {
    memory.region_at(addr as usize).is_some_and(|region| region.prot.contains(Prot::EXEC))
}

/// Addresses from the innermost frame out; true where one was only found lying on the stack.
fn backtrace(memory: &Memory, c: &UserContext) -> heapless::Vec<(u64, bool), MAX_FRAMES> {
    let (pc, sp) = (registers::pc(c) as u64, registers::sp(c) as u64);
    let mut found = heapless::Vec::from_array([(pc, false)]);
    // A call through a bad pointer left its return address on top.
    if !executable(memory, pc)
        && let Some(caller) =
            arch::report::caller(c, |at| word(memory, at)).filter(|&caller| executable(memory, caller))
    {
        let _ = found.push((caller, false));
    }
    let mut frame = arch::report::frame_pointer(c);
    while !found.is_full() && frame >= sp && frame.is_multiple_of(8) {
        let (Some(next), Some(caller)) = (word(memory, frame), word(memory, frame + 8)) else { break };
        if !executable(memory, caller) {
            break;
        }
        let _ = found.push((caller, false));
        if next <= frame {
            break;
        }
        frame = next;
    }
    if found.len() < 3 {
        let words = (0..SCANNED_WORDS as u64).map_while(|i| word(memory, (sp & !7) + i * 8));
        let candidates = words.filter(|&address| {
            executable(memory, address)
                && arch::report::follows_call(|bytes, at| memory.read(at as usize, bytes).is_ok(), address)
        });
        for address in candidates {
            if !found.contains(&(address, false)) && found.push((address, true)).is_err() {
                break;
            }
        }
    }
    found
}

/// `function+0x12 (file+0x3456)`.
fn describe(memory: &Memory, address: u64) -> Result<String, NoMemory> {
    let Some(region) = memory.region_at(address as usize) else {
        return text(format_args!("(not mapped)"));
    };
    let Some(file) = &region.file else { return text(format_args!("{}", region.label)) };
    let name = file.shown_path();
    if !region.prot.contains(Prot::EXEC) {
        return text(format_args!("({name}, which is data)"));
    }
    let offset = address - region.range.start as u64 + region.offset;
    let place = format_args!("{name}+{offset:#x}");
    match symbol(&**file, offset) {
        Some((name, distance)) => text(format_args!("{}+{distance:#x} ({place})", Lossy(&name))),
        None => text(format_args!("({place})")),
    }
}

fn read(file: &dyn File, range: core::ops::Range<u64>) -> Option<Vec<u8>> {
    let len = range.end.checked_sub(range.start).filter(|&len| len <= MAX_TABLE)?;
    let mut bytes = filled(0, len as usize).ok()?;
    let done = file.read(&mut UserBuf::kernel_out(&mut bytes), range.start, true).ok()?;
    bytes.truncate(done);
    Some(bytes)
}

/// The function that holds byte `offset` of an ELF file, and the distance from its start.
fn symbol(file: &dyn File, offset: u64) -> Option<(Vec<u8>, u64)> {
    let header = Header::parse(&read(file, 0..HEADER_LEN as u64)?, arch::machine::ELF_MACHINE).ok()?;
    let table_start = header.program_headers;
    let table = read(file, table_start..table_start + header.program_headers_len() as u64)?;
    let plan = coracle_loader::Plan::new(&header, &table, file.size()).ok()?;
    let segment = plan.segments.iter().find(|s| s.offset <= offset && offset < s.offset + s.file_len)?;
    let address = offset - segment.offset + segment.address;
    let sections = read(file, SectionTable::range(&header)?)?;
    for section in SectionTable::symbol_sections(&sections) {
        let symbols = read(file, section.symbols)?;
        if let Some((name, start)) = best_symbol(&symbols, address) {
            let at = section.names.start + u64::from(name);
            let mut name = read(file, at..(at + 256).min(section.names.end))?;
            name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
            return Some((name, address - start));
        }
    }
    None
}

/// Tells a failure of the kernel and ends the machine.
pub fn panic(info: &PanicInfo) -> ! {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    let r = cpu::registers();
    if !PANICKED.swap(true, SeqCst) {
        report!("the kernel panicked: {}", info.message());
        if let Some(place) = info.location() {
            report!("at {}:{}", place.file(), place.line());
        }
        report!("registers of CPU {} in the handler of the panic:", cpu::id());
        arch::report::kernel(&r);
        report!("backtrace of the kernel:");
        let slide = boot::kernel_slide();
        backtrace::kernel(|address| {
            let offset = address.wrapping_sub(slide);
            let symbol = symbols().and_then(|symbols| symbols.lookup(offset as u32 - 1));
            match symbol {
                Some(symbol) => {
                    report!("  {offset:#010x} {}+{:#x}", symbol.name, offset as u32 - symbol.start)
                }
                None => report!("  {offset:#010x}"),
            }
        });
        events::report();
    }
    crate::power::abandon()
}
