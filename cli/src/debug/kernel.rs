//! The kernel in a debugger's session: breakpoints in it stop the whole machine, by QEMU's server, and what there is then is read from
//! outside, since the guest can't answer.
//!
//! What a debugger wants is kept in `wanted`, and told QEMU when the program goes on. While the program is stopped and the machine runs,
//! QEMU has none of it: the kernel is needed then, to answer.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;

use coracle_control::{CpuRecord, REGISTERS, ThreadState};

use super::arch::{GENERAL, Packet, place};
use super::machine::debugged;
use super::qemu::{GENERAL_BYTES, Place, Qemu, Stop};
use super::session::State;
use crate::error::Result;
use crate::instances;
use crate::observe::{Client, DWARF_NAMES, Kernel as Symbols, Layout, Outside, Running};

/// The first address of the kernel's half.
pub use crate::observe::KERNEL_HALF;
/// What CPUs are called that run no thread of the process: this, and the CPU's number.
pub const CPU_TID: u64 = 1 << 30;
/// A breakpoint, in packets.
pub const EXECUTION: u8 = 1;

/// A thread while the machine stands still.
pub struct Halted {
    /// Its number, or [`CPU_TID`] and that of a CPU.
    pub tid: u64,
    /// Its name.
    pub name: String,
    /// The CPU that it runs on.
    pub cpu: Option<CpuRecord>,
    thread: Option<Running>,
}

/// Why the machine stopped, for the debugger.
pub struct Met {
    /// The thread, among [`Kernel::threads`].
    pub tid: u64,
    /// The watchpoint.
    pub watched: Option<u64>,
    /// It has executed the one instruction that it should, and is at no breakpoint.
    pub is_step: bool,
}

/// The kernel of a guest.
pub struct Kernel {
    client: Client,
    socket: PathBuf,
    symbols: Option<Symbols>,
    layout: Option<Layout>,
    qemu: Option<Qemu>,
    wanted: BTreeSet<Place>,
    set: BTreeSet<Place>,
    /// The threads, while the machine stands still.
    pub threads: Vec<Halted>,
    /// The process, where the kernel has it, and a CPU as it was when it ran it, with its page tables.
    pid: u32,
    process: Option<u64>,
    root: Option<CpuRecord>,
    is_halted: bool,
    stepping: Option<u64>,
    states: BTreeMap<u64, State>,
}

impl Kernel {
    /// That of the guest in which this process is debugged.
    ///
    /// # Errors
    /// If the guest can't be asked.
    pub fn of(name: &str, pid: u32) -> Result<Kernel> {
        Ok(Kernel {
            client: Client::connect(name)?,
            socket: instances::machine_socket(name)?,
            symbols: None,
            layout: None,
            qemu: None,
            wanted: BTreeSet::new(),
            set: BTreeSet::new(),
            threads: Vec::new(),
            pid,
            process: None,
            root: None,
            is_halted: false,
            stepping: None,
            states: BTreeMap::new(),
        })
    }

    /// Whether there can be breakpoints in it.
    pub fn is_there(&self) -> bool {
        self.socket.exists()
    }

    /// Whether the machine stands still for the debugger.
    pub fn is_halted(&self) -> bool {
        self.is_halted
    }

    /// Readable when the machine has stopped.
    pub fn bell(&self) -> Option<BorrowedFd<'_>> {
        self.qemu.as_ref().filter(|_| !self.is_halted).map(Qemu::as_fd)
    }

    /// Wants a place set or not, from when the machine goes on. False: there can be none.
    pub fn want(&mut self, place: Place, is_wanted: bool) -> bool {
        match is_wanted {
            true => self.wanted.insert(place),
            false => self.wanted.remove(&place),
        };
        self.is_there()
    }

    /// Has the machine stand still if something is to be set or removed before it goes on ([`Kernel::resume`]); false: nothing is.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn prepare(&mut self) -> Result<bool> {
        if self.wanted == self.set || !self.is_there() {
            return Ok(false);
        }
        match &mut self.qemu {
            // What it stopped for is met again: it has not executed the instruction.
            Some(qemu) => {
                qemu.interrupt()?;
            }
            None => {
                debugged(&mut self.client, true)?;
                self.qemu = Some(Qemu::connect(&self.socket)?);
            }
        }
        Ok(true)
    }

    /// Takes all out of the kernel, so that it can answer. What it has met meanwhile is returned, and the machine stands still.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn silence(&mut self) -> Result<Option<Met>> {
        if self.set.is_empty() {
            return Ok(None);
        }
        let Some(qemu) = &mut self.qemu else { return Ok(None) };
        let stop = qemu.interrupt()?;
        if !stop.is_asked
            && let Some(met) = self.met(stop)?
        {
            return Ok(Some(met));
        }
        self.update(false)?;
        self.go_on(None)?;
        Ok(None)
    }

    /// Tells QEMU what is wanted, or that nothing is.
    fn update(&mut self, is_wanted: bool) -> Result<()> {
        let Some(qemu) = &mut self.qemu else { return Ok(()) };
        let new = if is_wanted { self.wanted.clone() } else { BTreeSet::new() };
        for place in self.set.difference(&new) {
            qemu.set(*place, false)?;
        }
        for place in new.difference(&self.set) {
            qemu.set(*place, true)?;
        }
        self.set = new;
        Ok(())
    }

    fn go_on(&mut self, step: Option<u64>) -> Result<()> {
        self.is_halted = false;
        self.stepping = step;
        self.threads.clear();
        self.states.clear();
        self.qemu.as_mut().map_or(Ok(()), |qemu| qemu.go_on(step))
    }

    /// Resumes a stopped machine. `step`: this thread executes one instruction, if it is on a CPU.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn resume(&mut self, step: Option<u64>) -> Result<()> {
        self.update(true)?;
        let step = step.and_then(|tid| self.thread(tid)?.cpu).map(|cpu| cpu.number);
        self.go_on(step)
    }

    /// Looks at a machine that has stopped. `None`: it goes on, for what it met is another process's.
    ///
    /// # Errors
    /// If QEMU or the command that runs the guest does not answer.
    pub fn stopped(&mut self) -> Result<Option<Met>> {
        let Some(qemu) = &mut self.qemu else { return Ok(None) };
        let stop = qemu.stopped()?;
        self.met(stop)
    }

    fn met(&mut self, stop: Stop) -> Result<Option<Met>> {
        self.is_halted = true;
        self.look()?;
        let on_cpu = |thread: &&Halted| thread.cpu.is_some_and(|cpu| cpu.number == stop.cpu);
        let Some(thread) = self.threads.iter().find(on_cpu) else {
            self.go_on(None)?;
            return Ok(None);
        };
        let (tid, rip) = (thread.tid, thread.cpu.map_or(0, |cpu| cpu.rip));
        // Addresses of programs are those of one process only.
        if tid >= CPU_TID && rip < KERNEL_HALF && self.stepping.is_none() {
            self.pass(stop.cpu)?;
            return Ok(None);
        }
        let is_step = self.stepping.is_some() && !self.set.iter().any(|place| place.address == rip);
        Ok(Some(Met { tid, watched: stop.watched, is_step }))
    }

    /// Has a CPU execute the instruction at a breakpoint, and the machine go on.
    fn pass(&mut self, cpu: u64) -> Result<()> {
        self.update(false)?;
        if let Some(qemu) = &mut self.qemu {
            qemu.go_on(Some(cpu))?;
            qemu.stopped()?;
        }
        self.update(true)?;
        self.go_on(None)
    }

    /// Looks at all threads.
    fn look(&mut self) -> Result<()> {
        if self.symbols.is_none() {
            self.symbols = Some(Symbols::load()?);
        }
        self.threads.clear();
        let mut outside = Outside::of(&mut self.client);
        let cpus = outside.cpus()?;
        let Some((symbols, first)) = self.symbols.as_ref().zip(cpus.first()) else { return Ok(()) };
        if self.layout.is_none() {
            self.layout = Some(outside.layout(symbols, first)?);
        }
        let Some(layout) = &self.layout else { return Ok(()) };
        let mut others = Vec::new();
        for cpu in &cpus {
            let running = outside.running(layout, cpu)?;
            match running.filter(|running| running.pid == self.pid && running.tid != 0) {
                Some(running) => {
                    self.root = Some(*cpu);
                    let (tid, name) = (running.tid.into(), running.name.clone());
                    self.threads.push(Halted { tid, name, cpu: Some(*cpu), thread: Some(running) });
                }
                None => others.push(*cpu),
            }
        }
        // One that was seen leads to the others, then and later.
        if let Some(one) = self.threads.iter().find_map(|halted| halted.thread.as_ref()) {
            self.process = outside.process(layout, first, one)?;
        }
        if let Some(process) = self.process {
            for thread in outside.threads_of(layout, first, process)? {
                let is_new = self.threads.iter().all(|known| known.tid != u64::from(thread.tid));
                if is_new && thread.pid == self.pid {
                    let (tid, name) = (thread.tid.into(), thread.name.clone());
                    self.threads.push(Halted { tid, name, cpu: None, thread: Some(thread) });
                }
            }
        }
        self.threads.sort_by_key(|thread| thread.tid);
        for cpu in others {
            let running = outside.running(layout, &cpu)?;
            let name = match running {
                _ if cpu.halted != 0 => "waits".to_owned(),
                Some(running) if running.pid != 0 => format!("process {}, {}", running.pid, running.name),
                Some(running) => format!("kernel, {}", running.name),
                None => "starts".to_owned(),
            };
            let name = format!("CPU {}: {name}", cpu.number);
            self.threads.push(Halted { tid: CPU_TID + cpu.number, name, cpu: Some(cpu), thread: None });
        }
        Ok(())
    }

    fn thread(&self, tid: u64) -> Option<&Halted> {
        self.threads.iter().find(|thread| thread.tid == tid)
    }

    /// The registers of a thread while the machine stands still: those of its CPU, or those that the kernel left it with.
    ///
    /// # Errors
    /// If the command that runs the guest does not answer.
    pub fn state(&mut self, tid: u64) -> Result<Option<&State>> {
        if !self.states.contains_key(&tid) {
            let Some(thread) = self.threads.iter().find(|thread| thread.tid == tid) else { return Ok(None) };
            let mut state = State {
                state: ThreadState::default(),
                general: [None; REGISTERS.len()],
                info: Vec::new(),
                area: Vec::new(),
            };
            let registers = match (&thread.cpu, &thread.thread, &self.layout, self.root.as_ref()) {
                (Some(cpu), ..) => {
                    state.state.fs_base = cpu.fs_base;
                    put(&mut state, "rflags", cpu.rflags);
                    Some(crate::observe::registers(cpu))
                }
                (None, Some(thread), Some(layout), Some(cpu)) => {
                    Outside::of(&mut self.client).left(layout, cpu, thread)?
                }
                _ => None,
            };
            for (name, value) in DWARF_NAMES.iter().zip(registers.into_iter().flatten()) {
                if let Some(value) = value {
                    put(&mut state, name, value);
                }
            }
            self.states.insert(tid, state);
        }
        Ok(self.states.get(&tid))
    }

    /// Replaces the registers of a thread that is on a CPU. False: it is on none.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn set_registers(&mut self, tid: u64, packet: &Packet) -> Result<bool> {
        let cpu = self.thread(tid).and_then(|thread| thread.cpu);
        let (Some(cpu), Some(qemu)) = (cpu, &mut self.qemu) else { return Ok(false) };
        let mut general = [0; GENERAL_BYTES];
        for number in 0..GENERAL.len() {
            general[8 * number..8 * number + 8].copy_from_slice(&packet.get::<8>(8 * number));
        }
        general[place::FLAGS..].copy_from_slice(&packet.get::<4>(place::FLAGS));
        let done = qemu.set_registers(cpu.number, &general)?;
        // Read anew.
        self.look()?;
        self.states.clear();
        Ok(done)
    }

    /// What is there of the memory of the kernel and of the process.
    ///
    /// # Errors
    /// If the command that runs the guest does not answer.
    pub fn read(&mut self, address: u64, len: usize) -> Result<Vec<u8>> {
        let any = self.threads.iter().find_map(|thread| thread.cpu);
        let Some(cpu) = self.root.or(any) else { return Ok(Vec::new()) };
        Outside::of(&mut self.client).read(&cpu, address, len as u64)
    }

    /// Writes to memory: the kernel's, or the process's if it is on a CPU. False: that can't be done.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<bool> {
        let is_there = |thread: &&Halted| address >= KERNEL_HALF || thread.tid < CPU_TID;
        let cpu = self.threads.iter().filter(is_there).find_map(|thread| thread.cpu);
        let (Some(cpu), Some(qemu)) = (cpu, &mut self.qemu) else { return Ok(false) };
        qemu.write(cpu.number, address, bytes)
    }

    /// Forgets a machine that has ended.
    pub fn forget(&mut self) {
        self.qemu = None;
        self.leave();
    }

    /// Takes everything out of the kernel, and lets the machine go on.
    pub fn leave(&mut self) {
        if let Some(qemu) = self.qemu.take() {
            qemu.leave(!self.is_halted);
            // A guest that has ended needs it no more.
            let _ = debugged(&mut self.client, false);
        }
        self.is_halted = false;
        self.wanted.clear();
        self.set.clear();
        self.threads.clear();
        self.states.clear();
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.leave();
    }
}

fn put(state: &mut State, name: &str, value: u64) {
    if let Some(at) = REGISTERS.iter().position(|own| *own == name) {
        state.general[at] = Some(value);
    }
}
