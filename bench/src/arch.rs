//! The architectures whose guests are measured: what each has the host use.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::guest::Guest;

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arch {
    /// 64-bit x86, with the programs of this machine
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit Arm, with programs from a tree of Debian's packages
    Aarch64,
}

/// What differs between them outside the guests.
pub struct Facts {
    /// What `coracle kernel --arch` calls it.
    pub name: &'static str,
    /// The guests that there are for it, Linux first.
    pub guests: &'static [Guest],
    /// QEMU's program, and Debian's package with it.
    pub qemu: (&'static str, &'static str),
    /// The compiler of measuring programs, and its package.
    pub compiler: (&'static str, &'static str),
    /// The directory of Debian's libraries below `/lib` and `/usr/lib`.
    pub libraries: &'static str,
    /// QEMU's machine type unless another is named.
    pub machine: &'static str,
    /// What `coracle run` adds to the machine type.
    pub machine_options: &'static str,
    /// QEMU's CPU, as `coracle run` chooses it.
    pub cpu: &'static str,
    /// Whether some of its instructions are executed many times.
    pub has_repetitions: bool,
    /// QEMU's network and block devices.
    pub devices: (&'static str, &'static str),
    /// Further options of QEMU.
    pub qemu_options: &'static str,
    /// What Linux calls the first serial port.
    pub serial: &'static str,
    /// Debian's package of the Linux guest's kernel.
    pub kernel_package: &'static str,
    /// Modules for a disk; ext4 is in the kernel. On x86-64, Debian's start loads the checksum by the CPU's own instructions, too.
    pub disk_modules: &'static [&'static str],
    /// The record, in the bench's own directory.
    pub record: &'static str,
    /// The marks between which the page of figures has its own.
    pub marks: [&'static str; 2],
}

static X86_64: Facts = Facts {
    name: "x86_64",
    guests: &[Guest::Linux, Guest::Unikernel, Guest::Protected, Guest::Microvm],
    qemu: ("qemu-system-x86_64", "qemu-system-x86"),
    compiler: ("cc", "gcc"),
    libraries: "x86_64-linux-gnu",
    machine: "q35",
    machine_options: "",
    cpu: "max",
    has_repetitions: true,
    devices: ("virtio-net-pci,disable-legacy=on", "virtio-blk-pci,disable-legacy=on"),
    qemu_options: "",
    serial: "ttyS0",
    kernel_package: "linux-image-cloud-amd64",
    disk_modules: &["virtio_blk", "crc32c-intel"],
    record: "baseline.json",
    marks: ["<!-- figures: written by `make bench ARGS=--docs` -->", "<!-- end of figures -->"],
};

static AARCH64: Facts = Facts {
    name: "aarch64",
    guests: &[Guest::Linux, Guest::Unikernel, Guest::Protected],
    qemu: ("qemu-system-aarch64", "qemu-system-arm"),
    compiler: ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    libraries: "aarch64-linux-gnu",
    machine: "virt",
    machine_options: ",gic-version=max",
    cpu: "max,pauth-impdef=on",
    has_repetitions: false,
    devices: ("virtio-net-device", "virtio-blk-device"),
    qemu_options: "-global virtio-mmio.force-legacy=false",
    serial: "ttyAMA0",
    kernel_package: "linux-image-cloud-arm64",
    disk_modules: &["virtio_blk"],
    record: "baseline-aarch64.json",
    marks: [
        "<!-- figures of aarch64: written by `make bench ARGS='--arch aarch64 --docs'` -->",
        "<!-- end of figures of aarch64 -->",
    ],
};

/// Packages with the programs that are measured, without those for which no disk can be prepared (PostgreSQL's is made by its own `initdb`).
const PACKAGES: [&str; 9] = [
    "memcached",
    "redis-server",
    "nginx-light",
    "python3-minimal",
    "libpython3-stdlib",
    "sqlite3",
    "iperf3",
    "fio",
    "busybox-static",
];

impl Arch {
    /// That with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::X86_64, Self::Aarch64].into_iter().find(|arch| arch.facts().name == name)
    }

    /// What differs.
    pub fn facts(self) -> &'static Facts {
        match self {
            Self::X86_64 => &X86_64,
            Self::Aarch64 => &AARCH64,
        }
    }

    /// Whether this machine is one, so that its own programs are measured.
    pub fn is_host(self) -> bool {
        std::env::consts::ARCH == self.facts().name
    }

    /// The script of the repository that makes [`crate::tree::Tree`] for another architecture, and the packages it is to have.
    ///
    /// # Errors
    /// There is no such script.
    pub fn packages(self, scripts: &Path) -> Result<(PathBuf, Vec<&'static str>)> {
        if self != Self::Aarch64 {
            bail!("programs for {} are measured only on such a machine", self.facts().name);
        }
        let packages = PACKAGES.into_iter().chain([self.facts().kernel_package]).collect();
        Ok((scripts.join("arm64-root.sh"), packages))
    }
}
