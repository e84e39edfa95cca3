//! The functions of the kernel that lead to themselves: how often they do so at most, and why.

/// Functions by how their names begin.
pub struct Recursion {
    /// What the names begin with.
    pub prefix: &'static str,
    /// How often one of them is come back to at most on one path.
    pub times: u64,
    /// Why that is so.
    pub reason: &'static str,
}

/// The kernel's functions that lead to themselves.
pub const RECURSIONS: &[Recursion] = &[
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_core::fs::mount::Path>",
        times: 1,
        reason: "a file keeps its path, whose inode keeps none, nor an open file, but a mount, which keeps the place where it is",
    },
    Recursion {
        prefix: "coracle_hal::mm::paging::free_part",
        times: 4,
        reason: "page tables have four levels",
    },
    Recursion {
        prefix: "<coracle_ipc::unix::socket::UnixSocket as coracle_core::fs::file::File>::closed",
        times: 1,
        reason: "a listening socket closes those that wait in its queue, and these don't listen",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_ipc::unix::socket::UnixSocket>",
        times: 1,
        reason: "a listening socket keeps those that wait in its queue, and these don't listen",
    },
    Recursion {
        prefix: "<coracle_net::vsock::socket::VsockSocket as coracle_core::fs::file::File>::closed",
        times: 1,
        reason: "a listening socket closes those that wait in its queue, and these don't listen",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_net::vsock::socket::VsockSocket>",
        times: 1,
        reason: "a listening socket keeps those that wait in its queue, and these don't listen",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_core::task::keys::Key>",
        times: 1,
        reason: "the drop of a keyring takes what it links, and what these link, out first, one by one",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<alloc::sync::Arc<coracle_tcpip::tcp::socket::TcpSocket<",
        times: 1,
        reason: "a listening socket keeps those that wait in its queue, and these don't listen",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_core::fs::mount::Mount>",
        times: 1,
        reason: "the drop of a mount takes the mounts below it one by one first",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_fs::memory::node::Node>",
        times: 1,
        reason: "the drop of a directory takes what lies in it out first, directory by directory",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_fs::overlay::node::Node>",
        times: 1,
        reason: "the drop of a node takes the directories above it one by one first",
    },
    Recursion {
        prefix: "<coracle_fs::overlay::node::Node as coracle_core::fs::inode::Inode>::",
        times: 0,
        reason: "no layer of an overlay is one itself (`Overlay::mount`)",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_fs::overlay::file::OverlayFile>",
        times: 0,
        reason: "a file of an overlay has files of its layers, of which none is an overlay itself",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_core::task::process::Process>",
        times: 1,
        reason: "an observer is a running thread, which keeps its process: none observes a process that goes away; nor does a process that has \
                 ended trace others",
    },
    Recursion {
        prefix: "coracle_core::task::process::Process::tell_parent_of_stop",
        times: 1,
        reason: "SIGCONT makes a process tell its parent by SIGCHLD, which makes none tell any",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_core::task::perf::PerfEvent>",
        times: 1,
        reason: "an event keeps its leader, which has none, and threads, which keep no event when they have ended",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_core::task::thread::Thread>",
        times: 0,
        reason: "a thread that goes has ended, and its list of events that count it is empty since then",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_core::task::futex::Waiter>",
        times: 1,
        reason: "a waiter that leaves its list has let go of the one behind it",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<alloc::boxed::Box<coracle_ipc::unix::in_flight::Batch>>",
        times: 1,
        reason: "a batch is taken out of its list before it is dropped",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_ipc::uring::request::Request>",
        times: 1,
        reason: "a request that goes has left its chain, its ring and its pool, and those that these list keep them",
    },
    Recursion {
        prefix: "coracle_core::ipc::poll::PollSource::notify_entries",
        times: 6,
        reason: "a file's, that of the signal that it sends, and those of epoll sets, which observe one another five deep at most (epoll_ctl(2), ELOOP)",
    },
    Recursion {
        prefix: "<coracle_core::fs::signal_io::Sender as coracle_core::ipc::poll::Observer>::notify",
        times: 0,
        reason: "what a signal is announced to, a signalfd or an epoll set, sends none (`File::announces`)",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_core::ipc::epoll::Member>",
        times: 0,
        reason: "a member keeps its file, which may be a set: one that goes was closed before, and has had no members since",
    },
    Recursion {
        prefix: "<coracle_core::ipc::epoll::Epoll as coracle_core::fs::file::File>::readiness",
        times: 5,
        reason: "epoll sets lie in one another five deep at most (epoll_ctl(2), ELOOP)",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_core::task::user_space::UserSpace>",
        times: 1,
        reason: "the drop of a namespace takes those that it was made in out first, one by one",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_core::task::pid_space::PidSpace>",
        times: 1,
        reason: "the drop of a namespace takes those that it was made in out first, one by one",
    },
    Recursion {
        prefix: "core::fmt::write",
        times: 3,
        reason: "what is shown may have parts that are shown, as an error that has another, and these have none",
    },
    Recursion {
        prefix: "<core::fmt::builders::PadAdapter as core::fmt::Write>::write_str",
        times: 1,
        reason: "nothing is shown indented (`{:#?}`)",
    },
    Recursion {
        prefix: "core::ptr::drop_in_place<coracle_fs::synthetic::node::Node>",
        times: 8,
        reason: "a made file keeps the directories that lead to it, of which /proc has no more",
    },
    Recursion {
        prefix: "core::str::slice_error_fail_rt",
        times: 1,
        reason: "it cuts the text that it shows where a character begins",
    },
    Recursion { prefix: "trap_kernel", times: 1, reason: "traps have stacks of their own" },
];
