//! What `coracle run -v ./directory:/path` promises: a directory of the host is the guest's, and its files are as on Linux. Those tests run over
//! 9P, and over virtio-fs where `virtiofsd` is (`scripts/deps.sh vhost` installs it).
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::outcome::Outcome;
use coracle_tests::trials::{check, run};
use coracle_tests::{build, known, paths, wait};
use libtest_mimic::Arguments;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// How a directory is shared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    P9,
    VirtioFs,
}

impl Way {
    /// The option of `-v`, and the type of the file system in the guest.
    fn word(self) -> &'static str {
        match self {
            Way::P9 => "9p",
            Way::VirtioFs => "virtiofs",
        }
    }
}

/// The ways in which a test shares directories: both, or the one that it is about.
const BOTH: &[Way] = &[Way::P9, Way::VirtioFs];
const P9: &[Way] = &[Way::P9];
const VIRTIOFS: &[Way] = &[Way::VirtioFs];

type Test = fn(Way) -> Result<(), String>;

const TESTS: &[(&str, Test, &[Way])] = &[
    ("host_and_guest_see_each_other", host_and_guest_see_each_other, BOTH),
    ("files_are_as_on_linux", files_are_as_on_linux, BOTH),
    ("threads_find_files_at_once", threads_find_files_at_once, BOTH),
    ("what_is_refused", what_is_refused, BOTH),
    ("settings_name_directories", settings_name_directories, BOTH),
    ("programs_mount_shares", programs_mount_shares, BOTH),
    ("a_database_on_a_share", a_database_on_a_share, BOTH),
    ("only_directories_are_shared", only_directories_are_shared, P9),
    ("no_server", no_server, P9),
    ("the_server_ends", the_server_ends, VIRTIOFS),
];

/// The status when `coracle` itself could not do what was asked.
const FAILED: i32 = 125;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let known = known::read();
    if !arguments.list {
        paths::coracle();
    }
    let is_there = server().is_some();
    let each = TESTS.iter().flat_map(|&(name, test, ways)| ways.iter().map(move |&way| (name, test, way)));
    let trials = each.map(|(name, test, way)| {
        let (name, is_served) = match way {
            Way::P9 => (format!("shares::{name}"), false),
            Way::VirtioFs => (format!("shares::virtiofs::{name}"), true),
        };
        known::trial(&known, name, move || test(way)).with_ignored_flag(is_served && !is_there)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The program that serves directories by virtio-fs.
fn server() -> Option<PathBuf> {
    paths::device_server("virtiofsd")
}

/// A directory of each test's own, with one to be shared in it.
struct Home(PathBuf, Way);

impl Home {
    fn new(test: &str, way: Way) -> Result<Home, String> {
        let path = paths::work().join("shares").join(way.word()).join(test);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|e| e.to_string())?;
        }
        fs::create_dir_all(path.join("dir")).map_err(|e| e.to_string())?;
        Ok(Home(path, way))
    }

    fn coracle(&self, words: &[&str]) -> Command {
        let mut command = Command::new(paths::coracle());
        command.env("XDG_DATA_HOME", &self.0).current_dir(&self.0).args(words);
        if let Some(server) = server() {
            command.env("CORACLE_VIRTIOFSD", server);
        }
        command
    }

    /// The option that shares the directory at /data, with further ones behind it.
    fn share(&self, more: &str) -> String {
        format!("-v ./dir:/data:{}{more}", self.1.word())
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

fn host_and_guest_see_each_other(way: Way) -> Result<(), String> {
    for (cache, machine) in
        [("auto", "microvm --cpus 2"), ("none", "q35 --mode protected"), ("auto,ro", "pc")]
    {
        let home = Home::new("both", way)?;
        home.write("dir/from-host", "one\n")?;
        // The guest answers each text of the host's, once it sees it, and the host changes it only when it has seen the answer.
        let script = "cat /data/from-host; echo mine 2> /dev/null > /data/from-guest
            until grep -q two /data/from-host; do sleep 0.1; done; echo saw two
            mv /data/from-guest /data/renamed 2> /dev/null
            until [ -e /data/new/file ]; do sleep 0.1; done; cat /data/new/file
            until [ ! -e /data/from-host ]; do sleep 0.1; done; echo gone";
        let options = format!("{} --machine {machine}", home.share(&format!(",cache={cache}")));
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

/// Those that need what 9P has not: extended attributes without bytes, flags of rename(2), fallocate(2), and holes.
const BY_VIRTIOFS: [&str; 4] = ["files/fallocate", "files/lseek_holes", "files/rename", "files/xattr_values"];

fn files_are_as_on_linux(way: Way) -> Result<(), String> {
    let home = Home::new("as_on_linux", way)?;
    let native = home.0.join("native");
    fs::create_dir_all(&native).map_err(|e| e.to_string())?;
    let mut expected = String::new();
    let mut script = "cd /data; export SCRATCH=/data;".to_owned();
    let mut programs = Vec::new();
    let further: &[&str] = if way == Way::VirtioFs { &BY_VIRTIOFS } else { &[] };
    for name in AS_ON_LINUX.iter().chain(further) {
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
        guest.args(home.share(&format!(",cache={options}")).split_whitespace());
        for program in &programs {
            guest.args(["--add", program]);
        }
        check(&run(guest.args(["busybox", "ash", "-c", &script]), b"")?, 0, &expected)?;
    }
    Ok(())
}

/// Files that nothing is known of yet, so that threads on two CPUs can meet in finding them.
fn threads_find_files_at_once(way: Way) -> Result<(), String> {
    const FILES: usize = 200;
    let home = Home::new("at_once", way)?;
    let program = build::c_server(&paths::programs().join("c/files/found_at_once.c"))?;
    fs::create_dir(home.0.join("dir/found_at_once")).map_err(|e| e.to_string())?;
    let names: Vec<String> = (0..FILES).map(|number| format!("dir/found_at_once/f{number}")).collect();
    for name in &names {
        home.write(name, &"\0".repeat(4096))?;
    }
    let options = format!("--cpus 2 {} --add {}:/found_at_once", home.share(""), program.display());
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

fn what_is_refused(way: Way) -> Result<(), String> {
    let home = Home::new("refused", way)?;
    // What may only be read, and what leads out of the directory: links are the guest's own.
    home.write("secret", "of the host\n")?;
    std::os::unix::fs::symlink(home.0.join("secret"), home.0.join("dir/link")).map_err(|e| e.to_string())?;
    std::os::unix::fs::symlink("../../secret", home.0.join("dir/up")).map_err(|e| e.to_string())?;
    let script = "cat /data/link /data/up /data/../secret; mkdir /data/x; echo y > /data/link; rm /data/up; readlink /data/up";
    let outcome = home.shell(&home.share(",ro"), script)?;
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

/// What is not a directory, and two things at one place.
fn only_directories_are_shared(way: Way) -> Result<(), String> {
    let home = Home::new("only_directories", way)?;
    refused(&home.shell("-v ./missing:/data", "true")?, "make a directory there to be shared")?;
    refused(&home.shell("-v ./dir:/data -v vol:/data", "true")?, "two things are to be at /data")?;
    refused(&home.shell("-v ./dir:/data --tmpfs /data", "true")?, "two things are to be at /data")?;
    refused(&home.shell("-v vol:/data:cache=none", "true")?, "no directory of the host")?;
    refused(&home.shell("-v vol:/data:virtiofs", "true")?, "no directory of the host")
}

/// Without the program that is to serve it.
fn no_server(way: Way) -> Result<(), String> {
    let home = Home::new("no_server", way)?;
    let mut guest = home.coracle(&["run", "-q", "-v", "./dir:/data:virtiofs", "/bin/busybox", "true"]);
    guest.env("CORACLE_VIRTIOFSD", "/bin/false");
    refused(&run(&mut guest, b"")?, "`/bin/false` does not serve")?;
    guest.env_remove("CORACLE_VIRTIOFSD").env("PATH", "/nowhere").env("CORACLE_QEMU", "/bin/true");
    refused(&run(&mut guest, b"")?, "`virtiofsd` is in no directory of PATH")
}

/// The server is killed while the guest uses its directory: the calls fail, those that wait as well as later ones, and the guest ends as always.
fn the_server_ends(way: Way) -> Result<(), String> {
    for machine in ["microvm --cpus 2", "q35 --mode protected"] {
        let home = Home::new("ends", way)?;
        home.write("dir/file", "text\n")?;
        let script = "exec 3< /data/file; cat /data/file; until ! cat /data/file > /dev/null 2>&1; do :; done
            cat /data/file; cat <&3; echo more > /data/new; exec 3<&-; umount /data; echo on";
        let options = format!("{} --machine {machine}", home.share(",cache=none"));
        let mut guest = Server::start(&mut home.guest(&options, script))?;
        wait_for(&mut guest, |log| log.contains("text\n"))?;
        kill_servers_of(&home.0.join("dir"))?;
        let status = guest.wait(LIMIT);
        let log = guest.log();
        let failures = log.matches("not connected").count();
        if status != Some(0) || !log.ends_with("on\n") || failures < 3 {
            return Err(format!("status {status:?}: {log}"));
        }
    }
    Ok(())
}

/// Kills the processes that serve a directory.
fn kill_servers_of(directory: &Path) -> Result<(), String> {
    let directory = directory.canonicalize().map_err(|e| e.to_string())?;
    let serves = |id: &str| {
        let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = words.split(|&byte| byte == 0).collect();
        words.first().is_some_and(|program| program.ends_with(b"virtiofsd"))
            && words.contains(&directory.as_os_str().as_encoded_bytes())
    };
    let processes = fs::read_dir("/proc").map_err(|e| e.to_string())?;
    let ids: Vec<String> = processes
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && serves(name))
        .collect();
    if ids.is_empty() {
        return Err("nothing serves the directory".to_owned());
    }
    // The first of them may have ended with another that it looked after.
    let _ = Command::new("kill").arg("-KILL").args(&ids).status().map_err(|e| e.to_string())?;
    Ok(())
}

fn settings_name_directories(way: Way) -> Result<(), String> {
    let home = Home::new("settings", way)?;
    // 9P is what is taken if nothing is said.
    let (kind, option, magic) = match way {
        Way::P9 => ("9p", "", "1021997"),
        Way::VirtioFs => ("virtiofs", ":virtiofs,cache=auto", "65735546"),
    };
    let settings = format!(
        "program = \"/bin/busybox\"\nargs = [\"ash\", \"-c\", \"cat /data/in; grep -c '^share0 /data {kind} rw,nodev' /proc/mounts; \
         grep -c ' / /data rw,nodev,relatime - {kind} share0 rw' /proc/self/mountinfo; echo out > /data/out; stat -f -c %t /data\"]\n\
         user = \"root\"\n[run]\nvolumes = [\"./dir:/data{option}\"]\nnet = \"none\"\n"
    );
    let file = home.0.join("Coracle.toml");
    fs::write(&file, settings).map_err(|e| e.to_string())?;
    home.write("dir/in", "in\n")?;
    let mut command = home.coracle(&["run", "-q", "--config"]);
    // Another directory: paths are relative to the file.
    check(&run(command.arg(&file).current_dir("/"), b"")?, 0, &format!("in\n1\n1\n{magic}\n"))?;
    if home.read("dir/out") == "out\n" {
        Ok(())
    } else {
        Err("the host does not see what was written".to_owned())
    }
}

fn programs_mount_shares(way: Way) -> Result<(), String> {
    let home = Home::new("mount", way)?;
    home.write("dir/file", "text\n")?;
    let kind = way.word();
    let (other, options) = match way {
        Way::P9 => ("virtiofs", "trans=virtio,version=9p2000.L,cache=loose"),
        Way::VirtioFs => ("9p", "cache=always"),
    };
    let script = format!(
        "mkdir /tmp/m; mount -t {kind} other /tmp/m 2> /dev/null || echo none
        mount -t {other} share0 /tmp/m 2> /dev/null || echo other
        mount -t {kind} share0 /tmp/m 2> /dev/null || echo busy
        umount /data && mount -t {kind} -o {options} share0 /tmp/m && cat /tmp/m/file
        mount -t {kind} -o nonsense=1 share0 /data 2> /dev/null || echo wrong
        echo more >> /tmp/m/file; umount /tmp/m; ls /tmp/m; mount -t {kind} share0 /data; cat /data/file"
    );
    check(&home.shell(&home.share(""), &script)?, 0, "none\nother\nbusy\ntext\nwrong\ntext\nmore\n")
}

/// SQLite with a rollback journal, and with a write-ahead log, whose index is a shared mapping of a file.
fn a_database_on_a_share(way: Way) -> Result<(), String> {
    let home = Home::new("sqlite", way)?;
    let script = "cd /data; for mode in delete wal; do
        sqlite3 $mode.db \"pragma journal_mode=$mode; create table t(a, b); with recursive c(n) as (select 1 union all select n + 1 from c where n < 500)
            insert into t select n, 'old' from c; update t set b = 'new' where a % 2\"
        sqlite3 $mode.db \"select count(*) from t where b = 'new'\"; done";
    let outcome = home.shell(&format!("{} --add /usr/bin/sqlite3", home.share("")), script)?;
    check(&outcome, 0, "delete\n250\nwal\n250\n")?;
    for mode in ["delete", "wal"] {
        let database: &Path = &home.0.join(format!("dir/{mode}.db"));
        let query = "pragma integrity_check; select count(*) from t where b = 'old'";
        check(&run(Command::new("sqlite3").arg(database).arg(query), b"")?, 0, "ok\n250\n")?;
    }
    Ok(())
}
