//! The connection with gdb.
//!
//! The crate `gdbstub` has one for Unix sockets only with its feature `std`, which changes more than that.
use std::io::{Read as _, Result, Write as _};
use std::os::unix::net::UnixStream;

use gdbstub::conn::{Connection, ConnectionExt};
use rustix::net::{RecvFlags, recv};

/// A Unix socket.
pub struct Stream(pub UnixStream);

impl Connection for Stream {
    type Error = std::io::Error;

    fn write(&mut self, byte: u8) -> Result<()> {
        self.0.write_all(&[byte])
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

impl ConnectionExt for Stream {
    fn read(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.0.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        let mut byte = [0];
        match recv(&self.0, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((1.., _)) => Ok(Some(byte[0])),
            Ok(_) => Ok(None),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
