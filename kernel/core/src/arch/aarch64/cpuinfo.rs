//! What /proc/cpuinfo says of a CPU (Linux's arch/arm64/kernel/cpuinfo.c).
use coracle_fallible::{NoMemory, Text};
use coracle_hal::{cpu, time};
use core::fmt;

/// Writes the lines of the CPU of this number.
pub fn cpu(text: &mut Text, number: usize) -> Result<(), NoMemory> {
    /// Linux does not measure a delay either: BogoMIPS are the counter's speed, twice, in millions, with two digits.
    const HUNDREDTHS: u64 = 1_000_000 / 100 / 2;
    let speed = time::source().map_or(0, |source| source.hz) / HUNDREDTHS;
    writeln!(
        text,
        "processor\t: {number}\nBogoMIPS\t: {}.{:02}\nFeatures\t:{}\n{}\n",
        speed / 100,
        speed % 100,
        Features(cpu::hwcap()),
        cpu::Brand::of_this_cpu()
    )
}

/// Names of the bits of AT_HWCAP (Linux's Documentation/arch/arm64/elf_hwcaps.rst), as far as the kernel tells them.
struct Features(u32);

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const NAMES: [&str; 9] =
            ["fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "atomics"];
        let is_there = |bit: &usize| self.0 & 1 << bit != 0;
        (0..NAMES.len()).filter(is_there).try_for_each(|bit| write!(f, " {}", NAMES[bit]))
    }
}
