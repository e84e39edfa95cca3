//! A guest keeps its clock by NTP servers of the host.
use coracle_tests::guest::LIMIT;
use coracle_tests::outcome::Outcome;
use coracle_tests::paths;
use coracle_tests::trials::{self, Test, run};
use coracle_tests::wait::until;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, SystemTime};

const TESTS: &[(&str, Test)] = &[
    ("a_guest_follows_a_server", a_guest_follows_a_server),
    ("wrong_servers_are_refused", wrong_servers_are_refused),
];

/// A directory of the test's own, for guests and for what it needs.
fn folder(name: &str) -> Result<PathBuf, String> {
    let folder = paths::work().join(format!("clock-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
    Ok(folder)
}

fn coracle(folder: &Path, words: &[&str]) -> Result<Outcome, String> {
    let mut command = Command::new(paths::coracle());
    command.args(words).env("XDG_RUNTIME_DIR", folder).env("XDG_STATE_HOME", folder);
    run(command.current_dir(folder), b"")
}

fn works(folder: &Path, words: &[&str]) -> Result<Outcome, String> {
    match coracle(folder, words)? {
        done if done.status == 0 => Ok(done),
        failed => Err(format!("{words:?}: {}", failed.evidence())),
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// An NTP server whose clock is this far ahead: at the first question, and at later ones.
struct Server {
    port: u16,
    asked: Arc<AtomicU32>,
}

/// Bytes of a packet.
const PACKET: usize = 48;

impl Server {
    /// `answer` makes the answer's first bytes, and by how much the clock is ahead, of the number of questions before.
    fn start(answer: fn(u32, &mut [u8; PACKET]) -> Duration) -> Result<Server, String> {
        let socket = UdpSocket::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
        let port = socket.local_addr().map_err(|e| e.to_string())?.port();
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        // It serves until the test's process ends.
        thread::spawn(move || {
            let mut question = [0; PACKET];
            while let Ok((PACKET, client)) = socket.recv_from(&mut question) {
                let mut bytes = [0; PACKET];
                // Version 4, from a server, in stratum 1.
                (bytes[0], bytes[1]) = (4 << 3 | 4, 1);
                let ahead = answer(count.fetch_add(1, Relaxed), &mut bytes);
                let now = since_1970() + ahead;
                // Seconds since 1900, and their fraction.
                let seconds = (now.as_secs() + 2_208_988_800) as u32;
                let fraction = ((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000) as u32;
                bytes[24..32].copy_from_slice(&question[40..]);
                for at in [32, 40] {
                    bytes[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
                    bytes[at + 4..at + 8].copy_from_slice(&fraction.to_be_bytes());
                }
                let _ = socket.send_to(&bytes, client);
            }
        });
        Ok(Server { port, asked })
    }
}

const AHEAD: Duration = Duration::from_secs(300);
const FURTHER: Duration = Duration::from_millis(200);

fn a_guest_follows_a_server() -> Result<(), String> {
    let folder = folder("follows")?;
    // One that wants to be left alone, and says so; and one that is five minutes ahead, and a little more after the first answer.
    let unwilling = Server::start(|_, bytes| {
        bytes[1] = 0;
        bytes[12..16].copy_from_slice(b"DENY");
        Duration::ZERO
    })?;
    let server = Server::start(|before, _| if before == 0 { AHEAD } else { AHEAD + FURTHER })?;
    fs::write(folder.join("hosts"), "10.0.2.2 elsewhere time.example # the host\n")
        .map_err(|e| e.to_string())?;
    let settings = format!(
        "program = \"/bin/busybox\"\nargs = [\"ash\", \"-c\", \"while sleep 1; do date +%s; done\"]\n\
         add = [\"hosts:/etc/hosts\"]\nntp = [\"10.0.2.2:{}\", \"time.example:{}\"]\n",
        unwilling.port, server.port
    );
    fs::write(folder.join("Coracle.toml"), settings).map_err(|e| e.to_string())?;
    works(&folder, &["run", "-d", "--name", "follower", "--host-loopback"])?;
    let mut seen = serde_json::Value::Null;
    let follows = until(LIMIT, || {
        let text =
            works(&folder, &["stats", "--json", "follower"]).map(|done| done.text()).unwrap_or_else(|e| e);
        seen = serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
        let clock = &seen[0]["clock"];
        // What is left to make up for has been measured, and the clock runs faster for it.
        clock["offset_seconds"].as_f64().is_some_and(|offset| (0.1..0.3).contains(&offset))
            && clock["rate_ppm"].as_f64().is_some_and(|rate| rate > 100.0)
            && clock["is_synchronised"] == true
            && clock["source"] == format!("ntp time.example:{}", server.port)
    });
    if !follows {
        return Err(format!(
            "{seen}, asked {} and {} times",
            unwilling.asked.load(Relaxed),
            server.asked.load(Relaxed)
        ));
    }
    let shown = works(&folder, &["stats", "follower"])?.text();
    if !shown.contains("CLOCK") || !shown.contains(" ms, ") {
        return Err(shown);
    }
    // The program sees the time that was set. It was printed not long ago.
    let log = works(&folder, &["logs", "follower"])?.text();
    let last: u64 = log.lines().last().and_then(|line| line.trim().parse().ok()).ok_or(log.clone())?;
    let now = (since_1970() + AHEAD).as_secs();
    works(&folder, &["rm", "-f", "follower"])?;
    if !(now - 100..now + 5).contains(&last) {
        return Err(format!("{last} is not near {now}"));
    }
    match unwilling.asked.load(Relaxed) {
        1 => Ok(()),
        times => Err(format!("a server that wants to be left alone was asked {times} times")),
    }
}

fn wrong_servers_are_refused() -> Result<(), String> {
    let folder = folder("wrong")?;
    for server in ["http://time.example", "time.example:0", ""] {
        let refused = coracle(&folder, &["run", "--ntp", server, "/bin/busybox", "true"])?;
        if refused.status != 125 || !refused.log.contains("HOST:PORT") {
            return Err(refused.evidence());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    trials::main("clock", TESTS.iter().copied())
}
