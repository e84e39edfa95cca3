//! What a machine on the network has to bear, and what it owes the others.
use crate::echo::{echo_probe, tokio};
use crate::{Case, MEGABYTE, TAP};
use coracle_tests::apps::Running;
use coracle_tests::load::{check, echo, say, tool};
use coracle_tests::paths;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;
use std::{io, thread};

/// How many connection requests a flood has.
const SYNS: &str = "5000";

pub const CASES: &[Case] = &[
    Case {
        name: "tokio_syn_flood",
        service: tokio,
        probe: echo_probe,
        test: syn_flood,
        networks: TAP,
        cpus: 1,
    },
    Case {
        name: "network_manners",
        service: tokio,
        probe: echo_probe,
        test: network_manners,
        networks: TAP,
        cpus: 1,
    },
];

/// Requests that nobody completes neither shut out real clients nor stay.
fn syn_flood(running: &Running) -> Result<(), String> {
    let mut old = running.connect().map_err(say("connecting before the flood"))?;
    let (host, port) = running.host_and_port();
    let script = paths::programs().join("servers/syn_flood.py");
    let mut flood = Command::new("python3");
    flood.arg(script).args([&host, &port, SYNS]);
    thread::scope(|scope| {
        let flooding = scope.spawn(|| tool(&mut flood).map(drop));
        for _ in 0..5 {
            old.write_all(b"still here").map_err(say("sending in the flood"))?;
            old.read_exact(&mut [0; 10]).map_err(say("reading in the flood"))?;
            echo(running, 10_000)?;
        }
        flooding.join().expect("the flood does not panic")
    })?;
    echo(running, MEGABYTE)
}

/// What a machine on the network owes the others.
fn network_manners(running: &Running) -> Result<(), String> {
    let host = running.address.ip().to_string();
    tool(Command::new("ping").args(["-c", "3", "-i", "0.2", "-W", "5", &host]))?;
    tool(Command::new("ping").args(["-c", "2", "-i", "0.2", "-W", "5", "-s", "1400", &host]))?;
    let closed = TcpStream::connect_timeout(&(running.address.ip(), 1).into(), Duration::from_secs(10));
    check(
        closed.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused),
        "a closed port refuses at once",
    )?;
    let udp = UdpSocket::bind("0.0.0.0:0").map_err(say("a socket"))?;
    udp.connect((running.address.ip(), 9)).map_err(say("connecting"))?;
    udp.set_read_timeout(Some(Duration::from_secs(5))).map_err(say("a limit"))?;
    udp.send(b"anybody?").map_err(say("sending"))?;
    let refused = udp.recv(&mut [0; 8]).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
    check(refused, "a closed UDP port is told by ICMP")?;
    echo(running, 1000)
}
