//! The text format.
use crate::families::{Family, Kind, Scale};
use crate::read::Label;
use core::fmt::{self, Write};

/// What HTTP calls it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The last line.
pub const END: &str = "# EOF\n";

/// A value, as a file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// The number; decimals count with it.
    pub number: u64,
    /// What it counts in.
    pub scale: Scale,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scale {
            Scale::Times(factor) => self.number.saturating_mul(factor).fmt(f),
            Scale::Decimal(digits) => {
                let one = 10u64.saturating_pow(digits);
                let (whole, rest) = (self.number / one, self.number % one);
                write!(f, "{whole}.{rest:0width$}", width = digits as usize)
            }
        }
    }
}

/// One value of a family.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// What tells it from the family's others.
    pub labels: &'a [Label<'a>],
    /// The value.
    pub value: Value,
}

/// Writes what stands before the samples of a family. Errors of `out`.
pub fn write_head(out: &mut dyn Write, family: &Family) -> fmt::Result {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    writeln!(out, "# TYPE {} {kind}", family.name)?;
    if !family.unit.is_empty() {
        writeln!(out, "# UNIT {} {}", family.name, family.unit)?;
    }
    writeln!(out, "# HELP {} {}", family.name, family.help)
}

/// Writes a sample, with `more` labels before its own. Errors of `out`.
pub fn write_sample(out: &mut dyn Write, family: &Family, more: &[Label], sample: &Sample) -> fmt::Result {
    out.write_str(family.name)?;
    if family.kind == Kind::Counter {
        out.write_str("_total")?;
    }
    for (index, (name, value)) in more.iter().chain(sample.labels).enumerate() {
        write!(out, "{}{name}=\"", if index == 0 { '{' } else { ',' })?;
        for c in value.chars() {
            match c {
                '"' | '\\' => write!(out, "\\{c}")?,
                '\n' => out.write_str("\\n")?,
                c => out.write_char(c)?,
            }
        }
        out.write_char('"')?;
    }
    let end = if more.is_empty() && sample.labels.is_empty() { "" } else { "}" };
    writeln!(out, "{end} {}", sample.value)
}
