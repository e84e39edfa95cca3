//! How willingly a process is to be ended when memory runs out (proc(5), `/proc/pid/oom_score_adj`). [`super::oom`]
//! chooses by it.
use crate::errno::Errno;
use coracle_hal::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// The largest adjustment, and in the negative the smallest (OOM_SCORE_ADJ_MAX).
pub const ADJUSTMENT_MAX: i32 = 1000;
/// The same of the older `oom_adj` (OOM_ADJUST_MAX, OOM_ADJUST_MIN, OOM_DISABLE).
const OLD_MAX: i32 = 15;
const OLD_MIN: i32 = -16;
const OLD_DISABLE: i32 = -17;

/// A process's adjustment.
#[derive(Default)]
pub struct OomScore {
    adjustment: AtomicI32,
    /// What a process without CAP_SYS_RESOURCE may lower it to: the last value that one with it has set.
    lowest: AtomicI32,
}

impl OomScore {
    /// Takes over that of a parent.
    pub fn inherit(&self, from: &OomScore) {
        self.adjustment.store(from.adjustment.load(Relaxed), Relaxed);
        self.lowest.store(from.lowest.load(Relaxed), Relaxed);
    }

    /// The adjustment, -1000 to 1000.
    pub fn adjustment(&self) -> i32 {
        self.adjustment.load(Relaxed)
    }

    /// Sets it; `privileged`: by a process with CAP_SYS_RESOURCE. EINVAL if it is out of range, EACCES if it is lower than a
    /// process without that capability may set it.
    pub fn set(&self, adjustment: i32, privileged: bool) -> Result<(), Errno> {
        if !(-ADJUSTMENT_MAX..=ADJUSTMENT_MAX).contains(&adjustment) {
            return Err(Errno::INVAL);
        }
        if privileged {
            self.lowest.store(adjustment, Relaxed);
        } else if adjustment < self.lowest.load(Relaxed) {
            return Err(Errno::ACCES);
        }
        self.adjustment.store(adjustment, Relaxed);
        Ok(())
    }

    /// The adjustment on the scale of `/proc/pid/oom_adj`, -17 to 15.
    pub fn old_adjustment(&self) -> i32 {
        match self.adjustment() {
            ADJUSTMENT_MAX => OLD_MAX,
            adjustment => (adjustment * -OLD_DISABLE / ADJUSTMENT_MAX).min(OLD_MAX),
        }
    }

    /// Sets it by a value on that scale. EINVAL, EACCES.
    pub fn set_old(&self, value: i32, privileged: bool) -> Result<(), Errno> {
        let adjustment = match value {
            OLD_MAX => ADJUSTMENT_MAX,
            OLD_MIN..OLD_MAX | OLD_DISABLE => value * ADJUSTMENT_MAX / -OLD_DISABLE,
            _ => return Err(Errno::INVAL),
        };
        self.set(adjustment, privileged)
    }

    /// How good it is to end a process that has filled `pages` of the machine's `total`, in pages; `None`: it is never ended
    /// (Linux's `oom_badness`).
    pub fn badness(&self, pages: usize, total: usize) -> Option<i64> {
        let adjustment = self.adjustment();
        let points = pages as i64 + i64::from(adjustment) * (total as i64 / SCALE);
        (adjustment != -ADJUSTMENT_MAX).then_some(points)
    }
}

/// The scale of Linux's scores, of which those without an adjustment begin at two thirds.
const SCALE: i64 = 1000;

/// `/proc/pid/oom_score` of a process with this badness in a machine of `total` pages (Linux's `proc_oom_score`).
pub fn score(badness: Option<i64>, total: usize) -> u64 {
    let scaled = |points: i64| (SCALE + points * SCALE / (total as i64).max(1)) * 2 / 3;
    badness.map_or(0, scaled).max(0) as u64
}
