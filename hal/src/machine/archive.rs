//! The image that was loaded with the kernel: an archive, mapped read-only for ever.
use crate::mm::frame::Frame;
use crate::mm::layout::{self, PAGE};
#[cfg(target_os = "none")]
use crate::mm::ranges::Ranges;
#[cfg(target_os = "none")]
use coracle_image::cmdline::ImagePlace;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

static IMAGE: AtomicUsize = AtomicUsize::new(0);
static IMAGE_LEN: AtomicUsize = AtomicUsize::new(0);
/// Where the archive ends by its header, if memory ends before.
static IMAGE_MISSED: AtomicU64 = AtomicU64::new(0);

/// The archive: behind the kernel, or at the address on the command line. `None` if there is no header.
pub fn image() -> Option<&'static [u8]> {
    let len = IMAGE_LEN.load(Ordering::Relaxed);
    if len == 0 {
        return None;
    }
    let address = layout::direct(IMAGE.load(Ordering::Relaxed) as u64);
    // SAFETY: the archive lies in RAM, reserved and mapped read-only by `start`, for ever.
    Some(unsafe { core::slice::from_raw_parts(address as *const u8, len) })
}
/// The physical address at which the archive would end, if it is there but memory ends before it does.
pub fn image_beyond_memory() -> Option<u64> {
    match IMAGE_MISSED.load(Ordering::Relaxed) {
        0 => None,
        end => Some(end),
    }
}
/// The frame that holds byte `page * 4096` of the image, to be mapped read-only in place.
pub fn image_frame(page: usize) -> Option<Frame> {
    if page >= IMAGE_LEN.load(Ordering::Relaxed).div_ceil(PAGE) {
        return None;
    }
    // SAFETY: frames of the image are not counted, so that any number of references can be made.
    Some(unsafe { Frame::from_phys((IMAGE.load(Ordering::Relaxed) + page * PAGE) as u64) })
}

/// Where the archive is: its physical address and its length, 0 if there is none.
#[cfg(target_os = "none")]
#[derive(Clone, Copy)]
pub struct Place {
    pub start: u64,
    pub len: usize,
    /// Memory in front of it that can't be used: a second kernel, with which the file of the archive begins.
    pub unused: (u64, u64),
}

/// Finds the archive: where the command line says, or at `kernel_end`. From now on [`image`] returns it, once all RAM is mapped.
///
/// # Safety
/// The first GiB is mapped at 0, and `ram` is RAM.
#[cfg(target_os = "none")]
pub unsafe fn find(command_line: &[u8], ram: &Ranges, kernel_end: u64) -> Place {
    let named = ImagePlace::find(command_line)
        .filter(|place| {
            kernel_end <= place.start
                && place.start <= place.archive
                && place.archive.is_multiple_of(PAGE as u64)
        })
        .map(|place| Place {
            start: place.archive,
            // SAFETY: passed on to the caller.
            len: unsafe { length(ram, place.archive) },
            unused: (place.start, place.archive - place.start),
        })
        .filter(|place| place.len != 0);
    let place = named.unwrap_or_else(|| Place {
        start: kernel_end,
        // SAFETY: passed on to the caller.
        len: unsafe { length(ram, kernel_end) },
        unused: (kernel_end, 0),
    });
    IMAGE.store(place.start as usize, Ordering::Relaxed);
    IMAGE_LEN.store(place.len, Ordering::Relaxed);
    place
}

/// Length of the archive at `image`, or 0 if there is none.
///
/// # Safety
/// As for [`find`].
#[cfg(target_os = "none")]
unsafe fn length(regions: &Ranges, image: u64) -> usize {
    let Some((_, end)) = regions.iter().find(|(start, end)| (*start..*end).contains(&image)) else {
        return 0;
    };
    let reach = end.min(crate::arch::memory_map::EARLY_MAPPED.end);
    if image >= reach {
        return 0;
    }
    // SAFETY: RAM in the identity map that is not written.
    let bytes = unsafe { core::slice::from_raw_parts(image as *const u8, (reach - image) as usize) };
    match coracle_image::archive::Archive::loaded_len(&bytes[..bytes.len().min(PAGE)]) {
        Ok(len) if len <= end - image => len as usize,
        Ok(len) => {
            IMAGE_MISSED.store(image.saturating_add(len), Ordering::Relaxed);
            0
        }
        Err(_) => 0,
    }
}
