//! Sending datagrams (UDP, ICMP): collects the bytes, writes headers, and fragments what does not fit one packet.

use crate::address::Route;
use crate::checksum::Sum;
use crate::device::{Buffer, Chunk, Device, Fragment, Full};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::ip::Address;
use crate::ipv4::{MORE_FRAGMENTS, write_ipv4};
use crate::ipv6::{FRAGMENT_LEN, extension, write_ipv6};
use crate::neighbor::FrameRest;
use crate::packet::{IpHeader, TRANSPORT_AT, ip_len};
use crate::stack::Stack;

/// Length of the headers of UDP and of the ICMP messages we send.
pub const TRANSPORT_LEN: usize = 8;
/// Greatest packet behind the Ethernet header; with IPv6, behind its header.
const MAX_PACKET: usize = 65535;
/// Pieces of a datagram: enough for the greatest payload in buffers of 2 KiB.
const MAX_PIECES: usize = 34;

/// Where the transport's header is in the headers of a datagram: there is room for a fragment header of IPv6 before it.
pub(crate) const HEADER_AT: usize = TRANSPORT_AT + FRAGMENT_LEN;
/// Room for the headers of a datagram: the link's, IP's and the transport's.
pub(crate) type DatagramHeaders = [u8; HEADER_AT + TRANSPORT_LEN];

/// Greatest payload of a datagram to `destination`.
pub fn max_payload(destination: Address) -> usize {
    let ip = if destination.is_v4() { ip_len(destination) } else { 0 };
    MAX_PACKET - ip - TRANSPORT_LEN
}

/// The part of the headers before `end` that the link's and IP's are written to.
fn link_before(headers: &mut DatagramHeaders, end: usize) -> Option<&mut [u8; TRANSPORT_AT]> {
    headers.get_mut(..end)?.last_chunk_mut()
}

/// The payload of a datagram.
pub struct Pieces<B>(heapless::Vec<Chunk<B>, MAX_PIECES>);

/// How the transport checksum of a datagram is made.
#[derive(Clone, Copy, Debug)]
pub struct ChecksumField {
    /// Its offset in the transport header.
    pub field: usize,
    /// The sum it starts from: that of the pseudo-header (UDP), or nothing (ICMP).
    pub start: Sum,
    /// Whether the device may complete it.
    pub device: bool,
    /// How many bytes are summed, from the transport header's first, for UDP-Lite; `None`: all.
    pub covered: Option<usize>,
}

impl<B: Buffer> Pieces<B> {
    /// The whole length.
    pub fn len(&self) -> usize {
        self.0.iter().map(|chunk| chunk.len as usize).sum()
    }

    pub(crate) fn fragments(
        &self,
        mut offset: usize,
        mut len: usize,
    ) -> heapless::Vec<Fragment<'_, B>, MAX_PIECES> {
        let mut out = heapless::Vec::new();
        for chunk in &self.0 {
            let have = chunk.len as usize;
            if offset >= have {
                offset -= have;
                continue;
            }
            let take = (have - offset).min(len);
            if take == 0 {
                break;
            }
            let fragment =
                Fragment { buffer: &chunk.buffer, start: chunk.start + offset as u32, len: take as u32 };
            let _ = out.push(fragment); // as many as there are chunks
            len -= take;
            offset = 0;
        }
        out
    }
}

impl<D: Device, E: Events> Stack<D, E> {
    /// Collects `len` bytes that `fill` writes; fewer if it writes fewer.
    pub(crate) fn collect(
        &self,
        len: usize,
        mut fill: impl FnMut(&mut [u8]) -> usize,
    ) -> Result<Pieces<D::Buf>> {
        let mut pieces = Pieces(heapless::Vec::new());
        let mut left = len;
        while left > 0 {
            let mut buffer = self.device.alloc().ok_or(Error::NoBuffers)?;
            let room = buffer.as_mut_slice().ok_or(Error::NoBuffers)?;
            let want = room.len().min(left);
            let wrote = fill(&mut room[..want]).min(want);
            let chunk = Chunk::new(buffer, 0, wrote).ok_or(Error::NoBuffers)?;
            pieces.0.push(chunk).map_err(|_| Error::MessageTooLong)?;
            if wrote < want {
                break;
            }
            left -= want;
        }
        Ok(pieces)
    }

    /// Sends a datagram by `route`, in fragments if it does not fit a packet.
    pub(crate) fn send_datagram(
        &self,
        now: u64,
        route: Route,
        ip: IpHeader,
        head: &[u8; TRANSPORT_LEN],
        pieces: &Pieces<D::Buf>,
        sum: ChecksumField,
    ) -> core::result::Result<(), Full> {
        let mtu = self.mtu_for(&route, &ip);
        let len = TRANSPORT_LEN + pieces.len();
        let mut headers = [0; HEADER_AT + TRANSPORT_LEN];
        headers[HEADER_AT..].copy_from_slice(head);
        // One of the two, each with lists of its own: together they would take twice the stack.
        if ip.len() + len <= mtu && pieces.0.len() <= self.capabilities.max_fragments {
            self.send_whole(now, route, ip, &mut headers, pieces, sum)
        } else {
            self.send_in_fragments(now, route, ip, &mut headers, pieces, Some(sum))
        }
    }

    #[inline(never)]
    fn send_whole(
        &self,
        now: u64,
        route: Route,
        ip: IpHeader,
        headers: &mut DatagramHeaders,
        pieces: &Pieces<D::Buf>,
        sum: ChecksumField,
    ) -> core::result::Result<(), Full> {
        let whole = pieces.fragments(0, usize::MAX);
        let Some(link) = link_before(headers, HEADER_AT) else { return Ok(()) };
        let start = FRAGMENT_LEN + ip.write(self.mac, link, TRANSPORT_LEN + pieces.len());
        let checksum = if sum.device {
            let at = HEADER_AT - start;
            self.fill_checksum(route.hop, sum.start, &mut headers[start..], at, sum.field, &whole)
        } else {
            write_checksum(headers, sum, &whole);
            None
        };
        let headers = &mut headers[start..];
        self.ip_transmit(now, route, headers, FrameRest { payload: &whole, checksum, segment_size: None })
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn send_in_fragments(
        &self,
        now: u64,
        route: Route,
        mut ip: IpHeader,
        headers: &mut DatagramHeaders,
        pieces: &Pieces<D::Buf>,
        sum: Option<ChecksumField>,
    ) -> core::result::Result<(), Full> {
        let mtu = self.mtu_for(&route, &ip);
        let is_v4 = ip.destination.is_v4();
        let len = TRANSPORT_LEN + pieces.len();
        // The checksum is that of the whole, which no device sees.
        if let Some(sum) = sum {
            write_checksum(headers, sum, &pieces.fragments(0, usize::MAX));
        }
        if ip.ident.is_none() {
            ip.ident = Some(self.next_ident());
        }
        let step = (mtu - ip.len() - if is_v4 { 0 } else { FRAGMENT_LEN }) & !7;
        // That of IPv6 is longer, and not to be foreseen (RFC 7739).
        let ident = self.keys.cookie.hash(u64::from(self.next_ident()), now) as u32;
        let carried = ip.protocol;
        if !is_v4 {
            ip.protocol = extension::FRAGMENT;
        }
        let mut offset = 0;
        while offset < len {
            let take = step.min(len - offset);
            let more = offset + take < len;
            let start = if is_v4 {
                let fragment = (offset / 8) as u16 | if more { MORE_FRAGMENTS } else { 0 };
                let Some(link) = link_before(headers, HEADER_AT) else { return Ok(()) };
                FRAGMENT_LEN + write_ipv4(&ip, self.mac, link, take, fragment)
            } else {
                let place = offset as u16 | u16::from(more);
                let fragment = &mut headers[TRANSPORT_AT..HEADER_AT];
                fragment[..2].copy_from_slice(&[carried, 0]);
                fragment[2..4].copy_from_slice(&place.to_be_bytes());
                fragment[4..].copy_from_slice(&ident.to_be_bytes());
                let Some(link) = link_before(headers, TRANSPORT_AT) else { return Ok(()) };
                write_ipv6(&ip, self.mac, link, FRAGMENT_LEN + take)
            };
            // The transport header is the first piece's.
            let (headers, from, payload_len) = if offset == 0 {
                (&mut headers[start..], 0, take - TRANSPORT_LEN)
            } else {
                (&mut headers[start..HEADER_AT], offset - TRANSPORT_LEN, take)
            };
            let payload = pieces.fragments(from, payload_len);
            self.ip_transmit(
                now,
                route,
                headers,
                FrameRest { payload: &payload, checksum: None, segment_size: None },
            )?;
            offset += take;
        }
        Ok(())
    }
}

fn write_checksum<B: Buffer>(headers: &mut [u8], sum: ChecksumField, payload: &[Fragment<'_, B>]) {
    let transport = &mut headers[HEADER_AT..];
    transport[sum.field..sum.field + 2].fill(0);
    let start = sum.start.bytes(transport);
    let summed = match sum.covered {
        None => start.fragments(payload),
        Some(covered) => {
            start.first_of(payload.iter().map(Fragment::bytes), covered.saturating_sub(TRANSPORT_LEN))
        }
    };
    let mut bytes = summed.finish();
    if bytes == [0, 0] && (sum.device || sum.covered.is_some()) {
        bytes = [0xff, 0xff]; // in UDP and UDP-Lite, zero means that there is none (RFC 768)
    }
    transport[sum.field..sum.field + 2].copy_from_slice(&bytes);
}
