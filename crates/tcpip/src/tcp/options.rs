//! Changes of a socket's options.

use super::settings::{Hold, State, TcpOptions};
use super::tcb::{Clock, Context, Tcb};
use crate::config::Limits;
use crate::device::Device;
use crate::events::Events;
use crate::stack::{Stack, Tcp};
use spin::MutexGuard;

impl<D: Device, E: Events> Stack<D, E> {
    /// Changes options; they take effect at once.
    pub fn tcp_set_options(&self, socket: &Tcp<D, E>, now: u64, change: impl FnOnce(&mut TcpOptions)) {
        let (cx, mut tcb) = Context::lock(self, socket, now);
        let before = tcb.options;
        change(&mut tcb.options);
        self.options_changed(&cx, tcb, before);
    }

    /// Sets or clears an option that decides which data wait, as some servers do around each reply; it takes effect at once. Returns
    /// whether data waited: only then something may have been sent.
    #[inline(never)]
    pub fn tcp_set_hold(&self, socket: &Tcp<D, E>, now: u64, hold: Hold, on: bool) -> bool {
        let (cx, mut tcb) = Context::lock(self, socket, now);
        match hold {
            Hold::NoDelay => tcb.options.no_delay = on,
            Hold::Cork => tcb.options.cork = on,
        }
        tcb.more = false;
        if tcb.calm {
            let unsent = tcb.send.len() - (tcb.snd_nxt - tcb.snd_una);
            if unsent == 0 {
                return false;
            }
            if tcb.hold_expected(&cx) || (!tcb.options.cork && tcb.send_expected(&cx, self)) {
                cx.socket.finish_calm(&cx, tcb);
                return true;
            }
        }
        if tcb.is_synchronized() {
            tcb.output(&cx);
        }
        cx.socket.finish(&cx, tcb);
        self.loopback_run(cx.now);
        true
    }

    /// Apart from its generic caller, so that it is compiled once.
    #[inline(never)]
    fn options_changed(
        &self,
        cx: &Context<'_, D, E>,
        mut tcb: MutexGuard<'_, Tcb<D, E>>,
        before: TcpOptions,
    ) {
        let after = tcb.options;
        if after.device != before.device && tcb.state == State::Listen {
            self.listeners.set_device(tcb.tuple.local_port, cx.socket, after.device);
        }
        if after.family != before.family && !tcb.claimed && tcb.tuple.remote_port == 0 {
            tcb.tuple.local = after.family.any();
        }
        tcb.apply_buffers(&self.config.limits);
        if tcb.is_synchronized() {
            if (before.ttl, before.tos, before.hops, before.traffic_class)
                != (after.ttl, after.tos, after.hops, after.traffic_class)
                && let Some(path) = self.path(&tcb.tuple, &after)
            {
                tcb.path = path;
            }
            if before.max_segment != after.max_segment {
                tcb.update_mss(cx);
            }
            if after.keep_alive {
                let from = tcb.last_received;
                tcb.set_clock(Clock::KeepAlive, from + u64::from(after.keep_idle) * 1_000_000_000);
            } else {
                tcb.set_clock(Clock::KeepAlive, crate::timers::NEVER);
            }
            if after.quick_ack && tcb.unacked > 0 {
                let _ = tcb.send_ack(cx);
            }
            tcb.more = false;
            tcb.output(cx); // TCP_NODELAY set or TCP_CORK cleared lets waiting data go
        }
        cx.socket.finish(cx, tcb);
        self.loopback_run(cx.now);
    }
}

impl<D: Device, E: Events> Tcb<D, E> {
    /// Sizes of buffers that the program fixed.
    pub fn apply_buffers(&mut self, limits: &Limits) {
        const LEAST: usize = 2048;
        if let Some(size) = self.options.send_buffer {
            self.send_buffer = size.clamp(LEAST, limits.send_max);
        }
        if let Some(size) = self.options.receive_buffer {
            self.receive_buffer = size.clamp(LEAST, limits.receive_max);
        }
    }
}
