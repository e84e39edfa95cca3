//! Guests under real KVM on a machine without hardware virtualisation: QEMU's translator emulates AMD's SVM with nested
//! paging, a Linux with KVM boots in that ("the first level"), and QEMU in that Linux starts the guests.
//!
//! The first level has one CPU: the emulated VMRUN forgets that `sti` holds interrupts back for an instruction, and with
//! two CPUs guests sleep for ever. Its guests are given no XSAVE, since XCR0 is lost between the levels. Of the packages
//! that the first level is made of, Debian's kernel is the only one that is not installed: it is downloaded by apt and
//! unpacked into the cache.
#[path = "../../../bench/src/cpio.rs"]
#[allow(dead_code, reason = "the bench makes links, too")]
mod cpio;
mod exits;
mod first_level;
mod guests;
mod linux_guest;
mod packages;
mod run;

pub use exits::{Row, Served, count, machines};
pub use guests::{Guest, selection};
pub use run::run;
