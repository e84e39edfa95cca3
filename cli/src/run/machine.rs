//! The machine of a guest from outside, for other commands: QEMU's monitor (QMP) stops its CPUs and shows their registers, and
//! memory is read in QEMU's own, of which this command is the parent.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_control::{CpuRecord, Request};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::sampler::Sampler;

/// How long QEMU may take to answer: it does at once, unless it is stopped.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a page. The pieces of the guest's memory begin at multiples of it (`plan::Mapped`), so that each page is in one place of QEMU's.
const PAGE: u64 = 4096;
/// In [`Request::MachineMemory`]: the address is a physical one.
const PHYSICAL: u64 = u64::MAX;
/// Bytes of memory that are read at once at most.
const MOST: u32 = 1 << 20;

/// A guest's machine.
pub struct Machine {
    monitor: Mutex<Monitor>,
    /// Where QEMU's own server for gdb listens.
    gdb: Option<PathBuf>,
    /// The connection whose debugger has that.
    debugger: Mutex<Option<u32>>,
    /// Holds the guest once in every N instructions, if QEMU counts them.
    sampling: Option<Mutex<Sampling>>,
}

/// The profile by instructions.
struct Sampling {
    sampler: Sampler,
    /// The connection that takes one.
    by: Option<u32>,
}

/// QEMU's monitor, and what was learnt by it.
struct Monitor {
    stream: BufReader<UnixStream>,
    /// It took the first command.
    is_open: bool,
    /// The number of QEMU's process.
    pid: u32,
    /// QEMU's memory, once it was opened.
    memory: Option<File>,
    /// Where physical memory is in it, by pages.
    places: HashMap<u64, Option<u64>>,
    /// The connection that has the machine stopped.
    stopped_by: Option<u32>,
}

impl Machine {
    /// The machine of QEMU's process `pid`, whose monitor is at the other end of `stream`, and whose server for gdb listens at `gdb`.
    /// `sampler`: holds the guest for samples by instructions.
    pub fn new(stream: UnixStream, pid: u32, gdb: Option<PathBuf>, sampler: Option<Sampler>) -> Machine {
        Machine {
            gdb,
            debugger: Mutex::new(None),
            sampling: sampler.map(|sampler| Mutex::new(Sampling { sampler, by: None })),
            monitor: Mutex::new(Monitor {
                stream: BufReader::new(stream),
                is_open: false,
                pid,
                memory: None,
                places: HashMap::new(),
                stopped_by: None,
            }),
        }
    }

    /// Answers a request of a connection; `None`: it is not for the machine.
    pub fn answer(&self, connection: u32, request: &Request<'_>) -> Option<Result<Vec<u8>, Errno>> {
        if let Request::MachineDebugged(is) = *request {
            return Some(self.debugged(connection, is != 0));
        }
        if let Some(answer) = self.sampled(connection, request) {
            return Some(answer);
        }
        let mut monitor = self.lock();
        let result = match *request {
            Request::MachinePause => monitor.stop(connection),
            Request::MachineResume => monitor.go_on(connection),
            Request::MachineCpus => monitor.cpus(),
            Request::MachineMemory { root, address, len } => monitor.bytes(root, address, len.min(MOST)),
            _ => return None,
        };
        Some(result)
    }

    /// A connection has ended: the machine goes on if it was stopped by it.
    pub fn left(&self, connection: u32) {
        let is_debugged = self.debugger().take_if(|debugger| *debugger == connection).is_some();
        if let Some(gdb) = self.gdb.as_ref().filter(|_| is_debugged) {
            release(gdb);
        }
        if let Some(mut sampling) = self.sampling().filter(|sampling| sampling.by == Some(connection)) {
            sampling.by = None;
            // As below.
            let _ = sampling.sampler.begin(0);
        }
        // A machine that does not answer has ended.
        let _ = self.lock().go_on(connection);
    }

    fn sampling(&self) -> Option<MutexGuard<'_, Sampling>> {
        Some(self.sampling.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a request that is for the profile by instructions, or that it forbids meanwhile: QEMU could not stop CPUs of which one is
    /// held, and would not answer until it is let go. `None`: it is another.
    fn sampled(&self, connection: u32, request: &Request<'_>) -> Option<Result<Vec<u8>, Errno>> {
        let sampling = self.sampling();
        let Some(mut sampling) = sampling else {
            return matches!(request, Request::MachineSampling(_) | Request::MachineSample)
                .then_some(Err(Errno::NOENT));
        };
        let is_own = sampling.by == Some(connection);
        Some(match *request {
            Request::MachinePause if sampling.by.is_some() => Err(Errno::BUSY),
            Request::MachineSampling(0) if is_own => {
                sampling.by = None;
                sampling.sampler.begin(0).map(|()| Vec::new())
            }
            Request::MachineSampling(0) => Ok(Vec::new()),
            Request::MachineSampling(period) => {
                let is_stopped = self.lock().stopped_by.is_some() || self.debugger().is_some();
                if is_stopped || sampling.by.is_some() && !is_own {
                    return Some(Err(Errno::BUSY));
                }
                sampling.by = Some(connection);
                sampling.sampler.begin(period).map(|()| Vec::new())
            }
            Request::MachineSample if is_own => {
                let sample = sampling.sampler.sample();
                sample.map(|sample| sample.map_or_else(Vec::new, |sample| sample.encode().to_vec()))
            }
            Request::MachineSample => Err(Errno::INVAL),
            Request::MachineResume if is_own => sampling.sampler.go_on().map(|()| Vec::new()),
            _ => return None,
        })
    }

    /// A debugger has QEMU's server, or has left it. EBUSY: another has it; ENOENT: there is none.
    fn debugged(&self, connection: u32, is: bool) -> Result<Vec<u8>, Errno> {
        if self.gdb.is_none() {
            return Err(Errno::NOENT);
        }
        if is && self.sampling().is_some_and(|sampling| sampling.by.is_some()) {
            return Err(Errno::BUSY);
        }
        let mut debugger = self.debugger();
        if debugger.is_some_and(|other| other != connection) {
            return Err(Errno::BUSY);
        }
        *debugger = is.then_some(connection);
        Ok(Vec::new())
    }

    fn debugger(&self) -> MutexGuard<'_, Option<u32>> {
        self.debugger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Monitor> {
        self.monitor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a debugger's breakpoints out of a machine, and lets it go on: the debugger ended without doing so.
fn release(socket: &Path) {
    /// The packet that detaches from process 1, the machine, with its checksum (GDB manual, "Packets").
    const DETACH: &[u8] = b"$D;1#b0";
    // QEMU takes one connection at a time, and has ended if it takes none.
    if let Ok(mut qemu) = UnixStream::connect(socket)
        && qemu.write_all(DETACH).is_ok()
    {
        let _ = qemu.set_read_timeout(Some(PATIENCE));
        // QEMU acknowledges the packet before it obeys.
        let (mut said, mut byte) = (Vec::new(), [0]);
        while !said.ends_with(b"OK#") && qemu.read_exact(&mut byte).is_ok() {
            said.push(byte[0]);
        }
    }
}

impl Monitor {
    /// Has the monitor do a command, and returns the result. EIO if it fails or does not answer.
    fn command(&mut self, name: &str, arguments: &Value) -> Result<Value, Errno> {
        if !self.is_open {
            let stream = self.stream.get_ref();
            stream.set_read_timeout(Some(PATIENCE)).map_err(|_| Errno::IO)?;
            stream.set_write_timeout(Some(PATIENCE)).map_err(|_| Errno::IO)?;
            self.is_open = true;
            self.exchange("qmp_capabilities", &json!({}))?;
        }
        self.exchange(name, arguments)
    }

    fn exchange(&mut self, name: &str, arguments: &Value) -> Result<Value, Errno> {
        let line = format!("{}\n", json!({ "execute": name, "arguments": arguments }));
        self.stream.get_mut().write_all(line.as_bytes()).map_err(|_| Errno::IO)?;
        loop {
            let mut line = String::new();
            if !matches!(self.stream.read_line(&mut line), Ok(1..)) {
                return Err(Errno::IO);
            }
            let answer: Value = serde_json::from_str(&line).map_err(|_| Errno::IO)?;
            if let Some(result) = answer.get("return") {
                return Ok(result.clone());
            }
            if answer.get("error").is_some() {
                return Err(Errno::IO);
            }
            // The greeting, or an event.
        }
    }

    /// A command of the monitor for people.
    fn human(&mut self, line: &str) -> Result<String, Errno> {
        let answer = self.command("human-monitor-command", &json!({ "command-line": line }))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Stops all CPUs. EBUSY if they are stopped by another.
    fn stop(&mut self, connection: u32) -> Result<Vec<u8>, Errno> {
        if self.stopped_by == Some(connection) {
            return Ok(Vec::new());
        }
        let status = self.command("query-status", &json!({}))?;
        if self.stopped_by.is_some() {
            return Err(Errno::BUSY);
        }
        // A machine that something else has stopped, a debugger for one, is left to that.
        if status.get("running").and_then(Value::as_bool) == Some(true) {
            self.command("stop", &json!({}))?;
            self.stopped_by = Some(connection);
        }
        Ok(Vec::new())
    }

    /// Lets the CPUs go on that the same connection has stopped.
    fn go_on(&mut self, connection: u32) -> Result<Vec<u8>, Errno> {
        if self.stopped_by == Some(connection) {
            self.stopped_by = None;
            self.command("cont", &json!({}))?;
        }
        Ok(Vec::new())
    }

    fn cpus(&mut self) -> Result<Vec<u8>, Errno> {
        let text = self.human("info registers -a")?;
        Ok(registers(&text).iter().flat_map(CpuRecord::encode).collect())
    }

    /// What is there of `len` bytes.
    fn bytes(&mut self, root: u64, address: u64, len: u32) -> Result<Vec<u8>, Errno> {
        let (mut bytes, mut at) = (Vec::new(), address);
        while bytes.len() < len as usize {
            let part = (PAGE - at % PAGE).min(u64::from(len) - bytes.len() as u64);
            let place = if root == PHYSICAL { Some(at) } else { self.translate(root, at)? };
            let Some(place) = place else { break };
            let mut piece = vec![0; usize::try_from(part).unwrap_or_default()];
            if !self.read(place, &mut piece)? {
                break;
            }
            bytes.extend(piece);
            let Some(next) = at.checked_add(part) else { break };
            at = next;
        }
        Ok(bytes)
    }

    /// Reads physical memory within a page; false if there is none.
    fn read(&mut self, physical: u64, bytes: &mut [u8]) -> Result<bool, Errno> {
        let page = physical / PAGE;
        let place = match self.places.get(&page) {
            Some(place) => *place,
            None => {
                let answer = self.human(&format!("gpa2hva {:#x}", page * PAGE))?;
                let place = answer.rsplit_once(" is 0x");
                let place = place.and_then(|(_, hex)| u64::from_str_radix(hex.trim(), 16).ok());
                self.places.insert(page, place);
                place
            }
        };
        let Some(place) = place else { return Ok(false) };
        let memory = match &self.memory {
            Some(memory) => memory,
            None => {
                let opened = File::open(format!("/proc/{}/mem", self.pid))
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
                self.memory.insert(opened)
            }
        };
        Ok(memory.read_exact_at(bytes, place + physical % PAGE).is_ok())
    }

    /// The physical address of a virtual one, by the page tables (Intel SDM volume 3, 4.5.4).
    fn translate(&mut self, root: u64, address: u64) -> Result<Option<u64>, Errno> {
        const PRESENT: u64 = 1;
        const LARGE: u64 = 1 << 7;
        const FRAME: u64 = 0x000f_ffff_ffff_f000;
        let mut table = root & FRAME;
        for level in (0..4u32).rev() {
            let shift = 12 + 9 * level;
            let mut entry = [0; 8];
            if !self.read(table + (address >> shift & 511) * 8, &mut entry)? {
                return Ok(None);
            }
            let entry = u64::from_le_bytes(entry);
            if entry & PRESENT == 0 {
                return Ok(None);
            }
            let within = (1 << shift) - 1;
            if level == 0 || level < 3 && entry & LARGE != 0 {
                return Ok(Some(entry & FRAME & !within | address & within));
            }
            table = entry & FRAME;
        }
        Ok(None)
    }
}

/// The registers of all CPUs, as `info registers -a` prints them.
fn registers(text: &str) -> Vec<CpuRecord> {
    text.split("CPU#").skip(1).filter_map(cpu).collect()
}

fn cpu(text: &str) -> Option<CpuRecord> {
    let number = text.split_whitespace().next()?.parse().ok()?;
    // `R8 =`, `RIP=`, `II=`: names are followed by blanks, if they are short, and by the sign.
    let value = |name: &str| {
        let place = text.match_indices(name).map(|(at, _)| at).find(|&at| {
            let before = text[..at].bytes().next_back();
            before.is_none_or(|byte| byte.is_ascii_whitespace())
        })?;
        let rest = text[place + name.len()..].trim_start_matches(' ').strip_prefix('=')?;
        Some(rest.trim_start())
    };
    let hex = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len());
        u64::from_str_radix(&text[..end], 16).ok()
    };
    let register = |name: &str| value(name).and_then(hex);
    // `FS =0000 00007f45… …`: the base follows the selector. Tables have none.
    let base = |name: &str| value(name).and_then(|rest| hex(rest.split_whitespace().nth(1)?));
    Some(CpuRecord {
        number,
        halted: register("HLT")?,
        level: register("CPL")?,
        rax: register("RAX")?,
        rbx: register("RBX")?,
        rcx: register("RCX")?,
        rdx: register("RDX")?,
        rsi: register("RSI")?,
        rdi: register("RDI")?,
        rbp: register("RBP")?,
        rsp: register("RSP")?,
        r8: register("R8")?,
        r9: register("R9")?,
        r10: register("R10")?,
        r11: register("R11")?,
        r12: register("R12")?,
        r13: register("R13")?,
        r14: register("R14")?,
        r15: register("R15")?,
        rip: register("RIP")?,
        rflags: register("RFL")?,
        fs_base: base("FS")?,
        task_state: base("TR")?,
        interrupt_table: register("IDT")?,
        cr2: register("CR2")?,
        cr3: register("CR3")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_as_the_monitor_prints_them() {
        let text = "\nCPU#0\nRAX=ffffffff9c546108 RBX=01 RCX=2 RDX=3\nRSI=4 RDI=5 RBP=6 RSP=fffffffe00007dd8\n\
            R8 =8 R9 =9 R10=a R11=b\nR12=c R13=d R14=e R15=f\n\
            RIP=ffffffff9c4651fa RFL=00000082 [--S----] CPL=3 II=0 A20=1 SMM=0 HLT=1\n\
            FS =0000 00007f4520c1a740 00000000 00000000\nTR =0030 ffffffff9c54e0b0 00000067 00008900 DPL=0 TSS64-avl\n\
            GDT=     ffffffff9c54e070 0000003f\nIDT=     ffffffff9c561000 00000fff\n\
            CR0=80010033 CR2=00007f4520d133c0 CR3=0000000000062000 CR4=00040620\n\nCPU#1\n";
        let all = registers(text);
        assert_eq!(all.len(), 1);
        let cpu = all[0];
        assert_eq!((cpu.number, cpu.halted, cpu.level, cpu.r8, cpu.r15), (0, 1, 3, 8, 15));
        assert_eq!((cpu.fs_base, cpu.task_state), (0x7f45_20c1_a740, 0xffff_ffff_9c54_e0b0));
        assert_eq!((cpu.interrupt_table, cpu.cr3), (0xffff_ffff_9c56_1000, 0x62000));
    }
}
