//! The loopback: packets to our own addresses never reach the device.
//!
//! They are queued, and processed when the call that sent them has released its locks. One CPU at a time processes the queue, so
//! packets keep their order. Payloads are shared with the sender's queue, not copied, unless they are small.

use crate::counters::Traffic;
use crate::device::{Buffer, Chunk, Device, Fragment, RxChecksum, RxFrame};
use crate::events::Events;
use crate::neighbor::ETHERNET_LEN;
use crate::packet::{Origin, protocol};
use crate::stack::Stack;
use alloc::collections::VecDeque;
use coracle_fallible::prelude::*;
use core::sync::atomic::{AtomicBool, Ordering, fence};
use spin::Mutex;

/// Greatest packet (Linux's `lo` has the same).
pub const LOOPBACK_MTU: usize = 65535;
/// Where the protocol is in an IPv4 header.
const PROTOCOL_AT: usize = 9;
/// Where it is in an IPv6 header.
const NEXT_HEADER_AT: usize = 6;
/// Packets that may wait. More are dropped, as any network does.
const MAX_QUEUED: usize = 4096;

/// The queue.
struct Queue<B> {
    frames: VecDeque<(RxFrame<B>, Origin)>,
    /// [`MAX_QUEUED`], or 0 while packets are watched: the path of a packet that is not watched has no instruction for it.
    limit: usize,
    traffic: Traffic,
}

/// The packets in transit.
pub struct Loopback<B> {
    queue: Mutex<Queue<B>>,
    any: AtomicBool,
    /// Held by the CPU that processes the queue: one at a time keeps packets in order.
    draining: Mutex<()>,
}

impl<B> Default for Loopback<B> {
    fn default() -> Self {
        let queue = Queue { frames: VecDeque::new(), limit: MAX_QUEUED, traffic: Traffic::default() };
        Loopback { queue: Mutex::new(queue), any: AtomicBool::new(false), draining: Mutex::new(()) }
    }
}

impl<B> Loopback<B> {
    /// Whether packets wait.
    #[inline(always)]
    pub fn is_pending(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// What went over it.
    pub fn traffic(&self) -> Traffic {
        self.queue.lock().traffic
    }

    /// Has packets watched, or not.
    pub fn watch(&self, on: bool) {
        self.queue.lock().limit = if on { 0 } else { MAX_QUEUED };
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Queues a packet to ourselves, to be received as one from `origin`. `headers` starts with (unused) Ethernet header.
    pub(crate) fn loopback_send(&self, headers: &[u8], payload: &[Fragment<'_, D::Buf>], origin: Origin) {
        // What goes to a loopback that is down is lost.
        let frame = self.loopback_frame(headers, payload).filter(|_| self.addresses.is_loopback_up());
        let mut queue = self.loopback.queue.lock();
        if let Some(frame) = frame
            && (queue.frames.len() < queue.limit || self.is_watched(&queue, &frame))
            && queue.frames.try_push_back((frame, origin)).is_ok()
        {
            let bytes = headers.len() + payload.iter().map(|f| f.len as usize).sum::<usize>();
            queue.traffic.add(bytes);
            self.loopback.any.store(true, Ordering::Relaxed);
        } else {
            // What there is no memory for is lost, as on a wire.
            queue.traffic.drops += 1;
        }
    }

    /// A packet that the limit refuses: whether that is because packets are watched. It is shown to the device then.
    #[cold]
    #[inline(never)]
    fn is_watched(&self, queue: &Queue<D::Buf>, frame: &RxFrame<D::Buf>) -> bool {
        let is_watched = queue.limit == 0 && queue.frames.len() < MAX_QUEUED;
        if is_watched {
            self.device.looped(frame);
        }
        is_watched
    }

    /// A packet as it is received.
    pub(crate) fn loopback_frame(
        &self,
        headers: &[u8],
        payload: &[Fragment<'_, D::Buf>],
    ) -> Option<RxFrame<D::Buf>> {
        let headers = headers.get(ETHERNET_LEN..)?;
        let is_v6 = headers.first().is_some_and(|first| first >> 4 == 6);
        let protocol_at = if is_v6 { NEXT_HEADER_AT } else { PROTOCOL_AT };
        let is_tcp = headers.get(protocol_at) == Some(&protocol::TCP);
        let mut buffer = self.device.alloc_looped(!is_tcp || !payload.is_empty())?;
        let room = buffer.as_mut_slice()?;
        room.get_mut(..headers.len())?.copy_from_slice(headers);
        let mut len = headers.len();
        let mut rest = payload;
        if let [only] = payload
            && let Some(room) = room.get_mut(len..len + only.len as usize)
        {
            room.copy_from_slice(only.bytes());
            len += only.len as usize;
            rest = &[];
        }
        let chunk = |f: &Fragment<'_, D::Buf>| Chunk { buffer: f.buffer.clone(), start: f.start, len: f.len };
        let rest = rest.iter().map(chunk).try_collect_vec().ok()?;
        Some(RxFrame {
            head: Chunk::new(buffer, 0, len)?,
            rest,
            checksum: RxChecksum::Valid,
            segment_size: 0,
        })
    }

    /// Takes a packet of either family.
    fn ip_input(&self, now: u64, frame: RxFrame<D::Buf>, origin: Origin) {
        match frame.head.bytes().first() {
            Some(first) if first >> 4 == 6 => self.ipv6_input(now, frame, origin),
            _ => self.ipv4_input(now, frame, origin),
        }
    }

    /// Processes the packets to ourselves. No lock of the engine may be held.
    #[inline(always)]
    pub(crate) fn loopback_run(&self, now: u64) {
        if self.loopback.is_pending() {
            self.loopback_drain(now);
        }
    }

    fn loopback_drain(&self, now: u64) {
        // Whoever holds `draining` looks again after letting go, so a packet queued meanwhile is not left behind.
        while self.loopback.is_pending()
            && let Some(guard) = self.loopback.draining.try_lock()
        {
            loop {
                let mut queue = self.loopback.queue.lock();
                let Some((frame, origin)) = queue.frames.pop_front() else {
                    self.loopback.any.store(false, Ordering::Relaxed);
                    break;
                };
                drop(queue);
                self.ip_input(now, frame, origin);
            }
            drop(guard);
            // Another CPU may have queued a packet and found `draining` held: letting go must be seen by it before we
            // look, or both would go away.
            fence(Ordering::SeqCst);
        }
    }
}
