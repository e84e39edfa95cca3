//! Memory of processes: mappings, page faults, copies from and to programs.
pub mod user;
pub mod user_buf;
