//! Laying out an archive (feature `write`).
//!
//! A [`Tree`] holds the files by path; [`Builder`] adds settings and symbols and gives the bytes.

mod builder;
mod tree;

pub use builder::{Builder, Settings, seal, set_kernel_sum};
pub use tree::{Meta, Node, Tree, TreeError};
