//! Guests that have a name: `ps`, `logs` and `stop`, and where what they need is kept.
//!
//! A directory of the user's holds a few files per name: `NAME.lock`, which the guest's command keeps locked as long
//! as it runs and which holds its process number, `NAME.options`, by which it starts again, `NAME.state`, `NAME.info`, `NAME.log`,
//! `NAME.control`, on which it is asked, `NAME.gdb`, on which QEMU serves gdb, `NAME.grace` if `coracle stop` has asked for its end, and said how long
//! it may take, and `NAME.status`, which is empty until it has ended.

mod claim;
mod health;
mod life;
mod record;
mod schedule;
mod start;

pub use claim::Claim;
pub use health::{Health, Verdict};
pub use life::{crash, kill, pause, rm, unpause, wait};
pub use record::{Options, Phase};
pub use schedule::at_end as jobs_at_end;
pub use start::{rename, restart, start};

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use rustix::process::{Pid, Signal, kill_process};

use crate::arch::Arch;
use crate::args::{PsArgs, StopArgs};
use crate::error::{Error, Result, cannot, warn};
use crate::observe::{self, Client, Figures};
use crate::output;
use crate::run::SYNC;
use record::State;

/// How long a command may take to end a guest that didn't end in time.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often something that is waited for is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// The permissions of a mode that are not the owner's (inode(7)).
const OTHERS: u32 = 0o077;

/// The kind of file that is a guest's socket.
const SOCKET: &str = "control";

/// The kind of file that is the socket of QEMU's server for gdb.
const MACHINE: &str = "gdb";

/// Stands behind the status of a guest that was killed.
const KILLED: &str = " (killed)";

/// The file of a kind for a guest.
pub fn file(name: &str, kind: &str) -> Result<PathBuf> {
    Ok(directory()?.join(format!("{name}.{kind}")))
}

/// The address of a guest's socket, and the directory, which is open as long as the address is used: by way of it the address is
/// short enough for one of a socket (unix(7)), whatever the path of the directory.
fn socket(name: &str) -> Result<(PathBuf, File)> {
    let path = directory()?;
    let directory = File::open(&path).map_err(|error| cannot("open", &path, &error))?;
    Ok((format!("/proc/self/fd/{}/{name}.{SOCKET}", directory.as_raw_fd()).into(), directory))
}

/// The path of the socket of a guest.
pub fn socket_path(name: &str) -> Result<PathBuf> {
    file(name, SOCKET)
}

/// Listens for other commands that ask the guest of this name.
pub fn listen(name: &str) -> Result<UnixListener> {
    let (address, _directory) = socket(name)?;
    let path = socket_path(name)?;
    // One that a command which was killed has left.
    let _ = fs::remove_file(&path);
    UnixListener::bind(address).map_err(|error| cannot("listen on", &path, &error))
}

/// Connects to the command of a guest that runs.
pub fn connect(name: &str) -> Result<UnixStream> {
    if Seen::find(name)?.running.is_none() {
        return Err(Error::new(format!("`{name}` is not running")));
    }
    let (address, _directory) = socket(name)?;
    UnixStream::connect(address).map_err(|why| {
        let error = Error::new(format!("`{name}` cannot be asked"));
        match (why.kind(), record::state(name).phase) {
            (ErrorKind::NotFound | ErrorKind::ConnectionRefused, Phase::Starting) => {
                error.why("its machine is about to start").help("try again in a moment")
            }
            (ErrorKind::NotFound | ErrorKind::ConnectionRefused, Phase::Restarting) => error
                .why("it has ended, and starts again after a while")
                .help("`coracle logs` has why it ended"),
            (ErrorKind::NotFound, _) => error
                .why("it was started with `--control none`, or by an older `coracle`")
                .help("start it with `--control observe` or `full`, and an image that allows it"),
            _ => error.why(why),
        }
    })
}

/// Where QEMU's own server for gdb listens, of the guest of this name.
///
/// # Errors
/// If the user's directory cannot be used.
pub fn machine_socket(name: &str) -> Result<PathBuf> {
    file(name, MACHINE)
}

/// Where programs of the host reach the ports of a guest by its CID, unless it is said.
///
/// # Errors
/// As [`machine_socket`].
pub fn vsock_socket(cid: u32) -> Result<PathBuf> {
    Ok(directory()?.join(format!("vsock-{cid}")))
}

/// Where a program that serves a device of a guest of this command listens: each call returns another path.
///
/// # Errors
/// As [`machine_socket`].
pub fn backend_socket() -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(directory()?.join(format!("backend-{}-{number}", std::process::id())))
}

/// How a guest that has ended did so, as a shell has it; `None` if that is not noted yet.
pub fn status(name: &str) -> Option<u8> {
    let text = fs::read_to_string(file(name, "status").ok()?).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// The user's directory for guests, made if need be; other users can neither list it nor open what is in it.
fn directory() -> Result<PathBuf> {
    let user = rustix::process::getuid();
    let path = match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir).join("coracle"),
        None if user.is_root() => PathBuf::from("/run/coracle"),
        None => std::env::temp_dir().join(format!("coracle-{}", user.as_raw())),
    };
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|error| cannot("make the directory", &path, &error))?;
    // Not through a link, which another user could have put below a directory that everyone may write to.
    let meta = fs::symlink_metadata(&path).map_err(|error| cannot("read", &path, &error))?;
    let unfit = |why: &str| Err(Error::new(format!("cannot use `{}`", path.display())).why(why));
    if !meta.is_dir() {
        return unfit("it is not a directory");
    }
    if meta.uid() != user.as_raw() {
        return unfit("it belongs to another user");
    }
    if meta.mode() & OTHERS != 0 {
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&path, private).map_err(|error| cannot("protect", &path, &error))?;
    }
    Ok(path)
}

/// A guest in `coracle ps --json`.
#[derive(Serialize)]
struct Listed {
    name: String,
    running: bool,
    /// Its machine is stopped until `coracle unpause`.
    paused: bool,
    /// The process of its command.
    pid: Option<i32>,
    /// How it ended.
    status: Option<String>,
    /// What it is, and on what machine.
    guest: String,
    /// When it starts again by itself, as for `--restart`.
    restart: Option<String>,
    #[serde(flatten)]
    state: State,
    #[serde(flatten)]
    figures: Option<Figures>,
    /// Why it has no figures, though it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_told: Option<String>,
}

/// A guest as the files tell it.
struct Seen {
    name: String,
    /// Its command's process, if that is running.
    running: Option<Pid>,
}

impl Seen {
    fn look(name: &str) -> Result<Option<Self>> {
        let path = file(name, "lock")?;
        let Ok(mut lock) = File::open(&path) else {
            // One that ran before the host's last boot has left no other trace.
            return Ok(record::is_kept(name).then(|| Seen { name: name.to_owned(), running: None }));
        };
        let held = flock(&lock, FlockOperation::NonBlockingLockShared).is_err();
        let mut text = String::new();
        let limit = Instant::now() + PATIENCE;
        // A name that was never held before has no number yet when it is taken.
        while held && text.is_empty() && Instant::now() < limit && path.exists() {
            lock.seek(SeekFrom::Start(0)).map_err(|error| cannot("read", &path, &error))?;
            lock.read_to_string(&mut text).map_err(|error| cannot("read", &path, &error))?;
        }
        let running = text.trim().parse().ok().and_then(Pid::from_raw).filter(|_| held);
        Ok(Some(Seen { name: name.to_owned(), running }))
    }

    fn find(name: &str) -> Result<Self> {
        Self::look(name)?.ok_or_else(|| {
            Error::new(format!("there is no guest `{name}`"))
                .help("`coracle ps --all` lists those with a name")
        })
    }

    /// Its machine is stopped.
    fn is_paused(&self) -> bool {
        self.running.is_some_and(life::is_paused)
    }

    /// The text of a file of its; `None` if there is none, or nothing in it yet.
    fn text(&self, kind: &str) -> Option<String> {
        let text = fs::read_to_string(file(&self.name, kind).ok()?).ok()?;
        (!text.is_empty()).then_some(text)
    }

    /// How it ended: its exit status, with [`KILLED`] behind it if it did not end itself.
    fn status(&self) -> Option<String> {
        self.text("status").filter(|_| self.running.is_none())
    }

    /// What is written down of it, as far as it can still hold.
    fn state(&self) -> State {
        let mut state = record::state(&self.name);
        if self.running.is_none() {
            if state.phase != Phase::Ended {
                // Its command was killed, and has noted nothing.
                state.exit_status = None;
            }
            state.phase = Phase::Ended;
            state.health = None;
        }
        state
    }

    /// What is known of it.
    fn listed(self) -> Listed {
        let is_running = self.running.is_some();
        // One that can't be asked is listed all the same.
        let asked = (is_running && !self.is_paused())
            .then(|| Client::connect(&self.name).and_then(|mut own| Figures::ask(&mut own)));
        let (figures, not_told) = match asked.transpose() {
            Ok(figures) => (figures, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let options = Options::load(&self.name).ok().flatten();
        Listed {
            running: is_running,
            paused: self.is_paused(),
            pid: self.running.map(|pid| pid.as_raw_nonzero().get()),
            status: self.status(),
            guest: self.text("info").unwrap_or_default(),
            restart: options.map(|options| options.restart.to_string()),
            // What the jobs have done since is asked of one that runs.
            state: State { jobs: self.jobs(), ..self.state() },
            figures,
            not_told,
            name: self.name,
        }
    }

    /// What the jobs of its schedule have done, at the end of one that does not run; none if it can't be asked.
    fn jobs(&self) -> Vec<schedule::Job> {
        let state = self.state();
        let names = state.cron;
        if self.running.is_none() {
            return state.jobs;
        }
        if names.is_empty() || self.is_paused() {
            return Vec::new();
        }
        Client::connect(&self.name).map(|mut own| schedule::ask(&mut own, &names)).unwrap_or_default()
    }

    /// Its state in a few words.
    fn summary(&self) -> String {
        let state = self.state();
        let Some(pid) = self.running.map(Pid::as_raw_nonzero) else {
            return self.status().map_or("ended".to_owned(), |status| format!("ended with {status}"));
        };
        match (state.phase, state.health) {
            (Phase::Restarting, _) => {
                format!("restarting ({pid}) after {}", state.exit_status.unwrap_or_default())
            }
            _ if self.is_paused() => format!("paused ({pid})"),
            (_, Some(health)) => format!("running ({pid}), {}", health.status),
            _ => format!("running ({pid})"),
        }
    }
}

/// Whether the machine of the guest of this name is stopped until `coracle unpause`.
pub fn is_paused(name: &str) -> bool {
    matches!(Seen::look(name), Ok(Some(seen)) if seen.is_paused())
}

/// The names of all guests, sorted.
///
/// # Errors
/// If their directory can't be read.
pub fn names() -> Result<Vec<String>> {
    let directory = directory()?;
    let files = fs::read_dir(&directory).map_err(|error| cannot("read", &directory, &error))?;
    let locks = files
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".lock").map(str::to_owned));
    let mut names: Vec<String> = locks.chain(record::kept_names()).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// The names of those that run, sorted.
///
/// # Errors
/// If their directory can't be read.
pub fn running() -> Result<Vec<String>> {
    let mut names = names()?;
    // One that is removed meanwhile does not run.
    names.retain(|name| is_running(name).unwrap_or(false));
    Ok(names)
}

/// The architecture of a guest.
pub fn arch(name: &str) -> Arch {
    record::state(name).arch
}

/// How often a guest was started again by its policy.
pub fn restarts(name: &str) -> u32 {
    record::state(name).restarts
}

/// Whether the guest of this name runs.
///
/// # Errors
/// If there is none.
pub fn is_running(name: &str) -> Result<bool> {
    Ok(Seen::find(name)?.running.is_some())
}

/// The name of the guest whose command is this process, if it has one.
pub fn of_process(process: i32) -> Option<String> {
    let entries = fs::read_dir(directory().ok()?).ok()?;
    entries.flatten().find_map(|entry| {
        let name = entry.file_name().to_str()?.strip_suffix(".lock")?.to_owned();
        let running = Seen::look(&name).ok()??.running?;
        (running.as_raw_nonzero().get() == process).then_some(name)
    })
}

/// A name for a guest that is not given one: the program's, with a number if that is taken.
pub fn free_name(program: &str) -> Result<String> {
    let stem: String = program.chars().map(|c| if is_fit(c) { c } else { '-' }).collect();
    let mut name = stem.clone();
    for number in 2.. {
        if Seen::look(&name)?.is_none_or(|seen| seen.running.is_none()) {
            break;
        }
        name = format!("{stem}-{number}");
    }
    Ok(name)
}

fn is_fit(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// Checks a name given by the user: it becomes part of file names.
pub fn name(text: &str) -> Result<String, String> {
    /// Leaves room in a file name of 255 bytes.
    const LONGEST: usize = 64;
    if text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= LONGEST
        && text.chars().all(is_fit)
    {
        Ok(text.to_owned())
    } else {
        Err("a name has up to 64 letters, digits, `-`, `_` and `.`".to_owned())
    }
}

/// `coracle ps`
pub fn ps(args: &PsArgs) -> Result<()> {
    let names = names()?;
    if args.json {
        let mut all = Vec::new();
        for name in names {
            all.extend(
                Seen::look(&name)?.filter(|seen| args.all || seen.running.is_some()).map(Seen::listed),
            );
        }
        return output::line(observe::json(&all)?);
    }
    output::line(format_args!("{:<20} {:<28} GUEST", "NAME", "STATE"))?;
    for name in names {
        let Some(seen) = Seen::look(&name)?.filter(|seen| args.all || seen.running.is_some()) else {
            continue;
        };
        let info = seen.text("info").unwrap_or_default();
        output::line(format_args!("{:<20} {:<28} {info}", name, seen.summary()))?;
        for job in seen.jobs() {
            output::line(format_args!("  cron {job}"))?;
        }
    }
    Ok(())
}

/// How long a guest's program may take to end, if `coracle stop` has said so.
pub fn grace(name: &str) -> Option<Duration> {
    let seconds = fs::read_to_string(file(name, "grace").ok()?).ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// `coracle stop`: asks all at once, then waits for each.
pub fn stop(args: &StopArgs) -> Result<()> {
    let mut names = args.names.clone();
    if args.all {
        for name in self::names()? {
            if Seen::look(&name)?.is_some_and(|seen| seen.running.is_some()) {
                names.push(name);
            }
        }
    }
    let grace = Duration::from_secs(args.seconds);
    let mut stopping = Vec::new();
    for name in &names {
        let Some(pid) = Seen::find(name)?.running else {
            return Err(Error::new(format!("`{name}` is not running")));
        };
        ask_to_end(name, pid, args.seconds)?;
        if !args.shutdown {
            Options::set_stopped(name, true)?;
        }
        stopping.push((name, pid));
    }
    let limit = Instant::now().checked_add(grace.saturating_add(SYNC + PATIENCE));
    for (name, pid) in stopping {
        let seen = await_end(name, pid, args.seconds, limit)?;
        if seen.as_ref().is_some_and(|seen| seen.status().is_none_or(|status| status.ends_with(KILLED))) {
            warn(format_args!("`{name}` did not end within {} s of SIGTERM: killed", args.seconds));
        }
        output::line(name)?;
    }
    Ok(())
}

/// Asks the command of a guest to end it, and not to start it again. `seconds`: how long its program may take.
fn ask_to_end(name: &str, pid: Pid, seconds: u64) -> Result<()> {
    // First, so that a command that is between two runs of the guest finds it.
    let path = file(name, "grace")?;
    fs::write(&path, seconds.to_string()).map_err(|error| cannot("write", &path, &error))?;
    signal(name, pid, Signal::TERM)
}

/// Waits until a guest has ended. Its command counts the time, and kills; one that doesn't until `limit` is killed itself.
/// `None`: it was run with `--rm`, and is forgotten.
fn await_end(name: &str, mut pid: Pid, seconds: u64, limit: Option<Instant>) -> Result<Option<Seen>> {
    loop {
        let Some(seen) = Seen::look(name)? else { return Ok(None) };
        match seen.running {
            None => return Ok(Some(seen)),
            // A command that starts a guest in the background hands its name on to another process.
            Some(other) if other != pid && file(name, "grace")?.exists() => {
                pid = other;
                ask_to_end(name, pid, seconds)?;
            }
            // It has ended, and another command has started it.
            Some(other) if other != pid => return Ok(Some(seen)),
            Some(_) if limit.is_some_and(|limit| Instant::now() > limit) => signal(name, pid, Signal::KILL)?,
            Some(_) => {}
        }
        thread::sleep(GLANCE);
    }
}

fn signal(name: &str, pid: Pid, signal: Signal) -> Result<()> {
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Error::new(format!("cannot stop `{name}`")).why(error)),
    }
}
