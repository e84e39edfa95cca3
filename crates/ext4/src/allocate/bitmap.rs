//! Bits in bytes, the lowest of a byte first.

/// Bits that are set in either of two bitmaps: the blocks in use, and those in use until the next commit.
#[derive(Clone, Copy)]
pub struct Used<'a> {
    pub bits: &'a [u8],
    pub busy: &'a [u8],
}

/// A run of clear bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub start: u32,
    pub len: u32,
}

fn word(bytes: &[u8], index: usize) -> u64 {
    let at = 8 * index;
    bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes)
}

impl Used<'_> {
    /// The first bit from one on that is set, or clear; `until` if there is none before that.
    fn next(&self, from: u32, until: u32, set: bool) -> u32 {
        let mut at = from;
        while at < until {
            let index = (at / 64) as usize;
            let used = word(self.bits, index) | word(self.busy, index);
            let wanted = (if set { used } else { !used }) >> (at % 64);
            if wanted != 0 {
                return (at + wanted.trailing_zeros()).min(until);
            }
            at = (at / 64 + 1) * 64;
        }
        until
    }

    /// The first run of `want` clear bits; where there is none, the longest.
    pub fn find(&self, from: u32, until: u32, want: u32) -> Option<Run> {
        let mut best: Option<Run> = None;
        let mut at = from;
        loop {
            let start = self.next(at, until, false);
            if start >= until {
                return best;
            }
            let end = self.next(start, until.min(start.saturating_add(want)), true);
            let run = Run { start, len: end - start };
            if run.len >= want {
                return Some(run);
            }
            if best.is_none_or(|best| run.len > best.len) {
                best = Some(run);
            }
            at = end;
        }
    }

    /// The run of clear bits, of `want` at most, that begins at a bit.
    pub fn run_at(&self, start: u32, until: u32, want: u32) -> Option<Run> {
        let end = self.next(start, until.min(start.saturating_add(want)), true);
        (end > start).then(|| Run { start, len: end - start })
    }
}

/// Whether all bits of a range are as given.
pub fn all(bits: &[u8], start: u32, len: u32, set: bool) -> bool {
    Used { bits, busy: &[] }.next(start, start + len, !set) == start + len
}

/// Sets or clears a range of the bits of some bytes.
pub fn fill(bytes: &mut [u8], start: u32, len: u32, set: bool) {
    let mut at = start;
    let end = start + len;
    while at < end {
        let bits = (8 - at % 8).min(end - at);
        let mask = (0xff_u16 >> (8 - bits) << (at % 8)) as u8;
        if let Some(byte) = bytes.get_mut((at / 8) as usize) {
            *byte = if set { *byte | mask } else { *byte & !mask };
        }
        at += bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn runs_are_found(bits in proptest::collection::vec(any::<bool>(), 256), busy in proptest::collection::vec(proptest::bool::weighted(0.1), 256),
            from in 0u32..256, want in 1u32..20) {
            let pack = |bools: &[bool]| {
                let mut bytes = alloc::vec![0; 32];
                for (at, _) in bools.iter().enumerate().filter(|(_, set)| **set) {
                    fill(&mut bytes, at as u32, 1, true);
                }
                bytes
            };
            let (packed, packed_busy) = (pack(&bits), pack(&busy));
            let used = Used { bits: &packed, busy: &packed_busy };
            let clear = |at: u32| !bits[at as usize] && !busy[at as usize];
            let length = |at: u32| (at..256).take_while(|at| clear(*at)).count() as u32;
            let enough = (from..256).find(|at| length(*at) >= want);
            let longest = (from..256).map(length).max().unwrap_or(0);
            match used.find(from, 256, want) {
                Some(run) if run.len >= want => prop_assert_eq!(Some(run.start), enough),
                Some(run) => prop_assert!(enough.is_none() && run.len == longest && length(run.start) == longest),
                None => prop_assert_eq!(longest, 0),
            }
        }

        #[test]
        fn ranges_are_filled(start in 0u32..200, len in 0u32..56, set in any::<bool>()) {
            let mut bytes = alloc::vec![if set { 0 } else { 0xff }; 32];
            fill(&mut bytes, start, len, set);
            for at in 0..256 {
                let inside = (start..start + len).contains(&at);
                prop_assert_eq!(all(&bytes, at, 1, set), inside);
            }
            prop_assert!(all(&bytes, start, len, set));
        }
    }
}
