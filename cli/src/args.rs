//! The command line.

mod core;
mod exec;
mod gdb;
mod health;
mod life;
mod logs;
mod metrics;
mod netstat;
mod pcap;
mod profile;
mod program;
mod run_trace;
mod servers;
mod shell;
mod ssh;
mod stack;
mod storage;

pub use profile::ProfileArgs;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use coracle_image::{Access, Mode, SyslogServer, User};

pub use core::CoreArgs;
pub use gdb::GdbArgs;
pub use netstat::NetstatArgs;
pub use pcap::{Interface, PcapArgs};
pub use run_trace::RunTraceArgs;
pub use servers::NtpServer;

use crate::arch::Arch;
use crate::bytes;
use crate::error::{Error, Result};
use crate::net::{Cidr, Forward, Network};
use crate::run::VsockWish;
use crate::size::Size;
use crate::volume::{Source, Spec, tmpfs};

pub use exec::ExecArgs;
pub use health::{HealthArgs, OnFailure};
pub use life::{LifeArgs, RenameArgs, RestartArgs, RmArgs, StartArgs, StopArgs};
pub use logs::{LoggingArgs, LogsArgs};
pub use metrics::MetricsArgs;
pub use shell::{Color, CompletionsArgs, ManArgs, Shell};
pub use ssh::{SshArgs, SshNameArgs, SshServerArgs};
pub use stack::StackArgs;
pub use storage::{DiskInterface, StorageArgs};

/// Runs unmodified Linux programs as unikernels.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Show messages in colour
    #[arg(long, value_enum, value_name = "WHEN", global = true, default_value_t, hide_default_value = true)]
    color: Color,
}

/// The command line, as shells and man pages describe it.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Reads the command line; prints help or what is wrong with it and ends if need be.
pub fn parse() -> Command {
    let words: Vec<OsString> = std::env::args_os().collect();
    let parsed = Cli::try_parse_from(&words).and_then(|cli| {
        crate::error::set_color(cli.color);
        match cli.command {
            Command::Run(args) => program::split(*args, &words).map(|args| Command::Run(Box::new(args))),
            other => Ok(other),
        }
    });
    parsed.unwrap_or_else(|error| {
        // A reader that has gone away is no failure, as in `output`.
        let _ = error.print();
        // Not clap's 2: that may be the status of a program.
        std::process::exit(if error.use_stderr() { crate::error::FAILED.into() } else { 0 })
    })
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a bootable image from a program, its libraries and the kernel.
    Build(Box<BuildArgs>),
    /// Run a program or an image in a virtual machine.
    Run(Box<RunArgs>),
    /// Show the contents of an image.
    Inspect(InspectArgs),
    /// List running guests that have a name.
    Ps(PsArgs),
    /// Show the output of a background guest.
    Logs(LogsArgs),
    /// Stop guests.
    Stop(StopArgs),
    /// Start guests that have ended, with the options that they had.
    Start(StartArgs),
    /// Stop guests and start them again.
    Restart(RestartArgs),
    /// Give a guest another name.
    Rename(RenameArgs),
    /// Send a process of a guest a signal (needs `--control full`).
    Kill(KillArgs),
    /// Crash the kernels of guests, to see what is said and done then (needs `--control full`).
    Crash(NamesArgs),
    /// Wait until guests have ended, and print their exit status.
    Wait(NamesArgs),
    /// Forget guests that have ended, with their logs.
    Rm(RmArgs),
    /// Stop the machines of guests until `unpause`.
    Pause(NamesArgs),
    /// Let the machines of guests go on.
    Unpause(NamesArgs),
    /// Run a program in a guest beside its main one (needs `--control full`).
    Exec(Box<ExecArgs>),
    /// Print what ssh has to be told to reach a guest that is run with --ssh, for ~/.ssh/config or `ssh -F FILE`.
    SshConfig(SshNameArgs),
    /// Serve a connection of ssh: what `ssh-config` has ssh start.
    #[command(hide = true)]
    SshServer(SshServerArgs),
    /// Run what such a connection asks for.
    #[command(hide = true)]
    SshSession(SshNameArgs),
    /// Show what every thread of a guest waits for, and its stacks.
    Stack(StackArgs),
    /// Debug a guest's program with gdb (needs `--control full`).
    Gdb(GdbArgs),
    /// Write a core file of a guest's process, which goes on.
    Core(CoreArgs),
    /// Show the system calls of a guest as they are made.
    Trace(TraceArgs),
    /// Show where a guest's programs and its kernel spend their time, or where threads sleep.
    Profile(ProfileArgs),
    /// Show what the processes of a guest have mapped.
    Maps(ProcessArgs),
    /// Show the open files of a guest's processes.
    Files(ProcessArgs),
    /// Show the sockets of a guest, and why a stream stands still.
    Netstat(NetstatArgs),
    /// Show or serve the metrics of all guests, for Prometheus.
    Metrics(MetricsArgs),
    /// Capture the packets of a guest, as pcapng.
    Pcap(PcapArgs),
    /// Show how much CPU time and memory guests use.
    Stats(StatsArgs),
    /// Show the threads of a guest by the CPU time that they use, again and again.
    Top(TopArgs),
    /// Manage volumes, whose contents outlive guests.
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Write the kernel with its debug symbols to a file, for gdb.
    Kernel(KernelArgs),
    /// Print what a shell needs to complete words: `source <(coracle completions bash)`.
    Completions(CompletionsArgs),
    /// Write man pages.
    Man(ManArgs),
}

/// What goes into an image, for `build` and `run` alike.
#[derive(Args, Clone, Debug, Default)]
pub struct ContentArgs {
    /// Add a file or a directory tree, at the same path or at GUEST
    #[arg(long, value_name = "HOST[:GUEST]")]
    pub add: Vec<OsString>,

    /// Leave files that match a pattern out of added directories
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<OsString>,

    /// Set an environment variable; without a value, take the host's
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = OsStringValueParser::new().try_map(variable))]
    pub env: Vec<OsString>,

    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,

    /// Run the program in the kernel's ring (unikernel) or isolated from the kernel (protected) [default: unikernel]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<Mode>,

    /// What other commands may ask of the running guest: none, observe (all that only reads) or full; the least of what the image and the run allow [default: full for an image, observe for a run]
    #[arg(long, value_name = "ACCESS")]
    pub control: Option<Access>,

    /// Have the guest itself serve its metrics by HTTP at /metrics on this port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub metrics_port: Option<u16>,

    /// Have the guest itself set its clock by this NTP server; may be repeated, and the first that answers counts
    #[arg(long, value_name = "HOST[:PORT]")]
    pub ntp: Vec<NtpServer>,

    /// Run the program as this user: root, UID or UID:GID [default: 1000:1000]
    #[arg(long, value_name = "USER")]
    pub user: Option<User>,

    /// Working directory of the program [default: this directory if it was added, else /]
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<OsString>,

    /// Host name of the guest [default: coracle]
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    pub hostname: Option<String>,

    #[command(flatten)]
    pub health: HealthArgs,

    /// Make a directory tree, as a whole, the guest's `/`: a program is found in it, and its libraries are its own. It may be for another architecture
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Leave the files of the image on its disk, the image's file, and read their pages when they are used
    #[arg(long)]
    pub demand: bool,

    /// Read project settings from this file [default: Coracle.toml in this directory, if no program is given]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `coracle build`
#[derive(Args, Debug)]
pub struct BuildArgs {
    /// Path of the program, or a name to look up in PATH
    pub program: Option<OsString>,

    /// Write the image to this file, or to standard output if it is - [default: the program's name with .img]
    #[arg(short, long, value_name = "IMAGE")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub content: ContentArgs,

    /// Have guests send their lines to this syslog server themselves, where no `coracle run` does it
    #[arg(long, value_name = "udp|tcp://HOST:PORT", value_parser = servers::syslog_server)]
    pub syslog: Option<SyslogServer>,

    /// Have guests keep what is in a directory in memory, as for `run --tmpfs`
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    pub tmpfs: Vec<tmpfs::Spec>,

    /// List every file in the image
    #[arg(long)]
    pub verbose: bool,

    /// Default arguments of the program
    #[arg(last = true)]
    pub args: Vec<OsString>,
}

/// `coracle run`
#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "coracle run [OPTIONS] PROGRAM [ARGS]...\n       coracle run [OPTIONS] IMAGE [OPTIONS] [-- ARGS]..."
)]
pub struct RunArgs {
    #[command(flatten)]
    pub tracing: RunTraceArgs,

    /// A program with its arguments, or an image built by `coracle build`. What follows a program belongs to the program;
    /// an image may be followed by options, and by arguments after `--`
    #[arg(value_name = "PROGRAM|IMAGE", trailing_var_arg = true)]
    words: Vec<OsString>,

    /// The program or image, and the program's arguments, as `program::split` finds them in `words`.
    #[arg(skip)]
    pub target: Option<OsString>,
    /// See `target`.
    #[arg(skip)]
    pub args: Vec<OsString>,

    /// Publish a guest port on the host
    #[arg(short, long = "publish", value_name = "[ADDR:]HOST:GUEST[/udp]")]
    pub ports: Vec<Forward>,

    /// Keep what is in a directory of the guest in a volume: a named one, made when it is first used, or an ext4 image; or share a directory of the host (by 9P, or with :virtiofs by the program virtiofsd)
    #[arg(short, long = "volume", value_name = "NAME|./IMAGE|./DIRECTORY:PATH[:ro,cache=…,virtiofs]", value_parser = OsStringValueParser::new().try_map(volume))]
    pub volumes: Vec<Spec>,

    #[command(flatten)]
    pub storage: StorageArgs,

    /// Size of named volumes that are made: their files take as much of the disk as is written [default: 16G]
    #[arg(long, value_name = "SIZE")]
    pub volume_size: Option<Size>,

    /// Memory size of the guest [default: 128M plus the size of the image]
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<Size>,

    /// Number of CPUs of the guest [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub cpus: Option<u8>,

    #[command(flatten)]
    pub content: ContentArgs,

    /// Run in the background; print the guest's name, for `ps`, `logs` and `stop`
    #[arg(short, long)]
    pub detach: bool,

    /// Name of the guest for `ps`, `logs` and `stop` [default with -d: the program's name]
    #[arg(long, value_name = "NAME", value_parser = crate::instances::name)]
    pub name: Option<String>,

    #[command(flatten)]
    pub life: LifeArgs,

    #[command(flatten)]
    pub ssh: SshArgs,

    /// Network of the guest: user, tap:NAME or none [default: user]
    #[arg(long, value_name = "NETWORK")]
    pub net: Option<Network>,

    /// Let the guest reach services on the host's 127.0.0.1, at 10.0.2.2 (user network)
    #[arg(long)]
    pub host_loopback: bool,

    /// IPv4 address of the guest [default: 10.0.2.15/24 on the user network, DHCP on a tap device]
    #[arg(long, value_name = "A.B.C.D/N")]
    pub ip: Option<Cidr>,

    /// Default gateway of the guest, with --ip
    #[arg(long, value_name = "A.B.C.D", requires = "ip")]
    pub gateway: Option<Ipv4Addr>,

    /// DNS server of the guest, with --ip
    #[arg(long, value_name = "A.B.C.D", requires = "ip")]
    pub dns: Option<Ipv4Addr>,

    /// Give the guest a socket device (AF_VSOCK), and it this CID [default: 3]. Without vhost-vsock, programs of the host reach its ports by
    /// SOCKET
    #[arg(long, value_name = "CID[:SOCKET]", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub vsock: Option<VsockWish>,

    /// Give the program a secret as /run/secrets/NAME: the contents of FILE, or of the environment variable NAME
    #[arg(long, value_name = "NAME[=FILE]", value_parser = OsStringValueParser::new().try_map(secret))]
    pub secret: Vec<(String, Option<PathBuf>)>,

    /// CPU virtualisation
    #[arg(long, value_enum, default_value_t)]
    pub accel: Accel,

    /// Have QEMU's translator count instructions, for `coracle profile --instructions`; the guest's clock counts them, too
    #[arg(long)]
    pub count_instructions: bool,

    /// QEMU machine type [default: microvm; virt for aarch64]
    #[arg(long, value_enum)]
    pub machine: Option<Machine>,

    /// The device that carries the program's standard streams
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "virtio|serial")]
    pub console: ConsoleKind,

    /// Kernel messages to show on stderr
    #[arg(long, value_enum, default_value_t)]
    pub log: Log,

    /// Write what the kernel and this command say to FILE, in place of stderr
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,

    #[command(flatten)]
    pub logging: LoggingArgs,

    /// Choose the random addresses of kernel and program by this number, for repeatable debugging
    #[arg(long, value_name = "HEX", value_parser = seed)]
    pub seed: Option<u64>,

    /// Make the program's N-th allocation in the kernel fail (0: none; the program asks by /proc/thread-self/fail-nth)
    #[arg(long, value_name = "N", hide = true)]
    pub fail_alloc: Option<u64>,

    /// Note what the kernel does, and show the last of it if it crashes or does not answer (`coracle stack`)
    #[arg(long)]
    pub flight_recorder: bool,

    /// Have the program wait for `coracle gdb` before its first instruction
    #[arg(long)]
    pub gdb: bool,

    /// Write a core file when a program crashes: to FILE, or to core.NAME.PID in DIR
    #[arg(long, value_name = "FILE|DIR")]
    pub core: Option<PathBuf>,

    /// Pass one more argument to QEMU
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_arg: Vec<OsString>,

    /// Print the QEMU command instead of running it
    #[arg(long)]
    pub dry_run: bool,

    /// Show the QEMU command
    #[arg(long)]
    pub verbose: bool,

    /// Show errors only
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// `coracle inspect`
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// Path of the image
    pub image: PathBuf,

    /// List every file in the image
    #[arg(short, long)]
    pub files: bool,

    /// Print the contents of one file of the image
    #[arg(long, value_name = "PATH", conflicts_with = "files")]
    pub cat: Option<OsString>,

    /// Print JSON, with every file
    #[arg(long, conflicts_with_all = ["files", "cat"])]
    pub json: bool,
}

/// `coracle ps`
#[derive(Args, Debug)]
pub struct PsArgs {
    /// Include guests that have ended
    #[arg(short, long)]
    pub all: bool,

    /// Print JSON, with the CPU time and memory of guests that can be asked
    #[arg(long)]
    pub json: bool,
}

/// `coracle wait`, `pause`, `unpause` and `crash`
#[derive(Args, Debug)]
pub struct NamesArgs {
    /// Names of the guests
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// A signal (signal(7)).
#[derive(Clone, Copy, Debug)]
pub struct SignalNumber(pub u32);

/// `coracle kill`
#[derive(Args, Debug)]
pub struct KillArgs {
    /// Names of the guests
    #[arg(required = true)]
    pub names: Vec<String>,

    /// The signal: a name, with or without SIG, or a number
    #[arg(short, long, value_name = "SIGNAL", default_value = "TERM", value_parser = signal)]
    pub signal: SignalNumber,

    /// The process [default: 1, the image's program]
    #[arg(short, long, value_name = "PID", default_value_t = 1, hide_default_value = true)]
    pub pid: u32,
}

/// `coracle trace`
#[derive(Args, Debug)]
pub struct TraceArgs {
    /// Name of the guest
    pub name: String,

    /// Trace these calls only: names, or file, desc, network, process, memory, signal, ipc; with `!` all but these
    #[arg(short = 'e', long = "expr", value_name = "CALL,…", value_delimiter = ',')]
    pub calls: Vec<String>,

    /// Trace one process only
    #[arg(short, long, value_name = "PID")]
    pub pid: Option<u32>,

    /// Count calls, errors and times, and show these at the end (Ctrl-C)
    #[arg(short = 'c', long)]
    pub summary: bool,

    /// With -c: print JSON
    #[arg(long, requires = "summary")]
    pub json: bool,

    /// Show the program's stack with each call, as `strace -k` does
    #[arg(short = 'k', long, conflicts_with = "summary")]
    pub stack: bool,

    /// Trace what the kernel does in place of system calls: sched, timer, irq, fault, block, tcp, or all
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', conflicts_with_all = ["calls", "pid", "summary", "stack"])]
    pub events: Vec<String>,

    /// With --events: write a trace for Perfetto (ui.perfetto.dev) or chrome://tracing to FILE, as JSON
    #[arg(short, long, value_name = "FILE.json", requires = "events")]
    pub output: Option<PathBuf>,
}

/// `coracle maps` and `coracle files`
#[derive(Args, Debug)]
pub struct ProcessArgs {
    /// Name of the guest
    pub name: String,

    /// Show one process only
    #[arg(short, long, value_name = "PID")]
    pub pid: Option<u32>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `coracle stats`
#[derive(Args, Debug)]
pub struct StatsArgs {
    /// Names of the guests [default: all that run]
    pub names: Vec<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `coracle top`
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Name of the guest [default: the one that runs, if there is one only]
    pub name: Option<String>,

    /// Time between two looks: seconds, or with s, m or h behind
    #[arg(short, long, value_name = "TIME", default_value = "2")]
    pub delay: profile::Time,

    /// End after so many looks
    #[arg(short = 'n', long = "rounds", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub rounds: Option<u64>,

    /// Print JSON: what happened between two looks, an object in a line; one of them without -n
    #[arg(long)]
    pub json: bool,
}

/// `coracle volume`
#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// Make an empty volume.
    Create {
        /// Its name
        #[arg(value_parser = crate::instances::name)]
        name: String,
        /// Its size: the file takes as much of the disk as is written [default: 16G]
        #[arg(long, value_name = "SIZE")]
        size: Option<Size>,
        /// The owner of its directory: root, UID or UID:GID [default: the user of the program that uses it first]
        #[arg(long, value_name = "USER")]
        user: Option<User>,
    },
    /// List volumes.
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a volume's file, size, space and state.
    Inspect {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// A name, or ./FILE
        #[arg(value_name = "VOLUME", value_parser = OsStringValueParser::new().try_map(source))]
        volume: Source,
    },
    /// Remove volumes with all that is in them.
    Rm {
        /// Their names
        #[arg(required = true, value_parser = crate::instances::name)]
        names: Vec<String>,
    },
    /// Make a volume larger, or smaller if its content fits (with resize2fs).
    Resize {
        /// A name, or ./FILE
        #[arg(value_name = "VOLUME", value_parser = OsStringValueParser::new().try_map(source))]
        volume: Source,
        /// The new size
        size: Size,
    },
    /// Make a volume of an ext4 image.
    Import {
        /// The name of the new volume
        #[arg(value_parser = crate::instances::name)]
        name: String,
        /// The image
        file: PathBuf,
        /// Its size [default: the image's]
        #[arg(long, value_name = "SIZE")]
        size: Option<Size>,
    },
    /// Copy a volume to a new file, as an ext4 image.
    Export {
        /// A name, or ./FILE
        #[arg(value_name = "VOLUME", value_parser = OsStringValueParser::new().try_map(source))]
        volume: Source,
        /// The file to make
        file: PathBuf,
    },
    /// Look for damage (with e2fsck, if it is installed).
    Check {
        /// A name, or ./FILE
        #[arg(value_name = "VOLUME", value_parser = OsStringValueParser::new().try_map(source))]
        volume: Source,
    },
}

/// `coracle kernel`
#[derive(Args, Debug)]
pub struct KernelArgs {
    /// The architecture of the kernel
    #[arg(long, value_enum, default_value_t)]
    pub arch: Arch,

    /// File to write
    #[arg(short, long, value_name = "FILE", default_value = "coracle-kernel.elf")]
    pub output: PathBuf,
}

/// CPU virtualisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM if it works, otherwise TCG
    #[default]
    Auto,
    /// Hardware virtualisation
    Kvm,
    /// QEMU's software emulation
    Tcg,
}

/// A machine type of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    /// Minimal machine with PCI Express
    Microvm,
    /// PC with PCI Express and ACPI
    Q35,
    /// PC with PCI and ACPI
    Pc,
    /// Machine for aarch64
    Virt,
}

impl Machine {
    /// QEMU's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Machine::Microvm => "microvm",
            Machine::Q35 => "q35",
            Machine::Pc => "pc",
            Machine::Virt => "virt",
        }
    }

    /// The one for an architecture, or the one that was asked for.
    ///
    /// # Errors
    /// If that is for another architecture.
    pub fn choose(wish: Option<Machine>, arch: Arch) -> Result<Machine> {
        let default = match arch {
            Arch::X86_64 => Machine::Microvm,
            Arch::Aarch64 => Machine::Virt,
        };
        match wish {
            Some(machine) if (machine == Machine::Virt) != (default == Machine::Virt) => {
                Err(Error::new(format!("there is no machine `{}` for {arch}", machine.name()))
                    .help(format!("leave out --machine: it is `{}` then", default.name())))
            }
            wish => Ok(wish.unwrap_or(default)),
        }
    }
}

/// A device for the standard streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ConsoleKind {
    /// Ports of a virtio console: quick, and standard output and error apart
    #[default]
    Virtio,
    /// The first serial port, for both, and slow
    Serial,
}

/// Kernel messages to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Log {
    /// Warnings and errors
    #[default]
    Quiet,
    /// Also devices found and settings chosen
    Info,
    /// All messages
    Debug,
}

/// The environment of Linux is bytes without meaning (environ(7)): only the name must not be empty.
fn variable(text: OsString) -> Result<OsString, &'static str> {
    if text.is_empty() || text.as_bytes().starts_with(b"=") {
        return Err("a variable is written NAME=VALUE, or NAME to take the host's value");
    }
    Ok(text)
}

fn signal(text: &str) -> Result<SignalNumber, &'static str> {
    /// The highest number of Linux's.
    const MOST: u32 = 64;
    let word = text.to_ascii_uppercase();
    let name = if word.starts_with("SIG") { word.clone() } else { format!("SIG{word}") };
    let named = (1..=MOST).find(|&number| {
        let number = i32::try_from(number).unwrap_or_default();
        signal_hook::low_level::signal_name(number) == Some(name.as_str())
    });
    let number = word.parse().ok().filter(|number| (1..=MOST).contains(number));
    named.or(number).map(SignalNumber).ok_or("a signal is a name such as HUP, or a number from 1 to 64")
}

fn secret(text: OsString) -> Result<(String, Option<PathBuf>), &'static str> {
    let (name, file) = match bytes::split_once(&text, b'=') {
        Some((name, file)) => (name, Some(PathBuf::from(file))),
        None => (text.as_os_str(), None),
    };
    match name.to_str().filter(|name| coracle_image::secrets::is_name(name.as_bytes())) {
        Some(name) => Ok((name.to_owned(), file)),
        None => Err("the name of a secret has letters, digits, `-`, `_` and `.`, as a file's"),
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

fn volume(text: OsString) -> Result<Spec, String> {
    Spec::parse(&text)
}

fn source(text: OsString) -> Result<Source, String> {
    Source::parse(&text)
}

fn seed(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16)
        .map_err(|_| "a seed is a hexadecimal number".to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn signals_by_name_and_number() {
        let number = |text| super::signal(text).map(|signal| signal.0);
        assert_eq!((number("HUP"), number("sigusr1"), number("9")), (Ok(1), Ok(10), Ok(9)));
        assert!(number("0").is_err() && number("65").is_err() && number("NONE").is_err());
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        super::Cli::command().debug_assert();
    }
}
