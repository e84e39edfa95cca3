//! Debian's strace, gdb and gdbserver inside guests (ptrace(2)), as a person uses them there.
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::trials::{self, Test, run};
use coracle_tests::wait::until;
use coracle_tests::{paths, ports};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const TESTS: &[(&str, Test)] = &[
    ("strace_sees_what_it_sees_on_linux", strace_sees_what_it_sees_on_linux),
    ("gdb_debugs_a_program", gdb_debugs_a_program),
    ("gdbserver_serves_the_host", gdbserver_serves_the_host),
];

const MODES: [&str; 2] = ["unikernel", "protected"];

/// What a shell does under strace, which then prints each process's calls.
const SCRIPT: &str = "cd /tmp; B=/bin/busybox; rm -f calls.*
strace -ff -e signal=none -e trace=execve,pipe,pipe2,dup2,fork,vfork,clone,clone3,exit_group,write,wait4,chdir \
-o calls $B sh -c 'cd /; /bin/busybox true; x=$(/bin/busybox echo sub); echo $x; (exit 4); /bin/busybox cat none; exit 3'
echo ended with $?
for file in calls.*; do echo \"#### ${file#calls.}\"; cat $file; rm $file; done";

/// The calls of each process, in the order of their beginning, with addresses and ids replaced.
fn calls(text: &str) -> Result<String, String> {
    let mut parts = text.split("#### ");
    let head = parts.next().unwrap_or_default().to_owned();
    let mut processes = Vec::new();
    for part in parts {
        let (id, calls) = part.split_once('\n').ok_or("no calls")?;
        processes.push((id.trim().parse::<u64>().map_err(|_| format!("no id: {id}"))?, calls));
    }
    processes.sort();
    let ids: Vec<u64> = processes.iter().map(|(id, _)| *id).collect();
    let word = |word: &str| match word.parse() {
        Ok(id) if ids.contains(&id) => format!("ID{}", ids.partition_point(|&other| other < id)),
        _ if word.starts_with("0x") => "ADDRESS".to_owned(),
        _ => word.to_owned(),
    };
    let mut told = head;
    for (index, (_, calls)) in processes.iter().enumerate() {
        told += &format!("process {index}\n");
        for part in calls.split_inclusive(|c: char| !c.is_alphanumeric()) {
            let end = part.find(|c: char| !c.is_alphanumeric()).unwrap_or(part.len());
            told += &word(&part[..end]);
            told += &part[end..];
        }
    }
    Ok(told)
}

fn strace_sees_what_it_sees_on_linux() -> Result<(), String> {
    let environment = ["-i", "PATH=/usr/bin:/bin", "/bin/busybox", "sh", "-c", SCRIPT];
    let native = run(Command::new("/usr/bin/env").args(environment), b"")?;
    let expected = calls(&native.text())?;
    for wanted in ["ended with 3", "process 4", "exit_group(4)", "execve("] {
        if !expected.contains(wanted) {
            return Err(format!("on Linux itself, without {wanted:?}: {}", native.evidence()));
        }
    }
    for mode in MODES {
        let mut command = Command::new(paths::coracle());
        command.args(["run", "--net", "none", "--mode", mode, "--add", "/usr/bin/strace", "--add"]);
        command.args(["/bin/busybox", "/usr/bin/env", "--"]).args(environment);
        let seen = calls(&run(&mut command, b"")?.text())?;
        if seen != expected {
            return Err(format!("in {mode} mode:\n{seen}\nbut on Linux:\n{expected}"));
        }
    }
    Ok(())
}

/// A program with a function to stop in.
fn program(name: &str) -> Result<PathBuf, String> {
    let folder = paths::work().join(name);
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let (source, built) = (folder.join("twice.c"), folder.join("twice"));
    let text = "#include <stdio.h>\n\
                int twice(int n) { return 2 * n; }\n\
                int outer(int n) { return twice(n) + 1; }\n\
                int main(void) { printf(\"printed %d\\n\", outer(20)); return 7; }\n";
    fs::write(&source, text).map_err(|e| e.to_string())?;
    let done = run(Command::new("gcc").args(["-g", "-O0", "-o"]).arg(&built).arg(&source), b"")?;
    if done.status == 0 { Ok(built) } else { Err(done.evidence()) }
}

/// What gdb must have said.
fn check(text: &str, wanted: &[&str]) -> Result<(), String> {
    match wanted.iter().find(|wanted| !text.contains(*wanted)) {
        Some(missing) => Err(format!("gdb does not say {missing:?}:\n{text}")),
        None => Ok(()),
    }
}

fn gdb_debugs_a_program() -> Result<(), String> {
    let built = program("traced")?;
    for mode in MODES {
        let mut command = Command::new(paths::coracle());
        command.args(["run", "--net", "none", "-m", "512", "--mode", mode, "--add"]).arg(&built);
        command.args(["--add", "/bin/sh", "--add", "/usr/share/gdb", "gdb", "--", "-batch", "-nx"]);
        for line in ["break twice", "run", "backtrace", "print n", "set var n = 30", "finish", "continue"] {
            command.args(["-ex", line]);
        }
        let done = run(command.arg(&built), b"")?;
        let wanted = [
            "Breakpoint 1, twice (n=20)",
            "#1  ",
            " in outer (n=20)",
            " in main ()",
            "$1 = 20",
            "Value returned is $2 = 60",
            "printed 61",
            "exited with code 07",
        ];
        check(&done.text(), &wanted).map_err(|error| format!("in {mode} mode: {error}"))?;
    }
    Ok(())
}

fn gdbserver_serves_the_host() -> Result<(), String> {
    let built = program("served")?;
    let port = ports::free()?;
    let forward = format!("{port}:2345");
    let mut command = Command::new(paths::coracle());
    command.args(["run", "-p", &forward, "--add"]).arg(&built).args(["--add", "/bin/sh", "gdbserver", "--"]);
    let guest = Server::start(command.args(["--once", ":2345"]).arg(&built))?;
    let mut seen = String::new();
    let is_done = until(LIMIT, || {
        let mut gdb = Command::new("gdb");
        gdb.args(["-batch", "-nx", "-ex"]).arg(format!("target remote 127.0.0.1:{port}"));
        for line in ["break twice", "continue", "backtrace", "continue"] {
            gdb.args(["-ex", line]);
        }
        seen = run(gdb.arg(&built), b"").map(|done| done.text()).unwrap_or_default();
        seen.contains("exited with code 07")
    });
    seen += &guest.log();
    check(&seen, &["Breakpoint 1, twice (n=20)", " in outer (n=20)"])?;
    if is_done { Ok(()) } else { Err(seen) }
}

fn main() -> ExitCode {
    trials::main("tracers", TESTS.iter().copied())
}
