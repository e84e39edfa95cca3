//! Page tables of the host's architecture, which `copy` walks in place of the CPU. As it walks them each time, there are no translations to
//! be forgotten.
pub use crate::arch::x86_64::page_table::*;

/// The tables in use are those of [`crate::local::Local::space`].
///
/// # Safety
/// None.
pub unsafe fn set_root(_root: u64) {}

/// No tables are in use.
///
/// # Safety
/// None.
pub unsafe fn set_no_root() {}

/// There are no translations.
pub fn forget(_address: usize) {}

/// There are no translations.
pub fn forget_many() {}

/// There are no translations.
pub fn forget_all() {}
