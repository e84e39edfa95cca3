//! Network device (virtio 1.2, section 5.1).
use super::net_queues::{ETHERNET_HEADER, MAX_FRAGMENTS, Receive, Single, Transmit};
use crate::buffer::{NetBuffer, Shortage};
use coracle_hal::sync::atomic::{AtomicBool, Ordering, fence};
use coracle_hal::sync::{Mutex, MutexGuard};
use coracle_hal::virtio::transport::{Doorbell, SetupError, Transport};
use coracle_tcpip::{Capabilities, Chunk, Full, PartialChecksum, RxFrame, Traffic, TxFrame};
use coracle_virtio::device::net::{DEPENDENCIES, Framing, HEADER_BYTES, config, features};
use coracle_virtio::device::{features as common, id};

/// Receive buffers: one in this part of the machine's memory, between the bounds below.
const RECEIVE_MEMORY_SHARE: u64 = 256;
const RECEIVE_MIN: u16 = 16;
const RECEIVE_MAX: u16 = 256;
/// Below this many receive buffers a joined packet of 64 KiB would take too much of the queue.
const RECEIVE_FOR_TSO: u16 = 128;
/// MTU of Ethernet where the device doesn't tell (RFC 894).
const ETHERNET_MTU: u16 = 1500;
/// The least that every link takes (RFC 791).
const MTU_MIN: u16 = 68;
/// The greatest that is used: jumbo frames.
const MTU_MAX: u16 = 9000;
/// The greatest where a packet can't be spread over buffers: what is in one buffer beside the headers of virtio and
/// Ethernet.
const MTU_OF_ONE_BUFFER: u16 = (NetBuffer::SIZE - HEADER_BYTES - ETHERNET_HEADER) as u16;
/// Packets taken from the queue before the doorbell is rung and others get their turn.
const BATCH: usize = 64;
/// The longest IPv4 packet (RFC 791).
const IPV4_MAX: usize = 65535;

/// A network card.
pub struct Net {
    transport: Transport,
    mac: [u8; 6],
    mtu: u16,
    capabilities: Capabilities,
    /// Frames may be sent by [`Net::transmit_in_place`].
    in_place: bool,
    receive: Mutex<Receive>,
    /// A CPU that wanted to look at the receive queue found it locked: who holds it looks again. Cleared only with the
    /// queue locked.
    missed: AtomicBool,
    transmit: Mutex<Transmit>,
    transmit_doorbell: Doorbell,
    /// There may be frames in the queue that the device was not shown. Set with the queue locked, when they are in it;
    /// cleared before it is locked to show them.
    unsent: AtomicBool,
}

impl Net {
    /// Sets the device up and starts it.
    pub fn new(transport: Transport) -> Result<Net, SetupError> {
        debug_assert_eq!(transport.device_type(), id::NET);
        let memory = coracle_hal::boot::memory_size();
        let share = memory / RECEIVE_MEMORY_SHARE / NetBuffer::SIZE as u64;
        let target = (share.min(u64::from(RECEIVE_MAX)) as u16).max(RECEIVE_MIN);
        let mut wanted = common::INDIRECT_DESC
            | common::EVENT_IDX
            | features::CSUM
            | features::GUEST_CSUM
            | features::MTU
            | features::MAC
            | features::HOST_TSO4
            | features::MRG_RXBUF
            | features::STATUS;
        if target >= RECEIVE_FOR_TSO {
            wanted |= features::GUEST_TSO4;
        }
        let agreed = transport.negotiate_dependent(wanted, DEPENDENCIES)?;
        let has = |feature| agreed & feature != 0;
        let event_index = has(common::EVENT_IDX);
        let framing = Framing::of(agreed);
        let mut receive = Receive::new(&transport, target, event_index, framing)?;
        let indirect = has(common::INDIRECT_DESC);
        let (transmit, transmit_doorbell) = Transmit::new(&transport, indirect, event_index, framing)?;

        let mtu = if has(features::MTU) { transport.config_u16(config::MTU) } else { ETHERNET_MTU };
        let mac = core::array::from_fn(|i| transport.config_u8(config::MAC + i));
        if mtu < MTU_MIN || (has(features::MAC) && mac[0] & 1 != 0) {
            return Err(SetupError::Configuration);
        }
        // A smaller packet than the network takes is never wrong, and what peers send follows from what is sent to them.
        let mtu = mtu.min(if has(features::MRG_RXBUF) { MTU_MAX } else { MTU_OF_ONE_BUFFER });
        let mac = if has(features::MAC) { mac } else { random_mac() };
        let capabilities = Capabilities {
            tx_checksum: has(features::CSUM),
            tso4_max: if has(features::HOST_TSO4) && has(features::CSUM) { IPV4_MAX } else { 0 },
            max_fragments: if indirect {
                MAX_FRAGMENTS
            } else {
                usize::from(transmit.size() / 4).clamp(1, MAX_FRAGMENTS)
            },
        };
        transport.start();
        receive.refill();
        Ok(Net {
            transport,
            mac,
            mtu,
            capabilities,
            in_place: transmit.takes_in_place(),
            receive: Mutex::new(receive),
            missed: AtomicBool::new(false),
            transmit: Mutex::new(transmit),
            transmit_doorbell,
            unsent: AtomicBool::new(false),
        })
    }

    /// The Ethernet address.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// What came in, and what went out.
    pub fn traffic(&self) -> [Traffic; 2] {
        let received = self.receive.lock().traffic;
        [received, self.transmit.lock().traffic]
    }

    /// Has each packet shown to what captures them, or not any more.
    pub fn watch(&self, on: bool) {
        self.receive.lock().watch(on);
        self.transmit.lock().watch(on);
    }

    /// The greatest IP packet, in bytes.
    #[inline]
    pub fn mtu(&self) -> usize {
        self.mtu as usize
    }

    /// What the device does by itself.
    #[inline]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Queues a frame; [`Net::flush`] tells the device.
    pub fn transmit(&self, frame: TxFrame<'_, NetBuffer>) -> Result<(), Full> {
        let mut transmit = self.transmit.lock();
        let queued = transmit.transmit(frame);
        self.note_unsent();
        queued
    }

    /// Whether frames may be sent by [`Net::transmit_in_place`].
    #[inline(always)]
    pub fn takes_in_place(&self) -> bool {
        self.in_place
    }

    /// The same for a frame that is in one buffer as a whole: see [`coracle_tcpip::Device::transmit_in_place`]. Only if
    /// [`Net::takes_in_place`].
    #[inline(always)]
    pub fn transmit_in_place(
        &self,
        buffer: &mut NetBuffer,
        start: u32,
        len: u32,
        checksum: Option<PartialChecksum>,
    ) -> Result<(), Full> {
        let mut transmit = self.transmit.lock();
        let queued = transmit.transmit_in_place(buffer, start, len, checksum);
        self.note_unsent();
        queued
    }

    #[inline(always)]
    fn note_unsent(&self) {
        if !self.unsent.load(Ordering::Relaxed) {
            // Before our caller looks whether somebody will flush.
            self.unsent.store(true, Ordering::SeqCst);
        }
    }

    /// Rings the transmit doorbell if that is needed. False if there was nothing to tell of.
    #[inline]
    pub fn flush(&self) -> bool {
        if !self.unsent.load(Ordering::SeqCst) {
            return false;
        }
        self.unsent.store(false, Ordering::SeqCst);
        let ring = self.transmit.lock().publish();
        // With the queue free again: the device may do its work before this returns.
        if ring {
            self.transmit_doorbell.ring();
        }
        true
    }

    /// Whether the device has sent everything.
    pub fn is_drained(&self) -> bool {
        self.transmit.lock().is_drained()
    }

    /// Hands the packets that have come to the engine, in their order, at most a batch: `single` takes those in one
    /// buffer, `merged` the others. Gives how many; 0 also if another CPU is at it, which takes what there is. If there are
    /// any, interrupts are off until [`Net::arm`]: the caller sees to it that somebody looks again.
    #[inline]
    pub fn receive(
        &self,
        mut single: impl FnMut(Chunk<NetBuffer>, Single),
        mut merged: impl FnMut(RxFrame<NetBuffer>),
    ) -> usize {
        self.transport.acknowledge();
        let mut count = 0;
        let mut locked = self.receive.try_lock().or_else(|| self.miss());
        while let Some(mut receive) = locked {
            count += self.take(&mut receive, &mut single, &mut merged);
            drop(receive);
            if !self.missed() {
                break;
            }
            // If it is locked by another CPU now, that one sees it.
            locked = self.relock();
        }
        count
    }

    /// After the receive queue was unlocked: whether another CPU has found it locked. It has said so before it looked for
    /// the last time: either it saw the queue free, or we see that.
    #[inline(always)]
    fn missed(&self) -> bool {
        fence(Ordering::SeqCst);
        self.missed.load(Ordering::Relaxed)
    }

    /// The receive queue was locked: makes its holder look again, or gives it if it is free by now.
    #[cold]
    fn miss(&self) -> Option<MutexGuard<'_, Receive>> {
        self.missed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.relock()
    }

    #[cold]
    fn relock(&self) -> Option<MutexGuard<'_, Receive>> {
        let receive = self.receive.try_lock()?;
        self.missed.store(false, Ordering::Relaxed);
        Some(receive)
    }

    /// One batch of [`Net::receive`].
    #[inline(always)]
    fn take(
        &self,
        receive: &mut Receive,
        single: &mut impl FnMut(Chunk<NetBuffer>, Single),
        merged: &mut impl FnMut(RxFrame<NetBuffer>),
    ) -> usize {
        if !receive.pending() {
            return 0;
        }
        receive.disarm();
        let mut count = 0;
        while count < BATCH {
            let arrived = match receive.pop() {
                Ok(Some(arrived)) => arrived,
                Ok(None) => break,
                Err(error) => {
                    self.broken(error);
                    return count;
                }
            };
            // Before a packet is given away, its buffers are replaced if few are left. If there is no memory for that,
            // nothing of it is kept, and its buffers serve again: reception never stops for good, and the
            // acknowledgements that give back what was sent are still heard.
            if let Some(told) = receive.single(&arrived) {
                count += 1;
                let start = HEADER_BYTES as u32;
                let chunk = Chunk { buffer: arrived.token, start, len: arrived.len - start };
                receive.traffic.add(chunk.len as usize);
                if receive.starving() {
                    let frame =
                        RxFrame { segment_size: told.segment_size, ..RxFrame::single(chunk, told.checksum) };
                    Self::give(receive, frame, merged);
                } else {
                    // One call, so that what the engine does is copied to here.
                    single(chunk, told);
                }
            } else if let Some(frame) = receive.part(arrived) {
                count += 1;
                receive.traffic.add(frame.len());
                Self::give(receive, frame, merged);
            }
        }
        if count > 0 {
            receive.refill_if_low();
        }
        count
    }

    /// Hands over a packet that is not the usual one. Apart, so that where the usual one lies is in registers.
    #[cold]
    #[inline(never)]
    fn give(receive: &mut Receive, frame: RxFrame<NetBuffer>, merged: &mut impl FnMut(RxFrame<NetBuffer>)) {
        let _short = (receive.starving() && receive.starves(&frame.head, &frame.rest)).then(Shortage::begin);
        merged(frame);
    }

    /// Whether there is something for [`Net::receive`].
    pub fn has_come(&self) -> bool {
        let Some(receive) = self.receive.try_lock() else { return false };
        let pending = receive.pending();
        drop(receive);
        pending || self.missed()
    }

    #[cold]
    fn broken(&self, error: coracle_virtio::queue::QueueError) {
        static TOLD: coracle_hal::once::Once<()> = coracle_hal::once::Once::new();
        TOLD.call_once(|| log!("network card stopped: {error}"));
    }

    /// Before a sleep: asks for an interrupt with the next packet, and for one when there is room to send if somebody
    /// waits for that. True if something is there already; `None` if another CPU is at the receive queue.
    pub fn arm(&self) -> Option<bool> {
        let mut receive = self.receive.try_lock()?;
        self.transport.acknowledge();
        // Memory that was short when a packet came may be there by now.
        receive.refill_if_low();
        let ready = receive.arm() | self.transmit.lock().arm();
        drop(receive);
        Some(ready || self.missed())
    }
}

/// An address that no maker gave out: locally administered, unicast (IEEE 802, section 8.4).
fn random_mac() -> [u8; 6] {
    let mut mac = [0; 6];
    coracle_hal::random::fill(&mut mac);
    mac[0] = mac[0] & !1 | 2;
    mac
}
