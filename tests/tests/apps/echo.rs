//! Echo servers over TCP (tokio, also over a bad link) and UDP.
use crate::{BOTH, Case, MANY, MANY_ON_USER_NETWORK, MEGABYTE, TAP, words};
use coracle_tests::apps::{Network, Running, Service};
use coracle_tests::load::{check, echo, is_timeout, many, probe_line, say};
use coracle_tests::{build, paths};
use std::net::UdpSocket;
use std::time::Duration;
use std::{io, thread};

pub const CASES: &[Case] = &[
    Case { name: "tokio_echo", service: tokio, probe: echo_probe, test: tokio_echo, networks: BOTH, cpus: 2 },
    Case {
        name: "tokio_lossy_link",
        service: tokio_lossy,
        probe: echo_probe,
        test: tokio_lossy_echo,
        networks: TAP,
        cpus: 1,
    },
    Case {
        name: "tokio_address_by_dhcp",
        service: || Ok(Service { dhcp: true, ..tokio()? }),
        probe: echo_probe,
        test: |running| echo(running, MEGABYTE),
        networks: TAP,
        cpus: 1,
    },
    Case { name: "udp_echo", service: udp, probe: udp_probe, test: udp_echo, networks: BOTH, cpus: 1 },
];

pub fn tokio() -> Result<Service, String> {
    Ok(Service {
        program: build::rust_binary("tokio_server")?,
        args: words("7000"),
        memory: "128M",
        port: 7000,
        ..Service::default()
    })
}

fn tokio_lossy() -> Result<Service, String> {
    Ok(Service { bad_link: true, ..tokio()? })
}

pub fn echo_probe(running: &Running) -> io::Result<()> {
    probe_line(running, b"probe", b"probe")
}

fn tokio_echo(running: &Running) -> Result<(), String> {
    echo(running, MEGABYTE)?;
    echo(running, 8 * MEGABYTE + 12345)?;
    let count = if running.network == Network::Tap { MANY } else { MANY_ON_USER_NETWORK };
    many(running, count, |i| {
        let data = format!("connection {i}").repeat(20).into_bytes();
        (data.clone(), data)
    })?;
    // Connections at the same moment are for the tap: QEMU's user network listens with a backlog of one, drops the
    // others' handshakes and resets them in the end.
    let at_once = if running.network == Network::Tap { 8 } else { 1 };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(|| echo(running, MEGABYTE))).collect();
        workers.into_iter().try_for_each(|w| w.join().expect("a worker does not panic"))
    })
}

fn tokio_lossy_echo(running: &Running) -> Result<(), String> {
    echo(running, 1000)?;
    echo(running, MEGABYTE)?;
    many(running, 50, |i| (format!("lossy {i}").into_bytes(), format!("lossy {i}").into_bytes()))
}

fn udp() -> Result<Service, String> {
    let source = paths::programs().join("servers/udp_echo.c");
    Ok(Service {
        program: build::c_server(&source)?,
        args: words("7007"),
        memory: "64M",
        port: 7007,
        udp: true,
        ..Service::default()
    })
}

fn udp_client(running: &Running, patience: Duration) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(running.address)?;
    socket.set_read_timeout(Some(patience))?;
    Ok(socket)
}

fn udp_probe(running: &Running) -> io::Result<()> {
    let socket = udp_client(running, Duration::from_millis(500))?;
    socket.send(b"probe")?;
    socket.recv(&mut [0; 16]).map(drop)
}

fn udp_echo(running: &Running) -> Result<(), String> {
    let socket = udp_client(running, Duration::from_secs(5)).map_err(say("a socket"))?;
    let mut buffer = [0; 2000];
    for length in [0, 1, 2, 17, 512, 1000, 1400, 1472] {
        let data = paths::pattern(length);
        // A datagram may be lost; three in a row are not.
        let mut answered = false;
        for _ in 0..3 {
            socket.send(&data).map_err(say("sending"))?;
            match socket.recv(&mut buffer) {
                Ok(n) => {
                    check(buffer[..n] == data, &format!("{length} bytes come back, but: {n}"))?;
                    answered = true;
                    break;
                }
                Err(e) if is_timeout(&e) => {}
                Err(e) => return Err(format!("receiving: {e}")),
            }
        }
        check(answered, &format!("a datagram of {length} bytes is answered"))?;
    }
    let clients: Vec<_> = (0..50)
        .map(|_| udp_client(running, Duration::from_secs(5)))
        .collect::<Result<_, _>>()
        .map_err(say("sockets"))?;
    for (i, client) in clients.iter().enumerate() {
        client.send(&i.to_le_bytes()).map_err(say("sending"))?;
        let n = client.recv(&mut buffer).map_err(say("receiving"))?;
        check(buffer[..n] == i.to_le_bytes(), "each client has its own answer")?;
    }
    Ok(())
}
