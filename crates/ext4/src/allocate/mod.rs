//! Which blocks and inodes are in use.
mod bitmap;
mod blocks;
mod inodes;

pub(crate) use bitmap::fill as fill_bitmap;
