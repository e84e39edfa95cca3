//! Metrics, as Prometheus gets them: `coracle metrics`, and `coracle top` on a terminal.
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::trials::{self, Test, run};
use coracle_tests::wait::until;
use coracle_tests::{paths, ports};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

const TESTS: &[(&str, Test)] = &[
    ("prometheus_scrapes_guests", prometheus_scrapes_guests),
    ("a_server_of_metrics_stands_bad_clients", a_server_of_metrics_stands_bad_clients),
    ("a_guest_serves_its_own_metrics", a_guest_serves_its_own_metrics),
    ("top_is_a_picture_on_a_terminal", top_is_a_picture_on_a_terminal),
];

/// A directory of the test's own.
fn folder(name: &str) -> Result<PathBuf, String> {
    let folder = paths::work().join(format!("metrics-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
    Ok(folder)
}

fn coracle(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(paths::coracle());
    command.args(words).env("XDG_RUNTIME_DIR", folder).env("XDG_DATA_HOME", folder);
    command
}

/// A guest in the background, ended with this.
struct Guest<'a>(&'a Path, &'static str);

impl Guest<'_> {
    fn start<'a>(folder: &'a Path, name: &'static str, words: &[&str]) -> Result<Guest<'a>, String> {
        let started = run(coracle(folder, &["run", "-d", "--name", name]).args(words), b"")?;
        if started.status == 0 { Ok(Guest(folder, name)) } else { Err(started.evidence()) }
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let _ = run(&mut coracle(self.0, &["stop", "-t", "1", self.1]), b"");
    }
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The answer to a request, head and all.
fn ask(port: u16, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn get(port: u16, path: &str) -> std::io::Result<String> {
    ask(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// Starts `coracle metrics`, and waits until it answers.
fn serve(folder: &Path) -> Result<(Server, u16), String> {
    let port = ports::free()?;
    let server = Server::start(&mut coracle(
        folder,
        &["metrics", "--threads", "--listen", &format!("127.0.0.1:{port}")],
    ))?;
    if until(LIMIT, || get(port, "/").is_ok()) { Ok((server, port)) } else { Err(server.log()) }
}

const VOLUME: &str = "kept:/data";

fn prometheus_scrapes_guests() -> Result<(), String> {
    let folder = folder("prometheus")?;
    let script = "dd if=/dev/zero of=/data/f bs=4096 count=100 conv=fsync 2>/dev/null; sleep 10000";
    let words = ["-v", VOLUME, "--volume-size", "64M", "/bin/busybox", "--", "ash", "-c", script];
    let _busy = Guest::start(&folder, "busy", &words)?;
    let _other = Guest::start(&folder, "other", &["--cpus", "2", "/bin/busybox", "sleep", "10000"])?;
    let _closed = Guest::start(&folder, "closed", &["--control", "none", "/bin/busybox", "sleep", "10000"])?;
    let (server, port) = serve(&folder)?;
    let prometheus = ports::free()?;
    let config = folder.join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs:\n- {{job_name: coracle, scrape_interval: 10s, scrape_timeout: 10s, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
    );
    fs::write(&config, text).map_err(|e| e.to_string())?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{prometheus}"));
    let log = fs::File::create(folder.join("log")).map_err(|e| e.to_string())?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let _prometheus = Daemon(command.spawn().map_err(|e| format!("prometheus does not start: {e}"))?);
    let query =
        |expression: &str| get(prometheus, &format!("/api/v1/query?query={expression}")).unwrap_or_default();
    // Expressions, encoded for an address, and what the answer has.
    for (expression, wanted) in [
        ("coracle_guest_up%7Bguest%3D%22busy%22%7D", "\"1\"]"),
        ("coracle_guest_up%7Bguest%3D%22closed%22%7D", "\"0\"]"),
        ("count(coracle_cpu_seconds_total%7Bguest%3D%22other%22%7D)", "\"4\"]"),
        ("coracle_uptime_seconds%7Bguest%3D%22other%22%7D%20%3E%200", "\"guest\":\"other\""),
        (
            "coracle_memory_bytes%7Bkind%3D%22total%22%2Cguest%3D%22busy%22%7D%20%3E%201e8",
            "\"kind\":\"total\"",
        ),
        ("coracle_disk_write_bytes_total%20%3E%20400000", "\"device\":\"vda\""),
        ("coracle_disk_flush_operations_total%20%3E%200", "\"device\":\"vda\""),
        ("coracle_volume_size_bytes%20%3E%2040e6", "\"path\":\"/data\""),
        ("coracle_page_faults_total%7Bguest%3D%22busy%22%7D%20%3E%2010", "\"guest\":\"busy\""),
        ("coracle_context_switches_total%20%3E%200", "\"guest\":\"busy\""),
        ("coracle_thread_cpu_seconds_total%7Bguest%3D%22other%22%7D", "\"tid\":\"1\""),
        ("coracle_tcp_connections%7Bstate%3D%22listen%22%2Cguest%3D%22other%22%7D", "\"0\"]"),
    ] {
        let mut last = String::new();
        let found = until(LIMIT, || {
            last = query(expression);
            last.contains(wanted)
        });
        if !found {
            return Err(format!("{wanted} is not in the answer for {expression}: {last}\n{}", server.log()));
        }
    }
    let targets = get(prometheus, "/api/v1/targets").map_err(|e| e.to_string())?;
    if targets.contains("\"health\":\"up\"") {
        Ok(())
    } else {
        Err(format!("the target is not up: {targets}"))
    }
}

fn a_server_of_metrics_stands_bad_clients() -> Result<(), String> {
    let folder = folder("clients")?;
    let _guest = Guest::start(&folder, "guest", &["--net", "none", "/bin/busybox", "sleep", "10000"])?;
    let (server, port) = serve(&folder)?;
    // Some say nothing, one says too much.
    let silent: Vec<_> = (0..20).filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok()).collect();
    let _ = ask(port, &format!("GET /{} HTTP/1.1\r\n", "x".repeat(100_000)));
    for (request, wanted) in [
        ("GET /metrics HTTP/1.1\r\n\r\n", "\n# EOF\n"),
        (
            "GET /metrics HTTP/1.1\r\n\r\n",
            "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n",
        ),
        ("GET /metrics?x=y HTTP/1.0\r\n\r\n", "coracle_guest_up{guest=\"guest\"} "),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"),
        ("GET /other HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "),
        ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "),
    ] {
        let answer = ask(port, request).map_err(|e| format!("{request}: {e}: {}", server.log()))?;
        if !answer.contains(wanted) {
            return Err(format!("{wanted:?} is not in the answer for {request:?}: {answer}"));
        }
    }
    drop(silent);
    let busy = run(&mut coracle(&folder, &["metrics", "--listen", &format!("127.0.0.1:{port}")]), b"")?;
    if busy.status == 0 || !busy.log.contains("cannot listen on") {
        return Err(busy.evidence());
    }
    Ok(())
}

fn a_guest_serves_its_own_metrics() -> Result<(), String> {
    let folder = folder("own")?;
    let image = folder.join("sleep.img").to_string_lossy().into_owned();
    let words = ["build", "--metrics-port", "9100", "-o", &image, "/bin/busybox", "--", "sleep", "10000"];
    let built = run(&mut coracle(&folder, &words), b"")?;
    if built.status != 0 {
        return Err(built.evidence());
    }
    for mode in ["unikernel", "protected"] {
        let port = ports::free()?;
        let guest = Guest::start(
            &folder,
            "own",
            &["--mode", mode, "--cpus", "2", "-p", &format!("{port}:9100"), &image],
        )?;
        let mut last = String::new();
        let is_there = until(LIMIT, || {
            last = get(port, "/metrics").unwrap_or_default();
            last.ends_with("\n# EOF\n")
        });
        if !is_there {
            return Err(format!("the guest does not answer: {last:?}"));
        }
        for wanted in [
            "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n",
            "\ncoracle_cpu_seconds_total{cpu=\"1\",mode=\"idle\"} ",
            "\ncoracle_processes 1\n",
            "\ncoracle_tcp_connections{state=\"listen\"} 1\n",
            "\ncoracle_network_receive_bytes_total{device=\"eth0\"} ",
        ] {
            if !last.contains(wanted) {
                return Err(format!("{wanted:?} is not in {last}"));
            }
        }
        // One that says nothing does not hold others up for long, and one that says too much is cut off.
        let silent = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
        let _ = ask(port, &"x".repeat(10_000));
        let other = get(port, "/other").map_err(|e| e.to_string())?;
        let post = ask(port, "POST /metrics HTTP/1.1\r\n\r\n").map_err(|e| e.to_string())?;
        if !other.starts_with("HTTP/1.1 404 ") || !post.starts_with("HTTP/1.1 405 ") {
            return Err(format!("{other:?} {post:?}"));
        }
        drop((silent, guest));
    }
    Ok(())
}

fn tmux(folder: &Path, words: &[&str]) -> Result<String, String> {
    let done = Command::new("tmux").arg("-S").arg(folder.join("tmux")).args(words).output();
    done.map(|done| String::from_utf8_lossy(&done.stdout).into_owned())
        .map_err(|e| format!("tmux does not start: {e}"))
}

fn top_is_a_picture_on_a_terminal() -> Result<(), String> {
    let folder = folder("top")?;
    let _guest = Guest::start(
        &folder,
        "guest",
        &["/bin/busybox", "--", "ash", "-c", "sleep 10000 & while :; do :; done"],
    )?;
    let answers =
        || run(&mut coracle(&folder, &["stats", "guest"]), b"").is_ok_and(|stats| stats.status == 0);
    if !until(LIMIT, answers) {
        return Err("the guest does not answer".to_owned());
    }
    let command = format!(
        "XDG_RUNTIME_DIR={} {} top -d 0.2 guest; echo ended with $?; sleep 1000",
        folder.display(),
        paths::coracle().display()
    );
    tmux(&folder, &["-f", "/dev/null", "new-session", "-d", "-x", "110", "-y", "30", &command])?;
    let result = (|| {
        let shows = |wanted: &[&str]| {
            let mut screen = String::new();
            let found = until(LIMIT, || {
                screen = tmux(&folder, &["capture-pane", "-p"]).unwrap_or_default();
                wanted.iter().all(|text| screen.contains(text))
            });
            if found { Ok(screen) } else { Err(format!("{wanted:?} is not all on the screen:\n{screen}")) }
        };
        let all = ["guest", "CPU", "memory", "faults", "eth0", "busybox", "sleep", "q quit"];
        let screen = shows(&all)?;
        let row = |screen: &str, name: &str| screen.lines().position(|line| line.trim_end().ends_with(name));
        if row(&screen, "busybox") > row(&screen, "sleep") {
            return Err(format!("the busiest is not above:\n{screen}"));
        }
        tmux(&folder, &["send-keys", "p"])?;
        shows(&["paused"])?;
        tmux(&folder, &["send-keys", "p", "s"])?;
        shows(&["by memory"])?;
        tmux(&folder, &["send-keys", "q"])?;
        shows(&["ended with 0"]).map(|_| ())
    })();
    tmux(&folder, &["kill-server"])?;
    result
}

fn main() -> ExitCode {
    trials::main("metrics", TESTS.iter().copied())
}
