//! Character devices by number, and what is in /dev.
use super::memory::MemoryFs;
use crate::block::registry;
use alloc::sync::Arc;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::context::FsContext;
use coracle_core::fs::file::File;
use coracle_core::fs::inode::{Inode, NewNode};
use coracle_core::fs::mount::Place;
use coracle_core::fs::stat::device_number;
use coracle_core::fs::walk::{self, Follow};
use coracle_core::mm::memory::PAGE_SIZE;
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::task::long_call;
use coracle_fallible::try_arc;
use coracle_hal::frame::Frame;
use coracle_hal::once::Once;
use coracle_hal::sync::atomic::Ordering;
use coracle_net::tun::{self, TunFile};
use core::any::Any;
use linux_raw_sys::general::{S_IFBLK, S_IFCHR, stat as Stat};

/// Bytes of randomness or zeroes made at a time.
const CHUNK: usize = 256;

/// The memory devices (Linux's devices.txt, major 1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Null,
    Zero,
    Full,
    Random,
}

/// Major numbers of the slaves of pseudo-terminals.
const PSEUDO_FIRST: u32 = 136;
const PSEUDO_LAST: u32 = 143;

/// The socket device: a miscellaneous one, with the first minor number that Linux chooses for those that have none of their own.
const VSOCK: (u32, u32) = (10, 256);

/// Name, major, minor, permissions.
const NODES: [(&str, u32, u32, u32); 10] = [
    ("null", 1, 3, 0o666),
    ("zero", 1, 5, 0o666),
    ("full", 1, 7, 0o666),
    ("random", 1, 8, 0o666),
    ("urandom", 1, 9, 0o666),
    ("kmsg", 1, 11, 0o644),
    ("tty", 5, 0, 0o666),
    ("console", 5, 1, 0o666),
    ("ptmx", 5, 2, 0o666),
    ("vsock", VSOCK.0, VSOCK.1, 0o666),
];
/// Name and target.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

static TERMINAL: Once<Arc<dyn File>> = Once::new();

/// Names the file behind /dev/console and /dev/tty. The first one stays.
pub fn set_terminal(terminal: Arc<dyn File>) {
    TERMINAL.call_once(|| terminal);
}

/// The file behind /dev/console and /dev/tty; ENXIO if there is no terminal (tty(4)).
fn terminal() -> Result<Arc<dyn File>, Errno> {
    TERMINAL.get().cloned().ok_or(Errno::NXIO)
}

/// /dev/tty of a process that has no terminal but the console, which is that of the first process's session. ENXIO in other
/// sessions, and if there is no terminal (tty(4)).
pub fn own_console() -> Result<Arc<dyn File>, Errno> {
    const FIRST_SESSION: i32 = 1;
    let session = coracle_core::this::with(|thread| thread.process.session.load(Ordering::Relaxed));
    if session == FIRST_SESSION { terminal() } else { Err(Errno::NXIO) }
}

/// Opens a device of that number, at a place and with the flags of open(2).
type Open = fn(u64, Place, u32) -> Result<Arc<dyn File>, Errno>;

static TERMINALS: Once<Open> = Once::new();

/// Names what opens /dev/tty, /dev/ptmx and pseudo-terminals. The first one stays.
pub fn set_terminals(open: Open) {
    TERMINALS.call_once(|| open);
}

/// The root directory of a new /dev.
pub fn filesystem() -> Result<Arc<dyn Inode>, Errno> {
    let root: Arc<dyn Inode> = MemoryFs::empty(0o755)?;
    for (name, major, minor, mode) in NODES {
        root.create(name.as_bytes(), NewNode::Special(S_IFCHR, device_number(major, minor)), mode)?;
    }
    add_nodes(&root)?;
    // Where udev puts it, as anybody may open it.
    let net = root.create(b"net", NewNode::Directory, 0o755)?;
    let (major, minor) = tun::DEVICE;
    net.create(b"tun", NewNode::Special(S_IFCHR, device_number(major, minor)), 0o666)?;
    for (name, target) in LINKS {
        root.create(name.as_bytes(), NewNode::Link(target.as_bytes()), 0o777)?;
    }
    for name in ["shm", "pts", "mqueue"] {
        root.create(name.as_bytes(), NewNode::Directory, 0o1777)?;
    }
    Ok(root)
}

/// Adds nodes for the block devices that there are, but for those that it has.
fn add_nodes(root: &Arc<dyn Inode>) -> Result<(), Errno> {
    /// What devtmpfs gives to devices for which nothing else is said.
    const MODE: u32 = 0o600;
    for entry in registry::all()? {
        let node = NewNode::Special(S_IFBLK, entry.number);
        match root.create(entry.name.as_str().as_bytes(), node, MODE) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Puts the block devices that there are by now into /dev.
pub fn add_block_devices() -> Result<(), Errno> {
    let dev = walk::find(&FsContext::new(), None, b"/dev", Follow::Always)?;
    add_nodes(&dev.path.inode)
}

/// Opens the character device of that number; ENXIO if there is none, ENOMEM.
pub fn open(number: u64, place: Place, flags: u32) -> Result<Arc<dyn File>, Errno> {
    let kind = match coracle_core::fs::stat::split_device(number) {
        (1, 3 | 11) => Memory::Null,
        (1, 5) => Memory::Zero,
        (1, 7) => Memory::Full,
        (1, 8 | 9) => Memory::Random,
        tun::DEVICE => return Ok(TunFile::new(place)?),
        VSOCK => return Ok(try_arc(coracle_net::vsock::Device::new(place))?),
        (5, 1) => return terminal(),
        (5, 0 | 2) | (PSEUDO_FIRST..=PSEUDO_LAST, _) => {
            return TERMINALS.get().ok_or(Errno::NXIO)?(number, place, flags);
        }
        _ => return Err(Errno::NXIO),
    };
    Ok(try_arc(MemoryDevice { kind, place })?)
}

struct MemoryDevice {
    kind: Memory,
    place: Place,
}

/// Pauses a call that has moved `done` bytes, after each page; returns whether a signal ends it then, as on Linux
/// (`read_iter_zero`, `get_random_bytes_user`).
fn ends_early(done: usize) -> bool {
    done > 0 && done.is_multiple_of(PAGE_SIZE) && long_call::pause_unless_interrupted().is_err()
}

impl File for MemoryDevice {
    fn read(&self, dst: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        let before = dst.done();
        let mut bytes = [0; CHUNK];
        while self.kind != Memory::Null && dst.remaining() > 0 {
            if ends_early(dst.done() - before) {
                break;
            }
            let n = dst.remaining().min(CHUNK);
            if self.kind == Memory::Random {
                coracle_core::random::fill(&mut bytes[..n]);
            }
            match dst.put(&bytes[..n]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) if dst.done() > before => break,
                Err(error) => return Err(error),
            }
        }
        Ok(dst.done() - before)
    }
    fn write(&self, src: &mut UserBuf, _offset: u64, _nonblock: bool) -> SysResult {
        if self.kind == Memory::Full {
            return Err(Errno::NOSPC);
        }
        if self.kind == Memory::Random {
            let before = src.done();
            let mut bytes = [0; CHUNK];
            while src.remaining() > 0 {
                if ends_early(src.done() - before) {
                    break;
                }
                let n = src.take(&mut bytes)?;
                coracle_core::random::add_entropy(&bytes[..n]);
            }
            return Ok(src.done() - before);
        }
        Ok(src.remaining())
    }
    fn append(&self, src: &mut UserBuf) -> Result<(usize, u64), Errno> {
        self.write(src, 0, false).map(|done| (done, 0))
    }
    fn seekable(&self) -> bool {
        true
    }
    fn keeps_position(&self) -> bool {
        false
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.place.path.inode.metadata().stat())
    }
    fn page(&self, _index: u64, _for_write: bool) -> Result<Frame, Errno> {
        match self.kind {
            Memory::Zero => Ok(Frame::zero_page()),
            _ => Err(Errno::NODEV),
        }
    }
    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
