//! What the stack counts: events that are rare, or that cost much more than to be counted (RFC 4022, RFC 4113, RFC 4293; Linux's
//! /proc/net/snmp and /proc/net/netstat). Segments of calm connections are not counted one by one: the device's and the loopback's
//! packets are.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// An event that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each has its own")]
        pub enum Count {
            $($(#[$doc])* $name,)*
        }

        const COUNTS: usize = [$(Count::$name),*].len();
    };
}

counters! {
    /// Connections that a program of ours began.
    ActiveOpens,
    /// Connections that a peer began.
    PassiveOpens,
    /// Connections that failed before they were there.
    AttemptFails,
    /// Connections that ended by a reset or an error.
    EstabResets,
    /// Segments that were sent again.
    RetransSegs,
    /// Times that an answer took too long, and the oldest segment was sent again.
    Timeouts,
    /// Resets that were sent.
    OutResets,
    /// Segments with a wrong header or checksum.
    InErrors,
    /// Segments that took the general path.
    SegmentsIn,
    /// Connections that a listener's queue had no room for.
    ListenOverflows,
    /// SYN cookies that were sent.
    CookiesSent,
    /// SYN cookies that came back.
    CookiesReceived,
    /// Acknowledgements that were no SYN cookies.
    CookiesFailed,
    /// Connections to which data of a SYN was sent and acknowledged (TCPFastOpenActive).
    FastOpenActive,
    /// The same, not acknowledged.
    FastOpenActiveFails,
    /// Connections that a SYN's data opened.
    FastOpenPassive,
    /// SYNs with a wrong cookie.
    FastOpenPassiveFails,
    /// SYNs that asked for a cookie.
    FastOpenCookiesAsked,
    /// Probes of a closed window, or of a peer that is quiet.
    Probes,
    /// Datagrams for a socket.
    DatagramsIn,
    /// Datagrams for no socket.
    NoPorts,
    /// Datagrams with a wrong header or checksum.
    DatagramErrors,
    /// Datagrams that a socket's buffer had no room for.
    BufferErrors,
    /// Datagrams that were sent.
    DatagramsOut,
    /// Frames that took the general path, of whatever kind.
    GeneralIn,
    /// ICMP messages that came.
    IcmpIn,
    /// Packets with a wrong IP header.
    HeaderErrors,
    /// Packets for other addresses.
    AddressErrors,
    /// Frames of a protocol that is not known.
    UnknownFrames,
    /// Packets that came over the link and were dropped for want of memory.
    ShortOfMemory,
    /// Segments whose data was dropped for want of memory.
    DataUnkept,
    /// Packets that were to be sent, and dropped because the device was full or memory short.
    OutDrops,
}

/// The counts.
pub struct Counters([AtomicU64; COUNTS]);

impl Default for Counters {
    fn default() -> Self {
        Counters([const { AtomicU64::new(0) }; COUNTS])
    }
}

impl Counters {
    /// Counts an event.
    #[inline]
    pub fn add(&self, what: Count) {
        self.0[what as usize].fetch_add(1, Relaxed);
    }

    /// How often it happened.
    pub fn get(&self, what: Count) -> u64 {
        self.0[what as usize].load(Relaxed)
    }
}

/// Packets and bytes in one direction over a link. A packet that the device cuts into segments counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Their bytes, from the Ethernet header on.
    pub bytes: u64,
    /// Packets that were dropped.
    pub drops: u64,
    /// Packets that made no sense.
    pub errors: u64,
}

impl Traffic {
    /// Counts a packet.
    #[inline(always)]
    pub fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}
