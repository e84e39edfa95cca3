//! `coracle profile`: where the programs of a guest, and its kernel, spend their time.

mod by_instructions;
mod command;
mod off_cpu;
mod on_cpu;
mod output;
mod perf;
mod pprof;
mod resolve;
mod sample;

pub use command::profile;
pub use sample::{Copy, kernel_frames};
