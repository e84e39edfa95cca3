//! What the checks of a guest's health have found.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How healthy a guest is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No check has succeeded yet, and failures don't count yet.
    #[default]
    Starting,
    /// The last check succeeded, or not enough have failed since one did.
    Healthy,
    /// As many checks as `--health-retries` says failed, one after the other.
    Unhealthy,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Starting => "starting",
            Verdict::Healthy => "healthy",
            Verdict::Unhealthy => "unhealthy",
        })
    }
}

/// What is known of a guest's health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Health {
    /// How healthy it is.
    pub status: Verdict,
    /// Checks that failed since one succeeded.
    pub failures: u32,
    /// What the last check found.
    pub last: String,
}
