//! Errors of operations on sockets.

use coracle_fallible::NoMemory;
use core::fmt;

/// A result of the engine.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// An error, named after Linux's `errno` values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Nothing to read, no room to write, or no connection to accept yet (`EAGAIN`).
    WouldBlock,
    /// A connection is already being made (`EALREADY`).
    AlreadyInProgress,
    /// Already connected (`EISCONN`).
    IsConnected,
    /// Not connected (`ENOTCONN`).
    NotConnected,
    /// The local address or port is taken (`EADDRINUSE`).
    AddressInUse,
    /// The address is not one of ours, or no port is free (`EADDRNOTAVAIL`).
    AddressNotAvailable,
    /// The peer refused (`ECONNREFUSED`).
    ConnectionRefused,
    /// The peer reset the connection (`ECONNRESET`).
    ConnectionReset,
    /// The connection was given up here (`ECONNABORTED`).
    ConnectionAborted,
    /// The peer did not answer (`ETIMEDOUT`).
    TimedOut,
    /// No such host on the link, or a router said so (`EHOSTUNREACH`).
    HostUnreachable,
    /// No route (`ENETUNREACH`).
    NetworkUnreachable,
    /// Sending after the sending side was shut down (`EPIPE`).
    BrokenPipe,
    /// The operation makes no sense in this state (`EINVAL`).
    Invalid,
    /// The datagram is too long (`EMSGSIZE`).
    MessageTooLong,
    /// No packet memory (`ENOBUFS`).
    NoBuffers,
    /// `send` on an unconnected datagram socket (`EDESTADDRREQ`).
    DestinationRequired,
    /// Broadcast without `SO_BROADCAST` (`EACCES`).
    AccessDenied,
    /// The operation is not for this kind of socket (`EOPNOTSUPP`).
    NotSupported,
    /// The host does not speak the protocol (`ENOPROTOOPT`).
    ProtocolNotAvailable,
    /// A router says that the host is down (`EHOSTDOWN`).
    HostDown,
    /// A router says that there is no such network for us (`ENONET`).
    NoNetwork,
    /// A router says that a header is wrong (`EPROTO`).
    Protocol,
}

impl Error {
    /// Linux's number of it (errno(3), x86-64).
    pub const fn errno(self) -> i32 {
        match self {
            Error::WouldBlock => 11,
            Error::AccessDenied => 13,
            Error::Invalid => 22,
            Error::BrokenPipe => 32,
            Error::NoNetwork => 64,
            Error::Protocol => 71,
            Error::DestinationRequired => 89,
            Error::MessageTooLong => 90,
            Error::ProtocolNotAvailable => 92,
            Error::NotSupported => 95,
            Error::AddressInUse => 98,
            Error::AddressNotAvailable => 99,
            Error::NetworkUnreachable => 101,
            Error::ConnectionAborted => 103,
            Error::ConnectionReset => 104,
            Error::NoBuffers => 105,
            Error::IsConnected => 106,
            Error::NotConnected => 107,
            Error::TimedOut => 110,
            Error::ConnectionRefused => 111,
            Error::HostDown => 112,
            Error::HostUnreachable => 113,
            Error::AlreadyInProgress => 114,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::WouldBlock => "resource temporarily unavailable",
            Error::AlreadyInProgress => "operation already in progress",
            Error::IsConnected => "socket is already connected",
            Error::NotConnected => "socket is not connected",
            Error::AddressInUse => "address already in use",
            Error::AddressNotAvailable => "cannot assign requested address",
            Error::ConnectionRefused => "connection refused",
            Error::ConnectionReset => "connection reset by peer",
            Error::ConnectionAborted => "connection aborted",
            Error::TimedOut => "connection timed out",
            Error::HostUnreachable => "no route to host",
            Error::NetworkUnreachable => "network is unreachable",
            Error::BrokenPipe => "broken pipe",
            Error::Invalid => "invalid argument",
            Error::MessageTooLong => "message too long",
            Error::NoBuffers => "no buffer space available",
            Error::DestinationRequired => "destination address required",
            Error::AccessDenied => "permission denied",
            Error::NotSupported => "operation not supported",
            Error::ProtocolNotAvailable => "protocol not available",
            Error::HostDown => "host is down",
            Error::NoNetwork => "machine is not on the network",
            Error::Protocol => "protocol error",
        })
    }
}

impl core::error::Error for Error {}

impl From<NoMemory> for Error {
    fn from(_: NoMemory) -> Error {
        Error::NoBuffers
    }
}
