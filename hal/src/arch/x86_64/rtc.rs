//! The CMOS real-time clock (Motorola MC146818A data sheet): seconds since 1970.
use crate::arch::port;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const CENTURY: u8 = 0x32;
const UPDATING: u8 = 0x80;
const BINARY: u8 = 4;
const HOURS_24: u8 = 2;
const PM: u8 = 0x80;

fn register(index: u8) -> u8 {
    port::write8(INDEX, index);
    port::read8(DATA)
}

/// Seconds, minutes, hours, day, month, year within the century, century.
fn fields() -> [u8; 7] {
    [0, 2, 4, 7, 8, 9, CENTURY].map(register)
}

/// Seconds since 1970 in UTC, or `None` without a clock.
pub fn read() -> Option<u64> {
    if register(STATUS_B) == 0xff {
        return None;
    }
    // Two readings that agree were not torn by an update.
    let mut last = fields();
    for _ in 0..1000 {
        let updating = register(STATUS_A) & UPDATING != 0;
        let now = fields();
        if now == last && !updating {
            return decode(now, register(STATUS_B));
        }
        last = now;
    }
    None
}

fn decode(raw: [u8; 7], status: u8) -> Option<u64> {
    let number = |b: u8| u64::from(if status & BINARY != 0 { b } else { (b >> 4) * 10 + (b & 15) });
    let [second, minute, hour, day, month, year, century] = raw;
    let mut hours = number(hour & !PM);
    if status & HOURS_24 == 0 {
        hours = hours % 12 + if hour & PM != 0 { 12 } else { 0 };
    }
    let century = match number(century) {
        c @ 19..=21 => c,
        _ => 20,
    };
    let days = days_since_1970(century * 100 + number(year), number(month), number(day))?;
    Some(((days * 24 + hours) * 60 + number(minute)) * 60 + number(second))
}

/// Days from 1970-01-01 in the Gregorian calendar.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..2200).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March end with the leap day.
    let y = if month <= 2 { year - 1 } else { year };
    let m = (month + 9) % 12;
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (m * 306 + 5) / 10 + day - 1;
    /// The same sum for 1970-01-01.
    const EPOCH: u64 = 719_468;
    days.checked_sub(EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_days() {
        assert_eq!(days_since_1970(1970, 1, 1), Some(0));
        assert_eq!(days_since_1970(2000, 3, 1), Some(11017));
        assert_eq!(days_since_1970(2026, 11, 23), Some(20780));
        assert_eq!(days_since_1970(2026, 13, 1), None);
    }

    #[test]
    fn decodes_both_forms() {
        let bcd = [0x56, 0x34, 0x12, 0x23, 0x11, 0x26, 0x20];
        let binary = [56, 34, 12, 23, 11, 26, 20];
        let seconds = 20780 * 86400 + 12 * 3600 + 34 * 60 + 56;
        assert_eq!(decode(bcd, HOURS_24), Some(seconds));
        assert_eq!(decode(binary, HOURS_24 | BINARY), Some(seconds));
        let evening = [0x56, 0x34, 0x92, 0x23, 0x11, 0x26, 0x20];
        assert_eq!(decode(evening, 0), Some(seconds));
    }
}
