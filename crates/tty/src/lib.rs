//! The line discipline of a terminal: termios(3) between a byte stream and a reader. Pure state, no device.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod discipline;
mod output;
mod termios;

pub use discipline::{INPUT_MAX, LineDiscipline, PIECE_MAX, Signal};
pub use termios::{TERMIOS_BYTES, Termios};
