//! POSIX message queues (mq_overview(7)).
use super::call::Call;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::OpenFile;
use coracle_core::mm::user;
use coracle_core::task::long_call;
use coracle_core::task::signal::MAX_SIGNAL;
use coracle_core::time::posix_clock;
use coracle_core::time::wall::Deadline;
use coracle_fallible::prelude::*;
use coracle_fallible::{filled, try_arc};
use coracle_ipc::mqueue::file::QueueFile;
use coracle_ipc::mqueue::{Means, Notification, tree};
use coracle_mqueue::{MAX_PRIORITY, Message};
use coracle_net::netlink::NetlinkFile;
use linux_raw_sys::general::{O_ACCMODE, O_CLOEXEC, O_NONBLOCK, SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD};

/// A `struct mq_attr`: flags, messages at most, bytes of one at most, messages now, and four words that are not used.
type AttributeWords = [u64; 8];
/// Bytes of a message that are copied between two pauses.
const PIECE_BYTES: usize = 65_536;
/// Bytes of what the C library gets back in a datagram (NOTIFY_COOKIE_LEN).
const COOKIE_BYTES: usize = 32;

/// mq_open(2). The descriptor is close-on-exec.
pub fn mq_open(call: &Call) -> SysResult {
    let (flags, mode, attributes) = (call.u32(1), call.u32(2), call.usize(3));
    let attributes = match attributes {
        0 => None,
        at => {
            let [_, messages, message_bytes, ..]: AttributeWords = user::read_words(at)?;
            Some((messages as i64, message_bytes as i64))
        }
    };
    let name = user::read_path(call.usize(0))?;
    let mode = mode & !call.thread().process.fs.umask();
    let file = try_arc(tree::open(&name, flags, mode, attributes)?)?;
    super::descriptor::install(call, file, flags & (O_ACCMODE | O_NONBLOCK) | O_CLOEXEC)
}

/// mq_unlink(2).
pub fn mq_unlink(call: &Call) -> SysResult {
    tree::unlink(&user::read_path(call.usize(0))?)?;
    Ok(0)
}

/// Descriptor 0 of the call, and the queue behind it; EBADF.
struct Opened(Arc<OpenFile>);

impl Opened {
    fn by(call: &Call) -> Result<Opened, Errno> {
        let open = call.thread().process.descriptors.get(call.i32(0))?;
        if open.file.as_any().is::<QueueFile>() { Ok(Opened(open.clone())) } else { Err(Errno::BADF) }
    }

    fn file(&self) -> Result<&QueueFile, Errno> {
        self.0.file.as_any().downcast_ref().ok_or(Errno::BADF)
    }
}

/// The absolute time of the real-time clock at `address`; 0: none. EFAULT, EINVAL.
fn deadline_at(address: usize) -> Result<Option<Deadline>, Errno> {
    if address == 0 { Ok(None) } else { Ok(Some(Deadline::Wall(posix_clock::read_timespec(address)?))) }
}

/// mq_timedsend(2).
pub fn mq_timedsend(call: &Call) -> SysResult {
    let (address, len, priority) = (call.usize(1), call.usize(2), call.u32(3));
    let deadline = deadline_at(call.usize(4))?;
    if priority > MAX_PRIORITY {
        return Err(Errno::INVAL);
    }
    let opened = Opened::by(call)?;
    opened.0.check_writable()?;
    let queue = opened.file()?.queue();
    if len as u64 > queue.attributes.message_bytes {
        return Err(Errno::MSGSIZE);
    }
    let bytes = read_message(address, len)?;
    queue.send(Message { priority, bytes }, opened.0.nonblock(), deadline)?;
    Ok(0)
}

fn read_message(address: usize, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    bytes.make_room(len)?;
    while bytes.len() < len {
        let done = bytes.len();
        bytes.try_resize(len.min(done + PIECE_BYTES), 0)?;
        user::read(&mut bytes[done..], address.wrapping_add(done))?;
        if bytes.len() < len {
            long_call::pause_unless_killed()?;
        }
    }
    Ok(bytes)
}

/// mq_timedreceive(2).
pub fn mq_timedreceive(call: &Call) -> SysResult {
    let (address, len, priority_at) = (call.usize(1), call.usize(2), call.usize(3));
    let deadline = deadline_at(call.usize(4))?;
    let opened = Opened::by(call)?;
    opened.0.check_readable()?;
    let queue = opened.file()?.queue();
    if (len as u64) < queue.attributes.message_bytes {
        return Err(Errno::MSGSIZE);
    }
    let message = queue.receive(opened.0.nonblock(), deadline)?;
    if priority_at != 0 {
        user::write_u32(priority_at, message.priority)?;
    }
    for (index, piece) in message.bytes.chunks(PIECE_BYTES).enumerate() {
        if index > 0 {
            long_call::pause_unless_killed()?;
        }
        user::write(address.wrapping_add(index * PIECE_BYTES), piece)?;
    }
    Ok(message.bytes.len())
}

/// mq_notify(2).
pub fn mq_notify(call: &Call) -> SysResult {
    let process = &call.thread().process;
    let means = match call.usize(1) {
        0 => None,
        at => Some(read_means(call, at)?),
    };
    let opened = Opened::by(call)?;
    let queue = opened.file()?.queue();
    match means {
        Some(means) => queue.register(Notification::new(process, means))?,
        None => queue.unregister(process.pid),
    }
    Ok(0)
}

/// The `struct sigevent` at `address`: a value, a signal, and what is done. EBADF, EFAULT, EINVAL, ENOMEM, ENOTSOCK.
fn read_means(call: &Call, address: usize) -> Result<Means, Errno> {
    let [value, how]: [u64; 2] = user::read_words(address)?;
    let (signal, how) = (how as u32, (how >> 32) as u32);
    match how {
        SIGEV_NONE => Ok(Means::Nothing),
        SIGEV_SIGNAL if signal <= MAX_SIGNAL => Ok(Means::Signal(signal, value)),
        // The value is the address of what the C library wants to hear on the netlink socket that the signal's number is.
        SIGEV_THREAD => {
            let mut cookie = filled(0, COOKIE_BYTES)?;
            user::read(&mut cookie, value as usize)?;
            let socket = call.thread().process.descriptors.get(signal as i32)?;
            socket.file.as_socket().ok_or(Errno::NOTSOCK)?;
            if !socket.file.as_any().is::<NetlinkFile>() {
                return Err(Errno::INVAL);
            }
            Ok(Means::Datagram(socket.clone(), cookie))
        }
        _ => Err(Errno::INVAL),
    }
}

/// mq_getsetattr(2): of the flags, O_NONBLOCK changes.
pub fn mq_getsetattr(call: &Call) -> SysResult {
    let (new, old) = (call.usize(1), call.usize(2));
    let flags = match new {
        0 => None,
        at => {
            let [flags, ..]: AttributeWords = user::read_words(at)?;
            if flags & !u64::from(O_NONBLOCK) != 0 {
                return Err(Errno::INVAL);
            }
            Some(flags != 0)
        }
    };
    let opened = Opened::by(call)?;
    let queue = opened.file()?.queue();
    let was = if opened.0.nonblock() { u64::from(O_NONBLOCK) } else { 0 };
    let now = queue.len() as u64;
    if let Some(nonblock) = flags {
        opened.0.set_nonblock(nonblock);
    }
    if old != 0 {
        let attributes = queue.attributes;
        user::write_words(old, &[was, attributes.messages, attributes.message_bytes, now, 0, 0, 0, 0])?;
    }
    Ok(0)
}
