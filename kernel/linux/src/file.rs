//! Reading and writing: read(2), write(2) and their kin, lseek(2), sizes, and copies between files.
use super::call::Call;
use super::descriptor;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::access;
use coracle_core::fs::file::OpenFile;
use coracle_core::fs::leases;
use coracle_core::fs::notify;
use coracle_core::fs::size_limit;
use coracle_core::fs::walk::{self, Follow};
use coracle_core::ipc::pidfd;
use coracle_core::ipc::pipe::PipeEnd;
use coracle_core::ipc::splice as pipes;
use coracle_core::ipc::splice::{between_pipes, into_pipe, out_of_pipe, write_what_fits};
use coracle_core::mm::memory::PAGE_SIZE;
use coracle_core::mm::user;
use coracle_core::mm::user_buf::{MAX_COUNT, MAX_PIECES, Pieces, UserBuf};
use coracle_core::task::{long_call, signal};
use coracle_fs::block::file as special;
use coracle_fs::ext4::volume;
use coracle_fs::remote::{self, session};
use coracle_system::proc::namespaces;
use linux_raw_sys::general::{
    FALLOC_FL_KEEP_SIZE, O_APPEND, POSIX_FADV_NOREUSE, POSIX_FADV_WILLNEED, RWF_APPEND, RWF_DSYNC, RWF_HIPRI,
    RWF_NOWAIT, RWF_SYNC, S_IFBLK, S_IFDIR, S_IFMT, S_IFREG, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE,
    SEEK_SET, SIGPIPE,
};
use linux_raw_sys::ioctl::{
    FIOASYNC, FIOCLEX, FIOGETOWN, FIONBIO, FIONCLEX, FIONREAD, FIOSETOWN, SIOCGPGRP, SIOCSPGRP,
};

/// Bytes moved at a time between two files.
const COPY_CHUNK: usize = 64 * 1024;
/// Fewer bytes of the image are copied, into the buffer of what a socket sends before them if that has room.
const LEAST_IN_PLACE: usize = 2048;
/// Flags of preadv2(2) and pwritev2(2) that are understood.
const RWF_KNOWN: u32 = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND | RWF_NOAPPEND;
/// The write goes to its offset though the file was opened with O_APPEND (pwritev2(2)).
const RWF_NOAPPEND: u32 = 0x20;

/// The open file of descriptor argument `n`: EBADF for one that is a mere place (open(2), O_PATH).
#[inline(never)]
pub fn open_file(call: &Call, n: usize) -> Result<Arc<OpenFile>, Errno> {
    call.thread().process.descriptors.usable(call.i32(n))
}
/// The same for calls that open(2) lists under O_PATH: those that don't act on what is in the file.
pub fn any_file(call: &Call, n: usize) -> Result<Arc<OpenFile>, Errno> {
    call.thread().process.descriptors.get(call.i32(n))
}

/// A write to nobody raises SIGPIPE (pipe(7)).
#[inline]
fn with_sigpipe(result: SysResult) -> SysResult {
    if result == Err(Errno::PIPE) {
        signal::raise(SIGPIPE);
    }
    result
}

/// The buffer of arguments `n` (address) and `n + 1` (length). EFAULT if it is too long for the program's memory.
#[inline]
fn buffer(call: &Call, n: usize) -> Result<UserBuf<'static>, Errno> {
    let (addr, len) = (call.usize(n), call.usize(n + 1));
    if len > MAX_COUNT {
        user::check_range(addr, len)?;
    }
    Ok(UserBuf::user(addr, len))
}

/// The open file of a call that has an offset in argument `n`, and the offset: EINVAL if that is negative, EBADF, ESPIPE.
fn file_and_offset(call: &Call, n: usize) -> Result<(Arc<OpenFile>, u64), Errno> {
    let at = offset(call.i64(n))?;
    let open = open_file(call, 0)?;
    if open.seekable { Ok((open, at)) } else { Err(Errno::SPIPE) }
}

/// The buffer that `count` elements of `struct iovec` at `addr` make: EINVAL if there are too many, or one has a negative
/// length.
pub fn vector(pieces: &mut Pieces, addr: usize, count: usize) -> Result<UserBuf<'_>, Errno> {
    if count > MAX_PIECES {
        return Err(Errno::INVAL);
    }
    pieces.read(addr, count)
}

fn offset(value: i64) -> Result<u64, Errno> {
    u64::try_from(value).map_err(|_| Errno::INVAL)
}

/// EINVAL if a transfer would end past what an offset can say.
fn check_end(at: u64, buffer: &UserBuf) -> Result<(), Errno> {
    offset((at as i64).wrapping_add(buffer.remaining() as i64)).map(|_| ())
}

pub(super) fn read_at(open: &OpenFile, dst: &mut UserBuf, offset: u64) -> SysResult {
    if !open.seekable {
        return Err(Errno::SPIPE);
    }
    open.check_readable()?;
    check_end(offset, dst)?;
    open.note_read(open.file.read(dst, offset, open.nonblock()))
}

pub(super) fn write_at(open: &OpenFile, src: &mut UserBuf, offset: u64) -> SysResult {
    if !open.seekable {
        return Err(Errno::SPIPE);
    }
    open.check_writable()?;
    check_end(offset, src)?;
    if open.flags() & O_APPEND != 0 {
        // Linux appends here too, whatever the offset (pwrite(2), BUGS).
        return open.note_write(open.append(src).map(|(done, _)| done));
    }
    open.note_write(open.write_at(src, offset))
}

/// read(2).
pub fn read(call: &Call) -> SysResult {
    open_file(call, 0)?.read(&mut buffer(call, 1)?)
}
/// write(2).
pub fn write(call: &Call) -> SysResult {
    with_sigpipe(open_file(call, 0)?.write(&mut buffer(call, 1)?))
}
/// pread64(2).
pub fn pread64(call: &Call) -> SysResult {
    let (open, at) = file_and_offset(call, 3)?;
    read_at(&open, &mut buffer(call, 1)?, at)
}
/// pwrite64(2).
pub fn pwrite64(call: &Call) -> SysResult {
    let (open, at) = file_and_offset(call, 3)?;
    write_at(&open, &mut buffer(call, 1)?, at)
}
/// readv(2).
pub fn readv(call: &Call) -> SysResult {
    open_file(call, 0)?.read(&mut vector(&mut Pieces::new(), call.usize(1), call.usize(2))?)
}
/// writev(2).
pub fn writev(call: &Call) -> SysResult {
    with_sigpipe(open_file(call, 0)?.write(&mut vector(&mut Pieces::new(), call.usize(1), call.usize(2))?))
}
/// preadv(2).
pub fn preadv(call: &Call) -> SysResult {
    let (open, at) = file_and_offset(call, 3)?;
    read_at(&open, &mut vector(&mut Pieces::new(), call.usize(1), call.usize(2))?, at)
}
/// pwritev(2).
pub fn pwritev(call: &Call) -> SysResult {
    let (open, at) = file_and_offset(call, 3)?;
    write_at(&open, &mut vector(&mut Pieces::new(), call.usize(1), call.usize(2))?, at)
}
/// Checks the flags of preadv2(2) and its kin for a file. EOPNOTSUPP for those that are not known, EINVAL for those that contradict
/// each other.
pub(super) fn check_rw_flags(flags: u32) -> Result<(), Errno> {
    if flags & !RWF_KNOWN != 0 {
        return Err(Errno::OPNOTSUPP);
    }
    let both = RWF_APPEND | RWF_NOAPPEND;
    if flags & both == both { Err(Errno::INVAL) } else { Ok(()) }
}
/// preadv2(2).
pub fn preadv2(call: &Call) -> SysResult {
    let open = open_file(call, 0)?;
    let mut pieces = Pieces::new();
    let mut dst = vector(&mut pieces, call.usize(1), call.usize(2))?;
    let at = if call.i64(3) == -1 { None } else { Some(offset(call.i64(3))?) };
    read_with(&open, &mut dst, at, call.u32(5))
}
/// Reads at an offset, or else at the position.
pub(super) fn read_with(open: &OpenFile, dst: &mut UserBuf, at: Option<u64>, flags: u32) -> SysResult {
    check_rw_flags(flags)?;
    match at {
        Some(_) if !open.seekable => Err(Errno::SPIPE),
        Some(at) if flags & RWF_NOWAIT != 0 => {
            open.check_readable()?;
            open.note_read(open.file.read_cached(dst, at))
        }
        Some(at) => read_at(open, dst, at),
        None if flags & RWF_NOWAIT != 0 => open.read_now(dst),
        None => open.read(dst),
    }
}
/// pwritev2(2).
pub fn pwritev2(call: &Call) -> SysResult {
    let open = open_file(call, 0)?;
    let mut pieces = Pieces::new();
    let mut src = vector(&mut pieces, call.usize(1), call.usize(2))?;
    let at = if call.i64(3) == -1 { None } else { Some(offset(call.i64(3))?) };
    with_sigpipe(write_with(&open, &mut src, at, call.u32(5)))
}
/// Writes at an offset, or else at the position. EOPNOTSUPP for RWF_NOWAIT on what has positions: a write takes blocks, which may have
/// to wait.
pub(super) fn write_with(open: &OpenFile, src: &mut UserBuf, at: Option<u64>, flags: u32) -> SysResult {
    check_rw_flags(flags)?;
    if flags & RWF_NOWAIT != 0 && open.seekable {
        return Err(Errno::OPNOTSUPP);
    }
    open.check_writable()?;
    let appends = open.flags() & O_APPEND != 0 && flags & RWF_NOAPPEND == 0 || flags & RWF_APPEND != 0;
    let written = match at {
        Some(_) if !open.seekable => return Err(Errno::SPIPE),
        Some(_) if appends => open.note_write(open.append(src).map(|(done, _)| done)),
        Some(at) => open.note_write(open.write_at(src, at)),
        None if flags & RWF_NOWAIT != 0 => open.note_write(open.file.write(src, 0, true)),
        None if open.seekable => open.write_as(src, appends),
        None => open.write(src),
    }?;
    if flags & (RWF_DSYNC | RWF_SYNC) != 0 && written > 0 {
        open.file.sync(flags & RWF_SYNC == 0)?;
    }
    Ok(written)
}
/// Whether a read or write at an offset may be one that is only begun ([`OpenFile::begin`]).
pub(super) fn begins(open: &OpenFile, reads: bool, flags: u32) -> bool {
    let appends = open.flags() & O_APPEND != 0 && flags & RWF_NOAPPEND == 0;
    flags & !(RWF_HIPRI | RWF_NOAPPEND) == 0 && (reads || !appends)
}

/// A position moved by a signed distance: EINVAL before the beginning, or past what an offset can say.
fn moved_by(position: u64, distance: i64) -> Result<u64, Errno> {
    let at = position.cast_signed().checked_add(distance).ok_or(Errno::INVAL)?;
    offset(at)
}

/// lseek(2).
pub fn lseek(call: &Call) -> SysResult {
    let open = open_file(call, 0)?;
    if !open.file.keeps_position() {
        return Ok(0);
    }
    if !open.seekable {
        return Err(Errno::SPIPE);
    }
    let distance = call.i64(1);
    let whence = call.u32(2);
    let found = match whence {
        // These may be long, and don't depend on the position.
        SEEK_DATA | SEEK_HOLE => {
            let from = u64::try_from(distance).map_err(|_| Errno::NXIO)?;
            open.file.seek_data(from, whence == SEEK_HOLE)?
        }
        _ => 0,
    };
    let mut position = open.position.lock();
    let at = match whence {
        SEEK_SET => offset(distance)?,
        SEEK_CUR => moved_by(*position, distance)?,
        SEEK_END => moved_by(open.file.size(), distance)?,
        SEEK_DATA | SEEK_HOLE => found,
        _ => return Err(Errno::INVAL),
    };
    if at > i64::MAX as u64 {
        return Err(Errno::OVERFLOW);
    }
    *position = at;
    Ok(at as usize)
}

/// ioctl(2): what concerns the descriptor here, the rest at the file.
pub fn ioctl(call: &Call) -> SysResult {
    let open = open_file(call, 0)?;
    let (command, argument) = (call.u32(1), call.usize(2));
    match command {
        FIONBIO => {
            open.set_nonblock(user::read_u32(argument)? != 0);
            Ok(0)
        }
        FIOASYNC => {
            let on = user::read_u32(argument)? != 0;
            if open.set_asynchronous(call.i32(0), on)? { Ok(0) } else { Err(Errno::NOTTY) }
        }
        FIOSETOWN | SIOCSPGRP if open.file.as_socket().is_some() => {
            let owner = descriptor::owner_of_number(user::read_u32(argument)? as i32)?;
            open.set_owner(owner).map(|()| 0)
        }
        FIOGETOWN | SIOCGPGRP if open.file.as_socket().is_some() => {
            user::write_u32(argument, descriptor::owner_number(&open) as u32).map(|()| 0)
        }
        FIOCLEX | FIONCLEX => {
            call.thread().process.descriptors.set_close_on_exec(call.i32(0), command == FIOCLEX)?;
            Ok(0)
        }
        FIONREAD if open.seekable && open.file.stat()?.st_mode & S_IFMT == S_IFREG => {
            let left = open.file.size().saturating_sub(*open.position.lock());
            user::write_u32(argument, left.min(i32::MAX as u64) as u32)?;
            Ok(0)
        }
        _ => match pidfd::process_of(&*open.file) {
            Some((process, is_there)) => namespaces::open_of_process(process, is_there, command, argument),
            None => open.file.ioctl(command, argument),
        },
    }
}

fn sync_file(call: &Call, data_only: bool) -> SysResult {
    sync_open(&*open_file(call, 0)?, data_only)
}
/// fsync(2) and fdatasync(2) of an open file.
pub(super) fn sync_open(open: &OpenFile, data_only: bool) -> SysResult {
    let kind = open.file.stat()?.st_mode & S_IFMT;
    if open.file.place().is_none() && !open.seekable && kind != S_IFREG {
        return Err(Errno::INVAL);
    }
    open.file.sync(data_only).map(|()| 0)
}
/// cachestat(2): what of a range of a file is in memory.
pub fn cachestat(call: &Call) -> SysResult {
    const PAGE: u64 = PAGE_SIZE as u64;
    let open = open_file(call, 0)?;
    let [start, len]: [u64; 2] = user::read_words(call.usize(1))?;
    if call.u32(3) != 0 {
        return Err(Errno::INVAL);
    }
    let last = if len == 0 { u64::MAX } else { start.saturating_add(len - 1) / PAGE };
    let [cached, dirty, writing] = open.file.cached(start / PAGE, last);
    // Of pages that were given back nothing is known.
    user::write_words(call.usize(2), &[cached, dirty, writing, 0, 0])?;
    Ok(0)
}

/// fsync(2).
pub fn fsync(call: &Call) -> SysResult {
    sync_file(call, false)
}
/// fdatasync(2).
pub fn fdatasync(call: &Call) -> SysResult {
    sync_file(call, true)
}
/// Makes everything durable that is on disks, and has the host have what is its.
fn sync_all() {
    special::sync_all();
    volume::sync_all();
    session::sync_all();
}
/// sync(2).
pub fn sync(_call: &Call) -> SysResult {
    sync_all();
    Ok(0)
}
/// syncfs(2). EIO if the file system can't be made durable.
pub fn syncfs(call: &Call) -> SysResult {
    let open = open_file(call, 0)?;
    match open.file.place() {
        Some(place) => {
            volume::sync_of(&place.path.mount.root)?;
            remote::mount::sync_of(&place.path.mount.root)?;
        }
        None => sync_all(),
    }
    Ok(0)
}
/// The bytes that a range is which begins at an argument; a length of 0 means all that follow.
fn range(call: &Call, n: usize) -> Result<(u64, u64), Errno> {
    let (start, len) = (offset(call.i64(n))?, offset(call.i64(n + 1))?);
    let end = start.checked_add(len).filter(|&end| end <= i64::MAX as u64).ok_or(Errno::INVAL)?;
    Ok((start, if len == 0 { u64::MAX } else { end }))
}
/// sync_file_range(2): writes back, and waits whichever flags there are.
pub fn sync_file_range(call: &Call) -> SysResult {
    /// SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER.
    const FLAGS: u32 = 7;
    let open = open_file(call, 0)?;
    let (start, end) = range(call, 1)?;
    if call.u32(3) & !FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    if !open.seekable {
        return Err(Errno::SPIPE);
    }
    if call.u32(3) == 0 { Ok(0) } else { open.file.write_back(start, end).map(|()| 0) }
}
/// readahead(2).
pub fn readahead(call: &Call) -> SysResult {
    let open = open_file(call, 0)?;
    open.check_readable()?;
    if !open.seekable || !matches!(open.file.stat()?.st_mode & S_IFMT, S_IFREG | S_IFBLK) {
        return Err(Errno::INVAL);
    }
    let start = call.usize(1) as u64;
    open.file.advise(POSIX_FADV_WILLNEED, start, start.saturating_add(call.usize(2) as u64)).map(|()| 0)
}
/// fadvise64(2).
pub fn fadvise64(call: &Call) -> SysResult {
    advise_open(&*open_file(call, 0)?, call.usize(1) as u64, call.i64(2), call.u32(3))
}
/// fadvise64(2) of an open file; a length of 0 means all that follow.
pub(super) fn advise_open(open: &OpenFile, start: u64, len: i64, advice: u32) -> SysResult {
    if !open.seekable && open.file.poll_source().is_some() {
        return Err(Errno::SPIPE);
    }
    if len < 0 || advice > POSIX_FADV_NOREUSE {
        return Err(Errno::INVAL);
    }
    let end = if len == 0 { u64::MAX } else { start.saturating_add(len as u64) };
    open.file.advise(advice, start, end).map(|()| 0)
}

/// ftruncate(2).
pub fn ftruncate(call: &Call) -> SysResult {
    let size = call.i64(1);
    offset(size)?;
    truncate_open(&*open_file(call, 0)?, size)
}
/// ftruncate(2) of an open file.
pub(super) fn truncate_open(open: &OpenFile, size: i64) -> SysResult {
    let size = offset(size)?;
    open.check_writable().map_err(|_| Errno::INVAL)?;
    size_limit::check(open.file.size(), size)?;
    open.file.truncate(size)?;
    notify::modified(open);
    Ok(0)
}
/// truncate(2).
pub fn truncate(call: &Call) -> SysResult {
    let size = offset(call.i64(1))?;
    let path = user::read_path(call.usize(0))?;
    let found = walk::find(&call.thread().process.fs, None, &path, Follow::Always)?;
    match found.path.inode.mode() & S_IFMT {
        S_IFREG => {}
        S_IFDIR => return Err(Errno::ISDIR),
        _ => return Err(Errno::INVAL),
    }
    found.path.check_writable()?;
    access::check(&*found.path.inode, access::WRITE)?;
    size_limit::check(found.path.inode.metadata().size, size)?;
    leases::truncated(found.path.inode.identity())?;
    found.path.inode.truncate(size)?;
    notify::truncated(&found);
    Ok(0)
}
/// fallocate(2).
pub fn fallocate(call: &Call) -> SysResult {
    allocate_open(&*open_file(call, 0)?, call.u32(1), call.i64(2), call.i64(3))
}
/// fallocate(2) of an open file.
pub(super) fn allocate_open(open: &OpenFile, mode: u32, at: i64, len: i64) -> SysResult {
    open.check_writable()?;
    let (at, len) = (offset(at)?, offset(len)?);
    if len == 0 {
        return Err(Errno::INVAL);
    }
    if !open.seekable && open.file.poll_source().is_some() {
        return Err(Errno::SPIPE);
    }
    if mode & FALLOC_FL_KEEP_SIZE == 0 {
        size_limit::check(open.file.size(), at.saturating_add(len))?;
    }
    open.file.allocate(mode, at, len)?;
    notify::modified(open);
    Ok(0)
}

/// Where a copy reads or writes: at an offset in the program's memory that moves on, or at the description's position.
enum Cursor {
    Position,
    /// `addr`: where the program wants to be told how far it has moved; 0: nowhere.
    At {
        addr: usize,
        offset: u64,
    },
}

impl Cursor {
    fn new(addr: usize, open: &OpenFile) -> Result<Cursor, Errno> {
        if addr == 0 {
            return Ok(Cursor::Position);
        }
        if !open.seekable {
            return Err(Errno::SPIPE);
        }
        Ok(Cursor::At { addr, offset: offset(user::read_u64(addr)?.cast_signed())? })
    }
    /// At a place that nobody is told of, or at the description's position.
    fn given(place: Option<u64>, open: &OpenFile) -> Result<Cursor, Errno> {
        match place {
            None => Ok(Cursor::Position),
            Some(_) if !open.seekable => Err(Errno::SPIPE),
            Some(place) => Ok(Cursor::At { addr: 0, offset: offset(place.cast_signed())? }),
        }
    }
    /// Where the next byte is, for a file that has positions.
    #[inline(always)]
    fn place(&self, open: &OpenFile) -> u64 {
        match self {
            Cursor::Position => *open.position.lock(),
            Cursor::At { offset, .. } => *offset,
        }
    }
    fn advance(&mut self, open: &OpenFile, n: usize) {
        match self {
            Cursor::Position if open.seekable => *open.position.lock() += n as u64,
            Cursor::Position => {}
            Cursor::At { offset, .. } => *offset += n as u64,
        }
    }
    #[inline(always)]
    fn finish(&self) -> Result<(), Errno> {
        match self {
            Cursor::Position | Cursor::At { addr: 0, .. } => Ok(()),
            Cursor::At { addr, offset } => user::write_u64(*addr, *offset),
        }
    }
}

/// Copies up to `len` bytes from a file with positions: what was read and can't be written counts as unread.
fn copy(from: &OpenFile, from_at: &mut Cursor, to: &OpenFile, to_at: &mut Cursor, len: usize) -> SysResult {
    from.check_readable()?;
    to.check_writable()?;
    let mut done = 0;
    let mut buffer = Vec::new();
    let len = len.min(MAX_COUNT);
    while done < len {
        let at = from_at.place(from);
        let want = len - done;
        // Bytes of the image go straight to their destination.
        let in_image = from.file.image_bytes(at, want);
        let bytes: &[u8] = match in_image {
            Some(bytes) => bytes,
            None => {
                // What is wanted only gets less.
                if buffer.is_empty() {
                    buffer = coracle_fallible::filled(0, want.min(COPY_CHUNK))?;
                }
                let room = &mut buffer[..want.min(COPY_CHUNK)];
                let nonblock = done > 0 || from.nonblock();
                match from.file.read(&mut UserBuf::kernel_out(room), at, nonblock) {
                    Ok(0) => break,
                    Ok(n) => &room[..n],
                    Err(_) if done > 0 => break,
                    Err(error) => return Err(error),
                }
            }
        };
        let mut written = 0;
        let mut failure = None;
        while written < bytes.len() && failure.is_none() {
            // A buffer counts what has gone out of it altogether, so each write gets its own.
            let mut src = match in_image {
                Some(image) => UserBuf::of_image(&image[written..]),
                None => UserBuf::kernel_in(&bytes[written..]),
            };
            let in_place = match to.file.as_socket() {
                Some(socket) if in_image.is_some() && src.remaining() >= LEAST_IN_PLACE => {
                    socket.send_image(&mut src, to.nonblock())
                }
                _ => None,
            };
            match in_place.unwrap_or_else(|| to.write_at(&mut src, to_at.place(to))) {
                Ok(0) => failure = Some(Errno::IO),
                Ok(n) => {
                    to_at.advance(to, n);
                    from_at.advance(from, n);
                    written += n;
                    done += n;
                    if done < len {
                        failure = long_call::pause_unless_killed().err();
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            if done == 0 {
                return Err(error);
            }
            break;
        }
    }
    let _ = from.note_read(Ok(done));
    let _ = to.note_write(Ok(done));
    from_at.finish()?;
    to_at.finish()?;
    Ok(done)
}

/// sendfile(2).
pub fn sendfile(call: &Call) -> SysResult {
    let (to, from) = (open_file(call, 0)?, open_file(call, 1)?);
    if !from.seekable {
        return Err(Errno::INVAL);
    }
    if to.flags() & O_APPEND != 0 {
        return Err(Errno::INVAL);
    }
    let mut from_at = Cursor::new(call.usize(2), &from)?;
    // A pipe takes what fits, as by splice(2).
    if let Some(pipe) = pipe_end(&to) {
        from.check_readable()?;
        to.check_writable()?;
        let len = call.usize(3).min(MAX_COUNT);
        let moved = from.note_read(with_sigpipe(fill_pipe(&from, &mut from_at, pipe, len, to.nonblock())))?;
        from_at.finish()?;
        return Ok(moved);
    }
    with_sigpipe(copy(&from, &mut from_at, &to, &mut Cursor::Position, call.usize(3)))
}
/// copy_file_range(2).
pub fn copy_file_range(call: &Call) -> SysResult {
    let (from, to) = (open_file(call, 0)?, open_file(call, 2)?);
    if call.u32(5) != 0 {
        return Err(Errno::INVAL);
    }
    for open in [&from, &to] {
        match open.file.stat()?.st_mode & S_IFMT {
            S_IFREG => {}
            S_IFDIR => return Err(Errno::ISDIR),
            _ => return Err(Errno::INVAL),
        }
    }
    if to.flags() & O_APPEND != 0 {
        return Err(Errno::BADF);
    }
    let mut from_at = Cursor::new(call.usize(1), &from)?;
    let mut to_at = Cursor::new(call.usize(3), &to)?;
    let (a, b) = (from.file.stat()?, to.file.stat()?);
    if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) {
        let len = call.usize(4) as u64;
        let (x, y) = (from_at.place(&from), to_at.place(&to));
        if x < y.saturating_add(len) && y < x.saturating_add(len) {
            return Err(Errno::INVAL);
        }
    }
    copy(&from, &mut from_at, &to, &mut to_at, call.usize(4))
}
/// SPLICE_F_NONBLOCK.
const SPLICE_NONBLOCK: u32 = 2;

/// splice(2): one of the two is a pipe. What doesn't fit into its destination stays where it was.
pub fn splice(call: &Call) -> SysResult {
    if call.usize(4) == 0 {
        return Ok(0);
    }
    check_splice_flags(call.u32(5))?;
    let (from, to) = (open_file(call, 0)?, open_file(call, 2)?);
    let from_at = Cursor::new(call.usize(1), &from)?;
    let to_at = Cursor::new(call.usize(3), &to)?;
    splice_between((&from, from_at), (&to, to_at), call.usize(4), call.u32(5))
}
/// A file, and an offset in it.
pub(super) type At<'a> = (&'a OpenFile, Option<u64>);
/// EINVAL for flags that there aren't.
pub(super) fn check_splice_flags(flags: u32) -> Result<(), Errno> {
    /// SPLICE_F_MOVE, NONBLOCK, MORE and GIFT.
    const ALL: u32 = 0xf;
    if flags & !ALL != 0 { Err(Errno::INVAL) } else { Ok(()) }
}
/// splice(2) of open files, at offsets that nobody is told of.
pub(super) fn splice_open((from, from_at): At, (to, to_at): At, len: usize, flags: u32) -> SysResult {
    let (from_at, to_at) = (Cursor::given(from_at, from)?, Cursor::given(to_at, to)?);
    splice_between((from, from_at), (to, to_at), len, flags)
}

fn splice_between(
    (from, mut from_at): (&OpenFile, Cursor),
    (to, mut to_at): (&OpenFile, Cursor),
    len: usize,
    flags: u32,
) -> SysResult {
    let nonblock = flags & SPLICE_NONBLOCK != 0;
    let len = len.min(MAX_COUNT);
    from.check_readable()?;
    to.check_writable()?;
    let moved = match (pipe_end(from), pipe_end(to)) {
        (None, None) => return Err(Errno::INVAL),
        (Some(source), Some(target)) => {
            between_pipes(source, target, len, nonblock || from.nonblock() || to.nonblock())
        }
        (Some(source), None) => {
            if to.flags() & O_APPEND != 0 {
                return Err(Errno::INVAL);
            }
            let nonblock = nonblock || from.nonblock();
            out_of_pipe(source, len, nonblock, |src| {
                let n = to.file.write(src, to_at.place(to), nonblock || to.nonblock())?;
                to_at.advance(to, n);
                Ok(n)
            })
        }
        (None, Some(target)) => fill_pipe(from, &mut from_at, target, len, nonblock || to.nonblock()),
    };
    let moved = to.note_write(from.note_read(with_sigpipe(moved)))?;
    from_at.finish()?;
    to_at.finish()?;
    Ok(moved)
}

/// Moves up to `len` bytes from a file that is no pipe into a pipe, as many as fit.
fn fill_pipe(from: &OpenFile, at: &mut Cursor, to: &PipeEnd, len: usize, nonblock: bool) -> SysResult {
    into_pipe(to, len, nonblock, |dst, nonblock| {
        let n = from.file.read(dst, at.place(from), nonblock || from.nonblock())?;
        at.advance(from, n);
        Ok(n)
    })
}

fn pipe_end(open: &OpenFile) -> Option<&PipeEnd> {
    open.file.as_any().downcast_ref()
}

/// vmsplice(2): by copying.
pub fn vmsplice(call: &Call) -> SysResult {
    check_splice_flags(call.u32(3))?;
    let open = open_file(call, 0)?;
    let pipe = pipe_end(&open).ok_or(Errno::BADF)?;
    let mut pieces = Pieces::new();
    let mut buffer = vector(&mut pieces, call.usize(1), call.usize(2))?;
    let nonblock = call.u32(3) & SPLICE_NONBLOCK != 0 || open.nonblock();
    match open.check_writable() {
        Ok(()) => {
            buffer.check_not_secret()?;
            with_sigpipe(write_what_fits(pipe, &mut buffer, nonblock))
        }
        Err(_) => open.file.read(&mut buffer, 0, nonblock),
    }
}
/// tee(2): by copying.
pub fn tee(call: &Call) -> SysResult {
    check_splice_flags(call.u32(3))?;
    if call.usize(2) == 0 {
        return Ok(0);
    }
    let (from, to) = (open_file(call, 0)?, open_file(call, 1)?);
    tee_open(&from, &to, call.usize(2), call.u32(3))
}
/// tee(2) of open files.
pub(super) fn tee_open(from: &OpenFile, to: &OpenFile, len: usize, flags: u32) -> SysResult {
    from.check_readable()?;
    to.check_writable()?;
    let source = pipe_end(from).ok_or(Errno::INVAL)?;
    let target = pipe_end(to).ok_or(Errno::INVAL)?;
    let nonblock = flags & SPLICE_NONBLOCK != 0 || from.nonblock() || to.nonblock();
    with_sigpipe(pipes::tee(source, target, len.min(MAX_COUNT), nonblock))
}
