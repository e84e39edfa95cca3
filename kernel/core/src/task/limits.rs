//! Resource limits of a process (getrlimit(2)).
use super::process::{self, Process};
use super::signal;
use crate::errno::Errno;
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicU64, Ordering::Relaxed};
use linux_raw_sys::general as abi;

/// RLIM_INFINITY.
pub const INFINITY: u64 = u64::MAX;
/// Number of limits (RLIM_NLIMITS).
pub const COUNT: usize = 16;

/// RLIMIT_STACK of the first process, in bytes.
pub const DEFAULT_STACK: u64 = 8 << 20;

/// Soft and hard limit of each resource.
pub struct Limits {
    pairs: Mutex<[(u64, u64); COUNT]>,
    /// The soft limit of RLIMIT_FSIZE, for each write to a file.
    file_size: AtomicU64,
}

impl Default for Limits {
    /// Linux's first process's (INIT_RLIMITS), as distributions raise them.
    fn default() -> Self {
        let mut limits = [(INFINITY, INFINITY); COUNT];
        limits[abi::RLIMIT_STACK as usize] = (DEFAULT_STACK, INFINITY);
        limits[abi::RLIMIT_CORE as usize] = (0, INFINITY);
        limits[abi::RLIMIT_NOFILE as usize] = (1024, 1 << 20);
        limits[abi::RLIMIT_MEMLOCK as usize] = (8 << 20, 8 << 20);
        limits[abi::RLIMIT_SIGPENDING as usize] = (15_000, 15_000);
        limits[abi::RLIMIT_MSGQUEUE as usize] = (819_200, 819_200);
        limits[abi::RLIMIT_NICE as usize] = (0, 0);
        limits[abi::RLIMIT_RTPRIO as usize] = (0, 0);
        Limits { pairs: Mutex::new(limits), file_size: AtomicU64::new(INFINITY) }
    }
}

impl Limits {
    /// A child gets the same.
    pub fn copy_to(&self, child: &Limits) {
        *child.pairs.lock() = *self.pairs.lock();
        child.file_size.store(self.file_size.load(Relaxed), Relaxed);
    }
    /// Soft and hard limit; `None` for a resource there isn't.
    pub fn get(&self, resource: u32) -> Option<(u64, u64)> {
        self.pairs.lock().get(resource as usize).copied()
    }
    /// The soft limit of a resource there is.
    pub fn soft(&self, resource: u32) -> u64 {
        self.get(resource).map_or(INFINITY, |limit| limit.0)
    }
    /// Sets both.
    pub fn set(&self, resource: u32, soft: u64, hard: u64) {
        if let Some(limit) = self.pairs.lock().get_mut(resource as usize) {
            *limit = (soft, hard);
        }
        if resource == abi::RLIMIT_FSIZE {
            self.file_size.store(soft, Relaxed);
        }
    }
    /// The size in bytes beyond which files may not grow (RLIMIT_FSIZE), if there is one.
    #[inline(always)]
    pub fn file_size(&self) -> Option<u64> {
        let limit = self.file_size.load(Relaxed);
        if limit == INFINITY { None } else { Some(limit) }
    }
    /// The running thread would have a file grow beyond that: EFBIG, with SIGXFSZ.
    pub fn file_too_large(&self) -> Errno {
        signal::raise(abi::SIGXFSZ);
        Errno::FBIG
    }
}

/// EAGAIN if the user of `process` has as many threads as RLIMIT_NPROC allows (fork(2), "ERRORS"). It does not bind root, nor those that
/// may exceed limits.
pub fn check_threads(process: &Process) -> Result<(), Errno> {
    let limit = process.limits.soft(abi::RLIMIT_NPROC);
    if limit == INFINITY { Ok(()) } else { count_threads(process, limit) }
}

#[cold]
#[inline(never)]
fn count_threads(process: &Process, limit: u64) -> Result<(), Errno> {
    let user = process.user();
    if user == 0 || process.credentials.lock().may_exceed_limits() {
        return Ok(());
    }
    let of_user = process::all().filter(|other| other.user() == user);
    let threads: usize = of_user.map(|other| other.threads.lock().len().max(1)).sum();
    if threads as u64 >= limit { Err(Errno::AGAIN) } else { Ok(()) }
}
