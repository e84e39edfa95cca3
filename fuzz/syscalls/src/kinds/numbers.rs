//! Kinds of arguments that are numbers.

use linux_raw_sys::{general as g, ioctl, net, prctl};

use super::maker::{Maker, PAGE};
use super::sysv;
use crate::encode::{ARENA, ARENA_BYTES, CODE, PLAYGROUND, PLAYGROUND_BYTES};

/// Descriptors that the executor opens, and some more.
const DESCRIPTORS: u64 = 34;
/// The executor's descriptor of the program's directory.
const DIRECTORY: u64 = 4;
/// AT_FDCWD, as a register has it.
const CURRENT_DIRECTORY: u64 = g::AT_FDCWD as i64 as u64;

/// A number of this kind; `None` if there is no such kind.
pub fn make(maker: &mut Maker, kind: &str) -> Option<u64> {
    Some(match kind {
        "fd" | "new_fd" => descriptor(maker),
        "file" => opened(maker, &[3, 3, 22, 26]),
        "directory" => opened(maker, &[DIRECTORY, DIRECTORY, 24]),
        "pipe_or_fd" => opened(maker, &[5, 6, 7, 8, 5, 6, 3]),
        "socket" => opened(maker, &[9, 10, 11, 12, 17, 18, 19, 20, 21]),
        "epoll" => opened(maker, &[14]),
        "inotify" => descriptor(maker),
        "fanotify" => descriptor(maker),
        // Most events have no group.
        "perf_event" => {
            if maker.one_in(4) {
                descriptor(maker)
            } else {
                u64::MAX
            }
        }
        "perf_cpu" => maker.pick(&[u64::MAX, u64::MAX, 0, 1, 64]),
        "timerfd" => opened(maker, &[15]),
        "pidfd" => opened(maker, &[27]),
        "dirfd" => match maker.rng.u32(..8) {
            0..=4 => CURRENT_DIRECTORY,
            5 => DIRECTORY,
            _ => descriptor(maker),
        },
        "len" => length(maker),
        "count" => {
            if maker.one_in(10) {
                maker.edge()
            } else {
                maker.rng.u64(..9)
            }
        }
        "number" => maker.edge(),
        "offset" => {
            if maker.one_in(3) {
                maker.edge()
            } else {
                maker.rng.u64(..3 * PAGE)
            }
        }
        "page_offset" => match maker.rng.u32(..8) {
            0 => maker.edge(),
            1..=2 => maker.rng.u64(..8) * PAGE,
            _ => 0,
        },
        "mode" => maker.pick(&[0, 0o644, 0o755, 0o777, 0o1777, 0o4755, 0o000, 0o400, 0o7777]),
        "uid" | "gid" => maker.pick(&[0, 1, 1000, 1001, 65534, 0xffff_ffff, 0xffff_fffe]),
        "pid" => {
            if maker.one_in(6) {
                maker.edge().max(2)
            } else {
                maker.pick(&[0, 0, 0, 2, 3, u64::MAX, 99_999])
            }
        }
        "signal" => signal(maker),
        "seconds" => maker.pick(&[0, 1, 2, 1000, 0xffff_ffff]),
        "timeout_ms" => maker.pick(&[0, 0, 1, 5, 0xffff_ffff, 0x7fff_ffff]),
        "device" => maker.pick(&[0, 0x103, 0x105, 0x107, 0x501, 0xffff_ffff]),
        "protocol" => maker.pick(&[0, 0, 0, 1, 6, 17, 58, 255]),
        "timer" => maker.pick(&[0, 1, 2, 3, u64::MAX]),
        "sigset_len" => {
            if maker.one_in(20) {
                maker.edge()
            } else {
                8
            }
        }
        "robust_list_len" => {
            if maker.one_in(10) {
                maker.edge()
            } else {
                24
            }
        }
        "address_len" => maker.pick(&[16, 16, 16, 28, 110, 0, 2, 3, 12, 128, 0xffff_ffff]),
        "option_len" => maker.pick(&[4, 4, 4, 8, 16, 1, 0, 3, 64, 0xffff_ffff]),
        "open_how_len" => maker.pick(&[24, 24, 24, 0, 8, 32, PAGE, PAGE + 8]),
        "clone_args_len" => maker.pick(&[88, 88, 64, 80, 0, 63, 128, PAGE, PAGE + 8]),
        "stack" => {
            maker.pick(&[0, 0, 0, PLAYGROUND + PLAYGROUND_BYTES, ARENA + ARENA_BYTES / 2, 0x1000, u64::MAX])
        }
        "address" => address(maker),
        "map_len" => match maker.rng.u32(..12) {
            0 => maker.edge(),
            1 => 1 << maker.rng.u32(20..47),
            _ => maker.rng.u64(1..17) * PAGE,
        },
        "fcntl_argument" => match maker.rng.u32(..4) {
            0 => maker.edge(),
            1 => PLAYGROUND,
            _ => maker.rng.u64(..32),
        },
        "futex_value" => maker.pick(&[0, 0, 1, 1, 2, 0x7fff_ffff, 0xffff_ffff, 0x8000_0001]),
        other => return flags(maker, other),
    })
}

fn descriptor(maker: &mut Maker) -> u64 {
    if maker.one_in(12) {
        maker.pick(&[u64::MAX, 1000, 0x7fff_ffff, CURRENT_DIRECTORY, 0, 1023, 1024])
    } else {
        maker.rng.u64(..DESCRIPTORS)
    }
}

/// One of these descriptors, as the executor opened them; now and then any other.
pub fn opened(maker: &mut Maker, fitting: &[u64]) -> u64 {
    if maker.one_in(8) { descriptor(maker) } else { maker.pick(fitting) }
}

fn signal(maker: &mut Maker) -> u64 {
    match maker.rng.u32(..8) {
        0 => maker.pick(&[0, 64, 65, 66, 255, u64::MAX, 9, 19]),
        1 => maker.pick(&[18, 20, 21, 22, 11, 7]),
        2..=3 => maker.rng.u64(32..65),
        _ => maker.pick(&[10, 12, 14, 17, 23, 28, 34]),
    }
}

/// A length that mostly fits what memory arguments have.
fn length(maker: &mut Maker) -> u64 {
    match maker.rng.u32(..10) {
        0 => maker.edge(),
        1..=2 => maker.rng.u64(..2 * PAGE),
        _ => maker.rng.u64(..129),
    }
}

/// An address of the program's memory, mostly a page's.
pub fn address(maker: &mut Maker) -> u64 {
    let pages = PLAYGROUND_BYTES / PAGE;
    match maker.rng.u32(..20) {
        0..=11 => PLAYGROUND + maker.rng.u64(..pages) * PAGE,
        12..=14 => 0,
        15 => PLAYGROUND + maker.rng.u64(..PLAYGROUND_BYTES),
        16 => ARENA + maker.rng.u64(..ARENA_BYTES / PAGE) * PAGE,
        17 => PLAYGROUND + PLAYGROUND_BYTES + maker.rng.u64(..pages) * PAGE,
        18 => maker.pick(&[
            CODE,
            0x7fff_ffff_e000,
            0x7fff_ffff_f000,
            0x8000_0000_0000,
            PAGE,
            0xffff_8000_0000_0000,
            0x1_0000_0000,
        ]),
        _ => maker.edge(),
    }
}

/// An operation and flags that go with it.
fn operation(maker: &mut Maker, operations: &[u32], flags: &[u32]) -> u64 {
    let index = maker.rng.usize(..operations.len());
    let operation = if maker.one_in(30) { maker.edge() } else { u64::from(operations[index]) };
    operation | if flags.is_empty() { 0 } else { maker.flags(flags) }
}

#[rustfmt::skip]
fn flags(maker: &mut Maker, kind: &str) -> Option<u64> {
    Some(match kind {
        "open_flags" => operation(maker, &[g::O_RDONLY, g::O_WRONLY, g::O_RDWR], &[
            g::O_CREAT, g::O_CREAT, g::O_EXCL, g::O_TRUNC, g::O_APPEND, g::O_NONBLOCK, g::O_CLOEXEC, g::O_DIRECTORY, g::O_NOFOLLOW,
            g::O_PATH, g::O_TMPFILE, g::O_DIRECT, g::O_SYNC, g::O_NOATIME]),
        "whence" => operation(maker, &[0, 1, 2, 3, 4, 5], &[]),
        "access_mode" => maker.flags(&[0, 1, 2, 4]),
        "node_mode" => operation(maker, &[g::S_IFREG, g::S_IFIFO, g::S_IFSOCK, g::S_IFCHR, g::S_IFBLK, g::S_IFDIR, 0], &[0o644, 0o777]),
        "at_flags" => maker.flags(&[0, g::AT_SYMLINK_NOFOLLOW, g::AT_REMOVEDIR, g::AT_SYMLINK_FOLLOW, g::AT_EMPTY_PATH, g::AT_NO_AUTOMOUNT]),
        "mount_flags" => maker.flags(&[0, 1 /* RDONLY */, 2, 4, 8, 32 /* REMOUNT */, 4096 /* BIND */, 8192 /* MOVE */, 16384, 1 << 18]),
        "umount_flags" => maker.flags(&[0, 1, 2, 4, 8]),
        "rename_flags" => maker.flags(&[0, 1, 2, 4]),
        "inotify_mask" => maker.flags(&[
            g::IN_ALL_EVENTS, g::IN_ALL_EVENTS, g::IN_ONESHOT, g::IN_MASK_ADD, g::IN_MASK_CREATE, g::IN_ONLYDIR, g::IN_EXCL_UNLINK,
            g::IN_DONT_FOLLOW,
        ]),
        "perf_flags" => maker.flags(&[0, 0, 1, 2, 4, 8, 8]),
        "fanotify_flags" => maker.flags(&[0, 1, 2, 2, 4, 8, 0x10, 0x20, 0x100, 0x200, 0x200]),
        "fanotify_mark_flags" => operation(maker, &[1, 1, 1, 2, 0x80], &[0, 4, 8, 0x10, 0x20, 0x40, 0x100]),
        "fanotify_mask" => maker.flags(&[0xfff, 0x1000, 0x3b, 0x3b, 0x4000_0000, 0x0800_0000, 0x10000]),
        "splice_flags" => maker.flags(&[0, 1, 2, 2, 4, 8]),
        "memfd_flags" => maker.flags(&[1, 2, 2, 4, 8, 16]),
        "rw_flags" => maker.flags(&[0, 1, 2, 4, 8, 16]),
        "fd_flags" => maker.flags(&[0, g::O_CLOEXEC, g::O_NONBLOCK, g::O_NONBLOCK, g::O_DIRECT, 1]),
        "close_range_flags" => maker.flags(&[0, 2, 4]),
        "fallocate_mode" => operation(maker, &[0, 1, 2, 3, 8, 16, 17, 32, 64], &[]),
        "flock_operation" => operation(maker, &[1, 2, 8], &[0, 4, 4]),
        "fcntl_command" => operation(maker, &[
            g::F_DUPFD, g::F_GETFD, g::F_SETFD, g::F_GETFL, g::F_SETFL, g::F_GETLK, g::F_SETLK, g::F_SETLKW, g::F_SETOWN, g::F_GETOWN,
            g::F_OFD_GETLK, g::F_OFD_SETLK, g::F_OFD_SETLKW, g::F_DUPFD_CLOEXEC, g::F_SETPIPE_SZ, g::F_GETPIPE_SZ, g::F_ADD_SEALS, g::F_GET_SEALS,
            g::F_SETLEASE, g::F_NOTIFY, g::F_SETSIG, g::F_GETSIG, g::F_SETOWN_EX, g::F_GETOWN_EX], &[]),
        "ptrace_request" => maker.pick(&[
            0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 12, 13, 14, 15, 16, 16, 17, 24, 24, 0x4200, 0x4201, 0x4202, 0x4203, 0x4204,
            0x4205, 0x4206, 0x4206, 0x4207, 0x4208, 0x420a, 0x420b, 0x420e,
        ]),
        "ioctl_command" => operation(maker, &[
            ioctl::FIONBIO, ioctl::FIOCLEX, ioctl::FIONCLEX, ioctl::FIONREAD, ioctl::FIOASYNC, ioctl::TCGETS, ioctl::TCSETS, ioctl::TCSETSW,
            ioctl::TCFLSH, ioctl::TIOCGWINSZ, ioctl::TIOCSWINSZ, ioctl::TIOCGPGRP, ioctl::TIOCSPGRP, ioctl::TIOCGSID, ioctl::TIOCOUTQ, ioctl::TIOCSCTTY,
            ioctl::TIOCNOTTY, ioctl::TIOCSTI, ioctl::TCSETSF, ioctl::TCXONC, ioctl::TCSBRK, ioctl::TIOCEXCL, ioctl::TIOCNXCL, ioctl::TIOCGPTN,
            ioctl::TIOCSPTLCK, ioctl::TIOCGPTLCK, ioctl::TIOCGPTPEER, ioctl::TIOCPKT, ioctl::TIOCGPKT, ioctl::TIOCSIG, ioctl::TIOCSETD,
            0x8910, 0x8912, 0x8913, 0x8914, 0x8915, 0x8916, 0x8919, 0x891b, 0x8921, 0x8922, 0x8927, 0x8933, 0x8942], &[]),
        "io_uring" => descriptor(maker),
        "io_uring_enter_flags" => maker.flags(&[1, 1, 2, 4, 8, 16]),
        "io_uring_register_operation" => maker.rng.u64(..28),
        "epoll_operation" => operation(maker, &[1, 2, 3], &[]),
        "protection" => maker.flags(&[0, g::PROT_READ, g::PROT_READ, g::PROT_WRITE, g::PROT_WRITE, g::PROT_EXEC, g::PROT_GROWSDOWN, g::PROT_GROWSUP]),
        "map_flags" => operation(maker, &[g::MAP_PRIVATE, g::MAP_SHARED, g::MAP_SHARED_VALIDATE], &[
            g::MAP_ANONYMOUS, g::MAP_ANONYMOUS, g::MAP_ANONYMOUS, g::MAP_FIXED, g::MAP_FIXED, g::MAP_FIXED_NOREPLACE, g::MAP_32BIT,
            g::MAP_GROWSDOWN, g::MAP_POPULATE, g::MAP_NORESERVE, g::MAP_LOCKED, g::MAP_HUGETLB, g::MAP_STACK]),
        "mremap_flags" => maker.flags(&[0, 1, 1, 2, 3, 4, 5]),
        "msync_flags" => maker.flags(&[1, 2, 4]),
        "madvise_advice" => operation(maker, &[0, 1, 2, 3, 4, 4, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 100], &[]),
        "mlockall_flags" => maker.flags(&[1, 2, 4]),
        "membarrier_command" => operation(maker, &[0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512], &[]),
        "clone_flags" => clone_flags(maker),
        "wait_options" => maker.flags(&[1, 1, 2, 4, 8, 0x0100_0000, 0x2000_0000, 0x4000_0000, 0x8000_0000]),
        "wait_type" => operation(maker, &[0, 1, 2, 3], &[]),
        "priority_type" => operation(maker, &[0, 1, 2], &[]),
        "scheduler" => operation(maker, &[0, 1, 2, 3, 5, 6], &[0x4000_0000, 0]),
        "prctl_option" => operation(maker, &[
            prctl::PR_SET_NAME, prctl::PR_GET_NAME, prctl::PR_SET_PDEATHSIG, prctl::PR_GET_PDEATHSIG, prctl::PR_SET_DUMPABLE, prctl::PR_GET_DUMPABLE,
            prctl::PR_SET_NO_NEW_PRIVS, prctl::PR_SET_CHILD_SUBREAPER, prctl::PR_GET_CHILD_SUBREAPER, prctl::PR_SET_TIMERSLACK, prctl::PR_GET_TIMERSLACK,
            prctl::PR_SET_KEEPCAPS, prctl::PR_CAPBSET_READ, prctl::PR_CAPBSET_DROP, prctl::PR_SET_SECCOMP, prctl::PR_SET_MM, prctl::PR_SET_VMA,
            prctl::PR_GET_TID_ADDRESS, prctl::PR_SET_TSC, prctl::PR_CAP_AMBIENT], &[]),
        "arch_prctl_code" => operation(maker, &[0x1001, 0x1001, g::ARCH_SET_FS, 0x1003, 0x1004, 0x1011, 0x1012, 0x3001], &[]),
        "futex_operation" => operation(maker, &[0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13], &[128, 128, 256]),
        "sigmask_how" => operation(maker, &[0, 1, 2], &[]),
        "itimer" => operation(maker, &[0, 0, 1, 2], &[]),
        "clock" => {
            if maker.one_in(8) { maker.edge() } else { maker.rng.u64(..12) }
        }
        "timer_flags" => maker.flags(&[0, 0, 1, 2]),
        "resource" => maker.rng.u64(..17),
        "address_family" => operation(maker, &[1, 1, 2, 2, 2, 10, 16, 17, 38], &[]),
        "socket_type" => operation(maker, &[1, 1, 1, 2, 2, 3, 5], &[0, g::O_NONBLOCK, g::O_CLOEXEC]),
        "message_flags" => maker.flags(&[net::MSG_OOB, net::MSG_PEEK, net::MSG_DONTWAIT, net::MSG_DONTWAIT, net::MSG_TRUNC, net::MSG_WAITALL, net::MSG_NOSIGNAL,
            net::MSG_MORE, net::MSG_ERRQUEUE, net::MSG_CTRUNC, net::MSG_CMSG_CLOEXEC, 0x2000_0000, 0x400_0000, 0x1_0000, net::MSG_EOR]),
        "shutdown_how" => operation(maker, &[0, 1, 2, 3], &[]),
        "socket_level" => operation(maker, &[1, 1, 0, 6, 6, 17, 41, 270], &[]),
        "socket_option" => {
            if maker.one_in(20) { maker.edge() } else { maker.rng.u64(..76) }
        }
        _ => return sysv::number(maker, kind),
    })
}

/// Flags of clone(2): a process, a thread, or anything.
pub fn clone_flags(maker: &mut Maker) -> u64 {
    let thread =
        g::CLONE_VM | g::CLONE_FS | g::CLONE_FILES | g::CLONE_SIGHAND | g::CLONE_THREAD | g::CLONE_SYSVSEM;
    let sets = [
        g::SIGCHLD,
        g::SIGCHLD,
        thread,
        thread | g::CLONE_SETTLS,
        g::CLONE_VM | g::CLONE_VFORK | g::SIGCHLD,
        g::CLONE_VM | g::SIGCHLD,
        g::CLONE_FILES | g::SIGCHLD,
        g::CLONE_FS | g::SIGCHLD,
        0,
    ];
    let base = u64::from(sets[maker.rng.usize(..sets.len())]);
    let more = [
        g::CLONE_PIDFD,
        g::CLONE_PARENT,
        g::CLONE_PARENT_SETTID,
        g::CLONE_CHILD_CLEARTID,
        g::CLONE_CHILD_SETTID,
        g::CLONE_SYSVSEM,
        g::CLONE_UNTRACED,
        g::CLONE_NEWNS,
        g::CLONE_NEWPID,
        g::CLONE_FS,
        g::CLONE_SIGHAND,
    ];
    match maker.rng.u32(..6) {
        0 => base | maker.flags(&more),
        1 => (base & !0xff) | maker.rng.u64(..256),
        _ => base,
    }
}
