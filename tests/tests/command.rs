//! What `coracle run` promises once a guest runs: its status, streams, settings, signals, and guests in the background.
use coracle_tests::debugger::Debugger;
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::outcome::Outcome;
use coracle_tests::trials::{self, Test, check, run};
use coracle_tests::wait::until;
use coracle_tests::{build, describe, paths, ports};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How soon a guest that is told to stop must have done so.
const STOP: Duration = Duration::from_secs(10);

/// The status of a guest that was killed since its program did not end.
const KILLED: i32 = 137;

const TESTS: &[(&str, Test)] = &[
    ("status_and_streams", status_and_streams),
    ("image_runs_again_with_other_settings", image_runs_again_with_other_settings),
    ("settings_of_the_guest", settings_of_the_guest),
    ("an_interrupt_stops_it", an_interrupt_stops_it),
    ("in_the_background", in_the_background),
    ("little_memory_is_enough", little_memory_is_enough),
    ("four_cpus", four_cpus),
    ("quiet_says_nothing", quiet_says_nothing),
    ("gdb_meets_on_a_private_socket", gdb_meets_on_a_private_socket),
    ("nothing_stays_behind", nothing_stays_behind),
    ("words_after_the_program_are_its_own", words_after_the_program_are_its_own),
    ("bytes_that_are_no_text_arrive", bytes_that_are_no_text_arrive),
    ("images_keep_capabilities_of_files", images_keep_capabilities_of_files),
    ("own_name_follows_the_setting", own_name_follows_the_setting),
    ("a_seed_repeats_addresses", a_seed_repeats_addresses),
    ("secrets_are_seen_by_the_program_only", secrets_are_seen_by_the_program_only),
    ("what_is_lost_is_told", what_is_lost_is_told),
    ("commands_of_the_readme", commands_of_the_readme),
    ("the_hosts_loopback_is_out_of_reach", the_hosts_loopback_is_out_of_reach),
    ("a_fault_of_the_kernel_is_told", a_fault_of_the_kernel_is_told),
];

/// The path of a test program, built.
fn program(name: &str) -> Result<PathBuf, String> {
    let program = describe::all()
        .into_iter()
        .find(|p| p.name == name)
        .ok_or_else(|| format!("there is no program {name}"))?;
    build::build(&program)
}

fn coracle(arguments: &[&str]) -> Command {
    let mut command = Command::new(paths::coracle());
    command.args(arguments);
    command
}

fn status_and_streams() -> Result<(), String> {
    let busybox = ["run", "--net", "none", "/bin/busybox", "--"];
    let cat = run(coracle(&busybox).args(["cat"]), b"a line\n\x03\x04\x1b[A end")?;
    check(&cat, 0, "a line\n\x03\x04\x1b[A end")?;
    check(&run(coracle(&busybox).args(["ash", "-c", "echo out; echo err >&2; exit 77"]), b"")?, 77, "out\n")?;
    // Much input, and much output, at once.
    let much: Vec<u8> = (0..300_000u32).map(|i| b' ' + (i % 90) as u8).collect();
    let back = run(coracle(&busybox).args(["cat"]), &much)?;
    check(&back, 0, &String::from_utf8(much).expect("it is ASCII"))
}

fn image_runs_again_with_other_settings() -> Result<(), String> {
    let image = paths::work().join("command-again.img");
    let path = image.to_string_lossy().into_owned();
    let built = run(
        &mut coracle(&[
            "build",
            "/bin/busybox",
            "-o",
            &path,
            "-e",
            "A=image",
            "--",
            "ash",
            "-c",
            "echo $A $B",
        ]),
        b"",
    )?;
    if built.status != 0 {
        return Err(built.evidence());
    }
    let run_image = |more: &[&str]| run(coracle(&["run", "--net", "none", &path]).args(more), b"");
    check(&run_image(&[])?, 0, "image\n")?;
    check(&run_image(&["-e", "B=run"])?, 0, "image run\n")?;
    check(&run_image(&["-e", "A=a b%c", "--mode", "protected"])?, 0, "a b%c\n")?;
    check(&run_image(&["--", "echo", "two words", "100%", ""])?, 0, "two words 100% \n")
}

fn settings_of_the_guest() -> Result<(), String> {
    let folder = paths::work().join("command-settings");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    fs::write(folder.join("given.txt"), "given\n").map_err(|e| e.to_string())?;
    let add = format!("{}:/opt/here", folder.display());
    let arguments = [
        "run",
        "--net",
        "none",
        "--hostname",
        "coracle-guest",
        "--cwd",
        "/opt/here",
        "--add",
        &add,
        "/bin/busybox",
    ];
    let script = ["--", "ash", "-c", "read x < given.txt; echo $x; pwd; echo $0"];
    check(&run(coracle(&arguments).args(script), b"")?, 0, "given\n/opt/here\nash\n")?;
    check(&run(coracle(&arguments).args(["--", "hostname"]), b"")?, 0, "coracle-guest\n")?;
    // An ordinary user, who has a home and may not write elsewhere.
    let script = [
        "--",
        "ash",
        "-c",
        "echo mine > ~/f; cat ~/f; (echo no > /etc/f) 2>/dev/null || echo refused; id -u",
    ];
    check(&run(coracle(&arguments).args(script), b"")?, 0, "mine\nrefused\n1000\n")?;
    let root = ["--user", "root", "--", "ash", "-c", "echo mine > /etc/f && cat /etc/f"];
    check(&run(coracle(&arguments).args(root), b"")?, 0, "mine\n")
}

fn an_interrupt_stops_it() -> Result<(), String> {
    for signal in [Signal::INT, Signal::TERM] {
        // It does nothing about signals. A shell does, and may forget one that comes before it waits for input.
        let words = ["tail", "-f", "/proc/version"];
        let mut server = Server::start(coracle(&["run", "--net", "none", "/bin/busybox", "--"]).args(words))?;
        if !until(LIMIT, || server.log().contains("Linux version")) {
            return Err(format!("it does not come up: {}", server.log()));
        }
        let pid = Pid::from_raw(server.pid()).ok_or("a child has a pid")?;
        kill_process(pid, signal).map_err(|e| e.to_string())?;
        let start = Instant::now();
        match server.wait(STOP) {
            Some(status) if status != 0 => {}
            other => {
                return Err(format!("after {:?} its status is {other:?}: {}", start.elapsed(), server.log()));
            }
        }
    }
    Ok(())
}

fn in_the_background() -> Result<(), String> {
    let name = format!("coracle-test-{}", std::process::id());
    let words = [
        "run",
        "-d",
        "--name",
        &name,
        "--net",
        "none",
        "/bin/busybox",
        "--",
        "ash",
        "-c",
        "echo in the background; sleep 600",
    ];
    let started = run(&mut coracle(&words), b"")?;
    if started.status != 0 {
        return Err(started.evidence());
    }
    let result = (|| {
        let listed = run(&mut coracle(&["ps"]), b"")?;
        if !listed.text().contains(&name) {
            return Err(format!("ps does not list it: {}", listed.evidence()));
        }
        let mut last = Outcome::default();
        let logged = until(LIMIT, || {
            last = run(&mut coracle(&["logs", &name]), b"").unwrap_or_default();
            last.text().contains("in the background\n")
        });
        if logged { Ok(()) } else { Err(format!("logs don't show its output: {}", last.evidence())) }
    })();
    let stopped = run(&mut coracle(&["stop", &name]), b"")?;
    result?;
    let left = run(&mut coracle(&["ps"]), b"")?;
    if stopped.status == 0 && !left.text().contains(&name) {
        return Ok(());
    }
    Err(format!("it does not stop: {}\n{}", stopped.evidence(), left.evidence()))
}

fn little_memory_is_enough() -> Result<(), String> {
    let hello = program("basic::hello_musl")?;
    let outcome = run(coracle(&["run", "--net", "none", "-m", "8M"]).arg(hello), b"")?;
    check(&outcome, 3, "hello from musl, 42\n")
}

fn four_cpus() -> Result<(), String> {
    let outcome = run(
        &mut coracle(&[
            "run",
            "--net",
            "none",
            "--cpus",
            "4",
            "/bin/busybox",
            "--",
            "grep",
            "-c",
            "^processor",
            "/proc/cpuinfo",
        ]),
        b"",
    )?;
    check(&outcome, 0, "4\n")
}

fn quiet_says_nothing() -> Result<(), String> {
    let outcome = run(&mut coracle(&["run", "-q", "--net", "none", "/bin/busybox", "--", "true"]), b"")?;
    check(&outcome, 0, "")?;
    // The first line of the log is the command itself.
    if outcome.log.lines().skip(1).any(|line| !line.is_empty()) {
        return Err(format!("it is not quiet: {}", outcome.evidence()));
    }
    Ok(())
}

/// A directory of its own for a test, which other users cannot enter.
fn private_folder(name: &str) -> Result<PathBuf, String> {
    let folder = paths::work().join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
    Ok(folder)
}

/// The files below a directory, without the directories themselves.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn gdb_meets_on_a_private_socket() -> Result<(), String> {
    let folder = private_folder("command-gdb")?;
    let text = |e: std::io::Error| e.to_string();
    let mut command = coracle(&["run", "--net", "none", "--gdb", "/bin/busybox", "--", "echo", "let go"]);
    let mut guest = Server::start(command.env("XDG_RUNTIME_DIR", &folder))?;
    if !until(LIMIT, || guest.log().contains("the program waits for gdb: coracle gdb busybox")) {
        return Err(format!("what to do is not said: {}", guest.log()));
    }
    // QEMU's server for the whole machine. A connection would stop it.
    let socket = folder.join("coracle/busybox.gdb");
    if !until(LIMIT, || socket.exists()) {
        return Err(format!("there is no {}: {}", socket.display(), guest.log()));
    }
    let mode = fs::metadata(folder.join("coracle")).map_err(text)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!("the socket's directory is open to others: {mode:o}"));
    }
    let is_met = until(LIMIT, || {
        let mut command = coracle(&["gdb", "busybox", "--", "-batch", "-ex", "info registers rip"]);
        let done = run(command.env("XDG_RUNTIME_DIR", &folder), b"").unwrap_or_default();
        done.status == 0 && done.text().contains("rip") && !guest.log().contains("let go\n")
            || guest.log().contains("let go\n")
    });
    match guest.wait(LIMIT) {
        Some(0) if is_met && guest.log().contains("let go\n") && !socket.exists() => Ok(()),
        status => Err(format!("status {status:?}, left {:?}: {}", files_below(&folder), guest.log())),
    }
}

fn nothing_stays_behind() -> Result<(), String> {
    let folder = private_folder("command-killed")?;
    let mut command =
        coracle(&["run", "--net", "none", "/bin/busybox", "--", "ash", "-c", "echo up; sleep 600"]);
    let guest = Server::start(command.env("XDG_RUNTIME_DIR", &folder).env("TMPDIR", &folder))?;
    if !until(LIMIT, || guest.log().contains("up\n")) {
        return Err(format!("it does not come up: {}", guest.log()));
    }
    let children = format!("/proc/{0}/task/{0}/children", guest.pid());
    let qemu = fs::read_to_string(children).map_err(|e| e.to_string())?.trim().to_owned();
    let status = fs::read_to_string(format!("/proc/{qemu}/status")).map_err(|e| e.to_string())?;
    // Mode 2 of seccomp(2): a filter is installed.
    if !status.contains("Seccomp:\t2") {
        return Err(format!("QEMU (process {qemu}) is not confined: {status}"));
    }
    if !files_below(&folder).is_empty() {
        return Err(format!("files of a running guest: {:?}", files_below(&folder)));
    }
    let pid = Pid::from_raw(guest.pid()).ok_or("a child has a pid")?;
    kill_process(pid, Signal::KILL).map_err(|e| e.to_string())?;
    // A process that has ended but was not waited for yet has no command line.
    let runs = || fs::read(format!("/proc/{qemu}/cmdline")).is_ok_and(|words| !words.is_empty());
    if until(STOP, || !runs()) && files_below(&folder).is_empty() {
        return Ok(());
    }
    Err(format!("QEMU runs on: {}, files left: {:?}", runs(), files_below(&folder)))
}

fn words_after_the_program_are_its_own() -> Result<(), String> {
    let folder = private_folder("command-words")?;
    fs::write(folder.join("data.txt"), "found\n").map_err(|e| e.to_string())?;
    let mut command = coracle(&["run", "--net", "none", "--user", "root", "--add", "data.txt"]);
    let words = ["busybox", "ash", "-c", "cat data.txt; echo $0 $@", "-v", "--cpus", "2"];
    check(&run(command.args(words).current_dir(&folder), b"")?, 0, "found\n-v --cpus 2\n")
}

/// Arguments, variables and names of files have any bytes but zeros, as on Linux, whether the program or its image is run.
fn bytes_that_are_no_text_arrive() -> Result<(), String> {
    let folder = private_folder("command-bytes")?;
    let text = OsStr::from_bytes;
    let data = text(b"caf\xe9");
    fs::write(folder.join(data), "found\n").map_err(|e| e.to_string())?;
    let script = r#"cat "$1"; printf '%s %s %s' "$ONE" "$TWO" "$2""#;
    let words =
        [OsStr::new("ash"), OsStr::new("-c"), OsStr::new(script), OsStr::new("sh"), data, text(b"\xff \x01")];
    let wanted = b"found\n\xfe \xfd \xff \x01";
    let coracle = |arguments: &[&str]| {
        let mut command = coracle(arguments);
        command.current_dir(&folder).env("TWO", text(b"\xfd"));
        command
    };
    let variables = ["-e", "TWO", "-e"];
    let mut command = coracle(&["run", "--net", "none", "--user", "root", "--add"]);
    command.arg(data).args(variables).arg(text(b"ONE=\xfe")).arg("busybox").args(words);
    let program = run(&mut command, b"")?;
    let image = text(b"\xe9,.img");
    let mut command = coracle(&["build", "busybox", "--user", "root", "--add"]);
    let built = run(command.arg(data).arg("-o").arg(image), b"")?;
    let mut command = coracle(&["run", "--net", "none", "-e", "TWO", "-e"]);
    let again = run(command.arg(text(b"ONE=\xfe")).arg(image).arg("--").args(words), b"")?;
    for outcome in [&program, &again] {
        if outcome.status != 0 || outcome.output != wanted {
            return Err(format!("{}\n{}", outcome.evidence(), built.evidence()));
        }
    }
    Ok(())
}

/// A program and an added file have the capabilities of the host's files, which only root can give.
fn images_keep_capabilities_of_files() -> Result<(), String> {
    /// CAP_NET_RAW, permitted and in effect (linux/capability.h, `struct vfs_cap_data` of revision 2).
    const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let folder = private_folder("command-capabilities")?;
    let busybox = folder.join("busybox");
    fs::copy("/bin/busybox", &busybox).map_err(|e| e.to_string())?;
    let flags = rustix::fs::XattrFlags::empty();
    let given = rustix::fs::setxattr(&busybox, "security.capability", &NET_RAW, flags).is_ok();
    let wanted = if given { "CapEff:\t0000000000002000\n" } else { "CapEff:\t0000000000000000\n" };
    let (host, words) = (busybox.to_string_lossy(), ["grep", "CapEff", "/proc/self/status"]);
    let options = ["run", "--net", "none", "--user", "1000"];
    check(&run(coracle(&options).arg(&*host).args(words), b"")?, 0, wanted)?;
    let add = format!("{host}:/opt/busybox");
    let script = ["ash", "-c", "exec /opt/busybox grep CapEff /proc/self/status"];
    check(&run(coracle(&options).args(["--add", &add, "busybox"]).args(script), b"")?, 0, wanted)
}

fn own_name_follows_the_setting() -> Result<(), String> {
    let folder = private_folder("command-name")?;
    let image = folder.join("name.img").to_string_lossy().into_owned();
    let script = "cat /etc/hostname; grep -w boat /etc/hosts";
    let built = run(&mut coracle(&["build", "busybox", "-o", &image, "--", "ash", "-c", script]), b"")?;
    if built.status != 0 {
        return Err(built.evidence());
    }
    check(
        &run(&mut coracle(&["run", "--net", "none", "--hostname", "boat", &image]), b"")?,
        0,
        "boat\n127.0.1.1 boat\n",
    )?;
    // What the user gives is kept, and not said twice.
    fs::write(folder.join("hosts"), "10.1.1.1 ship # boat\n10.0.0.7 other boat")
        .map_err(|e| e.to_string())?;
    let add = format!("{}:/etc/hosts", folder.join("hosts").display());
    let words = [
        "run",
        "--net",
        "none",
        "--user",
        "root",
        "--hostname",
        "boat",
        "--add",
        &add,
        "busybox",
        "cat",
        "/etc/hosts",
    ];
    check(&run(&mut coracle(&words), b"")?, 0, "10.1.1.1 ship # boat\n10.0.0.7 other boat")
}

/// Addresses of the program, its libraries, stack and vDSO; of the first program and of one that it starts.
fn a_seed_repeats_addresses() -> Result<(), String> {
    for mode in ["unikernel", "protected"] {
        let maps = |seed: &str| {
            let mut command =
                coracle(&["run", "--net", "none", "--mode", mode, "--seed", seed, "--add", "/bin/cat"]);
            let outcome = run(command.args(["bash", "-c", "cat /proc/$$/maps; cat /proc/self/maps"]), b"")?;
            let text = outcome.text();
            let parts = ["/bash", "/cat", "libc.so", "[stack]", "[vdso]"];
            match parts.iter().all(|part| text.contains(part)) && outcome.status == 0 {
                true => Ok(text),
                false => Err(outcome.evidence()),
            }
        };
        let first = maps("1")?;
        for _ in 0..2 {
            if maps("1")? != first {
                return Err(format!("{mode}: one seed gives two layouts, one of them:\n{first}"));
            }
        }
        if maps("2")? == first {
            return Err(format!("{mode}: two seeds give one layout:\n{first}"));
        }
    }
    Ok(())
}

fn secrets_are_seen_by_the_program_only() -> Result<(), String> {
    const OF_FILE: &str = "value-of-the-file-8bd3";
    const OF_VARIABLE: &str = "value-of-the-variable-c01e";
    let folder = private_folder("command-secrets")?;
    let file = folder.join("password");
    fs::write(&file, OF_FILE).map_err(|e| e.to_string())?;
    let script = "cd /run/secrets; stat -c '%a %u:%g %n' *; echo $(cat db.password) $(cat TOKEN); cat /proc/cmdline; env; echo end; read x";
    for mode in ["unikernel", "protected"] {
        let secret = format!("db.password={}", file.display());
        let mut command =
            coracle(&["run", "--net", "none", "--mode", mode, "--user", "7:8", "--secret", &secret]);
        command.args(["--secret", "TOKEN", "busybox", "ash", "-c", script]).env("TOKEN", OF_VARIABLE);
        let guest = Server::start(&mut command)?;
        if !until(LIMIT, || guest.log().contains("\nend\n")) {
            return Err(format!("it does not come up: {}", guest.log()));
        }
        let log = guest.log().replace(&format!("{command:?}"), "");
        let wanted = ["400 7:8 TOKEN\n", "400 7:8 db.password\n", &format!("\n{OF_FILE} {OF_VARIABLE}\n")]
            .map(str::to_owned);
        if let Some(part) = wanted.iter().find(|part| !log.contains(*part)) {
            return Err(format!("{part:?} is not in: {log}"));
        }
        // Once each, as `cat` printed them: not on the command line, not in the environment.
        if [OF_FILE, OF_VARIABLE].iter().any(|value| log.matches(value).count() != 1) {
            return Err(format!("a secret is seen elsewhere: {log}"));
        }
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", guest.pid()))
            .map_err(|e| e.to_string())?;
        for process in children.split_whitespace().chain([guest.pid().to_string().as_str()]) {
            let words = fs::read(format!("/proc/{process}/cmdline")).map_err(|e| e.to_string())?;
            let words = String::from_utf8_lossy(&words);
            if [OF_FILE, OF_VARIABLE].iter().any(|value| words.contains(value)) {
                return Err(format!("a secret is in the list of processes: {words}"));
            }
        }
    }
    let missing =
        run(&mut coracle(&["run", "--secret", "NO_SUCH_VARIABLE_OF_OURS", "busybox", "true"]), b"")?;
    match missing.status == 125 && missing.log.contains("the secret `NO_SUCH_VARIABLE_OF_OURS` has no value")
    {
        true => Ok(()),
        false => Err(missing.evidence()),
    }
}

fn what_is_lost_is_told() -> Result<(), String> {
    let told = |options: &[&str], script: &str| {
        let mut command = coracle(&["run", "--net", "none", "--user", "root"]);
        let outcome = run(command.args(options).args(["busybox", "ash", "-c", script]), b"")?;
        check(&outcome, 0, "")?;
        Ok::<_, String>(
            outcome
                .log
                .lines()
                .skip(1)
                .filter(|line| line.contains("are gone"))
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    };
    let lines = told(&[], "mkdir /data; echo 123456789 > /data/kept; echo 12345 >> /etc/more")?;
    if lines.len() != 1 || !lines[0].contains("wrote 16 B ") || !lines[0].contains("`/data/kept`") {
        return Err(format!("{lines:?}"));
    }
    for (options, script) in [
        (&[][..], "echo x > /tmp/a; echo y > /run/b; echo z > /dev/null; cat /etc/passwd > /dev/null"),
        (&["-q"], "echo x > /etc/a"),
    ] {
        let lines = told(options, script)?;
        if !lines.is_empty() {
            return Err(format!("{script}: {lines:?}"));
        }
    }
    Ok(())
}

/// The commands that the README begins with, as they are printed there, on other ports of the host.
fn commands_of_the_readme() -> Result<(), String> {
    let text = fs::read_to_string(paths::repository().join("README.md")).map_err(|e| e.to_string())?;
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    coracle ")).collect();
    let folder = private_folder("command-readme")?;
    let mut answered = 0;
    for line in &lines {
        let line = line.split(" #").next().unwrap_or(line);
        // A shell makes an empty word of two quotes.
        let mut words: Vec<String> = line.split_whitespace().map(|word| word.replace("''", "")).collect();
        let publish = words.iter().position(|word| word == "-p");
        let mut command = Command::new(paths::coracle());
        command.current_dir(&folder);
        let Some(publish) = publish else {
            let outcome = run(command.args(&words), b"")?;
            if outcome.status != 0 {
                return Err(format!("`coracle {line}`: {}", outcome.evidence()));
            }
            continue;
        };
        let guest_port: u16 =
            words[publish + 1].rsplit(':').next().and_then(|port| port.parse().ok()).ok_or("no port")?;
        let port = ports::free()?;
        words[publish + 1] = format!("127.0.0.1:{port}:{guest_port}");
        let (question, answer) = match guest_port {
            11211 => ("version\r\n", "VERSION "),
            6379 => ("SET boat afloat\r\n", "+OK"),
            other => return Err(format!("no client for port {other}")),
        };
        let mut guest = Server::start(command.args(&words))?;
        let ask = || {
            let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            client.set_read_timeout(Some(Duration::from_secs(5)))?;
            client.write_all(question.as_bytes())?;
            let mut reply = [0; 64];
            let length = client.read(&mut reply)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&reply[..length]).into_owned())
        };
        let mut reply = String::new();
        until(LIMIT, || {
            reply = ask().unwrap_or_default();
            !reply.is_empty()
        });
        if !reply.starts_with(answer) {
            return Err(format!("`coracle {line}` answers {reply:?}: {}", guest.log()));
        }
        // It ends by itself, also with something that it could save.
        let pid = Pid::from_raw(guest.pid()).ok_or("a child has a pid")?;
        kill_process(pid, Signal::TERM).map_err(|e| e.to_string())?;
        let status = guest.wait(LIMIT);
        if status.is_none_or(|status| status == KILLED) {
            return Err(format!(
                "`coracle {line}` does not end on SIGTERM, status {status:?}: {}",
                guest.log()
            ));
        }
        answered += 1;
    }
    if answered == 2 && lines.len() == 4 {
        Ok(())
    } else {
        Err(format!("the README has other commands: {lines:?}"))
    }
}

/// TCP and UDP, each of which QEMU sends by other system calls; and a published UDP port can answer all the same.
fn the_hosts_loopback_is_out_of_reach() -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    let service = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
    let port = service.local_addr().map_err(text)?.port().to_string();
    let called = std::thread::spawn(move || {
        service.accept().and_then(|(mut client, _)| client.write_all(b"reached\n"))
    });
    let call = ["busybox", "nc", "10.0.2.2", &port];
    let refused = run(coracle(&["run"]).args(call), b"")?;
    if refused.status == 0 || called.is_finished() || !refused.log.contains("refused") {
        return Err(format!("a guest reaches the host's loopback: {}", refused.evidence()));
    }
    check(&run(coracle(&["run", "--host-loopback"]).args(call), b"")?, 0, "reached\n")?;
    called.join().map_err(|_| "the service panicked")?.map_err(text)?;

    let host = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
    let name_of = |socket: &UdpSocket| socket.local_addr().map(|address| address.port().to_string());
    let service = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
    let taken = name_of(&UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?).map_err(text)?;
    let publish = format!("127.0.0.1:{taken}:{taken}/udp");
    let program = build::c_server(&paths::programs().join("servers/udp_to_host.c"))?;
    let mut guest = Server::start(
        coracle(&["run", "-p", &publish])
            .arg(program)
            .args([name_of(&service).map_err(text)?, taken.clone()]),
    )?;
    if !until(LIMIT, || guest.log().contains("waiting\n")) {
        return Err(format!("it does not wait for a datagram: {}", guest.log()));
    }
    host.connect(format!("127.0.0.1:{taken}")).map_err(text)?;
    host.set_read_timeout(Some(LIMIT)).map_err(text)?;
    host.send(b"question").map_err(text)?;
    let mut answer = [0; 16];
    let length = host.recv(&mut answer).map_err(|e| format!("no answer ({e}): {}", guest.log()))?;
    match guest.wait(LIMIT) {
        // The guest's own datagram went out before it waited for one, so QEMU has had it.
        Some(0) if &answer[..length] == b"question" => {
            service.set_nonblocking(true).map_err(text)?;
            match service.recv(&mut answer) {
                Ok(_) => Err(format!("a datagram reached the host's loopback: {}", guest.log())),
                Err(_) => Ok(()),
            }
        }
        status => Err(format!("status {status:?}, answer {:?}: {}", &answer[..length], guest.log())),
    }
}

/// Sends an idle kernel to where nothing is mapped, by a debugger: nothing a program can do brings it down.
fn a_fault_of_the_kernel_is_told() -> Result<(), String> {
    /// An address of the kernel's half that it never maps.
    const NOWHERE: u64 = 0xffff_fe00_0000_1230;
    let text = |e: std::io::Error| e.to_string();
    let folder = paths::work().join("command-fault");
    fs::create_dir_all(&folder).map_err(text)?;
    let socket = folder.join("gdb");
    let _ = fs::remove_file(&socket);
    let qemu = folder.join("qemu");
    let script = format!(
        "#!/bin/sh\nexec qemu-system-x86_64 \"$@\" -chardev socket,id=gdb,path={},server=on,wait=off -gdb chardev:gdb\n",
        socket.display()
    );
    fs::write(&qemu, script).map_err(text)?;
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).map_err(text)?;
    let mut command = coracle(&["run", "--net", "none", "/bin/busybox", "--"]);
    command.env("CORACLE_QEMU", &qemu);
    // It makes calls and never sleeps: a halted processor would wait for an interrupt, which is off where it is sent.
    let mut guest = Server::start(command.args(["ash", "-c", "echo up; while true; do kill -0 $$; done"]))?;
    if !until(LIMIT, || guest.log().contains("up\n")) {
        return Err(format!("it does not come up: {}", guest.log()));
    }
    let mut debugger = Debugger::new(UnixStream::connect(&socket).map_err(text)?).map_err(text)?;
    while !debugger.is_in_kernel().map_err(text)? {
        debugger.go_on().map_err(text)?;
        std::thread::sleep(Duration::from_millis(5));
        debugger.stop().map_err(text)?;
    }
    debugger.set_instruction(NOWHERE).map_err(text)?;
    debugger.go_on().map_err(text)?;
    let status = guest.wait(LIMIT);
    let log = guest.log();
    let told = [
        "in the kernel",
        "rip fffffe0000001230",
        "rax ",
        "registers of CPU 0",
        "cr2 ",
        "backtrace of the kernel",
    ];
    match told.iter().find(|part| !log.contains(**part)) {
        None if status.is_some_and(|status| status != 0) => Ok(()),
        None => Err(format!("its status is {status:?}: {log}")),
        Some(part) => Err(format!("the report lacks {part:?}: {log}")),
    }
}

fn main() -> ExitCode {
    trials::main("command", TESTS.iter().copied())
}
