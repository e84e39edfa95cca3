//! The running CPU's own data: what the register of a real CPU leads to, a variable of the host's thread does.
use crate::local::Local;
use core::cell::Cell;

std::thread_local! {
    static CURRENT: Cell<*const Local> = const { Cell::new(core::ptr::null()) };
}

/// Has the running thread of the host be the CPU with this data.
///
/// # Safety
/// The data lives for ever, and no other thread is this CPU.
// Neither this nor `get` is compiled into its callers: a task goes on in another thread of the host after a switch, and the compiler, which
// doesn't know that, would keep the address of the first thread's variable.
#[inline(never)]
pub unsafe fn set(local: &'static Local) {
    CURRENT.set(local);
}

/// What [`set`] was given. A thread that is no CPU of the machine becomes a CPU of its own.
///
/// # Safety
/// As on a real machine; here it always is.
#[inline(never)]
pub unsafe fn get() -> *const Local {
    match CURRENT.get() {
        current if current.is_null() => {
            let local = crate::host::memory::new_cpu();
            CURRENT.set(local);
            local
        }
        current => current,
    }
}

/// The running thread of the host is no CPU any more. Returns the CPU that it was, for [`come_back`].
#[inline(never)]
pub fn leave() -> *const Local {
    CURRENT.replace(core::ptr::null())
}

/// The running thread of the host is the CPU again that it was before [`leave`].
#[inline(never)]
pub fn come_back(local: *const Local) {
    CURRENT.set(local);
}
