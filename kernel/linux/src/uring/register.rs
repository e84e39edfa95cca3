//! io_uring_register(2).
use super::enter::ring_of;
use super::operation::SUPPORTED;
use crate::call::Call;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::OpenFile;
use coracle_core::ipc::eventfd::EventFd;
use coracle_core::mm::user;
use coracle_core::task::long_call;
use coracle_core::task::thread::Thread;
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::Ordering::SeqCst;
use coracle_ipc::uring::{Group, Ring};
use linux_raw_sys::io_uring::{self as abi, io_uring_op as op, io_uring_register_op as what};

/// Registered files and buffers at most (IORING_MAX_FIXED_FILES, IORING_MAX_REG_BUFFERS).
const MOST_FILES: u32 = 1 << 15;
const MOST_BUFFERS: u32 = 1 << 14;

/// Bytes of the largest buffer.
const LARGEST_BUFFER: u64 = 1 << 30;

/// Entries of a ring of buffers at most.
const MOST_PROVIDED: u32 = 1 << 15;

/// No file at this place.
const NO_FILE: i32 = -1;

/// Words of `struct io_uring_rsrc_register` and `struct io_uring_rsrc_update2`.
const RESOURCE_WORDS: usize = 4;

/// Words of `struct io_uring_buf_reg`, and bytes of the parts of `struct io_uring_probe`.
const BUFFER_RING_WORDS: usize = 5;
const PROBE_HEADER: usize = 16;
const PROBE_ENTRY: usize = 8;
const PROBE_MOST: u32 = 256;

/// io_uring_register(2).
pub fn io_uring_register(call: &Call) -> SysResult {
    let thread = call.thread();
    let open = thread.process.descriptors.get(call.i32(0))?;
    let ring = ring_of(&open)?;
    if !matches!(call.u32(1), code if code == what::IORING_REGISTER_ENABLE_RINGS as u32) {
        ring.check_registrar(thread.tid())?;
    }
    let (code, at, count) = (call.u32(1), call.usize(2), call.u32(3));
    let is = |known: what| code == known as u32;
    if is(what::IORING_REGISTER_BUFFERS) {
        register_buffers(ring, at, count)
    } else if is(what::IORING_UNREGISTER_BUFFERS) {
        let before = core::mem::take(&mut ring.registered.lock().buffers);
        if before.is_empty() { Err(Errno::NXIO) } else { Ok(0) }
    } else if is(what::IORING_REGISTER_FILES) {
        register_files(thread, ring, at, count)
    } else if is(what::IORING_UNREGISTER_FILES) {
        let before = core::mem::take(&mut ring.registered.lock().files);
        if before.is_empty() { Err(Errno::NXIO) } else { Ok(0) }
    } else if is(what::IORING_REGISTER_FILES_UPDATE) {
        let [first, files] = user::read_words(at)?;
        if first >> 32 != 0 {
            return Err(Errno::INVAL);
        }
        update_files(thread, ring, first as u32, files as usize, count)
    } else if is(what::IORING_REGISTER_FILES2) || is(what::IORING_REGISTER_BUFFERS2) {
        let (places, from) = read_places(at, count)?;
        match is(what::IORING_REGISTER_FILES2) {
            true => register_files(thread, ring, from, places),
            false => register_buffers(ring, from, places),
        }
    } else if is(what::IORING_REGISTER_FILES_UPDATE2) || is(what::IORING_REGISTER_BUFFERS_UPDATE) {
        let (first, from, places) = read_update(at, count)?;
        match is(what::IORING_REGISTER_FILES_UPDATE2) {
            true => update_files(thread, ring, first, from, places),
            false => update_buffers(ring, first, from, places),
        }
    } else if is(what::IORING_REGISTER_EVENTFD) || is(what::IORING_REGISTER_EVENTFD_ASYNC) {
        register_event_fd(thread, ring, at, count, is(what::IORING_REGISTER_EVENTFD_ASYNC))
    } else if is(what::IORING_UNREGISTER_EVENTFD) {
        let before = ring.registered.lock().event_fd.take();
        before.map(|_| 0).ok_or(Errno::NXIO)
    } else if is(what::IORING_REGISTER_PROBE) {
        probe(at, count)
    } else if is(what::IORING_REGISTER_ENABLE_RINGS) {
        if ring.enabled.swap(true, SeqCst) {
            return Err(Errno::new(linux_raw_sys::errno::EBADFD as u16));
        }
        ring.check_issuer(thread.tid())?;
        ring.asked.notify(coracle_core::ipc::poll::Events::IN);
        Ok(0)
    } else if is(what::IORING_REGISTER_PBUF_RING) {
        register_buffer_ring(ring, at, count)
    } else if is(what::IORING_UNREGISTER_PBUF_RING) {
        unregister_buffer_ring(ring, at, count)
    } else if is(what::IORING_REGISTER_SYNC_CANCEL) {
        super::cancel::cancel_and_wait(thread, ring, at, count)
    } else if is(what::IORING_REGISTER_IOWQ_MAX_WORKERS) {
        max_workers(at, count)
    } else {
        Err(Errno::INVAL)
    }
}

/// Bounds workers, of two kinds, by numbers that are no bounds here; tells those that were in force.
fn max_workers(at: usize, count: u32) -> SysResult {
    if count != 2 {
        return Err(Errno::INVAL);
    }
    let _: [u64; 1] = user::read_words(at)?;
    user::write_words(at, &[0; 1]).map(|()| 0)
}

/// Tags, completions that tell of the end of what was registered, are not there (IORING_FEAT_RSRC_TAGS). EINVAL.
fn check_tags(at: u64, count: u32) -> Result<(), Errno> {
    if at == 0 {
        return Ok(());
    }
    for n in 0..count as usize {
        if user::read_words::<1>(at as usize + n * 8)? != [0] {
            return Err(Errno::INVAL);
        }
        long_call::pause_unless_killed()?;
    }
    Ok(())
}

/// How many places there are to be, and the address of what is to be there, 0: nothing yet (`struct io_uring_rsrc_register`, of which
/// the program gives the size).
fn read_places(at: usize, size: u32) -> Result<(u32, usize), Errno> {
    let [places, reserved, from, tags] = user::read_words(at)?;
    let (places, flags) = (places as u32, (places >> 32) as u32);
    let is_sparse = flags & abi::IORING_RSRC_REGISTER_SPARSE != 0;
    if size as usize != RESOURCE_WORDS * 8
        || places == 0
        || reserved != 0
        || flags & !abi::IORING_RSRC_REGISTER_SPARSE != 0
        || is_sparse && from != 0
    {
        return Err(Errno::INVAL);
    }
    check_tags(tags, places.min(MOST_FILES))?;
    Ok((places, from as usize))
}

/// The first place to be changed, the address of what is to be there, and how many (`struct io_uring_rsrc_update2`).
fn read_update(at: usize, size: u32) -> Result<(u32, usize, u32), Errno> {
    let [first, from, tags, places] = user::read_words(at)?;
    if size as usize != RESOURCE_WORDS * 8 || places as u32 == 0 || (first | places) >> 32 != 0 {
        return Err(Errno::INVAL);
    }
    check_tags(tags, (places as u32).min(MOST_FILES))?;
    Ok((first as u32, from as usize, places as u32))
}

/// The `n`-th buffer of a list at `at` (`struct iovec`). EFAULT.
fn buffer_at(at: usize, n: usize) -> Result<(usize, usize), Errno> {
    let [start, len] = user::read_words(at + n * 16)?;
    if len != 0 || start != 0 {
        if len == 0 || start == 0 || len > LARGEST_BUFFER {
            return Err(Errno::FAULT);
        }
        user::check_range(start as usize, len as usize)?;
    }
    Ok((start as usize, len as usize))
}

/// ENXIO: there are no places; EINVAL: not as many.
fn check_places(places: usize, first: u32, count: u32) -> Result<(), Errno> {
    match (first as usize).checked_add(count as usize) {
        _ if places == 0 => Err(Errno::NXIO),
        Some(end) if count != 0 && end <= places => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

/// Replaces registered buffers from the `first`-th on by those of a list at `at`; returns how many.
fn update_buffers(ring: &Ring, first: u32, at: usize, count: u32) -> SysResult {
    check_places(ring.registered.lock().buffers.len(), first, count)?;
    for n in 0..count as usize {
        match buffer_at(at, n) {
            Ok(buffer) => {
                if let Some(place) = ring.registered.lock().buffers.get_mut(first as usize + n) {
                    *place = buffer;
                }
            }
            Err(error) if n == 0 => return Err(error),
            Err(_) => return Ok(n),
        }
        long_call::pause_unless_killed()?;
    }
    Ok(count as usize)
}

fn register_buffers(ring: &Ring, at: usize, count: u32) -> SysResult {
    if !ring.registered.lock().buffers.is_empty() {
        return Err(Errno::BUSY);
    }
    if count == 0 || count > MOST_BUFFERS {
        return Err(Errno::INVAL);
    }
    let mut buffers = Vec::new();
    buffers.make_room(count as usize)?;
    for n in 0..count as usize {
        buffers.push_reserved(if at == 0 { (0, 0) } else { buffer_at(at, n)? });
        long_call::pause_unless_killed()?;
    }
    let mut registered = ring.registered.lock();
    if !registered.buffers.is_empty() {
        return Err(Errno::BUSY);
    }
    registered.buffers = buffers;
    Ok(0)
}

/// The file to be registered for a descriptor; `None` for [`NO_FILE`]. A ring can't be: it would keep itself. EBADF.
fn file_for(thread: &Thread, fd: i32) -> Result<Option<Arc<OpenFile>>, Errno> {
    if fd == NO_FILE {
        return Ok(None);
    }
    let open = thread.process.descriptors.get(fd)?;
    if ring_of(&open).is_ok() { Err(Errno::BADF) } else { Ok(Some(open)) }
}

fn register_files(thread: &Thread, ring: &Ring, at: usize, count: u32) -> SysResult {
    if !ring.registered.lock().files.is_empty() {
        return Err(Errno::BUSY);
    }
    if count == 0 {
        return Err(Errno::INVAL);
    }
    if count > MOST_FILES {
        return Err(Errno::MFILE);
    }
    let mut files = Vec::new();
    files.make_room(count as usize)?;
    for n in 0..count as usize {
        let fd = if at == 0 { NO_FILE } else { user::read_u32(at + 4 * n)?.cast_signed() };
        files.push_reserved(file_for(thread, fd)?);
        long_call::pause_unless_killed()?;
    }
    let mut registered = ring.registered.lock();
    if !registered.files.is_empty() {
        return Err(Errno::BUSY);
    }
    registered.files = files;
    Ok(0)
}

/// Replaces registered files from the `first`-th on by those of descriptors at `at`; returns how many.
pub fn update_files(thread: &Thread, ring: &Ring, first: u32, at: usize, count: u32) -> SysResult {
    check_places(ring.registered.lock().files.len(), first, count)?;
    for n in 0..count as usize {
        let done = user::read_u32(at + 4 * n).map(u32::cast_signed).and_then(|fd| {
            if fd == abi::IORING_REGISTER_FILES_SKIP {
                return Ok(());
            }
            let mut file = file_for(thread, fd)?;
            if let Some(place) = ring.registered.lock().files.get_mut(first as usize + n) {
                core::mem::swap(place, &mut file);
            }
            Ok(())
        });
        match done {
            Ok(()) => {}
            Err(error) if n == 0 => return Err(error),
            Err(_) => return Ok(n),
        }
        long_call::pause_unless_killed()?;
    }
    Ok(count as usize)
}

fn register_event_fd(thread: &Thread, ring: &Ring, at: usize, count: u32, for_async: bool) -> SysResult {
    if count != 1 {
        return Err(Errno::INVAL);
    }
    let open = thread.process.descriptors.get(user::read_u32(at)?.cast_signed())?;
    if open.file.as_any().downcast_ref::<EventFd>().is_none() {
        return Err(Errno::INVAL);
    }
    let mut registered = ring.registered.lock();
    if registered.event_fd.is_some() {
        return Err(Errno::BUSY);
    }
    registered.event_fd = Some((open, for_async));
    Ok(0)
}

/// Tells which operations there are (`struct io_uring_probe`).
fn probe(at: usize, count: u32) -> SysResult {
    /// Operations up to this one.
    const LAST: u8 = op::IORING_OP_LAST as u8 - 1;
    const SUPPORTED_FLAG: u16 = 1;
    let count = count.min(PROBE_MOST).min(u32::from(LAST) + 1);
    let mut header = [0; PROBE_HEADER];
    user::read(&mut header, at)?;
    if header.iter().any(|&byte| byte != 0) {
        return Err(Errno::INVAL);
    }
    header[0] = LAST;
    header[1] = count as u8;
    user::write(at, &header)?;
    for number in 0..count {
        let is_supported = SUPPORTED.iter().any(|&known| known as u32 == number);
        let flags = if is_supported { SUPPORTED_FLAG } else { 0 };
        let entry = u64::from(number) | u64::from(flags) << 16;
        user::write(at + PROBE_HEADER + number as usize * PROBE_ENTRY, &entry.to_le_bytes())?;
    }
    Ok(0)
}

fn register_buffer_ring(ring: &Ring, at: usize, count: u32) -> SysResult {
    const PAGE: u64 = 4096;
    if count != 1 {
        return Err(Errno::INVAL);
    }
    let [address, numbers, reserved @ ..]: [u64; BUFFER_RING_WORDS] = user::read_words(at)?;
    let (entries, group, flags) = (numbers as u32, (numbers >> 32) as u16, (numbers >> 48) as u16);
    if flags != 0
        || reserved != [0; 3]
        || !address.is_multiple_of(PAGE)
        || !entries.is_power_of_two()
        || entries > MOST_PROVIDED
    {
        return Err(Errno::INVAL);
    }
    if address == 0 {
        return Err(Errno::FAULT);
    }
    user::check_range(address as usize, entries as usize * 16)?;
    // It must be there.
    let _: [u64; 1] = user::read_words(address as usize)?;
    let mut registered = ring.registered.lock();
    match registered.groups.get(&group) {
        Some(Group::Ring { .. }) => return Err(Errno::EXIST),
        Some(Group::List(list)) if !list.is_empty() => return Err(Errno::EXIST),
        _ => {}
    }
    let ring = Group::Ring { address: address as usize, entries, head: 0, returned: VecDeque::new() };
    let before = registered.groups.insert(group, ring)?;
    drop(registered);
    drop(before);
    Ok(0)
}

fn unregister_buffer_ring(ring: &Ring, at: usize, count: u32) -> SysResult {
    if count != 1 {
        return Err(Errno::INVAL);
    }
    let [_, numbers, reserved @ ..]: [u64; BUFFER_RING_WORDS] = user::read_words(at)?;
    if reserved != [0; 3] || numbers as u32 != 0 {
        return Err(Errno::INVAL);
    }
    let group = (numbers >> 32) as u16;
    let mut registered = ring.registered.lock();
    match registered.groups.get(&group) {
        None => Err(Errno::NOENT),
        Some(Group::List(_)) => Err(Errno::INVAL),
        Some(Group::Ring { .. }) => {
            registered.groups.remove(&group);
            Ok(0)
        }
    }
}
