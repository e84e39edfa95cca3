//! Vectors, texts and maps that grow fallibly: a lack of memory is reported by [`NoMemory`].
//!
//! `alloc`'s own methods end the kernel when memory runs out, so nothing that a program, a packet or a device can cause may
//! call them. `cargo run -p xtask -- allocations` finds calls of them in the built kernel; the functions of this crate reserve
//! memory first, which it knows.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod deque;
mod error;
mod iter;
mod lossy;
mod low;
#[cfg(feature = "hashbrown")]
mod map;
mod object;
mod room;
mod slice;
mod text;
mod vec;

pub use deque::TryDeque;
pub use error::NoMemory;
pub use iter::TryCollect;
pub use lossy::Lossy;
pub use low::{may_grow, set_low};
#[cfg(feature = "hashbrown")]
pub use map::TryMap;
pub use object::{LARGEST, Provider, set_provider, try_arc, try_arc_bytes, try_arc_cyclic, try_box};
pub use room::Room;
pub use slice::TrySlice;
pub use text::{Text, TryText, text};
pub use vec::{TryVec, boxed_array, filled};

/// The traits, to be imported together.
pub mod prelude {
    #[cfg(feature = "hashbrown")]
    pub use crate::TryMap as _;
    pub use crate::{TryCollect as _, TryDeque as _, TrySlice as _, TryText as _, TryVec as _};
}
