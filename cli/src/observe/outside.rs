//! A guest seen from outside: its CPUs stopped, their registers and its memory read, and what the kernel's symbols say of them. It
//! works while the guest itself does not answer.

use std::collections::HashMap;

use coracle_control::{CpuRecord, EventRecord, EventsHead, NAME_BYTES, REGISTERS, Request, SampleRecord};
use object::Endianness;
use object::elf::{FileHeader64, SHT_SYMTAB, STT_OBJECT};
use object::read::elf::{FileHeader as _, Sym as _};

use super::client::Client;
use super::stack::SWITCHED;
use super::symbols::Module;
use super::unwind::{Registers, register};
use crate::arch::Arch;
use crate::error::{Error, Result};
use crate::kernel::debug_elf;

/// The first address of the kernel's half.
pub const KERNEL_HALF: u64 = 1 << 63;
/// Bytes of a kernel stack (`hal/src/mm/stack.rs`).
const KERNEL_STACK: u64 = 36 << 10;
/// Words of the tables of offsets: of a CPU, of a thread.
const CPU_OFFSETS: usize = 6;
const THREAD_OFFSETS: usize = 9;
/// Threads of a process that are looked for at most.
const MOST_THREADS: u64 = 4096;

/// The kernel in this command: its functions, and where it has what is read from outside.
pub struct Kernel {
    /// Its functions.
    pub module: Module,
    /// Its data, by names.
    data: HashMap<String, u64>,
}

impl Kernel {
    /// The kernel in this command.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn load() -> Result<Kernel> {
        let elf = debug_elf(Arch::X86_64)?;
        let data = data_symbols(&elf);
        let parts = Module::read(elf).zip(data);
        let (module, data) =
            parts.ok_or_else(|| Error::new("the kernel's symbols in this command cannot be read"))?;
        Ok(Kernel { module, data })
    }

    fn place(&self, name: &str) -> Result<u64> {
        self.data
            .get(name)
            .copied()
            .ok_or_else(|| Error::new(format!("this command's kernel has no `{name}`")))
    }
}

/// The names and addresses of an ELF file's data.
fn data_symbols(elf: &[u8]) -> Option<HashMap<String, u64>> {
    let header = FileHeader64::<Endianness>::parse(elf).ok()?;
    let endian = header.endian().ok()?;
    let table = header.sections(endian, elf).ok()?.symbols(endian, elf, SHT_SYMTAB).ok()?;
    let data = table.iter().filter(|symbol| symbol.st_type() == STT_OBJECT).filter_map(|symbol| {
        let name = String::from_utf8_lossy(table.symbol_name(endian, symbol).ok()?);
        Some((format!("{:#}", rustc_demangle::demangle(&name)), symbol.st_value(endian)))
    });
    Some(data.collect())
}

/// The thread that a CPU runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its process; 0: it idles, or works for the kernel.
    pub pid: u32,
    /// Its number.
    pub tid: u32,
    /// Its name.
    pub name: String,
    /// Where the kernel has it.
    place: u64,
    /// The end of its kernel stack, where the program's registers end.
    stack_end: u64,
}

/// Where the kernel of a guest has what is read here.
pub struct Layout {
    /// The address that the kernel's ELF address 0 was moved to.
    pub slide: u64,
    cpu: [u64; CPU_OFFSETS],
    thread: [u64; THREAD_OFFSETS],
}

/// The machine of a guest.
pub struct Outside<'a> {
    client: &'a mut Client,
}

impl<'a> Outside<'a> {
    /// The machine of the guest that is asked over this connection.
    pub fn of(client: &'a mut Client) -> Self {
        Outside { client }
    }

    fn ask(&mut self, request: Request<'_>) -> Result<Vec<u8>> {
        self.client.ask(request)?.map_err(|error| {
            let why = match i32::from(error) {
                libc::EBUSY => "another command has stopped it for a moment".to_owned(),
                error => std::io::Error::from_raw_os_error(error).to_string(),
            };
            Error::new(format!("the machine of `{}` cannot be looked at", self.client.name())).why(why)
        })
    }

    /// Stops the machine, until [`Outside::resume`] or the end of the connection. Its clock stands still meanwhile.
    pub fn pause(&mut self) -> Result<()> {
        self.ask(Request::MachinePause).map(|_| ())
    }

    /// The CPU that is held for a sample, until [`Outside::resume`]; `None` if none is within a moment.
    pub fn sample(&mut self) -> Result<Option<SampleRecord>> {
        let answer = self.ask(Request::MachineSample)?;
        Ok(SampleRecord::decode(&answer).map(|(sample, _)| sample))
    }

    /// Lets it go on.
    pub fn resume(&mut self) -> Result<()> {
        self.ask(Request::MachineResume).map(|_| ())
    }

    /// The CPUs' registers.
    pub fn cpus(&mut self) -> Result<Vec<CpuRecord>> {
        let answer = self.ask(Request::MachineCpus)?;
        let (mut rest, mut all) = (&answer[..], Vec::new());
        while let Some((cpu, after)) = CpuRecord::decode(rest) {
            all.push(cpu);
            rest = after;
        }
        Ok(all)
    }

    /// What is there of `len` bytes of memory, as a CPU sees it.
    pub fn read(&mut self, cpu: &CpuRecord, address: u64, len: u64) -> Result<Vec<u8>> {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.ask(Request::MachineMemory { root: cpu.cr3, address, len })
    }

    fn words<const N: usize>(&mut self, cpu: &CpuRecord, address: u64) -> Result<Option<[u64; N]>> {
        let bytes = self.read(cpu, address, 8 * N as u64)?;
        let mut words = [0; N];
        for (place, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
            let Ok(bytes) = bytes.try_into() else { return Ok(None) };
            *place = u64::from_le_bytes(bytes);
        }
        Ok((bytes.len() == 8 * N).then_some(words))
    }

    /// Finds the kernel, by what a CPU has of it.
    ///
    /// # Errors
    /// If it is not the kernel in this command, or has not started yet.
    pub fn layout(&mut self, kernel: &Kernel, cpu: &CpuRecord) -> Result<Layout> {
        let slide = cpu.interrupt_table.wrapping_sub(kernel.place("coracle_hal::arch::x86_64::trap::IDT")?);
        let cpu_offsets = self.table(kernel, cpu, slide, "coracle_hal::outside::OUTSIDE", b"coracleC")?;
        let thread = self.table(kernel, cpu, slide, "coracle_core::task::thread::OUTSIDE", b"coracleT")?;
        Ok(Layout { slide, cpu: cpu_offsets, thread })
    }

    /// A table of offsets, which begins with a mark.
    fn table<const N: usize>(
        &mut self,
        kernel: &Kernel,
        cpu: &CpuRecord,
        slide: u64,
        name: &str,
        mark: &[u8; 8],
    ) -> Result<[u64; N]> {
        let words = self.words(cpu, kernel.place(name)?.wrapping_add(slide))?;
        words.filter(|words: &[u64; N]| words[0] == u64::from_le_bytes(*mark)).ok_or_else(|| {
            Error::new("the kernel in the guest is not the one in this command, whose symbols it would need")
                .help("build the image anew, or use the `coracle` that built it")
        })
    }

    /// The thread that a CPU runs; none while it starts.
    pub fn running(&mut self, layout: &Layout, cpu: &CpuRecord) -> Result<Option<Running>> {
        let [_, task_state, stack_top, slot, ..] = layout.cpu;
        let local = cpu.task_state.wrapping_sub(task_state);
        let Some([top]) = self.words(cpu, local.wrapping_add(stack_top))? else { return Ok(None) };
        let Some([thread]) = self.words(cpu, top.wrapping_add(slot))? else { return Ok(None) };
        self.thread(layout, cpu, thread)
    }

    /// The thread at an address of the kernel's memory.
    fn thread(&mut self, layout: &Layout, cpu: &CpuRecord, place: u64) -> Result<Option<Running>> {
        let [_, counts, tid, name, process, pid, top, ..] = layout.thread;
        let thread = place.wrapping_add(counts);
        let Some([top]) = self.words(cpu, thread.wrapping_add(top))? else { return Ok(None) };
        let Some([tid]) = self.words(cpu, thread.wrapping_add(tid))? else { return Ok(None) };
        let Some([process]) = self.words(cpu, thread.wrapping_add(process))? else { return Ok(None) };
        let Some([pid]) = self.words(cpu, process.wrapping_add(pid))? else { return Ok(None) };
        let name = self.read(cpu, thread.wrapping_add(name), NAME_BYTES as u64)?;
        let len = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        let name = String::from_utf8_lossy(&name[..len]).into_owned();
        // Both are numbers of 32 bits.
        Ok(Some(Running { pid: pid as u32, tid: tid as u32, name, place, stack_end: top }))
    }

    /// Where the kernel has the process that a thread is of.
    pub fn process(&mut self, layout: &Layout, cpu: &CpuRecord, of: &Running) -> Result<Option<u64>> {
        let [_, counts, _, _, process, ..] = layout.thread;
        let place = of.place.wrapping_add(counts).wrapping_add(process);
        Ok(self.words(cpu, place)?.map(|[process]| process))
    }

    /// All threads of the process that the kernel has at an address.
    pub fn threads_of(&mut self, layout: &Layout, cpu: &CpuRecord, process: u64) -> Result<Vec<Running>> {
        let [.., list] = layout.thread;
        // A vector's address, its length and its capacity, which it has in an order of its own.
        let Some(mut vector) = self.words::<3>(cpu, process.wrapping_add(list))? else {
            return Ok(Vec::new());
        };
        vector.sort_unstable();
        let [len, _, start] = vector;
        let mut all = Vec::new();
        if start < KERNEL_HALF || len > MOST_THREADS {
            return Ok(all);
        }
        for number in 0..len {
            let Some([place]) = self.words(cpu, start.wrapping_add(8 * number))? else { break };
            all.extend(self.thread(layout, cpu, place)?);
        }
        Ok(all)
    }

    /// The kernel's registers of a thread that does not run, as it left them.
    pub fn left(&mut self, layout: &Layout, cpu: &CpuRecord, thread: &Running) -> Result<Option<Registers>> {
        let [_, counts, .., saved, _] = layout.thread;
        let place = thread.place.wrapping_add(counts).wrapping_add(saved);
        let Some([pointer]) = self.words(cpu, place)? else { return Ok(None) };
        let Some(words) = self.words::<{ SWITCHED.len() + 1 }>(cpu, pointer)? else { return Ok(None) };
        let mut all: Registers = [None; 17];
        SWITCHED.iter().zip(words).for_each(|(number, word)| all[*number] = Some(word));
        all[register::RIP] = words.last().copied();
        all[register::RSP] = Some(pointer.wrapping_add(8 * words.len() as u64));
        Ok(Some(all))
    }

    /// The kernel stack that a CPU uses, from its stack pointer on; empty if it is in a program.
    pub fn kernel_stack(&mut self, cpu: &CpuRecord, running: Option<&Running>) -> Result<Vec<u8>> {
        /// Of a stack whose end is not known.
        const SOME: u64 = 1024;
        if cpu.rsp < KERNEL_HALF {
            return Ok(Vec::new());
        }
        let len = running.and_then(|running| running.stack_end.checked_sub(cpu.rsp));
        self.read(cpu, cpu.rsp, len.filter(|&len| len <= KERNEL_STACK).unwrap_or(SOME))
    }

    /// The program's registers at the end of its thread's kernel stack, in the order of [`REGISTERS`].
    pub fn saved(&mut self, cpu: &CpuRecord, running: &Running) -> Result<Option<[u64; REGISTERS.len()]>> {
        self.words(cpu, running.stack_end.wrapping_sub(8 * REGISTERS.len() as u64))
    }

    /// The guest's clock: a time in nanoseconds since boot, the count of ticks at that time, and the length of a tick.
    pub fn clock(&mut self, kernel: &Kernel, layout: &Layout, cpu: &CpuRecord) -> Result<Option<EventsHead>> {
        let place = kernel.place("coracle_hal::time::CLOCK")?.wrapping_add(layout.slide);
        let Some([clock]) = self.words(cpu, place)? else { return Ok(None) };
        // `Clock` of `hal/src/time.rs`.
        let words = self.words(cpu, clock)?;
        Ok(words.map(|[_, now_ticks, now_ns, rate]| EventsHead { now_ns, now_ticks, rate, cpus: 0 }))
    }

    /// The last events of a CPU, the oldest first; none if none are noted.
    pub fn events(&mut self, layout: &Layout, cpu: &CpuRecord, most: u64) -> Result<Vec<EventRecord>> {
        let local = cpu.task_state.wrapping_sub(layout.cpu[1]);
        let Some([ring]) = self.words(cpu, local.wrapping_add(layout.cpu[5]))? else { return Ok(Vec::new()) };
        // `Ring` of the crate `coracle-event-ring`.
        let Some([head, mask, base]) = self.words(cpu, ring)? else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for number in head.saturating_sub(most.min(mask.saturating_add(1)))..head {
            let at = base.wrapping_add((number & mask) * EventRecord::BYTES as u64);
            let bytes = self.read(cpu, at, EventRecord::BYTES as u64)?;
            let Some((record, _)) = EventRecord::decode(&bytes) else { break };
            all.push(record);
        }
        Ok(all)
    }
}

/// A CPU's registers, by their numbers in DWARF.
pub fn registers(cpu: &CpuRecord) -> Registers {
    let mut all = [None; 17];
    let general = [
        cpu.rax, cpu.rdx, cpu.rcx, cpu.rbx, cpu.rsi, cpu.rdi, cpu.rbp, cpu.rsp, cpu.r8, cpu.r9, cpu.r10,
        cpu.r11, cpu.r12, cpu.r13, cpu.r14, cpu.r15, cpu.rip,
    ];
    for (place, value) in all.iter_mut().zip(general) {
        *place = Some(value);
    }
    debug_assert_eq!(all[register::RIP], Some(cpu.rip));
    all
}
