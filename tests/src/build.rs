//! Builds test programs: C with the system's compilers, Rust by cargo, Go by go; each once, when first wanted, for this machine or by a
//! cross compiler for aarch64.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use crate::describe::{Link, Program, Source};
use crate::{aarch64, paths};

/// What a program is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This machine.
    Host,
    /// aarch64, with glibc of the cross compiler's packages.
    Aarch64,
}

impl Target {
    /// The folder of programs for it.
    fn folder(self) -> PathBuf {
        paths::work().join(match self {
            Self::Host => "programs",
            Self::Aarch64 => "programs-aarch64",
        })
    }

    /// A command with a compiler for it.
    fn compiler(self, link: Link, is_cpp: bool) -> Result<Command, String> {
        let is_musl = matches!(link, Link::Musl | Link::MuslDynamic);
        let name = match (self, is_cpp) {
            (Self::Host, _) if is_musl => "musl-gcc",
            (Self::Host, true) => "g++",
            (Self::Host, false) => "cc",
            (Self::Aarch64, true) => "aarch64-linux-gnu-g++",
            (Self::Aarch64, false) => "aarch64-linux-gnu-gcc",
        };
        let mut command = Command::new(name);
        if self == Self::Aarch64 {
            // Constants and code on pages of their own, as the linker for x86-64 has it of itself.
            command.arg("-Wl,-z,separate-code");
            if is_musl {
                command.arg("-specs").arg(aarch64::musl_specs()?);
            }
        }
        Ok(command)
    }
}

/// Builds a program where that is needed and gives the path of its file.
///
/// # Errors
/// What the compiler said.
pub fn build(program: &Program) -> Result<PathBuf, String> {
    build_for(program, Target::Host)
}

/// [`build`] for a target. A program of the machine is that of Debian's tree there ([`aarch64::root_of`]).
///
/// # Errors
/// The same.
pub fn build_for(program: &Program, target: Target) -> Result<PathBuf, String> {
    match &program.source {
        Source::Installed { path } => {
            let is_there = match target {
                Target::Host => path.exists(),
                Target::Aarch64 => paths::is_in(&aarch64::root_of(&program.source)?, path),
            };
            if is_there {
                Ok(path.clone())
            } else {
                Err(format!("{} is not installed (`make deps` installs it)", path.display()))
            }
        }
        Source::Rust { name } => Ok(rust(target)?.join(name)),
        Source::Go { path } => go_for(path, target),
        Source::C { path, link, flags, .. } => c(&program.name, path, *link, flags, target),
    }
}

/// Builds the library of a program that has one.
///
/// # Errors
/// What the compiler said.
pub fn plugin(program: &Program, target: Target) -> Result<Option<PathBuf>, String> {
    let Source::C { plugin: Some(name), .. } = &program.source else { return Ok(None) };
    let source = paths::programs().join("c/plugins").join(name);
    let output = target.folder().join(name).with_extension("so");
    if !is_newer(&output, &[&source]) {
        let mut command = target.compiler(Link::Dynamic, false)?;
        make(&output, |to| {
            command.args(["-O1", "-g", "-shared", "-fPIC", "-o"]).arg(to).arg(&source);
            command
        })?;
    }
    Ok(Some(output))
}

/// Builds a C program that serves, for the application tests.
///
/// # Errors
/// What the compiler said.
pub fn c_server(source: &Path) -> Result<PathBuf, String> {
    c_file(source, Target::Host)
}

/// Builds a C program that is none of the test programs.
///
/// # Errors
/// What the compiler said.
pub fn c_file(source: &Path, target: Target) -> Result<PathBuf, String> {
    let name = source.file_stem().expect("a file has a name").to_string_lossy();
    c(&format!("servers::{name}"), source, Link::Dynamic, &[], target)
}

fn c(name: &str, source: &Path, link: Link, flags: &[String], target: Target) -> Result<PathBuf, String> {
    let file = name.rsplit("::").next().expect("a name has parts");
    let output = target.folder().join(name.replace("::", "/")).join(file);
    let headers = paths::programs().join("c");
    if is_newer(
        &output,
        &[source, &headers.join("t.h"), &headers.join("net.h"), &headers.join("futex/futex.h")],
    ) {
        return Ok(output);
    }
    let cpp = source.extension().is_some_and(|e| e == "cpp");
    let linking: &[&str] = match link {
        Link::Static | Link::Musl => &["-static"],
        Link::StaticPie => &["-static-pie", "-fPIE"],
        Link::Dynamic | Link::MuslDynamic => &[],
    };
    let standard: &[&str] = if cpp { &["-std=c++17"] } else { &["-std=gnu17"] };
    let mut command = target.compiler(link, cpp)?;
    make(&output, |to| {
        command.args([
            "-O1",
            "-g",
            "-Wall",
            "-Wno-unused-result",
            "-Wno-nonnull",
            "-pthread",
            "-fno-builtin-malloc",
        ]);
        command
            .arg("-I")
            .arg(&headers)
            .args(standard)
            .args(linking)
            .arg("-o")
            .arg(to)
            .arg(source)
            .args(flags);
        command
    })?;
    Ok(output)
}

/// Rust's name for aarch64.
const AARCH64: &str = "aarch64-unknown-linux-gnu";

/// Whether the toolchain has Rust's library for aarch64, which is a part of rustup's alone.
pub fn has_rust_for_aarch64() -> bool {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let answer = Command::new(compiler).args(["--print", "target-libdir", "--target", AARCH64]).output();
    answer.is_ok_and(|answer| {
        answer.status.success() && Path::new(String::from_utf8_lossy(&answer.stdout).trim()).is_dir()
    })
}

fn rust(target: Target) -> Result<PathBuf, String> {
    static BUILT: [OnceLock<Result<PathBuf, String>>; 2] = [const { OnceLock::new() }; 2];
    BUILT[target as usize]
        .get_or_init(|| {
            let folder = paths::work().join("rust");
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Command::new(cargo);
            command
                .args(["build", "--release", "--locked", "--manifest-path"])
                .arg(paths::programs().join("rust/Cargo.toml"))
                .env("CARGO_TARGET_DIR", &folder);
            let folder = match target {
                Target::Host => folder,
                Target::Aarch64 => {
                    command.args(["--target", AARCH64]);
                    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
                    folder.join(AARCH64)
                }
            };
            run(&mut command)?;
            Ok(folder.join("release"))
        })
        .clone()
}

/// Builds a Rust file without crates, whose panics abort.
///
/// # Errors
/// What the compiler said.
pub fn rust_file(source: &Path) -> Result<PathBuf, String> {
    let name = source.file_stem().expect("a file has a name");
    let output = paths::work().join("programs/rust").join(name);
    if !is_newer(&output, &[source]) {
        make(&output, |to| {
            let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
            let mut command = Command::new(compiler);
            command.args(["--edition", "2024", "-g", "-C", "panic=abort", "--crate-name"]).arg(name);
            command.arg("-o").arg(to).arg(source);
            command
        })?;
    }
    Ok(output)
}

/// The path of a binary of the Rust workspace.
///
/// # Errors
/// What cargo said.
pub fn rust_binary(name: &str) -> Result<PathBuf, String> {
    Ok(rust(Target::Host)?.join(name))
}

/// Builds a Go file without modules.
///
/// # Errors
/// What go said.
pub fn go(source: &Path) -> Result<PathBuf, String> {
    go_for(source, Target::Host)
}

fn go_for(source: &Path, target: Target) -> Result<PathBuf, String> {
    // One at a time: they share the cache, and each build takes all CPUs anyway.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    // Below a folder named after the source's: programs of two folders may have one name.
    let name = source.file_stem().expect("a file has a name");
    let folder = source.parent().and_then(Path::file_name).expect("a program lies in a folder");
    let output = target.folder().join("go").join(folder).join(name);
    if !is_newer(&output, &[source]) {
        make(&output, |to| {
            let mut command = Command::new("go");
            command.args(["build", "-o"]).arg(to).arg(source);
            command.env("GO111MODULE", "off").env("GOFLAGS", "");
            command.env("GOCACHE", paths::work().join("go-cache"));
            if target == Target::Aarch64 {
                command.env("GOARCH", "arm64");
            }
            command
        })?;
    }
    Ok(output)
}

fn prepare(output: &Path) -> Result<&Path, String> {
    let folder = output.parent().expect("an output lies in a folder");
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(output)
}

/// Has a command make a file under another name first: other tests may be using the file, or be making it, too.
fn make(output: &Path, command: impl FnOnce(&Path) -> Command) -> Result<(), String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let new = output.with_extension(format!("new-{}-{number}", std::process::id()));
    prepare(output)?;
    run(&mut command(&new))?;
    fs::rename(&new, output).map_err(|e| format!("{}: {e}", output.display()))
}

fn is_newer(output: &Path, sources: &[&Path]) -> bool {
    let time = |p: &Path| fs::metadata(p).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    output.exists() && sources.iter().all(|s| time(s) < time(output))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{:?} does not start: {e}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
