//! A program's registers as gdb wants them (GDB manual, "i386 Features").

use gdbstub::arch::{Arch, Registers};

/// x86-64 under Linux.
pub enum X86_64 {}

/// Describes the registers, in their order in a packet.
pub const DESCRIPTION: &str = include_str!("x86-64.xml");

/// General registers and the program counter, of 8 bytes each, by their names in `coracle_control::REGISTERS`.
pub const GENERAL: [&str; 17] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15", "rip",
];

/// Where groups of registers begin in a packet.
pub mod place {
    /// The flags, of 4 bytes, behind the general registers.
    pub const FLAGS: usize = 17 * 8;
    /// Six segment registers of 4 bytes: cs, ss, ds, es, fs, gs.
    pub const SEGMENTS: usize = FLAGS + 4;
    /// Eight registers of the x87 FPU, of 10 bytes.
    pub const X87: usize = SEGMENTS + 6 * 4;
    /// Its eight control registers of 4 bytes.
    pub const X87_CONTROL: usize = X87 + 8 * 10;
    /// Sixteen vector registers of 16 bytes.
    pub const XMM: usize = X87_CONTROL + 8 * 4;
    /// Their control register, of 4 bytes.
    pub const MXCSR: usize = XMM + 16 * 16;
    /// orig_rax, and the bases of FS and GS, of 8 bytes.
    pub const ORIG_RAX: usize = MXCSR + 4;
    /// See above.
    pub const FS_BASE: usize = ORIG_RAX + 8;
    /// See above.
    pub const GS_BASE: usize = FS_BASE + 8;
    /// The upper halves of sixteen vector registers, of 16 bytes.
    pub const YMM_HIGH: usize = GS_BASE + 8;
    /// Bytes of all.
    pub const END: usize = YMM_HIGH + 16 * 16;
}

/// All registers of a thread, as a packet has them; `None` where a byte is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet(pub Vec<Option<u8>>);

impl Default for Packet {
    fn default() -> Self {
        Packet(vec![None; place::END])
    }
}

impl Packet {
    /// Puts bytes into their place.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        for (place, byte) in self.0.iter_mut().skip(at).zip(bytes) {
            *place = Some(*byte);
        }
    }

    /// The bytes there; zeroes where they are not known.
    pub fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|index| self.0.get(at + index).copied().flatten().unwrap_or_default())
    }
}

impl Registers for Packet {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        u64::from_le_bytes(self.get(16 * 8))
    }

    fn gdb_serialize(&self, write_byte: impl FnMut(Option<u8>)) {
        self.0.iter().copied().for_each(write_byte);
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.0 = bytes.iter().copied().map(Some).collect();
        if self.0.len() == place::END { Ok(()) } else { Err(()) }
    }
}

impl Arch for X86_64 {
    type Usize = u64;
    type Registers = Packet;
    type BreakpointKind = usize;
    type RegId = ();

    fn target_description_xml() -> Option<&'static str> {
        Some(DESCRIPTION)
    }
}
