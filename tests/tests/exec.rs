//! Programs beside the main one of a guest, as a person runs them: `coracle exec`.
use coracle_tests::background::Background;
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::paths;
use coracle_tests::terminal::Terminal;
use coracle_tests::trials::{self, Test, check, run};
use coracle_tests::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;

const TESTS: &[(&str, Test)] = &[
    ("programs_run_beside_the_main_one", programs_run_beside_the_main_one),
    ("streams_carry_all_bytes", streams_carry_all_bytes),
    ("many_at_once", many_at_once),
    ("a_slow_reader_delays_no_other", a_slow_reader_delays_no_other),
    ("a_shell_has_a_terminal", a_shell_has_a_terminal),
    ("signals_are_handed_on", signals_are_handed_on),
    ("without_memory_there_is_an_error", without_memory_there_is_an_error),
    ("programs_of_the_host_are_sent_along", programs_of_the_host_are_sent_along),
    ("ssh_scp_and_sftp_reach_a_guest", ssh_scp_and_sftp_reach_a_guest),
    ("a_guest_is_asked_first", a_guest_is_asked_first),
];

/// A guest whose main program sleeps, with busybox in it.
fn sleeper(name: &str, options: &[&str]) -> Result<Background, String> {
    let words = [options, &["--control", "full", "/bin/busybox", "--", "sleep", "100000"]].concat();
    Background::start(name, &words)
}

/// The words of a shell's script.
fn script(text: &str) -> [&str; 4] {
    ["busybox", "sh", "-c", text]
}

fn programs_run_beside_the_main_one() -> Result<(), String> {
    for mode in ["unikernel", "protected"] {
        let guest =
            sleeper("beside", &["--mode", mode, "--cpus", "2", "-e", "FROM_IMAGE=yes", "--user", "5:6"])?;
        let exec = |options: &[&str], words: &[&str]| guest.exec(options, words, b"ignored");
        check(&exec(&[], &["/bin/busybox", "echo", "-n", "x"])?, 0, "x")?;
        check(&exec(&[], &script("exit 7"))?, 7, "")?;
        check(&exec(&[], &script("kill -9 $$"))?, 137, "")?;
        check(&exec(&[], &script("echo out; echo err >&2; echo $FROM_IMAGE $A; cat"))?, 0, "out\nyes\n")?;
        let options = ["-e", "A=1 2", "-w", "/dev", "-u", "7:8"];
        let told = script("echo \"$A\"; pwd; id -u; id -g; id -G");
        check(&exec(&options, &told)?, 0, "1 2\n/dev\n7\n8\n8\n")?;
        check(&exec(&[], &script("id -u; id -g; echo $PPID"))?, 0, "5\n6\n0\n")?;
        // What it leaves behind is waited for, and nothing of it remains; the main program has no such child.
        check(&exec(&[], &script("(sleep 0.1; exit 3) & exit 0"))?, 0, "")?;
        let is_alone = || {
            let listed = exec(&[], &["busybox", "ps", "-o", "pid,ppid,stat,args"]).unwrap_or_default().text();
            listed.lines().count() == 3 && listed.contains("sleep 100000") && !listed.contains('Z')
        };
        if !until(LIMIT, is_alone) {
            return Err(format!("processes are left: {}", exec(&[], &["busybox", "ps"])?.evidence()));
        }
        for (status, word, words) in [
            (127, "PATH", &["nothere"][..]),
            (127, "not there", &["/bin/nothere"]),
            (126, "cannot be run", &["/etc/hostname"]),
        ] {
            let outcome = exec(&[], words)?;
            if outcome.status != status || !outcome.log.contains(word) {
                return Err(format!("wanted {status} and {word:?}: {}", outcome.evidence()));
            }
        }
        for options in [["-w", "/nothere"], ["-u", "nobody-here"]] {
            let outcome = exec(&options, &["busybox", "true"])?;
            if outcome.status == 0 || !outcome.log.contains("the guest has no") {
                return Err(format!("{options:?} is no error: {}", outcome.evidence()));
            }
        }
        check(&exec(&["-d"], &script("sleep 0.2; echo done > /dev/shm/done"))?, 0, "")?;
        if !until(LIMIT, || {
            exec(&[], &["busybox", "cat", "/dev/shm/done"]).is_ok_and(|o| o.text() == "done\n")
        }) {
            return Err("a program in the background does not go on".into());
        }
    }
    Ok(())
}

/// Bytes that look like keys, signals and ends of files among others.
fn binary(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect()
}

fn streams_carry_all_bytes() -> Result<(), String> {
    let data = binary(1_000_003);
    for mode in ["unikernel", "protected"] {
        let guest = sleeper("bytes", &["--mode", mode])?;
        let outcome = guest.exec(&["-i"], &["busybox", "cat"], &data)?;
        if outcome.status != 0 || outcome.output != data {
            return Err(format!("{mode}: {} bytes of {}", outcome.output.len(), data.len()));
        }
    }
    Ok(())
}

fn many_at_once() -> Result<(), String> {
    const MANY: usize = 50;
    for mode in ["unikernel", "protected"] {
        let guest = sleeper("many", &["--mode", mode, "--cpus", "2", "-m", "256M"])?;
        // All of them are there before the first ends.
        let wait = format!(
            "echo $1 > /dev/shm/$1; while [ $(ls /dev/shm | wc -l) -lt {MANY} ]; do sleep 0.1; done; cat; exit $1"
        );
        let results: Vec<Result<(), String>> = thread::scope(|scope| {
            let one = |number: usize| {
                let (guest, wait) = (&guest, &wait);
                scope.spawn(move || {
                    let name = number.to_string();
                    let words = ["busybox", "sh", "-c", wait, "sh", &name];
                    let outcome = guest.exec(&["-i"], &words, format!("from {number}").as_bytes())?;
                    check(&outcome, number as i32, &format!("from {number}"))
                })
            };
            let threads: Vec<_> = (0..MANY).map(one).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("panic".into()))).collect()
        });
        results.into_iter().collect::<Result<(), String>>()?;
    }
    Ok(())
}

fn a_slow_reader_delays_no_other() -> Result<(), String> {
    let guest = sleeper("slow", &[])?;
    let mut command = guest.command(&["exec", "slow", "busybox", "yes"]);
    let mut slow = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    let is_full = || {
        // It sleeps in its write once the pipes are full.
        guest.command(&["stack", "slow"]).output().is_ok_and(|output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.contains("write(") && text.contains("yes")
        })
    };
    let result = if until(LIMIT, is_full) {
        check(&guest.exec(&[], &["busybox", "echo", "quick"], b"")?, 0, "quick\n")
    } else {
        Err("a program whose output is not read goes on for ever".into())
    };
    let _ = slow.kill();
    let _ = slow.wait();
    result?;
    let is_gone =
        || guest.exec(&[], &["busybox", "pidof", "yes"], b"").is_ok_and(|outcome| outcome.status == 1);
    if until(LIMIT, is_gone) { Ok(()) } else { Err("the program outlives its connection".into()) }
}

fn a_shell_has_a_terminal() -> Result<(), String> {
    for mode in ["unikernel", "protected"] {
        let guest = sleeper("shell", &["--mode", mode])?;
        let command = guest.command(&["exec", "-it", "shell", "busybox", "sh"]);
        let mut terminal = Terminal::start(&command, 30, 100)?;
        let before = terminal.modes()?.local_modes;
        terminal.expect("$ ", LIMIT)?;
        terminal.enter("stty size; tty\r")?;
        terminal.expect("30 100\r\n/dev/pts/0\r\n", LIMIT)?;
        // What is shown is not what is typed: by then the program runs, and keys are signals.
        terminal.enter("sh -c 'echo run''ning; exec sleep 1000'\r")?;
        terminal.expect("running\r\n", LIMIT)?;
        terminal.enter("\x03")?;
        terminal.expect("^C", LIMIT)?;
        terminal.enter("echo status $?\r")?;
        terminal.expect("status 130\r\n", LIMIT)?;
        terminal.enter("sh -c 'echo a''gain; sleep 2000; echo then'\r")?;
        terminal.expect("again\r\n", LIMIT)?;
        terminal.enter("\x1a")?;
        terminal.expect("Stopped", LIMIT)?;
        terminal.enter("jobs; kill -9 %1; wait; echo st''ill\r")?;
        terminal.expect("still\r\n", LIMIT)?;
        terminal.resize(50, 132)?;
        terminal.enter("while [ \"$(stty size)\" != '50 132' ]; do sleep 0.1; done; echo larger\r")?;
        terminal.expect("larger\r\n", LIMIT)?;
        terminal.enter("exit 3\r")?;
        match terminal.wait(LIMIT) {
            Some(3) if terminal.modes()?.local_modes == before => {}
            other => return Err(format!("its status is {other:?}: {:?}", terminal.screen())),
        }
        // However it ends, the terminal is as it was, and the shell is gone.
        for (keys, signal) in [("\r~.", None), ("", Some(Signal::KILL))] {
            let mut terminal = Terminal::start(&command, 24, 80)?;
            let before = terminal.modes()?.local_modes;
            terminal.expect("$ ", LIMIT)?;
            terminal.enter(keys)?;
            if let Some(signal) = signal {
                let pid = Pid::from_raw(terminal.pid()).ok_or("no process")?;
                kill_process(pid, signal).map_err(|e| e.to_string())?;
            }
            terminal.wait(LIMIT);
            if !until(LIMIT, || terminal.modes().is_ok_and(|modes| modes.local_modes == before)) {
                return Err(format!("the terminal stays raw after {keys:?} {signal:?}"));
            }
        }
        let is_gone = || {
            let listed = guest.exec(&[], &["busybox", "ps"], b"").unwrap_or_default().text();
            listed.lines().count() == 3
        };
        if !until(LIMIT, is_gone) {
            return Err(format!("a shell is left: {}", guest.exec(&[], &["busybox", "ps"], b"")?.evidence()));
        }
    }
    Ok(())
}

fn signals_are_handed_on() -> Result<(), String> {
    let guest = sleeper("signals", &[])?;
    let words = "trap 'echo hup > /dev/shm/hup; exit 5' HUP; trap 'echo got usr1' USR1; echo up; exec 2> /dev/null; while :; do sleep 0.1; done";
    let mut server = Server::start(guest.command(&["exec", "signals"]).args(script(words)))?;
    let said = |server: &Server, text: &str| until(LIMIT, || server.log().contains(text));
    let send = |server: &Server, signal| {
        let pid = Pid::from_raw(server.pid()).ok_or("no process")?;
        kill_process(pid, signal).map_err(|e| e.to_string())
    };
    if !said(&server, "\nup\n") {
        return Err(server.log());
    }
    send(&server, Signal::USR1)?;
    if !said(&server, "got usr1") {
        return Err(format!("SIGUSR1 does not come: {}", server.log()));
    }
    send(&server, Signal::HUP)?;
    if server.wait(LIMIT) != Some(5) {
        return Err(format!("SIGHUP does not come: {}", server.log()));
    }
    // A command that is killed can send nothing: the guest notices.
    check(&guest.exec(&[], &script("cat /dev/shm/hup; rm /dev/shm/hup"), b"")?, 0, "hup\n")?;
    let server = Server::start(guest.command(&["exec", "signals"]).args(script(words)))?;
    if !said(&server, "\nup\n") {
        return Err(server.log());
    }
    send(&server, Signal::KILL)?;
    let is_told =
        || guest.exec(&[], &["busybox", "cat", "/dev/shm/hup"], b"").is_ok_and(|o| o.text() == "hup\n");
    if !until(LIMIT, is_told) {
        return Err("a program whose command was killed gets no SIGHUP".into());
    }
    // The main program's end ends all.
    let mut server = Server::start(guest.command(&["exec", "signals"]).args(script("echo up; sleep 1000")))?;
    if !said(&server, "\nup\n") {
        return Err(server.log());
    }
    run(&mut guest.command(&["kill", "signals", "-s", "KILL"]), b"")?;
    match server.wait(LIMIT) {
        Some(143 | 125) => Ok(()),
        other => Err(format!("its status is {other:?} when the guest ends: {}", server.log())),
    }
}

fn without_memory_there_is_an_error() -> Result<(), String> {
    const MOST: usize = 300;
    let guest = sleeper("short", &["-m", "24M"])?;
    // Files in memory take what they may, and programs the rest.
    let fill = "dd if=/dev/zero of=/dev/shm/a bs=64k 2> /dev/null; echo full";
    check(&guest.exec(&[], &script(fill), b"")?, 0, "full\n")?;
    let mut sleepers: Vec<(usize, std::process::Child)> = Vec::new();
    let mut refused = None;
    // They start no process themselves: a shell that can't ends, and gives its memory back.
    for number in 0..MOST {
        let mut command: Command = guest.command(&["exec", "short", "busybox", "sleep", "1000"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        sleepers.push((number, child.map_err(|e| e.to_string())?));
        let outcome = guest.exec(&[], &["busybox", "true"], b"")?;
        if outcome.status != 0 {
            refused = Some(outcome);
            break;
        }
    }
    for (_, mut child) in sleepers {
        let _ = child.kill();
        let _ = child.wait();
    }
    let refused =
        refused.ok_or("all of them fit into 24 MiB beside a full tmpfs: the test needs less memory")?;
    // An error, or the end of a program by the kernel that has no page left; the guest goes on.
    if ![125, 126, 127, 137, 139].contains(&refused.status) {
        return Err(format!("not an error that says why: {}", refused.evidence()));
    }
    let works =
        || guest.exec(&[], &["busybox", "echo", "back"], b"").is_ok_and(|outcome| outcome.text() == "back\n");
    if until(LIMIT, works) { Ok(()) } else { Err("the guest does not recover".into()) }
}

fn programs_of_the_host_are_sent_along() -> Result<(), String> {
    for mode in ["unikernel", "protected"] {
        // There is nothing in the guest but sleep and what it needs.
        let words = ["--mode", mode, "--control", "full", "/bin/sleep", "100000"];
        let guest = Background::start("along", &words)?;
        let missing = guest.exec(&[], &["sh"], b"")?;
        if missing.status != 127 || !missing.log.contains("--with") {
            return Err(format!("it is not said what to do: {}", missing.evidence()));
        }
        let busybox = ["--with", "/bin/busybox"];
        check(&guest.exec(&busybox, &["sh", "-c", "echo $0; busybox id -u; exit 4"], b"")?, 4, "sh\n1000\n")?;
        // A dynamic program brings its linker and its libraries.
        let sort = guest.exec(&["-i", "--with", "/usr/bin/sort"], &["sort", "-r"], b"a\nb\n")?;
        check(&sort, 0, "b\na\n")?;
        let file = ["--with", "/bin/busybox", "--with", "/etc/services:/dev/shm/services"];
        let wanted = std::fs::read_to_string("/etc/services").map_err(|e| e.to_string())?;
        check(&guest.exec(&file, &["cat", "/dev/shm/services"], b"")?, 0, &wanted)?;
        let twice = guest.exec(&["--with", "/etc/services:/etc/hostname"], &["/bin/sleep", "0"], b"")?;
        if twice.status != 125 || !twice.log.contains("File exists") {
            return Err(format!("a file of the guest is replaced: {}", twice.evidence()));
        }
        // What was sent is removed again; of this shell, its own directory is there.
        let left = || {
            let list =
                "echo /run/.* /dev/shm/* | busybox wc -w; busybox ls -a /run | busybox grep -c coracle";
            guest.exec(&busybox, &["sh", "-c", list], b"").unwrap_or_default().text()
        };
        if !until(LIMIT, || left().ends_with("\n1\n")) {
            return Err(format!("something is left: {}", left()));
        }
    }
    Ok(())
}

/// A person's ssh.
struct Ssh<'g> {
    guest: &'g Background,
    config: PathBuf,
}

impl Ssh<'_> {
    /// `PROGRAM -F CONFIG -i KEY WORDS`, where the key is that of this name.
    fn command(&self, program: &str, key: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(&self.config).arg("-i").arg(self.guest.folder.join(key));
        command.args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]).args(words);
        command.env("XDG_RUNTIME_DIR", &self.guest.folder).env("XDG_STATE_HOME", &self.guest.folder);
        command.env_remove("SSH_AUTH_SOCK");
        command
    }
}

/// A port of the guest is reached by ssh's forwarding, and none of the host's. The guest has `data` in /dev/shm/file.
fn forwarded(ssh: &Ssh<'_>, data: &[u8]) -> Result<(), String> {
    let serve = ["reached", "busybox httpd -p 8080 -h /dev/shm"];
    check(&run(&mut ssh.command("ssh", "own", &serve), b"")?, 0, "")?;
    let request = b"GET /file HTTP/1.0\r\n\r\n";
    let got = run(&mut ssh.command("ssh", "own", &["-W", "localhost:8080", "reached"]), request)?;
    if got.status != 0 || !got.output.ends_with(data) {
        return Err(format!("a port is not forwarded: status {}, {}", got.status, got.log));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    let hosts = format!("localhost:{port}");
    let refused = run(&mut ssh.command("ssh", "own", &["-W", &hosts, "reached"]), b"")?;
    if refused.status == 0 || !refused.log.contains("Connection refused") {
        return Err(format!("a port of the host is reached: {}", refused.evidence()));
    }
    Ok(())
}

fn ssh_scp_and_sftp_reach_a_guest() -> Result<(), String> {
    let keys = paths::work().join("ssh-keys");
    let _ = fs::remove_dir_all(&keys);
    fs::create_dir_all(&keys).map_err(|e| e.to_string())?;
    for key in ["own", "other"] {
        let mut make = Command::new("ssh-keygen");
        check(&run(make.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(keys.join(key)), b"")?, 0, "")?;
    }
    let public = keys.join("own.pub");
    let public = public.to_string_lossy();
    let words = ["--ssh", &public, "--add", "/bin/dash:/bin/sh", "/bin/busybox", "--", "sleep", "100000"];
    let guest = Background::start("reached", &words)?;
    for key in ["own", "other"] {
        fs::rename(keys.join(key), guest.folder.join(key)).map_err(|e| e.to_string())?;
    }
    let mut print = guest.command(&["ssh-config", "reached"]);
    let config = run(print.env("XDG_STATE_HOME", &guest.folder), b"")?;
    let path = guest.folder.join("config");
    fs::write(&path, &config.output).map_err(|e| e.to_string())?;
    let ssh = Ssh { guest: &guest, config: path };
    let told = run(
        &mut ssh.command("ssh", "own", &["reached", "busybox id -u; busybox cat; exit 3"]),
        b"from here",
    )?;
    check(&told, 3, "1000\nfrom here")?;
    let refused = run(&mut ssh.command("ssh", "other", &["reached", "true"]), b"")?;
    if refused.status != 255 || !refused.log.contains("Permission denied") {
        return Err(format!("a key that was not given is let in: {}", refused.evidence()));
    }
    let mut terminal = Terminal::start(&ssh.command("ssh", "own", &["-t", "reached"]), 30, 100)?;
    terminal.expect("$ ", LIMIT)?;
    terminal.enter("busybox stty size; busybox tty\r")?;
    terminal.expect("30 100\r\n/dev/pts/0\r\n", LIMIT)?;
    terminal.resize(40, 90)?;
    terminal.enter(
        "while [ \"$(busybox stty size)\" != '40 90' ]; do busybox sleep 0.1; done; echo lar''ger\r",
    )?;
    terminal.expect("larger\r\n", LIMIT)?;
    terminal.enter("exit 5\r")?;
    if terminal.wait(LIMIT) != Some(5) {
        return Err(format!("a shell by ssh: {:?}", terminal.screen()));
    }
    let (there, back) = (guest.folder.join("there"), guest.folder.join("back"));
    let data = binary(300_001);
    fs::write(&there, &data).map_err(|e| e.to_string())?;
    let (there, back) = (there.to_string_lossy().into_owned(), back.to_string_lossy().into_owned());
    check(&run(&mut ssh.command("scp", "own", &["-q", &there, "reached:/dev/shm/file"]), b"")?, 0, "")?;
    check(&run(&mut ssh.command("scp", "own", &["-q", "reached:/dev/shm/file", &back]), b"")?, 0, "")?;
    if fs::read(&back).ok().as_ref() != Some(&data) {
        return Err("scp there and back changes a file".into());
    }
    forwarded(&ssh, &data)?;
    let commands = b"ls -l /dev/shm\nrename /dev/shm/file /dev/shm/other\nmkdir /dev/shm/made\nls /dev/shm\n";
    let listed = run(&mut ssh.command("sftp", "own", &["-b", "-", "reached"]), commands)?;
    let text = listed.text();
    let wanted = ["300001", "/dev/shm/file", "/dev/shm/made", "/dev/shm/other"];
    if listed.status != 0 || !wanted.iter().all(|word| text.contains(word)) {
        return Err(format!("sftp lists: {}", listed.evidence()));
    }
    drop(guest);
    // Without a shell in the image, plain commands go, and a shell is missed in words.
    let guest = Background::start("bare", &["--ssh", &public, "/bin/busybox", "--", "sleep", "100000"])?;
    let mut print = guest.command(&["ssh-config", "bare"]);
    let outcome = run(print.env("XDG_STATE_HOME", &guest.folder), b"")?;
    if outcome.status != 0 || !outcome.text().contains("Host bare\n") {
        return Err(outcome.evidence());
    }
    let mut session = guest.command(&["ssh-session", "bare"]);
    check(&run(session.env("SSH_ORIGINAL_COMMAND", "busybox echo plain"), b"")?, 0, "plain\n")?;
    let outcome = run(session.env("SSH_ORIGINAL_COMMAND", "echo $A"), b"")?;
    if outcome.status != 127 || !outcome.log.contains("`bare` has no shell") {
        return Err(outcome.evidence());
    }
    let refused = run(
        &mut guest.command(&["run", "--ssh", &public, "--control", "observe", "--name", "x", "/bin/true"]),
        b"",
    )?;
    if refused.status != 125 || !refused.log.contains("--control full") {
        return Err(refused.evidence());
    }
    Ok(())
}

fn a_guest_is_asked_first() -> Result<(), String> {
    let guest = Background::start("observed", &["/bin/busybox", "--", "sleep", "1000"])?;
    let outcome = guest.exec(&[], &["busybox", "true"], b"")?;
    if outcome.status != 125 || !outcome.log.contains("--control full") {
        return Err(format!("it is not said what is missing: {}", outcome.evidence()));
    }
    let outcome = run(&mut guest.command(&["exec", "nobody", "true"]), b"")?;
    if outcome.status != 125 || !outcome.log.contains("there is no guest `nobody`") {
        return Err(outcome.evidence());
    }
    Ok(())
}

fn main() -> ExitCode {
    trials::main("exec", TESTS.iter().copied())
}
