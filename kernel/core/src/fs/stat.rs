//! What stat(2) and statx(2) tell of a file, and the layout they tell it in.
use crate::arch;
use coracle_hal::sync::atomic::{AtomicU64, Ordering};
use coracle_hal::time;
pub use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::general::{S_IFMT, STATX_ATTR_MOUNT_ROOT, STATX_BTIME, STATX_MNT_ID};

/// Bytes of `struct statx`.
pub const STATX_SIZE: usize = 256;
/// st_blksize: what reading and writing goes best by.
pub const BLOCK_SIZE: u64 = 4096;
/// Unit of st_blocks.
pub const SECTOR: u64 = 512;
/// The device number of objects without a file system (pipes, sockets, eventfds): a number Linux gives to such.
pub const ANONYMOUS_DEVICE: u64 = 14;
/// STATX_BASIC_STATS.
const STATX_BASIC: u32 = 0x7ff;

/// A time since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds.
    pub nanos: u32,
}

impl Timestamp {
    /// The time now.
    pub fn now() -> Self {
        let ns = time::wall_offset_ns() + time::now_ns();
        Timestamp { seconds: (ns / 1_000_000_000) as i64, nanos: (ns % 1_000_000_000) as u32 }
    }
}

/// What there is to know of a file.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Metadata {
    pub device: u64,
    pub inode: u64,
    /// Kind and permissions.
    pub mode: u32,
    pub links: u64,
    pub uid: u32,
    pub gid: u32,
    /// Device number of device nodes ([`device_number`]).
    pub rdev: u64,
    pub size: u64,
    /// Bytes allocated.
    pub allocated: u64,
    pub accessed: Timestamp,
    pub modified: Timestamp,
    pub changed: Timestamp,
    /// When the file was made, where the file system keeps that.
    pub created: Option<Timestamp>,
}

/// st_rdev of major and minor number (makedev(3)).
pub const fn device_number(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
}
/// Major and minor number.
pub const fn split_device(number: u64) -> (u32, u32) {
    let major = number >> 8 & 0xfff | number >> 32 & 0xffff_f000;
    let minor = number & 0xff | number >> 12 & 0xffff_ff00;
    (major as u32, minor as u32)
}

impl Metadata {
    /// As `struct stat`.
    pub fn stat(&self) -> Stat {
        arch::stat::stat(self)
    }
}

/// stat(2) of an object without a name: an inode number of its own for each kind is enough, as Linux does for anonymous
/// inodes. `mode`: kind and permissions.
pub fn nameless(mode: u32, inode: u64) -> Stat {
    let now = Timestamp::now();
    Metadata {
        device: ANONYMOUS_DEVICE,
        inode,
        mode,
        links: 1,
        accessed: now,
        modified: now,
        changed: now,
        ..Metadata::default()
    }
    .stat()
}

/// stat(2) of eventfd, epoll and the like: no kind bits, rw for the owner.
pub fn anonymous() -> Stat {
    /// All of them share one inode, as on Linux.
    const INODE: u64 = 1;
    nameless(0o600, INODE)
}

/// A number that no other nameless inode (pipe, socket) has.
pub fn next_inode() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The bytes of `struct statx` for the same, for the time at which the file was made, and for its place: the number of its mount,
/// and whether it is the root of that.
pub fn statx_bytes(stat: &Stat, created: Option<Timestamp>, mount: Option<(u64, bool)>) -> [u8; STATX_SIZE] {
    let is_root = mount.is_some_and(|(_, is_root)| is_root);
    let attribute = |set: bool| u64::from(if set { STATX_ATTR_MOUNT_ROOT } else { 0 });
    let mut bytes = [0; STATX_SIZE];
    let mut at = 0;
    let mut put = |value: &[u8]| {
        bytes[at..at + value.len()].copy_from_slice(value);
        at += value.len();
    };
    let btime = if created.is_some() { STATX_BTIME } else { 0 };
    let mount_id = if mount.is_some() { STATX_MNT_ID } else { 0 };
    put(&(STATX_BASIC | btime | mount_id).to_le_bytes());
    put(&(stat.st_blksize as u32).to_le_bytes());
    put(&attribute(is_root).to_le_bytes());
    put(&arch::stat::links(stat).to_le_bytes());
    put(&stat.st_uid.to_le_bytes());
    put(&stat.st_gid.to_le_bytes());
    put(&(stat.st_mode as u16).to_le_bytes());
    put(&0u16.to_le_bytes());
    put(&stat.st_ino.to_le_bytes());
    put(&stat.st_size.to_le_bytes());
    put(&stat.st_blocks.to_le_bytes());
    put(&attribute(mount.is_some()).to_le_bytes());
    let mut put_time = |(seconds, nanos): (u64, u64)| {
        put(&seconds.to_le_bytes());
        put(&(nanos as u32).to_le_bytes());
        put(&0u32.to_le_bytes());
    };
    let [accessed, modified, changed] = arch::stat::times(stat);
    put_time(accessed);
    put_time(created.map_or((0, 0), |time| (time.seconds.cast_unsigned(), time.nanos.into())));
    put_time(changed);
    put_time(modified);
    for number in [stat.st_rdev, stat.st_dev] {
        let (major, minor) = split_device(number);
        put(&major.to_le_bytes());
        put(&minor.to_le_bytes());
    }
    put(&mount.map_or(0, |(id, _)| id).to_le_bytes());
    bytes
}

/// DT_* of a mode (readdir(3)).
pub const fn entry_kind(mode: u32) -> u8 {
    ((mode & S_IFMT) >> 12) as u8
}
