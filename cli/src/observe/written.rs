//! What system calls write for programs, in words, as strace(1) has it.

use std::fmt::Write as _;

use coracle_control::Extent;

use super::calls::{Memory, buffer, flags, number, signal, socket_address};
use crate::arch::Arch;

/// What the kernel writes where an argument points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// As many bytes as the result says.
    Bytes,
    /// The two descriptors of a pipe (pipe(2)).
    PipePair,
    /// `struct stat` (stat(3type)).
    Stat,
    /// How a child ended (wait(2)).
    WaitStatus,
    /// A socket address, whose length is written where the next argument points to.
    Address,
    /// That length.
    Length,
    /// Events, as many as the result says (epoll_wait(2)).
    EpollEvents,
}

impl Written {
    /// What the call of this name writes for its argument at this place.
    pub fn of(call: &str, place: usize) -> Option<Written> {
        Some(match (call, place) {
            ("recvfrom", 1) => Written::Bytes,
            ("pipe" | "pipe2", 0) => Written::PipePair,
            ("stat" | "lstat" | "fstat", 1) | ("newfstatat", 2) => Written::Stat,
            ("wait4", 1) => Written::WaitStatus,
            ("accept" | "accept4" | "getsockname" | "getpeername", 1) | ("recvfrom", 4) => Written::Address,
            ("accept" | "accept4" | "getsockname" | "getpeername", 2) | ("recvfrom", 5) => Written::Length,
            ("epoll_wait" | "epoll_pwait" | "epoll_pwait2", 1) => Written::EpollEvents,
            _ => return None,
        })
    }

    /// What of it is noted.
    pub const fn extent(self, arch: Arch) -> Extent {
        match self {
            Written::Bytes => Extent::Result,
            Written::PipePair => Extent::Written(PIPE_PAIR_BYTES as u8),
            Written::Stat => Extent::Written(STAT_BYTES as u8),
            Written::WaitStatus | Written::Length => Extent::Written(4),
            Written::Address => Extent::Written(ADDRESS_BYTES as u8),
            Written::EpollEvents => Extent::Written(event_bytes(arch) as u8),
        }
    }

    /// In words, after a call with this result of what is at `address`; `next` is the argument behind. `None`: nothing was written, or it isn't known.
    pub fn text(
        self,
        arch: Arch,
        (address, next): (u64, u64),
        result: u64,
        memory: &mut dyn Memory,
    ) -> Option<String> {
        match self {
            _ if (result as i64) < 0 => None,
            Written::Bytes => Some(buffer(address, result, memory)),
            Written::PipePair => pipe_pair(&memory.read(address, PIPE_PAIR_BYTES)),
            Written::Stat => stat(arch, &memory.read(address, STAT_BYTES)),
            Written::WaitStatus if result > 0 => wait_status(word(address, memory)?),
            Written::Length => Some(format!("[{}]", word(address, memory)?)),
            Written::Address => {
                let len = u64::from(word(next, memory)?);
                // Nothing is written of the address of a peer that has none.
                (len > 0).then(|| socket_address(address, len, memory))
            }
            Written::EpollEvents if result > 0 => {
                let event = epoll_event(arch, &memory.read(address, event_bytes(arch)))?;
                Some(format!("[{event}{}]", if result > 1 { ", ..." } else { "" }))
            }
            Written::EpollEvents => Some("[]".to_owned()),
            Written::WaitStatus => None,
        }
    }
}

/// Two descriptors.
const PIPE_PAIR_BYTES: usize = 8;
/// `struct stat` up to its size.
const STAT_BYTES: usize = 56;
/// The longest address (sockaddr_un of unix(7)).
const ADDRESS_BYTES: usize = 110;

/// Bytes of a `struct epoll_event`, which is packed on x86-64.
pub const fn event_bytes(arch: Arch) -> usize {
    match arch {
        Arch::X86_64 => 12,
        Arch::Aarch64 => 16,
    }
}

fn word(address: u64, memory: &mut dyn Memory) -> Option<u32> {
    number(&memory.read(address, 4), 0).map(u32::from_le_bytes)
}

fn pipe_pair(bytes: &[u8]) -> Option<String> {
    let fd = |at| number(bytes, at).map(i32::from_le_bytes);
    Some(format!("[{}, {}]", fd(0)?, fd(4)?))
}

fn stat(arch: Arch, bytes: &[u8]) -> Option<String> {
    const SIZE_AT: usize = 48;
    let (mode_at, device_at) = match arch {
        Arch::X86_64 => (24, 40),
        Arch::Aarch64 => (16, 32),
    };
    const KINDS: [(u32, &str); 7] = [
        (libc::S_IFREG, "S_IFREG"),
        (libc::S_IFDIR, "S_IFDIR"),
        (libc::S_IFLNK, "S_IFLNK"),
        (libc::S_IFCHR, "S_IFCHR"),
        (libc::S_IFBLK, "S_IFBLK"),
        (libc::S_IFIFO, "S_IFIFO"),
        (libc::S_IFSOCK, "S_IFSOCK"),
    ];
    let mode = u32::from_le_bytes(number(bytes, mode_at)?);
    let (kind, rights) = (mode & libc::S_IFMT, mode & !libc::S_IFMT);
    let mut text = String::from("{st_mode=");
    if let Some((_, name)) = KINDS.iter().find(|(own, _)| *own == kind) {
        let _ = write!(text, "{name}|");
    }
    let _ = write!(text, "0{rights:03o}, ");
    if [libc::S_IFCHR, libc::S_IFBLK].contains(&kind) {
        let device = u64::from_le_bytes(number(bytes, device_at)?);
        let _ = write!(text, "st_rdev=makedev({:#x}, {:#x})", libc::major(device), libc::minor(device));
    } else {
        let _ = write!(text, "st_size={}", i64::from_le_bytes(number(bytes, SIZE_AT)?));
    }
    Some(text + ", ...}")
}

fn wait_status(status: u32) -> Option<String> {
    let status = status as i32;
    let text = if libc::WIFEXITED(status) {
        format!("WIFEXITED(s) && WEXITSTATUS(s) == {}", libc::WEXITSTATUS(status))
    } else if libc::WIFSTOPPED(status) {
        format!("WIFSTOPPED(s) && WSTOPSIG(s) == {}", signal(libc::WSTOPSIG(status)))
    } else if libc::WIFCONTINUED(status) {
        "WIFCONTINUED(s)".to_owned()
    } else if libc::WIFSIGNALED(status) {
        let core = if libc::WCOREDUMP(status) { " && WCOREDUMP(s)" } else { "" };
        format!("WIFSIGNALED(s) && WTERMSIG(s) == {}{core}", signal(libc::WTERMSIG(status)))
    } else {
        return None;
    };
    Some(format!("[{{{text}}}]"))
}

/// `{events=EPOLLIN, data=0x5}`
pub fn epoll_event(arch: Arch, bytes: &[u8]) -> Option<String> {
    const EVENTS: &[(u64, &str)] = &[
        (1, "EPOLLIN"),
        (2, "EPOLLPRI"),
        (4, "EPOLLOUT"),
        (8, "EPOLLERR"),
        (0x10, "EPOLLHUP"),
        (0x2000, "EPOLLRDHUP"),
        (1 << 28, "EPOLLEXCLUSIVE"),
        (1 << 29, "EPOLLWAKEUP"),
        (1 << 30, "EPOLLONESHOT"),
        (1 << 31, "EPOLLET"),
    ];
    let events = u32::from_le_bytes(number(bytes, 0)?);
    let data = u64::from_le_bytes(number(bytes, event_bytes(arch) - size_of::<u64>())?);
    Some(format!("{{events={}, data={data:#x}}}", flags(events.into(), EVENTS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_in_words() {
        let mut bytes = [0; STAT_BYTES];
        bytes[24..28].copy_from_slice(&(libc::S_IFREG | 0o644).to_le_bytes());
        bytes[48..].copy_from_slice(&1234u64.to_le_bytes());
        assert_eq!(stat(Arch::X86_64, &bytes).as_deref(), Some("{st_mode=S_IFREG|0644, st_size=1234, ...}"));
        bytes[24..28].copy_from_slice(&(libc::S_IFCHR | 0o4620).to_le_bytes());
        bytes[40..48].copy_from_slice(&libc::makedev(136, 2).to_le_bytes());
        assert_eq!(
            stat(Arch::X86_64, &bytes).as_deref(),
            Some("{st_mode=S_IFCHR|04620, st_rdev=makedev(0x88, 0x2), ...}")
        );
        assert_eq!(stat(Arch::X86_64, &bytes[..30]), None);
        let status = |status| wait_status(status).unwrap();
        assert_eq!(status(0x300), "[{WIFEXITED(s) && WEXITSTATUS(s) == 3}]");
        assert_eq!(status(9), "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}]");
        assert_eq!(status(0x8b), "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}]");
        assert_eq!(status(0x137f), "[{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}]");
        assert_eq!(status(0xffff), "[{WIFCONTINUED(s)}]");
        let event = [1, 0, 0, 0x80, 7, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(epoll_event(Arch::X86_64, &event).as_deref(), Some("{events=EPOLLIN|EPOLLET, data=0x7}"));
    }
}
