//! A program that serves a device of the guest (vhost-user): started before QEMU, and ended after it.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::guest::dies_with_this;
use crate::error::{Error, Result, cannot};
use crate::instances;

/// How long the program may take until it listens, and how often that is looked at.
const PATIENCE: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(5);

/// The program.
#[derive(Debug)]
pub struct Backend {
    child: Child,
    /// Where it listens.
    control: PathBuf,
    /// The connection for QEMU, which inherits it.
    stream: UnixStream,
}

impl Backend {
    /// Starts `program` by the command that `make` makes of the socket on which it is to listen, and connects to it.
    ///
    /// # Errors
    /// If it does not start, or ends at once.
    pub fn start(program: &Path, make: impl FnOnce(&OsStr) -> Command) -> Result<Backend> {
        let control = instances::backend_socket()?;
        let mut command = make(control.as_os_str());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // As QEMU, it does not get the terminal's Ctrl-C, and does not outlive this command.
        command.process_group(0);
        dies_with_this(&mut command);
        let mut child = command.spawn().map_err(|error| cannot("start", program, &error))?;
        let began = Instant::now();
        let stream = loop {
            match UnixStream::connect(&control) {
                Ok(stream) => break stream,
                Err(_) if began.elapsed() < PATIENCE && matches!(child.try_wait(), Ok(None)) => {
                    thread::sleep(GLANCE);
                }
                Err(error) => {
                    // It may have ended by itself.
                    let _ = child.kill();
                    let mut said = String::new();
                    let _ = child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
                    let _ = child.wait();
                    let why = if said.trim().is_empty() { error.to_string() } else { said.trim().to_owned() };
                    return Err(Error::new(format!("`{}` does not serve", program.display())).why(why));
                }
            }
        };
        // What it says later goes nowhere, but must not fill the pipe.
        if let Some(mut stderr) = child.stderr.take() {
            thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        }
        rustix::io::fcntl_setfd(&stream, rustix::io::FdFlags::empty())
            .map_err(|error| cannot("hand on", &control, &error.into()))?;
        Ok(Backend { child, control, stream })
    }

    /// The connection once more, which is not inherited.
    ///
    /// # Errors
    /// If there are too many open files.
    pub fn stream(&self) -> std::io::Result<UnixStream> {
        self.stream.try_clone()
    }

    /// The number of the connection.
    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // It may have ended when QEMU did.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.control);
    }
}
