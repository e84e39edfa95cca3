//! Waiting for children and for conditions, with limits that only catch what hangs.
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a program that was asked to end is given to do so.
const GRACE: Duration = Duration::from_secs(5);

/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until a condition holds; says whether it does in time.
pub fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}

/// Collects what comes from a pipe, on a thread of its own.
pub fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        all
    })
}

/// Feeds bytes to a child and closes its standard input, on a thread of its own.
pub fn feed(mut to: ChildStdin, bytes: Vec<u8>) {
    thread::spawn(move || {
        let _ = to.write_all(&bytes);
    });
}

/// Starts a command in a process group of its own, its streams being pipes.
///
/// # Errors
/// If it does not start.
pub fn start(command: &mut Command) -> Result<Child, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command.spawn().map_err(|e| format!("{:?} does not start: {e}", command.get_program()))
}

/// Waits for a child up to a limit, after which it is ended; its status, or none if it had to be.
pub fn finish(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let mut status = None;
    until(limit, || {
        status = child.try_wait().ok().flatten();
        status.is_some()
    });
    if status.is_none() {
        end(child);
    }
    status
}

/// Ends a child and what it started: asked first, then forced.
pub fn end(child: &mut Child) {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    let _ = kill_process(pid, Signal::TERM);
    let ended = until(GRACE, || matches!(child.try_wait(), Ok(Some(_))));
    // What it started may go on, and hold its output open.
    let _ = kill_process_group(pid, Signal::KILL);
    if !ended {
        let _ = child.wait();
    }
}

/// A status as shells give it: 128 and the number where a signal ended the program.
pub fn shell_status(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
