//! A debugger of a few lines, in the protocol that gdb speaks to QEMU's gdb server (GDB manual, Remote Serial Protocol).
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;

/// Where the instruction pointer stands among the hexadecimal digits of all registers: behind sixteen others of 64 bits.
const RIP: Range<usize> = 16 * 16..17 * 16;
/// Where the stack pointer does: behind seven.
const RSP: Range<usize> = 7 * 16..8 * 16;
/// Where the flags do, of 32 bits: behind the instruction pointer.
const RFLAGS: Range<usize> = 17 * 16..17 * 16 + 8;
/// The flag that lets interrupts in (Intel SDM volume 1, 3.4.3.3).
const INTERRUPTS: u32 = 1 << 9;
/// Where the kernel's half of the addresses begins.
const KERNEL: u64 = 1 << 63;

/// A connection to a guest, which stands still while a reply is given and after [`Debugger::stop`].
pub struct Debugger(UnixStream);

impl Debugger {
    /// Connects, which stops the guest.
    ///
    /// # Errors
    /// If the connection or the protocol fails, here and in the other calls.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        let mut debugger = Self(stream);
        debugger.send("?")?;
        debugger.reply()?;
        Ok(debugger)
    }

    /// Stops the guest.
    ///
    /// # Errors
    /// See [`Debugger::new`].
    pub fn stop(&mut self) -> io::Result<()> {
        self.0.write_all(b"\x03")?;
        self.reply().map(drop)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// See [`Debugger::new`].
    pub fn go_on(&mut self) -> io::Result<()> {
        self.send("c")
    }

    /// The address of the next instruction.
    ///
    /// # Errors
    /// See [`Debugger::new`].
    pub fn instruction(&mut self) -> io::Result<u64> {
        self.register(RIP)
    }

    /// Whether kernel code runs, on a stack of the kernel.
    ///
    /// # Errors
    /// See [`Debugger::new`].
    pub fn is_in_kernel(&mut self) -> io::Result<bool> {
        Ok(self.register(RIP)? >= KERNEL && self.register(RSP)? >= KERNEL)
    }

    /// A register of 64 bits.
    fn register(&mut self, digits: Range<usize>) -> io::Result<u64> {
        let all = self.ask("g")?;
        let value = all.get(digits).and_then(|hex| u64::from_str_radix(hex, 16).ok());
        value.map(u64::swap_bytes).ok_or_else(|| io::Error::other(format!("no registers: {all}")))
    }

    /// Lets it go on elsewhere, with interrupts off: one that is due would be taken before the instruction there.
    ///
    /// # Errors
    /// See [`Debugger::new`].
    pub fn set_instruction(&mut self, address: u64) -> io::Result<()> {
        let mut all = self.ask("g")?;
        let flags = all.get(RFLAGS).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let flags = flags.ok_or_else(|| io::Error::other(format!("no flags: {all}")))?;
        all.replace_range(RFLAGS, &format!("{:08x}", flags & !INTERRUPTS.swap_bytes()));
        all.replace_range(RIP, &format!("{:016x}", address.swap_bytes()));
        match self.ask(&format!("G{all}"))?.as_str() {
            "OK" => Ok(()),
            other => Err(io::Error::other(format!("the registers can't be set: {other}"))),
        }
    }

    /// The answer to a packet, past what is told of stops meanwhile.
    fn ask(&mut self, packet: &str) -> io::Result<String> {
        self.send(packet)?;
        loop {
            let reply = self.reply()?;
            if !reply.starts_with(['T', 'S']) {
                return Ok(reply);
            }
        }
    }

    fn send(&mut self, packet: &str) -> io::Result<()> {
        let sum = packet.bytes().fold(0u8, u8::wrapping_add);
        write!(self.0, "${packet}#{sum:02x}")
    }

    /// `$`, the packet, `#`, two digits of a checksum; acknowledged by `+`.
    fn reply(&mut self) -> io::Result<String> {
        let mut byte = [0];
        while byte[0] != b'$' {
            self.0.read_exact(&mut byte)?;
        }
        let mut packet = Vec::new();
        loop {
            self.0.read_exact(&mut byte)?;
            if byte[0] == b'#' {
                break;
            }
            packet.push(byte[0]);
        }
        self.0.read_exact(&mut [0; 2])?;
        self.0.write_all(b"+")?;
        Ok(String::from_utf8_lossy(&packet).into_owned())
    }
}
