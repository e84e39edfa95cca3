//! A call that is traced costs at most twice what it costs untraced, in instructions of the guest, which a plugin of QEMU counts
//! (`bench/plugin/insn.c`): exact counts, no times, of a kernel that is optimised as a whole. The bench counts what belongs to it beside, the fetching of the records.
//!
//! `cargo test --release -p coracle-tests --test tracecost -- --nocapture` prints the figures.
use coracle_tests::guest::{self, LIMIT};
use coracle_tests::instructions::{argument_with_mark, plugin, windows};
use coracle_tests::{paths, trials};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Tests, with the kinds of calls that `bench/programs/calls.c` makes, and modes.
const TESTS: [(&str, &str, &str); 6] = [
    ("null_unikernel", "null", "unikernel"),
    ("null_protected", "null", "protected"),
    ("pipe_unikernel", "pipe", "unikernel"),
    ("pipe_protected", "pipe", "protected"),
    ("open_unikernel", "open", "unikernel"),
    ("open_protected", "open", "protected"),
];
/// Calls between two of its marks.
const BLOCK: u64 = 32;
/// How many calls it makes: so many that their sites are patched, and records go to more than one buffer.
const CALLS: u64 = 200 * BLOCK;
/// How many times more a traced call may cost.
const MOST_TIMES: u64 = 2;

/// The program, linked at fixed addresses.
fn program(folder: &Path) -> Result<PathBuf, String> {
    let (source, program) = (paths::repository().join("bench/programs/calls.c"), folder.join("calls"));
    let mut command = Command::new("cc");
    command.args(["-O2", "-static", "-no-pie", "-o"]).arg(&program).arg(source);
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = || format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(program) } else { Err(said()) }
}

/// The instructions of the cheapest block of calls: one in which no interrupt came, and no other thread ran.
fn cheapest(kind: &str, mode: &str, is_traced: bool) -> Result<u64, String> {
    let folder = paths::work().join(format!("tracecost-{kind}-{mode}"));
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let (program, counters, lines) = (program(&folder)?, folder.join("counters"), folder.join("lines"));
    let plugin = argument_with_mark(&plugin(&folder)?, &counters, &program, "bench_mark")?;
    let mut command = Command::new(paths::coracle());
    command.args(["run", "-q", "--net", "none", "--accel", "tcg", "--cpus", "1", "--mode", mode]);
    command.args(["--qemu-arg=-plugin", &format!("--qemu-arg={plugin}")]);
    if is_traced {
        command.arg("--trace=all").arg("--trace-file").arg(&lines);
    }
    command.arg(&program).args([kind, &CALLS.to_string()]);
    let outcome = guest::finish(&mut command, Vec::new(), LIMIT)?;
    if outcome.status != 0 {
        return Err(format!("{kind} in {mode} mode: {}", outcome.evidence()));
    }
    if is_traced {
        let text = fs::read_to_string(&lines).map_err(|e| e.to_string())?;
        let name = match kind {
            "null" => "getppid() = ",
            "pipe" => "read(3, \"sixteen bytes of\", 16) = 16",
            _ => "\"/dev/null\", O_RDONLY) = 5",
        };
        if !text.contains(name) {
            return Err(format!("the calls were not traced: {} lines without {name}", text.lines().count()));
        }
    }
    let all = windows(&counters)?;
    all.into_iter().min().ok_or_else(|| "the program came to no mark twice".into())
}

fn costs_at_most_twice(kind: &str, mode: &str) -> Result<(), String> {
    let (off, on) = (cheapest(kind, mode, false)?, cheapest(kind, mode, true)?);
    let each = |block: u64| block as f64 / BLOCK as f64;
    let figures = format!("{kind}, {mode}: {:.1} instructions a call, traced {:.1}", each(off), each(on));
    println!("{figures}");
    // A block of traced calls costs something.
    if off < on && on <= MOST_TIMES * off { Ok(()) } else { Err(figures) }
}

fn main() -> ExitCode {
    let tests = TESTS.map(|(name, kind, mode)| (name, move || costs_at_most_twice(kind, mode)));
    trials::main("tracecost", tests)
}
