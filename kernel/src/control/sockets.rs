//! All sockets, with how data flows over them.
use super::answer::Answer;
use coracle_control::{SocketRecord, SocketsHead, socket_flag as flag, socket_kind as kind};
use coracle_core::errno::Errno;
use coracle_fallible::Text;
use coracle_hal::time;
use coracle_ipc::unix::UnixSocket;
use coracle_net::engine;
use coracle_net::interface_ioctl::interfaces;
use coracle_system::proc::unix_sockets;
use coracle_tcpip::{Address, Endpoint, Flow, State, TcpListed, UdpListed};

/// The bits of `all` that hold.
fn flags<const N: usize>(all: [(u64, bool); N]) -> u64 {
    all.into_iter().filter(|(_, holds)| *holds).map(|(bit, _)| bit).sum()
}

/// A record with its two ends.
fn between(kind: u64, local: Endpoint, remote: Endpoint) -> SocketRecord {
    let ((local_high, local_low), (remote_high, remote_low)) =
        (local.address.words(), remote.address.words());
    SocketRecord {
        kind,
        local_high,
        local_low,
        local_port: local.port.into(),
        remote_high,
        remote_low,
        remote_port: remote.port.into(),
        deadline_ns: u64::MAX,
        ..SocketRecord::default()
    }
}

/// The other end of a socket that has none.
const NO_END: Endpoint = Endpoint::new(Address::ANY_V6, 0);

fn tcp(own: &TcpListed, owner: (u64, u32)) -> SocketRecord {
    let is_listening = own.state == State::Listen;
    let remote = if is_listening { NO_END } else { own.remote };
    let record = SocketRecord {
        flags: flags([
            (flag::V6, own.is_v6),
            (flag::ORPHAN, own.is_orphan),
            (flag::REMAINS, own.flow.is_none() && !is_listening),
            (flag::CONNECTED, !is_listening),
        ]),
        state: own.state as u64,
        inode: owner.0,
        uid: owner.1.into(),
        to_send: own.to_send.into(),
        to_read: own.to_read.into(),
        timer: own.pending as u64,
        deadline_ns: own.deadline,
        retransmits: own.retransmits.into(),
        probes: own.probes.into(),
        ..between(kind::TCP, own.local, remote)
    };
    own.flow.as_ref().map_or(record, |flow| with_flow(record, flow))
}

fn with_flow(record: SocketRecord, flow: &Flow) -> SocketRecord {
    let info = &flow.info;
    SocketRecord {
        flags: record.flags
            | flags([
                (flag::GAP, flow.has_gap),
                (flag::RECOVERING, flow.is_recovering),
                (flag::BLOCKED, flow.is_blocked),
                (flag::PEER_FINISHED, flow.peer_finished),
            ]),
        waiting: info.unsent_bytes.into(),
        lost: info.total_retransmits.into(),
        rtt_us: info.rtt.into(),
        rtt_var_us: info.rtt_var.into(),
        rto_us: info.rto.into(),
        mss: info.send_mss.into(),
        congestion_window: info.congestion_window.into(),
        send_window: flow.send_window.into(),
        receive_window: flow.receive_window.into(),
        send_buffer: flow.send_buffer.into(),
        receive_buffer: info.receive_space.into(),
        last_sent_ns: flow.last_sent,
        last_received_ns: flow.last_received,
        stalled_since_ns: flow.stalled_since,
        ..record
    }
}

fn udp(own: &UdpListed, owner: (u64, u32)) -> SocketRecord {
    let state = if own.remote.is_some() { State::Established } else { State::Closed };
    SocketRecord {
        flags: flags([(flag::V6, own.is_v6), (flag::CONNECTED, own.remote.is_some())]),
        state: state as u64,
        inode: owner.0,
        uid: owner.1.into(),
        to_read: own.to_read.into(),
        waiting: own.waiting.into(),
        lost: own.dropped.into(),
        last_received_ns: own.oldest.unwrap_or(0),
        ..between(kind::UDP, own.local, own.remote.unwrap_or(NO_END))
    }
}

fn unix(socket: &UnixSocket, name: &mut Text) -> Result<SocketRecord, Errno> {
    let own = socket.listed(name)?;
    let state = match (own.backlog, own.is_connected) {
        (Some(_), _) => State::Listen,
        (None, true) => State::Established,
        (None, false) => State::Closed,
    };
    Ok(SocketRecord {
        kind: kind::UNIX_STREAM - 1 + u64::from(own.kind),
        flags: flags([(flag::CONNECTED, own.is_connected)]),
        state: state as u64,
        inode: socket.inode(),
        remote_port: own.peer,
        to_send: own.backlog.unwrap_or(own.to_send) as u64,
        to_read: own.to_read as u64,
        deadline_ns: u64::MAX,
        name_bytes: name.len() as u64,
        ..SocketRecord::default()
    })
}

/// Answers with all sockets.
pub fn all(answer: &mut Answer) -> Result<(), Errno> {
    let [received, sent] = interfaces()
        .iter()
        .rfind(|own| !own.is_tunnel())
        .map_or([0, 0], |card| card.traffic().map(|way| way.packets));
    let looped = engine().looped().packets;
    answer.push(&SocketsHead { now_ns: time::now_ns(), received, sent, looped }.encode())?;
    // The engine holds no lock when it hands a socket out, but a message is better sent when it is done.
    let mut records = Text::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let mut result = Ok(());
        next = engine().tcp_list(from, &mut |own, watch| {
            let owner = watch.filter(|_| !own.is_orphan).map_or((0, 0), |watch| (watch.inode, watch.uid));
            result = result.and_then(|()| records.push(&tcp(own, owner).encode()));
        })?;
        result?;
        answer.push(records.as_bytes())?;
        records.clear();
    }
    next = Some(0);
    while let Some(from) = next {
        let mut result = Ok(());
        let listed = engine().udp_list(false, from, &mut |own, watch| {
            result = result.and_then(|()| records.push(&udp(own, (watch.inode, watch.uid)).encode()));
        });
        next = listed.map_err(|_| Errno::NOMEM)?;
        result?;
        answer.push(records.as_bytes())?;
        records.clear();
    }
    let mut name = Text::new();
    for socket in unix_sockets()?.values() {
        name.clear();
        let record = unix(socket, &mut name)?;
        answer.push(&record.encode())?;
        answer.push(name.as_bytes())?;
    }
    Ok(())
}
