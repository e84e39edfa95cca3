//! What the bench needs of the host: tools, Debian's kernel package, the plugin and the programs it compiles.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
use crate::tree::Tree;

/// Tools and the Debian packages they are in, beside those of the architecture.
const TOOLS: &[(&str, &str)] = &[
    ("cc", "gcc"),
    ("dpkg-deb", "dpkg"),
    ("apt-get", "apt"),
    ("setpriv", "util-linux"),
    ("memcaslap", "libmemcached-tools"),
    ("redis-benchmark", "redis-tools"),
    ("wrk", "wrk"),
    ("iperf3", "iperf3"),
];

/// Runs a command to its end and returns what it wrote; its error output is in the error.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "{command:?} failed ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Finds a program on PATH or where Debian puts daemons.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .map(|dir| Path::new(dir).join(name))
        .find(|file| file.is_file())
}

/// Checks that every tool is there; the error names all that are missing and their packages.
pub fn check(arch: Arch) -> Result<()> {
    let own = [arch.facts().qemu, arch.facts().compiler];
    let missing: Vec<_> = own.iter().chain(TOOLS).filter(|(tool, _)| find(tool).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let tools: Vec<_> = missing.iter().map(|(tool, _)| *tool).collect();
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    bail!(
        "tools of the bench are missing: {}\n  install them: apt-get install {} (or run `make deps`)",
        tools.join(", "),
        packages.join(" ")
    )
}

/// Whether `product` is there and no older than `source`.
fn fresh(product: &Path, source: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    match (time(product), time(source)) {
        (Some(product), Some(source)) => product >= source,
        _ => false,
    }
}

/// Compiles the plugin into `out`.
pub fn plugin(source: &Path, out: &Path) -> Result<PathBuf> {
    let product = out.join("insn.so");
    let text = fs::read_to_string(source).with_context(|| format!("cannot read {}", source.display()))?;
    coracle_qemu_plugin::compile(&text, &product).context("cannot compile the QEMU plugin")?;
    Ok(product)
}

/// Compiles a measuring program statically, at an address nothing else uses (so that its functions can be watched
/// for from the machine's first instruction on).
pub fn program(compiler: &str, source: &Path, out: &Path) -> Result<PathBuf> {
    let product = out.join(source.file_stem().context("a source has a name")?);
    if !fresh(&product, source) {
        let flags = ["-O2", "-Wall", "-static", "-no-pie", "-pthread", "-Wl,-Ttext-segment=0x10000000", "-o"];
        run(Command::new(compiler).args(flags).arg(&product).arg(source))
            .with_context(|| format!("cannot compile {}", source.display()))?;
    }
    Ok(product)
}

/// Debian's kernel for virtual machines.
pub struct LinuxKernel {
    /// The compressed kernel.
    pub image: PathBuf,
    /// The directory of its modules.
    pub modules: PathBuf,
    /// Its version.
    pub version: String,
}

/// Finds the cloud kernel in the tree, or fetches its package into `out` (nothing is installed).
pub fn linux_kernel(tree: &Tree, out: &Path) -> Result<LinuxKernel> {
    if let Some(kernel) = kernel_in(tree.directory()) {
        return Ok(kernel);
    }
    let kernel_package = tree.arch().facts().kernel_package;
    let root = out.join("linux");
    if let Some(kernel) = kernel_in(&root) {
        return Ok(kernel);
    }
    eprintln!("bench: fetching Debian's {kernel_package}");
    let depends = run(Command::new("apt-cache").args(["depends", kernel_package]))?;
    let package = depends
        .split_whitespace()
        .find(|word| word.starts_with("linux-image-") && *word != kernel_package)
        .with_context(|| format!("apt knows no {kernel_package}: run apt-get update"))?;
    run(Command::new("apt-get").args(["download", package]).current_dir(out))?;
    let archive = fs::read_dir(out)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(package) && name.ends_with(".deb")
        })
        .context("apt-get download left no package")?;
    run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&root))?;
    fs::remove_file(&archive)?;
    kernel_in(&root).context("the kernel package holds no kernel")
}

/// A cloud kernel under this root directory.
fn kernel_in(root: &Path) -> Option<LinuxKernel> {
    fs::read_dir(root.join("boot")).ok()?.filter_map(Result::ok).find_map(|entry| {
        let version = entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned();
        let modules = root.join("lib/modules").join(&version);
        (version.contains("cloud") && modules.is_dir()).then(|| LinuxKernel {
            image: entry.path(),
            modules,
            version,
        })
    })
}
