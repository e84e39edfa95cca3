//! The answer to [`Request::Sockets`](crate::Request::Sockets), and what a guest notes of packets.
//!
//! A [`SocketsHead`] comes first. For each socket follow a [`SocketRecord`] and the bytes of its name, if it is one of AF_UNIX.

words! {
    /// When the sockets were looked at.
    SocketsHead {
        /// Nanoseconds since boot.
        now_ns,
        /// Frames that came over the device, and that went.
        received,
        /// See `received`.
        sent,
        /// Packets that went over the loopback.
        looped,
    }
}

words! {
    /// A socket, or what is left of one.
    SocketRecord {
        /// One of [`socket_kind`].
        kind,
        /// Flags of [`socket_flag`].
        flags,
        /// The state, by Linux's numbers for TCP (include/net/tcp_states.h); of AF_UNIX: 1 connected, 7 not, 10 listening.
        state,
        /// Its number, in `socket:[…]`; 0 if no program has it.
        inode,
        /// The user whose process made it.
        uid,
        /// Its address, the higher half; IPv4 as the address of IPv6 that stands for it (RFC 4291, section 2.5.5.2).
        local_high,
        /// The lower half.
        local_low,
        /// Its port.
        local_port,
        /// The peer's, as above.
        remote_high,
        /// See above.
        remote_low,
        /// See above; of AF_UNIX: the peer's number.
        remote_port,
        /// Bytes that the peer has not acknowledged, or not read; of a listener: how many connections may wait.
        to_send,
        /// Bytes that the program has not read; of a listener: connections that wait.
        to_read,
        /// Datagrams that wait; of TCP, bytes that were never sent.
        waiting,
        /// Datagrams that there was no room for; of TCP: segments that were sent again.
        lost,
        /// What its timer is for, by Linux's numbers in /proc/net/tcp.
        timer,
        /// When it is due, in nanoseconds since boot; `u64::MAX`: never.
        deadline_ns,
        /// Transmissions in a row without an answer.
        retransmits,
        /// Probes in a row without an answer.
        probes,
        /// Smoothed round-trip time, microseconds; 0: not measured.
        rtt_us,
        /// Its mean deviation.
        rtt_var_us,
        /// Retransmission time-out, microseconds.
        rto_us,
        /// Bytes of a full segment.
        mss,
        /// Congestion window, segments.
        congestion_window,
        /// Bytes that the peer's window has room for, from the first that it has not acknowledged.
        send_window,
        /// Bytes that our window has room for.
        receive_window,
        /// Bytes that its buffer for sending takes.
        send_buffer,
        /// Bytes that its buffer for receiving takes.
        receive_buffer,
        /// When data was sent last, in nanoseconds since boot.
        last_sent_ns,
        /// When something came last; of UDP: when the datagram came that waits first.
        last_received_ns,
        /// Since when the peer has not answered.
        stalled_since_ns,
        /// Bytes of the name that follows.
        name_bytes,
    }
}

/// Kinds of sockets.
pub mod socket_kind {
    /// TCP.
    pub const TCP: u64 = 6;
    /// UDP.
    pub const UDP: u64 = 17;
    /// AF_UNIX, streams.
    pub const UNIX_STREAM: u64 = 1001;
    /// AF_UNIX, datagrams.
    pub const UNIX_DATAGRAM: u64 = 1002;
    /// AF_UNIX, packets in sequence.
    pub const UNIX_PACKET: u64 = 1005;
}

/// Flags of a [`SocketRecord`].
pub mod socket_flag {
    /// It was made for the addresses of IPv6.
    pub const V6: u64 = 1;
    /// The program has closed it.
    pub const ORPHAN: u64 = 2;
    /// Segments are missing, and others came after them.
    pub const GAP: u64 = 4;
    /// Segments were lost, and are sent again.
    pub const RECOVERING: u64 = 8;
    /// The device had no room for a segment.
    pub const BLOCKED: u64 = 16;
    /// The peer sends no more.
    pub const PEER_FINISHED: u64 = 32;
    /// It has no record of a connection (TIME_WAIT, or a SYN that was answered).
    pub const REMAINS: u64 = 64;
    /// It is connected.
    pub const CONNECTED: u64 = 128;
}

/// A packet that was captured. Its bytes follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketRecord {
    /// Bytes that follow.
    pub captured: u32,
    /// Bytes of the whole packet, from the Ethernet header on; of [`packet::LOST`], how many packets were lost.
    pub len: u32,
    /// One of [`packet`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// Nanoseconds since 1970.
    pub time_ns: u64,
}

/// Kinds of a [`PacketRecord`].
pub mod packet {
    /// It came over the device.
    pub const RECEIVED: u32 = 1;
    /// It went over the device.
    pub const SENT: u32 = 2;
    /// It went over the loopback.
    pub const LOOPED: u32 = 3;
    /// So many packets had no room.
    pub const LOST: u32 = 4;
}

impl PacketRecord {
    /// Bytes of a record without the packet's.
    pub const HEAD: usize = 24;

    /// As it is sent.
    pub fn encode(&self) -> [u8; PacketRecord::HEAD] {
        let mut bytes = [0; PacketRecord::HEAD];
        let words = [self.captured, self.len, self.kind, self.reserved];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes[16..].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes
    }

    /// The record at the front of `bytes`, the packet's bytes, and what follows. `None`: there is no whole one.
    pub fn decode(bytes: &[u8]) -> Option<(PacketRecord, &[u8], &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<{ PacketRecord::HEAD }>()?;
        let word = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?));
        let record = PacketRecord {
            captured: word(0)?,
            len: word(4)?,
            kind: word(8)?,
            reserved: word(12)?,
            time_ns: u64::from_le_bytes(*head.last_chunk()?),
        };
        let (own, rest) = rest.split_at_checked(usize::try_from(record.captured).ok()?)?;
        Some((record, own, rest))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn packets_are_read_as_they_were_written(kind: u32, len: u32, time_ns: u64, packet: Vec<u8>, rest: Vec<u8>) {
            let record = PacketRecord { captured: packet.len() as u32, len, kind, reserved: 0, time_ns };
            let all = [&record.encode()[..], &packet, &rest].concat();
            prop_assert_eq!(PacketRecord::decode(&all), Some((record, &packet[..], &rest[..])));
        }

        #[test]
        fn any_bytes_are_packets_or_end(bytes: Vec<u8>) {
            let mut left = &bytes[..];
            while let Some((record, packet, rest)) = PacketRecord::decode(left) {
                prop_assert_eq!(record.captured as usize, packet.len());
                prop_assert!(rest.len() < left.len());
                left = rest;
            }
        }

        #[test]
        fn sockets_are_read_as_they_were_written(words in prop::collection::vec(any::<u64>(), SocketRecord::BYTES / 8)) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let (record, rest) = SocketRecord::decode(&bytes).expect("as many as it has");
            prop_assert!(rest.is_empty());
            prop_assert_eq!(&record.encode()[..], bytes);
        }
    }
}
