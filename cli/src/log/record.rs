//! A line of a log.

use jiff::Timestamp;

use super::priority::Priority;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The program's standard output.
    Stdout,
    /// The program's standard error.
    Stderr,
    /// The kernel, or the command that runs the guest.
    Kernel,
    /// /dev/log of the guest (syslog(3)).
    Syslog,
}

impl Stream {
    const ALL: [Stream; 4] = [Stream::Stdout, Stream::Stderr, Stream::Kernel, Stream::Syslog];

    /// Its name in files and options.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Kernel => "kernel",
            Stream::Syslog => "syslog",
        }
    }

    /// The stream of this name.
    pub fn of_name(name: &str) -> Option<Stream> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }
}

/// Beside the text of a message to /dev/log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Facility and severity.
    pub priority: Priority,
    /// The program's name for itself.
    pub tag: String,
    /// The process in the guest, if it is known.
    pub pid: Option<u32>,
}

/// A line, or a part of one that is too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the command got it.
    pub time: Timestamp,
    /// Where it came from.
    pub stream: Stream,
    /// Of a message to /dev/log.
    pub origin: Option<Origin>,
    /// Without the line feed at its end.
    pub text: Vec<u8>,
    /// The next record of the stream continues the line.
    pub is_part: bool,
}

impl Record {
    /// A whole line of now.
    pub fn line(stream: Stream, text: impl Into<Vec<u8>>) -> Record {
        Record { time: Timestamp::now(), stream, origin: None, text: text.into(), is_part: false }
    }

    /// Facility and severity, where `facility` is that of lines that have none. Kernel lines are the kernel's; standard error counts
    /// as errors, as docker has it.
    pub fn priority(&self, facility: u8) -> Priority {
        match (&self.origin, self.stream) {
            (Some(origin), _) => origin.priority,
            (None, Stream::Kernel) => Priority::new(Priority::KERNEL, Priority::NOTICE),
            (None, Stream::Stderr) => Priority::new(facility, Priority::ERROR),
            (None, _) => Priority::new(facility, Priority::INFO),
        }
    }
}
