//! What the peer has acknowledged selectively (RFC 2018), and what follows about losses (RFC 6675).

use super::seq::Seq;

/// Ranges kept; the peer can report at most four at a time.
const MAX_RANGES: usize = 32;
/// Segments acknowledged above a hole that make it lost (RFC 6675, DupThresh).
const DUP_THRESHOLD: u32 = 3;

/// Disjoint ranges above SND.UNA that the peer holds, in order.
#[derive(Clone, Debug, Default)]
pub struct Scoreboard {
    ranges: heapless::Vec<(Seq, Seq), MAX_RANGES>,
    /// Sum of the ranges' lengths.
    bytes: u32,
}

impl Scoreboard {
    /// Whether the peer has reported nothing.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes the peer holds.
    #[inline(always)]
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ranges.clear();
        self.bytes = 0;
    }

    /// Adds a range (start before end); returns whether it reported something new.
    pub fn add(&mut self, mut start: Seq, mut end: Seq) -> bool {
        let before = self.bytes;
        let first = self.ranges.iter().position(|r| !r.1.before(start)).unwrap_or(self.ranges.len());
        while let Some(&(s, e)) = self.ranges.get(first) {
            if s.after(end) {
                break;
            }
            start = start.min(s);
            end = end.max(e);
            self.bytes -= e - s;
            self.ranges.remove(first);
        }
        if self.ranges.insert(first, (start, end)).is_ok() {
            self.bytes += end - start;
        }
        self.bytes > before
    }

    /// SND.UNA has moved.
    #[inline(always)]
    pub fn advance(&mut self, una: Seq) {
        if self.is_empty() {
            return;
        }
        while let Some(first) = self.ranges.first_mut() {
            if first.0.before(una) {
                let covered = first.1.min(una) - first.0;
                self.bytes -= covered;
                first.0 += covered;
            }
            if first.0 != first.1 {
                break;
            }
            self.ranges.remove(0);
        }
    }

    /// Holes below this are lost: three segments' worth above them have arrived (RFC 6675, `IsLost`).
    pub fn lost_edge(&self, una: Seq, mss: u32) -> Seq {
        let mut above = 0;
        for (index, range) in self.ranges.iter().enumerate().rev() {
            above += range.1 - range.0;
            let count = self.ranges.len() - index;
            if above > (DUP_THRESHOLD - 1) * mss || count >= DUP_THRESHOLD as usize {
                return range.0;
            }
        }
        una
    }

    /// Bytes in `from..to` that the peer does not hold.
    pub fn missing(&self, from: Seq, to: Seq) -> u32 {
        if !from.before(to) {
            return 0;
        }
        let held: u32 = self
            .ranges
            .iter()
            .map(|r| (r.0.max(from), r.1.min(to)))
            .filter(|(s, e)| s.before(*e))
            .map(|(s, e)| e - s)
            .sum();
        (to - from) - held
    }

    /// The first hole in `from..to`: where it starts and ends.
    pub fn hole(&self, mut from: Seq, to: Seq) -> Option<(Seq, Seq)> {
        for &(start, end) in &self.ranges {
            if from.before(start) {
                return from.before(to).then(|| (from, start.min(to)));
            }
            from = from.max(end);
        }
        from.before(to).then_some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_a_set_of_bytes(adds in proptest::collection::vec((0u32..900, 1u32..60), 0..20), una in 0u32..900, base: u32) {
            let mut board = Scoreboard::default();
            let mut model = BTreeSet::new();
            for (start, len) in adds {
                let new = (start..start + len).any(|b| !model.contains(&b));
                model.extend(start..start + len);
                prop_assert_eq!(board.add(Seq(base) + start, Seq(base) + start + len), new);
            }
            board.advance(Seq(base) + una);
            model.retain(|b| *b >= una);
            prop_assert_eq!(board.bytes() as usize, model.len());
            prop_assert_eq!(board.missing(Seq(base) + una, Seq(base) + 1000) as usize, (una..1000).filter(|b| !model.contains(b)).count());
            let hole = (una..1000).find(|b| !model.contains(b));
            prop_assert_eq!(board.hole(Seq(base) + una, Seq(base) + 1000).map(|h| h.0 - Seq(base)), hole);
        }
    }

    #[test]
    fn three_segments_above_make_a_loss() {
        let mut board = Scoreboard::default();
        board.add(Seq(2000), Seq(4000));
        assert_eq!(board.lost_edge(Seq(1000), 1000), Seq(1000));
        board.add(Seq(4000), Seq(5000));
        assert_eq!(board.lost_edge(Seq(1000), 1000), Seq(2000));
    }
}
