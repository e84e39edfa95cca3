//! Asking a running guest.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use coracle_control::{Debug, FromGuest, Message, Request};

use super::errno;
use crate::arch::Arch;
use crate::error::{Error, Result};
use crate::instances;
use crate::output;
use crate::run::encoded;

/// How long a guest may say nothing. It answers at once unless it is stopped, or stuck in its kernel.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before a guest that has no time yet is asked again.
const GLANCE: Duration = Duration::from_millis(20);
/// How long what one command at a time may do is waited for: the end of another command is noticed a moment after it.
const HANDOVER: Duration = Duration::from_millis(500);
/// Bytes of memory that one request asks for.
const MEMORY_AT_ONCE: usize = 64 << 10;

/// A connection to a guest.
pub struct Client {
    name: String,
    arch: Arch,
    stream: UnixStream,
    reader: FromGuest,
    last_id: u32,
    has_ended: bool,
    /// It did not answer the last request.
    is_silent: bool,
    /// How long it may be busy.
    patience: Duration,
}

/// An answer, or the guest's error (errno(3)) for it.
pub type Answer = std::result::Result<Vec<u8>, u16>;

impl Client {
    /// Connects to the guest of this name.
    ///
    /// # Errors
    /// If there is none that can be asked, as long as it is paused for instance.
    pub fn connect(name: &str) -> Result<Client> {
        let stream = instances::connect(name)?;
        if instances::is_paused(name) {
            return Err(paused(name));
        }
        let mut client = Self::over(name, stream)?;
        client.arch = instances::arch(name);
        Ok(client)
    }

    /// The architecture of the guest.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// That the guest is one that a command knows the registers of.
    ///
    /// # Errors
    /// If it is not.
    pub fn is_known_to(&self, command: &str) -> Result<()> {
        match self.arch {
            Arch::X86_64 => Ok(()),
            other => Err(Error::new(format!("`coracle {command}` does not know guests for {other} yet"))
                .why(format!("`{}` is one", self.name))
                .help("trace, logs, stats, top, netstat, maps, files, pcap and exec do")),
        }
    }

    /// Says which it is.
    pub fn set_arch(&mut self, arch: Arch) {
        self.arch = arch;
    }

    /// Over a connection that is there.
    ///
    /// # Errors
    /// If it can't be waited for.
    pub fn over(name: &str, stream: UnixStream) -> Result<Client> {
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| Error::new("cannot wait").why(error))?;
        Ok(Client {
            name: name.to_owned(),
            arch: Arch::default(),
            stream,
            reader: FromGuest::new(),
            last_id: 0,
            has_ended: false,
            is_silent: false,
            patience: PATIENCE,
        })
    }

    /// Has the guest say something within this time.
    ///
    /// # Errors
    /// If that can't be set.
    pub fn set_patience(&mut self, time: Duration) -> Result<()> {
        self.patience = time;
        self.stream.set_read_timeout(Some(time)).map_err(|error| Error::new("cannot wait").why(error))
    }

    /// Asks, and waits for the answer as long as it takes.
    ///
    /// # Errors
    /// If the guest ended, or refuses it.
    pub fn wait(&mut self, request: Request<'_>) -> Result<Vec<u8>> {
        self.stream.set_read_timeout(None).map_err(|error| Error::new("cannot wait").why(error))?;
        self.ask(request)?.map_err(|error| {
            Error::new("the guest does not tell").why(std::io::Error::from_raw_os_error(error.into()))
        })
    }

    /// The guest's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `None` in place of an error if the guest has ended: what goes on as long as it runs ends then.
    ///
    /// # Errors
    /// If the answer is an error, and the guest has not ended.
    pub fn while_it_runs<T>(&self, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Err(_) if self.has_ended => Ok(None),
            other => other.map(Some),
        }
    }

    /// Whether it said nothing to the last request, for as long as is waited.
    pub fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Asks without waiting for the answer, which is passed over when it comes.
    ///
    /// # Errors
    /// If the guest ended.
    pub fn tell(&mut self, request: Request<'_>) -> Result<u32> {
        self.last_id = self.last_id.wrapping_add(1);
        let message = encoded(Message::Request { id: self.last_id, request });
        if message.is_empty() {
            return Err(Error::new("the request is too long"));
        }
        self.stream.write_all(&message).map_err(|error| self.lost(&error))?;
        Ok(self.last_id)
    }

    /// Asks, and waits for the whole answer: the bytes, with the error that ended it; 0 if none did.
    ///
    /// # Errors
    /// If the guest ended, or says nothing.
    pub fn ask_for_part(&mut self, request: Request<'_>) -> Result<(Vec<u8>, u16)> {
        let own = self.tell(request)?;
        let is_of_guest = !request.is_of_machine();
        let (mut answer, mut end) = (Vec::new(), None);
        let mut buffer = vec![0; 64 << 10];
        while end.is_none() {
            let length = match self.stream.read(&mut buffer) {
                Ok(0) => return Err(self.lost(&ErrorKind::UnexpectedEof.into())),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.is_silent = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    return Err(self.lost(&error));
                }
            };
            self.reader.take(&buffer[..length], |message| match message {
                Message::Piece { id, bytes } if id == own => answer.extend_from_slice(bytes),
                Message::End { id, error } if id == own => end = Some(error),
                _ => {}
            });
        }
        if is_of_guest {
            self.is_silent = false;
        }
        match end.unwrap_or_default() {
            // The command that runs it says so.
            error if i32::from(error) == libc::ESHUTDOWN => Err(self.lost(&ErrorKind::UnexpectedEof.into())),
            error => Ok((answer, error)),
        }
    }

    /// Asks, and waits for the whole answer; of a guest that is still starting, or that others ask as well, as long as it may say
    /// nothing.
    ///
    /// # Errors
    /// If the guest ended, says nothing, or answers no requests of this kind.
    pub fn ask(&mut self, request: Request<'_>) -> Result<Answer> {
        let (answer, error) = self.ask_patiently(request)?;
        self.check(error)?;
        Ok(if error == 0 { Ok(answer) } else { Err(error) })
    }

    /// The same, with the error that ended the answer; 0 if none did.
    ///
    /// # Errors
    /// If the guest ended, or says nothing.
    pub fn ask_patiently(&mut self, request: Request<'_>) -> Result<(Vec<u8>, u16)> {
        let start = Instant::now();
        let begins = matches!(
            request,
            Request::TraceStart { .. }
                | Request::EventsStart(_)
                | Request::CaptureStart { .. }
                | Request::Debug(Debug::Attach { .. })
        );
        loop {
            let (answer, error) = self.ask_for_part(request)?;
            let patience = match i32::from(error) {
                libc::EAGAIN => self.patience,
                libc::EBUSY if begins => HANDOVER,
                _ => return Ok((answer, error)),
            };
            if start.elapsed() >= patience {
                return Ok((answer, error));
            }
            sleep(GLANCE);
        }
    }

    /// Errors that say that the guest does not answer such requests, or not now.
    fn check(&self, error: u16) -> Result<()> {
        match i32::from(error) {
            libc::EAGAIN if instances::is_paused(&self.name) => Err(paused(&self.name)),
            libc::EPERM => Err(Error::new(format!("`{}` does not answer that", self.name))
                .why("its image, or the command that runs it, forbids it (`--control`)")
                .help("run it with `--control full`, and build its image with no less")),
            libc::ENOSYS => Err(Error::new(format!("`{}` does not know the request", self.name))
                .why("the kernel in its image is older than this command")
                .help("build the image anew")),
            libc::EAGAIN => Err(Error::new(format!("`{}` is busy", self.name))
                .why("it is still starting, or others ask it as well")
                .help("try again")),
            _ => Ok(()),
        }
    }

    /// An answer about something that may be gone: `None` if it is. That an answer is missing for any other reason is an error, so
    /// that it is not taken for "nothing there".
    fn ask_about(&mut self, path: &str, request: Request<'_>) -> Result<Option<Vec<u8>>> {
        match self.ask(request)? {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if [libc::ENOENT, libc::ESRCH].contains(&error.into()) => Ok(None),
            Err(error) => Err(self.cannot_tell(path, error)),
        }
    }

    fn cannot_tell(&self, what: &str, error: u16) -> Error {
        Error::new(format!("`{}` cannot tell {what}", self.name)).why(errno::describe(error.into()))
    }

    /// The text of a file that every guest has.
    ///
    /// # Errors
    /// If it is not there, or the guest can't be asked.
    pub fn system_text(&mut self, path: &str) -> Result<String> {
        let answer = self.ask_about(path, Request::Read(path.as_bytes()))?;
        let text = answer.ok_or_else(|| self.cannot_tell(path, libc::ENOENT as u16))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The text of a file; empty if it is not there any more.
    ///
    /// # Errors
    /// If the guest can't be asked, or can't tell.
    pub fn text(&mut self, path: &str) -> Result<String> {
        let answer = self.ask_about(path, Request::Read(path.as_bytes()))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// The names in a directory; none if it is not there any more.
    pub fn list(&mut self, path: &str) -> Result<Vec<String>> {
        let answer = self.ask_about(path, Request::List(path.as_bytes()))?.unwrap_or_default();
        let names = answer.split(|&byte| byte == 0).filter(|name| !name.is_empty());
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    /// The names in a directory that are numbers, in their order.
    pub fn numbers(&mut self, path: &str) -> Result<Vec<u32>> {
        let mut numbers: Vec<u32> = self.list(path)?.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// What a link leads to, to be shown; `None` if it is not there any more.
    pub fn link(&mut self, path: &str) -> Result<Option<String>> {
        let answer = self.ask_about(path, Request::Link(path.as_bytes()))?;
        Ok(answer.map(|target| output::plain(&String::from_utf8_lossy(&target))))
    }

    /// What is there of a process's memory from `address` on: less than asked for where a page is missing, or the process has ended.
    ///
    /// # Errors
    /// If the guest can't be asked, or can't tell.
    pub fn memory(&mut self, pid: u32, address: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let part = (len - bytes.len()).min(MEMORY_AT_ONCE);
            let Some(from) = address.checked_add(bytes.len() as u64) else { break };
            let request =
                Request::Memory { pid, address: from, len: u32::try_from(part).unwrap_or(u32::MAX) };
            let (more, error) = self.ask_for_part(request)?;
            bytes.extend(more);
            self.check(error)?;
            match i32::from(error) {
                0 => {}
                // The page is not there, or the process not any more.
                libc::EFAULT | libc::ESRCH => break,
                _ => return Err(self.cannot_tell(&format!("the memory of process {pid}"), error)),
            }
        }
        Ok(bytes)
    }

    /// Whether the guest was found to have ended, rather than to be silent.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn lost(&mut self, error: &std::io::Error) -> Error {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => silent(&self.name, self.patience),
            _ => {
                self.has_ended = true;
                Error::new(format!("`{}` has ended", self.name))
            }
        }
    }
}

/// Why a guest of this name has said nothing for so long.
pub fn silent(name: &str, time: Duration) -> Error {
    if instances::is_paused(name) {
        return paused(name);
    }
    Error::new(format!("`{name}` does not answer"))
        .why(format!("it said nothing for {} s", time.as_secs()))
        .help("it is stopped (gdb), or stuck in its kernel")
}

fn paused(name: &str) -> Error {
    Error::new(format!("`{name}` is paused")).help(format!("coracle unpause {name}"))
}
