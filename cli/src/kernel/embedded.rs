//! The kernel that `build.rs` left here.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::Read as _;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::kernel::symbols;

static ELF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel.elf"));
static SYMBOLS: &str = include_str!(concat!(env!("OUT_DIR"), "/kernel.symbols"));
static DEBUG_ELF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel.debug.deflate"));

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
    /// The embedded kernel, or the one that `CORACLE_KERNEL` names.
    pub fn load() -> Result<Self> {
        match std::env::var_os(OVERRIDE) {
            Some(path) => Self::from_file(&path),
            None => Ok(Kernel {
                elf: Cow::Borrowed(ELF),
                symbols: SYMBOLS
                    .lines()
                    .filter_map(|line| line.split_once(' '))
                    .filter_map(|(start, name)| Some((u32::from_str_radix(start, 16).ok()?, name.to_owned())))
                    .collect(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            }),
        }
    }

    fn from_file(path: &OsStr) -> Result<Self> {
        let path = PathBuf::from(path);
        let elf = crate::error::read(&path)?;
        let parts = symbols::split(&elf).map_err(|why| {
            Error::new(format!("the kernel `{}` cannot be used", path.display()))
                .why(why)
                .help(format!("unset {OVERRIDE} to use the kernel of this command"))
        })?;
        let version = format!("{} from {}", env!("CARGO_PKG_VERSION"), path.display());
        Ok(Kernel { elf: Cow::Owned(parts.stripped), symbols: parts.symbols, version })
    }
}

/// The embedded kernel with symbols and debug information, for gdb.
pub fn debug_elf() -> Result<Vec<u8>> {
    let mut elf = Vec::new();
    flate2::read::DeflateDecoder::new(DEBUG_ELF)
        .read_to_end(&mut elf)
        .map_err(|error| Error::new("the embedded kernel is damaged").why(error))?;
    Ok(elf)
}
