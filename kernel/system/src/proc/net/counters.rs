//! /proc/net/snmp, netstat, sockstat and sockstat6: what the stack has counted (RFC 4022, RFC 4113, RFC 4293).
use super::sockets::Ip;
use coracle_core::errno::Errno;
use coracle_core::task::long_call;
use coracle_fallible::{NoMemory, Text};
use coracle_fs::synthetic::Piece;
use coracle_net::engine;
use coracle_net::interface_ioctl::interfaces;
use coracle_tcpip::{Count, State};

/// Sockets and connections, by kind.
#[derive(Default)]
struct Sockets {
    /// TCP sockets in use, of IPv4 and IPv6.
    tcp: [u64; 2],
    /// Those that no program has any more.
    orphans: u64,
    /// Established connections.
    established: u64,
    udp: [u64; 2],
    udp_lite: [u64; 2],
}

fn sockets() -> Result<Sockets, Errno> {
    let mut all = Sockets::default();
    let mut next = Some(0);
    while let Some(from) = next {
        next = engine().tcp_list(from, &mut |own, _| {
            let has_socket = own.flow.is_some() || own.state == State::Listen;
            all.tcp[usize::from(own.is_v6)] += u64::from(has_socket);
            all.orphans += u64::from(has_socket && own.is_orphan);
            all.established +=
                u64::from(has_socket && matches!(own.state, State::Established | State::CloseWait));
        })?;
        long_call::pause_unless_killed()?;
    }
    for (is_lite, count) in [(false, &mut all.udp), (true, &mut all.udp_lite)] {
        next = Some(0);
        while let Some(from) = next {
            let listed = engine().udp_list(is_lite, from, &mut |own, _| count[usize::from(own.is_v6)] += 1);
            next = listed.map_err(|_| Errno::NOMEM)?;
        }
    }
    Ok(all)
}

/// /proc/net/sockstat and sockstat6.
pub fn sockstat(ip: Ip, text: &mut Text) -> Piece {
    let all = sockets()?;
    let ([tcp, tcp6], [udp, udp6], [lite, lite6]) = (all.tcp, all.udp, all.udp_lite);
    match ip {
        Ip::V4 => {
            let (used, waits) = (tcp + tcp6 + udp + udp6 + lite + lite6, engine().time_waits());
            write!(
                text,
                "sockets: used {used}\nTCP: inuse {tcp} orphan {} tw {waits} alloc {} mem 0\nUDP: inuse {udp} mem 0\nUDPLITE: inuse {lite}\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
                all.orphans,
                tcp + tcp6
            )?;
        }
        Ip::V6 => write!(
            text,
            "TCP6: inuse {tcp6}\nUDP6: inuse {udp6}\nUDPLITE6: inuse {lite6}\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n"
        )?,
    }
    Ok(None)
}

/// Writes a line of names and one of values.
fn pair(text: &mut Text, what: &str, names: &str, values: &[u64]) -> Result<(), NoMemory> {
    write!(text, "{what}: {names}\n{what}:")?;
    values.iter().try_for_each(|value| write!(text, " {value}"))?;
    text.push(b"\n")
}

/// /proc/net/snmp. Of what calm connections receive and send, the packets of the interfaces count, so a packet that the device cuts
/// into segments or joins from some is one.
pub fn snmp(text: &mut Text) -> Piece {
    let engine = engine();
    let counters = engine.counters();
    let count = |what| counters.get(what);
    let traffic = interfaces()
        .iter()
        .map(|interface| interface.traffic().map(|way| way.packets))
        .fold([0, 0], |[received, sent], [more_received, more_sent]| {
            [received + more_received, sent + more_sent]
        });
    let [received, sent] = traffic;
    let looped = engine.looped().packets;
    let others_out = count(Count::DatagramsOut);
    // Frames that took the short path are segments.
    let short = received.saturating_sub(looped).saturating_sub(count(Count::GeneralIn));
    let segments_in = short + count(Count::SegmentsIn);
    let segments_out = sent.saturating_sub(others_out);
    pair(
        text,
        "Ip",
        "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates",
        &[
            2,
            64,
            received,
            count(Count::HeaderErrors),
            count(Count::AddressErrors),
            0,
            0,
            count(Count::ShortOfMemory),
            received,
            sent,
            count(Count::OutDrops),
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ],
    )?;
    // Those that are received, of any kind; none are counted by kind, nor when they are sent.
    let mut icmp = [0; 29];
    icmp[0] = count(Count::IcmpIn);
    pair(
        text,
        "Icmp",
        "InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutRateLimitGlobal OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps",
        &icmp,
    )?;
    let established = sockets()?.established;
    // RtoAlgorithm is Van Jacobson's, the least and the greatest time-out are in milliseconds, connections are not bounded.
    text.push(b"Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\nTcp: 1 200 120000 -1")?;
    let values = [
        count(Count::ActiveOpens),
        count(Count::PassiveOpens),
        count(Count::AttemptFails),
        count(Count::EstabResets),
        established,
        segments_in,
        segments_out,
        count(Count::RetransSegs),
        count(Count::InErrors),
        count(Count::OutResets),
        0,
    ];
    values.iter().try_for_each(|value| write!(text, " {value}"))?;
    text.push(b"\n")?;
    let udp = [
        count(Count::DatagramsIn),
        count(Count::NoPorts),
        count(Count::DatagramErrors) + count(Count::BufferErrors),
        others_out,
        count(Count::BufferErrors),
        0,
        0,
        0,
        0,
    ];
    let names = "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors";
    pair(text, "Udp", names, &udp)?;
    pair(text, "UdpLite", names, &[0; 9])?;
    Ok(None)
}

/// /proc/net/netstat.
pub fn netstat(text: &mut Text) -> Result<(), NoMemory> {
    let engine = engine();
    let counters = engine.counters();
    let count = |what| counters.get(what);
    let [received, sent] = interfaces().iter().fold([0, 0], |[received, sent], interface| {
        let [more_received, more_sent] = interface.traffic();
        [received + more_received.bytes, sent + more_sent.bytes]
    });
    pair(
        text,
        "TcpExt",
        "SyncookiesSent SyncookiesRecv SyncookiesFailed ListenOverflows ListenDrops TCPTimeouts TCPKeepAlive TCPRcvQDrop TCPFastOpenActive TCPFastOpenActiveFail TCPFastOpenPassive TCPFastOpenPassiveFail TCPFastOpenCookieReqd",
        &[
            count(Count::CookiesSent),
            count(Count::CookiesReceived),
            count(Count::CookiesFailed),
            count(Count::ListenOverflows),
            count(Count::ListenOverflows),
            count(Count::Timeouts),
            count(Count::Probes),
            count(Count::DataUnkept),
            count(Count::FastOpenActive),
            count(Count::FastOpenActiveFails),
            count(Count::FastOpenPassive),
            count(Count::FastOpenPassiveFails),
            count(Count::FastOpenCookiesAsked),
        ],
    )?;
    pair(text, "IpExt", "InOctets OutOctets", &[received, sent])
}

/// /proc/net/softnet_stat: a line of 15 numbers for each CPU. Packets are not counted by CPU: all stand in the first line, with those that
/// were dropped.
pub fn softnet(text: &mut Text) -> Result<(), NoMemory> {
    let all = interfaces();
    let received = all.iter().map(|own| own.traffic()[0]);
    let (packets, drops) = received.fold((0, 0), |sum, own| (sum.0 + own.packets, sum.1 + own.drops));
    for cpu in 0..coracle_hal::cpu::count() {
        let [packets, drops] = if cpu == 0 { [packets as u32, drops as u32] } else { [0; 2] };
        write!(text, "{packets:08x} {drops:08x}")?;
        (0..10).try_for_each(|_| write!(text, " {:08x}", 0))?;
        writeln!(text, " {cpu:08x} {:08x} {:08x}", 0, 0)?;
    }
    Ok(())
}
