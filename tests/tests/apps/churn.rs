//! Servers under clients that come, go, stall and die, while one client stays and must get every answer. Part of the soak
//! (`scripts/soak.sh`): only with `--ignored`, for as many seconds as `CORACLE_CHURN_SECONDS` says.
use crate::{memcached, redis, web};
use coracle_tests::apps::{Network, Running, Service, serve};
use coracle_tests::load::{reset, say};
use coracle_tests::matrix::{Machine, Mode};
use libtest_mimic::Trial;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How long each server is driven, if nothing is said.
const SECONDS: u64 = 60;
/// Threads of clients of each kind.
const COMERS: usize = 3;
const STALLERS: usize = 2;
const DEAD: usize = 2;
/// Connections that a staller has at a time, and how long it holds them.
const STALLED: usize = 40;
const STALL: Duration = Duration::from_millis(700);
/// Requests on one connection of the client that stays: nginx ends a connection after 1,000 (keepalive_requests).
const REQUESTS: usize = 500;
/// Requests that a client sends before it dies without having read an answer.
const UNREAD: usize = 50;

/// A server, and a request with the start of its answer.
struct Served {
    name: &'static str,
    service: fn() -> Result<Service, String>,
    probe: fn(&Running) -> io::Result<()>,
    request: &'static [u8],
    answer: &'static [u8],
}

const SERVED: &[Served] = &[
    Served {
        name: "memcached",
        service: || memcached::memcached(4),
        probe: memcached::memcached_probe,
        request: b"get absent\r\n",
        answer: b"END\r\n",
    },
    Served {
        name: "redis",
        service: redis::redis,
        probe: redis::redis_probe,
        request: b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n",
        answer: b"$5\r\nhello\r\n",
    },
    Served {
        name: "nginx",
        service: web::nginx,
        probe: web::http_probe,
        // An answer without a body, so that the connection can be used again when its head was read.
        request: b"HEAD /small.html HTTP/1.1\r\nHost: churn\r\n\r\n",
        answer: b"HTTP/1.1 200 OK\r\n",
    },
];

/// What the clients did.
#[derive(Default)]
struct Counts {
    answers: AtomicU64,
    connections: AtomicU64,
}

impl Served {
    fn connect(&self, running: &Running, counts: &Counts) -> Result<TcpStream, String> {
        counts.connections.fetch_add(1, Relaxed);
        running.connect().map_err(say("connecting"))
    }

    /// Reads one answer: the known start, and for HTTP the rest of the head.
    fn receive(&self, stream: &mut TcpStream, counts: &Counts) -> Result<(), String> {
        let mut got = vec![0; self.answer.len()];
        stream.read_exact(&mut got).map_err(say("reading an answer"))?;
        if got != self.answer {
            return Err(format!("another answer: {:?}", String::from_utf8_lossy(&got)));
        }
        if self.answer.starts_with(b"HTTP/") {
            let mut end = [0; 4];
            while end != *b"\r\n\r\n" {
                end.rotate_left(1);
                stream.read_exact(&mut end[3..]).map_err(say("reading the head of an answer"))?;
            }
        }
        counts.answers.fetch_add(1, Relaxed);
        Ok(())
    }

    fn exchange(&self, stream: &mut TcpStream, counts: &Counts) -> Result<(), String> {
        stream.write_all(self.request).map_err(say("sending a request"))?;
        self.receive(stream, counts)
    }

    /// Comes, asks a few times, goes.
    fn come_and_go(&self, running: &Running, counts: &Counts) -> Result<(), String> {
        let mut stream = self.connect(running, counts)?;
        (0..3).try_for_each(|_| self.exchange(&mut stream, counts))
    }

    /// Sends half a request on many connections, waits, ends half of them and gets its answers on the others.
    fn stall(&self, running: &Running, counts: &Counts) -> Result<(), String> {
        let (first, rest) = self.request.split_at(self.request.len() / 2);
        let mut streams = Vec::new();
        for _ in 0..STALLED {
            let mut stream = self.connect(running, counts)?;
            stream.write_all(first).map_err(say("sending half a request"))?;
            streams.push(stream);
        }
        thread::sleep(STALL);
        for (number, mut stream) in streams.into_iter().enumerate() {
            if number % 2 == 0 {
                reset(stream);
            } else {
                stream.write_all(rest).map_err(say("sending the other half"))?;
                self.receive(&mut stream, counts)?;
            }
        }
        Ok(())
    }

    /// Sends many requests and dies without having read an answer.
    fn die(&self, running: &Running, counts: &Counts) -> Result<(), String> {
        let mut stream = self.connect(running, counts)?;
        // The server may see the end of an earlier request of this connection first.
        let _ = stream.write_all(&self.request.repeat(UNREAD));
        reset(stream);
        Ok(())
    }

    fn churn(&self, running: &Running, limit: Duration) -> Result<(), String> {
        type Client = fn(&Served, &Running, &Counts) -> Result<(), String>;
        let kinds: [(usize, Client); 3] =
            [(COMERS, Self::come_and_go), (STALLERS, Self::stall), (DEAD, Self::die)];
        let counts = Counts::default();
        let failed = AtomicBool::new(false);
        let start = Instant::now();
        let goes_on = || start.elapsed() < limit && !failed.load(Relaxed);
        let result = thread::scope(|scope| {
            let clients: Vec<_> = kinds
                .into_iter()
                .flat_map(|(threads, client)| std::iter::repeat_n(client, threads))
                .map(|client| {
                    let (counts, failed, goes_on) = (&counts, &failed, &goes_on);
                    scope.spawn(move || {
                        let mut result = Ok(());
                        while result.is_ok() && goes_on() {
                            result = client(self, running, counts);
                        }
                        failed.fetch_or(result.is_err(), Relaxed);
                        result
                    })
                })
                .collect();
            let mut result = Ok(());
            while result.is_ok() && goes_on() {
                result = self.connect(running, &counts).and_then(|mut stays| {
                    (0..REQUESTS)
                        .take_while(|_| goes_on())
                        .try_for_each(|_| self.exchange(&mut stays, &counts))
                });
            }
            failed.fetch_or(result.is_err(), Relaxed);
            let others = clients
                .into_iter()
                .map(|client| client.join().unwrap_or_else(|_| Err("a client panicked".into())));
            others.fold(result, Result::and)
        });
        eprintln!(
            "churn {}: {} answers over {} connections",
            self.name,
            counts.answers.load(Relaxed),
            counts.connections.load(Relaxed)
        );
        result.and_then(|()| (self.probe)(running).map_err(say("asking once more")))
    }
}

/// Each server in each mode, on 1 and 2 CPUs.
pub fn trials() -> Vec<Trial> {
    let seconds =
        std::env::var("CORACLE_CHURN_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let mut trials = Vec::new();
    for served in SERVED {
        for mode in Mode::ALL {
            for cpus in [1, 2] {
                let machine = Machine { mode, cpus, kind: if cpus == 1 { "q35" } else { "microvm" } };
                let run = move || {
                    let test = move |running: &Running| served.churn(running, Duration::from_secs(seconds));
                    Ok(serve(&(served.service)()?, machine, Network::Tap, served.probe, test)?)
                };
                trials.push(
                    Trial::test(format!("churn::{}::{machine}", served.name), run).with_ignored_flag(true),
                );
            }
        }
    }
    trials
}
