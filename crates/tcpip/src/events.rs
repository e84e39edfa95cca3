//! Readiness of sockets, and how the engine reports its changes.

use crate::counters::Count;
use crate::ip::{Address, Endpoint};
use crate::tcp::State;
use core::ops::{BitAnd, BitOr, BitOrAssign};

/// A set of conditions of a socket, all of them in the sense of poll(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Readiness(u32);

impl Readiness {
    /// Nothing.
    pub const EMPTY: Self = Self(0);
    /// `recv` returns data, the end of the stream, or an error at once.
    pub const READABLE: Self = Self(1);
    /// `send` takes data (or returns an error) at once.
    pub const WRITABLE: Self = Self(2);
    /// Both directions are closed (`POLLHUP`).
    pub const HANGUP: Self = Self(4);
    /// The peer will send no more (`POLLRDHUP`).
    pub const READ_HANGUP: Self = Self(8);
    /// An error waits to be taken (`POLLERR`).
    pub const ERROR: Self = Self(16);
    /// `accept` returns a connection at once (poll calls it readable).
    pub const ACCEPTABLE: Self = Self(32);
    /// An urgent byte can be received (`POLLPRI`).
    pub const URGENT: Self = Self(64);
    /// Everything.
    pub const ALL: Self = Self(127);

    /// The conditions of both.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether no condition holds.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all conditions of `other` hold.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any condition of `other` holds.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// As bits, to keep in an atomic.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From [`bits`](Self::bits).
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }
}

impl BitOr for Readiness {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Readiness {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The ends of a connection, or of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Our port.
    pub local_port: u16,
    /// The peer.
    pub remote: Endpoint,
}

impl Ends {
    /// Of a packet whose ports are not known.
    pub const fn of(remote: Address) -> Ends {
        Ends { local_port: 0, remote: Endpoint::new(remote, 0) }
    }
}

/// What [`Events::observe`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A connection goes from a state to another.
    State(Ends, State, State),
    /// A segment is sent again.
    Retransmission(Ends),
    /// Data waits, and the peer's window has no room for it.
    ZeroWindow(Ends),
    /// A packet is dropped, by what is counted for it.
    Drop(Ends, Count),
}

/// The user's data of a socket: notified when something happens on it.
pub trait Events: Send + Sync + 'static {
    /// `new` holds what has just happened. Every arrival of data is reported, even if the socket was readable
    /// before (edge-triggered epoll needs that). `readiness()`, which takes no lock, returns what holds now.
    ///
    /// Called with no lock of the engine held, on the CPU that caused the event; several CPUs may call at once.
    fn notify(&self, new: Readiness);

    /// Something has happened that explains why a connection stands still, or ended. Called with the connection locked, in no case for each
    /// segment.
    #[inline(always)]
    fn observe(what: &Observation) {
        let _ = what;
    }
}
