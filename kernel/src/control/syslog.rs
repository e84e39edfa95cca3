//! /dev/log: messages of syslog(3) go to the command that runs the guest; if there is none, to a server, or to the kernel's own log.
use crate::outbound;
use alloc::sync::Arc;
use coracle_control::{HEADER_BYTES, LOG_BYTES, LONGEST_FROM_GUEST, Message};
use coracle_core::errno::Errno;
use coracle_core::fs::context::FsContext;
use coracle_core::fs::walk::{self, Follow};
use coracle_fallible::filled;
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicU32, Ordering::Relaxed};
use coracle_ipc::unix::{self, UnixSocket};
use coracle_system::drivers::console::{self, Channel};
use core::fmt::{self, Write as _};

static SOCKET: Once<Arc<UnixSocket>> = Once::new();

/// Serves /dev/log from now on. ENOMEM.
#[inline(never)]
pub fn serve() -> Result<(), Errno> {
    let dev = walk::find(&FsContext::new(), None, b"/dev", Follow::Always)?;
    let socket = unix::serve(&dev.path.inode, b"log", take)?;
    SOCKET.call_once(|| socket);
    Ok(())
}

fn take(message: &[u8], pid: i32) -> Result<(), Errno> {
    match console::control().filter(|channel| channel.port().is_connected()) {
        Some(channel) => send(channel, message, pid as u32),
        None if outbound::syslog::take_message(message, pid as u32) => Ok(()),
        None => {
            log!("syslog: {}", Text(message));
            Ok(())
        }
    }
}

/// Sends a message in pieces. EPIPE, EIO, ENOMEM.
fn send(channel: &Channel, message: &[u8], pid: u32) -> Result<(), Errno> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let id = NEXT.fetch_add(1, Relaxed);
    let mut buffer = filled(0, HEADER_BYTES + LONGEST_FROM_GUEST)?;
    let mut rest = message;
    loop {
        let (bytes, more) = rest.split_at(rest.len().min(LOG_BYTES));
        let piece = Message::Log { id, pid, has_more: !more.is_empty(), bytes };
        channel.send(piece.encode(&mut buffer).ok_or(Errno::INVAL)?)?;
        if more.is_empty() {
            return Ok(());
        }
        rest = more;
    }
}

/// Bytes as text: what is no UTF-8, and what would steer a terminal, is replaced.
struct Text<'a>(&'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            chunk.valid().chars().try_for_each(|c| f.write_char(if c.is_control() { ' ' } else { c }))?;
            chunk.invalid().iter().try_for_each(|_| f.write_char('?'))?;
        }
        Ok(())
    }
}
