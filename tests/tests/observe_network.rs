//! Looking at a guest's network as a person does: `coracle netstat`, `coracle pcap` into tshark and tcpdump, `coracle run --trace`, and
//! ss(8) and netstat(8) inside.
use coracle_tests::background::Background;
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::paths;
use coracle_tests::trials::{self, Test, run};
use coracle_tests::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::{Command, ExitCode};

const TESTS: &[(&str, Test)] = &[
    ("a_stalled_stream_is_explained", a_stalled_stream_is_explained),
    ("tools_inside_list_sockets", tools_inside_list_sockets),
    ("packets_are_captured", packets_are_captured),
    ("calls_are_traced_from_the_first_one", calls_are_traced_from_the_first_one),
];

const PYTHON: &str = "/usr/bin/python3";

fn holds(text: &str, wanted: &[&str]) -> Result<(), String> {
    match wanted.iter().find(|word| !text.contains(**word)) {
        Some(word) => Err(format!("`{word}` is missing in:\n{text}")),
        None => Ok(()),
    }
}

fn lacks(text: &str, unwanted: &[&str]) -> Result<(), String> {
    match unwanted.iter().find(|word| text.contains(**word)) {
        Some(word) => Err(format!("`{word}` is in:\n{text}")),
        None => Ok(()),
    }
}

fn a_stalled_stream_is_explained() -> Result<(), String> {
    let source = paths::programs().join("servers/stalled.py").to_string_lossy().into_owned();
    for (mode, cpus) in [("unikernel", "1"), ("protected", "2")] {
        let words = ["--net", "none", "--mode", mode, "--cpus", cpus, "--add", &source, PYTHON, &source];
        let guest = Background::on_network("stalled", &words)?;
        let text = guest.says(
            "netstat",
            &["-a", "-p", "-i"],
            &[
                "its window is closed: the program does not read the ",
                "bytes wait: the peer's window is closed, it does not read",
                "window probe in ",
                "sleeps in clock_nanosleep(",
                "sleeps in sendto(",
            ],
        )?;
        holds(
            &text,
            &[
                "LISTEN",
                "TIME-WAIT",
                "127.0.0.1:5353",
                "/tmp/control.sock",
                "*:8080",
                "rtt ",
                "python3 (pid 1, fd ",
            ],
        )?;
        let listening = guest.says("netstat", &["-l", "-t", "-n"], &["127.0.0.1:7000", "*:8080"])?;
        lacks(&listening, &["ESTAB", "udp", "u_str"])?;
        lacks(&guest.says("netstat", &["-t"], &["ESTAB"])?, &["LISTEN", "UNCONN"])?;
        holds(
            &guest.says("netstat", &["-x", "-l"], &["u_str"])?,
            &["LISTEN            0        3 /tmp/control.sock"],
        )?;
        let json = guest.says(
            "netstat",
            &["-t", "--json"],
            &["\"notes\": [", "\"peer_window\": 0", "\"own_window\": 0"],
        )?;
        holds(&json, &["\"program\": \"python3\"", "\"state\": \"ESTAB\"", "\"timer\": \"window probe\""])?;
    }
    // A guest that may not be asked says so, and does not seem to have no sockets.
    let guest =
        Background::on_network("silent", &["--net", "none", "--control", "none", "/bin/sleep", "1000"])?;
    let asked = run(&mut guest.command(&["netstat", "silent"]), b"")?;
    if asked.status == 0 || !asked.text().is_empty() || asked.log.is_empty() {
        return Err(format!("it seems to have no sockets: {}", asked.evidence()));
    }
    Ok(())
}

fn tools_inside_list_sockets() -> Result<(), String> {
    let source = paths::programs().join("servers/stalled.py").to_string_lossy().into_owned();
    let script = format!(
        "{PYTHON} {source} & while [ ! -e /tmp/ready ]; do sleep 0.1; done; ss -tunap 2>/dev/null; ss -xap 2>/dev/null; netstat -tunapx; netstat -i"
    );
    let mut command = Command::new(paths::coracle());
    command.args(["run", "-q", "--net", "none", "--user", "root", "--mode", "protected"]);
    let tools = ["/usr/bin/ss", "/usr/bin/netstat", "/bin/sleep", PYTHON, "/usr/lib/python3.11", &source];
    for tool in tools {
        command.args(["--add", tool]);
    }
    let outcome = run(command.args(["/bin/sh", "-c", &script]), b"")?;
    let text = outcome.text();
    holds(
        &text,
        &[
            "LISTEN    0",
            "users:((\"python3\",pid=2,fd=3))",
            "TIME-WAIT",
            "/tmp/control.sock",
            "Active Internet connections (servers and established)",
            "127.0.0.1:5353          0.0.0.0:*",
            "2/python3",
            "Kernel Interface table",
        ],
    )
    .map_err(|error| format!("{error}\n{}", outcome.log))
}

/// Runs a program that reads a file of packets.
fn read(program: &str, words: &[&str]) -> Result<String, String> {
    let outcome = run(Command::new(program).args(words), b"")?;
    if outcome.status == 0 {
        Ok(outcome.text())
    } else {
        Err(format!("{program} {words:?}: {}", outcome.evidence()))
    }
}

fn packets_are_captured() -> Result<(), String> {
    let (guest, url) = Background::nginx("captured")?;
    guest.says("stats", &["--json"], &["\"10.0.2.15\"", "\"received_drops\": 0"])?;
    let fetch = || {
        run(Command::new("curl").args(["-s", "-m", "5", &url]), b"").is_ok_and(|page| page.text() == "a page")
    };
    if !until(LIMIT, fetch) {
        return Err("nginx does not answer".to_owned());
    }
    let file = paths::work().join("captured.pcapng").to_string_lossy().into_owned();
    let mut capture =
        Server::start(guest.command(&["pcap", "captured"]).args(["-w", &file, "tcp", "port", "8080"]))?;
    if !until(LIMIT, || capture.log().contains("capturing the packets")) {
        return Err(format!("nothing is captured: {}", capture.log()));
    }
    // Another at the same time is refused, and its file is left as it was.
    let other = paths::work().join("refused.pcapng");
    fs::write(&other, "kept").map_err(|e| e.to_string())?;
    let second = run(guest.command(&["pcap", "captured", "-w"]).arg(&other), b"")?;
    let is_kept = fs::read(&other).is_ok_and(|bytes| bytes == b"kept");
    if second.status == 0 || !second.log.contains("another command captures them") || !is_kept {
        return Err(format!("a second capture is not refused: {}", second.evidence()));
    }
    for _ in 0..20 {
        if !fetch() {
            return Err("nginx does not answer while packets are captured".to_owned());
        }
    }
    // The file is written as packets come.
    let answers =
        || read("tshark", &["-r", &file, "-Y", "http.response", "-T", "fields", "-e", "http.response.code"]);
    if !until(LIMIT, || answers().is_ok_and(|text| text.lines().count() >= 20)) {
        return Err(format!("the answers were not captured: {:?}", answers()));
    }
    let pid = Pid::from_raw(capture.pid()).ok_or("a child has a pid")?;
    kill_process(pid, Signal::INT).map_err(|e| e.to_string())?;
    if capture.wait(LIMIT) != Some(0) || !capture.log().contains("packets captured, 0 lost") {
        return Err(format!("the capture does not end well: {}", capture.log()));
    }
    let text = read("tcpdump", &["-nr", &file])?;
    holds(
        &text,
        &["Flags [S]", "Flags [S.]", "10.0.2.15.8080", "HTTP: GET /page HTTP/1.1", "HTTP/1.1 200 OK"],
    )?;
    if let Some(line) = text.lines().find(|line| !line.contains(".8080")) {
        return Err(format!("the filter lets through: {line}"));
    }
    let told = read("tshark", &["-r", &file, "-T", "fields", "-e", "frame.interface_name", "-c", "1"])?;
    holds(&told, &["eth0"])?;
    // Live into a pipe, cut, and no more than are wanted.
    let pipe = format!(
        "(sleep 1; curl -s {url}) & {} pcap captured -i eth0 -s 60 -c 3 | tcpdump -nr - | wc -l",
        paths::coracle().display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &pipe]).env("XDG_RUNTIME_DIR", &guest.folder);
    let piped = run(&mut shell, b"")?;
    holds(&piped.text(), &["3\n"])?;
    let wrong = run(&mut guest.command(&["pcap", "captured", "-w", "/dev/null", "vlan", "3"]), b"")?;
    if wrong.status == 0 || !wrong.log.contains("`vlan` is not known") {
        return Err(format!("a filter is not refused: {}", wrong.evidence()));
    }
    Ok(())
}

fn calls_are_traced_from_the_first_one() -> Result<(), String> {
    let file = paths::work().join("first-calls.txt");
    for (mode, cpus) in [("unikernel", "1"), ("protected", "2")] {
        let machine = ["run", "-q", "--net", "none", "--mode", mode, "--cpus", cpus];
        let mut command = Command::new(paths::coracle());
        let outcome = run(command.args(machine).args(["--trace", "/bin/echo", "hello"]), b"")?;
        trials::check(&outcome, 0, "hello\n")?;
        let first = outcome.log.lines().find(|line| line.starts_with("[pid")).unwrap_or_default();
        holds(first, &["[pid     1]", "brk("])?;
        holds(
            &outcome.log,
            &["openat(AT_FDCWD, \"/etc/ld.so.cache\"", "write(1, \"hello\\n\", 6) = 6", "exit_group(0) = ?"],
        )?;
        let name = file.to_string_lossy();
        let mut command = Command::new(paths::coracle());
        command.args(machine).args(["--trace=write,exit_group", "--trace-file", &name, "/bin/echo", "again"]);
        let outcome = run(&mut command, b"")?;
        trials::check(&outcome, 0, "again\n")?;
        let text = fs::read_to_string(&file).map_err(|e| e.to_string())?;
        holds(&text, &["write(1, \"again\\n\", 6) = 6", "exit_group(0) = ?"])?;
        lacks(&text, &["brk("])?;
        lacks(&outcome.log, &["write(", "does not answer"])?;
    }
    let wrong = run(Command::new(paths::coracle()).args(["run", "--trace=no_such_call", "/bin/echo"]), b"")?;
    if wrong.status == 0 || !wrong.log.contains("`no_such_call` is no system call") {
        return Err(format!("a call that is none is not refused: {}", wrong.evidence()));
    }
    Ok(())
}

fn main() -> ExitCode {
    trials::main("network", TESTS.iter().copied())
}
