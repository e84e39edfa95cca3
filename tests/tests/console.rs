//! What `coracle run` promises of the standard streams, of terminals, and of the ways in which a guest is ended.
use coracle_tests::guest::{self, LIMIT, Server};
use coracle_tests::paths;
use coracle_tests::terminal::Terminal;
use coracle_tests::trials::{self, Test, check, run};
use coracle_tests::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

const TESTS: &[(&str, Test)] = &[
    ("output_and_error_arrive_apart", output_and_error_arrive_apart),
    ("one_file_keeps_its_order", one_file_keeps_its_order),
    ("nothing_is_lost", nothing_is_lost),
    ("a_slow_reader_gets_all", a_slow_reader_gets_all),
    ("a_reader_that_leaves_breaks_the_pipe", a_reader_that_leaves_breaks_the_pipe),
    ("a_full_disk_is_told", a_full_disk_is_told),
    ("streams_are_terminals_where_they_are", streams_are_terminals_where_they_are),
    ("the_serial_port_serves", the_serial_port_serves),
    ("a_program_ends_in_its_own_way", a_program_ends_in_its_own_way),
    ("the_second_signal_kills", the_second_signal_kills),
    ("other_processes_are_asked_too", other_processes_are_asked_too),
    ("stop_gives_time", stop_gives_time),
    ("a_terminal_is_the_programs", a_terminal_is_the_programs),
    ("a_job_in_the_background_may_not_read", a_job_in_the_background_may_not_read),
    ("keys_are_signals", keys_are_signals),
    ("the_size_follows", the_size_follows),
    ("the_terminal_is_left_as_it_was", the_terminal_is_left_as_it_was),
];

/// A `coracle run` of busybox.
fn busybox(options: &[&str], words: &[&str]) -> Command {
    let mut command = Command::new(paths::coracle());
    command.args(["run", "-q", "--net", "none"]).args(options).args(["/bin/busybox", "--"]).args(words);
    command
}

fn output_and_error_arrive_apart() -> Result<(), String> {
    for mode in ["unikernel", "protected"] {
        let script = "echo out; echo err >&2; exit 7";
        let outcome = run(&mut busybox(&["--mode", mode], &["ash", "-c", script]), b"")?;
        check(&outcome, 7, "out\n")?;
        // The first line of the log is the command itself.
        if outcome.log.lines().skip(1).collect::<Vec<_>>() != ["err"] {
            return Err(format!("standard error: {}", outcome.evidence()));
        }
    }
    Ok(())
}

fn one_file_keeps_its_order() -> Result<(), String> {
    let script = "i=0; while [ $i -lt 200 ]; do echo $i; echo $i >&2; i=$((i+1)); done";
    let outcome = guest::finish_joined(busybox(&[], &["ash", "-c", script]), Vec::new(), LIMIT)?;
    let expected: String = (0..200).map(|i| format!("{i}\n{i}\n")).collect();
    check(&outcome, 0, &expected)
}

/// Bytes that look like keys, signals and ends of files among others.
fn binary(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect()
}

fn nothing_is_lost() -> Result<(), String> {
    let data = binary(5_000_001);
    let options: [&[&str]; 4] = [
        &["--machine", "microvm", "--mode", "unikernel"],
        &["--machine", "microvm", "--mode", "protected", "--cpus", "2"],
        &["--machine", "q35", "--mode", "protected"],
        &["--machine", "pc", "--mode", "unikernel", "--cpus", "2"],
    ];
    for options in options {
        let outcome = run(&mut busybox(options, &["cat"]), &data)?;
        if outcome.status != 0 || outcome.output != data {
            return Err(format!("{options:?}: {} bytes of {}", outcome.output.len(), data.len()));
        }
        let outcome = run(&mut busybox(options, &["dd", "if=/dev/zero", "bs=4096", "count=250"]), b"")?;
        if outcome.status != 0 || outcome.output != vec![0; 250 * 4096] {
            return Err(format!("{options:?}: {} bytes of {}", outcome.output.len(), 250 * 4096));
        }
    }
    Ok(())
}

/// Longer than the kernel waits for a device of which it does not know whether it is read.
fn a_slow_reader_gets_all() -> Result<(), String> {
    const PAUSE: Duration = Duration::from_secs(7);
    const BYTES: usize = 3_000_000;
    let count = BYTES / 1000;
    let mut command = busybox(&[], &["dd", "if=/dev/zero", "bs=1000", &format!("count={count}")]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let mut from = child.stdout.take().ok_or("stdout is a pipe")?;
    thread::sleep(PAUSE);
    let mut all = Vec::new();
    from.read_to_end(&mut all).map_err(|e| e.to_string())?;
    let status = child.wait().map_err(|e| e.to_string())?;
    match all.len() == BYTES && status.success() {
        true => Ok(()),
        false => Err(format!("{} bytes of {BYTES}, {status}", all.len())),
    }
}

fn a_reader_that_leaves_breaks_the_pipe() -> Result<(), String> {
    const SIGPIPE: i32 = 13;
    // It leaves before the program has started, or while that writes.
    for read in [0, 1000] {
        let mut command = busybox(&[], &["yes"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        let mut some = vec![0; read];
        let mut from = child.stdout.take().ok_or("stdout is a pipe")?;
        from.read_exact(&mut some).map_err(|e| e.to_string())?;
        drop(from);
        let ended = coracle_tests::wait::finish(&mut child, LIMIT).map(coracle_tests::wait::shell_status);
        if ended != Some(128 + SIGPIPE) {
            return Err(format!("after {read} bytes its status is {ended:?}"));
        }
    }
    Ok(())
}

const TELL: &str = "for i in 0 1 2; do test -t $i && echo $i terminal; done >&3; echo end >&3";

/// Output that cannot be written is named, and no success; a log that cannot be written leaves the status alone.
fn a_full_disk_is_told() -> Result<(), String> {
    // A device that is always full: full(4).
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").map_err(|e| e.to_string());
    for (console, script, status) in [
        ("virtio", "while echo x; do :; done; exit 1", None),
        ("serial", "while echo x; do :; done; exit 1", None),
        // It ends well, since it does not look at what becomes of its output.
        ("virtio", "trap '' PIPE; echo x; exit 0", Some(125)),
    ] {
        let mut command = busybox(&["--console", console], &["ash", "-c", script]);
        let output = command.stdin(Stdio::null()).stdout(full()?).output().map_err(|e| e.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        let expected = status.map_or(code != Some(0), |status| code == Some(status));
        if !expected || !said.contains("cannot write to standard output: No space left on device") {
            return Err(format!("{console}, `{script}`: status {code:?}: {said}"));
        }
    }
    let outcome =
        run(&mut busybox(&["--log-file", "/dev/full", "--log", "info"], &["ash", "-c", "exit 3"]), b"")?;
    check(&outcome, 3, "")?;
    let lines: Vec<&str> = outcome.log.lines().skip(1).collect();
    if lines.len() > 1 && lines[0].contains("warning: cannot write `/dev/full`") {
        return Ok(());
    }
    Err(format!("the log is lost: {lines:?}"))
}

fn streams_are_terminals_where_they_are() -> Result<(), String> {
    // Descriptor 3 is standard output's pipe; the terminal is what the shell below connects.
    let none = run(&mut busybox(&[], &["ash", "-c", &format!("exec 3>&1; {TELL}")]), b"")?;
    check(&none, 0, "end\n")?;
    for (redirection, shown) in [
        ("", "0 terminal\r\n1 terminal\r\n2 terminal\r\nend\r\n"),
        ("</dev/null", "1 terminal\r\n2 terminal\r\nend\r\n"),
        ("2>/dev/null", "0 terminal\r\n1 terminal\r\nend\r\n"),
    ] {
        let guest = busybox(&[], &["ash", "-c", &format!("exec 3>&1; {TELL}")]);
        let mut terminal = Terminal::start(&through_shell(&guest, redirection), 24, 80)?;
        terminal.expect("end\r\n", LIMIT)?;
        let status = terminal.wait(LIMIT);
        if status != Some(0) || !terminal.screen().ends_with(shown) {
            return Err(format!("{redirection:?}: {status:?}, {:?}", terminal.screen()));
        }
    }
    Ok(())
}

/// The command as a shell's that connects its streams.
fn through_shell(command: &Command, redirection: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec \"$@\" {redirection}")).arg("sh");
    shell.arg(command.get_program()).args(command.get_args());
    shell
}

fn the_serial_port_serves() -> Result<(), String> {
    let words = ["ash", "-c", "cat; echo err >&2"];
    let outcome = run(&mut busybox(&["--console", "serial"], &words), b"in\n")?;
    // It has one stream for both.
    check(&outcome, 0, "in\nerr\n")
}

/// Starts a guest and waits until it says that it is up.
fn up(command: &mut Command) -> Result<Server, String> {
    let server = Server::start(command)?;
    match until(LIMIT, || server.log().contains("up\n")) {
        true => Ok(server),
        false => Err(format!("it does not come up: {}", server.log())),
    }
}

fn send(pid: i32, signal: Signal) -> Result<(), String> {
    kill_process(Pid::from_raw(pid).ok_or("a process has a pid")?, signal).map_err(|e| e.to_string())
}

const WAIT: &str = "echo up; while :; do sleep 0.1; done";

fn a_program_ends_in_its_own_way() -> Result<(), String> {
    let handles = format!("trap 'echo handled; exit 5' TERM INT HUP; {WAIT}");
    let cases = [
        (Signal::TERM, handles.as_str(), 5),
        (Signal::INT, &handles, 5),
        (Signal::HUP, &handles, 5),
        (Signal::TERM, WAIT, 128 + 15),
        (Signal::INT, WAIT, 128 + 2),
    ];
    for (signal, script, expected) in cases {
        let mut server = up(&mut busybox(&[], &["ash", "-c", script]))?;
        send(server.pid(), signal)?;
        let status = server.wait(LIMIT);
        if status != Some(expected) || (expected == 5 && !server.log().contains("handled\n")) {
            return Err(format!("{signal:?}: its status is {status:?}: {}", server.log()));
        }
    }
    Ok(())
}

fn the_second_signal_kills() -> Result<(), String> {
    let script = format!("trap 'echo not yet' TERM; {WAIT}");
    let mut server = up(&mut busybox(&[], &["ash", "-c", &script]))?;
    send(server.pid(), Signal::TERM)?;
    if !until(LIMIT, || server.log().contains("not yet\n")) {
        return Err(format!("the program is not asked: {}", server.log()));
    }
    send(server.pid(), Signal::TERM)?;
    match server.wait(LIMIT) {
        Some(137) => Ok(()),
        other => Err(format!("its status is {other:?}: {}", server.log())),
    }
}

fn other_processes_are_asked_too() -> Result<(), String> {
    for cpus in ["1", "2"] {
        // The child is ready when it writes; the first process ends by then.
        let script = "(trap 'echo asked; exit' TERM; echo ready > /tmp/f; while :; do sleep 0.1; done) & \
                      while ! test -s /tmp/f; do sleep 0.1; done; exit 3";
        let outcome = run(&mut busybox(&["--cpus", cpus, "--user", "root"], &["ash", "-c", script]), b"")?;
        check(&outcome, 3, "asked\n")?;
        // One that doesn't listen does not keep the machine.
        let script = "(trap '' TERM; echo ready > /tmp/f; while :; do sleep 0.1; done) & \
                      while ! test -s /tmp/f; do sleep 0.1; done; exit 4";
        let outcome = run(&mut busybox(&["--cpus", cpus, "--user", "root"], &["ash", "-c", script]), b"")?;
        check(&outcome, 4, "")?;
    }
    Ok(())
}

fn stop_gives_time() -> Result<(), String> {
    let coracle = |words: &[&str]| run(Command::new(paths::coracle()).args(words), b"");
    let cases =
        [("trap 'sleep 1; exit 6' TERM", "30", "ended with 6", false), ("trap '' TERM", "1", "killed", true)];
    for (index, (trap, seconds, state, killed)) in cases.into_iter().enumerate() {
        let name = format!("coracle-stop-{}-{index}", std::process::id());
        let mut start = Command::new(paths::coracle());
        start.args(["run", "-d", "--name", &name, "--net", "none", "/bin/busybox", "--", "ash", "-c"]);
        let started = run(start.arg(format!("{trap}; {WAIT}")), b"")?;
        if started.status != 0 {
            return Err(started.evidence());
        }
        let is_up = || coracle(&["logs", &name]).is_ok_and(|logs| logs.text().contains("up\n"));
        let came_up = until(LIMIT, is_up);
        let stopped = coracle(&["stop", "-t", seconds, &name])?;
        let listed = coracle(&["ps", "--all"])?.text();
        let line = listed.lines().find(|line| line.contains(&name)).unwrap_or_default();
        let warned = stopped.log.contains("did not end within 1 s");
        if !came_up || stopped.status != 0 || !line.contains(state) || warned != killed {
            return Err(format!("{line:?}, {}", stopped.evidence()));
        }
    }
    // At once: before the program has started, there is nothing to wait for.
    let name = format!("coracle-stop-{}-early", std::process::id());
    let mut start = Command::new(paths::coracle());
    let started = run(
        start.args(["run", "-d", "--name", &name, "--net", "none", "/bin/busybox", "sleep", "1000"]),
        b"",
    )?;
    let stopped = coracle(&["stop", &name])?;
    let listed = coracle(&["ps", "--all"])?.text();
    let line = listed.lines().find(|line| line.contains(&name)).unwrap_or_default();
    let warned = stopped.log.contains("did not end");
    if started.status != 0 || stopped.status != 0 || warned || !line.contains("ended with 143 ") {
        return Err(format!("{line:?}, {}, {}", started.evidence(), stopped.evidence()));
    }
    Ok(())
}

fn a_terminal_is_the_programs() -> Result<(), String> {
    for mode in ["unikernel", "protected"] {
        let script = "stty size; echo $TERM; tty; read line; echo got $line; cat";
        let mut command = busybox(&["--mode", mode], &["ash", "-c", script]);
        command.env("TERM", "vt220");
        let mut terminal = Terminal::start(&command, 33, 101)?;
        terminal.expect("33 101\r\nvt220\r\n/dev/console\r\n", LIMIT)?;
        // A line that is edited, its echo, and the end of the input.
        terminal.enter("hellp\x7fo\r")?;
        terminal.expect("hellp\x08 \x08o\r\ngot hello\r\n", LIMIT)?;
        terminal.enter("more\r\x04")?;
        terminal.expect("more\r\nmore\r\n", LIMIT)?;
        if terminal.wait(LIMIT) != Some(0) {
            return Err(format!("it does not end: {:?}", terminal.screen()));
        }
    }
    Ok(())
}

/// A job in the background that reads is stopped (SIGTTIN), and reads when it is in the foreground; one that ignores the signal
/// gets EIO (POSIX.1-2017, section 11.1.4).
fn a_job_in_the_background_may_not_read() -> Result<(), String> {
    let script = "set -m; cat & until read pid name state rest </proc/$!/stat && test $state = T; do sleep 0.1; done; \
                  echo stopped; fg; (trap '' TTIN; cat; echo status $?) & wait; echo end";
    for mode in ["unikernel", "protected"] {
        let mut terminal = Terminal::start(&busybox(&["--mode", mode], &["ash", "-c", script]), 24, 80)?;
        terminal.expect("stopped\r\ncat\r\n", LIMIT)?;
        terminal.enter("line\r\x04")?;
        terminal.expect("line\r\nline\r\n", LIMIT)?;
        terminal.expect("status 1\r\nend\r\n", LIMIT)?;
        if terminal.wait(LIMIT) != Some(0) {
            return Err(format!("it does not end: {:?}", terminal.screen()));
        }
    }
    Ok(())
}

fn keys_are_signals() -> Result<(), String> {
    // ^C, ^\, a ^Z that must not stop a group without a shell, and the command's own key.
    for (keys, expected) in [("\x03", 130), ("\x1c", 131), ("\x1a\x03", 130), ("~.", 137)] {
        // A shell would ignore some of them for a while.
        let mut terminal = Terminal::start(&busybox(&[], &["cat"]), 24, 80)?;
        terminal.enter("up\r")?;
        terminal.expect("up\r\nup\r\n", LIMIT)?;
        terminal.enter(keys)?;
        let status = terminal.wait(LIMIT);
        if status != Some(expected) {
            return Err(format!("{keys:?}: its status is {status:?}: {:?}", terminal.screen()));
        }
    }
    let script = "trap 'echo interrupted; exit 9' INT; echo up; while :; do sleep 0.1; done";
    let mut terminal = Terminal::start(&busybox(&[], &["ash", "-c", script]), 24, 80)?;
    terminal.expect("up\r\n", LIMIT)?;
    terminal.enter("\x03")?;
    match terminal.wait(LIMIT) {
        Some(9) => terminal.expect("^Cinterrupted\r\n", LIMIT),
        other => Err(format!("its status is {other:?}: {:?}", terminal.screen())),
    }
}

fn the_size_follows() -> Result<(), String> {
    let script = "trap 'stty size; exit 3' WINCH; echo up; while :; do sleep 0.1; done";
    let mut terminal = Terminal::start(&busybox(&[], &["ash", "-c", script]), 24, 80)?;
    terminal.expect("up\r\n", LIMIT)?;
    terminal.resize(50, 132)?;
    terminal.expect("50 132\r\n", LIMIT)?;
    match terminal.wait(LIMIT) {
        Some(3) => Ok(()),
        other => Err(format!("its status is {other:?}: {:?}", terminal.screen())),
    }
}

/// The children of a process, as the kernel lists them.
fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn the_terminal_is_left_as_it_was() -> Result<(), String> {
    const KILLED: i32 = 137;
    let script = "echo up; exec sleep 1000";
    let ways: [(&str, Option<Signal>, i32); 4] = [
        ("\x03", None, 130),
        ("\r~.", None, KILLED),
        ("", Some(Signal::TERM), 128 + 15),
        ("", Some(Signal::KILL), KILLED),
    ];
    for (keys, signal, expected) in ways {
        let mut terminal = Terminal::start(&busybox(&[], &["ash", "-c", script]), 24, 80)?;
        let before = terminal.modes()?.local_modes;
        terminal.expect("up\r\n", LIMIT)?;
        if terminal.modes()?.local_modes == before {
            return Err("the terminal is not the guest's".into());
        }
        let started = children(terminal.pid());
        terminal.enter(keys)?;
        if let Some(signal) = signal {
            send(terminal.pid(), signal)?;
        }
        let status = terminal.wait(LIMIT);
        let restored = until(LIMIT, || terminal.modes().is_ok_and(|modes| modes.local_modes == before));
        // QEMU, and what guards the terminal.
        let gone = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
        };
        let none_left = until(LIMIT, || started.iter().all(gone));
        if status != Some(expected) || !restored || started.is_empty() || !none_left {
            return Err(format!(
                "{keys:?} {signal:?}: status {status:?}, restored {restored}, none left of {started:?} {none_left}"
            ));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    trials::main("console", TESTS.iter().copied())
}
