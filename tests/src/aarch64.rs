//! Guests of aarch64: test programs come from cross compilers, and Debian's own from trees of its arm64 packages.
//!
//! Most programs run several in one guest, one after the other, by `programs/batch.c`: a boot costs more than what most of them do. Those
//! which look at the guest itself, or ask for a machine of their own, have one.
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::build::{self, Target};
use crate::command::output;
use crate::describe::{Program, Source};
use crate::guest::{self, LIMIT};
use crate::matrix::{Machine, Mode};
use crate::outcome::Outcome;
use crate::{linux, paths};

/// QEMU's machine.
pub const MACHINE: &str = "virt";

/// How long one program of several may take.
const PROGRAM_LIMIT: Duration = Duration::from_secs(120);

/// By how much each of them delays the end that a guest may take.
const LIMIT_EACH: Duration = Duration::from_secs(20);

/// The packages of the tree whose servers are driven by clients.
const SERVERS: [&str; 6] =
    ["memcached", "redis-server", "nginx-light", "python3-minimal", "libpython3-stdlib", "sqlite3"];

/// Libraries of test programs; for musl, what its compiler needs, without the compiler.
const LIBRARIES: [&str; 6] = ["libc6", "libgcc-s1", "libstdc++6", "musl", "--alone", "musl-dev"];

/// Programs that `programs/commands` names.
const TOOLS: [&str; 15] = [
    "libc6",
    "busybox-static",
    "bubblewrap",
    "python3.11",
    "bsdutils",
    "sqlite3",
    "util-linux",
    "mount",
    "coreutils",
    "dash",
    "hostname",
    "grep",
    "procps",
    "libssl3",
    "libffi8",
];

/// What guests do not need of these: what only compilers read, and locales.
const EXCLUDED: [&str; 4] =
    ["usr/share", "usr/include", "usr/lib/aarch64-linux-gnu/gconv", "usr/lib/aarch64-linux-musl"];

fn tree(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    fs::create_dir_all(paths::work()).map_err(|e| e.to_string())?;
    let root = paths::work().join(name);
    let script = paths::repository().join("scripts/arm64-root.sh");
    output(Command::new(script).arg(&root).args(packages))?;
    Ok(root)
}

/// A tree with servers that Debian built for arm64, made once.
///
/// # Errors
/// If the packages can't be fetched.
pub fn root() -> Result<PathBuf, String> {
    static ROOT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    ROOT.get_or_init(|| tree("arm64-root", &SERVERS)).clone()
}

/// The tree that a program runs in: one of libraries, or of tools.
///
/// # Errors
/// The same.
pub fn root_of(source: &Source) -> Result<PathBuf, String> {
    static TREE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match source {
        Source::Installed { .. } => TREE.get_or_init(|| tree("arm64-tools", &TOOLS)).clone(),
        _ => libraries(),
    }
}

/// The tree of libraries.
///
/// # Errors
/// If the packages can't be fetched.
pub fn libraries() -> Result<PathBuf, String> {
    static TREE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    TREE.get_or_init(|| tree("arm64-libraries", &LIBRARIES)).clone()
}

/// What has gcc compile against musl: Debian's file, with its paths led into the tree.
///
/// # Errors
/// If it can't be made.
pub fn musl_specs() -> Result<PathBuf, String> {
    static SPECS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    SPECS
        .get_or_init(|| {
            let root = libraries()?;
            let name = |e: std::io::Error| format!("{}: {e}", root.display());
            let specs =
                fs::read_to_string(root.join("usr/lib/aarch64-linux-musl/musl-gcc.specs")).map_err(name)?;
            let to = paths::work().join("aarch64-musl.specs");
            fs::write(&to, specs.replace("/usr/", &format!("{}/usr/", root.display()))).map_err(name)?;
            Ok(to)
        })
        .clone()
}

/// Boots a program in a guest of its own and waits for its end.
///
/// # Errors
/// If it can't be built, or `coracle` does not start.
pub fn run(program: &Program, mode: Mode, cpus: u32) -> Result<Outcome, String> {
    let file = build::build_for(program, Target::Aarch64)?;
    let command = command(Machine { mode, cpus, kind: MACHINE }, &root_of(&program.source)?);
    // What its description adds is part of the tree.
    let memory = program.memory.as_deref().map(with_tree).transpose()?;
    let program = Program { add: Vec::new(), memory, ..program.clone() };
    guest::run_by(command, &program, &file, Target::Aarch64, LIMIT)
}

/// Memory with room for what an image has there beyond one for x86-64: libraries that the program does not use.
fn with_tree(memory: &str) -> Result<String, String> {
    const TREE_MIB: u32 = 8;
    let mib = memory.strip_suffix('M').and_then(|mib| mib.parse::<u32>().ok());
    mib.map(|mib| format!("{}M", mib + TREE_MIB)).ok_or_else(|| format!("memory in another unit: {memory}"))
}

/// `coracle run` for a machine with a tree as its root.
fn command(machine: Machine, root: &Path) -> Command {
    let mut command = guest::coracle_run(machine);
    command.args(["--net", "none"]);
    with_root(&mut command, root);
    command
}

/// Has `coracle` take a tree as the guest's root.
pub fn with_root(command: &mut Command, root: &Path) {
    command.arg("--root").arg(root);
    for pattern in EXCLUDED {
        command.args(["--exclude", pattern]);
    }
}

/// Whether a program can run there: guests for aarch64 have no `--demand` and no serial console yet.
pub fn can_run(program: &Program) -> bool {
    !program.x86_only && !program.demand && program.console.is_none()
}

/// Whether a program can share its guest: nothing of the machine is its own.
pub fn can_share(program: &Program) -> bool {
    // What Linux does not run looks at the guest. A crash, or the last memory, would be that of the others, too.
    program.linux && program.report.is_empty() && (&program.memory, &program.fail_alloc) == (&None, &None)
}

/// The answer of Linux on this machine.
///
/// # Errors
/// If the program can't be built or started.
pub fn expected(program: &Program) -> Result<Outcome, String> {
    linux::run(program)
}

/// Programs that run in one guest, one after the other, and what became of each once they have.
pub struct Batch {
    machine: Machine,
    programs: Vec<Program>,
    outcomes: OnceLock<Vec<Result<Outcome, String>>>,
}

impl Batch {
    /// Programs of one kind: all of Debian's, or none of them.
    pub fn new(machine: Machine, programs: Vec<Program>) -> Self {
        Self { machine, programs, outcomes: OnceLock::new() }
    }

    /// What became of a program. The first call boots the guest.
    ///
    /// # Errors
    /// If it can't be built, or the guest not booted.
    pub fn outcome(&self, index: usize) -> Result<Outcome, String> {
        self.outcomes.get_or_init(|| self.run())[index].clone()
    }

    fn run(&self) -> Vec<Result<Outcome, String>> {
        let built: Vec<_> =
            self.programs.iter().map(|program| build::build_for(program, Target::Aarch64)).collect();
        let mut outcomes: Vec<_> =
            built.iter().map(|file| file.clone().map(|_| Outcome::default())).collect();
        // Those that are still to run, by their places.
        let mut left: VecDeque<_> = (0..built.len()).filter(|&index| built[index].is_ok()).collect();
        while !left.is_empty() {
            let programs: Vec<_> = left
                .iter()
                .filter_map(|&index| Some((&self.programs[index], built[index].as_deref().ok()?)))
                .collect();
            let evidence = match self.boot(&programs) {
                Ok((guest, log)) => {
                    for outcome in frames(&guest.output) {
                        let Some(index) = left.pop_front() else { break };
                        let outcome = Outcome { log: log.clone(), ..outcome };
                        outcomes[index] =
                            Ok(if self.programs[index].sort { outcome.sorted() } else { outcome });
                    }
                    Outcome { log: guest.log.clone() + &log, ..guest }.evidence()
                }
                Err(error) => error,
            };
            // The guest ended in the middle of one; those behind it are booted again.
            if let Some(index) = left.pop_front() {
                outcomes[index] = Err(format!("its guest ended: {evidence}"));
            }
        }
        outcomes
    }

    /// One boot with the programs that are left: how it ended, and the kernel's log.
    fn boot(&self, programs: &[(&Program, &Path)]) -> Result<(Outcome, String), String> {
        let root = root_of(&self.programs[0].source)?;
        let folder = guest::fresh_file("batch");
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let log = folder.join("log");
        let mut command = command(self.machine, &root);
        let mut add = |from: &Path, to: &str| {
            command.arg("--add").arg(format!("{}:{to}", from.display()));
        };
        let mut list = Vec::new();
        for (number, (program, file)) in programs.iter().enumerate() {
            if !matches!(program.source, Source::Installed { .. }) {
                add(file, &file.to_string_lossy());
            }
            for (from, to) in guest::data(program, Target::Aarch64)? {
                add(&from, &to.to_string_lossy());
            }
            let stdin = format!("/batch/stdin-{number}");
            let from = folder.join(format!("stdin-{number}"));
            fs::write(&from, &program.stdin).map_err(|e| format!("{}: {e}", from.display()))?;
            add(&from, &stdin);
            let arguments: Vec<_> =
                [file.to_string_lossy().into_owned()].into_iter().chain(linux::arguments(program)).collect();
            let environment: Vec<_> = [linux::PATH.map(String::from)]
                .into_iter()
                .chain(linux::environment(program).into_iter().map(|(name, value)| [name, value]))
                .map(|pair| pair.join("="))
                .collect();
            list.extend([PROGRAM_LIMIT.as_secs().to_string(), stdin]);
            for words in [arguments, environment] {
                list.push(words.len().to_string());
                list.extend(words);
            }
        }
        let words = folder.join("list");
        let bytes: Vec<u8> = list.iter().flat_map(|word| word.bytes().chain([0])).collect();
        fs::write(&words, bytes).map_err(|e| format!("{}: {e}", words.display()))?;
        add(&words, "/batch/list");
        let runner = build::c_file(&paths::programs().join("batch.c"), Target::Aarch64)?;
        command.arg("--log-file").arg(&log).arg(runner).args(["--", "/batch/list"]);
        let limit = LIMIT + LIMIT_EACH * u32::try_from(programs.len()).unwrap_or(u32::MAX);
        let outcome = guest::finish(&mut command, Vec::new(), limit)?;
        let said = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_dir_all(&folder);
        Ok((outcome, said))
    }
}

/// The outcomes in what `programs/batch.c` printed, of programs in their order.
fn frames(mut bytes: &[u8]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
        let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
        bytes = &bytes[end + 1..];
        let words: Vec<_> = line.split(' ').collect();
        let (Some(&"end"), [_, _, status, is_late, length]) = (words.first(), &words[..]) else { continue };
        let (Ok(status), Ok(length)) = (status.parse(), length.parse::<usize>()) else { break };
        let Some(output) = bytes.get(..length) else { break };
        outcomes.push(Outcome {
            output: output.to_vec(),
            status,
            timed_out: *is_late == "1",
            log: String::new(),
        });
        bytes = &bytes[length..];
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::frames;

    #[test]
    fn outcomes_come_in_frames() {
        let outcomes =
            frames(b"start 0\nend 0 3 0 6\nend 1\nstart 1\nend 1 137 1 0\nstart 2\nend 2 0 0 9\ncut");
        assert_eq!(
            outcomes.iter().map(|o| (o.status, o.timed_out)).collect::<Vec<_>>(),
            [(3, false), (137, true)]
        );
        assert_eq!(outcomes[0].output, b"end 1\n");
    }
}
