//! Runs modules on Linux or in guests, and keeps what they say.
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{USER, Verdict, Verdicts};
use crate::command::output;
use crate::matrix::Mode;
use crate::{paths, wait};

/// The program and its variables, the same everywhere.
const PYTHON: &str = "/usr/bin/python3.11";
const VARIABLES: [&str; 4] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/home/user",
    "LANG=C.UTF-8",
    "TERM=dumb",
];
/// What a guest has: the modules of the tests take up to some hundred megabytes, of which half may be files in memory.
const MEMORY: &str = "1500M";
/// What is added to an image, from the root directory.
const CONTENT: [&str; 9] = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/home", "/var", "/drive.py"];
/// How much longer than its modules' limit a machine may be silent about its end. The driver itself ends modules before.
const SILENCE: Duration = Duration::from_secs(90);
/// The lines of `drive.py`.
const BEGIN: &str = "@@ begin ";
const END: &str = "@@ end ";

/// Where modules run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// On this machine.
    Linux,
    /// In guests of this mode.
    Guest(Mode),
}

impl Site {
    /// All, in the order of the table.
    pub const ALL: [Self; 3] = [Self::Linux, Self::Guest(Mode::Unikernel), Self::Guest(Mode::Protected)];

    /// As it is called in the table and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Guest(mode) => mode.name(),
        }
    }
}

/// The names of all modules, in Python's order.
///
/// # Errors
/// If Python can't list them.
pub fn modules(root: &Path) -> Result<Vec<String>, String> {
    let list = output(Command::new("chroot").arg(root).args([PYTHON, "-m", "test", "--list-tests"]))?;
    Ok(list.split_whitespace().map(str::to_owned).collect())
}

/// Runs modules at a site, and tells of each at its end. With `resume`, what an earlier run found counts.
///
/// A module at which a machine ends, or falls silent, has failed; the others are run on a machine that is started anew.
///
/// # Errors
/// If no machine can be started.
pub fn run(
    site: Site,
    root: &Path,
    modules: &[String],
    limit: Duration,
    resume: bool,
    mut each: impl FnMut(&str, &Verdict),
) -> Result<Verdicts, String> {
    let folder = paths::work().join("cpython/logs").join(site.name());
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let log = |module: &str| folder.join(module).with_extension("log");
    let mut verdicts = Verdicts::new();
    if resume {
        for module in modules {
            if let Some(verdict) =
                fs::read(log(module)).ok().and_then(|bytes| read(&String::from_utf8_lossy(&bytes)))
            {
                verdicts.insert(module.clone(), verdict);
            }
        }
    }
    let image = match site {
        Site::Guest(mode) if verdicts.len() < modules.len() => Some(build(root, mode)?),
        _ => None,
    };
    loop {
        let left: Vec<&str> =
            modules.iter().map(String::as_str).filter(|module| !verdicts.contains_key(*module)).collect();
        let Some(&first) = left.first() else { return Ok(verdicts) };
        let command = match &image {
            Some(image) => guest(image, limit),
            None => linux(root, limit),
        };
        let before = verdicts.len();
        let said = machine(command, &left, limit, |module, text| {
            let _ = fs::write(log(module), text);
            let verdict = read(text).unwrap_or_else(|| Verdict::Failed("the machine ended or hung".into()));
            each(module, &verdict);
            verdicts.insert(module.to_owned(), verdict);
        })?;
        if verdicts.len() == before {
            return Err(format!("a machine ended before {first} began: {said}"));
        }
    }
}

/// The verdict of a module's log, if it came to its end.
fn read(log: &str) -> Option<Verdict> {
    let end = log.lines().rev().find_map(|line| line.strip_prefix(END))?;
    Some(Verdict::new(end.split(' ').nth(1)?, log))
}

/// The image of a mode. It is built inside the root directory, so that program and libraries are those of the root.
fn build(root: &Path, mode: Mode) -> Result<PathBuf, String> {
    let image = root.with_file_name(mode.name()).with_extension("img");
    let inside = root.join("run/coracle");
    fs::copy(paths::coracle(), &inside).map_err(|e| format!("{}: {e}", inside.display()))?;
    let file = fs::File::create(&image).map_err(|e| format!("{}: {e}", image.display()))?;
    let mut command = Command::new("chroot");
    command.arg(root).args(["/run/coracle", "build", "-o", "-", "--mode", mode.name(), "--cwd", "/"]);
    command.args(["--user", &USER.to_string()]);
    command
        .args(CONTENT.iter().flat_map(|path| ["--add", path]))
        .args(VARIABLES.iter().flat_map(|v| ["-e", v]));
    let built =
        command.arg(PYTHON).stdout(file).stderr(Stdio::piped()).output().map_err(|e| e.to_string())?;
    let _ = fs::remove_file(&inside);
    if built.status.success() {
        return Ok(image);
    }
    Err(format!("the image does not build: {}", String::from_utf8_lossy(&built.stderr)))
}

fn guest(image: &Path, limit: Duration) -> Command {
    let mut command = Command::new(paths::coracle());
    command.args(["run", "--net", "none", "-m", MEMORY]).arg(image);
    command.args(["--", "/drive.py", &limit.as_secs().to_string()]);
    command
}

fn linux(root: &Path, limit: Duration) -> Command {
    let mut command = Command::new(paths::repository().join("tests/src/cpython/linux.sh"));
    command.arg(root).args(["env", "-i"]).args(VARIABLES).args([
        PYTHON,
        "/drive.py",
        &limit.as_secs().to_string(),
    ]);
    command
}

/// Runs modules on one machine and gives each module's log; what the machine said outside of modules.
fn machine(
    mut command: Command,
    modules: &[&str],
    limit: Duration,
    mut each: impl FnMut(&str, &str),
) -> Result<String, String> {
    let (reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
    let twin = writer.try_clone().map_err(|e| e.to_string())?;
    command.stdin(Stdio::piped()).stdout(writer).stderr(twin).process_group(0);
    let mut child = command.spawn().map_err(|e| format!("{command:?} does not start: {e}"))?;
    // It holds the writing ends of the pipe, which has to close for its end to be seen.
    drop(command);
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(modules.join(" ").as_bytes()).map_err(|e| e.to_string())?;
    drop(stdin);

    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    let (mut outside, mut inside) = (String::new(), None::<(String, String)>);
    // Ends with the machine's output, or where it hangs.
    while let Ok(line) = lines.recv_timeout(limit + SILENCE) {
        if let Some(module) = line.strip_prefix(BEGIN) {
            inside = Some((module.trim_end().to_owned(), String::new()));
        }
        match &mut inside {
            Some((_, text)) => text.push_str(&line),
            None => outside.push_str(&line),
        }
        if line.starts_with(END)
            && let Some((module, text)) = inside.take()
        {
            each(&module, &text);
        }
    }
    wait::end(&mut child);
    if let Some((module, text)) = inside {
        each(&module, &text);
    }
    Ok(outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_has_its_own_part_of_what_a_machine_says() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo hello; for m in $(cat); do echo \"@@ begin $m\"; echo $m; [ $m = c ] || echo \"@@ end $m 0 1.5\"; done"]);
        let mut logs = Vec::new();
        let said = machine(command, &["a", "b", "c"], Duration::from_secs(5), |module, log| {
            logs.push((module.to_owned(), read(log)));
        });
        assert_eq!(said.unwrap(), "hello\n");
        let passed = Some(Verdict::Passed { skipped: 0 });
        assert_eq!(logs, [("a".into(), passed.clone()), ("b".into(), passed), ("c".into(), None)]);
    }

    #[test]
    fn a_module_without_tests_for_the_machine_is_skipped() {
        assert_eq!(read("\n1 test skipped:\n    test_x\n\n@@ end test_x 0 0.1\n"), Some(Verdict::Skipped));
        assert_eq!(read("a ... skipped 'b'\n@@ end test_x 0 0.1\n"), Some(Verdict::Passed { skipped: 1 }));
    }

    #[test]
    fn a_module_that_ran_out_of_time_is_not_one_of_which_a_test_failed() {
        let timeout = Some(Verdict::Failed("timeout".into()));
        assert_eq!(read("@@ end test_x timeout 9.0\n"), timeout);
        assert_eq!(read("test_a (b) ... Timeout (0:02:00)!\nThread 0x1:\n@@ end test_x 1 9.0\n"), timeout);
        assert_eq!(read("test_a (b) ... FAIL\n@@ end test_x 1 9.0\n"), Some(Verdict::Failed("1".into())));
    }
}
