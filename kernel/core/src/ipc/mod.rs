//! Readiness, and the objects that announce it to processes: epoll sets, pipes, eventfds, timerfds, signalfds, pidfds.
pub mod epoll;
mod epoll_nesting;
pub mod eventfd;
pub mod pidfd;
pub mod pipe;
pub mod poll;
pub mod signalfd;
pub mod splice;
pub mod timerfd;
