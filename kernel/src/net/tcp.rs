//! TCP sockets as files (tcp(7)).
use super::address::{Family, is_native_loopback, unspecified};
use super::common::{Common, errno, timed_out};
use super::engine;
use super::interface::{Interface, Watch, poll_events};
use super::options::{SOL_IP, SOL_SOCKET, SOL_TCP, answer, buffer_size, int};
use super::socket::{Received, Rights, Socket, SocketAddress};
use super::stack::{sent, wait_configured};
use crate::errno::{Errno, SysResult};
use crate::fs::file::File;
use crate::ipc::poll::{Events, PollSource, block_on_events};
use crate::mm::user_buf::UserBuf;
use crate::syscall::call::Call;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_hal::time::now_ns;
use coracle_tcpip::{Error, State, Tcp, TcpInfo};
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::net as n;
use spin::Mutex;

type Handle = Tcp<Interface, Watch>;

/// What SO_RCVBUF and SO_SNDBUF tell while they size themselves (Linux's tcp_rmem[1] and tcp_wmem[1]).
const RECEIVE_BUFFER_TOLD: usize = 131_072;
const SEND_BUFFER_TOLD: usize = 16_384;

/// Send data with the SYN (sendto(2)); not offered.
const MSG_FASTOPEN: u32 = 0x2000_0000;

/// A TCP socket.
pub struct TcpFile {
    socket: Handle,
    common: Common,
    closed: AtomicBool,
    /// Port of an AF_INET6 socket that is bound to `::` for IPv6 alone: nobody can reach it here, so the engine does
    /// not know of it. 0: none.
    unreachable_port: AtomicU16,
}

/// Announcements of a socket that the engine forgot; nobody will make any.
static SILENT: PollSource = PollSource::new();

/// What a call tells that moved some bytes, and then came to `result`.
#[inline(always)]
fn done_or_error(buffer: &UserBuf, result: Result<(), Errno>) -> SysResult {
    match result {
        Ok(()) => Ok(buffer.done()),
        Err(error) => done_before(buffer, error),
    }
}

#[cold]
fn done_before(buffer: &UserBuf, error: Errno) -> SysResult {
    if buffer.done() == 0 { Err(error) } else { Ok(buffer.done()) }
}

impl TcpFile {
    /// socket(2).
    pub fn new(family: Family) -> Arc<TcpFile> {
        TcpFile::over(engine().tcp_socket(Watch::new()), Common::new(family))
    }

    fn over(socket: Handle, common: Common) -> Arc<TcpFile> {
        Arc::new(TcpFile {
            socket,
            common,
            closed: AtomicBool::new(false),
            unreachable_port: AtomicU16::new(0),
        })
    }

    #[inline(always)]
    fn source(&self) -> &PollSource {
        self.socket.events().map_or(&SILENT, |watch| &watch.source)
    }

    fn native(&self) -> bool {
        self.common.native_loopback.load(Ordering::Relaxed)
    }

    /// One attempt to move bytes to the engine; page faults are resolved between the engine's calls. EAGAIN: no room.
    #[inline(never)]
    fn try_send(&self, src: &mut UserBuf, more: bool) -> Result<(), Errno> {
        loop {
            let now = now_ns();
            let want = src.remaining();
            engine().tcp_send(&self.socket, now, want, more, |room| src.take_nofault(room)).map_err(errno)?;
            sent(now);
            if src.remaining() == 0 {
                return Ok(());
            }
            if !src.is_stuck() {
                return Err(Errno::AGAIN);
            }
            src.resolve()?;
        }
    }

    /// Sends all, waiting for room as needed.
    #[inline(always)]
    fn send_all(&self, src: &mut UserBuf, nonblock: bool, more: bool) -> SysResult {
        let result = match self.try_send(src, more) {
            Err(Errno::AGAIN) if !nonblock => self.wait_to_send(src, more),
            other => other,
        };
        done_or_error(src, result)
    }

    #[cold]
    fn wait_to_send(&self, src: &mut UserBuf, more: bool) -> Result<(), Errno> {
        let mask = Events::OUT | Events::WRNORM;
        block_on_events(self.source(), mask, false, self.common.send_deadline(), || self.try_send(src, more))
            .map_err(timed_out)
    }

    /// One attempt to fetch bytes. EAGAIN: nothing there.
    #[inline(never)]
    fn try_receive(&self, dst: &mut UserBuf, peek: bool) -> Result<(), Errno> {
        loop {
            let want = dst.remaining();
            if want == 0 {
                return Ok(());
            }
            engine()
                .tcp_recv(&self.socket, now_ns, want, peek, |piece| dst.put_nofault(piece))
                .map_err(errno)?;
            // Peeking starts again at the front after a fault, so what was copied so far is all there is.
            if !dst.is_stuck() || (peek && dst.done() > 0) {
                return Ok(());
            }
            dst.resolve()?;
        }
    }

    /// Throws received bytes away instead of copying them (MSG_TRUNC, tcp(7)).
    fn discard(&self, len: usize) -> SysResult {
        engine().tcp_recv(&self.socket, now_ns, len, false, |piece| piece.len()).map_err(errno)
    }

    #[inline(always)]
    fn receive_bytes(&self, dst: &mut UserBuf, nonblock: bool, flags: u32) -> SysResult {
        let peek = flags & n::MSG_PEEK != 0;
        let wait_all = flags & n::MSG_WAITALL != 0 && !peek;
        let mut result = self.try_receive(dst, peek);
        if !nonblock && (result == Err(Errno::AGAIN) || wait_all && result.is_ok() && dst.remaining() > 0) {
            result = self.wait_to_receive(dst, peek, wait_all);
        }
        done_or_error(dst, result)
    }

    #[cold]
    fn wait_to_receive(&self, dst: &mut UserBuf, peek: bool, wait_all: bool) -> Result<(), Errno> {
        let mask = Events::IN | Events::RDNORM | Events::RDHUP;
        block_on_events(self.source(), mask, false, self.common.receive_deadline(), || {
            let before = dst.done();
            self.try_receive(dst, peek)?;
            let more_to_come = dst.done() > before && dst.remaining() > 0;
            if wait_all && more_to_come { Err(Errno::AGAIN) } else { Ok(()) }
        })
        .map_err(timed_out)
    }

    fn change(&self, change: impl FnOnce(&mut coracle_tcpip::TcpOptions)) -> Result<(), Errno> {
        let now = now_ns();
        engine().tcp_set_options(&self.socket, now, change);
        // Uncorking or clearing Nagle's delay may have queued a frame.
        sent(now);
        Ok(())
    }

    /// How an attempt to connect stands.
    fn connect_result(&self) -> Result<(), Errno> {
        if let Some(error) = self.socket.take_error() {
            return Err(errno(error));
        }
        match self.socket.info().state {
            State::SynSent | State::SynReceived => Err(Errno::AGAIN),
            State::Closed => Err(Errno::CONNREFUSED),
            _ => Ok(()),
        }
    }

    fn finish(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            let now = now_ns();
            engine().tcp_close(&self.socket, now);
            sent(now);
            remember_unfinished(&self.socket);
        }
    }
}

impl Drop for TcpFile {
    fn drop(&mut self) {
        self.finish();
    }
}

impl File for TcpFile {
    #[inline]
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        self.receive_bytes(dst, nonblock, 0)
    }

    #[inline]
    fn write(&self, src: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        self.send_all(src, nonblock, false)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(crate::fs::stat::nameless(super::open::SOCKET_MODE, self.common.inode))
    }

    #[inline]
    fn readiness(&self) -> Events {
        if self.unreachable_port.load(Ordering::Relaxed) != 0 {
            return Events::empty();
        }
        poll_events(self.socket.readiness())
    }

    #[inline]
    fn poll_source(&self) -> Option<&PollSource> {
        Some(self.source())
    }

    fn ioctl(&self, _call: &Call, command: u32, argument: usize) -> SysResult {
        let int = |value: u32| crate::mm::user::write_u32(argument, value).map(|()| 0);
        match command {
            linux_raw_sys::ioctl::FIONREAD => match self.socket.info().state {
                State::Listen => Err(Errno::INVAL),
                _ => int(self.socket.info().readable_bytes),
            },
            linux_raw_sys::ioctl::TIOCOUTQ => int(self.socket.info().unacknowledged_bytes),
            super::interface_ioctl::SIOCOUTQNSD => int(self.socket.info().unsent_bytes),
            super::interface_ioctl::SIOCATMARK => int(0),
            _ => super::interface_ioctl::ioctl(command, argument),
        }
    }

    #[inline]
    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn path(&self) -> String {
        format!("socket:[{}]", self.common.inode)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn closed(&self) {
        self.finish();
    }
}

impl Socket for TcpFile {
    fn bind(&self, address: &SocketAddress) -> Result<(), Errno> {
        let local = self.common.family.lower(address)?.ok_or(Errno::ADDRNOTAVAIL)?;
        let only_v6 = self.common.family == Family::V6 && self.common.v6_only.load(Ordering::Relaxed);
        if only_v6 && local.ip().is_unspecified() && local.port() != 0 {
            self.unreachable_port.store(local.port(), Ordering::Relaxed);
            return Ok(());
        }
        if !local.ip().is_unspecified() && !local.ip().is_loopback() {
            wait_configured()?;
        }
        self.common.native_loopback.store(is_native_loopback(address), Ordering::Relaxed);
        engine().tcp_bind(&self.socket, local).map_err(errno)
    }

    fn connect(&self, address: &SocketAddress, nonblock: bool) -> Result<(), Errno> {
        if *address == SocketAddress::Unspecified {
            engine().tcp_disconnect(&self.socket, now_ns());
            return Ok(());
        }
        let mut peer = self.common.family.lower(address)?.ok_or(Errno::NETUNREACH)?;
        if peer.ip().is_unspecified() {
            // "This host on this network" (RFC 1122, section 3.2.1.3): Linux connects to itself.
            peer.set_ip(core::net::Ipv4Addr::LOCALHOST);
        }
        if !peer.ip().is_loopback() {
            wait_configured()?;
        }
        self.common.native_loopback.store(is_native_loopback(address), Ordering::Relaxed);
        let now = now_ns();
        let result = engine().tcp_connect(&self.socket, now, peer);
        sent(now);
        match result {
            Ok(()) => return Ok(()),
            Err(Error::InProgress) if nonblock => return Err(Errno::INPROGRESS),
            Err(Error::InProgress) => {}
            Err(Error::AlreadyInProgress) if !nonblock => {}
            Err(error) => return Err(errno(error)),
        }
        let deadline = self.common.send_deadline();
        block_on_events(self.source(), Events::OUT, false, deadline, || self.connect_result()).map_err(
            |error| {
                if error == Errno::TIMEDOUT && deadline.is_some_and(|at| at <= now_ns()) {
                    Errno::INPROGRESS
                } else {
                    error
                }
            },
        )
    }

    fn listen(&self, backlog: usize) -> Result<(), Errno> {
        if self.unreachable_port.load(Ordering::Relaxed) != 0 {
            return Ok(());
        }
        engine().tcp_listen(&self.socket, now_ns(), backlog).map_err(errno)
    }

    fn accept(&self, nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno> {
        let attempt = || engine().tcp_accept(&self.socket, now_ns(), Watch::new).map_err(errno);
        let deadline = self.common.receive_deadline();
        let unreachable = self.unreachable_port.load(Ordering::Relaxed) != 0;
        let socket = block_on_events(self.source(), Events::IN, nonblock, deadline, || {
            if unreachable { Err(Errno::AGAIN) } else { attempt() }
        })
        .map_err(timed_out)?;
        let peer = socket.peer();
        let file = TcpFile::over(socket, self.common.inherit());
        let peer = match peer {
            Some(peer) => self.common.family.raise(peer, file.native()),
            None => unspecified(self.common.family),
        };
        Ok((file, peer))
    }

    fn local_address(&self) -> Result<SocketAddress, Errno> {
        let mut local = self.socket.local();
        match self.unreachable_port.load(Ordering::Relaxed) {
            0 => {}
            port => local.set_port(port),
        }
        Ok(self.common.family.raise(local, self.native()))
    }

    fn peer_address(&self) -> Result<SocketAddress, Errno> {
        match self.socket.info().state {
            State::Closed | State::Listen | State::SynSent => Err(Errno::NOTCONN),
            _ => {
                let peer = self.socket.peer().ok_or(Errno::NOTCONN)?;
                Ok(self.common.family.raise(peer, self.native()))
            }
        }
    }

    #[inline]
    fn send(
        &self,
        src: &mut UserBuf,
        _to: Option<&SocketAddress>,
        flags: u32,
        _rights: Option<&mut Rights>,
    ) -> SysResult {
        if flags & (n::MSG_OOB | MSG_FASTOPEN) != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        self.send_all(src, flags & n::MSG_DONTWAIT != 0, flags & n::MSG_MORE != 0)
    }

    #[inline]
    fn receive(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        let nonblock = flags & n::MSG_DONTWAIT != 0;
        if flags & n::MSG_OOB != 0 {
            return Err(Errno::INVAL);
        }
        let len = if flags & n::MSG_ERRQUEUE != 0 {
            return Err(Errno::AGAIN);
        } else if dst.remaining() == 0 {
            // Unlike read(2), recv(2) of nothing waits until there is something.
            let mask = Events::IN | Events::RDNORM | Events::RDHUP;
            let there = mask | Events::ERR | Events::HUP;
            block_on_events(self.source(), mask, nonblock, self.common.receive_deadline(), || {
                if self.readiness().intersects(there) { Ok(0) } else { Err(Errno::AGAIN) }
            })
            .map_err(timed_out)?
        } else if flags & n::MSG_TRUNC != 0 && flags & n::MSG_PEEK == 0 {
            let want = dst.remaining();
            let mask = Events::IN | Events::RDNORM | Events::RDHUP;
            block_on_events(self.source(), mask, nonblock, self.common.receive_deadline(), || {
                self.discard(want)
            })
            .map_err(timed_out)?
        } else {
            self.receive_bytes(dst, nonblock, flags)?
        };
        // A stream tells nobody's address (recvfrom(2) on a connected socket leaves it alone).
        Ok(Received { len, from: None, flags: 0, rights: Vec::new(), credentials: None })
    }

    fn shutdown(&self, how: u32) -> Result<(), Errno> {
        let how = super::open::shutdown_of(how)?;
        let now = now_ns();
        let result = engine().tcp_shutdown(&self.socket, now, how).map_err(errno);
        sent(now);
        result
    }

    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if let Some(result) = self.common.set(level, name, value) {
            return result;
        }
        let number = name as u32;
        match (level, number) {
            (SOL_SOCKET, n::SO_LINGER) => {
                let word = |at: usize| {
                    value.get(at..).and_then(|v| v.first_chunk()).copied().map(i32::from_le_bytes)
                };
                let (Some(on), Some(seconds)) = (word(0), word(4)) else { return Err(Errno::INVAL) };
                self.change(|o| o.linger = (on != 0).then_some(seconds.max(0) as u32))
            }
            (SOL_TCP, n::TCP_CONGESTION) => match value {
                b"cubic" | b"cubic\0" => Ok(()),
                _ => Err(Errno::NOENT),
            },
            (SOL_TCP, n::TCP_MD5SIG | n::TCP_MD5SIG_EXT | n::TCP_ULP | n::TCP_REPAIR) => {
                Err(Errno::NOPROTOOPT)
            }
            (SOL_SOCKET | SOL_IP | SOL_TCP, _) => {
                if value.len() < 4 && level != SOL_IP {
                    return Err(Errno::INVAL);
                }
                self.set_int(level, number, int(value)?)
            }
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        if let Some(result) = self.common.get(level, name) {
            return result;
        }
        let options = self.socket.options();
        let number = name as u32;
        match (level, number) {
            (SOL_SOCKET, n::SO_ERROR) => answer(self.socket.take_error().map_or(0, Error::errno)),
            (SOL_SOCKET, n::SO_ACCEPTCONN) => answer((self.socket.info().state == State::Listen) as i32),
            (SOL_SOCKET, n::SO_LINGER) => {
                let words = [options.linger.is_some() as i32, options.linger.unwrap_or(0) as i32];
                Ok(words.iter().flat_map(|word| word.to_le_bytes()).collect())
            }
            (SOL_SOCKET, n::SO_REUSEADDR) => answer(options.reuse_address as i32),
            (SOL_SOCKET, n::SO_REUSEPORT) => answer(options.reuse_port as i32),
            (SOL_SOCKET, n::SO_KEEPALIVE) => answer(options.keep_alive as i32),
            (SOL_SOCKET, n::SO_BROADCAST) => answer(0),
            // Linux tells twice what was set: the other half is for its own book-keeping (socket(7)).
            (SOL_SOCKET, n::SO_RCVBUF) => {
                answer(options.receive_buffer.map_or(RECEIVE_BUFFER_TOLD, |b| 2 * b) as i32)
            }
            (SOL_SOCKET, n::SO_SNDBUF) => {
                answer(options.send_buffer.map_or(SEND_BUFFER_TOLD, |b| 2 * b) as i32)
            }
            (SOL_IP, n::IP_TTL) => answer(i32::from(options.ttl)),
            (SOL_IP, n::IP_TOS) => answer(i32::from(options.tos)),
            (SOL_TCP, n::TCP_NODELAY) => answer(options.no_delay as i32),
            (SOL_TCP, n::TCP_CORK) => answer(options.cork as i32),
            (SOL_TCP, n::TCP_QUICKACK) => answer(options.quick_ack as i32),
            (SOL_TCP, n::TCP_KEEPIDLE) => answer(options.keep_idle as i32),
            (SOL_TCP, n::TCP_KEEPINTVL) => answer(options.keep_interval as i32),
            (SOL_TCP, n::TCP_KEEPCNT) => answer(options.keep_count as i32),
            (SOL_TCP, n::TCP_USER_TIMEOUT) => answer(options.user_timeout as i32),
            (SOL_TCP, n::TCP_MAXSEG) => answer(self.socket.info().send_mss as i32),
            (SOL_TCP, n::TCP_DEFER_ACCEPT) => answer(options.defer_accept as i32),
            (SOL_TCP, n::TCP_SYNCNT) => answer(options.syn_retries as i32),
            (SOL_TCP, n::TCP_CONGESTION) => Ok(b"cubic\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
            (SOL_TCP, n::TCP_INFO) => Ok(encode_info(&self.socket.info())),
            (SOL_TCP, n::TCP_FASTOPEN | n::TCP_LINGER2 | n::TCP_WINDOW_CLAMP | n::TCP_NOTSENT_LOWAT) => {
                answer(self.common.recall(level, name, 0))
            }
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn kind(&self) -> (i32, i32, i32) {
        (self.common.family.number(), n::SOCK_STREAM as i32, SOL_TCP)
    }
}

impl TcpFile {
    fn set_int(&self, level: i32, number: u32, value: i32) -> Result<(), Errno> {
        let on = value != 0;
        /// The ranges of tcp(7)'s keep-alive options.
        fn within(value: i32, most: i32) -> Result<u32, Errno> {
            if (1..=most).contains(&value) { Ok(value as u32) } else { Err(Errno::INVAL) }
        }
        match (level, number) {
            (SOL_SOCKET, n::SO_REUSEADDR) => self.change(|o| o.reuse_address = on),
            (SOL_SOCKET, n::SO_REUSEPORT) => self.change(|o| o.reuse_port = on),
            (SOL_SOCKET, n::SO_KEEPALIVE) => self.change(|o| o.keep_alive = on),
            (SOL_SOCKET, n::SO_BROADCAST) => Ok(()),
            (SOL_SOCKET, n::SO_RCVBUF | n::SO_RCVBUFFORCE) => {
                self.change(|o| o.receive_buffer = Some(buffer_size(value)))
            }
            (SOL_SOCKET, n::SO_SNDBUF | n::SO_SNDBUFFORCE) => {
                self.change(|o| o.send_buffer = Some(buffer_size(value)))
            }
            (SOL_IP, n::IP_TTL) => match value {
                -1 => self.change(|o| o.ttl = 64),
                1..=255 => self.change(|o| o.ttl = value as u8),
                _ => Err(Errno::INVAL),
            },
            (SOL_IP, n::IP_TOS) => self.change(|o| o.tos = value as u8),
            (SOL_TCP, n::TCP_NODELAY) => self.change(|o| o.no_delay = on),
            (SOL_TCP, n::TCP_CORK) => self.change(|o| o.cork = on),
            (SOL_TCP, n::TCP_QUICKACK) => self.change(|o| o.quick_ack = on),
            (SOL_TCP, n::TCP_KEEPIDLE) => within(value, 32767).and_then(|v| self.change(|o| o.keep_idle = v)),
            (SOL_TCP, n::TCP_KEEPINTVL) => {
                within(value, 32767).and_then(|v| self.change(|o| o.keep_interval = v))
            }
            (SOL_TCP, n::TCP_KEEPCNT) => within(value, 127).and_then(|v| self.change(|o| o.keep_count = v)),
            (SOL_TCP, n::TCP_SYNCNT) => within(value, 127).and_then(|v| self.change(|o| o.syn_retries = v)),
            (SOL_TCP, n::TCP_USER_TIMEOUT) if value >= 0 => self.change(|o| o.user_timeout = value as u32),
            (SOL_TCP, n::TCP_MAXSEG) if (88..=32767).contains(&value) => {
                self.change(|o| o.max_segment = value as u16)
            }
            (SOL_TCP, n::TCP_DEFER_ACCEPT) => self.change(|o| o.defer_accept = value.max(0) as u32),
            // Fast open is only ever an offer, and the others bound what we bound ourselves.
            (SOL_TCP, n::TCP_FASTOPEN | n::TCP_LINGER2 | n::TCP_WINDOW_CLAMP | n::TCP_NOTSENT_LOWAT) => {
                self.common.remember(level, number as i32, value);
                Ok(())
            }
            (SOL_TCP, n::TCP_USER_TIMEOUT | n::TCP_MAXSEG) => Err(Errno::INVAL),
            _ => Err(Errno::NOPROTOOPT),
        }
    }
}

/// `struct tcp_info` up to tcpi_total_retrans: what it was when most programs learnt of it.
fn encode_info(info: &TcpInfo) -> Vec<u8> {
    /// TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK, TCPI_OPT_WSCALE.
    const OPTIONS: [u8; 3] = [1, 2, 4];
    let options = [info.timestamps, info.sack, info.window_scale != (0, 0)];
    let options = options.into_iter().zip(OPTIONS).fold(0, |all, (on, bit)| if on { all | bit } else { all });
    let scales = info.window_scale.0 & 0xf | info.window_scale.1 << 4;
    let mut bytes = Vec::with_capacity(104);
    bytes.extend([info.state as u8, 0, info.retransmits as u8, 0, 0, options, scales, 0]);
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
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes
}

/// Connections that the program has closed and whose last bytes the peer may not have yet, for [`super::drain`].
static UNFINISHED: Mutex<Vec<Handle>> = Mutex::new(Vec::new());
/// Kept at most; more than that is a server under load, whose clients will notice its end anyway.
const UNFINISHED_MAX: usize = 64;

fn is_unfinished(socket: &Handle) -> bool {
    matches!(socket.info().state, State::FinWait1 | State::Closing | State::LastAck | State::Established)
}

fn remember_unfinished(socket: &Handle) {
    if !is_unfinished(socket) {
        return;
    }
    let mut all = UNFINISHED.lock();
    if all.len() >= UNFINISHED_MAX {
        all.retain(is_unfinished);
        if all.len() >= UNFINISHED_MAX {
            all.remove(0);
        }
    }
    all.push(socket.clone());
}

/// Drops those that are finished.
pub fn forget_finished() {
    UNFINISHED.lock().retain(is_unfinished);
}

/// Whether there are any.
pub fn unfinished() -> bool {
    UNFINISHED.lock().iter().any(is_unfinished)
}
