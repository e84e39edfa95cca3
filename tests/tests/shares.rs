//! What `coracle run -v ./directory:/path` promises: a directory of the host is the guest's, and its files are as on Linux.
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::outcome::Outcome;
use coracle_tests::trials::{self, Test, check, run};
use coracle_tests::{build, paths, wait};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TESTS: &[(&str, Test)] = &[
    ("host_and_guest_see_each_other", host_and_guest_see_each_other),
    ("files_are_as_on_linux", files_are_as_on_linux),
    ("threads_find_files_at_once", threads_find_files_at_once),
    ("what_is_refused", what_is_refused),
    ("settings_name_directories", settings_name_directories),
    ("programs_mount_shares", programs_mount_shares),
    ("a_database_on_a_share", a_database_on_a_share),
];

/// The status when `coracle` itself could not do what was asked.
const FAILED: i32 = 125;

fn main() -> ExitCode {
    trials::main("shares", TESTS.iter().copied())
}

/// A directory of each test's own, with one to be shared in it.
struct Home(PathBuf);

impl Home {
    fn new(test: &str) -> Result<Home, String> {
        let path = paths::work().join("shares").join(test);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|e| e.to_string())?;
        }
        fs::create_dir_all(path.join("dir")).map_err(|e| e.to_string())?;
        Ok(Home(path))
    }

    fn coracle(&self, words: &[&str]) -> Command {
        let mut command = Command::new(paths::coracle());
        command.env("XDG_DATA_HOME", &self.0).current_dir(&self.0).args(words);
        command
    }

    /// A guest in which busybox's shell runs a script as root; `options` are those of `coracle run`, with blanks between them.
    fn guest(&self, options: &str, script: &str) -> Command {
        let mut command = self.coracle(&["run", "-q", "--net", "none", "--user", "root"]);
        command.args(options.split_whitespace()).args(["busybox", "ash", "-c", script]);
        command
    }

    fn shell(&self, options: &str, script: &str) -> Result<Outcome, String> {
        run(&mut self.guest(options, script), b"")
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        fs::write(self.0.join(name), text).map_err(|e| format!("{name}: {e}"))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

/// Waits for something that is true as long as the guest runs.
fn wait_for(guest: &mut Server, mut is_so: impl FnMut(&str) -> bool) -> Result<(), String> {
    let mut has_come = false;
    wait::until(LIMIT, || {
        has_come = is_so(&guest.log());
        has_come || !guest.is_running()
    });
    if has_come || is_so(&guest.log()) { Ok(()) } else { Err(guest.log()) }
}

fn host_and_guest_see_each_other() -> Result<(), String> {
    for (cache, machine) in
        [("auto", "microvm --cpus 2"), ("none", "q35 --mode protected"), ("auto,ro", "pc")]
    {
        let home = Home::new("both")?;
        home.write("dir/from-host", "one\n")?;
        // The guest answers each text of the host's, once it sees it, and the host changes it only when it has seen the answer.
        let script = "cat /data/from-host; echo mine 2> /dev/null > /data/from-guest
            until grep -q two /data/from-host; do sleep 0.1; done; echo saw two
            mv /data/from-guest /data/renamed 2> /dev/null
            until [ -e /data/new/file ]; do sleep 0.1; done; cat /data/new/file
            until [ ! -e /data/from-host ]; do sleep 0.1; done; echo gone";
        let options = format!("-v ./dir:/data:cache={cache} --machine {machine}");
        let mut guest = Server::start(&mut home.guest(&options, script))?;
        wait_for(&mut guest, |log| log.contains("one\n"))?;
        let writes = !cache.contains("ro");
        if writes {
            wait_for(&mut guest, |_| home.read("dir/from-guest") == "mine\n")?;
        }
        home.write("dir/from-host", "two, and longer\n")?;
        wait_for(&mut guest, |log| log.contains("saw two\n"))?;
        if writes {
            wait_for(&mut guest, |_| {
                home.read("dir/renamed") == "mine\n" && home.read("dir/from-guest").is_empty()
            })?;
        }
        fs::create_dir(home.0.join("dir/new")).map_err(|e| e.to_string())?;
        home.write("dir/new/file.tmp", "three\n")?;
        fs::rename(home.0.join("dir/new/file.tmp"), home.0.join("dir/new/file"))
            .map_err(|e| e.to_string())?;
        wait_for(&mut guest, |log| log.contains("three\n"))?;
        fs::remove_file(home.0.join("dir/from-host")).map_err(|e| e.to_string())?;
        wait_for(&mut guest, |log| log.contains("gone\n"))?;
    }
    Ok(())
}

/// Programs of the files that print the same on a share as on Linux.
const AS_ON_LINUX: [&str; 16] = [
    "files/append",
    "files/concurrent_files",
    "files/directories",
    "files/large_file",
    "files/links",
    "files/locks",
    "files/many_files",
    "files/paths",
    "files/read_write",
    "files/share",
    "files/text_busy",
    "files/truncate",
    "files/unlink_open",
    "files/utimens",
    "memory/file_beyond_end",
    "memory/mmap_file_shared",
];

fn files_are_as_on_linux() -> Result<(), String> {
    let home = Home::new("as_on_linux")?;
    let native = home.0.join("native");
    fs::create_dir_all(&native).map_err(|e| e.to_string())?;
    let mut expected = String::new();
    let mut script = "cd /data; export SCRATCH=/data;".to_owned();
    let mut programs = Vec::new();
    for name in AS_ON_LINUX {
        let program = build::c_server(&paths::programs().join(format!("c/{name}.c")))?;
        let mut command = Command::new(&program);
        let outcome = run(command.env("SCRATCH", &native).current_dir(&native), b"")?;
        check(&outcome, 0, &outcome.text())?;
        expected += &format!("{name}\n{}", outcome.text());
        let path = format!("/programs/{name}");
        script += &format!("echo {name}; {path} || echo {name} ends with $?;");
        programs.push(format!("{}:{path}", program.display()));
    }
    for options in ["auto --machine microvm", "none --machine q35 --cpus 2 --mode protected"] {
        let mut guest = home.coracle(&["run", "-q", "--net", "none", "--user", "root", "-m", "256M"]);
        guest.arg("-v").args(format!("./dir:/data:cache={options}").split_whitespace());
        for program in &programs {
            guest.args(["--add", program]);
        }
        check(&run(guest.args(["busybox", "ash", "-c", &script]), b"")?, 0, &expected)?;
    }
    Ok(())
}

/// Files that nothing is known of yet, so that threads on two CPUs can meet in finding them.
fn threads_find_files_at_once() -> Result<(), String> {
    const FILES: usize = 200;
    let home = Home::new("at_once")?;
    let program = build::c_server(&paths::programs().join("c/files/found_at_once.c"))?;
    fs::create_dir(home.0.join("dir/found_at_once")).map_err(|e| e.to_string())?;
    let names: Vec<String> = (0..FILES).map(|number| format!("dir/found_at_once/f{number}")).collect();
    for name in &names {
        home.write(name, &"\0".repeat(4096))?;
    }
    let options = format!("--cpus 2 -v ./dir:/data --add {}:/found_at_once", program.display());
    check(&home.shell(&options, "cd /data; /found_at_once")?, 0, "all the same\n")?;
    match names.iter().find(|name| !home.read(name).starts_with("ab")) {
        Some(name) => Err(format!("{name}: what a thread wrote is lost")),
        None => Ok(()),
    }
}

/// That a command failed, and said something.
fn refused(outcome: &Outcome, text: &str) -> Result<(), String> {
    if outcome.status == FAILED && outcome.log.contains(text) {
        return Ok(());
    }
    Err(format!("wanted an error with `{text}`, but: {}", outcome.evidence()))
}

fn what_is_refused() -> Result<(), String> {
    let home = Home::new("refused")?;
    refused(&home.shell("-v ./missing:/data", "true")?, "make a directory there to be shared")?;
    refused(&home.shell("-v ./dir:/data -v vol:/data", "true")?, "two things are to be at /data")?;
    refused(&home.shell("-v ./dir:/data --tmpfs /data", "true")?, "two things are to be at /data")?;
    refused(&home.shell("-v vol:/data:cache=none", "true")?, "no directory of the host")?;
    // What may only be read, and what leads out of the directory: links are the guest's own.
    home.write("secret", "of the host\n")?;
    std::os::unix::fs::symlink(home.0.join("secret"), home.0.join("dir/link")).map_err(|e| e.to_string())?;
    std::os::unix::fs::symlink("../../secret", home.0.join("dir/up")).map_err(|e| e.to_string())?;
    let script = "cat /data/link /data/up /data/../secret; mkdir /data/x; echo y > /data/link; rm /data/up; readlink /data/up";
    let outcome = home.shell("-v ./dir:/data:ro", script)?;
    check(&outcome, 0, "../../secret\n")?;
    let said = [
        "mkdir: can't create directory '/data/x': Read-only file system",
        "rm: can't remove '/data/up': Read-only",
    ];
    if outcome.log.contains("of the host") || !said.iter().all(|said| outcome.log.contains(said)) {
        return Err(outcome.evidence());
    }
    Ok(())
}

fn settings_name_directories() -> Result<(), String> {
    let home = Home::new("settings")?;
    let settings = "program = \"/bin/busybox\"\nargs = [\"ash\", \"-c\", \"cat /data/in; grep -c '^share0 /data 9p rw,nodev' /proc/mounts; echo out > /data/out; stat -f -c %t /data\"]\n\
                    user = \"root\"\n[run]\nvolumes = [\"./dir:/data\"]\nnet = \"none\"\n";
    let file = home.0.join("Coracle.toml");
    fs::write(&file, settings).map_err(|e| e.to_string())?;
    home.write("dir/in", "in\n")?;
    let mut command = home.coracle(&["run", "-q", "--config"]);
    // Another directory: paths are relative to the file.
    check(&run(command.arg(&file).current_dir("/"), b"")?, 0, "in\n1\n1021997\n")?;
    if home.read("dir/out") == "out\n" {
        Ok(())
    } else {
        Err("the host does not see what was written".to_owned())
    }
}

fn programs_mount_shares() -> Result<(), String> {
    let home = Home::new("mount")?;
    home.write("dir/file", "text\n")?;
    let script = "mkdir /tmp/m; mount -t 9p -o trans=virtio other /tmp/m 2> /dev/null || echo none
        mount -t 9p share0 /tmp/m 2> /dev/null || echo busy
        umount /data && mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose share0 /tmp/m && cat /tmp/m/file
        mount -t 9p -o nonsense=1 share0 /data 2> /dev/null || echo wrong
        echo more >> /tmp/m/file; umount /tmp/m; ls /tmp/m; mount -t 9p share0 /data; cat /data/file";
    check(&home.shell("-v ./dir:/data", script)?, 0, "none\nbusy\ntext\nwrong\ntext\nmore\n")
}

/// SQLite with a rollback journal, and with a write-ahead log, whose index is a shared mapping of a file.
fn a_database_on_a_share() -> Result<(), String> {
    let home = Home::new("sqlite")?;
    let script = "cd /data; for mode in delete wal; do
        sqlite3 $mode.db \"pragma journal_mode=$mode; create table t(a, b); with recursive c(n) as (select 1 union all select n + 1 from c where n < 500)
            insert into t select n, 'old' from c; update t set b = 'new' where a % 2\"
        sqlite3 $mode.db \"select count(*) from t where b = 'new'\"; done";
    let outcome = home.shell("-v ./dir:/data --add /usr/bin/sqlite3", script)?;
    check(&outcome, 0, "delete\n250\nwal\n250\n")?;
    for mode in ["delete", "wal"] {
        let database: &Path = &home.0.join(format!("dir/{mode}.db"));
        let query = "pragma integrity_check; select count(*) from t where b = 'old'";
        check(&run(Command::new("sqlite3").arg(database).arg(query), b"")?, 0, "ok\n250\n")?;
    }
    Ok(())
}
