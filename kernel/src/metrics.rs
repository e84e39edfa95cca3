//! `metrics=PORT`: the guest itself answers `GET /metrics` (the crate `coracle-metrics`).
//!
//! A thread of the kernel serves one connection after the other, each for a bounded time, so a client that is slow delays others
//! and takes no more memory than one. Without a port there is no thread.
use crate::own_thread;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::fs::context::FsContext;
use coracle_core::fs::file::File;
use coracle_core::fs::open::open;
use coracle_core::fs::walk::Bounds;
use coracle_core::ipc::poll::{Events, PollSource, block_on_events};
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{Socket, SocketAddress};
use coracle_core::task::thread::Work;
use coracle_core::task::{later, process};
use coracle_fallible::{Text, filled};
use coracle_hal::sync::atomic::{AtomicU16, Ordering::Relaxed};
use coracle_hal::time::now_ns;
use coracle_metrics::{CONTENT_TYPE, END, Files, GUEST, samples, write_head, write_sample};
use coracle_system::socket::socket;
use core::fmt::{self, Write};
use core::net::{Ipv4Addr, SocketAddrV4};
use linux_raw_sys::general::{O_NONBLOCK, O_RDONLY};
use linux_raw_sys::net as n;

/// How long a connection lasts at most; and how long the thread waits after it could accept none.
const LONGEST_NS: u64 = 5_000_000_000;
const PAUSE_NS: u64 = 1_000_000_000;
/// Bytes of the head of a request, and those that are read of a file at once: a longer line is left out.
const HEAD_BYTES: usize = 2048;
const PIECE_BYTES: usize = 4096;
/// Connections that wait for their turn.
const BACKLOG: usize = 8;

static PORT: AtomicU16 = AtomicU16::new(0);

/// Answers on `port` from now on. ENOMEM.
pub fn start(port: u16) -> Result<(), Errno> {
    PORT.store(port, Relaxed);
    own_thread::start(b"metrics", Work::METRICS)
}

/// What the thread does.
pub fn main() -> ! {
    let port = PORT.load(Relaxed);
    let listener = listen(port);
    if let Err(error) = &listener {
        log!("metrics are not served on port {port} (error {})", error.number());
    }
    static NEVER: PollSource = PollSource::new();
    loop {
        let listener = listener.as_ref().ok().and_then(|file| file.as_socket());
        match listener.map(|listener| listener.accept(false)) {
            Some(Ok((file, _))) => {
                // A client that went away, or was too slow, wants no answer.
                let _ = serve(&*file);
                file.closed();
            }
            // For want of memory, which others give back.
            failed => {
                let until = failed.map(|_| now_ns() + PAUSE_NS);
                let _ = block_on_events(&NEVER, Events::IN, false, until, || Err::<(), _>(Errno::AGAIN));
            }
        }
        later::settle();
    }
}

fn listen(port: u16) -> Result<Arc<dyn File>, Errno> {
    let file = socket(n::AF_INET, n::SOCK_STREAM, 0)?;
    let socket = file.as_socket().ok_or(Errno::INVAL)?;
    socket.bind(&SocketAddress::Inet(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
    socket.listen(BACKLOG)?;
    Ok(file)
}

/// Answers one request. Errors of the connection; EAGAIN if it is too slow.
fn serve(file: &dyn File) -> Result<(), Errno> {
    let socket = file.as_socket().ok_or(Errno::INVAL)?;
    let until = now_ns() + LONGEST_NS;
    let mut head = filled(0, HEAD_BYTES)?;
    let mut len = 0;
    while !head[..len].windows(4).any(|end| end == b"\r\n\r\n") {
        if len == head.len() {
            return Err(Errno::MSGSIZE);
        }
        set_timeout(socket, n::SO_RCVTIMEO_OLD, until)?;
        match socket.receive(&mut UserBuf::kernel_out(&mut head[len..]), 0)?.len {
            0 => return Err(Errno::PIPE),
            more => len += more,
        }
    }
    let mut answer = Text::new();
    let target = head.strip_prefix(b"GET ").and_then(|rest| rest.split(|&byte| byte == b' ').next());
    let written = match target {
        Some(b"/metrics") => {
            write!(answer, "HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nConnection: close\r\n\r\n")?;
            write_all(&mut answer)
        }
        Some(_) => Write::write_str(&mut answer, "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"),
        None => Write::write_str(&mut answer, "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\n\r\n"),
    };
    // Half an answer would look like a whole one: without memory there is none.
    written.map_err(|_| Errno::NOMEM)?;
    let mut rest = answer.as_bytes();
    while !rest.is_empty() {
        set_timeout(socket, n::SO_SNDTIMEO_OLD, until)?;
        let sent = socket.send(&mut UserBuf::kernel_in(rest), None, 0, None)?;
        rest = &rest[sent..];
    }
    socket.shutdown(n::SHUT_WR)
}

/// Has calls on a socket wait no longer than `until`. EAGAIN if that is over.
fn set_timeout(socket: &dyn Socket, option: u32, until: u64) -> Result<(), Errno> {
    let left = until.saturating_sub(now_ns()) / 1000;
    if left == 0 {
        return Err(Errno::AGAIN);
    }
    // A `struct timeval`.
    let value = [left / 1_000_000, left % 1_000_000].map(u64::to_le_bytes);
    socket.set_option(n::SOL_SOCKET as i32, option as i32, value.as_flattened())
}

fn write_all(out: &mut Text) -> fmt::Result {
    let mut files = Proc::new().map_err(|_| fmt::Error)?;
    for family in GUEST {
        write_head(out, family)?;
        let mut written = Ok(());
        samples(&mut files, family, &mut |sample| {
            if written.is_ok() {
                written = write_sample(out, family, &[], sample);
            }
        });
        written?;
    }
    out.write_str(END)
}

/// Files as the kernel reads them itself.
pub struct Proc {
    piece: Vec<u8>,
    context: FsContext,
}

impl Proc {
    /// With room for a line. ENOMEM.
    pub fn new() -> Result<Proc, Errno> {
        Ok(Proc { piece: filled(0, PIECE_BYTES)?, context: FsContext::new() })
    }
}

impl Files for Proc {
    fn lines(&mut self, path: &str, take: &mut dyn FnMut(&str)) {
        let opened = open(&self.context, None, path.as_bytes(), O_RDONLY | O_NONBLOCK, 0, Bounds::default());
        let Ok(open) = opened else { return };
        let (piece, mut held, mut offset) = (&mut self.piece, 0, 0);
        while let Ok(done @ 1..) = open.file.read(&mut UserBuf::kernel_out(&mut piece[held..]), offset, true)
        {
            offset += done as u64;
            held += done;
            let mut start = 0;
            while let Some(len) = piece[start..held].iter().position(|&byte| byte == b'\n') {
                core::str::from_utf8(&piece[start..start + len]).into_iter().for_each(&mut *take);
                start += len + 1;
            }
            piece.copy_within(start..held, 0);
            held -= start;
            if held == piece.len() {
                held = 0;
            }
        }
    }

    fn numbers(&mut self, _path: &str) -> u64 {
        process::all().count() as u64
    }
}
