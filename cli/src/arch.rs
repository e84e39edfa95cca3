//! Architectures: of programs, of the images that hold them, and of the machines that run them.

use std::fmt;

use clap::ValueEnum;
use object::elf::{EM_AARCH64, EM_X86_64, Machine};

/// An architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit x86
    #[default]
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit Arm
    Aarch64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    /// That of an ELF file.
    pub fn of_elf(machine: Machine) -> Option<Arch> {
        Self::ALL.into_iter().find(|arch| arch.elf_machine() == machine)
    }

    /// What ELF files call it.
    pub const fn elf_machine(self) -> Machine {
        match self {
            Arch::X86_64 => EM_X86_64,
            Arch::Aarch64 => EM_AARCH64,
        }
    }

    /// What `uname -m`, musl and QEMU call it.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    /// Whether this machine is one.
    pub fn is_host(self) -> bool {
        std::env::consts::ARCH == self.name()
    }

    /// QEMU's program.
    pub const fn qemu(self) -> &'static str {
        match self {
            Arch::X86_64 => "qemu-system-x86_64",
            Arch::Aarch64 => "qemu-system-aarch64",
        }
    }

    /// The packages of Debian, Fedora and Arch that have it.
    pub const fn qemu_packages(self) -> [&'static str; 3] {
        match self {
            Arch::X86_64 => ["qemu-system-x86"; 3],
            Arch::Aarch64 => ["qemu-system-arm", "qemu-system-aarch64", "qemu-system-aarch64"],
        }
    }

    /// The environment variable that names another QEMU.
    pub const fn qemu_variable(self) -> &'static str {
        match self {
            Arch::X86_64 => "CORACLE_QEMU",
            Arch::Aarch64 => "CORACLE_QEMU_AARCH64",
        }
    }

    /// The directory of Debian's libraries below `/lib` and `/usr/lib`.
    pub const fn library_directory(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64-linux-gnu",
            Arch::Aarch64 => "aarch64-linux-gnu",
        }
    }

    /// What glibc's `ld.so.cache` marks its libraries with: `FLAG_ELF_LIBC6`, and `FLAG_X8664_LIB64` or `FLAG_AARCH64_LIB64`.
    pub const fn cache_flags(self) -> u32 {
        match self {
            Arch::X86_64 => 0x0303,
            Arch::Aarch64 => 0x0a03,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Arch::X86_64 => "x86-64",
            Arch::Aarch64 => "aarch64",
        })
    }
}
