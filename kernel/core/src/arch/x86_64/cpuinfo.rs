//! What /proc/cpuinfo says of a CPU (proc_cpuinfo(5), Linux's arch/x86/kernel/cpu/proc.c).
use coracle_fallible::{NoMemory, Text};
use coracle_hal::cpu;
use core::fmt;

/// Writes the lines of the CPU of this number.
pub fn cpu(text: &mut Text, number: usize) -> Result<(), NoMemory> {
    writeln!(
        text,
        "processor\t: {number}\nvendor_id\t: Coracle\nmodel name\t: {brand}\nphysical id\t: 0\nsiblings\t: {cpus}\n\
         core id\t\t: {number}\ncpu cores\t: {cpus}\napicid\t\t: {number}\nfpu\t\t: yes\nfpu_exception\t: yes\nwp\t\t: yes\n\
         flags\t\t: {flags}\nclflush size\t: 64\ncache_alignment\t: 64\n\
         address sizes\t: 40 bits physical, 48 bits virtual\n",
        brand = cpu::Brand::of_this_cpu(),
        cpus = cpu::count(),
        flags = Flags(cpu::hwcap()),
    )
}

/// Names of the bits of CPUID leaf 1 EDX, as Linux writes them; every long-mode CPU has those appended.
struct Flags(u32);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const NAMES: [&str; 32] = [
            "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "", "sep", "mtrr", "pge",
            "mca", "cmov", "pat", "pse36", "pn", "clflush", "", "dts", "acpi", "mmx", "fxsr", "sse", "sse2",
            "ss", "ht", "tm", "ia64", "pbe",
        ];
        for (bit, name) in NAMES.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            if self.0 & 1 << bit != 0 {
                write!(f, "{name} ")?;
            }
        }
        f.write_str("syscall nx lm")
    }
}
