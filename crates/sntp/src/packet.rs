//! Packets of NTP version 4 (RFC 5905, section 7.3).
use crate::SECOND_NS;

/// The port of NTP servers.
pub const PORT: u16 = 123;
/// Bytes of a packet without extensions, and what is read of one.
const BYTES: usize = 48;
/// A longer answer than this is none that was asked for.
pub const LONGEST: usize = 512;

const VERSION: u8 = 4;
const OLDEST_VERSION: u8 = 3;
const MODE_CLIENT: u8 = 3;
const MODE_SERVER: u8 = 4;
/// The leap indicator of a server that is not synchronised, and those of leap seconds.
const LEAP_UNKNOWN: u8 = 3;
/// Servers farther from a clock than this don't count.
const STRATUM_MOST: u8 = 15;
/// The largest error of a server's clock (RFC 5905's MAXDIST), in nanoseconds.
const DISTANCE_MOST_NS: i64 = 1_500_000_000;

/// From the beginning of NTP's first era, 1900, to 1970.
const SECONDS_TO_1970: i64 = 2_208_988_800;
/// Seconds of an era, and the second of the first era, in 2020, before which a time is taken to be of the second one.
const ERA_S: i64 = 1 << 32;
const PIVOT_S: i64 = 3_786_825_600;

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// When the request came and the answer left, nanoseconds since 1970 by the server's clock.
    pub received_ns: i64,
    /// See there.
    pub sent_ns: i64,
    /// The largest error of the server's clock, in nanoseconds.
    pub distance_ns: i64,
    /// A leap second is ahead: 1 is inserted, -1 is left out.
    pub leap: i8,
    /// How far the server is from a clock: 1 to 15.
    pub stratum: u8,
}

/// Why a server serves no more, or not now (RFC 5905, section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kiss {
    /// DENY or RSTR: it must not be asked again.
    Denied,
    /// RATE: it was asked too often.
    Rate,
    /// Another code.
    Other,
}

/// Why a packet is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It is not one of a server, or does not answer this request.
    Foreign,
    /// The server says itself that it can't be used: it is not synchronised, or its error is too large.
    Unusable,
    /// The server wants to be left alone.
    Kiss(Kiss),
}

/// A request. `cookie`: 64 random bits, which the answer repeats; the server does not need our time.
pub fn request(cookie: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[0] = VERSION << 3 | MODE_CLIENT;
    bytes[BYTES - 8..].copy_from_slice(&cookie.to_be_bytes());
    bytes
}

fn word(bytes: &[u8; BYTES], at: usize) -> i64 {
    i64::from(u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
}

/// A fraction of 32 bits in nanoseconds.
fn fraction_ns(fraction: i64) -> i64 {
    (fraction * SECOND_NS) >> 32
}

/// NTP's short format, 16 bits of seconds and 16 of their fraction, in nanoseconds.
fn short_ns(value: i64) -> i64 {
    (value * SECOND_NS) >> 16
}

/// A time stamp, in nanoseconds since 1970: from 2020 to 2156.
fn time_ns(bytes: &[u8; BYTES], at: usize) -> i64 {
    let seconds = word(bytes, at);
    let era = if seconds < PIVOT_S { ERA_S } else { 0 };
    (seconds + era - SECONDS_TO_1970) * SECOND_NS + fraction_ns(word(bytes, at + 4))
}

/// Reads the answer to the request with this cookie.
pub fn parse(packet: &[u8], cookie: u64) -> Result<Reply, Rejection> {
    const STRATUM: usize = 1;
    const ROOT_DELAY: usize = 4;
    const ROOT_DISPERSION: usize = 8;
    const REFERENCE: usize = 12;
    const ORIGIN: usize = 24;
    const RECEIVED: usize = 32;
    const SENT: usize = 40;
    let Some(bytes) = packet.first_chunk::<BYTES>().filter(|_| packet.len() <= LONGEST) else {
        return Err(Rejection::Foreign);
    };
    let (leap, version, mode) = (bytes[0] >> 6, bytes[0] >> 3 & 7, bytes[0] & 7);
    let answers = bytes[ORIGIN..RECEIVED] == cookie.to_be_bytes();
    if !answers || mode != MODE_SERVER || !(OLDEST_VERSION..=VERSION).contains(&version) {
        return Err(Rejection::Foreign);
    }
    let stratum = bytes[STRATUM];
    if stratum == 0 {
        return Err(Rejection::Kiss(match &bytes[REFERENCE..REFERENCE + 4] {
            b"DENY" | b"RSTR" => Kiss::Denied,
            b"RATE" => Kiss::Rate,
            _ => Kiss::Other,
        }));
    }
    let distance_ns = short_ns(word(bytes, ROOT_DELAY)) / 2 + short_ns(word(bytes, ROOT_DISPERSION));
    let is_set = |at: usize| bytes[at..at + 8] != [0; 8];
    let (received_ns, sent_ns) = (time_ns(bytes, RECEIVED), time_ns(bytes, SENT));
    let is_usable = leap != LEAP_UNKNOWN
        && stratum <= STRATUM_MOST
        && distance_ns <= DISTANCE_MOST_NS
        && is_set(RECEIVED)
        && is_set(SENT)
        && received_ns <= sent_ns;
    if !is_usable {
        return Err(Rejection::Unusable);
    }
    let leap = [0, 1, -1][usize::from(leap)];
    Ok(Reply { received_ns, sent_ns, distance_ns, leap, stratum })
}
