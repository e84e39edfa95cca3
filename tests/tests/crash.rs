//! What the command says of programs and of a kernel that crash, of a call's stack, of memory that grows, and of a busy server, as a
//! person asks for it.
use coracle_tests::background::Background;
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::outcome::Outcome;
use coracle_tests::trials::{self, Test, run};
use coracle_tests::wait::until;
use coracle_tests::{build, paths};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};

const TESTS: &[(&str, Test)] = &[
    ("a_crash_is_told_with_its_source", a_crash_is_told_with_its_source),
    ("programs_without_symbols", programs_without_symbols),
    ("crashes_of_other_languages", crashes_of_other_languages),
    ("a_crash_of_the_kernel_is_told_with_its_source", a_crash_of_the_kernel_is_told_with_its_source),
    ("calls_have_stacks", calls_have_stacks),
    ("stacks_as_json", stacks_as_json),
    ("a_busy_server_is_looked_at", a_busy_server_is_looked_at),
    ("a_core_has_what_its_filter_says", a_core_has_what_its_filter_says),
];

fn program(name: &str) -> Result<String, String> {
    let source = paths::programs().join(format!("servers/{name}.c"));
    Ok(build::c_server(&source)?.to_string_lossy().into_owned())
}

/// `coracle run OPTIONS PROGRAM -- WORDS`
fn coracle(options: &[&str], program: &str, words: &[&str]) -> Result<Outcome, String> {
    let mut command = Command::new(paths::coracle());
    command.args(["run", "-q", "--net", "none"]).args(options).arg(program).arg("--").args(words);
    run(&mut command, b"")
}

/// That a text has lines with all of these words each, in this order.
fn has_lines(text: &str, wanted: &[&[&str]]) -> Result<(), String> {
    let mut lines = text.lines();
    for words in wanted {
        if !lines.any(|line| words.iter().all(|word| line.contains(word))) {
            return Err(format!("no line with {words:?}, or not in this order: {text}"));
        }
    }
    Ok(())
}

/// A file in a folder of the test's own.
fn place(folder: &str, file: &str) -> Result<PathBuf, String> {
    let folder = paths::work().join(folder);
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    Ok(folder.join(file))
}

fn made(command: &mut Command) -> Result<(), String> {
    let done = command.output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
}

const FRAMES: [&[&str]; 4] = [
    &["backtrace of the program:"],
    &["#0 ", "sum (inlined)", "at ", "crash.c:12"],
    &["#1 ", "look_at+0x", "crash.c:17"],
    &["#2 ", "main+0x", "crash.c:33"],
];

fn a_crash_is_told_with_its_source() -> Result<(), String> {
    let program = program("crash")?;
    for mode in ["unikernel", "protected"] {
        let ended = coracle(&["--mode", mode], &program, &[])?;
        if ended.status != 139 {
            return Err(ended.evidence());
        }
        has_lines(&ended.log, &[&["killed by SIGSEGV"], &["fault address 0x0000000000000018"]])?;
        has_lines(&ended.log, &FRAMES)?;
        // Each frame once.
        if ended.log.matches("look_at+0x").count() != 1 {
            return Err(format!("the kernel's frames are shown, too: {}", ended.log));
        }
    }
    Ok(())
}

fn programs_without_symbols() -> Result<(), String> {
    let program = program("crash")?;
    let copy =
        |tool: &str, words: &[&str], to: &Path| made(Command::new(tool).args(words).arg(&program).arg(to));
    let (debug, linked) = (place("crash", "linked.debug")?, place("crash", "linked")?);
    copy("objcopy", &["--only-keep-debug"], &debug)?;
    copy("objcopy", &["--strip-all"], &linked)?;
    let mut link = Command::new("objcopy");
    made(link.arg(format!("--add-gnu-debuglink={}", debug.display())).arg(&linked))?;
    has_lines(&coracle(&[], &linked.to_string_lossy(), &[])?.log, &FRAMES)?;
    let compressed = place("crash", "compressed")?;
    copy("objcopy", &["--compress-debug-sections=zlib"], &compressed)?;
    has_lines(&coracle(&[], &compressed.to_string_lossy(), &[])?.log, &FRAMES)?;
    // The link leads to a file that is not the program's.
    fs::write(&debug, "other").map_err(|e| e.to_string())?;
    for stripped in [&linked, &place("crash", "stripped")?] {
        if stripped != &linked {
            copy("objcopy", &["--strip-all"], stripped)?;
        }
        let log = coracle(&[], &stripped.to_string_lossy(), &[])?.log;
        let name = stripped.file_name().unwrap_or_default().to_string_lossy().into_owned();
        has_lines(&log, &[&["#0 ", &format!("{name}+0x")], &["libc.so"]])?;
        if log.contains("crash.c:") {
            return Err(format!("a file without symbols has lines: {log}"));
        }
    }
    Ok(())
}

fn crashes_of_other_languages() -> Result<(), String> {
    let rust = build::rust_file(&paths::programs().join("servers/crash.rs"))?;
    let ended = coracle(&[], &rust.to_string_lossy(), &[])?;
    let frames: [&[&str]; 3] =
        [&["killed by SIGABRT"], &["crash::inner+0x", "crash.rs:4"], &["crash::main+0x", "crash.rs:9"]];
    has_lines(&ended.log, &frames)?;
    let go = build::go(&paths::programs().join("servers/crash.go"))?;
    let ended = coracle(&["-e", "GOTRACEBACK=crash"], &go.to_string_lossy(), &[])?;
    let said = ended.log.clone() + &ended.text();
    // What Go says itself, and then the report.
    has_lines(&said, &[&["panic: runtime error: index out of range"]])?;
    has_lines(
        &ended.log,
        &[
            &["killed by SIGABRT"],
            &["#0 ", "runtime.raise", ".s:"],
            &["main.inner", "crash.go:8"],
            &["main.main", "crash.go:12"],
        ],
    )?;
    let python = "import ctypes\ndef deepest():\n    ctypes.string_at(16)\ndeepest()";
    // In a file, as the kernel's lines may arrive within one of the program's.
    let report = place("crash", "report")?;
    let log_file = report.to_string_lossy();
    let words = ["-X", "faulthandler", "-c", python];
    let ended = coracle(&["--log-file", &log_file], "/usr/bin/python3", &words)?;
    has_lines(&(ended.log.clone() + &ended.text()), &[&["File \"<string>\", line 3 in deepest"]])?;
    // The handler of the signal sends it once more: behind it comes what it has interrupted.
    let report = fs::read_to_string(&report).map_err(|e| e.to_string())?;
    has_lines(&report, &[&["killed by SIGSEGV"], &["#0 ", "pthread_kill"], &["strlen"]])?;
    let ended = coracle(&[], "/usr/bin/python3", &["-c", python])?;
    has_lines(
        &ended.log,
        &[&["killed by SIGSEGV"], &["#0 ", "strlen"], &["_PyEval_EvalFrameDefault+0x", "python3"]],
    )
}

fn a_crash_of_the_kernel_is_told_with_its_source() -> Result<(), String> {
    let guest = Background::start("crashes", &["--control", "full", "/bin/busybox", "--", "sleep", "1000"])?;
    // Until it runs, there is nothing to crash.
    guest.says("stats", &[], &["crashes"])?;
    let done = run(&mut guest.command(&["crash", "crashes"]), b"")?;
    if done.status != 0 {
        return Err(done.evidence());
    }
    let mut status = run(&mut guest.command(&["wait", "crashes"]), b"")?;
    let log = run(&mut guest.command(&["logs", "crashes"]), b"")?;
    status.log += &log.evidence();
    if status.text().trim() == "0" {
        return Err(status.evidence());
    }
    has_lines(
        &log.log,
        &[
            &["the kernel panicked"],
            &["control::server::crash+0x", " at kernel/src/control/server.rs:"],
            &["control::server::", " at kernel/src/control/server.rs:"],
        ],
    )?;
    // `--control observe` does not allow it.
    let guest = Background::start("stays", &["/bin/busybox", "--", "sleep", "1000"])?;
    guest.says("stats", &[], &["stays"])?;
    let refused = run(&mut guest.command(&["crash", "stays"]), b"")?;
    if refused.status == 0 || !refused.log.contains("--control") {
        return Err(format!("a guest is crashed by who may only look: {}", refused.evidence()));
    }
    guest.says("stats", &[], &["stays"]).map(|_| ())
}

/// Sends SIGINT, and waits for the end.
fn interrupt(server: &mut Server) -> Result<String, String> {
    let pid = Pid::from_raw(server.pid()).ok_or("a child has a pid")?;
    kill_process(pid, Signal::INT).map_err(|e| e.to_string())?;
    match server.wait(LIMIT) {
        Some(0) => Ok(server.log()),
        status => Err(format!("status {status:?}: {}", server.log())),
    }
}

fn calls_have_stacks() -> Result<(), String> {
    let program = program("crash")?;
    for (mode, cpus) in [("unikernel", "1"), ("unikernel", "2"), ("protected", "1"), ("protected", "2")] {
        let options =
            ["--mode", mode, "--cpus", cpus, "--trace=write,clock_nanosleep,exit_group,mmap", "--stack"];
        let ended = coracle(&options, &program, &["x"])?;
        if ended.status != 0 || !ended.text().contains("here\n") {
            return Err(ended.evidence());
        }
        has_lines(
            &ended.log,
            &[
                &["mmap(", "= 0x"],
                &["#0 ", "mmap", "ld-linux"],
                &["write(1, \"here\\n\", 5) = 5 <"],
                &["#0 ", "write+0x", "libc.so"],
                &["#1 ", "say_so+0x", "crash.c:22"],
                &["#2 ", "main+0x", "crash.c:30"],
                &["clock_nanosleep(", "= 0 <"],
                &["say_so+0x", "crash.c:2"],
                &["exit_group(0) = ?"],
                &["#0 ", "_exit+0x"],
            ],
        )
        .map_err(|why| format!("in {mode} mode on {cpus} CPUs: {why}"))?;
    }
    // Of a guest that runs, whose calls have many kinds: it forks, waits, and is interrupted.
    let guest = Background::start("stacked", &[&self::program("calls")?])?;
    until(LIMIT, || run(&mut guest.command(&["stats", "stacked"]), b"").is_ok_and(|done| done.status == 0));
    let mut trace = Server::start(&mut guest.command(&["trace", "stacked", "--stack"]))?;
    let wanted = ["wait4(", "exit_group(7) = ?", "clone(", "main+0x", "calls.c:"];
    let found = until(LIMIT, || wanted.iter().all(|word| trace.log().contains(word)));
    let log = interrupt(&mut trace)?;
    if !found {
        return Err(format!("not all of {wanted:?}: {log}"));
    }
    // Without the option there are none, and the program is as before.
    let mut trace = Server::start(&mut guest.command(&["trace", "stacked"]))?;
    let found = until(LIMIT, || trace.log().contains("exit_group(7) = ?"));
    let log = interrupt(&mut trace)?;
    if found && !log.contains("#0 ") { Ok(()) } else { Err(format!("stacks that nobody wants: {log}")) }
}

fn stacks_as_json() -> Result<(), String> {
    let guest = Background::start("stacks", &[&program("deadlock")?])?;
    let mut said = Value::Null;
    let is_there = until(LIMIT, || {
        let done = run(&mut guest.command(&["stack", "stacks", "--json"]), b"").unwrap_or_default();
        said = serde_json::from_str(&done.text()).unwrap_or_default();
        said["deadlocks"].as_array().is_some_and(|all| !all.is_empty())
    });
    let threads = said["processes"][0]["threads"].as_array().cloned().unwrap_or_default();
    let of = |name: &str| threads.iter().find(|thread| thread["name"] == name).cloned().unwrap_or_default();
    let main = of("deadlock");
    let frame = |stack: &Value, function: &str| {
        let frames = stack.as_array().cloned().unwrap_or_default();
        frames.into_iter().find(|frame| frame["function"] == function).unwrap_or_default()
    };
    let own = frame(&main["program"], "take_both");
    let is_right = main["state"] == "sleeps"
        && main["call"].as_str().is_some_and(|call| call.starts_with("futex("))
        && main["waits_for"].as_str().is_some_and(|text| text.contains("\"opposite\" has"))
        && own["source"].as_str().is_some_and(|file| file.ends_with("deadlock.c"))
        && own["line"].as_u64().is_some_and(|line| line > 1)
        && own["inlined"] == false
        && frame(&main["kernel"], "coracle_linux::futex::futex")["source"] == "kernel/linux/src/futex.rs"
        && of("sleeper")["timer_seconds"].as_f64().is_some_and(|time| time > 1000.0);
    if is_there && is_right { Ok(()) } else { Err(format!("not as it should be: {said:#}")) }
}

fn a_busy_server_is_looked_at() -> Result<(), String> {
    let (guest, url) = Background::nginx("busynginx")?;
    let fetch = || run(Command::new("curl").args(["-s", "-m", "5", &url]), b"");
    if !until(LIMIT, || fetch().is_ok_and(|page| page.text() == "a page")) {
        return Err("nginx does not answer".to_owned());
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                let _ = fetch();
            }
        });
        let result = look_at_server(&guest);
        is_over.store(true, Ordering::SeqCst);
        result
    })
}

/// Whether a process here has a handler for SIGINT (proc_pid_status(5)).
fn catches_interrupts(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    caught & 1 << (Signal::INT.as_raw() - 1) != 0
}

fn look_at_server(guest: &Background) -> Result<(), String> {
    let mut trace = Server::start(&mut guest.command(&["trace", "busynginx", "-c"]))?;
    // It catches the signal from when it traces on.
    let begun = until(LIMIT, || catches_interrupts(trace.pid()));
    std::thread::sleep(std::time::Duration::from_secs(1));
    let summary = interrupt(&mut trace)?;
    let calls = |name: &str| {
        let line = summary.lines().find(|line| line.ends_with(&format!(" {name}")))?;
        line.split_whitespace().nth(3)?.parse::<u64>().ok()
    };
    if !begun
        || ["accept4", "sendfile", "epoll_wait"].iter().any(|name| calls(name).is_none_or(|count| count == 0))
    {
        return Err(format!("the calls of a server are not counted: {summary}"));
    }
    let path = guest.folder.join("busy.folded");
    let mut folded = String::new();
    let found = until(LIMIT, || {
        let mut profile = guest.command(&["profile", "busynginx", "-t", "2s", "-F", "500", "-o"]);
        let _ = run(profile.arg(&path), b"");
        folded = fs::read_to_string(&path).unwrap_or_default();
        folded.contains("nginx;") && folded.contains("_[k]")
    });
    if !found {
        return Err(format!("no profile of a busy server: {folded}"));
    }
    let sockets = run(&mut guest.command(&["netstat", "busynginx", "-t", "-a", "-p"]), b"")?;
    has_lines(&sockets.text(), &[&["LISTEN", ":8080", "nginx"]])
}

fn a_core_has_what_its_filter_says() -> Result<(), String> {
    let program = program("dump_filter")?;
    let core = place("filtered", "core")?;
    let path = core.to_string_lossy().into_owned();
    let dumped = |words: &[&str]| {
        let _ = fs::remove_file(&core);
        coracle(&["--core", &path], &program, words)
    };
    /// How often a word is to be found where a mapping repeats it.
    const MANY: usize = 1000;
    let all = ["anonymous", "shared", "left-out", "of-a-file"];
    for (filter, shown, wanted) in [
        ("0x33", "00000033", &["anonymous", "shared"][..]),
        ("0x1", "00000001", &["anonymous"]),
        ("8", "00000008", &["of-a-file"]),
        ("0", "00000000", &[]),
    ] {
        let ended = dumped(&[filter])?;
        has_lines(
            &ended.text(),
            &[&[&format!("own {shown}")], &[&format!("child {shown}")], &[&format!("executed {shown}")]],
        )?;
        let bytes = fs::read(&core).map_err(|e| format!("{e}: {}", ended.evidence()))?;
        for name in all {
            let count =
                bytes.chunks_exact(16).filter(|part| part.starts_with(format!("{name}=").as_bytes())).count();
            if (count > MANY) != wanted.contains(&name) {
                return Err(format!("with {filter}, {count} parts of `{name}`"));
            }
        }
        let gdb = run(
            Command::new("gdb").args(["-q", "-batch", "-ex", "print $_siginfo.si_signo", &program, &path]),
            b"",
        )?;
        has_lines(&gdb.text(), &[&["$1 = 11"]])?;
    }
    let refused = dumped(&["many"])?;
    has_lines(&(refused.log.clone() + &refused.text()), &[&["write: Invalid argument"]])?;
    for why in ["undumpable", "limited"] {
        let ended = dumped(&["0x33", why])?;
        if core.exists() || !ended.log.contains("killed by SIGSEGV") {
            return Err(format!("one that is {why} leaves a core: {}", ended.evidence()));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    trials::main("crash", TESTS.iter().copied())
}
