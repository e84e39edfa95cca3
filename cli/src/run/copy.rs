//! Copies between the command's standard streams and the guest's ports. All descriptors may be non-blocking ones: that is a
//! property of the open file, which other processes share.

use std::io::{ErrorKind, IsTerminal as _};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Bytes copied at a time.
pub const PIECE: usize = 1 << 16;

/// Reads what there is, and waits for some. 0: the end.
///
/// # Errors
/// As read(2), but for EINTR and EAGAIN.
pub fn read(from: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::read(&from, &mut *buffer) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(&mut [PollFd::new(&from, PollFlags::IN)])?,
            other => return other,
        }
    }
}

/// Writes all bytes.
///
/// # Errors
/// As write(2), but for EINTR and EAGAIN.
pub fn write_all(to: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(&to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(&mut [PollFd::new(&to, PollFlags::OUT)])?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait(descriptors: &mut [PollFd<'_>]) -> Result<(), Errno> {
    match poll(descriptors, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Copies what a program of the guest writes, until the guest is gone. If the reader here goes away, the port is closed, so
/// that the program's next write fails as it would if it ran here (EPIPE, SIGPIPE: pipe(7)): after `started`, which waits for the program's start,
/// as a port that was never open for the guest makes a write wait. `tap` sees what is copied first.
///
/// # Errors
/// As write(2), but for EINTR, EAGAIN, EPIPE and a terminal that hung up: the output is not complete then. The port is closed, too.
pub fn output(
    from: &UnixStream,
    to: BorrowedFd<'_>,
    mut tap: impl FnMut(&[u8]),
    started: impl FnOnce(),
) -> Result<(), Errno> {
    let mut buffer = vec![0; PIECE];
    let mut result = Ok(());
    loop {
        // A pipe that has lost its reader says so without being written to, as does a terminal that is gone.
        let mut waiting = [PollFd::new(from, PollFlags::IN), PollFd::new(&to, PollFlags::empty())];
        if wait(&mut waiting).is_err() || !waiting[1].revents().is_empty() {
            break;
        }
        if waiting[0].revents().is_empty() {
            continue;
        }
        match read(from, &mut buffer) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(length) => {
                tap(&buffer[..length]);
                match write_all(to, &buffer[..length]) {
                    Ok(()) => {}
                    Err(Errno::PIPE) => break,
                    // It hung up.
                    Err(Errno::IO) if to.is_terminal() => break,
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
            }
        }
    }
    started();
    // Nothing is there to close if the guest ended meanwhile.
    let _ = from.shutdown(Shutdown::Both);
    result
}

/// Copies standard input to the guest, and its end. Returns when it ends, or when the guest is gone.
pub fn input(from: BorrowedFd<'_>, to: &UnixStream) {
    let mut buffer = vec![0; PIECE];
    loop {
        match read(from, &mut buffer) {
            // An input that can't be read any more has ended for the program.
            Ok(0) | Err(_) => break,
            Ok(length) => {
                if write_all(to, &buffer[..length]).is_err() {
                    return;
                }
            }
        }
    }
    // Only this direction: QEMU throws away what it has not read of a connection that is closed.
    if let Err(error) = to.shutdown(Shutdown::Write) {
        debug_assert!(error.kind() == ErrorKind::NotConnected, "{error}");
    }
}
