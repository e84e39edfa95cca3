//! The boot, step by step.
use crate::control::launch::Defaults;
use crate::{clock_source, control, metrics, outbound, storage, volumes};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::access;
use coracle_core::fs::context::FsContext;
use coracle_core::fs::descriptors::DescriptorTable;
use coracle_core::fs::open::open;
use coracle_core::fs::walk::Bounds;
use coracle_core::mm::patch;
use coracle_core::task::process::{self, Credentials, Process};
use coracle_core::task::thread::Thread;
use coracle_core::task::{debug, exec, exit, sched, uts};
use coracle_core::{events, log, power, random, report};
use coracle_fallible::prelude::*;
use coracle_fs::block::registry;
use coracle_fs::memory::{self, remains};
use coracle_fs::remote::session;
use coracle_fs::{lost, provided};
use coracle_hal::io::fw_cfg;
use coracle_hal::once::Once;
use coracle_hal::task::{self, Ring};
use coracle_hal::{boot as hal, cpu, fail as faults, irq, time};
use coracle_image::archive::{Archive, Config};
use coracle_image::cmdline::CommandLine;
use coracle_image::{Access, Mode, User};
use coracle_ipc::sysv::semaphores;
use coracle_linux::trace;
use coracle_loader::Strings;
use coracle_system::drivers::{self, pty};
use coracle_system::root;
use linux_raw_sys::general::{O_DIRECTORY, O_PATH};

/// Name of the machine where neither image nor command line gives one.
const DEFAULT_HOSTNAME: &[u8] = b"coracle";
/// Exit statuses of a shell for a program that can't be executed, or isn't there.
const CANNOT_EXECUTE: u8 = 126;
const NOT_FOUND: u8 = 127;

static IDLE_PROCESS: Once<Arc<Process>> = Once::new();

coracle_core::give_ending!(exit::Ending { undo: semaphores::process_ended, free: remains::free });
coracle_core::give_before_off!([
    control::cron::tell_at_end,
    trace::drain,
    outbound::syslog::drain,
    storage::end,
    lost::tell,
    drivers::shutdown
]);

/// From the first instruction in Rust to the program.
pub fn boot() -> ! {
    start();
    idle()
}

/// Apart from [`boot`], so that the boot CPU idles with nothing of it left on its stack.
#[inline(never)]
fn start() {
    let mut settings = read_settings();
    let config = prepare(&settings);
    set_hostname(&settings, config.as_ref());
    if let Some(config) = &config
        && let Err(error) = volumes::add_those_of_image(&mut settings, config)
    {
        log!("the image's directories in memory are not all there (error {})", error.number());
    }
    if registry::is_empty() && session::is_empty() {
        find_files();
        volumes::mount(&settings);
        return start_program(&settings, config.as_ref());
    }
    // Disks and the host have to be waited for, as only a thread can.
    if storage::start(IDLE_PROCESS.wait(), settings, config).is_err() {
        fail(
            format_args!("there is no memory for the thread that looks after the disks"),
            power::KERNEL_FAILED,
        );
    }
}

/// Finds the disk that the files of the image are on, if they are not in memory. Without them the machine ends.
#[inline(never)]
pub fn find_files() {
    if let Some(archive) = report::archive()
        && let Err(why) = memory::find_disk(archive)
    {
        fail(format_args!("the files of the image can't be read: {why}"), power::KERNEL_FAILED);
    }
}

/// The command line, apart from the stack on which the program is started.
#[inline(never)]
fn read_settings() -> Box<CommandLine> {
    Box::new(CommandLine::parse(hal::command_line().as_bytes()))
}

/// What comes before the program: files, devices, the other CPUs. Returns what the image says of the program.
#[inline(never)]
fn prepare(settings: &CommandLine) -> Option<Config<'static>> {
    log::configure(settings.log, settings.control);
    if settings.fail_alloc.is_some() {
        faults::enable();
    }
    power::configure(settings);
    patch::configure(!settings.patch_off);
    if let Some(seed) = settings.seed {
        random::fix_layout(seed);
    }
    tell_clock();
    settings.unknown.iter().for_each(|word| log!("the kernel command line's `{word}` is not understood"));

    let archive = open_archive();
    let config = archive.as_ref().map(|archive| archive.config());
    set_ring(settings, config.as_ref());
    if let Err(error) = root::init(archive, settings.root_volume().is_some()).and_then(|()| pty::start()) {
        fail(
            format_args!("the files of the image can't be mounted (error {})", error.number()),
            power::KERNEL_FAILED,
        );
    }
    drivers::start(settings);
    let Ok(idle) = Process::idle() else {
        fail(format_args!("there is not even memory for the idle process"), power::KERNEL_FAILED);
    };
    IDLE_PROCESS.call_once(|| idle);
    let most = config.as_ref().map_or(Access::Full, Config::access);
    control::start(settings.access.min(most), (settings.core, settings.debug));
    if let Err(error) = control::syslog::serve() {
        log!("/dev/log is not served (error {})", error.number());
    }
    let cpus = cpu::start_others();
    tell_missing_cpus(cpus);
    if settings.recorder && events::record(events::bit::ALL).is_err() {
        log!("there is no memory for the flight recorder");
    }
    info!("{cpus} CPU(s), {} KiB of memory, {:?} mode", hal::memory_size() / 1024, task::ring());
    config
}

/// Says what time is kept by.
#[inline(never)]
fn tell_clock() {
    let Some(source) = time::source() else { return };
    let time::Source { name, hz, .. } = source;
    if source.is_assumed {
        log!("no clock of known speed was found: time is kept by {name} and may run too fast or too slowly");
    }
    let invariant = if source.is_invariant { "" } else { ", which the CPU doesn't call invariant" };
    info!("clock: the TSC{invariant}, {} kHz by {name}", hz / 1000);
    if irq::ends_in_memory() {
        info!("interrupts end by a word in memory (KVM's PV EOI)");
    }
}

/// Says how many CPUs are left alone, and why.
fn tell_missing_cpus(running: usize) {
    let (named, possible) = (cpu::named(), cpu::possible());
    if named > possible {
        log!("this machine has {named} CPUs: only {possible} are used, more are not supported");
    }
    if running < possible {
        log!("only {running} of {possible} CPUs run: the next did not start, or there is no memory for it");
    }
}

/// A CPU without work.
pub fn idle() -> ! {
    let process = IDLE_PROCESS.wait();
    match Thread::idle(process.clone()) {
        Ok(thread) => sched::run_idle(thread),
        Err(_) => fail(format_args!("there is no memory for a CPU's idle thread"), power::KERNEL_FAILED),
    }
}

#[inline(never)]
fn open_archive() -> Option<Archive<'static>> {
    let Some(bytes) = hal::image() else {
        if let Some(end) = hal::image_beyond_memory() {
            fail(
                format_args!(
                    "too little memory: this machine has {} KiB, and kernel and image end at {} KiB",
                    hal::memory_size() / 1024,
                    end.div_ceil(1024)
                ),
                power::KERNEL_FAILED,
            );
        }
        fail(
            format_args!("there is no image behind the kernel: build one with `coracle build`"),
            power::KERNEL_FAILED,
        )
    };
    let parsed = Archive::parse_loaded(bytes);
    match parsed.and_then(|archive| memory::check_tables(archive).map(|()| archive)) {
        Ok(archive) => {
            report::configure(archive);
            Some(archive)
        }
        Err(error) => fail(format_args!("the image can't be read: {error}"), power::KERNEL_FAILED),
    }
}

/// Tells why the machine can't do what it was started for, and ends it.
fn fail(message: core::fmt::Arguments, status: u8) -> ! {
    log!("{message}");
    power::off(status)
}

fn set_ring(settings: &CommandLine, config: Option<&Config>) {
    let mode = settings.mode.or(config.map(Config::mode)).unwrap_or_default();
    task::set_ring(match mode {
        Mode::Unikernel => Ring::Unikernel,
        Mode::Protected => Ring::Protected,
    });
    if mode == Mode::Protected {
        tell_missing_guards();
    }
}

/// Protected mode holds without these, too, but for mistakes of the kernel's.
fn tell_missing_guards() {
    let missing = match cpu::guards() {
        (true, true) => return,
        (false, true) => "SMEP",
        (true, false) => "SMAP",
        (false, false) => "SMEP and SMAP",
    };
    log!(
        "this CPU has no {missing}: in protected mode a mistake of the kernel's with the program's memory goes unseen"
    );
}

#[inline(never)]
fn set_hostname(settings: &CommandLine, config: Option<&Config>) {
    let of_image = config.and_then(Config::hostname);
    let name = settings.hostname.as_ref().map(String::as_bytes).or(of_image).unwrap_or(DEFAULT_HOSTNAME);
    uts::set_hostname(name);
}

/// The program's environment: that of the image, with what the command line adds or replaces.
fn environment(settings: &CommandLine, config: &Config) -> Vec<Vec<u8>> {
    let name = |variable: &[u8]| variable.split(|&byte| byte == b'=').next().map(<[u8]>::to_vec);
    let mut variables: Vec<Vec<u8>> = config.env().map(<[u8]>::to_vec).collect();
    for new in &settings.env {
        match variables.iter_mut().find(|old| name(old) == name(new)) {
            Some(old) => *old = new.clone(),
            None => variables.push(new.clone()),
        }
    }
    variables
}

/// The process of the idle threads, which lives as long as the machine.
pub fn idle_process() -> &'static Arc<Process> {
    IDLE_PROCESS.wait()
}

/// Starts the program that the image names. In steps that leave nothing on the stack: a program may be read from a disk.
pub fn start_program(settings: &CommandLine, config: Option<&Config>) {
    let Some(config) = config else { fail(format_args!("the image names no program"), power::KERNEL_FAILED) };
    let context = enter_machine(settings, config);
    if control::remembers() || control::cron::is_in(config) {
        remember(settings, config);
    }
    let request = request(settings, config);
    match exec::load(&context, request, coracle_core::task::limits::DEFAULT_STACK) {
        Ok(loaded) => {
            run(settings, config, context, &loaded);
            control::cron::start(config);
        }
        Err(error) => fail_to_run(config.program(), error),
    }
}

/// The files that the program finds, with the directory that it starts in, and its secrets.
#[inline(never)]
fn enter_machine(settings: &CommandLine, config: &Config) -> Arc<FsContext> {
    if let Err(error) = provided::name_machine(&uts::hostname()) {
        log!("the machine's own name will not resolve (error {})", error.number());
    }
    let context = FsContext::new();
    if let Err(error) = enter_directory(&context, config.cwd()) {
        let path = String::from_utf8_lossy(config.cwd());
        let error = error.number();
        fail(format_args!("the working directory {path} can't be entered (error {error})"), CANNOT_EXECUTE);
    }
    if settings.secrets {
        put_secrets(user(settings, config));
    }
    Arc::new(context)
}

fn user(settings: &CommandLine, config: &Config) -> User {
    settings.user.unwrap_or(config.user())
}

fn strings(list: Vec<Vec<u8>>) -> Strings {
    let mut strings = Strings::new();
    let added = list.iter().try_for_each(|string| strings.push(string));
    added.map(|()| strings).unwrap_or_else(|_| {
        fail(format_args!("there is no memory for the program's arguments"), CANNOT_EXECUTE)
    })
}

/// What programs need that are started beside the main one.
#[inline(never)]
fn remember(settings: &CommandLine, config: &Config) {
    control::launch::remember(Defaults {
        user: user(settings, config),
        directory: config.cwd().try_to_vec().unwrap_or_default(),
        environment: strings(environment(settings, config)),
    });
}

/// What is to be executed.
#[inline(never)]
fn request(settings: &CommandLine, config: &Config) -> exec::Request {
    let path = config.program().to_vec();
    let mut arguments: Vec<Vec<u8>> = config.args().map(<[u8]>::to_vec).collect();
    if arguments.is_empty() {
        arguments.push(path.clone());
    }
    if !settings.args.is_empty() {
        arguments.truncate(1);
        arguments.extend(settings.args.iter().cloned());
    }
    exec::Request {
        credentials: Credentials::of_user(user(settings, config)).ids(),
        path,
        file: None,
        arguments: strings(arguments),
        environment: strings(environment(settings, config)),
        is_hidden: false,
        no_new_privileges: false,
    }
}

#[inline(never)]
fn fail_to_run(path: &[u8], error: Errno) -> ! {
    let path = String::from_utf8_lossy(path);
    let why = exec::explain(error);
    fail(
        format_args!("{path} can't be run: {why}"),
        if error == Errno::NOENT { NOT_FOUND } else { CANNOT_EXECUTE },
    )
}

/// Starts the loaded program.
#[inline(never)]
fn run(settings: &CommandLine, config: &Config, context: Arc<FsContext>, loaded: &exec::Loaded) {
    let user = user(settings, config);
    let descriptors = DescriptorTable::new();
    let node = open(&context, None, b"/dev/console", O_PATH, 0, Bounds::default());
    if let Ok(node) = node.and_then(|node| node.file.stat()) {
        drivers::set_terminal_node(node);
    }
    if let Err(error) = open_standard_streams(&descriptors, user) {
        log!("the program lacks standard streams (error {})", error.number());
    }
    start_syslog(settings, config);
    let pid = process::new_id();
    let started = start_thread(pid, loaded, descriptors, context, Credentials::of_user(user), settings);
    if started.is_err() {
        fail(format_args!("there is no memory for the program's first thread"), CANNOT_EXECUTE);
    }
    if let Some(port) = settings.metrics_port.or(config.metrics_port())
        && let Err(error) = metrics::start(port)
    {
        log!("metrics are not served (error {})", error.number());
    }
    start_ntp(settings, config);
}

/// Sends lines to a server if that is wanted, and no command does it.
#[inline(never)]
fn start_syslog(settings: &CommandLine, config: &Config) {
    let program = config.program().rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    if let Some(server) = settings.syslog.clone().unwrap_or_else(|| config.syslog())
        && let Err(error) = outbound::syslog::start(server, program)
    {
        log!("nothing is sent to the syslog server (error {})", error.number());
    }
}

/// Keeps the clock by the network if that is wanted, or else by the host.
#[inline(never)]
fn start_ntp(settings: &CommandLine, config: &Config) {
    let servers = if settings.ntp.is_empty() { config.ntp().collect() } else { settings.ntp.clone() };
    let started = if servers.is_empty() { clock_source::start() } else { outbound::ntp::start(servers) };
    if let Err(error) = started {
        log!("the clock is kept by nothing (error {})", error.number());
    }
}

fn start_thread(
    pid: i32,
    loaded: &exec::Loaded,
    descriptors: DescriptorTable,
    context: Arc<FsContext>,
    credentials: Credentials,
    settings: &CommandLine,
) -> Result<(), Errno> {
    let process = Process::new(pid, loaded.memory.clone(), Arc::new(descriptors), context)?;
    *process.credentials.lock() = credentials;
    exec::install(&process, loaded);
    let thread = Thread::new(process.clone(), pid, &loaded.context, 0, false)?;
    thread.set_name(&loaded.name);
    process.add_thread(&thread, &thread)?;
    process.publish(&process)?;
    access::enforce();
    lost::begin();
    faults::nth_of_all(settings.fail_alloc.unwrap_or(0));
    debug::begin(&process, &thread);
    if settings.trace && control::is_open() {
        trace::hold(thread);
    } else {
        sched::start(thread);
    }
    drivers::begin();
    Ok(())
}

/// Puts the secrets that QEMU hands over where the program finds them. A program that runs without them might do harm.
fn put_secrets(user: User) {
    let bytes = match fw_cfg::item(coracle_image::secrets::ITEM.as_bytes()) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => fail(format_args!("the hypervisor has no secrets for the program"), power::KERNEL_FAILED),
        Err(size) => fail(
            format_args!("there is no memory for the program's secrets, {size} bytes"),
            power::KERNEL_FAILED,
        ),
    };
    if let Err(error) = provided::put_secrets(&bytes, user) {
        fail(format_args!("/run/secrets can't be written (error {})", error.number()), power::KERNEL_FAILED);
    }
}

fn enter_directory(context: &FsContext, path: &[u8]) -> Result<(), Errno> {
    if path.is_empty() {
        return Ok(());
    }
    let directory = open(context, None, path, O_PATH | O_DIRECTORY, 0, Bounds::default())?;
    context.set_directory(directory.file.place().ok_or(Errno::NOTDIR)?.path.clone());
    Ok(())
}

/// Gives the program its standard streams.
fn open_standard_streams(descriptors: &DescriptorTable, owner: User) -> Result<(), Errno> {
    for (number, file) in drivers::standard_streams(owner)?.into_iter().enumerate() {
        if let Some(file) = file {
            descriptors.insert(file, false, number as i32)?;
        }
    }
    Ok(())
}
