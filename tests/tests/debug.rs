//! Debugging programs in guests as a person does: `coracle gdb`, `coracle core`, and `coracle run --gdb` and `--core`.
use coracle_tests::guest::LIMIT;
use coracle_tests::outcome::Outcome;
use coracle_tests::terminal::Terminal;
use coracle_tests::trials::{self, Test, run};
use coracle_tests::wait::until;
use coracle_tests::{build, paths};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const TESTS: &[(&str, Test)] = &[
    ("a_program_is_debugged", a_program_is_debugged),
    ("gdb_at_its_prompt", gdb_at_its_prompt),
    ("the_first_instruction", the_first_instruction),
    ("the_kernel_is_debugged", the_kernel_is_debugged),
    ("program_and_kernel_in_one_session", program_and_kernel_in_one_session),
    ("a_crash_leaves_a_core", a_crash_leaves_a_core),
    ("cores_of_other_languages", cores_of_other_languages),
    ("a_go_program_is_debugged", a_go_program_is_debugged),
    ("the_core_of_a_program_that_runs", the_core_of_a_program_that_runs),
    ("only_what_is_allowed", only_what_is_allowed),
];

/// Modes, and numbers of CPUs.
const MACHINES: [(&str, &str); 4] =
    [("unikernel", "1"), ("unikernel", "2"), ("protected", "1"), ("protected", "2")];

/// A directory of guests, ended with this.
struct Place {
    folder: PathBuf,
    guests: Vec<String>,
}

impl Place {
    fn new(name: &str) -> Result<Place, String> {
        let folder = paths::work().join(format!("debug-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
        Ok(Place { folder, guests: Vec::new() })
    }

    /// `coracle WORDS`
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(paths::coracle());
        // Neither the settings of the person who runs this, nor the network.
        command.args(words).env("XDG_RUNTIME_DIR", &self.folder).env("HOME", &self.folder);
        command.env("DEBUGINFOD_URLS", "").env("TERM", "dumb").current_dir(&self.folder);
        command
    }

    fn run(&self, words: &[&str]) -> Result<Outcome, String> {
        run(&mut self.command(words), b"")
    }

    /// Starts a guest in the background.
    fn start(&mut self, name: &str, words: &[&str]) -> Result<(), String> {
        let started = run(self.command(&["run", "-d", "--name", name, "--net", "none"]).args(words), b"")?;
        self.guests.push(name.to_owned());
        if started.status == 0 { Ok(()) } else { Err(started.evidence()) }
    }

    /// `coracle gdb NAME -- -batch` with commands.
    fn gdb(&self, words: &[&str], commands: &[&str]) -> Result<String, String> {
        let mut command = self.command(&["gdb"]);
        command.args(words).args(["--", "-batch"]);
        commands.iter().for_each(|line| {
            command.args(["-ex", line]);
        });
        let done = run(&mut command, b"")?;
        if done.status == 0 { Ok(done.text()) } else { Err(done.evidence()) }
    }

    /// gdb on a core file.
    fn look_at(&self, program: &str, core: &str, commands: &[&str]) -> Result<String, String> {
        let mut command = Command::new("gdb");
        command.args(["-q", "-batch"]).env("HOME", &self.folder).env("DEBUGINFOD_URLS", "");
        commands.iter().for_each(|line| {
            command.args(["-ex", line]);
        });
        let done = run(command.arg(program).arg(self.folder.join(core)), b"")?;
        Ok(done.text())
    }

    /// The last line that the program wrote, `turn N`.
    fn turn(&self, name: &str) -> u64 {
        let log = self.run(&["logs", name]).unwrap_or_default().text();
        let last = log.lines().rev().find_map(|line| line.strip_prefix("turn "));
        last.and_then(|number| number.parse().ok()).unwrap_or_default()
    }

    /// Waits until the program goes on.
    fn goes_on(&self, name: &str) -> Result<(), String> {
        let before = self.turn(name);
        match until(LIMIT, || self.turn(name) > before) {
            true => Ok(()),
            false => Err(format!("the program does not go on from turn {before}")),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for name in &self.guests {
            // One that has ended is not running.
            let _ = self.run(&["stop", "-t", "1", name]);
        }
    }
}

fn program() -> Result<String, String> {
    let source = paths::programs().join("servers/debug.c");
    Ok(build::c_server(&source)?.to_string_lossy().into_owned())
}

/// That a text has all of these, in this order.
fn has(text: &str, wanted: &[&str]) -> Result<(), String> {
    let mut rest = text;
    for word in wanted {
        let at = rest.find(word).ok_or_else(|| format!("{word:?} is missing in:\n{text}"))?;
        rest = &rest[at + word.len()..];
    }
    Ok(())
}

fn a_program_is_debugged() -> Result<(), String> {
    let program = program()?;
    for (mode, cpus) in MACHINES {
        let mut place = Place::new("program")?;
        place.start("serves", &["--mode", mode, "--cpus", cpus, "--control", "full", &program])?;
        place.goes_on("serves")?;
        let said = place.gdb(
            &["serves"],
            &[
                "info threads",
                "thread apply all bt",
                "info sharedlibrary",
                "break take_step",
                "continue",
                "backtrace",
                "next",
                "next",
                "print own == number * number",
                "delete",
                "break square_of",
                "continue",
                "finish",
                "delete",
                "watch answer",
                "continue",
                "print square_of(12)",
                "set variable turns = 1000000",
                "stepi",
                "stepi 20",
            ],
        )?;
        has(
            &said,
            &[
                "(debug)",
                "(left)",
                "(right)",
                "helper (name=",
                "main (argc=1",
                "Yes",
                "libc.so.6",
                "hit Breakpoint 1, take_step (number=",
                "#1 ",
                "in main (argc=1",
                "answer = own;",
                "$1 = 1",
                "hit Breakpoint 2, square_of (number=",
                "take_step (number=",
                "Value returned is $2 = ",
                "Hardware watchpoint 3: answer",
                "Old value = ",
                "New value = ",
                "$3 = 144",
                "detached]",
            ],
        )
        .map_err(|why| format!("in {mode} mode on {cpus} CPUs {why}"))?;
        // It serves on, with what was changed.
        if !until(LIMIT, || place.turn("serves") > 1_000_000) {
            return Err(format!(
                "in {mode} mode on {cpus} CPUs it does not go on from {}",
                place.turn("serves")
            ));
        }
        place.goes_on("serves")?;
    }
    Ok(())
}

fn gdb_at_its_prompt() -> Result<(), String> {
    let mut place = Place::new("prompt")?;
    place.start("prompt", &["--cpus", "2", "--control", "full", &program()?])?;
    place.goes_on("prompt")?;
    let mut terminal =
        Terminal::start(&place.command(&["gdb", "prompt", "--", "-ex", "set style enabled off"]), 50, 200)?;
    terminal.expect("(gdb) ", LIMIT)?;
    let mut ask = |line: &str, wanted: &str| {
        terminal.enter(line)?;
        terminal.expect(wanted, LIMIT)
    };
    ask("set pagination off\n", "(gdb) ")?;
    ask("info threads\n", "(left)")?;
    ask("break take_step if number == 77\n", "Breakpoint 1 at")?;
    ask("continue\n", "hit Breakpoint 1, take_step (number=number@entry=77)")?;
    // By its number: gdb wants a yes to delete all.
    ask("delete 1\n", "(gdb) ")?;
    ask("continue\n", "Continuing.")?;
    place.goes_on("prompt")?;
    // Ctrl-C stops the program, and not the command.
    ask("\x03", "received signal SIGINT")?;
    ask("print turns > 0\n", "$1 = 1")?;
    ask("detach\n", "detached]")?;
    place.goes_on("prompt")?;
    ask("quit\n", "quit")?;
    if terminal.wait(LIMIT) != Some(0) {
        return Err(format!("gdb does not end: {}", terminal.screen()));
    }
    // One that is killed leaves the program as it was.
    let mut terminal =
        Terminal::start(&place.command(&["gdb", "prompt", "--", "-ex", "set style enabled off"]), 50, 200)?;
    terminal.expect("(gdb) ", LIMIT)?;
    terminal.enter("break take_step\ncontinue\n")?;
    terminal.expect("hit Breakpoint 1, take_step", LIMIT)?;
    drop(terminal);
    place.goes_on("prompt")
}

fn the_first_instruction() -> Result<(), String> {
    let mut place = Place::new("first")?;
    place.start("first", &["--gdb", &program()?])?;
    let found =
        until(LIMIT, || place.run(&["logs", "first"]).is_ok_and(|log| log.log.contains("coracle gdb first")));
    if !found {
        return Err(format!("what to do is not said: {:?}", place.run(&["logs", "first"])));
    }
    let mut said = String::new();
    let is_there = until(LIMIT, || {
        let commands = ["x/i $pc", "info symbol $pc", "break main", "continue", "print turns", "backtrace"];
        said = place.gdb(&["first"], &commands).unwrap_or_else(|why| why);
        said.contains("detached]")
    });
    if !is_there {
        return Err(format!("gdb does not meet it: {said}"));
    }
    has(&said, &["_start", "Breakpoint 1, main (argc=1", "$1 = 0", "#0  main (argc=1"])?;
    place.goes_on("first")
}

fn the_kernel_is_debugged() -> Result<(), String> {
    for (mode, cpus) in MACHINES {
        let mut place = Place::new("kernel")?;
        place.start("kernel", &["--mode", mode, "--cpus", cpus, "--control", "full", &program()?])?;
        place.goes_on("kernel")?;
        let said = place.gdb(
            &["--kernel", "kernel"],
            &[
                "hbreak coracle_linux::time::clock_nanosleep",
                "continue",
                "backtrace 3",
                "delete",
                "hbreak take_step",
                "continue",
                "info symbol $pc",
                "delete",
            ],
        )?;
        has(
            &said,
            &[
                "Breakpoint 1, ",
                "clock_nanosleep",
                "Breakpoint 2, take_step (number=",
                "take_step in section",
            ],
        )
        .map_err(|why| format!("in {mode} mode on {cpus} CPUs {why}"))?;
        place.goes_on("kernel").map_err(|why| format!("in {mode} mode on {cpus} CPUs {why}"))?;
    }
    Ok(())
}

fn program_and_kernel_in_one_session() -> Result<(), String> {
    let program = program()?;
    for (mode, cpus) in MACHINES {
        let mut place = Place::new("both")?;
        place.start("both", &["--mode", mode, "--cpus", cpus, "--control", "full", &program])?;
        place.goes_on("both")?;
        let said = place.gdb(
            &["both"],
            &[
                "break take_step",
                "continue",
                "break coracle_linux::time::clock_nanosleep",
                "continue",
                "backtrace",
                "thread apply all backtrace",
                "next",
                "info threads",
                // One that is set while the machine stands still, in place of one that the guest has.
                "delete",
                "break take_step",
                "break square_of",
                "continue",
                "delete 3",
                "continue",
                "finish",
                "delete",
                "watch answer",
                "continue",
                "delete",
                "hbreak coracle_linux::time::clock_nanosleep",
                "continue",
                "finish",
                "x/i $pc",
                "print turns > 0",
            ],
        )?;
        has(
            &said,
            &[
                "hit Breakpoint 1, take_step (number=",
                "hit Breakpoint 2, coracle_linux::time::clock_nanosleep",
                // From the kernel into the program, of the thread that runs and of one that sleeps.
                "#0  coracle_linux::time::clock_nanosleep",
                "in usleep",
                "in main (argc=1",
                "(right)",
                "coracle_hal::task::switch_to",
                "helper (name=",
                "(debug)",
                "coracle_linux::time::clock_nanosleep",
                "hit Breakpoint 3, take_step (number=",
                "hit Breakpoint 4, square_of (number=",
                "take_step (number=",
                "Value returned is ",
                "Hardware watchpoint 5: answer",
                "New value = ",
                "Breakpoint 6, coracle_linux::time::clock_nanosleep",
                "=> 0xffff",
                // As the kernel's language has it.
                "= true",
                "detached]",
            ],
        )
        .map_err(|why| format!("in {mode} mode on {cpus} CPUs {why}"))?;
        place.goes_on("both").map_err(|why| format!("in {mode} mode on {cpus} CPUs {why}"))?;
    }
    // Ctrl-C where the kernel has a breakpoint, and a gdb that is killed while the machine stands still.
    let mut place = Place::new("both")?;
    place.start("left", &["--cpus", "2", "--control", "full", &program])?;
    place.goes_on("left")?;
    let plain = ["gdb", "left", "--", "-ex", "set style enabled off", "-ex", "set pagination off"];
    let mut terminal = Terminal::start(&place.command(&plain), 50, 200)?;
    terminal.expect("(gdb) ", LIMIT)?;
    let mut ask = |line: &str, wanted: &str| {
        terminal.enter(line)?;
        terminal.expect(wanted, LIMIT)
    };
    ask("break coracle_linux::memory::mremap\n", "Breakpoint 1 at")?;
    ask("continue\n", "Continuing.")?;
    place.goes_on("left")?;
    ask("\x03", "received signal SIGINT")?;
    ask("break coracle_linux::time::clock_nanosleep\n", "Breakpoint 2 at")?;
    ask("continue\n", "hit Breakpoint 2, coracle_linux::time::clock_nanosleep")?;
    drop(terminal);
    place.goes_on("left")
}

fn a_crash_leaves_a_core() -> Result<(), String> {
    let program = program()?;
    for (mode, cpus) in MACHINES {
        let place = Place::new("crash")?;
        // A core is named after the guest, or after the program of one without a name.
        let (name, core): (&[&str], _) = match cpus {
            "1" => (&["--name", "crash"], "core.crash.1"),
            _ => (&[], "core.debug.1"),
        };
        let words = ["run", "--net", "none", "--mode", mode, "--cpus", cpus, "--core", "."];
        let ended = run(place.command(&words).args(name).args([&program, "--", "16"]), b"")?;
        if ended.status != 139 || !ended.log.contains("core dumped to ") {
            return Err(format!("in {mode} mode on {cpus} CPUs there is no core: {}", ended.evidence()));
        }
        let commands = [
            "backtrace",
            "info threads",
            "print $_siginfo.si_signo",
            "thread apply all bt",
            "info sharedlibrary",
            "info auxv",
        ];
        let said = place.look_at(&program, core, &commands)?;
        has(
            &said,
            &[
                "terminated with signal SIGSEGV",
                "sum (list=0x10",
                "in main (argc=2",
                "LWP 1",
                "LWP 2",
                "LWP 3",
                "$1 = 11",
                "helper (name=",
                "libc.so.6",
                "AT_ENTRY",
            ],
        )
        .map_err(|why| format!("in {mode} mode on {cpus} CPUs {why}"))?;
    }
    Ok(())
}

fn cores_of_other_languages() -> Result<(), String> {
    let rust = build::rust_file(&paths::programs().join("servers/crash.rs"))?.to_string_lossy().into_owned();
    let python = "import ctypes\ndef deepest():\n    ctypes.string_at(16)\ndeepest()";
    let programs: [(&str, &[&str]); 2] = [
        (&rust, &["SIGABRT", "crash::inner", "crash::main"]),
        ("/usr/bin/python3", &["SIGSEGV", "string_at", "_PyEval_EvalFrameDefault"]),
    ];
    for (program, wanted) in programs {
        let place = Place::new("languages")?;
        let words = ["run", "--net", "none", "--name", "crash", "--core", "the-core"];
        let mut command = place.command(&words);
        command.arg(program);
        if program.contains("python") {
            command.args(["--", "-c", python]);
        }
        let ended = run(&mut command, b"")?;
        if !ended.log.contains("core dumped to the-core") {
            return Err(format!("{program} leaves no core: {}", ended.evidence()));
        }
        let said = place.look_at(program, "the-core", &["thread apply all bt"])?;
        for word in wanted {
            has(&said, &[word])?;
        }
    }
    Ok(())
}

fn a_go_program_is_debugged() -> Result<(), String> {
    let go = build::go(&paths::programs().join("servers/crash.go"))?.to_string_lossy().into_owned();
    let mut place = Place::new("go")?;
    place.start("go", &["--gdb", &go])?;
    let mut said = String::new();
    let commands = ["break main.inner", "continue", "backtrace", "delete", "continue", "backtrace 1"];
    let is_there = until(LIMIT, || {
        said = place.gdb(&["go"], &commands).unwrap_or_else(|why| why);
        said.contains("Breakpoint 1")
    });
    if !is_there {
        return Err(format!("gdb does not meet it: {said}"));
    }
    // Its panic ends it, with a status of its own.
    has(&said, &["Breakpoint 1, main.inner", "main.main ()", "exited with code 02"])
}

fn the_core_of_a_program_that_runs() -> Result<(), String> {
    let source = paths::programs().join("servers/deadlock.c");
    let deadlock = build::c_server(&source)?.to_string_lossy().into_owned();
    let program = program()?;
    let mut place = Place::new("running")?;
    place.start("runs", &["--cpus", "2", "--control", "full", &program])?;
    place.goes_on("runs")?;
    let dumped = place.run(&["core", "runs"])?;
    if dumped.status != 0 || dumped.text() != "./core.runs.1\n" {
        return Err(dumped.evidence());
    }
    place.goes_on("runs")?;
    let said = place.look_at(&program, "core.runs.1", &["thread apply all bt", "print turns > 0"])?;
    has(&said, &["helper (name=", "main (argc=1", "$1 = 1"])?;
    place.start("deadlock", &["--control", "full", &deadlock])?;
    let mut said = String::new();
    let found = until(LIMIT, || {
        let dumped = place.run(&["core", "deadlock", "-o", "held"]).unwrap_or_default();
        said = place.look_at(&deadlock, "held", &["thread apply all bt"]).unwrap_or_default();
        dumped.status == 0 && said.matches("pthread_mutex_lock").count() >= 2
    });
    if !found {
        return Err(format!("the deadlock is not in the core: {said}"));
    }
    has(&said, &["opposite", "main ("])
}

fn only_what_is_allowed() -> Result<(), String> {
    let mut place = Place::new("allowed")?;
    place.start("seen", &[&program()?])?;
    place.goes_on("seen")?;
    let refused = place.gdb(&["seen"], &[]).err().unwrap_or_default();
    has(&refused, &["may only be observed", "--control full"])?;
    let refused = place.gdb(&["--kernel", "seen"], &[]).err().unwrap_or_default();
    has(&refused, &["cannot be debugged", "--control full"])?;
    let core = place.run(&["core", "seen"])?;
    if core.status != 0 || !core.log.contains("not of one moment") {
        return Err(format!("a core without stopping it: {}", core.evidence()));
    }
    place.goes_on("seen")?;
    place.start("whole", &["--control", "full", &program()?])?;
    place.goes_on("whole")?;
    let missing = place.gdb(&["whole", "-p", "77"], &[]).err().unwrap_or_default();
    has(&missing, &["cannot attach to process 77", "there is none"])?;
    // One debugger at a time.
    let terminal = Terminal::start(&place.command(&["gdb", "whole"]), 50, 200)?;
    terminal.expect("(gdb) ", LIMIT)?;
    let second = place.gdb(&["whole"], &[]).err().unwrap_or_default();
    has(&second, &["another debugger has it"])?;
    drop(terminal);
    place.goes_on("whole")?;
    let options = place.run(&["run", "--core", "x", "--control", "none", "/bin/true"])?;
    has(&options.log, &["--core needs more than `--control none`"])?;
    let options = place.run(&["run", "--gdb", "--control", "observe", "/bin/true"])?;
    has(&options.log, &["--gdb needs `--control full`"])
}

fn main() -> ExitCode {
    trials::main("debug", TESTS.iter().copied())
}
