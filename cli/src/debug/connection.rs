//! The connection with gdb.
//!
//! The crate `gdbstub` has one for Unix sockets only with its feature `std`, which changes more than that.
use std::io::{Read as _, Result, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use gdbstub::conn::{Connection, ConnectionExt};
use rustix::net::{RecvFlags, recv};

/// The complaint about a packet that did not arrive ("Packet Acknowledgment" in gdb's documentation).
const NACK: u8 = b'-';
/// Characters of the checksum behind a packet.
const CHECKSUM: usize = 2;

/// A Unix socket.
///
/// Nothing is lost on it. gdb complains of an answer all the same that takes longer than it waits: it gets that one, and no second.
pub struct Stream {
    socket: UnixStream,
    within: Within,
}

/// Where in what gdb sends a byte lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Between packets.
    None,
    Packet,
    /// So many characters of the checksum are yet to come.
    Checksum(usize),
}

impl Stream {
    /// With a gdb that has just connected.
    pub fn new(socket: UnixStream) -> Stream {
        Stream { socket, within: Within::None }
    }

    /// Whether the next byte is a complaint.
    fn is_complaint(&self, byte: u8) -> bool {
        self.within == Within::None && byte == NACK
    }

    /// Waits for a byte; `None`: it was a complaint.
    pub fn hear(&mut self) -> Result<Option<u8>> {
        let mut byte = [0];
        self.socket.read_exact(&mut byte)?;
        let [byte] = byte;
        if self.is_complaint(byte) {
            return Ok(None);
        }
        self.within = match (self.within, byte) {
            // Within a packet both characters are escaped.
            (Within::None, b'$') => Within::Packet,
            (Within::Packet, b'#') => Within::Checksum(CHECKSUM),
            (Within::Checksum(2..), _) => Within::Checksum(1),
            (Within::Checksum(_), _) => Within::None,
            (within, _) => within,
        };
        Ok(Some(byte))
    }
}

impl Connection for Stream {
    type Error = std::io::Error;

    fn write(&mut self, byte: u8) -> Result<()> {
        self.socket.write_all(&[byte])
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.write_all(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.socket.flush()
    }
}

impl ConnectionExt for Stream {
    fn read(&mut self) -> Result<u8> {
        loop {
            if let Some(byte) = self.hear()? {
                return Ok(byte);
            }
        }
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        let mut byte = [0];
        loop {
            match recv(&self.socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                Ok((1.., _)) if self.is_complaint(byte[0]) => self.hear()?,
                Ok((1.., _)) => return Ok(Some(byte[0])),
                Ok(_) | Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_not_heard() {
        let (mut gdb, own) = UnixStream::pair().unwrap();
        let mut stream = Stream::new(own);
        assert_eq!(stream.peek().unwrap(), None);
        gdb.write_all(b"--").unwrap();
        assert_eq!(stream.peek().unwrap(), None, "no byte that means something");
        gdb.write_all(b"+-$vCont;r1-2:-1#7--\x03-$-#2d").unwrap();
        drop(gdb);
        let mut heard = Vec::new();
        while let Some(byte) = stream.peek().unwrap() {
            assert_eq!(stream.read().unwrap(), byte);
            heard.push(byte);
        }
        assert_eq!(heard, b"+$vCont;r1-2:-1#7-\x03$-#2d");
        assert!(stream.read().is_err(), "gdb has ended");
    }
}
