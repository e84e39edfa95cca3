//! Choosing what runs where: from the command line to a plan.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use coracle_image::cmdline::{CommandLine, LogLevel};
use coracle_image::{Access, User};

use super::guest::{self, End, Hooks};
use super::memory_file::MemoryFile;
use super::plan::{Channels, Mapped, Plan, quoted};
use super::sampler::Plugin;
use super::stop::GRACE;
use super::streams::Streams;
use super::supervise::{Attempt, Life, Restart};
use super::vsock::Device;
use super::{detach, health, host, secrets, virtiofsd};
use crate::arch::Arch;
use crate::args::{ConsoleKind, HealthArgs, Log, Machine, RunArgs};
use crate::bytes;
use crate::environment;
use crate::error::{self, Error, Result, note};
use crate::instances::{self, Claim, Options};
use crate::log::{self, Choice, Driver, Logger, Naming, Record, Server, Stream as LogStream};
use crate::net::Network;
use crate::observe::RunTrace;
use crate::output;
use crate::pack::{self, Outline, Root, Start, cron};
use crate::settings::Settings;
use crate::size::{MIB, Size};
use crate::ssh;
use crate::volume::{self, Wish};

/// Memory of a guest unless an option says otherwise, beside what its image takes.
const DEFAULT_MEMORY: u64 = 128 * MIB;
/// The environment variable that names the kind of the terminal (environ(7)).
const TERM: &str = "TERM";
/// The least that the kernel and a small program need beside the image.
const LEAST_FREE: u64 = 512 << 10;

/// Runs an image or a program, again and again if it is to restart; returns the exit status of the program.
pub fn run(args: &RunArgs) -> Result<u8> {
    let attempt = Attempt::begin();
    let mut life = Life { claim: Claim::adopt().map(Arc::new), is_quiet: args.quiet, ..Life::default() };
    match run_once(args, attempt, &mut life) {
        Ok(Outcome::Ended(end)) => life.end(attempt, Ok(end)),
        Ok(Outcome::Other(status)) => Ok(status),
        Err(error) => life.end(attempt, Err(error)),
    }
}

/// What a call of the command has come to.
enum Outcome {
    /// A guest has ended.
    Ended(End),
    /// It was not about a guest of this process; the status of the command.
    Other(u8),
}

/// Runs an image or a program.
fn run_once(args: &RunArgs, attempt: Attempt, life: &mut Life) -> Result<Outcome> {
    if let Some(path) = &args.log_file {
        error::log_to(path)?;
    }
    let settings = Settings::load(&args.content, args.target.is_some())?;
    life.policy = args.life.restart.or(settings.run.restart).unwrap_or_default();
    life.is_forgotten = args.life.rm;
    if life.is_forgotten && life.policy != Restart::No {
        return Err(Error::new("--rm cannot be used with --restart")
            .why("a guest that starts again is not to be forgotten when it ends"));
    }
    let given = args.target.as_ref().or(settings.program.as_ref()).ok_or_else(nothing_given)?;
    let found = pack::find_program(given, &Root::new(settings.root.as_deref())?)?;
    let path = found.file.clone();
    let background = detach::background_name()?;
    if args.detach && background.is_none() && !args.dry_run {
        let status = detach::detach(args, &path.file_stem().unwrap_or_default().to_string_lossy())?;
        return Ok(Outcome::Other(status));
    }
    // The image's own limit of what may be asked, which the kernel knows: what this command answers itself is under it, too.
    let mut most = Access::Full;
    let mut server_of_image = None;
    let mut user = settings.user.unwrap_or(User::ORDINARY);
    let mut jobs: Vec<String> = settings.cron.iter().map(cron::Settings::shown).collect();
    let (mut checks, mut access) = (settings.health.clone(), settings.control.unwrap_or_default());
    // The temporary image must live as long as QEMU.
    let (mut plan, outline, mode, reason, _temporary) = match Start::read(&path)? {
        Some(image) => {
            check_content(args)?;
            let mut words = words(args);
            if !args.args.is_empty() {
                // Of a script's image, the interpreter's own arguments stay.
                let config = image.config();
                let own = config.args().take(config.fixed_args()).skip(1).map(<[u8]>::to_vec);
                words.args = own.chain(args.args.iter().map(|arg| arg.as_bytes().to_vec())).collect();
            }
            words.env = settings.env.iter().map(environment::joined).collect();
            words.mode = args.content.mode;
            words.access = args.content.control.unwrap_or_default();
            words.metrics_port = args.content.metrics_port;
            // This command sends the lines.
            if let Some(server) = image.config().syslog() {
                words.syslog = (!args.dry_run).then_some(None);
                server_of_image = Some(Server::from(server));
            }
            words.ntp = args.content.ntp.iter().map(|server| server.0.clone()).collect();
            words.user = args.content.user;
            words.hostname.clone_from(&args.content.hostname);
            user = args.content.user.unwrap_or(image.config().user());
            most = image.config().access();
            checks = checks.over(HealthArgs::of_image(image.config().health())?);
            jobs =
                image.config().cron_names().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            access = words.access.min(image.config().access());
            let wish = image.config().memory().map(Size);
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (plan, reason) = plan(args, &settings, (name, path.clone()), &image.outline, wish, words)?;
            let mode = args.content.mode.unwrap_or(image.config().mode());
            (plan, image.outline, mode, reason, None)
        }
        None => {
            let assembled = pack::assemble(given, &found, &args.args, &settings, false)?;
            let image = pack::image_name(&assembled.program);
            let name = image.display().to_string();
            let (file, temporary) = if args.dry_run {
                (image, None)
            } else {
                let file = MemoryFile::written(&name, |file| {
                    assembled.write(file).map_err(|error| pack::cannot_write(Path::new(&name), &error))
                })?;
                (file.path(), Some(file))
            };
            let mut words = words(args);
            words.access = settings.control.unwrap_or_default();
            if settings.run.syslog.is_some() && !args.dry_run {
                words.syslog = Some(None);
            }
            let (plan, reason) =
                plan(args, &settings, (name.clone(), file), &assembled.outline, settings.run.memory, words)?;
            if args.dry_run {
                note(format!(
                    "`{name}` is written by: coracle build {} -o {name} …",
                    quoted(given.as_bytes())
                ));
            }
            (plan, assembled.outline, settings.mode.unwrap_or_default(), reason, temporary)
        }
    };
    let is_named = background.is_some() || args.name.is_some();
    let checks = health::Plan::checked(checks, access, is_named)?;
    let choice = Choice::new(
        (args.logging.log_driver, &args.logging.log_opt, args.logging.syslog.as_ref()),
        (
            settings.run.log_driver,
            &settings.run.log_opt,
            settings.run.syslog.as_ref().or(server_of_image.as_ref()),
        ),
    )?;
    prepare_debugging(args, &mut plan.words)?;
    let specs: Vec<_> = settings.run.volumes.iter().chain(&args.volumes).cloned().collect();
    let (mut specs, shares) = volume::share::split(specs)?;
    let root = args.storage.root_volume.as_ref().or(settings.run.root_volume.as_ref());
    specs.extend(root.cloned().map(volume::Spec::root));
    let size = args.volume_size.or(settings.run.volume_size);
    let wish = Wish { specs: &specs, size, user, quiet: args.quiet };
    plan.volumes = volume::attach(&wish, args.dry_run)?;
    let in_memory: Vec<_> = settings.run.tmpfs.iter().chain(&args.storage.tmpfs).cloned().collect();
    plan.words.tmpfs = volume::tmpfs::in_order(&in_memory, &plan.volumes)?;
    volume::share::check_places(&shares, &plan.volumes, &plan.words.tmpfs)?;
    plan.served = virtiofsd::serve(&shares, args.dry_run)?;
    plan.shares = shares;
    if let Some(wish) = args.vsock.as_ref().or(settings.run.vsock.as_ref()) {
        plan.vsock = Some(Device::attach(wish, args.dry_run)?);
    }
    plan.image_disk = outline.on_demand.then(|| plan.kernel.clone());
    if args.dry_run {
        plan.secrets = (!args.secret.is_empty()).then(|| "SECRETS".into());
        output::line(plan.shell_command(Channels::Terminal))?;
        return Ok(Outcome::Other(0));
    }
    if args.ssh.ssh.is_some() {
        plan.words.access = ssh_access(args.content.control.or(settings.control))?;
        if background.is_none() && args.name.is_none() {
            return Err(
                Error::new("--ssh needs a name by which ssh finds the guest").help("give one: --name web")
            );
        }
    }
    let arch = outline.arch;
    // These must live as long as QEMU.
    let _kernel = map_image(&mut plan, &outline)?;
    drop(outline);
    let secrets = secrets::collect(&args.secret)?;
    plan.secrets = secrets.as_ref().map(MemoryFile::path);
    let summary = plan.summary(mode, &reason);
    let streams = match args.console {
        ConsoleKind::Virtio if background.is_some() => Streams::background(),
        ConsoleKind::Virtio => Streams::look(),
        ConsoleKind::Serial => Streams::control_only(),
    };
    if streams.has_terminal()
        && !settings.env.contains_key(OsStr::new(TERM))
        && let Some(term) = std::env::var_os(TERM)
    {
        plan.words.env.push([TERM.as_bytes(), b"=", term.as_bytes()].concat());
    }
    let mut name = background.as_deref().or(args.name.as_deref()).map(str::to_owned);
    if args.gdb && name.is_none() && life.claim.is_none() {
        // By which gdb finds it.
        name = Some(instances::free_name(&path.file_stem().unwrap_or_default().to_string_lossy())?);
    }
    if let Some(name) = &name
        && life.claim.is_none()
    {
        life.claim = Some(Arc::new(Claim::take(name)?));
    }
    let claim = life.claim.clone();
    life.is_background = background.is_some();
    if let Some(claim) = claim.as_ref().filter(|_| !life.is_background && !attempt.is_later()) {
        log::remove(&claim.name()?)?;
    }
    life.logger = start_log(choice, args, &settings, claim.clone(), life.is_background)?;
    if !args.quiet {
        note(&summary);
    }
    if let Some(claim) = claim.as_ref().filter(|_| !attempt.is_later()) {
        claim.set_options(&Options::of_this_command(life.policy, &named_variables(args))?)?;
    }
    if let (Some(keys), Some(claim)) = (&args.ssh.ssh, &claim) {
        ssh::keep(&claim.name()?, keys)?;
    }
    if let Some(claim) = &claim {
        claim.change(|state| (state.cron, state.arch) = (jobs, arch));
    }
    let trace = RunTrace::new(&args.tracing, arch)?;
    if trace.is_some() && plan.words.access == Access::None {
        return Err(Error::new("`--trace` asks the guest, which `--control none` forbids"));
    }
    plan.words.trace = trace.is_some();
    let own_name = claim.as_ref().and_then(|claim| claim.name().ok());
    let program = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if plan.words.access.min(most) == Access::Full {
        plan.gdb = own_name.as_deref().map(instances::machine_socket).transpose()?;
    }
    let sampler = match args.count_instructions {
        true => {
            let (plugin, sampler) = Plugin::compile()?;
            plan.plugin = Some(plugin.argument());
            Some((plugin, sampler))
        }
        false => None,
    };
    // QEMU loads the plugin once it runs.
    let (_plugin, sampler) = sampler.unzip();
    let hooks = Hooks {
        sampler: Mutex::new(sampler),
        claim: claim.as_ref(),
        core: args.core.clone().map(|place| (own_name.unwrap_or(program), place)),
        takes_requests: plan.words.access != Access::None,
        shows_machine: plan.words.access.min(most) != Access::None,
        switchboard: Arc::default(),
        health: checks,
        by_health: Arc::clone(&life.by_health),
        trace: trace.map(Arc::new),
        started: &|| Life::start(claim.as_deref(), &summary),
        grace: Arc::new({
            let claim = claim.clone();
            move || {
                let name = claim.as_ref().and_then(|claim| claim.name().ok());
                name.as_deref().and_then(instances::grace).unwrap_or(GRACE)
            }
        }),
        logger: Arc::clone(&life.logger),
    };
    life.started = Some(Instant::now());
    guest::start(&plan, &streams, (args.verbose, args.quiet), &hooks).map(Outcome::Ended)
}

/// What other commands may ask of a guest that ssh is to reach: all, unless `--control` says that they may not.
fn ssh_access(given: Option<Access>) -> Result<Access> {
    match given {
        None | Some(Access::Full) => Ok(Access::Full),
        Some(_) => Err(Error::new("--ssh needs `--control full`")
            .why("what comes by ssh runs programs in the guest")
            .help("leave out --control, or --ssh")),
    }
}

/// The variables of the environment that the options refer to by name alone.
fn named_variables(args: &RunArgs) -> Vec<OsString> {
    args.content.env.iter().filter(|text| bytes::split_once(text, b'=').is_none()).cloned().collect()
}

/// Starts the log. In the background it takes what the command says, too; otherwise there is one only if it was asked for.
fn start_log(
    mut choice: Choice,
    args: &RunArgs,
    settings: &Settings,
    claim: Option<Arc<Claim>>,
    is_background: bool,
) -> Result<Arc<Logger>> {
    if !is_background && !choice.is_explicit {
        choice.driver = Driver::None;
    }
    let naming: Naming = Arc::new(move || claim.as_ref().and_then(|claim| claim.name().ok()));
    let host = args.content.hostname.clone().or(settings.hostname.clone()).or(naming());
    let logger = Arc::new(Logger::start(&choice, naming, host.as_deref().unwrap_or("coracle"))?);
    if is_background || logger.is_some() {
        let own = Arc::clone(&logger);
        error::tap_notes(Some(Box::new(move |text| {
            let lines = text.lines().map(|line| Record::line(LogStream::Kernel, line));
            lines.for_each(|record| own.push(record));
            is_background
        })));
    }
    Ok(logger)
}

/// Has the kernel wait for a debugger or for core dumps, where that is wanted and allowed.
fn prepare_debugging(args: &RunArgs, words: &mut CommandLine) -> Result<()> {
    if args.gdb {
        if args.content.control.is_some_and(|access| access != Access::Full) {
            return Err(Error::new("--gdb needs `--control full`").help("leave out --control"));
        }
        words.access = Access::Full;
    }
    if args.core.is_some() && words.access == Access::None {
        return Err(Error::new("--core needs more than `--control none`")
            .why("a core is read over the control channel")
            .help("leave out --control, or write `--control observe`"));
    }
    (words.debug, words.core) = (args.gdb, args.core.is_some());
    Ok(())
}

/// Has the guest's memory map the file of the image, where that can be and it is not paged in from a disk, so that there is one copy of it for all its guests.
/// Otherwise, QEMU copies it into the memory of the guest. Returns the file of the kernel, which is loaded alone.
fn map_image(plan: &mut Plan, image: &Outline) -> Result<Option<MemoryFile>> {
    /// What the kernel has mapped when it looks for the image.
    const REACH: u64 = 1 << 30;
    /// Options of QEMU that say what memory the machine has.
    const OF_MEMORY: [&str; 5] = ["-m", "-numa", "-mem-path", "-M", "-machine"];
    if image.on_demand
        || image.arch != Arch::X86_64
        || image.address + image.len() > REACH
        // Its memory is in one piece, all of it another program's, too.
        || plan.shares_memory()
        || plan.extra.iter().any(|word| OF_MEMORY.iter().any(|option| word == option))
    {
        return Ok(None);
    }
    let kernel = MemoryFile::new("kernel", &image.kernel_alone())?;
    let file = std::mem::replace(&mut plan.kernel, kernel.path());
    let (len, kernel_len) = (image.len(), image.kernel.len() as u64);
    plan.mapped = Some(Mapped { file, len, kernel_len, address: image.address });
    Ok(Some(kernel))
}

fn nothing_given() -> Error {
    Error::new("nothing to run is given")
        .why("neither the command line nor a Coracle.toml in this directory names an image or a program")
        .help("write `coracle run PROGRAM` or `coracle run IMAGE`, and the arguments of the program behind `--`")
}

/// An image is not changed by running it.
fn check_content(args: &RunArgs) -> Result<()> {
    let refused = [
        ("--add", !args.content.add.is_empty()),
        ("--exclude", !args.content.exclude.is_empty()),
        ("--cwd", args.content.cwd.is_some()),
        ("--demand", args.content.demand),
        ("--root", args.content.root.is_some()),
    ];
    match refused.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Error::new(format!("{option} cannot be used with an image"))
            .why("what is in an image is settled when it is built")
            .help(format!("build it with `coracle build … {option} …`, or run the program itself"))),
        None => Ok(()),
    }
}

/// That no option is given which guests for aarch64 can't have.
fn check_aarch64(args: &RunArgs) -> Result<()> {
    let refused = [
        ("--console serial", args.console == ConsoleKind::Serial),
        ("--gdb", args.gdb),
        ("--core", args.core.is_some()),
        ("--count-instructions", args.count_instructions),
    ];
    match refused.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Error::new(format!("guests for aarch64 do not have {option} yet"))
            .help(format!("leave out {option}"))),
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
        recorder: args.flight_recorder,
        ..CommandLine::default()
    }
}

/// Chooses a machine, and checks that this one can run it.
fn plan(
    args: &RunArgs,
    settings: &Settings,
    (name, image): (String, PathBuf),
    outline: &Outline,
    memory_wish: Option<Size>,
    words: CommandLine,
) -> Result<(Plan, String)> {
    let (arch, image_end) = (outline.arch, outline.end());
    let machine = Machine::choose(args.machine, arch)?;
    if arch == Arch::Aarch64 {
        check_aarch64(args)?;
    }
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
    let qemu = if args.dry_run { host::qemu(arch).unwrap_or(arch.qemu().into()) } else { host::qemu(arch)? };
    let (accel, reason) = match args.count_instructions {
        true => host::translator(args.accel)?,
        false => host::accelerator(args.accel, arch)?,
    };
    if !args.dry_run {
        host::check_ports(&forwards)?;
    }
    let plan = Plan {
        qemu,
        name,
        kernel: image,
        mapped: None,
        image_disk: None,
        memory,
        cpus: args.cpus.or(settings.run.cpus).unwrap_or(1),
        machine,
        accel,
        network,
        ip: args.ip,
        gateway: args.gateway,
        dns: args.dns,
        forwards,
        volumes: Vec::new(),
        disk_interface: args.storage.disk_interface,
        shares: Vec::new(),
        served: Vec::new(),
        vsock: None,
        console: args.console,
        host_loopback: args.host_loopback,
        words,
        secrets: None,
        gdb: None,
        plugin: None,
        extra: args.qemu_arg.clone(),
    };
    Ok((plan, reason))
}
