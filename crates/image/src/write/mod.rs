//! Laying out an archive (feature `write`).
//!
//! A [`Tree`] holds the files by path; [`Builder`] adds settings and symbols and makes a [`Layout`], which is written piece by piece.

mod builder;
mod content;
mod layout;
mod tree;

pub use builder::{Builder, Settings};
pub use content::{Content, WriteError};
pub use layout::{Layout, seal};
pub use tree::{Meta, Node, Tree, TreeError};
