//! /proc (proc(5)).
mod net;
mod process;
mod root;
mod settings;
mod system;

pub use root::{filesystem, text_file};
