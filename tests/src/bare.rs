//! Machines that `coracle run` does not make: QEMU started by hand, with an image that `coracle build` made.
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::build::Target;
use crate::guest::{self, LIMIT};
use crate::outcome::Outcome;
use crate::{paths, wait};

/// Builds an image of a program with arguments and returns its path; `name` is the file's.
///
/// # Errors
/// What `coracle build` said.
pub fn image(name: &str, program: &Path, arguments: &[&str]) -> Result<PathBuf, String> {
    image_with(name, program, arguments, |_| {})
}

/// [`image`], with more options for `coracle build`, which `options` adds.
///
/// # Errors
/// What `coracle build` said.
pub fn image_with(
    name: &str,
    program: &Path,
    arguments: &[&str],
    options: impl FnOnce(&mut Command),
) -> Result<PathBuf, String> {
    let folder = paths::work().join("bare");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let file = folder.join(name).with_extension("img");
    let mut command = Command::new(paths::coracle());
    command.arg("build").arg(program).arg("-o").arg(&file);
    options(&mut command);
    command.arg("--").args(arguments);
    let made = command.output().map_err(|e| e.to_string())?;
    if made.status.success() {
        return Ok(file);
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&made.stderr)))
}

/// The architecture of a machine, by QEMU's options for it.
pub fn target(machine: &str) -> Target {
    if machine.starts_with("-machine virt") { Target::Aarch64 } else { Target::Host }
}

/// The QEMU command for an image, with the serial port on the standard streams and no device beside those in `machine`
/// (QEMU's options, with blanks between them); `words` are the kernel's command line.
pub fn qemu(machine: &str, words: &str, image: &Path) -> Command {
    let mut command = Command::new(match target(machine) {
        Target::Host => "qemu-system-x86_64",
        Target::Aarch64 => "qemu-system-aarch64",
    });
    command.args(machine.split_whitespace());
    command.args(["-accel", "tcg", "-serial", "stdio", "-nodefaults", "-no-user-config", "-display", "none"]);
    command.arg("-kernel").arg(image).args(["-append", words]);
    command
}

/// Boots an image and waits for the machine's end.
///
/// # Errors
/// If QEMU does not start.
pub fn boot(machine: &str, words: &str, image: &Path) -> Result<Outcome, String> {
    guest::finish(&mut qemu(machine, words, image), Vec::new(), LIMIT)
}

/// Boots an image and returns the lines of its output, each with the time at which it came; the machine is ended after
/// `count` lines that `counts` chooses, or at the limit.
///
/// # Errors
/// If QEMU does not start.
pub fn lines(
    machine: &str,
    words: &str,
    image: &Path,
    count: usize,
    counts: impl Fn(&str) -> bool,
) -> Result<Vec<(Instant, String)>, String> {
    let mut child = wait::start(&mut qemu(machine, words, image))?;
    let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
    let (send, receive) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if send.send((Instant::now(), line)).is_err() {
                break;
            }
        }
    });
    let end = Instant::now() + LIMIT;
    let mut found = Vec::new();
    let mut counted = 0;
    while counted < count
        && let Ok((time, line)) = receive.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        counted += usize::from(counts(&line));
        found.push((time, line));
    }
    drop(receive);
    wait::end(&mut child);
    let _ = reader.join();
    Ok(found)
}

/// How often `text` occurs in the output of a machine.
pub fn times(outcome: &Outcome, text: &str) -> usize {
    outcome.text().matches(text).count()
}
