//! Messages that programs of a guest sent to /dev/log.

use std::collections::HashMap;

use jiff::Timestamp;

use super::priority::Priority;
use super::record::{Origin, Record, Stream};

/// Bytes of the longest message that is put together of pieces: what a socket of the guest takes at once.
const LONGEST: usize = 256 << 10;
/// Messages of which some pieces are here.
const MOST_UNFINISHED: usize = 64;

/// Puts messages together, and reads them.
#[derive(Debug, Default)]
pub struct GuestSyslog {
    unfinished: HashMap<u32, Vec<u8>>,
}

impl GuestSyslog {
    /// Takes a piece of message `id`, which process `pid` sent; returns the record if it is the last.
    pub fn take(&mut self, id: u32, pid: u32, has_more: bool, bytes: &[u8]) -> Option<Record> {
        let mut message = self.unfinished.remove(&id).unwrap_or_default();
        // The guest is not trusted.
        let room = LONGEST.saturating_sub(message.len());
        message.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if has_more {
            if self.unfinished.len() < MOST_UNFINISHED {
                self.unfinished.insert(id, message);
            }
            return None;
        }
        Some(read(&message, pid))
    }
}

/// Reads a message as syslog(3) sends it: `<PRIORITY>Mmm dd hh:mm:ss TAG[PID]: TEXT`, where all but the text may be missing; or one of
/// RFC 5424.
fn read(message: &[u8], pid: u32) -> Record {
    let message = message.strip_suffix(&[0]).unwrap_or(message);
    let message = message.strip_suffix(b"\n").unwrap_or(message);
    let (priority, rest) =
        priority(message).unwrap_or((Priority::new(Priority::USER, Priority::NOTICE), message));
    let (tag, own_pid, text) = modern(rest).unwrap_or_else(|| local(rest));
    let pid = own_pid.or((pid != 0).then_some(pid));
    let origin = Some(Origin { priority, tag, pid });
    // A record is one line.
    let text = text.split(|&byte| byte == b'\n').collect::<Vec<_>>().join(&b' ');
    Record { time: Timestamp::now(), stream: Stream::Syslog, origin, text, is_part: false }
}

fn priority(message: &[u8]) -> Option<(Priority, &[u8])> {
    const DIGITS: usize = 3;
    let rest = message.strip_prefix(b"<")?;
    let end = rest.iter().take(DIGITS + 1).position(|&byte| byte == b'>')?;
    let number = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((Priority::of_number(number)?, &rest[end + 1..]))
}

/// Tag, process and text of a message of RFC 5424, after its priority.
fn modern(rest: &[u8]) -> Option<(String, Option<u32>, &[u8])> {
    let mut fields = rest.strip_prefix(b"1 ")?.splitn(6, |&byte| byte == b' ');
    let (_time, _host) = (fields.next()?, fields.next()?);
    let word = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let (tag, pid, _id) = (word(fields.next()?), word(fields.next()?), fields.next()?);
    let tag = if tag == "-" { String::new() } else { tag };
    Some((tag, pid.parse().ok(), fields.next()?.strip_prefix(b"- ").unwrap_or_default()))
        .filter(|(_, _, text)| !text.is_empty())
}

/// The same of a message of syslog(3).
fn local(rest: &[u8]) -> (String, Option<u32>, &[u8]) {
    let rest = skip_time(rest);
    let none = (String::new(), None, rest);
    let Some(colon) =
        rest.iter().position(|&byte| byte == b':' || byte == b' ').filter(|&at| rest[at] == b':')
    else {
        return none;
    };
    let Ok(head) = std::str::from_utf8(&rest[..colon]) else { return none };
    let text = rest[colon + 1..].strip_prefix(b" ").unwrap_or(&rest[colon + 1..]);
    match head.strip_suffix(']').and_then(|head| head.split_once('[')) {
        Some((tag, pid)) => (tag.to_owned(), pid.parse().ok(), text),
        None => (head.to_owned(), None, text),
    }
}

/// Leaves out `Mmm dd hh:mm:ss `.
fn skip_time(rest: &[u8]) -> &[u8] {
    /// A letter, a digit or a blank, a digit, and what is meant literally.
    const FORM: &[u8; 16] = b"aaa _0 00:00:00 ";
    let fits = |(form, byte): (&u8, &u8)| match form {
        b'a' => byte.is_ascii_alphabetic(),
        b'0' => byte.is_ascii_digit(),
        b'_' => byte.is_ascii_digit() || *byte == b' ',
        literal => literal == byte,
    };
    if rest.len() >= FORM.len() && FORM.iter().zip(rest).all(fits) { &rest[FORM.len()..] } else { rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(message: &[u8]) -> (u8, String, Option<u32>, String) {
        let record = read(message, 9);
        let origin = record.origin.unwrap();
        (origin.priority.number(), origin.tag, origin.pid, String::from_utf8(record.text).unwrap())
    }

    #[test]
    fn messages_are_read() {
        let all = |number: u8, tag: &str, pid: u32, text: &str| {
            (number, tag.to_owned(), Some(pid), text.to_owned())
        };
        assert_eq!(parts(b"<13>Nov 29 18:05:00 root: hello"), all(13, "root", 9, "hello"));
        assert_eq!(
            parts(b"<38>Nov  9 18:05:00 login[7]: no such user: x\0"),
            all(38, "login", 7, "no such user: x")
        );
        assert_eq!(parts(b"<14>python says: x"), all(14, "", 9, "python says: x"));
        assert_eq!(parts(b"plain\ntext\n"), all(13, "", 9, "plain text"));
        assert_eq!(parts(b"<165>1 2026-11-29T18:05:00Z h app 5 ID - text"), all(165, "app", 5, "text"));
        assert_eq!(parts(b"<999>x"), all(13, "", 9, "<999>x"));
        assert_eq!(parts(b""), all(13, "", 9, ""));
    }

    #[test]
    fn pieces_are_put_together() {
        let mut guest = GuestSyslog::default();
        assert_eq!(guest.take(1, 5, true, b"<13>one "), None);
        assert!(guest.take(2, 6, false, b"<13>other").is_some());
        let record = guest.take(1, 5, false, b"two").unwrap();
        assert_eq!(record.text, b"one two");
    }
}
