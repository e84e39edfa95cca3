//! Builds the kernel for the bare machine of each architecture, and leaves three files of each for the command to embed: the kernel without
//! symbols, its table of symbols, and the whole ELF (compressed) for a debugger.
//!
//! The kernel has its own cargo call because it has another target and profile. Three ways are tried in turn:
//! the toolchain at hand, if it has the target; `rustup target add`; Debian's `cargo-web` and `rust-web-src`, which
//! build the standard library's core with the kernel.
//!
//! `CORACLE_PREBUILT_KERNEL=ELF` takes a kernel for x86-64 that was built before, and builds none. Then the command has a kernel for aarch64
//! only if `CORACLE_PREBUILT_KERNEL_AARCH64=ELF` names one. Where the toolchain can't build for aarch64, the command is built without, and cargo
//! says so.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;

#[path = "src/kernel/calls.rs"]
mod calls;
#[path = "src/kernel/symbols.rs"]
mod symbols;

/// An architecture: its name, what ELF files call it (`e_machine`), its bare machine, and the variable that names a kernel for it which was built before.
struct Architecture {
    name: &'static str,
    elf_machine: u16,
    target: &'static str,
    prebuilt: &'static str,
}

/// The first is that which every command has.
const ARCHITECTURES: [Architecture; 2] = [
    Architecture {
        name: "x86_64",
        elf_machine: 62,
        target: "x86_64-unknown-none",
        prebuilt: "CORACLE_PREBUILT_KERNEL",
    },
    Architecture {
        name: "aarch64",
        elf_machine: 183,
        target: "aarch64-unknown-none-softfloat",
        prebuilt: "CORACLE_PREBUILT_KERNEL_AARCH64",
    },
];
/// The profile of the workspace that the kernel is built with.
const PROFILE: &str = "kernel";
/// The kernel's package, which is the name of its executable too.
const PACKAGE: &str = "coracle-kernel";
/// What the kernel is made of, below the root of the workspace.
const SOURCES: [&str; 5] = ["kernel", "hal", "crates", "Cargo.lock", "Cargo.toml"];

/// Where the kernel lists its system calls.
const CALLS: &str = "kernel/linux/src/table.rs";

fn main() -> ExitCode {
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn embed() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).parent().ok_or("no workspace")?.to_owned();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/kernel/calls.rs");
    println!("cargo::rerun-if-changed=src/kernel/symbols.rs");

    let table = root.join(CALLS);
    println!("cargo::rerun-if-changed={}", table.display());
    let calls = calls::parse(&fs::read_to_string(&table)?);
    let calls: Vec<_> = calls
        .iter()
        .map(|(number, name, kinds, result)| format!("({number}, {name:?}, &{kinds:?}, {result:?})"))
        .collect();
    fs::write(out.join("calls.rs"), format!("&[{}]", calls.join(",\n")))?;

    let are_built = env::var_os(ARCHITECTURES[0].prebuilt).is_none();
    if are_built {
        for source in SOURCES {
            println!("cargo::rerun-if-changed={}", root.join(source).display());
        }
    }
    for architecture in &ARCHITECTURES {
        println!("cargo::rerun-if-env-changed={}", architecture.prebuilt);
        if let Some(path) = env::var_os(architecture.prebuilt) {
            println!("cargo::rerun-if-changed={}", Path::new(&path).display());
        }
    }
    let kernel = |architecture: &Architecture| match env::var_os(architecture.prebuilt) {
        Some(path) => Ok(Some(PathBuf::from(path))),
        None if are_built => build(&root, &target_dir(&out, architecture), architecture.target).map(Some),
        None => Ok(None),
    };
    // Side by side: most of a build is the work of one thread, which optimises the kernel as a whole.
    let kernels = thread::scope(|scope| {
        let threads = ARCHITECTURES.each_ref().map(|architecture| scope.spawn(move || kernel(architecture)));
        threads.map(|thread| thread.join().expect("the build of a kernel does not panic"))
    });
    for (index, (architecture, kernel)) in ARCHITECTURES.iter().zip(kernels).enumerate() {
        let kernel = match kernel {
            Err(error) if index > 0 => {
                let reason = error.lines().next().unwrap_or_default();
                println!("cargo::warning=the command has no kernel for {}: {reason}", architecture.name);
                None
            }
            kernel => kernel?,
        };
        leave(&out, architecture, kernel.as_deref())?;
    }
    Ok(())
}

/// Writes the files of a kernel, which are empty if there is none.
fn leave(out: &Path, architecture: &Architecture, kernel: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let write =
        |ending: &str, bytes: &[u8]| fs::write(out.join(format!("{}.{ending}", architecture.name)), bytes);
    let Some(kernel) = kernel else {
        ["elf", "symbols", "debug.deflate"].iter().try_for_each(|ending| write(ending, b""))?;
        return Ok(());
    };
    let elf = fs::read(kernel).map_err(|error| format!("{}: {error}", kernel.display()))?;
    let parts = symbols::split(&elf).map_err(|error| format!("{}: {error}", kernel.display()))?;
    if parts.machine != architecture.elf_machine {
        return Err(format!("{}: not a kernel for {}", kernel.display(), architecture.name).into());
    }
    write("elf", &parts.stripped)?;
    let table: String = parts.symbols.iter().map(|(start, name)| format!("{start:x} {name}\n")).collect();
    write("symbols", table.as_bytes())?;
    let mut compressed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    compressed.write_all(&elf)?;
    write("debug.deflate", &compressed.finish()?)?;
    Ok(())
}

/// Where the kernel is built: beside the other profiles (`target/kernel/x86_64`), so that the command's debug and release
/// builds share one kernel; in `OUT_DIR` where the layout is not cargo's usual one. Each architecture has a directory, since a cargo that builds
/// keeps others out of it.
fn target_dir(out: &Path, architecture: &Architecture) -> PathBuf {
    // target/PROFILE/build/coracle-HASH/out
    const DEPTH: usize = 4;
    match out.ancestors().nth(DEPTH) {
        Some(target) if target.join("CACHEDIR.TAG").exists() => target,
        _ => out,
    }
    .join("kernel")
    .join(architecture.name)
}

/// Builds the kernel, and returns where its ELF is.
fn build(root: &Path, target_dir: &Path, target: &str) -> Result<PathBuf, String> {
    /// rustup adds to the toolchain for one caller at a time.
    static TOOLCHAIN: Mutex<()> = Mutex::new(());
    let rustc = env::var_os("RUSTC").ok_or("cargo did not set RUSTC")?;
    let toolchain = TOOLCHAIN.lock();
    let plain = has_target(&rustc, target) || (rustup_adds(target) && has_target(&rustc, target));
    drop(toolchain);
    let mut command = if plain {
        let mut command = Command::new(env::var_os("CARGO").ok_or("cargo did not set CARGO")?);
        clean(&mut command);
        command.env("RUSTC", rustc).args(["build"]);
        command
    } else {
        debian_cargo(target).ok_or_else(|| {
            format!(
                "cannot build for {target}: run `rustup target add {target}`, or on Debian \
                 `apt-get install cargo-web rust-web-src lld` (`make deps` does either)"
            )
        })?
    };
    command.current_dir(root).args(["--package", PACKAGE, "--target", target, "--profile", PROFILE]);
    command.arg("--target-dir").arg(target_dir);
    if root.join("Cargo.lock").exists() {
        command.arg("--locked");
    }
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "building the kernel failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(target_dir.join(target).join(PROFILE).join(PACKAGE))
}

/// Takes away what the outer cargo set for the host: flags, wrappers (clippy's is one), profiles.
fn clean(command: &mut Command) {
    const PREFIXES: [&str; 4] = ["CARGO_CFG_", "CARGO_FEATURE_", "CARGO_PROFILE_", "CARGO_BUILD_"];
    const NAMES: [&str; 10] = [
        "CARGO",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTFLAGS",
        "RUSTC",
        "RUSTC_LINKER",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTDOC",
        "TARGET",
    ];
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if NAMES.contains(&text) || PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}

/// Whether the compiler has the target's libraries.
fn has_target(rustc: &OsString, target: &str) -> bool {
    print_of(rustc, &["--print", "target-libdir", "--target", target]).is_some_and(|libdir| {
        fs::read_dir(libdir).is_ok_and(|mut files| {
            files.any(|file| {
                file.is_ok_and(|file| file.file_name().as_encoded_bytes().starts_with(b"libcore-"))
            })
        })
    })
}

/// Asks rustup, where there is one, for the target's libraries.
fn rustup_adds(target: &str) -> bool {
    Command::new("rustup")
        .args(["target", "add", target])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// What a tool prints, without the line's end.
fn print_of(tool: &OsString, args: &[&str]) -> Option<String> {
    let output = Command::new(tool).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The cargo of Debian's packages, which builds core and alloc from `rust-web-src`.
fn debian_cargo(target: &str) -> Option<Command> {
    const BIN: &str = "/usr/bin";
    let (cargo, rustc) = (Path::new(BIN).join("cargo"), Path::new(BIN).join("rustc"));
    let sysroot = print_of(&rustc.clone().into(), &["--print", "sysroot"])?;
    if !cargo.exists() || !Path::new(&sysroot).join("lib/rustlib/src/rust/library").exists() {
        return None;
    }
    let mut path = OsString::from(BIN);
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new(cargo);
    clean(&mut command);
    command.env("PATH", path).env("RUSTC", rustc);
    // The standard library can be built only with unstable options, which Debian's stable compiler takes so.
    command.env("RUSTC_BOOTSTRAP", "1");
    let variable = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    command.env(variable, linker(&sysroot)?);
    command.args(["build", "-Zbuild-std=core,alloc,compiler_builtins"]);
    command.arg("-Zbuild-std-features=compiler-builtins-mem");
    Some(command)
}

/// A linker for the bare machine: Rust's own, of Debian's toolchain or rustup's, else LLVM's.
fn linker(debian_sysroot: &str) -> Option<PathBuf> {
    const RUST_LLD: &str = "lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld";
    let own = env::var_os("RUSTC").and_then(|rustc| print_of(&rustc, &["--print", "sysroot"]));
    let rust_lld = [Some(debian_sysroot.to_owned()), own]
        .into_iter()
        .flatten()
        .map(|sysroot| Path::new(&sysroot).join(RUST_LLD))
        .find(|lld| lld.exists());
    let in_path = || {
        let path = env::var_os("PATH")?;
        env::split_paths(&path).map(|dir| dir.join("ld.lld")).find(|lld| lld.exists())
    };
    rust_lld.or_else(in_path)
}
