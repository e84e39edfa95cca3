//! The life of a guest: start, restart by a policy, stop, rename and rm, also at the same time, and after the command was killed.
use coracle_tests::guest::LIMIT;
use coracle_tests::json;
use coracle_tests::outcome::Outcome;
use coracle_tests::trials::{self, Test, check, run};
use coracle_tests::wait::until;
use coracle_tests::{paths, ports};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

const TESTS: &[(&str, Test)] = &[
    ("failures_restart_it_so_often", failures_restart_it_so_often),
    ("always_ends_by_stop", always_ends_by_stop),
    ("it_starts_with_its_options", it_starts_with_its_options),
    (
        "a_killed_command_leaves_a_state_that_is_understood",
        a_killed_command_leaves_a_state_that_is_understood,
    ),
    ("two_starts_at_once", two_starts_at_once),
    ("a_running_guest_is_renamed", a_running_guest_is_renamed),
    ("a_guest_is_removed", a_guest_is_removed),
    ("the_hosts_boot_starts_them", the_hosts_boot_starts_them),
    ("exit_statuses_are_dockers", exit_statuses_are_dockers),
    ("health_is_checked_inside", health_is_checked_inside),
    ("an_unhealthy_guest_is_dealt_with", an_unhealthy_guest_is_dealt_with),
    ("an_image_carries_its_checks", an_image_carries_its_checks),
    ("tables_are_json_if_asked", tables_are_json_if_asked),
    ("shells_complete_names", shells_complete_names),
    ("man_pages_are_clean", man_pages_are_clean),
    ("races_leave_no_guest_behind", races_leave_no_guest_behind),
    ("a_full_disk_changes_no_status", a_full_disk_changes_no_status),
];

/// A world of its own for a test: no other test's guests are in it.
struct World {
    folder: PathBuf,
}

impl World {
    fn new(name: &str) -> Result<World, String> {
        let folder = paths::work().join(format!("life-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for part in ["run", "state", "data"] {
            fs::create_dir_all(folder.join(part)).map_err(|e| e.to_string())?;
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
        Ok(World { folder })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(paths::coracle());
        command
            .args(words)
            .env("XDG_RUNTIME_DIR", self.folder.join("run"))
            .env("XDG_STATE_HOME", self.folder.join("state"))
            .env("XDG_DATA_HOME", self.folder.join("data"));
        command
    }

    fn run(&self, words: &[&str]) -> Result<Outcome, String> {
        run(&mut self.command(words), b"")
    }

    /// Runs a command that has to succeed; returns what it prints.
    fn must(&self, words: &[&str]) -> Result<String, String> {
        let outcome = self.run(words)?;
        if outcome.status == 0 { Ok(outcome.text()) } else { Err(outcome.evidence()) }
    }

    /// Runs busybox's shell in the background.
    fn shell(&self, name: &str, options: &[&str], script: &str) -> Result<(), String> {
        let mut words = vec!["run", "-d", "--name", name, "--net", "none"];
        words.extend(options);
        words.extend(["/bin/busybox", "ash", "-c", script]);
        self.must(&words).map(|_| ())
    }

    /// A field of what `coracle ps --all --json` says of a guest, as text.
    fn field(&self, name: &str, field: &str) -> Result<String, String> {
        let text = self.must(&["ps", "--all", "--json"])?;
        let guests = json::parse(&text)?;
        let guests = guests.as_array().ok_or("it is a list")?;
        let guest =
            guests.iter().find(|guest| guest["name"] == name).ok_or(format!("no {name} in {text}"))?;
        Ok(match &guest[field] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    fn becomes(&self, name: &str, field: &str, wanted: &str) -> Result<(), String> {
        let mut last = String::new();
        let came = until(LIMIT, || {
            last = self.field(name, field).unwrap_or_else(|error| error);
            last == wanted
        });
        if came { Ok(()) } else { Err(format!("{field} of {name} is {last}, not {wanted}")) }
    }

    fn expect(&self, name: &str, field: &str, wanted: &str) -> Result<(), String> {
        match self.field(name, field)? {
            is if is == wanted => Ok(()),
            is => Err(format!("{field} of {name} is {is}, not {wanted}")),
        }
    }

    /// Waits until `coracle ps` says this of a guest's health; returns what its last check has found.
    fn health_becomes(&self, name: &str, wanted: &str) -> Result<String, String> {
        let (mut health, mut listed, mut is_listed) = (serde_json::Value::Null, String::new(), false);
        // It may not stay so until both were asked for.
        let came = until(LIMIT, || {
            if health["status"] != wanted {
                let text = self.field(name, "health").unwrap_or_default();
                health = serde_json::from_str(&text).unwrap_or_default();
            }
            if !is_listed {
                listed = self.must(&["ps"]).unwrap_or_else(|error| error);
                let is_so = |line: &str| line.starts_with(name) && line.contains(&format!(", {wanted}"));
                is_listed = listed.lines().any(is_so);
            }
            health["status"] == wanted && is_listed
        });
        match came {
            true => Ok(health["last"].as_str().unwrap_or_default().to_owned()),
            false => Err(format!("its health is {health}, not {wanted}: {listed}")),
        }
    }

    fn pid(&self, name: &str) -> Result<Pid, String> {
        let text = self.field(name, "pid")?;
        text.parse().ok().and_then(Pid::from_raw).ok_or(format!("{name} has no process: {text}"))
    }

    /// Machines that run in this world: QEMUs with its directory in their environment.
    fn machines(&self) -> usize {
        let mark = self.folder.join("run").to_string_lossy().into_owned();
        let is_ours = |entry: &fs::DirEntry| {
            let read = |file| fs::read(entry.path().join(file)).unwrap_or_default();
            read("comm").starts_with(b"qemu")
                && String::from_utf8_lossy(&read("environ")).contains(&mark)
                // Not one that has ended, and that no process has waited for yet.
                && !String::from_utf8_lossy(&read("stat")).contains(") Z ")
        };
        fs::read_dir("/proc").into_iter().flatten().flatten().filter(is_ours).count()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.run(&["stop", "--all", "-t", "0"]);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The answer to `GET path`, without its header; tried until there is one.
fn get(port: u16, path: &str) -> Result<String, String> {
    let mut answer = String::new();
    let came = until(LIMIT, || {
        answer.clear();
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
        let asked = write!(stream, "GET {path} HTTP/1.0\r\n\r\n");
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.contains("\r\n\r\n")
    });
    if !came {
        return Err(format!("no answer, but {answer:?}"));
    }
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

fn failures_restart_it_so_often() -> Result<(), String> {
    let world = World::new("failures")?;
    world.shell("fails", &["--restart", "on-failure:2"], "echo once more; exit 4")?;
    check(&world.run(&["wait", "fails"])?, 0, "4\n")?;
    world.expect("fails", "restarts", "2")?;
    world.expect("fails", "exit_status", "4")?;
    world.expect("fails", "phase", "ended")?;
    let log = world.must(&["logs", "fails"])?;
    if log.lines().filter(|line| line.ends_with("once more")).count() != 3 {
        return Err(format!("it did not run three times: {log}"));
    }
    // What succeeds is not started again.
    world.shell("succeeds", &["--restart", "on-failure"], "exit 0")?;
    check(&world.run(&["wait", "succeeds"])?, 0, "0\n")?;
    world.expect("succeeds", "restarts", "0")?;
    world.expect("succeeds", "out_of_memory", "false")?;
    let words =
        ["run", "-q", "--name", "fills", "-m", "32M", "--net", "none", "/bin/busybox", "tail", "/dev/zero"];
    let full = world.run(&words)?;
    if full.status != 137 {
        return Err(full.evidence());
    }
    world.expect("fills", "out_of_memory", "true")?;
    // In the foreground the command's status is the last one's.
    let words = ["run", "-q", "--net", "none", "--restart", "on-failure:1", "/bin/busybox", "ash", "-c"];
    let outcome = run(world.command(&words).arg("echo x; exit 5"), b"")?;
    check(&outcome, 5, "x\nx\n")
}

fn always_ends_by_stop() -> Result<(), String> {
    let world = World::new("always")?;
    world.shell("again", &["--restart", "always"], "exit 0")?;
    let restarted = until(LIMIT, || {
        world.field("again", "restarts").is_ok_and(|text| text.parse().is_ok_and(|times: u32| times >= 2))
    });
    if !restarted {
        return Err(format!("it does not start again: {}", world.must(&["logs", "again"])?));
    }
    // Wherever it is between two runs, one stop is enough.
    check(&world.run(&["stop", "again"])?, 0, "again\n")?;
    world.expect("again", "running", "false")?;
    world.expect("again", "phase", "ended")?;
    if world.machines() != 0 {
        return Err("a machine is left".to_owned());
    }
    // Once more, while it runs.
    world.must(&["start", "again"])?;
    check(&world.run(&["stop", "again"])?, 0, "again\n")?;
    world.expect("again", "running", "false")
}

fn it_starts_with_its_options() -> Result<(), String> {
    let world = World::new("options")?;
    let port = ports::free()?;
    let script = "echo $WORD >> /data/f; cp /data/f /tmp/f; httpd -f -p 8080 -h /tmp & echo up; wait";
    let publish = format!("{port}:8080");
    let words = [
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        &publish,
        "-v",
        "web:/data",
        "--volume-size",
        "64M",
        "-e",
        "WORD",
        "/bin/busybox",
        "ash",
        "-c",
        script,
    ];
    let started = run(world.command(&words).env("WORD", "line"), b"")?;
    check(&started, 0, "web\n")?;
    if get(port, "/f")? != "line\n" {
        return Err(format!("it does not serve its file: {}", world.must(&["logs", "web"])?));
    }
    check(&world.run(&["restart", "-t", "0", "web"])?, 0, "web\n")?;
    if get(port, "/f")? != "line\nline\n" {
        return Err("after the restart its file is another".to_owned());
    }
    // What runs is left alone.
    let pid = world.pid("web")?;
    check(&world.run(&["start", "web"])?, 0, "web\n")?;
    if world.pid("web")? != pid {
        return Err("a start has replaced a guest that ran".to_owned());
    }
    check(&world.run(&["stop", "-t", "0", "web"])?, 0, "web\n")?;
    check(&world.run(&["start", "web"])?, 0, "web\n")?;
    match get(port, "/f")?.as_str() {
        "line\nline\nline\n" => {}
        other => return Err(format!("after the start its file is {other:?}")),
    }
    let unknown = world.run(&["start", "nobody"])?;
    if unknown.status == 0 || !unknown.log.contains("there is no guest `nobody`") {
        return Err(unknown.evidence());
    }
    Ok(())
}

fn a_killed_command_leaves_a_state_that_is_understood() -> Result<(), String> {
    let world = World::new("killed")?;
    world.shell("victim", &["--restart", "always"], "echo up; sleep 600")?;
    kill_process(world.pid("victim")?, Signal::KILL).map_err(|e| e.to_string())?;
    if !until(LIMIT, || world.machines() == 0) {
        return Err("the machine outlives its command".to_owned());
    }
    world.becomes("victim", "running", "false")?;
    world.expect("victim", "phase", "ended")?;
    world.expect("victim", "exit_status", "null")?;
    let waited = world.run(&["wait", "victim"])?;
    if waited.status == 0 {
        return Err(format!("its status is known: {}", waited.evidence()));
    }
    world.must(&["start", "victim"])?;
    world.expect("victim", "running", "true")?;
    // Between two runs.
    world.must(&["stop", "-t", "0", "victim"])?;
    world.must(&["rm", "victim"])?;
    world.shell("loops", &["--restart", "always"], "exit 1")?;
    world.becomes("loops", "phase", "restarting")?;
    kill_process(world.pid("loops")?, Signal::KILL).map_err(|e| e.to_string())?;
    world.becomes("loops", "running", "false")?;
    check(&world.run(&["rm", "loops"])?, 0, "loops\n")?;
    check(&world.run(&["ps", "--all", "--json"])?, 0, "[]\n")
}

fn two_starts_at_once() -> Result<(), String> {
    let world = World::new("twice")?;
    world.shell("one", &[], "echo up; sleep 600")?;
    for _ in 0..3 {
        world.must(&["stop", "-t", "0", "one"])?;
        let start = || {
            let mut command = world.command(&["start", "one"]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().map_err(|e| e.to_string())
        };
        let children = [start()?, start()?, start()?];
        for child in children {
            let output = child.wait_with_output().map_err(|e| e.to_string())?;
            if !output.status.success() {
                return Err(format!("a start fails: {}", String::from_utf8_lossy(&output.stderr)));
            }
        }
        world.expect("one", "running", "true")?;
        if world.machines() != 1 {
            return Err(format!("{} machines run", world.machines()));
        }
    }
    let taken = world.run(&["run", "--name", "one", "--net", "none", "/bin/busybox", "true"])?;
    if taken.status != 125 || !taken.log.contains("the name `one` is taken") {
        return Err(taken.evidence());
    }
    Ok(())
}

fn a_running_guest_is_renamed() -> Result<(), String> {
    let world = World::new("rename")?;
    world.shell("old", &["--restart", "unless-stopped"], "echo up; sleep 600")?;
    world.must(&["rename", "old", "new"])?;
    let listed = world.must(&["ps", "--all"])?;
    if listed.contains("old ") || !listed.contains("new ") {
        return Err(listed);
    }
    // It can be asked by its new name, and another may have the old one.
    let mut figures = String::new();
    let asked = until(LIMIT, || {
        figures = world.field("new", "processes").unwrap_or_default();
        figures.parse::<u32>().is_ok()
    });
    if !asked {
        return Err(format!("the renamed guest does not answer: {figures}"));
    }
    world.shell("old", &[], "exit 0")?;
    check(&world.run(&["wait", "old"])?, 0, "0\n")?;
    let refused = world.run(&["rename", "old", "new"])?;
    if refused.status == 0 || !refused.log.contains("the name `new` is taken") {
        return Err(refused.evidence());
    }
    check(&world.run(&["stop", "-t", "0", "new"])?, 0, "new\n")?;
    check(&world.run(&["start", "new"])?, 0, "new\n")?;
    check(&world.run(&["rm", "-f", "new"])?, 0, "new\n")?;
    check(&world.run(&["rm", "old"])?, 0, "old\n")?;
    check(&world.run(&["ps", "--all", "--json"])?, 0, "[]\n")
}

fn a_guest_is_removed() -> Result<(), String> {
    let world = World::new("rm")?;
    world.shell("runs", &["--restart", "always"], "echo up; sleep 600")?;
    let refused = world.run(&["rm", "runs"])?;
    if refused.status == 0 || !refused.log.contains("`runs` is running") {
        return Err(refused.evidence());
    }
    check(&world.run(&["rm", "-f", "runs"])?, 0, "runs\n")?;
    if world.machines() != 0 {
        return Err("a machine is left".to_owned());
    }
    // One that removes itself: its status is known to those that wait for it.
    world.shell("once", &["--rm"], "sleep 1; exit 6")?;
    check(&world.run(&["wait", "once"])?, 0, "6\n")?;
    let left = fs::read_dir(world.folder.join("run/coracle")).map_err(|e| e.to_string())?;
    let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
    if !left.is_empty() {
        return Err(format!("{left:?} are left"));
    }
    let both = world.run(&["run", "--rm", "--restart", "always", "--net", "none", "/bin/busybox", "true"])?;
    if both.status != 125 || !both.log.contains("--rm cannot be used with --restart") {
        return Err(both.evidence());
    }
    Ok(())
}

fn the_hosts_boot_starts_them() -> Result<(), String> {
    let world = World::new("boot")?;
    for (name, policy) in [
        ("kept", "always"),
        ("wanted", "unless-stopped"),
        ("stopped", "unless-stopped"),
        ("fails", "on-failure"),
    ] {
        world.shell(name, &["--restart", policy], "echo up; sleep 600")?;
    }
    world.must(&["stop", "-t", "0", "stopped"])?;
    // The end of the host, and an empty /run at its next boot.
    world.must(&["stop", "--all", "--shutdown", "-t", "0"])?;
    fs::remove_dir_all(world.folder.join("run")).map_err(|e| e.to_string())?;
    fs::create_dir(world.folder.join("run")).map_err(|e| e.to_string())?;
    let listed = world.must(&["ps", "--all"])?;
    if !listed.contains("kept") || !listed.contains("stopped") || listed.contains("fails") {
        return Err(format!("after a boot there are: {listed}"));
    }
    check(&world.run(&["start", "--all"])?, 0, "kept\nwanted\n")?;
    world.expect("kept", "running", "true")?;
    world.expect("wanted", "running", "true")?;
    world.expect("stopped", "running", "false")?;
    world.must(&["start", "stopped"])?;
    check(&world.run(&["rm", "-f", "kept", "wanted", "stopped"])?, 0, "kept\nwanted\nstopped\n")?;
    check(&world.run(&["start", "--all"])?, 0, "")
}

fn exit_statuses_are_dockers() -> Result<(), String> {
    let world = World::new("statuses")?;
    let file = world.folder.join("file");
    fs::write(&file, "no program\n").map_err(|e| e.to_string())?;
    let file = file.to_string_lossy().into_owned();
    let folder = world.folder.to_string_lossy().into_owned();
    for (words, status) in [
        (&["--no-such-option", "/bin/busybox"][..], 125),
        (&["-m", "1K", "/bin/busybox", "true"], 125),
        (&[&file], 126),
        (&[&folder], 126),
        (&["/no/such/program"], 127),
        (&["no-such-program-in-path"], 127),
        (&["/bin/busybox", "ash", "-c", "exit 77"], 77),
        (&["/bin/busybox", "ash", "-c", "kill -TERM $$"], 128 + 15),
        (&["/bin/busybox", "ash", "-c", "kill -KILL $$"], 128 + 9),
    ] {
        let mut command = world.command(&["run", "-q", "--net", "none"]);
        let outcome = run(command.args(words), b"")?;
        if outcome.status != status {
            return Err(format!("wanted status {status}: {}", outcome.evidence()));
        }
    }
    let unknown = world.run(&["logs", "nobody"])?;
    if unknown.status != 125 || unknown.log.contains('\x1b') {
        return Err(unknown.evidence());
    }
    let colored = world.run(&["--color", "always", "logs", "nobody"])?;
    if colored.log.contains("\x1b[1;31merror") { Ok(()) } else { Err(colored.evidence()) }
}

/// Checks every 50 ms.
const OFTEN: [&str; 4] = ["--health-interval", "50ms", "--health-timeout", "10s"];

fn health_is_checked_inside() -> Result<(), String> {
    let world = World::new("health")?;
    // It serves after a while, and not for ever. No port is published; there is no network at all.
    let script = "mkdir /tmp/w; while [ ! -e /tmp/go ]; do sleep 1; echo > /tmp/go; done; echo > /tmp/w/health; \
                  httpd -p 8080 -h /tmp/w; sleep 3; rm /tmp/w/health; sleep 600";
    let http = ["--health-http", "/health:8080", "--health-start-period", "600s"];
    world.shell("web", &[&http[..], &OFTEN].concat(), script)?;
    world.health_becomes("web", "starting")?;
    let found = world.health_becomes("web", "healthy")?;
    if found != "/health has status 200" {
        return Err(format!("it is healthy since {found}"));
    }
    let found = world.health_becomes("web", "unhealthy")?;
    if found != "/health has status 404" {
        return Err(format!("it is unhealthy since {found}"));
    }
    // A port that nothing listens on, and one that takes connections and is silent.
    let script = "nc -l -p 9 -e sleep 600; sleep 600";
    world.shell("closed", &[&["--health-tcp", "8081"][..], &OFTEN].concat(), script)?;
    let found = world.health_becomes("closed", "unhealthy")?;
    if found != "nothing takes connections at port 8081" {
        return Err(format!("it is unhealthy since {found}"));
    }
    let silent = ["--health-http", "/:9", "--health-interval", "50ms", "--health-timeout", "200ms"];
    world.shell("silent", &[&silent[..], &["--health-retries", "1"]].concat(), script)?;
    let found = world.health_becomes("silent", "unhealthy")?;
    if found != "no answer within 0.2 s" && found != "nothing takes connections at port 9" {
        return Err(format!("it is unhealthy since {found}"));
    }
    // A program of the image.
    let command = "/bin/busybox ash -c 'echo looked >&2; exec test -e /tmp/here'";
    let by_command = [&["--control", "full", "--health-cmd", command][..], &OFTEN].concat();
    world.shell("command", &by_command, "sleep 1; echo > /tmp/here; sleep 2; rm /tmp/here; sleep 600")?;
    world.health_becomes("command", "healthy")?;
    let found = world.health_becomes("command", "unhealthy")?;
    if found != "the command ended with 1: looked" {
        return Err(format!("it is unhealthy since {found}"));
    }
    let words = ["run", "--name", "x", "--net", "none", "--health-cmd", "test", "/bin/busybox", "true"];
    let refused = world.run(&words)?;
    if refused.status != 125 || !refused.log.contains("needs `--control full`") {
        return Err(refused.evidence());
    }
    let refused = world.run(&[
        "run",
        "--net",
        "none",
        "--control",
        "none",
        "--health-tcp",
        "1",
        "/bin/busybox",
        "true",
    ])?;
    if refused.status != 125 || !refused.log.contains("cannot be checked with `--control none`") {
        return Err(refused.evidence());
    }
    Ok(())
}

fn an_unhealthy_guest_is_dealt_with() -> Result<(), String> {
    let world = World::new("unhealthy")?;
    let check = [&["--health-tcp", "7", "--health-retries", "1"][..], &OFTEN].concat();
    let with = |more: &[&'static str]| [&check[..], more].concat();
    world.shell("again", &with(&["--health-on-failure", "restart"]), "exec sleep 600")?;
    let restarted = until(LIMIT, || {
        world.field("again", "restarts").is_ok_and(|text| text.parse().is_ok_and(|times: u32| times >= 2))
    });
    if !restarted {
        return Err(format!("it does not start again: {}", world.must(&["logs", "again"])?));
    }
    check_stop(&world, "again")?;
    let stop = with(&["--health-on-failure", "stop", "--restart", "always"]);
    world.shell("stops", &stop, "exec sleep 600")?;
    world.becomes("stops", "phase", "ended")?;
    world.expect("stops", "restarts", "0")?;
    let kill = with(&["--health-on-failure", "kill", "--restart", "on-failure:1"]);
    world.shell("dies", &kill, "exec sleep 600")?;
    world.becomes("dies", "phase", "ended")?;
    world.expect("dies", "restarts", "1")?;
    world.expect("dies", "exit_status", "137")
}

fn check_stop(world: &World, name: &str) -> Result<(), String> {
    check(&world.run(&["stop", "-t", "0", name])?, 0, &format!("{name}\n"))?;
    world.expect(name, "phase", "ended")
}

fn an_image_carries_its_checks() -> Result<(), String> {
    let world = World::new("carried")?;
    let settings = world.folder.join("Coracle.toml");
    let text = "program = \"/bin/busybox\"\nargs = [\"ash\", \"-c\", \"httpd -p 8080; sleep 600\"]\noutput = \"web.img\"\n\
                [health]\ntcp = 8080\ninterval = \"50ms\"\n";
    fs::write(&settings, text).map_err(|e| e.to_string())?;
    world.must(&["build", "--config", &settings.to_string_lossy()])?;
    let image = world.folder.join("web.img").to_string_lossy().into_owned();
    world.must(&["run", "-d", "--name", "web", "--net", "none", &image])?;
    world.health_becomes("web", "healthy")?;
    // The command line replaces them.
    let checks = ["--health-http", "/none:8080", "--health-start-period", "600s"];
    world.must(
        &[&["run", "-d", "--name", "other", "--net", "none"], &checks[..], &[image.as_str()]].concat(),
    )?;
    world.health_becomes("other", "starting")?;
    fs::write(&settings, text.replace("50ms", "50")).map_err(|e| e.to_string())?;
    let wrong = world.run(&["build", "--config", &settings.to_string_lossy()])?;
    if wrong.status != 125 || !wrong.log.contains("a time is a number with a unit") {
        return Err(wrong.evidence());
    }
    Ok(())
}

fn tables_are_json_if_asked() -> Result<(), String> {
    let world = World::new("json")?;
    world.must(&["build", "/bin/busybox", "-o", &world.folder.join("b.img").to_string_lossy()])?;
    world.shell("asked", &["-v", "kept:/data", "--volume-size", "64M"], "sleep 600; exit 1")?;
    let image = world.folder.join("b.img").to_string_lossy().into_owned();
    let asked = |words: &[&str]| -> Result<serde_json::Value, String> {
        let mut value = Err(String::new());
        until(LIMIT, || {
            // It may be starting still.
            value = world.must(words).and_then(|text| json::parse(&text));
            value.is_ok()
        });
        value
    };
    for (words, pointer, wanted) in [
        (&["inspect", "--json", &image][..], "/program", "/bin/busybox"),
        (&["volume", "ls", "--json"], "/0/used_by", "asked"),
        (&["volume", "inspect", "--json", "kept"], "/used_by", "asked"),
        (&["files", "--json", "asked"], "/0/process", "busybox"),
        (&["maps", "--json", "asked"], "/0/process", "busybox"),
        (&["ps", "--json"], "/0/name", "asked"),
        (&["stack", "--json", "asked"], "/processes/0/threads/0/name", "busybox"),
        (&["netstat", "--json", "-a", "-x", "asked"], "/0/protocol", "u_dgr"),
        (&["stats", "--json"], "/0/name", "asked"),
        (&["top", "--json", "-d", "0.2"], "/name", "asked"),
        (&["top", "--json", "-d", "0.2", "asked"], "/threads/0/name", "busybox"),
    ] {
        let value = asked(words)?;
        if value.pointer(pointer) != Some(&serde_json::Value::from(wanted)) {
            return Err(format!("{words:?}: {pointer} is not {wanted} in {value}"));
        }
    }
    Ok(())
}

fn shells_complete_names() -> Result<(), String> {
    let world = World::new("complete")?;
    world.shell("a-guest", &[], "sleep 600")?;
    world.must(&["volume", "create", "a-volume", "--size", "64M"])?;
    let folder =
        paths::coracle().parent().ok_or("the command lies in a folder")?.to_string_lossy().into_owned();
    let completed = |words: &[&str]| {
        let script = format!(
            "PATH={folder}:$PATH; source <(coracle completions bash); COMP_WORDS=(coracle {0}); \
             COMP_CWORD=${{#COMP_WORDS[@]}}; COMP_CWORD=$((COMP_CWORD - 1)); \
             _clap_complete_coracle coracle \"${{COMP_WORDS[COMP_CWORD]}}\"; echo \"${{COMPREPLY[@]}}\"",
            words.join(" ")
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]);
        for (name, part) in
            [("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state"), ("XDG_DATA_HOME", "data")]
        {
            command.env(name, world.folder.join(part));
        }
        run(&mut command, b"").map(|outcome| outcome.text())
    };
    for (words, wanted) in [
        (&["stop", "''"][..], "a-guest"),
        (&["rename", "a-"], "a-guest"),
        (&["volume", "rm", "''"], "a-volume"),
        (&["resta"], "restart"),
        (&["run", "--resta"], "--restart"),
    ] {
        let is = completed(words)?;
        if !is.split_whitespace().any(|word| word == wanted) {
            return Err(format!("{words:?} is completed by {is:?}"));
        }
    }
    for shell in ["zsh", "fish"] {
        if !world.must(&["completions", shell])?.contains("CORACLE_COMPLETE") {
            return Err(format!("nothing for {shell}"));
        }
    }
    Ok(())
}

fn man_pages_are_clean() -> Result<(), String> {
    let world = World::new("man")?;
    let folder = world.folder.join("man");
    world.must(&["man", &folder.to_string_lossy()])?;
    let pages: Vec<_> = fs::read_dir(&folder).map_err(|e| e.to_string())?.flatten().collect();
    if pages.len() < 20 {
        return Err(format!("there are {} pages", pages.len()));
    }
    for page in pages {
        let mut command = Command::new("groff");
        let outcome = run(command.args(["-ww", "-man", "-Tutf8"]).arg(page.path()), b"")?;
        // The first line of the log is the command itself.
        if outcome.status != 0 || outcome.log.lines().skip(1).any(|line| !line.is_empty()) {
            return Err(format!("{}: {}", page.path().display(), outcome.log));
        }
    }
    Ok(())
}

fn races_leave_no_guest_behind() -> Result<(), String> {
    let world = World::new("races")?;
    let spawn = |words: &[&str]| {
        let mut command = world.command(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(|e| e.to_string())
    };
    for round in 0..6 {
        // A stop, or an rm, at any time while it starts, runs, ends, or waits.
        let script = if round % 2 == 0 { "exit 0" } else { "sleep 600" };
        world.shell("racer", &["--restart", "always"], script)?;
        let commands: [&[&str]; 3] =
            [&["restart", "-t", "0", "racer"], &["rm", "-f", "racer"], &["start", "racer"]];
        let children: Vec<_> = commands.iter().map(|words| spawn(words)).collect::<Result<_, _>>()?;
        for mut child in children {
            child.wait().map_err(|e| e.to_string())?;
        }
        // Whatever won: one more rm removes what is left.
        if world.must(&["ps", "--all"])?.contains("racer") {
            world.must(&["rm", "-f", "racer"])?;
        }
        check(&world.run(&["ps", "--all", "--json"])?, 0, "[]\n")?;
        if !until(LIMIT, || world.machines() == 0) {
            return Err(format!("{} machines are left", world.machines()));
        }
    }
    Ok(())
}

/// A guest whose log has filled the disk of the user's directory is started again, and its own status is known.
fn a_full_disk_changes_no_status() -> Result<(), String> {
    const GUEST: &str = "echo run >> /shared/runs; for i in $(seq 2000); do echo $i$i$i$i$i$i$i$i$i$i$i$i$i$i$i$i$i$i; done; exit 5";
    const SCRIPT: &str = r#"mount -t tmpfs -o size=256k,mode=700 tmpfs "$XDG_RUNTIME_DIR" || exit 1
        "$0" run -d --name full --net none --user root -v "$1:/shared" --restart on-failure:1 /bin/busybox ash -c "$2" &&
        "$0" wait full && "$0" logs -n 1 full && "$0" rm full"#;
    let world = World::new("full")?;
    let shared = world.folder.join("shared");
    fs::create_dir_all(&shared).map_err(|e| e.to_string())?;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT]);
    command.arg(paths::coracle()).arg(&shared).arg(GUEST).env("XDG_RUNTIME_DIR", world.folder.join("run"));
    command.env("XDG_STATE_HOME", world.folder.join("state"));
    let ran = run(&mut command, b"")?;
    let runs = fs::read_to_string(shared.join("runs")).unwrap_or_default();
    let text = ran.text();
    if ran.status != 0 || !text.starts_with("full\n5\n") || runs != "run\nrun\n" || !ran.log.contains("lost")
    {
        return Err(format!("{}\nruns: {runs}", ran.evidence()));
    }
    Ok(())
}

fn main() -> ExitCode {
    trials::main("life", TESTS.iter().copied())
}
