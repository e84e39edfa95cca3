//! Asynchronous input and output (io_setup(2), io_submit(2)). What moves bytes between a disk and the program's pages goes on when
//! io_submit(2) has returned ([`File::begin`](coracle_core::fs::file::File::begin)): files opened with O_DIRECT. As on Linux, the call itself
//! does all else that is asked for, and may wait for it.
use super::call::Call;
use super::file::{begins, check_rw_flags, read_with, vector, write_with};
use super::poll::with_mask;
use alloc::boxed::Box;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::{Ending, OpenFile};
use coracle_core::ipc::eventfd::EventFd;
use coracle_core::mm::map::Place;
use coracle_core::mm::memory::PAGE_SIZE;
use coracle_core::mm::user;
use coracle_core::mm::user::Access;
use coracle_core::mm::user_buf::{Pieces, UserBuf};
use coracle_core::mm::vma::{Backing, Vma, VmaFlags};
use coracle_core::task::long_call;
use coracle_core::time::posix_clock;
use coracle_fallible::try_box;
use coracle_hal::paging::Prot;
use coracle_ipc::aio::{Context, Contexts, Event, contexts};

/// Operations (linux/aio_abi.h).
const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const FSYNC: u16 = 2;
const FDSYNC: u16 = 3;
const NOOP: u16 = 6;
const PREADV: u16 = 7;
const PWRITEV: u16 = 8;
/// aio_flags: an eventfd is signalled; the priority counts.
const FLAG_RESFD: u32 = 1;

/// `struct iocb`.
struct Request {
    address: usize,
    data: u64,
    rw_flags: u32,
    operation: u16,
    fd: i32,
    buffer: usize,
    len: usize,
    offset: i64,
    flags: u32,
    event_fd: i32,
}

/// Where aio_key is.
const KEY: usize = 8;

impl Request {
    /// EFAULT, EINVAL.
    #[inline(never)]
    fn read(address: usize) -> Result<Request, Errno> {
        let [data, key, what, buffer, len, offset, reserved, last] = user::read_words(address)?;
        if reserved != 0 || len > isize::MAX as u64 {
            return Err(Errno::INVAL);
        }
        Ok(Request {
            address,
            data,
            rw_flags: (key >> 32) as u32,
            operation: what as u16,
            fd: (what >> 32) as i32,
            buffer: buffer as usize,
            len: len as usize,
            offset: offset as i64,
            flags: last as u32,
            event_fd: (last >> 32) as i32,
        })
    }
}

/// io_setup(2). The id is the address of a page, as on Linux, where the C library looks for a ring of events there; here it finds none,
/// and makes the call.
pub fn io_setup(call: &Call) -> SysResult {
    let id = user::read_u64(call.usize(1))?;
    let room = call.u32(0) as usize;
    if id != 0 || room == 0 {
        return Err(Errno::INVAL);
    }
    let process = &call.thread().process;
    let context = Context::new(room)?;
    let page = Vma {
        prot: Prot::READ | Prot::WRITE,
        flags: VmaFlags::MAY_WRITE | VmaFlags::DONT_FORK,
        backing: Backing::Anonymous,
        label: "/[aio] (deleted)",
    };
    let memory = process.memory();
    let id = memory.map(Place::Hint(0), PAGE_SIZE, page, false)?;
    let own =
        process.aio.get_or_make::<Contexts>().map_err(Errno::from).and_then(|own| own.ok_or(Errno::INVAL));
    let listed = own.and_then(|own| own.insert(id, context)).and_then(|()| {
        user::write_u64(call.usize(1), id as u64).inspect_err(|_| {
            let _ = own.and_then(|own| own.remove(id));
        })
    });
    if let Err(error) = listed {
        let _ = memory.unmap(id..id + PAGE_SIZE);
        return Err(error);
    }
    Ok(0)
}

/// io_destroy(2).
pub fn io_destroy(call: &Call) -> SysResult {
    let process = &call.thread().process;
    let id = call.usize(0);
    contexts(process)?.remove(id)?.wait_for_begun();
    let _ = process.memory().unmap(id..id + PAGE_SIZE);
    Ok(0)
}

/// io_submit(2). Returns how many requests were taken; an error only if the first was not.
pub fn io_submit(call: &Call) -> SysResult {
    let count = call.i64(1);
    if count < 0 {
        return Err(Errno::INVAL);
    }
    let context = contexts(&call.thread().process)?.get(call.usize(0))?;
    let count = (count as usize).min(context.room());
    let mut at_work = None;
    let mut done = 0;
    let mut result = Ok(());
    while done < count && result.is_ok() {
        result = user::read_u64(call.usize(2) + done * 8)
            .and_then(|address| submit(call, &context, address as usize, &mut at_work));
        if result.is_ok() {
            done += 1;
            result = long_call::pause_unless_killed();
        }
    }
    show(&mut at_work, None);
    match result {
        Err(error) if done == 0 => Err(error),
        _ => Ok(done),
    }
}

/// The file at whose device transfers were begun is another one from here on: that device sees them.
fn show(at_work: &mut Option<Arc<OpenFile>>, next: Option<Arc<OpenFile>>) {
    if let Some(open) = core::mem::replace(at_work, next) {
        open.file.show_begun();
    }
}

/// Takes one request and carries it out, or begins to. EFAULT, EINVAL, EBADF, EAGAIN.
fn submit(
    call: &Call,
    context: &Arc<Context>,
    address: usize,
    at_work: &mut Option<Arc<OpenFile>>,
) -> Result<(), Errno> {
    let request = Request::read(address)?;
    context.begin()?;
    begun(call, context, &request, at_work).inspect_err(|_| context.give_up())
}

/// What a request leaves when it is done: an event, and one more in the counter of an eventfd.
#[derive(Clone)]
struct Outcome {
    context: Arc<Context>,
    data: u64,
    request: u64,
    event_fd: Option<Arc<OpenFile>>,
    /// Its file stays open as long as it goes on.
    open: Arc<OpenFile>,
}

impl Ending for Outcome {
    fn ended(&self, result: SysResult) {
        let result = match result {
            Ok(done) => done as i64,
            Err(Errno::RESTARTSYS) => -i64::from(Errno::INTR.number()),
            Err(error) => -i64::from(error.number()),
        };
        self.context.complete(Event { data: self.data, request: self.request, result });
        let event_fd = self.event_fd.as_ref().and_then(|open| event_fd_of(open));
        event_fd.into_iter().for_each(EventFd::signal);
    }
}

/// The eventfd that is open so.
fn event_fd_of(open: &OpenFile) -> Option<&EventFd> {
    open.file.as_any().downcast_ref()
}

/// Carries out a request for whose event there is room.
#[inline(never)]
fn begun(
    call: &Call,
    context: &Arc<Context>,
    request: &Request,
    at_work: &mut Option<Arc<OpenFile>>,
) -> Result<(), Errno> {
    let descriptors = &call.thread().process.descriptors;
    let open = descriptors.usable(request.fd)?;
    let event_fd = if request.flags & FLAG_RESFD != 0 {
        let event_fd = descriptors.get(request.event_fd)?;
        event_fd_of(&event_fd).ok_or(Errno::INVAL)?;
        Some(event_fd)
    } else {
        None
    };
    user::write_u32(request.address + KEY, 0)?;
    let (context, data) = (context.clone(), request.data);
    let outcome = Outcome { context, data, request: request.address as u64, event_fd, open };
    match carry_out(request, &outcome)? {
        Some(result) => outcome.ended(result),
        // One after the other to the same file is the rule.
        None if at_work.as_ref().is_some_and(|before| Arc::ptr_eq(before, &outcome.open)) => {}
        None => show(at_work, Some(outcome.open)),
    }
    Ok(())
}

/// Carries a request out: its result, or why it can't be one. `None`: it was begun.
#[inline(never)]
fn carry_out(request: &Request, outcome: &Outcome) -> Result<Option<SysResult>, Errno> {
    let Request { operation, buffer, len, rw_flags, .. } = *request;
    let open = &outcome.open;
    check_rw_flags(rw_flags)?;
    match operation {
        FSYNC | FDSYNC if buffer != 0 || len != 0 || request.offset != 0 || rw_flags != 0 => {
            Err(Errno::INVAL)
        }
        FSYNC | FDSYNC => Ok(Some(open.file.sync(operation == FDSYNC).map(|()| 0))),
        NOOP => Ok(Some(Ok(0))),
        PREAD | PWRITE | PREADV | PWRITEV => {
            let reads = matches!(operation, PREAD | PREADV);
            if reads {
                open.check_readable()?
            } else {
                open.check_writable()?
            }
            let mut pieces = Pieces::new();
            let mut bytes = if matches!(operation, PREADV | PWRITEV) {
                vector(&mut pieces, buffer, len)?
            } else {
                user::check_range(buffer, len)?;
                UserBuf::user(buffer, len)
            };
            let offset = u64::try_from(request.offset).map_err(|_| Errno::INVAL)?;
            let mut ending = || Ok(try_box(outcome.clone())? as Box<dyn Ending>);
            Ok(match (reads, open.seekable) {
                (_, true) if begins(open, reads, rw_flags) => {
                    let access = if reads { Access::Write } else { Access::Read };
                    match open.begin(&mut bytes, offset, access, &mut ending) {
                        Ok(true) => None,
                        Ok(false) => Some(move_bytes(open, reads, &mut bytes, offset, rw_flags)),
                        Err(error) => Some(Err(error)),
                    }
                }
                (_, true) => Some(move_bytes(open, reads, &mut bytes, offset, rw_flags)),
                (true, false) => Some(open.read(&mut bytes)),
                (false, false) => Some(open.write(&mut bytes)),
            })
        }
        _ => Err(Errno::INVAL),
    }
}

fn move_bytes(open: &OpenFile, reads: bool, bytes: &mut UserBuf, offset: u64, flags: u32) -> SysResult {
    match reads {
        true => read_with(open, bytes, Some(offset), flags),
        false => write_with(open, bytes, Some(offset), flags),
    }
}

/// io_cancel(2): what was submitted is complete or with a device, which takes nothing back (Linux: EINVAL).
pub fn io_cancel(call: &Call) -> SysResult {
    user::read_u32(call.usize(1) + KEY)?;
    contexts(&call.thread().process)?.get(call.usize(0))?;
    Err(Errno::INVAL)
}

/// Takes at least `least` events, unless the time-out passes first, and at most as many as there is room for.
fn take(call: &Call, deadline_ns: Option<u64>) -> SysResult {
    let context = contexts(&call.thread().process)?.get(call.usize(0))?;
    let (least, most) = (call.i64(1), call.i64(2));
    if least < 0 || most < 0 || least > most {
        return Err(Errno::INVAL);
    }
    if least > 0 {
        match context.wait_for((least as usize).min(context.room()), false, deadline_ns) {
            Ok(()) | Err(Errno::AGAIN) => {}
            Err(_) if context.wait_for(1, true, None).is_ok() => {}
            Err(error) => return Err(error),
        }
    }
    let mut taken = 0;
    while taken < most as usize
        && let Some(event) = context.take()
    {
        if let Err(error) = user::write_words(call.usize(3) + taken * 32, &event.words()) {
            context.put_back(event);
            return if taken > 0 { Ok(taken) } else { Err(error) };
        }
        taken += 1;
    }
    Ok(taken)
}

/// io_getevents(2).
pub fn io_getevents(call: &Call) -> SysResult {
    let deadline_ns = posix_clock::read_relative_deadline(call.usize(4))?;
    take(call, deadline_ns).map_err(|error| if error == Errno::RESTARTSYS { Errno::INTR } else { error })
}

/// io_pgetevents(2).
pub fn io_pgetevents(call: &Call) -> SysResult {
    let deadline_ns = posix_clock::read_relative_deadline(call.usize(4))?;
    let [mask, len] = match call.usize(5) {
        0 => [0, 0],
        at => user::read_words(at)?,
    };
    let taken = with_mask(call, mask as usize, len as usize, || take(call, deadline_ns));
    taken.map_err(|error| if error == Errno::RESTARTSYS { Errno::INTR } else { error })
}
