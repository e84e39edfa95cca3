//! The metrics of a guest: a table of families, each with the file of /proc (proc(5)) that it is read from, and the text format of
//! OpenMetrics 1.0 (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
//!
//! The kernel reads its own files for `--metrics-port`, and `coracle metrics` those of its guests: both give the same.
#![no_std]
#![forbid(unsafe_code)]

mod families;
mod read;
mod text;

pub use families::{Family, GUEST, HOST, Kind, Rule, Scale};
pub use read::{Files, Label, samples};
pub use text::{CONTENT_TYPE, END, Sample, Value, write_head, write_sample};
