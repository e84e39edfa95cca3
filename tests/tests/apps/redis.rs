//! Debian's redis-server, by redis-cli and redis-benchmark.
use crate::{BOTH, Case, MEGABYTE, TAP, installed, words};
use coracle_tests::apps::{Running, Service};
use coracle_tests::load::{check, probe_line, say, tool};
use coracle_tests::paths;
use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;
use std::{io, thread};

pub const CASES: &[Case] = &[
    Case {
        name: "redis_commands",
        service: redis,
        probe: redis_probe,
        test: redis_commands,
        networks: BOTH,
        cpus: 2,
    },
    Case {
        name: "redis_benchmark",
        service: redis,
        probe: redis_probe,
        test: redis_benchmark,
        networks: TAP,
        cpus: 1,
    },
];

pub fn redis() -> Result<Service, String> {
    Ok(Service {
        program: installed("/usr/bin/redis-server")?,
        args: [&words("--port 6379 --protected-mode no --appendonly no --save")[..], &[String::new()]]
            .concat(),
        memory: "256M",
        port: 6379,
        ..Service::default()
    })
}

pub fn redis_probe(running: &Running) -> io::Result<()> {
    probe_line(running, b"PING\r\n", b"+PONG")
}

fn redis_commands(running: &Running) -> Result<(), String> {
    let (host, port) = running.host_and_port();
    let cli = |arguments: &[&str]| {
        let output = tool(Command::new("redis-cli").args(["-h", &host, "-p", &port]).args(arguments))?;
        Ok::<_, String>(String::from_utf8_lossy(&output).trim().to_string())
    };
    check(cli(&["set", "key", "value with blanks"])? == "OK", "set")?;
    check(cli(&["get", "key"])? == "value with blanks", "get")?;
    check(cli(&["incrby", "counter", "42"])? == "42", "incrby")?;
    check(cli(&["rpush", "list", "a", "b", "c"])? == "3", "rpush")?;
    check(cli(&["lrange", "list", "0", "-1"])? == "a\nb\nc", "lrange")?;
    check(
        cli(&["eval", "return redis.call('get', KEYS[1]) .. '!'", "1", "key"])? == "value with blanks!",
        "a script",
    )?;
    check(cli(&["set", "brief", "x", "px", "50"])? == "OK", "an expiry")?;
    thread::sleep(Duration::from_millis(200));
    check(cli(&["exists", "brief"])? == "0", "what expired is gone")?;
    check(cli(&["info", "server"])?.contains("redis_version"), "info")?;
    // A megabyte each way.
    let big = paths::pattern(MEGABYTE);
    let mut stream = running.connect().map_err(say("connecting"))?;
    let mut message = format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n", big.len()).into_bytes();
    message.extend_from_slice(&big);
    message.extend_from_slice(b"\r\n*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n");
    stream.write_all(&message).map_err(say("sending a megabyte"))?;
    let head = format!("+OK\r\n${}\r\n", big.len());
    let mut answer = vec![0; head.len() + big.len() + 2];
    stream.read_exact(&mut answer).map_err(say("reading a megabyte"))?;
    check(
        answer.starts_with(head.as_bytes()) && answer[head.len()..].starts_with(&big),
        "a megabyte comes back",
    )?;
    // One client is told what another publishes.
    let mut subscriber = running.connect().map_err(say("connecting"))?;
    subscriber.write_all(b"SUBSCRIBE news\r\n").map_err(say("subscribing"))?;
    subscriber.read_exact(&mut [0; 5]).map_err(say("subscribing"))?;
    check(cli(&["publish", "news", "extra"])? == "1", "publish reaches one")?;
    let mut news = Vec::new();
    while !news.ends_with(b"extra\r\n") {
        let mut byte = [0];
        subscriber.read_exact(&mut byte).map_err(say("reading the news"))?;
        news.push(byte[0]);
    }
    Ok(())
}

fn redis_benchmark(running: &Running) -> Result<(), String> {
    let (host, port) = running.host_and_port();
    let arguments =
        ["-h", &host, "-p", &port, "-q", "-n", "3000", "-c", "50", "-t", "set,get,lpush,ping_inline"];
    let plain = tool(Command::new("redis-benchmark").args(arguments))?;
    let piped = tool(Command::new("redis-benchmark").args(arguments).args(["-P", "16", "-d", "1000"]))?;
    for output in [plain, piped] {
        let text = String::from_utf8_lossy(&output).replace('\r', "\n");
        check(
            text.contains("GET:") && text.contains("requests per second"),
            &format!("redis-benchmark ends:\n{text}"),
        )?;
    }
    Ok(())
}
