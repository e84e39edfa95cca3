//! What every open file can do, and the open file description that descriptors share.
use super::closing::{self, ToClose};
use super::mount::Place;
use super::notify;
use super::signal_io::Announces;
use super::size_limit;
use crate::errno::{Errno, SysResult};
use crate::ipc::epoll::Epoll;
use crate::ipc::poll::{Events, PollSource, block_on};
use crate::mm::user::Access;
use crate::mm::user_buf::UserBuf;
use crate::net::socket::Socket;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::frame::{self, Frame, Watermark};
use coracle_hal::leaving::Leaving;
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::any::Any;
use core::ops::Deref;
use linux_raw_sys::general::{O_ACCMODE, O_APPEND, O_NONBLOCK, O_PATH, O_RDWR, O_WRONLY, stat as Stat};

/// An open file description (open(2)): what dup'ed and inherited descriptors share. The last reference may go anywhere; what has to
/// be done then is done later (`closing`).
pub struct OpenFile {
    /// Access mode and status flags (O_NONBLOCK, O_APPEND, …).
    pub flags: AtomicU32,
    /// File position in bytes.
    pub position: Mutex<u64>,
    /// A call is moving the position.
    busy: AtomicBool,
    /// The open(2) that made it made the file.
    pub created: AtomicBool,
    /// Told when it is done.
    free: PollSource,
    /// [`File::seekable`], asked once.
    pub seekable: bool,
    to_close: Leaving<ToClose>,
}

impl Deref for OpenFile {
    type Target = ToClose;
    #[inline(always)]
    fn deref(&self) -> &ToClose {
        &self.to_close
    }
}

/// Descriptions that there are, and that there may be (/proc/sys/fs/file-nr, file-max): one for each frame of memory, so that
/// they and what small things they stand for leave most of it to programs. Linux has them take a tenth.
pub fn description_bounds() -> (usize, usize) {
    (closing::count(), frame::total())
}

/// Of things that programs have in bounded numbers, those up to one for so many frames are made while there is any memory for
/// them; more take none that programs may need for their pages.
const FEW_SHARE: usize = 8;

/// Whether memory is too short for one more of what a program has `count` of, which may be one for each frame.
pub fn is_short_for(count: usize) -> bool {
    let are_few = count <= frame::total() / FEW_SHARE;
    frame::is_below(if are_few { Watermark::Low } else { Watermark::High })
}

impl OpenFile {
    /// A new description at position 0. `flags`: access mode and status flags as open(2) takes them.
    /// ENOMEM; ENFILE if there are too many.
    pub fn new(file: Arc<dyn File>, flags: u32) -> Result<Arc<OpenFile>, Errno> {
        let seekable = file.seekable();
        Ok(try_arc(OpenFile {
            flags: AtomicU32::new(flags),
            position: Mutex::new(0),
            busy: AtomicBool::new(false),
            created: AtomicBool::new(false),
            free: PollSource::new(),
            seekable,
            to_close: Leaving::new(ToClose::new(file)?),
        })?)
    }
    /// The flags now.
    #[inline]
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }
    /// O_NONBLOCK.
    #[inline]
    pub fn nonblock(&self) -> bool {
        self.flags() & O_NONBLOCK != 0
    }
    /// Sets or clears O_NONBLOCK (FIONBIO).
    pub fn set_nonblock(&self, on: bool) {
        if on {
            self.flags.fetch_or(O_NONBLOCK, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!O_NONBLOCK, Ordering::Relaxed);
        }
    }
    /// EBADF unless open for reading.
    #[inline]
    pub fn check_readable(&self) -> Result<(), Errno> {
        // Of the fourth access mode, O_WRONLY | O_RDWR, neither may be done (open(2)).
        if self.flags() & (O_WRONLY | O_PATH) != 0 { Err(Errno::BADF) } else { Ok(()) }
    }
    /// EBADF unless open for writing.
    #[inline]
    pub fn check_writable(&self) -> Result<(), Errno> {
        let flags = self.flags();
        if !matches!(flags & O_ACCMODE, O_WRONLY | O_RDWR) || flags & O_PATH != 0 {
            Err(Errno::BADF)
        } else {
            Ok(())
        }
    }
    /// read(2): at the position, which moves on.
    #[inline(always)]
    pub fn read(&self, dst: &mut UserBuf) -> SysResult {
        self.check_readable()?;
        if !self.seekable {
            return self.note_read(self.file.read(dst, 0, self.nonblock()));
        }
        self.note_read(self.moving(&mut |at| {
            let done = self.file.read(dst, at, self.nonblock())?;
            Ok((done, at + done as u64))
        }))
    }
    /// The same without waiting for a disk, or for a stream (preadv2(2), RWF_NOWAIT). EAGAIN.
    pub fn read_now(&self, dst: &mut UserBuf) -> SysResult {
        self.check_readable()?;
        if !self.seekable {
            return self.note_read(self.file.read(dst, 0, true));
        }
        self.note_read(self.moving(&mut |at| {
            let done = self.file.read_cached(dst, at)?;
            Ok((done, at + done as u64))
        }))
    }
    /// write(2): at the position, or at the end if O_APPEND.
    #[inline(always)]
    pub fn write(&self, src: &mut UserBuf) -> SysResult {
        self.check_writable()?;
        if !self.seekable {
            return self.note_write(self.file.write(src, 0, self.nonblock()));
        }
        self.write_as(src, self.flags() & O_APPEND != 0)
    }
    /// The same for what has a position, which is the end if it `appends`.
    #[inline(always)]
    pub fn write_as(&self, src: &mut UserBuf, appends: bool) -> SysResult {
        self.note_write(self.moving(&mut |at| {
            if appends {
                return self.append(src);
            }
            let done = self.write_at(src, at)?;
            Ok((done, at + done as u64))
        }))
    }
    /// Writes at an offset, as far as RLIMIT_FSIZE allows.
    #[inline(always)]
    pub fn write_at(&self, src: &mut UserBuf, at: u64) -> SysResult {
        size_limit::cut(&*self.file, src, Some(at))?;
        self.file.write(src, at, self.nonblock())
    }
    /// Begins to move the bytes of a buffer as [`File::begin`] does, as far as RLIMIT_FSIZE allows.
    pub fn begin(
        &self,
        buffer: &mut UserBuf,
        at: u64,
        access: Access,
        ending: MakeEnding,
    ) -> Result<bool, Errno> {
        if access == Access::Read {
            size_limit::cut(&*self.file, buffer, Some(at))?;
        }
        self.file.begin(buffer, at, access, ending)
    }
    /// Writes at the end, as far as RLIMIT_FSIZE allows. Returns how much, and where that ends.
    pub fn append(&self, src: &mut UserBuf) -> Result<(usize, u64), Errno> {
        size_limit::cut(&*self.file, src, None)?;
        self.file.append(src)
    }
    /// Reports a read of bytes to those that watch the file (inotify(7)), and returns its result.
    #[inline(always)]
    pub fn note_read(&self, result: SysResult) -> SysResult {
        if notify::is_on() && matches!(result, Ok(1..)) {
            notify::accessed(self);
        }
        result
    }
    /// The same for a write.
    #[inline(always)]
    pub fn note_write(&self, result: SysResult) -> SysResult {
        if notify::is_on() && matches!(result, Ok(1..)) {
            notify::modified(self);
        }
        result
    }
    /// Runs `step` from the position, and moves that to where it ended. Steps of threads that share the description come
    /// one after the other (read(2), "BUGS" as of Linux 3.14); no lock is held meanwhile, because they may fault.
    #[inline(never)]
    fn moving(&self, step: &mut dyn FnMut(u64) -> Result<(usize, u64), Errno>) -> SysResult {
        if self.busy.swap(true, Ordering::Acquire) {
            block_on(&self.free, false, None, || match self.busy.swap(true, Ordering::Acquire) {
                true => Err(Errno::AGAIN),
                false => Ok(()),
            })?;
        }
        let at = *self.position.lock();
        let result = step(at).map(|(done, end)| {
            *self.position.lock() = end;
            done
        });
        // An exchange, not a store: whoever subscribed before it is seen by the notification after it.
        self.busy.swap(false, Ordering::AcqRel);
        self.free.notify(Events::IN);
        result
    }
    /// Process `pid` closes a descriptor of it: what the process had by it ends (fcntl(2), record locks
    /// and F_NOTIFY; mq_notify(3)). A mere place, by which nothing was had, ends nothing (open(2), O_PATH).
    pub fn descriptor_closed(self: &Arc<Self>, pid: i32) {
        if self.flags() & O_PATH != 0 {
            return;
        }
        super::locks::descriptor_closed(self, pid);
        super::notify::descriptor_closed(self, pid);
        self.file.descriptor_closed(pid);
    }
}

/// Takes an entry of a directory: inode number, the position after it, DT_* kind and name. False: no more, this one
/// wasn't taken.
pub type EmitEntry<'a> = &'a mut dyn FnMut(u64, u64, u8, &[u8]) -> bool;

/// What is told when a read or write is over that was begun.
pub trait Ending: Send + Sync {
    /// Its result. Called once, where devices are looked at: it waits for nothing, and takes no lock of a device.
    fn ended(&self, result: SysResult);
}

/// Makes what is told of the end of a read or write, once that is sure to begin. ENOMEM.
pub type MakeEnding<'a> = &'a mut dyn FnMut() -> Result<Box<dyn Ending>, Errno>;

/// Pages that a page fault maps at most, that of the access among them (Linux's fault_around_bytes).
pub const MOST_AROUND: usize = 16;
/// The same where each page is checked before it is mapped for the first time, which costs as much as half a fault: files of the image.
pub const FEW_AROUND: usize = 4;

/// An open object. Default bodies give the errors Linux gives for objects that can't do it.
pub trait File: Send + Sync + Any {
    /// Reads at `offset` (regular files, devices with positions), or the next bytes of a stream (offset ignored).
    /// Blocks unless `nonblock`, then EAGAIN. 0 is end of file.
    fn read(&self, dst: &mut UserBuf, offset: u64, nonblock: bool) -> SysResult {
        let _ = (dst, offset, nonblock);
        Err(Errno::INVAL)
    }
    /// Reads what is there without waiting for a disk (preadv2(2), RWF_NOWAIT): EAGAIN if nothing is.
    fn read_cached(&self, dst: &mut UserBuf, offset: u64) -> SysResult {
        self.read(dst, offset, true)
    }
    /// Begins to move all bytes of a buffer between the program and the device that the file is on, at `offset`, and does not wait for
    /// their end, of which what `ending` makes is told. `access`: what the device does with the program's memory, so that `Write` is for a read.
    /// The device need not see it before [`File::show_begun`]. False: it can't be done so, and nothing has begun.
    ///
    /// # Errors
    /// Those of reading and writing: nothing has begun, and nothing is told.
    fn begin(
        &self,
        buffer: &mut UserBuf,
        offset: u64,
        access: Access,
        ending: MakeEnding,
    ) -> Result<bool, Errno> {
        let _ = (buffer, offset, access, ending);
        Ok(false)
    }
    /// Shows the device what was begun, at once or soon.
    fn show_begun(&self) {}
    /// posix_fadvise(2): `advice` (POSIX_FADV_*) on a range of bytes.
    fn advise(&self, advice: u32, start: u64, end: u64) -> Result<(), Errno> {
        let _ = (advice, start, end);
        Ok(())
    }
    /// How many of the pages from `first` to `last` are in memory, are to be written back, and are being written (cachestat(2)).
    fn cached(&self, first: u64, last: u64) -> [u64; 3] {
        let _ = (first, last);
        [0; 3]
    }
    /// Writes at `offset`, or appends to a stream.
    fn write(&self, src: &mut UserBuf, offset: u64, nonblock: bool) -> SysResult {
        let _ = (src, offset, nonblock);
        Err(Errno::INVAL)
    }
    /// Writes at the end as one step (O_APPEND); gives the bytes written and the end after them.
    fn append(&self, src: &mut UserBuf) -> Result<(usize, u64), Errno> {
        let at = self.size();
        let done = self.write(src, at, false)?;
        Ok((done, at + done as u64))
    }
    /// True if it has positions (lseek, pread); else ESPIPE.
    fn seekable(&self) -> bool {
        false
    }
    /// False if lseek(2) does nothing and gives 0, as at /dev/null and at objects like eventfd.
    fn keeps_position(&self) -> bool {
        true
    }
    /// Size in bytes, for SEEK_END and O_APPEND.
    fn size(&self) -> u64 {
        0
    }
    /// stat(2).
    fn stat(&self) -> Result<Stat, Errno>;
    /// What a poll would report now.
    fn readiness(&self) -> Events {
        Events::IN | Events::OUT
    }
    /// Where changes of [`File::readiness`] are announced; `None`: always ready, and refused by epoll (EPERM).
    fn poll_source(&self) -> Option<&PollSource> {
        None
    }
    /// Whether signals can announce its readiness (O_ASYNC): sockets, pipes and terminals.
    fn announces(&self) -> Announces {
        if self.as_socket().is_some() { Announces::Yes } else { Announces::No }
    }
    /// Whether it may have urgent data, which SIGURG announces (socket(7), "Signals").
    fn has_urgent_data(&self) -> bool {
        false
    }
    /// ioctl(2).
    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        let _ = (command, argument);
        Err(Errno::NOTTY)
    }
    /// ftruncate(2).
    fn truncate(&self, size: u64) -> Result<(), Errno> {
        let _ = size;
        Err(Errno::INVAL)
    }
    /// fallocate(2). `mode`: FALLOC_FL_*.
    fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        let _ = (mode, offset, len);
        Err(Errno::NODEV)
    }
    /// fsync(2) and fdatasync(2): when it returns, what was written is on stable storage; of what belongs to the file beside its
    /// bytes, `data_only` leaves out what is not needed to read them. Waits; hold no lock. EIO, once for each open file that was
    /// open when an error came.
    fn sync(&self, data_only: bool) -> Result<(), Errno> {
        let _ = data_only;
        Ok(())
    }
    /// The same for a range of bytes (sync_file_range(2), O_DSYNC), but not for the caches of the device.
    fn write_back(&self, start: u64, end: u64) -> Result<(), Errno> {
        let _ = (start, end);
        Ok(())
    }
    /// SEEK_DATA (`hole` false) and SEEK_HOLE: where the next of that kind begins at or after `offset`. ENXIO past the end.
    fn seek_data(&self, offset: u64, hole: bool) -> Result<u64, Errno> {
        let size = self.size();
        if offset >= size {
            return Err(Errno::NXIO);
        }
        Ok(if hole { size } else { offset })
    }
    /// The bytes from `offset`, up to `len`, if they lie in the image: sendfile(2) hands them to a socket in place.
    fn image_bytes(&self, offset: u64, len: usize) -> Option<&'static [u8]> {
        let _ = (offset, len);
        None
    }
    /// The frame that holds page `index` of the file, for mmap: the file's own page, to be mapped shared or copied on a
    /// private write. `for_write`: a shared writable mapping; the page must be the one that read(2) sees.
    /// ENODEV if it can't be mapped; ENXIO past the end (SIGBUS).
    fn page(&self, index: u64, for_write: bool) -> Result<Frame, Errno> {
        let _ = (index, for_write);
        Err(Errno::NODEV)
    }
    /// A shared mapping is written to for the first time at a page: its times change (mmap(2)).
    fn mapping_written(&self) {}
    /// Pages that are mapped with one that is touched, if they are at hand: a window of so many, aligned.
    fn fault_around(&self) -> usize {
        FEW_AROUND
    }
    /// The pages from `first` on that can be mapped without waiting, to be read, as far as `pages` has room: what a page fault maps beside the
    /// page that was touched.
    fn pages_at_hand(&self, first: u64, pages: &mut [Option<Frame>]) {
        for (index, page) in (first..).zip(pages) {
            *page = self.page(index, false).ok();
        }
    }
    /// Whether its pages may be mapped to be executed: not on a mount with MS_NOEXEC (mmap(2), EPERM).
    fn may_execute(&self) -> bool {
        true
    }
    /// The socket behind it, for socket calls (else ENOTSOCK).
    fn as_socket(&self) -> Option<&dyn Socket> {
        None
    }
    /// The epoll set that it is.
    fn as_epoll(&self) -> Option<&Epoll> {
        None
    }
    /// The place in the tree that it was opened at, for the *at calls and /proc/self/fd; `None` if it has none.
    fn place(&self) -> Option<&Place> {
        None
    }
    /// Opens it anew by way of /proc/self/fd, if it has no place: `None` stands for the same object again.
    fn reopen(&self, flags: u32) -> Option<Result<Arc<dyn File>, Errno>> {
        let _ = flags;
        self.as_socket().map(|_| Err(Errno::NXIO))
    }
    /// A program is to run from it: nobody may write to it until what is given is dropped. ETXTBSY if somebody may now.
    fn execute(&self) -> Result<Option<Arc<dyn Any + Send + Sync>>, Errno> {
        Ok(None)
    }
    /// How many open files can only read the regular file, and how many can write to it; `None` where a file takes no leases.
    fn openers(&self) -> Option<[u32; 2]> {
        None
    }
    /// Lists a directory from position `from` on, until `emit` gives false.
    fn list(&self, from: u64, emit: EmitEntry) -> Result<(), Errno> {
        let _ = (from, emit);
        Err(Errno::NOTDIR)
    }
    /// Writes the path for /proc/self/fd and maps: that of its place, if it has one.
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        self.place().map_or(Ok(()), |place| place.write(text))
    }
    /// For looking at what kind it is.
    fn as_any(&self) -> &dyn Any;
    /// The program closes the last descriptor: waits for data on its way out if it asked for that (socket(7), SO_LINGER).
    /// Called without locks held, and not for a process that ends.
    fn linger(&self) {}
    /// Process `pid` closes a descriptor of it, not the last one as a rule.
    fn descriptor_closed(&self, pid: i32) {
        let _ = pid;
    }
    /// The last descriptor was closed and no call runs on one: gives up what other than memory it has. Dropping a file does no more than
    /// to free memory, or to count. Called without locks held.
    fn closed(&self) {}
}

impl dyn File {
    /// All bytes of a regular file. ENOMEM, and what reading reports.
    pub fn read_all(&self) -> Result<Vec<u8>, Errno> {
        let mut bytes = coracle_fallible::filled(0, self.size() as usize)?;
        let read = self.read(&mut UserBuf::kernel_out(&mut bytes), 0, true)?;
        bytes.truncate(read);
        Ok(bytes)
    }
    /// Its path for people, or as much of that as there is memory for.
    pub fn shown_path(&self) -> Text {
        let mut text = Text::new();
        // What is cut short is better than nothing.
        let _ = self.path(&mut text);
        text
    }
}
