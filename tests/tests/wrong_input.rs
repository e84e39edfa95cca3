//! Boots what can't run: no image, a damaged one, too little memory, an odd command line. Each must end by itself, say
//! why, and not claim success. (What `coracle` refuses before it starts QEMU is tested beside it, in `cli/tests`.)
use coracle_tests::describe::{self, Program};
use coracle_tests::guest::{self, LIMIT};
use coracle_tests::outcome::Outcome;
use coracle_tests::trials::{self, Test};
use coracle_tests::{build, paths};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

/// What begins an archive in an image.
const MAGIC: &[u8] = b"CORACLE1";
/// Memory that is enough for the programs here.
const ENOUGH: &str = "128M";
/// How many images are damaged at random.
const DAMAGED: u64 = 16;

const TESTS: &[(&str, Test)] = &[
    ("kernel_without_an_image", kernel_without_an_image),
    ("header_damaged", header_damaged),
    ("image_cut_short", image_cut_short),
    ("program_is_no_elf", program_is_no_elf),
    ("interpreter_is_no_elf", interpreter_is_no_elf),
    ("damage_anywhere", damage_anywhere),
    ("flipped_bits", flipped_bits),
    ("far_too_little_memory", far_too_little_memory),
    ("memory_runs_out", memory_runs_out),
    ("odd_words_on_the_command_line", odd_words_on_the_command_line),
    ("no_devices_at_all", no_devices_at_all),
];

/// A small program that ends with status 3 after it printed something.
fn program() -> Result<Program, String> {
    find("basic::hello_musl")
}

fn find(name: &str) -> Result<Program, String> {
    describe::all().into_iter().find(|p| p.name == name).ok_or_else(|| format!("there is no program {name}"))
}

/// The image of a program.
fn image(program: &Program) -> Result<Vec<u8>, String> {
    let output = scratch(&format!("{}.img", program.name.replace("::", "-")))?;
    let mut command = Command::new(paths::coracle());
    command.arg("build").arg(build::build(program)?).arg("-o").arg(&output);
    let made = command.output().map_err(|e| e.to_string())?;
    if !made.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&made.stderr)));
    }
    fs::read(&output).map_err(|e| e.to_string())
}

/// The image of the small program, made once.
fn small_image() -> Result<Vec<u8>, String> {
    static IMAGE: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    IMAGE.get_or_init(|| image(&program()?)).clone()
}

fn scratch(name: &str) -> Result<PathBuf, String> {
    let folder = paths::work().join("wrong-input");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    Ok(folder.join(name))
}

/// Where the archive begins in an image: its last occurrence, as the kernel itself holds the word too.
fn archive(image: &[u8]) -> Result<usize, String> {
    let page = 4096;
    let mut starts = (0..image.len()).step_by(page).filter(|at| image[*at..].starts_with(MAGIC));
    starts.next_back().ok_or_else(|| "there is no archive in the image".into())
}

/// One bit, anywhere in the image: the program runs as ever, or there is a clear error and a status that says so. The kernel
/// can't check itself before it runs, so that `coracle run` does; what is behind it, the kernel checks.
fn flipped_bits() -> Result<(), String> {
    /// Bits flipped in the kernel, and in the archive.
    const FLIPS: (usize, usize) = (200, 200);
    let good = small_image()?;
    let start = archive(&good)?;
    let right = boot("whole.img", &good, ENOUGH, "", true)?;
    if !right.text().contains(ENDED) {
        return Err(format!("the whole image: {}", right.evidence()));
    }
    let mut state: u64 = 0x2545_f491_4f6c_dd1d;
    let mut flip = |from: usize, to: usize| {
        // xorshift64: the same bits on every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (byte, bit) = (from + (state >> 16) as usize % (to - from), state & 7);
        let mut bytes = good.clone();
        bytes[byte] ^= 1 << bit;
        (bytes, format!("byte {byte}, bit {bit}"))
    };
    for _ in 0..FLIPS.0 {
        let (bytes, place) = flip(0, start);
        let file = scratch("flipped.img")?;
        fs::write(&file, bytes).map_err(|e| e.to_string())?;
        let mut command = Command::new(paths::coracle());
        command.arg("run").arg(&file);
        let outcome = guest::finish(&mut command, Vec::new(), LIMIT)?;
        let said = outcome.text() + &outcome.log;
        if outcome.timed_out || outcome.status == 0 || !said.contains("error: ") {
            return Err(format!("{place} of the kernel: {}", outcome.evidence()));
        }
    }
    for _ in 0..FLIPS.1 {
        let (bytes, place) = flip(start, good.len());
        let outcome = boot("flipped.img", &bytes, ENOUGH, "", true)?;
        let text = outcome.text();
        // A damaged page beside those that the program touches may be named, too.
        let is_right = text.contains(right.text().trim());
        let is_error = !text.contains(ENDED) && IMAGE_FAULTS.iter().any(|fault| text.contains(fault));
        if outcome.timed_out || !(is_right || is_error) {
            return Err(format!("{place} of the archive: {}", outcome.evidence()));
        }
    }
    Ok(())
}

/// The kernel's last words when the small program ran to its end. (QEMU's own status doesn't say.)
const ENDED: &str = "exit status 3";
/// Words in which the kernel says that the image is not as it was built.
const IMAGE_FAULTS: [&str; 2] = ["damaged", "no image"];

/// Boots bytes as they are, past all that `coracle run` checks; console and control channel both end up in the output.
fn boot(name: &str, bytes: &[u8], memory: &str, words: &str, devices: bool) -> Result<Outcome, String> {
    let file = scratch(name)?;
    fs::write(&file, bytes).map_err(|e| e.to_string())?;
    boot_file(&file, memory, words, devices)
}

fn boot_file(file: &Path, memory: &str, words: &str, devices: bool) -> Result<Outcome, String> {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", memory, "-serial", "stdio"]);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    command.args(["-device", "isa-debug-exit,iobase=0x501,iosize=4"]);
    if devices {
        command.args(["-device", "virtio-rng-pci"]);
    }
    command.arg("-kernel").arg(file);
    command.args(["-append", &format!("poweroff=isa-debug-exit@0x501 {words}")]);
    guest::finish(&mut command, Vec::new(), LIMIT)
}

/// That it ended by itself and gave one of these reasons, in whatever case.
fn refuses(outcome: &Outcome, reasons: &[&str]) -> Result<(), String> {
    if outcome.timed_out {
        return Err(format!("it hangs: {}", outcome.evidence()));
    }
    let text = outcome.text().to_lowercase();
    if text.contains("hello from musl") {
        return Err(format!("it runs the program all the same: {}", outcome.evidence()));
    }
    if reasons.iter().any(|reason| text.contains(reason)) {
        return Ok(());
    }
    Err(format!("it says none of {reasons:?}: {}", outcome.evidence()))
}

fn kernel_without_an_image() -> Result<(), String> {
    let kernel = scratch("kernel.elf")?;
    let made = Command::new(paths::coracle())
        .arg("kernel")
        .arg("-o")
        .arg(&kernel)
        .output()
        .map_err(|e| e.to_string())?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned());
    }
    refuses(&boot_file(&kernel, ENOUGH, "", true)?, &["image"])
}

fn header_damaged() -> Result<(), String> {
    let mut bytes = small_image()?;
    let start = archive(&bytes)?;
    bytes[start + 40] ^= 0x10;
    refuses(&boot("header.img", &bytes, ENOUGH, "", true)?, &["image"])
}

fn image_cut_short() -> Result<(), String> {
    let bytes = small_image()?;
    let start = archive(&bytes)?;
    let cut = &bytes[..start + (bytes.len() - start) / 2];
    // The loader of the firmware may refuse such a file before the kernel is there to say anything.
    refuses(&boot("cut.img", cut, ENOUGH, "", true)?, &["image", "elf", "load", ""])
}

/// Where the ELF files of the archive begin.
fn elf_files(bytes: &[u8]) -> Result<Vec<usize>, String> {
    let start = archive(bytes)?;
    Ok((start..bytes.len() - 4).step_by(16).filter(|at| bytes[*at..].starts_with(b"\x7fELF")).collect())
}

fn program_is_no_elf() -> Result<(), String> {
    let mut bytes = small_image()?;
    let at = *elf_files(&bytes)?.first().ok_or("the archive holds no ELF file")?;
    bytes[at..at + 4].copy_from_slice(b"text");
    refuses(&boot("no-elf.img", &bytes, ENOUGH, "", true)?, &["elf", "exec", "program"])
}

fn interpreter_is_no_elf() -> Result<(), String> {
    let good = image(&find("basic::hello_dynamic")?)?;
    let mut refused = 0;
    // One file after the other: the program, its interpreter, its libraries (not all of them are used).
    for (number, at) in elf_files(&good)?.into_iter().enumerate() {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(b"text");
        let outcome = boot(&format!("no-interpreter-{number}.img"), &bytes, ENOUGH, "", true)?;
        if !outcome.text().contains("hello, ") {
            refuses(&outcome, &["elf", "exec", "program"])?;
            refused += 1;
        }
    }
    if refused >= 3 {
        Ok(())
    } else {
        Err(format!("only {refused} of program, interpreter and libraries are missed"))
    }
}

/// Everywhere in what the kernel reads: header, settings, tables, symbols. What lies behind them are the files' own bytes:
/// a program that is damaged may do anything, also run for ever.
fn damage_anywhere() -> Result<(), String> {
    /// Where the header says how far into the archive the files' bytes begin (the section table of crates/image).
    const FILES_AT: usize = 32 + 6 * 16;
    let good = small_image()?;
    let start = archive(&good)?;
    let field = good[start + FILES_AT..][..8].try_into().map_err(|_| "the header is short")?;
    let length = u64::from_le_bytes(field) as usize;
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for round in 0..DAMAGED {
        let mut bytes = good.clone();
        for _ in 0..8 {
            // xorshift64: the same damage on every run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let within = (state >> 16) as usize % length;
            bytes[start + within] = state as u8;
        }
        let outcome = boot("damaged.img", &bytes, ENOUGH, "", true)?;
        if outcome.timed_out {
            return Err(format!("round {round} hangs: {}", outcome.evidence()));
        }
        if outcome.text().contains("panicked") {
            return Err(format!("round {round} brings the kernel down: {}", outcome.evidence()));
        }
    }
    Ok(())
}

fn far_too_little_memory() -> Result<(), String> {
    for memory in ["2M", "3M"] {
        // With the least, the firmware itself may stop before there is a kernel to say anything; but it must end.
        let outcome = boot("small.img", &small_image()?, memory, "", true)?;
        if outcome.timed_out || outcome.text().contains("panicked") {
            return Err(format!("with {memory} it does not end well: {}", outcome.evidence()));
        }
    }
    Ok(())
}

fn memory_runs_out() -> Result<(), String> {
    let program = build::c_server(&paths::programs().join("servers/memory_hog.c"))?;
    let mut command = Command::new(paths::coracle());
    command.args(["run", "--net", "none", "-m", "48M"]).arg(program);
    let outcome = guest::finish(&mut command, Vec::new(), LIMIT)?;
    // As Linux has it: killed, and told why.
    if outcome.status == 137 && outcome.log.to_lowercase().contains("memory") {
        return Ok(());
    }
    Err(format!("it is not killed for want of memory: {}", outcome.evidence()))
}

fn odd_words_on_the_command_line() -> Result<(), String> {
    let words =
        "mode=sideways nonsense ip=300.1.1.1/99 virtio_mmio.device=x@y:z seed=zz log=loud arg=%zz = %";
    let outcome = boot("odd-words.img", &small_image()?, ENOUGH, words, true)?;
    if outcome.text().contains("hello from musl") && !outcome.timed_out {
        return Ok(());
    }
    Err(format!("words that mean nothing stop it: {}", outcome.evidence()))
}

fn no_devices_at_all() -> Result<(), String> {
    let outcome = boot("no-devices.img", &small_image()?, ENOUGH, "", false)?;
    if outcome.text().contains("hello from musl") && !outcome.timed_out {
        return Ok(());
    }
    Err(format!("it does not run without devices: {}", outcome.evidence()))
}

fn main() -> ExitCode {
    trials::main("wrong_input", TESTS.iter().copied())
}
