//! The kernel that `build.rs` left here.

use std::borrow::Cow;
use std::io::Read as _;
use std::path::PathBuf;

use crate::arch::Arch;
use crate::error::{Error, Result};
use crate::kernel::symbols;

/// What `build.rs` left of a kernel; nothing if it built none for the architecture.
struct Embedded {
    elf: &'static [u8],
    symbols: &'static str,
    debug_elf: &'static [u8],
}

macro_rules! embedded {
    ($arch:literal) => {
        Embedded {
            elf: include_bytes!(concat!(env!("OUT_DIR"), "/", $arch, ".elf")),
            symbols: include_str!(concat!(env!("OUT_DIR"), "/", $arch, ".symbols")),
            debug_elf: include_bytes!(concat!(env!("OUT_DIR"), "/", $arch, ".debug.deflate")),
        }
    };
}

static X86_64: Embedded = embedded!("x86_64");
static AARCH64: Embedded = embedded!("aarch64");

/// The kernel of an architecture.
fn embedded(arch: Arch) -> Result<&'static Embedded> {
    let embedded = match arch {
        Arch::X86_64 => &X86_64,
        Arch::Aarch64 => &AARCH64,
    };
    if embedded.elf.is_empty() {
        return Err(Error::new(format!("this `coracle` has no kernel for {arch}"))
            .why("it was built without one, as where the toolchain cannot build for it")
            .help("`make deps` installs what is needed; build `coracle` once more after that"));
    }
    Ok(embedded)
}

/// Names the environment variable with the path of another kernel.
const OVERRIDE: &str = "CORACLE_KERNEL";

/// A kernel to put into images.
pub struct Kernel {
    /// The ELF without symbols.
    pub elf: Cow<'static, [u8]>,
    /// Its functions, by address relative to its first byte.
    pub symbols: Vec<(u32, String)>,
    /// Its version, for people.
    pub version: String,
}

impl Kernel {
    /// The embedded kernel of an architecture, or the one that `CORACLE_KERNEL` names.
    pub fn load(arch: Arch) -> Result<Self> {
        if let Some((path, _, parts)) = named(arch)? {
            let version = format!("{} from {}", env!("CARGO_PKG_VERSION"), path.display());
            return Ok(Kernel { elf: Cow::Owned(parts.stripped), symbols: parts.symbols, version });
        }
        let embedded = embedded(arch)?;
        Ok(Kernel {
            elf: Cow::Borrowed(embedded.elf),
            symbols: embedded
                .symbols
                .lines()
                .filter_map(|line| line.split_once(' '))
                .filter_map(|(start, name)| Some((u32::from_str_radix(start, 16).ok()?, name.to_owned())))
                .collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}

/// The kernel that `CORACLE_KERNEL` names, if it does: its path, its ELF, and what that is made of.
fn named(arch: Arch) -> Result<Option<(PathBuf, Vec<u8>, symbols::Parts)>> {
    let Some(path) = std::env::var_os(OVERRIDE).map(PathBuf::from) else { return Ok(None) };
    let elf = crate::error::read(&path)?;
    let unusable = |why: String| {
        Error::new(format!("the kernel `{}` cannot be used", path.display()))
            .why(why)
            .help(format!("unset {OVERRIDE} to use the kernel of this command"))
    };
    let parts = symbols::split(&elf).map_err(unusable)?;
    if parts.machine != arch.elf_machine().0 {
        return Err(unusable(format!("it is not for {arch}")));
    }
    Ok(Some((path, elf, parts)))
}

/// The kernel of an architecture with symbols and debug information, for gdb: the embedded one, or the one that `CORACLE_KERNEL` names.
pub fn debug_elf(arch: Arch) -> Result<Vec<u8>> {
    if let Some((_, elf, _)) = named(arch)? {
        return Ok(elf);
    }
    let mut elf = Vec::new();
    flate2::read::DeflateDecoder::new(embedded(arch)?.debug_elf)
        .read_to_end(&mut elf)
        .map_err(|error| Error::new("the embedded kernel is damaged").why(error))?;
    Ok(elf)
}
