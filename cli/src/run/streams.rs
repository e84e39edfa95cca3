//! The command's standard streams, and the ports of the guest that they are connected to.

use std::io::IsTerminal as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use coracle_image::cmdline::Port;
use rustix::io::FdFlags;
use rustix::stdio;

use crate::error::{Error, Result};

/// A port of the guest: its name, and both ends of a connection to it.
#[derive(Debug)]
pub struct Connection {
    /// What it carries.
    pub port: Port,
    /// The command's end.
    pub ours: UnixStream,
    /// QEMU's, which inherits it.
    pub theirs: OwnedFd,
}

/// What the standard streams are.
#[derive(Clone, Debug)]
pub struct Streams {
    /// The ports that a guest needs to have the same.
    ports: Vec<Port>,
}

impl Streams {
    /// Looks at the streams of this process. Each is a terminal for the guest's program if it is one here. Standard output
    /// and error that are one file stay one stream, so that what is written to both keeps its order.
    pub fn look() -> Self {
        let [input, output, error] = [0, 1, 2].map(|number| descriptor(number).is_terminal());
        let mut ports = Vec::new();
        ports.push(Port::Control);
        if input {
            ports.push(Port::Terminal);
        } else {
            if output || error {
                ports.push(Port::Screen);
            }
            ports.push(Port::Input);
        }
        match (output, error) {
            (true, true) => {}
            (false, false) if is_same(descriptor(1), descriptor(2)) => ports.push(Port::Joint),
            _ => {
                if !output {
                    ports.push(Port::Output);
                }
                if !error {
                    ports.push(Port::Error);
                }
            }
        }
        Streams { ports }
    }

    /// In the background: output and error apart, for the log.
    pub fn background() -> Self {
        Streams { ports: vec![Port::Control, Port::Input, Port::Output, Port::Error] }
    }

    /// Without the standard streams: what is left if the serial port carries them.
    pub fn control_only() -> Self {
        Streams { ports: vec![Port::Control] }
    }

    /// Whether one of the streams is a terminal.
    pub fn has_terminal(&self) -> bool {
        self.ports.iter().any(|port| matches!(port, Port::Terminal | Port::Screen))
    }

    /// Makes a connection for each port.
    ///
    /// # Errors
    /// If this process may not open more files.
    pub fn connect(&self) -> Result<Vec<Connection>> {
        let fail = |error: std::io::Error| Error::new("cannot make the guest's ports").why(error);
        let connect = |port: &Port| {
            let (ours, theirs) = UnixStream::pair().map_err(fail)?;
            let theirs = OwnedFd::from(theirs);
            // QEMU finds it by its number.
            rustix::io::fcntl_setfd(&theirs, FdFlags::empty()).map_err(|error| fail(error.into()))?;
            Ok(Connection { port: *port, ours, theirs })
        };
        self.ports.iter().map(connect).collect()
    }
}

/// Standard input, output or error (0, 1, 2).
fn descriptor(number: u8) -> BorrowedFd<'static> {
    match number {
        0 => stdio::stdin(),
        1 => stdio::stdout(),
        _ => stdio::stderr(),
    }
}

/// The descriptor of the stream that is the terminal which the guest's is shown on.
pub fn screen() -> BorrowedFd<'static> {
    [1, 2].map(descriptor).into_iter().find(|stream| stream.is_terminal()).unwrap_or(stdio::stdin())
}

/// Whether two descriptors are one file.
fn is_same(one: impl AsFd, other: impl AsFd) -> bool {
    let identity = |file| rustix::fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
    matches!((identity(one.as_fd()), identity(other.as_fd())), (Ok(one), Ok(other)) if one == other)
}
