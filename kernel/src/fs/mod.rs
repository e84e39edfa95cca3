//! Files: descriptors, the trait that every open file implements, and the file systems.
pub mod context;
pub mod descriptors;
pub mod file;
