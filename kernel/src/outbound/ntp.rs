//! `ntp=HOST:PORT`: the guest sets its clock by SNTP (the crate `coracle-sntp`).
//!
//! The servers are asked in their order until one answers, which is then asked again and again. Large offsets set the clock, others are handed to the clock's
//! discipline, as a daemon does by adjtimex(2).
use super::resolve::resolve;
use super::socket::{Connected, pause};
use crate::{clock_source, own_thread};
use alloc::vec::Vec;
use coracle_core::errno::Errno;
use coracle_core::task::thread::Work;
use coracle_core::time::clock::{self, SECOND_NS};
use coracle_core::time::discipline;
use coracle_fallible::prelude::*;
use coracle_hal::once::Once;
use coracle_image::Peer;
use coracle_sntp::{
    BURST, BURST_INTERVAL_S, Correction, Kiss, LONGEST, Plan, Rejection, Sample, Samples, correction, parse,
    request,
};
use core::net::IpAddr;
use linux_raw_sys::net::SOCK_DGRAM;

/// How long a server may take to answer.
const PATIENCE_NS: u64 = 3_000_000_000;

static SERVERS: Once<Vec<Peer>> = Once::new();

/// Keeps the clock by these servers from now on. ENOMEM.
pub fn start(servers: Vec<Peer>) -> Result<(), Errno> {
    SERVERS.call_once(|| servers);
    own_thread::start(b"ntp", Work::NTP)
}

/// Why a server gave no sample.
enum Failure {
    /// It does not answer, or not usefully.
    Silent,
    /// It must not be asked again.
    Denied,
    /// It was asked too often.
    TooOften,
}

impl From<Errno> for Failure {
    fn from(_: Errno) -> Failure {
        Failure::Silent
    }
}

struct Server<'a> {
    peer: &'a Peer,
    samples: Samples,
    is_denied: bool,
}

/// What the thread does.
pub fn main() -> ! {
    let peers = SERVERS.wait().iter();
    let mut servers: Vec<Server<'_>> = Vec::new();
    while servers.make_room(peers.len()).is_err() {
        pause(SECOND_NS);
    }
    peers.for_each(|peer| servers.push_reserved(Server { peer, samples: Samples::new(), is_denied: false }));
    let mut plan = Plan::default();
    let mut is_first = true;
    loop {
        let found = servers
            .iter_mut()
            .filter(|server| !server.is_denied)
            .find_map(|server| Some((poll(server, &mut plan, is_first)?, server.peer)));
        let wait_s = match found {
            Some((best, peer)) => {
                is_first = false;
                let wait_s = plan.succeeded(best.offset_ns);
                clock_source::slew("ntp", &best, &plan);
                discipline::note_source(format_args!("ntp {peer}"), best.offset_ns);
                wait_s
            }
            None => plan.failed(),
        };
        pause(wait_s * SECOND_NS);
    }
}

/// Asks a server: several times if it is the first poll, if the clock was set, or if the answer took long. Returns the best sample.
fn poll(server: &mut Server<'_>, plan: &mut Plan, is_first: bool) -> Option<Sample> {
    let address = resolve(&server.peer.host).ok()?;
    let mut left = if is_first { BURST } else { 1 };
    let mut asked = 0;
    while left > 0 {
        if asked > 0 {
            pause(BURST_INTERVAL_S * SECOND_NS);
        }
        left -= 1;
        asked += 1;
        match exchange(address, server.peer.port) {
            Ok(sample) if correction(&sample) == Correction::Step => {
                // Once in a poll: a server whose time jumps is not followed about.
                if asked > BURST {
                    break;
                }
                clock_source::step("ntp", &sample);
                discipline::note_source(format_args!("ntp {}", server.peer), 0);
                // Samples of the clock as it was say nothing now.
                server.samples = Samples::new();
                (left, asked) = (BURST - 1, BURST);
            }
            Ok(sample) => {
                let is_spike = server.samples.take(sample);
                if is_spike && left == 0 && asked < BURST {
                    left = 1;
                }
            }
            Err(Failure::Silent) if asked > 1 => {}
            Err(Failure::Silent) => return None,
            Err(Failure::TooOften) => {
                plan.slow_down();
                break;
            }
            Err(Failure::Denied) => {
                log!("ntp: {} does not want to be asked again", server.peer);
                server.is_denied = true;
                break;
            }
        }
    }
    server.samples.take_best()
}

/// Asks once.
fn exchange(address: IpAddr, port: u16) -> Result<Sample, Failure> {
    let cookie = coracle_core::random::u64();
    let start_ns = clock::monotonic_ns();
    let until_ns = start_ns + PATIENCE_NS;
    let socket = Connected::new(SOCK_DGRAM, address, port, until_ns)?;
    let offset_ns = clock::wall_offset_ns();
    let sent_ns = clock::monotonic_ns();
    socket.send(&request(cookie), until_ns)?;
    let mut buffer = [0; LONGEST];
    loop {
        let len = socket.receive(&mut buffer, until_ns)?;
        let elapsed_ns = clock::monotonic_ns() - sent_ns;
        match parse(&buffer[..len], cookie) {
            // If the clock was set meanwhile, the sample is of none.
            Ok(_) if clock::wall_offset_ns() != offset_ns => return Err(Failure::Silent),
            Ok(reply) => {
                let sent_ns = sent_ns.wrapping_add(offset_ns) as i64;
                return Sample::new(&reply, sent_ns, elapsed_ns as i64).ok_or(Failure::Silent);
            }
            Err(Rejection::Foreign) => {}
            Err(Rejection::Kiss(Kiss::Denied)) => return Err(Failure::Denied),
            Err(Rejection::Kiss(Kiss::Rate)) => return Err(Failure::TooOften),
            Err(Rejection::Unusable | Rejection::Kiss(Kiss::Other)) => return Err(Failure::Silent),
        }
    }
}
