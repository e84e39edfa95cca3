//! /proc (proc(5)).
mod descriptors;
mod ids;
mod map_files;
mod maps;
mod memory;
mod mounts;
pub mod namespaces;
mod net;
mod process;
mod root;
mod settings;
mod status;
mod system;

pub use net::{netlink_sockets, unix_sockets};
pub use root::{filesystem, made_file};
