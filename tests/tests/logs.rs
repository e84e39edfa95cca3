//! What guests say, as a person gets it: `coracle logs`, rotation, drivers, /dev/log, and syslog servers.
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::outcome::Outcome;
use coracle_tests::trials::{self, Test, run};
use coracle_tests::wait::{collect, until};
use coracle_tests::{build, paths, ports};
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;

const TESTS: &[(&str, Test)] = &[
    ("lines_have_streams_and_times", lines_have_streams_and_times),
    ("files_are_rotated", files_are_rotated),
    ("programs_reach_dev_log", programs_reach_dev_log),
    ("rsyslog_receives", rsyslog_receives),
    ("a_guest_alone_sends_its_lines", a_guest_alone_sends_its_lines),
    ("a_server_is_reached_over_tls", a_server_is_reached_over_tls),
    ("journald_receives", journald_receives),
    ("what_is_lost_is_said", what_is_lost_is_said),
    ("wrong_options_are_refused", wrong_options_are_refused),
];

/// A directory of the test's own, for guests and for what it needs.
fn folder(name: &str) -> Result<PathBuf, String> {
    let folder = paths::work().join(format!("logs-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
    Ok(folder)
}

/// `coracle WORDS`, with guests in `folder`.
fn coracle(folder: &Path, words: &[&str]) -> Result<Outcome, String> {
    run(Command::new(paths::coracle()).args(words).env("XDG_RUNTIME_DIR", folder), b"")
}

/// The same, which must succeed.
fn works(folder: &Path, words: &[&str]) -> Result<Outcome, String> {
    match coracle(folder, words)? {
        done if done.status == 0 => Ok(done),
        failed => Err(format!("{words:?}: {}", failed.evidence())),
    }
}

/// Runs a script in the background to its end, under the name `guest`.
fn run_script(folder: &Path, options: &[&str], script: &str) -> Result<(), String> {
    let start = ["run", "-d", "--name", "guest", "--net", "none"];
    let words = [&start[..], options, &["/bin/busybox", "--", "ash", "-c", script]].concat();
    coracle(folder, &words)?;
    works(folder, &["wait", "guest"]).map(|_| ())
}

fn lines_have_streams_and_times() -> Result<(), String> {
    let folder = folder("streams")?;
    let script = "echo to output; echo to error >&2; logger -p auth.warning -t me to log; sleep 2; echo later; printf unfinished";
    run_script(&folder, &[], script)?;
    let logs = |words: &[&str]| works(&folder, &[&["logs", "guest"], words].concat());
    let all = logs(&[])?;
    if !all.text().starts_with("to output\n") || !all.text().contains("]: to log\nlater\nunfinished") {
        return Err(format!("not all of the output: {}", all.evidence()));
    }
    if !all.log.contains("to error\n") || !all.log.contains("coracle: ") {
        return Err(format!("error and kernel are not on standard error: {}", all.evidence()));
    }
    for (option, wanted) in
        [("--stdout", "to output"), ("--stderr", "to error"), ("--syslog", "me["), ("--kernel", "coracle: ")]
    {
        let one = logs(&[option])?;
        let text = one.text() + one.log.split_once('\n').map_or("", |(_, rest)| rest);
        let others = ["to output", "to error", "me[", "coracle: "].iter().filter(|other| **other != wanted);
        if !text.contains(wanted) || others.into_iter().any(|other| text.contains(other)) {
            return Err(format!("{option}: {}", one.evidence()));
        }
    }
    if logs(&["--stdout", "-n", "2"])?.text() != "later\nunfinished" {
        return Err("not the last two lines of the output".to_owned());
    }
    // The time of a line divides the lines.
    let timed = logs(&["-t", "--stdout"])?.text();
    let time = |text: &str| {
        let line = timed.lines().find(|line| line.ends_with(text)).unwrap_or_default();
        line.split(' ').next().unwrap_or_default().to_owned()
    };
    let (first, later) = (time("to output"), time("later"));
    if first.len() != "2026-11-29T18:05:00.123456789Z".len() || first >= later {
        return Err(format!("times of {timed:?}"));
    }
    let since = logs(&["--stdout", "--since", &later])?.text();
    let before = logs(&["--stdout", "--until", &first])?.text();
    let none = logs(&["--stdout", "--until", "1h"])?.text();
    let recent = logs(&["--stdout", "--since", "1h"])?.text();
    if since != "later\nunfinished"
        || before != "to output\n"
        || !none.is_empty()
        || !recent.contains("to output")
    {
        return Err(format!("since {later}: {since:?}; until {first}: {before:?}; {none:?}; {recent:?}"));
    }
    let json = logs(&["--json", "--syslog"])?.text();
    for wanted in
        ["\"stream\":\"syslog\"", "\"facility\":\"auth\"", "\"severity\":\"warning\"", "\"tag\":\"me\""]
    {
        if !json.contains(wanted) {
            return Err(format!("{wanted} is not in {json}"));
        }
    }
    Ok(())
}

fn files_are_rotated() -> Result<(), String> {
    let folder = folder("rotation")?;
    let script = "for i in $(seq 1 2000); do echo line $i; done";
    run_script(&folder, &["--log-opt", "max-size=16k", "--log-opt", "max-file=3"], script)?;
    let directory = folder.join("coracle");
    let mut sizes = Vec::new();
    for entry in fs::read_dir(&directory).map_err(|e| e.to_string())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("guest.log") && name != "guest.logging" {
            sizes.push(entry.metadata().map_err(|e| e.to_string())?.len());
        }
    }
    if sizes.len() != 3 || sizes.iter().any(|size| *size > 16 << 10) {
        return Err(format!("files of {sizes:?} bytes"));
    }
    let text = works(&folder, &["logs", "--stdout", "guest"])?.text();
    let lines: Vec<&str> = text.lines().collect();
    let first: usize = lines[0].trim_start_matches("line ").parse().map_err(|_| lines[0].to_owned())?;
    let expected: Vec<String> = (first..=2000).map(|n| format!("line {n}")).collect();
    if lines != expected {
        return Err(format!("the last lines are not all there: from {first}, {} lines", lines.len()));
    }
    // What follows misses nothing as long as it is read while it is there.
    let script =
        "for i in $(seq 1 50); do echo line $i; done; sleep 1; for i in $(seq 51 400); do echo line $i; done";
    let start = ["run", "-d", "--name", "followed", "--net", "none", "--log-opt", "max-size=4k", "--log-opt"];
    works(&folder, &[&start[..], &["max-file=50", "/bin/busybox", "--", "ash", "-c", script]].concat())?;
    let text = works(&folder, &["logs", "-f", "--stdout", "followed"])?.text();
    let expected: String = (1..=400).map(|n| format!("line {n}\n")).collect();
    if text != expected {
        return Err(format!("a log that is followed across files: {} lines", text.lines().count()));
    }
    works(&folder, &["rm", "guest"])?;
    let left = fs::read_dir(&directory).map_err(|e| e.to_string())?.flatten();
    let left: Vec<_> =
        left.map(|e| e.file_name()).filter(|name| name.to_string_lossy().starts_with("guest")).collect();
    if left.is_empty() { Ok(()) } else { Err(format!("left after rm: {left:?}")) }
}

fn programs_reach_dev_log() -> Result<(), String> {
    let folder = folder("devlog")?;
    let program = build::c_server(&paths::programs().join("servers/syslogger.c"))?;
    let python = "import logging, logging.handlers as h; l = logging.getLogger(); \
                  l.addHandler(h.SysLogHandler('/dev/log', facility='daemon')); l.error('from python')";
    let program = program.to_string_lossy();
    for mode in ["unikernel", "protected"] {
        for (words, wanted) in [
            (
                vec![&*program],
                vec![
                    "\"log\":\"of local3: 42\\n\",\"stream\":\"syslog\"",
                    "\"facility\":\"local3\",\"severity\":\"warning\",\"tag\":\"speaker\",\"pid\":1}",
                    "\"facility\":\"auth\",\"severity\":\"err\"",
                ],
            ),
            (
                vec!["/usr/bin/logger", "-p", "mail.notice", "-t", "tool", "of logger"],
                vec![
                    "\"log\":\"of logger\\n\"",
                    "\"facility\":\"mail\",\"severity\":\"notice\",\"tag\":\"tool\"",
                ],
            ),
            (
                vec!["/usr/bin/python3", "-c", python],
                vec!["\"log\":\"from python\\n\"", "\"facility\":\"daemon\",\"severity\":\"err\""],
            ),
        ] {
            let start =
                ["run", "--name", "guest", "--log-driver", "json-file", "--net", "none", "--mode", mode];
            works(&folder, &[&start[..], &words].concat())?;
            let json = works(&folder, &["logs", "--json", "guest"])?.text();
            if let Some(missing) = wanted.iter().find(|text| !json.contains(**text)) {
                return Err(format!("{missing} is missing after {words:?} in {mode} mode: {json}"));
            }
            let long = "x".repeat(6000);
            if words[0] == program && !json.contains(&format!("{{\"log\":\"{long}\\n\"")) {
                return Err("a long message did not arrive whole".to_owned());
            }
        }
    }
    // Without a log, messages are shown where the kernel's are.
    let shown = works(&folder, &["run", "--net", "none", "/usr/bin/logger", "-t", "tool", "shown"])?;
    if shown.log.contains("coracle: tool") { Ok(()) } else { Err(shown.evidence()) }
}

/// A process that is ended with this.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn daemon(command: &mut Command) -> Result<Daemon, String> {
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    started.map(Daemon).map_err(|e| format!("{:?} does not start: {e}", command.get_program()))
}

/// Waits until a file holds all of `wanted`.
fn holds(path: &Path, wanted: &[&str]) -> Result<(), String> {
    let mut text = String::new();
    let found = until(LIMIT, || {
        text = fs::read_to_string(path).unwrap_or_default();
        wanted.iter().all(|wanted| text.contains(wanted))
    });
    if found { Ok(()) } else { Err(format!("{wanted:?} is not all in {text:?}")) }
}

/// What a server gets of each stream, as rsyslog's template `%syslogfacility-text%.%syslogseverity-text% %hostname% %app-name% %msg%`
/// has it.
const RECEIVED: [&str; 3] = [
    "daemon.info ship guest[stdout] to output",
    "daemon.err ship guest[stderr] to error",
    "auth.warning ship me[syslog] to log",
];
const SPEAKS: &str = "echo to output; echo to error >&2; logger -p auth.warning -t me to log";

fn rsyslog_receives() -> Result<(), String> {
    let folder = folder("rsyslog")?;
    let tcp = ports::free()?;
    let udp =
        UdpSocket::bind("127.0.0.1:0").and_then(|it| it.local_addr()).map_err(|e| e.to_string())?.port();
    let conf = folder.join("rsyslog.conf");
    let (out, local) = (folder.join("received"), folder.join("log"));
    let text = format!(
        "module(load=\"imudp\")\nmodule(load=\"imtcp\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
         template(name=\"t\" type=\"string\" string=\"%inputname% %syslogfacility-text%.%syslogseverity-text% %hostname% \
         %app-name%[%msgid%] %msg%\\n\")\n\
         input(type=\"imudp\" address=\"127.0.0.1\" port=\"{udp}\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{tcp}\")\n\
         input(type=\"imuxsock\" Socket=\"{}\")\naction(type=\"omfile\" file=\"{}\" template=\"t\")\n",
        local.display(),
        out.display()
    );
    fs::write(&conf, text).map_err(|e| e.to_string())?;
    let mut command = Command::new("/usr/sbin/rsyslogd");
    command.arg("-n").arg("-f").arg(&conf).arg("-i").arg(folder.join("pid"));
    let _rsyslog = daemon(&mut command)?;
    if !until(LIMIT, || local.exists()) {
        return Err("rsyslogd does not start".to_owned());
    }
    for scheme in ["udp", "tcp"] {
        let server = format!("{scheme}://127.0.0.1:{}", if scheme == "udp" { udp } else { tcp });
        let options = ["--hostname", "ship", "--syslog", &server];
        run_script(&folder, &options, SPEAKS)?;
        let wanted = RECEIVED.map(|line| format!("im{scheme} {line}"));
        holds(&out, &wanted.each_ref().map(String::as_str))?;
        holds(&out, &[&format!("im{scheme} kern.notice ship kernel[kernel] ")])?;
        // The file has them all the same.
        if !works(&folder, &["logs", "guest"])?.text().contains("to output") {
            return Err("the driver gets nothing if there is a server".to_owned());
        }
    }
    // The daemon of this machine, by the driver: without a host name in the message.
    let address = format!("address=unix://{}", local.display());
    let options = [
        "--log-driver",
        "syslog",
        "--log-opt",
        &address,
        "--log-opt",
        "tag=boat",
        "--log-opt",
        "facility=local5",
    ];
    run_script(&folder, &options, SPEAKS)?;
    holds(&out, &["imuxsock local5.info", "boat[-]  to output", "auth.warning", "me[-]  to log"])?;
    let elsewhere = coracle(&folder, &["logs", "guest"])?;
    if elsewhere.status == 0 || !elsewhere.log.contains("syslog daemon") {
        return Err(elsewhere.evidence());
    }
    Ok(())
}

/// An image that is booted by QEMU alone sends its lines itself; one that the command runs leaves that to the command.
fn a_guest_alone_sends_its_lines() -> Result<(), String> {
    const LAST: &str = "and this has no end";
    let folder = folder("alone")?;
    let udp = UdpSocket::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    udp.set_read_timeout(Some(LIMIT)).map_err(|e| e.to_string())?;
    let tcp = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    let port = |address: std::io::Result<std::net::SocketAddr>| {
        address.map(|address| address.port()).map_err(|e| e.to_string())
    };
    let script = format!("echo one; logger -p auth.warning -t me two; echo three >&2; printf '{LAST}'");
    let servers = [
        format!("udp://10.0.2.2:{}", port(udp.local_addr())?),
        format!("tcp://10.0.2.2:{}", port(tcp.local_addr())?),
    ];
    for (server, counted) in servers.iter().zip([false, true]) {
        let image = folder.join("alone.img");
        let image = image.to_str().ok_or("a strange path")?;
        let build = ["build", "-o", image, "--hostname", "ship", "--syslog", server, "/bin/busybox", "--"];
        works(&folder, &[&build[..], &["ash", "-c", &script]].concat())?;
        if !works(&folder, &["inspect", image])?.text().contains(server) {
            return Err("inspect does not name the server".to_owned());
        }
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-M", "q35", "-cpu", "max", "-m", "256", "-nodefaults", "-no-reboot", "-display", "none"]);
        qemu.args(["-serial", "stdio", "-nic", "user,model=virtio-net-pci"]);
        qemu.args(["-device", "isa-debug-exit,iobase=0x501,iosize=1", "-kernel", image]);
        qemu.args(["-append", "ip=10.0.2.15/24 gw=10.0.2.2 poweroff=isa-debug-exit@0x501"]);
        let taken = if counted {
            let accepting = tcp.try_clone().map_err(|e| e.to_string())?;
            let reader = thread::spawn(move || accepting.accept().map(|(stream, _)| collect(stream).join()));
            let done = run(&mut qemu, b"")?;
            let bytes = reader.join().ok().and_then(Result::ok).and_then(Result::ok);
            bytes.ok_or_else(|| done.evidence())?
        } else {
            let done = run(&mut qemu, b"")?;
            let mut all = Vec::new();
            let mut datagram = [0; 2048];
            while !String::from_utf8_lossy(&all).contains(LAST) {
                let Ok(len) = udp.recv(&mut datagram) else { return Err(done.evidence()) };
                all.extend([&datagram[..len], b"\n"].concat());
            }
            all
        };
        let text = String::from_utf8_lossy(&taken);
        // Facility daemon and auth; TCP has the length in front.
        for (priority, rest) in [
            ("<30>1 ", " ship busybox - stdout - one"),
            ("<36>1 ", " ship me "),
            ("<30>1 ", " ship busybox - stdout - three"),
            ("<30>1 ", &format!(" ship busybox - stdout - {LAST}")),
        ] {
            let fits = |at: usize| text[at..].split_once('<').is_some_and(|(_, line)| line.contains(rest));
            if !text.match_indices(priority).any(|(at, _)| fits(at)) {
                return Err(format!("no message with {rest:?} in {text:?}"));
            }
        }
        let length = text.split('<').next().map(|head| head.trim().parse::<u32>());
        if counted && !matches!(length, Some(Ok(_))) {
            return Err(format!("no length in front of {text:?}"));
        }
    }
    // The command sends the lines of the same image, and a guest none.
    let server = servers[1].replace("10.0.2.2", "127.0.0.1");
    let accepting = tcp.try_clone().map_err(|e| e.to_string())?;
    let reader = thread::spawn(move || accepting.accept().map(|(stream, _)| collect(stream).join()));
    let image = folder.join("alone.img");
    let image = image.to_str().ok_or("a strange path")?;
    works(&folder, &["run", "-d", "--name", "guest", "--host-loopback", "--syslog", &server, image])?;
    works(&folder, &["wait", "guest"])?;
    let bytes = reader.join().ok().and_then(Result::ok).and_then(Result::ok).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    if !text.contains(" guest guest - stderr - three") || text.contains("busybox") {
        return Err(format!("the command sent {text:?}"));
    }
    tcp.set_nonblocking(true).map_err(|e| e.to_string())?;
    if tcp.accept().is_ok() {
        return Err("the guest sent its lines beside the command".to_owned());
    }
    let refused = coracle(&folder, &["build", "--syslog", "tls://log.example:6514", "/bin/busybox"])?;
    if refused.status != 125 || !refused.log.contains("coracle run --syslog tls") {
        return Err(refused.evidence());
    }
    Ok(())
}

fn a_server_is_reached_over_tls() -> Result<(), String> {
    let folder = folder("tls")?;
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (key, certificate, received) = (file("key.pem"), file("cert.pem"), folder.join("received"));
    let words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
    let made = Command::new("openssl")
        .args(words)
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &certificate])
        .output();
    if !made.as_ref().is_ok_and(|made| made.status.success()) {
        return Err(format!("openssl makes no certificate: {made:?}"));
    }
    let port = ports::free()?.to_string();
    let output = fs::File::create(&received).map_err(|e| e.to_string())?;
    let mut command = Command::new("openssl");
    command.args([
        "s_server",
        "-quiet",
        "-accept",
        &format!("127.0.0.1:{port}"),
        "-key",
        &key,
        "-cert",
        &certificate,
    ]);
    let spawned = command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::null()).spawn();
    let _server = Daemon(spawned.map_err(|e| e.to_string())?);
    let (server, authority) = (format!("tls://localhost:{port}"), format!("ca={certificate}"));
    let options = ["--hostname", "ship", "--syslog", &server, "--log-opt", &authority];
    run_script(&folder, &options, SPEAKS)?;
    // Octet counting: the length stands before each message.
    let text = "ship guest - stdout - to output";
    holds(&received, &[text, "ship guest - stderr - to error", "ship me ", " syslog - to log"])?;
    let all = fs::read_to_string(&received).unwrap_or_default();
    let before = all.split(text).next().unwrap_or_default();
    let (count, head) = before.rsplit_once(" <").unwrap_or_default();
    let len: usize = count
        .trim_end()
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap_or_default()
        .parse()
        .unwrap_or(0);
    if len != head.len() + 1 + text.len() {
        return Err(format!("the length {len} of a message is wrong in {all:?}"));
    }
    // One whose certificate is not trusted gets nothing.
    let words = ["run", "--net", "none", "--syslog", &server, "/bin/busybox", "echo", "secret"];
    let refused = works(&folder, &words)?;
    let leaked = fs::read_to_string(&received).unwrap_or_default().contains("secret");
    if refused.log.contains("lines of the guest's log were lost")
        && refused.log.contains("certificate")
        && !leaked
    {
        Ok(())
    } else {
        Err(format!("a server that is not trusted: leaked {leaked}, {}", refused.evidence()))
    }
}

fn journald_receives() -> Result<(), String> {
    let folder = folder("journald")?;
    let path = folder.join("socket");
    let socket = UnixDatagram::bind(&path).map_err(|e| e.to_string())?;
    let address = format!("address=unix://{}", path.display());
    run_script(&folder, &["--log-driver", "journald", "--log-opt", &address], SPEAKS)?;
    socket.set_nonblocking(true).map_err(|e| e.to_string())?;
    let mut all = String::new();
    let mut buffer = vec![0; 65536];
    while let Ok(len) = socket.recv(&mut buffer) {
        all += &String::from_utf8_lossy(&buffer[..len]);
    }
    for wanted in [
        "MESSAGE=to output\nPRIORITY=6\n",
        "MESSAGE=to error\nPRIORITY=3\n",
        "MESSAGE=to log\nPRIORITY=4\nSYSLOG_FACILITY=4\nCORACLE_NAME=guest\nCORACLE_STREAM=syslog\n",
        "SYSLOG_IDENTIFIER=me\n",
    ] {
        if !all.contains(wanted) {
            return Err(format!("{wanted:?} is not in {all:?}"));
        }
    }
    let elsewhere = coracle(&folder, &["logs", "guest"])?;
    if elsewhere.log.contains("journalctl CORACLE_NAME=guest") { Ok(()) } else { Err(elsewhere.evidence()) }
}

fn what_is_lost_is_said() -> Result<(), String> {
    let folder = folder("lost")?;
    // Nothing listens there.
    let server = format!("tcp://127.0.0.1:{}", ports::free()?);
    let words =
        ["run", "--name", "guest", "--net", "none", "--syslog", &server, "/bin/busybox", "echo", "hello"];
    let ended = works(&folder, &words)?;
    if ended.text() != "hello\n" || !ended.log.contains("2 lines of the guest's log were lost") {
        return Err(ended.evidence());
    }
    // A server that comes late gets what waited.
    let port = ports::free()?;
    let server = format!("tcp://127.0.0.1:{port}");
    let mut command = Command::new(paths::coracle());
    command.env("XDG_RUNTIME_DIR", &folder).args([
        "run",
        "--net",
        "none",
        "--syslog",
        &server,
        "/bin/busybox",
        "ash",
        "-c",
    ]);
    let mut guest = Server::start(command.arg("echo early; sleep 3"))?;
    if !until(LIMIT, || guest.log().contains("early")) {
        return Err(format!("it does not start: {}", guest.log()));
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|e| e.to_string())?;
    let (stream, _) = listener.accept().map_err(|e| e.to_string())?;
    let text = std::io::read_to_string(stream).map_err(|e| e.to_string())?;
    guest.wait(LIMIT);
    if text.contains("stdout - early") { Ok(()) } else { Err(format!("what waited did not come: {text:?}")) }
}

fn wrong_options_are_refused() -> Result<(), String> {
    let folder = folder("wrong")?;
    for (options, why) in [
        (&["--log-driver", "fluentd"][..], "is no log driver"),
        (&["--log-opt", "max-size"], "is not NAME=VALUE"),
        (&["--log-opt", "max-size=many"], "is not an amount"),
        (&["--log-opt", "max-file=0"], "a number from 1 to 100"),
        (&["--log-opt", "color=red"], "has no option `color`"),
        (&["--log-driver", "syslog", "--log-opt", "address=http://a"], "is no address"),
        (&["--log-driver", "json-file"], "needs a name"),
        (&["--syslog", "unix:///dev/log"], "a server is udp://HOST:PORT"),
    ] {
        let refused =
            coracle(&folder, &[&["run", "--net", "none"], options, &["/bin/busybox", "true"]].concat())?;
        if refused.status != 125 || !refused.log.contains(why) {
            return Err(format!("{options:?}: {}", refused.evidence()));
        }
    }
    let refused = coracle(&folder, &["logs", "--since", "yesterday", "guest"])?;
    if refused.log.contains("is no time") { Ok(()) } else { Err(refused.evidence()) }
}

fn main() -> ExitCode {
    trials::main("logs", TESTS.iter().copied())
}
