//! `coracle run`: choosing a machine, starting it, and being its terminal until it ends.

mod control;
mod detach;
mod host;
mod loopback;
mod memory_file;
mod plan;
mod secrets;
mod start;
mod stdin;

pub use plan::quoted;
pub use start::run;
