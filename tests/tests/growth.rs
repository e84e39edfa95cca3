//! The cost of an object must not grow with how many there are. A program does one kind of work on 1,000, 2,000, 4,000
//! and 8,000 objects; a plugin of QEMU counts the guest's instructions (`bench/plugin/insn.c`). What the second thousand
//! costs is compared with what each of the last four thousand does: exact counts, no times.
//!
//! `cargo test --release -p coracle-tests --test growth -- --nocapture` prints the figures.
use coracle_tests::guest::{self, LIMIT};
use coracle_tests::instructions::{argument, count, plugin};
use coracle_tests::trials;
use coracle_tests::{build, paths};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

/// Kinds of work that `tests/programs/growth/growth.c` knows.
const KINDS: [&str; 24] = [
    "mmap",
    "mprotect",
    "munmap",
    "fault",
    "fork",
    "maps",
    "create",
    "stat",
    "unlink",
    "mkdir",
    "rmdir",
    "rename",
    "list",
    "descriptor",
    "proc-fd",
    "epoll",
    "watcher",
    "timer",
    "process",
    "port",
    "socket-name",
    "lock",
    "in-flight",
    "record-lock",
];
/// Objects of the smallest run; the others have twice, four times and eight times as many.
const FEWEST: u64 = 1000;
/// How many times more an object may cost among four times as many. A cost that is linear in their number gives four.
const MOST_GROWTH: f64 = 2.0;

fn scratch(name: &str) -> Result<PathBuf, String> {
    let folder = paths::work().join("growth");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    Ok(folder.join(name))
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = || format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(()) } else { Err(said()) }
}

/// The image of the program, and the plugin; made once.
fn parts() -> Result<(PathBuf, PathBuf), String> {
    static PARTS: OnceLock<Result<(PathBuf, PathBuf), String>> = OnceLock::new();
    let make = || {
        let program = build::c_server(&paths::programs().join("growth/growth.c"))?;
        let image = scratch("growth.img")?;
        let mut command = Command::new(paths::coracle());
        succeed(command.arg("build").arg(program).args(["--user", "root", "-o"]).arg(&image))?;
        Ok((image, plugin(&paths::work().join("growth"))?))
    };
    PARTS.get_or_init(make).clone()
}

/// The guest's instructions for a kind of work on that many objects.
fn instructions(kind: &str, objects: u64) -> Result<u64, String> {
    let (image, plugin) = parts()?;
    let counters = scratch(&format!("{kind}-{objects}"))?;
    let plugin = argument(&plugin, &counters);
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-machine", "microvm,rtc=on", "-accel", "tcg", "-cpu", "max", "-m", "512M"]);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"]);
    command
        .args(["-device", "isa-debug-exit,iobase=0x501,iosize=4", "-plugin", &plugin, "-kernel"])
        .arg(image);
    command.args(["-append", &format!("poweroff=isa-debug-exit@0x501 arg={kind} arg={objects}")]);
    let outcome = guest::finish(&mut command, Vec::new(), LIMIT)?;
    if outcome.timed_out || !outcome.text().lines().any(|line| line == "done") {
        return Err(format!("{kind} of {objects}: {}", outcome.evidence()));
    }
    count(&counters)
}

fn grows_not(kind: &str) -> Result<(), String> {
    let mut totals = [0; 4];
    for (total, times) in totals.iter_mut().zip([1, 2, 4, 8]) {
        *total = instructions(kind, times * FEWEST)?;
    }
    let each = |more: u64, less: u64, objects: u64| more.saturating_sub(less) as f64 / objects as f64;
    let few = each(totals[1], totals[0], FEWEST);
    let many = each(totals[3], totals[2], 4 * FEWEST);
    let figures = format!("{kind}: {few:.0} instructions each among few, {many:.0} among four times as many");
    println!("{figures}");
    if few > 0.0 && many <= MOST_GROWTH * few { Ok(()) } else { Err(figures) }
}

fn main() -> ExitCode {
    trials::main("growth", KINDS.map(|kind| (kind, move || grows_not(kind))))
}
