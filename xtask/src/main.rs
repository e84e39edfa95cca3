//! Writes the parts of the documentation that are generated from the code, and checks the built kernel.
//!
//! `cargo run -p xtask -- system-calls` prints the table of system calls as Markdown;
//! with `--check FILE` it compares instead, and fails if FILE is not what the code says.
//!
//! `-- metrics` does the same for the table of metrics.
//!
//! `cargo run -p xtask -- layers` checks that the modules of the kernel use those of lower layers alone, but for what
//! `xtask/layers.txt` lists; `--write FILE` draws them.
//!
//! `cargo run -p xtask -- interrupts` checks where the kernel that `cargo build --release` built runs with interrupts on;
//! `-- allocations` checks that no function allocates infallibly that `xtask/allocations.txt` doesn't name; `-- stack`
//! bounds the stack that its calls take, where `xtask/pointer-calls.txt` helps it with calls by pointers; `-- call-path` checks that the way
//! to a system call's function is straight, so that tracing calls costs nothing while it is off.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use xtask::debug_info::Dwarf;
use xtask::kernel_elf::Kernel;
use xtask::layers::{Arrow, Layers};
use xtask::pointer_rules::Rules;
use xtask::recursions::RECURSIONS;
use xtask::{allocations, call_path, interrupts, layers, metrics, pointers, stack, system_calls};

/// What calls by pointers may reach.
const POINTER_CALLS: &str = "xtask/pointer-calls.txt";

const USAGE: &str = "usage: xtask system-calls [--check FILE | --write FILE]\n       xtask metrics --check FILE | --write FILE\n       xtask layers [--check FILE | --write FILE]\n       xtask interrupts [KERNEL-ELF]\n       xtask allocations [--list] [KERNEL-ELF]\n       xtask stack [--path] [KERNEL-ELF]\n       xtask call-path [KERNEL-ELF]";

/// Where the build of the command leaves the kernel with its symbols, below the repository.
const KERNEL: &str = "target/kernel/x86_64/x86_64-unknown-none/kernel/coracle-kernel";

/// The layers of the kernel, and the arrows upwards that are known, below the repository.
const LAYERS: &str = "xtask/layers.txt";

/// The functions that may allocate infallibly, below the repository.
const ALLOWED_ALLOCATIONS: &str = "xtask/allocations.txt";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["system-calls"] => page().map(|page| print!("{page}")),
        ["system-calls", "--write", file] => page().and_then(|page| write(Path::new(file), &page)),
        ["system-calls", "--check", file] => {
            page().and_then(|page| check(Path::new(file), &page, "system-calls"))
        }
        ["metrics", "--write", file] => write(Path::new(file), &metrics::page()),
        ["metrics", "--check", file] => check(Path::new(file), &metrics::page(), "metrics"),
        ["layers"] => check_layers().map(|_| ()),
        ["layers", "--write", file] => {
            read_layers().and_then(|(known, arrows)| write(Path::new(file), &layers::to_svg(&known, &arrows)))
        }
        ["layers", "--check", file] => {
            check_layers().and_then(|picture| check(Path::new(file), &picture, "layers"))
        }
        ["interrupts"] => check_interrupts(&repository().join(KERNEL)),
        ["interrupts", kernel] => check_interrupts(Path::new(kernel)),
        ["allocations"] => check_allocations(&repository().join(KERNEL)),
        ["allocations", "--list"] => list_allocations(&repository().join(KERNEL)),
        ["allocations", "--list", kernel] => list_allocations(Path::new(kernel)),
        ["allocations", kernel] => check_allocations(Path::new(kernel)),
        ["call-path"] => check_call_path(&repository().join(KERNEL)),
        ["call-path", kernel] => check_call_path(Path::new(kernel)),
        ["stack"] => check_stack(&repository().join(KERNEL)).map(|_| ()),
        ["stack", "--path"] => check_stack(&repository().join(KERNEL)).map(show),
        ["stack", "--path", kernel] => check_stack(Path::new(kernel)).map(show),
        ["stack", kernel] => check_stack(Path::new(kernel)).map(|_| ()),
        _ => Err(USAGE.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The layers, and the arrows between the kernel's modules.
fn read_layers() -> Result<(Layers, BTreeSet<Arrow>), String> {
    let known = Layers::parse(&read(&repository().join(LAYERS))?).map_err(|e| format!("{LAYERS}: {e}"))?;
    Ok((known, layers::arrows(&repository().join("kernel"))?))
}

/// Whether the kernel's modules use those of lower layers alone. Returns the picture.
fn check_layers() -> Result<String, String> {
    let (known, arrows) = read_layers()?;
    let (upward, all) = layers::check(&known, &arrows).map_err(|wrong| format!("{LAYERS}:\n{wrong}"))?;
    println!(
        "{upward} of {all} arrows between the kernel's modules run to a higher layer, and all are listed"
    );
    Ok(layers::to_svg(&known, &arrows))
}

/// Where interrupts are on in the kernel of this file.
fn check_interrupts(kernel: &Path) -> Result<(), String> {
    let interrupts::Summary { instructions, interruptible } = interrupts::check(&Kernel::read(kernel)?)?;
    println!(
        "interrupts are on at {interruptible} of {instructions} instructions, and all are in the kernel's list"
    );
    Ok(())
}

/// Whether nothing is decided on the way to a system call's function in the kernel of this file.
fn check_call_path(kernel: &Path) -> Result<(), String> {
    let path = call_path::check(&Kernel::read(kernel)?)?;
    println!("a system call takes {} instructions from the entry to its function:", path.len());
    path.iter().for_each(|instruction| println!("  {instruction}"));
    Ok(())
}

/// Which functions of the kernel of this file allocate infallibly.
fn list_allocations(kernel: &Path) -> Result<(), String> {
    allocations::read(kernel)?.iter().for_each(|function| println!("{function}"));
    Ok(())
}

/// Whether these are those that may.
fn check_allocations(kernel: &Path) -> Result<(), String> {
    let file = repository().join(ALLOWED_ALLOCATIONS);
    let text = read(&file)?;
    let allowed = allocations::Allowed::parse(&text);
    let allocations::Summary { functions, stale } =
        allocations::check(&allocations::read(kernel)?, &allowed)?;
    println!("{functions} functions allocate infallibly, all at boot");
    stale.iter().for_each(|entry| println!("{entry} no longer does: take it off the list"));
    Ok(())
}

/// How deep the calls of the kernel of this file may go, those by pointers included.
fn check_stack(path: &Path) -> Result<Vec<String>, String> {
    let file = repository().join(POINTER_CALLS);
    let text = read(&file)?;
    let rules = Rules::parse(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    let bytes = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let kernel = Kernel::parse(&bytes)?;
    let reached = pointers::resolve(&kernel, &Dwarf::parse(&bytes)?, &rules)
        .map_err(|faults| format!("{faults}\n{} says what calls by pointers reach", file.display()))?;
    let sizes = stack::Sizes::read(&repository())?;
    let found = stack::check(&kernel, &sizes, RECURSIONS, &reached)?;
    println!(
        "calls take {} of {} bytes of stack at most, in {} functions, {} calls by pointers included",
        found.deepest, sizes.of_thread, found.functions, found.by_pointers
    );
    Ok(found.path)
}

/// The deepest path of calls, a function a line, with the bytes that it takes itself.
fn show(path: Vec<String>) {
    path.iter().for_each(|function| println!("{function}"));
}

/// The page, from the table in the kernel's source.
fn page() -> Result<String, String> {
    Ok(system_calls::to_markdown(&system_calls::read(&repository())?))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn write(file: &Path, page: &str) -> Result<(), String> {
    std::fs::write(file, page).map_err(|e| format!("cannot write {}: {e}", file.display()))
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|e| format!("cannot read {}: {e}", file.display()))
}

/// Whether a file is what `task` would write.
fn check(file: &Path, page: &str, task: &str) -> Result<(), String> {
    if read(file)? == page {
        return Ok(());
    }
    Err(format!(
        "{0} is not what the code says; run: cargo run -p xtask -- {task} --write {0}",
        file.display()
    ))
}
