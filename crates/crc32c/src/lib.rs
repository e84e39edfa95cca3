//! CRC-32C, the checksum of images' pages and of ext4's structures.
#![no_std]
#![forbid(unsafe_code)]

mod checksum;

pub use checksum::{START, crc32c, update};
