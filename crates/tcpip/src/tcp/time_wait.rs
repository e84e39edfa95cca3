//! TIME_WAIT: a small record protects the four-tuple of an ended connection from old segments (RFC 9293, 3.6).

use super::control::{Control, timestamp_clock, timestamp_option};
use super::demux::{Entry, Tuple};
use super::header::{Segment, Timestamps, flags};
use super::seq::Seq;
use crate::device::Device;
use crate::events::Events;
use crate::ports::Hold;
use crate::stack::Stack;
use crate::timers::{Timer, TimerHandle};
use coracle_fallible::try_box;
use core::sync::atomic::Ordering::Relaxed;

/// How long it lasts, ns (Linux: `TCP_TIMEWAIT_LEN`).
pub const TIME_WAIT: u64 = 60_000_000_000;
/// Time between two answers to segments out of the window, ns (Linux: `tcp_invalid_ratelimit`).
const ANSWER_INTERVAL: u64 = 500_000_000;

/// What the record keeps of the connection.
#[derive(Clone, Debug)]
pub struct TimeWait {
    /// SND.NXT.
    pub snd_nxt: Seq,
    /// RCV.NXT.
    pub rcv_nxt: Seq,
    /// The window we announced, as in the header.
    pub window: u16,
    /// TS.Recent, if timestamps were in use.
    pub ts_recent: Option<u32>,
    /// Offset of our timestamps.
    pub ts_offset: u32,
    /// Its timer.
    pub timer: Option<TimerHandle>,
    /// What it holds of its port.
    pub hold: Option<Hold>,
    /// When we last answered.
    pub answered: u64,
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Puts the record of an ended connection in the place of the connection.
    pub(crate) fn enter_time_wait(&self, now: u64, tuple: Tuple, mut end: TimeWait) {
        let connection = |entry: &Entry<D, E>| matches!(entry, Entry::Connection(_));
        if self.time_waits.load(Relaxed) >= self.config.limits.time_wait_max {
            drop(self.demux.remove(&tuple, connection));
            return self.forget(end);
        }
        // Without memory for the record the connection is forgotten, as where there are too many.
        let timer = self.timers.insert(u64::from(tuple.remote_port), Timer::Tuple(tuple));
        end.timer = timer.ok();
        let (Ok(timer), Ok(end)) = (timer, try_box(end)) else {
            if let Ok(timer) = timer {
                self.timers.remove(timer);
            }
            drop(self.demux.remove(&tuple, connection));
            return;
        };
        match self.demux.replace(&tuple, Entry::TimeWait(end), connection) {
            Ok(old) => {
                self.time_waits.fetch_add(1, Relaxed);
                self.timers.set(timer, now + TIME_WAIT);
                drop(old);
            }
            Err(entry) => {
                self.timers.remove(timer);
                if let Entry::TimeWait(end) = entry {
                    self.forget(*end);
                }
            }
        }
    }

    fn forget(&self, end: TimeWait) {
        if let Some(hold) = end.hold {
            self.tcp_ports.let_go(hold);
        }
    }

    /// Removes the record.
    pub(crate) fn leave_time_wait(&self, tuple: &Tuple) {
        if let Some(Entry::TimeWait(end)) =
            self.demux.remove(tuple, |entry| matches!(entry, Entry::TimeWait(_)))
        {
            self.time_waits.fetch_sub(1, Relaxed);
            if let Some(timer) = end.timer {
                self.timers.remove(timer);
            }
            self.forget(*end);
        }
    }

    /// Takes a segment for an ended connection (RFC 9293, 3.10.7.4; RFC 6191). Returns the initial sequence number to use
    /// if the segment is a SYN that may open a new connection.
    pub(crate) fn time_wait_segment(
        &self,
        now: u64,
        tuple: &Tuple,
        end: &TimeWait,
        segment: &Segment,
        len: u32,
    ) -> Option<Seq> {
        /// The new connection's sequence numbers start so far after the old one's: beyond any window.
        const ISN_STEP: u32 = 65535 + 2;
        if segment.has(flags::RST) {
            // RFC 1337: resets do not end TIME_WAIT.
            return None;
        }
        let newer_timestamp = match (segment.timestamps, end.ts_recent) {
            (Some(ts), Some(recent)) => Some((ts.value.wrapping_sub(recent) as i32) > 0),
            _ => None,
        };
        if segment.has(flags::SYN) && !segment.has(flags::ACK) {
            let fresh = newer_timestamp.unwrap_or(false) || segment.seq.after(end.rcv_nxt);
            if fresh {
                self.leave_time_wait(tuple);
                return Some(end.snd_nxt + ISN_STEP);
            }
        }
        // Its FIN came again (our ACK was lost), or something old: acknowledge, not too often; a FIN starts the time anew.
        let answer = self.demux.change(tuple, |entry| match entry {
            Entry::TimeWait(end)
                if segment.has(flags::FIN) || now >= end.answered.saturating_add(ANSWER_INTERVAL) =>
            {
                end.answered = now;
                true
            }
            _ => false,
        });
        if segment.has(flags::FIN)
            && let Some(timer) = end.timer
        {
            self.timers.set(timer, now + TIME_WAIT);
        }
        let carries =
            len > 0 || segment.has(flags::SYN) || segment.has(flags::FIN) || segment.seq != end.rcv_nxt;
        if carries && answer == Some(true) {
            let option = end.ts_recent.map(|echo| {
                timestamp_option(Timestamps { value: timestamp_clock(now).wrapping_add(end.ts_offset), echo })
            });
            let options = option.as_ref().map_or(&[][..], |o| &o[..]);
            let control = Control {
                seq: end.snd_nxt,
                ack: end.rcv_nxt,
                flags: flags::ACK,
                window: end.window,
                options,
            };
            self.send_control(now, tuple, control);
        }
        None
    }
}
