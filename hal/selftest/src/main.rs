//! A kernel that tries the hardware layer and nothing else: programs in both rings, faults, interrupts, switches, several
//! CPUs. It prints one line per test and ends QEMU with status 1 if all passed, 3 if one failed.
//!
//! Command line: `protected` runs the programs in ring 3.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
mod program;
#[cfg(target_os = "none")]
mod test;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("coracle-hal-selftest: build it for x86_64-unknown-none and boot it");
}
