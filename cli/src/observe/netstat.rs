//! `coracle netstat`: the sockets of a guest, and why a stream stands still.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv6Addr;

use coracle_control::{Request, SocketRecord, SocketsHead, socket_flag as flag, socket_kind as kind};
use serde::Serialize;

use super::client::Client;
use super::stack::{self, GuestMemory};
use super::stats::json;
use super::{errno, process};
use crate::args::NetstatArgs;
use crate::error::{Error, Result};
use crate::output;

/// States of TCP, by Linux's numbers (include/net/tcp_states.h), as ss(8) names them.
const STATES: [&str; 12] = [
    "?",
    "ESTAB",
    "SYN-SENT",
    "SYN-RECV",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "UNCONN",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
];
const ESTABLISHED: u64 = 1;
const CLOSE_WAIT: u64 = 8;
const LISTEN: u64 = 10;
/// A timer that is this late is not: the kernel sets it to the end of a millisecond, and may have been at work.
const SLACK_NS: u64 = 20_000_000;
/// What was received this long ago should have been read.
const UNREAD_NS: u64 = 1_000_000_000;
const SECOND_NS: f64 = 1e9;

/// A socket.
#[derive(Clone, Debug)]
struct Socket {
    record: SocketRecord,
    /// The name of one of AF_UNIX.
    name: String,
}

/// A descriptor that is a socket.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
struct Owner {
    program: String,
    pid: u32,
    fd: u32,
}

/// A socket in JSON.
#[derive(Serialize)]
struct Line<'a> {
    protocol: &'static str,
    state: &'static str,
    local: String,
    peer: String,
    inode: u64,
    uid: u64,
    receive_queue: u64,
    send_queue: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<Flow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datagrams_dropped: Option<u64>,
    processes: &'a [Owner],
    /// Why it stands still.
    notes: Vec<String>,
}

/// How a connection does.
#[derive(Serialize)]
struct Flow {
    rtt_us: u64,
    rtt_variance_us: u64,
    retransmission_timeout_us: u64,
    mss: u64,
    congestion_window: u64,
    peer_window: u64,
    own_window: u64,
    unsent_bytes: u64,
    retransmitted_segments: u64,
    retransmissions_in_a_row: u64,
    probes_in_a_row: u64,
    timer: Option<&'static str>,
    timer_in_seconds: Option<f64>,
    last_sent_seconds: Option<f64>,
    last_received_seconds: Option<f64>,
}

fn parse(answer: &[u8]) -> Option<(SocketsHead, Vec<Socket>)> {
    let (head, mut rest) = SocketsHead::decode(answer)?;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (record, after) = SocketRecord::decode(rest)?;
        let (name, after) = after.split_at_checked(usize::try_from(record.name_bytes).ok()?)?;
        all.push(Socket { record, name: output::plain(&String::from_utf8_lossy(name)) });
        rest = after;
    }
    Some((head, all))
}

/// An address as ss(8) writes it.
fn end(high: u64, low: u64, port: u64, is_v6: bool) -> String {
    let address = Ipv6Addr::from(u128::from(high) << 64 | u128::from(low));
    let port = if port == 0 { "*".to_owned() } else { port.to_string() };
    match address.to_ipv4_mapped() {
        Some(address) if !is_v6 => format!("{address}:{port}"),
        _ if address.is_unspecified() && is_v6 => format!("*:{port}"),
        _ if address.is_unspecified() => format!("0.0.0.0:{port}"),
        _ => format!("[{address}]:{port}"),
    }
}

impl Socket {
    fn is(&self, flag: u64) -> bool {
        self.record.flags & flag != 0
    }

    fn is_unix(&self) -> bool {
        self.record.kind > kind::UDP
    }

    fn protocol(&self) -> &'static str {
        match self.record.kind {
            kind::TCP => "tcp",
            kind::UDP => "udp",
            kind::UNIX_STREAM => "u_str",
            kind::UNIX_DATAGRAM => "u_dgr",
            kind::UNIX_PACKET => "u_seq",
            _ => "?",
        }
    }

    fn state(&self) -> &'static str {
        usize::try_from(self.record.state).ok().and_then(|state| STATES.get(state)).unwrap_or(&STATES[0])
    }

    fn local(&self) -> String {
        let SocketRecord { local_high, local_low, local_port, inode, .. } = self.record;
        match self.is_unix() {
            true if self.name.is_empty() => format!("* {inode}"),
            true => format!("{} {inode}", self.name),
            false => end(local_high, local_low, local_port, self.is(flag::V6)),
        }
    }

    fn peer(&self) -> String {
        let SocketRecord { remote_high, remote_low, remote_port, .. } = self.record;
        if self.is_unix() {
            return format!("* {remote_port}");
        }
        end(remote_high, remote_low, remote_port, self.is(flag::V6))
    }

    /// Whether it is a connection with all that belongs to it.
    fn flows(&self) -> bool {
        self.record.kind == kind::TCP && self.record.state != LISTEN && !self.is(flag::REMAINS)
    }

    fn wanted_by(&self, args: &NetstatArgs) -> bool {
        let is_of_all = !(args.tcp || args.udp || args.unix);
        let kind = match self.record.kind {
            kind::TCP => args.tcp,
            kind::UDP => args.udp,
            _ => args.unix,
        };
        let is_passive = match self.record.kind {
            kind::UDP => !self.is(flag::CONNECTED),
            _ => self.record.state == LISTEN || self.is_unix() && !self.is(flag::CONNECTED),
        };
        (is_of_all || kind) && (args.all || is_passive == args.listening)
    }

    fn flow(&self, now_ns: u64) -> Flow {
        let own = &self.record;
        let ago = |at: u64| (at > 0).then(|| now_ns.saturating_sub(at) as f64 / SECOND_NS);
        let timer = match own.timer {
            1 => Some("retransmission"),
            2 => Some("keep-alive"),
            3 => Some("time-wait"),
            4 => Some("window probe"),
            _ => None,
        };
        Flow {
            rtt_us: own.rtt_us,
            rtt_variance_us: own.rtt_var_us,
            retransmission_timeout_us: own.rto_us,
            mss: own.mss,
            congestion_window: own.congestion_window,
            peer_window: own.send_window,
            own_window: own.receive_window,
            unsent_bytes: own.waiting,
            retransmitted_segments: own.lost,
            retransmissions_in_a_row: own.retransmits,
            probes_in_a_row: own.probes,
            timer,
            timer_in_seconds: timer.map(|_| (own.deadline_ns as f64 - now_ns as f64) / SECOND_NS),
            last_sent_seconds: ago(own.last_sent_ns),
            last_received_seconds: ago(own.last_received_ns),
        }
    }

    /// Why it stands still, as far as its record says.
    fn notes(&self, now_ns: u64) -> Vec<String> {
        let own = &self.record;
        let since = |at: u64| seconds(now_ns.saturating_sub(at));
        let mut notes = Vec::new();
        if own.deadline_ns.saturating_add(SLACK_NS) < now_ns {
            notes.push(format!("its timer is {} overdue", since(own.deadline_ns)));
        }
        if own.state == LISTEN && own.to_read > own.to_send {
            let many = format!("{} connections wait to be accepted, more than the backlog of", own.to_read);
            notes.push(format!("{many} {}: new ones are refused", own.to_send));
        }
        if own.kind == kind::UDP && own.lost > 0 {
            notes.push(format!("{} datagrams were dropped: its buffer was full", own.lost));
        }
        if own.kind == kind::UDP && own.waiting > 0 && now_ns.saturating_sub(own.last_received_ns) > UNREAD_NS
        {
            notes.push(format!(
                "{} datagrams unread, the first for {}",
                own.waiting,
                since(own.last_received_ns)
            ));
        }
        if !self.flows() {
            return notes;
        }
        if own.to_read > 0
            && !self.is(flag::ORPHAN)
            && now_ns.saturating_sub(own.last_received_ns) > UNREAD_NS
        {
            let at_least = since(own.last_received_ns);
            notes.push(format!("{} bytes unread; nothing came for {at_least}", own.to_read));
        }
        let is_open = matches!(own.state, ESTABLISHED | CLOSE_WAIT);
        if own.receive_window == 0 && own.to_read > 0 {
            notes.push(format!(
                "its window is closed: the program does not read the {} bytes, so the peer can't send",
                own.to_read
            ));
        }
        if own.send_window == 0 && own.to_send > 0 && is_open {
            let next = match own.deadline_ns {
                u64::MAX => "no probe is planned".to_owned(),
                at => format!("next probe in {}", seconds(at.saturating_sub(now_ns))),
            };
            let stuck = format!("{} bytes wait: the peer's window is closed, it does not read", own.to_send);
            let how_long = since(own.stalled_since_ns);
            notes.push(format!("{stuck} (for {how_long}, {} probes, {next})", own.probes));
        } else if own.retransmits > 0 {
            let next = seconds(own.deadline_ns.saturating_sub(now_ns));
            notes.push(format!(
                "the peer has not answered for {}: sent again {} times, next in {next}",
                since(own.stalled_since_ns),
                own.retransmits
            ));
        } else if own.to_send > 0 && own.deadline_ns == u64::MAX && is_open && !self.is(flag::BLOCKED) {
            notes.push(format!("{} bytes wait, and no timer is set", own.to_send));
        }
        for (flag, text) in [
            (flag::GAP, "segments of the peer are missing, and later ones have come"),
            (flag::RECOVERING, "segments were lost, and are sent again"),
            (flag::BLOCKED, "the network device has no room"),
        ] {
            if self.is(flag) {
                notes.push(text.to_owned());
            }
        }
        if own.state == CLOSE_WAIT && !self.is(flag::ORPHAN) && own.to_read == 0 {
            notes.push(format!(
                "the peer has closed; the program has not ({} ago)",
                since(own.last_received_ns)
            ));
        }
        notes
    }

    /// A line with the figures of a connection.
    fn details(&self, now_ns: u64) -> String {
        let own = &self.record;
        let ms = |us: u64| format!("{}.{:03} ms", us / 1000, us % 1000);
        let mut text = format!(
            "        rtt {} ± {}, timeout {}, mss {}, congestion window {}, windows {} (peer) {} (own), {} retransmitted",
            ms(own.rtt_us),
            ms(own.rtt_var_us),
            ms(own.rto_us),
            own.mss,
            own.congestion_window,
            own.send_window,
            own.receive_window,
            own.lost
        );
        let flow = self.flow(now_ns);
        if let (Some(timer), Some(after)) = (flow.timer, flow.timer_in_seconds) {
            let _ = write!(text, ", {timer} in {after:.3} s");
        }
        for (what, ago) in [("sent", flow.last_sent_seconds), ("received", flow.last_received_seconds)] {
            if let Some(ago) = ago {
                let _ = write!(text, ", {what} {ago:.3} s ago");
            }
        }
        text
    }
}

fn seconds(ns: u64) -> String {
    format!("{:.1} s", ns as f64 / SECOND_NS)
}

/// The descriptors that are sockets, by the sockets' numbers.
fn owners(client: &mut Client) -> Result<BTreeMap<u64, Vec<Owner>>> {
    let mut all: BTreeMap<u64, Vec<Owner>> = BTreeMap::new();
    for process in process::processes(client, None)? {
        let base = format!("/proc/{}/fd", process.id);
        for fd in client.numbers(&base)? {
            // It may be closed meanwhile.
            let Some(target) = client.link(&format!("{base}/{fd}"))? else { continue };
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            if let Some(inode) = inode.and_then(|inode| inode.parse().ok()) {
                let owner = Owner { program: process.name.clone(), pid: process.id, fd };
                all.entry(inode).or_default().push(owner);
            }
        }
    }
    Ok(all)
}

/// What the threads of processes do that should read: a line each.
fn readers(client: &mut Client, pids: &BTreeSet<u32>) -> Result<String> {
    let (_, threads) = stack::threads(client)?;
    let mut text = String::new();
    for thread in threads {
        let Some(pid) = u32::try_from(thread.record.pid).ok().filter(|pid| pids.contains(pid)) else {
            continue;
        };
        let mut memory = GuestMemory::new(client, pid);
        let call = thread.call().map(|call| format!(" in {}", call.describe(&mut memory)));
        memory.check()?;
        let does = if thread.is_asleep() { "sleeps" } else { "runs, or waits for a CPU" };
        let (tid, name) = (thread.record.tid, &thread.name);
        let call = call.filter(|_| thread.is_asleep()).unwrap_or_default();
        let _ = writeln!(text, "process {pid}: thread {tid} \"{name}\" {does}{call}");
    }
    Ok(text)
}

/// `coracle netstat`
pub fn netstat(args: &NetstatArgs) -> Result<()> {
    let mut client = Client::connect(&args.name)?;
    let answer = client.ask(Request::Sockets)?.map_err(|error| {
        Error::new(format!("`{}` cannot list its sockets", args.name)).why(errno::describe(error.into()))
    })?;
    let (head, mut sockets) = parse(&answer).ok_or_else(|| {
        Error::new(format!("`{}` lists its sockets in another way than this command reads them", args.name))
            .help("build the image anew")
    })?;
    sockets.retain(|socket| socket.wanted_by(args));
    let now_ns = head.now_ns;
    let is_stuck = |socket: &Socket| socket.record.to_read > 0 && !socket.notes(now_ns).is_empty();
    let wants_owners = args.processes || args.json || sockets.iter().any(is_stuck);
    let owners = if wants_owners { owners(&mut client)? } else { BTreeMap::new() };
    let of = |socket: &Socket| owners.get(&socket.record.inode).map_or(&[][..], |owners| owners);
    if args.json {
        let lines: Vec<Line> = sockets
            .iter()
            .map(|socket| Line {
                protocol: socket.protocol(),
                state: socket.state(),
                local: socket.local(),
                peer: socket.peer(),
                inode: socket.record.inode,
                uid: socket.record.uid,
                receive_queue: socket.record.to_read,
                send_queue: socket.record.to_send,
                tcp: socket.flows().then(|| socket.flow(now_ns)),
                datagrams_dropped: (socket.record.kind == kind::UDP).then_some(socket.record.lost),
                processes: of(socket),
                notes: socket.notes(now_ns),
            })
            .collect();
        return output::line(json(&lines)?);
    }
    output::write(table(&sockets, now_ns, args, &of).as_bytes())?;
    let pids: BTreeSet<u32> =
        sockets.iter().filter(|socket| is_stuck(socket)).flat_map(of).map(|owner| owner.pid).collect();
    if pids.is_empty() { Ok(()) } else { output::write(readers(&mut client, &pids)?.as_bytes()) }
}

/// Characters of an end that others are aligned to at most.
const WIDEST: usize = 120;

fn table<'a>(
    sockets: &[Socket],
    now_ns: u64,
    args: &NetstatArgs,
    of: &impl Fn(&Socket) -> &'a [Owner],
) -> String {
    let ends: Vec<(String, String)> = sockets.iter().map(|socket| (socket.local(), socket.peer())).collect();
    let width = |choose: fn(&(String, String)) -> usize, least: usize| {
        ends.iter().map(choose).max().unwrap_or_default().clamp(least, WIDEST)
    };
    let (local_width, peer_width) = (width(|(local, _)| local.len(), 22), width(|(_, peer)| peer.len(), 22));
    let mut text = format!(
        "{:<5} {:<10} {:>8} {:>8} {:<local_width$} {:<peer_width$}",
        "NETID", "STATE", "RECV-Q", "SEND-Q", "LOCAL", "PEER"
    );
    text += if args.processes { " PROCESS\n" } else { "\n" };
    for (socket, (local, peer)) in sockets.iter().zip(&ends) {
        let (protocol, state) = (socket.protocol(), socket.state());
        let SocketRecord { to_read, to_send, .. } = socket.record;
        let mut line = format!(
            "{protocol:<5} {state:<10} {to_read:>8} {to_send:>8} {local:<local_width$} {peer:<peer_width$}"
        );
        if args.processes {
            let owners =
                of(socket).iter().map(|own| format!("{} (pid {}, fd {})", own.program, own.pid, own.fd));
            let owners: Vec<String> = owners.collect();
            let _ = write!(line, " {}", owners.join(", "));
        }
        text += line.trim_end();
        text.push('\n');
        if args.info && socket.flows() {
            text += &socket.details(now_ns);
            text.push('\n');
        }
        for note in socket.notes(now_ns) {
            let _ = writeln!(text, "      ! {note}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn socket(record: SocketRecord) -> Socket {
        Socket { record, name: String::new() }
    }

    const V4: u64 = 0xffff_0000_0000;

    #[test]
    fn ends() {
        assert_eq!(end(0, V4 | 0x7f00_0001, 80, false), "127.0.0.1:80");
        assert_eq!(end(0, V4 | 0x7f00_0001, 80, true), "[::ffff:127.0.0.1]:80");
        assert_eq!(end(0, 0, 0, false), "0.0.0.0:*");
        assert_eq!(end(0, 0, 80, true), "*:80");
        assert_eq!(end(0, 1, 80, true), "[::1]:80");
    }

    #[test]
    fn a_stalled_stream_is_explained() {
        let base = SocketRecord {
            kind: kind::TCP,
            state: ESTABLISHED,
            deadline_ns: u64::MAX,
            receive_window: 1,
            send_window: 1,
            ..SocketRecord::default()
        };
        let now = 100_000_000_000;
        let says = |record, words: &[&str]| {
            let notes = socket(record).notes(now).join("\n");
            assert!(words.iter().all(|word| notes.contains(word)), "{notes:?} lacks some of {words:?}");
        };
        assert_eq!(socket(base).notes(now), Vec::<String>::new());
        says(
            SocketRecord { to_read: 5, receive_window: 0, last_received_ns: 88_000_000_000, ..base },
            &["5 bytes unread", "nothing came for 12.0 s", "its window is closed"],
        );
        says(
            SocketRecord {
                to_send: 9,
                send_window: 0,
                probes: 3,
                timer: 4,
                deadline_ns: 102_000_000_000,
                ..base
            },
            &["9 bytes wait: the peer's window is closed", "3 probes, next probe in 2.0 s"],
        );
        says(
            SocketRecord {
                to_send: 9,
                retransmits: 4,
                timer: 1,
                deadline_ns: 99_000_000_000,
                stalled_since_ns: 90_000_000_000,
                ..base
            },
            &["its timer is 1.0 s overdue", "not answered for 10.0 s: sent again 4 times"],
        );
        says(SocketRecord { to_send: 9, ..base }, &["no timer is set"]);
        says(
            SocketRecord { state: LISTEN, to_read: 6, to_send: 5, ..base },
            &["6 connections", "backlog of 5"],
        );
    }

    #[test]
    fn answers_are_taken_apart() {
        let head = SocketsHead { now_ns: 7, ..SocketsHead::default() };
        let record =
            SocketRecord { kind: kind::UNIX_STREAM, name_bytes: 3, inode: 9, ..SocketRecord::default() };
        let answer = [&head.encode()[..], &record.encode(), b"@ab", &record.encode(), b"/cd"].concat();
        let (_, sockets) = parse(&answer).unwrap();
        assert_eq!(sockets.iter().map(Socket::local).collect::<Vec<_>>(), ["@ab 9", "/cd 9"]);
        assert!(parse(&answer[..answer.len() - 1]).is_none());
    }

    proptest! {
        #[test]
        fn any_guest_is_listed(now_ns: u64, words: Vec<u8>, names in prop::collection::vec("(\\PC|\\x1b|\n){0,300}", 3)) {
            let mut answer = SocketsHead { now_ns, ..SocketsHead::default() }.encode().to_vec();
            for (place, name) in names.iter().enumerate() {
                let mut bytes = words.iter().copied().cycle().skip(place).take(SocketRecord::BYTES).collect::<Vec<_>>();
                bytes.resize(SocketRecord::BYTES, u8::MAX);
                let record = SocketRecord::decode(&bytes).map(|(record, _)| record).unwrap_or_default();
                answer.extend(SocketRecord { name_bytes: name.len() as u64, kind: place as u64, ..record }.encode());
                answer.extend(name.as_bytes());
            }
            let (_, sockets) = parse(&answer).unwrap();
            let args = NetstatArgs {
                name: String::new(), tcp: true, udp: true, unix: true, listening: false, all: true, processes: true, info: true,
                numeric: false, json: false,
            };
            let text = table(&sockets, now_ns, &args, &|_| &[]);
            prop_assert!(text.lines().count() > 3 && !text.contains('\x1b'));
        }

        #[test]
        fn any_bytes_are_taken_apart(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
