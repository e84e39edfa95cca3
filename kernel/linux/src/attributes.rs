//! What is known of files: stat(2) and its kin, permissions, owners, times.
use super::call::Call;
use super::file::{any_file, open_file};
use super::identity::machine_id;
use super::path::{Named, named};
use coracle_core::arch;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access::{self, Owned};
use coracle_core::fs::inode::Changes;
use coracle_core::fs::mount::{MountFlags, Path, Place};
use coracle_core::fs::notify;
use coracle_core::fs::stat::{self, BLOCK_SIZE, Timestamp};
use coracle_core::mm::user;
use coracle_core::task::user_space::Kind;
use coracle_hal::sync::atomic::Ordering::Relaxed;
use coracle_ipc::unix::UnixSocket;
use linux_raw_sys::general::*;

fn write_stat(call: &Call, place: usize, mut found: stat::Stat) -> SysResult {
    show_owners(call, &mut found);
    user::write_words(call.usize(place), &arch::stat::words(&found))?;
    Ok(0)
}

/// Has the owner and the group be as the program's user namespace sees them.
fn show_owners(call: &Call, found: &mut stat::Stat) {
    if call.thread().process.is_mapped.load(Relaxed) {
        let credentials = call.thread().process.credentials.lock();
        found.st_uid = credentials.shown(Kind::User, found.st_uid);
        found.st_gid = credentials.shown(Kind::Group, found.st_gid);
    }
}

fn stat_of(named: Named) -> Result<stat::Stat, Errno> {
    match named {
        Named::Place(place) => Ok(place.path.inode.metadata().stat()),
        Named::Open(open) => open.file.stat(),
        Named::File(file) => file.stat(),
    }
}

/// stat(2).
pub fn stat_call(call: &Call) -> SysResult {
    write_stat(call, 1, stat_of(named(call, AT_FDCWD, call.usize(0), 0)?)?)
}
/// lstat(2).
pub fn lstat(call: &Call) -> SysResult {
    write_stat(call, 1, stat_of(named(call, AT_FDCWD, call.usize(0), AT_SYMLINK_NOFOLLOW)?)?)
}
/// fstat(2).
pub fn fstat(call: &Call) -> SysResult {
    write_stat(call, 1, any_file(call, 0)?.file.stat()?)
}
/// newfstatat(2).
pub fn newfstatat(call: &Call) -> SysResult {
    let flags = call.u32(3);
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT) != 0 {
        return Err(Errno::INVAL);
    }
    write_stat(call, 2, stat_of(named(call, call.i32(0), call.usize(1), flags)?)?)
}
/// statx(2).
pub fn statx(call: &Call) -> SysResult {
    let flags = call.u32(2);
    let known =
        AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC;
    let both = AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC;
    if flags & !known != 0 || flags & both == both || call.u32(3) & STATX__RESERVED != 0 {
        return Err(Errno::INVAL);
    }
    let named = named(call, call.i32(0), call.usize(1), flags)?;
    let path = match &named {
        Named::Place(place) => Some(&place.path),
        Named::Open(open) => open.file.place().map(|place| &place.path),
        Named::File(_) => None,
    };
    let created = path.and_then(|path| path.inode.metadata().created);
    let mount = path.map(|path| (path.mount.id, path.inode.identity() == path.mount.root.identity()));
    let mut found = stat_of(named)?;
    show_owners(call, &mut found);
    user::write(call.usize(4), &stat::statx_bytes(&found, created, mount))?;
    Ok(0)
}

fn write_statfs(addr: usize, path: &Path) -> SysResult {
    let usage = path.inode.usage();
    let device = path.inode.identity().0;
    // struct statfs: type, bsize, blocks, bfree, bavail, files, ffree, fsid, namelen, frsize, flags, spare[4].
    let words = [
        usage.magic,
        BLOCK_SIZE,
        usage.blocks,
        usage.free,
        usage.free,
        usage.files,
        usage.files_free,
        device,
        u64::from(NAME_MAX),
        BLOCK_SIZE,
        statfs_flags(path) | ST_VALID,
        0,
        0,
        0,
        0,
    ];
    user::write_words(addr, &words)?;
    Ok(0)
}

/// f_flags: ST_RDONLY, ST_NOSUID, ST_NODEV and ST_NOEXEC have the values of mount(2), the others have their own.
fn statfs_flags(path: &Path) -> u64 {
    const SAME: MountFlags = MountFlags::NO_SUID.union(MountFlags::NO_DEVICES).union(MountFlags::NO_EXEC);
    const OTHERS: [(MountFlags, u32); 4] = [
        (MountFlags::NO_ATIME, 0x400),
        (MountFlags::NO_DIRECTORY_ATIME, 0x800),
        (MountFlags::RELATIVE_ATIME, 0x1000),
        (MountFlags::NO_LINKS, 0x2000),
    ];
    let flags = path.mount.flags();
    let others = OTHERS.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, bit)| bit);
    let read_only = if path.mount.is_read_only() { MS_RDONLY } else { 0 };
    u64::from((flags & SAME).bits() | read_only | others.sum::<u32>())
}
/// ST_VALID of f_flags: the flags mean something.
const ST_VALID: u64 = 0x20;

/// statfs(2).
pub fn statfs(call: &Call) -> SysResult {
    let place = named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::NOSYS)?;
    write_statfs(call.usize(1), &place.path)
}
/// fstatfs(2).
pub fn fstatfs(call: &Call) -> SysResult {
    /// f_type of pipes, sockets and anonymous inodes: PIPEFS_MAGIC stands for all of them.
    const PIPEFS_MAGIC: u64 = 0x5049_5045;
    match any_file(call, 0)?.file.place() {
        Some(place) => write_statfs(call.usize(1), &place.path),
        None => {
            let mut words = [0; 15];
            words[0] = PIPEFS_MAGIC;
            words[1] = BLOCK_SIZE;
            words[8] = u64::from(NAME_MAX);
            words[9] = BLOCK_SIZE;
            user::write_words(call.usize(1), &words)?;
            Ok(0)
        }
    }
}

fn check_access(call: &Call, directory: i32, addr: usize, mode: u32, flags: u32) -> SysResult {
    if mode & !(R_OK | W_OK | X_OK) != 0 || flags & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    let named = named(call, directory, addr, flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))?;
    if let Named::Place(place) = &named
        && mode & W_OK != 0
    {
        place.path.check_writable()?;
    }
    let found = stat_of(named)?;
    let file = Owned { mode: found.st_mode, uid: found.st_uid, gid: found.st_gid };
    if access::real_user_may(&file, mode, flags & AT_EACCESS != 0) { Ok(0) } else { Err(Errno::ACCES) }
}
/// access(2).
pub fn access(call: &Call) -> SysResult {
    check_access(call, AT_FDCWD, call.usize(0), call.u32(1), 0)
}
/// faccessat(2).
pub fn faccessat(call: &Call) -> SysResult {
    check_access(call, call.i32(0), call.usize(1), call.u32(2), 0)
}
/// faccessat2(2).
pub fn faccessat2(call: &Call) -> SysResult {
    check_access(call, call.i32(0), call.usize(1), call.u32(2), call.u32(3))
}

fn change(place: &Place, changes: Changes) -> SysResult {
    place.path.check_writable()?;
    access::change(&*place.path.inode, changes)?;
    notify::changed(place, &changes);
    Ok(0)
}
/// The place of an open file to be changed; files without one keep what they have, and the change is accepted.
fn change_open(call: &Call, changes: Changes) -> SysResult {
    use coracle_fs::memory::MemoryFile;
    let open = open_file(call, 0)?;
    match (open.file.place(), open.file.as_any().downcast_ref::<MemoryFile>()) {
        (Some(place), _) => change(place, changes),
        (None, Some(file)) => access::change(&**file.node(), changes).map(|()| 0),
        // What has no node keeps nothing of it, but for sockets that may get one.
        (None, None) => {
            if let (Some(mode), Some(socket)) =
                (changes.mode, open.file.as_any().downcast_ref::<UnixSocket>())
            {
                socket.set_mode(mode);
            }
            Ok(0)
        }
    }
}
fn chmod_at(call: &Call, directory: i32, addr: usize, mode: u32, flags: u32) -> SysResult {
    let place = named(call, directory, addr, flags)?.place(Errno::OPNOTSUPP)?;
    if place.path.inode.is_link() {
        return Err(Errno::OPNOTSUPP);
    }
    change(&place, Changes { mode: Some(mode), ..Changes::default() })
}
/// chmod(2).
pub fn chmod(call: &Call) -> SysResult {
    chmod_at(call, AT_FDCWD, call.usize(0), call.u32(1), 0)
}
/// fchmod(2).
pub fn fchmod(call: &Call) -> SysResult {
    change_open(call, Changes { mode: Some(call.u32(1)), ..Changes::default() })
}
/// fchmodat(2).
pub fn fchmodat(call: &Call) -> SysResult {
    chmod_at(call, call.i32(0), call.usize(1), call.u32(2), 0)
}
/// fchmodat2(2).
pub fn fchmodat2(call: &Call) -> SysResult {
    let flags = call.u32(3);
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    chmod_at(call, call.i32(0), call.usize(1), call.u32(2), flags)
}

fn owners(call: &Call, place: usize) -> Result<Changes, Errno> {
    /// Leaves the owner or group as it is (chown(2)).
    const KEEP: u32 = u32::MAX;
    let keep = |id: u32| (id != KEEP).then_some(id);
    let uid = machine_id(call, Kind::User, call.u32(place))?;
    let gid = machine_id(call, Kind::Group, call.u32(place + 1))?;
    Ok(Changes { uid: keep(uid), gid: keep(gid), ..Changes::default() })
}
/// chown(2).
pub fn chown(call: &Call) -> SysResult {
    let changes = owners(call, 1)?;
    change(&named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::INVAL)?, changes)
}
/// lchown(2).
pub fn lchown(call: &Call) -> SysResult {
    let place = named(call, AT_FDCWD, call.usize(0), AT_SYMLINK_NOFOLLOW)?.place(Errno::INVAL)?;
    change(&place, owners(call, 1)?)
}
/// fchown(2).
pub fn fchown(call: &Call) -> SysResult {
    change_open(call, owners(call, 1)?)
}
/// fchownat(2).
pub fn fchownat(call: &Call) -> SysResult {
    let flags = call.u32(4);
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    let place = named(call, call.i32(0), call.usize(1), flags)?.place(Errno::INVAL)?;
    change(&place, owners(call, 2)?)
}

/// One of utimensat's two times: EINVAL for nanoseconds that are none.
fn time_of(seconds: u64, nanos: u64) -> Result<Option<Timestamp>, Errno> {
    match nanos as u32 {
        UTIME_NOW => Ok(Some(Timestamp::now())),
        UTIME_OMIT => Ok(None),
        _ if nanos < 1_000_000_000 => {
            Ok(Some(Timestamp { seconds: seconds.cast_signed(), nanos: nanos as u32 }))
        }
        _ => Err(Errno::INVAL),
    }
}
/// "Set to the current time" as a count of nanoseconds (utimensat(2)).
const UTIME_NOW: u32 = 0x3fff_ffff;
/// "Leave as it is".
const UTIME_OMIT: u32 = 0x3fff_fffe;

fn times(addr: usize, nanos_per_unit: u64) -> Result<Changes, Errno> {
    if addr == 0 {
        let now = Some(Timestamp::now());
        return Ok(Changes { accessed: now, modified: now, now: true, ..Changes::default() });
    }
    let [a, a_sub, m, m_sub] = user::read_words::<4>(addr)?;
    if nanos_per_unit > 1 && (a_sub >= 1_000_000 || m_sub >= 1_000_000) {
        return Err(Errno::INVAL);
    }
    Ok(Changes {
        accessed: time_of(a, a_sub * nanos_per_unit)?,
        modified: time_of(m, m_sub * nanos_per_unit)?,
        now: nanos_per_unit == 1 && [a_sub, m_sub] == [u64::from(UTIME_NOW); 2],
        ..Changes::default()
    })
}
/// utimensat(2).
pub fn utimensat(call: &Call) -> SysResult {
    let flags = call.u32(3);
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    let omitted = u64::from(UTIME_OMIT);
    if call.usize(2) != 0
        && matches!(user::read_words(call.usize(2))?, [_, a, _, b] if [a, b] == [omitted; 2])
    {
        // Nothing is to be changed: the file isn't looked for.
        return Ok(0);
    }
    // A file that isn't there is the first error, before times that are none.
    let changes = times(call.usize(2), 1);
    if call.usize(1) == 0 {
        return if call.i32(0) == AT_FDCWD { Err(Errno::FAULT) } else { change_open(call, changes?) };
    }
    let place = named(call, call.i32(0), call.usize(1), flags)?.place(Errno::INVAL)?;
    change(&place, changes?)
}
/// futimesat(2).
pub fn futimesat(call: &Call) -> SysResult {
    let changes = times(call.usize(2), 1000)?;
    change(&named(call, call.i32(0), call.usize(1), 0)?.place(Errno::INVAL)?, changes)
}
/// utimes(2).
pub fn utimes(call: &Call) -> SysResult {
    let changes = times(call.usize(1), 1000)?;
    change(&named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::INVAL)?, changes)
}
/// utime(2).
pub fn utime(call: &Call) -> SysResult {
    let changes = if call.usize(1) == 0 {
        times(0, 1)?
    } else {
        let [accessed, modified] = user::read_words::<2>(call.usize(1))?;
        Changes { accessed: time_of(accessed, 0)?, modified: time_of(modified, 0)?, ..Changes::default() }
    };
    change(&named(call, AT_FDCWD, call.usize(0), 0)?.place(Errno::INVAL)?, changes)
}
