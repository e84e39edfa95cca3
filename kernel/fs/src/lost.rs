//! What the program wrote to the root file system, which is in memory and ends with the machine: reported at the end, since the
//! program's user may have meant to keep it. /tmp, /run and /dev are other file systems, meant to be lost.
use coracle_core::fs::mount::Place;
use coracle_core::lock::Mutex;
use coracle_core::log::{self, Line};
use coracle_fallible::Text;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Bytes that were written.
static BYTES: AtomicU64 = AtomicU64::new(0);
/// Whether the program runs: what the kernel itself writes before that is no loss.
static COUNTS: AtomicBool = AtomicBool::new(false);
/// The path of the file that was written first, as it was then: the file itself may go.
static FIRST: Mutex<Text> = Mutex::new(Text::new());

/// Counts from now on.
pub fn begin() {
    COUNTS.store(true, Relaxed);
}

/// Counts bytes written to a file of the root file system.
pub fn count(bytes: usize, place: &Place) {
    if COUNTS.load(Relaxed) && bytes > 0 && BYTES.fetch_add(bytes as u64, Relaxed) == 0 {
        // What is cut short is better than nothing.
        let _ = place.write(&mut FIRST.lock());
    }
}

/// Reports how much it was, and the file that was written first, if anything was.
pub fn tell() {
    let bytes = BYTES.load(Relaxed);
    // The machine may end while a CPU is in `count`.
    if bytes > 0
        && let Some(first) = FIRST.try_lock()
    {
        log::write(Line::Lost, format_args!("{bytes} {first}"));
    }
}
