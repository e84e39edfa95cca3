//! Sockets of AF_VSOCK, and what a peer can do to them that follows no rule.
use coracle_hal::io::dma::PacketBuffer;
use coracle_kernel_tests::abi;
use coracle_kernel_tests::files::{self, close};
use coracle_kernel_tests::{load_u32, net, run, sys};
use coracle_net::vsock::{Link, packet};
use coracle_virtio::device::vsock::{Address, HEADER_BYTES, Header};

const ANY: u32 = u32::MAX;
const LOCAL: u32 = 1;
/// Bytes that a socket keeps.
const CAPACITY: usize = 256 << 10;

/// `struct sockaddr_vm`: its address and its length.
fn place(cid: u32, port: u32) -> (usize, usize) {
    let bytes = [&net::AF_VSOCK.to_le_bytes()[..], &port.to_le_bytes(), &cid.to_le_bytes(), &[0; 4]];
    (sys::put(&bytes.concat()), 16)
}

fn socket(kind: u32) -> usize {
    sys::call(abi::__NR_socket, &[net::AF_VSOCK as usize, kind as usize, 0]).expect("a socket is made")
}

fn port_of(socket: usize) -> u32 {
    let (at, len) = (sys::memory(16), sys::put(&16_u32.to_le_bytes()));
    sys::call(abi::__NR_getsockname, &[socket, at, len]).expect("it has a name");
    load_u32(at + 4)
}

/// A listener, two ends of a connection that it took, and their ports.
struct Ends {
    listener: usize,
    client: usize,
    server: usize,
    ports: [u32; 2],
}

fn ends(kind: u32) -> Ends {
    let listener = socket(kind);
    let (at, len) = place(ANY, ANY);
    sys::call(abi::__NR_bind, &[listener, at, len]).expect("it is bound");
    sys::call(abi::__NR_listen, &[listener, 4]).expect("it listens");
    let client = socket(kind);
    let (at, len) = place(LOCAL, port_of(listener));
    sys::call(abi::__NR_connect, &[client, at, len]).expect("it connects");
    let server = sys::call(abi::__NR_accept, &[listener, 0, 0]).expect("it is accepted");
    Ends { listener, client, server, ports: [port_of(client), port_of(listener)] }
}

/// Numbers that are the same on each run (Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.next() as usize % all.len()]
    }
}

/// A packet as nothing well-behaved sends it, near what the sockets of these ports take.
fn wild(numbers: &mut Numbers, ports: [u32; 2], buffer: &mut PacketBuffer) -> usize {
    let any = numbers.next();
    let end = |numbers: &mut Numbers| Address {
        cid: numbers.one_of(&[LOCAL, LOCAL, LOCAL, LOCAL, 2, ANY, any]),
        port: numbers.one_of(&[ports[0], ports[0], ports[1], ports[1], any]),
    };
    let (source, destination) = (end(numbers), end(numbers));
    let len = numbers.one_of(&[0, 1, 100, 2004, 2005, any]);
    let header = Header {
        source,
        destination,
        len,
        kind: numbers.one_of(&[1, 1, 2, 2, any as u16]),
        operation: numbers.one_of(&[0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 6, 7, 8, any as u16]),
        flags: numbers.one_of(&[0, 1, 2, 3, any]),
        buf_alloc: numbers.one_of(&[0, 1, 1 << 16, 1 << 18, any, u32::MAX]),
        fwd_cnt: numbers.one_of(&[0, 1, 1 << 16, any]),
    };
    buffer.as_mut_slice()[..HEADER_BYTES].copy_from_slice(&header.encode());
    let whole = (HEADER_BYTES + len as usize).min(PacketBuffer::SIZE);
    numbers.one_of(&[whole, whole, whole, whole, 0, HEADER_BYTES - 1, PacketBuffer::SIZE])
}

#[test]
fn wild_packets_do_no_harm() {
    run(|| {
        const DONTWAIT: usize = net::MSG_DONTWAIT as usize;
        files::ignore(abi::SIGPIPE);
        let at = sys::memory(CAPACITY);
        for seed in 0..60 {
            let mut numbers = Numbers(seed);
            let kind = if seed % 2 == 0 { net::SOCK_STREAM } else { net::SOCK_SEQPACKET };
            let (victims, others) = (ends(kind), ends(kind));
            for _ in 0..1000 {
                let mut buffer = PacketBuffer::alloc().expect("there is memory");
                let len = wild(&mut numbers, victims.ports, &mut buffer);
                packet(Link::Loopback, &mut buffer, len);
                let victim = numbers.one_of(&[victims.client, victims.server]);
                match numbers.next() % 40 {
                    0 => drop(sys::call(abi::__NR_sendto, &[victim, at, 5000, DONTWAIT, 0, 0])),
                    1 | 2 => {
                        let got = sys::call(abi::__NR_recvfrom, &[victim, at, CAPACITY, DONTWAIT, 0, 0]);
                        assert!(got.is_ok_and(|len| len <= CAPACITY) || got.is_err());
                    }
                    3 => {
                        let waiting = sys::memory(4);
                        sys::call(abi::__NR_ioctl, &[victim, 0x541b, waiting]).expect("FIONREAD is known");
                        assert!(load_u32(waiting) as usize <= CAPACITY);
                        sys::free(waiting, 4);
                    }
                    _ => {}
                }
            }
            // A connection beside them is as it was.
            let text = [seed as u8; 3000];
            assert_eq!(files::write(others.client, &text), Ok(text.len()));
            assert_eq!(files::read(others.server, 4000).as_deref(), Ok(&text[..]));
            for ends in [victims, others] {
                [ends.client, ends.server, ends.listener].into_iter().for_each(close);
            }
        }
    });
}

#[test]
fn packets_of_messages_are_put_together() {
    run(|| {
        let ends = ends(net::SOCK_SEQPACKET);
        for len in [1, 2004, 2005, 70_000] {
            let text: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
            assert_eq!(files::write(ends.client, &text), Ok(len));
            assert_eq!(files::write(ends.client, b"next"), Ok(4));
            assert_eq!(files::read(ends.server, CAPACITY), Ok(text));
            assert_eq!(files::read(ends.server, CAPACITY).as_deref(), Ok(&b"next"[..]));
        }
        [ends.client, ends.server, ends.listener].into_iter().for_each(close);
    });
}
