//! Rings of io_uring(7): what a program asks for by writing to memory, and is told by reading it.
//!
//! A [`Ring`] is the file; its memory is mapped by the program. A [`Request`] is one submission, from when it was taken until its
//! completion is posted. It is tried at once, by the thread that submits it; a request that must wait subscribes to its file, or
//! sets a timer, and comes into the queue of its process's [pool](pool::Pool) when it may go on. From there a thread takes it that waits for
//! completions of a ring, or else one of the pool's workers: threads of the process that never enter its program. So
//! all memory of the program is touched by threads of its own process. `syscall::uring` does what requests ask for.
//!
//! Locks: none of them is held over what notifies. A pool's may be held when that of what a ring has registered, or that of what a device
//! has made of a request, is taken; no other is held over another.
//!
//! A thread that cancels a request which is being tried waits until it has ended or waits ([`Request::wait_while_it_runs`]), unless that may take long: it
//! runs on a worker or at a device. Requests that cancel are never waited for so.
//!
//! What moves bytes between a disk and the program's pages is left to the disk: such a request runs until the disk has ended it, and where
//! devices are looked at its completion is posted.
//!
//! What differs from Linux: a request ends with the process that submitted it, also if others share the ring; no file can be polled for
//! completions (IORING_SETUP_IOPOLL); requests have the rights of their process (no personalities).
mod buffers;
mod memory;
pub mod pool;
mod request;
mod ring;

pub use buffers::{Chosen, Group, peek};
pub use request::{Kept, Request, State, mark, repeats};
pub use ring::{Ring, given};
