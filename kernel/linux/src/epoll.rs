//! epoll(7)'s calls.
use super::call::Call;
use super::descriptor::install;
use super::file::open_file;
use super::poll::{deadline_after_ms, deadline_at, with_mask};
use alloc::sync::Arc;
use coracle_core::arch::epoll_event;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::OpenFile;
use coracle_core::ipc::epoll::Epoll;
use coracle_core::mm::user;
use coracle_core::mm::user_buf::UserBuf;
use linux_raw_sys::general::{EPOLL_CLOEXEC, EPOLL_CTL_DEL, O_CLOEXEC, O_RDWR};

/// The most events a call may ask for: INT_MAX bytes of them.
const MAX_EVENTS: i32 = i32::MAX / epoll_event::SIZE as i32;

#[inline(always)]
fn set_of(open: &Arc<OpenFile>) -> Result<&Epoll, Errno> {
    open.file.as_epoll().ok_or(Errno::INVAL)
}

/// epoll_create(2): the size is only checked.
pub fn epoll_create(call: &Call) -> SysResult {
    if call.i32(0) <= 0 {
        return Err(Errno::INVAL);
    }
    install(call, Epoll::new()?, O_RDWR)
}
/// epoll_create1(2).
pub fn epoll_create1(call: &Call) -> SysResult {
    let flags = call.u32(0);
    if flags & !EPOLL_CLOEXEC != 0 {
        return Err(Errno::INVAL);
    }
    install(call, Epoll::new()?, O_RDWR | flags & O_CLOEXEC)
}
/// epoll_ctl(2).
pub fn epoll_ctl(call: &Call) -> SysResult {
    let operation = call.u32(1);
    let mut event = [0; epoll_event::SIZE];
    if operation != EPOLL_CTL_DEL {
        user::read(&mut event, call.usize(3))?;
    }
    let set = open_file(call, 0)?;
    let target = open_file(call, 2)?;
    let events = u32::from_le_bytes([event[0], event[1], event[2], event[3]]);
    let data = u64::from_le_bytes(core::array::from_fn(|i| event[epoll_event::DATA + i]));
    set_of(&set)?.control(operation, call.i32(2), &target, events, data)?;
    Ok(0)
}

fn wait(call: &Call, deadline: Option<u64>) -> SysResult {
    let max = call.i32(2);
    if max <= 0 || max > MAX_EVENTS {
        return Err(Errno::INVAL);
    }
    let set = open_file(call, 0)?;
    let mut dst = UserBuf::user(call.usize(1), max as usize * epoll_event::SIZE);
    set_of(&set)?.wait(&mut dst, max as usize, deadline)
}

/// epoll_wait(2).
pub fn epoll_wait(call: &Call) -> SysResult {
    wait(call, deadline_after_ms(call.i32(3)))
}
/// epoll_pwait(2).
pub fn epoll_pwait(call: &Call) -> SysResult {
    let deadline = deadline_after_ms(call.i32(3));
    with_mask(call, call.usize(4), call.usize(5), || wait(call, deadline))
}
/// epoll_pwait2(2).
pub fn epoll_pwait2(call: &Call) -> SysResult {
    let deadline = deadline_at(call.usize(3))?;
    with_mask(call, call.usize(4), call.usize(5), || wait(call, deadline))
}
