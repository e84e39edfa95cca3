//! A job, as an image stores it.
use crate::{Schedule, Zone};

/// What happens when a job is due that still runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It starts once more when it has ended; once, however often it was due.
    Queue,
    /// It is killed, and starts anew.
    Kill,
}

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job<'a> {
    /// When it is due.
    pub schedule: Schedule,
    /// The time zone of the schedule.
    pub zone: Zone,
    /// What happens when it runs still.
    pub overlap: Overlap,
    /// Its program's path, and its arguments, its name first; a zero byte after each.
    pub command: &'a [u8],
}

impl<'a> Job<'a> {
    /// Bytes before the command.
    pub const HEAD: usize = Schedule::BYTES + Zone::BYTES + 1;

    /// What is stored before the command.
    pub fn head(&self) -> [u8; Job::HEAD] {
        let mut bytes = [0; Job::HEAD];
        bytes[..Schedule::BYTES].copy_from_slice(&self.schedule.encode());
        bytes[Schedule::BYTES..Job::HEAD - 1].copy_from_slice(&self.zone.encode());
        bytes[Job::HEAD - 1] = self.overlap as u8;
        bytes
    }

    /// From its bytes; `None` if there are too few.
    pub fn decode(bytes: &'a [u8]) -> Option<Job<'a>> {
        let (schedule, rest) = Schedule::decode(bytes)?;
        let (zone, rest) = Zone::decode(rest)?;
        let (&overlap, command) = rest.split_first()?;
        let overlap = match overlap {
            1 => Overlap::Queue,
            2 => Overlap::Kill,
            _ => Overlap::Skip,
        };
        Some(Job { schedule, zone, overlap, command })
    }
}
