//! Jobs of a guest's schedule: they run beside the program, with its user and environment, also where the image is booted by QEMU alone.
use coracle_tests::guest::LIMIT;
use coracle_tests::json;
use coracle_tests::outcome::Outcome;
use coracle_tests::paths;
use coracle_tests::trials::{self, Test, check, run};
use coracle_tests::wait::until;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const TESTS: &[(&str, Test)] = &[
    ("jobs_run_beside_the_program", jobs_run_beside_the_program),
    ("jobs_of_minutes_alone", jobs_of_minutes_alone),
    ("a_wrong_schedule_is_refused", a_wrong_schedule_is_refused),
];

/// A world of its own for a test, with a Coracle.toml.
struct World {
    folder: PathBuf,
}

impl World {
    fn new(name: &str) -> Result<World, String> {
        let folder = paths::work().join(format!("cron-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
        Ok(World { folder })
    }

    fn run(&self, words: &[&str]) -> Result<Outcome, String> {
        let mut command = Command::new(paths::coracle());
        command.args(words).env("XDG_RUNTIME_DIR", &self.folder).env("XDG_STATE_HOME", &self.folder);
        run(command.current_dir(&self.folder), b"")
    }

    fn must(&self, words: &[&str]) -> Result<String, String> {
        let outcome = self.run(words)?;
        if outcome.status == 0 { Ok(outcome.text()) } else { Err(outcome.evidence()) }
    }

    /// Writes settings whose program is busybox's shell with this script.
    fn settings(&self, script: &str, rest: &str) -> Result<(), String> {
        let text = format!(
            "program = \"/bin/busybox\"\nargs = [\"ash\", \"-c\", {script:?}]\noutput = \"cron.img\"\n{rest}"
        );
        fs::write(self.folder.join("Coracle.toml"), text).map_err(|e| e.to_string())
    }

    /// What `coracle ps --json` says of a job of the guest `name`.
    fn job(&self, name: &str, job: &str) -> Result<serde_json::Value, String> {
        let text = self.must(&["ps", "--all", "--json"])?;
        let guests = json::parse(&text)?;
        let guest = guests.as_array().and_then(|all| all.iter().find(|guest| guest["name"] == name));
        let jobs = guest.ok_or(format!("no {name} in {text}"))?["jobs"].as_array().cloned();
        let found = jobs.unwrap_or_default().into_iter().find(|found| found["name"] == job);
        found.ok_or(format!("no job {job} in {text}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.run(&["stop", "--all", "-t", "0"]);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Jobs at the start and in every minute: the test waits for the next two.
const JOBS: &str = r#"
[env]
WORD = "of-the-environment"

[[cron]]
name = "first"
schedule = "@reboot"
command = ["/bin/busybox", "ash", "-c", "echo job $WORD as $(id -u); exit 7"]

[[cron]]
schedule = "* * * * *"
command = "/bin/busybox ash -c 'echo every minute; sleep 600'"
timezone = "Europe/Berlin"

[[cron]]
name = "anew"
schedule = "*/1 0-23 * * 0-7"
command = ["/bin/busybox", "ash", "-c", "echo anew; sleep 600"]
overlap = "kill"

[[cron]]
name = "gone"
schedule = "@reboot"
command = ["/bin/busybox", "no-such-applet"]
"#;

fn jobs_run_beside_the_program() -> Result<(), String> {
    let world = World::new("jobs")?;
    world.settings("echo main; sleep 600", JOBS)?;
    world.must(&["build"])?;
    // The settings are the image's: no Coracle.toml is read for it.
    fs::remove_file(world.folder.join("Coracle.toml")).map_err(|e| e.to_string())?;
    // Its clock begins shortly before a minute.
    let clock = ["--qemu-arg=-rtc", "--qemu-arg=base=2026-11-29T10:00:45"];
    world.must(&[&["run", "-d", "--name", "jobs", "--net", "none"], &clock[..], &["cron.img"]].concat())?;
    let mut last = serde_json::Value::Null;
    let mut becomes = |job: &str, fits: &dyn Fn(&serde_json::Value) -> bool| {
        let came = until(LIMIT, || {
            last = world.job("jobs", job).unwrap_or_else(serde_json::Value::String);
            fits(&last)
        });
        if came { Ok(()) } else { Err(format!("{job} is {last}")) }
    };
    becomes("first", &|job| job["exit_status"] == 7 && job["starts"] == 1 && job["running"] == false)?;
    becomes("gone", &|job| job["exit_status"] == 127)?;
    // It is left out while it runs; another is killed instead, and starts again.
    becomes("busybox", &|job| job["starts"] == 1 && job["skipped"] == 1 && job["running"] == true)?;
    becomes("anew", &|job| job["starts"] == 2 && job["exit_status"] == 137 && job["running"] == true)?;
    let log = world.must(&["logs", "jobs"])?;
    for line in ["main", "job of-the-environment as 1000", "every minute", "anew"] {
        if !log.lines().any(|found| found.ends_with(line)) {
            return Err(format!("no line `{line}` in {log}"));
        }
    }
    let listed = world.must(&["ps"])?;
    if !listed.contains("  cron first: started 1 times") {
        return Err(listed);
    }
    // The jobs that run keep no guest alive, and what they have done is known after its end.
    world.must(&["stop", "jobs"])?;
    let first = world.job("jobs", "first")?;
    if first["exit_status"] != 7 || first["starts"] != 1 || !first["ended_at"].is_string() {
        return Err(format!("after the guest's end the job is {first}"));
    }
    let [busybox, listed] = [world.job("jobs", "busybox")?.to_string(), world.must(&["ps", "--all"])?];
    if !busybox.contains("\"running\":false") || !listed.contains("  cron first: started 1 times") {
        return Err(format!("after the guest's end: {busybox}, {listed}"));
    }
    world.settings(
        "sleep 1; exit 3",
        "[[cron]]\nschedule = \"@reboot\"\ncommand = \"/bin/busybox sleep 600\"\n",
    )?;
    check(&world.run(&["run", "-q", "--net", "none"])?, 3, "")
}

/// A schedule whose first job is due later than at the start, and whose jobs come to an end before the next.
fn jobs_of_minutes_alone() -> Result<(), String> {
    let world = World::new("minutes")?;
    world.settings("sleep 600", "[[cron]]\nschedule = \"* * * * *\"\ncommand = \"/bin/busybox true\"\n")?;
    let clock = ["--qemu-arg=-rtc", "--qemu-arg=base=2026-11-29T10:00:55"];
    world.must(&[&["run", "-d", "--name", "minutes", "--net", "none"], &clock[..]].concat())?;
    let mut last = serde_json::Value::Null;
    let came = until(LIMIT, || {
        last = world.job("minutes", "busybox").unwrap_or_else(serde_json::Value::String);
        last["starts"] == 2 && last["exit_status"] == 0
    });
    if came { Ok(()) } else { Err(format!("the job is {last}")) }
}

fn a_wrong_schedule_is_refused() -> Result<(), String> {
    let world = World::new("wrong")?;
    for (job, why) in [
        ("schedule = \"61 * * * *\"\ncommand = \"/bin/busybox\"", "`61` is no minute"),
        ("schedule = \"0 0 31 2 *\"\ncommand = \"/bin/busybox\"", "never due"),
        (
            "schedule = \"@daily\"\ncommand = \"/no/such/tool\"",
            "there is no program or image `/no/such/tool`",
        ),
        ("schedule = \"@daily\"\ncommand = \"/bin/busybox\"\ntimezone = \"Mars\"", "no time zone `Mars`"),
        ("schedule = \"@daily\"\ncommand = \"/bin/busybox\"\noverlap = \"wait\"", "unknown variant `wait`"),
    ] {
        world.settings("true", &format!("[[cron]]\n{job}\n"))?;
        let outcome = world.run(&["build"])?;
        if outcome.status != 125 || !outcome.log.contains(why) {
            return Err(format!("wanted {why}: {}", outcome.evidence()));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    trials::main("cron", TESTS.iter().copied())
}
