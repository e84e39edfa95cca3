//! A client of QEMU's own server for gdb, by which the kernel is stopped: a breakpoint of the guest's kernel could stop threads, but not
//! the kernel, which would be needed to answer meanwhile. While QEMU holds the machine, all CPUs stand still.
//!
//! The packets are those of the GDB manual, "Remote Protocol"; QEMU's threads are the CPUs, from 1 on.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};

/// How long QEMU may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The byte that stops the machine.
const INTERRUPT: u8 = 3;
/// A question whose answer is not that of another.
const ATTACHED: &str = "qAttached";
/// Bytes of memory that are written by one packet.
const WRITE_AT_ONCE: usize = 1024;
/// General registers, and the program counter, of 8 bytes each at the beginning of all registers; the flags, of 4, follow.
pub const GENERAL_BYTES: usize = 17 * 8 + 4;

/// A breakpoint or watchpoint: its kind in packets `Z` and `z` (1: execution, 2: writes, 4: reads and writes), its address, its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its kind.
    pub kind: u8,
    /// Its address.
    pub address: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// Why the machine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The CPU, from 0 on.
    pub cpu: u64,
    /// It was asked to.
    pub is_asked: bool,
    /// The address of the watchpoint that was met.
    pub watched: Option<u64>,
}

/// A connection. The machine stands still from its beginning on, until [`Qemu::go_on`].
pub struct Qemu {
    stream: UnixStream,
}

impl Qemu {
    /// Connects, and waits until the machine stands still.
    ///
    /// # Errors
    /// If QEMU does not answer, or serves another debugger.
    pub fn connect(socket: &Path) -> Result<Qemu> {
        let failed = |error: std::io::Error| Error::new("QEMU's server for gdb does not answer").why(error);
        let stream = UnixStream::connect(socket).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let mut qemu = Qemu { stream };
        // QEMU may say first, unasked, that the machine has stopped (before its version 8.1).
        qemu.send(ATTACHED)?;
        loop {
            let said = qemu.packet().map_err(|error| {
                error.help("another debugger may have the machine (`coracle gdb --kernel`): end that first")
            })?;
            if stop(&said).is_none() {
                return Ok(qemu);
            }
        }
    }

    fn lost(error: std::io::Error) -> Error {
        Error::new("QEMU's server for gdb does not answer").why(error)
    }

    fn send(&mut self, packet: &str) -> Result<()> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        self.stream.write_all(format!("${packet}#{sum:02x}").as_bytes()).map_err(Qemu::lost)
    }

    /// The next packet, acknowledged.
    fn packet(&mut self) -> Result<String> {
        let (mut packet, mut byte) = (Vec::new(), [0]);
        let mut next = |stream: &mut UnixStream| stream.read_exact(&mut byte).map(|()| byte[0]);
        while next(&mut self.stream).map_err(Qemu::lost)? != b'$' {}
        loop {
            match next(&mut self.stream).map_err(Qemu::lost)? {
                b'#' => break,
                other => packet.push(other),
            }
        }
        for _ in 0..2 {
            next(&mut self.stream).map_err(Qemu::lost)?;
        }
        self.stream.write_all(b"+").map_err(Qemu::lost)?;
        Ok(String::from_utf8_lossy(&packet).into_owned())
    }

    fn ask(&mut self, packet: &str) -> Result<String> {
        self.send(packet)?;
        self.packet()
    }

    /// True if QEMU did it.
    fn done(&mut self, packet: &str) -> Result<bool> {
        Ok(self.ask(packet)? == "OK")
    }

    /// Waits until the machine stops: it was asked to, or its socket is readable.
    ///
    /// # Errors
    /// If QEMU has ended.
    pub fn stopped(&mut self) -> Result<Stop> {
        let said = self.packet()?;
        stop(&said).ok_or_else(|| unexpected(&said))
    }

    /// Stops the machine, unless something else has meanwhile: what it stopped for.
    ///
    /// # Errors
    /// As for [`Qemu::stopped`].
    pub fn interrupt(&mut self) -> Result<Stop> {
        self.stream.write_all(&[INTERRUPT]).map_err(Qemu::lost)?;
        self.stopped()
    }

    /// Sets or removes a breakpoint. False: QEMU can't.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn set(&mut self, place: Place, is_set: bool) -> Result<bool> {
        let (letter, Place { kind, address, len }) = (if is_set { 'Z' } else { 'z' }, place);
        self.done(&format!("{letter}{kind},{address:x},{len:x}"))
    }

    /// The machine goes on. With `step`: that CPU executes one instruction first, the others wait meanwhile, and all stop.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn go_on(&mut self, step: Option<u64>) -> Result<()> {
        match step {
            Some(cpu) => self.send(&format!("vCont;s:{:x}", cpu + 1))?,
            None => self.send("c")?,
        }
        // QEMU acknowledges it at once: what can be read from then on says that the machine has stopped.
        self.stream.read_exact(&mut [0]).map_err(Qemu::lost)
    }

    /// The first registers of a CPU, [`GENERAL_BYTES`], replaced.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn set_registers(&mut self, cpu: u64, general: &[u8; GENERAL_BYTES]) -> Result<bool> {
        self.choose(cpu)?;
        let mut all = self.ask("g")?;
        let new = hex(general);
        if all.len() < new.len() {
            return Ok(false);
        }
        all.replace_range(..new.len(), &new);
        self.done(&format!("G{all}"))
    }

    /// Writes to memory, as a CPU sees it. False: it is not there.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn write(&mut self, cpu: u64, address: u64, bytes: &[u8]) -> Result<bool> {
        self.choose(cpu)?;
        for (index, part) in bytes.chunks(WRITE_AT_ONCE).enumerate() {
            let at = address.wrapping_add((index * WRITE_AT_ONCE) as u64);
            if !self.done(&format!("M{at:x},{:x}:{}", part.len(), hex(part)))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn choose(&mut self, cpu: u64) -> Result<()> {
        self.ask(&format!("Hg{:x}", cpu + 1)).map(|_| ())
    }

    /// Takes all breakpoints away, lets the machine go on, and ends the connection.
    pub fn leave(mut self, is_running: bool) {
        // One that has ended needs it no more.
        if !is_running || self.interrupt().is_ok() {
            let _ = self.ask("D;1");
        }
    }
}

impl AsFd for Qemu {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn unexpected(said: &str) -> Error {
    Error::new("QEMU's server for gdb says what is not understood").why(format!("`{said}`"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why the machine stopped, from `T05thread:01;watch:ffffffff81000000;`.
fn stop(packet: &str) -> Option<Stop> {
    /// The signal of a stop that was asked for (SIGINT).
    const ASKED: &str = "02";
    let (signal, rest) = packet.strip_prefix('T')?.split_at_checked(2)?;
    let mut stop = Stop { cpu: 0, is_asked: signal == ASKED, watched: None };
    for (name, value) in rest.split(';').filter_map(|part| part.split_once(':')) {
        match name {
            // `p01.02` where processes are told apart.
            "thread" => {
                let number = value.rsplit('.').next().unwrap_or(value);
                stop.cpu = u64::from_str_radix(number, 16).ok()?.checked_sub(1)?;
            }
            "watch" | "rwatch" | "awatch" => stop.watched = Some(u64::from_str_radix(value, 16).ok()?),
            _ => {}
        }
    }
    Some(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_to_stop() {
        let stopped = |cpu, is_asked, watched| Some(Stop { cpu, is_asked, watched });
        assert_eq!(stop("T05thread:02;"), stopped(1, false, None));
        assert_eq!(stop("T02thread:p01.01;"), stopped(0, true, None));
        assert_eq!(stop("T05thread:01;watch:ffff8000;"), stopped(0, false, Some(0xffff_8000)));
        for wrong in ["", "T0", "W00", "T05thread:00;", "T05thread:x;"] {
            assert_eq!(stop(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn packets_are_answered() {
        let (stream, mut qemu) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || {
            let mut heard = [0; 64];
            let len = qemu.read(&mut heard).unwrap();
            qemu.write_all(b"+$OK#9a").unwrap();
            // The answer is acknowledged, too.
            qemu.read_exact(&mut [0]).unwrap();
            String::from_utf8_lossy(&heard[..len]).into_owned()
        });
        let mut client = Qemu { stream };
        let place = Place { kind: 1, address: 0xffff_ffff_8000_1000, len: 1 };
        assert!(client.set(place, true).unwrap());
        assert_eq!(server.join().unwrap(), "$Z1,ffffffff80001000,1#cd");
    }
}
