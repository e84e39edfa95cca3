use crate::{Correction, Kiss, Plan, Rejection, Reply, Sample, Samples, correction, parse, request};
use crate::{slew, step};
use coracle_clock_discipline::{Discipline, Now};
use proptest::prelude::*;

const COOKIE: u64 = 0x0123_4567_89ab_cdef;
const SECOND_NS: i64 = 1_000_000_000;

/// An answer of a server in stratum 2, whose clock shows `seconds` of NTP's era.
fn answer(seconds: u32) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[0] = 4 << 3 | 4;
    bytes[1] = 2;
    bytes[24..32].copy_from_slice(&COOKIE.to_be_bytes());
    for at in [32, 40] {
        bytes[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
        bytes[at + 4] = 0x80;
    }
    bytes
}

fn with(at: usize, bytes: &[u8]) -> [u8; 48] {
    let mut changed = answer(3_900_000_000);
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    changed
}

#[test]
fn answers_are_read() {
    assert_eq!(request(COOKIE)[0], 0x23);
    let reply = parse(&answer(3_900_000_000), COOKIE).unwrap();
    let time = (3_900_000_000 - 2_208_988_800) * SECOND_NS + SECOND_NS / 2;
    assert_eq!(reply, Reply { received_ns: time, sent_ns: time, distance_ns: 0, leap: 0, stratum: 2 });
    // The second era begins in 2036.
    let later = parse(&answer(10), COOKIE).unwrap();
    assert_eq!(later.sent_ns / SECOND_NS, 2_085_978_496 + 10);
    assert_eq!(parse(&with(0, &[1 << 6 | 0x24]), COOKIE).unwrap().leap, 1);
    assert_eq!(parse(&with(0, &[2 << 6 | 0x1c]), COOKIE).unwrap().leap, -1);
    assert_eq!(parse(&with(4, &[0, 1, 0, 0, 0, 0, 0x80, 0]), COOKIE).unwrap().distance_ns, SECOND_NS);
}

#[test]
fn what_is_no_answer_is_rejected() {
    let foreign = [with(0, &[0x23]), with(0, &[0x25]), with(0, &[0x14]), with(24, &[7])];
    for bytes in foreign {
        assert_eq!(parse(&bytes, COOKIE), Err(Rejection::Foreign));
    }
    assert_eq!(parse(&answer(1)[..47], COOKIE), Err(Rejection::Foreign));
    let unusable = [
        with(0, &[0xe4]),
        with(1, &[16]),
        with(4, &[0, 4]),
        with(8, &[0, 2]),
        with(32, &[0; 8]),
        with(40, &[0; 8]),
        // It was sent before it came.
        with(32, &[0xf0]),
    ];
    for bytes in unusable {
        assert_eq!(parse(&bytes, COOKIE), Err(Rejection::Unusable));
    }
    for (code, kiss) in
        [(b"DENY", Kiss::Denied), (b"RSTR", Kiss::Denied), (b"RATE", Kiss::Rate), (b"INIT", Kiss::Other)]
    {
        let mut bytes = with(12, code);
        bytes[1] = 0;
        assert_eq!(parse(&bytes, COOKIE), Err(Rejection::Kiss(kiss)));
        // One that anybody could have sent does not count.
        assert_eq!(parse(&bytes, 5), Err(Rejection::Foreign));
    }
}

#[test]
fn polls_become_rare_and_frequent() {
    let mut plan = Plan::default();
    let intervals: [u64; 6] = core::array::from_fn(|_| plan.succeeded(-1000));
    assert_eq!(intervals, [128, 256, 512, 1024, 1024, 1024]);
    assert_eq!((plan.succeeded(20_000_000), plan.constant()), (1024, 6));
    assert_eq!(plan.succeeded(-60_000_000), 512);
    let retries: [u64; 8] = core::array::from_fn(|_| plan.failed());
    assert_eq!(retries, [16, 32, 64, 128, 256, 512, 1024, 1024]);
    plan.succeeded(0);
    assert_eq!(plan.failed(), 16);
    plan.slow_down();
    assert_eq!(plan.failed(), 32);
    (0..9).for_each(|_| plan.slow_down());
    assert_eq!(plan.succeeded(60_000_000), 1024);
}

#[test]
fn the_quickest_answer_counts() {
    let sample = |offset_ns, delay_ns| Sample { offset_ns, delay_ns, distance_ns: 0, leap: 0 };
    let mut samples = Samples::new();
    assert!(!samples.take(sample(1, 9_000_000)));
    assert!(!samples.take(sample(2, 5_000_000)));
    assert!(samples.take(sample(3, 10_000_001)));
    assert_eq!(samples.take_best(), Some(sample(2, 5_000_000)));
    assert_eq!(samples.take_best(), None);
    (0..40).for_each(|_| _ = samples.take(sample(4, 20_000_000)));
    assert!(!samples.take(sample(5, 30_000_000)));
    assert_eq!(correction(&sample(-500_000_001, 0)), Correction::Step);
    assert_eq!(correction(&sample(500_000_000, 0)), Correction::Slew);
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..600), cookie: u64, sent: i64, elapsed: i64) {
        let mut bytes = bytes;
        if bytes.len() >= 48 {
            bytes[24..32].copy_from_slice(&cookie.to_be_bytes());
            bytes[0] = (bytes[0] & 0xc0) | 0x24;
        }
        if let Ok(reply) = parse(&bytes, cookie) {
            let _ = Sample::new(&reply, sent, elapsed);
        }
    }

    #[test]
    fn an_offset_is_right_within_half_the_delay(
        ahead in -1_000_000_000_000..1_000_000_000_000i64,
        there in 0..1_000_000_000i64,
        held in 0..1_000_000i64,
        back in 0..1_000_000_000i64,
    ) {
        let sent = 1_800_000_000 * SECOND_NS;
        let received_ns = sent + there + ahead;
        let reply = Reply { received_ns, sent_ns: received_ns + held, distance_ns: 0, leap: 0, stratum: 1 };
        let sample = Sample::new(&reply, sent, there + held + back).unwrap();
        prop_assert_eq!(sample.delay_ns, there + back);
        prop_assert!((sample.offset_ns - ahead).abs() <= sample.delay_ns / 2 + 1);
        prop_assert_eq!(Sample::new(&reply, sent, held - 1), None);
    }
}

/// A guest's clock that runs by its discipline, and a host's. Both in nanoseconds since 1970.
struct Clocks {
    discipline: Discipline,
    ours_ns: u64,
    theirs_ns: u64,
    /// By how much our counter is too fast, in parts per billion.
    fast_ppb: i64,
}

impl Clocks {
    /// A second passes.
    fn tick(&mut self) {
        self.theirs_ns += SECOND_NS as u64;
        let elapsed = SECOND_NS + self.fast_ppb + (self.discipline.adjustment() >> 32);
        self.ours_ns += elapsed as u64;
        self.discipline.advance((self.ours_ns / SECOND_NS as u64) as i64);
    }

    /// Asks the source, as the kernel does. Returns the offset.
    fn poll(&mut self, plan: &mut Plan) -> (i64, u64) {
        let sample = Sample::of_pair(self.theirs_ns, self.ours_ns).unwrap();
        let mut timex = match correction(&sample) {
            Correction::Step => step(&sample),
            Correction::Slew => slew(&sample, plan),
        };
        if let Some(by) = timex.step_ns() {
            self.ours_ns = self.ours_ns.checked_add_signed(by).unwrap();
            self.discipline.was_set();
        }
        let [seconds, nanoseconds] = [self.ours_ns / SECOND_NS as u64, self.ours_ns % SECOND_NS as u64];
        self.discipline.adjust(&mut timex, Now { seconds: seconds as i64, nanoseconds: nanoseconds as i64 });
        (sample.offset_ns, plan.succeeded(sample.offset_ns))
    }
}

#[test]
fn a_source_that_is_read_at_once_is_followed() {
    const START_NS: u64 = 1_790_000_000_000_000_000;
    // The clock is 3 s late and must be set, or 0.4 s early and must never be; its counter is 100 parts per million off.
    for (ours_ns, fast_ppb, steps) in
        [(START_NS - 3_000_000_000, 100_000, 1), (START_NS + 400_000_000, -100_000, 0)]
    {
        let mut clocks = Clocks { discipline: Discipline::new(), ours_ns, theirs_ns: START_NS, fast_ppb };
        let (mut plan, mut stepped, mut last) = (Plan::default(), 0, i64::MAX);
        let mut elapsed = 0;
        while elapsed < 86_400 {
            let (offset, wait) = clocks.poll(&mut plan);
            stepped += u32::from(offset.unsigned_abs() > 500_000_000);
            last = offset;
            (0..wait).for_each(|_| clocks.tick());
            elapsed += wait;
        }
        assert_eq!(stepped, steps);
        assert!(last.abs() < 1_000_000, "after a day the clock is {last} ns off");
    }
    assert_eq!(Sample::of_pair(u64::MAX, 0), None);
}
