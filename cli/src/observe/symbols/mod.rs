//! The symbols of executables and libraries: functions, source lines, and how their frames are unwound.

mod debug_file;
mod frames;
mod lines;
mod module;
mod said;

pub use frames::{Find, Frame, Line, Named, program_frames, text};
pub use lines::Place;
pub use module::Module;
pub use said::{Region, frames as frames_of, frames_at, registers as registers_of};
