//! How many pseudo-terminals there may be (/proc/sys/kernel/pty).
use crate::errno::Errno;
use coracle_hal::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// As many as Linux has it at first (`NR_UNIX98_PTY_DEFAULT`).
const MOST_AT_FIRST: u32 = 4096;
/// The most that the setting takes (`NR_UNIX98_PTY_MAX`: the minor numbers that there are).
pub const MOST_EVER: u32 = 1 << 20;

/// Of them, those that Linux keeps for the first mount (`NR_UNIX98_PTY_RESERVE`); every mount may have them here.
pub const RESERVE: u32 = 1024;

static COUNT: AtomicU32 = AtomicU32::new(0);
static MOST: AtomicU32 = AtomicU32::new(MOST_AT_FIRST);

/// Pseudo-terminals that there are (/proc/sys/kernel/pty/nr).
pub fn count() -> u32 {
    COUNT.load(Relaxed)
}

/// Pseudo-terminals that there may be (/proc/sys/kernel/pty/max).
pub fn most() -> u32 {
    MOST.load(Relaxed)
}

/// Sets [`most`]. EINVAL for what is no number up to the number of minor numbers.
pub fn set_most(text: &[u8]) -> Result<(), Errno> {
    let number = core::str::from_utf8(text.trim_ascii()).ok().and_then(|text| text.parse().ok());
    let most = number.filter(|most| *most <= MOST_EVER).ok_or(Errno::INVAL)?;
    MOST.store(most, Relaxed);
    Ok(())
}

/// Counts a pseudo-terminal as long as it is there.
pub struct Counted(());

impl Counted {
    /// ENOSPC if there are as many as may be.
    pub fn new() -> Result<Counted, Errno> {
        let before = COUNT.fetch_add(1, Relaxed);
        let counted = Counted(());
        if before >= most() { Err(Errno::NOSPC) } else { Ok(counted) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Relaxed);
    }
}
