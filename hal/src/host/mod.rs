//! A machine on a host, for tests: the kernel's crates run on it as they are, with threads as CPUs.
//!
//! * **Memory** is a piece of the host's, in frames; page tables are those of x86-64, and copies from and to programs walk them ([`crate::user`]).
//! * **CPUs** are threads of the host, or of a scheduler that tries interleavings ([`schedule`]); they run kernel threads on stacks of their own,
//!   and switch between these as a real CPU does. A CPU that waits for an interrupt sleeps.
//! * **Time** is the machine's own: when all CPUs wait, the clock goes to the next time that a timer is set to. When none is set either,
//!   nothing can happen any more. A test that is not at its end then has lost a wake-up, and fails at once.
//! * **Programs** are closures that make system calls and access the memory of their process ([`program`]). They sleep by system calls alone:
//!   a CPU whose program waits for the host stands still, and answers no other.
//! * **Interrupts** arrive where a CPU waits for one, where a long call lets them in, and at the end of a call.
//!
//! Devices are those that a test plays ([`virtio`]). The machine is made once in a process and stays: a run of it ([`cpus::run`]) begins where the last one ended.
pub mod cpus;
pub(crate) mod memory;
pub mod program;
pub mod schedule;
pub(crate) mod sync;
pub mod virtio;
