//! The numbers of capabilities (capabilities(7)).

/// Change owners of files.
pub const CHOWN: u32 = 0;
/// Read, write and execute whatever the permissions say.
pub const DAC_OVERRIDE: u32 = 1;
/// Read files and search directories whatever the permissions say.
pub const DAC_READ_SEARCH: u32 = 2;
/// Do what the owner of a file may.
pub const FOWNER: u32 = 3;
/// Keep set-ID bits.
pub const FSETID: u32 = 4;
/// Send signals to any process.
pub const KILL: u32 = 5;
/// Choose group ids.
pub const SETGID: u32 = 6;
/// Choose user ids.
pub const SETUID: u32 = 7;
/// Change the bounding set and the secure bits.
pub const SETPCAP: u32 = 8;
/// Bind to ports below 1024.
pub const NET_BIND_SERVICE: u32 = 10;
/// Configure the network.
pub const NET_ADMIN: u32 = 12;
/// Use raw and packet sockets.
pub const NET_RAW: u32 = 13;
/// Lock memory.
pub const IPC_LOCK: u32 = 14;
/// Use System V IPC whatever its permissions say.
pub const IPC_OWNER: u32 = 15;
/// Use chroot(2).
pub const SYS_CHROOT: u32 = 18;
/// Look into other processes.
pub const SYS_PTRACE: u32 = 19;
/// Mount, and much else.
pub const SYS_ADMIN: u32 = 21;
/// Use reboot(2).
pub const SYS_BOOT: u32 = 22;
/// Raise priorities, and those of others.
pub const SYS_NICE: u32 = 23;
/// Exceed resource limits.
pub const SYS_RESOURCE: u32 = 24;
/// Set the clock.
pub const SYS_TIME: u32 = 25;
/// Use vhangup(2).
pub const SYS_TTY_CONFIG: u32 = 26;
/// Make device files.
pub const MKNOD: u32 = 27;
/// CAP_LEASE: leases of other users' files.
pub const LEASE: u32 = 28;
/// Who logged in, once it is set.
pub const AUDIT_CONTROL: u32 = 30;
/// Set capabilities of files.
pub const SETFCAP: u32 = 31;
/// Read the kernel's log.
pub const SYSLOG: u32 = 34;
/// Wake a machine that is suspended.
pub const WAKE_ALARM: u32 = 35;
/// Count what happens in the kernel.
pub const PERFMON: u32 = 38;
/// Choose ids of processes.
pub const CHECKPOINT_RESTORE: u32 = 40;
/// The last one there is, of Linux 6.1.
pub const LAST: u32 = CHECKPOINT_RESTORE;
