//! Options.
use super::socket::{RawFile, SOL_ICMPV6, TYPE_WORDS};
use crate::filter;
use crate::multicast::link_of;
use crate::options::{SOL_IP, SOL_IPV6, SOL_SOCKET, answer, buffer_size, byte_or_default, int};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_fallible::prelude::*;
use coracle_tcpip::protocol;
use linux_raw_sys::net as n;

/// Levels of the filters of ICMP's types (raw(7), RFC 3542), each of which has one option of this number.
const SOL_RAW: i32 = 255;
const FILTER: u32 = 1;

impl RawFile {
    /// setsockopt(2).
    pub(super) fn set(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let number = name as u32;
        match (level, number) {
            (SOL_RAW | SOL_ICMPV6, _) => return self.set_types(level, number, value),
            (SOL_SOCKET, n::SO_ATTACH_FILTER) => {
                let program = filter::read(value)?;
                let old = self.state.lock().program.replace(program);
                drop(old);
                return Ok(());
            }
            (SOL_SOCKET, n::SO_DETACH_FILTER) => {
                let old = self.state.lock().program.take();
                return old.map(drop).ok_or(Errno::NOENT);
            }
            (SOL_IPV6, _) if self.is_v4() => return Err(Errno::NOPROTOOPT),
            _ => {}
        }
        if let Ok(value) = int(value)
            && let Some(result) = self.wanted.set(level, number, value)
        {
            return result;
        }
        match (level, number) {
            (SOL_IP, n::IP_RECVERR) | (SOL_IPV6, n::IPV6_RECVERR) => {}
            _ => {
                if let Some(result) = self.common.set(level, name, value) {
                    return result;
                }
            }
        }
        match level {
            SOL_IP => self.set_v4(number, int(value)?),
            SOL_IPV6 => self.set_v6(number, value),
            SOL_SOCKET => {
                let value = int(value)?;
                match number {
                    n::SO_BROADCAST => self.state.lock().may_broadcast = value != 0,
                    n::SO_RCVBUF | n::SO_RCVBUFFORCE => {
                        self.state.lock().receive_buffer = buffer_size(value);
                    }
                    n::SO_SNDBUF
                    | n::SO_SNDBUFFORCE
                    | n::SO_REUSEADDR
                    | n::SO_REUSEPORT
                    | n::SO_KEEPALIVE
                    | n::SO_LINGER => return self.common.remember(level, name, value),
                    _ => return Err(Errno::NOPROTOOPT),
                }
                Ok(())
            }
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    /// getsockopt(2).
    pub(super) fn get(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let number = name as u32;
        if let Some(value) = self.wanted.get(level, number) {
            return answer(value);
        }
        let state = self.state.lock();
        let byte = |value: Option<u8>, usual: i32| answer(value.map_or(usual, i32::from));
        match (level, number) {
            (SOL_RAW | SOL_ICMPV6, _) => {
                self.check_types(level, number)?;
                let words = if level == SOL_RAW { 1 } else { TYPE_WORDS };
                let words = state.refused.map(u32::to_le_bytes)[..words].as_flattened().try_to_vec()?;
                return Ok(words);
            }
            (SOL_IPV6, _) if self.is_v4() => return Err(Errno::NOPROTOOPT),
            (SOL_SOCKET, n::SO_ERROR) => {
                let mut state = state;
                return answer(state.error.take().map_or(0, |error| i32::from(error.number())));
            }
            (SOL_SOCKET, n::SO_ACCEPTCONN) => return answer(0),
            (SOL_SOCKET, n::SO_BROADCAST) => return answer(state.may_broadcast.into()),
            (SOL_SOCKET, n::SO_RCVBUF) => return answer(2 * state.receive_buffer as i32),
            (SOL_IP, n::IP_HDRINCL) if !self.is_ping() => return answer(state.with_header.into()),
            (SOL_IP, n::IP_TTL) => return byte(state.ttl, 64),
            (SOL_IP, n::IP_TOS) => return answer(state.tos.into()),
            (SOL_IP, n::IP_MULTICAST_TTL) => return byte(state.group_ttl, 1),
            (SOL_IP, n::IP_RECVERR) | (SOL_IPV6, n::IPV6_RECVERR) => {
                return answer(state.wants_reports.into());
            }
            (SOL_IPV6, n::IPV6_CHECKSUM) => {
                return answer(state.checksum_at.map_or(-1, |at| at as i32));
            }
            (SOL_IPV6, n::IPV6_UNICAST_HOPS) => return byte(state.ttl, crate::options::USUAL_HOPS),
            (SOL_IPV6, n::IPV6_MULTICAST_HOPS) => return byte(state.group_ttl, 1),
            (SOL_IPV6, n::IPV6_TCLASS) => return answer(state.tos.into()),
            _ => {}
        }
        drop(state);
        match (level, number) {
            (SOL_SOCKET, n::SO_SNDBUF) => {
                answer(2 * self.common.recall(level, name, (crate::options::BUFFER_MAX / 2) as i32))
            }
            (SOL_SOCKET, n::SO_REUSEADDR | n::SO_REUSEPORT | n::SO_KEEPALIVE)
            | (SOL_IP, n::IP_RETOPTS | n::IP_RECVOPTS) => answer(self.common.recall(level, name, 0)),
            (SOL_SOCKET, n::SO_LINGER) => Ok([0; 8].try_to_vec()?),
            _ => self.common.get(level, name).unwrap_or(Err(Errno::NOPROTOOPT)),
        }
    }

    fn set_v4(&self, number: u32, value: i32) -> Result<(), Errno> {
        let byte = |least: i32| match value {
            -1 => Ok(None),
            value if (least..=255).contains(&value) => Ok(Some(value as u8)),
            _ => Err(Errno::INVAL),
        };
        let mut state = self.state.lock();
        match number {
            n::IP_HDRINCL if self.is_ping() => return Err(Errno::NOPROTOOPT),
            n::IP_HDRINCL => state.with_header = value != 0,
            n::IP_TTL => state.ttl = byte(1)?,
            n::IP_TOS => state.tos = value as u8,
            n::IP_MULTICAST_TTL => state.group_ttl = byte(0)?,
            n::IP_RECVERR => {
                state.wants_reports = value != 0;
                if value == 0 {
                    state.reports.clear();
                }
            }
            n::IP_RETOPTS | n::IP_RECVOPTS | n::IP_ROUTER_ALERT => {
                drop(state);
                return self.common.remember(SOL_IP, number as i32, i32::from(value != 0));
            }
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    fn set_v6(&self, number: u32, value: &[u8]) -> Result<(), Errno> {
        let whole = value.first_chunk().copied().map(i32::from_le_bytes).ok_or(Errno::INVAL)?;
        let mut state = self.state.lock();
        match number {
            n::IPV6_CHECKSUM if self.protocol == SOL_ICMPV6 => return Err(Errno::INVAL),
            n::IPV6_CHECKSUM if whole > 0 && whole & 1 != 0 => return Err(Errno::INVAL),
            n::IPV6_CHECKSUM => state.checksum_at = usize::try_from(whole).ok(),
            n::IPV6_UNICAST_HOPS => state.ttl = byte_or_default(value)?,
            n::IPV6_MULTICAST_HOPS => state.group_ttl = byte_or_default(value)?,
            n::IPV6_TCLASS => state.tos = byte_or_default(value)?.unwrap_or(0),
            n::IPV6_RECVERR => state.wants_reports = whole != 0,
            n::IPV6_HDRINCL => state.with_header = whole != 0,
            n::IPV6_MULTICAST_IF => {
                state.group_link = match whole as u32 {
                    0 => None,
                    index => Some(link_of(index).ok_or(Errno::NODEV)?),
                }
            }
            n::IPV6_V6ONLY | n::IPV6_MULTICAST_LOOP => {
                drop(state);
                return self.common.remember(SOL_IPV6, number as i32, whole);
            }
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    /// Sets the types of ICMP that are not taken. EOPNOTSUPP for another protocol.
    fn set_types(&self, level: i32, name: u32, value: &[u8]) -> Result<(), Errno> {
        self.check_types(level, name)?;
        let mut state = self.state.lock();
        for (word, bytes) in state.refused.iter_mut().zip(value.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Ok(())
    }

    fn check_types(&self, level: i32, name: u32) -> Result<(), Errno> {
        let wanted = if level == SOL_RAW { i32::from(protocol::ICMP) } else { SOL_ICMPV6 };
        match () {
            () if name != FILTER || self.is_ping() => Err(Errno::NOPROTOOPT),
            () if self.protocol != wanted => Err(Errno::OPNOTSUPP),
            () => Ok(()),
        }
    }
}
