//! The engine's device: the network card; and the announcement of a socket's readiness.
use super::tun::Tuns;
use super::{packet, raw};
use coracle_core::events::{self, bit, kind};
use coracle_core::ipc::poll::{Events, PollSource};
use coracle_devices::buffer::{self, NetBuffer};
use coracle_devices::capture;
use coracle_devices::virtio::net::Net;
use coracle_tcpip::{
    Capabilities, Count, Device, Fragment, Full, Observation, PartialChecksum, RawPacket, Readiness, RxFrame,
    TxFrame, Unsent,
};

/// MTU that a machine without a card reports; only the loopback is used there.
const NO_CARD_MTU: usize = 1500;
/// Fragments of a frame where there is no card to bound them.
const NO_CARD_FRAGMENTS: usize = 16;

/// The machine's network card, if it has one.
pub struct Interface {
    card: Option<Net>,
    /// Number of the network namespace; 0 is the first.
    space: u32,
    tuns: Tuns,
}

impl Interface {
    /// Over this card.
    pub fn new(card: Option<Net>) -> Self {
        Interface { card, space: 0, tuns: Tuns::default() }
    }

    /// Of another network namespace than the first: the loopback alone.
    pub fn alone(space: u32) -> Self {
        Interface { card: None, space, tuns: Tuns::default() }
    }

    /// Number of the network namespace; 0 is the first.
    pub fn space(&self) -> u32 {
        self.space
    }

    /// The interfaces whose other end is a program.
    pub fn tuns(&self) -> &Tuns {
        &self.tuns
    }

    /// The card.
    #[inline(always)]
    pub fn card(&self) -> Option<&Net> {
        self.card.as_ref()
    }

    /// [`Device::transmit_in_place`] where the card does not take a frame and its virtio header in one piece.
    #[cold]
    #[inline(never)]
    fn transmit_whole(
        &self,
        buffer: &NetBuffer,
        start: u32,
        len: u32,
        checksum: Option<PartialChecksum>,
    ) -> Result<(), Full> {
        let payload = &[Fragment { buffer, start, len }];
        self.transmit(TxFrame { headers: &[], payload, checksum, segment_size: None })
    }
}

impl Device for Interface {
    type Buf = NetBuffer;

    fn mac(&self) -> [u8; 6] {
        self.card.as_ref().map_or([0; 6], Net::mac)
    }

    #[inline]
    fn mtu(&self) -> usize {
        self.card.as_ref().map_or(NO_CARD_MTU, Net::mtu)
    }

    #[inline]
    fn capabilities(&self) -> Capabilities {
        let none = Capabilities { tx_checksum: false, tso4_max: 0, max_fragments: NO_CARD_FRAGMENTS };
        self.card.as_ref().map_or(none, Net::capabilities)
    }

    #[inline(always)]
    fn alloc(&self) -> Option<NetBuffer> {
        NetBuffer::alloc_to_send()
    }

    fn alloc_looped(&self, keeps: bool) -> Option<NetBuffer> {
        if keeps { NetBuffer::alloc() } else { NetBuffer::alloc_for_moment() }
    }

    fn looped(&self, frame: &RxFrame<NetBuffer>) {
        capture::looped(frame, self.space);
    }

    fn tell_watchers(&self) {
        packet::tell();
        self.tuns.tell();
    }

    fn tunnel(&self, index: u32, packet: TxFrame<'_, NetBuffer>) {
        self.tuns.send(index, &packet);
    }

    fn raw(&self, now: u64, packet: &RawPacket<'_, NetBuffer>) -> bool {
        raw::input(self.space, now, packet)
    }

    fn raw_unsent(&self, now: u64, unsent: &Unsent<'_>) {
        raw::unsent(self.space, now, unsent);
    }

    #[inline(always)]
    fn is_short(&self) -> bool {
        buffer::is_short()
    }

    #[inline(always)]
    fn is_pressed(&self) -> bool {
        NetBuffer::are_many()
    }

    fn transmit(&self, frame: TxFrame<'_, NetBuffer>) -> Result<(), Full> {
        match &self.card {
            Some(card) => card.transmit(frame),
            None => Ok(()),
        }
    }

    #[inline(always)]
    fn transmit_in_place(
        &self,
        buffer: &mut NetBuffer,
        start: u32,
        len: u32,
        checksum: Option<PartialChecksum>,
    ) -> Result<(), Full> {
        match &self.card {
            Some(card) if card.takes_in_place() => card.transmit_in_place(buffer, start, len, checksum),
            _ => self.transmit_whole(buffer, start, len, checksum),
        }
    }
}

/// Announces a socket's readiness: the engine notifies it, epoll sets and sleeping threads observe it.
pub struct Watch {
    /// Its observers.
    pub source: PollSource,
    /// The socket's number, in `socket:[…]` and st_ino.
    pub inode: u64,
    /// The user whose process made it.
    pub uid: u32,
}

impl Watch {
    /// Without observers, of a socket that the caller makes.
    pub fn new() -> Self {
        /// Index of the id that files get.
        const FILE_SYSTEM: usize = 3;
        let uid = coracle_core::this::with(|me| me.process.credentials.lock().uid[FILE_SYSTEM]);
        Watch { source: PollSource::new(), inode: coracle_core::fs::stat::next_inode(), uid }
    }
}

impl coracle_tcpip::Events for Watch {
    #[inline(always)]
    fn notify(&self, new: Readiness) {
        self.source.notify(poll_events(new));
    }

    #[inline(always)]
    fn observe(what: &Observation) {
        events::note(bit::TCP, || event(what));
    }
}

/// What the engine observes, as an event.
fn event(what: &Observation) -> (u16, u16, u64, u64) {
    let (kind, small, ends) = match what {
        Observation::State(ends, old, new) => (kind::TCP_STATE, (*old as u16) << 8 | *new as u16, ends),
        Observation::Retransmission(ends) => (kind::TCP_RETRANSMIT, 0, ends),
        Observation::ZeroWindow(ends) => (kind::TCP_ZERO_WINDOW, 0, ends),
        Observation::Drop(ends, why) => {
            let why = match why {
                Count::OutResets | Count::NoPorts => kind::reason::NO_SOCKET,
                Count::ListenOverflows => kind::reason::BACKLOG,
                Count::BufferErrors => kind::reason::NO_ROOM,
                Count::AddressErrors => kind::reason::NOT_OURS,
                Count::ShortOfMemory | Count::DataUnkept => kind::reason::NO_MEMORY,
                _ => kind::reason::MALFORMED,
            };
            (kind::DROP, why, ends)
        }
    };
    let ports = u64::from(ends.local_port) << 32 | u64::from(ends.remote.port);
    (kind, small, ports, ends.remote.address.low())
}

/// The engine's conditions as poll(2) names them.
#[inline(always)]
pub fn poll_events(ready: Readiness) -> Events {
    POLL_EVENTS[ready.bits() as usize % POLL_EVENTS.len()]
}

/// What poll(2) reports for each set of conditions: a table, because every request needs it several times.
static POLL_EVENTS: [Events; Readiness::ALL.bits() as usize + 1] = {
    let mut table = [Events::empty(); Readiness::ALL.bits() as usize + 1];
    let mut bits = 0;
    while bits < table.len() {
        table[bits] = poll_events_of(Readiness::from_bits(bits as u32));
        bits += 1;
    }
    table
};

const fn poll_events_of(ready: Readiness) -> Events {
    let mut events = Events::empty();
    if ready.intersects(Readiness::READABLE.union(Readiness::ACCEPTABLE).union(Readiness::READ_HANGUP)) {
        events = events.union(Events::IN).union(Events::RDNORM);
    }
    if ready.contains(Readiness::WRITABLE) {
        events = events.union(Events::OUT).union(Events::WRNORM);
    }
    if ready.contains(Readiness::READ_HANGUP) {
        events = events.union(Events::RDHUP);
    }
    if ready.contains(Readiness::HANGUP) {
        events = events.union(Events::HUP);
    }
    if ready.contains(Readiness::ERROR) {
        events = events.union(Events::ERR);
    }
    if ready.contains(Readiness::URGENT) {
        events = events.union(Events::PRI);
    }
    events
}
