//! The options of a tmpfs (tmpfs(5)).
use alloc::sync::Arc;
use coracle_core::errno::Errno;
use coracle_core::lock::Mutex;
use coracle_fallible::try_arc;
use coracle_hal::frame::{self, FRAME_SIZE};
use coracle_hal::sync::atomic::{AtomicUsize, Ordering};

/// How many of something the files of a file system may have together, and have.
pub(super) struct Bound {
    most: AtomicUsize,
    used: AtomicUsize,
}

impl Bound {
    /// `most`: 0 for no bound but memory's.
    fn new(most: usize) -> Bound {
        let most = if most == 0 { usize::MAX / FRAME_SIZE } else { most };
        Bound { most: AtomicUsize::new(most), used: AtomicUsize::new(0) }
    }
    /// Counts one more. ENOSPC.
    pub fn take(&self) -> Result<(), Errno> {
        let next = |used| (used < self.most.load(Ordering::Relaxed)).then_some(used + 1);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.map(drop).map_err(|_| Errno::NOSPC)
    }
    /// Counts so many that are gone.
    pub fn give_back(&self, count: usize) {
        self.used.fetch_sub(count, Ordering::Relaxed);
    }
    /// The bound, and how many there may still be.
    pub fn of_all(&self) -> (usize, usize) {
        let most = self.most.load(Ordering::Relaxed);
        (most, most.saturating_sub(self.used.load(Ordering::Relaxed)))
    }
    /// Sets another bound, if one is given. EINVAL if there are more.
    fn set(&self, most: Option<usize>) -> Result<(), Errno> {
        let Some(most) = most else { return Ok(()) };
        if self.used.load(Ordering::Relaxed) > most {
            return Err(Errno::INVAL);
        }
        self.most.store(most, Ordering::Relaxed);
        Ok(())
    }
}

/// The bounds of a file system.
pub(super) struct Limit {
    pub pages: Bound,
    pub inodes: Bound,
    /// Bytes of extended attributes, which count by the page.
    attributes: Mutex<usize>,
}

impl Limit {
    /// Counts so many bytes of extended attributes in the place of others. ENOSPC.
    pub fn exchange_attributes(&self, less: usize, more: usize) -> Result<(), Errno> {
        let mut bytes = self.attributes.lock();
        let new = bytes.saturating_sub(less) + more;
        let (before, after) = (bytes.div_ceil(FRAME_SIZE), new.div_ceil(FRAME_SIZE));
        for taken in 0..after.saturating_sub(before) {
            if let Err(error) = self.pages.take() {
                self.pages.give_back(taken);
                return Err(error);
            }
        }
        self.pages.give_back(before.saturating_sub(after));
        *bytes = new;
        Ok(())
    }
    /// Sets other bounds, those that `options` says. EINVAL if there is more.
    pub fn set(&self, options: &Options) -> Result<(), Errno> {
        self.pages.set(options.pages)?;
        self.inodes.set(options.inodes)
    }
}

/// What mount(2) is told of a tmpfs; what is not said stays as it is.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// Permissions of the root directory, its owner and its group.
    pub mode: Option<u32>,
    #[allow(missing_docs)]
    pub uid: Option<u32>,
    #[allow(missing_docs)]
    pub gid: Option<u32>,
    /// Pages that its files may have together.
    pub pages: Option<usize>,
    /// Files, directories and links that there may be.
    pub inodes: Option<usize>,
}

impl Options {
    /// Reads `size`, `nr_blocks`, `nr_inodes`, `mode`, `uid` and `gid`, with commas between them. EINVAL for others.
    pub fn parse(text: &[u8]) -> Result<Options, Errno> {
        let mut options = Options::default();
        for option in text.split(|&byte| byte == b',').filter(|option| !option.is_empty()) {
            let equals = option.iter().position(|&byte| byte == b'=').ok_or(Errno::INVAL)?;
            let value = core::str::from_utf8(&option[equals + 1..]).map_err(|_| Errno::INVAL)?;
            let number = |radix| u32::from_str_radix(value, radix).map_err(|_| Errno::INVAL);
            match &option[..equals] {
                b"size" => options.pages = Some(amount(value)?.div_ceil(FRAME_SIZE)),
                b"nr_blocks" => options.pages = Some(amount(value)?),
                b"nr_inodes" => options.inodes = Some(amount(value)?),
                b"mode" => options.mode = Some(number(8)?),
                b"uid" => options.uid = Some(number(10)?),
                b"gid" => options.gid = Some(number(10)?),
                _ => return Err(Errno::INVAL),
            }
        }
        Ok(options)
    }

    /// The bound for a new file system; `None` if none is set. ENOMEM.
    pub(super) fn limit(&self) -> Result<Option<Arc<Limit>>, Errno> {
        // Half of memory, as where nothing is said (`super::content`).
        let usual = frame::total() / 2;
        Ok(Some(try_arc(Limit {
            pages: Bound::new(self.pages.unwrap_or(usual)),
            inodes: Bound::new(self.inodes.unwrap_or(usual)),
            attributes: Mutex::new(0),
        })?))
    }
}

/// A number with `k`, `m`, `g` behind it, or `%`: a part of memory, in bytes. EINVAL.
fn amount(text: &str) -> Result<usize, Errno> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: usize = digits.parse().map_err(|_| Errno::INVAL)?;
    let unit = match &text.as_bytes()[digits.len()..] {
        b"" => 1,
        b"k" | b"K" => 1 << 10,
        b"m" | b"M" => 1 << 20,
        b"g" | b"G" => 1 << 30,
        b"%" => frame::total() * FRAME_SIZE / 100,
        _ => return Err(Errno::INVAL),
    };
    number.checked_mul(unit).ok_or(Errno::INVAL)
}
