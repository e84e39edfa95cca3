//! Guests of aarch64: the kernel is built for it, programs by a cross compiler, and QEMU's `virt` machine is started by hand, since
//! `coracle` makes no images for it yet.
use coracle_image::write::{Builder, Content, Meta, Node, Settings};
use coracle_image::{Mode as ImageMode, User};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::describe::{Link, Program, Source};
use crate::guest::{self, LIMIT};
use crate::matrix::Mode;
use crate::outcome::Outcome;
use crate::{build, linux, paths};

/// Where the program lies in the image.
const PROGRAM: &str = "/program";
/// What every line of the kernel's begins with, and what the last one says.
const LOG: &str = "coracle: ";
const ENDED: &str = "coracle: exit status ";

/// The kernel as it lies in memory, up to where an image begins.
struct Kernel {
    bytes: Vec<u8>,
}

fn output(command: &mut Command) -> Result<String, String> {
    let made = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if !made.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&made.stderr)));
    }
    Ok(String::from_utf8_lossy(&made.stdout).trim().to_owned())
}

/// Builds the kernel, once.
fn kernel() -> Result<&'static Kernel, String> {
    static KERNEL: OnceLock<Result<Kernel, String>> = OnceLock::new();
    KERNEL.get_or_init(build_kernel).as_ref().map_err(Clone::clone)
}

fn build_kernel() -> Result<Kernel, String> {
    const PAGE: usize = 4096;
    let elf = output(
        Command::new(paths::repository().join("scripts/guest-build.sh"))
            .args(["coracle-kernel", "aarch64-unknown-none-softfloat"]),
    )?;
    fs::create_dir_all(paths::work()).map_err(|e| e.to_string())?;
    let raw = guest::fresh_file("aarch64-kernel");
    output(Command::new("objcopy").args(["-I", "elf64-little", "-O", "binary", &elf]).arg(&raw))?;
    let mut bytes = fs::read(&raw).map_err(|e| e.to_string())?;
    let _ = fs::remove_file(&raw);
    let symbols = output(Command::new("readelf").args(["-sW", &elf]))?;
    let end = symbols
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.last() == Some(&"__end"))
        .and_then(|words| usize::from_str_radix(words.get(1)?, 16).ok())
        .ok_or("the kernel has no symbol __end")?;
    // An image begins on the page behind what the kernel takes, with what is zero at first.
    bytes.resize(end.next_multiple_of(PAGE), 0);
    Ok(Kernel { bytes })
}

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
/// If it or the kernel can't be built, or QEMU does not start.
pub fn run(subject: &Program, mode: Mode, cpus: u32) -> Result<Outcome, String> {
    let file = program(subject)?;
    let image = guest::fresh_file("aarch64-image");
    fs::write(&image, image_of(subject, &file, mode)?).map_err(|e| e.to_string())?;
    let mut command = Command::new("qemu-system-aarch64");
    command.args(["-machine", "virt", "-cpu", "max", "-accel", "tcg", "-nodefaults", "-no-user-config"]);
    command.args(["-no-reboot", "-display", "none", "-serial", "stdio"]);
    command.args(["-m", subject.memory.as_deref().unwrap_or("128M"), "-smp", &cpus.to_string()]);
    command.arg("-kernel").arg(&image);
    let outcome = guest::finish(&mut command, Vec::new(), LIMIT)?;
    let _ = fs::remove_file(&image);
    Ok(separate(&outcome, subject.sort))
}

/// The file that QEMU loads: the kernel, and an archive with the program.
fn image_of(subject: &Program, file: &Path, mode: Mode) -> Result<Vec<u8>, String> {
    let mut builder = Builder::default();
    let directory = || Node::Directory(Meta::root(0o755), Default::default());
    let bytes = fs::read(file).map_err(|e| e.to_string())?;
    let mut add = |path: &str, node| builder.tree.insert(path.as_bytes(), node).map_err(|e| e.to_string());
    add(PROGRAM, Node::File(Meta::root(0o755), Content::from(bytes)))?;
    for path in ["/dev", "/proc", "/run", "/sys", "/tmp"] {
        add(path, directory())?;
    }
    let arguments = linux::arguments(subject);
    builder.settings = Settings {
        program: PROGRAM.into(),
        args: std::iter::once(PROGRAM.to_owned()).chain(arguments).map(String::into_bytes).collect(),
        env: std::iter::once("PATH=/usr/local/bin:/usr/bin:/bin".to_owned())
            .chain(linux::environment(subject).into_iter().map(|(name, value)| format!("{name}={value}")))
            .map(String::into_bytes)
            .collect(),
        mode: match mode {
            Mode::Unikernel => ImageMode::Unikernel,
            Mode::Protected => ImageMode::Protected,
        },
        user: Some(User::ROOT),
        ..Settings::default()
    };
    let mut image = kernel()?.bytes.clone();
    image.extend(builder.finish().map_err(|e| e.to_string())?);
    Ok(image)
}

/// The program's output and status, apart from what the kernel says on the same port.
fn separate(outcome: &Outcome, sort: bool) -> Outcome {
    let text = outcome.text().replace('\r', "");
    let status = text.lines().find_map(|line| line.strip_prefix(ENDED)?.trim().parse().ok());
    let own: String = text.split_inclusive('\n').filter(|line| !line.starts_with(LOG)).collect();
    let log: String = text.split_inclusive('\n').filter(|line| line.starts_with(LOG)).collect();
    let outcome = Outcome {
        output: own.into_bytes(),
        status: status.unwrap_or(-1),
        log: outcome.log.clone() + &log,
        timed_out: outcome.timed_out,
    };
    if sort { outcome.sorted() } else { outcome }
}

/// Builds what all tests share, so that no test's time has it.
///
/// # Errors
/// What the compiler said.
pub fn prepare() -> Result<(), String> {
    kernel().map(drop)
}

/// The answer of Linux on this machine.
///
/// # Errors
/// If the program can't be built or started.
pub fn expected(program: &Program) -> Result<Outcome, String> {
    build::build(program)?;
    linux::run(program)
}
