//! Block devices as files, and the list of those that there are.
pub mod file;
pub mod registry;
