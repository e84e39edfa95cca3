//! What `coracle trace --events` itself makes happen in a guest, which the text leaves out.

use std::collections::HashSet;

use coracle_control::{EventRecord, event};

use super::decode::Event;

/// Tells the events that the guest's answers to this command cause from others.
///
/// Where the thread that answers takes the CPU from a program, and gives it back, the switches are no less real than others: they are
/// kept.
#[derive(Default)]
pub struct OwnEvents {
    /// CPUs that idle again after that thread.
    idle_again: HashSet<u64>,
}

impl OwnEvents {
    /// Whether an event is such a one. Each event is asked about once, in order.
    pub fn is_own(&mut self, event: &Event) -> bool {
        let EventRecord { kind, a, b, .. } = event.record;
        let is_ours = |word| word == event::thread::CONTROL;
        let is_no_program = |word| is_ours(word) || word == event::thread::IDLE;
        match kind {
            event::PARK => is_ours(b),
            event::WAKE => is_ours(a),
            event::SWITCH => {
                let is_own = is_no_program(a) && is_no_program(b);
                if is_own && is_ours(b) {
                    self.idle_again.insert(event.cpu);
                } else {
                    self.idle_again.remove(&event.cpu);
                }
                is_own
            }
            event::IDLE => self.idle_again.contains(&event.cpu),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_programs_are_kept() {
        const PROGRAM: u64 = 1 << 32 | 1;
        let (ours, idle) = (event::thread::CONTROL, event::thread::IDLE);
        let mut own = OwnEvents::default();
        let mut is_own = |kind, a, b| {
            own.is_own(&Event { time_ns: 0, cpu: 0, record: EventRecord { ticks: 0, kind, small: 0, a, b } })
        };
        let answered = [
            (event::WAKE, ours, 0),
            (event::SWITCH, ours, idle),
            (event::PARK, u64::MAX, ours),
            (event::SWITCH, idle, ours),
            (event::IDLE, idle, 0),
        ];
        let program = [
            (event::WAKE, PROGRAM, 0),
            (event::SWITCH, PROGRAM, idle),
            (event::SWITCH, ours, PROGRAM),
            (event::SWITCH, PROGRAM, ours),
            (event::PARK, u64::MAX, PROGRAM),
            (event::SWITCH, idle, PROGRAM),
            (event::IDLE, idle, 0),
        ];
        for (events, expected) in [(&answered[..], true), (&program[..], false), (&answered[..], true)] {
            for (kind, a, b) in events {
                assert_eq!(is_own(*kind, *a, *b), expected, "{kind} {a:#x} {b:#x}");
            }
        }
    }
}
