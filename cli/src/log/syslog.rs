//! Messages for syslog daemons: RFC 5424 for servers, and the form of syslog(3) (RFC 3164 without a host) for the daemon of this
//! machine.

use std::io;

use jiff::tz::TimeZone;

use super::outlet::Destination;
use super::record::{Record, Stream};
use super::remote::{Address, Connection};
use super::settings::Choice;

/// Most characters of a host's name, of a program's, and of a process's number (RFC 5424, section 6).
const HOSTNAME_MOST: usize = 255;
const APP_NAME_MOST: usize = 48;

/// What messages say of their sender.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The guest's host name.
    pub host: String,
    /// What lines of the program are marked with.
    pub tag: String,
    /// The facility of lines that have none.
    pub facility: u8,
}

/// A field of RFC 5424's header: printable characters of ASCII without blanks; `-` if there are none.
fn field(text: &str, most: usize) -> String {
    let field: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}

impl Sender {
    fn tag_and_pid<'a>(&'a self, record: &'a Record) -> (&'a str, Option<u32>) {
        match &record.origin {
            Some(origin) if !origin.tag.is_empty() => (&origin.tag, origin.pid),
            Some(origin) => (&self.tag, origin.pid),
            None if record.stream == Stream::Kernel => ("kernel", None),
            None => (&self.tag, None),
        }
    }

    /// A message of RFC 5424. The message's identifier is the stream's name.
    pub fn modern(&self, record: &Record) -> Vec<u8> {
        let (tag, pid) = self.tag_and_pid(record);
        let head = format!(
            "<{}>1 {:.6} {} {} {} {} - ",
            record.priority(self.facility).number(),
            record.time,
            field(&self.host, HOSTNAME_MOST),
            field(tag, APP_NAME_MOST),
            pid.map_or("-".to_owned(), |pid| pid.to_string()),
            record.stream.name(),
        );
        [head.as_bytes(), &clean(&record.text)].concat()
    }

    /// A message as syslog(3) sends it.
    pub fn local(&self, record: &Record) -> Vec<u8> {
        let (tag, pid) = self.tag_and_pid(record);
        let time = record.time.to_zoned_datetime(TimeZone::system()).strftime("%b %e %H:%M:%S");
        let pid = pid.map_or(String::new(), |pid| format!("[{pid}]"));
        let head = format!(
            "<{}>{time} {}{pid}: ",
            record.priority(self.facility).number(),
            field(tag, APP_NAME_MOST)
        );
        [head.as_bytes(), &clean(&record.text)].concat()
    }
}

/// Zeros would end a message.
fn clean(text: &[u8]) -> Vec<u8> {
    text.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect()
}

/// A daemon, and the connection to it.
pub struct Syslog {
    address: Address,
    sender: Sender,
    choice: Choice,
    connection: Option<Connection>,
}

impl Syslog {
    /// The daemon at this address.
    pub fn new(address: Address, sender: Sender, choice: &Choice) -> Syslog {
        Syslog { address, sender, choice: choice.clone(), connection: None }
    }
}

impl Destination for Syslog {
    fn take(&mut self, record: &Record) -> io::Result<()> {
        let message = match self.address {
            Address::Unix(_) => self.sender.local(record),
            _ => self.sender.modern(record),
        };
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(&self.address, self.choice.authorities.as_ref())?),
        };
        let sent = connection.send(&message);
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::super::priority::Priority;
    use super::super::record::Origin;
    use super::*;

    #[test]
    fn messages_have_their_form() {
        let sender = Sender { host: "web 1".into(), tag: "cache".into(), facility: 16 };
        let mut record = Record::line(Stream::Stderr, "no\0room");
        record.time = "2026-11-29T18:05:00.1234567Z".parse().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert_eq!(
            text(sender.modern(&record)),
            "<131>1 2026-11-29T18:05:00.123456Z web1 cache - stderr - no room"
        );
        assert!(text(sender.local(&record)).starts_with("<131>Nov "));
        assert!(text(sender.local(&record)).ends_with(" cache: no room"));
        record.stream = Stream::Syslog;
        record.origin = Some(Origin { priority: Priority::new(4, 6), tag: "login".into(), pid: Some(7) });
        assert_eq!(
            text(sender.modern(&record)),
            "<38>1 2026-11-29T18:05:00.123456Z web1 login 7 syslog - no room"
        );
        assert!(text(sender.local(&record)).ends_with(" login[7]: no room"));
    }
}
