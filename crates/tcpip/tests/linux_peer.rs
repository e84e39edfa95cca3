//! The engine talks to the host's own Linux, over a tap device in a network namespace of its own.
//!
//! Needs root, /dev/net/tun and iproute2: run by `cargo test -p coracle-tcpip --test linux_peer -- --ignored`.
//! Where they are missing it says so and passes.

mod common;

use common::{PLAIN, Rng, Told, byte, ip, rx, stack};
use coracle_tcpip::{Error, Limits, Readiness, Shutdown, Way};
use smoltcp::phy::{Device, Medium, RxToken, TunTapInterface, TxToken};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const INSIDE: &str = "CORACLE_TAP_TEST";
const TOTAL: usize = 6_000_000;

fn run(command: &str) -> bool {
    let mut words = command.split(' ');
    let status = Command::new(words.next().expect("a command")).args(words).status();
    status.is_ok_and(|status| status.success())
}

/// Runs this test again in a network namespace of its own; `true` there.
fn enter(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        let ready = run("ip tuntap add dev tap0 mode tap")
            && run("ip addr add 10.0.0.2/24 dev tap0")
            && run("ip link set tap0 up");
        assert!(ready, "the tap device could not be set up");
        return true;
    }
    if !std::path::Path::new("/dev/net/tun").exists() || !run("unshare -n true") {
        eprintln!("skipped: needs root and /dev/net/tun");
        return false;
    }
    let status = Command::new("unshare")
        .arg("-n")
        .arg(std::env::current_exe().expect("our own path"))
        .args(["--ignored", "--exact", "--nocapture", test])
        .env(INSIDE, "1")
        .status();
    assert!(status.expect("unshare").success());
    false
}

struct Engine {
    stack: common::TestStack,
    tap: TunTapInterface,
    start: Instant,
    /// Frames lost each way, thousandths.
    lose: u32,
    rng: Rng,
}

impl Engine {
    fn new(lose: u32) -> Engine {
        let tap = TunTapInterface::new("tap0", Medium::Ethernet).expect("the tap device");
        Engine { stack: stack(1, PLAIN, Limits::default()), tap, start: Instant::now(), lose, rng: Rng(77) }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64 + common::SECOND
    }

    /// Carries frames and runs timers once; waits a little if there is nothing to do.
    fn turn(&mut self) {
        let mut idle = true;
        while let Some((received, _)) = self.tap.receive(smoltcp::time::Instant::ZERO) {
            let bytes = received.consume(<[u8]>::to_vec);
            idle = false;
            if self.rng.chance(self.lose) {
                continue;
            }
            self.stack.receive(self.now(), rx(&common::Wire { bytes, segment_size: 0, partial: false }));
        }
        self.stack.poll(self.now());
        let sent: Vec<_> = self.stack.device().sent.lock().unwrap().drain(..).collect();
        for wire in sent {
            if self.rng.chance(self.lose) {
                continue;
            }
            if let Some(token) = self.tap.transmit(smoltcp::time::Instant::ZERO) {
                token.consume(wire.bytes.len(), |place| place.copy_from_slice(&wire.bytes));
            }
            idle = false;
        }
        if idle {
            let _ = smoltcp::phy::wait(self.tap.as_raw_fd(), Some(smoltcp::time::Duration::from_millis(1)));
        }
    }

    /// Sends stream 0 and receives stream 1 on a connection, to the end of both.
    fn exchange(&mut self, socket: &common::TestTcp) {
        let (mut sent, mut got, mut ended) = (0, 0, false);
        let mut shut = false;
        while !(ended && shut) {
            assert!(self.start.elapsed() < Duration::from_secs(60), "{sent} {got} {:?}", socket.info());
            self.turn();
            let now = self.now();
            while sent < TOTAL {
                let mut done = 0;
                let from = sent;
                let result = self.stack.tcp_send(socket, now, (TOTAL - sent).min(50_000), false, |room| {
                    room.iter_mut().enumerate().for_each(|(i, b)| *b = byte(0, from + done + i));
                    done += room.len();
                    room.len()
                });
                match result {
                    Ok(n) => sent += n,
                    Err(Error::WouldBlock) => break,
                    Err(error) => panic!("send: {error}"),
                }
            }
            if sent == TOTAL && !shut {
                self.stack.tcp_shutdown(socket, now, Shutdown::Write).unwrap();
                shut = true;
            }
            loop {
                let place = &mut got;
                let result = self.stack.tcp_recv(
                    socket,
                    || now,
                    100_000,
                    false,
                    |part| {
                        for b in part {
                            assert_eq!(*b, byte(1, *place));
                            *place += 1;
                        }
                        part.len()
                    },
                );
                match result {
                    Ok(0) => {
                        ended = true;
                        break;
                    }
                    Ok(_) => {}
                    Err(Error::WouldBlock) => break,
                    Err(error) => panic!("recv: {error}"),
                }
            }
        }
        assert_eq!(got, TOTAL);
    }
}

/// Linux's side of `exchange`.
fn linux_exchange(stream: TcpStream) {
    let mut writer = stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let bytes: Vec<u8> = (0..TOTAL).map(|i| byte(1, i)).collect();
        writer.write_all(&bytes).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut got = 0;
    let mut buffer = vec![0; 100_000];
    let mut reader = stream;
    loop {
        let n = reader.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        for b in &buffer[..n] {
            assert_eq!(*b, byte(0, got));
            got += 1;
        }
    }
    assert_eq!(got, TOTAL);
    sender.join().unwrap();
}

fn both_ways(lose: u32) {
    let mut engine = Engine::new(lose);
    // Linux connects to us.
    let listener = engine.stack.tcp_socket(Told::default()).unwrap();
    let now = engine.now();
    engine.stack.tcp_bind(&listener, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80)).unwrap();
    engine.stack.tcp_listen(&listener, now, 16).unwrap();
    let linux = thread::spawn(|| linux_exchange(TcpStream::connect((ip(1), 80)).unwrap()));
    let server = loop {
        engine.turn();
        if let Ok(server) = engine.stack.tcp_accept(&listener, engine.now(), Told::default) {
            break server;
        }
    };
    let info = server.info();
    assert!(info.sack && info.timestamps && info.window_scale.0 > 0, "{info:?}");
    engine.exchange(&server);
    while !linux.is_finished() {
        engine.turn();
    }
    linux.join().unwrap();
    engine.stack.tcp_close(&server, engine.now());
    eprintln!("Linux to us: {:.1} s", engine.start.elapsed().as_secs_f64());
    // We connect to Linux.
    let linux_listener = TcpListener::bind((ip(2), 81)).unwrap();
    let linux = thread::spawn(move || linux_exchange(linux_listener.accept().unwrap().0));
    let client = engine.stack.tcp_socket(Told::default()).unwrap();
    let now = engine.now();
    assert_eq!(engine.stack.tcp_connect(&client, now, SocketAddrV4::new(ip(2), 81)), Ok(()));
    while !client.readiness().contains(Readiness::WRITABLE) {
        engine.turn();
    }
    assert_eq!(client.take_error(), None);
    engine.exchange(&client);
    while !linux.is_finished() {
        engine.turn();
    }
    linux.join().unwrap();
    eprintln!("both: {:.1} s", engine.start.elapsed().as_secs_f64());
}

#[test]
#[ignore = "needs root and /dev/net/tun"]
fn clean_link() {
    if enter("clean_link") {
        both_ways(0);
    }
}

#[test]
#[ignore = "needs root and /dev/net/tun"]
fn bad_link() {
    if enter("bad_link") {
        both_ways(20);
    }
}

#[test]
#[ignore = "needs root and /dev/net/tun"]
fn small_things() {
    if !enter("small_things") {
        return;
    }
    let mut engine = Engine::new(0);
    // UDP and its errors, both ways.
    let ours = engine.stack.udp_socket(false, Told::default()).unwrap();
    engine.stack.udp_bind(&ours, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 53)).unwrap();
    let linux = thread::spawn(|| {
        let socket = UdpSocket::bind((ip(2), 0)).unwrap();
        socket.connect((ip(1), 53)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        for len in [1, 1000, 1472, 1473, 9000, 60_000] {
            let bytes: Vec<u8> = (0..len).map(|i| byte(4, i)).collect();
            socket.send(&bytes).unwrap();
            let mut back = vec![0; 70_000];
            let n = socket.recv(&mut back).unwrap();
            assert_eq!(back[..n], bytes[..]);
        }
        socket.connect((ip(1), 54)).unwrap();
        socket.send(b"nobody").unwrap();
        assert_eq!(socket.recv(&mut [0; 10]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(TcpStream::connect((ip(1), 82)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        Command::new("ping")
            .args(["-c", "2", "-i", "0.2", "-s", "4000", "10.0.0.1"])
            .status()
            .ok()
            .map(|s| s.success())
    });
    while !linux.is_finished() {
        engine.turn();
        let mut bytes = Vec::new();
        if let Ok(Some(datagram)) = engine.stack.udp_recv(&ours, false, |part| {
            bytes.extend_from_slice(part);
            part.len()
        }) {
            let mut done = 0;
            let way = Way { to: Some(datagram.from), ..Way::default() };
            let sent = engine.stack.udp_send(&ours, engine.now(), way, bytes.len(), |room| {
                room.copy_from_slice(&bytes[done..done + room.len()]);
                done += room.len();
                room.len()
            });
            assert_eq!(sent, Ok(bytes.len()));
        }
    }
    assert_ne!(linux.join().unwrap(), Some(false), "ping");
    let client = engine.stack.tcp_socket(Told::default()).unwrap();
    let _ = engine.stack.tcp_connect(&client, engine.now(), SocketAddrV4::new(ip(2), 9));
    while client.readiness().is_empty() {
        engine.turn();
    }
    assert_eq!(client.take_error(), Some(Error::ConnectionRefused));
}
