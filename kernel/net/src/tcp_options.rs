//! Options of TCP sockets (tcp(7), socket(7), ip(7)).
use super::address::Family;
use super::common::Common;
use super::options::{
    LEAST_MTU, SOL_IP, SOL_IPV6, SOL_SOCKET, SOL_TCP, USUAL_HOPS, answer, buffer_size, byte_or_default, int,
    ttl,
};
use super::stack::sent;
use super::tcp::TcpFile;
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_fallible::prelude::*;
use coracle_hal::sync::atomic::Ordering;
use coracle_hal::time::now_ns;
use coracle_tcpip::{Error, Hold, State, TcpInfo};
use core::ops::RangeInclusive;
use linux_raw_sys::net as n;

/// What SO_RCVBUF and SO_SNDBUF return while buffers are sized automatically (Linux's `tcp_rmem[1]` and `tcp_wmem[1]`).
const RECEIVE_BUFFER_TOLD: usize = 131_072;
const SEND_BUFFER_TOLD: usize = 16_384;

/// The bits of a type of service that belong to TCP itself (RFC 3168): the program does not set them.
const ECN: u8 = 3;

/// Greatest TCP_LINGER2 in seconds (Linux's TCP_FIN_TIMEOUT_MAX).
const FIN_TIMEOUT_MAX: i32 = 120;
/// What TCP_LINGER2 is unless it is set (net.ipv4.tcp_fin_timeout), in seconds.
const FIN_TIMEOUT: i32 = 60;
/// Smallest TCP_WINDOW_CLAMP in bytes (half of Linux's SOCK_MIN_RCVBUF).
const WINDOW_CLAMP_MIN: i32 = 1152;
/// Sizes that TCP_MAXSEG takes, in bytes (Linux's TCP_MIN_MSS and MAX_TCP_WINDOW).
const MAXSEG: RangeInclusive<i32> = 88..=32767;

/// The effective TCP_DEFER_ACCEPT of `seconds`: Linux counts the retransmissions of the SYN-ACK that it takes, and returns
/// when the last of them is over (`secs_to_retrans`).
fn deferral(seconds: i32) -> u32 {
    /// First and greatest time between two retransmissions (TCP_TIMEOUT_INIT, TCP_RTO_MAX), in seconds.
    const FIRST: u32 = 1;
    const LONGEST: u32 = 120;
    /// The count is a byte.
    const RETRANSMISSIONS_MAX: u32 = 255;
    let wanted = seconds.max(0) as u32;
    if wanted == 0 {
        return 0;
    }
    let (mut period, mut wait) = (FIRST, FIRST);
    for _ in 1..RETRANSMISSIONS_MAX {
        if period >= wanted {
            break;
        }
        wait = (2 * wait).min(LONGEST);
        period += wait;
    }
    period
}

impl TcpFile {
    /// Whether the socket has no connection.
    pub(super) fn is_unconnected(&self) -> bool {
        matches!(self.socket.info().state, State::Closed | State::Listen)
    }

    /// setsockopt(2).
    pub(super) fn set(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let number = name as u32;
        match (level, number) {
            (SOL_TCP, n::TCP_NODELAY) => return self.hold(Hold::NoDelay, value),
            (SOL_TCP, n::TCP_CORK) => return self.hold(Hold::Cork, value),
            // Connections go to one host (ip(7)).
            (SOL_IP, n::IP_MULTICAST_TTL | n::IP_MULTICAST_IF) => return Err(Errno::INVAL),
            (SOL_IP, n::IP_ADD_MEMBERSHIP | n::IP_DROP_MEMBERSHIP) => return Err(Errno::PROTO),
            _ => {}
        }
        if level == SOL_IPV6
            && self.common.family == Family::V6
            && let Some(result) = self.set_v6(number, value)
        {
            return result;
        }
        if (level, number) == (SOL_SOCKET, n::SO_OOBINLINE) {
            let on = int(value)? != 0;
            return self.change(&|o| o.oob_inline = on);
        }
        if (level, name as u32) == (SOL_SOCKET, n::SO_ZEROCOPY) {
            return self.common.zerocopy.set(value);
        }
        if let Some(result) = self.common.set(level, name, value) {
            if (level, number) == (SOL_SOCKET, n::SO_BINDTODEVICE) {
                let device = self.common.device();
                self.change(&|o| o.device = device)?;
            }
            return result;
        }
        match (level, number) {
            (SOL_SOCKET, n::SO_LINGER) => {
                let word = |at: usize| {
                    value.get(at..).and_then(|v| v.first_chunk()).copied().map(i32::from_le_bytes)
                };
                let (Some(on), Some(seconds)) = (word(0), word(4)) else { return Err(Errno::INVAL) };
                self.change(&|o| o.linger = (on != 0).then_some(seconds.max(0) as u32))
            }
            (SOL_TCP, n::TCP_CONGESTION) => match value {
                b"cubic" | b"cubic\0" => Ok(()),
                _ => Err(Errno::NOENT),
            },
            // There are no upper-layer protocols (TLS in the kernel, MPTCP): none has the name.
            (SOL_TCP, n::TCP_ULP) => Err(if value.is_empty() { Errno::INVAL } else { Errno::NOENT }),
            (SOL_TCP, n::TCP_FASTOPEN_KEY) => self.set_fast_open_keys(value),
            (SOL_TCP, n::TCP_MD5SIG | n::TCP_MD5SIG_EXT | n::TCP_REPAIR) => Err(Errno::NOPROTOOPT),
            (SOL_SOCKET | SOL_IP | SOL_IPV6 | SOL_TCP, _) => {
                if value.len() < 4 && level != SOL_IP {
                    return Err(Errno::INVAL);
                }
                self.set_int(level, number, int(value)?)
            }
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    /// TCP_NODELAY and TCP_CORK, which servers set around each reply.
    fn hold(&self, hold: Hold, value: &[u8]) -> Result<(), Errno> {
        let on = value.first_chunk().copied().map(i32::from_le_bytes).ok_or(Errno::INVAL)? != 0;
        let now = now_ns();
        if self.common.home.tcp_set_hold(&self.socket, now, hold, on) {
            sent(now);
        }
        Ok(())
    }

    /// Sets an option of IPv6. `None`: it is one that only is stored.
    fn set_v6(&self, number: u32, value: &[u8]) -> Option<Result<(), Errno>> {
        let byte = || byte_or_default(value);
        Some(match number {
            // Which addresses a socket has is decided when it is bound.
            n::IPV6_V6ONLY if self.socket.local().port != 0 => Err(Errno::INVAL),
            n::IPV6_V6ONLY if value.len() < size_of::<i32>() => Err(Errno::INVAL),
            n::IPV6_V6ONLY => int(value).and_then(|on| {
                self.common.v6_only.store(on != 0, Ordering::Relaxed);
                let family = self.common.family.of_engine(on != 0);
                self.change(&|options| options.family = family)
            }),
            // A stream's segments are cut for the route, not by this.
            n::IPV6_MTU => int(value).and_then(|mtu| match mtu {
                0 | LEAST_MTU.. => Ok(()),
                _ => Err(Errno::INVAL),
            }),
            n::IPV6_UNICAST_HOPS => byte().and_then(|hops| self.change(&|options| options.hops = hops)),
            n::IPV6_TCLASS => byte().and_then(|class| {
                self.change(&|options| {
                    let class = class.unwrap_or(0);
                    options.traffic_class = class & !ECN | options.traffic_class & ECN;
                })
            }),
            // Connections go to one host (ipv6(7)).
            n::IPV6_MULTICAST_HOPS => Err(Errno::NOPROTOOPT),
            n::IPV6_MULTICAST_IF => Err(Errno::NOPROTOOPT),
            n::IPV6_ADD_MEMBERSHIP | n::IPV6_DROP_MEMBERSHIP => Err(Errno::PROTO),
            _ => return None,
        })
    }

    /// getsockopt(2).
    pub(super) fn get(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let number = name as u32;
        // The CPU that received the last packet: one that arrives now is received by this CPU.
        if (level, number) == (SOL_SOCKET, n::SO_INCOMING_CPU) && !self.is_unconnected() {
            return answer(self.common.recall(level, name, coracle_hal::cpu::id() as i32));
        }
        let options = self.socket.options();
        if (level, number) == (SOL_SOCKET, n::SO_OOBINLINE) {
            return answer(options.oob_inline.into());
        }
        if let Some(result) = self.common.get(level, name) {
            return result;
        }
        match (level, number) {
            (SOL_IP, n::IP_MTU) | (SOL_IPV6, n::IPV6_MTU) => Common::path_mtu(self.socket.peer()),
            (SOL_SOCKET, n::SO_ERROR) => answer(self.socket.take_error().map_or(0, Error::errno)),
            (SOL_SOCKET, n::SO_ACCEPTCONN) => answer((self.socket.info().state == State::Listen) as i32),
            (SOL_SOCKET, n::SO_LINGER) => {
                let words = [options.linger.is_some() as i32, options.linger.unwrap_or(0) as i32];
                Ok(words.map(i32::to_le_bytes).as_flattened().try_to_vec()?)
            }
            (SOL_SOCKET, n::SO_REUSEADDR) => answer(options.reuse_address as i32),
            (SOL_SOCKET, n::SO_REUSEPORT) => answer(options.reuse_port as i32),
            (SOL_SOCKET, n::SO_KEEPALIVE) => answer(options.keep_alive as i32),
            (SOL_SOCKET, n::SO_BROADCAST) => answer(0),
            // Linux returns twice what was set: the other half is for its own book-keeping (socket(7)).
            (SOL_SOCKET, n::SO_RCVBUF) => {
                answer(options.receive_buffer.map_or(RECEIVE_BUFFER_TOLD, |b| 2 * b) as i32)
            }
            (SOL_SOCKET, n::SO_SNDBUF) => {
                answer(options.send_buffer.map_or(SEND_BUFFER_TOLD, |b| 2 * b) as i32)
            }
            (SOL_IP, n::IP_TTL) => answer(i32::from(options.ttl)),
            (SOL_IP, n::IP_TOS) => answer(i32::from(options.tos)),
            (SOL_IPV6, n::IPV6_UNICAST_HOPS) => answer(options.hops.map_or(USUAL_HOPS, i32::from)),
            (SOL_IPV6, n::IPV6_TCLASS) => answer(i32::from(options.traffic_class)),
            (SOL_TCP, n::TCP_NODELAY) => answer(options.no_delay as i32),
            (SOL_TCP, n::TCP_CORK) => answer(options.cork as i32),
            // A connection starts with quick acknowledgements in any case.
            (SOL_TCP, n::TCP_QUICKACK) => answer(self.common.recall(level, name, 1)),
            (SOL_TCP, n::TCP_LINGER2) => answer(match self.common.recall(level, name, 0) {
                0 => FIN_TIMEOUT,
                seconds => seconds,
            }),
            (SOL_TCP, n::TCP_KEEPIDLE) => answer(options.keep_idle as i32),
            (SOL_TCP, n::TCP_KEEPINTVL) => answer(options.keep_interval as i32),
            (SOL_TCP, n::TCP_KEEPCNT) => answer(options.keep_count as i32),
            (SOL_TCP, n::TCP_USER_TIMEOUT) => answer(options.user_timeout as i32),
            (SOL_TCP, n::TCP_MAXSEG) => answer(match options.max_segment {
                set @ 1.. if self.is_unconnected() => i32::from(set),
                _ => self.socket.info().send_mss as i32,
            }),
            (SOL_TCP, n::TCP_DEFER_ACCEPT) => answer(options.defer_accept as i32),
            (SOL_TCP, n::TCP_SYNCNT) => answer(options.syn_retries as i32),
            (SOL_TCP, n::TCP_FASTOPEN_CONNECT) => answer(options.fast_open_connect.into()),
            (SOL_TCP, n::TCP_FASTOPEN_NO_COOKIE) => answer(options.fast_open_no_cookie.into()),
            (SOL_TCP, n::TCP_FASTOPEN_KEY) => self.fast_open_keys_told(),
            (SOL_TCP, n::TCP_CONGESTION) => Ok(b"cubic\0\0\0\0\0\0\0\0\0\0\0".try_to_vec()?),
            (SOL_TCP, n::TCP_INFO) => Ok(encode_info(&self.socket.info()).try_to_vec()?),
            (SOL_TCP, n::TCP_ULP) => Ok(Vec::new()),
            (SOL_TCP, n::TCP_SAVE_SYN) => answer(i32::from(options.save_syn)),
            (SOL_TCP, n::TCP_SAVED_SYN) => match self.socket.saved_syn() {
                Some(headers) => Ok(headers.try_to_vec()?),
                None => Ok(Vec::new()),
            },
            (SOL_IP, n::IP_PKTINFO)
            | (SOL_SOCKET, n::SO_TIMESTAMP | n::SO_TIMESTAMPNS)
            | (SOL_IPV6, n::IPV6_RECVPKTINFO)
            | (SOL_TCP, n::TCP_FASTOPEN | n::TCP_WINDOW_CLAMP | n::TCP_NOTSENT_LOWAT) => {
                answer(self.common.recall(level, name, 0))
            }
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn set_int(&self, level: i32, number: u32, value: i32) -> Result<(), Errno> {
        let on = value != 0;
        /// The ranges of tcp(7)'s keep-alive options.
        fn within(value: i32, most: i32) -> Result<u32, Errno> {
            if (1..=most).contains(&value) { Ok(value as u32) } else { Err(Errno::INVAL) }
        }
        match (level, number) {
            (SOL_SOCKET, n::SO_REUSEADDR) => self.change(&|o| o.reuse_address = on),
            (SOL_SOCKET, n::SO_REUSEPORT) => self.change(&|o| o.reuse_port = on),
            (SOL_SOCKET, n::SO_KEEPALIVE) => self.change(&|o| o.keep_alive = on),
            (SOL_SOCKET, n::SO_BROADCAST) => Ok(()),
            (SOL_SOCKET, n::SO_RCVBUF | n::SO_RCVBUFFORCE) => {
                self.change(&|o| o.receive_buffer = Some(buffer_size(value)))
            }
            (SOL_SOCKET, n::SO_SNDBUF | n::SO_SNDBUFFORCE) => {
                self.change(&|o| o.send_buffer = Some(buffer_size(value)))
            }
            (SOL_IP, n::IP_TTL) => ttl(value).and_then(|ttl| self.change(&|o| o.ttl = ttl)),
            (SOL_IP, n::IP_TOS) => self.change(&|o| o.tos = value as u8 & !ECN | o.tos & ECN),
            (SOL_TCP, n::TCP_QUICKACK) => {
                self.common.remember(level, number as i32, on as i32)?;
                self.change(&|o| o.quick_ack = on)
            }
            (SOL_TCP, n::TCP_KEEPIDLE) => {
                within(value, 32767).and_then(|v| self.change(&|o| o.keep_idle = v))
            }
            (SOL_TCP, n::TCP_KEEPINTVL) => {
                within(value, 32767).and_then(|v| self.change(&|o| o.keep_interval = v))
            }
            (SOL_TCP, n::TCP_KEEPCNT) => within(value, 127).and_then(|v| self.change(&|o| o.keep_count = v)),
            (SOL_TCP, n::TCP_SYNCNT) => within(value, 127).and_then(|v| self.change(&|o| o.syn_retries = v)),
            (SOL_TCP, n::TCP_USER_TIMEOUT) if value >= 0 => self.change(&|o| o.user_timeout = value as u32),
            (SOL_TCP, n::TCP_MAXSEG) if value == 0 || MAXSEG.contains(&value) => {
                self.change(&|o| o.max_segment = value as u16)
            }
            (SOL_TCP, n::TCP_SAVE_SYN) => match value {
                0..=2 => self.change(&|o| o.save_syn = value as u8),
                _ => Err(Errno::INVAL),
            },
            (SOL_TCP, n::TCP_DEFER_ACCEPT) => self.change(&|o| o.defer_accept = deferral(value)),
            (SOL_TCP, n::TCP_FASTOPEN | n::TCP_FASTOPEN_CONNECT | n::TCP_FASTOPEN_NO_COOKIE) => {
                self.set_fast_open(number, value)
            }
            // A stream has no datagrams with a route or a time of arrival: the option is stored.
            (SOL_IP, n::IP_PKTINFO)
            | (SOL_SOCKET, n::SO_TIMESTAMP | n::SO_TIMESTAMPNS)
            | (SOL_IPV6, n::IPV6_RECVPKTINFO) => self.common.remember(level, number as i32, value),
            // They bound what we bound ourselves.
            (SOL_TCP, n::TCP_WINDOW_CLAMP) if value == 0 && self.socket.info().state != State::Closed => {
                Err(Errno::INVAL)
            }
            (SOL_TCP, n::TCP_LINGER2 | n::TCP_WINDOW_CLAMP | n::TCP_NOTSENT_LOWAT) => {
                let kept = match number {
                    n::TCP_LINGER2 => value.clamp(-1, FIN_TIMEOUT_MAX),
                    n::TCP_WINDOW_CLAMP if value != 0 => value.max(WINDOW_CLAMP_MIN),
                    _ => value,
                };
                self.common.remember(level, number as i32, kept)
            }
            (SOL_TCP, n::TCP_USER_TIMEOUT | n::TCP_MAXSEG) => Err(Errno::INVAL),
            _ => Err(Errno::NOPROTOOPT),
        }
    }
}

/// Bytes of what [`encode_info`] returns.
pub const INFO_BYTES: usize = 104;

/// `struct tcp_info` up to tcpi_total_retrans: what it was when most programs learnt of it.
pub fn encode_info(info: &TcpInfo) -> [u8; INFO_BYTES] {
    /// TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK, TCPI_OPT_WSCALE, TCPI_OPT_SYN_DATA.
    const OPTIONS: [u8; 4] = [1, 2, 4, 32];
    let options = [info.timestamps, info.sack, info.window_scale != (0, 0), info.syn_data];
    let options = options.into_iter().zip(OPTIONS).fold(0, |all, (on, bit)| if on { all | bit } else { all });
    let scales = info.window_scale.0 & 0xf | info.window_scale.1 << 4;
    let first = [info.state as u8, 0, info.retransmits as u8, 0, 0, options, scales, 0];
    let mtu = info.send_mss + 40;
    let words = [
        info.rto,
        0, // ato
        info.send_mss,
        info.receive_mss,
        info.unacked,
        0, // sacked
        0, // lost
        0, // retrans
        0, // fackets
        0, // last_data_sent
        0, // last_ack_sent
        0, // last_data_recv
        0, // last_ack_recv
        mtu,
        info.receive_space,
        info.rtt,
        info.rtt_var,
        info.slow_start_threshold,
        info.congestion_window,
        info.receive_mss,
        0, // reordering
        0, // rcv_rtt
        info.receive_space,
        info.total_retransmits,
    ];
    let mut bytes = [0; INFO_BYTES];
    bytes[..first.len()].copy_from_slice(&first);
    bytes[first.len()..].copy_from_slice(words.map(u32::to_le_bytes).as_flattened());
    bytes
}
