//! Builds test programs: C with the system's compilers, Rust by cargo, Go by go; each once, when first wanted.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use crate::describe::{Link, Program, Source};
use crate::paths;

/// Builds a program where that is needed and gives the path of its file.
///
/// # Errors
/// What the compiler said.
pub fn build(program: &Program) -> Result<PathBuf, String> {
    match &program.source {
        Source::Installed { path } => {
            if path.exists() {
                Ok(path.clone())
            } else {
                Err(format!("{} is not installed (`make deps` installs it)", path.display()))
            }
        }
        Source::Rust { name } => Ok(rust()?.join(name)),
        Source::Go { path } => go(path),
        Source::C { path, link, flags, .. } => c(&program.name, path, *link, flags),
    }
}

/// Builds the library of a program that has one.
///
/// # Errors
/// What the compiler said.
pub fn plugin(program: &Program) -> Result<Option<PathBuf>, String> {
    let Source::C { plugin: Some(name), .. } = &program.source else { return Ok(None) };
    let source = paths::programs().join("c/plugins").join(name);
    let output = paths::work().join("programs").join(name).with_extension("so");
    if !is_newer(&output, &[&source]) {
        make(&output, |to| {
            let mut command = Command::new("cc");
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
    let name = source.file_stem().expect("a file has a name").to_string_lossy();
    c(&format!("servers::{name}"), source, Link::Dynamic, &[])
}

fn c(name: &str, source: &Path, link: Link, flags: &[String]) -> Result<PathBuf, String> {
    let file = name.rsplit("::").next().expect("a name has parts");
    let output = paths::work().join("programs").join(name.replace("::", "/")).join(file);
    let headers = paths::programs().join("c");
    if is_newer(
        &output,
        &[source, &headers.join("t.h"), &headers.join("net.h"), &headers.join("futex/futex.h")],
    ) {
        return Ok(output);
    }
    let cpp = source.extension().is_some_and(|e| e == "cpp");
    let compiler = match link {
        Link::Musl | Link::MuslDynamic => "musl-gcc",
        _ if cpp => "g++",
        _ => "cc",
    };
    let linking: &[&str] = match link {
        Link::Static | Link::Musl => &["-static"],
        Link::StaticPie => &["-static-pie", "-fPIE"],
        Link::Dynamic | Link::MuslDynamic => &[],
    };
    let standard: &[&str] = if cpp { &["-std=c++17"] } else { &["-std=gnu17"] };
    make(&output, |to| {
        let mut command = Command::new(compiler);
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

fn rust() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let target = paths::work().join("rust");
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Command::new(cargo);
            command
                .args(["build", "--release", "--locked", "--manifest-path"])
                .arg(paths::programs().join("rust/Cargo.toml"));
            run(command.env("CARGO_TARGET_DIR", &target))?;
            Ok(target.join("release"))
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
    Ok(rust()?.join(name))
}

/// Builds a Go file without modules.
///
/// # Errors
/// What go said.
pub fn go(source: &Path) -> Result<PathBuf, String> {
    // One at a time: they share the cache, and each build takes all CPUs anyway.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    // Below a folder named after the source's: programs of two folders may have one name.
    let name = source.file_stem().expect("a file has a name");
    let folder = source.parent().and_then(Path::file_name).expect("a program lies in a folder");
    let output = paths::work().join("programs/go").join(folder).join(name);
    if !is_newer(&output, &[source]) {
        let mut command = Command::new("go");
        command.args(["build", "-o"]).arg(prepare(&output)?).arg(source);
        command.env("GO111MODULE", "off").env("GOFLAGS", "").env("GOCACHE", paths::work().join("go-cache"));
        run(&mut command)?;
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
    let new = output.with_extension(format!("new{}", NEXT.fetch_add(1, Ordering::Relaxed)));
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
