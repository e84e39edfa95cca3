//! What adjtimex(2) is asked for about an offset, as a daemon does.
use crate::{Plan, SECOND_NS, Sample};
use coracle_clock_discipline::{Timex, mode, status};

const MICROSECOND_NS: i64 = 1000;

/// Sets the clock.
pub fn step(sample: &Sample) -> Timex {
    let time = [sample.offset_ns.div_euclid(SECOND_NS), sample.offset_ns.rem_euclid(SECOND_NS)];
    Timex { modes: mode::SETOFFSET | mode::NANO, time, ..Timex::default() }
}

/// Lets it run faster or slower for a while, and corrects its frequency.
pub fn slew(sample: &Sample, plan: &Plan) -> Timex {
    let leap = match sample.leap {
        1 => status::INSERT,
        -1 => status::DELETE,
        _ => 0,
    };
    let error = (sample.distance_ns + sample.delay_ns / 2) / MICROSECOND_NS;
    let modes = mode::OFFSET | mode::STATUS | mode::NANO | mode::TIMECONST | mode::MAXERROR | mode::ESTERROR;
    Timex {
        modes,
        offset: sample.offset_ns,
        status: status::PLL | leap,
        constant: plan.constant(),
        max_error: error,
        estimated_error: error,
        ..Timex::default()
    }
}
