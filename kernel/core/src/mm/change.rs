//! Changes of a memory's layout that may be long: of many regions, or of many pages.
//!
//! Such a change pauses after each step with the lock let go, so that the rest of the machine goes on. What is half changed then
//! is seen by no other thread: one that wants the layout, as for a page fault, waits until the change is over, as on Linux,
//! where mmap_lock is held meanwhile.
use super::memory::{Layout, Memory};
use super::vma::{Vma, table_rights};
use crate::errno::Errno;
use crate::task::{long_call, sched};
use coracle_hal::paging::{Flush, MapError, Prot};
use coracle_hal::sync::MutexGuard;
use core::ops::{Deref, DerefMut, Range};

/// Regions that a step is about.
const STEP: usize = 64;

/// A change of the layout. Its end, without the lock, waits for the other CPUs to drop translations, and drops what was
/// removed: dropping a file may take locks of its own.
pub(super) struct Change<'a> {
    memory: &'a Memory,
    /// Away while the change pauses, and at its end.
    layout: Option<MutexGuard<'a, Layout>>,
    /// What is to be flushed when the lock is let go.
    pub flush: Flush,
    /// Regions that were dealt with since the last pause.
    dealt_with: usize,
    /// Regions were removed, whose attributes the layout still keeps.
    has_removed: bool,
    /// Attributes that were replaced.
    replaced: Option<Vma>,
}

impl Memory {
    /// The layout, locked, with no change of it half made. Hold no lock: this may wait for another thread.
    #[inline]
    pub(super) fn layout(&self) -> MutexGuard<'_, Layout> {
        loop {
            if let Some(layout) = self.layout_now() {
                return layout;
            }
            wait();
        }
    }

    /// [`Memory::layout`] for callers that hold a lock: `None` while another thread's change pauses.
    #[inline]
    pub(super) fn layout_now(&self) -> Option<MutexGuard<'_, Layout>> {
        let layout = self.layout.lock();
        if layout.is_changing { None } else { Some(layout) }
    }

    /// Begins a change. Hold no lock.
    pub(super) fn change(&self) -> Change<'_> {
        let mut layout = self.layout();
        layout.changed();
        Change {
            memory: self,
            layout: Some(layout),
            flush: Flush::default(),
            dealt_with: 0,
            has_removed: false,
            replaced: None,
        }
    }
}

/// Another thread's change pauses: lets it go on.
#[cold]
#[inline(never)]
fn wait() {
    long_call::pause();
    sched::yield_now();
}

impl Change<'_> {
    /// Pauses, between two steps.
    #[inline(never)]
    pub fn pause(&mut self) {
        self.let_go();
        long_call::pause();
        self.take_back();
    }

    /// The same for a change that can end early. EINTR if the process is about to end.
    pub fn pause_unless_killed(&mut self) -> Result<(), Errno> {
        self.let_go();
        let paused = long_call::pause_unless_killed();
        self.take_back();
        paused
    }

    fn let_go(&mut self) {
        if let Some(mut layout) = self.layout.take() {
            layout.is_changing = true;
        }
        drop(core::mem::take(&mut self.flush));
    }

    fn take_back(&mut self) {
        let mut layout = self.memory.layout.lock();
        layout.is_changing = false;
        self.layout = Some(layout);
        self.dealt_with = 0;
    }

    /// Counts a region; true if a step's worth of them was dealt with since the last pause.
    pub fn ends_step(&mut self) -> bool {
        self.dealt_with += 1;
        self.dealt_with >= STEP
    }

    /// Pauses if a step's worth of regions was dealt with since the last pause.
    pub fn pause_by_regions(&mut self) {
        if self.ends_step() {
            self.pause();
        }
    }

    /// Takes from the start of `rest` what a step is about, and returns that. None of its edges cuts a region, if those of
    /// `rest` don't.
    fn first_regions(&self, rest: &mut Range<usize>) -> Range<usize> {
        let next = self.regions.parts(rest.clone()).nth(STEP);
        let end = next.map_or(rest.end, |(part, _)| part.start);
        core::mem::replace(&mut rest.start, end)..end
    }

    /// Removes the pages of a range.
    pub fn unmap(&mut self, mut range: Range<usize>) {
        loop {
            let flush = self.memory.space.unmap(&mut range);
            self.flush.join(flush);
            if range.is_empty() {
                return;
            }
            self.pause();
        }
    }

    /// Moves the pages of a range to `to` and behind. The ranges must not overlap; an error leaves pages in both.
    pub fn move_pages(&mut self, range: Range<usize>, to: usize) -> Result<(), MapError> {
        let mut rest = range.clone();
        loop {
            let at = to + (rest.start - range.start);
            self.memory.space.move_range(&mut rest, at, &mut self.flush)?;
            if rest.is_empty() {
                return Ok(());
            }
            self.pause();
        }
    }

    /// Removes what is mapped in a range; returns whether there was anything. ENOMEM: nothing was removed.
    pub fn remove(&mut self, range: Range<usize>) -> Result<bool, Errno> {
        if self.regions.is_free(range.clone()) {
            return Ok(false);
        }
        self.regions.isolate(range.clone())?;
        self.has_removed = true;
        let mut rest = range;
        loop {
            let part = self.first_regions(&mut rest);
            self.regions.remove(part.clone())?;
            self.unmap(part);
            if rest.is_empty() {
                return Ok(true);
            }
            self.pause();
        }
    }

    /// Maps a range in place of what is there. ENOMEM: nothing was changed.
    pub fn replace(&mut self, range: Range<usize>, vma: Vma) -> Result<(), Errno> {
        let is_long = self.regions.parts(range.clone()).nth(STEP).is_some();
        if is_long {
            self.regions.isolate(range.clone())?;
            // The first one's place is kept for the new one, which then can't fail.
            let first = self.regions.parts(range.clone()).next();
            self.remove(first.map_or(range.start, |(part, _)| part.end)..range.end)?;
        }
        let replaced = self.regions.replace(range.clone(), vma)?;
        if replaced.is_some() {
            self.has_removed = true;
            self.replaced = replaced;
            self.unmap(range);
        }
        Ok(())
    }

    /// Changes the attributes of what is mapped in a range. ENOMEM.
    pub fn update(&mut self, range: Range<usize>, mut change: impl FnMut(&mut Vma)) -> Result<(), Errno> {
        self.regions.isolate(range.clone())?;
        let mut rest = range;
        while !rest.is_empty() {
            let part = self.first_regions(&mut rest);
            self.regions.update(part, &mut change)?;
            if !rest.is_empty() {
                self.pause();
            }
        }
        Ok(())
    }

    /// Changes the rights of what is mapped in a range. ENOMEM.
    pub fn protect(&mut self, range: Range<usize>, prot: Prot) -> Result<(), Errno> {
        self.regions.isolate(range.clone())?;
        let mut rest = range;
        loop {
            let first = self.regions.parts(rest.clone()).next();
            let Some((part, vma)) = first else { return Ok(()) };
            rest.start = part.end;
            if vma.prot != prot {
                // Pages of a private mapping may be shared: a write must fault, and find out.
                let rights = table_rights(prot, vma.shared());
                let mut pages = part.clone();
                loop {
                    let flush = self.memory.space.protect(&mut pages, rights);
                    self.flush.join(flush);
                    if pages.is_empty() {
                        break;
                    }
                    self.pause();
                }
                self.regions.update(part, |vma| vma.prot = prot)?;
            }
            self.pause_by_regions();
        }
    }
}

impl Deref for Change<'_> {
    type Target = Layout;
    fn deref(&self) -> &Layout {
        match &self.layout {
            Some(layout) => layout,
            None => unreachable!("a change that pauses"),
        }
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut Layout {
        match &mut self.layout {
            Some(layout) => layout,
            None => unreachable!("a change that pauses"),
        }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.layout = None;
        drop(core::mem::take(&mut self.flush));
        if self.has_removed {
            self.memory.drop_removed();
        }
    }
}
