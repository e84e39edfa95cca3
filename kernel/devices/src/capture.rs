//! Capturing packets, for `coracle pcap`.
//!
//! While packets are captured, the bounds by which the queues of the card and the loopback find that they have to do more than usual
//! hold always; the part for that shows each packet. While they are not, a packet takes no instruction for it. Records lie in a buffer
//! of fixed size until they are fetched; what has no room is counted.
use alloc::vec::Vec;
use coracle_bpf::{Data, Program};
use coracle_control::{PacketRecord, packet};
use coracle_core::errno::Errno;
use coracle_core::lock::Mutex;
use coracle_core::time::clock;
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::{AtomicBool, Ordering};
use coracle_hal::time::now_ns;
use coracle_tcpip::{Buffer, Chunk, Fragment, RxFrame, TxFrame};

/// Bytes of records that wait to be fetched. There are two such buffers while packets are captured.
const BUFFER_BYTES: usize = 512 << 10;
/// Bytes of a packet that are kept at most: the longest packet of IPv4 with its Ethernet header.
const SNAP_MAX: usize = 65_535 + ETHERNET_LEN;
/// A capture that was not fetched for so long has lost its reader, and another may take its place.
const ABANDONED_NS: u64 = 5_000_000_000;
/// Length of an Ethernet header.
const ETHERNET_LEN: usize = 14;
/// Where the type is therein, and those of IP.
const ETHERTYPE_AT: usize = 12;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// A capture.
struct Capture {
    filter: Option<Program>,
    snap_len: usize,
    records: Vec<u8>,
    /// The other buffer.
    spare: Vec<u8>,
    lost: u32,
    fetched_ns: u64,
}

static CAPTURE: Mutex<Option<Capture>> = Mutex::new(None);

/// The parts of a packet, one behind the other.
trait Parts {
    /// The part of this number.
    fn part(&self, number: usize) -> Option<&[u8]>;
}

/// One that came, or went over the loopback: the Ethernet header that it lacks, then the packet.
struct Received<'a, B>(&'a [u8], &'a Chunk<B>, &'a [Chunk<B>]);

impl<B: Buffer> Parts for Received<'_, B> {
    fn part(&self, number: usize) -> Option<&[u8]> {
        match number {
            0 => Some(self.0),
            1 => Some(self.1.bytes()),
            _ => self.2.get(number - 2).map(Chunk::bytes),
        }
    }
}

impl<B: Buffer> Parts for TxFrame<'_, B> {
    fn part(&self, number: usize) -> Option<&[u8]> {
        match number {
            0 => Some(self.headers),
            _ => self.payload.get(number - 1).map(Fragment::bytes),
        }
    }
}

/// A packet as a filter looks at it: from its Ethernet header on.
pub struct Packet<'a>(&'a dyn Parts);

impl Packet<'_> {
    /// Its parts, one behind the other.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        (0..).map_while(|number| self.0.part(number))
    }
}

coracle_hal::hook! {
    $ pub
    /// Shows a packet to sockets of AF_PACKET, with its kind (`packet::RECEIVED` and so on) and the number of its network
    /// namespace, while [`tap`] asks for that. The caller may
    /// hold locks of queues.
    tapped: fn(u32, u32, &coracle_devices::capture::Packet<'_>) = "coracle_tapped", given by give_tapped
}

static IS_TAPPED: AtomicBool = AtomicBool::new(false);

/// Has packets shown to sockets of AF_PACKET, or not any more.
pub fn tap(on: bool) {
    IS_TAPPED.store(on, Ordering::Relaxed);
}

impl Data for Packet<'_> {
    fn len(&self) -> u32 {
        self.parts().map(|part| part.len() as u32).sum()
    }

    fn load(&self, at: u32, bytes: u32) -> Option<u32> {
        let mut number = 0;
        for at in at..at.checked_add(bytes)? {
            let mut left = at as usize;
            let byte = self.parts().find_map(|part| {
                let byte = part.get(left).copied();
                left = left.saturating_sub(part.len());
                byte
            })?;
            number = number << 8 | u32::from(byte);
        }
        Some(number)
    }
}

impl Capture {
    fn take(&mut self, kind: u32, packet: &Packet) {
        if self.filter.as_ref().is_some_and(|filter| filter.run(packet) == 0) {
            return;
        }
        let len = packet.len();
        let captured = self.snap_len.min(len as usize);
        if self.records.capacity() - self.records.len() < PacketRecord::HEAD + captured {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        let time_ns = clock::realtime_ns();
        let record = PacketRecord { captured: captured as u32, len, kind, reserved: 0, time_ns };
        // There is room for all: nothing is allocated.
        let _ = self.records.try_extend_from_slice(&record.encode());
        let mut left = captured;
        for part in packet.parts() {
            let part = &part[..part.len().min(left)];
            let _ = self.records.try_extend_from_slice(part);
            left -= part.len();
        }
    }
}

/// Shows the capture a packet of the first network namespace (0), and sockets one of any. The caller may hold locks of queues.
#[inline(never)]
fn show(kind: u32, space: u32, packet: &dyn Parts) {
    let packet = Packet(packet);
    if space == 0
        && let Some(capture) = CAPTURE.lock().as_mut()
    {
        capture.take(kind, &packet);
    }
    if IS_TAPPED.load(Ordering::Relaxed) {
        tapped()(kind, space, &packet);
    }
}

/// Shows a packet that came over the card.
#[cold]
#[inline(never)]
pub fn received<B: Buffer>(head: &Chunk<B>, rest: &[Chunk<B>]) {
    show(packet::RECEIVED, 0, &Received(&[], head, rest));
}

/// Shows a packet that is to be sent over the card.
#[cold]
#[inline(never)]
pub fn sent<B: Buffer>(frame: &TxFrame<'_, B>) {
    show(packet::SENT, 0, frame);
}

/// Shows a packet that goes over the loopback of a network namespace, with the Ethernet header that Linux gives those: without addresses.
#[cold]
#[inline(never)]
pub fn looped<B: Buffer>(frame: &RxFrame<B>, space: u32) {
    let is_v6 = frame.head.bytes().first().is_some_and(|first| first >> 4 == 6);
    let mut header = [0; ETHERNET_LEN];
    let ethertype = if is_v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    header[ETHERTYPE_AT..].copy_from_slice(&ethertype.to_be_bytes());
    show(packet::LOOPED, space, &Received(&header, &frame.head, &frame.rest));
}

/// Captures the packets that are shown and that the filter takes, up to `snap_len` bytes of each. EBUSY if that is done already,
/// EINVAL for a filter that is none, ENOMEM.
pub fn start(snap_len: u32, filter: &[u8]) -> Result<(), Errno> {
    let filter = match filter {
        [] => None,
        bytes => Some(Program::decode(bytes).map_err(|_| Errno::INVAL)?),
    };
    let mut buffers = [Vec::new(), Vec::new()];
    for buffer in &mut buffers {
        buffer.try_reserve(BUFFER_BYTES).map_err(|_| Errno::NOMEM)?;
    }
    let [records, spare] = buffers;
    let now = now_ns();
    let snap_len = (snap_len as usize).min(SNAP_MAX);
    let new = Capture { filter, snap_len, records, spare, lost: 0, fetched_ns: now };
    let old = {
        let mut own = CAPTURE.lock();
        if own.as_ref().is_some_and(|old| now.saturating_sub(old.fetched_ns) < ABANDONED_NS) {
            return Err(Errno::BUSY);
        }
        own.replace(new)
    };
    drop(old);
    Ok(())
}

/// Captures nothing any more.
pub fn stop() {
    let old = CAPTURE.lock().take();
    drop(old);
}

/// Gives `take` the records that wait. EINVAL if nothing is captured.
pub fn fetch(mut take: impl FnMut(&[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
    let (records, lost) = {
        let mut own = CAPTURE.lock();
        let own = own.as_mut().ok_or(Errno::INVAL)?;
        own.fetched_ns = now_ns();
        let spare = core::mem::take(&mut own.spare);
        (core::mem::replace(&mut own.records, spare), core::mem::take(&mut own.lost))
    };
    let mut result = take(&records);
    if lost > 0 {
        let time_ns = clock::realtime_ns();
        let note = PacketRecord { captured: 0, len: lost, kind: packet::LOST, reserved: 0, time_ns };
        result = result.and_then(|()| take(&note.encode()));
    }
    let mut records = records;
    records.clear();
    if let Some(own) = CAPTURE.lock().as_mut() {
        own.spare = records;
    }
    result
}
