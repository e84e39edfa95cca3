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

/// Reads a message as syslog(3) sends it.
fn read(message: &[u8], pid: u32) -> Record {
    let coracle_syslog::Message { priority, tag, pid, text } = coracle_syslog::read(message, pid);
    let priority = Priority::of_number(priority).unwrap_or(Priority::new(Priority::USER, Priority::NOTICE));
    let origin = Some(Origin { priority, tag: String::from_utf8_lossy(tag).into_owned(), pid });
    // A record is one line.
    let text = text.split(|&byte| byte == b'\n').collect::<Vec<_>>().join(&b' ');
    Record { time: Timestamp::now(), stream: Stream::Syslog, origin, text, is_part: false }
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
