//! /proc/PID/maps, smaps and smaps_rollup.
use super::process::Subject;
use coracle_core::task::long_call;
use coracle_fallible::{NoMemory, Text};
use coracle_fs::synthetic::Piece;
use coracle_hal::frame::FRAME_SIZE;
use coracle_hal::paging::Prot;

/// The line, or with `details` the lines, of the region at or after the address `from`; returns its end.
pub(super) fn maps(subject: &Subject, from: u64, text: &mut Text, details: bool) -> Piece {
    /// Column that the path begins in.
    const PATH_COLUMN: usize = 73;
    let memory = subject.process.memory();
    let Some(region) = memory.region_from(from as usize) else { return Ok(None) };
    let has = |right: Prot, letter: char| if region.prot.contains(right) { letter } else { '-' };
    let identity =
        region.file.as_ref().and_then(|file| file.stat().ok()).map(|stat| (stat.st_dev, stat.st_ino));
    let (device, inode) = identity.unwrap_or((0, 0));
    let (major, minor) = coracle_core::fs::stat::split_device(device);
    let start = text.len();
    write!(
        text,
        "{:08x}-{:08x} {}{}{}{} {:08x} {major:02x}:{minor:02x} {inode} ",
        region.range.start,
        region.range.end,
        has(Prot::READ, 'r'),
        has(Prot::WRITE, 'w'),
        has(Prot::EXEC, 'x'),
        if region.shared { 's' } else { 'p' },
        region.offset,
    )?;
    let path_start = (start + PATH_COLUMN).max(text.len());
    let width = path_start - text.len();
    write!(text, "{:width$}", "")?;
    region.name(text)?;
    if text.len() == path_start {
        text.truncate(path_start - width);
    }
    text.push(b"\n")?;
    if details {
        let size = region.range.len() / 1024;
        let (mut rest, mut pages) = (region.range.clone(), 0);
        while !rest.is_empty() {
            pages += memory.space.resident_in(&mut rest);
            long_call::pause();
        }
        let resident = pages * FRAME_SIZE / 1024;
        writeln!(
            text,
            "Size:           {size:>8} kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n\
             Rss:            {resident:>8} kB\nPss:            {resident:>8} kB\nShared_Clean:          0 kB\n\
             Shared_Dirty:          0 kB\nPrivate_Clean:         0 kB\nPrivate_Dirty:  {resident:>8} kB\n\
             Swap:                  0 kB\nVmFlags:"
        )?;
        text.truncate(text.len() - 1);
        let flags = [
            (region.prot.contains(Prot::READ), " rd"),
            (region.prot.contains(Prot::WRITE), " wr"),
            (region.prot.contains(Prot::EXEC), " ex"),
            (region.shared, " sh"),
            (region.may_write, " mw"),
            (region.grows_down, " gd"),
            (!region.is_dumped, " dd"),
        ];
        flags.into_iter().filter(|(holds, _)| *holds).try_for_each(|(_, name)| text.push(name.as_bytes()))?;
        text.push(b"\n")?;
    }
    Ok(Some(region.range.end as u64))
}

pub(super) fn smaps_rollup(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    let (_, resident) = subject.process.memory().sizes();
    let kb = resident / 1024;
    write!(
        text,
        "00010000-7ffffffff000 ---p 00000000 00:00 0                          [rollup]\nRss:            {kb:>8} kB\n\
         Pss:            {kb:>8} kB\nPrivate_Dirty:  {kb:>8} kB\nSwap:                  0 kB\n"
    )
}
