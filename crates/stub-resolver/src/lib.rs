//! Questions to a name server for the addresses of a name, and its answers (RFC 1035, sections 4.1 and 4.1.4; RFC 3596). What a server that recurses
//! gives: it follows aliases itself.
#![no_std]
#![forbid(unsafe_code)]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The port of name servers.
pub const PORT: u16 = 53;
/// Bytes of the longest answer that is not cut off.
pub const LONGEST: usize = 512;
/// Bytes of the longest question.
pub const LONGEST_QUESTION: usize = HEADER + LONGEST_NAME + 1 + 4;

const HEADER: usize = 12;
const LONGEST_NAME: usize = 254;
const LONGEST_LABEL: usize = 63;
const CLASS_IN: u16 = 1;
/// Flags: a response, the code of an operation, and recursion desired.
const RESPONSE: u16 = 1 << 15;
const OPERATION: u16 = 0xf << 11;
const RECURSION_DESIRED: u16 = 1 << 8;
const RESULT: u16 = 0xf;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address of IPv4: A.
    V4,
    /// One of IPv6: AAAA.
    V6,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Kind::V4 => 1,
            Kind::V6 => 28,
        }
    }
}

/// Writes a question, and returns its length. None if this can be no name.
pub fn question(id: u16, name: &str, kind: Kind, out: &mut [u8; LONGEST_QUESTION]) -> Option<usize> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > LONGEST_NAME - 1 {
        return None;
    }
    *out = [0; LONGEST_QUESTION];
    out[..2].copy_from_slice(&id.to_be_bytes());
    out[2..4].copy_from_slice(&RECURSION_DESIRED.to_be_bytes());
    out[5] = 1;
    let mut at = HEADER;
    for label in name.as_bytes().split(|&byte| byte == b'.') {
        if label.is_empty() || label.len() > LONGEST_LABEL {
            return None;
        }
        out[at] = label.len() as u8;
        out[at + 1..at + 1 + label.len()].copy_from_slice(label);
        at += 1 + label.len();
    }
    // The root's label is empty.
    at += 1;
    out[at..at + 2].copy_from_slice(&kind.number().to_be_bytes());
    out[at + 2..at + 4].copy_from_slice(&CLASS_IN.to_be_bytes());
    Some(at + 4)
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The first address of this kind.
    Address(IpAddr),
    /// The name has none, or the server can't find it.
    None,
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Skips a name; returns where it ends. A compressed one ends with its pointer.
fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    const POINTER: u8 = 0xc0;
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            len if len & POINTER == POINTER => return Some(at + 2),
            len if len & POINTER == 0 => at += 1 + usize::from(len),
            _ => return None,
        }
    }
}

/// Reads the answer to `question`. None if this is not one.
pub fn answer(bytes: &[u8], question: &[u8]) -> Option<Answer> {
    const RECORD: usize = 10;
    let flags = short(bytes, 2)?;
    let asked = question.get(HEADER..)?;
    let same = bytes.get(HEADER..HEADER + asked.len())?.eq_ignore_ascii_case(asked);
    if short(bytes, 0) != short(question, 0) || flags & (RESPONSE | OPERATION) != RESPONSE || !same {
        return None;
    }
    if flags & RESULT != 0 {
        return Some(Answer::None);
    }
    let kind = short(asked, asked.len() - 4)?;
    let mut at = HEADER + asked.len();
    for _ in 0..short(bytes, 6)? {
        // An answer may be cut off between records.
        let Some(record) = skip_name(bytes, at) else { break };
        let Some(len) = short(bytes, record + RECORD - 2) else { break };
        let Some(data) = bytes.get(record + RECORD..record + RECORD + usize::from(len)) else { break };
        if short(bytes, record) == Some(kind) && short(bytes, record + 2) == Some(CLASS_IN) {
            if let Ok(octets) = <[u8; 4]>::try_from(data) {
                return Some(Answer::Address(Ipv4Addr::from(octets).into()));
            }
            if let Ok(octets) = <[u8; 16]>::try_from(data) {
                return Some(Answer::Address(Ipv6Addr::from(octets).into()));
            }
        }
        at = record + RECORD + usize::from(len);
    }
    Some(Answer::None)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn asked(name: &str, kind: Kind) -> Vec<u8> {
        let mut out = [0; LONGEST_QUESTION];
        let len = question(0x1234, name, kind, &mut out).unwrap();
        out[..len].to_vec()
    }

    /// An answer with these records.
    fn answered(question: &[u8], records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = question.to_vec();
        bytes[2] |= 0x80;
        bytes[7] = records.len() as u8;
        for (kind, data) in records {
            bytes.extend([0xc0, 12]);
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
            bytes.extend(*data);
        }
        bytes
    }

    #[test]
    fn addresses_are_asked_for_and_found() {
        let question = asked("time.example.", Kind::V4);
        assert_eq!(&question[..], b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04time\x07example\0\0\x01\0\x01");
        // An alias comes first.
        let bytes = answered(&question, &[(5, b"\x01a\xc0\x0c"), (1, &[10, 0, 0, 7])]);
        assert_eq!(answer(&bytes, &question), Some(Answer::Address([10, 0, 0, 7].into())));
        let six = asked("time.example", Kind::V6);
        let bytes = answered(&six, &[(28, &[1; 16])]);
        assert_eq!(answer(&bytes, &six), Some(Answer::Address([1u8; 16].into())));
        assert_eq!(answer(&answered(&six, &[]), &six), Some(Answer::None));
        let mut failed = answered(&six, &[]);
        failed[3] |= 3;
        assert_eq!(answer(&failed, &six), Some(Answer::None));
    }

    #[test]
    fn what_was_not_asked_for_is_no_answer() {
        let question = asked("time.example", Kind::V4);
        let good = answered(&question, &[(1, &[10, 0, 0, 7])]);
        for at in [0, 2, 13] {
            let mut bytes = good.clone();
            bytes[at] ^= if at == 2 { 0x80 } else { 1 };
            assert_eq!(answer(&bytes, &question), None);
        }
        let mut out = [0; LONGEST_QUESTION];
        for name in ["", ".", "a..b", &"a".repeat(64), &"a.".repeat(128)] {
            assert_eq!(crate::question(1, name, Kind::V4, &mut out), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..600), name in "[a-z.]{0,300}") {
            let mut out = [0; LONGEST_QUESTION];
            if let Some(len) = question(7, &name, Kind::V4, &mut out) {
                let mut all = answered(&out[..len], &[]);
                all[7] = 200;
                all.extend(&bytes);
                let _ = answer(&all, &out[..len]);
                let _ = answer(&bytes, &out[..len]);
            }
        }
    }
}
