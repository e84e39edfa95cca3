//! What is written down of a guest: how it is started again, and how it fares.
//!
//! Both lie beside the guest's lock. What the next boot of the host is to start again is also in a directory that outlives one
//! (XDG Base Directory Specification, `XDG_STATE_HOME`).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::file;
use crate::error::{Error, Result, cannot};
use crate::run::Restart;

/// Variables that decide what the options of a guest mean: where programs, volumes and settings are.
const KEPT_VARIABLES: [&str; 6] = ["PATH", "HOME", "TERM", "XDG_DATA_HOME", "XDG_STATE_HOME", "CORACLE_QEMU"];

/// How a guest is started again.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Options {
    /// The words of the command line, without the command's name.
    pub words: Vec<OsString>,
    /// The directory it was given in.
    pub directory: PathBuf,
    /// The variables of the environment that it may refer to. Those that carry secrets are not written down.
    pub variables: Vec<(OsString, OsString)>,
    /// When it starts again by itself.
    pub restart: Restart,
    /// `coracle stop` has ended it, and nothing has started it since.
    #[serde(default)]
    pub is_stopped: bool,
}

impl Options {
    /// Those of this command. `named`: what `-e NAME` takes from the environment.
    ///
    /// # Errors
    /// If the current directory is none any more.
    pub fn of_this_command(restart: Restart, named: &[OsString]) -> Result<Self> {
        let directory = std::env::current_dir()
            .map_err(|error| Error::new("cannot find the current directory").why(error))?;
        let kept = KEPT_VARIABLES.iter().map(OsStr::new).chain(named.iter().map(OsString::as_os_str));
        let variables = kept.filter_map(|name| Some((name.to_owned(), std::env::var_os(name)?))).collect();
        Ok(Options {
            words: std::env::args_os().skip(1).collect(),
            directory,
            variables,
            restart,
            is_stopped: false,
        })
    }

    /// Those of a guest that runs, or ran; `None` if it is not known.
    ///
    /// # Errors
    /// If they are damaged.
    pub fn load(name: &str) -> Result<Option<Self>> {
        for path in [file(name, "options")?].into_iter().chain(kept_path(name)) {
            if let Ok(text) = fs::read(&path) {
                return serde_json::from_slice(&text).map(Some).map_err(|error| {
                    Error::new(format!("the options of `{name}` cannot be read"))
                        .why(format!("{}: {error}", path.display()))
                        .help(format!("forget it with `coracle rm {name}`, and run it anew"))
                });
            }
        }
        Ok(None)
    }

    /// Writes them beside the guest's lock.
    ///
    /// # Errors
    /// If that fails.
    pub fn save(&self, name: &str) -> Result<()> {
        save(self, &file(name, "options")?)
    }

    /// Writes them where a reboot of the host finds them, if it should; else makes sure that it finds none.
    ///
    /// # Errors
    /// If there is no place for them, or they can't be written.
    pub fn save_for_boot(&self, name: &str) -> Result<()> {
        if !matches!(self.restart, Restart::Always | Restart::UnlessStopped) {
            return Self::forget_for_boot(name);
        }
        let directory = kept_directory().ok_or_else(|| {
            Error::new("there is no place for its options: neither XDG_STATE_HOME nor HOME is set")
        })?;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|error| cannot("make the directory", &directory, &error))?;
        save(self, &directory.join(format!("{name}.json")))
    }

    /// Makes sure that a reboot does not start it.
    ///
    /// # Errors
    /// If the file can't be removed.
    pub fn forget_for_boot(name: &str) -> Result<()> {
        let Some(path) = kept_path(name) else { return Ok(()) };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(cannot("remove", &path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Has a reboot start it by another name.
    ///
    /// # Errors
    /// If the file can't be renamed.
    pub fn rename_for_boot(old: &str, new: &str) -> Result<()> {
        let (Some(from), Some(to)) = (kept_path(old), kept_path(new)) else { return Ok(()) };
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(cannot("rename", &from, &error))
            }
            _ => Ok(()),
        }
    }

    /// Writes down whether `coracle stop` has ended a guest.
    ///
    /// # Errors
    /// If that can't be read or written.
    pub fn set_stopped(name: &str, is_stopped: bool) -> Result<()> {
        match Self::load(name)? {
            Some(options) if options.is_stopped != is_stopped => {
                let options = Options { is_stopped, ..options };
                options.save(name)?;
                options.save_for_boot(name)
            }
            _ => Ok(()),
        }
    }
}

/// The guests that a boot of the host may start.
pub fn kept_names() -> Vec<String> {
    let entries = kept_directory().and_then(|path| fs::read_dir(path).ok()).into_iter().flatten().flatten();
    let names =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json").map(str::to_owned));
    names.filter(|name| super::name(name).is_ok()).collect()
}

/// Whether a boot of the host may start this guest.
pub fn is_kept(name: &str) -> bool {
    kept_path(name).is_some_and(|path| path.exists())
}

fn kept_path(name: &str) -> Option<PathBuf> {
    Some(kept_directory()?.join(format!("{name}.json")))
}

fn kept_directory() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("coracle/guests"))
}

/// What a guest is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its machine does not run yet.
    #[default]
    Starting,
    /// Its machine runs.
    Running,
    /// It has ended, and starts again after a while.
    Restarting,
    /// It has ended.
    Ended,
}

/// How a guest fares, as its command writes it down.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct State {
    /// What it is about.
    pub phase: Phase,
    /// When its machine was started last.
    pub started_at: Option<Timestamp>,
    /// When it ended last.
    pub ended_at: Option<Timestamp>,
    /// How often it was started again by its policy.
    pub restarts: u32,
    /// The status with which it ended last.
    pub exit_status: Option<u8>,
    /// It did not end itself.
    pub killed: bool,
    /// A process was killed because the guest's memory was used up.
    pub out_of_memory: bool,
    /// The architecture of its machine.
    pub arch: crate::arch::Arch,
    /// The names of the jobs of its schedule.
    pub cron: Vec<String>,
    /// What they had done when the guest ended last.
    pub jobs: Vec<super::schedule::Job>,
    /// What the checks of its health have found.
    pub health: Option<super::health::Health>,
}

impl State {
    /// Writes it down.
    ///
    /// # Errors
    /// If that fails.
    pub fn save(&self, name: &str) -> Result<()> {
        save(self, &file(name, "state")?)
    }
}

/// What is written down of a guest's state; that of none if nothing is.
pub fn state(name: &str) -> State {
    let text = file(name, "state").ok().and_then(|path| fs::read(path).ok());
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Writes a value as JSON, so that a reader finds either the old or the new one.
fn save(value: &impl Serialize, path: &Path) -> Result<()> {
    let fail = |error: std::io::Error| cannot("write", path, &error);
    let text = serde_json::to_vec(value).map_err(|error| fail(error.into()))?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".new-{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished).map_err(fail)?;
    file.write_all(&text).and_then(|()| fs::rename(&unfinished, path)).map_err(|error| {
        let _ = fs::remove_file(&unfinished);
        fail(error)
    })
}
