//! What the engine spends on a request and its reply: 60 bytes received and read, 1 KB sent, acknowledged by the next
//! request. The device and the client around it cost as little as possible.
//!
//! Instructions of the engine alone, per operation:
//! `valgrind --tool=callgrind --toggle-collect='*operation*' target/release/examples/request_response 100 1000`
//! (connections, operations on each, perhaps idle connections beside them) and divide by the product of the first two. Without valgrind it prints times.

use coracle_tcpip::*;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

const BUFFER: usize = 2048;
const REQUEST: usize = 60;
const REPLY: usize = 1024;
const ETHERNET_AND_IP: usize = 34;
const HEADERS: usize = 66;

/// Buffers that are free.
static POOL: Mutex<Vec<Arc<[u8; BUFFER]>>> = Mutex::new(Vec::new());

/// Packet memory from a pool, as a driver has it.
#[derive(Clone)]
struct Memory(Option<Arc<[u8; BUFFER]>>);

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(mut memory) = self.0.take()
            && Arc::get_mut(&mut memory).is_some()
            && let Ok(mut pool) = POOL.lock()
        {
            pool.push(memory);
        }
    }
}

impl Buffer for Memory {
    fn as_slice(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |all| &all[..])
    }
    fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        Arc::get_mut(self.0.as_mut()?).map(|all| &mut all[..])
    }
}

/// Keeps the headers of the last frame sent.
struct Device0 {
    last: Mutex<Vec<u8>>,
}

impl Device for Device0 {
    type Buf = Memory;
    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 1]
    }
    fn mtu(&self) -> usize {
        1500
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities { tx_checksum: true, tso4_max: 65535, max_fragments: 36 }
    }
    fn alloc(&self) -> Option<Memory> {
        Some(Memory(Some(POOL.lock().ok()?.pop().unwrap_or_else(|| Arc::new([0; BUFFER])))))
    }
    #[inline(never)]
    fn transmit(&self, frame: TxFrame<'_, Memory>) -> Result<(), Full> {
        let mut last = self.last.lock().map_err(|_| Full)?;
        last.clear();
        last.extend_from_slice(frame.headers);
        Ok(())
    }
}

#[derive(Default)]
struct Counter(AtomicU32);

impl Events for Counter {
    fn notify(&self, _: Readiness) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Engine = Stack<Device0, Counter>;

/// The client's end of a connection: enough TCP to keep the engine content.
struct Client {
    socket: Tcp<Device0, Counter>,
    port: u16,
    seq: u32,
    ack: u32,
    echo: u32,
}

/// A segment of the client's. `numbers`: its sequence and acknowledgement numbers, the timestamp it echoes.
fn segment(
    port: u16,
    numbers: (u32, u32, u32),
    flags: u8,
    options: &[u8],
    payload: usize,
    now: u64,
) -> Vec<u8> {
    let (seq, ack, echo) = numbers;
    let tcp = 20 + 12 + options.len();
    let mut f = vec![0; ETHERNET_AND_IP + tcp + payload];
    f[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    f[12] = 8;
    f[14] = 0x45;
    f[16..18].copy_from_slice(&((20 + tcp + payload) as u16).to_be_bytes());
    f[22] = 64;
    f[23] = 6;
    f[26..34].copy_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
    let mut sum: u32 = f[14..34].chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(c[1])).sum();
    sum = (sum & 0xffff) + (sum >> 16);
    f[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    f[34..36].copy_from_slice(&port.to_be_bytes());
    f[36..38].copy_from_slice(&80u16.to_be_bytes());
    f[38..42].copy_from_slice(&seq.to_be_bytes());
    f[42..46].copy_from_slice(&ack.to_be_bytes());
    f[46] = (tcp as u8 / 4) << 4;
    f[47] = flags;
    f[48..50].copy_from_slice(&0x4000u16.to_be_bytes());
    f[54..58].copy_from_slice(&[1, 1, 8, 10]);
    f[58..62].copy_from_slice(&((now >> 20) as u32).to_be_bytes());
    f[62..66].copy_from_slice(&echo.to_be_bytes());
    f[66..66 + options.len()].copy_from_slice(options);
    f
}

fn frame(device: &Device0, bytes: &[u8]) -> RxFrame<Memory> {
    let mut memory = device.alloc().expect("memory");
    memory.as_mut_slice().expect("nobody else holds it")[..bytes.len()].copy_from_slice(bytes);
    RxFrame::single(Chunk::new(memory, 0, bytes.len()).expect("it fits"), RxChecksum::Valid)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// What is measured: a request comes, the program reads it and replies.
#[inline(never)]
fn operation(engine: &Engine, socket: &Tcp<Device0, Counter>, now: u64, frame: RxFrame<Memory>) {
    engine.receive(now, frame);
    engine.poll(now);
    let got = engine.tcp_recv(socket, || now, 4096, false, |bytes| bytes.len());
    assert_eq!(got, Ok(REQUEST));
    let sent = engine.tcp_send(socket, now, REPLY, false, |room| room.len());
    assert_eq!(sent, Ok(REPLY));
}

fn connect(engine: &Engine, listener: &Tcp<Device0, Counter>, port: u16, now: u64) -> Client {
    let options = [2, 4, 5, 180, 4, 2, 1, 1, 3, 3, 7, 1]; // MSS 1460, SACK, scale 7
    let seq = 1000 + u32::from(port);
    engine.receive(now, frame(engine.device(), &segment(port, (seq, 0, 0), 2, &options, 0, now)));
    let answer = engine.device().last.lock().expect("lock").clone();
    let (ack, echo) = (number(&answer, 38).wrapping_add(1), number(&answer, 62));
    engine.receive(now, frame(engine.device(), &segment(port, (seq + 1, ack, echo), 16, &[], 0, now)));
    let socket = engine.tcp_accept(listener, now, Counter::default).expect("a connection");
    Client { socket, port, seq: seq + 1, ack, echo }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().expect("a number"));
    let connections = arguments.next().unwrap_or(100);
    let rounds = arguments.next().unwrap_or(10_000);
    let idle = arguments.next().unwrap_or(0);
    let device = Device0 { last: Mutex::default() };
    let engine = Engine::new(device, Config::new([1, 2, 3, 4])).unwrap();
    let mut now = 1_000_000_000_000;
    let own = Ipv4Addr::new(10, 0, 0, 1);
    engine.set_ipv4(now, Some(Ipv4Config { address: own, prefix_len: 24, gateway: None }));
    // The neighbour, as its ARP request tells.
    let mut arp = vec![255; 6];
    arp.extend([
        2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10,
        0, 0, 1,
    ]);
    engine.receive(now, frame(engine.device(), &arp));
    let listener = engine.tcp_socket(Counter::default()).unwrap();
    engine.tcp_bind(&listener, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80)).expect("bind");
    engine.tcp_listen(&listener, now, 4096).expect("listen");
    let mut clients: Vec<Client> =
        (0..connections + idle).map(|i| connect(&engine, &listener, 1024 + i as u16, now)).collect();
    let _idle = clients.split_off(connections);

    let start = Instant::now();
    for _ in 0..rounds {
        for client in &mut clients {
            now += 100_000; // 10,000 operations a second
            if now % 20_000_000_000 == 0 {
                engine.receive(now, frame(engine.device(), &arp));
            }
            let bytes = segment(client.port, (client.seq, client.ack, client.echo), 24, &[], REQUEST, now);
            let frame = frame(engine.device(), &bytes);
            client.seq = client.seq.wrapping_add(REQUEST as u32);
            client.ack = client.ack.wrapping_add(REPLY as u32);
            operation(&engine, &client.socket, now, frame);
            let last = engine.device().last.lock().expect("lock");
            assert_eq!(number(&last, 42), client.seq, "the reply acknowledges the request");
            assert_eq!(last.len(), HEADERS);
            client.echo = number(&last, 58);
        }
    }
    let operations = connections * rounds;
    println!(
        "{operations} operations, {:.0} ns each with the client's part",
        start.elapsed().as_nanos() as f64 / operations as f64
    );
}
