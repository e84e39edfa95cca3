//! As much of HTTP/1.1 (RFC 9112) as Prometheus needs: one request a connection.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use coracle_metrics::CONTENT_TYPE;

use crate::error::{Result, warn};

/// Bytes of a request's head at most.
const LONGEST_HEAD: usize = 16 << 10;
/// How long a client may take to send it, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are served at once. Others wait in the listener's queue.
const MOST_AT_ONCE: usize = 32;
/// Between two looks whether a connection has ended, and after accept(2) failed.
const PAUSE: Duration = Duration::from_millis(20);

const PLAIN: &str = "text/plain; charset=utf-8";

/// Serves what `text` makes as /metrics, for ever.
pub fn serve(
    listener: &TcpListener,
    text: impl Fn() -> Result<String> + Send + Sync + 'static,
) -> Result<()> {
    let (text, served) = (Arc::new(text), Arc::new(AtomicUsize::new(0)));
    loop {
        while served.load(Ordering::SeqCst) >= MOST_AT_ONCE {
            thread::sleep(PAUSE);
        }
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Of one connection, or for want of descriptors, which others give back.
                warn(format_args!("cannot accept a connection: {error}"));
                thread::sleep(PAUSE);
                continue;
            }
        };
        served.fetch_add(1, Ordering::SeqCst);
        let (text, served) = (Arc::clone(&text), Arc::clone(&served));
        thread::spawn(move || {
            // A client that went away, or was too slow, wants no answer.
            let _ = answer(stream, &*text);
            served.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn answer(mut stream: TcpStream, text: &dyn Fn() -> Result<String>) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = read_head(&mut stream)?;
    let line = head.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, kind, body) = match (method, target.split('?').next().unwrap_or_default()) {
        ("GET" | "HEAD", "/metrics") => match text() {
            Ok(text) => ("200 OK", CONTENT_TYPE, text),
            Err(error) => ("500 Internal Server Error", PLAIN, format!("{error}\n")),
        },
        ("GET" | "HEAD", "/") => ("200 OK", PLAIN, "Coracle: see /metrics\n".to_owned()),
        ("GET" | "HEAD", _) => ("404 Not Found", PLAIN, "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", PLAIN, "only GET and HEAD\n".to_owned()),
    };
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes())?;
    }
    stream.shutdown(std::net::Shutdown::Write)
}

/// Reads until the empty line that ends the head.
fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let until = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && !head.windows(2).any(|end| end == b"\n\n") {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > LONGEST_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => head.extend_from_slice(&piece[..read]),
        }
    }
    Ok(head)
}
