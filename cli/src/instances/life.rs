//! `coracle wait`, `rm`, `pause`, `unpause` and `kill`.

use std::fs;
use std::thread;

use coracle_control::Request;
use rustix::process::{Pid, Signal, kill_process};

use super::{GLANCE, KILLED, SOCKET, Seen, file};
use crate::args::{KillArgs, NamesArgs};
use crate::error::{Error, Result, cannot};
use crate::observe::Client;
use crate::output;

/// `coracle wait`: waits until guests have ended, and prints the exit status of each.
pub fn wait(args: &NamesArgs) -> Result<()> {
    for name in &args.names {
        while Seen::find(name)?.running.is_some() {
            thread::sleep(GLANCE);
        }
        let status = file(name, "status").ok().and_then(|path| fs::read_to_string(path).ok());
        let status = status.ok_or_else(|| {
            Error::new(format!("how `{name}` ended is not known")).why("its command was killed")
        })?;
        output::line(status.trim_end_matches(KILLED))?;
    }
    Ok(())
}

/// `coracle rm`: forgets guests that have ended, with their logs.
pub fn rm(args: &NamesArgs) -> Result<()> {
    for name in &args.names {
        if Seen::find(name)?.running.is_some() {
            return Err(Error::new(format!("`{name}` is running"))
                .help(format!("end it with `coracle stop {name}` first")));
        }
        // The lock last: as long as it is there, the guest is listed.
        for kind in ["status", "info", "grace", "log", SOCKET, "lock"] {
            let path = file(name, kind)?;
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(cannot("remove", &path, &error));
                }
                _ => {}
            }
        }
        output::line(name)?;
    }
    Ok(())
}

/// `coracle pause`: stops QEMU, so that the guest has no CPU until [`unpause`].
pub fn pause(args: &NamesArgs) -> Result<()> {
    signal_machines(args, Signal::STOP)
}

/// `coracle unpause`
pub fn unpause(args: &NamesArgs) -> Result<()> {
    signal_machines(args, Signal::CONT)
}

fn signal_machines(args: &NamesArgs, signal: Signal) -> Result<()> {
    for name in &args.names {
        let command = running(name)?;
        let machine = child(command).ok_or_else(|| {
            Error::new(format!("the machine of `{name}` is not there"))
                .why("it is still starting, or has ended")
        })?;
        kill_process(machine, signal)
            .map_err(|error| Error::new(format!("cannot reach the machine of `{name}`")).why(error))?;
        output::line(name)?;
    }
    Ok(())
}

/// The command's process of a guest that runs.
fn running(name: &str) -> Result<Pid> {
    Seen::find(name)?.running.ok_or_else(|| Error::new(format!("`{name}` is not running")))
}

/// QEMU, which the process of a guest's command has started.
fn child(command: Pid) -> Option<Pid> {
    let entries = fs::read_dir(format!("/proc/{}/task", command.as_raw_nonzero())).ok()?;
    let children =
        |entry: fs::DirEntry| fs::read_to_string(entry.path().join("children")).unwrap_or_default();
    let all: String = entries.flatten().map(children).collect::<Vec<_>>().join(" ");
    let is_machine = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("qemu"))
    };
    all.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_machine).and_then(Pid::from_raw)
}

/// `coracle kill`: sends a signal to a process of the guest.
pub fn kill(args: &KillArgs) -> Result<()> {
    for name in &args.names {
        let request = Request::Signal { pid: args.pid, signal: args.signal.0 };
        Client::connect(name)?.ask(request)?.map_err(|error| {
            let error = std::io::Error::from_raw_os_error(error.into());
            Error::new(format!("cannot send process {} of `{name}` a signal", args.pid)).why(error)
        })?;
        output::line(name)?;
    }
    Ok(())
}
