//! A process of a guest that is being debugged: its threads, registers and memory.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use coracle_control::{
    Debug, DebugEvent, Moment, REGISTERS, Request, Resume, ThreadState, debug_event as event, thread_flag,
};

use super::arch::{GENERAL, Packet, place};
use crate::arch::Arch;
use crate::error::{Error, Result};
use crate::instances;
use crate::kernel::debug_elf;
use crate::observe::{Client, Module, Thread, kernel_addresses, threads};

/// Bytes of what is told about a signal (siginfo_t).
pub const INFO_BYTES: usize = 128;
/// Bytes of the area of the floating-point registers that have a fixed place (FXSAVE; Intel SDM volume 1, 10.5.1).
pub const FXSAVE: usize = 512;
/// Where that area says which components are not in their initial state (XSTATE_BV), and where the upper halves of the vector
/// registers are (Intel SDM volume 1, 13.4).
const XSTATE_BV: usize = 512;
const YMM_HIGH: usize = 576;
/// Components of XSTATE_BV.
const X87: u64 = 1;
const SSE: u64 = 2;
const AVX: u64 = 4;
/// Initial values of control registers.
const INITIAL_FCW: u16 = 0x37f;
const INITIAL_MXCSR: u32 = 0x1f80;
/// Bytes that are written by one request.
const WRITE_AT_ONCE: usize = 512;
/// Bytes of a page.
const PAGE: u64 = 4096;
/// How long threads may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(5);
/// Selectors that programs under Linux see.
const CODE: u32 = 0x33;
const DATA: u32 = 0x2b;

/// A thread's registers.
#[derive(Clone)]
pub struct State {
    /// The guest's record.
    pub state: ThreadState,
    /// By their places in [`REGISTERS`]; `None` if one is lost.
    pub general: [Option<u64>; REGISTERS.len()],
    /// What is told about the signal that it stopped for.
    pub info: Vec<u8>,
    /// The floating-point registers as the CPU saves them.
    pub area: Vec<u8>,
}

impl State {
    /// A general register by its name.
    pub fn register(&self, name: &str) -> Option<u64> {
        self.general[REGISTERS.iter().position(|own| *own == name)?]
    }

    /// The floating-point registers, those that are in their initial state written out; empty if they are not known.
    pub fn floating(&self) -> Vec<u8> {
        let mut area = self.area.clone();
        if area.len() < FXSAVE {
            return Vec::new();
        }
        let Some(present) = area.get(XSTATE_BV..XSTATE_BV + 8).and_then(|bytes| bytes.try_into().ok()) else {
            return area;
        };
        let present = u64::from_le_bytes(present);
        if present & X87 == 0 {
            area[..24].fill(0);
            area[..2].copy_from_slice(&INITIAL_FCW.to_le_bytes());
            area[32..160].fill(0);
        }
        if present & SSE == 0 {
            area[160..416].fill(0);
        }
        if present & (SSE | AVX) == 0 {
            area[24..28].copy_from_slice(&INITIAL_MXCSR.to_le_bytes());
        }
        if present & AVX == 0
            && let Some(high) = area.get_mut(YMM_HIGH..YMM_HIGH + 256)
        {
            high.fill(0);
        }
        area
    }

    /// As gdb wants them.
    pub fn packet(&self) -> Packet {
        let mut packet = Packet::default();
        for (number, name) in GENERAL.into_iter().enumerate() {
            if let Some(value) = self.register(name) {
                packet.put(8 * number, &value.to_le_bytes());
            }
        }
        let flags = self.register("rflags").unwrap_or_default() as u32;
        packet.put(place::FLAGS, &flags.to_le_bytes());
        for (number, selector) in [CODE, DATA, 0, 0, 0, 0].into_iter().enumerate() {
            packet.put(place::SEGMENTS + 4 * number, &selector.to_le_bytes());
        }
        if let Some(original) = self.register("orig_rax") {
            packet.put(place::ORIG_RAX, &original.to_le_bytes());
        }
        packet.put(place::FS_BASE, &self.state.fs_base.to_le_bytes());
        packet.put(place::GS_BASE, &self.state.gs_base.to_le_bytes());
        let area = self.floating();
        if area.is_empty() {
            return packet;
        }
        for number in 0..8 {
            packet.put(place::X87 + 10 * number, &area[32 + 16 * number..42 + 16 * number]);
        }
        let half = |at: usize| u32::from(u16::from_le_bytes([area[at], area[at + 1]]));
        let word = |at: usize| u32::from(area[at]) | u32::from(area[at + 1]) << 8 | half(at + 2) << 16;
        let control = [half(0), half(2), tags(area[4]), half(12), word(8), half(20), word(16), half(6)];
        for (number, value) in control.into_iter().enumerate() {
            packet.put(place::X87_CONTROL + 4 * number, &value.to_le_bytes());
        }
        packet.put(place::XMM, &area[160..416]);
        packet.put(place::MXCSR, &area[24..28]);
        if let Some(high) = area.get(YMM_HIGH..YMM_HIGH + 256) {
            packet.put(place::YMM_HIGH, high);
        }
        packet
    }
}

/// The tags of the x87 registers as gdb has them, two bits each, from the FPU's short form: 3 is empty.
fn tags(short: u8) -> u32 {
    (0..8).map(|number| if short >> number & 1 == 0 { 3 << (2 * number) } else { 0 }).sum()
}

/// An attached process.
pub struct Session {
    /// The connection by which it is asked.
    pub client: Client,
    /// The process.
    pub pid: u32,
    /// Its threads when it stopped last.
    pub threads: Vec<Thread>,
    moment: Moment,
    kernel: Option<Module>,
    states: HashMap<u64, State>,
    pages: HashMap<u64, Vec<u8>>,
    wait: Sender<()>,
    events: Receiver<Option<DebugEvent>>,
    /// Readable when there is an event.
    pub bell: UnixStream,
}

impl Session {
    /// Attaches to a process and stops it.
    ///
    /// # Errors
    /// If that can't be done.
    pub fn attach(name: &str, pid: u32) -> Result<Session> {
        Self::try_attach(name, pid)?.ok_or_else(|| {
            Error::new(format!("`{name}` may only be observed"))
                .why("its image, or the command that runs it, does not allow more (`--control`)")
                .help("run it with `--control full`")
        })
    }

    /// The same; `None` if the guest may only be observed.
    ///
    /// # Errors
    /// As for [`Session::attach`].
    pub fn try_attach(name: &str, pid: u32) -> Result<Option<Session>> {
        let mut client = Client::connect(name)?;
        client.is_known_to("gdb")?;
        let explain = |why: &str| Error::new(format!("cannot attach to process {pid} of `{name}`")).why(why);
        match i32::from(client.ask_patiently(Request::Debug(Debug::Attach { pid }))?.1) {
            0 => {}
            libc::EPERM => return Ok(None),
            libc::EBUSY => return Err(explain("another debugger has it, or it dumps its core")),
            libc::ESRCH => {
                return Err(explain("there is none").help(format!("`coracle stack {name}` lists processes")));
            }
            libc::EAGAIN => {
                return Err(explain("it is still starting, or others ask it as well").help("try again"));
            }
            libc::ENOSYS => {
                return Err(explain("the kernel in its image is older than this command")
                    .help("build the image anew"));
            }
            error => return Err(explain(&std::io::Error::from_raw_os_error(error).to_string())),
        }
        let mut session = Self::with(client, pid, Client::connect(name)?)?;
        session.settle()?;
        Ok(Some(session))
    }

    /// A process that goes on.
    ///
    /// # Errors
    /// If the guest can't be asked.
    pub fn observe(name: &str, pid: u32) -> Result<Session> {
        let mut session = Self::with(Client::connect(name)?, pid, Client::connect(name)?)?;
        session.look()?;
        Ok(session)
    }

    /// A process by two connections, of which `second` waits for its events. Its threads are still to be looked at.
    ///
    /// # Errors
    /// If there are no sockets.
    pub fn with(client: Client, pid: u32, mut second: Client) -> Result<Session> {
        let (bell, mut ring) = UnixStream::pair().map_err(|error| Error::new("cannot wait").why(error))?;
        let (wait, wanted) = channel::<()>();
        let (tell, events) = channel();
        thread::spawn(move || {
            for () in wanted {
                let answer = second.wait(Request::Debug(Debug::Wait { pid }));
                let event = answer.ok().and_then(|bytes| Some(DebugEvent::decode(&bytes)?.0));
                if tell.send(event).is_err() || ring.write_all(&[0]).is_err() {
                    return;
                }
            }
        });
        Ok(Session {
            client,
            pid,
            threads: Vec::new(),
            moment: Moment::default(),
            kernel: None,
            states: HashMap::new(),
            pages: HashMap::new(),
            wait,
            events,
            bell,
        })
    }

    /// Waits until no thread runs, and looks at all of them.
    ///
    /// # Errors
    /// If the guest ends or does not answer.
    pub fn settle(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.look()?;
            let rests =
                |thread: &Thread| thread.record.flags & (thread_flag::HELD | thread_flag::ASLEEP) != 0;
            let is_quiet = self.threads.iter().all(rests);
            if is_quiet || Instant::now() > until {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The process's auxiliary vector.
    ///
    /// # Errors
    /// If the guest does not answer.
    pub fn auxv(&mut self) -> Result<Vec<u8>> {
        let path = format!("/proc/{}/auxv", self.pid);
        Ok(self.client.ask(Request::Read(path.as_bytes()))?.unwrap_or_default())
    }

    /// How far the kernel was moved from the addresses that it is linked for.
    pub fn kernel_slide(&self) -> u64 {
        self.moment.kernel_slide
    }

    /// Looks at all threads.
    fn look(&mut self) -> Result<()> {
        self.states.clear();
        self.pages.clear();
        let (moment, mut all) = threads(&mut self.client)?;
        all.retain(|thread| thread.record.pid == u64::from(self.pid));
        (self.moment, self.threads) = (moment, all);
        Ok(())
    }

    /// The registers of a thread of a process that is stopped.
    ///
    /// # Errors
    /// If there is no such thread.
    pub fn state(&mut self, tid: u64) -> Result<&State> {
        if !self.states.contains_key(&tid) {
            let state = self.ask_state(tid)?;
            self.states.insert(tid, state);
        }
        self.states.get(&tid).ok_or_else(|| Error::new("there is no such thread"))
    }

    fn ask_state(&mut self, tid: u64) -> Result<State> {
        let unknown = || Error::new(format!("there is no thread {tid}"));
        let request = Debug::Registers { tid: u32::try_from(tid).map_err(|_| unknown())? };
        let answer = self.client.ask(Request::Debug(request))?.map_err(|_| unknown())?;
        let (state, rest) = ThreadState::decode(&answer).ok_or_else(unknown)?;
        let (words, rest) = rest.split_at_checked(8 * REGISTERS.len()).ok_or_else(unknown)?;
        let (info, area) = rest.split_at_checked(INFO_BYTES).ok_or_else(unknown)?;
        let mut general = [None; REGISTERS.len()];
        if state.is_held != 0 {
            for (place, word) in general.iter_mut().zip(words.chunks_exact(8)) {
                *place = word.try_into().ok().map(u64::from_le_bytes);
            }
        } else {
            general = self.in_call(tid)?;
        }
        Ok(State { state, general, info: info.to_vec(), area: area.to_vec() })
    }

    /// The registers of a thread that is in a system call.
    fn in_call(&mut self, tid: u64) -> Result<[Option<u64>; REGISTERS.len()]> {
        if self.kernel.is_none() {
            self.kernel = Module::read(debug_elf(Arch::X86_64)?);
        }
        let mut general = [None; REGISTERS.len()];
        let thread = self.threads.iter().find(|thread| thread.record.tid == tid);
        let (Some(thread), Some(kernel)) = (thread, &self.kernel) else { return Ok(general) };
        let (_, program) = kernel_addresses(thread, kernel, &self.moment);
        let Some(program) = program else { return Ok(general) };
        let in_call = thread.call().is_some();
        for (place, name) in general.iter_mut().zip(REGISTERS) {
            *place = match crate::observe::DWARF_NAMES.iter().position(|own| *own == name) {
                // What Linux shows there, too.
                Some(_) if in_call && name == "rax" => Some(-i64::from(libc::ENOSYS) as u64),
                Some(_) if in_call && name == "rcx" => thread.register("rip"),
                Some(_) if in_call && name == "r11" => thread.register("rflags"),
                Some(number) => program[number],
                None => thread.register(name),
            };
        }
        Ok(general)
    }

    /// Replaces the registers of a thread that is held. False: it is in a system call, or the guest refuses them.
    ///
    /// # Errors
    /// If there is no such thread, or the guest does not answer.
    pub fn set_registers(&mut self, tid: u64, packet: &Packet) -> Result<bool> {
        let mut new = self.state(tid)?.clone();
        if &new.packet() == packet {
            return Ok(true);
        }
        if new.state.is_held == 0 {
            return Ok(false);
        }
        for (number, name) in GENERAL.into_iter().enumerate() {
            if let Some(at) = REGISTERS.iter().position(|own| *own == name) {
                new.general[at] = Some(u64::from_le_bytes(packet.get(8 * number)));
            }
        }
        for (name, value) in [
            ("rflags", u32::from_le_bytes(packet.get(place::FLAGS)).into()),
            ("orig_rax", u64::from_le_bytes(packet.get(place::ORIG_RAX))),
        ] {
            if let Some(at) = REGISTERS.iter().position(|own| *own == name) {
                new.general[at] = Some(value);
            }
        }
        new.state.fs_base = u64::from_le_bytes(packet.get(place::FS_BASE));
        new.state.gs_base = u64::from_le_bytes(packet.get(place::GS_BASE));
        let mut bytes = new.state.encode().to_vec();
        new.general.iter().for_each(|word| bytes.extend(word.unwrap_or_default().to_le_bytes()));
        let mut done = self.set_part(tid, 0, &bytes)?;
        let area = floating_of(packet, &new);
        if area != new.floating() {
            let start = ThreadState::BYTES + 8 * REGISTERS.len() + INFO_BYTES;
            for (index, part) in area.chunks(WRITE_AT_ONCE).enumerate() {
                done &= self.set_part(tid, start + index * WRITE_AT_ONCE, part)?;
            }
        }
        self.states.remove(&tid);
        Ok(done)
    }

    fn set_part(&mut self, tid: u64, offset: usize, bytes: &[u8]) -> Result<bool> {
        let (tid, offset) =
            (u32::try_from(tid).unwrap_or_default(), u32::try_from(offset).unwrap_or(u32::MAX));
        Ok(self.client.ask(Request::Debug(Debug::SetRegisters { tid, offset, bytes }))?.is_ok())
    }

    /// What is there of the memory from `address` on; what was read is kept until the process goes on.
    ///
    /// # Errors
    /// If the guest does not answer.
    pub fn read(&mut self, address: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let Some(at) = address.checked_add(bytes.len() as u64) else { break };
            let start = at & !(PAGE - 1);
            if !self.pages.contains_key(&start) {
                let page = self.client.memory(self.pid, start, PAGE as usize)?;
                self.pages.insert(start, page);
            }
            let page = self.pages.get(&start).map_or(&[][..], Vec::as_slice);
            let part = page.get((at - start) as usize..).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            bytes.extend_from_slice(&part[..part.len().min(len - bytes.len())]);
        }
        Ok(bytes)
    }

    /// Writes to the memory; false if it can't be written there.
    ///
    /// # Errors
    /// If the guest does not answer.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<bool> {
        self.pages.clear();
        for (index, part) in bytes.chunks(WRITE_AT_ONCE).enumerate() {
            let address = address.wrapping_add((index * WRITE_AT_ONCE) as u64);
            let request = Debug::Write { pid: self.pid, address, bytes: part };
            if self.client.ask(Request::Debug(request))?.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Asks for something that changes the process; false if the guest refuses it.
    ///
    /// # Errors
    /// If the guest does not answer.
    pub fn ask(&mut self, request: Debug<'_>) -> Result<bool> {
        self.pages.clear();
        Ok(self.client.ask(Request::Debug(request))?.is_ok())
    }

    /// Lets the process go on, and waits for the next event from then on. `is_still`: the machine stands still, and will not answer
    /// before it goes on.
    ///
    /// # Errors
    /// If the guest does not answer.
    pub fn resume(&mut self, wishes: &[Resume], is_still: bool) -> Result<()> {
        /// More than one message takes: a debugger has wishes for a few threads.
        const MOST: usize = 100;
        let bytes: Vec<u8> = wishes.iter().take(MOST).flat_map(Resume::encode).collect();
        self.states.clear();
        self.pages.clear();
        let request = Request::Debug(Debug::Resume { pid: self.pid, threads: &bytes });
        if is_still {
            self.client.tell(request)?;
        } else {
            self.client.ask(request)?.map_err(|error| {
                let why = std::io::Error::from_raw_os_error(error.into());
                Error::new("the process does not go on").why(why)
            })?;
        }
        // The other side has ended if it does not want it.
        let _ = self.wait.send(());
        Ok(())
    }

    /// The event that is there, or comes within a while.
    ///
    /// # Errors
    /// If none does.
    pub fn event(&mut self) -> Result<DebugEvent> {
        match self.events.recv_timeout(PATIENCE) {
            Ok(Some(event)) => {
                if event.kind != event::EXITED {
                    self.settle()?;
                }
                Ok(event)
            }
            Ok(None) | Err(RecvTimeoutError::Disconnected) => Ok(self.ended()),
            Err(RecvTimeoutError::Timeout) => Err(Error::new("the process does not stop")),
        }
    }

    /// The guest has ended, and with it the process.
    fn ended(&self) -> DebugEvent {
        let mut status = None;
        let until = Instant::now() + PATIENCE;
        while status.is_none() && Instant::now() < until {
            status = instances::status(self.client.name());
            if status.is_none() {
                thread::sleep(Duration::from_millis(20));
            }
        }
        // As wait(2) has it: what a shell adds to a signal's number is taken off.
        const SIGNALLED: u64 = 128;
        let status = u64::from(status.unwrap_or_default());
        let number = if status > SIGNALLED { status - SIGNALLED } else { status << 8 };
        DebugEvent { kind: event::EXITED, tid: self.pid.into(), number, address: 0 }
    }

    /// Takes the debugger's things out of the process, and lets it go on.
    pub fn detach(&mut self) {
        // A guest that has ended needs it no more.
        let _ = self.client.ask(Request::Debug(Debug::Detach { pid: self.pid }));
    }
}

/// The area of the floating-point registers with the values in a packet.
fn floating_of(packet: &Packet, old: &State) -> Vec<u8> {
    let mut area = old.floating();
    if area.len() < FXSAVE {
        return area;
    }
    for number in 0..8 {
        area[32 + 16 * number..42 + 16 * number].copy_from_slice(&packet.get::<10>(place::X87 + 10 * number));
    }
    area[..2].copy_from_slice(&packet.get::<2>(place::X87_CONTROL));
    area[2..4].copy_from_slice(&packet.get::<2>(place::X87_CONTROL + 4));
    area[24..28].copy_from_slice(&packet.get::<4>(place::MXCSR));
    area[160..416].copy_from_slice(&packet.get::<256>(place::XMM));
    let mut present = X87 | SSE;
    if let Some(high) = area.get_mut(YMM_HIGH..YMM_HIGH + 256) {
        high.copy_from_slice(&packet.get::<256>(place::YMM_HIGH));
        present |= AVX;
    }
    if let Some(bytes) = area.get_mut(XSTATE_BV..XSTATE_BV + 8) {
        let old = u64::from_le_bytes((&*bytes).try_into().unwrap_or_default());
        bytes.copy_from_slice(&(old | present).to_le_bytes());
    }
    area
}
