//! System V IPC (sysvipc(7)): objects that outlive the processes that made them, until one removes them. How they are named and
//! what their operations do is in the crate `coracle-sysv`; here are the threads that sleep, and the memory.
pub mod messages;
pub mod object;
pub mod segments;
pub mod semaphores;
pub mod tables;
