//! What the jobs of a guest's schedule have done.

use std::fmt;

use coracle_control::{CronRecord, LifeRequest, Request};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::observe::Client;

/// A job in `coracle ps`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Job {
    name: String,
    /// How often it was started.
    starts: u64,
    /// How often it was left out, since it ran still, or could not be started.
    skipped: u64,
    running: bool,
    /// When it was started last.
    started_at: Option<Timestamp>,
    /// When it ended last.
    ended_at: Option<Timestamp>,
    /// The status with which it ended last, as a shell has it.
    exit_status: Option<u32>,
    /// Why it could not be started the last time.
    error: Option<String>,
}

/// Asks a guest for its jobs, which have these names.
pub fn ask(client: &mut Client, names: &[String]) -> Vec<Job> {
    // A guest that can't be asked is listed without.
    let answer = client.ask(Request::Life(LifeRequest::Cron)).ok().and_then(Result::ok).unwrap_or_default();
    names
        .iter()
        .zip(answer.chunks_exact(CronRecord::BYTES).filter_map(CronRecord::decode))
        .map(|(name, record)| Job::new(name.clone(), &record))
        .collect()
}

/// What the jobs of these names had done when their guest ended.
pub fn at_end(names: &[String], records: &[CronRecord]) -> Vec<Job> {
    names
        .iter()
        .zip(records)
        // None runs any more.
        .map(|(name, record)| Job { running: false, ..Job::new(name.clone(), record) })
        .collect()
}

impl Job {
    fn new(name: String, record: &CronRecord) -> Self {
        /// Bits of a status of wait(2): the signal that ended the process, and the status with which it ended else.
        const SIGNAL: u64 = 0x7f;
        const STATUS_SHIFT: u64 = 8;
        let time =
            |seconds: u64| Timestamp::from_second(seconds.try_into().ok()?).ok().filter(|_| seconds > 0);
        let error = (record.status & CronRecord::NOT_STARTED != 0).then(|| {
            let number = i32::try_from(record.status & !CronRecord::NOT_STARTED).unwrap_or_default();
            std::io::Error::from_raw_os_error(number).to_string()
        });
        let status = match record.status & SIGNAL {
            0 => record.status >> STATUS_SHIFT & 0xff,
            signal => 128 + signal,
        };
        let ended_at = time(record.ended_s);
        Job {
            name,
            starts: record.starts,
            skipped: record.skipped,
            running: record.running != 0,
            started_at: time(record.started_s),
            ended_at,
            exit_status: (ended_at.is_some() && error.is_none())
                .then(|| u32::try_from(status).unwrap_or_default()),
            error,
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Job { name, starts, skipped, running, .. } = self;
        write!(f, "{name}: started {starts} times, left out {skipped} times")?;
        if let Some(error) = &self.error {
            write!(f, "; could not be started: {error}")?;
        }
        if *running {
            write!(f, "; runs")?;
        }
        if let Some((status, ended)) = self.exit_status.zip(self.ended_at) {
            write!(f, "; ended with {status} at {ended}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_those_of_a_shell() {
        let job = |status| {
            let record =
                CronRecord { starts: 1, started_s: 10, ended_s: 20, status, ..CronRecord::default() };
            Job::new("x".to_owned(), &record)
        };
        assert_eq!((job(3 << 8).exit_status, job(9).exit_status), (Some(3), Some(137)));
        let failed = job(CronRecord::NOT_STARTED | 2);
        assert!(
            failed.exit_status.is_none() && failed.error.is_some_and(|error| error.contains("No such file"))
        );
    }
}
