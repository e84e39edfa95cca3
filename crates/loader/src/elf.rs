//! The ELF header, and the reasons for which a file is refused.
use crate::bytes::{u16_at, u32_at, u64_at};
use coracle_fallible::NoMemory;
use core::fmt;

/// Bytes of an ELF64 header.
pub const HEADER_LEN: usize = 64;
/// Bytes of a program header.
pub const PROGRAM_HEADER_LEN: usize = 56;
/// Program headers at most: Linux refuses tables of more than 64 KiB.
const MAX_PROGRAM_HEADERS: u16 = 1170;

const ELFCLASS64: u8 = 2;
const ELFDATA2LSB: u8 = 1;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;

/// Why a file can't be executed. execve(2) returns ENOEXEC for each but the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// It doesn't begin with `\x7fELF`.
    NotElf,
    /// It is for another class, byte order or machine (the number is `e_machine`).
    OtherMachine(u16),
    /// It is neither an executable nor a shared object.
    NotExecutable,
    /// It is cut short.
    Truncated,
    /// A header contradicts itself; what it is about.
    Malformed(&'static str),
    /// There is no memory for the plan (execve(2) returns ENOMEM).
    NoMemory,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotElf => f.write_str("not an ELF file"),
            Error::OtherMachine(machine) => {
                write!(f, "an ELF file for another machine (e_machine {machine})")
            }
            Error::NotExecutable => f.write_str("an ELF file, but not an executable"),
            Error::Truncated => f.write_str("an ELF file that is cut short"),
            Error::Malformed(what) => write!(f, "a malformed ELF file ({what})"),
            Error::NoMemory => f.write_str("out of memory"),
        }
    }
}

impl From<NoMemory> for Error {
    fn from(_: NoMemory) -> Error {
        Error::NoMemory
    }
}

impl core::error::Error for Error {}

/// The fields of the ELF header that loading needs (System V ABI, figure 4-3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// May be loaded anywhere (ET_DYN).
    pub relocatable: bool,
    /// Entry point.
    pub entry: u64,
    /// File offset of the program headers.
    pub program_headers: u64,
    /// Their number.
    pub program_header_count: u16,
    /// File offset of the section headers; 0: none.
    pub section_headers: u64,
    /// Their number.
    pub section_header_count: u16,
}

impl Header {
    /// Reads the header at the start of a file. `wanted`: the `e_machine` of the machine that is to run it.
    pub fn parse(bytes: &[u8], wanted: u16) -> Result<Header, Error> {
        if bytes.get(..4) != Some(b"\x7fELF") {
            return Err(Error::NotElf);
        }
        let bytes = bytes.get(..HEADER_LEN).ok_or(Error::Truncated)?;
        let half = |at| u16_at(bytes, at).unwrap_or(0);
        let word = |at| u64_at(bytes, at).unwrap_or(0);
        let machine = half(18);
        if bytes[4] != ELFCLASS64 || bytes[5] != ELFDATA2LSB || machine != wanted {
            return Err(Error::OtherMachine(machine));
        }
        let relocatable = match half(16) {
            ET_EXEC => false,
            ET_DYN => true,
            _ => return Err(Error::NotExecutable),
        };
        if u32_at(bytes, 20) != Some(1) {
            return Err(Error::Malformed("version"));
        }
        let header = Header {
            relocatable,
            entry: word(24),
            program_headers: word(32),
            program_header_count: half(56),
            section_headers: word(40),
            section_header_count: half(60),
        };
        if half(54) as usize != PROGRAM_HEADER_LEN {
            return Err(Error::Malformed("size of a program header"));
        }
        if header.program_header_count == 0 || header.program_header_count > MAX_PROGRAM_HEADERS {
            return Err(Error::Malformed("number of program headers"));
        }
        Ok(header)
    }

    /// Bytes of the table of program headers.
    pub fn program_headers_len(&self) -> usize {
        self.program_header_count as usize * PROGRAM_HEADER_LEN
    }
}
