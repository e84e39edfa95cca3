//! A volume, the guests that use it, and their end.
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::{paths, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Where the guest has the volume.
pub const AT: &str = "/data";
/// The volume's name, in a directory of its own.
const NAME: &str = "data";

/// A named volume of a test.
pub struct Volume {
    home: PathBuf,
}

impl Volume {
    /// One that is not there yet; the first guest makes it.
    pub fn new(test: &str) -> Result<Volume, String> {
        let home = paths::work().join("databases").join(test);
        if home.exists() {
            fs::remove_dir_all(&home).map_err(|e| e.to_string())?;
        }
        Ok(Volume { home })
    }

    fn coracle(&self, words: &[&str]) -> Command {
        let mut command = Command::new(paths::coracle());
        command.env("XDG_DATA_HOME", &self.home).args(words);
        command
    }

    /// The command for a guest that has the volume, on a machine that `round` chooses; options and a program are to be added.
    pub fn run(&self, round: u32) -> Command {
        let mut command = self.coracle(&["run", "-q", "-v", &format!("{NAME}:{AT}"), "--volume-size", "1G"]);
        let mode = if round.is_multiple_of(2) { "unikernel" } else { "protected" };
        let cpus = if (round / 2).is_multiple_of(2) { "1" } else { "2" };
        command.args(["--mode", mode, "--cpus", cpus, "-m", "384M"]);
        command
    }

    /// That the file system is whole: replays its journal, and has e2fsck look at it.
    pub fn check(&self) -> Result<(), String> {
        let done = self.coracle(&["volume", "check", NAME]).output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        if done.status.success() { Ok(()) } else { Err(text) }
    }

    /// What the test no longer needs.
    pub fn remove(self) -> Result<(), String> {
        fs::remove_dir_all(&self.home).map_err(|e| e.to_string())
    }
}

/// Ends the QEMU of a guest by SIGKILL, and waits for the end of its command.
pub fn kill(guest: &mut Server) -> Result<(), String> {
    let command = guest.pid();
    let parent = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may have blanks (proc(5)).
        let (start, rest) = stat.rsplit_once(')')?;
        start.contains("qemu").then_some(())?;
        rest.split_whitespace().nth(1)?.parse::<i32>().ok()
    };
    let processes = fs::read_dir("/proc").map_err(|e| e.to_string())?;
    let qemu = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|&pid| parent(pid) == Some(command))
        .and_then(Pid::from_raw)
        .ok_or_else(|| format!("the guest has no QEMU: {}", guest.log()))?;
    kill_process(qemu, Signal::KILL).map_err(|e| e.to_string())?;
    match guest.wait(LIMIT) {
        Some(_) => Ok(()),
        None => Err("the command outlives its QEMU".into()),
    }
}

/// Waits until a running guest does what is asked.
pub fn until(guest: &mut Server, what: &str, mut holds: impl FnMut() -> bool) -> Result<(), String> {
    let mut ended = false;
    let came = wait::until(LIMIT, || {
        ended = !guest.is_running();
        ended || holds()
    });
    if came && !ended { Ok(()) } else { Err(format!("{what} did not happen: {}", guest.log())) }
}
