//! Linux on aarch64.
pub mod calls;
pub mod cpuinfo;
pub mod debug;
pub mod epoll_event;
pub mod fault;
pub mod frame;
pub mod machine;
pub mod registers;
pub mod report;
pub mod semid;
pub mod stat;
pub mod traced;
