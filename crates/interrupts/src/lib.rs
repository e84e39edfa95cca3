//! The rules by which no interrupt is lost.
//!
//! A handler only leaves marks: the timer expired, a device has something. Every mark must be acted on, in one of two ways. If
//! the program was interrupted, the kernel acts before the program continues. If a CPU was interrupted while it waited in the
//! idle loop, or in the window of a long system call, the interrupted code acts. Kernel code must not be interrupted anywhere
//! else: it would continue, and the mark would be forgotten.
//!
//! So the places where kernel code runs with interrupts on are few, and each is listed ([`Place`]); a CPU halts only if
//! there is no mark ([`may_halt`]); and the one-shot timer is either set, or off with a mark ([`OneShot`]).
//!
//! `tests/model.rs` runs these rules through every interleaving with a program, a timer, a device and another CPU.
#![no_std]
#![forbid(unsafe_code)]

mod one_shot;
mod place;

pub use one_shot::{NEVER, OneShot};
pub use place::{Meaning, Place};

/// Whether a CPU that found nothing to do may halt until the next interrupt. `expired`: its timer's mark is there
/// ([`OneShot::is_expired`]); `devices`: the mark of a device; `nothing_to_do`: whether other CPUs have left it nothing.
///
/// Called with interrupts off, which stay off until the CPU halts: an interrupt that arrives after this ends the wait.
#[inline(always)]
pub fn may_halt(expired: bool, devices: bool, nothing_to_do: impl FnOnce() -> bool) -> bool {
    !expired && !devices && nothing_to_do()
}
