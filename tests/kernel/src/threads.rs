//! Threads and processes of a test's program.
use crate::files;
use crate::sys::{self, Error};
use coracle_hal::host::program;
use linux_raw_sys::general as abi;

/// Bytes of a thread's stack, which has signal frames alone.
pub(crate) const STACK_SIZE: usize = 16384;

/// A thread that was started.
pub struct Thread {
    /// Its id.
    pub tid: i32,
    /// Holds its id until it has ended (CLONE_CHILD_CLEARTID).
    word: usize,
}

/// Starts a thread of this process, as pthread_create(3) does.
pub fn spawn(code: impl FnOnce() + Send + 'static) -> Thread {
    let code = program::code(move || {
        code();
        sys::exit(0)
    });
    let stack = sys::memory(STACK_SIZE) + STACK_SIZE;
    let word = sys::memory(4);
    let flags = abi::CLONE_VM
        | abi::CLONE_FS
        | abi::CLONE_FILES
        | abi::CLONE_SIGHAND
        | abi::CLONE_THREAD
        | abi::CLONE_SYSVSEM
        | abi::CLONE_PARENT_SETTID
        | abi::CLONE_CHILD_CLEARTID;
    let tid = sys::call(abi::__NR_clone, &[flags as usize, stack, word, word, 0, code as usize]);
    Thread { tid: tid.expect("a thread is made") as i32, word }
}

impl Thread {
    /// Waits for its end.
    pub fn join(self) {
        loop {
            match crate::load_u32(self.word) {
                0 => return,
                // Woken as shared words are. EAGAIN: it has just ended.
                tid => {
                    let wait = [self.word, abi::FUTEX_WAIT as usize, tid as usize, 0];
                    let _ = sys::call(abi::__NR_futex, &wait);
                }
            }
        }
    }
}

/// Returns when a thread of this process sleeps (/proc/self/task/TID/stat, proc_pid_stat(5)).
pub fn until_asleep(tid: i32) {
    let path = format!("/proc/self/task/{tid}/stat");
    loop {
        let stat = files::contents(&path).expect("a thread is listed");
        let after_name = stat.iter().rposition(|&byte| byte == b')').expect("a name in brackets");
        if stat[after_name + 2] == b'S' {
            return;
        }
        sys::call(abi::__NR_sched_yield, &[]).expect("a yield succeeds");
    }
}

/// Starts a child process with a copy of the memory, as fork(2) does; returns its id.
pub fn fork(code: impl FnOnce() + Send + 'static) -> Result<i32, Error> {
    let code = program::code(move || {
        code();
        sys::exit_group(0)
    });
    sys::call(abi::__NR_clone, &[abi::SIGCHLD as usize, 0, 0, 0, 0, code as usize]).map(|pid| pid as i32)
}

/// Waits for a child to end (wait4(2)); returns its status.
pub fn wait(pid: i32) -> Result<u32, Error> {
    let status = sys::memory(4);
    sys::call(abi::__NR_wait4, &[pid as usize, status, 0, 0])?;
    Ok(crate::load_u32(status))
}
