//! The kernel's own messages: to the control channel if the command line names one, else to the serial console in words.
//!
//! `log!` is always told, `info!` with `log=info`, `debug!` with `log=debug`.
use crate::lock::Mutex;
use coracle_hal::{console, port};
use coracle_image::cmdline::LogLevel;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

/// What a line of the control channel is, by its first byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// A message.
    Log,
    /// The exit status of the program, in decimal.
    Status,
    /// Part of a crash report.
    Report,
    /// Bytes that end with the machine, in decimal, and after a blank the file that was written first.
    Lost,
}

/// Value of [`CONTROL`] when there is no control channel.
const NO_PORT: u32 = u32::MAX;

static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Quiet as u8);
static CONTROL: AtomicU32 = AtomicU32::new(NO_PORT);
/// Keeps lines whole when several CPUs talk.
static WRITER: Mutex<()> = Mutex::new(());

/// Says where messages go and how many.
pub fn configure(level: LogLevel, control_port: Option<u16>) {
    LEVEL.store(level as u8, Relaxed);
    CONTROL.store(control_port.map_or(NO_PORT, u32::from), Relaxed);
}

/// True if messages of this level are told.
pub fn enabled(level: LogLevel) -> bool {
    LEVEL.load(Relaxed) >= level as u8
}

/// Writes one message; line feeds in it begin further lines of the same kind.
pub fn write(line: Line, message: fmt::Arguments) {
    let guard = WRITER.try_lock();
    let mut out = Output { line, control: CONTROL.load(Relaxed), at_start: true };
    // A panic may interrupt a message half way: rather mixed lines than none.
    let _ = out.write_fmt(message);
    out.end();
    drop(guard);
}

/// Tells `coracle run`, which holds the program's input back until then, that the console takes input.
pub fn input_ready() {
    if let Ok(control) = u16::try_from(CONTROL.load(Relaxed)) {
        let _guard = WRITER.lock();
        b"R\n".iter().for_each(|&byte| port::write8(control, byte));
    }
}

struct Output {
    line: Line,
    control: u32,
    at_start: bool,
}

impl Output {
    fn byte(&self, byte: u8) {
        match u16::try_from(self.control) {
            Ok(control) => port::write8(control, byte),
            Err(_) => console::write(&[byte]),
        }
    }
    fn begin(&mut self) {
        if core::mem::take(&mut self.at_start) {
            let (mark, words) = match self.line {
                Line::Log => (b'L', "coracle: "),
                Line::Status => (b'S', "coracle: exit status "),
                Line::Report => (b'P', "coracle: "),
                Line::Lost => (b'W', "coracle: lost with the machine: bytes and first file: "),
            };
            if self.control == NO_PORT {
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
macro_rules! log {
    ($($argument:tt)*) => { $crate::log::write($crate::log::Line::Log, format_args!($($argument)*)) };
}
/// Tells what was found and chosen (`log=info`).
#[allow(unused_macros)]
macro_rules! info {
    ($($argument:tt)*) => {
        if $crate::log::enabled(coracle_image::cmdline::LogLevel::Info) {
            $crate::log::write($crate::log::Line::Log, format_args!($($argument)*))
        }
    };
}
/// Tells everything (`log=debug`).
#[allow(unused_macros)]
macro_rules! debug {
    ($($argument:tt)*) => {
        if $crate::log::enabled(coracle_image::cmdline::LogLevel::Debug) {
            $crate::log::write($crate::log::Line::Log, format_args!($($argument)*))
        }
    };
}
/// Tells a line of a crash report.
macro_rules! report {
    ($($argument:tt)*) => { $crate::log::write($crate::log::Line::Report, format_args!($($argument)*)) };
}
