//! The algorithms of files that need no machine: permissions, descriptor bitmaps, path walking, pipe rings, lock ranges,
//! maps of pages, names of directories and directory records. The kernel adds locks, memory and waiting.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod access;
pub mod bitmap;
pub mod dirent;
pub mod locks;
pub mod names;
pub mod page_map;
pub mod path;
pub mod ring;
