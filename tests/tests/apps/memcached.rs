//! Debian's memcached: values, many connections, bad clients, load.
use crate::{BOTH, Case, MANY, MANY_ON_USER_NETWORK, MEGABYTE, TAP, installed, words};
use coracle_tests::apps::{Network, Running, Service};
use coracle_tests::load::{Memcached, check, many, probe_line, reset, say, tool};
use coracle_tests::paths;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::{io, thread};

pub const CASES: &[Case] = &[
    Case {
        name: "memcached_one_thread",
        service: || memcached(1),
        probe: memcached_probe,
        test: memcached_values,
        networks: BOTH,
        cpus: 1,
    },
    Case {
        name: "memcached_four_threads",
        service: || memcached(4),
        probe: memcached_probe,
        test: memcached_values,
        networks: BOTH,
        cpus: 2,
    },
    Case {
        name: "memcached_capable",
        service: || memcached(2),
        probe: memcached_probe,
        test: memcached_capable,
        networks: BOTH,
        cpus: 1,
    },
    // Eight megabytes of values, and hardly more memory than they, the kernel and what is used of the program take.
    Case {
        name: "memcached_filled_on_demand",
        service: || Ok(Service { args: words(FILLED), memory: "16M", demand: true, ..memcached(1)? }),
        probe: memcached_probe,
        test: memcached_filled,
        networks: BOTH,
        cpus: 1,
    },
    Case {
        name: "memcached_bad_clients",
        service: || memcached(4),
        probe: memcached_probe,
        test: memcached_bad_clients,
        networks: BOTH,
        cpus: 2,
    },
    Case {
        name: "memcached_many_connections",
        service: || memcached(4),
        probe: memcached_probe,
        test: memcached_many,
        networks: BOTH,
        cpus: 2,
    },
    Case {
        name: "memcached_load",
        service: || memcached(4),
        probe: memcached_probe,
        test: memcached_load,
        networks: TAP,
        cpus: 2,
    },
];

/// Arguments of a memcached with the least memory.
const FILLED: &str = "-u root -m 8 -c 64 -t 1";

pub fn memcached(threads: u32) -> Result<Service, String> {
    Ok(Service {
        program: installed("/usr/bin/memcached")?,
        args: words(&format!("-u root -m 64 -I 4m -c 4096 -t {threads}")),
        memory: "256M",
        port: 11211,
        add: words("/etc/passwd"),
        ..Service::default()
    })
}

pub fn memcached_probe(running: &Running) -> io::Result<()> {
    probe_line(running, b"version\r\n", b"VERSION")
}

fn memcached_values(running: &Running) -> Result<(), String> {
    let mut client = Memcached::connect(running)?;
    client.set("short", b"value")?;
    check(client.get("short")?.as_deref() == Some(b"value"), "a value comes back")?;
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    client.set("binary", &bytes)?;
    check(client.get("binary")? == Some(bytes), "all bytes come back")?;
    check(client.get("absent")?.is_none(), "an absent key is told")?;
    let big = paths::pattern(MEGABYTE);
    client.set("megabyte", &big)?;
    let mut other = Memcached::connect(running)?;
    check(other.get("megabyte")? == Some(big), "a megabyte comes back on another connection")?;
    client.set("number", b"41")?;
    check(other.ask("incr number 1")? == "42", "incr counts")?;
    check(client.ask("delete number")? == "DELETED", "delete deletes")?;
    check(other.get("number")?.is_none(), "what is deleted is gone")?;
    check(client.ask("nonsense")? == "ERROR", "nonsense is refused")?;
    // Many requests in one packet are answered in order.
    let mut batch = String::new();
    for i in 0..200 {
        batch += &format!("set k{i} 0 0 4\r\n{i:04}\r\n");
    }
    client.send(batch.as_bytes())?;
    for _ in 0..200 {
        check(client.line()? == "STORED", "a batch is stored")?;
    }
    // A request in single bytes is one request.
    for byte in b"get k123\r\n" {
        client.send(&[*byte])?;
    }
    check(client.value()?.as_deref() == Some(b"0123"), "a request in single bytes is answered")
}

/// Stores values until old ones have to go; the new ones are right, and the guest lives.
fn memcached_filled(running: &Running) -> Result<(), String> {
    /// Values of a thousand bytes: more of them than fit.
    const VALUES: usize = 12_000;
    const BATCH: usize = 100;
    let value = |number: usize| format!("{number:01000}");
    let mut client = Memcached::connect(running)?;
    for first in (0..VALUES).step_by(BATCH) {
        let mut batch = String::new();
        for number in first..first + BATCH {
            batch += &format!("set k{number} 0 0 1000\r\n{}\r\n", value(number));
        }
        client.send(batch.as_bytes())?;
        for _ in 0..BATCH {
            check(client.line()? == "STORED", "a value is stored")?;
        }
    }
    check(client.get("k0")?.is_none(), "the first value had to go")?;
    for number in VALUES - 1000..VALUES {
        let wanted = value(number).into_bytes();
        check(client.get(&format!("k{number}"))? == Some(wanted), "the last values are there")?;
    }
    Ok(())
}

fn memcached_capable(running: &Running) -> Result<(), String> {
    let (host, port) = running.host_and_port();
    let output = tool(Command::new("memccapable").args(["-h", &host, "-p", &port, "-t", "20"]))?;
    let text = String::from_utf8_lossy(&output);
    check(text.contains("All tests passed"), &format!("memccapable is content:\n{text}"))
}

fn memcached_bad_clients(running: &Running) -> Result<(), String> {
    let big = paths::pattern(MEGABYTE);
    let mut good = Memcached::connect(running)?;
    good.set("big", &big)?;
    // One that stops reading: it asks for forty megabytes and looks at none, while the others go on.
    let mut lazy = Memcached::connect(running)?;
    for _ in 0..40 {
        lazy.send(b"get big\r\n")?;
    }
    for i in 0..60 {
        let mut client = running.connect().map_err(say("connecting"))?;
        match i % 4 {
            // Cut in the middle of a command, of a value, of an answer.
            0 => client.write_all(b"set cut 0 0 100\r\nonly a part").map_err(say("sending"))?,
            1 => {
                client.write_all(b"get big\r\n").map_err(say("sending"))?;
                client.read_exact(&mut [0; 1000]).map_err(say("reading a part"))?;
            }
            // Reset, with and without something under way.
            2 => {
                client.write_all(b"get big\r\n").map_err(say("sending"))?;
                reset(client);
            }
            // Half-closed: the request is whole, so the answer must come.
            _ => {
                client.write_all(b"get big\r\nquit\r\n").map_err(say("sending"))?;
                client.shutdown(Shutdown::Write).map_err(say("half-closing"))?;
                let mut all = Vec::new();
                client.read_to_end(&mut all).map_err(say("reading after a half-close"))?;
                let found = all.windows(1000).any(|w| w == &big[MEGABYTE - 1000..]);
                check(found, &format!("a half-closed client has its answer, but: {} bytes", all.len()))?;
            }
        }
        good.set(&format!("k{i}"), format!("v{i}").as_bytes())?;
        check(
            good.get(&format!("k{i}"))? == Some(format!("v{i}").into_bytes()),
            "a good client is served meanwhile",
        )?;
    }
    for _ in 0..40 {
        check(lazy.value()?.as_deref() == Some(&big[..]), "what the lazy client asked for is whole")?;
    }
    Ok(())
}

fn memcached_many(running: &Running) -> Result<(), String> {
    let count = if running.network == Network::Tap { MANY } else { MANY_ON_USER_NETWORK };
    many(running, count, |i| {
        (
            format!("set many{i} 0 0 6\r\n{i:06}\r\nget many{i}\r\n").into_bytes(),
            format!("STORED\r\nVALUE many{i} 0 6\r\n{i:06}\r\nEND\r\n").into_bytes(),
        )
    })
}

fn memcached_load(running: &Running) -> Result<(), String> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..16)
            .map(|w| {
                scope.spawn(move || {
                    let mut client = Memcached::connect(running)?;
                    for i in 0..300 {
                        let value = format!("{w}-{i}").repeat(100).into_bytes();
                        client.set(&format!("load{w}-{}", i % 20), &value)?;
                        check(
                            client.get(&format!("load{w}-{}", i % 20))? == Some(value),
                            "a value comes back under load",
                        )?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|w| w.join().expect("a worker does not panic"))
    })
}
