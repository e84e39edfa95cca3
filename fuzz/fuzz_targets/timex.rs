//! Steers a clock by any requests of adjtimex(2): nothing panics, and the rate stays in bounds.
#![no_main]

use coracle_clock_discipline::{Discipline, Now, Timex, WORDS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|requests: Vec<([u64; WORDS], u32)>| {
    let mut discipline = Discipline::new();
    let mut seconds = 1_700_000_000;
    for (words, later) in requests {
        seconds += i64::from(later % 1_000_000);
        seconds += discipline.advance(seconds);
        let mut timex = Timex::from_words(&words);
        if timex.check(true).is_err() {
            continue;
        }
        if timex.step_ns().is_some() {
            discipline.was_set();
        }
        discipline.adjust(&mut timex, Now { seconds, nanoseconds: 0 });
        assert!(discipline.adjustment().unsigned_abs() < 250_000_000 << 32);
    }
});
