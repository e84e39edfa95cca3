//! Resource limits of a process (getrlimit(2)).
use linux_raw_sys::general as abi;
use spin::Mutex;

/// RLIM_INFINITY.
pub const INFINITY: u64 = u64::MAX;
/// Number of limits (RLIM_NLIMITS).
pub const COUNT: usize = 16;

/// Soft and hard limit of each resource.
pub struct Limits(Mutex<[(u64, u64); COUNT]>);

impl Default for Limits {
    /// Linux's first process's (INIT_RLIMITS), as distributions raise them.
    fn default() -> Self {
        let mut limits = [(INFINITY, INFINITY); COUNT];
        limits[abi::RLIMIT_STACK as usize] = (8 << 20, INFINITY);
        limits[abi::RLIMIT_CORE as usize] = (0, INFINITY);
        limits[abi::RLIMIT_NOFILE as usize] = (1024, 1 << 20);
        limits[abi::RLIMIT_MEMLOCK as usize] = (8 << 20, 8 << 20);
        limits[abi::RLIMIT_SIGPENDING as usize] = (15_000, 15_000);
        limits[abi::RLIMIT_MSGQUEUE as usize] = (819_200, 819_200);
        limits[abi::RLIMIT_NICE as usize] = (0, 0);
        limits[abi::RLIMIT_RTPRIO as usize] = (0, 0);
        Limits(Mutex::new(limits))
    }
}

impl Limits {
    /// A child gets the same.
    pub fn copy_to(&self, child: &Limits) {
        *child.0.lock() = *self.0.lock();
    }
    /// Soft and hard limit; `None` for a resource there isn't.
    pub fn get(&self, resource: u32) -> Option<(u64, u64)> {
        self.0.lock().get(resource as usize).copied()
    }
    /// The soft limit of a resource there is.
    pub fn soft(&self, resource: u32) -> u64 {
        self.get(resource).map_or(INFINITY, |limit| limit.0)
    }
    /// Sets both.
    pub fn set(&self, resource: u32, soft: u64, hard: u64) {
        if let Some(limit) = self.0.lock().get_mut(resource as usize) {
            *limit = (soft, hard);
        }
    }
}
