//! What carries packets: the device, or a queue of this machine's own.
use super::socket::VsockSocket;
use super::{CID_ANY, CID_HOST, CID_LOCAL, input, table};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Weak;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::fs::mount::Place;
use coracle_core::lock::Mutex;
use coracle_devices::virtio::vsock::{Packet, Sink, Vsock};
use coracle_fallible::prelude::*;
use coracle_fallible::{NoMemory, try_box};
use coracle_hal::io::dma::PacketBuffer;
use coracle_hal::once::Once;
use coracle_virtio::device::vsock::{HEADER_BYTES, Header, kind, operation};
use core::any::Any;
use linux_raw_sys::general::stat as Stat;

static DEVICE: Once<Box<Vsock>> = Once::new();

/// A way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A queue of this machine's own.
    Loopback,
    /// The device.
    Device,
}

/// What is on its way within this machine.
struct Loopback {
    packets: VecDeque<Packet>,
    /// A thread delivers them.
    is_served: bool,
}

static LOOPBACK: Mutex<Loopback> = Mutex::new(Loopback { packets: VecDeque::new(), is_served: false });

/// Sockets that found the device full.
static AWAITING_ROOM: Mutex<Vec<Weak<VsockSocket>>> = Mutex::new(Vec::new());

/// Has sockets use a device. The first one stays.
pub fn attach(device: Vsock) -> Result<(), NoMemory> {
    let device = try_box(device)?;
    DEVICE.call_once(|| device);
    Ok(())
}

/// Takes what has come from the host.
#[inline]
pub fn poll() {
    if let Some(device) = DEVICE.get() {
        device.poll(&Input);
    }
}

/// The CID of this machine. `None` without a device.
pub(super) fn own_cid() -> Option<u32> {
    DEVICE.get().map(|device| device.cid())
}

struct Input;

impl Sink for Input {
    fn packet(&self, buffer: &mut PacketBuffer, len: usize) {
        input::packet(Link::Device, buffer, len);
    }
    fn reset(&self) {
        while let Some(socket) = table::take_any(Link::Device) {
            socket.lose_peer(Some(Errno::CONNRESET));
        }
    }
    fn has_room(&self) {
        let waiting = core::mem::take(&mut *AWAITING_ROOM.lock());
        waiting.iter().filter_map(Weak::upgrade).for_each(|socket| socket.has_room());
    }
}

/// The header of a packet of so many bytes, if it has one, and has all bytes that this speaks of.
pub(super) fn header_of(buffer: &PacketBuffer, len: usize) -> Option<Header> {
    let header = Header::decode(buffer.as_slice().first_chunk()?)?;
    (header.len as usize <= len.checked_sub(HEADER_BYTES)?).then_some(header)
}

/// Puts a packet behind the one before it, if both are bytes of one stream and fit one buffer.
fn join(last: &mut Packet, next: &Packet) -> bool {
    let (Some(first), Some(mut header)) = (header_of(&last.0, last.1), header_of(&next.0, next.1)) else {
        return false;
    };
    let is_stream = |header: &Header| header.kind == kind::STREAM && header.operation == operation::RW;
    let same = (first.source, first.destination) == (header.source, header.destination);
    let added = &next.0.as_slice()[HEADER_BYTES..next.1];
    if !(same && is_stream(&first) && is_stream(&header)) {
        return false;
    }
    let Some(room) = last.0.as_mut_slice().get_mut(last.1..last.1 + added.len()) else { return false };
    room.copy_from_slice(added);
    last.1 += added.len();
    header.len += first.len;
    write_header(&mut last.0, &header);
    true
}

/// Writes a header to the start of a buffer.
pub(super) fn write_header(buffer: &mut PacketBuffer, header: &Header) {
    buffer.as_mut_slice()[..HEADER_BYTES].copy_from_slice(&header.encode());
}

impl Link {
    /// The way to a CID, as Linux chooses it (`vsock_assign_transport`). ENODEV; ESOCKTNOSUPPORT if it does not carry packets that are
    /// wanted.
    pub(super) fn to(cid: u32, packets: bool) -> Result<Link, Errno> {
        match DEVICE.get() {
            _ if cid == CID_LOCAL => Ok(Link::Loopback),
            // Without a device this machine is its own host.
            None if cid == CID_HOST => Ok(Link::Loopback),
            None => Err(Errno::NODEV),
            Some(device) if cid == device.cid() => Ok(Link::Loopback),
            Some(device) if packets && !device.has_packets() => Err(Errno::SOCKTNOSUPPORT),
            Some(_) => Ok(Link::Device),
        }
    }

    /// The CID from which a socket sends that is bound to `cid`.
    pub(super) fn source(self, cid: u32) -> u32 {
        match self {
            Link::Device => own_cid().unwrap_or(CID_ANY),
            Link::Loopback if cid == CID_ANY => CID_LOCAL,
            Link::Loopback => cid,
        }
    }

    /// Queues packets, all of them or none. They go with [`Link::kick`]. ENOMEM.
    pub(super) fn send(self, packets: impl ExactSizeIterator<Item = Packet>) -> Result<(), Errno> {
        match (self, DEVICE.get()) {
            (Link::Device, Some(device)) => device.send(packets, join)?,
            (Link::Device, None) => return Err(Errno::NODEV),
            (Link::Loopback, _) => {
                let queue = &mut LOOPBACK.lock().packets;
                queue.make_room_for(queue.len() + packets.len())?;
                packets.for_each(|packet| queue.push_back_reserved(packet));
            }
        }
        Ok(())
    }

    /// Whether so much is on its way that `socket` should send no more for now. Then it is told when that changes.
    pub(super) fn is_full(self, socket: &VsockSocket) -> bool {
        let is_full = || self == Link::Device && DEVICE.get().is_some_and(|device| device.is_full());
        // Its place in the list is taken before the second look, so that one of the two sees the room. Without memory for the list it goes
        // on sending.
        is_full() && socket.awaits_room(|this| AWAITING_ROOM.lock().try_push(this).is_ok()) && is_full()
    }

    /// Has what is queued go. Hold no lock.
    pub(super) fn kick(self) {
        match (self, DEVICE.get()) {
            (Link::Device, Some(device)) => device.kick(&Input),
            (Link::Device, None) => {}
            (Link::Loopback, _) => deliver(),
        }
    }
}

/// Delivers what is on its way within this machine, unless another thread does.
fn deliver() {
    let mut is_served_here = false;
    loop {
        let next = {
            let mut loopback = LOOPBACK.lock();
            if loopback.is_served && !is_served_here {
                return;
            }
            let next = loopback.packets.pop_front();
            loopback.is_served = next.is_some();
            next
        };
        let Some((mut buffer, len)) = next else { return };
        is_served_here = true;
        input::packet(Link::Loopback, &mut buffer, len);
    }
}

/// /dev/vsock: its ioctl tells the CID (vsock(7)).
pub struct Device {
    place: Place,
}

impl Device {
    /// For an open file at that place.
    pub fn new(place: Place) -> Device {
        Device { place }
    }
}

impl File for Device {
    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.place.path.inode.metadata().stat())
    }
    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        /// IOCTL_VM_SOCKETS_GET_LOCAL_CID.
        const GET_LOCAL_CID: u32 = 0x7b9;
        if command != GET_LOCAL_CID {
            return Err(Errno::NOTTY);
        }
        // As Linux: without a device there is the loopback.
        coracle_core::mm::user::write_u32(argument, own_cid().unwrap_or(CID_LOCAL))?;
        Ok(0)
    }
    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
