//! Sockets: of AF_UNIX, and of AF_INET over the loopback interface.
use coracle_kernel_tests::abi;
use coracle_kernel_tests::errno::{EADDRINUSE, ECONNREFUSED, EPIPE};
use coracle_kernel_tests::files::{self, close, pipe};
use coracle_kernel_tests::threads::{Thread, spawn, until_asleep};
use coracle_kernel_tests::{load_u32, net, run, sys};

fn socket(family: u32, kind: u32) -> usize {
    sys::call(abi::__NR_socket, &[family as usize, kind as usize, 0]).expect("a socket is made")
}

fn pair(kind: u32) -> (usize, usize) {
    let at = sys::memory(8);
    sys::call(abi::__NR_socketpair, &[net::AF_UNIX as usize, kind as usize, 0, at]).expect("a pair is made");
    (load_u32(at) as usize, load_u32(at + 4) as usize)
}

/// `struct sockaddr_un`: its address and its length.
fn unix(path: &str) -> (usize, usize) {
    let bytes = [&(net::AF_UNIX as u16).to_le_bytes(), path.as_bytes(), b"\0"].concat();
    (sys::put(&bytes), bytes.len())
}

/// `struct sockaddr_in` of 127.0.0.1: its address and its length.
fn loopback(port: u16) -> (usize, usize) {
    let bytes =
        [&(net::AF_INET as u16).to_le_bytes()[..], &port.to_be_bytes(), &[127, 0, 0, 1], &[0; 8]].concat();
    (sys::put(&bytes), bytes.len())
}

fn bind(socket: usize, (at, len): (usize, usize)) -> Result<usize, u32> {
    sys::call(abi::__NR_bind, &[socket, at, len])
}

fn connect(socket: usize, (at, len): (usize, usize)) -> Result<usize, u32> {
    sys::call(abi::__NR_connect, &[socket, at, len])
}

fn listen(socket: usize) {
    sys::call(abi::__NR_listen, &[socket, 8]).expect("a socket listens");
}

fn accept(socket: usize) -> usize {
    sys::call(abi::__NR_accept, &[socket, 0, 0]).expect("a connection is accepted")
}

/// Reads `len` bytes.
fn read_all(socket: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let piece = files::read(socket, len - bytes.len()).expect("a socket is read");
        assert!(!piece.is_empty());
        bytes.extend(piece);
    }
    bytes
}

/// A server that sends back what each of some clients sends, and the clients.
fn echo(server: usize, connect: impl Fn() -> usize + Copy + Send + 'static) {
    const CLIENTS: u8 = 3;
    const LEN: usize = 30_000;
    let serving = spawn(move || {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let connection = accept(server);
                spawn(move || {
                    while let Ok(bytes) = files::read(connection, 4000)
                        && !bytes.is_empty()
                    {
                        assert_eq!(files::write(connection, &bytes), Ok(bytes.len()));
                    }
                    close(connection);
                })
            })
            .collect();
        threads.into_iter().for_each(Thread::join);
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            spawn(move || {
                let connection = connect();
                let sender = spawn(move || assert_eq!(files::write(connection, &[number; LEN]), Ok(LEN)));
                assert!(read_all(connection, LEN).iter().all(|&byte| byte == number));
                sender.join();
                close(connection);
            })
        })
        .collect();
    clients.into_iter().for_each(Thread::join);
    serving.join();
}

#[test]
fn streams_of_a_path_echo() {
    run(|| {
        let server = socket(net::AF_UNIX, net::SOCK_STREAM);
        bind(server, unix("/tmp/echo")).expect("a socket is bound");
        assert_eq!(bind(socket(net::AF_UNIX, net::SOCK_STREAM), unix("/tmp/echo")), Err(EADDRINUSE));
        listen(server);
        echo(server, || {
            let client = socket(net::AF_UNIX, net::SOCK_STREAM);
            connect(client, unix("/tmp/echo")).expect("a socket is connected");
            client
        });
        close(server);
        assert_eq!(connect(socket(net::AF_UNIX, net::SOCK_STREAM), unix("/tmp/echo")), Err(ECONNREFUSED));
    });
}

#[test]
fn a_pair_keeps_packets_apart() {
    run(|| {
        for kind in [net::SOCK_DGRAM, net::SOCK_SEQPACKET] {
            let (a, b) = pair(kind);
            for len in [1, 100, 5000] {
                assert_eq!(files::write(a, &vec![7; len]), Ok(len));
            }
            assert_eq!(files::read(b, 9000).map(|bytes| bytes.len()), Ok(1));
            assert_eq!(files::read(b, 10).map(|bytes| bytes.len()), Ok(10));
            assert_eq!(files::read(b, 9000).map(|bytes| bytes.len()), Ok(5000));
        }
        let (a, b) = pair(net::SOCK_STREAM);
        files::ignore(abi::SIGPIPE);
        close(b);
        assert_eq!(files::write(a, b"x"), Err(EPIPE));
        assert_eq!(files::read(a, 1), Ok(Vec::new()));
    });
}

/// `struct msghdr` with one byte and room for, or with, a descriptor: SCM_RIGHTS.
fn message(control: usize) -> usize {
    /// Bytes of a header of control data, and of one descriptor, as they lie in memory.
    const CONTROL: u64 = 24;
    let bytes = sys::put(b"d");
    let pieces = sys::words(&[bytes as u64, 1]);
    sys::words(&[0, 0, pieces as u64, 1, control as u64, CONTROL, 0])
}

#[test]
fn a_descriptor_is_sent() {
    run(|| {
        /// A header of control data: its length, and SOL_SOCKET with SCM_RIGHTS.
        const HEADER: [u64; 2] = [20, (1 << 32) | 1];
        let (a, b) = pair(net::SOCK_STREAM);
        let (reader, writer) = pipe(0);
        let receiver = spawn(move || {
            let control = sys::memory(24);
            assert_eq!(sys::call(abi::__NR_recvmsg, &[b, message(control), 0]), Ok(1));
            let sent = load_u32(control + 16) as usize;
            assert_eq!(files::write(sent, b"through"), Ok(7));
            close(sent);
        });
        until_asleep(receiver.tid);
        let control = sys::words(&[HEADER[0], HEADER[1], writer as u64]);
        assert_eq!(sys::call(abi::__NR_sendmsg, &[a, message(control), 0]), Ok(1));
        close(writer);
        receiver.join();
        assert_eq!(files::read(reader, 16), Ok(b"through".to_vec()));
        assert_eq!(files::read(reader, 16), Ok(Vec::new()));
    });
}

#[test]
fn tcp_streams_echo() {
    run(|| {
        const PORT: u16 = 7000;
        assert_eq!(connect(socket(net::AF_INET, net::SOCK_STREAM), loopback(PORT)), Err(ECONNREFUSED));
        let server = socket(net::AF_INET, net::SOCK_STREAM);
        bind(server, loopback(PORT)).expect("a socket is bound");
        listen(server);
        echo(server, || {
            let client = socket(net::AF_INET, net::SOCK_STREAM);
            connect(client, loopback(PORT)).expect("a socket is connected");
            client
        });
    });
}

#[test]
fn udp_datagrams_arrive() {
    run(|| {
        const PORT: u16 = 7001;
        let server = socket(net::AF_INET, net::SOCK_DGRAM);
        bind(server, loopback(PORT)).expect("a socket is bound");
        let receiver = spawn(move || {
            for len in 1..50 {
                assert_eq!(files::read(server, 100), Ok(vec![len as u8; len]));
            }
        });
        until_asleep(receiver.tid);
        let client = socket(net::AF_INET, net::SOCK_DGRAM);
        connect(client, loopback(PORT)).expect("a socket is connected");
        (1..50).for_each(|len| assert_eq!(files::write(client, &vec![len as u8; len]), Ok(len)));
        receiver.join();
    });
}
