//! Readiness, and the objects programs talk through: pipes, eventfd, timerfd, signalfd, epoll, AF_UNIX.
pub mod poll;
