//! Crashes of the kernel, each of which must end in a report.
/// Crashes the kernel.
pub fn crash(how: &str) {
    // SAFETY: none of it is sound; each must end in a report.
    unsafe {
        match how {
            "null" => *core::hint::black_box(core::ptr::null_mut::<u64>()) = 1,
            "text" => *(coracle_hal::boot::kernel_text().start as *mut u64) = 1,
            "alias" => *(coracle_hal::boot::image_frame as *const () as *mut u64) = 1,
            "execute" => {
                let data = [0xc3u8; 16];
                let code: extern "C" fn() = core::mem::transmute(data.as_ptr());
                code();
            }
            "stack" => overflow(&mut [0; 64]),
            "invalid" => super::invalid(),
            _ => {}
        }
    }
}

#[inline(never)]
#[allow(unconditional_recursion)]
fn overflow(words: &mut [u64; 64]) {
    let mut more = *words;
    more[5] = core::hint::black_box(&raw const more as u64);
    overflow(&mut more);
    core::hint::black_box(&more);
}
