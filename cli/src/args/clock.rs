//! The option that says what the guest's clock is kept by.

use std::fmt;
use std::str::FromStr;

use coracle_image::{NTP_PORT, Peer};

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
