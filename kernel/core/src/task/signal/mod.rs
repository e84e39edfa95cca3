//! Signals (signal(7)): state, sending, masks, delivery.
mod charge;
mod deliver;
pub mod frame;
mod info;
pub mod mask;
mod send;
mod state;

pub use charge::Charge;
pub use deliver::{deliver, resume_call};
pub use frame::{Returned, set_alt_stack, stack_flags};
pub use info::{MAX_SIGNAL, SI_TKILL, SI_USER, SIGINFO_LEN, SigInfo, UNBLOCKABLE, bit};
pub use mask::{note, restore_mask, set_mask, set_temporary_mask};
pub use send::{
    Sent, discard_of_timer, force, raise, retarget, send_timer, send_to_group, send_to_process,
    send_to_thread, take,
};
pub use state::{Action, DEFAULT, IGNORE, ProcessSignals, Taken, ThreadSignals};
