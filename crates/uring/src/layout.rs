//! Where things are in the memory of the rings.

/// Entries that the ring of submissions may have (IORING_MAX_ENTRIES).
pub const MOST_ENTRIES: u32 = 32_768;

/// Offsets, in bytes, of the words that the two sides share: each index in a cache line of its own.
pub mod at {
    /// The kernel's index in the ring of submissions.
    pub const SQ_HEAD: u32 = 0;
    /// The program's.
    pub const SQ_TAIL: u32 = 64;
    /// Entries less one.
    pub const SQ_MASK: u32 = 128;
    /// Entries.
    pub const SQ_ENTRIES: u32 = 132;
    /// IORING_SQ_* bits.
    pub const SQ_FLAGS: u32 = 136;
    /// Entries with a wrong index.
    pub const SQ_DROPPED: u32 = 140;
    /// The program's index in the ring of completions.
    pub const CQ_HEAD: u32 = 192;
    /// The kernel's.
    pub const CQ_TAIL: u32 = 256;
    /// Entries less one.
    pub const CQ_MASK: u32 = 320;
    /// Entries.
    pub const CQ_ENTRIES: u32 = 324;
    /// Completions that were lost.
    pub const CQ_OVERFLOW: u32 = 328;
    /// IORING_CQ_* bits.
    pub const CQ_FLAGS: u32 = 332;
    /// The completions.
    pub const COMPLETIONS: u32 = 384;
}

/// Bytes of a line of the CPU's caches, to which the array of indices is aligned.
const LINE: u32 = 64;

/// What a program wants (`struct io_uring_params`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Submissions.
    pub entries: u32,
    /// Completions, if it says so.
    pub completions: Option<u32>,
    /// What is too much becomes as much as there may be (IORING_SETUP_CLAMP).
    pub clamp: bool,
    /// Entries of 128 bytes (IORING_SETUP_SQE128).
    pub long_entries: bool,
    /// Completions of 32 bytes (IORING_SETUP_CQE32).
    pub long_completions: bool,
    /// Submissions are taken in the order of the ring (IORING_SETUP_NO_SQARRAY).
    pub no_array: bool,
}

/// The numbers wanted make no rings (io_uring_setup(2), EINVAL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARing;

/// Sizes and places of two rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Entries of the ring of submissions, a power of two.
    pub entries: u32,
    /// Entries of the ring of completions, a power of two.
    pub completions: u32,
    /// Bytes of a submission.
    pub entry_bytes: u32,
    /// Bytes of a completion.
    pub completion_bytes: u32,
    /// Where the array of indices of submissions is; 0: there is none.
    pub array: u32,
    /// Bytes of all but the submissions themselves.
    pub ring_bytes: u32,
}

impl Layout {
    /// The rings for what is wanted.
    ///
    /// # Errors
    /// [`NotARing`] for no entries, more than there may be, or fewer completions than submissions.
    pub fn new(wanted: Wanted) -> Result<Layout, NotARing> {
        let bounded = |count: u32, most: u32| match count {
            0 => Err(NotARing),
            _ if count <= most => Ok(count.next_power_of_two()),
            _ if wanted.clamp => Ok(most),
            _ => Err(NotARing),
        };
        let entries = bounded(wanted.entries, MOST_ENTRIES)?;
        let completions = match wanted.completions {
            None => 2 * entries,
            Some(count) => bounded(count, 2 * MOST_ENTRIES)?,
        };
        if completions < entries {
            return Err(NotARing);
        }
        let (entry_bytes, completion_bytes) =
            (64 << u32::from(wanted.long_entries), 16 << u32::from(wanted.long_completions));
        let end = at::COMPLETIONS + completions * completion_bytes;
        let (array, ring_bytes) = match wanted.no_array {
            true => (0, end),
            false => (end.next_multiple_of(LINE), end.next_multiple_of(LINE) + entries * 4),
        };
        Ok(Layout { entries, completions, entry_bytes, completion_bytes, array, ring_bytes })
    }

    /// Bytes of all submissions.
    pub fn entries_bytes(&self) -> u32 {
        self.entries * self.entry_bytes
    }

    /// Where the completion with this index is, in the memory of the rings.
    pub fn completion(&self, index: u32) -> u32 {
        at::COMPLETIONS + (index & (self.completions - 1)) * self.completion_bytes
    }

    /// Where the index of a submission is, in the memory of the rings; `None`: its own index is taken.
    pub fn indirection(&self, index: u32) -> Option<u32> {
        (self.array != 0).then_some(self.array + (index & (self.entries - 1)) * 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_rounded_up_and_checked() {
        let wanted = |entries, completions| Wanted { entries, completions, ..Wanted::default() };
        let sizes = |w| Layout::new(w).map(|layout| (layout.entries, layout.completions));
        assert_eq!(sizes(wanted(1, None)), Ok((1, 2)));
        assert_eq!(sizes(wanted(5, None)), Ok((8, 16)));
        assert_eq!(sizes(wanted(5, Some(9))), Ok((8, 16)));
        assert_eq!(sizes(wanted(8, Some(7))), Ok((8, 8)));
        assert_eq!(sizes(wanted(8, Some(4))), Err(NotARing));
        assert_eq!(sizes(wanted(0, None)), Err(NotARing));
        assert_eq!(sizes(wanted(4, Some(0))), Err(NotARing));
        assert_eq!(sizes(wanted(MOST_ENTRIES + 1, None)), Err(NotARing));
        let clamped = Wanted { clamp: true, ..wanted(u32::MAX, Some(u32::MAX)) };
        assert_eq!(sizes(clamped), Ok((MOST_ENTRIES, 2 * MOST_ENTRIES)));
    }

    proptest! {
        #[test]
        fn all_is_within_the_memory_and_apart(
            entries in 1..=MOST_ENTRIES, index: u32, long_entries: bool, long_completions: bool, no_array: bool,
        ) {
            let wanted = Wanted { entries, long_entries, long_completions, no_array, ..Wanted::default() };
            let layout = Layout::new(wanted).unwrap();
            let completion = layout.completion(index);
            prop_assert!(completion >= at::COMPLETIONS);
            prop_assert_eq!(completion % layout.completion_bytes % 16, 0);
            prop_assert!(completion / 4096 == (completion + layout.completion_bytes - 1) / 4096);
            let end = if no_array { layout.ring_bytes } else { layout.array };
            prop_assert!(completion + layout.completion_bytes <= end);
            match layout.indirection(index) {
                Some(place) => prop_assert!(place >= layout.array && place + 4 <= layout.ring_bytes && place % 4 == 0),
                None => prop_assert!(no_array),
            }
        }
    }
}
