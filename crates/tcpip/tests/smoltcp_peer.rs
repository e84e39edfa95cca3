//! The engine talks to smoltcp's own TCP, over a link that loses and reorders.

mod common;

use common::*;
use coracle_tcpip::{Capabilities, Error, Limits, Shutdown};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Address};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

#[derive(Default)]
struct Queues {
    arrived: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Received(Vec<u8>);
struct Sender<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sender<'a>;
    fn receive(&mut self, _: Instant) -> Option<(Received, Sender<'_>)> {
        Some((Received(self.arrived.pop_front()?), Sender(&mut self.sent)))
    }
    fn transmit(&mut self, _: Instant) -> Option<Sender<'_>> {
        Some(Sender(&mut self.sent))
    }
    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.max_transmission_unit = 1514;
        capabilities.medium = Medium::Ethernet;
        capabilities
    }
}

/// When it arrives, its serial number, whether to us, the frame.
type Flight = (u64, u64, bool, Vec<u8>);

struct World {
    ours: TestStack,
    queues: Queues,
    interface: Interface,
    sockets: SocketSet<'static>,
    now: u64,
    rng: Rng,
    weather: Weather,
    flying: BinaryHeap<Reverse<Flight>>,
    serial: u64,
}

impl World {
    fn new(seed: u64, weather: Weather) -> (World, SocketHandle) {
        let capabilities = Capabilities { max_fragments: 3, ..PLAIN };
        let mut queues = Queues::default();
        let address = HardwareAddress::Ethernet(EthernetAddress([2, 0, 0, 0, 0, 2]));
        let mut config = Config::new(address);
        config.random_seed = seed;
        let now = 1000 * SECOND;
        let mut interface = Interface::new(config, &mut queues, instant(now));
        interface.update_ip_addrs(|a| a.push(IpCidr::new(IpAddress::v4(10, 0, 0, 2), 24)).unwrap());
        let buffer = || tcp::SocketBuffer::new(vec![0; 60_000]);
        let mut sockets = SocketSet::new(vec![]);
        let socket = sockets.add(tcp::Socket::new(buffer(), buffer()));
        let ours = stack(1, capabilities, Limits::default());
        let rng = Rng(seed * 99991 + 7);
        (
            World {
                ours,
                queues,
                interface,
                sockets,
                now,
                rng,
                weather,
                flying: BinaryHeap::new(),
                serial: 0,
            },
            socket,
        )
    }

    fn throw(&mut self, to_us: bool, frame: Vec<u8>) {
        if self.rng.chance(self.weather.lose) {
            return;
        }
        let when = self.now + self.weather.delay + self.rng.below(self.weather.jitter);
        self.serial += 1;
        self.flying.push(Reverse((when, self.serial, to_us, frame)));
    }

    fn step(&mut self) {
        self.interface.poll(instant(self.now), &mut self.queues, &mut self.sockets);
        self.ours.poll(self.now);
        for frame in std::mem::take(&mut self.queues.sent) {
            self.throw(true, frame);
        }
        let sent: Vec<Wire> = self.ours.device().sent.lock().unwrap().drain(..).collect();
        for wire in sent {
            self.throw(false, wire.bytes);
        }
        let theirs = self
            .interface
            .poll_at(instant(self.now), &self.sockets)
            .map(|at| at.total_micros() as u64 * 1000);
        let next = [theirs, self.ours.next_deadline(), self.flying.peek().map(|f| f.0.0)]
            .into_iter()
            .flatten()
            .min();
        self.now = self.now.max(next.expect("something must happen")) + 1000;
        while let Some(Reverse(flight)) = self.flying.peek()
            && flight.0 <= self.now
        {
            let Reverse((_, _, to_us, bytes)) = self.flying.pop().unwrap();
            if to_us {
                self.ours.receive(self.now, rx(&Wire { bytes, segment_size: 0, partial: false }));
            } else {
                self.queues.arrived.push_back(bytes);
            }
        }
        self.interface.poll(instant(self.now), &mut self.queues, &mut self.sockets);
    }
}

fn instant(now: u64) -> Instant {
    Instant::from_micros((now / 1000) as i64)
}

/// Both send `total` bytes and close; `we_connect` says who opens.
fn exchange(seed: u64, weather: Weather, total: usize, we_connect: bool) {
    let (mut world, handle) = World::new(seed, weather);
    let stream = |who: u64, from: usize, to: usize| (from..to).map(|i| byte(who, i)).collect::<Vec<u8>>();
    let (mut socket, mut listener) = (None, None);
    if we_connect {
        world.sockets.get_mut::<tcp::Socket>(handle).listen(80).unwrap();
        let client = world.ours.tcp_socket(Told::default()).unwrap();
        assert_eq!(world.ours.tcp_connect(&client, world.now, at(2, 80)), Ok(()));
        socket = Some(client);
    } else {
        let server = world.ours.tcp_socket(Told::default()).unwrap();
        world.ours.tcp_bind(&server, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80)).unwrap();
        world.ours.tcp_listen(&server, world.now, 5).unwrap();
        listener = Some(server);
        let peer = (Ipv4Address::new(10, 0, 0, 1), 80);
        world.sockets.get_mut::<tcp::Socket>(handle).connect(world.interface.context(), peer, 5555).unwrap();
    }
    let (mut sent, mut got, mut shut, mut ended) = ([0usize; 2], [0usize; 2], [false; 2], [false; 2]);
    for _ in 0..2_000_000 {
        if socket.is_none() {
            socket = world.ours.tcp_accept(listener.as_ref().unwrap(), world.now, Told::default).ok();
        }
        if let Some(ours) = &socket {
            if sent[0] < total {
                let bytes = stream(0, sent[0], (sent[0] + 5000).min(total));
                let mut done = 0;
                if let Ok(n) = world.ours.tcp_send(ours, world.now, bytes.len(), false, |room| {
                    room.copy_from_slice(&bytes[done..done + room.len()]);
                    done += room.len();
                    room.len()
                }) {
                    sent[0] += n;
                }
            } else if !shut[0] {
                shut[0] = world.ours.tcp_shutdown(ours, world.now, Shutdown::Write).is_ok();
            }
            let mut bytes = Vec::new();
            match world.ours.tcp_recv(
                ours,
                || world.now,
                100_000,
                false,
                |part| {
                    bytes.extend_from_slice(part);
                    part.len()
                },
            ) {
                Ok(0) => ended[0] = true,
                Ok(n) => {
                    assert_eq!(bytes, stream(1, got[0], got[0] + n));
                    got[0] += n;
                }
                Err(Error::WouldBlock) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let theirs = world.sockets.get_mut::<tcp::Socket>(handle);
        if theirs.can_send() && sent[1] < total {
            sent[1] += theirs.send_slice(&stream(1, sent[1], (sent[1] + 5000).min(total))).unwrap();
        }
        if sent[1] == total && !shut[1] {
            theirs.close();
            shut[1] = true;
        }
        if theirs.can_recv() {
            let bytes = theirs.recv(|b| (b.len(), b.to_vec())).unwrap();
            assert_eq!(bytes, stream(0, got[1], got[1] + bytes.len()));
            got[1] += bytes.len();
        }
        ended[1] |= got[1] == total && !theirs.may_recv();
        if ended == [true; 2] {
            assert_eq!(got, [total; 2]);
            return;
        }
        world.step();
    }
    panic!("seed {seed}: no end: sent {sent:?} got {got:?} {:?}", socket.map(|s| s.info()));
}

#[test]
fn clean_link() {
    let weather = Weather { delay: MS, ..Weather::default() };
    exchange(1, weather, 2_000_000, true);
    exchange(2, weather, 2_000_000, false);
}

#[test]
fn bad_link() {
    for seed in 1..12 {
        let weather = Weather { delay: 3 * MS, jitter: 4 * MS, lose: 30, ..Weather::default() };
        exchange(seed, weather, 100_000, seed % 2 == 0);
    }
}
