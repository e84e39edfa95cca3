//! `coracle trace --events`: what a guest's kernel does, as text and for trace viewers.

mod command;
mod decode;
mod json;
mod own;
mod text;

pub use command::trace;
pub use decode::{Event, Fetched, time};
pub use text::{Names, line};
