//! The options of a TCP socket, as setsockopt(2) and tcp(7) name them.

use crate::address::Link;
use crate::ip::Family;

/// Options of a TCP socket. A connection that `accept` returns starts with those of its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// `TCP_NODELAY`: send small segments at once (no Nagle).
    pub no_delay: bool,
    /// `TCP_CORK`: send only full segments until it is cleared (or 200 ms have passed).
    pub cork: bool,
    /// `TCP_QUICKACK`: acknowledge at once.
    pub quick_ack: bool,
    /// `SO_KEEPALIVE`.
    pub keep_alive: bool,
    /// `TCP_KEEPIDLE`, seconds.
    pub keep_idle: u32,
    /// `TCP_KEEPINTVL`, seconds.
    pub keep_interval: u32,
    /// `TCP_KEEPCNT`.
    pub keep_count: u32,
    /// `TCP_USER_TIMEOUT`, milliseconds; 0 is the system's default.
    pub user_timeout: u32,
    /// `TCP_MAXSEG`: bound of the segment size that we announce and use; 0 is none.
    pub max_segment: u16,
    /// `TCP_DEFER_ACCEPT`, seconds: a connection is accepted once it has data.
    pub defer_accept: u32,
    /// `TCP_SYNCNT`: retransmissions of the SYN (Linux: `tcp_syn_retries`).
    pub syn_retries: u32,
    /// `SO_LINGER`, seconds. `Some(0)` resets the connection on close; waiting otherwise is the caller's.
    pub linger: Option<u32>,
    /// `SO_SNDBUF`, bytes (not doubled); `None` lets it grow by itself.
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF`, bytes (not doubled); `None` lets it grow by itself.
    pub receive_buffer: Option<usize>,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`: several listeners share a port; connections spread over them by hash.
    pub reuse_port: bool,
    /// `TCP_SAVE_SYN`: 1 keeps the headers of the SYN of each connection that is accepted, from that of IPv4 on; 2 from that of
    /// Ethernet on.
    pub save_syn: u8,
    /// `TCP_FASTOPEN_CONNECT`: a connection begins with the program's first data, where a cookie of the server is known.
    pub fast_open_connect: bool,
    /// `TCP_FASTOPEN_NO_COOKIE`: data come with SYNs that have no cookie.
    pub fast_open_no_cookie: bool,
    /// `SO_OOBINLINE`: urgent bytes stay in the stream.
    pub oob_inline: bool,
    /// The addresses that the socket may have. It is fixed once the socket is bound.
    pub family: Family,
    /// `SO_BINDTODEVICE`: the only link that connections go over.
    pub device: Option<Link>,
    /// `IP_TTL`.
    pub ttl: u8,
    /// `IP_TOS`.
    pub tos: u8,
    /// `IPV6_UNICAST_HOPS`; `None`: as the routers of the link advise.
    pub hops: Option<u8>,
    /// `IPV6_TCLASS`.
    pub traffic_class: u8,
}

impl Default for TcpOptions {
    fn default() -> Self {
        TcpOptions {
            no_delay: false,
            cork: false,
            quick_ack: false,
            keep_alive: false,
            keep_idle: 7200,
            keep_interval: 75,
            keep_count: 9,
            user_timeout: 0,
            max_segment: 0,
            defer_accept: 0,
            syn_retries: 6,
            linger: None,
            send_buffer: None,
            receive_buffer: None,
            reuse_address: false,
            reuse_port: false,
            save_syn: 0,
            fast_open_connect: false,
            fast_open_no_cookie: false,
            oob_inline: false,
            family: Family::V4,
            device: None,
            ttl: 64,
            tos: 0,
            hops: None,
            traffic_class: 0,
        }
    }
}

/// An option that decides which data wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// [`TcpOptions::no_delay`].
    NoDelay,
    /// [`TcpOptions::cork`].
    Cork,
}

/// Which direction to shut down, as in shutdown(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// `SHUT_RD`.
    Read,
    /// `SHUT_WR`.
    Write,
    /// `SHUT_RDWR`.
    Both,
}

/// The state of a connection (RFC 9293, section 3.3.2). The numbers are Linux's (`TCP_ESTABLISHED` is 1 …).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Data flows both ways.
    Established = 1,
    /// Our SYN is out.
    SynSent = 2,
    /// Both SYNs are out, ours is not acknowledged.
    SynReceived = 3,
    /// Our FIN is out.
    FinWait1 = 4,
    /// Our FIN is acknowledged.
    FinWait2 = 5,
    /// Both ends have closed; old segments may still arrive.
    TimeWait = 6,
    /// No connection.
    Closed = 7,
    /// The peer has closed.
    CloseWait = 8,
    /// The peer had closed, our FIN is out.
    LastAck = 9,
    /// Waiting for connections.
    Listen = 10,
    /// Both FINs crossed, ours is not acknowledged.
    Closing = 11,
}

/// What `TCP_INFO` reports of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    /// The state of the connection.
    pub state: State,
    /// Consecutive retransmissions by time-out.
    pub retransmits: u32,
    /// Retransmission time-out, microseconds.
    pub rto: u32,
    /// Smoothed round-trip time, microseconds.
    pub rtt: u32,
    /// Its mean deviation, microseconds.
    pub rtt_var: u32,
    /// Send maximum segment size, bytes.
    pub send_mss: u32,
    /// Receive maximum segment size, bytes.
    pub receive_mss: u32,
    /// Congestion window, segments.
    pub congestion_window: u32,
    /// Slow start threshold, segments.
    pub slow_start_threshold: u32,
    /// Segments out and not acknowledged.
    pub unacked: u32,
    /// Segments retransmitted over the connection's life.
    pub total_retransmits: u32,
    /// Window scale factors: that of the peer, ours.
    pub window_scale: (u8, u8),
    /// Whether timestamps (RFC 7323) are in use.
    pub timestamps: bool,
    /// Whether selective acknowledgements (RFC 2018) are in use.
    pub sack: bool,
    /// Whether data came, or was acknowledged, with the SYN (RFC 7413).
    pub syn_data: bool,
    /// Receive buffer space, bytes.
    pub receive_space: u32,
    /// Bytes queued by the program that the peer has not acknowledged (`SIOCOUTQ`).
    pub unacknowledged_bytes: u32,
    /// Bytes queued by the program that were never sent (`SIOCOUTQNSD`).
    pub unsent_bytes: u32,
    /// Bytes that can be read now (`FIONREAD`): those up to an urgent one.
    pub readable_bytes: u32,
    /// The next byte to be read is urgent (`SIOCATMARK`).
    pub at_mark: bool,
}
