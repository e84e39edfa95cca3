//! Clients: of memcached, redis, HTTP and echo servers, well-behaved and otherwise.
use rustix::net::sockopt::set_socket_linger;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::apps::{Network, Running};
use crate::paths::pattern;

/// An error in words, with what was being done.
pub fn say<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |e| format!("{what}: {e}")
}

/// An error unless a condition holds.
///
/// # Errors
/// If it does not.
pub fn check(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("not so: {what}")) }
}

/// Whether a server answers a line with one that starts as wanted.
///
/// # Errors
/// If it does not.
pub fn probe_line(running: &Running, line: &[u8], answer: &[u8]) -> io::Result<()> {
    let mut stream = running.connect()?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(line)?;
    let mut got = vec![0; answer.len()];
    stream.read_exact(&mut got)?;
    if got == answer { Ok(()) } else { Err(io::Error::other("another answer")) }
}

/// A memcached client, by the text protocol.
pub struct Memcached {
    stream: BufReader<TcpStream>,
}

impl Memcached {
    /// Connects.
    ///
    /// # Errors
    /// If it can't.
    pub fn connect(running: &Running) -> Result<Self, String> {
        Ok(Self { stream: BufReader::new(running.connect().map_err(say("connecting"))?) })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// If they can't be sent.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.get_mut().write_all(bytes).map_err(say("sending"))
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    /// If none comes.
    pub fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(say("reading a line"))?;
        Ok(line.trim_end().to_string())
    }

    /// Sends a command and reads the line that answers it.
    ///
    /// # Errors
    /// If that fails.
    pub fn ask(&mut self, command: &str) -> Result<String, String> {
        self.send(format!("{command}\r\n").as_bytes())?;
        self.line()
    }

    /// Stores a value.
    ///
    /// # Errors
    /// If the server doesn't.
    pub fn set(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        let mut message = format!("set {key} 5 0 {}\r\n", value.len()).into_bytes();
        message.extend_from_slice(value);
        message.extend_from_slice(b"\r\n");
        self.send(&message)?;
        let answer = self.line()?;
        check(answer == "STORED", &format!("set {key} answers STORED, but: {answer}"))
    }

    /// Reads the answer to a `get`.
    ///
    /// # Errors
    /// If it is none.
    pub fn value(&mut self) -> Result<Option<Vec<u8>>, String> {
        let head = self.line()?;
        if head == "END" {
            return Ok(None);
        }
        let length = head.strip_prefix("VALUE ").and_then(|h| h.rsplit(' ').next()?.parse::<usize>().ok());
        let mut value = vec![0; length.ok_or_else(|| format!("not the head of a value: {head:?}"))? + 2];
        self.stream.read_exact(&mut value).map_err(say("reading a value"))?;
        value.truncate(value.len() - 2);
        let end = self.line()?;
        check(end == "END", &format!("a value ends with END, but: {end}"))?;
        Ok(Some(value))
    }

    /// Fetches a value.
    ///
    /// # Errors
    /// If the server fails.
    pub fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, String> {
        self.send(format!("get {key}\r\n").as_bytes())?;
        self.value()
    }
}

/// Ends a connection by a reset instead of in order.
pub fn reset(stream: TcpStream) {
    let _ = set_socket_linger(&stream, Some(Duration::ZERO));
}

/// Sends a deterministic stream to an echo server and checks that it comes back, both directions at once.
///
/// # Errors
/// What is wrong.
pub fn echo(running: &Running, length: usize) -> Result<(), String> {
    let data = pattern(length);
    let stream = running.connect().map_err(say("connecting"))?;
    let mut writer = stream.try_clone().map_err(say("cloning"))?;
    let mut reader = stream;
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| writer.write_all(&data).and_then(|()| writer.shutdown(Shutdown::Write)));
        let mut back = Vec::new();
        reader.read_to_end(&mut back).map_err(say("reading what was echoed"))?;
        sending.join().expect("the sender does not panic").map_err(say("sending"))?;
        let wrong = back.iter().zip(&data).position(|(a, b)| a != b);
        check(back.len() == length, &format!("{length} bytes come back, but: {}", back.len()))?;
        check(wrong.is_none(), &format!("the bytes are the same, but not at {wrong:?}"))
    })
}

/// Opens many connections, keeps all of them, and has each answered several times.
///
/// # Errors
/// What is wrong.
pub fn many(
    running: &Running,
    count: usize,
    ask: impl Fn(usize) -> (Vec<u8>, Vec<u8>),
) -> Result<(), String> {
    let send = |i: usize, stream: &mut TcpStream| {
        stream.write_all(&ask(i).0).map_err(|e| format!("sending on connection {i}: {e}"))
    };
    let receive = |i: usize, stream: &mut TcpStream| {
        let expected = ask(i).1;
        let mut got = vec![0; expected.len()];
        stream.read_exact(&mut got).map_err(|e| format!("reading from connection {i}: {e}"))?;
        check(
            got == expected,
            &format!("connection {i} has its answer, but: {:?}", String::from_utf8_lossy(&got)),
        )
    };
    let mut streams = Vec::new();
    for i in 0..count {
        let mut stream = running.connect().map_err(|e| format!("connection {i} of {count}: {e}"))?;
        if running.network == Network::User {
            // QEMU's user network listens with a backlog of one: the next may come when this one is through.
            send(i, &mut stream)?;
            receive(i, &mut stream)?;
        }
        streams.push(stream);
    }
    for _ in 0..2 {
        streams.iter_mut().enumerate().try_for_each(|(i, stream)| send(i, stream))?;
        streams.iter_mut().enumerate().try_for_each(|(i, stream)| receive(i, stream))?;
    }
    Ok(())
}

/// An HTTP request by `curl`; the body.
///
/// # Errors
/// What curl said.
pub fn curl(running: &Running, path: &str, more: &[&str]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail", "--max-time", "60", "--noproxy", "*"]).args(more);
    tool(command.arg(format!("http://{}{path}", running.address)))
}

/// Runs a client program to its end; what it printed.
///
/// # Errors
/// What it said, if it fails.
pub fn tool(command: &mut Command) -> Result<Vec<u8>, String> {
    let output = command.output().map_err(|e| format!("{:?} does not start: {e}", command.get_program()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{command:?}: {}\n{out}\n{err}", output.status))
}

/// Whether an error is one that a limit on waiting gives.
pub fn is_timeout(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
