//! Guests of aarch64: test programs come from a cross compiler, and Debian's own from a tree of its arm64 packages.
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::command::output;
use crate::describe::{Link, Program, Source};
use crate::guest::{self, LIMIT};
use crate::matrix::{Machine, Mode};
use crate::outcome::Outcome;
use crate::{build, linux, paths};

/// QEMU's machine.
pub const MACHINE: &str = "virt";

/// The packages of the tree: those whose programs are tried.
const PACKAGES: [&str; 6] =
    ["memcached", "redis-server", "nginx-light", "python3-minimal", "libpython3-stdlib", "sqlite3"];

/// Builds a C program without shared libraries.
fn program(program: &Program) -> Result<PathBuf, String> {
    let Source::C { path, flags, .. } = &program.source else { return Err("it is no C program".into()) };
    let folder = paths::work().join("programs-aarch64").join(program.name.replace("::", "/"));
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let file = folder.join("program");
    let headers = paths::programs().join("c");
    output(
        Command::new("aarch64-linux-gnu-gcc")
            .args(["-static", "-O1", "-std=gnu17", "-w", "-pthread", "-fno-builtin-malloc", "-I"])
            .arg(&headers)
            .arg("-o")
            .arg(&file)
            .arg(path)
            .args(flags),
    )?;
    Ok(file)
}

/// Whether a program can be tried: one in C, that wants nothing which `coracle run` would have to give it.
pub fn can_try(program: &Program) -> bool {
    let is_plain = matches!(
        &program.source,
        Source::C { path, link: Link::Dynamic | Link::Static | Link::StaticPie, plugin: None, .. }
            if path.extension().is_some_and(|extension| extension == "c")
    );
    is_plain
        && program.linux
        && !program.data
        && program.stdin.is_empty()
        && program.add.is_empty()
        && program.report.is_empty()
        && (program.console.as_ref(), program.fail_alloc.as_ref()) == (None, None)
}

/// Boots a program and waits for its end.
///
/// # Errors
/// If it can't be built, or `coracle` does not start.
pub fn run(subject: &Program, mode: Mode, cpus: u32) -> Result<Outcome, String> {
    let machine = Machine { mode, cpus, kind: MACHINE };
    guest::run_file(subject, &program(subject)?, machine, LIMIT)
}

/// A tree with programs that Debian built for arm64, made once.
///
/// # Errors
/// If the packages can't be fetched.
pub fn root() -> Result<PathBuf, String> {
    static ROOT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    ROOT.get_or_init(|| {
        fs::create_dir_all(paths::work()).map_err(|e| e.to_string())?;
        let root = paths::work().join("arm64-root");
        let script = paths::repository().join("scripts/arm64-root.sh");
        output(Command::new(script).arg(&root).args(PACKAGES))?;
        Ok(root)
    })
    .clone()
}

/// The answer of Linux on this machine.
///
/// # Errors
/// If the program can't be built or started.
pub fn expected(program: &Program) -> Result<Outcome, String> {
    build::build(program)?;
    linux::run(program)
}
