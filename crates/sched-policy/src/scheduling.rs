//! How one thread is scheduled.

/// The policies (linux/sched.h).
pub mod policy {
    /// Threads take turns (SCHED_OTHER).
    pub const NORMAL: u32 = 0;
    /// Runs until it sleeps or yields (SCHED_FIFO).
    pub const FIFO: u32 = 1;
    /// Real-time threads of one priority take turns (SCHED_RR).
    pub const ROUND_ROBIN: u32 = 2;
    /// As [`NORMAL`], for threads that compute (SCHED_BATCH).
    pub const BATCH: u32 = 3;
    /// As [`NORMAL`] with the least share of time (SCHED_IDLE).
    pub const IDLE: u32 = 5;
}

/// The lowest and the highest nice value.
const NICE: core::ops::RangeInclusive<i32> = -20..=19;
/// What is added to a nice value in a word.
const NICE_OFFSET: i32 = 20;
/// In a word: the flag of [`Scheduling::reset_on_fork`].
const RESET: u32 = 1 << 31;
/// In a word: the priority of the most urgent thread that waits for this one (futex(2), "Priority-inheritance futexes").
const RAISED: u32 = 0x7f;
const RAISED_SHIFT: u32 = 24;
/// The weight of nice value 0; a step changes the weight by a quarter (Linux's `sched_prio_to_weight`).
const WEIGHTS: [u32; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904, 3906, 3121,
    2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87, 70, 56, 45, 36, 29,
    23, 18, 15,
];
/// The longest and the shortest slice, as a multiple and a part of that of nice value 0: a thread that waits has to run some time.
const LONGEST_SLICE: u64 = 16;
const SHORTEST_SLICE: u64 = 64;

/// Why a scheduling can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is none such (EINVAL).
    Invalid,
    /// The caller lacks the right (EPERM).
    NotPermitted,
}

/// What a caller without CAP_SYS_NICE may do (getrlimit(2)).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// RLIMIT_NICE: 20 minus the lowest nice value.
    pub nice: u64,
    /// RLIMIT_RTPRIO.
    pub priority: u64,
}

/// Policy, priority and nice value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// Of [`policy`].
    pub policy: u32,
    /// 1 to 99 of a real-time policy; else 0.
    pub priority: u32,
    /// -20 to 19.
    pub nice: i32,
    /// Children are scheduled as normal threads (SCHED_RESET_ON_FORK).
    pub reset_on_fork: bool,
}

/// The lowest and the highest priority of a policy (sched_get_priority_min(2)).
///
/// # Errors
/// [`Refused::Invalid`] for a policy there isn't.
pub fn priorities(policy: u32) -> Result<(u32, u32), Refused> {
    match policy {
        policy::NORMAL | policy::BATCH | policy::IDLE => Ok((0, 0)),
        policy::FIFO | policy::ROUND_ROBIN => Ok((1, 99)),
        _ => Err(Refused::Invalid),
    }
}

/// A nice value as setpriority(2) takes it: what is beyond the ends is the end.
fn clamp(nice: i32) -> i32 {
    nice.clamp(*NICE.start(), *NICE.end())
}

impl Scheduling {
    /// From one word, as [`Self::to_word`] makes it.
    pub fn from_word(word: u32) -> Self {
        Scheduling {
            policy: word & 0xff,
            priority: word >> 8 & 0xff,
            nice: (word >> 16 & 0xff) as i32 - NICE_OFFSET,
            reset_on_fork: word & RESET != 0,
        }
    }

    /// As one word, for an atomic.
    pub fn to_word(self) -> u32 {
        let nice = (clamp(self.nice) + NICE_OFFSET) as u32;
        let reset = if self.reset_on_fork { RESET } else { 0 };
        (self.policy & 0xff) | (self.priority & 0xff) << 8 | nice << 16 | reset
    }

    /// What orders threads that want to run, from a word: the priority, or that which it was raised to if that is higher; 0 for those
    /// that take turns.
    #[inline(always)]
    pub fn rank(word: u32) -> u32 {
        (word >> 8 & 0xff).max(word >> RAISED_SHIFT & RAISED)
    }

    /// A word with another priority that it is raised to; 0: none.
    pub fn raise(word: u32, priority: u32) -> u32 {
        word & !(RAISED << RAISED_SHIFT) | (priority & RAISED) << RAISED_SHIFT
    }

    /// `self` as a word that is raised as `old` is.
    pub fn replace(self, old: u32) -> u32 {
        self.to_word() | old & RAISED << RAISED_SHIFT
    }

    /// With another nice value.
    pub fn with_nice(self, nice: i32) -> Self {
        Scheduling { nice: clamp(nice), ..self }
    }

    /// Of a new child (sched(7), "Resetting scheduling policy for child processes").
    pub fn of_child(self) -> Self {
        match self {
            Scheduling { reset_on_fork: false, .. } => self,
            Scheduling { policy: policy::FIFO | policy::ROUND_ROBIN, .. } => Scheduling::default(),
            _ => Scheduling { nice: self.nice.max(0), reset_on_fork: false, ..self },
        }
    }

    /// How long it runs while others wait, if `base_ns` is that of nice value 0.
    pub fn slice_ns(self, base_ns: u64) -> u64 {
        let weight = match self.policy {
            policy::IDLE => WEIGHTS[WEIGHTS.len() - 1],
            policy::NORMAL | policy::BATCH => WEIGHTS[(clamp(self.nice) + NICE_OFFSET) as usize],
            _ => return base_ns,
        };
        let slice_ns = base_ns * u64::from(weight) / 1024;
        slice_ns.clamp(base_ns / SHORTEST_SLICE, base_ns * LONGEST_SLICE)
    }

    /// Whether there is such a scheduling.
    ///
    /// # Errors
    /// [`Refused::Invalid`].
    pub fn check(self) -> Result<(), Refused> {
        let (low, high) = priorities(self.policy)?;
        if (low..=high).contains(&self.priority) { Ok(()) } else { Err(Refused::Invalid) }
    }

    /// Whether a caller without CAP_SYS_NICE may give `new` to a thread of its own that is scheduled like this (sched(7),
    /// "Privileges and resource limits"; Linux's `user_check_sched_setscheduler`).
    ///
    /// # Errors
    /// [`Refused::NotPermitted`].
    pub fn check_change(self, new: Scheduling, limits: Limits) -> Result<(), Refused> {
        let real_time = new.priority != 0;
        let may_be_nice = |nice: i32| nice >= self.nice || (NICE_OFFSET - nice) as u64 <= limits.nice;
        let refused = if real_time {
            (new.policy != self.policy && limits.priority == 0)
                || (new.priority > self.priority && u64::from(new.priority) > limits.priority)
        } else {
            let leaves_idle = self.policy == policy::IDLE && new.policy != policy::IDLE;
            !may_be_nice(new.nice) || (leaves_idle && (NICE_OFFSET - self.nice) as u64 > limits.nice)
        };
        if refused || (self.reset_on_fork && !new.reset_on_fork) {
            return Err(Refused::NotPermitted);
        }
        Ok(())
    }

    /// The same for setpriority(2) alone. EACCES there.
    ///
    /// # Errors
    /// [`Refused::NotPermitted`].
    pub fn check_nice(self, nice: i32, limits: Limits) -> Result<(), Refused> {
        let nice = clamp(nice);
        let may = nice >= self.nice || (NICE_OFFSET - nice) as u64 <= limits.nice;
        if may { Ok(()) } else { Err(Refused::NotPermitted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_RIGHTS: Limits = Limits { nice: 0, priority: 0 };
    const FIFO: Scheduling = Scheduling { policy: policy::FIFO, priority: 10, nice: 0, reset_on_fork: false };

    #[test]
    fn a_word_holds_all() {
        for nice in NICE {
            for reset_on_fork in [false, true] {
                let own = Scheduling { policy: policy::ROUND_ROBIN, priority: 99, nice, reset_on_fork };
                assert_eq!(Scheduling::from_word(own.to_word()), own);
                assert_eq!(Scheduling::rank(own.to_word()), 99);
            }
        }
    }

    #[test]
    fn a_thread_is_raised_and_stays_what_it_is() {
        let own = Scheduling { nice: -20, reset_on_fork: true, ..FIFO };
        let raised = Scheduling::raise(own.to_word(), 99);
        assert_eq!((Scheduling::rank(raised), Scheduling::from_word(raised)), (99, own));
        assert_eq!(Scheduling::rank(Scheduling::default().replace(raised)), 99);
        assert_eq!(Scheduling::raise(raised, 0), own.to_word());
        assert_eq!(Scheduling::rank(Scheduling::raise(own.to_word(), 3)), 10);
    }

    #[test]
    fn priorities_belong_to_real_time_policies() {
        assert_eq!(FIFO.check(), Ok(()));
        assert_eq!(Scheduling { priority: 0, ..FIFO }.check(), Err(Refused::Invalid));
        assert_eq!(Scheduling { priority: 100, ..FIFO }.check(), Err(Refused::Invalid));
        assert_eq!(Scheduling { policy: policy::BATCH, ..FIFO }.check(), Err(Refused::Invalid));
        assert_eq!(Scheduling { policy: 4, ..Scheduling::default() }.check(), Err(Refused::Invalid));
    }

    #[test]
    fn without_rights_only_less_is_had() {
        let own = Scheduling::default();
        assert_eq!(own.check_change(own.with_nice(1), NO_RIGHTS), Ok(()));
        assert_eq!(own.check_change(own.with_nice(-1), NO_RIGHTS), Err(Refused::NotPermitted));
        assert_eq!(own.check_change(own.with_nice(-1), Limits { nice: 21, priority: 0 }), Ok(()));
        assert_eq!(own.check_change(FIFO, NO_RIGHTS), Err(Refused::NotPermitted));
        assert_eq!(own.check_change(FIFO, Limits { nice: 0, priority: 10 }), Ok(()));
        assert_eq!(FIFO.check_change(Scheduling { priority: 9, ..FIFO }, NO_RIGHTS), Ok(()));
        let idle = Scheduling { policy: policy::IDLE, ..own };
        assert_eq!(own.check_change(idle, NO_RIGHTS), Ok(()));
        assert_eq!(idle.check_change(own, NO_RIGHTS), Err(Refused::NotPermitted));
        assert_eq!(idle.check_change(own, Limits { nice: 20, priority: 0 }), Ok(()));
        let reset = Scheduling { reset_on_fork: true, ..own };
        assert_eq!(reset.check_change(own, NO_RIGHTS), Err(Refused::NotPermitted));
        assert_eq!(own.check_nice(-5, NO_RIGHTS), Err(Refused::NotPermitted));
        assert_eq!(own.check_nice(99, NO_RIGHTS), Ok(()));
    }

    #[test]
    fn children_are_reset_where_that_was_asked_for() {
        assert_eq!(FIFO.of_child(), FIFO);
        assert_eq!(Scheduling { reset_on_fork: true, ..FIFO }.of_child(), Scheduling::default());
        let eager = Scheduling { reset_on_fork: true, ..Scheduling::default().with_nice(-5) };
        assert_eq!(eager.of_child(), Scheduling::default());
        let nice = Scheduling { reset_on_fork: true, ..Scheduling::default().with_nice(5) };
        assert_eq!(nice.of_child().nice, 5);
    }

    #[test]
    fn slices_follow_weights_within_bounds() {
        let slice = |nice| Scheduling::default().with_nice(nice).slice_ns(4_000_000);
        assert_eq!(slice(0), 4_000_000);
        assert!(NICE.map(slice).is_sorted_by(|a, b| a >= b));
        assert_eq!((slice(-20), slice(19)), (64_000_000, 62_500));
        assert_eq!(FIFO.slice_ns(4_000_000), 4_000_000);
    }
}
