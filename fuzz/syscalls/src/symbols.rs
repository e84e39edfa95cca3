//! Names of the kernel's functions, for what a guest that hangs executes.

use std::path::Path;

use anyhow::{Context, Result};
use object::{Object as _, ObjectSymbol as _, SymbolKind};

/// The kernel's functions, by address in its file.
pub struct Symbols {
    functions: Vec<(u64, String)>,
}

/// The kernel is moved by a multiple of this: what is below is the same in the file and in memory.
const SLIDE_UNIT: u64 = 1 << 21;

impl Symbols {
    /// Reads them from the kernel's ELF file.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn read(kernel: &Path) -> Result<Self> {
        let bytes = std::fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
        let elf = object::File::parse(&*bytes)?;
        let mut functions: Vec<(u64, String)> = elf
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text)
            .filter_map(|symbol| {
                Some((symbol.address(), format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?))))
            })
            .collect();
        functions.sort();
        Ok(Self { functions })
    }

    fn name(&self, address: u64) -> Option<&str> {
        let offset = address % SLIDE_UNIT;
        let at = self.functions.partition_point(|(start, _)| *start <= offset);
        self.functions.get(at.checked_sub(1)?).map(|(_, name)| name.as_str())
    }

    /// The instruction pointers and stack pointers in QEMU's listing of registers, with functions.
    pub fn annotate(&self, registers: &str) -> String {
        let mut text = String::new();
        for line in registers.lines().map(str::trim_end) {
            if line.contains("CPU#") || line.contains("RSP=") || line.contains("CR2=") {
                text += &format!("{line}\n");
            }
            if let Some(address) = line.split("RIP=").nth(1).and_then(|rest| rest.split(' ').next()) {
                let function = u64::from_str_radix(address, 16)
                    .ok()
                    .filter(|address| *address >> 63 == 1)
                    .and_then(|address| self.name(address))
                    .unwrap_or("the program");
                text += &format!("{line}\n  in {function}\n");
            }
        }
        text
    }

    /// The function of the kernel in which [`Symbols::annotate`] saw a CPU first.
    pub fn first_kernel_function(&self, annotated: &str) -> Option<String> {
        annotated
            .lines()
            .filter_map(|line| line.strip_prefix("  in "))
            .find(|name| *name != "the program")
            .map(str::to_owned)
    }
}
