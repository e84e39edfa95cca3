//! Readiness, and the objects programs talk through: pipes, eventfd, timerfd, signalfd, epoll, AF_UNIX, System V IPC, POSIX
//! message queues.
pub mod aio;
pub mod epoll;
mod epoll_nesting;
pub mod eventfd;
pub mod mqueue;
pub mod pidfd;
pub mod pipe;
pub mod poll;
pub mod signalfd;
pub mod splice;
pub mod sysv;
pub mod timerfd;
pub mod unix;
pub mod uring;
