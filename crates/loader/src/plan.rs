//! The load plan: which parts of the file are mapped where, with which rights.
use crate::PAGE_SIZE;
use crate::bytes::{u32_at, u64_at};
use crate::elf::{Error, Header, PROGRAM_HEADER_LEN};
use alloc::vec::Vec;
use coracle_fallible::TryVec as _;
use core::ops::Range;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;
/// Longest path of an interpreter (PATH_MAX).
const MAX_INTERPRETER: u64 = 4096;
/// Addresses of programs lie below this (the lower half's last page is never used).
const USER_END: u64 = 0x7fff_ffff_f000;
/// Largest alignment of a segment that is honoured.
const MAX_ALIGN: u64 = 1 << 30;

/// A part of the program. Its pages are those of `address..address+memory_len`, both rounded to pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Page-aligned address (before the bias of a relocatable file is added).
    pub address: u64,
    /// Page-aligned offset in the file.
    pub offset: u64,
    /// Bytes from `address` that come from the file; what follows is zero.
    pub file_len: u64,
    /// Bytes in all.
    pub memory_len: u64,
    /// May be read.
    pub read: bool,
    /// May be written.
    pub write: bool,
    /// May be executed.
    pub execute: bool,
}

impl Segment {
    /// End of its pages.
    pub fn end(&self) -> u64 {
        (self.address + self.memory_len).next_multiple_of(PAGE_SIZE)
    }
}

/// How a file is loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Segments in order of address; they don't share pages.
    pub segments: Vec<Segment>,
    /// May be loaded anywhere: all addresses here are relative to a bias.
    pub relocatable: bool,
    /// Alignment that the bias must have: a power of two, at least a page.
    pub align: u64,
    /// Entry point, in an executable segment.
    pub entry: u64,
    /// Address of the program headers in memory (AT_PHDR), if a segment holds them.
    pub program_headers: Option<u64>,
    /// Number of program headers (AT_PHNUM).
    pub program_header_count: u16,
    /// Where the file names its interpreter (the bytes there end in a zero).
    pub interpreter: Option<Range<u64>>,
    /// The program asks for an executable stack.
    pub executable_stack: bool,
}

impl Plan {
    /// Makes the plan from the table of program headers of a file of `file_len` bytes.
    pub fn new(header: &Header, table: &[u8], file_len: u64) -> Result<Plan, Error> {
        let table = table.get(..header.program_headers_len()).ok_or(Error::Truncated)?;
        let mut plan = Plan {
            segments: Vec::new(),
            relocatable: header.relocatable,
            align: PAGE_SIZE,
            entry: header.entry,
            program_headers: None,
            program_header_count: header.program_header_count,
            interpreter: None,
            // Linux's rule for x86-64: without the header the stack isn't executable.
            executable_stack: false,
        };
        let mut headers_address = None;
        for bytes in table.chunks_exact(PROGRAM_HEADER_LEN) {
            let entry = ProgramHeader::parse(bytes).ok_or(Error::Truncated)?;
            match entry.kind {
                PT_LOAD if entry.memory_len != 0 => plan.add_segment(&entry, file_len)?,
                PT_INTERP if plan.interpreter.is_none() => {
                    plan.interpreter = Some(entry.interpreter(file_len)?)
                }
                PT_PHDR => headers_address = Some(entry.address),
                PT_GNU_STACK => plan.executable_stack = entry.flags & PF_X != 0,
                _ => {}
            }
        }
        plan.check()?;
        plan.program_headers = headers_address.or_else(|| plan.find_headers(header)).filter(|&address| {
            // AT_PHDR is passed only if the table is really there.
            let end = address.checked_add(header.program_headers_len() as u64);
            end.is_some_and(|end| {
                plan.segments.iter().any(|s| s.address <= address && end <= s.address + s.memory_len)
            })
        });
        Ok(plan)
    }

    /// First address and end of all pages.
    pub fn span(&self) -> Range<u64> {
        match (self.segments.first(), self.segments.last()) {
            (Some(first), Some(last)) => first.address..last.end(),
            _ => 0..0,
        }
    }

    fn add_segment(&mut self, entry: &ProgramHeader, file_len: u64) -> Result<(), Error> {
        let lead = entry.address % PAGE_SIZE;
        if entry.offset % PAGE_SIZE != lead {
            return Err(Error::Malformed("a segment's offset and address differ within the page"));
        }
        if entry.file_len > entry.memory_len {
            return Err(Error::Malformed("a segment is longer in the file than in memory"));
        }
        if entry.offset.checked_add(entry.file_len).is_none_or(|end| end > file_len) {
            return Err(Error::Truncated);
        }
        let end = entry.address.checked_add(entry.memory_len).filter(|&end| end <= USER_END);
        if end.is_none() {
            return Err(Error::Malformed("a segment lies outside the program's addresses"));
        }
        if entry.align.is_power_of_two() && entry.align <= MAX_ALIGN {
            self.align = self.align.max(entry.align);
        }
        // Where nothing comes from the file, no page of it is mapped either.
        let file_len = if entry.file_len == 0 { 0 } else { entry.file_len + lead };
        let segment = Segment {
            address: entry.address - lead,
            offset: entry.offset - lead,
            file_len,
            memory_len: entry.memory_len + lead,
            read: entry.flags & PF_R != 0,
            write: entry.flags & PF_W != 0,
            execute: entry.flags & PF_X != 0,
        };
        Ok(self.segments.try_push(segment)?)
    }

    fn check(&self) -> Result<(), Error> {
        if self.segments.is_empty() {
            return Err(Error::Malformed("nothing to load"));
        }
        for pair in self.segments.windows(2) {
            if pair[1].address < pair[0].end() {
                return Err(Error::Malformed("segments overlap or are out of order"));
            }
        }
        let entered =
            |s: &Segment| s.execute && s.address <= self.entry && self.entry < s.address + s.memory_len;
        // A shared object that is only an interpreter's business may have no entry point.
        if self.entry != 0 && !self.segments.iter().any(entered) {
            return Err(Error::Malformed("the entry point is not in an executable segment"));
        }
        Ok(())
    }

    fn find_headers(&self, header: &Header) -> Option<u64> {
        let end = header.program_headers.checked_add(header.program_headers_len() as u64)?;
        let holder = self.segments.iter().find(|s| {
            s.file_len != 0 && s.offset <= header.program_headers && end <= s.offset + s.file_len
        })?;
        Some(header.program_headers - holder.offset + holder.address)
    }
}

struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_len: u64,
    memory_len: u64,
    align: u64,
}

impl ProgramHeader {
    fn parse(bytes: &[u8]) -> Option<ProgramHeader> {
        Some(ProgramHeader {
            kind: u32_at(bytes, 0)?,
            flags: u32_at(bytes, 4)?,
            offset: u64_at(bytes, 8)?,
            address: u64_at(bytes, 16)?,
            file_len: u64_at(bytes, 32)?,
            memory_len: u64_at(bytes, 40)?,
            align: u64_at(bytes, 48)?,
        })
    }

    fn interpreter(&self, file_len: u64) -> Result<Range<u64>, Error> {
        if !(2..=MAX_INTERPRETER).contains(&self.file_len) {
            return Err(Error::Malformed("length of the interpreter's path"));
        }
        let end =
            self.offset.checked_add(self.file_len).filter(|&end| end <= file_len).ok_or(Error::Truncated)?;
        Ok(self.offset..end)
    }
}
