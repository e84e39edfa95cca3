//! Looking into running guests, as a person does: `coracle stack`, `trace`, `maps`, `files`, `stats`, `top` and `ps --json`.
use coracle_tests::background::Background;
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::outcome::Outcome;
use coracle_tests::trials::{self, Test, run};
use coracle_tests::wait::until;
use coracle_tests::{build, paths};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read as _;
use std::process::{Command, ExitCode, Stdio};

const TESTS: &[(&str, Test)] = &[
    ("a_deadlock_is_explained", a_deadlock_is_explained),
    ("what_a_guest_has_is_listed", what_a_guest_has_is_listed),
    ("a_leak_is_seen", a_leak_is_seen),
    ("every_trace_point_fires", every_trace_point_fires),
    ("calls_are_traced", calls_are_traced),
    ("lost_calls_are_counted", lost_calls_are_counted),
    ("the_life_of_a_guest", the_life_of_a_guest),
    ("a_guest_answers_only_what_it_may", a_guest_answers_only_what_it_may),
    ("the_last_lines_of_many", the_last_lines_of_many),
    ("what_is_not_there_is_missed", what_is_not_there_is_missed),
    ("the_reader_of_a_trace_goes_away", the_reader_of_a_trace_goes_away),
    ("a_trace_that_cannot_be_written_harms_no_program", a_trace_that_cannot_be_written_harms_no_program),
];

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
        let guest = Background::start("deadlock", &["--mode", mode, "--cpus", cpus, &program])?;
        let text = guest.says(
            "stack",
            &[],
            &["deadlock: thread 1 waits for the lock", "waits for the end of thread"],
        )?;
        let main = section(&text, "thread 1 \"deadlock\"", "  thread");
        let opposite = section(&text, "\"opposite\":", "  thread");
        let joiner = section(&text, "\"joiner\":", "deadlock: ");
        let sleeper = section(&text, "\"sleeper\":", "  thread");
        let has = |lines: &[&str], words: &[&str]| {
            words.iter().all(|word| lines.iter().any(|line| line.contains(word)))
        };
        let waits = ["FUTEX_WAIT_PRIVATE, 2", "take_both+", "pthread_mutex_lock+", "kernel:", "futex"];
        let is_explained = has(&main, &waits)
            && has(&main, &["main+", "\"opposite\" has", "no timer"])
            && has(&opposite, &waits)
            && has(&opposite, &["opposite+", "\"deadlock\" has"])
            && has(&joiner, &["waits for the end of thread 3 \"opposite\"", "joiner+"])
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
    let guest = Background::start("listed", &["--mode", "protected", "--cpus", "2", &deadlock()?])?;
    guest.says("maps", &[], &["process 1 (deadlock):", "/deadlock", "libc.so", "[stack]"])?;
    let files = guest.says("files", &[], &["/etc/hostname"])?;
    if !files.lines().any(|line| line.contains(" rx ") && line.contains("/etc/hostname")) {
        return Err(format!("how a file is open is not said: {files}"));
    }
    guest.says("stats", &[], &["listed"])?;
    let wanted = ["\"name\": \"listed\"", "\"cpus\": 2", "\"processes\": 1", "\"threads\": 4"];
    guest.says("stats", &["--json"], &wanted)?;
    guest.says("top", &["-n", "1"], &["1 processes, 4 threads", "sleeper", "opposite"])?;
    guest.says("top", &["-n", "2", "-d", "0.1"], &["sleeper"])?;
    let listed = run(&mut guest.command(&["ps", "--json"]), b"")?;
    if ![
        "\"name\": \"listed\"",
        "\"running\": true",
        "\"threads\": 4",
        "\"uptime_seconds\": ",
        "\"addresses\": []",
    ]
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

fn a_leak_is_seen() -> Result<(), String> {
    let program = build::c_server(&paths::programs().join("servers/leak.c"))?.to_string_lossy().into_owned();
    let guest = Background::start("leaking", &[&program])?;
    let look = || -> Option<(String, u64, u64)> {
        let text = guest.says("top", &["--json", "-d", "0.1"], &["leak"]).ok()?;
        let look: serde_json::Value = serde_json::from_str(&text).ok()?;
        let thread = look.pointer("/threads/0")?;
        let memory = look.pointer("/memory/anonymous_bytes")?.as_u64()?;
        Some((thread["name"].as_str()?.to_owned(), thread["resident_bytes"].as_u64()?, memory))
    };
    let first = look().ok_or("top shows no thread")?;
    /// So much is no noise.
    const GROWN: u64 = 1 << 20;
    let mut last = first.clone();
    let grows = until(LIMIT, || {
        last = look().unwrap_or_else(|| first.clone());
        last.1 > first.1 + GROWN && last.2 > first.2 + GROWN
    });
    if !grows || last.0 != "leak" {
        return Err(format!("memory goes from {first:?} to {last:?}"));
    }
    guest.says("maps", &[], &["[heap]"]).map(|_| ())
}

/// Each kind of event is noted where it happens: all that the kernel has trace points for.
fn every_trace_point_fires() -> Result<(), String> {
    let program =
        build::c_server(&paths::programs().join("servers/events.c"))?.to_string_lossy().into_owned();
    let disk = paths::work().join("events.img");
    let file = fs::File::create(&disk).and_then(|file| file.set_len(16 << 20));
    file.map_err(|e| e.to_string())?;
    let disk = disk.to_string_lossy().into_owned();
    let made = run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "root_owner=1000:1000", &disk]), b"")?;
    if made.status != 0 {
        return Err(made.evidence());
    }
    let guest = Background::start("noted", &["--cpus", "2", "-v", &format!("{disk}:/data"), &program])?;
    guest.says("logs", &[], &["ready"])?;
    let words = ["trace", "noted", "--events", "sched,timer,irq,fault,block,tcp"];
    let mut trace = Server::start(&mut guest.command(&words))?;
    let wanted = [
        "switch          events/1 (sleeps) -> ",
        "wake            events/2",
        "park            events/1 until ",
        "park            events/2 until it is woken",
        "timer set       for ",
        "timer fired     wakes events/1",
        "interrupt       timer",
        "interrupt       device ",
        "page fault      write 0x",
        "block issue     write sector ",
        "block issue     flush sector ",
        "block done      done [",
        ": SYN-SENT -> ESTABLISHED",
        "tcp retransmit  port ",
        "tcp zero window port ",
        "drop            no socket is at the port (port 7003",
        "drop            the socket's buffer is full (port 7001",
        "drop            the queue of connections is full (port 7002",
    ];
    let missing = |log: &str| wanted.iter().filter(|text| !log.contains(**text)).copied().collect::<Vec<_>>();
    let found = until(LIMIT, || missing(&trace.log()).is_empty());
    let missing = missing(&trace.log());
    let pid = Pid::from_raw(trace.pid()).ok_or("a child has a pid")?;
    kill_process(pid, Signal::INT).map_err(|e| e.to_string())?;
    match trace.wait(LIMIT) {
        Some(0) if found => Ok(()),
        status => Err(format!("status {status:?}, not noted: {missing:?}")),
    }
}

/// Whether a process here has a handler for SIGINT (proc_pid_status(5)).
fn catches_interrupts(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    caught & 1 << (Signal::INT.as_raw() - 1) != 0
}

fn calls_are_traced() -> Result<(), String> {
    let source = paths::programs().join("servers/calls.c");
    let program = build::c_server(&source)?.to_string_lossy().into_owned();
    for (mode, cpus) in [("unikernel", "1"), ("unikernel", "2"), ("protected", "1"), ("protected", "2")] {
        let guest = Background::start("calls", &["--mode", mode, "--cpus", cpus, &program])?;
        // Until it runs, there is nothing to be traced.
        guest.says("stats", &[], &["calls"])?;
        let traced = |words: &[&str], wanted: &[&str]| -> Result<String, String> {
            let mut trace = Server::start(guest.command(&["trace", "calls"]).args(words))?;
            let found = until(LIMIT, || wanted.iter().all(|text| trace.log().contains(text)));
            let pid = Pid::from_raw(trace.pid()).ok_or("a child has a pid")?;
            kill_process(pid, Signal::INT).map_err(|e| e.to_string())?;
            let status = trace.wait(LIMIT);
            let log = trace.log();
            if found && status == Some(0) {
                Ok(log)
            } else {
                Err(format!("status {status:?}, not all of {wanted:?}: {log}"))
            }
        };
        let wanted = [
            "openat(AT_FDCWD, \"/no/such/file\", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory) <",
            "write(6, \"a\\n\\\"\\1\", 4) = 4 <",
            "read(5, \"a\\n\\\"\\1\", 16) = 4 <",
            "pipe2([5, 6], 0) = 0 <",
            "exit_group(7) = ?",
            "wait4(",
            "{tv_sec=0, tv_nsec=20000000}",
        ];
        traced(&[], &wanted)?;
        let chosen = traced(&["-e", "write,wait4"], &["write(6", "wait4("])?;
        if chosen.contains("read(") || chosen.contains("openat(") {
            return Err(format!("calls that were not chosen are traced: {chosen}"));
        }
        let mut trace = Server::start(guest.command(&["trace", "-c", "calls"]).args(["-e", "file,!wait4"]))?;
        // It catches the signal from when it traces on.
        if !until(LIMIT, || catches_interrupts(trace.pid())) {
            return Err(format!("it does not trace: {}", trace.log()));
        }
        // A second trace at a time is refused.
        let second = run(&mut guest.command(&["trace", "calls"]), b"")?;
        let pid = Pid::from_raw(trace.pid()).ok_or("a child has a pid")?;
        kill_process(pid, Signal::INT).map_err(|e| e.to_string())?;
        if second.status == 0 || !second.log.contains("another command traces it") {
            return Err(format!("a second trace is not refused: {}", second.evidence()));
        }
        if trace.wait(LIMIT) != Some(0) || !trace.log().contains("% time") {
            return Err(format!("no summary: {}", trace.log()));
        }
        // One that is killed ends with its connection, and the program goes on untraced.
        let mut trace = Server::start(&mut guest.command(&["trace", "calls"]))?;
        if !until(LIMIT, || trace.log().contains("write(")) {
            return Err(format!("no further trace: {}", trace.log()));
        }
        let pid = Pid::from_raw(trace.pid()).ok_or("a child has a pid")?;
        kill_process(pid, Signal::KILL).map_err(|e| e.to_string())?;
        trace.wait(LIMIT);
        traced(&["-e", "write"], &["write(6"])?;
    }
    Ok(())
}

/// A burst of calls while the trace does not fetch them: each is shown, or counted as lost.
fn lost_calls_are_counted() -> Result<(), String> {
    /// Calls that servers/burst.c makes.
    const CALLS: u64 = 200_000;
    let source = paths::programs().join("servers/burst.c");
    let program = build::c_server(&source)?.to_string_lossy().into_owned();
    for (cpus, is_summary) in [("1", true), ("2", true), ("1", false), ("2", false)] {
        let guest = Background::start("burst", &["--control", "full", "--cpus", cpus, &program])?;
        guest.says("logs", &[], &["ready"])?;
        let mut command = guest.command(&["trace", "burst", "-e", "lseek"]);
        let mut trace = Server::start(command.args(is_summary.then_some("-c")))?;
        if !until(LIMIT, || catches_interrupts(trace.pid())) {
            return Err(format!("it does not trace: {}", trace.log()));
        }
        let pid = Pid::from_raw(trace.pid()).ok_or("a child has a pid")?;
        let signal = |signal| kill_process(pid, signal).map_err(|e| e.to_string());
        signal(Signal::STOP)?;
        let told = run(&mut guest.command(&["kill", "-s", "usr1", "burst"]), b"")?;
        if told.status != 0 {
            return Err(told.evidence());
        }
        guest.says("logs", &[], &["done"])?;
        signal(Signal::INT)?;
        signal(Signal::CONT)?;
        let status = trace.wait(LIMIT);
        let log = trace.log();
        let number = |line: &str, place: usize| line.split_whitespace().nth(place)?.parse::<u64>().ok();
        // It may lie within a line of the trace, since it comes by another pipe.
        let Some((before, (warning, after))) = log
            .split_once("coracle: warning: ")
            .and_then(|(before, rest)| Some((before, rest.split_once('\n')?)))
        else {
            return Err(format!("status {status:?}, nothing is lost: {log}"));
        };
        let (lost, log) = (number(warning, 0).unwrap_or_default(), format!("{before}{after}"));
        let told: u64 =
            log.lines().filter(|line| line.starts_with("... ")).filter_map(|line| number(line, 1)).sum();
        let shown = match is_summary {
            // % time, seconds, usecs/call, calls
            true => log.lines().find(|line| line.ends_with(" lseek")).and_then(|line| number(line, 3)),
            false => Some(log.lines().filter(|line| line.contains("lseek(-1, ")).count() as u64),
        };
        if status != Some(0) || lost == 0 || shown.is_none_or(|shown| shown + lost != CALLS) {
            let end: String = log.lines().rev().take(5).collect::<Vec<_>>().join("\n");
            return Err(format!("status {status:?}, {shown:?} shown and {lost} lost of {CALLS}: {end}"));
        }
        if !is_summary && told != lost {
            return Err(format!("{lost} are lost in all, and {told} where they were lost"));
        }
    }
    Ok(())
}

fn the_life_of_a_guest() -> Result<(), String> {
    let script =
        "trap 'echo told; exit 9' USR1; for i in 1 2 3 4; do echo line $i; done; while :; do sleep 0.1; done";
    let words = ["--control", "full", "/bin/busybox", "--", "ash", "-c", script];
    let guest = Background::start("life", &words)?;
    let lines = guest.says("logs", &["-n", "2"], &["line 3\nline 4\n"])?;
    if lines.contains("line 2") {
        return Err(format!("more than the last two lines: {lines}"));
    }
    let command = |words: &[&str]| run(&mut guest.command(words), b"");
    let works = |words: &[&str]| match command(words)? {
        done if done.status == 0 => Ok(done.text()),
        failed => Err(failed.evidence()),
    };
    // A guest that is paused answers again once it goes on.
    works(&["pause", "life"])?;
    if !works(&["ps"])?.contains("paused (") || !works(&["ps", "--json"])?.contains("\"paused\": true") {
        return Err(format!("a guest that is paused is not shown so: {}", works(&["ps"])?));
    }
    let silent = command(&["stats", "life"])?;
    if silent.status == 0 || !silent.log.contains("`life` is paused") {
        return Err(format!("why a guest that is paused does not answer: {}", silent.evidence()));
    }
    // What is refused isn't done later: the signal would end it.
    let refused = command(&["kill", "-s", "usr1", "life"])?;
    if refused.status == 0 || !refused.log.contains("`life` is paused") {
        return Err(format!("a guest that is paused takes a signal: {}", refused.evidence()));
    }
    works(&["unpause", "life"])?;
    guest.says("stats", &[], &["life"])?;
    let early = command(&["rm", "life"])?;
    if early.status == 0 || !early.log.contains("is running") {
        return Err(format!("a guest that runs is forgotten: {}", early.evidence()));
    }
    let unknown = command(&["kill", "life", "-p", "77"])?;
    if unknown.status == 0 || !unknown.log.contains("No such process") {
        return Err(format!("a process that is not there is not missed: {}", unknown.evidence()));
    }
    works(&["kill", "-s", "usr1", "life"])?;
    if works(&["wait", "life"])? != "9\n" || !works(&["logs", "life"])?.contains("told\n") {
        return Err("the signal did not end it with its own status".to_owned());
    }
    works(&["rm", "life"])?;
    let all = works(&["ps", "--all"])?;
    if all.contains("life") { Err(format!("it is not forgotten: {all}")) } else { Ok(()) }
}

fn a_guest_answers_only_what_it_may() -> Result<(), String> {
    let program = deadlock()?;
    let refused = |guest: &Background, why: &str| {
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
    let guest = Background::start("refused", &["--control", "none", &program])?;
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
    let guest = Background::start("closed", &["--control", "full", &path])?;
    refused(&guest, "does not answer that")?;
    drop(guest);
    // What changes a guest needs more than what reads.
    let guest = Background::start("observed", &[&program])?;
    guest.says("stats", &[], &["observed"])?;
    let kill = run(&mut guest.command(&["kill", "observed"]), b"")?;
    if kill.status == 0 || !kill.log.contains("does not answer that") {
        return Err(format!("a guest that is observed takes a signal: {}", kill.evidence()));
    }
    drop(guest);
    let missing = run(Command::new(paths::coracle()).args(["stack", "there-is-none"]), b"")?;
    if missing.status == 0 || !missing.log.contains("there is no guest") {
        return Err(format!("a guest that is not there is not missed: {}", missing.evidence()));
    }
    Ok(())
}

/// The last lines are those of a moment, also of a program that goes on to write.
fn the_last_lines_of_many() -> Result<(), String> {
    let size = ["--log-opt", "max-size=1m", "--log-opt", "max-file=2"];
    let guest = Background::start("many", &[&size[..], &["/bin/busybox", "yes"]].concat())?;
    guest.says("logs", &["-n", "1"], &["y\n"])?;
    for _ in 0..10 {
        let lines = run(&mut guest.command(&["logs", "-n", "2", "many"]), b"")?;
        if lines.status != 0 || lines.text() != "y\ny\n" {
            return Err(format!("not the last two lines: {}", lines.evidence()));
        }
    }
    Ok(())
}

fn what_is_not_there_is_missed() -> Result<(), String> {
    let guest = Background::start("missing", &[&deadlock()?])?;
    guest.says("stats", &[], &["missing"])?;
    let file = paths::work().join("missing.svg").to_string_lossy().into_owned();
    let asked: [(&str, &[&str]); 6] = [
        ("stack", &[]),
        ("trace", &[]),
        ("profile", &["-o", &file]),
        ("profile", &["--off-cpu", "-o", &file]),
        ("maps", &[]),
        ("files", &[]),
    ];
    for (command, words) in asked {
        let said = run(guest.command(&[command, "missing", "-p", "77"]).args(words), b"")?;
        if said.status != 125 || !said.log.contains("has no process 77") {
            return Err(format!("{command} {words:?} of no process: {}", said.evidence()));
        }
    }
    let delay = run(&mut guest.command(&["top", "missing", "-n", "1", "-d", "nan"]), b"")?;
    if delay.status != 125 || !delay.log.contains("a time is a number") {
        return Err(format!("a delay that is no number: {}", delay.evidence()));
    }
    Ok(())
}

/// What goes on until Ctrl-C ends with its reader as well.
fn the_reader_of_a_trace_goes_away() -> Result<(), String> {
    let source = paths::programs().join("servers/calls.c");
    let program = build::c_server(&source)?.to_string_lossy().into_owned();
    let guest = Background::start("unread", &[&program])?;
    guest.says("stats", &[], &["unread"])?;
    let endless: [&[&str]; 4] = [
        &["trace", "unread"],
        &["trace", "unread", "--events", "all"],
        &["top", "unread", "-d", "0.1"],
        &["top", "unread", "-d", "0.1", "--json", "-n", "1000000"],
    ];
    for words in endless {
        let mut command = guest.command(words);
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
        let mut first = [0];
        let reader = child.stdout.take().ok_or("it has no output")?;
        let read = { reader }.read_exact(&mut first);
        let mut ended = None;
        until(LIMIT, || {
            ended = child.try_wait().ok().flatten();
            ended.is_some()
        });
        if read.is_err() || ended.and_then(|status| status.code()) != Some(0) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{words:?} does not end with its reader: {read:?}, {ended:?}"));
        }
    }
    Ok(())
}

fn a_trace_that_cannot_be_written_harms_no_program() -> Result<(), String> {
    let mut command = Command::new(paths::coracle());
    command.args(["run", "-q", "--net", "none", "--trace", "--trace-file", "/dev/full", "/bin/busybox"]);
    command.args(["ash", "-c", "echo here; exit 3"]);
    let ran = run(&mut command, b"")?;
    if ran.status != 3 || ran.text() != "here\n" || !ran.log.contains("the trace ends here") {
        return Err(ran.evidence());
    }
    Ok(())
}

fn main() -> ExitCode {
    trials::main("observe", TESTS.iter().copied())
}
