//! Acknowledgements: what they free, and what they show of round trips, windows and losses
//! (RFC 9293, 3.10.7.4, fifth; RFC 5681; RFC 6582; RFC 6675).

use super::header::{Segment, Timestamps, flags};
use super::seq::Seq;
use super::tcb::{Clock, Context, Recovery, Tcb};
use crate::device::Device;
use crate::events::Events;
use crate::timers::NEVER;

/// Duplicate acknowledgements that make a segment lost (RFC 5681, 3.2).
const DUP_THRESHOLD: u32 = 3;

impl<D: Device, E: Events> Tcb<D, E> {
    /// Takes the acknowledgement of a segment with `len` bytes of data. `false`: the segment is to be dropped, or the
    /// connection is over.
    #[inline]
    pub fn acknowledgement(&mut self, cx: &Context<'_, D, E>, segment: &Segment, len: u32) -> bool {
        let ack = segment.ack;
        if ack.after(self.snd_max) || ack.before(self.snd_una - self.max_snd_wnd.max(1)) {
            // RFC 5961, 5: of something never sent, or far too old.
            self.challenge(cx);
            return false;
        }
        let told = self.sack_ok && !segment.sack.is_empty() && self.take_sack(segment);
        if ack.after(self.snd_una) {
            self.advance::<false>(cx, ack, segment.timestamps);
        } else if self.snd_una != self.snd_max {
            let window = u32::from(segment.window) << self.snd_scale;
            let duplicate =
                ack == self.snd_una && len == 0 && window == self.snd_wnd && !segment.has(flags::FIN);
            if told || (duplicate && (!self.sack_ok || !segment.sack.is_empty())) {
                self.duplicate(cx);
            }
        }
        // The window (3.10.7.4).
        if self.snd_wl1.before(segment.seq) || (self.snd_wl1 == segment.seq && !self.snd_wl2.after(ack)) {
            self.snd_wnd = u32::from(segment.window) << self.snd_scale;
            self.max_snd_wnd = self.max_snd_wnd.max(self.snd_wnd);
            self.snd_wl1 = segment.seq;
            self.snd_wl2 = ack;
            if self.clock(Clock::Persist) != NEVER && self.snd_wnd > 0 {
                self.set_clock(Clock::Persist, NEVER);
            }
        }
        if self.fin_queued && !self.fin_acked && self.fin_covered {
            self.fin_acknowledged(cx);
        }
        self.state != super::settings::State::Closed
    }

    /// New data was acknowledged. `CALM`: on a calm connection (see `predicted`), where nothing is to be recovered from.
    #[inline(always)]
    pub fn advance<const CALM: bool>(
        &mut self,
        cx: &Context<'_, D, E>,
        ack: Seq,
        timestamps: Option<Timestamps>,
    ) {
        let acked = ack - self.snd_una;
        let queued = self.send.len();
        self.send.acknowledge(acked.min(queued));
        self.snd_una = ack;
        if self.small_end.before(ack) {
            self.small_end = ack; // keeps the comparison within half of the space
        }
        if !CALM {
            self.fin_covered = acked > queued;
            self.snd_nxt = self.snd_nxt.max(ack);
            self.scoreboard.advance(ack);
            self.dup_acks = 0;
        }
        self.retransmits = 0;
        self.soft_error = None;
        self.measure::<CALM>(cx, ack, timestamps);
        match self.recovery {
            _ if CALM && !self.window_limited => {}
            Recovery::Open => {
                if self.window_limited {
                    self.grow(cx, acked);
                }
            }
            Recovery::Fast | Recovery::Loss => self.partial(cx, ack, acked),
        }
        if ack == self.snd_max {
            self.set_clock(Clock::Retransmit, NEVER);
        } else {
            self.stalled_since = cx.now;
            self.set_clock(Clock::Retransmit, cx.now + self.rtt.timeout());
        }
    }

    #[inline(always)]
    fn measure<const CALM: bool>(
        &mut self,
        cx: &Context<'_, D, E>,
        ack: Seq,
        timestamps: Option<Timestamps>,
    ) {
        if let Some((end, sent)) = self.timing {
            if !ack.before(end) {
                self.timing = None;
                self.rtt.measure(cx.now - sent);
            }
        } else if !CALM
            && self.recovery != Recovery::Open
            && let Some(ts) = timestamps
            && self.ts_ok
            && ts.echo != 0
        {
            // What was sent twice is not timed by its sequence number, but the echo shows which one arrived.
            let clock = super::control::timestamp_clock(cx.now).wrapping_add(self.ts_offset);
            let ticks = clock.wrapping_sub(ts.echo);
            if ticks < 1 << 17 {
                self.rtt.measure(u64::from(ticks.max(1)) << 20);
            }
        }
        self.rtt.reset_backoff();
    }

    /// The window was used up, so it may grow, and the send buffer with it.
    fn grow(&mut self, cx: &Context<'_, D, E>, acked: u32) {
        self.cubic.acknowledged(acked, cx.now, self.rtt.smoothed());
        if self.options.send_buffer.is_none() {
            let want = 2 * self.cubic.window() as usize;
            let most = cx.stack.config.limits.send_max;
            if want > self.send_buffer {
                self.send_buffer = want.min(most).max(self.send_buffer);
            }
        }
    }

    /// New data was acknowledged in recovery.
    fn partial(&mut self, cx: &Context<'_, D, E>, ack: Seq, acked: u32) {
        if !ack.before(self.recover) {
            self.recovery = Recovery::Open;
            self.window_limited = true;
            return;
        }
        if self.recovery == Recovery::Loss {
            self.cubic.acknowledged(acked, cx.now, self.rtt.smoothed());
        }
        // In fast recovery `output` sends the next hole; without SACK the partial acknowledgement names it (RFC 6582).
    }

    /// Takes SACK blocks; `true` if they report something new.
    fn take_sack(&mut self, segment: &Segment) -> bool {
        let mut new = false;
        for &(start, end) in &segment.sack {
            // A block below SND.UNA reports a duplicate (RFC 2883); other invalid blocks are ignored.
            if start.before(end)
                && !start.before(self.snd_una)
                && start.after(segment.ack)
                && !end.after(self.snd_max)
            {
                new |= self.scoreboard.add(start, end);
            }
        }
        new
    }

    /// A segment arrived at the peer out of order.
    #[cold]
    fn duplicate(&mut self, cx: &Context<'_, D, E>) {
        self.dup_acks += 1;
        let lost = self.dup_acks >= DUP_THRESHOLD
            || (self.sack_ok && self.scoreboard.lost_edge(self.snd_una, self.mss).after(self.snd_una));
        // RFC 6582, 3.2: not again for what was in flight when the last recovery began.
        if self.recovery == Recovery::Open
            && lost
            && (self.sack_ok || self.snd_una.after(self.recover) || self.recover == Seq(0))
        {
            self.cubic.lost(self.snd_max - self.snd_una);
            self.recovery = Recovery::Fast;
            self.recover = self.snd_max;
            self.high_rxt = self.snd_una;
            self.timing = None;
            self.set_clock(Clock::Retransmit, cx.now + self.rtt.timeout());
        }
    }
}
