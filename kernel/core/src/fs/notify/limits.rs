//! Limits of inotify and fanotify (/proc/sys/fs), and what each user has of them.
use crate::errno::Errno;
use crate::lock::Mutex;
use coracle_hal::frame::{self, FRAME_SIZE};
use coracle_hal::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use coracle_sorted_map::SortedMap;

/// A limit that root may set.
pub struct Setting {
    /// One more than was set; 0 if nothing was.
    value: AtomicUsize,
    /// What it is at first; `None` follows from the size of memory.
    first: Option<usize>,
}

/// The limits of one of the two.
pub struct Limits {
    /// Events that may wait at an instance (max_queued_events).
    pub events: Setting,
    /// Instances that a user may have (max_user_instances, max_user_groups).
    pub instances: Setting,
    /// Watches that a user may have (max_user_watches, max_user_marks).
    pub watches: Setting,
    counts: Mutex<SortedMap<u32, Count>>,
}

/// Those of inotify.
pub static INOTIFY: Limits = Limits::new();
/// Those of fanotify.
pub static FANOTIFY: Limits = Limits::new();

/// So many that they take at most a hundredth of memory, within Linux's bounds (`inotify_user_setup`).
fn watches_by_memory() -> usize {
    /// Memory of a watch in the two tables that it is in.
    const WATCH_BYTES: usize = 128;
    const SHARE: usize = 100;
    let bytes = frame::counts().1 * FRAME_SIZE;
    (bytes / SHARE / WATCH_BYTES).clamp(8192, 1_048_576)
}

impl Setting {
    /// The limit now.
    pub fn get(&self) -> usize {
        match self.value.load(Relaxed) {
            0 => self.first.unwrap_or_else(watches_by_memory),
            set => set - 1,
        }
    }

    /// Sets it. EINVAL for what is no number up to INT_MAX.
    pub fn set(&self, text: &[u8]) -> Result<(), Errno> {
        let number = core::str::from_utf8(text.trim_ascii()).ok().and_then(|text| text.parse::<usize>().ok());
        let value = number.filter(|value| *value <= i32::MAX as usize).ok_or(Errno::INVAL)?;
        self.value.store(value + 1, Relaxed);
        Ok(())
    }
}

/// Instances and watches of a user.
#[derive(Clone, Copy, Default)]
struct Count {
    instances: usize,
    watches: usize,
}

impl Limits {
    const fn new() -> Limits {
        Limits {
            events: Setting { value: AtomicUsize::new(0), first: Some(16_384) },
            instances: Setting { value: AtomicUsize::new(0), first: Some(128) },
            watches: Setting { value: AtomicUsize::new(0), first: None },
            counts: Mutex::new(SortedMap::new()),
        }
    }

    fn count(&self, uid: u32, change: impl FnOnce(&mut Count) -> Result<(), Errno>) -> Result<(), Errno> {
        let mut counts = self.counts.lock();
        let count = counts.get_or_insert_with(uid, Count::default)?;
        let result = change(count);
        if count.instances == 0 && count.watches == 0 {
            counts.remove(&uid);
        }
        result
    }

    /// Counts an instance of a user. EMFILE if there are too many, ENOMEM.
    pub(super) fn add_instance(&self, uid: u32) -> Result<(), Errno> {
        self.count(uid, |count| {
            if count.instances >= self.instances.get() {
                return Err(Errno::MFILE);
            }
            count.instances += 1;
            Ok(())
        })
    }

    /// Counts a watch of a user. ENOSPC if there are too many, ENOMEM.
    pub(super) fn add_watch(&self, uid: u32) -> Result<(), Errno> {
        self.count(uid, |count| {
            if count.watches >= self.watches.get() {
                return Err(Errno::NOSPC);
            }
            count.watches += 1;
            Ok(())
        })
    }

    /// An instance goes, or watches go.
    pub(super) fn remove(&self, uid: u32, instances: usize, watches: usize) {
        // The user is in the table as long as the instance counts.
        let _ = self.count(uid, |count| {
            count.instances -= instances;
            count.watches -= watches;
            Ok(())
        });
    }
}
