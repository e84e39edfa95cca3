//! TCP sockets as files (tcp(7)).
use super::address::{Family, unspecified};
use super::common::{Common, check_scope, errno, ioctl_answer, wait_for_address};
use super::interface::{Interface, Watch, poll_events};
use super::options::SOL_TCP;
use super::stack::{self, sent};
use super::zerocopy::MSG_ZEROCOPY;
use alloc::sync::Arc;
use alloc::vec::Vec;
use coracle_core::errno::{Errno, SysResult};
use coracle_core::fs::file::File;
use coracle_core::ipc::poll::{Events, LOOK_EVERY_NS, PollSource, block_on_events};
use coracle_core::mm::user_buf::UserBuf;
use coracle_core::net::socket::{Control, Received, Socket, SocketAddress};
use coracle_core::task::long_call;
use coracle_devices::buffer::NetBuffer;
use coracle_fallible::{NoMemory, Text, try_arc};
use coracle_hal::frame::{self, Watermark};
use coracle_hal::sync::Mutex;
use coracle_hal::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use coracle_hal::time::now_ns;
use coracle_tcpip::{Chunk, Endpoint, Error, Readiness, State, Tcp, fast_open_setting};
use core::any::Any;
use linux_raw_sys::general::stat as Stat;
use linux_raw_sys::net as n;

type Handle = Tcp<Interface, Watch>;

const SECOND_NS: u64 = 1_000_000_000;

/// Send data with the SYN (sendto(2)), which begins the connection.
const MSG_FASTOPEN: u32 = 0x2000_0000;

/// A TCP socket.
pub struct TcpFile {
    pub(super) socket: Handle,
    pub(super) common: Common,
    /// An attempt to connect has begun, and no call has reported how it ended.
    connecting: AtomicBool,
    /// How often the program has disconnected the socket: calls that wait then return (Linux's `sk_disconnects`).
    disconnects: AtomicU32,
}

/// What a call sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    Plain,
    /// With more to follow soon (MSG_MORE).
    MoreComes,
    /// The last byte is urgent (MSG_OOB).
    Urgent,
    /// Bytes of the image.
    Image,
}

impl Data {
    /// Data that are not urgent, by the flags of send(2).
    #[inline]
    const fn of(flags: u32) -> Data {
        if flags & n::MSG_MORE != 0 { Data::MoreComes } else { Data::Plain }
    }
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
    pub fn new(family: Family) -> Result<Arc<TcpFile>, Errno> {
        let watch = Watch::new();
        let common = Common::new(family, watch.inode);
        let file = TcpFile::over(common.home.tcp_socket(watch).map_err(errno)?, common)?;
        if family == Family::V6 {
            file.change(&|options| options.family = family.of_engine(false))?;
        }
        Ok(file)
    }

    fn over(socket: Handle, common: Common) -> Result<Arc<TcpFile>, Errno> {
        let (connecting, disconnects) = (AtomicBool::new(false), AtomicU32::new(0));
        try_arc(TcpFile { socket, common, connecting, disconnects }).map_err(|_| Errno::NOBUFS)
    }

    #[inline(always)]
    fn source(&self) -> &PollSource {
        self.socket.events().map_or(&SILENT, |watch| &watch.source)
    }

    /// Moves bytes to the engine until there is no room or a page fault stops it.
    #[inline(never)]
    fn send_once(&self, src: &mut UserBuf, data: Data) -> Result<(), Errno> {
        let now = now_ns();
        let want = src.remaining();
        let fill = |room: &mut [u8]| src.take_nofault(room);
        let home = &self.common.home;
        let queued = match data {
            Data::Urgent => home.tcp_send_urgent(&self.socket, now, want, fill),
            Data::Image => return self.send_image(src, now),
            // The engine with the card is at one place, so that no register keeps its address.
            data if home.is_first() => {
                stack::first().tcp_send(&self.socket, now, want, data == Data::MoreComes, fill)
            }
            data => home.tcp_send_plainly(&self.socket, now, want, data == Data::MoreComes, fill),
        };
        queued.map_err(errno)?;
        sent(now);
        Ok(())
    }

    /// Moves bytes of the image to the engine until there is no room: where they lie, if they would fill buffers.
    #[inline(never)]
    fn send_image(&self, src: &mut UserBuf, now: u64) -> Result<(), Errno> {
        let bytes = src.image().unwrap_or_default();
        // An engine counts in 32 bits; what a call moves is less.
        let len = bytes.len() as u32;
        let Some(buffer) = NetBuffer::of_image(bytes) else { return self.send_once(src, Data::Plain) };
        let chunk = Chunk { buffer, start: 0, len };
        let queued = self.common.home.tcp_send_chunk(&self.socket, now, chunk).map_err(errno)?;
        src.skip_image(queued);
        sent(now);
        Ok(())
    }

    /// One attempt to send all; page faults are resolved between the engine's calls. EAGAIN: no room.
    #[inline(always)]
    fn try_send(&self, src: &mut UserBuf, data: Data) -> Result<(), Errno> {
        self.send_once(src, data)?;
        if src.remaining() == 0 { Ok(()) } else { self.send_on(src, data) }
    }

    #[cold]
    fn send_on(&self, src: &mut UserBuf, data: Data) -> Result<(), Errno> {
        while src.is_stuck() {
            src.resolve()?;
            self.send_once(src, data)?;
        }
        if src.remaining() == 0 { Ok(()) } else { Err(Errno::AGAIN) }
    }

    /// Sends all, waiting for room as needed.
    #[inline(always)]
    fn send_all(&self, src: &mut UserBuf, nonblock: bool, data: Data) -> SysResult {
        match self.try_send(src, data) {
            Ok(()) => Ok(src.done()),
            Err(error) => self.send_rest(src, nonblock, data, error),
        }
    }

    /// Begins a connection to `to`, or the one whose SYN waits for data, with the first bytes of `src`, as far as a SYN may have
    /// them; the bytes that have gone count as done. Waits for the end of the handshake, unless `nonblock`: EINPROGRESS, where
    /// none have gone. EISCONN, EALREADY, and the errors of connect(2).
    #[cold]
    #[inline(never)]
    fn send_opening(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        nonblock: bool,
    ) -> Result<(), Errno> {
        /// More than a SYN has room for.
        const MOST: usize = 2048;
        let peer =
            if self.socket.holds_syn() { None } else { Some(self.peer_to_connect(to.ok_or(Errno::INVAL)?)?) };
        if src.remaining() > 0 {
            src.fault_in(src.remaining().min(MOST))?;
        }
        let now = now_ns();
        let want = src.remaining();
        let fill = &mut |room: &mut [u8]| src.take_nofault(room);
        let queued = self.common.home.tcp_connect_with_data(&self.socket, now, peer, want, fill);
        sent(now);
        match queued {
            Ok(_) => self.connecting.store(true, Ordering::Relaxed),
            Err(error @ (Error::AlreadyInProgress | Error::IsConnected)) => return Err(errno(error)),
            Err(error) => {
                self.forget_attempt();
                return Err(errno(error));
            }
        }
        match self.finish_connect(nonblock) {
            Err(Errno::INPROGRESS) if src.done() > 0 => Ok(()),
            result => result,
        }
    }

    /// Not all went at once.
    #[cold]
    fn send_rest(&self, src: &mut UserBuf, nonblock: bool, data: Data, error: Errno) -> SysResult {
        if error == Errno::AGAIN && self.socket.holds_syn() {
            self.send_opening(src, None, nonblock)?;
            let is_over = src.remaining() == 0 || (nonblock && src.done() > 0);
            return if is_over { Ok(src.done()) } else { self.send_all(src, nonblock, data) };
        }
        let mut result = Err(error);
        // A peer on this host has received what was sent to it: its acknowledgements must not wait for the end of a batch,
        // or the buffer would seem full to a program that does not sleep.
        while result == Err(Errno::AGAIN) && self.common.home.next_deadline() == Some(0) {
            let before = src.done();
            long_call::pause();
            self.common.home.poll(now_ns());
            result = self.try_send(src, data);
            if src.done() == before {
                break;
            }
        }
        if result == Err(Errno::AGAIN) && !nonblock {
            result = self.wait_to_send(src, data);
        }
        done_or_error(src, result)
    }

    /// EAGAIN: the time of SO_SNDTIMEO is over.
    fn wait_to_send(&self, src: &mut UserBuf, data: Data) -> Result<(), Errno> {
        let mask = Events::OUT | Events::WRNORM;
        let deadline_ns = self.common.send_deadline();
        loop {
            let result = block_on_events(self.source(), mask, false, deadline_ns, || {
                self.leave_error_to_next(src.done() > 0)?;
                match self.try_send(src, data) {
                    Err(Errno::AGAIN) if self.socket.readiness().contains(Readiness::WRITABLE) => {
                        Err(Errno::NOBUFS)
                    }
                    result => result,
                }
            });
            // There is room, but no packet memory. Nothing announces that other connections have given some back, so the
            // call looks again after a while (Linux's `sk_stream_wait_memory`).
            if result != Err(Errno::NOBUFS) {
                return result;
            }
            let now = now_ns();
            if deadline_ns.is_some_and(|deadline_ns| deadline_ns <= now) {
                return Err(Errno::AGAIN);
            }
            let look_ns = deadline_ns.unwrap_or(u64::MAX).min(now + LOOK_EVERY_NS);
            match block_on_events(self.source(), mask, false, Some(look_ns), || Err::<(), _>(Errno::AGAIN)) {
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
    }

    /// Ends a call that moved some bytes, if the connection has failed since: it returns their number, and the next call
    /// reports the error.
    fn leave_error_to_next(&self, moved: bool) -> Result<(), Errno> {
        let failed = moved && self.socket.readiness().contains(Readiness::ERROR);
        if failed { Err(Errno::IO) } else { Ok(()) }
    }

    /// Fetches what is there, until a page fault stops it. EAGAIN: nothing.
    #[inline(never)]
    fn receive_once(&self, dst: &mut UserBuf, peek: bool) -> Result<(), Errno> {
        let want = dst.remaining();
        if want == 0 {
            return Ok(());
        }
        self.common
            .home
            .tcp_recv(&self.socket, now_ns, want, peek, |piece| dst.put_nofault(piece))
            .map_err(errno)
            .map(|_| ())
    }

    /// The same, but page faults are resolved between the engine's calls.
    #[inline(always)]
    fn try_receive(&self, dst: &mut UserBuf, peek: bool) -> Result<(), Errno> {
        self.receive_once(dst, peek)?;
        if dst.is_stuck() { self.receive_on(dst, peek) } else { Ok(()) }
    }

    #[cold]
    fn receive_on(&self, dst: &mut UserBuf, peek: bool) -> Result<(), Errno> {
        // Peeking starts again at the front after a fault, so what was copied so far is all there is.
        while dst.is_stuck() && !(peek && dst.done() > 0) {
            dst.resolve()?;
            self.receive_once(dst, peek)?;
        }
        Ok(())
    }

    /// Throws received bytes away instead of copying them (MSG_TRUNC, tcp(7)).
    fn discard(&self, len: usize) -> SysResult {
        self.common.home.tcp_recv(&self.socket, now_ns, len, false, |piece| piece.len()).map_err(errno)
    }

    #[inline(always)]
    fn receive_bytes(&self, dst: &mut UserBuf, nonblock: bool, flags: u32) -> SysResult {
        let result = self.try_receive(dst, flags & n::MSG_PEEK != 0);
        if result.is_ok() && flags & n::MSG_WAITALL == 0 {
            return Ok(dst.done());
        }
        self.receive_rest(dst, nonblock, flags, result)
    }

    /// Nothing was there, or maybe not all that is waited for.
    #[cold]
    fn receive_rest(
        &self,
        dst: &mut UserBuf,
        nonblock: bool,
        flags: u32,
        mut result: Result<(), Errno>,
    ) -> SysResult {
        let peek = flags & n::MSG_PEEK != 0;
        let wait_all = flags & n::MSG_WAITALL != 0 && !peek;
        if !nonblock && (result == Err(Errno::AGAIN) || wait_all && result.is_ok() && dst.remaining() > 0) {
            result = self.wait_to_receive(dst, peek, wait_all);
        }
        done_or_error(dst, result)
    }

    /// Waits until `attempt` returns anything but EAGAIN, or the program disconnects the socket: EPIPE, which leaves the error of the
    /// connection to the next call (Linux's `sk_wait_event`).
    fn wait_connected<T>(
        &self,
        mask: Events,
        deadline_ns: Option<u64>,
        mut attempt: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let disconnects = self.disconnects.load(Ordering::Relaxed);
        block_on_events(self.source(), mask, false, deadline_ns, || {
            if self.disconnects.load(Ordering::Relaxed) == disconnects { attempt() } else { Err(Errno::PIPE) }
        })
    }

    fn wait_to_receive(&self, dst: &mut UserBuf, peek: bool, wait_all: bool) -> Result<(), Errno> {
        let mask = Events::IN | Events::RDNORM | Events::RDHUP;
        self.wait_connected(mask, self.common.receive_deadline(), || {
            let before = dst.done();
            if self.socket.info().readable_bytes == 0 {
                self.leave_error_to_next(before > 0)?;
            }
            self.try_receive(dst, peek)?;
            let more_to_come = dst.done() > before && dst.remaining() > 0;
            if wait_all && more_to_come { Err(Errno::AGAIN) } else { Ok(()) }
        })
    }

    /// Sends with flags that few programs use: bytes of which the last is urgent (MSG_OOB, tcp(7)), or that the program wants back
    /// (MSG_ZEROCOPY), or with the SYN (MSG_FASTOPEN).
    #[cold]
    fn send_special(&self, src: &mut UserBuf, to: Option<&SocketAddress>, flags: u32) -> SysResult {
        if flags & MSG_FASTOPEN != 0 {
            let may = self.common.home.fast_open() & fast_open_setting::CLIENT != 0;
            if !may || matches!(to, Some(SocketAddress::Unspecified(_))) {
                return Err(Errno::OPNOTSUPP);
            }
            self.send_opening(src, to, flags & n::MSG_DONTWAIT != 0)?;
            if src.done() > 0 && (src.remaining() == 0 || flags & n::MSG_DONTWAIT != 0) {
                return Ok(src.done());
            }
        }
        let data = if flags & n::MSG_OOB != 0 { Data::Urgent } else { Data::of(flags) };
        let sent = self.send_all(src, flags & n::MSG_DONTWAIT != 0, data)?;
        if flags & MSG_ZEROCOPY != 0 && sent > 0 {
            self.common.zerocopy.sent(self.source());
        }
        Ok(sent)
    }

    /// The urgent byte (MSG_OOB, tcp(7)). EINVAL if there is none; never waits.
    #[cold]
    fn receive_urgent(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        let peek = flags & n::MSG_PEEK != 0;
        let Some(byte) = self.common.home.tcp_recv_urgent(&self.socket, peek).map_err(errno)? else {
            return Ok(Received::bytes(0));
        };
        let truncated = dst.remaining() == 0;
        if !truncated && flags & n::MSG_TRUNC == 0 {
            dst.put(&[byte])?;
        }
        let flags = n::MSG_OOB | if truncated { n::MSG_TRUNC } else { 0 };
        Ok(Received { flags, ..Received::bytes(usize::from(!truncated)) })
    }

    /// Changes the engine's options.
    pub(super) fn change(&self, change: &dyn Fn(&mut coracle_tcpip::TcpOptions)) -> Result<(), Errno> {
        let now = now_ns();
        self.common.home.tcp_set_options(&self.socket, now, change);
        // A larger window or an acknowledgement may have queued a frame.
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

    /// The peer that a program names to connect to, if the socket may connect. ECONNABORTED and other errors of an earlier attempt;
    /// EISCONN, ENOBUFS.
    fn peer_to_connect(&self, address: &SocketAddress) -> Result<Endpoint, Errno> {
        let peer = self.common.to_reach(address)?;
        if !peer.address.is_multicast() {
            check_scope(address, peer)?;
        }
        wait_for_address(peer)?;
        if self.socket.info().state == State::Closed {
            if self.connecting.load(Ordering::Relaxed) {
                // The attempt in the background failed. If the program has taken its error, Linux reports another.
                let error = self.socket.take_error().map_or(Errno::CONNABORTED, errno);
                self.forget_attempt();
                return Err(error);
            }
            if self.socket.peer().is_some() {
                // A connection that is over is one all the same, until the program disconnects the socket.
                return Err(Errno::ISCONN);
            }
            // The peer may keep the connection, in a queue of this machine, when this socket is closed.
            if frame::is_below(Watermark::High) {
                return Err(Errno::NOBUFS);
            }
        }
        Ok(peer)
    }

    /// Waits for the end of an attempt to connect. EINPROGRESS: it goes on.
    fn finish_connect(&self, nonblock: bool) -> Result<(), Errno> {
        if nonblock {
            // Even if a peer on this host has answered already.
            return Err(Errno::INPROGRESS);
        }
        match self.wait_connected(Events::OUT, self.common.send_deadline(), || self.connect_result()) {
            // The attempt goes on behind the program's back (socket(7), SO_SNDTIMEO).
            Err(Errno::AGAIN) => Err(Errno::INPROGRESS),
            Err(error @ (Errno::RESTARTSYS | Errno::PIPE)) => Err(error),
            Err(error) => {
                self.forget_attempt();
                Err(error)
            }
            Ok(()) => {
                self.connecting.store(false, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// After an attempt to connect that failed, the socket is as before it (Linux's `inet_stream_connect`).
    fn forget_attempt(&self) {
        self.connecting.store(false, Ordering::Relaxed);
        self.common.home.tcp_disconnect(&self.socket, now_ns());
    }

    fn finish(&self) {
        if self.common.close() {
            let now = now_ns();
            self.common.home.tcp_close(&self.socket, now);
            sent(now);
            if self.common.home.is_first() {
                remember_unfinished(&self.socket);
            }
        }
    }
}

impl File for TcpFile {
    #[inline]
    fn read(&self, dst: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        self.receive_bytes(dst, nonblock, 0)
    }

    #[inline]
    fn write(&self, src: &mut UserBuf, _offset: u64, nonblock: bool) -> SysResult {
        self.send_all(src, nonblock, Data::Plain)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.common.stat())
    }

    #[inline]
    fn readiness(&self) -> Events {
        poll_events(self.socket.readiness()) | self.common.zerocopy.readiness()
    }

    #[inline]
    fn has_urgent_data(&self) -> bool {
        true
    }

    fn poll_source(&self) -> Option<&PollSource> {
        Some(self.source())
    }

    fn ioctl(&self, command: u32, argument: usize) -> SysResult {
        let int = |value| ioctl_answer(argument, value);
        match command {
            linux_raw_sys::ioctl::FIONREAD => match self.socket.info().state {
                State::Listen => Err(Errno::INVAL),
                _ => int(self.socket.info().readable_bytes),
            },
            linux_raw_sys::ioctl::TIOCOUTQ => int(self.socket.info().unacknowledged_bytes),
            super::interface_ioctl::SIOCOUTQNSD => int(self.socket.info().unsent_bytes),
            super::interface_ioctl::SIOCATMARK => int(self.socket.info().at_mark.into()),
            _ => super::interface_ioctl::ioctl_of_inet(self.common.family == Family::V4, command, argument),
        }
    }

    #[inline]
    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn path(&self, text: &mut Text) -> Result<(), NoMemory> {
        self.common.path(text)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn linger(&self) {
        let seconds = match self.socket.options().linger {
            Some(seconds @ 1..) => u64::from(seconds),
            _ => return,
        };
        // Unread data turns the end into a reset (RFC 2525, 2.17), which nothing waits for.
        if self.socket.info().readable_bytes > 0 || self.shutdown(n::SHUT_WR).is_err() {
            return;
        }
        let deadline = now_ns().saturating_add(seconds.saturating_mul(SECOND_NS));
        // Whatever ends the wait, the close goes on; so does the connection, without the program.
        let _ = block_on_events(self.source(), Events::OUT, false, Some(deadline), || {
            if is_unfinished(&self.socket) { Err(Errno::AGAIN) } else { Ok(()) }
        });
    }

    fn closed(&self) {
        self.finish();
    }
}

impl Socket for TcpFile {
    fn send_image(&self, src: &mut UserBuf, nonblock: bool) -> Option<SysResult> {
        Some(self.send_all(src, nonblock, Data::Image))
    }

    fn bind(&self, address: &SocketAddress) -> Result<(), Errno> {
        let local = self.common.to_bind(address)?;
        if local.address.is_multicast() && !local.address.is_v4() {
            return Err(Errno::INVAL);
        }
        self.common.home.tcp_bind(&self.socket, local).map_err(errno)
    }

    fn connect(&self, address: &SocketAddress, nonblock: bool) -> Result<(), Errno> {
        if matches!(address, SocketAddress::Unspecified(_)) {
            self.connecting.store(false, Ordering::Relaxed);
            self.disconnects.fetch_add(1, Ordering::Relaxed);
            let now = now_ns();
            self.common.home.tcp_disconnect(&self.socket, now);
            sent(now);
            return Ok(());
        }
        let peer = self.peer_to_connect(address)?;
        let now = now_ns();
        let result = self.common.home.tcp_connect(&self.socket, now, peer);
        sent(now);
        if result.is_ok() && self.socket.holds_syn() {
            return Ok(());
        }
        match result {
            Ok(()) => self.connecting.store(true, Ordering::Relaxed),
            Err(Error::AlreadyInProgress) if !nonblock => {}
            // The call after an attempt in the background learns of its success, once.
            Err(Error::IsConnected) if self.connecting.swap(false, Ordering::Relaxed) => return Ok(()),
            Err(error @ (Error::AlreadyInProgress | Error::IsConnected)) => return Err(errno(error)),
            Err(error) => {
                self.forget_attempt();
                return Err(errno(error));
            }
        }
        self.finish_connect(nonblock)
    }

    fn listen(&self, backlog: usize) -> Result<(), Errno> {
        let home = &self.common.home;
        home.tcp_listen(&self.socket, now_ns(), backlog).map_err(errno)?;
        let every = fast_open_setting::SERVER | fast_open_setting::EVERY_LISTENER;
        if self.fast_open_limit() == 0 && home.fast_open() & every == every {
            self.set_fast_open_limit(backlog.min(i32::MAX as usize) as i32)?;
        }
        self.accept_syn_data()
    }

    fn accept(&self, nonblock: bool) -> Result<(Arc<dyn File>, SocketAddress), Errno> {
        let attempt = || self.common.home.tcp_accept(&self.socket, now_ns(), Watch::new).map_err(errno);
        let deadline = self.common.receive_deadline();
        let socket = block_on_events(self.source(), Events::IN, nonblock, deadline, attempt)?;
        let peer = socket.peer();
        let inode = socket.events().map_or(0, |watch| watch.inode);
        let file = TcpFile::over(socket.clone(), self.common.inherit(inode))
            .inspect_err(|_| self.common.home.tcp_close(&socket, now_ns()))?;
        let peer = match peer {
            Some(peer) => file.common.raise(peer),
            None => unspecified(self.common.family),
        };
        Ok((file, peer))
    }

    fn local_address(&self) -> Result<SocketAddress, Errno> {
        Ok(self.common.raise(self.socket.local()))
    }

    fn peer_address(&self) -> Result<SocketAddress, Errno> {
        match self.socket.info().state {
            State::Closed | State::Listen | State::SynSent => Err(Errno::NOTCONN),
            _ => {
                let peer = self.socket.peer().ok_or(Errno::NOTCONN)?;
                Ok(self.common.raise(peer))
            }
        }
    }

    #[inline]
    fn send(
        &self,
        src: &mut UserBuf,
        to: Option<&SocketAddress>,
        flags: u32,
        _control: Option<&mut Control>,
    ) -> SysResult {
        if flags & (n::MSG_OOB | MSG_ZEROCOPY | MSG_FASTOPEN) != 0 {
            return self.send_special(src, to, flags);
        }
        self.send_all(src, flags & n::MSG_DONTWAIT != 0, Data::of(flags))
    }

    #[inline]
    fn receive(&self, dst: &mut UserBuf, flags: u32) -> Result<Received, Errno> {
        let nonblock = flags & n::MSG_DONTWAIT != 0;
        if flags & n::MSG_OOB != 0 {
            return self.receive_urgent(dst, flags);
        }
        let len = if flags & n::MSG_ERRQUEUE != 0 {
            return self.common.zerocopy.receive(self.common.family);
        } else if dst.remaining() == 0 {
            // Unlike read(2), recv(2) of nothing waits until there is something.
            let mask = Events::IN | Events::RDNORM | Events::RDHUP;
            let there = mask | Events::ERR | Events::HUP;
            let attempt = || match self.socket.info().state {
                State::Listen => Err(Errno::NOTCONN),
                _ if !self.readiness().intersects(there) => Err(Errno::AGAIN),
                State::Closed if !self.readiness().intersects(Events::IN | Events::ERR) => {
                    Err(Errno::NOTCONN)
                }
                _ => Ok(0),
            };
            if nonblock {
                attempt()
            } else {
                self.wait_connected(mask, self.common.receive_deadline(), attempt)
            }?
        } else if flags & n::MSG_TRUNC != 0 && flags & n::MSG_PEEK == 0 {
            let want = dst.remaining();
            let mask = Events::IN | Events::RDNORM | Events::RDHUP;
            block_on_events(self.source(), mask, nonblock, self.common.receive_deadline(), || {
                self.discard(want)
            })?
        } else {
            self.receive_bytes(dst, nonblock, flags)?
        };
        // A stream tells nobody's address (recvfrom(2) on a connected socket leaves it alone).
        Ok(Received::bytes(len))
    }

    fn shutdown(&self, how: u32) -> Result<(), Errno> {
        let how = super::common::shutdown_of(how)?;
        if matches!(self.socket.info().state, State::SynSent | State::SynReceived) {
            // This ends the attempt, and nothing is left of it to be reported by a later one.
            self.connecting.store(false, Ordering::Relaxed);
        }
        let now = now_ns();
        let result = self.common.home.tcp_shutdown(&self.socket, now, how).map_err(errno);
        sent(now);
        result
    }

    fn takes_departures(&self) -> bool {
        self.common.takes_departures()
    }

    fn set_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        self.set(level, name, value)
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        self.get(level, name)
    }

    fn option_read(&self, level: i32, name: i32, len: usize, room: usize) -> Result<(), Errno> {
        if (level, name as u32) == (SOL_TCP, n::TCP_SAVED_SYN) {
            if room < len {
                return Err(Errno::INVAL);
            }
            self.socket.forget_saved_syn();
        }
        Ok(())
    }

    fn kind(&self) -> (i32, i32, i32) {
        (self.common.family.number(), n::SOCK_STREAM as i32, SOL_TCP)
    }
}

/// Connections that the program has closed and whose last bytes the peer may not have yet, for [`super::drain`].
static UNFINISHED: Mutex<heapless::Vec<Handle, UNFINISHED_MAX>> = Mutex::new(heapless::Vec::new());
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
    if all.is_full() {
        all.retain(is_unfinished);
        if all.is_full() {
            all.remove(0);
        }
    }
    let _ = all.push(socket.clone());
}

/// Drops those that are finished.
pub fn forget_finished() {
    UNFINISHED.lock().retain(is_unfinished);
}

/// Whether there are any.
pub fn unfinished() -> bool {
    UNFINISHED.lock().iter().any(is_unfinished)
}
