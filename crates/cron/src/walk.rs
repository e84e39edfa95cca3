//! The way through time, when the clock is changed (cron(8)).

/// What is due of those that are due in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// All.
    All,
    /// Those that are due so often that they follow every change of the clock.
    Wild,
    /// Those at certain times of the day.
    Fixed,
}

impl Kinds {
    /// Whether a schedule is one of these.
    pub fn have(self, is_wild: bool) -> bool {
        match self {
            Kinds::All => true,
            Kinds::Wild => is_wild,
            Kinds::Fixed => !is_wild,
        }
    }
}

/// Changes that are longer, in minutes, correct the clock: jobs are due by its new time alone.
const CORRECTION: i64 = 180;
/// What is made up for as if the time had passed slowly, in minutes.
const LATE: i64 = 5;

/// Follows the local time, minute by minute. Jobs at times that a change forward has left out are due at once; those at times that a
/// change back repeats are not due again, for changes of less than three hours, such as those to summer time and back.
#[derive(Clone, Copy, Debug)]
pub struct Walker {
    /// The last minute of the clock that was looked at.
    seen: i64,
    /// The last minute for which fixed jobs were due.
    reached: i64,
}

impl Walker {
    /// Begins: what is due in the minute `now` was due before.
    pub const fn new(now: i64) -> Walker {
        Walker { seen: now, reached: now }
    }

    /// The clock shows the minute `now`: calls `each` with the minutes that are due, and the kinds of schedules for which they are.
    pub fn step(&mut self, now: i64, mut each: impl FnMut(i64, Kinds)) {
        if now == self.seen {
            return;
        }
        self.seen = now;
        let ahead = now - self.reached;
        match ahead {
            1..=LATE => (self.reached + 1..=now).for_each(|minute| each(minute, Kinds::All)),
            _ if ahead > LATE && ahead <= CORRECTION => {
                each(now, Kinds::Wild);
                (self.reached + 1..=now).for_each(|minute| each(minute, Kinds::Fixed));
            }
            _ if ahead <= 0 && ahead > -CORRECTION => return each(now, Kinds::Wild),
            _ => each(now, Kinds::All),
        }
        self.reached = now;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// The minutes that are due for wild and for fixed schedules, when the clock shows these.
    fn walk(start: i64, clock: &[i64]) -> (Vec<i64>, Vec<i64>) {
        let (mut walker, mut wild, mut fixed) = (Walker::new(start), Vec::new(), Vec::new());
        for &now in clock {
            walker.step(now, |minute, kinds| {
                if kinds.have(true) {
                    wild.push(minute);
                }
                if kinds.have(false) {
                    fixed.push(minute);
                }
            });
        }
        (wild, fixed)
    }

    #[test]
    fn summer_time_comes_and_goes() {
        // From 119 to 180, as at 02:00 in spring.
        let (wild, fixed) = walk(118, &[119, 180, 181]);
        assert_eq!(wild, [119, 180, 181]);
        assert_eq!(fixed, (119..=181).collect::<Vec<_>>());
        // From 179 to 120, as at 03:00 in autumn.
        let clock: Vec<i64> = [178, 179].into_iter().chain(120..=181).collect();
        let (wild, fixed) = walk(177, &clock);
        assert_eq!(wild, clock);
        assert_eq!(fixed, [178, 179, 180, 181]);
    }

    #[test]
    fn corrections_are_taken_at_once() {
        assert_eq!(walk(0, &[1, 500, 501]), (std::vec![1, 500, 501], std::vec![1, 500, 501]));
        assert_eq!(walk(500, &[501, 1, 2]), (std::vec![501, 1, 2], std::vec![501, 1, 2]));
        assert_eq!(walk(0, &[4]).1, [1, 2, 3, 4]);
        assert_eq!(walk(0, &[4, 4, 4]).1, [1, 2, 3, 4]);
    }

    proptest! {
        #[test]
        fn a_clock_that_is_left_alone_misses_nothing(start in 0i64..10_000, steps in prop::collection::vec(0i64..=5, 1..50)) {
            let mut now = start;
            let clock: Vec<i64> = steps.iter().map(|step| { now += step; now }).collect();
            let all: Vec<i64> = (start + 1..=now).collect();
            prop_assert_eq!(walk(start, &clock), (all.clone(), all));
        }

        #[test]
        fn no_fixed_minute_is_due_twice_without_a_correction(jumps in prop::collection::vec(-170i64..=170, 1..50)) {
            let (mut now, mut most, mut clock) = (100_000, 100_000, Vec::new());
            for jump in jumps {
                // Never so far back that it is a correction.
                now = (now + jump).max(most - 179);
                most = most.max(now);
                clock.push(now);
            }
            let (_, fixed) = walk(100_000, &clock);
            prop_assert!(fixed.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", fixed);
        }
    }
}
