//! What is needed outside of the guest to unwind a program's stack by its files: which of them have code mapped where.
use crate::mm::memory::Memory;
use coracle_control::CODE_SAMPLE;
use coracle_hal::checksum::crc32c;
use coracle_hal::paging::Prot;
use core::fmt;

/// Calls `line` for each region with code of a file: its first address, the first behind it, its offset in the file, the CRC-32C of
/// its first [`CODE_SAMPLE`] bytes (0: they can't be read), in hexadecimal, and the path.
pub fn regions(memory: &Memory, mut line: impl FnMut(fmt::Arguments<'_>)) {
    let mut from = 0;
    while let Some(region) = memory.region_from(from) {
        from = region.range.end;
        let Some(file) = region.file.filter(|_| region.prot.contains(Prot::EXEC)) else { continue };
        let mut sample = [0; CODE_SAMPLE];
        let sum = memory.read(region.range.start, &mut sample).map_or(0, |()| crc32c(&sample));
        let range = region.range;
        line(format_args!(
            "{:x} {:x} {:x} {sum:x} {}",
            range.start,
            range.end,
            region.offset,
            file.shown_path()
        ));
    }
}
