//! From a guest's answer to events with times.

use coracle_control::{EventRecord, EventsHead, RingHead};

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in nanoseconds since the guest booted.
    pub time_ns: u64,
    /// The CPU.
    pub cpu: u64,
    /// What was noted.
    pub record: EventRecord,
}

/// What one request has fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The events, in the order in which they happened.
    pub events: Vec<Event>,
    /// How many were overwritten before.
    pub lost: u64,
    /// When they were fetched, in nanoseconds since boot.
    pub now_ns: u64,
}

impl Event {
    /// What a CPU noted; `head` says what time its ticks are.
    pub fn new(head: &EventsHead, cpu: u64, record: EventRecord) -> Event {
        Event { time_ns: time(head, record.ticks), cpu, record }
    }
}

impl Fetched {
    /// Reads an answer; what is not whole is left out.
    pub fn parse(answer: &[u8]) -> Fetched {
        let Some((head, mut rest)) = EventsHead::decode(answer) else { return Fetched::default() };
        let mut all = Fetched { now_ns: head.now_ns, ..Fetched::default() };
        while let Some((ring, after)) = RingHead::decode(rest) {
            rest = after;
            all.lost = all.lost.saturating_add(ring.lost);
            for _ in 0..ring.count {
                let Some((record, after)) = EventRecord::decode(rest) else { break };
                rest = after;
                all.events.push(Event::new(&head, ring.cpu, record));
            }
        }
        all.events.sort_by_key(|event| event.time_ns);
        all
    }
}

/// The time of a count of ticks, in nanoseconds since boot.
pub fn time(head: &EventsHead, ticks: u64) -> u64 {
    /// Bits behind the point of a rate.
    const FRACTION: u32 = 32;
    let ns = |ticks: u64| {
        let product = u128::from(ticks) * u128::from(head.rate);
        u64::try_from(product >> FRACTION).unwrap_or(u64::MAX)
    };
    // One that was noted after the head was made is later than that.
    match ticks.checked_sub(head.now_ticks) {
        Some(later) => head.now_ns.saturating_add(ns(later)),
        None => head.now_ns.saturating_sub(ns(head.now_ticks - ticks)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::Trace;
    use super::super::text::{Names, line};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_of_all_cpus_are_one_order() {
        // Two nanoseconds to a tick.
        let head = EventsHead { now_ns: 1000, now_ticks: 500, rate: 2 << 32, cpus: 2 };
        let record = |ticks| EventRecord { ticks, kind: 1, ..EventRecord::default() };
        let ring = |cpu, count, lost| RingHead { cpu, count, lost }.encode();
        let mut answer = head.encode().to_vec();
        answer.extend(ring(0, 2, 3));
        answer.extend([record(100), record(501)].iter().flat_map(EventRecord::encode));
        answer.extend(ring(1, 1, 0));
        answer.extend(record(400).encode());
        let fetched = Fetched::parse(&answer);
        let times: Vec<_> = fetched.events.iter().map(|event| (event.time_ns, event.cpu)).collect();
        assert_eq!(times, [(200, 0), (800, 1), (1002, 0)]);
        assert_eq!((fetched.lost, fetched.now_ns), (3, 1000));
        // Cut anywhere, it gives the events that are whole.
        for len in 0..answer.len() {
            assert!(Fetched::parse(&answer[..len]).events.len() <= 2);
        }
    }

    proptest! {
        #[test]
        fn any_guest_is_shown(mut bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
            // Kinds are small numbers.
            for record in bytes.chunks_mut(8) {
                record[0] %= 32;
            }
            let fetched = Fetched::parse(&bytes);
            let names = Names::default();
            let mut trace = Trace::default();
            for event in &fetched.events {
                prop_assert!(line(event, &names).ends_with('\n'));
                trace.take(event, &names);
            }
            prop_assert!(trace.finish("any", &names)["traceEvents"].is_array());
        }
    }
}
