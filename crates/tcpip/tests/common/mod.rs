//! An in-memory network for the tests: two stacks and a link that loses, repeats, reorders, delays and corrupts frames,
//! all of it from a seed.
#![allow(dead_code, reason = "each test uses its part")]

use coracle_tcpip::*;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1000 * MS;
const BUFFER: usize = 2048;

#[derive(Clone, Debug)]
pub struct Memory(Arc<Vec<u8>>);

impl Buffer for Memory {
    fn as_slice(&self) -> &[u8] {
        &self.0
    }
    fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        Arc::get_mut(&mut self.0).map(|v| &mut v[..])
    }
}

/// A frame on the wire.
#[derive(Clone, Debug)]
pub struct Wire {
    pub bytes: Vec<u8>,
    pub segment_size: u16,
    /// The transport checksum was left to the device: nothing on this link computes it.
    pub partial: bool,
}

pub struct TestDevice {
    pub mac: [u8; 6],
    pub mtu: usize,
    pub capabilities: Capabilities,
    pub sent: Mutex<VecDeque<Wire>>,
    /// Frames the queue takes before it is full.
    pub room: AtomicUsize,
    /// Buffers that may still be had.
    pub buffers: AtomicUsize,
}

impl Device for TestDevice {
    type Buf = Memory;
    fn mac(&self) -> [u8; 6] {
        self.mac
    }
    fn mtu(&self) -> usize {
        self.mtu
    }
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }
    fn alloc(&self) -> Option<Memory> {
        self.buffers.try_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).ok()?;
        self.buffers.fetch_add(1, Ordering::Relaxed);
        Some(Memory(Arc::new(vec![0xa5; BUFFER])))
    }
    fn transmit(&self, frame: TxFrame<'_, Memory>) -> Result<(), Full> {
        let mut sent = self.sent.lock().unwrap();
        if sent.len() >= self.room.load(Ordering::Relaxed) {
            return Err(Full);
        }
        assert!(frame.payload.len() <= self.capabilities.max_fragments);
        let mut bytes = frame.headers.to_vec();
        for fragment in frame.payload {
            bytes.extend_from_slice(fragment.bytes());
        }
        let segment_size = frame.segment_size.unwrap_or(0);
        match frame.segment_size {
            Some(size) => assert!(bytes.len() - 14 <= self.capabilities.tso4_max && size > 0),
            None => assert!(bytes.len() <= self.mtu + 14, "{} bytes", bytes.len()),
        }
        assert!(frame.checksum.is_none() || self.capabilities.tx_checksum);
        sent.push_back(Wire { bytes, segment_size, partial: frame.checksum.is_some() });
        Ok(())
    }
}

pub const PLAIN: Capabilities = Capabilities { tx_checksum: false, tso4_max: 0, max_fragments: 64 };
pub const OFFLOAD: Capabilities = Capabilities { tx_checksum: true, tso4_max: 65535, max_fragments: 64 };

/// Collects what it is told.
#[derive(Default, Clone)]
pub struct Told(pub Arc<AtomicU32>);

impl Told {
    pub fn take(&self) -> Readiness {
        Readiness::from_bits(self.0.swap(0, Ordering::Relaxed))
    }
}

impl Events for Told {
    fn notify(&self, new: Readiness) {
        self.0.fetch_or(new.bits(), Ordering::Relaxed);
    }
}

pub type TestStack = Stack<TestDevice, Told>;
pub type TestTcp = Tcp<TestDevice, Told>;

pub fn rx(wire: &Wire) -> RxFrame<Memory> {
    let checksum = if wire.partial { RxChecksum::Partial } else { RxChecksum::Unknown };
    // Like merged receive buffers: pieces of 2 KiB, of which the first has room in front.
    let mut chunks = Vec::new();
    let mut rest = &wire.bytes[..];
    let mut room = 12;
    while !rest.is_empty() || chunks.is_empty() {
        let take = rest.len().min(BUFFER - room);
        let mut data = vec![0; BUFFER];
        data[room..room + take].copy_from_slice(&rest[..take]);
        chunks.push(Chunk::new(Memory(Arc::new(data)), room, take).unwrap());
        rest = &rest[take..];
        room = 0;
    }
    let rest = chunks.split_off(1);
    RxFrame { head: chunks.pop().unwrap(), rest, checksum, segment_size: wire.segment_size }
}

pub fn stack(host: u8, capabilities: Capabilities, limits: Limits) -> TestStack {
    let device = TestDevice {
        mac: [2, 0, 0, 0, 0, host],
        mtu: 1500,
        capabilities,
        sent: Mutex::new(VecDeque::new()),
        room: AtomicUsize::new(usize::MAX),
        buffers: AtomicUsize::new(usize::MAX / 2),
    };
    let mut config = Config::new([host.into(), 2, 3, 4]);
    config.limits = limits;
    let stack = Stack::new(device, config).unwrap();
    stack.set_ipv4(0, Some(Ipv4Config { address: ip(host), prefix_len: 24, gateway: None }));
    stack
}

pub fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host)
}

pub fn at(host: u8, port: u16) -> Endpoint {
    SocketAddrV4::new(ip(host), port).into()
}

/// A host's address of the link in IPv6, made of its Ethernet address.
pub fn ip6(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, host.into())
}

pub fn at6(host: u8, port: u16) -> Endpoint {
    Endpoint::new(ip6(host).into(), port)
}

/// What the link does to frames, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub lose: u32,
    pub repeat: u32,
    pub corrupt: u32,
    /// How often memory is low while a frame is received; for the whole process, so for a test that runs alone.
    pub low: u32,
    /// Fixed delay, and up to so much more at random (which reorders), ns.
    pub delay: u64,
    pub jitter: u64,
}

pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next() % n }
    }
    pub fn chance(&mut self, thousandths: u32) -> bool {
        self.below(1000) < thousandths.into()
    }
}

pub struct Net {
    pub hosts: [TestStack; 2],
    pub now: u64,
    pub rng: Rng,
    pub weather: Weather,
    flying: BinaryHeap<Reverse<(u64, u64, usize)>>,
    frames: Vec<Option<Wire>>,
    serial: u64,
    /// Frames that were put on the link.
    pub carried: usize,
    pub log: bool,
    /// Connections are made over IPv6.
    pub v6: bool,
}

impl Net {
    pub fn new(seed: u64, capabilities: Capabilities, weather: Weather) -> Net {
        Self::with_limits(seed, capabilities, weather, Limits::default())
    }

    pub fn with_limits(seed: u64, capabilities: Capabilities, weather: Weather, limits: Limits) -> Net {
        Net {
            hosts: [stack(1, capabilities, limits), stack(2, capabilities, limits)],
            now: 1000 * SECOND,
            rng: Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            weather,
            flying: BinaryHeap::new(),
            frames: Vec::new(),
            serial: 0,
            carried: 0,
            log: std::env::var_os("NET_LOG").is_some(),
            v6: false,
        }
    }

    /// The same over IPv6, with addresses that are in use.
    pub fn over_ipv6(seed: u64, capabilities: Capabilities, weather: Weather) -> Net {
        let mut net = Self::new(seed, capabilities, Weather::default());
        net.hosts.iter().for_each(|host| host.start_ipv6(net.now, None));
        net.run(20 * SECOND);
        net.weather = weather;
        net.v6 = true;
        net
    }

    /// Where host 1 listens.
    fn server(&self, port: u16) -> Endpoint {
        if self.v6 { at6(2, port) } else { at(2, port) }
    }

    /// Puts what the hosts have sent on the link.
    fn collect(&mut self) {
        for host in 0..2 {
            let sent: Vec<Wire> = self.hosts[host].device().sent.lock().unwrap().drain(..).collect();
            for mut wire in sent {
                self.carried += 1;
                if self.log {
                    log(self.now, host, &wire);
                }
                if self.rng.chance(self.weather.lose) {
                    continue;
                }
                let copies = 1 + usize::from(self.rng.chance(self.weather.repeat));
                // Only what is protected by a checksum may be corrupted.
                if !wire.partial && wire.bytes.len() > 14 && self.rng.chance(self.weather.corrupt) {
                    let place = 14 + self.rng.below(wire.bytes.len() as u64 - 14) as usize;
                    wire.bytes[place] ^= 1 << self.rng.below(8);
                }
                for _ in 0..copies {
                    let when = self.now + self.weather.delay + self.rng.below(self.weather.jitter);
                    self.serial += 1;
                    self.flying.push(Reverse((when, self.serial, self.frames.len() * 2 + (1 - host))));
                    self.frames.push(Some(wire.clone()));
                }
            }
        }
    }

    /// Carries frames and runs timers until something happens at a later time than now, or nothing can happen.
    /// Gives whether anything happened.
    pub fn step(&mut self, limit: u64) -> bool {
        self.collect();
        let frame = self.flying.peek().map(|Reverse((when, ..))| *when);
        let timer = self.hosts.iter().filter_map(|h| h.next_deadline()).min();
        let Some(next) = frame.into_iter().chain(timer).min().filter(|next| *next <= limit) else {
            self.now = self.now.max(limit);
            return false;
        };
        self.now = self.now.max(next);
        while let Some(Reverse((when, _, place))) = self.flying.peek().copied()
            && when <= self.now
        {
            self.flying.pop();
            let wire = self.frames[place / 2].take().unwrap();
            let is_low = self.weather.low > 0 && self.rng.chance(self.weather.low);
            if is_low {
                coracle_fallible::set_low(true);
            }
            self.hosts[place % 2].receive(self.now, rx(&wire));
            if is_low {
                coracle_fallible::set_low(false);
            }
        }
        if self.flying.is_empty() {
            self.frames.clear();
        }
        for host in &self.hosts {
            host.poll(self.now);
        }
        true
    }

    /// Lets `time` pass.
    pub fn run(&mut self, time: u64) {
        let end = self.now + time;
        while self.step(end) {}
    }

    /// Connects host 0 to a listener on host 1; gives both ends and the listener.
    pub fn connect(&mut self, port: u16) -> (TestTcp, TestTcp, TestTcp) {
        let listener = self.listen(port, 16);
        let client = self.hosts[0].tcp_socket(Told::default()).unwrap();
        assert_eq!(self.hosts[0].tcp_connect(&client, self.now, self.server(port)), Ok(()));
        for _ in 0..10_000 {
            if let Ok(server) = self.hosts[1].tcp_accept(&listener, self.now, Told::default) {
                return (client, server, listener);
            }
            self.step(u64::MAX);
        }
        panic!("no connection");
    }

    pub fn listen(&mut self, port: u16, backlog: usize) -> TestTcp {
        let listener = self.hosts[1].tcp_socket(Told::default()).unwrap();
        let any = if self.v6 { Address::ANY_V6 } else { Address::ANY_V4 };
        let family = if self.v6 { Family::Dual } else { Family::V4 };
        self.hosts[1].tcp_set_options(&listener, self.now, |options| options.family = family);
        self.hosts[1].tcp_bind(&listener, Endpoint::new(any, port)).unwrap();
        self.hosts[1].tcp_listen(&listener, self.now, backlog).unwrap();
        listener
    }

    pub fn send(&self, host: usize, socket: &TestTcp, bytes: &[u8]) -> Result<usize> {
        let mut done = 0;
        self.hosts[host].tcp_send(socket, self.now, bytes.len(), false, |room| {
            room.copy_from_slice(&bytes[done..done + room.len()]);
            done += room.len();
            room.len()
        })
    }

    pub fn recv(&self, host: usize, socket: &TestTcp, len: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let got = self.hosts[host].tcp_recv(
            socket,
            || self.now,
            len,
            false,
            |part| {
                bytes.extend_from_slice(part);
                part.len()
            },
        )?;
        assert_eq!(got, bytes.len());
        Ok(bytes)
    }
}

/// The byte at a place of the test stream.
pub fn byte(stream: u64, place: usize) -> u8 {
    let x = (place as u64).wrapping_mul(0x9e37_79b9).wrapping_add(stream * 77);
    (x ^ (x >> 11) ^ (x >> 23)) as u8
}

fn log(now: u64, host: usize, wire: &Wire) {
    let b = &wire.bytes;
    if b.len() >= 54 && b[23] == 6 {
        let n = |at: usize| u32::from_be_bytes(b[at..at + 4].try_into().unwrap());
        let header = usize::from(b[46] >> 4) * 4;
        println!(
            "{:>12.3} {} seq {} ack {} flags {:02x} win {} len {}",
            now as f64 / 1e6,
            if host == 0 { "->" } else { "<-" },
            n(38),
            n(42),
            b[47],
            u16::from_be_bytes([b[48], b[49]]),
            b.len() - 34 - header
        );
    } else {
        println!("{:>12.3} {} {} bytes", now as f64 / 1e6, if host == 0 { "->" } else { "<-" }, b.len());
    }
}

/// Sends `total` bytes each way at once, reading in odd amounts; gives the time it took.
pub fn transfer(net: &mut Net, total: usize) -> u64 {
    let (client, server, _listener) = net.connect(80);
    let start = net.now;
    let sockets = [client, server];
    let mut sent = [0usize; 2];
    let mut got = [0usize; 2];
    let mut closed = [false; 2];
    let mut ended = [false; 2];
    for _ in 0..4_000_000 {
        for host in 0..2 {
            while sent[host] < total {
                let want = (1 + net.rng.below(20_000) as usize).min(total - sent[host]);
                let bytes: Vec<u8> = (sent[host]..sent[host] + want).map(|i| byte(host as u64, i)).collect();
                match net.send(host, &sockets[host], &bytes) {
                    Ok(n) => sent[host] += n,
                    Err(Error::WouldBlock) => break,
                    Err(error) => panic!("send: {error}"),
                }
            }
            if sent[host] == total && !closed[host] {
                closed[host] = true;
                net.hosts[host].tcp_shutdown(&sockets[host], net.now, Shutdown::Write).unwrap();
            }
            loop {
                let want = 1 + net.rng.below(30_000) as usize;
                match net.recv(host, &sockets[host], want) {
                    Ok(bytes) if bytes.is_empty() => {
                        ended[host] = true;
                        break;
                    }
                    Ok(bytes) => {
                        for b in bytes {
                            assert_eq!(b, byte(1 - host as u64, got[host]), "host {host} at {}", got[host]);
                            got[host] += 1;
                        }
                    }
                    Err(Error::WouldBlock) => break,
                    Err(error) => panic!("recv: {error} after {} of {total}", got[host]),
                }
            }
        }
        if ended == [true; 2] {
            assert_eq!(got, [total; 2]);
            let took = net.now - start;
            net.run(200 * SECOND);
            for (host, socket) in sockets.iter().enumerate() {
                net.hosts[host].tcp_close(socket, net.now);
                assert_eq!(socket.info().state, State::Closed);
            }
            return took;
        }
        assert!(
            net.step(u64::MAX),
            "stalled: sent {sent:?} got {got:?} {:#?} {:#?}",
            sockets[0].info(),
            sockets[1].info()
        );
    }
    panic!("no end: sent {sent:?} got {got:?}");
}
