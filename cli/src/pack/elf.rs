//! What the dynamic linker reads in an ELF file, and whether the file can be run at all.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, Sym as _};
use object::read::{ReadCache, ReadRef};

use crate::arch::Arch;
use crate::bytes::parts;
use crate::error::{Error, Result};

/// What an ELF file says of itself.
#[derive(Clone, Debug, Default)]
pub struct Elf {
    /// The architecture that it is for.
    pub arch: Arch,
    /// Its type: `ET_EXEC`, `ET_DYN`, …
    pub kind: elf::FileType,
    /// The address of its first instruction, 0 if it is not to be started.
    pub entry: u64,
    /// The program that loads it (`PT_INTERP`).
    pub interpreter: Option<OsString>,
    /// The libraries it needs (`DT_NEEDED`).
    pub needed: Vec<OsString>,
    /// Its own name as a library (`DT_SONAME`).
    pub soname: Option<OsString>,
    /// Where to look for libraries, for those below it too (`DT_RPATH`).
    pub rpath: Vec<OsString>,
    /// Where to look for its own libraries (`DT_RUNPATH`).
    pub runpath: Vec<OsString>,
}

/// Which programs can be run.
const ARCHITECTURES: &str = "Coracle runs programs for x86-64 and for aarch64 (64-bit Arm)";

/// Why a file is not an ELF file that Coracle can use.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It does not begin like an ELF file.
    NotElf,
    /// It is for 32-bit machines.
    Bits32,
    /// It is for another machine, which is named.
    Machine(String),
    /// It is damaged.
    Damaged(String),
}

/// Whether the bytes begin like an ELF file.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

impl Elf {
    /// Reads of a file what the dynamic linker would, and no more.
    pub fn read(path: &Path) -> Result<Self, Unfit> {
        let file = File::open(path).map_err(|error| Unfit::Damaged(error.to_string()))?;
        Elf::parse(&ReadCache::new(file))
    }

    fn parse<'d>(bytes: impl ReadRef<'d>) -> Result<Self, Unfit> {
        /// What is needed of the header to tell which machine the file is for.
        const HEAD_LEN: u64 = 20;
        let head = bytes.read_bytes_at(0, HEAD_LEN).unwrap_or_default();
        if !is_elf(head) {
            return Err(Unfit::NotElf);
        }
        let damaged = |error: object::Error| Unfit::Damaged(error.to_string());
        if head.get(4) == Some(&elf::ELFCLASS32.0) {
            // The machine says more than the class, and is at the same place in both.
            return match head.get(18..20) {
                Some(&[low, high]) if u16::from_le_bytes([low, high]) != elf::EM_386.0 => {
                    Err(Unfit::Machine(machine_name(elf::Machine(u16::from_le_bytes([low, high])))))
                }
                _ => Err(Unfit::Bits32),
            };
        }
        let header = FileHeader64::<Endianness>::parse(bytes).map_err(damaged)?;
        let endian = header.endian().map_err(damaged)?;
        let machine = header.e_machine(endian);
        let Some(arch) = Arch::of_elf(machine).filter(|_| header.is_little_endian()) else {
            return Err(Unfit::Machine(machine_name(machine)));
        };
        let mut this =
            Elf { arch, kind: header.e_type(endian), entry: header.e_entry(endian), ..Elf::default() };
        let segments = header.program_headers(endian, bytes).map_err(damaged)?;
        for segment in segments {
            if let Some(path) = segment.interpreter(endian, bytes).map_err(damaged)? {
                this.interpreter = Some(OsString::from_vec(path.to_vec()));
            }
        }
        for segment in segments {
            let Some(entries) = segment.dynamic(endian, bytes).map_err(damaged)? else { continue };
            let value = |wanted| {
                entries
                    .iter()
                    .take_while(|entry| entry.tag(endian) != elf::DT_NULL)
                    .find(|entry| entry.tag(endian) == wanted)
                    .map(|entry| entry.d_val(endian))
            };
            let Some(strings) = value(elf::DT_STRTAB) else { continue };
            let strings = segments
                .iter()
                .filter(|load| load.p_type(endian) == elf::PT_LOAD)
                .find_map(|load| {
                    let within = strings.checked_sub(load.p_vaddr(endian))?;
                    (within < load.p_filesz(endian)).then(|| load.p_offset(endian).checked_add(within))?
                })
                .ok_or_else(|| Unfit::Damaged("its table of names lies outside the file".to_owned()))?;
            let length = bytes.len().map_err(|()| Unfit::Damaged("its length is unknown".to_owned()))?;
            let string = |offset: u64| -> Option<OsString> {
                let text = bytes.read_bytes_at_until(strings.checked_add(offset)?..length, 0).ok()?;
                Some(OsStr::from_bytes(text).to_owned())
            };
            let list = |tag| {
                value(tag)
                    .and_then(string)
                    .map_or_else(Vec::new, |text| parts(&text, b":").map(OsStr::to_owned).collect())
            };
            this.soname = value(elf::DT_SONAME).and_then(string);
            this.rpath = list(elf::DT_RPATH);
            this.runpath = list(elf::DT_RUNPATH);
            this.needed = entries
                .iter()
                .take_while(|entry| entry.tag(endian) != elf::DT_NULL)
                .filter(|entry| entry.tag(endian) == elf::DT_NEEDED)
                .filter_map(|entry| string(entry.d_val(endian)))
                .collect();
        }
        Ok(this)
    }

    /// Reads a program, whose first bytes are `head`; anything that cannot be started as one is an error for people.
    pub fn program(path: &Path, head: &[u8]) -> Result<Self> {
        let shown = path.display();
        let elf = Elf::read(path).map_err(|unfit| match unfit {
            Unfit::NotElf => Error::new(format!("`{shown}` is not a program"))
                .why(format!("it is not an ELF file and has no `#!` line: it {}", looks_like(head)))
                .help("give the path of a Linux program for x86-64 or aarch64, or of a Coracle image"),
            Unfit::Bits32 => Error::new(format!("`{shown}` is a 32-bit program"))
                .why(ARCHITECTURES)
                .help("build it, or install it, for x86-64 (amd64)"),
            Unfit::Machine(machine) => Error::new(format!("`{shown}` is a program for {machine}"))
                .why(ARCHITECTURES)
                .help("build it, or install it, for one of them (amd64, arm64)"),
            Unfit::Damaged(why) => Error::new(format!("`{shown}` is damaged"))
                .why(why)
                .help("build or install it once more; `readelf -a` tells what is in it"),
        })?;
        let refuse = |what: &str, help: &str| {
            Err(Error::new(format!("`{shown}` is {what}, not a program")).help(help))
        };
        match elf.kind {
            elf::ET_EXEC => Ok(elf),
            elf::ET_DYN if elf.entry != 0 => Ok(elf),
            elf::ET_DYN => refuse("a shared library", "give the program that uses it"),
            elf::ET_REL => refuse("an object file", "link it first"),
            elf::ET_CORE => refuse("a core dump", "give the program that made it"),
            _ => refuse("an ELF file of unknown type", "give a Linux program for x86-64 or aarch64"),
        }
    }
}

/// Calls `visit` with the name of each symbol that the dynamic linker sees (`SHT_DYNSYM`), and whether the file defines it.
/// What is not such a file has none.
pub fn dynamic_symbols<'d>(bytes: impl ReadRef<'d>, mut visit: impl FnMut(&[u8], bool)) {
    let mut read = || -> object::Result<()> {
        let header = FileHeader64::<Endianness>::parse(bytes)?;
        let endian = header.endian()?;
        let table = header.sections(endian, bytes)?.symbols(endian, bytes, elf::SHT_DYNSYM)?;
        for symbol in table.iter() {
            visit(table.symbol_name(endian, symbol)?, symbol.st_shndx(endian) != elf::SHN_UNDEF);
        }
        Ok(())
    };
    // What is damaged is for the dynamic linker to complain about.
    let _ = read();
}

/// The first bytes of a file in words.
fn looks_like(bytes: &[u8]) -> String {
    match bytes {
        [] => "is empty".to_owned(),
        [0x1f, 0x8b, ..] => "is compressed by gzip".to_owned(),
        [b'P', b'K', 3, 4, ..] => "is a zip archive".to_owned(),
        [b'M', b'Z', ..] => "is a program for Windows or UEFI".to_owned(),
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] => "is a program for macOS".to_owned(),
        _ if bytes.iter().take(64).all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
            "is text".to_owned()
        }
        _ => {
            let start: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("begins with the bytes {}", start.join(" "))
        }
    }
}

/// The name of an ELF machine.
fn machine_name(machine: elf::Machine) -> String {
    match machine {
        elf::EM_386 => "32-bit x86".to_owned(),
        elf::EM_X86_64 => "x86-64".to_owned(),
        elf::EM_AARCH64 => "AArch64 (64-bit Arm)".to_owned(),
        elf::EM_ARM => "32-bit Arm".to_owned(),
        elf::EM_RISCV => "RISC-V".to_owned(),
        elf::EM_PPC64 => "64-bit PowerPC".to_owned(),
        elf::EM_S390 => "S/390".to_owned(),
        elf::EM_MIPS => "MIPS".to_owned(),
        elf::EM_LOONGARCH => "LoongArch".to_owned(),
        elf::EM_BPF => "the BPF machine".to_owned(),
        other => format!("another machine (ELF number {})", other.0),
    }
}
