//! Options that name servers which the guest turns to by itself: for its clock, and for its lines.

use std::fmt;
use std::str::FromStr;

use coracle_image::{NTP_PORT, Peer, SyslogServer};

/// An NTP server: `HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NtpServer(pub Peer);

impl FromStr for NtpServer {
    type Err = String;

    fn from_str(text: &str) -> Result<NtpServer, String> {
        let wrong = || format!("`{text}` is no server: write HOST, HOST:PORT or [ADDRESS]:PORT");
        Peer::parse(text, NTP_PORT).map(NtpServer).ok_or_else(wrong)
    }
}

impl fmt::Display for NtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads the server that a guest sends its lines to.
pub fn syslog_server(text: &str) -> Result<SyslogServer, String> {
    SyslogServer::parse(text).ok_or_else(|| match text.starts_with("tls://") {
        true => {
            "a guest sends lines over UDP and TCP; TLS is spoken by `coracle run --syslog tls://HOST:PORT`"
                .to_owned()
        }
        false => format!("`{text}` is no server: write udp://HOST:PORT or tcp://HOST:PORT"),
    })
}
