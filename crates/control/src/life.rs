//! Requests about how a guest fares: whether a port of it answers, and what its schedule has done.
use crate::message::{Fields, Writer};

/// A request about how a guest fares. None changes more than any client of the program's could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeRequest<'a> {
    /// Begins to connect to a TCP port at the guest's 127.0.0.1, in place of the connection that was tried before; port 0 only ends
    /// that. With a path, which is made of visible ASCII characters, an HTTP request (RFC 9112) for it follows.
    Probe {
        /// The port.
        port: u16,
        /// The path; empty: nothing is sent.
        path: &'a [u8],
    },
    /// How that went: no bytes without a path, else the next ones of the answer. EAGAIN if it is not decided yet; ECONNREFUSED and
    /// others of connect(2); EPIPE at the end of the answer.
    ProbeResult,
    /// The [`CronRecord`]s of all jobs, in their order.
    Cron,
}

/// Numbers of the requests; 72 to 79 are reserved for them.
pub(crate) mod number {
    pub const FIRST: u16 = PROBE;
    pub const PROBE: u16 = 72;
    pub const PROBE_RESULT: u16 = 73;
    pub const CRON: u16 = 74;
    pub const LAST: u16 = CRON;
}

impl<'a> LifeRequest<'a> {
    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        match *self {
            LifeRequest::Probe { port, path } => {
                out.half(number::PROBE);
                out.half(port);
                out.bytes(path);
            }
            LifeRequest::ProbeResult => out.half(number::PROBE_RESULT),
            LifeRequest::Cron => out.half(number::CRON),
        }
    }

    /// `None` if there are too few bytes.
    pub(crate) fn read(number: u16, mut fields: Fields<'a>) -> Option<LifeRequest<'a>> {
        match number {
            number::PROBE => Some(LifeRequest::Probe { port: fields.half()?, path: fields.rest() }),
            number::PROBE_RESULT => Some(LifeRequest::ProbeResult),
            _ => Some(LifeRequest::Cron),
        }
    }
}

/// What a job of the schedule has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CronRecord {
    /// How often it was started.
    pub starts: u64,
    /// How often it was left out, since it ran still, or could not be started.
    pub skipped: u64,
    /// When it was started last, in seconds since 1970; 0: never.
    pub started_s: u64,
    /// When it ended last; 0: never.
    pub ended_s: u64,
    /// The status with which it ended last, as wait(2) has it; [`CronRecord::NOT_STARTED`] and an error (errno(3)) if it could not be
    /// started.
    pub status: u64,
    /// Whether it runs: 1, else 0.
    pub running: u64,
}

impl CronRecord {
    /// Its bytes as it is sent.
    pub const BYTES: usize = 48;
    /// The bit of a status that is an error.
    pub const NOT_STARTED: u64 = 1 << 32;

    /// As it is sent.
    pub fn encode(&self) -> [u8; CronRecord::BYTES] {
        let mut bytes = [0; CronRecord::BYTES];
        let fields = [self.starts, self.skipped, self.started_s, self.ended_s, self.status, self.running];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// From the front of `bytes`; `None` if there are too few.
    pub fn decode(bytes: &[u8]) -> Option<CronRecord> {
        let mut fields = Fields(bytes);
        Some(CronRecord {
            starts: fields.long()?,
            skipped: fields.long()?,
            started_s: fields.long()?,
            ended_s: fields.long()?,
            status: fields.long()?,
            running: fields.long()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_survive(starts: u64, skipped: u64, started_s: u64, ended_s: u64, status: u64, running: u64) {
            let record = CronRecord { starts, skipped, started_s, ended_s, status, running };
            prop_assert_eq!(CronRecord::decode(&record.encode()), Some(record));
            prop_assert_eq!(CronRecord::decode(&record.encode()[1..]), None);
        }
    }
}
