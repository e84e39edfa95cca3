//! What a machine lacks, or has too much of, is said in one line; what can't run at all ends.
use crate::Case;
use coracle_tests::bare;
use std::path::Path;

pub const CASES: &[Case] = &[
    Case {
        name: "cpu_without_64_bits",
        test: || refuses("-machine q35 -cpu qemu32 -m 64M", "no 64-bit mode"),
        tap: false,
    },
    Case {
        name: "cpu_without_no_execute_pages",
        test: || refuses("-machine microvm -cpu max,-nx -m 64M", "no no-execute pages"),
        tap: false,
    },
    Case {
        name: "two_megabytes_of_memory",
        test: || refuses("-machine microvm -cpu max -m 2M", "too little memory"),
        tap: false,
    },
    Case {
        name: "less_memory_than_the_image",
        test: || refuses("-machine q35 -cpu max -m 3M", "too little memory"),
        tap: false,
    },
    Case {
        name: "protected_without_guards",
        test: || says("-machine q35 -cpu max,-smep,-smap -m 64M", "mode=protected", "no SMEP and SMAP"),
        tap: false,
    },
    Case {
        name: "more_cpus_than_are_supported",
        test: || says("-machine q35 -cpu max -smp 66 -m 256M", "", "66 CPUs: only 64 are used"),
        tap: false,
    },
    Case {
        name: "no_network_card",
        test: || says("-machine q35 -cpu max -m 64M", "ip=10.0.2.15/24", "no network card"),
        tap: false,
    },
    Case {
        name: "foreign_network_card",
        test: || {
            says(
                "-machine q35 -cpu max -m 64M -netdev user,id=a -device e1000,netdev=a,romfile=",
                "ip=10.0.2.15/24",
                "(8086:100e) is not driven",
            )
        },
        tap: false,
    },
    // The firmware gives no addresses there, and the bridge has no ports to give.
    Case {
        name: "legacy_network_card_without_ports",
        test: || {
            says(
                "-machine microvm,pcie=on -cpu max -m 64M -netdev user,id=a \
                 -device virtio-net-pci,disable-modern=on,netdev=a,romfile=",
                "ip=10.0.2.15/24",
                "its I/O ports have no address",
            )
        },
        tap: false,
    },
    Case {
        name: "second_network_card",
        test: || {
            says(
                "-machine q35 -cpu max -m 64M -netdev user,id=a -device virtio-net-pci,netdev=a,romfile= \
                 -netdev user,id=b -device virtio-net-pci,netdev=b,romfile=",
                "ip=10.0.2.15/24",
                "only the first one is used",
            )
        },
        tap: false,
    },
    Case {
        name: "words_of_other_monitors",
        test: || {
            let words = "console=ttyS0 reboot=k panic=1 pci=off root=/dev/vda ro quiet";
            let outcome = bare::boot("-machine q35 -cpu max -m 64M", words, &image()?)?;
            if outcome.text().contains("not understood") || !outcome.text().contains("up") {
                return Err(outcome.evidence());
            }
            Ok(())
        },
        tap: false,
    },
];

fn image() -> Result<std::path::PathBuf, String> {
    bare::image("refusals", Path::new("/bin/busybox"), &["ash", "-c", "echo up"])
}

/// The machine ends by itself, with this reason, before the program ran.
fn refuses(machine: &str, reason: &str) -> Result<(), String> {
    let machine = format!("{machine} -device isa-debug-exit,iobase=0x501,iosize=4");
    let outcome = bare::boot(&machine, "poweroff=isa-debug-exit@0x501", &image()?)?;
    let ran = outcome.text().lines().any(|line| line.trim() == "up");
    if !outcome.timed_out && !ran && bare::times(&outcome, reason) == 1 {
        return Ok(());
    }
    Err(format!("it does not end with `{reason}`: {}", outcome.evidence()))
}

/// The program runs, and the kernel says this once.
fn says(machine: &str, words: &str, line: &str) -> Result<(), String> {
    let outcome = bare::boot(machine, words, &image()?)?;
    let ran = outcome.text().lines().any(|line| line.trim() == "up");
    if !outcome.timed_out && ran && bare::times(&outcome, line) == 1 {
        return Ok(());
    }
    Err(format!("it does not say `{line}` once: {}", outcome.evidence()))
}
