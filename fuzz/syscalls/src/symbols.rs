//! Names of the kernel's functions, for what a guest that hangs executes.

use std::path::Path;

use anyhow::{Context, Result};
use object::{Object as _, ObjectSymbol as _, SymbolKind};

/// The kernel's functions, by address in its file.
pub struct Symbols {
    functions: Vec<(u64, String)>,
    /// Where the interrupt descriptor table is in the file: QEMU says where it is in memory.
    interrupt_table: Option<u64>,
}

/// The kernel's name of that table.
const INTERRUPT_TABLE: &str = "coracle_hal::arch::x86_64::trap::IDT";

impl Symbols {
    /// Reads them from the kernel's ELF file.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn read(kernel: &Path) -> Result<Self> {
        let bytes = std::fs::read(kernel).with_context(|| format!("cannot read {}", kernel.display()))?;
        let elf = object::File::parse(&*bytes)?;
        let name =
            |symbol: &object::Symbol| Some(format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?)));
        let mut functions: Vec<(u64, String)> = elf
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text)
            .filter_map(|symbol| Some((symbol.address(), name(&symbol)?)))
            .collect();
        functions.sort();
        let table = elf.symbols().find(|symbol| name(symbol).as_deref() == Some(INTERRUPT_TABLE));
        Ok(Self { functions, interrupt_table: table.map(|symbol| symbol.address()) })
    }

    fn name(&self, offset: u64) -> Option<&str> {
        let at = self.functions.partition_point(|(start, _)| *start <= offset);
        self.functions.get(at.checked_sub(1)?).map(|(_, name)| name.as_str())
    }

    /// How far the kernel was moved from its addresses in the file, by QEMU's listing of registers.
    fn slide(&self, registers: &str) -> Option<u64> {
        let base = registers.lines().find_map(|line| line.strip_prefix("IDT="))?.split_whitespace().next()?;
        u64::from_str_radix(base, 16).ok()?.checked_sub(self.interrupt_table?)
    }

    /// The instruction pointers and stack pointers in QEMU's listing of registers, with functions.
    pub fn annotate(&self, registers: &str) -> String {
        let mut text = String::new();
        let slide = self.slide(registers);
        for line in registers.lines().map(str::trim_end) {
            if line.contains("CPU#") || line.contains("RSP=") || line.contains("CR2=") {
                text += &format!("{line}\n");
            }
            if let Some(address) = line.split("RIP=").nth(1).and_then(|rest| rest.split(' ').next()) {
                let address = u64::from_str_radix(address, 16).unwrap_or(0);
                let offset = slide.and_then(|slide| address.checked_sub(slide));
                let function = match address >> 63 {
                    1 => offset.and_then(|offset| self.name(offset)).unwrap_or("the kernel"),
                    _ => "the program",
                };
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
