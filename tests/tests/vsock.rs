//! What `coracle run --vsock` promises: programs of the guest and of the host connect to each other by AF_VSOCK. The device is served by
//! `vhost-device-vsock`, which `scripts/deps.sh vhost` installs; without it, these tests are ignored.
use coracle_tests::guest::{LIMIT, Server};
use coracle_tests::trials::{Test, run};
use coracle_tests::{build, known, paths, wait};
use libtest_mimic::Arguments;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

const TESTS: &[(&str, Test, bool)] =
    &[("host_and_guest_connect", host_and_guest_connect, true), ("what_is_refused", what_is_refused, false)];

/// Ports of the program, and what it sends.
const TO_HOST: u32 = 6000;
const FROM_HOST: u32 = 5000;
const TOTAL: usize = 2 << 20;
/// The status when `coracle` itself could not do what was asked.
const FAILED: i32 = 125;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let known = known::read();
    if !arguments.list {
        paths::coracle();
    }
    let is_there = server().is_some();
    let trials = TESTS.iter().map(|&(name, test, needs_server)| {
        known::trial(&known, format!("vsock::{name}"), test).with_ignored_flag(needs_server && !is_there)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The program that serves the device.
fn server() -> Option<PathBuf> {
    paths::device_server("vhost-device-vsock")
}

/// A directory of the test's own.
fn home(test: &str) -> Result<PathBuf, String> {
    let path = paths::work().join("vsock").join(test);
    if path.exists() {
        fs::remove_dir_all(&path).map_err(|e| e.to_string())?;
    }
    fs::create_dir_all(&path).map_err(|e| e.to_string())?;
    Ok(path)
}

/// The guest's socket in a directory. Its name is short: no name of a socket may have more than 107 bytes.
fn socket(directory: &Path) -> PathBuf {
    directory.join("s")
}

/// Connects to a port of the guest. `None`: none listens there.
fn connect(directory: &Path, port: u32) -> Result<Option<BufReader<UnixStream>>, String> {
    let text = |e: std::io::Error| e.to_string();
    let mut stream = UnixStream::connect(socket(directory)).map_err(text)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(text)?;
    // In one piece: vhost-device-vsock 0.3 takes what it reads first for all of it.
    stream.write_all(format!("CONNECT {port}\n").as_bytes()).map_err(text)?;
    let mut stream = BufReader::new(stream);
    let mut answer = String::new();
    match stream.read_line(&mut answer) {
        Ok(0) => Ok(None),
        Ok(_) if answer.starts_with("OK ") => Ok(Some(stream)),
        Ok(_) => Err(format!("the guest's port answers {answer:?}")),
        Err(error) => Err(text(error)),
    }
}

/// Sends bytes to the guest and reads them back, piece by piece: vhost-device-vsock 0.3 does not go on with what the guest sends while more
/// for the guest than it takes waits for it.
fn exchange(directory: &Path, seed: usize) -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    let mut stream = connect(directory, FROM_HOST)?.ok_or("the guest does not listen")?;
    let bytes: Vec<u8> = (0..TOTAL / 4).map(|at| (at * seed + (at >> 9)) as u8 & 0x7f | 0x80).collect();
    for piece in bytes.chunks(30_000) {
        stream.get_mut().write_all(piece).map_err(text)?;
        let mut back = vec![0; piece.len()];
        stream.read_exact(&mut back).map_err(text)?;
        if back != piece {
            return Err("the guest returned other bytes".to_owned());
        }
    }
    Ok(())
}

/// Takes a connection of the guest's, and returns what it sends.
fn return_all(listener: &UnixListener) -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    let (mut stream, _) = listener.accept().map_err(text)?;
    let mut bytes = [0; 10_000];
    let mut done = 0;
    while done < TOTAL {
        let len = stream.read(&mut bytes).map_err(text)?;
        if len == 0 {
            return Err(format!("the guest has closed its connection after {done} bytes"));
        }
        stream.write_all(&bytes[..len]).map_err(text)?;
        done += len;
    }
    Ok(())
}

fn host_and_guest_connect() -> Result<(), String> {
    let program = build::c_server(&paths::programs().join("servers/vsock_host.c"))?;
    let server = server().ok_or("there is no vhost-device-vsock")?;
    for machine in ["microvm --cpus 2", "q35 --mode protected"] {
        let directory = home("both")?;
        let path = socket(&directory);
        let listener =
            UnixListener::bind(format!("{}_{TO_HOST}", path.display())).map_err(|e| e.to_string())?;
        let host = thread::spawn(move || return_all(&listener));
        let mut command = Command::new(paths::coracle());
        command.env("CORACLE_VHOST_VSOCK", &server);
        command.args(["run", "-q", "--net", "none", &format!("--vsock=42:{}", path.display()), "--machine"]);
        command.args(machine.split(' ')).arg(&program);
        let mut guest = Server::start(&mut command)?;
        wait::until(LIMIT, || guest.log().contains("listening\n") || !guest.is_running());
        let said = "CID 42\nthe host returned 2097152 bytes, the same\nlistening\n";
        if !guest.log().ends_with(said) {
            return Err(guest.log());
        }
        host.join().map_err(|_| "the host's end panicked".to_owned())??;
        thread::scope(|scope| {
            let all: Vec<_> = [3, 5, 7]
                .map(|seed| {
                    scope.spawn({
                        let directory = &directory;
                        move || exchange(directory, seed)
                    })
                })
                .into();
            all.into_iter().try_for_each(|one| one.join().map_err(|_| "an exchange panicked".to_owned())?)
        })?;
        let mut last = connect(&directory, FROM_HOST)?.ok_or("the guest does not listen")?;
        if connect(&directory, FROM_HOST + 1)?.is_some() {
            return Err("a port to which nothing is bound takes a connection".to_owned());
        }
        last.get_mut().write_all(b"!").map_err(|e| e.to_string())?;
        let status = guest.wait(LIMIT);
        if status != Some(0) || !guest.log().ends_with(&format!("{said}asked to end\n")) {
            return Err(format!("status {status:?}: {}", guest.log()));
        }
        if path.exists() {
            return Err("the socket is left behind".to_owned());
        }
    }
    Ok(())
}

fn what_is_refused() -> Result<(), String> {
    let refused = |wish: &str, server: &str, why: &str| {
        let mut command = Command::new(paths::coracle());
        command.env("CORACLE_VHOST_VSOCK", server).args(["run", "-q", wish, "true"]);
        let outcome = run(&mut command, b"")?;
        let is_so = outcome.status == FAILED && outcome.evidence().contains(why);
        if is_so { Ok(()) } else { Err(format!("wanted {why:?}, but: {}", outcome.evidence())) }
    };
    refused("--vsock=2", "", "`2` is no CID")?;
    let directory = home("refused")?;
    let path = socket(&directory);
    fs::write(&path, "").map_err(|e| e.to_string())?;
    let wish = format!("--vsock=5:{}", path.display());
    refused(&wish, "/bin/false", "is there, and no socket")?;
    fs::remove_file(&path).map_err(|e| e.to_string())?;
    let listener = UnixListener::bind(&path).map_err(|e| e.to_string())?;
    refused(&wish, "/bin/false", "is in use")?;
    drop(listener);
    // A socket that nothing listens on is one that a guest left behind.
    refused(&wish, "/bin/false", "`/bin/false` does not serve")
}
