//! Packets that a program sends.
use super::socket::{ECHO_REQUEST, ECHO_REQUEST_V6, IDENT_AT, RawFile};
use crate::address::Family;
use crate::common::errno;
use crate::multicast::link_of;
use crate::options::{SOL_IP, SOL_IPV6};
use crate::stack::sent;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{Control, SocketAddress};
use coracle_fallible::filled;
use coracle_hal::time::now_ns;
use coracle_tcpip::{Address, RawWay};
use linux_raw_sys::net as n;

/// Header of an echo message, where its checksum is, and where its identifier.
const ECHO_BYTES: usize = 8;
/// Bytes of the longest packet.
const PACKET_MAX: usize = 65_535;

impl RawFile {
    pub(super) fn send_bytes(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        flags: u32,
        control: Option<&Control>,
    ) -> SysResult {
        let len = src.remaining();
        if len > PACKET_MAX {
            return Err(Errno::MSGSIZE);
        }
        if flags & n::MSG_OOB != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        if self.is_ping() && len < ECHO_BYTES {
            return Err(Errno::INVAL);
        }
        let to = match to {
            Some(address) => {
                let end = self.lower(address)?;
                // Over IPv6 the port may name the protocol (RFC 3542).
                if !self.is_v4() && !self.is_ping() && end.port != 0 && i32::from(end.port) != self.protocol {
                    return Err(Errno::INVAL);
                }
                Some(end.address)
            }
            None => None,
        };
        // Of an address of one's own too the configuration must be known.
        if to.is_some_and(|to| !to.is_loopback()) {
            crate::stack::wait_configured()?;
        }
        let mut bytes = filled(0, len).map_err(|_| Errno::NOBUFS)?;
        if src.take(&mut bytes)? < len {
            return Err(Errno::FAULT);
        }
        if self.is_ping() {
            let request = if self.is_v4() { ECHO_REQUEST } else { ECHO_REQUEST_V6 };
            if bytes[0] != request || bytes[1] != 0 {
                return Err(Errno::INVAL);
            }
            if self.state.lock().ident == 0 {
                self.take_ident(0)?;
            }
        }
        let (way, with_header) = {
            let mut state = self.state.lock();
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            let to = to.or(state.peer).ok_or(Errno::DESTADDRREQ)?.or_localhost();
            if self.is_ping() {
                bytes[IDENT_AT..IDENT_AT + 2].copy_from_slice(&state.ident.to_be_bytes());
            }
            let mut way = RawWay {
                to,
                from: (!state.local.is_unspecified() && !state.local.is_multicast()).then_some(state.local),
                link: state.group_link,
                protocol: self.protocol as u8,
                ttl: if to.is_multicast() { state.group_ttl } else { state.ttl },
                tos: state.tos,
                is_whole: self.never_cuts(),
                checksum_at: state.checksum_at,
                may_broadcast: state.may_broadcast,
            };
            if let Some(control) = control {
                let (ttl, tos) = super::super::common::header_bytes(control, self.is_v4());
                way.ttl = ttl.or(way.ttl);
                way.tos = tos.unwrap_or(way.tos);
                let info = control.packet_info.map(|info| (info.interface, Address::from(info.local)));
                let info6 = control.packet_info6.map(|info| (info.interface, Address::from(info.address)));
                if let Some((interface, from)) = info.or(info6) {
                    if interface != 0 {
                        way.link = Some(link_of(interface).ok_or(Errno::NODEV)?);
                    }
                    way.from = (!from.is_unspecified()).then_some(from).or(way.from);
                }
            }
            (way, state.with_header)
        };
        let now = now_ns();
        let result = match with_header {
            true => self.common.home.raw_send_whole(now, &way, &mut bytes),
            false => self.common.home.raw_send(now, &way, &mut bytes),
        };
        sent(now);
        result.map(|()| len).map_err(errno)
    }

    /// Whether the path's MTU binds the program (IP_MTU_DISCOVER, IPV6_MTU_DISCOVER).
    pub(super) fn never_cuts(&self) -> bool {
        let (level, name) = match self.common.family {
            Family::V4 => (SOL_IP, n::IP_MTU_DISCOVER),
            Family::V6 => (SOL_IPV6, n::IPV6_MTU_DISCOVER),
        };
        let asked = self.common.recall(level, name as i32, n::IP_PMTUDISC_WANT as i32) as u32;
        matches!(asked, n::IP_PMTUDISC_DO | n::IP_PMTUDISC_PROBE)
    }
}
