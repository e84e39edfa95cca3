//! Amounts of memory: read as people write them, shown as people read them.

use std::fmt;
use std::str::FromStr;

/// An amount of memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// One mebibyte.
pub const MIB: u64 = 1 << 20;

/// Suffixes and what they stand for, as a power of two.
const UNITS: [(&str, u32); 3] = [("G", 30), ("M", 20), ("K", 10)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let upper = text.trim().to_ascii_uppercase();
        let upper = upper.trim_end_matches("IB").trim_end_matches('B');
        let (digits, shift) = UNITS
            .iter()
            .find_map(|(unit, shift)| Some((upper.strip_suffix(unit)?, *shift)))
            .unwrap_or((upper, 20));
        let number: u64 = digits.parse().map_err(|_| format!("`{text}` is not an amount like 64M or 1G"))?;
        match number.checked_mul(1 << shift) {
            Some(bytes) if bytes > 0 => Ok(Size(bytes)),
            _ => Err(format!("`{text}` is out of range")),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            bytes if bytes < 1 << 10 => format!("{bytes} B"),
            bytes if bytes < MIB => format!("{:.1} KiB", bytes as f64 / 1024.0),
            bytes if bytes < 1 << 30 => format!("{:.1} MiB", bytes as f64 / MIB as f64),
            bytes => format!("{:.2} GiB", bytes as f64 / (1_u64 << 30) as f64),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn as_people_write_them() {
        for (text, bytes) in
            [("64M", 64 << 20), ("64", 64 << 20), ("1g", 1 << 30), ("16MiB", 16 << 20), ("4096k", 4 << 20)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "M", "-1", "0", "x", "99999999999999999999", "17179869184G", "1.5G"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert_eq!(format!("{} {} {}", Size(5), Size(1536), Size(3 << 19)), "5 B 1.5 KiB 1.5 MiB");
    }
}
