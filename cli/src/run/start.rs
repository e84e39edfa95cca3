//! Starting the guest, and staying with it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use coracle_image::cmdline::{CommandLine, LogLevel};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::memory_file::MemoryFile;
use super::plan::{Channels, Plan};
use super::{control, detach, host, loopback, secrets, stdin};
use crate::args::{Log, RunArgs};
use crate::error::{self, Error, Result, note};
use crate::instances::{self, Claim};
use crate::net::Network;
use crate::output;
use crate::pack::{self, Image};
use crate::settings::Settings;
use crate::size::{MIB, Size};

/// Memory of a guest that is not told otherwise, beside what its image takes.
const DEFAULT_MEMORY: u64 = 128 * MIB;
/// The least that the kernel and a small program need beside the image.
const LEAST_FREE: u64 = 512 << 10;
/// How long QEMU may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a shell adds to the number of a signal.
const SIGNALLED: i32 = 128;

/// Runs an image or a program; returns the exit status of the program.
pub fn run(args: &RunArgs) -> Result<u8> {
    let settings = Settings::load(&args.content, args.target.is_some())?;
    let given = args.target.as_ref().or(settings.program.as_ref()).ok_or_else(nothing_given)?;
    let path = pack::find_program(given)?;
    let background = detach::background_name()?;
    if args.detach && background.is_none() && !args.dry_run {
        return detach::detach(args, &path.file_stem().unwrap_or_default().to_string_lossy());
    }
    let bytes = error::read(&path)?;
    let checked = Image::parse(&bytes)
        .and_then(|image| image.map_or(Ok(()), |image| image.check_kernel(&bytes)).map(|()| image));
    let image = checked.map_err(|why| {
        Error::new(format!("`{}` is an image that cannot be run", path.display()))
            .why(why)
            .help("build it once more with this version of coracle")
    })?;
    // The temporary image must live as long as QEMU.
    let (mut plan, mode, reason, _temporary) = match image {
        Some(image) => {
            check_content(args)?;
            let mut words = words(args);
            if !args.args.is_empty() {
                // Of a script's image, the interpreter's own arguments stay.
                let config = image.archive.config();
                let own = config.args().take(config.fixed_args()).skip(1).map(<[u8]>::to_vec);
                words.args = own.chain(args.args.iter().map(|arg| arg.clone().into_bytes())).collect();
            }
            words.env =
                settings.env.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect();
            words.mode = args.content.mode;
            words.user = args.content.user;
            words.hostname.clone_from(&args.content.hostname);
            let wish = image.archive.config().memory().map(Size);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (plan, reason) = plan(args, &settings, (name, path.clone()), image.end, wish, words)?;
            (plan, args.content.mode.unwrap_or(image.archive.config().mode()), reason, None)
        }
        None => {
            let assembled = pack::assemble(given, &path, &args.args, &settings, false)?;
            let end = Image::parse(&assembled.bytes).ok().flatten().map_or(0, |image| image.end);
            let name = format!("{}.img", assembled.program.file_name().unwrap_or_default().to_string_lossy());
            let (file, temporary) = if args.dry_run {
                (PathBuf::from(&name), None)
            } else {
                let file = MemoryFile::new(&name, &assembled.bytes)?;
                (file.path(), Some(file))
            };
            let words = words(args);
            let (plan, reason) =
                plan(args, &settings, (name.clone(), file), end, settings.run.memory, words)?;
            if args.dry_run {
                note(format!("`{name}` is written by: coracle build {given} -o {name} …"));
            }
            (plan, settings.mode.unwrap_or_default(), reason, temporary)
        }
    };
    if args.dry_run {
        plan.secrets = (!args.secret.is_empty()).then(|| "SECRETS".into());
        output::line(plan.shell_command(Channels::Terminal))?;
        return Ok(0);
    }
    // They must live as long as QEMU.
    let secrets = secrets::collect(&args.secret)?;
    plan.secrets = secrets.as_ref().map(MemoryFile::path);
    let summary = plan.summary(mode, &reason);
    if !args.quiet {
        note(&summary);
    }
    let claim = background.as_deref().or(args.name.as_deref()).map(Claim::take).transpose()?;
    let result = start(&plan, args, || claim.as_ref().map_or(Ok(()), |claim| claim.started(&summary)));
    if let Some(claim) = claim {
        claim.ended(*result.as_ref().unwrap_or(&error::FAILED))?;
    }
    result
}

fn nothing_given() -> Error {
    Error::new("nothing to run is given")
        .why("neither the command line nor a Coracle.toml in this directory names an image or a program")
        .help("write `coracle run PROGRAM` or `coracle run IMAGE`")
}

/// An image is not changed by running it.
fn check_content(args: &RunArgs) -> Result<()> {
    let refused = [
        ("--add", !args.content.add.is_empty()),
        ("--exclude", !args.content.exclude.is_empty()),
        ("--cwd", args.content.cwd.is_some()),
    ];
    match refused.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Error::new(format!("{option} cannot be used with an image"))
            .why("what is in an image is settled when it is built")
            .help(format!("build it with `coracle build … {option} …`, or run the program itself"))),
        None => Ok(()),
    }
}

/// The words for the kernel that do not depend on whether an image or a program is run.
fn words(args: &RunArgs) -> CommandLine {
    CommandLine {
        log: match args.log {
            Log::Quiet => LogLevel::Quiet,
            Log::Info => LogLevel::Info,
            Log::Debug => LogLevel::Debug,
        },
        seed: args.seed,
        fail_alloc: args.fail_alloc,
        ..CommandLine::default()
    }
}

/// Chooses a machine, and checks that this one can run it.
fn plan(
    args: &RunArgs,
    settings: &Settings,
    (name, image): (String, PathBuf),
    image_end: u64,
    memory_wish: Option<Size>,
    words: CommandLine,
) -> Result<(Plan, String)> {
    let least = (image_end + LEAST_FREE).next_multiple_of(MIB);
    let default = Size((DEFAULT_MEMORY + image_end).next_multiple_of(16 * MIB));
    let memory = args.memory.or(memory_wish).unwrap_or(default);
    if memory.0 < image_end + LEAST_FREE {
        return Err(Error::new(format!("{memory} is too little memory"))
            .why(format!(
                "the kernel and the files of the image take {}, and the program needs some",
                Size(image_end)
            ))
            .help(format!("give at least -m {}M", least / MIB)));
    }
    let mut forwards = settings.run.ports.clone();
    forwards.extend(&args.ports);
    let network = args.net.clone().or(settings.run.net.clone()).unwrap_or(Network::User);
    match &network {
        Network::User => {}
        Network::Tap(_) | Network::None if !forwards.is_empty() => {
            return Err(Error::new("-p works with the user network only")
                .why(match &network {
                    Network::Tap(_) => "on a tap device the guest has an address of its own",
                    _ => "the guest has no network",
                })
                .help("reach the guest by its address (--ip), or leave out --net"));
        }
        Network::Tap(name) if !args.dry_run => host::check_tap(name)?,
        Network::Tap(_) => {}
        Network::None if args.ip.is_some() => {
            return Err(Error::new("--ip needs a network").help("leave out `--net none`"));
        }
        Network::None => {}
    }
    let qemu = if args.dry_run { host::qemu().unwrap_or("qemu-system-x86_64".into()) } else { host::qemu()? };
    let (accel, reason) = host::accelerator(args.accel)?;
    if !args.dry_run {
        host::check_ports(&forwards)?;
    }
    let plan = Plan {
        qemu,
        name,
        image,
        memory,
        cpus: args.cpus.or(settings.run.cpus).unwrap_or(1),
        machine: args.machine,
        accel,
        network,
        ip: args.ip,
        gateway: args.gateway,
        dns: args.dns,
        forwards,
        console: args.console,
        host_loopback: args.host_loopback,
        words,
        secrets: None,
        gdb: args.gdb.then(instances::debugger_socket).transpose()?,
        extra: args.qemu_arg.clone(),
    };
    Ok((plan, reason))
}

/// Starts QEMU, tells so by `started`, and stays until it ends.
fn start(plan: &Plan, args: &RunArgs, started: impl FnOnce() -> Result<()>) -> Result<u8> {
    let fail = |error: std::io::Error| Error::new("cannot start QEMU").why(error);
    let (control_end, qemu_end) = std::io::pipe().map_err(fail)?;
    let qemu_end = OwnedFd::from(qemu_end);
    // QEMU opens the pipe by its number, so it must get it.
    rustix::io::fcntl_setfd(&qemu_end, rustix::io::FdFlags::empty()).map_err(|error| fail(error.into()))?;
    let channels = Channels::Control(qemu_end.as_raw_fd());
    if args.verbose {
        note(plan.shell_command(channels));
    }
    if let Some(socket) = &plan.gdb {
        note(format_args!(
            "waiting for gdb: gdb -ex 'target remote {}' coracle-kernel.elf (`coracle kernel` writes that file)",
            socket.display()
        ));
    }
    let mut command = Command::new(&plan.qemu);
    command.args(plan.arguments(channels));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // In a group of its own, QEMU does not get the terminal's Ctrl-C: this command does, and tells it to end.
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe functions may be called; this is one prctl(2) call.
    unsafe {
        // A guest must not outlive its command.
        command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?));
    }
    // Signals are caught from before QEMU runs, so that none finds it without its keeper.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT]).map_err(fail)?;
    let is_guarded = plan.network == Network::User && !plan.host_loopback;
    let filter = is_guarded.then(|| loopback::Filter::install(&mut command)).transpose()?;
    let mut child = command.spawn().map_err(|error| match &filter {
        Some(filter) if filter.has_failed() => loopback::unavailable(&error),
        _ => error::cannot("start", &plan.qemu, &error),
    })?;
    if let Some(filter) = filter {
        filter.watch(&plan.forwards)?;
    }
    drop(qemu_end);
    started()?;

    let keeper = Arc::new(Keeper::new(&child));
    let signal_keeper = Arc::clone(&keeper);
    thread::spawn(move || watch_signals(signals, &signal_keeper));
    let gate = Arc::new(stdin::Gate::default());
    if let Some(to) = child.stdin.take() {
        if stdin::readable() {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                gate.wait();
                stdin::pump(std::io::stdin().lock(), to);
            });
        } else {
            // Kept open: a guest whose terminal is closed would see the end of its input.
            std::mem::forget(to);
        }
    }
    let control = thread::spawn(move || {
        control::follow(File::from(OwnedFd::from(control_end)), control::show, || gate.open())
    });
    let complaints = child.stderr.take().map(|stderr| {
        let keeper = Arc::clone(&keeper);
        thread::spawn(move || complaints(stderr, &keeper))
    });
    let output = child.stdout.take().map(|stdout| {
        let keeper = Arc::clone(&keeper);
        thread::spawn(move || copy_output(stdout, &keeper))
    });
    let status = child.wait().map_err(fail)?;
    keeper.gone();
    if let Some(socket) = &plan.gdb {
        // QEMU removes the socket itself when it ends in order.
        let _ = std::fs::remove_file(socket);
    }
    let outcome = control.join().unwrap_or_default();
    if let Some(output) = output {
        let _ = output.join();
    }
    if let Some(lost) = outcome.lost.as_ref().filter(|_| !args.quiet) {
        note(lost);
    }
    let complaints = complaints.and_then(|thread| thread.join().ok()).unwrap_or_default();
    verdict(keeper.stopped_by(), outcome, status, &complaints)
}

/// What the end of QEMU means.
fn verdict(
    stopped: Option<i32>,
    outcome: control::Outcome,
    status: ExitStatus,
    complaints: &[String],
) -> Result<u8> {
    if let Some(signal) = stopped {
        return Ok(u8::try_from(SIGNALLED + signal).unwrap_or(error::FAILED));
    }
    if let Some(status) = outcome.status {
        return Ok(status);
    }
    if outcome.crashed {
        return Err(Error::new("the kernel crashed").why("its report stands above").help(
            "please report it with the report, the program and the command; `--log debug` tells more",
        ));
    }
    let error = Error::new("the guest ended without telling the program's exit status");
    let error = match complaints {
        [] => error.why(format!("QEMU ended with {status}")),
        lines => error.why(format!("QEMU ended with {status}, saying: {}", lines.join("\n"))),
    };
    Err(error.help("`-v` shows the QEMU command, `--log debug` what the kernel does"))
}

/// Tells QEMU to end, as long as there is one.
struct Keeper {
    process: Mutex<Option<Pid>>,
    signal: AtomicI32,
}

impl Keeper {
    fn new(child: &Child) -> Self {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Keeper { process: Mutex::new(pid), signal: AtomicI32::new(0) }
    }

    /// QEMU has ended, and its number may belong to another process from now on.
    fn gone(&self) {
        *self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    fn stopped_by(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|&signal| signal != 0)
    }

    /// Ends QEMU because of a signal: politely first.
    fn stop(&self, signal: i32) {
        let send = |signal| {
            let process = self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(pid) = *process {
                // It may have ended just now.
                let _ = kill_process(pid, signal);
            }
            process.is_some()
        };
        if self.signal.swap(signal, Ordering::SeqCst) == 0 && send(Signal::TERM) {
            thread::sleep(PATIENCE);
        }
        send(Signal::KILL);
    }
}

fn watch_signals(mut signals: Signals, keeper: &Keeper) {
    for signal in signals.forever() {
        keeper.stop(signal);
    }
}

/// What QEMU says on stderr; returns it, too.
fn complaints(stderr: impl std::io::Read, keeper: &Keeper) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(stderr).lines() {
        let Ok(line) = line else { break };
        // That the translator lacks features of the largest CPU is no news, nor is that QEMU ends when told to.
        let expected =
            line.contains("TCG doesn't support requested feature") || keeper.stopped_by().is_some();
        if !expected {
            control::show(&format!("qemu: {line}"));
            lines.push(line);
        }
    }
    lines
}

/// The program's output. If nobody reads it any more, the guest ends as a process would by SIGPIPE.
fn copy_output(mut from: impl std::io::Read, keeper: &Keeper) {
    const SIGPIPE: i32 = 13;
    let mut out = std::io::stdout().lock();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                if out.write_all(&buffer[..length]).and_then(|()| out.flush()).is_err() {
                    keeper.stop(SIGPIPE);
                    break;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
    // QEMU must be able to write until it ends.
    let _ = from.read_to_end(&mut Vec::new());
}
