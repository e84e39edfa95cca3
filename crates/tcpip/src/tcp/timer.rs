//! Expiry of a connection's timers (RFC 6298, section 5; RFC 9293, 3.8.4 and 3.8.6.1; RFC 1122).

use super::listen::RETRIES as SYN_ACK_RETRIES;
use super::settings::State;
use super::tcb::{CLOCKS, Clock, Context, Recovery, Tcb};
use crate::counters::Count;
use crate::device::Device;
use crate::error::Error;
use crate::events::{Events, Observation};
use crate::timers::NEVER;

/// Retransmissions of data before the connection is given up (Linux: `tcp_retries2`).
const RETRIES: u32 = 15;
/// The same for a closed socket (Linux: `tcp_orphan_retries`).
const ORPHAN_RETRIES: u32 = 8;
const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
const ALL: [Clock; CLOCKS] =
    [Clock::Retransmit, Clock::Persist, Clock::DelayedAck, Clock::KeepAlive, Clock::Patience];

impl<D: Device, E: Events> Tcb<D, E> {
    /// The wheel has called: does what is due.
    pub fn timers_due(&mut self, cx: &Context<'_, D, E>) {
        self.armed_at = NEVER;
        self.wanted_at = 0; // looks for the next deadline when it is armed
        for clock in ALL {
            if self.clock(clock) > cx.now {
                continue;
            }
            self.set_clock(clock, NEVER);
            match clock {
                Clock::Retransmit => self.retransmit_due(cx),
                Clock::Persist => self.persist_due(cx),
                Clock::DelayedAck => {
                    self.interactive = false;
                    let _ = self.send_ack(cx);
                }
                Clock::KeepAlive => self.keep_alive_due(cx),
                Clock::Patience => self.patience_due(cx),
            }
        }
    }

    fn probe(&mut self, cx: &Context<'_, D, E>) {
        cx.stack.counters.add(Count::Probes);
        self.send_probe(cx);
    }

    fn give_up(&mut self, cx: &Context<'_, D, E>) {
        let error = self.soft_error.take().unwrap_or(Error::TimedOut);
        self.fail(cx, error);
    }

    /// Whether the program's patience (`TCP_USER_TIMEOUT`) is over.
    fn user_timeout(&self, now: u64) -> bool {
        self.options.user_timeout != 0
            && now - self.stalled_since >= u64::from(self.options.user_timeout) * MILLISECOND
    }

    /// The time `at` of another attempt, or the end of the user timeout if that is earlier.
    fn before_patience_ends(&self, at: u64) -> u64 {
        match u64::from(self.options.user_timeout) * MILLISECOND {
            0 => at,
            patience => at.min(self.stalled_since.saturating_add(patience)),
        }
    }

    fn retransmit_due(&mut self, cx: &Context<'_, D, E>) {
        self.retransmits += 1;
        cx.stack.counters.add(Count::Timeouts);
        let limit = match self.state {
            State::SynSent | State::SynReceived => self.options.syn_retries,
            _ if self.early.is_some() => SYN_ACK_RETRIES.into(),
            _ if self.orphan => ORPHAN_RETRIES,
            _ => RETRIES,
        };
        if self.retransmits > limit || self.user_timeout(cx.now) {
            return self.give_up(cx);
        }
        self.rtt.back_off();
        self.timing = None;
        if matches!(self.state, State::SynSent | State::SynReceived) || self.early.is_some() {
            self.total_retransmits += 1;
            cx.stack.counters.add(Count::RetransSegs);
            E::observe(&Observation::Retransmission(self.tuple.ends()));
            return self.send_syn(cx);
        }
        if self.snd_wnd == 0 && self.snd_una != self.snd_max {
            // The peer closed its window over data in flight: it answers, so probe rather than give up.
            self.retransmits = self.retransmits.saturating_sub(u32::from(self.probes == 0));
        }
        if self.recovery != Recovery::Loss {
            self.cubic.timed_out(self.snd_max - self.snd_una);
        } else {
            // The retransmission was lost too (RFC 5681, 3.1): the window stays at one segment.
            self.cubic.collapse();
        }
        self.recovery = Recovery::Loss;
        self.recover = self.snd_max;
        // The peer may have reneged on what it acknowledged by SACK (RFC 2018, 8).
        self.scoreboard.clear();
        self.dup_acks = 0;
        self.snd_nxt = self.snd_una;
        self.small_end = self.snd_una;
        self.set_clock(Clock::Retransmit, self.before_patience_ends(cx.now + self.rtt.timeout()));
        if self.snd_wnd == 0 {
            self.probes += 1;
            return self.probe(cx);
        }
        self.output(cx);
    }

    fn persist_due(&mut self, cx: &Context<'_, D, E>) {
        let offset = self.snd_nxt - self.snd_una;
        let unsent = self.send.len().saturating_sub(offset);
        if unsent == 0 {
            return;
        }
        let window = self.snd_wnd.saturating_sub(offset);
        if window > 0 {
            // A small window that does not open: send what fits (RFC 9293, 3.8.6.2.1, the override timeout).
            let _ = self.send_now(cx, unsent.min(window).min(self.mss));
            return;
        }
        self.probes += 1;
        let limit = if self.orphan { ORPHAN_RETRIES } else { RETRIES };
        if self.probes > limit || self.user_timeout(cx.now) {
            return self.give_up(cx);
        }
        self.rtt.back_off();
        self.set_clock(Clock::Persist, self.before_patience_ends(cx.now + self.rtt.timeout()));
        self.probe(cx);
    }

    fn keep_alive_due(&mut self, cx: &Context<'_, D, E>) {
        if !self.options.keep_alive || !self.is_synchronized() {
            return;
        }
        let idle = u64::from(self.options.keep_idle) * SECOND;
        let quiet = cx.now - self.last_received;
        if quiet < idle || self.snd_una != self.snd_max || self.send.len() > 0 {
            // Something came, or the retransmission timer watches over the peer.
            let from = if quiet < idle { self.last_received } else { cx.now };
            return self.set_clock(Clock::KeepAlive, from + idle);
        }
        let patience = u64::from(self.options.user_timeout) * MILLISECOND;
        let over = if patience != 0 {
            quiet >= patience && self.probes > 0
        } else {
            self.probes >= self.options.keep_count
        };
        if over {
            self.send_reset(cx);
            return self.give_up(cx);
        }
        self.probes += 1;
        self.probe(cx);
        self.set_clock(Clock::KeepAlive, cx.now + u64::from(self.options.keep_interval.max(1)) * SECOND);
    }

    fn patience_due(&mut self, cx: &Context<'_, D, E>) {
        if self.orphan && self.state == State::FinWait2 {
            return self.finish_connection(cx);
        }
        // TCP_CORK has held the end back long enough.
        let unsent = self.send.len().saturating_sub(self.snd_nxt - self.snd_una);
        if unsent > 0 && self.is_synchronized() {
            let window = self.snd_wnd.saturating_sub(self.snd_nxt - self.snd_una);
            let _ = self.send_now(cx, unsent.min(window).min(self.mss));
        }
    }
}
