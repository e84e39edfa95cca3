//! UDP-Lite (RFC 3828): UDP whose checksum may cover the beginning of a datagram only, so that the rest may arrive damaged.
//!
//! The header is UDP's, with the checksum's coverage in place of the length, which the IP header tells.

use crate::datagram::TRANSPORT_LEN;

/// What a program asks of the checksums of UDP-Lite, in bytes with the header's eight; 0 is the whole datagram. `None`: it has not
/// asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// `UDPLITE_SEND_CSCOV`.
    pub send: Option<u16>,
    /// `UDPLITE_RECV_CSCOV`: datagrams of which less is covered are dropped.
    pub receive: Option<u16>,
}

impl Coverage {
    /// The field of a datagram to be sent of `total` bytes with its header, and how many of them are summed.
    pub(crate) fn of_sent(self, total: usize) -> (u16, usize) {
        match self.send {
            Some(0) => (0, total),
            Some(part) if usize::from(part) < total => (part, part.into()),
            _ => (total as u16, total),
        }
    }

    /// Whether a datagram is taken of which `covered` bytes are summed; `None` if all are.
    pub(crate) fn takes(self, covered: Option<u16>) -> bool {
        match (self.receive, covered) {
            (_, None) | (None, _) => true,
            (Some(0), Some(_)) => false,
            (Some(least), Some(covered)) => covered >= least,
        }
    }
}

/// How many bytes are summed of a received datagram of `total` bytes, of what its field says; `None` if that can't be.
pub(crate) fn of_received(field: u16, total: usize) -> Option<usize> {
    match usize::from(field) {
        0 => Some(total),
        part => (TRANSPORT_LEN..=total).contains(&part).then_some(part),
    }
}

#[cfg(test)]
mod tests {
    use super::{Coverage, of_received};

    #[test]
    fn the_field_says_what_is_summed() {
        let send = |send| Coverage { send, receive: None }.of_sent(100);
        assert_eq!(send(None), (100, 100));
        assert_eq!(send(Some(0)), (0, 100));
        assert_eq!(send(Some(8)), (8, 8));
        assert_eq!(send(Some(100)), (100, 100));
        assert_eq!(send(Some(101)), (100, 100));
        assert_eq!(
            [0, 7, 8, 100, 101].map(|field| of_received(field, 100)),
            [Some(100), None, Some(8), Some(100), None]
        );
    }

    #[test]
    fn less_than_was_asked_for_is_not_taken() {
        let takes = |receive, covered| Coverage { send: None, receive }.takes(covered);
        assert!(takes(None, Some(8)) && takes(Some(0), None) && takes(Some(20), None));
        assert!(takes(Some(20), Some(20)) && !takes(Some(20), Some(19)) && !takes(Some(0), Some(99)));
    }
}
