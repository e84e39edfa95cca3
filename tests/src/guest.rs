//! Runs a program on Coracle, by `coracle run`.
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{env, io::Read};

use crate::build::Target;
use crate::describe::Program;
use crate::matrix::Machine;
use crate::outcome::Outcome;
use crate::{build, linux, paths, wait};

/// Catches guests that hang; without KVM, and with the machine shared, a run may take long.
pub const LIMIT: Duration = Duration::from_secs(300);

/// The `coracle run` command for a machine, without a program yet.
pub fn coracle_run(machine: Machine) -> Command {
    let mut command = Command::new(paths::coracle());
    command.args([
        "run",
        "--mode",
        machine.mode.name(),
        "--cpus",
        &machine.cpus.to_string(),
        "--machine",
        machine.kind,
        // As the programs run on Linux.
        "--user",
        "root",
    ]);
    if let Some(accelerator) = env::var_os("CORACLE_TEST_ACCEL") {
        command.arg("--accel").arg(accelerator);
    }
    command
}

/// Boots a test program and waits for its end, at most for [`LIMIT`].
///
/// # Errors
/// If it can't be built or `coracle` does not start.
pub fn run(program: &Program, machine: Machine) -> Result<Outcome, String> {
    run_within(program, machine, LIMIT)
}

/// [`run`] with another limit.
///
/// # Errors
/// The same.
pub fn run_within(program: &Program, machine: Machine, limit: Duration) -> Result<Outcome, String> {
    let mut command = coracle_run(machine);
    command.args(["--net", "none"]);
    run_by(command, program, &build::build(program)?, Target::Host, limit)
}

/// The files that a program asks for: where they are, and where they are in the guest.
///
/// # Errors
/// If its library can't be built.
pub fn data(program: &Program, target: Target) -> Result<Vec<(PathBuf, PathBuf)>, String> {
    if !program.data {
        return Ok(Vec::new());
    }
    let to = linux::data_folder(program);
    let library = build::plugin(program, target)?.map(|library| (library, to.join("plugin.so")));
    Ok([(paths::data().to_owned(), to)].into_iter().chain(library).collect())
}

/// [`run_within`] by a command that [`coracle_run`] began, for a program that was built for a target.
///
/// # Errors
/// The same.
pub fn run_by(
    mut command: Command,
    program: &Program,
    file: &Path,
    target: Target,
    limit: Duration,
) -> Result<Outcome, String> {
    if let Some(memory) = &program.memory {
        command.args(["-m", memory]);
    }
    if let Some(console) = &program.console {
        command.args(["--console", console]);
    }
    if let Some(nth) = &program.fail_alloc {
        command.args(["--fail-alloc", nth]);
    }
    if program.demand || env::var_os("CORACLE_TEST_DEMAND").is_some() {
        command.arg("--demand");
    }
    for (name, value) in linux::environment(program) {
        command.arg("-e").arg(format!("{name}={value}"));
    }
    for (from, to) in data(program, target)? {
        command.arg("--add").arg(format!("{}:{}", from.display(), to.display()));
    }
    for path in &program.add {
        command.args(["--add", path]);
    }
    let log = fresh_file("log");
    command.arg("--log-file").arg(&log).arg(file).arg("--").args(linux::arguments(program));
    let outcome = finish_joined(command, program.stdin.clone(), limit)?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    // It may not be there: the command may have failed before.
    let _ = fs::remove_file(&log);
    let outcome = Outcome { log: outcome.log + &said, ..outcome };
    Ok(if program.sort { outcome.sorted() } else { outcome })
}

/// A path of this run's own, below the folder for work.
pub fn fresh_file(kind: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    paths::work().join(format!("{kind}-{}-{number}", std::process::id()))
}

/// Runs a command to its end, or to the limit, its output streams joined in one pipe, as [`linux::run`] has it.
///
/// # Errors
/// If it does not start.
pub fn finish_joined(mut command: Command, stdin: Vec<u8>, limit: Duration) -> Result<Outcome, String> {
    let (reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
    let twin = writer.try_clone().map_err(|e| e.to_string())?;
    command.stdin(Stdio::piped()).stdout(writer).stderr(twin).process_group(0);
    let mut child = command.spawn().map_err(|e| format!("{command:?} does not start: {e}"))?;
    let words = format!("{command:?}\n");
    // The command holds the writing ends of the pipe, which has to close for its end to be seen.
    drop(command);
    let output = wait::collect(reader);
    wait::feed(child.stdin.take().expect("stdin is a pipe"), stdin);
    let status = wait::finish(&mut child, limit);
    Ok(Outcome {
        output: output.join().unwrap_or_default(),
        status: status.map_or(-1, wait::shell_status),
        log: words,
        timed_out: status.is_none(),
    })
}

/// Runs a command to its end, or to the limit.
///
/// # Errors
/// If it does not start.
pub fn finish(command: &mut Command, stdin: Vec<u8>, limit: Duration) -> Result<Outcome, String> {
    let mut child = wait::start(command)?;
    let output = wait::collect(child.stdout.take().expect("stdout is a pipe"));
    let log = wait::collect(child.stderr.take().expect("stderr is a pipe"));
    wait::feed(child.stdin.take().expect("stdin is a pipe"), stdin);
    let status = wait::finish(&mut child, limit);
    Ok(Outcome {
        output: output.join().unwrap_or_default(),
        status: status.map_or(-1, wait::shell_status),
        log: format!("{command:?}\n{}", String::from_utf8_lossy(&log.join().unwrap_or_default())),
        timed_out: status.is_none(),
    })
}

/// A guest that serves while a test drives it; it is ended when dropped.
pub struct Server {
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    command: String,
}

impl Server {
    /// Boots it.
    ///
    /// # Errors
    /// If the command does not start.
    pub fn start(command: &mut Command) -> Result<Self, String> {
        let mut child = wait::start(command)?;
        let output = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            tee(child.stdout.take().expect("stdout is a pipe"), output.clone()),
            tee(child.stderr.take().expect("stderr is a pipe"), output.clone()),
        ];
        Ok(Self { child, output, readers, command: format!("{command:?}") })
    }

    /// Its standard input, which can be taken once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Everything that came from it so far.
    pub fn log(&self) -> String {
        let output = self.output.lock().unwrap_or_else(|e| e.into_inner());
        format!("{}\n{}", self.command, String::from_utf8_lossy(&output))
    }

    /// The process id of the command.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its status once it has ended of itself, and what it has said was read.
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        /// How long its last words may take. What it has started may keep its output open for longer.
        const LAST_WORDS: Duration = Duration::from_secs(5);
        let status = wait::finish(&mut self.child, limit)?;
        wait::until(LAST_WORDS, || self.readers.iter().all(JoinHandle::is_finished));
        Some(wait::shell_status(status))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        wait::end(&mut self.child);
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

fn tee(mut from: impl Read + Send + 'static, to: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            to.lock().unwrap_or_else(|e| e.into_inner()).extend_from_slice(&buffer[..n]);
        }
    })
}
