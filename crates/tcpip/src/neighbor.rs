//! The cache of neighbours of both families, packets that wait for an address, and aging; and ARP (RFC 826). What neighbours of IPv6 say is
//! taken by [`crate::discovery`].
//!
//! One lock guards the table. Connections keep the address of their neighbour ([`Resolved`]) until it has to be confirmed, so the
//! table is not looked at for each packet. Its size, and the packets that wait for one neighbour, are bounded.

use crate::counters::Count;
use crate::device::{Buffer, Device, Fragment, Full, PartialChecksum, TxFrame};
use crate::events::Events;
use crate::ip::Address;
use crate::stack::Stack;
use crate::timers::NEVER;
use alloc::vec::Vec;
use coracle_fallible::prelude::*;
use coracle_sorted_map::SortedMap;
use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicU32, Ordering};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
};
use spin::Mutex;

/// Length of an Ethernet header.
pub const ETHERNET_LEN: usize = 14;
/// Ethernet address of all.
pub const ETHERNET_BROADCAST: [u8; 6] = [0xff; 6];
const ARP_FRAME_LEN: usize = ETHERNET_LEN + 28;

/// An entry is fresh for so long, ns (Linux: 15 to 45 s); then it is still used, but requested again.
const FRESH: u64 = 30_000_000_000;
/// Time between two requests for the same neighbour, ns.
const PROBE_INTERVAL: u64 = 1_000_000_000;
/// Requests without an answer before a neighbour is given up (Linux: `mcast_solicit`).
const MAX_PROBES: u8 = 3;
/// Packets that wait for one neighbour.
const MAX_WAITING: usize = 32;
/// Entries kept.
const MAX_ENTRIES: usize = 512;

/// A frame that waits for its neighbour's address.
pub struct WaitingFrame<B> {
    headers: heapless::Vec<u8, 128>,
    payload: Vec<(B, u32, u32)>,
    checksum: Option<PartialChecksum>,
    segment_size: Option<u16>,
}

impl<B: Buffer> WaitingFrame<B> {
    fn new(frame: &TxFrame<'_, B>) -> Option<Self> {
        Some(WaitingFrame {
            headers: heapless::Vec::from_slice(frame.headers).ok()?,
            payload: frame
                .payload
                .iter()
                .map(|f| (f.buffer.clone(), f.start, f.len))
                .try_collect_vec()
                .ok()?,
            checksum: frame.checksum,
            segment_size: frame.segment_size,
        })
    }

    /// The packet's headers, to report to its sender that it could not be delivered.
    pub fn packet(&self) -> &[u8] {
        self.headers.get(ETHERNET_LEN..).unwrap_or(&[])
    }
}

struct Neighbor<B> {
    mac: Option<[u8; 6]>,
    /// The administrator's word (arp(7), ATF_PERM): neither aged nor changed by what the link says.
    permanent: bool,
    confirmed: u64,
    probed: u64,
    probes: u8,
    waiting: Vec<WaitingFrame<B>>,
}

impl<B> Neighbor<B> {
    fn new(confirmed: u64) -> Self {
        Neighbor { mac: None, permanent: false, confirmed, probed: 0, probes: 0, waiting: Vec::new() }
    }
}

impl<B: Buffer> Neighbor<B> {
    /// Keeps a frame until the address is known, if there is room. Apart from its caller, which goes deep elsewhere.
    #[inline(never)]
    fn keep(&mut self, frame: &TxFrame<'_, B>) {
        if self.waiting.len() < MAX_WAITING {
            let _ = self.waiting.try_extend(WaitingFrame::new(frame));
        }
    }
}

/// A neighbour as a list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its address.
    pub address: Address,
    /// Its Ethernet address, if it has told it.
    pub mac: Option<[u8; 6]>,
    /// The administrator entered it, for good.
    pub permanent: bool,
    /// When it was heard of last, in ns.
    pub confirmed: u64,
}

/// The cache.
pub struct Neighbors<B> {
    table: Mutex<SortedMap<Address, Neighbor<B>>>,
    generation: AtomicU32,
}

/// A neighbour's Ethernet address, which may be used until `until` (ns) while `generation` is current.
#[derive(Clone, Copy, Debug)]
pub struct Resolved {
    /// The address.
    pub mac: [u8; 6],
    /// When to ask again.
    pub until: u64,
    /// Of [`Neighbors::generation`].
    pub generation: u32,
}

impl<B> Default for Neighbors<B> {
    fn default() -> Self {
        Neighbors { table: Mutex::new(SortedMap::default()), generation: AtomicU32::new(0) }
    }
}

impl<B> Neighbors<B> {
    /// Changes whenever an address that was returned before may be wrong.
    #[inline(always)]
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Forgets all neighbours: our own address has changed.
    pub fn clear(&self) {
        let old = core::mem::take(&mut *self.table.lock());
        self.generation.fetch_add(1, Ordering::Release);
        drop(old);
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// The neighbours that are known, or that were asked for. ENOMEM.
    pub fn neighbors(&self) -> crate::error::Result<Vec<Seen>> {
        let table = self.neighbors.table.lock();
        let seen = |(address, known): (&Address, &Neighbor<D::Buf>)| Seen {
            address: *address,
            mac: known.mac,
            permanent: known.permanent,
            confirmed: known.confirmed,
        };
        Ok(table.iter().map(seen).try_collect_vec()?)
    }

    /// A neighbour, as [`Stack::neighbors`] shows it.
    pub fn neighbor(&self, address: Address) -> Option<Seen> {
        let table = self.neighbors.table.lock();
        let known = table.get(&address)?;
        Some(Seen { address, mac: known.mac, permanent: known.permanent, confirmed: known.confirmed })
    }

    /// Enters a neighbour, whatever was known of it (arp(7), SIOCSARP). `mac`: `None` leaves what there is. ENOBUFS if the table is full.
    pub fn set_neighbor(
        &self,
        now: u64,
        address: Address,
        mac: Option<[u8; 6]>,
        permanent: bool,
    ) -> crate::error::Result<()> {
        let mut table = self.neighbors.table.lock();
        if !table.contains_key(&address) && table.len() >= MAX_ENTRIES {
            return Err(crate::Error::NoBuffers);
        }
        let neighbor = table.get_or_insert_with(address, || Neighbor::new(now))?;
        neighbor.permanent = permanent;
        neighbor.probes = 0;
        let Some(mac) = mac.or(neighbor.mac) else { return Ok(()) };
        neighbor.mac = Some(mac);
        neighbor.confirmed = now;
        let waiting = core::mem::take(&mut neighbor.waiting);
        drop(table);
        self.neighbors.generation.fetch_add(1, Ordering::Release);
        self.transmit_waiting(waiting, mac);
        Ok(())
    }

    /// Forgets a neighbour (arp(7), SIOCDARP); returns whether it was known. Packets that wait for it are lost.
    pub fn remove_neighbor(&self, address: Address) -> bool {
        let removed = self.neighbors.table.lock().remove(&address);
        self.neighbors.generation.fetch_add(1, Ordering::Release);
        removed.is_some()
    }

    /// The address of a neighbour, if it is known. Asks for it if it is unknown or old.
    pub(crate) fn resolve(&self, now: u64, ip: Address) -> Option<Resolved> {
        let generation = self.neighbors.generation();
        let mut table = self.neighbors.table.lock();
        let neighbor = table.get_mut(&ip)?;
        let mac = neighbor.mac?;
        let fresh_until = neighbor.confirmed + FRESH;
        if now < fresh_until || neighbor.permanent {
            return Some(Resolved { mac, until: fresh_until.max(now + PROBE_INTERVAL), generation });
        }
        if now < neighbor.probed + PROBE_INTERVAL {
            return Some(Resolved { mac, until: neighbor.probed + PROBE_INTERVAL, generation });
        }
        if neighbor.probes >= MAX_PROBES {
            // It has gone, or changed its address: start anew.
            table.remove(&ip);
            self.neighbors.generation.fetch_add(1, Ordering::Release);
            return None;
        }
        neighbor.probes += 1;
        neighbor.probed = now;
        drop(table);
        self.solicit(ip, Some(mac));
        Some(Resolved { mac, until: now + PROBE_INTERVAL, generation })
    }

    /// Sends a frame to a neighbour, once its address is known. Fills in the Ethernet destination.
    pub(crate) fn transmit_to(
        &self,
        now: u64,
        ip: Address,
        headers: &mut [u8],
        rest: FrameRest<'_, D::Buf>,
    ) -> Result<(), Full> {
        if let Some(resolved) = self.resolve(now, ip) {
            if let Some(destination) = headers.first_chunk_mut::<6>() {
                *destination = resolved.mac;
            }
            return self.device.transmit(rest.frame(headers));
        }
        if self.queue_for(now, ip, &rest.frame(headers)) {
            self.solicit(ip, None);
            self.timers.set(self.chores.neighbors, now + PROBE_INTERVAL);
        }
        Ok(())
    }

    /// Keeps a frame until its neighbour's address is known; returns whether the neighbour is to be asked for it. A frame that
    /// there is no room for is lost. Apart from its caller, whose frame is then small on the stack.
    #[inline(never)]
    fn queue_for(&self, now: u64, ip: Address, frame: &TxFrame<'_, D::Buf>) -> bool {
        let mut table = self.neighbors.table.lock();
        if table.len() >= MAX_ENTRIES && !table.contains_key(&ip) {
            // Any entry that no packet waits for will do: it is requested again if it is needed.
            let victim = table.iter().find(|(_, n)| n.waiting.is_empty() && !n.permanent).map(|(ip, _)| *ip);
            match victim {
                Some(victim) => drop(table.remove(&victim)),
                None => {
                    self.counters.add(Count::OutDrops);
                    return false;
                }
            }
        }
        let unknown = || Neighbor::new(0);
        let Ok(neighbor) = table.get_or_insert_with(ip, unknown) else {
            self.counters.add(Count::OutDrops);
            return false;
        };
        neighbor.keep(frame);
        let ask = neighbor.probes == 0;
        if ask {
            neighbor.probes = 1;
            neighbor.probed = now;
        }
        ask
    }

    /// Requests again the neighbours that packets wait for; gives up those that were requested often enough.
    pub(crate) fn neighbors_due(&self, now: u64) {
        let mut ask: heapless::Vec<Address, 16> = heapless::Vec::new();
        let mut lost = Vec::new();
        let mut next = NEVER;
        self.neighbors.table.lock().retain(|&ip, neighbor| {
            if neighbor.waiting.is_empty() {
                return true;
            }
            if now >= neighbor.probed + PROBE_INTERVAL {
                if neighbor.probes >= MAX_PROBES {
                    // Without memory the senders are not informed.
                    let _ = lost.try_append(&mut neighbor.waiting);
                    return false;
                }
                if ask.push(ip).is_ok() {
                    neighbor.probes += 1;
                    neighbor.probed = now;
                }
            }
            next = next.min((neighbor.probed + PROBE_INTERVAL).max(now + 1));
            true
        });
        self.timers.set(self.chores.neighbors, next);
        for ip in ask {
            self.solicit(ip, None);
        }
        for frame in lost {
            self.undeliverable(now, frame.packet(), crate::Error::HostUnreachable);
        }
    }

    /// Takes an ARP packet.
    pub(crate) fn arp_input(&self, now: u64, packet: &[u8]) {
        let Ok(packet) = ArpPacket::new_checked(packet) else { return };
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        }) = ArpRepr::parse(&packet)
        else {
            return;
        };
        let Some(own) = self.addresses.own() else { return };
        let (sender, mac) = (u32::from(source_protocol_addr), source_hardware_addr);
        if !mac.is_unicast() {
            return;
        }
        let for_us = u32::from(target_protocol_addr) == own;
        if sender == 0 && for_us && operation == ArpOperation::Request {
            // A host that wants to use our address probes whether it is free (RFC 5227, 2.1.1 and 2.4).
            return self.arp_send(ArpOperation::Reply, Ipv4Addr::from(own), source_protocol_addr, mac, mac);
        }
        if self.addresses.is_martian(sender, own) {
            return;
        }
        // A host that asks for us will soon be sent more than ARP: remember it. An unsolicited reply only updates an entry.
        let learn = for_us && operation == ArpOperation::Request;
        let waiting =
            self.learn(now, Address::v4(sender), mac.0, learn, for_us && operation == ArpOperation::Reply);
        self.transmit_waiting(waiting, mac.0);
        if learn {
            self.arp_send(ArpOperation::Reply, Ipv4Addr::from(own), source_protocol_addr, mac, mac);
        }
    }

    /// Sends frames that waited for their neighbour's address.
    pub(crate) fn transmit_waiting(&self, waiting: Vec<WaitingFrame<D::Buf>>, mac: [u8; 6]) {
        for mut frame in waiting {
            let fragments = frame.payload.iter().map(|(buffer, start, len)| Fragment {
                buffer,
                start: *start,
                len: *len,
            });
            let Ok(fragments) = fragments.try_collect_vec() else {
                self.counters.add(Count::OutDrops);
                continue;
            };
            frame.headers[..6].copy_from_slice(&mac);
            self.transmit_or_drop(TxFrame {
                headers: &frame.headers,
                payload: &fragments,
                checksum: frame.checksum,
                segment_size: frame.segment_size,
            });
        }
    }

    /// Asks a neighbour for its address: itself if it is known, else all that may have it.
    fn solicit(&self, ip: Address, known: Option<[u8; 6]>) {
        match ip.as_v4() {
            Some(ip) => self.arp_request(ip, known.unwrap_or(ETHERNET_BROADCAST)),
            None => self.solicit_v6(ip, known),
        }
    }

    /// Enters or refreshes a neighbour; returns the frames that waited for it.
    pub(crate) fn learn(
        &self,
        now: u64,
        ip: Address,
        mac: [u8; 6],
        create: bool,
        confirm: bool,
    ) -> Vec<WaitingFrame<D::Buf>> {
        let mut table = self.neighbors.table.lock();
        if !table.contains_key(&ip) {
            if !create || table.len() >= MAX_ENTRIES {
                return Vec::new();
            }
            let new = || Neighbor::new(now);
            if table.get_or_insert_with(ip, new).is_err() {
                return Vec::new();
            }
        }
        let Some(neighbor) = table.get_mut(&ip) else { return Vec::new() };
        if neighbor.permanent {
            return Vec::new();
        }
        if neighbor.mac.is_some_and(|old| old != mac) {
            // RFC 826 takes any sender's word. So do we, but not while the old address is known to be good.
            if !confirm && now < neighbor.confirmed + PROBE_INTERVAL {
                return Vec::new();
            }
            self.neighbors.generation.fetch_add(1, Ordering::Release);
        }
        neighbor.mac = Some(mac);
        neighbor.confirmed = now;
        neighbor.probes = 0;
        core::mem::take(&mut neighbor.waiting)
    }

    /// Tells the link of our address (RFC 5227, 3).
    pub(crate) fn arp_announce(&self) {
        if let Some(own) = self.addresses.own() {
            self.arp_request(own, ETHERNET_BROADCAST);
        }
    }

    fn arp_request(&self, ip: u32, to: [u8; 6]) {
        let Some(own) = self.addresses.own() else { return };
        let nobody = EthernetAddress([0; 6]);
        self.arp_send(
            ArpOperation::Request,
            Ipv4Addr::from(own),
            Ipv4Addr::from(ip),
            nobody,
            EthernetAddress(to),
        );
    }

    fn arp_send(
        &self,
        operation: ArpOperation,
        own: Ipv4Addr,
        ip: Ipv4Addr,
        target: EthernetAddress,
        to: EthernetAddress,
    ) {
        let mut frame = [0; ARP_FRAME_LEN];
        let source_hardware_addr = EthernetAddress(self.device.mac());
        let ethernet =
            EthernetRepr { src_addr: source_hardware_addr, dst_addr: to, ethertype: EthernetProtocol::Arp };
        let mut out = EthernetFrame::new_unchecked(&mut frame[..]);
        ethernet.emit(&mut out);
        let arp = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr: own,
            target_hardware_addr: target,
            target_protocol_addr: ip,
        };
        arp.emit(&mut ArpPacket::new_unchecked(out.payload_mut()));
        // If the device is full the request is lost; it is repeated.
        self.transmit_or_drop(TxFrame { headers: &frame, payload: &[], checksum: None, segment_size: None });
    }
}

/// A frame to transmit, all but its headers.
#[derive(Clone, Copy, Debug)]
pub struct FrameRest<'a, B> {
    /// What follows the headers.
    pub payload: &'a [Fragment<'a, B>],
    /// As in [`TxFrame`].
    pub checksum: Option<PartialChecksum>,
    /// As in [`TxFrame`].
    pub segment_size: Option<u16>,
}

impl<'a, B> FrameRest<'a, B> {
    /// The whole frame.
    pub fn frame<'b>(&'b self, headers: &'b [u8]) -> TxFrame<'b, B>
    where
        'a: 'b,
    {
        TxFrame { headers, payload: self.payload, checksum: self.checksum, segment_size: self.segment_size }
    }
}
