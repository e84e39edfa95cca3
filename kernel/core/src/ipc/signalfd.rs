//! signalfd(2): signals read from a descriptor.
use super::poll::{Events, PollSource, block_on};
use crate::errno::{Errno, SysResult};
use crate::fs::file::{File, OpenFile};
use crate::mm::user_buf::UserBuf;
use crate::task::process::Process;
use crate::task::signal::{self, SigInfo, Taken};
use crate::task::thread::Thread;
use alloc::sync::Arc;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::sync::atomic::{AtomicU64, Ordering::*};
use core::any::Any;
use linux_raw_sys::general::{O_CLOEXEC, O_NONBLOCK, O_RDONLY, stat as Stat};

/// sizeof(struct signalfd_siginfo).
const RECORD_LEN: usize = 128;

/// A signal descriptor. It takes signals of the process that reads; for readiness it watches the one that made it.
pub struct SignalFd {
    mask: AtomicU64,
    /// Let go of when the process ends and closes its descriptors.
    process: Arc<Process>,
}

/// Makes a descriptor, or changes the mask of `fd` unless it is -1.
pub fn open(thread: &Arc<Thread>, fd: i32, mask: u64, flags: u32) -> SysResult {
    let process = &thread.process;
    if fd != -1 {
        let open = process.descriptors.get(fd)?;
        let existing = open.file.as_any().downcast_ref::<SignalFd>().ok_or(Errno::INVAL)?;
        existing.mask.store(mask, Relaxed);
        return Ok(fd as usize);
    }
    let file = try_arc(SignalFd { mask: AtomicU64::new(mask), process: process.clone() })?;
    // SFD_NONBLOCK and SFD_CLOEXEC are O_NONBLOCK and O_CLOEXEC.
    let open = OpenFile::new(file, O_RDONLY | (flags & O_NONBLOCK))?;
    process.descriptors.insert(open, flags & O_CLOEXEC != 0, 0).map(|fd| fd as usize)
}

impl SignalFd {
    fn take(&self, thread: &Thread) -> Option<SigInfo> {
        let mask = self.mask.load(Relaxed);
        let taken = {
            let mut shared = thread.process.signals.lock();
            let mut own = thread.signals.lock();
            signal::take(thread, &mut shared, &mut own, mask)
        };
        taken.map(Taken::info)
    }
}

/// A `struct signalfd_siginfo`.
fn record(info: &SigInfo) -> [u8; RECORD_LEN] {
    let mut bytes = [0; RECORD_LEN];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let [first, second, ..] = info.fields;
    put(0, &info.signal.to_le_bytes());
    put(4, &info.errno.to_le_bytes());
    put(8, &info.code.to_le_bytes());
    // ssi_pid and ssi_uid, where a timer has its id and overrun.
    put(12, &first.to_le_bytes());
    put(24, &(first as u32).to_le_bytes());
    put(32, &((first >> 32) as u32).to_le_bytes());
    put(40, &(second as u32).to_le_bytes());
    put(44, &(second as u32).to_le_bytes());
    put(48, &second.to_le_bytes());
    bytes
}

impl File for SignalFd {
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        if dst.remaining() < RECORD_LEN {
            return Err(Errno::INVAL);
        }
        let thread = crate::this::with(Arc::clone);
        let source = &thread.process.signal_source;
        let mut next = Some(block_on(source, nonblock, None, || self.take(&thread).ok_or(Errno::AGAIN))?);
        let mut done = 0;
        while let Some(info) = next {
            dst.put_all(&record(&info))?;
            done += RECORD_LEN;
            next = if dst.remaining() < RECORD_LEN { None } else { self.take(&thread) };
        }
        Ok(done)
    }
    fn keeps_position(&self) -> bool {
        false
    }
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(crate::fs::stat::anonymous())
    }
    fn readiness(&self) -> Events {
        let mask = self.mask.load(Relaxed);
        let pending = crate::this::with(|thread| {
            let shared = thread.process.signals.lock().pending.set();
            shared | thread.signals.lock().pending.set()
        });
        if pending & mask != 0 { Events::IN | Events::RDNORM } else { Events::empty() }
    }
    fn poll_source(&self) -> Option<&PollSource> {
        Some(&self.process.signal_source)
    }
    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        text.push(b"anon_inode:[signalfd]")
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
