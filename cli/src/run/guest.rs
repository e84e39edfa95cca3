//! A guest from QEMU's start to its end.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use coracle_control::{FromGuest, Message};
use coracle_image::cmdline::Port;
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::stdio::{stderr, stdin, stdout};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use super::machine::Machine;
use super::plan::{Channels, Plan};
use super::requests::Switchboard;
use super::sampler::Sampler;
use super::stop::{Forced, Guest};
use super::streams::{Connection, Streams};
use super::terminal::{self, Key, Terminal};
use super::{control, copy, health, loopback, streams, supervise};
use crate::args::{ConsoleKind, OnFailure};
use crate::debug::Dump;
use crate::error::{self, Error, Result, note, warn};
use crate::instances::{Claim, jobs_at_end};
use crate::log::{GuestSyslog, Lines, Logger, Stream};
use crate::net::Network;
use crate::observe::{Client, RunTrace};

/// Standard output in messages.
const STDOUT_NAME: &str = "standard output";
/// What a shell adds to the number of a signal.
const SIGNALLED: i32 = 128;
/// The number of SIGKILL.
const KILLED: i32 = 9;

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The exit status, as a shell has it.
    pub status: u8,
    /// How it was made to end, if it did not do so itself.
    pub forced: Option<Forced>,
    /// A signal or a key has asked for its end.
    pub asked: bool,
}

/// What the command does for a guest beside what the plan says.
pub struct Hooks<'a> {
    /// Called once QEMU runs.
    pub started: &'a dyn Fn() -> Result<()>,
    /// Its name, if it has one.
    pub claim: Option<&'a Arc<Claim>>,
    /// Other commands may ask it.
    pub takes_requests: bool,
    /// They may look at its machine from outside: what its kernel refuses, no other way answers.
    pub shows_machine: bool,
    /// What it is called in the names of core files, and where these are written, if they are.
    pub core: Option<(String, PathBuf)>,
    /// Answers them.
    pub switchboard: Arc<Switchboard>,
    /// Holds it for samples by instructions, if QEMU counts them; taken when it starts.
    pub sampler: Mutex<Option<Sampler>>,
    /// What is checked of its health.
    pub health: Option<health::Plan>,
    /// Takes what is done to it when it is unhealthy.
    pub by_health: Arc<OnceLock<OnFailure>>,
    /// Its system calls are shown from the first one.
    pub trace: Option<Arc<RunTrace>>,
    /// How long its program may take to end after it was asked.
    pub grace: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// Takes the guest's lines.
    pub logger: Arc<Logger>,
}

/// Starts QEMU and stays until it ends.
///
/// # Errors
/// If it doesn't start, or ends without the program's exit status.
pub fn start(
    plan: &Plan,
    streams: &Streams,
    (verbose, quiet): (bool, bool),
    hooks: &Hooks<'_>,
) -> Result<End> {
    let fail = |error: std::io::Error| Error::new("cannot start QEMU").why(error);
    let (log, qemu_log) = std::io::pipe().map_err(fail)?;
    let qemu_log = OwnedFd::from(qemu_log);
    // QEMU opens the pipe by its number, so it must get it.
    rustix::io::fcntl_setfd(&qemu_log, rustix::io::FdFlags::empty()).map_err(|error| fail(error.into()))?;
    let connections = streams.connect()?;
    let ports: Vec<_> = connections.iter().map(|one| (one.port, one.theirs.as_raw_fd())).collect();
    let (monitor, qemu_monitor) = UnixStream::pair().map_err(fail)?;
    let qemu_monitor = OwnedFd::from(qemu_monitor);
    rustix::io::fcntl_setfd(&qemu_monitor, rustix::io::FdFlags::empty())
        .map_err(|error| fail(error.into()))?;
    let channels = Channels::Command {
        log: qemu_log.as_raw_fd(),
        ports: &ports,
        window: terminal::window(),
        monitor: qemu_monitor.as_raw_fd(),
    };
    if verbose {
        note(plan.shell_command(channels));
    }
    if let Some(name) = hooks.claim.filter(|_| plan.words.debug).and_then(|claim| claim.name().ok()) {
        note(format_args!("the program waits for gdb: coracle gdb {name}"));
    }
    for lock in plan.volumes.iter().filter_map(|attached| attached.lock.as_ref()) {
        // QEMU inherits it, so that the volume is locked as long as QEMU runs.
        rustix::io::fcntl_setfd(lock, rustix::io::FdFlags::empty()).map_err(|error| fail(error.into()))?;
    }
    let mut command = Command::new(&plan.qemu);
    command.args(plan.arguments(channels));
    let serial = plan.console == ConsoleKind::Serial;
    let piped = || if serial { Stdio::piped() } else { Stdio::null() };
    command.stdin(piped()).stdout(piped()).stderr(Stdio::piped());
    // In a group of its own, QEMU does not get the terminal's Ctrl-C: this command does, and ends it.
    command.process_group(0);
    dies_with_this(&mut command);
    // Signals are caught from before QEMU runs, so that none finds it without its keeper.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGCONT]).map_err(fail)?;
    let terminal = Arc::new(Terminal::default());
    let is_guarded = plan.network == Network::User && !plan.host_loopback;
    let filter = is_guarded.then(|| loopback::Filter::install(&mut command)).transpose()?;
    let mut child = command.spawn().map_err(|error| match &filter {
        Some(filter) if filter.has_failed() => loopback::unavailable(&error),
        _ => error::cannot("start", &plan.qemu, &error),
    })?;
    if let Some(filter) = filter {
        filter.watch(&plan.forwards)?;
    }
    drop((qemu_log, qemu_monitor));
    if hooks.shows_machine {
        let sampler = hooks.sampler.lock().unwrap_or_else(PoisonError::into_inner).take();
        hooks.switchboard.set_machine(Machine::new(monitor, child.id(), plan.gdb.clone(), sampler));
    }
    let mut ours = Vec::new();
    let mut to_guest = None;
    for Connection { port, ours: end, theirs: _ } in connections {
        match port {
            Port::Control => to_guest = Some(end),
            _ => ours.push((port, end)),
        }
    }
    let to_guest = to_guest.ok_or_else(|| Error::new("the guest has no control port"))?;
    let from_guest = to_guest.try_clone().map_err(fail)?;
    let guest = Arc::new(Guest::new(&child, to_guest, plan.has_writable_volumes()));
    for served in &plan.served {
        served.watch(&guest).map_err(fail)?;
    }
    let run = Run { guest: Arc::clone(&guest), terminal: Arc::clone(&terminal) };
    let result = run.accompany(&mut child, File::from(OwnedFd::from(log)), from_guest, ours, signals, hooks);
    // Only now: it is the terminal that errors are shown on.
    terminal.restore();
    if let Some(socket) = &plan.gdb {
        // QEMU removes the socket itself when it ends in order.
        let _ = std::fs::remove_file(socket);
    }
    let Ended { status, outcome, complaints, is_cut } = result?;
    outcome.events.lines().for_each(control::show);
    if let Some(lost) = outcome.lost.as_ref().filter(|_| !quiet) {
        note(lost);
    }
    for path in &outcome.unsynced {
        warn(format_args!(
            "the volume at {path} did not take all that was written to it; \
             is there room left on the file system that holds the volume?"
        ));
    }
    let is_incomplete = is_cut || !outcome.unsynced.is_empty();
    if outcome.out_of_memory
        && let Some(claim) = hooks.claim
    {
        claim.change(|state| state.out_of_memory = true);
    }
    if !outcome.jobs.is_empty()
        && let Some(claim) = hooks.claim
    {
        claim.change(|state| state.jobs = jobs_at_end(&state.cron, &outcome.jobs));
    }
    let mut end = verdict(guest.forced(), outcome, status, &complaints)?;
    end.asked = guest.is_ending();
    if is_incomplete && end.status == 0 {
        end.status = error::FAILED;
    }
    Ok(end)
}

/// Has what is started end with this command, however that ends: a guest must not outlive it.
pub fn dies_with_this(command: &mut Command) {
    let own = rustix::process::getpid();
    // SAFETY: between fork and exec only async-signal-safe functions may be called; these are prctl(2) and getppid(2).
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            match rustix::process::getppid() == Some(own) {
                true => Ok(()),
                false => Err(std::io::Error::other("the command was killed")),
            }
        });
    }
}

/// What runs beside QEMU.
struct Run {
    guest: Arc<Guest>,
    terminal: Arc<Terminal>,
}

/// Passes what a stream carries to the log.
struct Tap {
    lines: Lines,
    logger: Arc<Logger>,
}

impl Tap {
    fn new(stream: Stream, hooks: &Hooks<'_>) -> Tap {
        Tap { lines: Lines::new(stream), logger: Arc::clone(&hooks.logger) }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.logger.is_some() {
            self.lines.take(bytes, |record| self.logger.push(record));
        }
    }

    fn end(&mut self) {
        self.lines.end(|record| self.logger.push(record));
    }
}

/// What is left of a guest.
struct Ended {
    /// How QEMU ended.
    status: ExitStatus,
    /// What the kernel reported.
    outcome: control::Outcome,
    /// What QEMU said.
    complaints: Vec<String>,
    /// Some of the program's output could not be written.
    is_cut: bool,
}

impl Run {
    /// Serves the guest until QEMU has ended.
    fn accompany(
        &self,
        child: &mut Child,
        log: File,
        from_guest: UnixStream,
        ports: Vec<(Port, UnixStream)>,
        signals: Signals,
        hooks: &Hooks<'_>,
    ) -> Result<Ended> {
        // A command that waits for the start may ask the guest at once.
        let asked = hooks.claim.filter(|_| hooks.takes_requests);
        let _socket = asked.map(|claim| hooks.switchboard.listen(claim, &self.guest)).transpose()?;
        (hooks.started)()?;
        let mut outputs = Vec::new();
        let mut keys = None;
        for (port, end) in ports {
            let other = |end: &UnixStream| {
                end.try_clone().map_err(|error| Error::new("cannot serve the guest's ports").why(error))
            };
            let (to, name) = match port {
                Port::Control => continue,
                Port::Input => {
                    thread::spawn(move || {
                        copy::input(stdin(), &end);
                        // Not closed before QEMU has read it: that is for the end of this process.
                        std::mem::forget(end);
                    });
                    continue;
                }
                Port::Terminal => {
                    keys = Some(other(&end)?);
                    (streams::screen(), "the terminal")
                }
                Port::Screen => (streams::screen(), "the terminal"),
                Port::Output | Port::Joint => (stdout(), STDOUT_NAME),
                Port::Error => (stderr(), "standard error"),
            };
            let tap = Tap::new(if port == Port::Error { Stream::Stderr } else { Stream::Stdout }, hooks);
            let guest = Arc::clone(&self.guest);
            outputs.push(thread::spawn(move || {
                let mut tap = tap;
                let written = copy::output(&end, to, |bytes| tap.take(bytes), || guest.wait_until_ready());
                tap.end();
                is_complete(written, name)
            }));
        }
        self.take_terminal(&mut keys);
        let gate = Arc::new(super::stdin::Gate::default());
        if let Some(to) = child.stdin.take() {
            let tap = Tap::new(Stream::Stdout, hooks);
            outputs.extend(serial_console(child, to, &gate, &self.guest, tap));
        }
        self.watch(signals, keys, Arc::clone(&hooks.grace));
        let guest = Arc::clone(&self.guest);
        let switchboard = Arc::clone(&hooks.switchboard);
        if let Some(plan) = hooks.health.clone() {
            health::Checker {
                plan,
                guest: Arc::clone(&guest),
                switchboard: Arc::clone(&switchboard),
                claim: hooks.claim.cloned(),
                grace: Arc::clone(&hooks.grace),
                action: Arc::clone(&hooks.by_health),
            }
            .start();
        }
        let logger = Arc::clone(&hooks.logger);
        let tracing = hooks.trace.as_ref().map(|trace| self.trace(trace, &switchboard)).transpose()?;
        let listener = thread::spawn(move || listen(from_guest, &guest, &switchboard, &logger));
        let (core, board, owner) =
            (hooks.core.clone(), Arc::clone(&hooks.switchboard), Arc::clone(&self.guest));
        let dump = move |text: &str| {
            if let Some((name, place)) = &core {
                dump(text, &board, &owner, (name, place));
            }
        };
        let log = thread::spawn(move || control::follow(log, control::show, || gate.open(), dump));
        let complaints = child.stderr.take().map(|stderr| {
            let guest = Arc::clone(&self.guest);
            thread::spawn(move || complaints(stderr, &guest))
        });
        let status = child.wait().map_err(|error| Error::new("cannot wait for QEMU").why(error))?;
        self.guest.gone();
        if let Some((connection, follower)) = tracing {
            // What the guest has said is shown before its trace ends.
            let _ = listener.join();
            hooks.switchboard.end();
            let _ = connection.shutdown(Shutdown::Write);
            let _ = follower.join();
        }
        let outcome = log.join().unwrap_or_default();
        let is_cut = outputs.into_iter().fold(false, |cut, output| cut | !output.join().unwrap_or(false));
        let complaints = complaints.and_then(|thread| thread.join().ok()).unwrap_or_default();
        Ok(Ended { status, outcome, complaints, is_cut })
    }

    /// Begins to show system calls; the connection that this is done over, and the thread that does.
    fn trace(
        &self,
        trace: &Arc<RunTrace>,
        switchboard: &Arc<Switchboard>,
    ) -> Result<(UnixStream, JoinHandle<()>)> {
        let fail = |error| Error::new("cannot trace the program").why(error);
        let connection = switchboard.connect(&self.guest).map_err(fail)?;
        let client = Client::over("the program", connection.try_clone().map_err(fail)?)?;
        let (trace, guest) = (Arc::clone(trace), Arc::clone(&self.guest));
        let follower = thread::spawn(move || {
            if let Err(error) = trace.follow(client) {
                error.print();
                // Its program may still wait to be traced.
                guest.force(Forced::AtOnce);
            }
        });
        Ok((connection, follower))
    }

    /// Makes the terminal the guest's if this process is in its foreground, and begins to read its keys.
    fn take_terminal(&self, keys: &mut Option<UnixStream>) {
        if keys.is_none() || !self.terminal.take() {
            return;
        }
        let Some(to) = keys.take() else { return };
        let guest = Arc::clone(&self.guest);
        thread::spawn(move || {
            terminal::type_keys(&to, guest.ready(), |key| match key {
                Key::End => guest.force(Forced::AtOnce),
                Key::Interrupt => guest.force(Forced::Early(SIGINT)),
            });
        });
    }

    /// Obeys the signals that this process gets. `keys`: where the terminal's go once this process comes to its foreground.
    fn watch(
        &self,
        mut signals: Signals,
        mut keys: Option<UnixStream>,
        grace: Arc<dyn Fn() -> Duration + Send + Sync>,
    ) {
        let run = Run { guest: Arc::clone(&self.guest), terminal: Arc::clone(&self.terminal) };
        thread::spawn(move || {
            let mut taken = keys.is_none();
            for signal in signals.forever() {
                match signal {
                    SIGWINCH => run.tell_window(),
                    SIGCONT => {
                        if taken {
                            run.terminal.take();
                        } else {
                            run.take_terminal(&mut keys);
                            taken = keys.is_none();
                        }
                        run.tell_window();
                    }
                    signal => {
                        supervise::ask_to_end();
                        let (guest, grace) = (Arc::clone(&run.guest), Arc::clone(&grace));
                        thread::spawn(move || guest.ask(signal, || grace()));
                    }
                }
            }
        });
    }

    fn tell_window(&self) {
        if let Some(window) = terminal::window() {
            self.guest.set_window(window);
        }
    }
}

/// Writes the core of a process that crashed, in a thread of its own.
fn dump(text: &str, switchboard: &Arc<Switchboard>, guest: &Arc<Guest>, (name, place): (&str, &Path)) {
    let client = || switchboard.connect(guest).ok().and_then(|stream| Client::over(name, stream).ok());
    let (Some(dump), Some(first), Some(second), Some(third)) =
        (Dump::parse(text), client(), client(), client())
    else {
        return warn("a core dump cannot be written; the process waits for it");
    };
    let place = place.to_owned();
    thread::spawn(move || dump.write([first, second, third], &place));
}

/// Takes what the guest says over the control port.
fn listen(mut from: UnixStream, guest: &Guest, switchboard: &Switchboard, logger: &Logger) {
    let (mut reader, mut buffer) = (FromGuest::new(), vec![0; copy::PIECE]);
    let mut syslog = GuestSyslog::default();
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        reader.take(&buffer[..length], |message| {
            switchboard.take(message);
            if let Message::Log { id, pid, has_more, bytes } = message
                && let Some(record) = syslog.take(id, pid, has_more, bytes)
            {
                logger.push_syslog(record);
            }
            if let Message::Hello(_) = message {
                guest.set_ready();
                // It may have changed since QEMU was started.
                if let Some(window) = terminal::window() {
                    guest.set_window(window);
                }
            }
        });
    }
}

/// Whether the program's output was written. Says so if it was not, unless its reader has gone away, which wants no more of it.
fn is_complete(written: Result<(), Errno>, name: &str) -> bool {
    match written {
        Ok(()) | Err(Errno::PIPE) => true,
        Err(error) => {
            let error = std::io::Error::from(error);
            warn(format_args!(
                "cannot write to {name}: {error}; what the program writes there from now on is lost"
            ));
            false
        }
    }
}

/// Connects the standard streams with the serial port, which is on QEMU's. Gives the thread that copies the output.
fn serial_console(
    child: &mut Child,
    to: std::process::ChildStdin,
    gate: &Arc<super::stdin::Gate>,
    guest: &Arc<Guest>,
    mut tap: Tap,
) -> Option<thread::JoinHandle<bool>> {
    if super::stdin::readable() {
        let gate = Arc::clone(gate);
        thread::spawn(move || {
            gate.wait();
            super::stdin::pump(std::io::stdin().lock(), to);
        });
    } else {
        // Kept open: a guest whose terminal is closed would see the end of its input.
        std::mem::forget(to);
    }
    let mut from = child.stdout.take()?;
    let guest = Arc::clone(guest);
    Some(thread::spawn(move || {
        let mut buffer = vec![0; copy::PIECE];
        let mut complete = true;
        while let Ok(length @ 1..) = copy::read(&from, &mut buffer) {
            tap.take(&buffer[..length]);
            if let Err(error) = copy::write_all(stdout(), &buffer[..length]) {
                complete = is_complete(Err(error), STDOUT_NAME);
                // A serial port can't say that its other end is gone.
                guest.ask(signal_hook::consts::SIGPIPE, || super::stop::GRACE);
                break;
            }
        }
        tap.end();
        // QEMU must be able to write until it ends.
        let _ = std::io::copy(&mut from, &mut std::io::sink());
        complete
    }))
}

/// What the end of QEMU means.
fn verdict(
    forced: Option<Forced>,
    outcome: control::Outcome,
    status: ExitStatus,
    complaints: &[String],
) -> Result<End> {
    let by = |signal| u8::try_from(SIGNALLED + signal).unwrap_or(error::FAILED);
    let late = |signal, grace: Duration| {
        let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
        warn(format_args!("the program did not end within {} s of {name}: killed", grace.as_secs()));
    };
    match (forced, outcome.status) {
        // It was killed in the guest.
        (Some(how @ Forced::TooLate(signal, grace)), Some(status)) if status == by(KILLED) => {
            late(signal, grace);
            return Ok(End { status, forced: Some(how), asked: true });
        }
        (_, Some(status)) => return Ok(End { status, forced: None, asked: false }),
        (None, None) => {}
        (Some(forced), None) => {
            let status = match forced {
                Forced::Early(signal) => by(signal),
                Forced::AtOnce => by(KILLED),
                Forced::TooLate(signal, grace) => {
                    late(signal, grace);
                    by(KILLED)
                }
                Forced::NotSynced(signal, grace) => {
                    late(signal, grace);
                    warn("the guest did not write its volumes back in time: what was not synced may be lost");
                    by(KILLED)
                }
            };
            return Ok(End { status, forced: Some(forced), asked: true });
        }
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
    Err(error.help("`--verbose` shows the QEMU command, `--log debug` what the kernel does"))
}

/// What QEMU says on stderr; returns it, too.
fn complaints(stderr: impl std::io::Read, guest: &Guest) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(stderr).lines() {
        let Ok(line) = line else { break };
        // That the translator lacks features of the largest CPU is no news, nor is that QEMU ends when it is asked.
        let expected = line.contains("TCG doesn't support requested feature") || guest.is_ending();
        if !expected {
            control::show(&format!("qemu: {line}"));
            lines.push(line);
        }
    }
    lines
}
