//! Looking into running guests, as a person does: `coracle stack`, `maps`, `files`, `stats`, `top` and `ps --json`.
use coracle_tests::guest::LIMIT;
use coracle_tests::outcome::Outcome;
use coracle_tests::trials::{self, Test, run};
use coracle_tests::wait::until;
use coracle_tests::{build, paths};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const TESTS: &[(&str, Test)] = &[
    ("a_deadlock_is_explained", a_deadlock_is_explained),
    ("what_a_guest_has_is_listed", what_a_guest_has_is_listed),
    ("a_guest_answers_only_what_it_may", a_guest_answers_only_what_it_may),
];

/// A guest in the background, ended with this.
struct Guest {
    name: String,
    /// The user's directory for guests.
    folder: PathBuf,
}

impl Guest {
    /// Starts `coracle run -d WORDS`; `name` is that of the test.
    fn start(name: &str, words: &[&str]) -> Result<Guest, String> {
        let folder = paths::work().join(format!("observe-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
        let guest = Guest { name: name.to_owned(), folder };
        let started = run(guest.command(&["run", "-d", "--name", name, "--net", "none"]).args(words), b"")?;
        if started.status == 0 { Ok(guest) } else { Err(started.evidence()) }
    }

    /// `coracle WORDS`
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(paths::coracle());
        command.args(words).env("XDG_RUNTIME_DIR", &self.folder);
        command
    }

    /// `coracle COMMAND NAME WORDS`, until its output holds all of `wanted`.
    fn says(&self, command: &str, words: &[&str], wanted: &[&str]) -> Result<String, String> {
        let mut last = Outcome::default();
        let found = until(LIMIT, || {
            last = run(self.command(&[command, &self.name]).args(words), b"").unwrap_or_default();
            last.status == 0 && wanted.iter().all(|text| last.text().contains(text))
        });
        if found {
            Ok(last.text())
        } else {
            Err(format!("{command} lacks some of {wanted:?}: {}", last.evidence()))
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // One that does not end was reported by what waited for it.
        let _ = run(&mut self.command(&["stop", "-t", "1", &self.name]), b"");
    }
}

/// The lines of `text` from the one that holds `start` to the one before the next that holds `end`.
fn section<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let lines: Vec<&str> = text.lines().skip_while(|line| !line.contains(start)).collect();
    let len = lines.iter().skip(1).take_while(|line| !line.contains(end)).count();
    lines.into_iter().take(len + 1).collect()
}

fn deadlock() -> Result<String, String> {
    let source = paths::programs().join("servers/deadlock.c");
    Ok(build::c_server(&source)?.to_string_lossy().into_owned())
}

fn a_deadlock_is_explained() -> Result<(), String> {
    let program = deadlock()?;
    for (mode, cpus) in [("unikernel", "1"), ("unikernel", "2"), ("protected", "1"), ("protected", "2")] {
        let guest = Guest::start("deadlock", &["--mode", mode, "--cpus", cpus, &program])?;
        let text =
            guest.says("stack", &[], &["deadlock: thread 1 waits for the lock", "\"sleeper\": sleeps"])?;
        let main = section(&text, "thread 1 \"deadlock\"", "  thread");
        let opposite = section(&text, "\"opposite\"", "deadlock: ");
        let sleeper = section(&text, "\"sleeper\"", "  thread");
        let has = |lines: &[&str], words: &[&str]| {
            words.iter().all(|word| lines.iter().any(|line| line.contains(word)))
        };
        let waits = ["FUTEX_WAIT_PRIVATE, 2", "take_both+", "pthread_mutex_lock+", "kernel:", "futex"];
        let is_explained = has(&main, &waits)
            && has(&main, &["main+", "\"opposite\" has", "no timer"])
            && has(&opposite, &waits)
            && has(&opposite, &["opposite+", "\"deadlock\" has"])
            && has(&sleeper, &["clock_nanosleep(", "tv_sec=100000", "sleep+", "sleeper+", "timer in "]);
        if !is_explained {
            return Err(format!("in {mode} mode on {cpus} CPUs the threads are not explained:\n{text}"));
        }
        let text = guest.says("stack", &["--program"], &["deadlock: "])?;
        if text.contains("kernel:") {
            return Err(format!("--program shows the kernel:\n{text}"));
        }
    }
    Ok(())
}

fn what_a_guest_has_is_listed() -> Result<(), String> {
    let guest = Guest::start("listed", &["--mode", "protected", "--cpus", "2", &deadlock()?])?;
    guest.says("maps", &[], &["process 1 (deadlock):", "/deadlock", "libc.so", "[stack]"])?;
    let files = guest.says("files", &[], &["/etc/hostname"])?;
    if !files.lines().any(|line| line.contains(" rx ") && line.contains("/etc/hostname")) {
        return Err(format!("how a file is open is not said: {files}"));
    }
    guest.says("stats", &[], &["listed"])?;
    let wanted = ["\"name\": \"listed\"", "\"cpus\": 2", "\"processes\": 1", "\"threads\": 3"];
    guest.says("stats", &["--json"], &wanted)?;
    guest.says("top", &["-n", "1"], &["1 processes, 3 threads", "sleeper", "opposite"])?;
    guest.says("top", &["-n", "2", "-d", "0.1"], &["sleeper"])?;
    let listed = run(&mut guest.command(&["ps", "--json"]), b"")?;
    if !["\"name\": \"listed\"", "\"running\": true", "\"threads\": 3"]
        .iter()
        .all(|word| listed.text().contains(word))
    {
        return Err(format!("ps does not list it: {}", listed.evidence()));
    }
    let other = run(&mut guest.command(&["maps", "listed", "-p", "77"]), b"")?;
    if other.status == 0 || !other.log.contains("has no process 77") {
        return Err(format!("a process that is not there is not missed: {}", other.evidence()));
    }
    Ok(())
}

fn a_guest_answers_only_what_it_may() -> Result<(), String> {
    let program = deadlock()?;
    let refused = |guest: &Guest, why: &str| {
        let mut last = Outcome::default();
        let found = until(LIMIT, || {
            last = run(&mut guest.command(&["stack", &guest.name]), b"").unwrap_or_default();
            last.log.contains(why)
        });
        if found && last.status != 0 {
            Ok(())
        } else {
            Err(format!("it does not say `{why}`: {}", last.evidence()))
        }
    };
    let guest = Guest::start("refused", &["--control", "none", &program])?;
    refused(&guest, "cannot be asked")?;
    drop(guest);
    // What an image forbids, no run allows: its kernel refuses.
    let image = paths::work().join("observe-closed.img");
    let path = image.to_string_lossy().into_owned();
    let built =
        run(Command::new(paths::coracle()).args(["build", "--control", "none", &program, "-o", &path]), b"")?;
    if built.status != 0 {
        return Err(built.evidence());
    }
    let guest = Guest::start("closed", &["--control", "full", &path])?;
    refused(&guest, "does not answer that")?;
    drop(guest);
    let missing = run(Command::new(paths::coracle()).args(["stack", "there-is-none"]), b"")?;
    if missing.status == 0 || !missing.log.contains("there is no guest") {
        return Err(format!("a guest that is not there is not missed: {}", missing.evidence()));
    }
    Ok(())
}

fn main() -> ExitCode {
    trials::main("observe", TESTS.iter().copied())
}
