//! `coracle wait`, `rm`, `pause`, `unpause` and `kill`.

use std::fs::{self, File};
use std::io::Read as _;
use std::thread;
use std::time::Instant;

use coracle_control::Request;
use rustix::process::{Pid, Signal, kill_process};

use super::{Claim, GLANCE, KILLED, PATIENCE, Seen, ask_to_end, await_end, file};
use crate::args::{KillArgs, NamesArgs, RmArgs};
use crate::error::{Error, Result};
use crate::observe::Client;
use crate::output;
use crate::run::SYNC;

/// `coracle wait`: waits until guests have ended, and prints the exit status of each.
pub fn wait(args: &NamesArgs) -> Result<()> {
    for name in &args.names {
        let mut seen = Some(Seen::find(name)?);
        // Opened now: a guest that was run with `--rm` leaves no name behind.
        let mut status = File::open(file(name, "status")?).ok();
        while seen.is_some_and(|seen| seen.running.is_some()) {
            thread::sleep(GLANCE);
            seen = Seen::look(name)?;
        }
        let mut text = String::new();
        let read = status.as_mut().is_some_and(|status| status.read_to_string(&mut text).is_ok());
        if !read || text.is_empty() {
            return Err(Error::new(format!("how `{name}` ended is not known"))
                .why("its command was killed, or the host was started anew"));
        }
        output::line(text.trim_end_matches(KILLED))?;
    }
    Ok(())
}

/// `coracle rm`: forgets guests that have ended, with their logs.
pub fn rm(args: &RmArgs) -> Result<()> {
    for name in &args.names {
        if let Some(pid) = Seen::find(name)?.running {
            if !args.force {
                return Err(Error::new(format!("`{name}` is running")).help(format!(
                    "end it with `coracle stop {name}` first, or with `coracle rm -f {name}`"
                )));
            }
            ask_to_end(name, pid, 0)?;
            if await_end(name, pid, 0, Instant::now().checked_add(SYNC + PATIENCE))?.is_none() {
                output::line(name)?;
                continue;
            }
        }
        // One that another command has started meanwhile keeps its name.
        Claim::hold(name)?.forget()?;
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

/// Whether the machine of a guest's command is stopped by a signal (proc_pid_stat(5)).
pub fn is_paused(command: Pid) -> bool {
    let stat = child(command)
        .and_then(|machine| fs::read_to_string(format!("/proc/{}/stat", machine.as_raw_nonzero())).ok());
    // The state follows the name, which may have any characters.
    stat.is_some_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
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

/// `coracle crash`: has the guest's kernel crash, as `echo c > /proc/sysrq-trigger` does on Linux.
pub fn crash(args: &NamesArgs) -> Result<()> {
    for name in &args.names {
        let mut client = Client::connect(name)?;
        match client.ask(Request::Crash) {
            // It has no time to answer.
            Err(_) if client.has_ended() => output::line(name)?,
            Err(error) => return Err(error),
            Ok(answer) => {
                let error = answer.err().map_or(0, i32::from);
                return Err(Error::new(format!("the kernel of `{name}` does not crash"))
                    .why(std::io::Error::from_raw_os_error(error)));
            }
        }
    }
    Ok(())
}
