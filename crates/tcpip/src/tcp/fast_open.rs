//! TCP Fast Open (RFC 7413): data in the SYN of a client that returns the server's cookie.
//!
//! A connection of a listener that accepts such data is open before its handshake is complete: it is `Established` with
//! [`Tcb::early`], and its SYN counts as acknowledged, but the answer to the peer's SYN is sent until an acknowledgement comes.

use super::demux::Tuple;
use super::header::{DEFAULT_MSS, OptionList, Segment, flags};
use super::listen::Listen;
use super::settings::{State, TcpOptions};
use super::tcb::{Clock, Context, Tcb};
use crate::counters::Count;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::hash::Key;
use crate::ip::Address;
use crate::payload::Payload;
use crate::stack::{Stack, Tcp};
use crate::timers::NEVER;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_fallible::try_arc;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use spin::Mutex;

/// Kind of the option (RFC 7413, 4.1.1).
const OPTION: u8 = 34;
/// Lengths of cookies, in bytes.
const COOKIE: RangeInclusive<usize> = 4..=16;
/// Length of the cookies that this host makes, as Linux's.
const OWN_COOKIE: u8 = 8;
/// Room that is left in a SYN with data for options of middleboxes (Linux's MAX_TCP_OPTION_SPACE).
const OPTION_SPACE: u16 = 40;
/// Servers whose cookies are kept.
const SERVERS_MAX: usize = 64;

/// Bits of net.ipv4.tcp_fastopen.
pub mod setting {
    /// Clients may send data with a SYN.
    pub const CLIENT: u32 = 1;
    /// Listeners may accept such data.
    pub const SERVER: u32 = 2;
    /// Clients need no cookie.
    pub const CLIENT_WITHOUT_COOKIE: u32 = 4;
    /// Listeners need none.
    pub const SERVER_WITHOUT_COOKIE: u32 = 0x200;
    /// All listeners accept data, those without TCP_FASTOPEN as well.
    pub const EVERY_LISTENER: u32 = 0x400;
}

/// A cookie; of no bytes where a client asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    len: u8,
    bytes: [u8; *COOKIE.end()],
}

impl Cookie {
    /// A client asks for a cookie.
    const REQUEST: Cookie = Cookie { len: 0, bytes: [0; *COOKIE.end()] };

    /// The option among those of a SYN. `None`: there is none that makes sense.
    pub fn find(options: &[u8]) -> Option<Cookie> {
        let (_, data) = OptionList(options).find(|(kind, _)| *kind == OPTION)?;
        if !data.is_empty() && (!COOKIE.contains(&data.len()) || data.len() % 2 != 0) {
            return None;
        }
        let mut cookie = Cookie { len: data.len() as u8, ..Cookie::REQUEST };
        cookie.bytes[..data.len()].copy_from_slice(data);
        Some(cookie)
    }

    /// Writes the option with its padding; returns its length.
    pub fn write(&self, out: &mut [u8]) -> usize {
        /// Padding.
        const NOP: u8 = 1;
        let len = 2 + usize::from(self.len);
        let padded = len.next_multiple_of(4);
        let Some(out) = out.get_mut(..padded) else { return 0 };
        out.fill(NOP);
        out[..2].copy_from_slice(&[OPTION, len as u8]);
        out[2..len].copy_from_slice(&self.bytes[..len - 2]);
        padded
    }

    /// The cookie of a client.
    fn make(key: Key, tuple: &Tuple) -> Cookie {
        let ((a, b), (c, d)) = (tuple.remote.words(), tuple.local.words());
        let hash = key.hash(key.hash(a, b), key.hash(c, d));
        let mut cookie = Cookie { len: OWN_COOKIE, ..Cookie::REQUEST };
        cookie.bytes[..usize::from(OWN_COOKIE)].copy_from_slice(&hash.to_be_bytes());
        cookie
    }
}

/// Where the data of a client's SYN stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SynData {
    /// It is a usual connection.
    #[default]
    None,
    /// The SYN waits for data of the program (`TCP_FASTOPEN_CONNECT`).
    Held,
    /// The SYN asked for a cookie, or carried one.
    Offered,
    /// The answer acknowledged data of the SYN. Of the server: the SYN had data.
    Taken,
}

/// What a listener has that accepts data with SYNs.
pub struct Queue {
    /// How many connections may be open before their handshake is complete.
    limit: AtomicU32,
    pending: AtomicU32,
    /// Keys of cookies, the one in use first; none: the stack's.
    keys: Mutex<[Option<Key>; 2]>,
}

/// A connection that counts among those of its listener whose handshake is not complete.
pub struct Pending(Arc<Queue>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Relaxed);
    }
}

/// What becomes of a SYN at a listener that accepts data.
pub enum Verdict {
    /// A usual handshake, in which this cookie is given to the client.
    Handshake(Option<Cookie>),
    /// The connection opens, and the answer has this cookie.
    Open(Pending, Option<Cookie>),
}

/// Cookies of servers, with the segment size that they announced; the latest last.
#[derive(Default)]
pub struct Cookies(Mutex<Vec<(Address, Cookie, u16)>>);

impl Cookies {
    fn get(&self, server: Address) -> Option<(Cookie, u16)> {
        let all = self.0.lock();
        all.iter().find(|entry| entry.0 == server).map(|(_, cookie, mss)| (*cookie, *mss))
    }

    /// Keeps a cookie, or forgets the one there was.
    fn set(&self, server: Address, cookie: Option<(Cookie, u16)>) {
        let mut all = self.0.lock();
        all.retain(|entry| entry.0 != server);
        if let Some((cookie, mss)) = cookie {
            if all.len() >= SERVERS_MAX {
                all.remove(0);
            }
            // Without memory the next connection asks again.
            let _ = all.try_push((server, cookie, mss));
        }
    }
}

impl Queue {
    fn verdict(
        self: &Arc<Self>,
        own_key: Key,
        tuple: &Tuple,
        needs_cookie: bool,
        cookie: Option<Cookie>,
        has_data: bool,
        counters: &crate::Counters,
    ) -> Verdict {
        if cookie.is_none() && (needs_cookie || !has_data) {
            return Verdict::Handshake(None);
        }
        let limit = self.limit.load(Relaxed);
        let room = |pending| (pending < limit).then_some(pending + 1);
        if self.pending.fetch_update(Relaxed, Relaxed, room).is_err() {
            return Verdict::Handshake(None);
        }
        let pending = Pending(self.clone());
        let [first, second] = *self.keys.lock();
        let right = Cookie::make(first.unwrap_or(own_key), tuple);
        let answer = match cookie {
            _ if !needs_cookie => None,
            Some(cookie) if cookie == right => None,
            // One of an old key is good, and replaced.
            Some(cookie) if second.is_some_and(|key| Cookie::make(key, tuple) == cookie) => Some(right),
            Some(cookie) => {
                counters.add(if cookie.len == 0 {
                    Count::FastOpenCookiesAsked
                } else {
                    Count::FastOpenPassiveFails
                });
                return Verdict::Handshake(Some(right));
            }
            None => return Verdict::Handshake(None),
        };
        counters.add(Count::FastOpenPassive);
        Verdict::Open(pending, answer)
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Has a listener accept data with SYNs, on at most `limit` connections whose handshake is not complete; 0: no more
    /// (`TCP_FASTOPEN`). `keys` make its cookies, the second those that are still accepted (`TCP_FASTOPEN_KEY`).
    ///
    /// # Errors
    /// `Invalid` if the socket does not listen, `NoBuffers`.
    pub fn tcp_accept_syn_data(
        &self,
        listener: &Tcp<D, E>,
        limit: u32,
        keys: [Option<(u64, u64)>; 2],
    ) -> Result<()> {
        let mut tcb = listener.lock();
        let listen = tcb.listen.as_mut().ok_or(Error::Invalid)?;
        let queue = match &mut listen.fast_open {
            Some(queue) => queue,
            none => none.insert(try_arc(Queue {
                limit: AtomicU32::new(0),
                pending: AtomicU32::new(0),
                keys: Mutex::new([None; 2]),
            })?),
        };
        queue.limit.store(limit, Relaxed);
        *queue.keys.lock() = keys.map(|key| key.map(|(a, b)| Key(a, b)));
        Ok(())
    }

    /// Which uses of data in SYNs are allowed: bits of `net.ipv4.tcp_fastopen`.
    pub fn fast_open(&self) -> u32 {
        self.fast_open.load(Relaxed)
    }

    /// Changes that.
    pub fn set_fast_open(&self, bits: u32) {
        self.fast_open.store(bits, Relaxed);
    }

    /// The key of cookies of listeners that have none of their own.
    pub fn fast_open_key(&self) -> (u64, u64) {
        (self.keys.fast_open.0, self.keys.fast_open.1)
    }

    /// What becomes of a SYN.
    pub(super) fn syn_verdict(
        &self,
        listen: &Listen<D, E>,
        tuple: &Tuple,
        options: &TcpOptions,
        segment: &Segment,
        payload: &Payload<D::Buf>,
    ) -> Verdict {
        let (Some(queue), bits) = (&listen.fast_open, self.fast_open()) else {
            return Verdict::Handshake(None);
        };
        if bits & setting::SERVER == 0 {
            return Verdict::Handshake(None);
        }
        let needs_cookie = bits & setting::SERVER_WITHOUT_COOKIE == 0 && !options.fast_open_no_cookie;
        let cookie = option_of(segment, payload);
        queue.verdict(self.keys.fast_open, tuple, needs_cookie, cookie, !payload.is_empty(), &self.counters)
    }

    /// The cookie to send to a server, if one is needed, and the size of the greatest segment. `None`: there is none yet.
    fn syn_offer(&self, tuple: &Tuple, options: &TcpOptions) -> Option<(Option<Cookie>, Option<u16>)> {
        let known = self.cookies.get(tuple.remote);
        if options.fast_open_no_cookie || self.fast_open() & setting::CLIENT_WITHOUT_COOKIE != 0 {
            return Some((None, known.map(|(_, mss)| mss)));
        }
        known.map(|(cookie, mss)| (Some(cookie), Some(mss)))
    }

    /// Begins a connection with a SYN that carries data (`MSG_FASTOPEN`), or has the SYN that waits for data sent. `fill` is
    /// called as by [`tcp_send`](Self::tcp_send). Returns the number of bytes queued: none if there is no cookie of the
    /// server yet, which the SYN asks for then. Otherwise as [`tcp_connect`](Self::tcp_connect).
    pub fn tcp_connect_with_data(
        &self,
        socket: &Tcp<D, E>,
        now: u64,
        peer: Option<crate::Endpoint>,
        len: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Result<usize> {
        if let Some(peer) = peer.filter(|_| !socket.holds_syn()) {
            self.tcp_begin(socket, now, peer, true)?;
        }
        let (cx, mut tcb) = Context::lock(self, socket, now);
        if tcb.state != State::SynSent || tcb.syn_data != SynData::Held {
            return Err(Error::AlreadyInProgress);
        }
        let queued = tcb.send_held_syn(&cx, len, fill);
        socket.finish(&cx, tcb);
        self.loopback_run(now);
        Ok(queued)
    }
}

/// The option of a SYN whose header lies before `payload`.
pub fn option_of<B: crate::Buffer>(segment: &Segment, payload: &Payload<B>) -> Option<Cookie> {
    Cookie::find(payload.dropped(segment.header_len)?.get(super::header::HEADER_LEN..)?)
}

impl<D: Device, E: Events> Tcb<D, E> {
    /// Whether the SYN of a new connection is to wait for data: there is a cookie of the server, or none is needed.
    pub fn may_hold_syn(&self, cx: &Context<'_, D, E>) -> bool {
        cx.stack.syn_offer(&self.tuple, &self.options).is_some()
    }

    /// Sends a SYN that asks for a cookie.
    pub fn ask_for_cookie(&mut self, cx: &Context<'_, D, E>) {
        self.send_held_syn(cx, 0, &mut |_| 0);
    }

    /// Sends the SYN that was held, with what fits of `len` bytes; returns how many were queued.
    fn send_held_syn(
        &mut self,
        cx: &Context<'_, D, E>,
        len: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        let offer = cx.stack.syn_offer(&self.tuple, &self.options);
        let mut queued = 0;
        let option = match offer {
            Some((cookie, mss)) => {
                let own = self.announced_mss(cx);
                let room = own.min(mss.unwrap_or(own)).max(DEFAULT_MSS) - OPTION_SPACE;
                queued =
                    self.send.append(len.min(room.into()), || cx.stack.device.alloc(), |room| fill(room));
                cookie
            }
            None => Some(Cookie::REQUEST),
        };
        self.syn_data = SynData::Offered;
        self.send_syn_with(cx, option, queued > 0);
        self.timing = Some((self.snd_una + 1, cx.now));
        self.stalled_since = cx.now;
        queued
    }

    /// The connection is established by the answer to a SYN that offered data or asked for a cookie: keeps the cookie that
    /// came, and has what was not acknowledged sent again (RFC 7413, 4.1.3 and 4.2.2).
    pub fn syn_data_answered(
        &mut self,
        cx: &Context<'_, D, E>,
        segment: &Segment,
        payload: &Payload<D::Buf>,
    ) {
        let acked = segment.ack - self.snd_una;
        let sent = self.snd_max - self.snd_una;
        let cookie = option_of(segment, payload).filter(|cookie| cookie.len > 0);
        match cookie {
            Some(cookie) => {
                let mss = segment.syn.mss.unwrap_or(DEFAULT_MSS);
                cx.stack.cookies.set(self.tuple.remote, Some((cookie, mss)));
            }
            // Only the SYN that was sent again, without data, has arrived: the way there may lose such ones.
            None if self.total_retransmits > 0 && sent > 0 && acked == 0 => {
                cx.stack.cookies.set(self.tuple.remote, None);
            }
            None => {}
        }
        self.syn_data = if acked > 0 { SynData::Taken } else { SynData::None };
        if sent > 0 {
            cx.stack.counters.add(if acked > 0 { Count::FastOpenActive } else { Count::FastOpenActiveFails });
        }
        self.send.acknowledge(acked);
        self.snd_una = segment.ack;
        self.snd_nxt = self.snd_una;
        self.snd_max = self.snd_una;
        self.small_end = self.snd_una;
        self.high_rxt = self.snd_una;
    }

    /// Opens a connection by its SYN: takes the data, and answers.
    pub fn open_early(
        &mut self,
        cx: &Context<'_, D, E>,
        segment: &Segment,
        payload: &mut Payload<D::Buf>,
        cookie: Option<Cookie>,
    ) {
        let first = self.rcv_nxt;
        self.receive_data(cx, first, payload, segment.has(flags::FIN), 0);
        if self.rcv_nxt != first {
            self.syn_data = SynData::Taken;
        }
        self.send_syn_with(cx, cookie, false);
        self.timing = Some((self.snd_una, cx.now));
    }

    /// Takes an acknowledgement while the handshake of an open connection is not complete. `false`: the segment is to be
    /// dropped.
    #[cold]
    pub fn early_acknowledged(&mut self, cx: &Context<'_, D, E>, segment: &Segment, len: u32) -> bool {
        if segment.ack.before(self.snd_una) || segment.ack.after(self.snd_max) {
            cx.stack.send_reset_for(cx.now, &self.tuple, segment, len);
            return false;
        }
        self.early = None;
        self.retransmits = 0;
        self.rtt.reset_backoff();
        if let Some((end, sent)) = self.timing
            && end == self.snd_una
        {
            self.timing = None;
            self.rtt.measure(cx.now - sent);
        }
        if self.snd_una == self.snd_max {
            self.set_clock(Clock::Retransmit, NEVER);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_option_is_read_as_written(half in 2u8..=8, bytes: [u8; 16], none: bool) {
            let len = if none { 0 } else { 2 * half };
            let mut cookie = Cookie { len, ..Cookie::REQUEST };
            cookie.bytes[..usize::from(len)].copy_from_slice(&bytes[..usize::from(len)]);
            let mut out = [0; 20];
            let written = cookie.write(&mut out);
            prop_assert_eq!(written % 4, 0);
            prop_assert_eq!(Cookie::find(&out[..written]), Some(cookie));
        }

        #[test]
        fn any_options_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Cookie::find(&bytes);
        }
    }
}
