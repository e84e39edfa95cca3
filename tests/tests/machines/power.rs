//! The end of a machine: it must come by itself, and no machine may start its program again.
use crate::Case;
use coracle_tests::bare;
use std::path::{Path, PathBuf};

pub const CASES: &[Case] = &[
    Case { name: "microvm_is_switched_off", test: || ends("-machine microvm -cpu max", ""), tap: false },
    Case { name: "q35_is_switched_off", test: || ends("-machine q35 -cpu max -smp 2", ""), tap: false },
    Case { name: "pc_is_switched_off", test: || ends("-machine pc -cpu max", ""), tap: false },
    Case {
        name: "isa_debug_exit_ends_it",
        test: || {
            ends(
                "-machine q35 -cpu max -device isa-debug-exit,iobase=0x501,iosize=4",
                "poweroff=isa-debug-exit@0x501",
            )
        },
        tap: false,
    },
    // No ACPI: QEMU's manual of microvm ends it so.
    Case {
        name: "triple_fault_if_asked",
        test: || ends("-machine microvm,acpi=off -cpu max -no-reboot", "reboot=t"),
        tap: false,
    },
    // The keyboard controller of Firecracker ends the machine; QEMU's does with `-no-reboot`.
    Case {
        name: "keyboard_controller_if_asked",
        test: || ends("-machine pc,acpi=off -cpu max -no-reboot", "reboot=k panic=1 pci=off"),
        tap: false,
    },
    Case { name: "without_a_switch_it_stays_halted", test: stays_halted, tap: false },
    Case { name: "a_failing_kernel_is_switched_off", test: kernel_fails, tap: false },
];

/// An image of a program that ends with status 3.
fn image() -> Result<PathBuf, String> {
    bare::image("power", Path::new("/bin/busybox"), &["ash", "-c", "echo up; exit 3"])
}

fn ends(machine: &str, words: &str) -> Result<(), String> {
    let outcome = bare::boot(&format!("{machine} -m 64M"), words, &image()?)?;
    let once = bare::times(&outcome, "up") == 1 && bare::times(&outcome, "coracle: exit status 3") == 1;
    if once && !outcome.timed_out {
        return Ok(());
    }
    Err(format!("it does not end, or not after one run: {}", outcome.evidence()))
}

/// Without ACPI and without a word on the command line there is no way that is known to end this machine. It must not run
/// the program again.
fn stays_halted() -> Result<(), String> {
    let end = "can't be switched off";
    let lines = bare::lines("-machine pc,acpi=off -cpu max -m 64M", "", &image()?, 2, |line| {
        line.contains(end) || line.contains("up")
    })?;
    let lines: Vec<&str> = lines.iter().map(|(_, line)| line.trim()).collect();
    if lines.iter().filter(|line| **line == "up").count() == 1 && lines.iter().any(|l| l.contains(end)) {
        return Ok(());
    }
    Err(format!("it does not halt after one run: {lines:?}"))
}

/// A machine that can't boot its image is switched off, too.
fn kernel_fails() -> Result<(), String> {
    let good = std::fs::read(image()?).map_err(|e| e.to_string())?;
    let archive = good.chunks(4096).rposition(|page| page.starts_with(b"CORACLE1"));
    let mut bytes = good;
    bytes[archive.ok_or("there is no archive in the image")? * 4096 + 40] ^= 0x10;
    let file = image()?.with_extension("bad.img");
    std::fs::write(&file, bytes).map_err(|e| e.to_string())?;
    let outcome = bare::boot("-machine q35 -cpu max -m 64M", "", &file)?;
    if bare::times(&outcome, "coracle: exit status 125") == 1 && !outcome.timed_out {
        return Ok(());
    }
    Err(format!("it does not end once with status 125: {}", outcome.evidence()))
}
