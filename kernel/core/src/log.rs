//! The kernel's own messages: to the control channel if the command line names one, else to the serial console in words.
//!
//! `log!` is always told, `info!` with `log=info`, `debug!` with `log=debug`.
use crate::lock::Mutex;
use coracle_hal::console;
use coracle_hal::io::one_byte::OutputPort;
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::{AtomicU8, Ordering::Relaxed};
use coracle_image::cmdline::Control;
pub use coracle_image::cmdline::LogLevel;
use core::fmt::{self, Write};

/// What a line of the control channel is, by its first byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A message.
    Log,
    /// The exit status of the program, in decimal.
    Status,
    /// Part of a crash report.
    Report,
    /// A word of 64 bits for each number of an event, before the last crash, in hexadecimal: the CPU, and the event's words.
    Event,
    /// A process that crashed waits for its core dump: its number, the thread, the signal.
    Core,
    /// What `coracle run` needs to unwind the stack of a program that crashed: the thread, a letter, and hexadecimal words.
    Unwind,
    /// Bytes that end with the machine, in decimal, and after a blank the file that was written first.
    Lost,
    /// The directory of a volume, or its disk, that did not take all that was written to it.
    Unsynced,
    /// What a job of the schedule has done: its numbers (`CronRecord` of the control protocol), in decimal.
    Job,
}

static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Quiet as u8);
/// The control channel, if there is one.
static CONTROL: Once<Channel> = Once::new();

/// The device of the control channel.
#[derive(Clone, Copy)]
enum Channel {
    Port(OutputPort),
    Serial,
}

impl Channel {
    fn write(self, byte: u8) {
        match self {
            Channel::Port(port) => port.write(byte),
            Channel::Serial => console::write(&[byte]),
        }
    }
}
/// Keeps lines whole when several CPUs talk.
static WRITER: Mutex<()> = Mutex::new(());

/// Says where messages go and how many.
pub fn configure(level: LogLevel, control: Option<Control>) {
    LEVEL.store(level as u8, Relaxed);
    let channel = match control {
        Some(Control::Debugcon(number)) => {
            let port = OutputPort::new(number);
            if port.is_none() {
                write(
                    Line::Log,
                    format_args!(
                        "control=debugcon@{number:#x} is left alone: no such device is put there (QEMU: iobase=0xe9)"
                    ),
                );
            }
            port.map(Channel::Port)
        }
        Some(Control::Serial) => Some(Channel::Serial),
        None => None,
    };
    if let Some(channel) = channel {
        CONTROL.call_once(|| channel);
    }
}

/// Whether `coracle run` takes messages.
pub fn has_control() -> bool {
    CONTROL.get().is_some()
}

/// True if messages of this level are told.
pub fn enabled(level: LogLevel) -> bool {
    LEVEL.load(Relaxed) >= level as u8
}

/// Writes one message; line feeds in it begin further lines of the same kind.
pub fn write(line: Line, message: fmt::Arguments) {
    let guard = WRITER.try_lock();
    let mut out = Output { line, control: CONTROL.get().copied(), at_start: true };
    // A panic may interrupt a message half way: rather mixed lines than none.
    let _ = out.write_fmt(message);
    out.end();
    drop(guard);
}

/// Tells `coracle run`, which holds the program's input back until then, that the console takes input.
pub fn input_ready() {
    if let Some(control) = CONTROL.get() {
        let _guard = WRITER.lock();
        b"R\n".iter().for_each(|&byte| control.write(byte));
    }
}

/// Whether a command on the host takes what is told.
pub fn is_heard() -> bool {
    CONTROL.get().is_some()
}

struct Output {
    line: Line,
    control: Option<Channel>,
    at_start: bool,
}

impl Output {
    fn byte(&self, byte: u8) {
        match self.control {
            Some(control) => control.write(byte),
            None => console::write(&[byte]),
        }
    }
    fn begin(&mut self) {
        if core::mem::take(&mut self.at_start) {
            let (mark, words) = match self.line {
                Line::Log => (b'L', "coracle: "),
                Line::Status => (b'S', "coracle: exit status "),
                Line::Report => (b'P', "coracle: "),
                Line::Event => (b'E', "coracle: event "),
                Line::Core => (b'C', "coracle: waits for a core dump: "),
                Line::Unwind => (b'U', "coracle: unwind: "),
                Line::Lost => (b'W', "coracle: lost with the machine: bytes and first file: "),
                Line::Unsynced => (b'D', "coracle: not all on its disk is what was written to "),
                Line::Job => (b'J', "coracle: job "),
            };
            if self.control.is_none() {
                words.bytes().for_each(|byte| self.byte(byte));
            } else {
                self.byte(mark);
            }
        }
    }
    fn end(&mut self) {
        if !self.at_start {
            self.byte(b'\n');
            self.at_start = true;
        }
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.end();
            } else {
                self.begin();
                self.byte(byte);
            }
        }
        Ok(())
    }
}

/// Tells a message, always.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::log::write($crate::log::Line::Log, format_args!($($argument)*)) };
}
/// Tells what was found and chosen (`log=info`).
#[macro_export]
macro_rules! info {
    ($($argument:tt)*) => {
        if $crate::log::enabled($crate::log::LogLevel::Info) {
            $crate::log::write($crate::log::Line::Log, format_args!($($argument)*))
        }
    };
}
/// Tells everything (`log=debug`).
#[macro_export]
macro_rules! debug {
    ($($argument:tt)*) => {
        if $crate::log::enabled($crate::log::LogLevel::Debug) {
            $crate::log::write($crate::log::Line::Log, format_args!($($argument)*))
        }
    };
}
/// Tells a line of a crash report.
#[macro_export]
macro_rules! report {
    ($($argument:tt)*) => { $crate::log::write($crate::log::Line::Report, format_args!($($argument)*)) };
}
