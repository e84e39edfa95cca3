//! Which blocks and inodes are in use.
mod bitmap;
mod blocks;
mod inodes;
