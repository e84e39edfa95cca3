//! A closed-loop client: each busy connection has one request under way, and sends the next when the answer is there.
//! One thread serves all connections by epoll, so that the client costs little beside the guest it measures.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::{Events, Interest, Poll, Token};

use super::Sample;
use super::histogram::Histogram;

/// How long a guest may leave every connection unanswered before the run counts as stalled.
const STALL: Duration = Duration::from_secs(5);
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// Requests and the end of their answers.
pub trait Protocol {
    /// The next request, appended to `request`.
    fn request(&mut self, request: &mut Vec<u8>);
    /// Whether `answer` is complete; an error if it is not an answer to what was asked.
    fn complete(&self, answer: &[u8]) -> Result<bool>;
}

struct Connection {
    stream: mio::net::TcpStream,
    answer: Vec<u8>,
    request: Vec<u8>,
    sent: usize,
    since: Instant,
}

/// Opens `count` connections that then do nothing.
pub fn open_idle(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    (0..count)
        .map(|index| {
            TcpStream::connect_timeout(&address, STALL)
                .with_context(|| format!("cannot open connection {} of {count} to {address}", index + 1))
        })
        .collect()
}

/// Runs `busy` connections for `period`.
pub fn run(
    address: SocketAddr,
    busy: usize,
    period: Duration,
    protocol: &mut dyn Protocol,
) -> Result<Sample> {
    let mut poll = Poll::new()?;
    let mut connections = Vec::new();
    for (index, stream) in open_idle(address, busy)?.into_iter().enumerate() {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        connections.push(Connection {
            stream,
            answer: Vec::new(),
            request: Vec::new(),
            sent: 0,
            since: Instant::now(),
        });
    }
    let mut latencies = Histogram::default();
    let mut events = Events::with_capacity(busy.max(16));
    let mut buffer = vec![0; READ_BYTES];
    let start = Instant::now();
    for connection in &mut connections {
        connection.start(protocol)?;
    }
    while start.elapsed() < period {
        poll.poll(&mut events, Some(STALL))?;
        if events.is_empty() {
            bail!("no connection was answered for {} s", STALL.as_secs());
        }
        for event in &events {
            let connection = &mut connections[event.token().0];
            connection.send()?;
            while connection.receive(&mut buffer)? {
                if protocol.complete(&connection.answer)? {
                    latencies.add(connection.since.elapsed());
                    connection.start(protocol)?;
                }
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(Sample {
        operations: latencies.len(),
        rate: latencies.len() as f64 / seconds,
        p50: latencies.percentile(0.5),
        p99: latencies.percentile(0.99),
    })
}

impl Connection {
    fn start(&mut self, protocol: &mut dyn Protocol) -> Result<()> {
        self.request.clear();
        self.answer.clear();
        self.sent = 0;
        protocol.request(&mut self.request);
        self.since = Instant::now();
        self.send()
    }

    fn send(&mut self) -> Result<()> {
        while self.sent < self.request.len() {
            match self.stream.write(&self.request[self.sent..]) {
                Ok(len) => self.sent += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("cannot send to the guest"),
            }
        }
        Ok(())
    }

    /// Whether bytes came.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool> {
        match self.stream.read(buffer) {
            Ok(0) => bail!("the guest closed a connection"),
            Ok(len) => self.answer.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("cannot receive from the guest"),
        }
        Ok(true)
    }
}
