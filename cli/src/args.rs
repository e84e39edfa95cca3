//! The command line.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use coracle_image::{Mode, User};

use crate::net::{Cidr, Forward, Network};
use crate::size::Size;

/// Runs unmodified Linux programs as unikernels.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Reads the command line; prints help or what is wrong with it and ends if need be.
pub fn parse() -> Command {
    Cli::parse().command
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join a program, its libraries and the kernel into one bootable file.
    Build(BuildArgs),
    /// Start an image, or a program, in QEMU.
    Run(Box<RunArgs>),
    /// Show what is in an image.
    Inspect(InspectArgs),
    /// List guests that have a name.
    Ps(PsArgs),
    /// Show the output of a guest that runs in the background.
    Logs(LogsArgs),
    /// End guests.
    Stop(StopArgs),
    /// Write out the kernel with its symbols, for gdb.
    Kernel(KernelArgs),
}

/// What goes into an image, for `build` and `run` alike.
#[derive(Args, Debug, Default)]
pub struct ContentArgs {
    /// Add a file or directory (with what is below it), at the same path or at GUEST
    #[arg(long, value_name = "HOST[:GUEST]")]
    pub add: Vec<String>,

    /// Set an environment variable
    #[arg(short, long, value_name = "K=V", value_parser = variable)]
    pub env: Vec<String>,

    /// Where the program runs: beside the kernel (fastest), or behind the CPU's wall
    #[arg(long, value_name = "unikernel|protected")]
    pub mode: Option<Mode>,

    /// Whom the program runs as [default: 1000:1000]
    #[arg(long, value_name = "root|UID[:GID]")]
    pub user: Option<User>,

    /// The directory the program starts in
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,

    /// The guest's name
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    pub hostname: Option<String>,

    /// Settings file of the project [default: Coracle.toml, if it is here]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `coracle build`
#[derive(Args, Debug)]
pub struct BuildArgs {
    /// The program: a path, or a name to be found in PATH
    pub program: Option<String>,

    /// The image to write; `-` is standard output [default: the program's name with .img]
    #[arg(short, long, value_name = "IMAGE")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub content: ContentArgs,

    /// Name every file that goes in
    #[arg(short, long)]
    pub verbose: bool,

    /// Arguments of the program
    #[arg(last = true)]
    pub args: Vec<String>,
}

/// `coracle run`
#[derive(Args, Debug)]
pub struct RunArgs {
    /// An image, or a program (which is built into a temporary image)
    pub target: Option<String>,

    /// Lead a port of this machine to one of the guest
    #[arg(short, long = "publish", value_name = "[ADDR:]HOST:GUEST[/udp]")]
    pub ports: Vec<Forward>,

    /// Memory of the guest [default: 128M and the size of the image]
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<Size>,

    /// CPUs of the guest
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub cpus: Option<u8>,

    #[command(flatten)]
    pub content: ContentArgs,

    /// Run in the background; `ps`, `logs` and `stop` take the guest's name
    #[arg(short, long)]
    pub detach: bool,

    /// The guest's name among those that run [default with -d: the program's]
    #[arg(long, value_name = "NAME", value_parser = crate::instances::name)]
    pub name: Option<String>,

    /// Network of the guest [default: user]
    #[arg(long, value_name = "user|tap:NAME|none")]
    pub net: Option<Network>,

    /// The guest's address [default: given by QEMU's user network; by DHCP on a tap]
    #[arg(long, value_name = "A.B.C.D/N")]
    pub ip: Option<Cidr>,

    /// The guest's gateway, with --ip
    #[arg(long, value_name = "A.B.C.D", requires = "ip")]
    pub gateway: Option<Ipv4Addr>,

    /// The guest's name server, with --ip
    #[arg(long, value_name = "A.B.C.D", requires = "ip")]
    pub dns: Option<Ipv4Addr>,

    /// What runs the guest's instructions
    #[arg(long, value_enum, default_value_t)]
    pub accel: Accel,

    /// QEMU's machine type
    #[arg(long, value_enum, default_value_t)]
    pub machine: Machine,

    /// The device that carries the program's standard streams
    #[arg(long, value_enum, default_value_t, hide = true)]
    pub console: ConsoleKind,

    /// How much the kernel tells on stderr
    #[arg(long, value_enum, default_value_t)]
    pub log: Log,

    /// Fix the randomisation of addresses, for debugging
    #[arg(long, value_name = "HEX", value_parser = seed)]
    pub seed: Option<u64>,

    /// Wait for gdb, on a Unix socket, before the first instruction
    #[arg(long)]
    pub gdb: bool,

    /// One more argument for QEMU
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,

    /// Print the QEMU command and start nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Show the whole QEMU command
    #[arg(short, long)]
    pub verbose: bool,

    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Arguments of the program (in place of those of the image)
    #[arg(last = true)]
    pub args: Vec<String>,
}

/// `coracle inspect`
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// The image
    pub image: PathBuf,

    /// List every file
    #[arg(short, long)]
    pub files: bool,

    /// Write the file at this path of the image to stdout, and nothing else
    #[arg(long, value_name = "PATH", conflicts_with = "files")]
    pub cat: Option<String>,
}

/// `coracle ps`
#[derive(Args, Debug)]
pub struct PsArgs {
    /// Those that have ended, too
    #[arg(short, long)]
    pub all: bool,
}

/// `coracle logs`
#[derive(Args, Debug)]
pub struct LogsArgs {
    /// The guest
    pub name: String,

    /// Go on until it ends
    #[arg(short, long)]
    pub follow: bool,
}

/// `coracle stop`
#[derive(Args, Debug)]
pub struct StopArgs {
    /// The guests
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// `coracle kernel`
#[derive(Args, Debug)]
pub struct KernelArgs {
    /// Where to write the ELF
    #[arg(short, long, value_name = "FILE", default_value = "coracle-kernel.elf")]
    pub output: PathBuf,
}

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM where it works, else TCG
    #[default]
    Auto,
    /// The CPU itself
    Kvm,
    /// QEMU's translator
    Tcg,
}

/// A machine type of QEMU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    /// The smallest: virtio over memory-mapped registers, no PCI, no ACPI
    #[default]
    Microvm,
    /// PCI Express, ACPI
    Q35,
    /// PCI, ACPI
    Pc,
}

impl Machine {
    /// QEMU's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Machine::Microvm => "microvm",
            Machine::Q35 => "q35",
            Machine::Pc => "pc",
        }
    }
}

/// A device for the standard streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ConsoleKind {
    /// The first serial port
    #[default]
    Serial,
    /// A virtio console
    Virtio,
}

/// How much the kernel tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Log {
    /// Warnings and failures
    #[default]
    Quiet,
    /// What it found and chose, too
    Info,
    /// Everything
    Debug,
}

fn variable(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("a variable is written NAME=VALUE".to_owned()),
    }
}

/// A host name by RFC 1123, section 2.1.
pub fn hostname(text: &str) -> Result<String, String> {
    /// The longest name of a host (`HOST_NAME_MAX` of Linux).
    const LONGEST: usize = 64;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if (1..=LONGEST).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-') {
        Ok(text.to_owned())
    } else {
        Err("a host name has up to 64 letters, digits, `-` and `.`".to_owned())
    }
}

fn seed(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16)
        .map_err(|_| "a seed is a hexadecimal number".to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        super::Cli::command().debug_assert();
    }
}
