//! The options that check the health of a guest.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A time with its unit: `30s`, `500ms`, `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(pub Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a time is a number with a unit, such as 30s, 500ms or 1m 30s".to_owned();
        let time: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        Duration::try_from(time).map(Time).map_err(|_| wrong())
    }
}

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Time> for String {
    fn from(time: Time) -> String {
        time.to_string()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::SignedDuration::try_from(self.0).unwrap_or(jiff::SignedDuration::MAX);
        write!(f, "{time:#}")
    }
}

/// What an HTTP check asks for: `/PATH[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Page {
    /// The path.
    pub path: String,
    /// The port.
    pub port: u16,
}

/// The port of HTTP.
const HTTP: u16 = 80;
/// The longest path that is asked for.
const LONGEST_PATH: usize = 900;

impl FromStr for Page {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, port) = match text.rsplit_once(':') {
            Some((path, port)) => (path, port.parse().ok().filter(|&port| port != 0)),
            None => (text, Some(HTTP)),
        };
        let port = port.ok_or("behind the colon stands a port, a number from 1 to 65535")?;
        let is_fit = path.starts_with('/') && path.len() <= LONGEST_PATH;
        if !is_fit || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "a page is a path such as /health, with a port behind a colon if it is not 80; it has visible ASCII characters, \
                 {LONGEST_PATH} at most"
            ));
        }
        Ok(Page { path: path.to_owned(), port })
    }
}

impl TryFrom<String> for Page {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Page> for String {
    fn from(page: Page) -> String {
        format!("{}:{}", page.path, page.port)
    }
}

/// What happens to a guest that is not healthy any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Nothing: `coracle ps` shows it
    #[default]
    None,
    /// It is ended as by `coracle stop`, and started again
    Restart,
    /// It is ended as by `coracle stop`
    Stop,
    /// It is killed; `--restart` decides what follows
    Kill,
}

/// Options that check the health of a guest, for `build` and `run` alike. Coracle.toml has the same in its table `[health]`, and so have
/// images.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HealthArgs {
    /// Check the guest's health by connecting to a TCP port of it, from inside
    #[arg(long = "health-tcp", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), group = "health")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<u16>,

    /// Check the guest's health by an HTTP request, from inside: a status of 200 to 399 is good
    #[arg(long = "health-http", value_name = "/PATH[:PORT]", group = "health")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Page>,

    /// Check the guest's health by a program of the image, which is split into words as a shell does it: a status of 0 is good. Needs
    /// `--control full`, and a name or `-d`
    #[arg(long = "health-cmd", value_name = "COMMAND", group = "health")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,

    /// Time from one check to the next [default: 30s]
    #[arg(long = "health-interval", value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Time>,

    /// Time after which a check has failed [default: 30s]
    #[arg(long = "health-timeout", value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Time>,

    /// Number of checks that fail, one after the other, until the guest is unhealthy [default: 3]
    #[arg(long = "health-retries", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,

    /// Time after the start in which failures don't count [default: 0s]
    #[arg(long = "health-start-period", value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Time>,

    /// What happens to a guest that has become unhealthy [default: none]
    #[arg(long = "health-on-failure", value_enum, value_name = "ACTION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

impl HealthArgs {
    /// These, and where they say nothing, what `below` says. A check replaces another kind of check.
    pub fn over(self, below: Self) -> Self {
        let (tcp, http, cmd) = match self.has_check() {
            true => (self.tcp, self.http, self.cmd),
            false => (below.tcp, below.http, below.cmd),
        };
        HealthArgs {
            tcp,
            http,
            cmd,
            interval: self.interval.or(below.interval),
            timeout: self.timeout.or(below.timeout),
            retries: self.retries.or(below.retries),
            start_period: self.start_period.or(below.start_period),
            on_failure: self.on_failure.or(below.on_failure),
        }
    }

    /// As images have them.
    pub fn text(&self) -> String {
        // Strings and numbers are no maps with other keys: this can't fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Those of an image.
    ///
    /// # Errors
    /// If it is of a command that knows others.
    pub fn of_image(text: Option<&str>) -> Result<Self> {
        let Some(text) = text else { return Ok(HealthArgs::default()) };
        serde_json::from_str(text).map_err(|error| {
            Error::new("the checks of the guest's health in the image cannot be used")
                .why(error)
                .help("build it once more with this version of coracle")
        })
    }

    /// Whether there is anything to check.
    pub fn has_check(&self) -> bool {
        self.tcp.is_some() || self.http.is_some() || self.cmd.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_pages_are_read_and_written() {
        for (text, ms) in [("30s", 30_000), ("500ms", 500), ("1m 30s", 90_000), ("1m30s", 90_000), ("0s", 0)]
        {
            let time: Time = text.parse().unwrap();
            assert_eq!(time.0, Duration::from_millis(ms), "{text}");
            assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
        }
        for wrong in ["", "30", "-1s", "s", "1 fortnight"] {
            assert!(wrong.parse::<Time>().is_err(), "{wrong}");
        }
        let page = |text: &str| text.parse::<Page>().map(|page| (page.path, page.port));
        assert_eq!(page("/health"), Ok(("/health".to_owned(), 80)));
        assert_eq!(page("/a?b=1:8080"), Ok(("/a?b=1".to_owned(), 8080)));
        for wrong in ["", "health", "/a b", "/:0", "/:x", "/\u{e4}", "/a:70000"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
    }
}
