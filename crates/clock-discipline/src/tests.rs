use crate::{Discipline, Now, Refusal, Timex, WORDS, mode, state, status};
use proptest::prelude::*;

const T0: i64 = 1_700_000_000;
const SCALE: i64 = 1 << 32;

fn request(discipline: &mut Discipline, at: i64, timex: Timex) -> (usize, Timex) {
    let mut timex = timex;
    timex.check(true).unwrap();
    assert_eq!(discipline.advance(at), 0);
    let state = discipline.adjust(&mut timex, Now { seconds: at, nanoseconds: 123_456_789 });
    (state, timex)
}

fn set(modes: u32) -> Timex {
    Timex { modes, ..Timex::default() }
}

/// The clock is given a phase in nanoseconds, and a time constant.
fn phase(offset: i64, constant: i64) -> Timex {
    let modes = mode::STATUS | mode::NANO | mode::OFFSET | mode::TIMECONST | mode::MAXERROR | mode::ESTERROR;
    Timex { offset, constant, status: status::PLL, max_error: 1000, ..set(modes) }
}

#[test]
fn a_new_clock_is_not_synchronised() {
    let (state, timex) = request(&mut Discipline::new(), T0, set(0));
    assert_eq!(state, state::ERROR);
    assert_eq!(
        (timex.status, timex.max_error, timex.estimated_error),
        (status::UNSYNC, 16_000_000, 16_000_000)
    );
    assert_eq!((timex.tick, timex.constant, timex.time), (10_000, 2, [T0, 123_456]));
    let words = timex.to_words();
    assert_eq!((words[7], words[8]), (1, 32_768_000));
}

#[test]
fn requests_are_refused_as_linux_refuses_them() {
    let invalid = [
        Timex { tick: 8_999, ..set(mode::TICK) },
        Timex { tick: 11_001, ..set(mode::TICK) },
        set(mode::ADJTIME),
        Timex { time: [0, 1_000_000], ..set(mode::SETOFFSET) },
        Timex { time: [0, -1], ..set(mode::SETOFFSET | mode::NANO) },
        Timex { time: [0, 1_000_000_000], ..set(mode::SETOFFSET | mode::NANO) },
        Timex { frequency: i64::MAX / 65_536_000 + 1, ..set(mode::FREQUENCY) },
        Timex { frequency: i64::MIN, ..set(mode::FREQUENCY) },
    ];
    for timex in invalid {
        assert_eq!(timex.check(true), Err(Refusal::Invalid), "{timex:?}");
    }
    for modes in [mode::STATUS, mode::OFFSET, mode::ADJTIME | mode::OFFSET, mode::SETOFFSET, mode::TICK, 0x40]
    {
        assert_eq!(set(modes).check(false), Err(Refusal::NotPermitted), "{modes:x}");
    }
    for modes in [0, mode::ADJTIME | mode::OFFSET | mode::READ_ONLY] {
        assert_eq!(set(modes).check(false), Ok(()));
    }
    assert_eq!(Timex { time: [-2, 500_000], ..set(mode::SETOFFSET) }.step_ns(), Some(-1_500_000_000));
}

#[test]
fn errors_grow_until_the_clock_counts_as_not_synchronised() {
    let mut discipline = Discipline::new();
    assert_eq!(request(&mut discipline, T0, phase(0, 2)).0, state::OK);
    assert_eq!(request(&mut discipline, T0 + 10, set(0)).1.max_error, 6000);
    let (state, timex) = request(&mut discipline, T0 + 31_999, set(0));
    assert_eq!((state, timex.max_error), (state::ERROR, 16_000_000));
    assert_eq!(timex.status, status::UNSYNC | status::PLL | status::NANO);
}

#[test]
fn a_second_is_inserted_and_left_out() {
    const MIDNIGHT: i64 = 19_676 * 86_400;
    let with = |status| Timex { status, max_error: 0, ..set(mode::STATUS | mode::MAXERROR) };
    let mut discipline = Discipline::new();
    request(&mut discipline, MIDNIGHT - 3, with(status::INSERT));
    assert_eq!(request(&mut discipline, MIDNIGHT - 1, set(0)).0, state::INSERT);
    assert_eq!(discipline.advance(MIDNIGHT), -1);
    assert_eq!(discipline.tai(), 1);
    assert_eq!(request(&mut discipline, MIDNIGHT - 1, set(0)).0, state::IN_PROGRESS);
    assert_eq!(request(&mut discipline, MIDNIGHT, set(0)).0, state::WAIT);
    request(&mut discipline, MIDNIGHT + 1, with(0));
    assert_eq!(request(&mut discipline, MIDNIGHT + 2, set(0)).0, state::OK);
    assert!(!discipline.needs_seconds());

    request(&mut discipline, 2 * MIDNIGHT - 5, with(status::DELETE));
    // The last second of the day does not begin.
    assert_eq!(discipline.advance(2 * MIDNIGHT - 1), 1);
    assert_eq!(request(&mut discipline, 2 * MIDNIGHT, set(0)).0, state::WAIT);
    assert_eq!(discipline.tai(), 0);
}

#[test]
fn a_step_voids_what_was_slewed() {
    let mut discipline = Discipline::new();
    request(&mut discipline, T0, phase(1_000_000, 2));
    discipline.advance(T0 + 1);
    assert_ne!(discipline.adjustment(), 0);
    discipline.was_set();
    assert_eq!(discipline.adjustment(), 0);
    assert_eq!(request(&mut discipline, 5, set(0)).0, state::ERROR);
}

#[test]
fn adjtime_slews_by_500_parts_per_million() {
    let mut discipline = Discipline::new();
    let once = mode::ADJTIME | mode::OFFSET;
    assert_eq!(request(&mut discipline, T0, Timex { offset: 1200, ..set(once) }).1.offset, 0);
    let mut slewed = Vec::new();
    for second in 1..=5 {
        discipline.advance(T0 + second);
        slewed.push(discipline.adjustment() / SCALE);
    }
    assert_eq!(slewed, [500_000, 500_000, 200_000, 0, 0]);
    request(&mut discipline, T0 + 9, Timex { offset: -700, ..set(once) });
    discipline.advance(T0 + 10);
    assert_eq!(request(&mut discipline, T0 + 10, set(once | mode::READ_ONLY)).1.offset, -200);
}

extern crate std;
use std::vec::Vec;

proptest! {
    #[test]
    fn a_phase_is_slewed_wholly_and_never_too_far(offset in -600_000_000..600_000_000i64, constant in 0..12i64) {
        let mut discipline = Discipline::new();
        request(&mut discipline, T0, phase(offset, constant));
        let wanted = offset.clamp(-500_000_000, 500_000_000);
        let mut slewed = 0i128;
        let mut second = T0;
        while discipline.needs_seconds() {
            second += 1;
            discipline.advance(second);
            let now = discipline.adjustment();
            prop_assert!(now == 0 || now.signum() == wanted.signum());
            slewed += i128::from(now);
            prop_assert!(slewed.abs() <= i128::from(wanted).abs() << 32);
        }
        let left = (i128::from(wanted) << 32) - slewed;
        prop_assert!(left.abs() <= 2 << 32, "{left}");
    }

    #[test]
    fn frequencies_are_returned_as_set(frequency in -40_000_000..40_000_000i64, tick in 9_000..=11_000i64) {
        let mut discipline = Discipline::new();
        let answer = request(&mut discipline, T0, Timex { frequency, tick, ..set(mode::FREQUENCY | mode::TICK) }).1;
        let most = 500 << 16;
        prop_assert_eq!(answer.frequency, frequency.clamp(-most, most));
        prop_assert_eq!(answer.tick, tick);
        let wanted = (tick - 10_000) * 100_000 + answer.frequency * 1000 / 65_536;
        prop_assert!((discipline.adjustment() / SCALE - wanted).abs() <= 1);
    }

    #[test]
    fn nothing_that_is_permitted_breaks_it(requests in prop::collection::vec((any::<[u64; WORDS]>(), any::<u16>(), 0..200_000i64), 1..20)) {
        let mut discipline = Discipline::new();
        let mut now = T0;
        for (words, modes, later) in requests {
            now += later;
            now += discipline.advance(now);
            let mut timex = Timex::from_words(&words);
            timex.modes = modes.into();
            if timex.check(true).is_err() {
                continue;
            }
            if timex.step_ns().is_some() {
                discipline.was_set();
            }
            let state = discipline.adjust(&mut timex, Now { seconds: now, nanoseconds: 0 });
            prop_assert!(state <= state::ERROR);
            prop_assert!(discipline.adjustment().abs() < 250_000_000 * SCALE);
            prop_assert!((0..=16_000_000).contains(&timex.max_error));
            prop_assert!((0..=10).contains(&timex.constant));
            prop_assert_eq!(Timex { modes: timex.modes, ..Timex::from_words(&timex.to_words()) }, timex);
        }
    }
}

#[test]
fn questions_change_nothing() {
    for (modes, changes) in [
        (0, false),
        (mode::ADJTIME | mode::OFFSET | mode::READ_ONLY, false),
        (mode::ADJTIME | mode::OFFSET, true),
        (mode::OFFSET | mode::NANO, true),
        (mode::SETOFFSET, true),
    ] {
        assert_eq!(set(modes).changes(), changes, "{modes:#x}");
    }
}
