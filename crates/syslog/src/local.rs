//! Messages as syslog(3) writes them to /dev/log: `<PRIORITY>Mmm dd hh:mm:ss TAG[PID]: TEXT`, where all but the text may be missing; or those of RFC 5424.
use crate::code;
use crate::head::number_of;

/// The highest number of a priority: local7.debug.
const PRIORITY_MOST: u8 = 191;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Facility and severity: user.notice if it has none.
    pub priority: u8,
    /// The program; may be empty.
    pub tag: &'a [u8],
    /// The process.
    pub pid: Option<u32>,
    /// The text, which may have several lines.
    pub text: &'a [u8],
}

/// Reads a message that process `pid` sent (0: not known).
pub fn read(message: &[u8], pid: u32) -> Message<'_> {
    let message = message.strip_suffix(&[0]).unwrap_or(message);
    let message = message.strip_suffix(b"\n").unwrap_or(message);
    let (priority, rest) = priority(message).unwrap_or((number_of(code::USER, code::NOTICE), message));
    let (tag, own_pid, text) = modern(rest).unwrap_or_else(|| local(rest));
    Message { priority, tag, pid: own_pid.or((pid != 0).then_some(pid)), text }
}

fn number<T: core::str::FromStr>(digits: &[u8]) -> Option<T> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

fn priority(message: &[u8]) -> Option<(u8, &[u8])> {
    const DIGITS: usize = 3;
    let rest = message.strip_prefix(b"<")?;
    let end = rest.iter().take(DIGITS + 1).position(|&byte| byte == b'>')?;
    let priority = number(&rest[..end]).filter(|number| *number <= PRIORITY_MOST)?;
    Some((priority, &rest[end + 1..]))
}

/// Tag, process and text of a message of RFC 5424, after its priority.
fn modern(rest: &[u8]) -> Option<(&[u8], Option<u32>, &[u8])> {
    let mut fields = rest.strip_prefix(b"1 ")?.splitn(6, |&byte| byte == b' ');
    let (_time, _host) = (fields.next()?, fields.next()?);
    let (tag, pid, _id) = (fields.next()?, fields.next()?, fields.next()?);
    let tag = if tag == b"-" { b"" } else { tag };
    let text = fields.next()?.strip_prefix(b"- ").filter(|text| !text.is_empty())?;
    Some((tag, number(pid), text))
}

/// The same of a message of syslog(3).
fn local(rest: &[u8]) -> (&[u8], Option<u32>, &[u8]) {
    let rest = skip_time(rest);
    let colon = rest.iter().position(|&byte| byte == b':' || byte == b' ').filter(|&at| rest[at] == b':');
    let Some(colon) = colon else { return (b"", None, rest) };
    let (head, text) = (&rest[..colon], &rest[colon + 1..]);
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let bracket = head.iter().position(|&byte| byte == b'[');
    match (head.strip_suffix(b"]"), bracket) {
        (Some(open), Some(at)) => (&head[..at], number(&open[at + 1..]), text),
        _ => (head, None, text),
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
    use proptest::prelude::*;

    #[test]
    fn messages_are_read() {
        let all = |priority, tag: &'static [u8], pid, text: &'static [u8]| Message {
            priority,
            tag,
            pid: Some(pid),
            text,
        };
        assert_eq!(read(b"<13>Nov 29 18:05:00 root: hello", 9), all(13, b"root", 9, b"hello"));
        assert_eq!(
            read(b"<38>Nov  9 18:05:00 login[7]: no such user: x\0", 9),
            all(38, b"login", 7, b"no such user: x")
        );
        assert_eq!(read(b"<14>python says: x", 9), all(14, b"", 9, b"python says: x"));
        assert_eq!(read(b"plain\ntext\n", 9), all(13, b"", 9, b"plain\ntext"));
        assert_eq!(read(b"<165>1 2026-11-29T18:05:00Z h app 5 ID - text", 9), all(165, b"app", 5, b"text"));
        assert_eq!(read(b"<999>x", 9), all(13, b"", 9, b"<999>x"));
        assert_eq!(read(b"<192>x", 9), all(13, b"", 9, b"<192>x"));
        assert_eq!(read(b"", 0), Message { priority: 13, tag: b"", pid: None, text: b"" });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "<[0-9]{0,3}>(1 )?[a-zA-Z:\\[\\] 0-9-]{0,60}") {
            for message in [&bytes[..], text.as_bytes()] {
                let read = read(message, 1);
                prop_assert!(read.priority <= 191 && read.text.len() <= message.len());
            }
        }
    }
}
