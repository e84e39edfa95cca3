//! Where a guest's time goes, what its kernel does, and what is left of one that does not answer, as a person asks: `coracle profile`,
//! `coracle trace --events`, `coracle stack` and the flight recorder.
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::trials::{self, Test, run};
use coracle_tests::wait::until;
use coracle_tests::{build, paths};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const TESTS: &[(&str, Test)] = &[
    ("a_busy_guest_is_profiled", a_busy_guest_is_profiled),
    ("a_profile_has_all_formats", a_profile_has_all_formats),
    ("instructions_are_profiled", instructions_are_profiled),
    ("instructions_are_not_counted_unasked", instructions_are_not_counted_unasked),
    ("sleep_is_profiled", sleep_is_profiled),
    ("a_profile_of_a_guest_that_ends", a_profile_of_a_guest_that_ends),
    ("events_are_traced", events_are_traced),
    ("a_stuck_guest_is_seen_from_outside", a_stuck_guest_is_seen_from_outside),
    ("a_crash_tells_what_came_before", a_crash_tells_what_came_before),
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
        let folder = paths::work().join(format!("profile-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
        let guest = Guest { name: name.to_owned(), folder };
        let started = run(guest.command(&["run", "-d", "--name", name, "--net", "none"]).args(words), b"")?;
        let is_up = started.status == 0 && until(LIMIT, || guest.has_started());
        if is_up { Ok(guest) } else { Err(started.evidence()) }
    }

    /// Whether its program runs.
    fn has_started(&self) -> bool {
        let log = run(&mut self.command(&["logs", &self.name]), b"").unwrap_or_default();
        ["busy", "sleeper", "ready"].iter().any(|word| log.text().contains(word))
    }

    /// `coracle WORDS`
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(paths::coracle());
        command.args(words).env("XDG_RUNTIME_DIR", &self.folder);
        command
    }

    /// Profiles it for two seconds, and returns the file's bytes.
    fn profile(&self, file: &str, words: &[&str]) -> Result<Vec<u8>, String> {
        let path = self.folder.join(file);
        let mut command = self.command(&["profile", &self.name, "-t", "2s", "-o"]);
        let outcome = run(command.arg(&path).args(words), b"")?;
        match outcome.status {
            0 => fs::read(&path).map_err(|e| e.to_string()),
            _ => Err(outcome.evidence()),
        }
    }

    /// The same in words, until the profile has all that is wanted: a loaded host may leave the guest no time.
    fn profile_of(&self, words: &[&str], wanted: &[&str]) -> Result<String, String> {
        let mut last = Err("nothing was tried".to_owned());
        let found = until(LIMIT, || {
            last = self.profile("x.folded", words).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            last.as_ref().is_ok_and(|text| wanted.iter().all(|wanted| text.contains(wanted)))
        });
        match last {
            Ok(text) if !found => Err(format!("not all of {wanted:?}: {text}")),
            other => other,
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // One that does not end was reported by what waited for it.
        let _ = run(&mut self.command(&["stop", "-t", "1", &self.name]), b"");
    }
}

fn program(name: &str) -> Result<String, String> {
    let source = paths::programs().join(format!("servers/{name}.c"));
    Ok(build::c_server(&source)?.to_string_lossy().into_owned())
}

/// The weights of the stacks that have a function.
fn weight(folded: &str, function: &str) -> u64 {
    let lines = folded.lines().filter(|line| line.contains(function));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn a_busy_guest_is_profiled() -> Result<(), String> {
    let program = program("busy")?;
    for (mode, cpus) in [("unikernel", "1"), ("unikernel", "2"), ("protected", "1"), ("protected", "2")] {
        let guest = Guest::start("busy", &["--mode", mode, "--cpus", cpus, &program])?;
        let entry = if mode == "unikernel" { "call_unikernel_[k]" } else { "syscall_entry_protected_[k]" };
        // The program's functions, the library's, the kernel's, in one stack.
        let of_kernel = format!("main;ask_kernel;pread64;{entry};coracle_linux::file::pread64_[k]");
        let text = guest.profile_of(&[], &["main;burn_often;burn ", &of_kernel])?;
        if text.lines().any(|line| line.contains("burn") && line.contains("ask_kernel")) {
            return Err(format!("in {mode} mode on {cpus} CPUs two processes have one stack: {text}"));
        }
        let text = guest.profile_of(&["-p", "1"], &["burn_often;burn "])?;
        if text.contains("ask_kernel") {
            return Err(format!("-p shows another process: {text}"));
        }
    }
    Ok(())
}

fn a_profile_has_all_formats() -> Result<(), String> {
    let guest = Guest::start("formats", &["--cpus", "2", &program("busy")?])?;
    let svg = String::from_utf8_lossy(&guest.profile("x.svg", &[])?).into_owned();
    if !svg.starts_with("<?xml") || !svg.contains("<title>burn ") {
        return Err(format!("the flame graph lacks a function: {svg:.2000}"));
    }
    let perf = String::from_utf8_lossy(&guest.profile("x.txt", &[])?).into_owned();
    let is_sample = |block: &str| {
        block.starts_with("busy 1/1 [0") && block.contains(" cpu-clock: \n\t") && block.contains(" burn+0x")
    };
    if !perf.split("\n\n").any(is_sample) {
        return Err(format!("no sample as perf script prints it: {perf:.2000}"));
    }
    // A function, the source that it is in, and one of the kernel's. A loaded host may leave the guest no time.
    let wanted = ["burn_often", "servers/busy.c", "kernel/linux/src/file.rs"];
    let mut last = Err("nothing was tried".to_owned());
    let found = until(LIMIT, || {
        last = guest.profile("x.pb.gz", &[]).and_then(|_| {
            let unpacked = Command::new("gzip").arg("-dc").arg(guest.folder.join("x.pb.gz")).output();
            Ok(String::from_utf8_lossy(&unpacked.map_err(|e| e.to_string())?.stdout).into_owned())
        });
        last.as_ref().is_ok_and(|text| wanted.iter().all(|wanted| text.contains(wanted)))
    });
    if !found {
        let sources =
            last.map(|text| text.split('\n').filter(|line| line.contains(".rs")).collect::<String>());
        return Err(format!("the profile for pprof lacks one of {wanted:?}: {sources:?}"));
    }
    // What is asked in a wrong way changes nothing, and says what is right.
    for (words, why) in [
        (["-o", "x.png"], "`.svg` is a flame graph"),
        (["-t", "0"], "a time is a number above 0"),
        (["-F", "0"], "1..=1000"),
    ] {
        let outcome = run(guest.command(&["profile", "formats"]).args(words).args(["-o", "x.svg"]), b"")?;
        let outcome = if words[0] == "-o" {
            run(guest.command(&["profile", "formats"]).args(words), b"")?
        } else {
            outcome
        };
        if outcome.status == 0 || !outcome.log.contains(why) {
            return Err(format!("{words:?} is not refused: {}", outcome.evidence()));
        }
    }
    Ok(())
}

/// Profiles a guest by its instructions, and returns the file's bytes.
fn by_instructions(guest: &Guest, file: &str, samples: &str) -> Result<Vec<u8>, String> {
    let path = guest.folder.join(file);
    let mut command =
        guest.command(&["profile", &guest.name, "--instructions=6007", "--samples", samples, "-o"]);
    let outcome = run(command.arg(&path), b"")?;
    match outcome.status {
        0 if outcome.log.contains("samples, one for each 6007 instructions") => {
            fs::read(&path).map_err(|e| e.to_string())
        }
        _ => Err(outcome.evidence()),
    }
}

fn instructions_are_profiled() -> Result<(), String> {
    let program = program("ratio")?;
    for (mode, cpus) in [("unikernel", "1"), ("protected", "1"), ("unikernel", "2"), ("protected", "2")] {
        let guest =
            Guest::start("ratio", &["--mode", mode, "--cpus", cpus, "--count-instructions", &program])?;
        for _ in 0..2 {
            let text = String::from_utf8_lossy(&by_instructions(&guest, "x.folded", "1000")?).into_owned();
            let [one, three] = ["main;one_part", "main;three_parts"].map(|name| weight(&text, name));
            // A quarter: of so many samples, some 25 turns of the program, less than 1 % are due to chance.
            let per_mille = 1000 * one / (one + three).max(1);
            if !(220..=280).contains(&per_mille) || one % 6007 != 0 {
                return Err(format!(
                    "in {mode} mode on {cpus} CPUs {per_mille} of 1000 are a quarter's: {text}"
                ));
            }
        }
        if (mode, cpus) != ("unikernel", "1") {
            continue;
        }
        let svg = String::from_utf8_lossy(&by_instructions(&guest, "x.svg", "20")?).into_owned();
        if !svg.contains("where instructions are executed") || !svg.contains(" instructions, ") {
            return Err(format!("the flame graph lacks its unit: {svg:.2000}"));
        }
        let perf = String::from_utf8_lossy(&by_instructions(&guest, "x.txt", "20")?).into_owned();
        let is_sample =
            |block: &str| block.starts_with("ratio 1/1 [000] ") && block.contains(" 6007 instructions: \n\t");
        if !perf.split("\n\n").any(is_sample) {
            return Err(format!("no sample as perf script prints it: {perf:.2000}"));
        }
        by_instructions(&guest, "x.pb.gz", "100")?;
        let unpacked = Command::new("gzip").arg("-dc").arg(guest.folder.join("x.pb.gz")).output();
        let pprof = String::from_utf8_lossy(&unpacked.map_err(|e| e.to_string())?.stdout).into_owned();
        if !["instructions", "three_parts", "servers/ratio.c"].iter().all(|text| pprof.contains(text)) {
            return Err("the profile for pprof lacks its unit, or a function".to_owned());
        }
    }
    Ok(())
}

fn instructions_are_not_counted_unasked() -> Result<(), String> {
    let program = program("ratio")?;
    let guest = Guest::start("plain", &[&program])?;
    let words = ["profile", "plain", "--instructions", "-o"];
    let file = guest.folder.join("x.svg");
    let outcome = run(guest.command(&words).arg(&file), b"")?;
    if file.exists() {
        return Err("a profile that failed leaves a file".to_owned());
    }
    if outcome.status != 125 || !outcome.log.contains("it was not started with `--count-instructions`") {
        return Err(format!("it is not told why not: {}", outcome.evidence()));
    }
    for (compiler, accel, why) in [
        ("no-such-compiler", "auto", "there is no C compiler `no-such-compiler`"),
        ("cc", "kvm", "--count-instructions cannot be used with `--accel kvm`"),
    ] {
        let mut command = guest.command(&["run", "--net", "none", "--count-instructions", "--accel", accel]);
        let outcome = run(command.arg(&program).env("CC", compiler), b"")?;
        if outcome.status != 125 || !outcome.log.contains(why) {
            return Err(format!("it is not told that {why}: {}", outcome.evidence()));
        }
    }
    Ok(())
}

fn sleep_is_profiled() -> Result<(), String> {
    let program = program("sleeper")?;
    for mode in ["unikernel", "protected"] {
        let guest = Guest::start("sleeper", &["--mode", mode, &program])?;
        let text = guest.profile_of(
            &["--off-cpu"],
            &["main;nap_short;usleep", "main;nap_long;usleep", "waiter;", "wait_for_ever;poll"],
        )?;
        // One sleeps for nine times as long as the other, and the waiter all the time.
        let [short, long, waiter] =
            ["nap_short", "nap_long", "wait_for_ever"].map(|name| weight(&text, name));
        if !(short < long && long < waiter) {
            return Err(format!("in {mode} mode sleeps of {short}, {long} and {waiter} ns: {text}"));
        }
        let text = guest.profile_of(&["--off-cpu"], &["coracle_linux::time::clock_nanosleep_[k]"])?;
        if text.contains("burn") {
            return Err(format!("functions that no program has: {text}"));
        }
    }
    Ok(())
}

/// What was measured until a guest ended is written.
fn a_profile_of_a_guest_that_ends() -> Result<(), String> {
    const TRIES: usize = 10;
    const LOOKS: usize = 5;
    let program = program("sleeper")?;
    for _ in 0..TRIES {
        let guest = Guest::start("ends", &[&program])?;
        let file = guest.folder.join("profile.folded");
        let mut command = guest.command(&["profile", "ends", "--off-cpu", "-t", "1h", "-o"]);
        let mut profile = Server::start(command.arg(&file))?;
        // It sleeps between two looks.
        let (mut looks, mut slept) = (0, true);
        let has_looked = || {
            let sleeps = catches_interrupts(profile.pid()) && sleeps(profile.pid());
            looks += usize::from(sleeps && !slept);
            slept = sleeps;
            looks >= LOOKS
        };
        if !until(LIMIT, has_looked) {
            return Err(format!("it does not begin: {}", profile.log()));
        }
        let stopped = run(&mut guest.command(&["stop", "-t", "1", "ends"]), b"")?;
        let (status, log) = (profile.wait(LIMIT), profile.log());
        if stopped.status != 0 {
            return Err(stopped.evidence());
        }
        // The guest ended before it was looked at twice.
        if log.contains("there is nothing to show") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap_or_default();
        return match status {
            Some(0) if log.contains("`ends` has ended") && !text.is_empty() => Ok(()),
            _ => Err(format!("status {status:?}: {log}\n{text}")),
        };
    }
    Err(format!("{TRIES} guests ended before they were looked at"))
}

/// Whether the process is in clock_nanosleep(2) (proc_pid_syscall(5)), as a profile is after each look.
fn sleeps(pid: i32) -> bool {
    const CLOCK_NANOSLEEP: &str = if cfg!(target_arch = "x86_64") { "230 " } else { "115 " };
    fs::read_to_string(format!("/proc/{pid}/syscall")).is_ok_and(|text| text.starts_with(CLOCK_NANOSLEEP))
}

/// Whether the process catches SIGINT (proc_pid_status(5)).
fn catches_interrupts(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & 1 << (Signal::INT.as_raw() - 1) != 0)
}

fn events_are_traced() -> Result<(), String> {
    let guest = Guest::start("events", &["--cpus", "2", &program("sleeper")?])?;
    let interrupt = |server: &Server| {
        let pid = Pid::from_raw(server.pid()).ok_or("a child has a pid")?;
        kill_process(pid, Signal::INT).map_err(|e| e.to_string())
    };
    let mut trace = Server::start(guest.command(&["trace", "events"]).args(["--events", "sched,timer,irq"]))?;
    let wanted =
        ["park            sleeper/1 until ", "timer fired     wakes sleeper/1", "wake            sleeper/1"];
    let found = until(LIMIT, || wanted.iter().all(|text| trace.log().contains(text)));
    // A second trace at a time is refused, and its file is left as it was.
    let other = guest.folder.join("refused.json");
    fs::write(&other, "kept").map_err(|e| e.to_string())?;
    let second = run(guest.command(&["trace", "events", "--events", "all", "-o"]).arg(&other), b"")?;
    interrupt(&trace)?;
    let status = trace.wait(LIMIT);
    if !found || status != Some(0) || trace.log().contains("page fault") {
        return Err(format!("status {status:?}, not as wanted: {wanted:?}: {}", trace.log()));
    }
    let is_kept = fs::read(&other).is_ok_and(|bytes| bytes == b"kept");
    if second.status == 0 || !second.log.contains("another command traces them") || !is_kept {
        return Err(format!("a second trace is not refused: {}", second.evidence()));
    }
    let path = guest.folder.join("trace.json");
    let words = ["--events", "timer", "-o", &path.to_string_lossy()];
    let slices = |trace: &Value, name: &str| {
        let events = trace["traceEvents"].as_array().cloned().unwrap_or_default();
        events.into_iter().filter(|event| event["name"] == name).collect::<Vec<_>>()
    };
    let mut last = Value::Null;
    // A loaded host may leave the guest no time in the first one.
    let found = until(LIMIT, || {
        let Ok(mut trace) = Server::start(guest.command(&["trace", "events"]).args(words)) else {
            return false;
        };
        until(LIMIT, || catches_interrupts(trace.pid()));
        std::thread::sleep(std::time::Duration::from_millis(500));
        let ended = interrupt(&trace).is_ok() && trace.wait(LIMIT) == Some(0);
        let text = fs::read_to_string(&path).unwrap_or_default();
        last = serde_json::from_str(&text).unwrap_or_default();
        ended && slices(&last, "running").len() > 3 && !slices(&last, "timer fired").is_empty()
    });
    let is_slice = |event: &Value| {
        event["ph"] == "X"
            && event["dur"].as_f64().is_some_and(|time| time >= 0.0)
            && ["ts", "pid", "tid"].iter().all(|key| event[key].is_number())
    };
    let is_named = slices(&last, "thread_name").iter().any(|event| event["args"]["name"] == "sleeper");
    if !found || !is_named || !slices(&last, "running").iter().all(is_slice) {
        return Err(format!("not a trace with slices and names: {last:.3000}"));
    }
    let wrong = run(guest.command(&["trace", "events"]).args(["--events", "disk"]), b"")?;
    if wrong.status == 0 || !wrong.log.contains("kinds are sched, timer, irq") {
        return Err(format!("an unknown kind is not refused: {}", wrong.evidence()));
    }
    Ok(())
}

fn a_stuck_guest_is_seen_from_outside() -> Result<(), String> {
    let program = program("sleeper")?;
    for mode in ["unikernel", "protected"] {
        let options = ["--control", "full", "--flight-recorder", "--cpus", "2", "--mode", mode];
        let guest = Guest::start("stuck", &[&options[..], &[&program]].concat())?;
        let mut gdb = guest.command(&["gdb", "stuck", "--", "-batch"]);
        for line in [
            "break coracle_linux::time::clock_nanosleep",
            "continue",
            "set language c",
            // A jump to itself, with interrupts off as everywhere in the kernel.
            "set variable *(unsigned short *)$pc = 0xfeeb",
            "detach",
        ] {
            gdb.args(["-ex", line]);
        }
        let done = run(gdb.env("DEBUGINFOD_URLS", "").env("HOME", &guest.folder), b"")?;
        if !done.text().contains("hit Breakpoint 1") {
            return Err(format!("in {mode} mode it does not get stuck: {}", done.evidence()));
        }
        let wanted = [
            "in the kernel, interrupts off, thread 1 \"",
            "coracle_linux::time::clock_nanosleep+",
            "events, the oldest first:",
            "timer fired     wakes ",
        ];
        let mut last = String::new();
        let found = until(LIMIT, || {
            let outcome = run(&mut guest.command(&["stack", "stuck"]), b"").unwrap_or_default();
            last = outcome.evidence();
            outcome.status == 0
                && outcome.log.contains("does not answer")
                && wanted.iter().all(|text| outcome.text().contains(text))
        });
        if !found {
            return Err(format!("in {mode} mode not all of {wanted:?}: {last}"));
        }
    }
    Ok(())
}

fn a_crash_tells_what_came_before() -> Result<(), String> {
    let sleeper = program("sleeper")?;
    let panicked = |options: &[&str]| {
        let options = [&["--control", "full"], options, &[sleeper.as_str()]].concat();
        let guest = Guest::start("panics", &options)?;
        let done = run(&mut guest.command(&["crash", "panics"]), b"")?;
        let ended = run(&mut guest.command(&["wait", "panics"]), b"")?;
        let log = run(&mut guest.command(&["logs", "panics"]), b"")?;
        match done.status == 0 && ended.text().trim() != "0" && log.log.contains("the kernel panicked") {
            true => Ok(log.log),
            false => Err([done, ended, log].map(|one| one.evidence()).concat()),
        }
    };
    let log = panicked(&["--flight-recorder"])?;
    // The outermost frame is in assembly.
    let wanted =
        ["events before the crash, the oldest first:", "park            thread 1 until", " thread_entry+0x"];
    if !wanted.iter().all(|text| log.contains(text)) {
        return Err(format!("not all of {wanted:?}: {log}"));
    }
    if panicked(&[])?.contains("events before") {
        return Err("events are noted that nobody asked for".to_owned());
    }
    let mut command = Command::new(paths::coracle());
    command.args(["run", "-q", "--net", "none", "--flight-recorder"]).arg(program("fault")?);
    let crashed = run(&mut command, b"")?;
    if !crashed.log.contains("page fault      write 0x8,") {
        return Err(format!("the program's last fault is not told: {}", crashed.evidence()));
    }
    Ok(())
}

fn main() -> ExitCode {
    trials::main("profile", TESTS.iter().copied())
}
