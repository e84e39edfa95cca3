//! `coracle run`: choosing a machine, starting it, and being its terminal until it ends.

mod backend;
mod control;
mod copy;
mod crash;
mod detach;
mod guest;
mod health;
mod host;
mod loopback;
mod machine;
mod memory_file;
mod plan;
mod requests;
mod sampler;
mod secrets;
mod start;
mod stdin;
mod stop;
mod streams;
mod supervise;
mod terminal;
mod virtiofsd;
mod vsock;

pub use control::show;
pub use copy::{read, write_all};
pub use detach::launch;
pub use plan::quoted;
pub use requests::encoded;
pub use start::run;
pub use stop::SYNC;
pub use supervise::Restart;
pub use terminal::{Key, Keys, Terminal, is_keeper, keep, window};
pub use vsock::Wish as VsockWish;
