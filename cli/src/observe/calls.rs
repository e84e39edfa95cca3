//! System calls in words, as strace(1) writes them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use coracle_control::{Capture, Extent};

use super::written::{Written, epoll_event, event_bytes};
use crate::arch::Arch;

/// Number, name, kinds of the arguments, kind of the result.
type Row = (usize, &'static str, &'static [&'static str], &'static str);

/// The kernel's table, in the order of its families.
static TABLE: &[Row] = include!(concat!(env!("OUT_DIR"), "/calls.rs"));

/// Characters of a string or a buffer that are shown.
pub const SHOWN: usize = 32;

/// Where the bytes that an argument points to come from.
pub trait Memory {
    /// As many of `len` bytes at `address` as are known.
    fn read(&mut self, address: u64, len: usize) -> Vec<u8>;
}

/// The name of the call of this number.
pub fn name(number: usize) -> Option<&'static str> {
    TABLE.iter().find(|row| row.0 == number).map(|row| row.1)
}

/// A system call that was made.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The architecture of the guest, by which structures are laid out.
    pub arch: Arch,
    /// Its number in the table.
    pub number: usize,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// What it returned, if it is over.
    pub result: Option<u64>,
}

/// The numbers of the calls of this name, or of this kind (strace(1), "Filtering"); none if there is no such.
pub fn named(word: &str) -> Vec<usize> {
    let is_of_kind = |row: &Row| {
        let has = |kinds: &[&str]| row.2.iter().any(|kind| kinds.contains(kind));
        let is = |names: &[&str]| names.contains(&row.1);
        match word {
            "all" => true,
            "file" => has(&["&path", "&executable", "dirfd"]),
            "desc" => {
                has(&["fd", "file", "epoll", "inotify", "timerfd", "new_fd", "pipe_or_fd", "directory"])
            }
            "network" => has(&["socket", "address_family"]),
            "memory" => has(&["protection", "map_len", "map_flags", "madvise_advice"]) || is(&["brk"]),
            "process" => {
                let names = [
                    "fork",
                    "vfork",
                    "clone",
                    "clone3",
                    "execve",
                    "execveat",
                    "exit",
                    "exit_group",
                    "wait4",
                    "waitid",
                ];
                is(&names)
            }
            "signal" => {
                has(&["signal", "&sigset", "&sigaction", "&siginfo", "&signal_stack"])
                    || row.1.starts_with("rt_sig")
            }
            "ipc" => has(&["ipc_key", "semaphores", "message_queue", "shared_memory", "ipc_command"]),
            name => row.1 == name,
        }
    };
    TABLE.iter().filter(|row| is_of_kind(row)).map(|row| row.0).collect()
}

/// What a guest is to note of the arguments of calls, in the order of their numbers.
pub fn captures(arch: Arch, is_wanted: impl Fn(usize) -> bool) -> Vec<Capture> {
    /// Bytes of an entry of poll(2).
    const POLLFD: u8 = 8;
    let mut all = Vec::new();
    for (call, name, kinds, _) in TABLE.iter().filter(|row| is_wanted(row.0)) {
        for (argument, kind) in kinds.iter().enumerate() {
            let extent = match *kind {
                "&out" | "&length_cell" | "&pipe_pair" => match Written::of(name, argument) {
                    Some(written) => written.extent(arch),
                    None => continue,
                },
                "&epoll_event" => Extent::Fixed(event_bytes(arch) as u8),
                "&path" | "&executable" | "&string" | "&queue_name" | "&file_system" => Extent::String,
                "&bytes" if is_read_by_kernel(*call) => Extent::Buffer,
                "&bytes" => Extent::Result,
                "&timespec" => Extent::Fixed(16),
                "&pollfds" => Extent::Next(POLLFD),
                "&socket_address" => Extent::Next(1),
                _ => continue,
            };
            let argument = argument as u8;
            all.extend(u16::try_from(*call).ok().map(|call| Capture { call, argument, extent }));
        }
    }
    all.sort_by_key(|capture| (capture.call, capture.argument));
    all
}

impl Call {
    fn row(&self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.0 == self.number)
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.row().map_or_else(|| format!("syscall_{}", self.number), |row| row.1.to_owned())
    }

    /// Whether it opens a file and makes none.
    fn makes_no_file(&self) -> bool {
        let makes = (libc::O_CREAT | libc::O_TMPFILE) as u64;
        self.argument_of("open_flags").is_some_and(|flags| flags & makes == 0)
    }

    /// Whether it ends the calling thread.
    pub fn never_returns(&self) -> bool {
        let number = i64::try_from(self.number).unwrap_or_default();
        [libc::SYS_exit, libc::SYS_exit_group].contains(&number)
    }

    /// Whether its result is an address.
    pub fn returns_address(&self) -> bool {
        let number = i64::try_from(self.number).unwrap_or_default();
        [libc::SYS_mmap, libc::SYS_mremap, libc::SYS_brk, libc::SYS_shmat].contains(&number)
    }

    /// The place of the argument of this kind.
    pub fn argument_of(&self, kind: &str) -> Option<u64> {
        let place = self.row()?.2.iter().position(|own| *own == kind)?;
        self.arguments.get(place).copied()
    }

    /// `name(argument, …)`.
    pub fn describe(&self, memory: &mut dyn Memory) -> String {
        let Some((_, name, kinds, _)) = self.row() else {
            let arguments: Vec<String> = self.arguments.iter().map(|value| format!("{value:#x}")).collect();
            return format!("syscall_{}({})", self.number, arguments.join(", "));
        };
        // Without a file to be made, there is no mode.
        let len = kinds.len() - usize::from(kinds.last() == Some(&"mode") && self.makes_no_file());
        let arguments = kinds[..len].iter().zip(self.arguments).enumerate();
        let words: Vec<String> =
            arguments.map(|(place, (kind, value))| self.argument(place, kind, value, memory)).collect();
        format!("{name}({})", words.join(", "))
    }

    fn argument(&self, place: usize, kind: &str, value: u64, memory: &mut dyn Memory) -> String {
        let next = self.arguments.get(place + 1).copied().unwrap_or_default();
        if value == 0 && (kind.starts_with('&') || kind == "address") {
            return "NULL".to_owned();
        }
        let written = self.row().and_then(|row| Written::of(row.1, place));
        if let Some((written, result)) = written.zip(self.result)
            && let Some(text) = written.text(self.arch, (value, next), result, memory)
        {
            return text;
        }
        match kind {
            "fd" | "file" | "socket" | "dirfd" | "directory" | "new_fd" | "pipe_or_fd" | "epoll"
            | "inotify" | "pidfd" | "timerfd" | "mq" | "pid" | "timeout_ms" | "timer" => match value as i32 {
                libc::AT_FDCWD if kind == "dirfd" => "AT_FDCWD".to_owned(),
                number => number.to_string(),
            },
            "uid" | "gid" | "ipc_key" | "message_queue" | "semaphores" | "shared_memory" => {
                (value as i32).to_string()
            }
            "len" | "count" | "map_len" | "sigset_len" | "number" | "offset" | "page_offset" | "seconds"
            | "protocol" | "address_len" | "option_len" | "mq_len" | "futex_value" => {
                (value as i64).to_string()
            }
            "&path" | "&executable" | "&string" | "&queue_name" | "&file_system" => string(value, memory),
            "&bytes" if is_read_by_kernel(self.number) => buffer(value, next, memory),
            "&bytes" => match self.result {
                Some(len) if len as i64 >= 0 => buffer(value, len, memory),
                _ => format!("{value:#x}"),
            },
            "&timespec" => timespec(value, memory),
            "&socket_address" => socket_address(value, next, memory),
            "&pollfds" => pollfds(value, next, memory),
            "&epoll_event" => epoll_event(self.arch, &memory.read(value, event_bytes(self.arch)))
                .unwrap_or_else(|| format!("{value:#x}")),
            "mode" | "node_mode" => format!("{value:#05o}").replacen("0o", "0", 1),
            "signal" => signal(value as i32),
            "clock" => one_of(value, CLOCKS),
            "whence" => one_of(value, WHENCE),
            "address_family" => one_of(value, FAMILIES),
            "epoll_operation" => {
                one_of(value, &[(1, "EPOLL_CTL_ADD"), (2, "EPOLL_CTL_DEL"), (3, "EPOLL_CTL_MOD")])
            }
            "shutdown_how" => one_of(value, &[(0, "SHUT_RD"), (1, "SHUT_WR"), (2, "SHUT_RDWR")]),
            "sigmask_how" => one_of(value, &[(0, "SIG_BLOCK"), (1, "SIG_UNBLOCK"), (2, "SIG_SETMASK")]),
            "fcntl_command" => one_of(value, FCNTL),
            "socket_level" => one_of(
                value,
                &[(1, "SOL_SOCKET"), (0, "SOL_IP"), (6, "SOL_TCP"), (41, "SOL_IPV6"), (17, "SOL_UDP")],
            ),
            "madvise_advice" => one_of(value, MADVISE),
            "resource" => one_of(value, RESOURCES),
            "futex_operation" => futex_operation(value),
            "open_flags" => open_flags(value),
            "socket_type" => {
                let kind = one_of(
                    value & 0xf,
                    &[(1, "SOCK_STREAM"), (2, "SOCK_DGRAM"), (3, "SOCK_RAW"), (5, "SOCK_SEQPACKET")],
                );
                join(kind, flags(value & !0xf, &[(0o2_000_000, "SOCK_CLOEXEC"), (0o4000, "SOCK_NONBLOCK")]))
            }
            "fd_flags" => {
                flags(value, &[(0o2_000_000, "O_CLOEXEC"), (0o4000, "O_NONBLOCK"), (1, "EFD_SEMAPHORE")])
            }
            "protection" => match value {
                0 => "PROT_NONE".to_owned(),
                _ => flags(value, &[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")]),
            },
            "map_flags" => flags(value, MAPPING),
            "message_flags" => flags(value, MESSAGE),
            "at_flags" => flags(
                value,
                &[
                    (0x100, "AT_SYMLINK_NOFOLLOW"),
                    (0x200, "AT_REMOVEDIR"),
                    (0x400, "AT_SYMLINK_FOLLOW"),
                    (0x800, "AT_NO_AUTOMOUNT"),
                    (0x1000, "AT_EMPTY_PATH"),
                ],
            ),
            "access_mode" => match value {
                0 => "F_OK".to_owned(),
                _ => flags(value, &[(4, "R_OK"), (2, "W_OK"), (1, "X_OK")]),
            },
            "wait_options" => flags(
                value,
                &[
                    (1, "WNOHANG"),
                    (2, "WUNTRACED"),
                    (4, "WEXITED"),
                    (8, "WCONTINUED"),
                    (0x100_0000, "WNOWAIT"),
                ],
            ),
            _ if value == 0 => "0".to_owned(),
            _ => format!("{value:#x}"),
        }
    }
}

/// Whether the kernel reads the buffer of this call, rather than writing to it.
fn is_read_by_kernel(number: usize) -> bool {
    matches!(
        i64::try_from(number),
        Ok(libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_sendto | libc::SYS_mq_timedsend)
    )
}

/// The name of a value, or its number.
fn one_of(value: u64, names: &[(u64, &str)]) -> String {
    let value = u64::from(value as u32);
    names
        .iter()
        .find(|(own, _)| *own == value)
        .map_or_else(|| format!("{value:#x}"), |(_, name)| (*name).to_owned())
}

/// The names of the bits that are set, and the rest as a number.
pub fn flags(value: u64, names: &[(u64, &str)]) -> String {
    let (mut words, mut rest) = (Vec::new(), value);
    for (bits, name) in names {
        if rest & bits == *bits && *bits != 0 {
            words.push((*name).to_owned());
            rest &= !bits;
        }
    }
    if rest != 0 || words.is_empty() {
        words.push(if rest == 0 { "0".to_owned() } else { format!("{rest:#x}") });
    }
    words.join("|")
}

fn join(first: String, rest: String) -> String {
    if rest == "0" { first } else { format!("{first}|{rest}") }
}

fn open_flags(value: u64) -> String {
    const REST: &[(u64, &str)] = &[
        (0o100, "O_CREAT"),
        (0o200, "O_EXCL"),
        (0o400, "O_NOCTTY"),
        (0o1000, "O_TRUNC"),
        (0o2000, "O_APPEND"),
        (0o4000, "O_NONBLOCK"),
        (0o4_010_000, "O_SYNC"),
        (0o10_000, "O_DSYNC"),
        (0o20_200_000, "O_TMPFILE"),
        (0o200_000, "O_DIRECTORY"),
        (0o400_000, "O_NOFOLLOW"),
        (0o1_000_000, "O_NOATIME"),
        (0o2_000_000, "O_CLOEXEC"),
        (0o10_000_000, "O_PATH"),
    ];
    let access = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][(value & 3) as usize];
    // Programs for this machine may set O_LARGEFILE, which means nothing.
    join(access.to_owned(), flags(value & !3 & !0o100_000, REST))
}

fn futex_operation(value: u64) -> String {
    const OPERATIONS: [&str; 14] = [
        "FUTEX_WAIT",
        "FUTEX_WAKE",
        "FUTEX_FD",
        "FUTEX_REQUEUE",
        "FUTEX_CMP_REQUEUE",
        "FUTEX_WAKE_OP",
        "FUTEX_LOCK_PI",
        "FUTEX_UNLOCK_PI",
        "FUTEX_TRYLOCK_PI",
        "FUTEX_WAIT_BITSET",
        "FUTEX_WAKE_BITSET",
        "FUTEX_WAIT_REQUEUE_PI",
        "FUTEX_CMP_REQUEUE_PI",
        "FUTEX_LOCK_PI2",
    ];
    const PRIVATE: u64 = 128;
    const CLOCK_REALTIME: u64 = 256;
    let Some(name) = OPERATIONS.get((value & 127) as usize) else { return format!("{value:#x}") };
    let private = if value & PRIVATE != 0 { "_PRIVATE" } else { "" };
    let clock = if value & CLOCK_REALTIME != 0 { "|FUTEX_CLOCK_REALTIME" } else { "" };
    format!("{name}{private}{clock}")
}

/// The name of a signal (signal(7)).
pub fn signal(number: i32) -> String {
    const REAL_TIME: i32 = 32;
    match signal_hook::low_level::signal_name(number) {
        Some(name) => name.to_owned(),
        None if number > REAL_TIME => format!("SIGRT_{}", number - REAL_TIME),
        None => number.to_string(),
    }
}

/// The bytes of a number at a place.
pub fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Bytes between quotes, with the escapes of C.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for (place, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                // Three digits, if the next byte could be taken for another.
                let digits = if bytes.get(place + 1).is_some_and(u8::is_ascii_digit) { 3 } else { 0 };
                let _ = write!(text, "\\{byte:0digits$o}");
            }
        }
    }
    text.push('"');
    text
}

fn string(address: u64, memory: &mut dyn Memory) -> String {
    /// The longest path (PATH_MAX).
    const LONGEST: usize = 4096;
    const PAGE: u64 = 4096;
    // No further than the page at first: what is behind may not be there.
    let mut bytes = memory.read(address, (PAGE - address % PAGE) as usize);
    if !bytes.contains(&0) {
        bytes = memory.read(address, LONGEST);
    }
    match bytes.iter().position(|&byte| byte == 0) {
        Some(len) => quoted(&bytes[..len]),
        None if bytes.is_empty() => format!("{address:#x}"),
        None => quoted(&bytes) + "...",
    }
}

/// Bytes of a buffer of this length, as far as they are shown.
pub fn buffer(address: u64, len: u64, memory: &mut dyn Memory) -> String {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let bytes = memory.read(address, len.min(SHOWN));
    let more = if len > bytes.len() { "..." } else { "" };
    if bytes.is_empty() && len > 0 { format!("{address:#x}") } else { quoted(&bytes) + more }
}

fn timespec(address: u64, memory: &mut dyn Memory) -> String {
    let bytes = memory.read(address, 16);
    let word = |at| number(&bytes, at).map(i64::from_le_bytes);
    match (word(0), word(8)) {
        (Some(seconds), Some(nanoseconds)) => format!("{{tv_sec={seconds}, tv_nsec={nanoseconds}}}"),
        _ => format!("{address:#x}"),
    }
}

fn pollfds(address: u64, count: u64, memory: &mut dyn Memory) -> String {
    const ENTRY: usize = 8;
    const MOST: usize = 8;
    const EVENTS: &[(u64, &str)] = &[(1, "POLLIN"), (2, "POLLPRI"), (4, "POLLOUT"), (0x2000, "POLLRDHUP")];
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let bytes = memory.read(address, count.min(MOST) * ENTRY);
    let entries: Vec<String> = bytes
        .chunks_exact(ENTRY)
        .filter_map(|entry| {
            let fd = number(entry, 0).map(i32::from_le_bytes)?;
            let events = number(entry, 4).map(u16::from_le_bytes)?;
            Some(format!("{{fd={fd}, events={}}}", flags(u64::from(events), EVENTS)))
        })
        .collect();
    if entries.is_empty() && count > 0 {
        return format!("{address:#x}");
    }
    let more = if count > entries.len() { ", ..." } else { "" };
    format!("[{}{more}]", entries.join(", "))
}

/// A socket address of so many bytes.
pub fn socket_address(address: u64, len: u64, memory: &mut dyn Memory) -> String {
    /// The longest (sockaddr_un of unix(7)).
    const LONGEST: u64 = 110;
    let bytes = memory.read(address, len.min(LONGEST) as usize);
    let text = || -> Option<String> {
        let family = u16::from_le_bytes(number(&bytes, 0)?);
        let port = number(&bytes, 2).map(u16::from_be_bytes);
        Some(match i32::from(family) {
            libc::AF_UNIX => {
                let path = bytes.get(2..)?;
                let path = match path.first() {
                    // Of the abstract namespace.
                    Some(0) => format!("@{}", quoted(&path[1..])),
                    _ => quoted(path.split(|&byte| byte == 0).next().unwrap_or_default()),
                };
                format!("{{sa_family=AF_UNIX, sun_path={path}}}")
            }
            libc::AF_INET => {
                let ip = Ipv4Addr::from(number::<4>(&bytes, 4)?);
                format!("{{sa_family=AF_INET, sin_port=htons({}), sin_addr=inet_addr(\"{ip}\")}}", port?)
            }
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(number::<16>(&bytes, 8)?);
                format!("{{sa_family=AF_INET6, sin6_port=htons({}), sin6_addr=\"{ip}\"}}", port?)
            }
            _ => return None,
        })
    };
    text().unwrap_or_else(|| format!("{address:#x}"))
}

const CLOCKS: &[(u64, &str)] = &[
    (0, "CLOCK_REALTIME"),
    (1, "CLOCK_MONOTONIC"),
    (2, "CLOCK_PROCESS_CPUTIME_ID"),
    (3, "CLOCK_THREAD_CPUTIME_ID"),
    (4, "CLOCK_MONOTONIC_RAW"),
    (5, "CLOCK_REALTIME_COARSE"),
    (6, "CLOCK_MONOTONIC_COARSE"),
    (7, "CLOCK_BOOTTIME"),
];

const WHENCE: &[(u64, &str)] =
    &[(0, "SEEK_SET"), (1, "SEEK_CUR"), (2, "SEEK_END"), (3, "SEEK_DATA"), (4, "SEEK_HOLE")];

const FAMILIES: &[(u64, &str)] =
    &[(1, "AF_UNIX"), (2, "AF_INET"), (10, "AF_INET6"), (16, "AF_NETLINK"), (17, "AF_PACKET")];

const FCNTL: &[(u64, &str)] = &[
    (0, "F_DUPFD"),
    (1, "F_GETFD"),
    (2, "F_SETFD"),
    (3, "F_GETFL"),
    (4, "F_SETFL"),
    (5, "F_GETLK"),
    (6, "F_SETLK"),
    (7, "F_SETLKW"),
    (1030, "F_DUPFD_CLOEXEC"),
    (1031, "F_SETPIPE_SZ"),
    (1032, "F_GETPIPE_SZ"),
    (1033, "F_ADD_SEALS"),
    (1034, "F_GET_SEALS"),
];

const MADVISE: &[(u64, &str)] = &[
    (0, "MADV_NORMAL"),
    (1, "MADV_RANDOM"),
    (2, "MADV_SEQUENTIAL"),
    (3, "MADV_WILLNEED"),
    (4, "MADV_DONTNEED"),
    (8, "MADV_FREE"),
    (14, "MADV_HUGEPAGE"),
    (15, "MADV_NOHUGEPAGE"),
    (16, "MADV_DONTDUMP"),
];

const RESOURCES: &[(u64, &str)] = &[
    (0, "RLIMIT_CPU"),
    (1, "RLIMIT_FSIZE"),
    (2, "RLIMIT_DATA"),
    (3, "RLIMIT_STACK"),
    (4, "RLIMIT_CORE"),
    (6, "RLIMIT_NPROC"),
    (7, "RLIMIT_NOFILE"),
    (8, "RLIMIT_MEMLOCK"),
    (9, "RLIMIT_AS"),
];

const MAPPING: &[(u64, &str)] = &[
    (1, "MAP_SHARED"),
    (2, "MAP_PRIVATE"),
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
    (0x100, "MAP_GROWSDOWN"),
    (0x800, "MAP_DENYWRITE"),
    (0x2000, "MAP_LOCKED"),
    (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"),
    (0x2_0000, "MAP_STACK"),
    (0x10_0000, "MAP_FIXED_NOREPLACE"),
];

const MESSAGE: &[(u64, &str)] = &[
    (1, "MSG_OOB"),
    (2, "MSG_PEEK"),
    (0x20, "MSG_TRUNC"),
    (0x40, "MSG_DONTWAIT"),
    (0x100, "MSG_WAITALL"),
    (0x4000, "MSG_NOSIGNAL"),
    (0x8000, "MSG_MORE"),
    (0x4000_0000, "MSG_CMSG_CLOEXEC"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_control::{BUFFER_MOST, CAPTURES_MOST};

    /// Bytes at an address.
    struct At(u64, &'static [u8]);

    impl Memory for At {
        fn read(&mut self, address: u64, len: usize) -> Vec<u8> {
            let Some(from) = address.checked_sub(self.0) else { return Vec::new() };
            self.1.iter().skip(from as usize).take(len).copied().collect()
        }
    }

    fn described(number: i64, arguments: [u64; 6], memory: &'static [u8]) -> String {
        Call { arch: Arch::X86_64, number: number as usize, arguments, result: None }
            .describe(&mut At(0x1000, memory))
    }

    #[test]
    fn calls_in_words() {
        let read = [-100i64 as u64, 0x1000, 0, 0o644, 0, 0];
        assert_eq!(described(libc::SYS_openat, read, b"a\0"), r#"openat(AT_FDCWD, "a", O_RDONLY)"#);
        let open = [-100i64 as u64, 0x1000, 0o2_000_101, 0o644, 0, 0];
        assert_eq!(
            described(libc::SYS_openat, open, b"/etc/h\xc3\n\0"),
            r#"openat(AT_FDCWD, "/etc/h\303\n", O_WRONLY|O_CREAT|O_CLOEXEC, 0644)"#
        );
        let futex = [0x2000, 128, 2, 0, 0, 0];
        assert!(
            described(libc::SYS_futex, futex, b"").starts_with("futex(0x2000, FUTEX_WAIT_PRIVATE, 2, NULL")
        );
        assert_eq!(
            described(libc::SYS_write, [1, 0x1000, 3, 0, 0, 0], b"a\x00\x30\x37"),
            r#"write(1, "a\0000", 3)"#
        );
        assert_eq!(described(libc::SYS_read, [0, 0x1000, 9, 0, 0, 0], b""), "read(0, 0x1000, 9)");
        let connect = [3, 0x1000, 16, 0, 0, 0];
        assert_eq!(
            described(libc::SYS_connect, connect, &[2, 0, 0, 80, 10, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0]),
            r#"connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.2.2")}, 16)"#
        );
        assert_eq!(
            described(libc::SYS_poll, [0x1000, 1, u64::MAX, 0, 0, 0], &[5, 0, 0, 0, 1, 0, 0, 0]),
            "poll([{fd=5, events=POLLIN}], 1, -1)"
        );
        assert_eq!(described(9999, [1, 0, 0, 0, 0, 0], b""), "syscall_9999(0x1, 0x0, 0x0, 0x0, 0x0, 0x0)");
    }

    /// A guest takes no more of a call, and shows no more of a buffer than it notes.
    #[test]
    fn captures_have_room() {
        let all = captures(Arch::X86_64, |_| true);
        for call in &all {
            let own = all.iter().filter(|other| other.call == call.call);
            assert!(own.count() <= CAPTURES_MOST, "call {}", call.call);
        }
        assert_eq!(SHOWN, BUFFER_MOST);
    }

    #[test]
    fn what_is_not_there_is_an_address() {
        assert_eq!(described(libc::SYS_chdir, [0x10, 0, 0, 0, 0, 0], b""), "chdir(0x10)");
        assert_eq!(
            described(libc::SYS_nanosleep, [0x1008, 0, 0, 0, 0, 0], &[0; 16]),
            "nanosleep(0x1008, NULL)"
        );
    }
}
