//! /proc/PID/maps, smaps and smaps_rollup.
use super::process::Subject;
use coracle_core::mm::memory::{Memory, RegionInfo as Region};
use coracle_core::task::long_call;
use coracle_fallible::{NoMemory, Text};
use coracle_fs::synthetic::Piece;
use coracle_hal::frame::FRAME_SIZE;
use coracle_hal::paging::Prot;

/// Column that a path begins in.
const PATH_COLUMN: usize = 73;

/// The line, or with `details` the lines, of the region at or after the address `from`; returns its end.
pub(super) fn maps(subject: &Subject, from: u64, text: &mut Text, details: bool) -> Piece {
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
        writeln!(
            text,
            "Size:           {size:>8} kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB"
        )?;
        let mut usage = Usage::default();
        usage.add(&memory, &region);
        usage.write(text)?;
        text.push(b"VmFlags:")?;
        let flags = [
            (region.prot.contains(Prot::READ), " rd"),
            (region.prot.contains(Prot::WRITE), " wr"),
            (region.prot.contains(Prot::EXEC), " ex"),
            (region.shared, " sh"),
            (region.may_write, " mw"),
            (region.grows_down, " gd"),
            (region.is_locked, " lo"),
            (region.is_locked_on_fault, " lf"),
            (!region.is_dumped, " dd"),
        ];
        flags.into_iter().filter(|(holds, _)| *holds).try_for_each(|(_, name)| text.push(name.as_bytes()))?;
        text.push(b"\n")?;
    }
    Ok(Some(region.range.end as u64))
}

pub(super) fn smaps_rollup(subject: &Subject, text: &mut Text) -> Result<(), NoMemory> {
    let memory = subject.process.memory();
    let (mut usage, mut at) = (Usage::default(), 0);
    let mut first = None;
    while let Some(region) = memory.region_from(at) {
        usage.add(&memory, &region);
        first = first.or(Some(region.range.start));
        at = region.range.end;
    }
    let start = text.len();
    write!(text, "{:08x}-{at:08x} ---p 00000000 00:00 0 ", first.unwrap_or(0))?;
    let width = (start + PATH_COLUMN).saturating_sub(text.len());
    writeln!(text, "{:width$}[rollup]", "")?;
    usage.write(text)
}

/// What of the pages in memory is whose, in bytes (proc_pid_smaps(5)).
#[derive(Default)]
struct Usage {
    shared_clean: usize,
    shared_dirty: usize,
    private_clean: usize,
    private_dirty: usize,
    /// Pages of the process's own, not of a file or shared memory.
    anonymous: usize,
    /// Each page divided by the number of its mappings.
    proportional: usize,
    /// The same of pages that were written to.
    proportional_dirty: usize,
    /// The same of pages in locked memory.
    locked: usize,
}

impl Usage {
    /// Adds a region's pages.
    fn add(&mut self, memory: &Memory, region: &Region) {
        let before = self.proportional;
        let mut rest = region.range.clone();
        while !rest.is_empty() {
            memory.space.references_in(&mut rest, &mut |references| self.page(references, region));
            long_call::pause();
        }
        if region.is_locked {
            self.locked += self.proportional - before;
        }
    }

    /// A page with so many references. A file's page has one that is its cache's; what a program has written to in private has not.
    fn page(&mut self, references: Option<u32>, region: &Region) {
        let is_cached = region.file.is_some() && references != Some(1);
        // The image's pages are as good as mapped by others.
        let mappings = references.map_or(2, |count| (count - u32::from(is_cached)).max(1) as usize);
        let is_clean = is_cached || references.is_none();
        if !is_clean {
            self.proportional_dirty += FRAME_SIZE / mappings;
            self.anonymous += if region.shared { 0 } else { FRAME_SIZE };
        }
        let kind = match (mappings > 1, is_clean) {
            (true, true) => &mut self.shared_clean,
            (true, false) => &mut self.shared_dirty,
            (false, true) => &mut self.private_clean,
            (false, false) => &mut self.private_dirty,
        };
        *kind += FRAME_SIZE;
        self.proportional += FRAME_SIZE / mappings;
    }

    fn write(&self, text: &mut Text) -> Result<(), NoMemory> {
        let resident = self.shared_clean + self.shared_dirty + self.private_clean + self.private_dirty;
        let lines = [
            ("Rss:", resident),
            ("Pss:", self.proportional),
            ("Pss_Dirty:", self.proportional_dirty),
            ("Shared_Clean:", self.shared_clean),
            ("Shared_Dirty:", self.shared_dirty),
            ("Private_Clean:", self.private_clean),
            ("Private_Dirty:", self.private_dirty),
            ("Anonymous:", self.anonymous),
            ("Swap:", 0),
            ("Locked:", self.locked),
        ];
        lines.iter().try_for_each(|(name, bytes)| writeln!(text, "{name:<15} {:>8} kB", bytes / 1024))
    }
}
