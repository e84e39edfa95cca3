//! The minutes at which a job is due.
use crate::civil::{DAY_MINUTES, MINUTES, Moment};

/// The fields of a line of crontab(5), a bit for each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub(crate) minutes: u64,
    pub(crate) hours: u32,
    pub(crate) days: u32,
    pub(crate) months: u16,
    pub(crate) weekdays: u8,
    pub(crate) flags: u8,
}

/// The field for days of the month, or that for those of the week, begins with `*`: both have to fit. Else one of them is enough.
pub(crate) const ANY_DAY: u8 = 1;
/// The field for minutes or that for hours begins with `*`: the job follows every change of the clock.
pub(crate) const WILD: u8 = 2;
/// It is due once, when the machine has started, and never else.
pub(crate) const AT_START: u8 = 4;

/// Days that are searched for the next time: 29 February falls on a given day of the week once in 28 years, and once in
/// 40 around a year like 2100, which has none.
const MOST_DAYS: i64 = 41 * 366;

impl Schedule {
    /// Its bytes as it is stored.
    pub const BYTES: usize = 20;

    /// As it is stored.
    pub fn encode(&self) -> [u8; Schedule::BYTES] {
        let mut bytes = [0; Schedule::BYTES];
        bytes[..8].copy_from_slice(&self.minutes.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.hours.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.days.to_le_bytes());
        bytes[16..18].copy_from_slice(&self.months.to_le_bytes());
        bytes[18..].copy_from_slice(&[self.weekdays, self.flags]);
        bytes
    }

    /// From the front of `bytes`, and what follows; `None` if there are too few, or one of the minutes is after the 59th.
    pub fn decode(bytes: &[u8]) -> Option<(Schedule, &[u8])> {
        let (own, rest) = bytes.split_first_chunk::<{ Schedule::BYTES }>()?;
        let schedule = Schedule {
            minutes: u64::from_le_bytes(*own.first_chunk()?),
            hours: u32::from_le_bytes(*own[8..].first_chunk()?),
            days: u32::from_le_bytes(*own[12..].first_chunk()?),
            months: u16::from_le_bytes(*own[16..].first_chunk()?),
            weekdays: own[18],
            flags: own[19],
        };
        (schedule.minutes >> MINUTES == 0).then_some((schedule, rest))
    }

    /// Whether it is due once, when the machine has started (`@reboot`).
    pub fn is_at_start(&self) -> bool {
        self.flags & AT_START != 0
    }

    /// Whether it is due so often that it follows every change of the clock (cron(8)).
    pub fn is_wild(&self) -> bool {
        self.flags & WILD != 0
    }

    /// Whether it is due in a minute, counted from 1970-01-01 00:00 of the local time on.
    pub fn is_due(&self, minute: i64) -> bool {
        let moment = Moment::of(minute);
        self.is_on(&moment) && has(self.hours.into(), moment.hour) && has(self.minutes, moment.minute)
    }

    /// Whether it is due on the day of this moment.
    fn is_on(&self, moment: &Moment) -> bool {
        let (day, weekday) = (has(self.days.into(), moment.day), has(self.weekdays.into(), moment.weekday));
        let fits = if self.flags & ANY_DAY != 0 { day && weekday } else { day || weekday };
        fits && has(self.months.into(), moment.month) && !self.is_at_start()
    }

    /// The first minute after this one in which it is due; `None` if there is none.
    pub fn next(&self, minute: i64) -> Option<i64> {
        let first_day = (minute + 1).div_euclid(DAY_MINUTES);
        for day in first_day..first_day + MOST_DAYS {
            let midnight = day * DAY_MINUTES;
            if !self.is_on(&Moment::of(midnight)) {
                continue;
            }
            for hour in (0..24).filter(|hour| has(self.hours.into(), *hour)) {
                let begins = midnight + i64::from(hour) * MINUTES;
                let from = (minute + 1 - begins).clamp(0, MINUTES) as u32;
                let left = self.minutes.checked_shr(from).unwrap_or_default();
                if from < MINUTES as u32 && left != 0 {
                    return Some(begins + i64::from(from + left.trailing_zeros()));
                }
            }
        }
        None
    }
}

fn has(set: u64, value: u8) -> bool {
    set >> value & 1 != 0
}
