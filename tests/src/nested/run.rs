//! A run: boots the first level and takes what its guests said.
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::guests::Guest;
use super::{first_level, packages};
use crate::outcome::Outcome;
use crate::{paths, wait};

/// How long the whole run may take.
const LIMIT: Duration = Duration::from_secs(3600);
/// Where test programs run.
const FIRST_LEVEL: Machine =
    Machine { accelerator: &["-accel", "tcg,thread=multi"], cpu: "max,svm=on", cpus: 1, words: WORDS };
/// KVM tells guests the time only where the clock is the TSC (KVM_HC_CLOCK_PAIRING), which Linux doubts in QEMU.
const WORDS: &str = "tsc=reliable clocksource=tsc";
/// Status of `timeout` for a guest that it ended.
const TIMED_OUT: usize = 124;
/// Bytes of the first level's log that a failure shows.
const SHOWN: usize = 3000;

/// Boots the guests one after the other; `each` is given what came of each as soon as it is there.
///
/// # Errors
/// If the first level can't be made, or ends before all guests have.
pub fn run(guests: &[Guest], mut each: impl FnMut(usize, Outcome)) -> Result<(), String> {
    let kernel = packages::kernel()?;
    let folder = paths::work().join("kvm");
    let (initramfs, log) = (folder.join("initramfs"), folder.join("first-level.log"));
    let mut archive = first_level::base(&kernel, &[])?;
    archive.extend(first_level::run(guests)?);
    fs::write(&initramfs, archive).map_err(|e| e.to_string())?;
    let mut child = start(&FIRST_LEVEL, &kernel.image, &initramfs, &log)?;
    let mut output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
    // The reader ends when QEMU does, at the latest at the limit.
    let (send, receive) = mpsc::channel();
    let reader = thread::spawn(move || {
        while let Some(result) = read(&mut output) {
            if send.send(result).is_err() {
                break;
            }
        }
    });
    let end = Instant::now() + LIMIT;
    let mut count = 0;
    while count < guests.len()
        && let Ok((number, outcome)) = receive.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        count += 1;
        each(number, outcome);
    }
    wait::end(&mut child);
    let _ = reader.join();
    if count == guests.len() {
        return Ok(());
    }
    let said = fs::read(&log).unwrap_or_default();
    let tail = String::from_utf8_lossy(&said[said.len().saturating_sub(SHOWN)..]).into_owned();
    Err(format!("the first level ended after {count} of {} guests: {tail}", guests.len()))
}

/// The machine of a first level.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// QEMU's options for the accelerator.
    pub accelerator: &'static [&'static str],
    /// The model of its CPUs, for QEMU.
    pub cpu: &'static str,
    /// How many CPUs it has.
    pub cpus: u32,
    /// More words for its kernel's command line.
    pub words: &'static str,
}

/// Starts the first level; what its guests said comes on standard output.
///
/// # Errors
/// If QEMU does not start.
pub fn start(machine: &Machine, kernel: &Path, initramfs: &Path, log: &Path) -> Result<Child, String> {
    let mut command = Command::new("qemu-system-x86_64");
    command.args("-machine q35 -m 2G -nodefaults -display none -no-reboot".split(' '));
    command.args(machine.accelerator).args(["-cpu", machine.cpu, "-smp", &machine.cpus.to_string()]);
    command.arg("-serial").arg(format!("file:{}", log.display())).args(["-serial", "stdio"]);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
    command.arg("-append").arg(format!("console=ttyS0 panic=-1 mitigations=off {}", machine.words));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.spawn().map_err(|e| format!("QEMU does not start: {e}"))
}

/// The next guest's part of what comes from the second serial port: its number, and what came of it.
fn read(from: &mut impl BufRead) -> Option<(usize, Outcome)> {
    let mut line = String::new();
    let numbers: Vec<usize> = loop {
        line.clear();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(text) = line.strip_prefix("@@") {
            break text.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        }
    };
    let &[number, status, out, control] = numbers.as_slice() else { return None };
    let mut take = |len: usize| {
        let mut bytes = vec![0; len];
        from.read_exact(&mut bytes).ok()?;
        Some(bytes)
    };
    let (output, control) = (take(out)?, take(control)?);
    let log = String::from_utf8_lossy(&control).into_owned();
    // A line of the control channel that begins with S is the program's status.
    let told = log.lines().find_map(|line| line.strip_prefix('S')?.trim().parse().ok());
    let outcome = Outcome { output, status: told.unwrap_or(-1), log, timed_out: status == TIMED_OUT };
    Some((number, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_guests_said_is_taken_apart() {
        let mut stream = &b"noise\n@@4 1 6 10\nab\n@@\nLhello\nS7\n@@5 124 0 0\n@@6 0 9 0\nshort"[..];
        let (number, first) = read(&mut stream).unwrap();
        // What looks like the next guest's line is output.
        assert_eq!((number, first.output.as_slice()), (4, &b"ab\n@@\n"[..]));
        assert_eq!((first.status, first.timed_out, first.log.as_str()), (7, false, "Lhello\nS7\n"));
        let (number, second) = read(&mut stream).unwrap();
        assert_eq!((number, second.status, second.timed_out), (5, -1, true));
        assert!(read(&mut stream).is_none());
    }
}
