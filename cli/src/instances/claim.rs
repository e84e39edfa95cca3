//! A name that a guest holds.
//!
//! `NAME.lock` is locked (flock(2)) as long as the guest's command runs, however that ends. Its first line is the number of the process
//! that holds it. A command that takes a name checks afterwards that the file it has locked still is the one of that name:
//! another command may have removed or renamed it in between.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::FdFlags;

use super::record::{Options, Phase, State};
use super::{KILLED, MACHINE, SOCKET, file, record};
use crate::error::{Error, Result, cannot, warn};
use crate::log;

/// Names the environment variable with the number of the descriptor that holds the name, for a command that goes on with it.
const MARK: &str = "CORACLE_CLAIM";

/// Bytes that a status may take.
const STATUS_BYTES: u64 = 64;
/// Characters of a process's number in a lock.
const NUMBER_BYTES: usize = 10;

/// The kinds of files that a guest has beside its lock.
const KINDS: [&str; 8] = ["status", "state", "info", "grace", "options", "keys", SOCKET, MACHINE];
/// Those that tell of one run only, and go when the next begins.
const OF_A_RUN: [&str; 5] = ["info", "state", "grace", SOCKET, MACHINE];

/// A name that is held as long as this lives.
pub struct Claim {
    /// Locked; closing it gives the name back.
    lock: File,
    state: Mutex<State>,
}

impl Claim {
    /// Holds a name, whatever is known of earlier guests that had it.
    ///
    /// # Errors
    /// If another command holds it.
    pub fn hold(name: &str) -> Result<Self> {
        /// How often a name is tried that others only look at.
        const TRIES: usize = 200;
        /// Between two tries.
        const PAUSE: Duration = Duration::from_millis(2);
        let path = file(name, "lock")?;
        let fail = |error: std::io::Error| cannot("write", &path, &error);
        for _ in 0..TRIES {
            let mut options = OpenOptions::new();
            let lock = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
            let lock = lock.map_err(fail)?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                if flock(&lock, FlockOperation::NonBlockingLockShared).is_err() {
                    return Err(taken(name));
                }
                drop(lock);
                thread::sleep(PAUSE);
                continue;
            }
            if is_at(&lock, &path) {
                let claim = Claim { lock, state: Mutex::new(record::state(name)) };
                claim.sign(std::process::id()).map_err(fail)?;
                return Ok(claim);
            }
        }
        Err(taken(name))
    }

    /// Takes a name for a guest that is about to start.
    ///
    /// # Errors
    /// If another command holds it.
    pub fn take(name: &str) -> Result<Self> {
        let claim = Self::hold(name)?;
        for kind in OF_A_RUN {
            // There may have been no earlier guest of that name.
            let _ = fs::remove_file(file(name, kind)?);
        }
        *claim.state() = State::default();
        // Anew, and not only emptied: those that wait for the earlier guest's status have it open.
        let path = file(name, "status")?;
        let _ = fs::remove_file(&path);
        let status = File::create(&path).map_err(|error| cannot("write", &path, &error))?;
        // Room for it, also if the disk is full when the guest ends, as far as the file system promises such.
        let _ = fallocate(status, FallocateFlags::KEEP_SIZE, 0, STATUS_BYTES);
        Ok(claim)
    }

    /// The name that the command which started this one has passed on. `None`: there is none.
    pub fn adopt() -> Option<Self> {
        let number: RawFd = std::env::var(MARK).ok()?.parse().ok()?;
        rustix::fs::readlink(format!("/proc/self/fd/{number}"), Vec::new()).ok()?;
        // SAFETY: the descriptor is open, as the line above finds, and belongs to this process since it began: `pass` has left it open for
        // this command, which calls this once, before it opens files of its own. A wrong number in the environment is that of another
        // descriptor that was inherited, which nothing in this process owns either; the standard streams are left out.
        let lock = unsafe { (number > 2).then(|| File::from_raw_fd(number))? };
        rustix::io::fcntl_setfd(&lock, FdFlags::CLOEXEC).ok()?;
        let claim = Claim { lock, state: Mutex::default() };
        let name = claim.name().ok()?;
        is_at(&claim.lock, &file(&name, "lock").ok()?).then_some(())?;
        *claim.state() = record::state(&name);
        claim.sign(std::process::id()).ok()?;
        Some(claim)
    }

    /// Has a command that is about to be started or executed hold the name, too.
    ///
    /// # Errors
    /// If the kernel refuses to leave the descriptor open.
    pub fn pass(&self, command: &mut Command) -> Result<()> {
        rustix::io::fcntl_setfd(&self.lock, FdFlags::empty())
            .map_err(|error| Error::new("cannot pass the guest's name on").why(error))?;
        command.env(MARK, self.lock.as_raw_fd().to_string());
        Ok(())
    }

    /// Writes the number of the process that is to be asked to end the guest.
    ///
    /// # Errors
    /// As for writing any file.
    pub fn sign(&self, process: u32) -> std::io::Result<()> {
        // Of one length always, so that a reader finds either the old or the new number.
        let text = format!("{process:<NUMBER_BYTES$}\n");
        self.lock.write_all_at(text.as_bytes(), 0)?;
        self.lock.set_len(text.len() as u64)
    }

    /// The name, which `coracle rename` may have changed.
    ///
    /// # Errors
    /// If it is none any more.
    pub fn name(&self) -> Result<String> {
        let lost = || Error::new("the guest has lost its name").why("its files were removed");
        let path = fs::read_link(format!("/proc/self/fd/{}", self.lock.as_raw_fd())).map_err(|_| lost())?;
        let name =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".lock"));
        name.map(str::to_owned).ok_or_else(lost)
    }

    /// Writes down how the guest is started again.
    ///
    /// # Errors
    /// If that can't be written.
    pub fn set_options(&self, options: &Options) -> Result<()> {
        let name = self.name()?;
        options.save(&name)?;
        if let Err(error) = options.save_for_boot(&name) {
            warn(format_args!("`{name}` will not start again after a reboot of the host: {error}"));
        }
        Ok(())
    }

    /// Notes what the guest is. From now on it counts as started.
    ///
    /// # Errors
    /// If that can't be written.
    pub fn started(&self, summary: &str) -> Result<()> {
        self.change(|state| {
            state.phase = Phase::Running;
            state.started_at = Some(Timestamp::now());
            state.ended_at = None;
            state.out_of_memory = false;
        });
        let path = file(&self.name()?, "info")?;
        // One that starts again on a full disk has it.
        if fs::read(&path).is_ok_and(|old| old == summary.as_bytes()) {
            return Ok(());
        }
        fs::write(&path, summary).map_err(|error| cannot("write", &path, &error))
    }

    /// Changes what others see of the guest. That it can't be written, on a full disk, is no reason to end a guest or not to start it again:
    /// it is said.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        if let Err(error) = self.try_change(change) {
            warn(format_args!("what others see of the guest is not up to date: {error}"));
        }
    }

    fn try_change(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.state();
        change(&mut state);
        loop {
            let name = self.name()?;
            state.save(&name)?;
            if self.name()? == name {
                return Ok(());
            }
            // It was renamed meanwhile.
            let _ = fs::remove_file(file(&name, "state")?);
        }
    }

    /// Notes how a run of the guest ended, and, if it is its last, that it is over. `killed`: it did not end itself.
    ///
    /// # Errors
    /// If that can't be written.
    pub fn ended(&self, status: u8, killed: bool, phase: Phase) -> Result<()> {
        self.change(|state| {
            state.phase = phase;
            state.ended_at = Some(Timestamp::now());
            state.exit_status = Some(status);
            state.killed = killed;
            state.health = None;
        });
        if phase != Phase::Ended {
            return Ok(());
        }
        let path = file(&self.name()?, "status")?;
        let killed = if killed { KILLED } else { "" };
        // In place: `coracle wait` may have it open while it is removed, and there is room.
        let place = OpenOptions::new().write(true).open(&path);
        place
            .and_then(|place| place.write_all_at(format!("{status}{killed}").as_bytes(), 0))
            .map_err(|error| cannot("write", &path, &error))
    }

    /// Whether `coracle stop` has asked for the guest's end since it was started.
    pub fn is_to_stop(&self) -> bool {
        self.name().and_then(|name| file(&name, "grace")).is_ok_and(|path| path.exists())
    }

    /// Removes all that is kept of the guest. Its name is free from now on.
    ///
    /// # Errors
    /// If a file can't be removed.
    pub fn forget(&self) -> Result<()> {
        let name = self.name()?;
        Options::forget_for_boot(&name)?;
        log::remove(&name)?;
        // The lock last: as long as it is there, the guest is listed.
        for kind in KINDS.into_iter().chain(["lock"]) {
            let path = file(&name, kind)?;
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(cannot("remove", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives all files of a guest another name: the lock first, which settles that the name is free.
///
/// # Errors
/// If a guest has that name, or had it.
pub fn rename(old: &str, new: &str) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let (from, to) = (file(old, "lock")?, file(new, "lock")?);
    match renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::EXIST) => {
            return Err(Error::new(format!("the name `{new}` is taken"))
                .why("a guest has it, or had it")
                .help(format!("`coracle rm {new}` forgets one that has ended")));
        }
        result => result.map_err(|error| cannot("rename", &from, &error.into()))?,
    }
    for kind in KINDS {
        let (from, to) = (file(old, kind)?, file(new, kind)?);
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(cannot("rename", &from, &error));
            }
            _ => {}
        }
    }
    log::rename(old, new)?;
    Options::rename_for_boot(old, new)
}

fn taken(name: &str) -> Error {
    Error::new(format!("the name `{name}` is taken"))
        .why("a guest of that name is running")
        .help(format!("end it with `coracle stop {name}`, or choose another with --name"))
}

/// Whether an open file is the one at a path.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    file.metadata().map(identity).ok() == fs::metadata(path).map(identity).ok()
}
